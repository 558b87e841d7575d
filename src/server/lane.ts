// Group commit: what is published in one turn, or while an append is under way, is the next batch; answers come after commits.
import type { Cancel, Clock } from '../ports.ts';
import {
  LOG_BATCH_BYTES_MAX,
  LOG_BATCH_EVENTS_MAX,
  LOG_RETRY_MS_MAX,
  LOG_RETRY_MS_MIN,
  LOG_WAIT_MS_MAX,
  LOG_WAITING_BYTES_MAX,
  LOG_WAITING_EVENTS_MAX,
} from '../protocol/limits.ts';
import { type Draft, type EventLog, LogError, type Outcome } from './event-log.ts';
import type { Turn } from './turns.ts';

/** A draft that is in the log now, and where. */
export type Published = {
  readonly draft: Draft;
  readonly outcome: Extract<Outcome, { kind: 'committed' | 'duplicate' }>;
};

export type LanePorts = {
  readonly log: Pick<EventLog, 'append'>;
  readonly clock: Clock;
  readonly turn: Turn;
  /**
   * Called once for every batch, before anybody is answered: what this lane has put into the log, in order of seq in each
   * channel. It contains a `duplicate` when an earlier append of the same batch had committed without saying so.
   */
  readonly committed: (published: readonly Published[]) => void;
};

/** Who waits for a draft: hears one of the two, once, and throws nothing. */
export type Waiter = {
  readonly placed: (outcome: Outcome) => void;
  readonly failed: (error: Error) => void;
};

type Waiting = {
  readonly draft: Draft;
  readonly waiter: Waiter;
  readonly deadline: number;
  /** An append with it has been begun, and none has ended that tells. */
  isMaybe: boolean;
  isAnswered: boolean;
};

/** One append at a time, of at most LOG_BATCH_EVENTS_MAX and LOG_BATCH_BYTES_MAX, in the order of the calls. */
export class Lane implements AsyncDisposable {
  readonly #ports: LanePorts;
  #queue: Waiting[] = [];
  #queueBytes = 0;
  #flight: Waiting[] = [];
  #running: Promise<void> | undefined;
  #isClosed = false;
  #cancelDeadline: Cancel | undefined;

  constructor(ports: LanePorts) {
    this.#ports = ports;
  }

  /** Events that wait, those of the append under way among them. */
  get depth(): number {
    return this.#queue.length + this.#flight.length;
  }

  /**
   * Resolves after the commit. Rejects with `LogError`: `unavailable` at once when too much waits, or after LOG_WAIT_MS_MAX
   * without a commit; `unknown` then when there may have been one. The same draft may be published again in both cases.
   */
  publish(draft: Draft): Promise<Outcome> {
    return new Promise((placed, failed) => this.submit(draft, { placed, failed }));
  }

