// Whether the file of a database is whole, as SQLite itself sees it.
import type { Database } from './open.ts';

/** What is wrong with its pages and foreign keys, in words; empty when nothing is. Reads all of the file. */
export const integrity = (db: Database): string[] => {
  const pages = db.all<{ integrity_check: string }>('PRAGMA integrity_check(10)').map((row) => row.integrity_check);
  const keys = db
    .all<{ table: string }>('PRAGMA foreign_key_check')
    .map((row) => `a row of ${row.table} points to nothing`);
  return [...pages.filter((line) => line !== 'ok'), ...keys];
};
