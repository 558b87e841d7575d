// Rows of messages with their versions, and the full-text index that goes with every change of a body.
import { apart } from '../protocol/search-words.ts';
import type { Database } from '../sqlite/open.ts';

export type StoredState = 'queued' | 'sent' | 'delivered' | 'read' | 'failed' | 'received';

export type MessageRow = {
  readonly id: number;
  readonly conversationId: number;
  readonly messageId: Uint8Array<ArrayBuffer>;
  readonly mine: number;
  readonly body: string;
  readonly state: StoredState;
  readonly reason: string;
  readonly sentAt: number;
  readonly receivedAt: number | null;
  readonly deliveredAt: number | null;
  readonly readAt: number | null;
  readonly unread: number;
  readonly replyTo: Uint8Array<ArrayBuffer> | null;
  readonly editNumber: number;
  readonly editedAt: number | null;
  readonly deletedAt: number | null;
  readonly expiresMs: number | null;
  readonly expiresFrom: 'delivery' | 'read';
  readonly expiresAt: number | null;
  readonly pinnedAt: number | null;
  readonly fileId: number | null;
  /** Who wrote it in a room; null in a conversation with a contact. */
  readonly memberRow: number | null;
  /** Its place in the log: of the channel, or of our inbox; null before the server has answered, and for what this device has said to a member. */
  readonly seq: number | null;
  /** The root of its thread. */
  readonly thread: Uint8Array<ArrayBuffer> | null;
  /** Whether it names me. */
  readonly mention: number;
  /** Who has shown it to me, of what was said before I came. */
  readonly sharedBy: number | null;
};

export const MESSAGE_COLUMNS = `m.id, m.conversation_id AS conversationId, m.message_id AS messageId, m.mine, m.body, m.state, m.reason,
  m.sent_at AS sentAt, m.received_at AS receivedAt, m.delivered_at AS deliveredAt, m.read_at AS readAt, m.unread,
  m.reply_to AS replyTo, m.edit_number AS editNumber, m.edited_at AS editedAt, m.deleted_at AS deletedAt,
  m.expires_ms AS expiresMs, m.expires_from AS expiresFrom, m.expires_at AS expiresAt, m.pinned_at AS pinnedAt, m.file_id AS fileId,
  m.member_row AS memberRow, m.seq, m.thread, m.mention, m.shared_by AS sharedBy`;

/** The reason of a message whose kind this version does not know: that it came is all that is kept. */
export const UNKNOWN_KIND = 'unknownKind';

export type NewMessage = Pick<
  MessageRow,
  | 'conversationId'
  | 'messageId'
  | 'mine'
  | 'body'
  | 'state'
  | 'sentAt'
  | 'receivedAt'
  | 'unread'
  | 'replyTo'
  | 'expiresMs'
  | 'expiresFrom'
  | 'expiresAt'
  | 'fileId'
> &
  Partial<Pick<MessageRow, 'memberRow' | 'seq' | 'thread' | 'mention' | 'sharedBy' | 'reason'>>;

