// What the verbs of the state store are made of: a statement, and what its rows say.
import { idBytes } from '../protocol/ids.ts';
import type { Sql } from './sql.ts';
import type { StateStore } from './state-store.ts';
import type { RawRow, SqlValue, Statement } from './table.ts';

/** Some of the state store. */
export type Verbs<Names extends keyof StateStore> = Pick<StateStore, Names>;
type Reader<T> = { read(raw: RawRow): T };

/** What one row says; undefined where there is none. */
export const one = async <T>(sql: Sql, table: Reader<T>, statement: Statement): Promise<T | undefined> => {
  const [raw] = await sql.all(statement);
  return raw === undefined ? undefined : table.read(raw);
};

/** What all rows say. */
export const many = async <T>(sql: Sql, table: Reader<T>, statement: Statement): Promise<T[]> =>
  (await sql.all(statement)).map((raw) => table.read(raw));

/** The number `n` of one row. */
export const count = async (sql: Sql, text: string, ...values: readonly SqlValue[]): Promise<number> => {
  const [raw] = await sql.all({ sql: text, values });
  return Number(raw?.n ?? 0);
};

/** Whether a statement changed a row. */
export const changed = async (sql: Sql, text: string, ...values: readonly SqlValue[]): Promise<boolean> =>
  (await sql.run({ sql: text, values })) > 0;

// Smaller than every id: the empty string of bytes would be NULL to the driver.
const FIRST = '00';
/** Where a page begins: after this id, or with the first. */
export const after = (key: string | undefined): SqlValue => idBytes(key ?? FIRST);
