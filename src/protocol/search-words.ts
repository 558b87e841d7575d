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

/** All terms in one column of an FTS5 table. */
export const matchOf = (column: string, terms: readonly Term[]): string =>
  `${column} : (${terms.map(quote).join(' AND ')})`;

// The index reads a query up to its first NUL.
const quote = ({ text, prefix }: Term): string => `"${text.replace(/["\0]/g, ' ')}"${prefix ? '*' : ''}`;
