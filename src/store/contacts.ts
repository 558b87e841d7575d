// Rows of contacts and of what happened to their keys.
import { CONTACT_HISTORY_MAX } from '../protocol/limits.ts';
import type { Database } from '../sqlite/open.ts';

export type ContactRow = {
  readonly id: number;
  readonly uid: Uint8Array<ArrayBuffer>;
  readonly address: string;
  readonly name: string;
  readonly nickname: string;
  readonly state: 'outgoing' | 'incoming' | 'accepted' | 'removed';
  readonly blocked: number;
  readonly linkKey: Uint8Array<ArrayBuffer> | null;
  readonly signalKey: Uint8Array<ArrayBuffer> | null;
  readonly verifiedAt: number | null;
  readonly note: string;
  readonly requestNote: string;
  readonly paused: string;
  readonly installId: Uint8Array<ArrayBuffer> | null;
  readonly previousInstallId: Uint8Array<ArrayBuffer> | null;
  readonly createdAt: number;
  readonly lastSeenAt: number | null;
};

export type HistoryRow = { readonly at: number; readonly kind: string; readonly detail: string };

const COLUMNS = `id, uid, address, name, nickname, state, blocked, link_key AS linkKey, signal_key AS signalKey,
  verified_at AS verifiedAt, note, request_note AS requestNote, paused, install_id AS installId,
  previous_install_id AS previousInstallId, created_at AS createdAt, last_seen_at AS lastSeenAt`;

/** The contact of an address, in any state. */
export const getContactByAddress = (db: Database, address: string): ContactRow | undefined =>
  db.recall<ContactRow>('contacts', `SELECT ${COLUMNS} FROM contacts WHERE address = ?`, address);

export const getContact = (db: Database, id: number): ContactRow | undefined =>
  db.recall<ContactRow>('contacts', `SELECT ${COLUMNS} FROM contacts WHERE id = ?`, id);

/** The contact that has `name` now; removed ones have given theirs up. */
export const getContactByName = (db: Database, name: string): ContactRow | undefined => {
  const called = (form: string): ContactRow | undefined =>
    db.recall<ContactRow>('contacts', `SELECT ${COLUMNS} FROM contacts WHERE name = ? AND state <> 'removed'`, form);
  const composed = name.normalize('NFC');
  return called(name) ?? (composed === name ? undefined : called(composed));
};

/** All contacts, by name. */
export const listContacts = (db: Database): ContactRow[] =>
  db.all<ContactRow>(`SELECT ${COLUMNS} FROM contacts ORDER BY name, id`);

export type NewContact = Pick<
  ContactRow,
  'uid' | 'address' | 'name' | 'nickname' | 'state' | 'requestNote' | 'createdAt'
>;

/** Adds a contact and gives its row id. */
export const putContact = (db: Database, row: NewContact): number =>
  db.run(
    `INSERT INTO contacts (uid, address, name, nickname, state, request_note, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
    row.uid,
    row.address,
    row.name,
    row.nickname,
    row.state,
    row.requestNote,
    row.createdAt,
  ).lastInsertRowid;

const FIELDS = {
  name: 'name',
  nickname: 'nickname',
  state: 'state',
  blocked: 'blocked',
  linkKey: 'link_key',
  signalKey: 'signal_key',
  verifiedAt: 'verified_at',
  note: 'note',
  requestNote: 'request_note',
  paused: 'paused',
  installId: 'install_id',
  previousInstallId: 'previous_install_id',
  lastSeenAt: 'last_seen_at',
} as const;

/** Changes the given fields of a contact. */
export const patchContact = (db: Database, id: number, patch: Partial<Pick<ContactRow, keyof typeof FIELDS>>): void => {
  db.patch('contacts', FIELDS, id, patch);
};

/** Erases a contact with all that hangs on it: sessions, requests, outbox, conversation. */
export const removeContact = (db: Database, id: number): void => {
  db.run('DELETE FROM contacts WHERE id = ?', id);
};

const LEFT_NOTHING = `state = 'removed' AND blocked = 0
  AND NOT EXISTS (SELECT 1 FROM requests WHERE contact_id = contacts.id)
  AND NOT EXISTS (SELECT 1 FROM contact_history WHERE contact_id = contacts.id)
  AND NOT EXISTS (SELECT 1 FROM conversations WHERE contact_id = contacts.id)`;

/** Row ids of those who linked or asked once and left nothing: no request, no history, no conversation. */
export const listStrangers = (db: Database): number[] =>
  db.all<{ id: number }>(`SELECT id FROM contacts WHERE ${LEFT_NOTHING}`).map(({ id }) => id);

/** Erases the row of someone who left nothing. */
export const removeStranger = (db: Database, id: number): void => {
  db.run(`DELETE FROM contacts WHERE id = ? AND ${LEFT_NOTHING}`, id);
};

/** Remembers what happened to a contact's keys or session; the oldest beyond CONTACT_HISTORY_MAX is forgotten. */
export const putHistory = (db: Database, contactId: number, row: HistoryRow): void => {
  db.run(
    'INSERT INTO contact_history (contact_id, at, kind, detail) VALUES (?, ?, ?, ?)',
    contactId,
    row.at,
    row.kind,
    row.detail,
  );
  db.run(
    `DELETE FROM contact_history WHERE contact_id = ? AND id <=
       (SELECT id FROM contact_history WHERE contact_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)`,
    contactId,
    contactId,
    CONTACT_HISTORY_MAX,
  );
};

/** When something of a kind last happened to a contact; 0 when it never did. */
export const lastHistoryAt = (db: Database, contactId: number, kind: string): number =>
  db.get<{ at: number }>(
    'SELECT at FROM contact_history WHERE contact_id = ? AND kind = ? ORDER BY id DESC LIMIT 1',
    contactId,
    kind,
  )?.at ?? 0;

/** Oldest first. */
export const listHistory = (db: Database, contactId: number): HistoryRow[] =>
  db.all<HistoryRow>('SELECT at, kind, detail FROM contact_history WHERE contact_id = ? ORDER BY id', contactId);
