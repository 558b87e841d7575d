// Full text over the history: the filters are part of the index query, so that a rare word and a common one cost alike.
import { SottoError } from '../protocol/errors.ts';
import { isUnspaced, matchOf, type Term, termsOf } from '../protocol/search-words.ts';
import type { Database } from '../sqlite/open.ts';
import type { RowRange } from './message-pages.ts';
import { getMessage, type MessageRow } from './messages.ts';

const SNIPPET_CHARS = 80;

export type SearchOptions = {
  readonly words: string;
  readonly conversationId?: number;
  /** Whose messages: mine, the other side's, a member's, or all. */
  readonly side?: 'me' | 'them' | { readonly memberRow: number };
  readonly limit: number;
} & RowRange;

export type SearchHit = { readonly row: MessageRow; readonly snippet: string };

/**
 * Messages that hold every word, newest first. Words are matched whole, without regard to case and accents; the last one
 * also as a beginning when it ends in `*`; "quoted words" must follow each other. A word of a script that puts no space
 * between words is found wherever it stands. Throws `params.invalid` without a word.
 */
export const searchMessages = (db: Database, options: SearchOptions): SearchHit[] => {
  const terms = termsOf(options.words);
  if (terms.length === 0) throw new SottoError('params.invalid', { message: 'There is no word to look for' });
  const { conversationId, side = '' } = options;
  const place = conversationId === undefined ? '' : `c${conversationId}`;
  const who = `${place}${typeof side === 'string' ? side : `m${side.memberRow}`}`;
  const query = [matchOf('body', terms), ...(who === '' ? [] : [`who : "${who}"`])].join(' AND ');
  const inside = terms.filter(isUnspaced).map(({ text }) => likeOf(text));
  // The driver binds every number as REAL, and FTS5 seeks to a bound only when it is an integer.
  return db
    .all<{ id: number }>(
      `SELECT rowid AS id FROM messages_fts WHERE messages_fts MATCH ? AND rowid > CAST(? AS INTEGER)
         AND rowid < CAST(? AS INTEGER) ${holding(inside.length)} ORDER BY rowid DESC LIMIT ?`,
      query,
      options.after,
      options.before,
      ...inside.flat(),
      options.limit,
    )
    .flatMap(({ id }) => hitOf(db, id, terms));
};

/** A message with the part of it that was looked for; none when it is gone or was deleted. */
export const hitOf = (db: Database, id: number, terms: readonly Term[]): SearchHit[] => {
  const row = getMessage(db, id);
  return row === undefined || row.deletedAt !== null ? [] : [{ row, snippet: snippetOf(row.body, terms) }];
};

// One clause, however many they are: beside many the planner does not give MATCH to the index, which fails. Who wrote a text may
// have composed its letters, or not.
const holding = (words: number): string =>
  words === 0
    ? ''
    : `AND EXISTS (SELECT 1 FROM messages m WHERE m.id = messages_fts.rowid
         ${" AND (m.body LIKE ? ESCAPE '!' OR m.body LIKE ? ESCAPE '!')".repeat(words)})`;
const likeOf = (text: string): string[] =>
  (['NFC', 'NFD'] as const).map((form) => `%${text.normalize(form).replace(/[!%_]/g, '!$&')}%`);

/** The part of a body around its first hit. */
const snippetOf = (body: string, terms: readonly Term[]): string => {
  const plain = fold(body);
  const found = terms.map(({ text }) => plain.indexOf(fold(text))).filter((at) => at >= 0);
  const from = Math.max(0, Math.min(...found, body.length) - SNIPPET_CHARS / 4);
  const start = found.length === 0 ? 0 : from;
  const part = body.slice(start, start + SNIPPET_CHARS).replace(/\s+/g, ' ');
  return `${start > 0 ? '…' : ''}${part.toWellFormed()}${start + SNIPPET_CHARS < body.length ? '…' : ''}`;
};

const fold = (text: string): string => text.toLowerCase().normalize('NFC');
