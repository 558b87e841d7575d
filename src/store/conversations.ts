// Rows of conversations: one per contact.
import type { Database } from '../sqlite/open.ts';

export type ConversationRow = {
  readonly id: number;
  readonly uid: Uint8Array<ArrayBuffer>;
  readonly kind: 'contact';
  readonly contactId: number;
  readonly draft: string;
  readonly archived: number;
  readonly unread: number;
  readonly lastAt: number | null;
  readonly createdAt: number;
};

const COLUMNS = `id, uid, kind, contact_id AS contactId, draft, archived, unread, last_at AS lastAt, created_at AS createdAt`;

export const getConversation = (db: Database, id: number): ConversationRow | undefined =>
  db.get<ConversationRow>(`SELECT ${COLUMNS} FROM conversations WHERE id = ?`, id);

export const getConversationOfContact = (db: Database, contactId: number): ConversationRow | undefined =>
  db.get<ConversationRow>(`SELECT ${COLUMNS} FROM conversations WHERE contact_id = ?`, contactId);

/** The latest first. */
export const listConversations = (db: Database): ConversationRow[] =>
  db.all<ConversationRow>(`SELECT ${COLUMNS} FROM conversations ORDER BY last_at DESC NULLS LAST, id DESC`);

/** Adds the conversation of a contact and gives its row id. */
export const putConversation = (db: Database, row: Pick<ConversationRow, 'uid' | 'contactId' | 'createdAt'>): number =>
  db.run(
    `INSERT INTO conversations (uid, kind, contact_id, created_at) VALUES (?, 'contact', ?, ?)`,
    row.uid,
    row.contactId,
    row.createdAt,
  ).lastInsertRowid;

const FIELDS = { draft: 'draft', archived: 'archived', unread: 'unread', lastAt: 'last_at' } as const;

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

/** Adds to the count of unread messages; it never goes below zero. */
export const addUnread = (db: Database, id: number, difference: number): void => {
  db.run('UPDATE conversations SET unread = max(0, unread + ?) WHERE id = ?', difference, id);
};

/** Unread messages of all conversations. */
export const countUnread = (db: Database): number =>
  db.get<{ n: number | null }>('SELECT sum(unread) AS n FROM conversations')?.n ?? 0;
