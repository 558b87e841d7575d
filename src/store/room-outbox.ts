// What waits for a server's answer, in the order in which it was written.
import type { Database } from '../sqlite/open.ts';

export type RoomOutboxRow = {
  readonly id: number;
  readonly serverId: number;
  /** One of the two says where it goes. */
  readonly channelRow: number | null;
  readonly memberRow: number | null;
  readonly eventId: Uint8Array<ArrayBuffer>;
  /** `EVENT` of protocol/server-frames.ts. */
  readonly kind: number;
  /** The content as JSON, before it is signed and sealed. */
  readonly content: Uint8Array<ArrayBuffer>;
  readonly messageRow: number | null;
  /** The bytes that go out, so that a repeat is the same. */
  readonly sealed: Uint8Array<ArrayBuffer> | null;
  /** Of a members channel: the signed event in those bytes. */
  readonly signed: Uint8Array<ArrayBuffer> | null;
  /** This device's count of events in the channel, in those bytes; negative when they are for a log that is no more, 0 outside channels. */
  readonly n: number;
  /** Its place once the server has answered; null before. */
  readonly seq: number | null;
  readonly ttl: number;
  readonly createdAt: number;
  readonly expiresAt: number;
};

const COLUMNS = `id, server_id AS serverId, channel_row AS channelRow, member_row AS memberRow, event_id AS eventId, kind, content,
  message_row AS messageRow, sealed, signed, n, seq, ttl, created_at AS createdAt, expires_at AS expiresAt`;

const LAST_LOOKED_AT = 64;

type NewRow = Omit<RoomOutboxRow, 'id' | 'sealed' | 'signed' | 'n' | 'seq'> & { readonly goesFirst?: boolean };

