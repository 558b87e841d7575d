// Verified events of channels in the order of their log: what a channel was at a time is computed from them.
import type { MemberId } from '../protocol/ids.ts';
import type { Role } from '../protocol/room-content.ts';
import type { Database } from '../sqlite/open.ts';

export type RoomEventRow = {
  readonly seq: number;
  readonly eventId: Uint8Array<ArrayBuffer>;
  readonly memberRow: number | null;
  /** The server's clock, never going back within a channel. */
  readonly at: number;
  /** `text`, `edit`, `react`, `unreact`, `pin`, `unpin`, `topic`, `erase`, `file`, a control op; `erased`, `closed`, `held` (from before a
   * restore), `refused` for what was not read. */
  readonly kind: string;
  /** The message it is, or is about. */
  readonly messageRow: number | null;
  /** Of an edit its number, of a reaction the emoji, of a topic its text, of a control op its JSON. */
  readonly value: string;
  /** SHA-256 of the stored body; null where another log may hold something else. */
  readonly hash: Uint8Array<ArrayBuffer> | null;
};

const COLUMNS = 'seq, event_id AS eventId, member_row AS memberRow, at, kind, message_row AS messageRow, value, hash';

/** An event as it is held. Of a members channel with the signed event, where others may be shown it. */
export type HeldRow = RoomEventRow & { readonly signed: Uint8Array<ArrayBuffer> | null };

