// Messages page by page: before and after a row or a place, of a thread, unread, and at a time.
import type { Database } from '../sqlite/open.ts';
import type { ConversationRow } from './conversations.ts';
import type { MemberRow } from './members.ts';
import { MESSAGE_COLUMNS, type MessageRow } from './messages.ts';

type Looked = { readonly where: string; readonly params: readonly number[]; readonly order: string };

// Of a thread its root and the answers to it, however long the conversation is: each sought by an index of its own, and merged.
// That of the answers is named: others look as good to SQLite.
const listMessages = (
  db: Database,
  { where, params, order }: Looked,
  limit: number,
  thread: Uint8Array | null,
): MessageRow[] => {
  const rows = (from: string) => `SELECT ${MESSAGE_COLUMNS} FROM messages m ${from} WHERE ${where}`;
  if (thread === null) return db.all<MessageRow>(`${rows('')} ORDER BY ${order} LIMIT ?`, ...params, limit);
  const answers = rows('INDEXED BY messages_thread');
  const sql = `${rows('')} AND m.message_id = ? UNION ALL ${answers} AND m.thread = ? ORDER BY ${order} LIMIT ?`;
  return db.all<MessageRow>(sql, ...params, thread, ...params, thread, limit);
};

/** Up to `limit` rows before row `before`, oldest first: the page that ends there. With `thread`, the id of a root, of that. */
export const listMessagesBefore = (
  db: Database,
  conversationId: number,
  before: number,
  limit: number,
  thread: Uint8Array | null = null,
): MessageRow[] => {
  const where = 'm.conversation_id = ? AND m.id < ?';
  return listMessages(db, { where, params: [conversationId, before], order: 'id DESC' }, limit, thread).reverse();
};

/** A place in a channel: the rows of a seq, which two logs of one server may both have, stand in the order of their ids. */
export type Place = { readonly seq: number; readonly id: number };

/** Up to `limit` messages of a channel that the server had placed before a place, the last first. With `thread`, of that. */
export const listMessagesBack = (
  db: Database,
  conversationId: number,
  { seq, id }: Place,
  limit: number,
  thread: Uint8Array | null = null,
): MessageRow[] => {
  const where = 'm.conversation_id = ? AND m.seq <= ? AND (m.seq < ? OR m.id < ?)';
  return listMessages(db, { where, params: [conversationId, seq, seq, id], order: 'seq DESC, id DESC' }, limit, thread);
};

/** The place of a row, or behind the last one before it that has a place. */
export const placeOf = (db: Database, conversationId: number, row: number): Place => {
  const last = db.get<Place>(
    'SELECT seq, id FROM messages WHERE conversation_id = ? AND id <= ? AND seq IS NOT NULL ORDER BY id DESC LIMIT 1',
    conversationId,
    row,
  );
  if (last === undefined) return { seq: 0, id: 0 };
  return last.id === row ? last : { seq: last.seq + 1, id: 0 };
};

/** Rows between two, both left out. */
export type RowRange = { readonly after: number; readonly before: number };

/** The first `limit` rows of a range, oldest first. With `thread`, the id of a root, of that. */
export const listMessagesBetween = (
  db: Database,
  conversationId: number,
  { after, before }: RowRange,
  limit: number,
  thread: Uint8Array | null = null,
): MessageRow[] => {
  const where = 'm.conversation_id = ? AND m.id > ? AND m.id < ?';
  return listMessages(db, { where, params: [conversationId, after, before], order: 'id' }, limit, thread);
};

/** By which time messages stand in the order of their rows: by the server's in a channel, elsewhere by when they came here or were written. */
type TimeOf = { readonly conversationId: number; readonly kind: ConversationRow['kind'] };

/**
 * The first row that stands at or behind a time, of a conversation or, where there is no channel, of all; behind the last one
 * when there is none. Rows grow with that time, so it is found by halving; where a clock was set back, one of the rows on the
 * seam is given.
 */
export const firstRowAt = (db: Database, at: number, of?: TimeOf): number => {
  const time = of?.kind === 'channel' ? 'sent_at' : 'coalesce(received_at, sent_at)';
  const [where, values] = of === undefined ? ['', []] : ['conversation_id = ? AND', [of.conversationId]];
  const next = (from: number) =>
    db.get<{ id: number; at: number }>(
      `SELECT id, ${time} AS at FROM messages WHERE ${where} id >= ? ORDER BY id LIMIT 1`,
      ...values,
      from,
    );
  const end =
    (db.get<{ id: number | null }>(`SELECT max(id) AS id FROM messages WHERE ${where} TRUE`, ...values)?.id ?? 0) + 1;
  let [low, high] = [1, end];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const row = next(middle);
    if (row === undefined || row.at >= at) high = middle;
    else low = row.id + 1;
  }
  return next(low)?.id ?? end;
};

/** The first `limit` unread rows of a range, oldest first, of one conversation or all. */
export const listUnread = (
  db: Database,
  conversationId: number | undefined,
  { after, before }: RowRange,
  limit: number,
): MessageRow[] =>
  conversationId === undefined
    ? unread(db, limit, 'id > ? AND id < ?', after, before)
    : unread(db, limit, 'conversation_id = ? AND id > ? AND id < ?', conversationId, after, before);

/** Unread rows up to row `upTo`. */
export const listUnreadUpTo = (db: Database, conversationId: number, upTo: number, limit: number): MessageRow[] =>
  unread(db, limit, 'conversation_id = ? AND id <= ?', conversationId, upTo);

