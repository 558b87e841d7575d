// Which known word somebody meant who typed another one.

const SLIPS_MAX = 2;
const NEAR_MAX = 3;

/**
 * How many letters were left out, added, replaced or swapped with their neighbour between two words. Source: the restricted
 * distance of Damerau and Levenshtein (optimal string alignment).
 */
export const editDistance = (a: string, b: string): number => {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = swapped ? (before[j - 2] ?? 0) + 1 : replace;
      next.push(Math.min(replace, swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
};

/** The known words that are at most two slips away, and have more letters than that alike, the nearest first: three at most. */
export const nearOf = (word: string, known: Iterable<string>): string[] =>
  [...new Set(known)]
    .filter((one) => Math.abs(one.length - word.length) <= SLIPS_MAX)
    .map((one) => ({ one, slips: editDistance(word.toLowerCase(), one.toLowerCase()) }))
    .filter(({ one, slips }) => slips <= SLIPS_MAX && slips < Math.max(one.length, word.length) - 1)
    .sort((a, b) => a.slips - b.slips)
    .slice(0, NEAR_MAX)
    .map(({ one }) => one);

/** `: did you mean a, b?`, or something else where nothing is near. */
export const meant = (near: readonly string[], otherwise = ''): string =>
  near.length === 0 ? otherwise : `: did you mean ${near.join(', ')}?`;
