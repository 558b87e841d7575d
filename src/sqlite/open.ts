// Opens a database, encrypted or not, with the pragmas that make it durable and make it forget, behind a small typed wrapper.
import { Database as Driver, type RunResult, type SqliteValue, type Statement } from '@signalapp/sqlcipher';
import { toHex } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';

type Value = SqliteValue<object> | Uint8Array;

// Another program that looks into the file (a copy, a shell of SQLite) holds it for moments only: it is waited for.
const BUSY_MS = 5_000;
// Of one statement.
const RECALLED_MAX = 256;
const WRITES = /^\s*(?:INSERT(?: OR \w+)? INTO|REPLACE INTO|UPDATE(?: OR \w+)?|DELETE FROM)\s+(\w+)/i;
const writes = new Map<string, string>();

/** The table that a statement writes to; empty for one that writes to none. */
const writtenBy = (sql: string): string => {
  const known = writes.get(sql);
  if (known !== undefined) return known;
  const table = WRITES.exec(sql)?.[1] ?? '';
  writes.set(sql, table);
  return table;
};

/** One connection to one SQLite file. Synchronous; statements are prepared once. Once closed it throws `account.locked`. */
export class Database implements Disposable {
  readonly #driver: Driver;
  readonly #statements = new Map<string, Statement>();
  /** Rows of `recall`, by table, statement and parameters. */
  readonly #recalled = new Map<string, Map<string, Map<string, unknown>>>();
  #depth = 0;
  #closed = false;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** The first row, or undefined. Column names become fields. */
  get<Row>(sql: string, ...params: readonly Value[]): Row | undefined {
    return guarded(() => this.#statement(sql).get(params as SqliteValue<object>[]) as Row | undefined);
  }

  /**
   * The first row, as `get`, from memory until this connection writes to `table` or takes a transaction back. For tables that
   * are small, read all the time, written by nobody else, and by no trigger or cascade.
   */
  recall<Row>(table: string, sql: string, ...params: readonly (string | number)[]): Row | undefined {
    const statements = this.#recalled.get(table) ?? new Map<string, Map<string, unknown>>();
    const rows = statements.get(sql) ?? new Map<string, unknown>();
    const question = params.join('\0');
    const known = rows.get(question);
    if (known !== undefined || rows.has(question)) return known as Row | undefined;
    const row = this.get<Row>(sql, ...params);
    if (rows.size >= RECALLED_MAX) rows.clear();
    this.#recalled.set(table, statements.set(sql, rows.set(question, row)));
    return row;
  }

  /** All rows, in the order of the query. */
  all<Row>(sql: string, ...params: readonly Value[]): Row[] {
    return guarded(() => this.#statement(sql).all(params as SqliteValue<object>[]) as Row[]);
  }

  /** Runs a statement; gives the number of changed rows and the last row id. */
  run(sql: string, ...params: readonly Value[]): RunResult {
    if (this.#recalled.size > 0) this.#recalled.delete(writtenBy(sql));
    return guarded(() => this.#statement(sql).run(params as SqliteValue<object>[]));
  }

  /** Sets fields of the row `id` in one statement; `columns` names the column of each field that may be set. */
  patch(
    table: string,
    columns: Readonly<Record<string, string>>,
    id: number,
    fields: Readonly<Record<string, unknown>>,
  ) {
    const names = Object.keys(fields);
    if (names.length === 0) return;
    const values = names.map((name) => (fields[name] ?? null) as Value);
    this.run(
      `UPDATE ${table} SET ${names.map((name) => `${columns[name]} = ?`).join(', ')} WHERE id = ?`,
      ...values,
      id,
    );
  }

  /** Runs statements without parameters. */
  exec(sql: string): void {
    this.#recalled.clear();
    guarded(() => this.#driver.exec(sql));
  }

  /** Runs `body` in one transaction; inside another it is part of that one. Anything thrown rolls all of it back. */
  transaction<T>(body: () => T): T {
    if (this.#depth > 0) return body();
    this.run('BEGIN IMMEDIATE');
    this.#depth++;
    try {
      const result = body();
      this.run('COMMIT');
      return result;
    } catch (error) {
      this.#recalled.clear();
      try {
        this.#driver.exec('ROLLBACK');
      } catch {
        // SQLite has rolled back by itself already (a full disk): the first error is the one to tell.
      }
      throw error;
    } finally {
      this.#depth--;
    }
  }

  /**
   * Moves everything from the write-ahead log into the file and empties the log, overwritten pages included. False when
   * another connection still reads from it: such a one is not waited for.
   */
  truncateWal(): boolean {
    this.#driver.exec('PRAGMA busy_timeout = 0');
    try {
      return this.get<{ busy: number }>('PRAGMA wal_checkpoint(TRUNCATE)')?.busy === 0;
    } finally {
      this.#driver.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
    }
  }

  /** Moves what it can from the write-ahead log into the file, without waiting for anybody: the log begins anew after that. */
  moveWal(): void {
    this.get('PRAGMA wal_checkpoint(PASSIVE)');
  }

  /** Writes a whole copy, under the same key, into a file that must not exist. Throws `disk.*`. */
  copyTo(path: string): void {
    this.run('VACUUM INTO ?', path);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    for (const statement of this.#statements.values()) statement.close();
    this.#statements.clear();
    this.#recalled.clear();
    this.#driver.close();
  }

  #statement(sql: string): Statement {
    // Who read in pages, and was between two of them when the account closed.
    if (this.#closed) throw new SottoError('account.locked', { message: 'The account was closed meanwhile' });
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    // Kept ones give rows through a function that is made once; others set each field by its name.
    const made = this.#driver.prepare(sql, { persistent: true });
    this.#statements.set(sql, made);
    return made;
  }
}

/**
 * Opens or creates the file at `path` (`:memory:` for none). `key` is a raw SQLCipher key of 32 bytes; without one the file
 * is plain. `pageBytes` counts where the file is made, plain. Throws `database.damaged` when the key does not fit or the file is
 * not a database, and `disk.*`.
 */
export const openDatabase = (path: string, key?: Uint8Array, pageBytes?: number): Database => {
  const driver = guarded(() => new Driver(path));
  try {
    return guarded(() => {
      // what goes wrong is told by the error, not by lines on stderr
      driver.exec('PRAGMA cipher_log_level = NONE');
      if (key !== undefined) driver.exec(`PRAGMA key = ${rawKey(key)}`);
      if (pageBytes !== undefined) driver.exec(`PRAGMA page_size = ${pageBytes}`);
      driver.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
      driver.exec('PRAGMA journal_mode = WAL');
      driver.exec('PRAGMA synchronous = FULL');
      driver.exec('PRAGMA secure_delete = ON');
      driver.exec('PRAGMA foreign_keys = ON');
      driver.exec('PRAGMA temp_store = MEMORY');
      return new Database(driver);
    });
  } catch (error) {
    driver.close();
    throw error;
  }
};

/** Encrypts the closed file at `path` under another key; a crash in between leaves it useless. Throws as `openDatabase`. */
export const rekeyDatabase = (path: string, key: Uint8Array, next: Uint8Array): void => {
  const driver = guarded(() => new Driver(path));
  try {
    guarded(() => {
      driver.exec('PRAGMA cipher_log_level = NONE');
      driver.exec(`PRAGMA key = ${rawKey(key)}`);
      // A write-ahead log would keep pages of the old key.
      driver.exec('PRAGMA journal_mode = DELETE');
      driver.exec(`PRAGMA rekey = ${rawKey(next)}`);
    });
  } finally {
    driver.close();
  }
};

const rawKey = (key: Uint8Array): string => `"x'${toHex(key)}'"`;

/** Runs a step of SQLite: what its disk says is thrown as `disk.*` or `database.damaged`. The driver tells it in words only. */
export const guarded = <T>(body: () => T): T => {
  try {
    return body();
  } catch (error) {
    if (error instanceof SottoError || !(error instanceof Error)) throw error;
    // SHMSIZE is that of the log's index, which finds no room.
    if (/full|SQLITE_FULL|SHMSIZE|ENOSPC/i.test(error.message)) throw new SottoError('disk.full', { cause: error });
    if (/disk I\/O|readonly|unable to open/i.test(error.message)) throw new SottoError('disk.failed', { cause: error });
    // SQLCipher says no more than `SQL logic error` of a page that it cannot authenticate.
    if (/SQLITE_CORRUPT|malformed|not a database|file is encrypted|SQL logic error/i.test(error.message))
      throw new SottoError('database.damaged', { cause: error });
    throw error;
  }
};