/** The last place that a message of a conversation up to a row has; 0 where none has one. */
export const lastSeqUpTo = (db: Database, conversationId: number, upToRow: number): number =>
  db.get<{ seq: number | null }>(
    `SELECT max(seq) AS seq FROM messages INDEXED BY messages_seq
       WHERE conversation_id = ? AND id <= ? AND seq IS NOT NULL`,
    conversationId,
    upToRow,
  )?.seq ?? 0;

/** Unread messages of a room whose place is not after `seq`. */
export const listUnreadUpToSeq = (db: Database, conversationId: number, seq: number, limit: number): MessageRow[] =>
  unread(db, limit, 'conversation_id = ? AND seq <= ?', conversationId, seq);

// By the index of the unread, which is named: SQLite would go through all that there are.
const unread = (db: Database, limit: number, where: string, ...values: readonly number[]): MessageRow[] =>
  db.all<MessageRow>(
    `SELECT ${MESSAGE_COLUMNS} FROM messages m WHERE m.id IN (SELECT id FROM messages INDEXED BY messages_unread
       WHERE unread = 1 AND ${where} ORDER BY id LIMIT ?) ORDER BY m.id`,
    ...values,
    limit,
  );

/** A message of mine to a member, by row. */
export type SentToMember = MessageRow & { readonly to: number };

/** Times in ms: of what was sent, and of when it was confirmed. */
export type Since = { readonly sent: number; readonly confirmed: number };

/**
 * What this device has sent to members of a server since a time, the latest first: what nobody has confirmed, and what was
 * confirmed since another time where they or `me`, my row there, have several devices.
 */
export const listSentToMembers = (db: Database, me: MemberRow, since: Since, limit: number): SentToMember[] =>
  db.all<SentToMember>(
    `SELECT ${MESSAGE_COLUMNS}, c.member_row AS "to" FROM members b JOIN conversations c ON c.member_row = b.id
       JOIN messages m ON m.conversation_id = c.id
       WHERE b.server_id = ? AND m.mine = 1 AND m.seq IS NULL AND m.deleted_at IS NULL AND m.sent_at >= ?
         AND (m.state = 'sent' OR (m.delivered_at >= ?
           AND (SELECT count(*) FROM devices d WHERE d.member_row IN (b.id, ?) AND d.revoked = 0) > 2))
       ORDER BY m.id DESC LIMIT ?`,
    me.serverId,
    since.sent,
    since.confirmed,
    me.id,
    limit,
  );

/** The last row of any conversation; 0 when there is none. */
export const lastMessageRow = (db: Database): number =>
  db.get<{ id: number | null }>('SELECT max(id) AS id FROM messages')?.id ?? 0;

/** Rows of a conversation before row `before` that stand behind a place of the log, or have none yet, in the order of the log. */
export const listBehindSeq = (
  db: Database,
  conversationId: number,
  { seq, before }: { readonly seq: number; readonly before: number },
): MessageRow[] =>
  db.all<MessageRow>(
    `SELECT ${MESSAGE_COLUMNS} FROM messages m WHERE m.conversation_id = ? AND m.id < ? AND (m.seq > ? OR m.seq IS NULL)
       ORDER BY m.seq IS NULL, m.seq, m.id`,
    conversationId,
    before,
    seq,
  );

/** Whether behind a row stands a message of the conversation whose place is before `seq`: mostly few stand there, and many before it. */
export const hasEarlierBehind = (db: Database, row: MessageRow, seq: number): boolean =>
  db.get(
    `SELECT 1 AS found FROM messages INDEXED BY messages_conversation
       WHERE conversation_id = ? AND id > ? AND seq < ? LIMIT 1`,
    row.conversationId,
    row.id,
    seq,
  ) !== undefined;

/** Ids of roots, between two of them, that messages of a conversation answer. */
export const listThreads = (
  db: Database,
  conversationId: number,
  [from, to]: readonly [Uint8Array, Uint8Array],
  limit: number,
): Uint8Array<ArrayBuffer>[] =>
  db
    .all<{ readonly thread: Uint8Array<ArrayBuffer> }>(
      'SELECT DISTINCT thread FROM messages WHERE conversation_id = ? AND thread BETWEEN ? AND ? LIMIT ?',
      conversationId,
      from,
      to,
      limit,
    )
    .map(({ thread }) => thread);

/**
 * Answers in the thread of a message at a seq: those that were deleted since were there, and those before were not. SQLite would
 * choose the index of seqs, and read all that was said before.
 */
export const countThreadAt = (db: Database, conversationId: number, root: Uint8Array, seq: number): number =>
  db.get<{ n: number }>(
    `SELECT count(*) AS n FROM messages m INDEXED BY messages_thread
       WHERE conversation_id = ? AND thread = ? AND m.seq <= ? AND (deleted_at IS NULL
       OR EXISTS (SELECT 1 FROM room_events e WHERE e.message_row = m.id AND e.seq > ? AND e.kind = 'erase'))`,
    conversationId,
    root,
    seq,
    seq,
  )?.n ?? 0;

/** Answers in the thread of a message, without those that were deleted. */
export const countThread = (db: Database, conversationId: number, root: Uint8Array): number =>
  db.get<{ n: number }>(
    'SELECT count(*) AS n FROM messages WHERE conversation_id = ? AND thread = ? AND deleted_at IS NULL',
    conversationId,
    root,
  )?.n ?? 0;