  /** The same for a waiter, who is told in the turn of the commit. */
  submit(draft: Draft, waiter: Waiter): void {
    const isFull = this.depth >= LOG_WAITING_EVENTS_MAX || this.#queueBytes + draft.body.length > LOG_WAITING_BYTES_MAX;
    if (this.#isClosed || isFull) return waiter.failed(new LogError('unavailable'));
    const deadline = this.#ports.clock.monotonic() + LOG_WAIT_MS_MAX;
    this.#queue.push({ draft, waiter, deadline, isMaybe: false, isAnswered: false });
    this.#queueBytes += draft.body.length;
    this.#running ??= this.#run();
    this.#watch();
  }

  /** Takes nothing more; resolves when everything that waited is answered. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#running;
    this.#cancelDeadline?.();
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) await this.#commitSome();
    this.#running = undefined;
  }

  // A call for each batch: what one has answered must not be held while the next one waits.
  async #commitSome(): Promise<void> {
    await this.#ports.turn();
    this.#flight = this.#takeBatch();
    const outcomes = await this.#append();
    const batch = this.#flight;
    this.#flight = [];
    this.#answer(batch, outcomes);
  }

  #takeBatch(): Waiting[] {
    let [count, bytes] = [0, 0];
    for (const { draft } of this.#queue) {
      if (count >= LOG_BATCH_EVENTS_MAX || (count > 0 && bytes + draft.body.length > LOG_BATCH_BYTES_MAX)) break;
      count++;
      bytes += draft.body.length;
    }
    this.#queueBytes -= bytes;
    return this.#queue.splice(0, count);
  }

  /** Appends the batch until the log tells; gives no outcomes once everybody in it has given up for certain. */
  async #append(): Promise<readonly Outcome[]> {
    for (let waitMs = LOG_RETRY_MS_MIN; this.#flight.length > 0; waitMs = Math.min(2 * waitMs, LOG_RETRY_MS_MAX)) {
      const wasMaybe = this.#flight.map(({ isMaybe }) => isMaybe);
      for (const waiting of this.#flight) waiting.isMaybe = true;
      try {
        const outcomes = await this.#ports.log.append(this.#flight.map(({ draft }) => draft));
        this.#flight.forEach((waiting, i) => {
          waiting.isMaybe = wasMaybe[i] === true;
        });
        return outcomes;
      } catch (error) {
        if (!(error instanceof LogError)) throw this.#fail(error);
        // Nothing of this append is there; what an earlier one has done is as unknown as before.
        if (error.certainty === 'unavailable')
          for (const [i, waiting] of this.#flight.entries()) waiting.isMaybe = wasMaybe[i] === true;
      }
      await new Promise<void>((done) => this.#ports.clock.after(waitMs, done));
      this.#flight = this.#flight.filter(({ isMaybe, isAnswered }) => !isAnswered || (isMaybe && !this.#isClosed));
    }
    return [];
  }

  #answer(batch: readonly Waiting[], outcomes: readonly Outcome[]): void {
    const published: Published[] = [];
    const isTold = ({ channel, id }: Draft) =>
      published.some(({ draft }) => draft.id === id && draft.channel === channel);
    batch.forEach(({ draft, isMaybe }, i) => {
      const outcome = outcomes[i];
      if (outcome?.kind === 'committed' || (outcome?.kind === 'duplicate' && isMaybe && !isTold(draft)))
        published.push({ draft, outcome });
    });
    if (published.length > 0) this.#ports.committed(published);
    batch.forEach((waiting, i) => {
      const outcome = outcomes[i];
      if (outcome !== undefined && this.#leave(waiting)) waiting.waiter.placed(outcome);
    });
  }

  /** Ends the wait of a draft; false when it has ended before. */
  #leave(waiting: Waiting): boolean {
    if (waiting.isAnswered) return false;
    waiting.isAnswered = true;
    return true;
  }

  // One timer for the draft that waits longest; the others came later.
  #watch(): void {
    if (this.#cancelDeadline !== undefined) return;
    const first = this.#flight.find(({ isAnswered }) => !isAnswered) ?? this.#queue[0];
    if (first === undefined) return;
    const { clock } = this.#ports;
    this.#cancelDeadline = clock.after(first.deadline - clock.monotonic(), () => {
      this.#cancelDeadline = undefined;
      this.#giveUp(clock.monotonic());
      this.#watch();
    });
  }

  #giveUp(now: number): void {
    const isLate = ({ deadline }: Waiting) => deadline <= now;
    const late = [...this.#flight.filter(isLate), ...this.#queue.filter(isLate)];
    for (const waiting of late)
      if (this.#leave(waiting)) waiting.waiter.failed(new LogError(waiting.isMaybe ? 'unknown' : 'unavailable'));
    this.#queue = this.#queue.filter(({ isAnswered }) => !isAnswered);
    this.#queueBytes = this.#queue.reduce((sum, { draft }) => sum + draft.body.length, 0);
  }

  // Our bug: whoever waits is told, and the process ends by it.
  #fail(error: unknown): unknown {
    for (const waiting of [...this.#flight, ...this.#queue])
      if (this.#leave(waiting)) waiting.waiter.failed(new LogError('unknown', { cause: error }));
    [this.#flight, this.#queue, this.#queueBytes, this.#isClosed] = [[], [], 0, true];
    return error;
  }
}
