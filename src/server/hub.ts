// Between the log and its readers: appends by lane, follows what is committed, and tells whoever has resumed a channel.

import type { Cancel, Clock, Log as Journal } from '../ports.ts';
import { expectedError } from '../protocol/errors.ts';
import { type ChannelId, type EventId, idOf } from '../protocol/ids.ts';
import { ROOM_PAGE_BYTES_MAX, ROOM_PAGE_MAX } from '../protocol/limits.ts';
import { EVENT } from '../protocol/server-frames.ts';
import type { ChannelStates } from './channel-states.ts';
import type { Cursor, Draft, EventLog, Outcome, Seq, Stored } from './event-log.ts';
import type { Fanout, Reader } from './fanout.ts';
import { Follow, type Frame, type Step } from './follow.ts';
import { frameOf } from './frames.ts';
import { Lane, type Published, type Waiter } from './lane.ts';
import type { Standings } from './standings.ts';
import type { Turn } from './turns.ts';

export type HubPorts<R extends Reader> = {
  readonly log: EventLog;
  readonly states: ChannelStates;
  readonly standings: Pick<Standings, 'committed'>;
  readonly fanout: Fanout<R>;
  readonly clock: Clock;
  readonly turn: Turn;
  readonly journal: Journal;
  readonly bug: (error: unknown) => void;
  /** Whether an event ends somebody's reading, and what ends then: after it was told, before what follows is. */
  readonly ends: (draft: Draft) => boolean;
  readonly ended: (draft: Draft) => void;
};

const PAGE = { events: ROOM_PAGE_MAX, bytes: ROOM_PAGE_BYTES_MAX };
/** Where an event's id stands in its frame: after the WebSocket header, whose length depends on the size. */
const ID_AT = 31;
const ID_END = 47;

/** One node's view of the log. */
export class Hub<R extends Reader> implements AsyncDisposable {
  readonly #ports: HubPorts<R>;
  readonly #lane: Lane;
  readonly #follow = new Follow(idOfFrame);
  /** Who waits for the place of a channel to be known. */
  readonly #waiting = new Map<ChannelId, PromiseWithResolvers<void>>();
  #cancelDue: Cancel | undefined;

  constructor(ports: HubPorts<R>) {
    this.#ports = ports;
    const { log, clock, turn } = ports;
    this.#lane = new Lane({ log, clock, turn, committed: (published) => this.#committed(published) });
  }

  /** Events that wait for their commit. */
  get depth(): number {
    return this.#lane.depth;
  }

  /** Bytes of frames that are kept for readers who come back. */
  get ringBytes(): number {
    return this.#follow.ringBytes;
  }

  /** Appends with the batch of this turn; resolves after the commit, when readers were told. Rejects with `LogError`. */
  append(draft: Draft): Promise<Outcome> {
    return this.#lane.publish(draft);
  }

  /** The same for a waiter, who is told in the turn of the commit. */
  submit(draft: Draft, waiter: Waiter): void {
    this.#lane.submit(draft, waiter);
  }

