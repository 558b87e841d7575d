// What a person types to look for, as words: never an index's own query language, in which an operator is a word like any other.

/** A word, or words that follow each other; `prefix`: also as the beginning of a word. */
export type Term = { readonly text: string; readonly prefix: boolean };

const TERMS_MAX = 32;

/** The terms in a query: words, "quoted words", and `begin*`; at most 32. Empty when there is no letter or digit. */
export const termsOf = (words: string): Term[] =>
  [...words.matchAll(/"([^"]*)"?|(\S+)/g)]
    .map(([, phrase, word]) => ({
      text: (phrase ?? word ?? '').replace(/\*$/, ''),
      prefix: word?.endsWith('*') ?? false,
    }))
    .filter(({ text }) => /[\p{L}\p{N}]/u.test(text))
    .slice(0, TERMS_MAX);

// Scripts that put no space between words.
const UNSPACED =
  /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Bopomofo}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}\p{sc=Tibetan}]/gu;

/** Whether a term may stand anywhere in a clause: an index by words has the letters of it, and not all marks between them. */
export const isUnspaced = ({ text }: Term): boolean => text.search(UNSPACED) >= 0;

/** A text as an index by words takes it: composed, and each letter of a script without spaces a word of its own. */
export const apart = (text: string): string =>
  /^\p{ASCII}*$/u.test(text) ? text : text.normalize('NFC').replace(UNSPACED, ' $& ');

/** All terms in one column of an FTS5 table. */
export const matchOf = (column: string, terms: readonly Term[]): string =>
  `${column} : (${terms.map(quote).join(' AND ')})`;

// The index reads a query up to its first NUL.
const quote = ({ text, prefix }: Term): string =>
  `"${apart(text).replace(/["\0]/g, ' ').trimEnd()}"${prefix ? '*' : ''}`;