/** Adds an event; one that is there already changes nothing. */
export const putRoomEvent = (db: Database, channelRow: number, row: RoomEventRow & Partial<HeldRow>): void => {
  db.run(
    `INSERT OR IGNORE INTO room_events (channel_row, seq, event_id, member_row, at, kind, message_row, value, hash, signed)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    channelRow,
    row.seq,
    row.eventId,
    row.memberRow,
    row.at,
    row.kind,
    row.messageRow,
    row.value,
    row.hash,
    row.signed ?? null,
  );
};

/** Events from `fromSeq` to `toSeq`, in order. */
export const listHeld = (db: Database, channelRow: number, fromSeq: number, toSeq: number): HeldRow[] =>
  db.all<HeldRow>(
    `SELECT ${COLUMNS}, signed FROM room_events WHERE channel_row = ? AND seq BETWEEN ? AND ? ORDER BY seq`,
    channelRow,
    fromSeq,
    toSeq,
  );

/** So many events behind `seq`, in order. */
export const listHeldBehind = (db: Database, channelRow: number, seq: number, limit: number): HeldRow[] =>
  db.all<HeldRow>(
    `SELECT ${COLUMNS}, signed FROM room_events WHERE channel_row = ? AND seq > ? ORDER BY seq LIMIT ?`,
    channelRow,
    seq,
    limit,
  );

export const getHeld = (db: Database, channelRow: number, seq: number): HeldRow | undefined =>
  db.get<HeldRow>(`SELECT ${COLUMNS}, signed FROM room_events WHERE channel_row = ? AND seq = ?`, channelRow, seq);

/** How large the signed events up to a seq are, the last first; 0 for those that cannot be shown. */
export const listHeldSizes = (db: Database, channelRow: number, toSeq: number, limit: number) =>
  db.all<{ readonly seq: number; readonly bytes: number; readonly isHashed: number }>(
    `SELECT seq, coalesce(length(signed), 0) AS bytes, hash IS NOT NULL AS isHashed FROM room_events
       WHERE channel_row = ? AND seq <= ? ORDER BY seq DESC LIMIT ?`,
    channelRow,
    toSeq,
    limit,
  );

// Events without a message, controls and topics, are in an index of their own, which has most that is asked of them. It is named:
// that of all events looks as good to SQLite, and is looked through from one end to the other.
const OF_CHANNEL = 'room_events INDEXED BY room_events_channel';

/**
 * Forgets the signed events that speak of a message by its id, and whose message is not here: it was erased. Those of one that
 * is here go with it.
 */
export const forgetSignedAbout = (db: Database, channelRow: number, target: string): void => {
  db.run(
    `UPDATE ${OF_CHANNEL} SET signed = NULL WHERE channel_row = ? AND message_row IS NULL AND signed IS NOT NULL
       AND instr(signed, CAST(? AS BLOB)) > 0`,
    channelRow,
    target,
  );
};

/** The last event not later than `at`; 0 when there is none. */
export const roomSeqAt = (db: Database, channelRow: number, at: number): number =>
  db.get<{ seq: number }>(
    'SELECT seq FROM room_events WHERE channel_row = ? AND at <= ? ORDER BY at DESC, seq DESC LIMIT 1',
    channelRow,
    at,
  )?.seq ?? 0;

/** The last event that is held; 0 when there is none. */
export const lastRoomSeq = (db: Database, channelRow: number): number =>
  db.get<{ seq: number | null }>('SELECT max(seq) AS seq FROM room_events WHERE channel_row = ?', channelRow)?.seq ?? 0;

/** The events about a message up to a seq, in order. */
export const listRoomEventsOfMessage = (db: Database, messageRow: number, upToSeq: number): RoomEventRow[] =>
  db.all<RoomEventRow>(
    `SELECT ${COLUMNS} FROM room_events WHERE message_row = ? AND seq <= ? ORDER BY seq`,
    messageRow,
    upToSeq,
  );

/** What is held of events behind `seq` that speak of a message by its id, and did not find it, in order. */
export const listUnfound = (db: Database, channelRow: number, seq: number, target: string): HeldRow[] =>
  db.all<HeldRow>(
    `SELECT ${COLUMNS}, signed FROM ${OF_CHANNEL} WHERE channel_row = ? AND message_row IS NULL AND seq > ?
       AND signed IS NOT NULL AND instr(signed, CAST(? AS BLOB)) > 0 ORDER BY seq`,
    channelRow,
    seq,
    target,
  );

/** What was said of a message: of which kind, and for reactions by whom and with which emoji. */
export type Said = {
  readonly kinds: readonly [string, string];
  readonly messageRow: number;
  readonly memberRow?: number;
  readonly value?: string;
};

/** Whether the same, or its opposite, was said of a message behind a seq. */
export const isSaidBehind = (db: Database, channelRow: number, seq: number, said: Said): boolean =>
  db.get(
    `SELECT 1 FROM room_events WHERE message_row = ? AND seq > ? AND channel_row = ? AND kind IN (?, ?)
       AND member_row = coalesce(?, member_row) AND value = coalesce(?, value) LIMIT 1`,
    said.messageRow,
    seq,
    channelRow,
    ...said.kinds,
    said.memberRow ?? null,
    said.value ?? null,
  ) !== undefined;

/** The topic at a seq; empty when there was none. */
export const topicAt = (db: Database, channelRow: number, seq: number): string =>
  db.get<{ value: string }>(
    `SELECT value FROM ${OF_CHANNEL} WHERE channel_row = ? AND message_row IS NULL AND kind = 'topic' AND seq <= ?
       ORDER BY seq DESC LIMIT 1`,
    channelRow,
    seq,
  )?.value ?? '';

/** Whether the topic was set behind a seq. */
export const isTopicBehind = (db: Database, channelRow: number, seq: number): boolean =>
  db.get(
    `SELECT 1 FROM ${OF_CHANNEL} WHERE channel_row = ? AND message_row IS NULL AND kind = 'topic' AND seq > ? LIMIT 1`,
    channelRow,
    seq,
  ) !== undefined;

/** What those whose role was changed after a seq were at it; null for who was not in. Controls are kept as `controlToJson` writes them. */
export const listRolesAt = (db: Database, channelRow: number, seq: number) =>
  db.all<{ readonly member: MemberId; readonly role: Role | null }>(
    `SELECT was.value ->> 0 AS member, was.value ->> 1 AS role, min(seq) FROM ${OF_CHANNEL}, json_each(room_events.value, '$.was') was
       WHERE channel_row = ? AND message_row IS NULL AND seq > ? AND kind IN ('create', 'join', 'add', 'remove', 'leave', 'role', 'ban')
       GROUP BY member`,
    channelRow,
    seq,
  );

/** Who was removed behind a seq, by whom and how, and who was let in or back, in order. */
export const listRemovals = (db: Database, channelRow: number, seq: number) =>
  db.all<{ readonly op: string; readonly member: MemberId; readonly memberRow: number | null }>(
    `SELECT e.kind AS op, e.member_row AS memberRow, coalesce(e.value ->> '$.member', lower(hex(m.member_id))) AS member
       FROM room_events e LEFT JOIN members m ON m.id = e.member_row
       WHERE e.channel_row = ? AND e.message_row IS NULL AND e.seq > ?
         AND e.kind IN ('remove', 'ban', 'unban', 'add', 'invite', 'join') ORDER BY e.seq`,
    channelRow,
    seq,
  );

/** The value of a notice that the server was put back to an earlier state. */
export const RESTORED = 'restored';

/** Whether the server has noted between two seqs of a channel that it was put back. */
export const isRestoredBetween = (db: Database, channelRow: number, from: number, to: number): boolean =>
  db.get(
    `SELECT 1 FROM ${OF_CHANNEL} WHERE channel_row = ? AND message_row IS NULL AND kind = 'notice' AND value = ?
       AND seq BETWEEN ? AND ?`,
    channelRow,
    RESTORED,
    from,
    to,
  ) !== undefined;

/** Rows of messages up to a seq that a member has deleted behind it. */
export const listErasedSince = (db: Database, channelRow: number, memberRow: number, seq: number): number[] =>
  db
    .all<{ readonly id: number }>(
      `SELECT DISTINCT e.message_row AS id FROM room_events e
         JOIN room_events said ON said.message_row = e.message_row AND said.channel_row = e.channel_row AND said.seq <= ?
         WHERE e.channel_row = ? AND e.seq > ? AND e.kind = 'erase' AND e.member_row = ?`,
      seq,
      channelRow,
      seq,
      memberRow,
    )
    .map(({ id }) => id);

/** What had put a member out of a channel last at a seq; undefined when nothing had, of what is held. */
export const endAt = (db: Database, channelRow: number, member: MemberId, seq: number) =>
  db.get<{ readonly kind: 'remove' | 'ban' | 'leave' }>(
    `SELECT kind FROM ${OF_CHANNEL} WHERE channel_row = ? AND message_row IS NULL AND seq <= ? AND kind IN ('remove', 'ban', 'leave')
       AND EXISTS (SELECT 1 FROM json_each(room_events.value, '$.was') was WHERE was.value ->> 0 = ?)
       ORDER BY seq DESC LIMIT 1`,
    channelRow,
    seq,
    member,
  )?.kind;

/** Whether somebody had archived a channel at a seq. */
export const isArchivedAt = (db: Database, channelRow: number, seq: number): boolean =>
  db.get(
    `SELECT 1 FROM ${OF_CHANNEL} WHERE channel_row = ? AND message_row IS NULL AND kind = 'archive' AND seq <= ? LIMIT 1`,
    channelRow,
    seq,
  ) !== undefined;

/** How often the key epoch has changed behind a seq: with every rotation, and in a `members` channel with all that put somebody out. */
export const countEpochsBehind = (
  db: Database,
  { id, encryption }: { readonly id: number; readonly encryption: string },
  seq: number,
): number =>
  db.get<{ n: number }>(
    `SELECT count(*) AS n FROM ${OF_CHANNEL} WHERE channel_row = ? AND message_row IS NULL AND seq > ?
       AND (kind = 'rotate' OR (? = 'members' AND kind IN ('remove', 'ban', 'leave') AND value ->> '$.was' IS NOT NULL))`,
    id,
    seq,
    encryption,
  )?.n ?? 0;

/** Ids, kinds and hashes of the events between two seqs, both included, in order; those without a hash are left out. */
export const listHashes = (db: Database, channelRow: number, range: { readonly from: number; readonly to: number }) =>
  db.all<Pick<RoomEventRow, 'seq' | 'eventId' | 'kind'> & { readonly hash: Uint8Array<ArrayBuffer> }>(
    `SELECT seq, event_id AS eventId, kind, hash FROM room_events
       WHERE channel_row = ? AND seq BETWEEN ? AND ? AND hash IS NOT NULL ORDER BY seq`,
    channelRow,
    range.from,
    range.to,
  );

/** The id of the event at a seq of this log; undefined where none is held. */
export const eventIdAt = (db: Database, channelRow: number, seq: number): Uint8Array<ArrayBuffer> | undefined =>
  db.get<{ eventId: Uint8Array<ArrayBuffer> }>(
    'SELECT event_id AS eventId FROM room_events WHERE channel_row = ? AND seq = ? AND hash IS NOT NULL',
    channelRow,
    seq,
  )?.eventId;

/** Another log begins: what is behind `seq` has no place in it; its messages stay. */
export const forgetLog = (db: Database, channelRow: number, seq: number): void => {
  for (const table of ['room_events', 'room_pending'])
    db.run(`DELETE FROM ${table} WHERE channel_row = ? AND seq > ?`, channelRow, seq);
};

/** What was seen is no more compared with what others have seen. */
export const forgetHashes = (db: Database, channelRow: number): void => {
  db.run('UPDATE room_events SET hash = NULL WHERE channel_row = ?', channelRow);
};

/** An event that did not open yet. */
export type PendingRow = Pick<RoomEventRow, 'seq' | 'eventId' | 'at'> & {
  readonly memberRow: number;
  /** The key epoch, and the role of its author, at its place. */
  readonly keyEpoch: number;
  readonly role: string;
  readonly body: Uint8Array<ArrayBuffer>;
};

export const putPending = (db: Database, channelRow: number, row: PendingRow): void => {
  db.run(
    `INSERT OR IGNORE INTO room_pending (channel_row, seq, event_id, member_row, at, key_epoch, role, body)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    channelRow,
    row.seq,
    row.eventId,
    row.memberRow,
    row.at,
    row.keyEpoch,
    row.role,
    row.body,
  );
};

