import { expect, test } from 'vitest';
import { bashLine } from './bash-line.ts';

const BREAKS = ` \t\n"'@><=;|&(:`;
const FITS = ['#ops', "Berta O'Neil $HOME", 'bob@home', '--wait=sent', 'a b'];

test.each<[line: string, words: readonly string[], put: string | undefined]>([
  ['sotto ', [''], '\\#ops'],
  ['sotto read #', ['read', '#'], '\\#ops'],
  ['sotto read \\#o', ['read', '#o'], '\\#ops'],
  ["sotto read '#o", ['read', '#o'], '#ops'],
  ['sotto read "#o', ['read', '#o'], '#ops'],
  ['sotto read B', ['read', 'B'], "Berta\\ O\\'Neil\\ \\$HOME"],
  ['sotto read Berta\\ O', ['read', 'Berta O'], "Berta\\ O\\'Neil\\ \\$HOME"],
  ["sotto read 'B", ['read', 'B'], undefined],
  ['sotto read "B', ['read', 'B'], "Berta O'Neil \\$HOME"],
  ['sotto read "Berta O\'N', ['read', "Berta O'N"], "Berta O'Neil \\$HOME"],
  ['sotto read bob@', ['read', 'bob@'], '@home'],
  ['sotto read bob@ho', ['read', 'bob@ho'], '@home'],
  ['sotto send bob --wait=s', ['send', 'bob', '--wait=s'], 'sent'],
  [
    "sotto --data-dir=/x\\ y \"two  words\" 'it'\"'\"'s' a\\ ",
    ['--data-dir=/x y', 'two  words', "it's", 'a '],
    'a\\ b',
  ],
  ['sotto  read\ta', ['read', 'a'], 'a\\ b'],
])('%j is taken apart, and gets what fits', (line, words, put) => {
  const read = bashLine(line, BREAKS);
  expect(read.words).toEqual(words);
  expect(read.finish(FITS.find((one) => one.startsWith(words.at(-1) ?? '')) ?? '')).toBe(put);
});
