// When the write-ahead log is moved into the database: in quiet moments, so that no message waits for it; after an erasure it
// is emptied.
import type { Cancel } from '../ports.ts';
import { expectedError } from '../protocol/errors.ts';
import { ERASURE_WAL_MS, WAL_COMMITS_MIN, WAL_QUIET_MS } from '../protocol/limits.ts';
import type { Core } from './core.ts';

/** Looks after the log of one account, in the account's queue. Where no quiet comes, SQLite moves it with the commit that fills 1,000 pages. */
export class WalKeeper implements Disposable {
  readonly #core: Core;
  #commits = 0;
  #cancelQuiet: Cancel | undefined;
  #cancelErase: Cancel | undefined;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Something was committed: when enough is in the log it is moved once nothing was committed for WAL_QUIET_MS. */
  committed(): void {
    this.#commits++;
    if (this.#commits >= WAL_COMMITS_MIN && this.#cancelQuiet === undefined) this.#awaitQuiet();
  }

  /** Something was erased: ERASURE_WAL_MS later the log holds none of it, or as soon as nobody reads it any more. */
  erased(): void {
    this.#cancelErase ??= this.#core.clock.after(ERASURE_WAL_MS, () =>
      this.#core.queue.post(() => {
        this.#cancelErase = undefined;
        let done = false;
        try {
          done = this.#core.db.truncateWal();
        } finally {
          if (!done) this.erased();
        }
      }),
    );
  }

  [Symbol.dispose](): void {
    this.#cancelQuiet?.();
    this.#cancelErase?.();
  }

  #awaitQuiet(): void {
    const before = this.#commits;
    this.#cancelQuiet = this.#core.clock.after(WAL_QUIET_MS, () =>
      this.#core.queue.post(() => {
        this.#cancelQuiet = undefined;
        if (this.#commits !== before) return this.#awaitQuiet();
        this.#commits = 0;
        try {
          this.#core.db.moveWal();
        } catch (error) {
          // All of it stays in the log, and is moved another time.
          if (expectedError(error) === undefined) throw error;
        }
      }),
    );
  }
}