/** Which of what did not open yet: of a member, of a key epoch; else of everybody, of all. */
export type PendingOf = { readonly memberRow?: number; readonly keyEpoch?: number };

/** What did not open yet behind a seq, in order. */
export const listPending = (
  db: Database,
  channelRow: number,
  { memberRow, keyEpoch }: PendingOf,
  after: number,
  limit: number,
): PendingRow[] =>
  db.all<PendingRow>(
    `SELECT seq, event_id AS eventId, member_row AS memberRow, at, key_epoch AS keyEpoch, role, body FROM room_pending
       WHERE channel_row = ? AND seq > ? AND member_row = coalesce(?, member_row) AND key_epoch = coalesce(?, key_epoch)
       ORDER BY seq LIMIT ?`,
    channelRow,
    after,
    memberRow ?? null,
    keyEpoch ?? null,
    limit,
  );

/** What waits under an event id. */
export const getPendingById = (db: Database, channelRow: number, eventId: Uint8Array) =>
  db.get<Pick<PendingRow, 'seq' | 'memberRow'>>(
    'SELECT seq, member_row AS memberRow FROM room_pending WHERE channel_row = ? AND event_id = ?',
    channelRow,
    eventId,
  );

/** An event that waited has opened: what it is takes the place of what was not known. */
export const setRoomEvent = (
  db: Database,
  channelRow: number,
  { seq, kind, value, messageRow, signed }: Pick<HeldRow, 'seq' | 'kind' | 'value' | 'messageRow' | 'signed'>,
): void => {
  db.run(
    'UPDATE room_events SET kind = ?, value = ?, message_row = ?, signed = ? WHERE channel_row = ? AND seq = ?',
    kind,
    value,
    messageRow,
    signed,
    channelRow,
    seq,
  );
};

