// Text in lines no longer than a page or a terminal is wide.
import { unmarked } from './style.ts';

/** Cells that a text takes on a terminal, about. */
const widthOf = (marked: string): number => {
  const text = unmarked(marked);
  if (/^[\u0020-\u007e]*$/.test(text)) return text.length;
  // What is drawn in two cells, and what in none. Made here: most commands draw neither.
  const wide =
    /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60]/u;
  const none = /[\p{M}\p{Emoji_Modifier}\u200d]/u;
  let width = 0;
  for (const one of text) width += none.test(one) ? 0 : wide.test(one) ? 2 : 1;
  return width;
};

/** Each line of it broken at spaces; lines that begin so start with `indent`. A word longer than a line stays whole. */
export const wrap = (text: string, columns: number, indent = ''): string =>
  text
    .split('\n')
    .map((line) => wrapLine(line, columns, indent))
    .join('\n');

const wrapLine = (text: string, columns: number, indent: string): string => {
  if (widthOf(text) <= columns) return text;
  const lines: string[] = [];
  let width = 0;
  for (const word of text.split(' ')) {
    const more = widthOf(word);
    if (lines.length > 0 && width + 1 + more <= columns) {
      lines[lines.length - 1] += ` ${word}`;
      width += 1 + more;
      continue;
    }
    width = (lines.length === 0 ? 0 : indent.length) + more;
    lines.push(lines.length === 0 ? word : `${indent}${word}`);
  }
  return lines.join('\n');
};

/** Lines whose parts stand two spaces apart, behind a mark of two cells: the second part of all begins in one column. */
export const aligned = (lines: readonly string[]): string[] => {
  const ends = lines.map((line) => line.indexOf(GAP, MARK));
  const firstOf = (i: number): string => (lines[i] ?? '').slice(0, Math.max(0, ends[i] ?? 0));
  const widths = lines.map((_, i) => widthOf(firstOf(i)));
  const width = Math.max(0, ...widths.filter((one) => one <= FIRST_MAX));
  return lines.map((line, i) =>
    (ends[i] ?? -1) < 0 || firstOf(i).includes('\n')
      ? line
      : `${firstOf(i)}${' '.repeat(Math.max(0, width - (widths[i] ?? 0)))}${line.slice(ends[i])}`,
  );
};
const GAP = '  ';
const MARK = 2;
const FIRST_MAX = 40;

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
