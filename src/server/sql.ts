// How the server's statements reach their database: asynchronous, so that the same ones run on SQLite and PostgreSQL.
import type { Database } from '../sqlite/open.ts';
import type { RawRow, Statement } from './table.ts';

/** Runs statements in the common subset of SQLite and PostgreSQL. Rejects with `disk.*` or `database.damaged`. */
export interface Sql {
  /** The rows that a query, or a RETURNING, gives. */
  all(statement: Statement): Promise<readonly RawRow[]>;
  /** How many rows it has changed. */
  run(statement: Statement): Promise<number>;
  /** All of them in one transaction, or none. */
  batch(statements: readonly Statement[]): Promise<void>;
  /** The first, and where that has changed a row `more`, in one transaction. Gives whether it has. */
  runWith(first: Statement, more: Statement): Promise<boolean>;
}

/** Statements on a SQLite file of this process. */
export const sqliteSql = (db: Database): Sql => ({
  all: async ({ sql, values }) => db.all<RawRow>(sql, ...values),
  run: async ({ sql, values }) => db.run(sql, ...values).changes,
  batch: async (statements) =>
    db.transaction(() => {
      for (const { sql, values } of statements) db.run(sql, ...values);
    }),
  runWith: async (first, more) =>
    db.transaction(() => {
      if (db.run(first.sql, ...first.values).changes === 0) return false;
      db.run(more.sql, ...more.values);
      return true;
    }),
});
