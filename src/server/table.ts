// How a row of the server's tables becomes a value and back: one list of columns per table, for SQLite and PostgreSQL alike.
import { idBytes, idOf } from '../protocol/ids.ts';

/** What a statement takes for a `?`. */
export type SqlValue = string | number | null | Uint8Array<ArrayBuffer>;

/** One statement with what stands for its `?`s, in order. */
export type Statement = { readonly sql: string; readonly values: readonly SqlValue[] };

/** What a database driver gives. */
export type RawRow = Readonly<Record<string, unknown>>;

type Column<T> = { read(value: unknown): T; write(value: T): SqlValue };
type Shape = Readonly<Record<string, Column<unknown>>>;
type RowOf<S extends Shape> = { readonly [K in keyof S]: S[K] extends Column<infer T> ? T : never };

/** The row type of a table. */
export type Row<T> = T extends Table<infer S> ? RowOf<S> : never;

/** Text, of a closed set when `T` is one. */
export const text = <T extends string = string>(): Column<T> => ({
  read: (value) => value as T,
  write: (value) => value,
});

/** An integer. */
export const number: Column<number> = { read: Number, write: (value) => value };

/** True or false, kept as 1 or 0. */
export const flag: Column<boolean> = { read: (value) => Number(value) === 1, write: (value) => (value ? 1 : 0) };

/** Bytes, at least one. Drivers give a Buffer, whose methods are others. */
export const bytes: Column<Uint8Array<ArrayBuffer>> = {
  read: (value) => {
    const { buffer, byteOffset, length } = value as Uint8Array<ArrayBuffer>;
    return new Uint8Array(buffer, byteOffset, length);
  },
  write: (value) => value,
};

/** An id or a hash: hex outside, bytes inside. */
export const id = <T extends string>(): Column<T> => ({
  read: (value) => idOf<T>(value as Uint8Array),
  write: (value) => idBytes(value),
});

/** The same or null. */
export const nullable = <T>(column: Column<T>): Column<T | null> => ({
  read: (value) => (value === null ? null : column.read(value)),
  write: (value) => (value === null ? null : column.write(value)),
});

/** One table: its name, its columns, and the parts of statements that name them. */
export class Table<S extends Shape> {
  readonly name: string;
  /** All columns, for SELECT, RETURNING and INSERT. */
  readonly columns: string;
  readonly #shape: S;
  readonly #fields: readonly (readonly [key: string, name: string, column: Column<unknown>])[];

  constructor(name: string, shape: S) {
    this.name = name;
    this.#shape = shape;
    this.#fields = Object.entries(shape).map(([key, column]) => [key, snake(key), column]);
    this.columns = this.#fields.map(([, name]) => name).join(', ');
  }

  read(raw: RawRow): RowOf<S> {
    const row: Record<string, unknown> = {};
    for (const [key, name, column] of this.#fields) row[key] = column.read(raw[name] ?? null);
    return row as RowOf<S>;
  }

  /** `INSERT` of a whole row; `more` is what stands behind it. */
  insert(row: RowOf<S>, more = ''): Statement {
    const marks = Object.keys(this.#shape).map(() => '?');
    return {
      sql: `INSERT INTO ${this.name} (${this.columns}) VALUES (${marks.join(', ')}) ${more}`,
      values: this.values(row),
    };
  }

  /** What stands for the columns of a whole row, in their order. */
  values(row: RowOf<S>): SqlValue[] {
    return Object.entries(this.#shape).map(([key, column]) => column.write(row[key]));
  }

  /** `UPDATE` of some columns; of none, the rows count all the same. `where` comes with its own values. */
  update(set: Partial<RowOf<S>>, where: string, ...values: readonly SqlValue[]): Statement {
    const given = Object.entries(this.#shape).filter(([key]) => set[key] !== undefined);
    const [same = ''] = Object.keys(this.#shape).map(snake);
    const sets = given.length === 0 ? `${same} = ${same}` : given.map(([key]) => `${snake(key)} = ?`).join(', ');
    return {
      sql: `UPDATE ${this.name} SET ${sets} WHERE ${where}`,
      values: [...given.map(([key, column]) => column.write(set[key])), ...values],
    };
  }

  /** `SELECT` of whole rows; `rest` begins behind the table's name. */
  select(rest: string, ...values: readonly SqlValue[]): Statement {
    return { sql: `SELECT ${this.columns} FROM ${this.name} ${rest}`, values };
  }
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