  /** Begins to follow a channel, and resolves once it is known where it is. Rejects with `LogError`: it is not followed then. */
  async follow(channel: ChannelId): Promise<void> {
    this.#run(this.#follow.follow(channel));
    if (this.#follow.cursor(channel) !== undefined) return;
    const waiting = this.#waiting.get(channel) ?? Promise.withResolvers<void>();
    this.#waiting.set(channel, waiting);
    await waiting.promise;
  }

  /** Finished frames after a cursor, when they are in memory, and where they end; none when there is nothing newer; undefined: ask the log. */
  since(channel: ChannelId, cursor: Cursor): { readonly frames: readonly Frame[]; readonly to: Cursor } | undefined {
    const frames = this.#follow.since(channel, cursor);
    return frames && { frames, to: this.#follow.cursor(channel) ?? cursor };
  }

  /** The log has lost bodies up to a place: no frame of them stays in memory. */
  forget(channel: ChannelId, upTo: Seq): void {
    this.#follow.forget(channel, upTo);
  }

  /** Nobody reads a channel any more. */
  idle(channel: ChannelId): void {
    if (this.#ports.fanout.isIdle(channel)) this.#follow.unfollow(channel);
  }

  /** Takes nothing more; resolves when all that waited is committed and told. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lane[Symbol.asyncDispose]();
    this.#cancelDue?.();
  }

  #committed(published: readonly Published[]): void {
    const now = this.#ports.clock.monotonic();
    const batches = new Map<ChannelId, { first: number; epoch: number; lastId: EventId; frames: Frame[] }>();
    for (const { draft, outcome } of published) {
      this.#ports.standings.committed(draft);
      const { id, member, kind, body } = draft;
      const stored: Stored = { seq: outcome.seq, id, member, kind, at: outcome.at, body, hash: null };
      if (draft.kind === EVENT.control) this.#ports.states.follow(draft.channel, stored);
      for (const change of draft.changes) if (change.kind === 'erase') this.#follow.forget(draft.channel, change.seq);
      if (this.#follow.follows(draft.channel)) {
        const { epoch, seq: first } = outcome;
        const frame = frameOf(draft.channel, epoch, stored);
        const batch = batches.get(draft.channel);
        if (batch === undefined) batches.set(draft.channel, { first, epoch, lastId: id, frames: [frame] });
        else {
          batch.frames.push(frame);
          batch.lastId = id;
        }
      }
      if (!this.#ports.ends(draft)) continue;
      const told = batches.get(draft.channel);
      if (told !== undefined) this.#run(this.#follow.take({ channel: draft.channel, ...told }, now));
      batches.delete(draft.channel);
      this.#ports.ended(draft);
    }
    for (const [channel, batch] of batches) this.#run(this.#follow.take({ channel, ...batch }, now));
  }

  #run(steps: readonly Step[]): void {
    for (const step of steps) this.#step(step);
    this.#dueLater();
  }

  #step(step: Step): void {
    const { fanout, journal } = this.#ports;
    switch (step.kind) {
      case 'deliver':
        fanout.deliver(step.channel, step.frames);
        return;
      case 'check':
        return this.#ask(this.#check(step.channel));
      case 'resume':
        return this.#ask(this.#resume(step.cursor));
      case 'begin':
      case 'lost':
        // One node on one database never sees this: a log that lost events was exchanged under the running server.
        journal.error('log.lost', { kind: step.kind });
        throw new Error('the log has lost events that were told');
    }
  }

  #ask(answer: Promise<readonly Step[]>): void {
    answer.then(
      (steps) => this.#run(steps),
      (error: unknown) => this.#ports.bug(error),
    );
  }

  async #check(channel: ChannelId): Promise<readonly Step[]> {
    const { log, clock } = this.#ports;
    try {
      const [head] = await log.heads([channel]);
      if (head === undefined) this.#follow.unfollow(channel);
      const steps = head === undefined ? [] : this.#follow.head(head, clock.monotonic());
      this.#known(channel)?.resolve();
      return steps;
    } catch (error) {
      // Nobody reads a channel whose place is not known yet: whoever wants to asks again.
      if (this.#follow.cursor(channel) === undefined) this.#follow.unfollow(channel);
      this.#known(channel)?.reject(error);
      this.#failed(error);
      return [];
    }
  }

  #known(channel: ChannelId): PromiseWithResolvers<void> | undefined {
    const waiting = this.#waiting.get(channel);
    this.#waiting.delete(channel);
    return waiting;
  }

  // A disk that does not answer is asked again; what else is thrown is our bug.
  #failed(error: unknown): void {
    if (expectedError(error) === undefined) throw error;
    this.#ports.journal.warn('log.notRead', {});
  }

  async #resume(cursor: Cursor & { readonly channel: ChannelId }): Promise<readonly Step[]> {
    const { log, clock } = this.#ports;
    const resumed = await log.resume([cursor], PAGE).then(
      ([one]) => one,
      (error: unknown) => this.#failed(error),
    );
    const now = clock.monotonic();
    if (!resumed) return this.#follow.failed(cursor, now);
    const { head, recovered, events } = resumed;
    const [first, last] = [events[0], events.at(-1)];
    const batch =
      first === undefined || last === undefined
        ? undefined
        : {
            channel: cursor.channel,
            epoch: head.epoch,
            first: first.seq,
            lastId: last.id,
            frames: events.map((event) => frameOf(cursor.channel, head.epoch, event)),
          };
    return this.#follow.caught({ cursor, head, recovered, batch }, now);
  }

  #dueLater(): void {
    this.#cancelDue?.();
    this.#cancelDue = undefined;
    const at = this.#follow.nextDue();
    if (at === undefined) return;
    const { clock } = this.#ports;
    this.#cancelDue = clock.after(Math.max(0, at - clock.monotonic()), () => {
      this.#cancelDue = undefined;
      this.#run(this.#follow.due(clock.monotonic()));
    });
  }
}

/** RFC 6455 section 5.2: 2 bytes of header, 4 from 126 bytes on, 10 from 65,536 on; a server's frame has no mask. */
const idOfFrame = (frame: Frame): EventId => {
  const length = (frame[1] ?? 0) & 0x7f;
  const header = length < 126 ? 2 : length === 126 ? 4 : 10;
  return idOf(frame.subarray(header + ID_AT, header + ID_END));
};
