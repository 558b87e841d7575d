// Notices a clock that was set back: messages that end by the clock keep the time they had left.
import type { Clock } from '../ports.ts';
import type { Database } from '../sqlite/open.ts';
import { latestEventAt, moveLastEvent } from '../store/events.ts';
import { moveExpiries, nextExpiry } from '../store/messages.ts';
import { lastOpenAt, putLastOpenAt } from '../store/self.ts';

// A clock that is only slewed or read a moment late is none that was set back.
const BACK_MS_MIN = 1_000;

/** Compares the clock with the time that has passed; after a start, with the latest time that is known from before. */
export class ClockWatch {
  readonly #db: Database;
  readonly #clock: Clock;
  #now: number;
  #monotonic: number;

  constructor(db: Database, clock: Clock) {
    this.#db = db;
    this.#clock = clock;
    this.#now = Math.max(clock.now(), latestEventAt(db), lastOpenAt(db));
    this.#monotonic = clock.monotonic();
  }

  /** True when the clock went back since the last look: what ends was moved with it. Call it before a time is written. Throws `disk.full`. */
  look(): boolean {
    const [now, monotonic] = [this.#clock.now(), this.#clock.monotonic()];
    const back = Math.round(this.#now + monotonic - this.#monotonic - now);
    const isMoved = back >= BACK_MS_MIN;
    if (isMoved)
      this.#db.transaction(() => {
        moveExpiries(this.#db, back);
        // Or the next start would count the same step again.
        moveLastEvent(this.#db, now);
        putLastOpenAt(this.#db, now);
      });
    // Behind the commit: a step that finds no room is counted by the next look.
    this.#now = now;
    this.#monotonic = monotonic;
    return isMoved;
  }

  /** What ends has run until now, whatever the clock says at the next start. Throws `disk.full`. */
  keep(): void {
    this.look();
    if (nextExpiry(this.#db) !== undefined) putLastOpenAt(this.#db, this.#now);
  }
}
