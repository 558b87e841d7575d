// Lists of any length, page by page.
import { ROOM_PAGE_BYTES_MAX, ROOM_PAGE_MAX } from '../protocol/limits.ts';
import type { Turn } from './turns.ts';

/** All of a list in its order, ROOM_PAGE_MAX at a time: `read` gives what comes after a key, which `keyOf` takes from a row. */
export async function* pages<T, K>(
  read: (after: K | undefined, limit: number) => Promise<readonly T[]>,
  keyOf: (row: T) => K,
): AsyncGenerator<readonly T[]> {
  for (let after: K | undefined; ; ) {
    const page = await read(after, ROOM_PAGE_MAX);
    yield page;
    const last = page.at(-1);
    if (last === undefined || page.length < ROOM_PAGE_MAX) return;
    after = keyOf(last);
  }
}

/** The rows of all pages. */
export const rowsOf = async <T>(all: AsyncIterable<readonly T[]>): Promise<T[]> => {
  const rows: T[] = [];
  for await (const page of all) rows.push(...page);
  return rows;
};

// Of what takes a while each, as to count the members of a large channel.
const AT_ONCE = 16;

/** What `make` makes of each row, in their order, AT_ONCE of them at the same time; others have their `turn` in between. */
export const inTurns = async <T, R>(
  rows: readonly T[],
  turn: Turn,
  make: (row: T) => Promise<R>,
): Promise<readonly R[]> => {
  const made: R[] = [];
  for (let at = 0; at < rows.length; at += AT_ONCE) {
    if (at > 0) await turn();
    made.push(...(await Promise.all(rows.slice(at, at + AT_ONCE).map(make))));
  }
  return made;
};

/** As many from the beginning as fit into an answer, or into so many bytes of it; one at least. */
export const fitting = <T>(all: readonly T[], bytesMax = ROOM_PAGE_BYTES_MAX): T[] => {
  let bytes = 0;
  return all.filter((one, i) => {
    bytes += Buffer.byteLength(JSON.stringify(one));
    return i === 0 || bytes <= bytesMax;
  });
};

/** Where the next page of a list by ids begins. */
export const byId = <Id>({ id }: { readonly id: Id }): Id => id;
