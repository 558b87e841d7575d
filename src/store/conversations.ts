// Rows of conversations: with a contact, in a channel, or with a member of a server.
import type { Database } from '../sqlite/open.ts';

export type ConversationRow = {
  readonly id: number;
  readonly uid: Uint8Array<ArrayBuffer>;
  readonly kind: 'contact' | 'channel' | 'member';
  /** One of the three, as `kind` says. */
  readonly contactId: number | null;
  readonly channelRow: number | null;
  readonly memberRow: number | null;
  readonly draft: string;
  readonly archived: number;
  readonly unread: number;
  readonly mentions: number;
  readonly lastAt: number | null;
  readonly createdAt: number;
};

const COLUMNS = `id, uid, kind, contact_id AS contactId, channel_row AS channelRow, member_row AS memberRow, draft, archived,
  unread, mentions, last_at AS lastAt, created_at AS createdAt`;

export const getConversation = (db: Database, id: number): ConversationRow | undefined =>
  db.get<ConversationRow>(`SELECT ${COLUMNS} FROM conversations WHERE id = ?`, id);

export const getConversationByUid = (db: Database, uid: Uint8Array): ConversationRow | undefined =>
  db.get<ConversationRow>(`SELECT ${COLUMNS} FROM conversations WHERE uid = ?`, uid);

export const getConversationOfContact = (db: Database, contactId: number): ConversationRow | undefined =>
  db.get<ConversationRow>(`SELECT ${COLUMNS} FROM conversations WHERE contact_id = ?`, contactId);

/** The latest first. */
export const listConversations = (db: Database): ConversationRow[] =>
  db.all<ConversationRow>(`SELECT ${COLUMNS} FROM conversations ORDER BY last_at DESC NULLS LAST, id DESC`);

export const getConversationOfChannel = (db: Database, channelRow: number): ConversationRow | undefined =>
  db.get<ConversationRow>(`SELECT ${COLUMNS} FROM conversations WHERE channel_row = ?`, channelRow);

export const getConversationOfMember = (db: Database, memberRow: number): ConversationRow | undefined =>
  db.get<ConversationRow>(`SELECT ${COLUMNS} FROM conversations WHERE member_row = ?`, memberRow);

type With = { readonly contactId: number } | { readonly channelRow: number } | { readonly memberRow: number };

/** Adds a conversation and gives its row id. */
export const putConversation = (db: Database, row: Pick<ConversationRow, 'uid' | 'createdAt'> & With): number =>
  db.run(
    'INSERT INTO conversations (uid, kind, contact_id, channel_row, member_row, created_at) VALUES (?, ?, ?, ?, ?, ?)',
    row.uid,
    'contactId' in row ? 'contact' : 'channelRow' in row ? 'channel' : 'member',
    'contactId' in row ? row.contactId : null,
    'channelRow' in row ? row.channelRow : null,
    'memberRow' in row ? row.memberRow : null,
    row.createdAt,
  ).lastInsertRowid;

const FIELDS = {
  draft: 'draft',
  archived: 'archived',
  unread: 'unread',
  mentions: 'mentions',
  lastAt: 'last_at',
} as const;

/** Changes the given fields of a conversation. */
export const patchConversation = (
  db: Database,
  id: number,
  patch: Partial<Pick<ConversationRow, keyof typeof FIELDS>>,
): void => {
  db.patch('conversations', FIELDS, id, patch);
};

/** A message came: one more is unread, and the conversation is in sight and the latest. */
export const countArrival = (db: Database, id: number, at: number): void => {
  db.run('UPDATE conversations SET unread = unread + 1, last_at = ?, archived = 0 WHERE id = ?', at, id);
};

/** Adds to the count of unread mentions; it never goes below zero. */
export const addMentions = (db: Database, id: number, difference: number): void => {
  db.run('UPDATE conversations SET mentions = max(0, mentions + ?) WHERE id = ?', difference, id);
};

/** Adds to the count of unread messages; it never goes below zero. */
export const addUnread = (db: Database, id: number, difference: number): void => {
  db.run('UPDATE conversations SET unread = max(0, unread + ?) WHERE id = ?', difference, id);
};

/** Unread messages of all conversations. */
export const countUnread = (db: Database): number =>
  db.get<{ n: number | null }>('SELECT sum(unread) AS n FROM conversations')?.n ?? 0;
