// The commands that a sentence tells somebody to run, as they have to be typed here: with the flags that chose the account.
import { asWord } from '../protocol/safe-text.ts';
import { FIRST_WORDS } from './table.ts';

// What was typed or named by somebody stands in quotes; `a sotto link` is none, and a usage line is nothing to paste.
const patternOf = (words: Iterable<string>): RegExp =>
  new RegExp(
    `"(?:[^"\\\\]|\\\\.)*"|“[^”]*”|(?<=\\s)'[^']*'|(?<![\\w/.-]|Usage: |\\b(?:an?|no|the) )sotto (?=(?:${[...words].join('|')})\\b)`,
    'g',
  );

/** The flags that chose data folder and account, as a shell takes them: empty, or with a space before each. */
export const placeFlags = (given: Readonly<Record<string, string | boolean | undefined>>): string =>
  ['data-dir', 'account']
    .map((name) => [name, given[name]] as const)
    .filter((flag): flag is readonly [string, string] => typeof flag[1] === 'string' && flag[1] !== '')
    .map(([name, value]) => ` --${name} ${asWord(value)}`)
    .join('');

/** A sentence in which every `sotto COMMAND` has these flags. */
export const withFlags = (sentence: string, flags: string): string =>
  flags === '' || !sentence.includes('sotto ')
    ? sentence
    : sentence.replace(patternOf(new Set(FIRST_WORDS)), (found) => (found === 'sotto ' ? `sotto${flags} ` : found));
