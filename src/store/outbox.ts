// What is still to be delivered to each contact, in the order in which it was written.
import type { Database } from '../sqlite/open.ts';

export type OutboxRow = {
  readonly id: number;
  readonly contactId: number;
  readonly frameId: Uint8Array<ArrayBuffer>;
  readonly kind: string;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly messageRow: number | null;
  readonly sessionId: Uint8Array<ArrayBuffer> | null;
  readonly type: number | null;
  readonly ciphertext: Uint8Array<ArrayBuffer> | null;
  readonly createdAt: number;
  readonly expiresAt: number;
  /** 1 where it waited before this session: they may have it from one before. */
  readonly isOlder: number;
};

const COLUMNS = `id, contact_id AS contactId, frame_id AS frameId, kind, body, message_row AS messageRow,
  session_id AS sessionId, type, ciphertext, created_at AS createdAt, expires_at AS expiresAt, is_older AS isOlder`;

/** The ciphertext of a frame in a session. */
export type SealedRow = {
  readonly sessionId: Uint8Array;
  readonly type: number;
  readonly ciphertext: Uint8Array;
};

export type NewOutboxRow = Pick<
  OutboxRow,
  'contactId' | 'frameId' | 'kind' | 'body' | 'messageRow' | 'createdAt' | 'expiresAt'
> &
  Partial<SealedRow>;

/** Appends a frame to a contact's outbox; gives its row id. */
export const putOutbox = (db: Database, row: NewOutboxRow): number =>
  db.run(
    `INSERT INTO outbox (contact_id, frame_id, kind, body, message_row, created_at, expires_at, session_id, type, ciphertext)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    row.contactId,
    row.frameId,
    row.kind,
    row.body,
    row.messageRow,
    row.createdAt,
    row.expiresAt,
    row.sessionId ?? null,
    row.type ?? null,
    row.ciphertext ?? null,
  ).lastInsertRowid;

/** The next frames of a contact after row `afterId`, oldest first. */
export const listOutbox = (db: Database, contactId: number, afterId: number, limit: number): OutboxRow[] =>
  db.all<OutboxRow>(
    `SELECT ${COLUMNS} FROM outbox WHERE contact_id = ? AND id > ? ORDER BY id LIMIT ?`,
    contactId,
    afterId,
    limit,
  );

export const getOutbox = (db: Database, contactId: number, frameId: Uint8Array): OutboxRow | undefined =>
  db.get<OutboxRow>(`SELECT ${COLUMNS} FROM outbox WHERE contact_id = ? AND frame_id = ?`, contactId, frameId);

/** All frames that are about one message row. */
export const listOutboxOfMessage = (db: Database, messageRow: number): OutboxRow[] =>
  db.all<OutboxRow>(`SELECT ${COLUMNS} FROM outbox WHERE message_row = ? ORDER BY id`, messageRow);

/** Frames whose time in the outbox is over. */
export const listOutboxExpired = (db: Database, now: number, limit: number): OutboxRow[] =>
  db.all<OutboxRow>(`SELECT ${COLUMNS} FROM outbox WHERE expires_at <= ? ORDER BY expires_at LIMIT ?`, now, limit);

/** When the first frame's time in the outbox is over. */
export const nextOutboxExpiry = (db: Database): number | undefined =>
  db.get<{ at: number | null }>('SELECT min(expires_at) AS at FROM outbox')?.at ?? undefined;

/** Keeps the ciphertext a frame got in a session, so that the same bytes are sent again. */
export const putCiphertext = (db: Database, id: number, sealed: SealedRow): void => {
  db.run(
    'UPDATE outbox SET session_id = ?, type = ?, ciphertext = ? WHERE id = ?',
    sealed.sessionId,
    sealed.type,
    sealed.ciphertext,
    id,
  );
};

/** Replaces the body of a frame that was not encrypted yet. */
export const replaceBody = (db: Database, id: number, body: Uint8Array): void => {
  db.run('UPDATE outbox SET body = ? WHERE id = ? AND ciphertext IS NULL', body, id);
};

/** Frames of a contact that have a ciphertext, oldest first: those that may have left. */
export const listOutboxSealed = (db: Database, contactId: number): OutboxRow[] =>
  db.all<OutboxRow>(
    `SELECT ${COLUMNS} FROM outbox WHERE contact_id = ? AND ciphertext IS NOT NULL ORDER BY id`,
    contactId,
  );

/** Forgets every ciphertext of a contact: a new session encrypts the bodies anew. */
export const forgetCiphertexts = (db: Database, contactId: number): void => {
  db.run(
    'UPDATE outbox SET session_id = NULL, type = NULL, ciphertext = NULL, is_older = 1 WHERE contact_id = ?',
    contactId,
  );
};

/** What waits for a contact may be there already: that it is acknowledged says nothing of the session. */
export const markOlder = (db: Database, contactId: number): void => {
  db.run('UPDATE outbox SET is_older = 1 WHERE contact_id = ?', contactId);
};

export const removeOutbox = (db: Database, id: number): void => {
  db.run('DELETE FROM outbox WHERE id = ?', id);
};

/** Whether a frame of this kind waits for a contact. */
export const hasOutboxOfKind = (db: Database, contactId: number, kind: string): boolean =>
  db.get('SELECT 1 FROM outbox WHERE contact_id = ? AND kind = ? LIMIT 1', contactId, kind) !== undefined;

export const removeOutboxOfKind = (db: Database, contactId: number, kind: string): void => {
  db.run('DELETE FROM outbox WHERE contact_id = ? AND kind = ?', contactId, kind);
};

export type OutboxDepth = { readonly depth: number; readonly oldestAt: number | null };

/** How many frames wait for a contact, and since when. */
export const depthOfOutbox = (db: Database, contactId: number): OutboxDepth =>
  db.get<OutboxDepth>(
    'SELECT count(*) AS depth, min(created_at) AS oldestAt FROM outbox WHERE contact_id = ?',
    contactId,
  ) ?? {
    depth: 0,
    oldestAt: null,
  };

/** How many frames wait for a contact: of an index only, as it is asked before each that is added. */
export const countOutbox = (db: Database, contactId: number): number =>
  db.get<{ n: number }>('SELECT count(*) AS n FROM outbox WHERE contact_id = ?', contactId)?.n ?? 0;

/** Depth of all outboxes together. */
export const depthOfAllOutboxes = (db: Database): number =>
  db.get<{ depth: number }>('SELECT count(*) AS depth FROM outbox')?.depth ?? 0;

/** Contacts that something waits for. */
export const listOutboxContacts = (db: Database): number[] =>
  db.all<{ contactId: number }>('SELECT DISTINCT contact_id AS contactId FROM outbox').map((row) => row.contactId);
