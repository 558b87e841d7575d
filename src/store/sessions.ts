// Signal state of each contact, contact requests, resets, and the ids of frames that were received.
import { DAY_MS } from '../protocol/limits.ts';
import type { Database } from '../sqlite/open.ts';

export type SessionRow = {
  readonly contactId: number;
  /** Names the session on the wire; null before the first one. */
  readonly sessionId: Uint8Array<ArrayBuffer> | null;
  /** The serialised SessionState of crypto/session.ts. */
  readonly state: Uint8Array<ArrayBuffer>;
  readonly sent: number;
  readonly received: number;
  /** Frames of ours that the contact has acknowledged, of those that waited in no session before. */
  readonly acknowledged: number;
  /** 1 while a reset of ours waits for the first frame of the new session. */
  readonly resetPending: number;
  readonly resetId: Uint8Array<ArrayBuffer> | null;
  readonly resetBundle: Uint8Array<ArrayBuffer> | null;
  readonly updatedAt: number;
};

/** The Signal state of a contact. */
export const getSession = (db: Database, contactId: number): SessionRow | undefined =>
  db.get<SessionRow>(
    `SELECT contact_id AS contactId, session_id AS sessionId, state, sent, received, acknowledged, reset_pending AS resetPending,
       reset_id AS resetId, reset_bundle AS resetBundle, updated_at AS updatedAt FROM sessions WHERE contact_id = ?`,
    contactId,
  );

/** Writes the Signal state of a contact whole. */
export const putSession = (db: Database, row: SessionRow): void => {
  db.run(
    `INSERT INTO sessions (contact_id, session_id, state, sent, received, acknowledged, reset_pending, reset_id, reset_bundle,
       updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (contact_id) DO UPDATE SET session_id = excluded.session_id, state = excluded.state, sent = excluded.sent,
       received = excluded.received, acknowledged = excluded.acknowledged, reset_pending = excluded.reset_pending, reset_id = excluded.reset_id,
       reset_bundle = excluded.reset_bundle, updated_at = excluded.updated_at`,
    row.contactId,
    row.sessionId,
    row.state,
    row.sent,
    row.received,
    row.acknowledged,
    row.resetPending,
    row.resetId,
    row.resetBundle,
    row.updatedAt,
  );
};

/** So many frames of the session of this id were acknowledged. */
export const countAcknowledged = (db: Database, contactId: number, sessionId: Uint8Array, count: number): void => {
  db.run(
    'UPDATE sessions SET acknowledged = acknowledged + ? WHERE contact_id = ? AND session_id = ?',
    count,
    contactId,
    sessionId,
  );
};

export const removeSession = (db: Database, contactId: number): void => {
  db.run('DELETE FROM sessions WHERE contact_id = ?', contactId);
};

/** Contacts whose answer to a reset of ours is still to come. */
export const listResetsPending = (db: Database): number[] =>
  db
    .all<{ contactId: number }>('SELECT contact_id AS contactId FROM sessions WHERE reset_pending = 1')
    .map((row) => row.contactId);

/** Remembers a reset, ours or theirs, for the limits on them. */
export const putReset = (db: Database, contactId: number, at: number, mine: boolean): void => {
  db.run('INSERT INTO resets (contact_id, at, mine) VALUES (?, ?, ?)', contactId, at, mine ? 1 : 0);
};

/** Times of the resets of one side in the day up to `now`, oldest first: none that was noted while the clock was ahead. */
export const listResets = (db: Database, contactId: number, now: number, mine: boolean): number[] =>
  db
    .all<{ at: number }>(
      'SELECT at FROM resets WHERE contact_id = ? AND at BETWEEN ? AND ? AND mine = ? ORDER BY at',
      contactId,
      now - DAY_MS,
      now,
      mine ? 1 : 0,
    )
    .map((row) => row.at);

export type RequestRow = {
  readonly id: number;
  readonly contactId: number;
  readonly requestId: Uint8Array<ArrayBuffer>;
  readonly mine: number;
  readonly state: 'open' | 'accepted' | 'rejected' | 'expired';
  readonly bundle: Uint8Array<ArrayBuffer>;
  readonly acknowledged: number;
  readonly createdAt: number;
};

const REQUEST_COLUMNS = `id, contact_id AS contactId, request_id AS requestId, mine, state, bundle, acknowledged, created_at AS createdAt`;

/** The open request between us and a contact, ours or theirs. */
export const getOpenRequest = (db: Database, contactId: number, side: 'mine' | 'theirs'): RequestRow | undefined =>
  db.get<RequestRow>(
    `SELECT ${REQUEST_COLUMNS} FROM requests WHERE contact_id = ? AND mine = ? AND state = 'open' ORDER BY id DESC LIMIT 1`,
    contactId,
    side === 'mine' ? 1 : 0,
  );

