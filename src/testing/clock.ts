// A clock that moves only when a test moves it.
import type { Cancel, Clock } from '../ports.ts';

type Timer = { readonly at: number; readonly order: number; readonly fire: () => void };

/** Time for tests: timers fire in order of time, then of creation. */
export class ManualClock implements Clock {
  #now: number;
  #monotonic = 0;
  #order = 0;
  readonly #timers = new Set<Timer>();

  constructor(startAt = 1_800_000_000_000) {
    this.#now = startAt;
  }

  now(): number {
    return Math.floor(this.#now);
  }

  monotonic(): number {
    return this.#monotonic;
  }

  after(ms: number, fire: () => void): Cancel {
    const timer = { at: this.#monotonic + Math.max(0, ms), order: this.#order++, fire };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** The time of day jumps; timers do not notice. */
  jump(ms: number): void {
    this.#now += ms;
  }

  /** When the next timer is due, in monotonic milliseconds. */
  next(): number | undefined {
    const due = this.#first();
    return due?.at;
  }

  /** Moves to the next timer that is due by `until` and fires it; false when there is none. */
  step(until = Number.POSITIVE_INFINITY): boolean {
    const timer = this.#first();
    if (timer === undefined || timer.at > until) return false;
    this.#timers.delete(timer);
    this.#advance(Math.max(0, timer.at - this.#monotonic));
    timer.fire();
    return true;
  }

  /** Moves to a monotonic time without firing anything. */
  moveTo(monotonic: number): void {
    this.#advance(Math.max(0, monotonic - this.#monotonic));
  }

  #advance(ms: number): void {
    this.#monotonic += ms;
    this.#now += ms;
  }

  #first(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers)
      if (first === undefined || timer.at < first.at || (timer.at === first.at && timer.order < first.order))
        first = timer;
    return first;
  }
}
