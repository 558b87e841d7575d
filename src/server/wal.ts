// When a server's write-ahead log is emptied: soon after an erasure, and never while the file is being copied.
import type { Cancel, Clock } from '../ports.ts';
import { SottoError } from '../protocol/errors.ts';
import { ERASURE_WAL_MS } from '../protocol/limits.ts';
import type { Database } from '../sqlite/open.ts';

// Fewer, larger checkpoints cost an append less; so much is read in no time at a start.
const CHECKPOINT_BYTES = 16 * 1024 * 1024;

/** The one place that moves pages from the log into the file, but for SQLite's own checkpoints. */
export class Wal implements Disposable {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #checkpointPages: number;
  #held = false;
  #due = false;
  #cancel: Cancel | undefined;

  constructor(db: Database, clock: Clock) {
    this.#db = db;
    this.#clock = clock;
    const { page_size: pageBytes = 0 } = db.get<{ page_size: number }>('PRAGMA page_size') ?? {};
    this.#checkpointPages = CHECKPOINT_BYTES / pageBytes;
    this.#db.exec(`PRAGMA wal_autocheckpoint = ${this.#checkpointPages}`);
  }

  /** Something was erased: ERASURE_WAL_MS later the log holds nothing of it, or after the copy that is being made. */
  erased(): void {
    this.#cancel ??= this.#clock.after(ERASURE_WAL_MS, () => this.#truncate());
  }

  /**
   * While `body` runs the database file is whole as it was at the beginning, and nobody writes it. Throws `disk.*`, and
   * `server.busy` when another program still reads what is only in the log.
   */
  async hold<T>(body: () => Promise<T>): Promise<T> {
    if (this.#held) throw new Error('the file is held already');
    this.#held = true;
    try {
      this.#db.exec('PRAGMA wal_autocheckpoint = 0');
      if (!this.#db.truncateWal())
        throw new SottoError('server.busy', { message: 'Another program still reads the database: try later' });
      return await body();
    } finally {
      this.#held = false;
      this.#db.exec(`PRAGMA wal_autocheckpoint = ${this.#checkpointPages}`);
      if (this.#due) this.erased();
      this.#due = false;
    }
  }

  [Symbol.dispose](): void {
    this.#cancel?.();
  }

  #truncate(): void {
    this.#cancel = undefined;
    if (this.#held) {
      this.#due = true;
      return;
    }
    try {
      // What another program still reads is asked for again until it does not,
      if (!this.#db.truncateWal()) this.erased();
    } catch (error) {
      if (!(error instanceof SottoError)) throw error;
      // and with a full disk until there is room.
      this.erased();
    }
  }
}