export const getRequest = (db: Database, contactId: number, requestId: Uint8Array): RequestRow | undefined =>
  db.get<RequestRow>(
    `SELECT ${REQUEST_COLUMNS} FROM requests WHERE contact_id = ? AND request_id = ?`,
    contactId,
    requestId,
  );

/** How many open requests of ours have not come to whoever they ask, as far as we know. */
export const countUnsentRequests = (db: Database): number =>
  db.get<{ n: number }>(`SELECT count(*) AS n FROM requests WHERE mine = 1 AND state = 'open' AND acknowledged = 0`)
    ?.n ?? 0;

/** Adds an open request. */
export const putRequest = (
  db: Database,
  row: Pick<RequestRow, 'contactId' | 'requestId' | 'mine' | 'bundle' | 'createdAt'>,
): void => {
  db.run(
    `INSERT INTO requests (contact_id, request_id, mine, state, bundle, created_at) VALUES (?, ?, ?, 'open', ?, ?)`,
    row.contactId,
    row.requestId,
    row.mine,
    row.bundle,
    row.createdAt,
  );
};

/** Closes a request and erases its bundle. */
export const closeRequest = (db: Database, id: number, state: Exclude<RequestRow['state'], 'open'>): void => {
  db.run(`UPDATE requests SET state = ?, bundle = x'' WHERE id = ?`, state, id);
};

/** Forgets the requests between us and a contact that are closed: a new one takes their place. */
export const removeClosedRequests = (db: Database, contactId: number): void => {
  db.run(`DELETE FROM requests WHERE contact_id = ? AND state <> 'open'`, contactId);
};

/** Forgets closed requests from before `before` of those who are no contacts. */
export const pruneRequests = (db: Database, before: number): void => {
  db.run(
    `DELETE FROM requests WHERE state <> 'open' AND created_at < ?
       AND contact_id IN (SELECT id FROM contacts WHERE state = 'removed')`,
    before,
  );
};

/** Remembers that the other side has our request. */
export const acknowledgeRequest = (db: Database, id: number): void => {
  db.run('UPDATE requests SET acknowledged = 1 WHERE id = ?', id);
};

/** Open requests of one side, oldest first. */
export const listOpenRequests = (db: Database, side: 'mine' | 'theirs'): RequestRow[] =>
  db.all<RequestRow>(
    `SELECT ${REQUEST_COLUMNS} FROM requests WHERE state = 'open' AND mine = ? ORDER BY id`,
    side === 'mine' ? 1 : 0,
  );

/** How many open requests of others wait for an answer: that of somebody who is blocked does not. */
export const countRequestsOfOthers = (db: Database): number =>
  db.get<{ count: number }>(
    `SELECT count(*) AS count FROM requests JOIN contacts ON contacts.id = contact_id
       WHERE requests.state = 'open' AND mine = 0 AND blocked = 0`,
  )?.count ?? 0;

/** Remembers a frame as received; false when it was there already. */
export const putFrameId = (db: Database, contactId: number, frameId: Uint8Array, at: number): boolean =>
  db.run('INSERT OR IGNORE INTO frame_ids (contact_id, frame_id, at) VALUES (?, ?, ?)', contactId, frameId, at)
    .changes > 0;

export const hasFrameId = (db: Database, contactId: number, frameId: Uint8Array): boolean =>
  db.get('SELECT 1 AS one FROM frame_ids WHERE contact_id = ? AND frame_id = ?', contactId, frameId) !== undefined;

/** Forgets resets from before `before`: they count no more. */
export const pruneResets = (db: Database, before: number): void => {
  db.run('DELETE FROM resets WHERE at < ?', before);
};

/** Forgets frame ids and tombstones from before `before`. */
export const pruneFrameIds = (db: Database, before: number): void => {
  db.run('DELETE FROM frame_ids WHERE at < ?', before);
  db.run('DELETE FROM tombstones WHERE at < ?', before);
};

/** Remembers a deletion that came before the message it deletes. */
export const putTombstone = (db: Database, contactId: number, messageId: Uint8Array, at: number): void => {
  db.run('INSERT OR IGNORE INTO tombstones (contact_id, message_id, at) VALUES (?, ?, ?)', contactId, messageId, at);
};

export const hasTombstone = (db: Database, contactId: number, messageId: Uint8Array): boolean =>
  db.get('SELECT 1 AS one FROM tombstones WHERE contact_id = ? AND message_id = ?', contactId, messageId) !== undefined;
