// How many rows an answer takes: as many as are asked for, and no more bodies than a front end, and this program, hold at once.
import { PAGE_BYTES_MAX } from '../protocol/limits.ts';

// So many are read of the store at once.
const STEP_ROWS = 100;

export type Filled<Row> = { readonly rows: Row[]; readonly more: boolean };

/** A page as it fills, in the order in which it is read: `limit` rows, and `bytesMax` of bodies, of at least one. */
export class Page<Row extends { readonly body: string }> {
  readonly rows: Row[] = [];
  readonly #limit: number;
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(limit: number, bytesMax = PAGE_BYTES_MAX) {
    this.#limit = limit;
    this.#bytesMax = bytesMax;
  }

  /** How many to read next: one more than there is room for says that there are more. */
  get wanted(): number {
    return Math.min(STEP_ROWS, this.#limit + 1 - this.rows.length);
  }

  /** Takes what was read; false when some of it has no room. */
  take(found: readonly Row[]): boolean {
    for (const row of found) {
      this.#bytes += Buffer.byteLength(row.body);
      if (this.rows.length >= this.#limit || (this.rows.length > 0 && this.#bytes > this.#bytesMax)) return false;
      this.rows.push(row);
    }
    return true;
  }
}

/** The rows of a page; `next` gives those behind the last one, fewer than were wanted at the end. */
export const fillPage = <Row extends { readonly body: string }>(
  limit: number,
  next: (last: Row | undefined, wanted: number) => readonly Row[],
  bytesMax?: number,
): Filled<Row> => {
  const page = new Page<Row>(limit, bytesMax);
  for (;;) {
    const { wanted } = page;
    const found = next(page.rows.at(-1), wanted);
    if (!page.take(found)) return { rows: page.rows, more: true };
    if (found.length < wanted) return { rows: page.rows, more: false };
  }
};