export const removePending = (db: Database, channelRow: number, seq: number): void => {
  db.run('DELETE FROM room_pending WHERE channel_row = ? AND seq = ?', channelRow, seq);
};

/** Lets go the first of what waits of a member but for the last `most`; gives their places and times. */
export const dropPending = (
  db: Database,
  channelRow: number,
  memberRow: number,
  most: number,
): Pick<PendingRow, 'seq' | 'at'>[] =>
  db.all(
    `DELETE FROM room_pending WHERE channel_row = ? AND member_row = ? AND seq <=
         (SELECT seq FROM room_pending WHERE channel_row = ? AND member_row = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)
         RETURNING seq, at`,
    channelRow,
    memberRow,
    channelRow,
    memberRow,
    most,
  );

/**
 * How many events of a member may lie between two places of which no count is known, of whichever device they are: those that nobody
 * sees, those at places where nothing is held, and the controls that were fetched apart from all else there.
 */
export const countUncounted = (
  db: Database,
  channelRow: number,
  memberRow: number,
  { after, before }: { readonly after: number; readonly before: number },
): number =>
  db.get<{ n: number }>(
    `SELECT ? - count(*) FILTER (WHERE kind <> 'absent') + count(*) FILTER (WHERE member_row = ? AND
         (kind IN ('erased', 'closed', 'held', 'refused') OR EXISTS (SELECT 1 FROM room_gaps
           WHERE channel_row = room_events.channel_row AND room_events.seq BETWEEN from_seq AND to_seq))) AS n
       FROM room_events WHERE channel_row = ? AND seq > ? AND seq < ?`,
    before - after - 1,
    memberRow,
    channelRow,
    after,
    before,
  )?.n ?? 0;

/** How many events did not open yet. */
export const countPending = (db: Database, channelRow: number): number =>
  db.get<{ n: number }>('SELECT count(*) AS n FROM room_pending WHERE channel_row = ?', channelRow)?.n ?? 0;

/** How many of them are of before a time of the server. */
export const countPendingBefore = (db: Database, channelRow: number, at: number): number =>
  db.get<{ n: number }>('SELECT count(*) AS n FROM room_pending WHERE channel_row = ? AND at < ?', channelRow, at)?.n ??
  0;