/** Appends a message and indexes its words; gives its row id. */
export const putMessage = (db: Database, row: NewMessage): number => {
  const id = db.run(
    `INSERT INTO messages (conversation_id, message_id, mine, body, state, sent_at, received_at, unread, reply_to,
       expires_ms, expires_from, expires_at, file_id, member_row, seq, thread, mention, shared_by, reason)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    row.conversationId,
    row.messageId,
    row.mine,
    row.body,
    row.state,
    row.sentAt,
    row.receivedAt,
    row.unread,
    row.replyTo,
    row.expiresMs,
    row.expiresFrom,
    row.expiresAt,
    row.fileId,
    row.memberRow ?? null,
    row.seq ?? null,
    row.thread ?? null,
    row.mention ?? 0,
    row.sharedBy ?? null,
    row.reason ?? '',
  ).lastInsertRowid;
  putIndex(db, { id, conversationId: row.conversationId, mine: row.mine, memberRow: row.memberRow ?? null }, row.body);
  return id;
};

export const getMessage = (db: Database, id: number): MessageRow | undefined =>
  db.get<MessageRow>(`SELECT ${MESSAGE_COLUMNS} FROM messages m WHERE m.id = ?`, id);

export const getMessageById = (db: Database, conversationId: number, messageId: Uint8Array): MessageRow | undefined =>
  db.get<MessageRow>(
    `SELECT ${MESSAGE_COLUMNS} FROM messages m WHERE m.conversation_id = ? AND m.message_id = ?`,
    conversationId,
    messageId,
  );

/** Whether there is a message of this id in any conversation: an id that one has is nobody else's. */
export const hasMessage = (db: Database, messageId: Uint8Array): boolean =>
  db.get('SELECT 1 FROM messages WHERE message_id = ?', messageId) !== undefined;

/** Messages of any conversation whose id lies in [from, to], at most `limit`: for an id prefix. */
export const listMessagesByIdRange = (db: Database, from: Uint8Array, to: Uint8Array, limit: number): MessageRow[] =>
  db.all<MessageRow>(
    `SELECT ${MESSAGE_COLUMNS} FROM messages m WHERE m.message_id BETWEEN ? AND ? ORDER BY m.id LIMIT ?`,
    from,
    to,
    limit,
  );

/** How many have an id in [from, to]. */
export const countMessagesByIdRange = (db: Database, from: Uint8Array, to: Uint8Array): number =>
  db.get<{ n: number }>('SELECT count(*) AS n FROM messages WHERE message_id BETWEEN ? AND ?', from, to)?.n ?? 0;

const FIELDS = {
  messageId: 'message_id',
  state: 'state',
  reason: 'reason',
  deliveredAt: 'delivered_at',
  readAt: 'read_at',
  unread: 'unread',
  editNumber: 'edit_number',
  editedAt: 'edited_at',
  expiresAt: 'expires_at',
  pinnedAt: 'pinned_at',
  sentAt: 'sent_at',
  seq: 'seq',
  mention: 'mention',
} as const;

/** Changes the given fields of a message; its body has functions of its own. */
export const patchMessage = (db: Database, id: number, patch: Partial<Pick<MessageRow, keyof typeof FIELDS>>): void => {
  db.patch('messages', FIELDS, id, patch);
};

/** Replaces the text, keeps the one before as a version, and indexes the new words. */
export const editMessage = (
  db: Database,
  row: MessageRow,
  text: string,
  edit: { readonly number: number; readonly at: number },
): void => {
  db.run(
    'INSERT INTO message_versions (message_row, number, body, at) VALUES (?, ?, ?, ?)',
    row.id,
    row.editNumber,
    row.body,
    row.editedAt ?? row.sentAt,
  );
  db.run(
    'UPDATE messages SET body = ?, edit_number = ?, edited_at = ? WHERE id = ?',
    text,
    edit.number,
    edit.at,
    row.id,
  );
  removeIndex(db, row);
  putIndex(db, row, text);
};

/** A message gets another id: what names it in its conversation goes along. */
export const renameMessage = (db: Database, row: MessageRow, messageId: Uint8Array): void => {
  db.run('UPDATE messages SET message_id = ? WHERE id = ?', messageId, row.id);
  for (const column of ['reply_to', 'thread'])
    db.run(
      `UPDATE messages SET ${column} = ? WHERE conversation_id = ? AND ${column} = ?`,
      messageId,
      row.conversationId,
      row.messageId,
    );
};

/** Whether an edit of this number gave a message this text, now or before. */
export const isVersion = (db: Database, row: MessageRow, number: number, text: string): boolean =>
  (number === row.editNumber && text === row.body) ||
  db.get('SELECT 1 FROM message_versions WHERE message_row = ? AND number = ? AND body = ?', row.id, number, text) !==
    undefined;

/** An edit that nobody else has: where it is the text of now, that is the one before it again. */
export const takeBackEdit = (db: Database, row: MessageRow, number: number): void => {
  if (row.editNumber !== number) {
    db.run('DELETE FROM message_versions WHERE message_row = ? AND number = ?', row.id, number);
    return;
  }
  const before = db.get<VersionRow>(
    'SELECT number, body, at FROM message_versions WHERE message_row = ? AND number < ? ORDER BY number DESC LIMIT 1',
    row.id,
    number,
  );
  if (before === undefined) return;
  db.run('DELETE FROM message_versions WHERE message_row = ? AND number = ?', row.id, before.number);
  db.run(
    'UPDATE messages SET body = ?, edit_number = ?, edited_at = ? WHERE id = ?',
    before.body,
    before.number,
    before.number === 0 ? null : before.at,
    row.id,
  );
  removeIndex(db, row);
  putIndex(db, row, before.body);
};

/** Replaces the text of a message that nobody has been sent, and indexes the new words. */
export const replaceText = (db: Database, row: MessageRow, text: string): void => {
  db.run('UPDATE messages SET body = ? WHERE id = ?', text, row.id);
  removeIndex(db, row);
  putIndex(db, row, text);
};

/**
 * Moves a message behind all others, with everything that points at it: the order of rows is the order of every screen, and a
 * message of mine stands where the server has put it.
 */
export const moveToEnd = (db: Database, row: MessageRow): number => {
  const last = db.get<{ id: number }>('SELECT max(id) AS id FROM messages')?.id ?? row.id;
  if (last === row.id) return row.id;
  // No id is so short.
  const copy = putMessage(db, { ...row, messageId: new Uint8Array(1) });
  for (const table of ['message_versions', 'reactions', 'room_outbox', 'room_events', 'events'])
    db.run(`UPDATE ${table} SET message_row = ? WHERE message_row = ?`, copy, row.id);
  removeIndex(db, row.deletedAt === null ? row : { ...row, id: copy });
  db.run('DELETE FROM messages WHERE id = ?', row.id);
  db.run(
    `UPDATE messages SET message_id = ?, reason = ?, delivered_at = ?, read_at = ?, edit_number = ?, edited_at = ?, deleted_at = ?,
       pinned_at = ? WHERE id = ?`,
    row.messageId,
    row.reason,
    row.deliveredAt,
    row.readAt,
    row.editNumber,
    row.editedAt,
    row.deletedAt,
    row.pinnedAt,
    copy,
  );
  return copy;
};

/** Empties a message on its author's word: text, versions, reactions and index go, the row tells that there was one. */
export const deleteMessage = (db: Database, row: MessageRow, at: number): void => {
  db.run(
    `UPDATE messages SET body = '', deleted_at = ?, unread = 0, mention = 0, pinned_at = NULL, expires_at = NULL, edit_number = 0, edited_at = NULL WHERE id = ?`,
    at,
    row.id,
  );
  db.run('DELETE FROM message_versions WHERE message_row = ?', row.id);
  db.run('DELETE FROM reactions WHERE message_row = ?', row.id);
  forgetSigned(db, row.id);
  removeIndex(db, row);
};

// What was erased here is shown to nobody else, either.
const forgetSigned = (db: Database, messageRow: number): void => {
  db.run('UPDATE room_events SET signed = NULL WHERE message_row = ? AND signed IS NOT NULL', messageRow);
};

/** Erases a message whole: no row, version, reaction or index entry stays. */
export const removeMessage = (db: Database, id: number): void => {
  const row = getMessage(db, id);
  if (row === undefined) return;
  if (row.deletedAt === null) removeIndex(db, row);
  forgetSigned(db, id);
  db.run('DELETE FROM messages WHERE id = ?', id);
};

/** Messages whose time is over, the first to end first. */
export const listExpired = (db: Database, now: number, limit: number): MessageRow[] =>
  db.all<MessageRow>(
    `SELECT ${MESSAGE_COLUMNS} FROM messages m WHERE m.expires_at <= ? ORDER BY m.expires_at LIMIT ?`,
    now,
    limit,
  );

/** When the next message ends. */
export const nextExpiry = (db: Database): number | undefined =>
  db.get<{ at: number | null }>('SELECT min(expires_at) AS at FROM messages WHERE expires_at IS NOT NULL')?.at ??
  undefined;

/** Every message that ends, ends `ms` earlier. */
export const moveExpiries = (db: Database, ms: number): void => {
  db.run('UPDATE messages SET expires_at = expires_at - ? WHERE expires_at IS NOT NULL', ms);
};

export type VersionRow = { readonly number: number; readonly body: string; readonly at: number };

/** Earlier texts, the first first. */
export const listVersions = (db: Database, messageRow: number): VersionRow[] =>
  db.all<VersionRow>('SELECT number, body, at FROM message_versions WHERE message_row = ? ORDER BY number', messageRow);

export const countPins = (db: Database, conversationId: number): number =>
  db.get<{ n: number }>(
    'SELECT count(*) AS n FROM messages WHERE conversation_id = ? AND pinned_at IS NOT NULL',
    conversationId,
  )?.n ?? 0;

type Indexed = Pick<MessageRow, 'id' | 'conversationId' | 'mine' | 'memberRow'>;

/** What the full-text index holds of a message. */
export type IndexedMessage = Indexed & { readonly body: string };

/** The tokens by which a search filters: the conversation, who wrote it, and both as one, for the rarest wins. */
const whoTokens = ({ conversationId, mine, memberRow }: Omit<Indexed, 'id'>): string => {
  const side = mine === 1 ? 'me' : 'them';
  const member = memberRow === null ? '' : ` m${memberRow} c${conversationId}m${memberRow}`;
  return `c${conversationId} ${side} c${conversationId}${side}${member}`;
};

/** Puts the words of a message into the full-text index. */
export const putIndex = (db: Database, row: Indexed, body: string): void => {
  db.run('INSERT INTO messages_fts (rowid, body, who) VALUES (?, ?, ?)', row.id, apart(body), whoTokens(row));
};

// The index holds words only: it must be told exactly what it was given, or the words would stay in it.
const removeIndex = (db: Database, row: IndexedMessage, indexed = apart(row.body)): void => {
  db.run(
    `INSERT INTO messages_fts (messages_fts, rowid, body, who) VALUES ('delete', ?, ?, ?)`,
    row.id,
    indexed,
    whoTokens(row),
  );
};

/** Every message that is indexed, in order; a page at a time. */
export function* indexedMessages(db: Database): Generator<IndexedMessage> {
  for (let after = 0; ; ) {
    const page = db.all<IndexedMessage>(
      `SELECT id, conversation_id AS conversationId, mine, member_row AS memberRow, body FROM messages
         WHERE deleted_at IS NULL AND id > ? ORDER BY id LIMIT 1000`,
      after,
    );
    yield* page;
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.id;
  }
}

/** Up to schema 5 the index was given texts as they were: what it is given otherwise now is indexed anew. */
export const indexApart = (db: Database): void => {
  for (const row of indexedMessages(db)) {
    if (apart(row.body) === row.body) continue;
    removeIndex(db, row, row.body);
    putIndex(db, row, row.body);
  }
};