/** Appends to a server's outbox, or puts it before all that waits; gives the row id. */
export const putRoomOutbox = (db: Database, { goesFirst = false, ...row }: NewRow): number =>
  db.run(
    `INSERT INTO room_outbox (id, server_id, channel_row, member_row, event_id, kind, content, message_row, ttl, created_at, expires_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    goesFirst ? beforeAll(db) : null,
    row.serverId,
    row.channelRow,
    row.memberRow,
    row.eventId,
    row.kind,
    row.content,
    row.messageRow,
    row.ttl,
    row.createdAt,
    row.expiresAt,
  ).lastInsertRowid;

// Rows that are appended have ids above 0.
const beforeAll = (db: Database): number =>
  Math.min(0, (db.get<{ id: number | null }>('SELECT min(id) AS id FROM room_outbox')?.id ?? 0) - 1);

/** The first that waits for an answer in each channel and for each member of a server. */
export const listRoomOutboxHeads = (db: Database, serverId: number): RoomOutboxRow[] =>
  db.all<RoomOutboxRow>(
    `SELECT ${COLUMNS} FROM room_outbox WHERE id IN (
       SELECT min(id) FROM room_outbox WHERE server_id = ? AND seq IS NULL GROUP BY channel_row, member_row) ORDER BY id`,
    serverId,
  );

/** The first that waits for an answer in a channel, or for a member; of one kind, when that is given. */
export const nextRoomOutbox = (
  db: Database,
  serverId: number,
  to: Pick<RoomOutboxRow, 'channelRow' | 'memberRow'>,
  kind?: number,
): RoomOutboxRow | undefined =>
  db.get<RoomOutboxRow>(
    `SELECT ${COLUMNS} FROM room_outbox
       WHERE server_id = ? AND seq IS NULL AND channel_row IS ? AND member_row IS ? AND kind = coalesce(?, kind)
       ORDER BY id LIMIT 1`,
    serverId,
    to.channelRow,
    to.memberRow,
    kind ?? null,
  );

export const getRoomOutbox = (db: Database, id: number): RoomOutboxRow | undefined =>
  db.get<RoomOutboxRow>(`SELECT ${COLUMNS} FROM room_outbox WHERE id = ?`, id);

/** Everything that waits about one message. */
export const listRoomOutboxOfMessage = (db: Database, messageRow: number): RoomOutboxRow[] =>
  db.all<RoomOutboxRow>(`SELECT ${COLUMNS} FROM room_outbox WHERE message_row = ? ORDER BY id`, messageRow);

/** What waits for a channel and has `word` in its content. */
export const listRoomOutboxNaming = (db: Database, channelRow: number, word: string): RoomOutboxRow[] =>
  db.all<RoomOutboxRow>(
    `SELECT ${COLUMNS} FROM room_outbox WHERE channel_row = ? AND instr(content, CAST(? AS BLOB)) > 0 ORDER BY id`,
    channelRow,
    word,
  );

/** What waits behind a row for the same place, is not sealed, and has `word` in its content, in order. */
export const listRoomOutboxAbout = (
  db: Database,
  { id, channelRow, memberRow }: Pick<RoomOutboxRow, 'id' | 'channelRow' | 'memberRow'>,
  word: string,
): RoomOutboxRow[] =>
  db.all<RoomOutboxRow>(
    `SELECT ${COLUMNS} FROM room_outbox WHERE id > ? AND channel_row IS ? AND member_row IS ? AND sealed IS NULL
       AND instr(content, CAST(? AS BLOB)) > 0 ORDER BY id`,
    id,
    channelRow,
    memberRow,
    word,
  );

/** Rows whose time in the outbox is over. */
export const listRoomOutboxExpired = (db: Database, now: number, limit: number): RoomOutboxRow[] =>
  db.all<RoomOutboxRow>(`SELECT ${COLUMNS} FROM room_outbox WHERE expires_at <= ? ORDER BY id LIMIT ?`, now, limit);

/** When the time of the first row is over. */
export const nextRoomOutboxExpiry = (db: Database): number | undefined =>
  db.get<{ at: number | null }>('SELECT min(expires_at) AS at FROM room_outbox')?.at ?? undefined;

/** Keeps the bytes that go out, so that a repeat is the same. */
export const putSealed = (
  db: Database,
  id: number,
  {
    sealed,
    n,
    signed = null,
  }: Pick<RoomOutboxRow, 'n'> & { readonly sealed: Uint8Array; readonly signed?: Uint8Array | null },
): void => {
  db.run('UPDATE room_outbox SET sealed = ?, n = ?, signed = ? WHERE id = ?', sealed, n, signed, id);
};

/** It goes out under another id. */
export const putEventId = (db: Database, id: number, eventId: Uint8Array): void => {
  db.run('UPDATE room_outbox SET event_id = ? WHERE id = ?', eventId, id);
};

/** The server has committed it at `seq`. */
export const putPlace = (db: Database, id: number, seq: number): void => {
  db.run('UPDATE room_outbox SET seq = ? WHERE id = ?', seq, id);
};

/** Another log begins: what waits in a channel has no place in it, and is sealed anew unless it is found there. */
export const forgetPlaces = (db: Database, channelRow: number): void => {
  db.run('UPDATE room_outbox SET seq = NULL, n = -abs(n) WHERE channel_row = ?', channelRow);
};

/** What the server has placed up to a seq of a channel, and has not shown. */
export const listRoomOutboxPlaced = (db: Database, channelRow: number, upToSeq: number): RoomOutboxRow[] =>
  db.all<RoomOutboxRow>(
    `SELECT ${COLUMNS} FROM room_outbox WHERE channel_row = ? AND seq <= ? ORDER BY id`,
    channelRow,
    upToSeq,
  );

/** What an event says has changed in a channel, or its key: it is sealed anew. */
export const forgetSealed = (db: Database, id: number): void => {
  db.run('UPDATE room_outbox SET sealed = NULL, signed = NULL, n = 0 WHERE id = ?', id);
};

/** Something else goes out in its place, under its id; its count stays, for it may be on its way. */
export const sealAnew = (db: Database, id: number, content: Uint8Array): void => {
  db.run(
    'UPDATE room_outbox SET content = ?, message_row = NULL, ttl = 0, sealed = NULL, signed = NULL WHERE id = ?',
    content,
    id,
  );
};

/** All that waits for a server is sealed anew, by another device. */
export const forgetAllSealed = (db: Database, serverId: number): void => {
  db.run('UPDATE room_outbox SET sealed = NULL, signed = NULL, n = 0 WHERE server_id = ?', serverId);
};

/** What waits for an answer in a channel is sealed anew; its count stays, for it may be on its way. */
export const forgetUnanswered = (db: Database, channelRow: number): void => {
  db.run('UPDATE room_outbox SET sealed = NULL WHERE channel_row = ? AND seq IS NULL', channelRow);
};

/** What waits for a member is sealed anew. */
export const forgetSealedFor = (db: Database, memberRow: number): void => {
  db.run('UPDATE room_outbox SET sealed = NULL WHERE member_row = ? AND channel_row IS NULL', memberRow);
};

/** The highest count of this device in what waits in a channel, in bytes that may have gone out; 0 when there is none. */
export const lastSealedCount = (db: Database, channelRow: number): number =>
  db.get<{ n: number | null }>('SELECT max(abs(n)) AS n FROM room_outbox WHERE channel_row = ?', channelRow)?.n ?? 0;

/** What waits under an event id. */
export const getRoomOutboxByEvent = (db: Database, serverId: number, eventId: Uint8Array): RoomOutboxRow | undefined =>
  db.get<RoomOutboxRow>(`SELECT ${COLUMNS} FROM room_outbox WHERE server_id = ? AND event_id = ?`, serverId, eventId);

/** Replaces the content of what has not left. */
export const replaceContent = (db: Database, id: number, content: Uint8Array): void => {
  db.run('UPDATE room_outbox SET content = ? WHERE id = ? AND sealed IS NULL', content, id);
};

export const removeRoomOutbox = (db: Database, id: number): void => {
  db.run('DELETE FROM room_outbox WHERE id = ?', id);
};

/** Takes back the parts of a share that were not sent. */
export const removeHistoryOutbox = (db: Database, serverId: number, memberRow: number, share: string): void => {
  db.run(
    'DELETE FROM room_outbox WHERE server_id = ? AND member_row = ? AND instr(content, CAST(? AS BLOB)) > 0',
    serverId,
    memberRow,
    `"kind":"history","share":"${share}"`,
  );
};

/** The last receipt for a member that is not sealed yet, among the last things that wait. */
export const getReceiptOutbox = (
  db: Database,
  { serverId, memberRow }: { readonly serverId: number; readonly memberRow: number },
  state: string,
): RoomOutboxRow | undefined =>
  db.get<RoomOutboxRow>(
    `SELECT ${COLUMNS} FROM (SELECT * FROM room_outbox WHERE server_id = ? AND seq IS NULL AND channel_row IS NULL
       AND member_row = ? ORDER BY id DESC LIMIT ${LAST_LOOKED_AT})
     WHERE sealed IS NULL AND json_extract(CAST(content AS TEXT), '$.kind') = 'receipt'
       AND json_extract(CAST(content AS TEXT), '$.state') = ? ORDER BY id DESC LIMIT 1`,
    serverId,
    memberRow,
    state,
  );

/** How much waits for one server: of an index only, as it is asked before each that is added. */
export const countRoomOutbox = (db: Database, serverId: number): number =>
  db.get<{ n: number }>('SELECT count(*) AS n FROM room_outbox WHERE server_id = ? AND seq IS NULL', serverId)?.n ?? 0;
