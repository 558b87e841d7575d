// Text in lines no longer than a page or a terminal is wide.

/** Broken at spaces; lines after the first begin with `indent`. A word longer than a line stays whole. */
export const wrap = (text: string, columns: number, indent = ''): string => {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length === 0) lines.push(word);
    else if (longer.length > columns) lines.push(`${indent}${word}`);
    else lines[lines.length - 1] = longer;
  }
  return lines.join('\n');
};

const ROW_WORDS = 4;
// The longest words of the list have 8 letters.
const WORD_COLUMNS = 14;

/** Words that are written down: each with its number, four a line. */
export const numbered = (words: readonly string[]): string =>
  Array.from({ length: Math.ceil(words.length / ROW_WORDS) }, (_, row) =>
    words
      .slice(row * ROW_WORDS, (row + 1) * ROW_WORDS)
      .map((word, i) => `${String(row * ROW_WORDS + i + 1).padStart(3)} ${word}`.padEnd(WORD_COLUMNS))
      .join('')
      .trimEnd(),
  ).join('\n');
