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
 * between words is found wherever it stands; the messages that the index leaves are read for it, newest first.
 * Throws `params.invalid` without a word.
 */
export const searchMessages = (db: Database, options: SearchOptions): SearchHit[] => {
  const terms = termsOf(options.words);
  if (terms.length === 0) throw new SottoError('params.invalid', { message: 'There is no word to look for' });
  const { conversationId, side = '' } = options;
  const place = conversationId === undefined ? '' : `c${conversationId}`;
  const who = `${place}${typeof side === 'string' ? side : `m${side.memberRow}`}`;
  const words = terms.filter((term) => !isUnspaced(term));
  const inside = terms.filter(isUnspaced);
  const query = [
    ...(words.length === 0 ? [] : [matchOf('body', words)]),
    ...(who !== '' ? [`who : "${who}"`] : words.length === 0 ? ['who : ("me" OR "them")'] : []),
  ].join(' AND ');
  const holds = inside.map(() => `AND (SELECT body FROM messages WHERE id = messages_fts.rowid) LIKE ? ESCAPE '!'`);
  // The driver binds every number as REAL, and FTS5 seeks to a bound only when it is an integer.
  return db
    .all<{ id: number }>(
      `SELECT rowid AS id FROM messages_fts WHERE messages_fts MATCH ? AND rowid > CAST(? AS INTEGER)
         AND rowid < CAST(? AS INTEGER) ${holds.join(' ')} ORDER BY rowid DESC LIMIT ?`,
      query,
      options.after,
      options.before,
      ...inside.map(({ text }) => `%${text.replace(/[!%_]/g, '!$&')}%`),
      options.limit,
    )
    .flatMap(({ id }) => {
      const row = getMessage(db, id);
      return row === undefined ? [] : [{ row, snippet: snippetOf(row.body, terms) }];
    });
};

/** Whether `words` ask for more than the index knows, so that messages are read for them. */
export const readsBodies = (words: string): boolean => termsOf(words).some(isUnspaced);

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
