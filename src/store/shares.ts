// Rows of history that is shared: with others, and with me.
import type { Database } from '../sqlite/open.ts';

export type ShareRow = {
  readonly id: number;
  readonly channelRow: number;
  /** With whom I share, or who shares with me. */
  readonly memberRow: number;
  readonly mine: number;
  readonly shareId: Uint8Array<ArrayBuffer>;
  /** Of the log. */
  readonly epoch: number;
  readonly fromSeq: number;
  readonly toSeq: number;
  /** How far it has gone or come; `fromSeq` - 1 at first. */
  readonly doneSeq: number;
  /** `whole`: it has come and is not looked at yet. */
  readonly state: 'going' | 'whole' | 'done' | 'refused';
  readonly reason: string;
  /** Who else has seen how many of its places as they are: `{by: names, events}` as JSON. */
  readonly confirmed: string;
  readonly createdAt: number;
};

const COLUMNS = `id, channel_row AS channelRow, member_row AS memberRow, mine, share_id AS shareId, epoch, from_seq AS fromSeq,
  to_seq AS toSeq, done_seq AS doneSeq, state, reason, confirmed, created_at AS createdAt`;

export const getShare = (db: Database, id: number): ShareRow | undefined =>
  db.get<ShareRow>(`SELECT ${COLUMNS} FROM room_shares WHERE id = ?`, id);

export const getShareById = (
  db: Database,
  { memberRow, mine, shareId }: Pick<ShareRow, 'memberRow' | 'mine' | 'shareId'>,
): ShareRow | undefined =>
  db.get<ShareRow>(
    `SELECT ${COLUMNS} FROM room_shares WHERE member_row = ? AND mine = ? AND share_id = ?`,
    memberRow,
    mine,
    shareId,
  );

/** Of a channel, the first first. */
export const listShares = (db: Database, channelRow: number): ShareRow[] =>
  db.all<ShareRow>(`SELECT ${COLUMNS} FROM room_shares WHERE channel_row = ? ORDER BY id`, channelRow);

/** Those that have come whole and were not looked at, in channels of a server. */
export const listWholeShares = (db: Database, serverId: number): ShareRow[] =>
  db.all<ShareRow>(
    `SELECT ${COLUMNS} FROM room_shares WHERE state = 'whole'
       AND channel_row IN (SELECT id FROM channels WHERE server_id = ?) ORDER BY id`,
    serverId,
  );

/** Adds one that goes on; gives its row id. */
export const putShare = (
  db: Database,
  row: Omit<ShareRow, 'id' | 'state' | 'reason' | 'confirmed' | 'doneSeq'>,
): number =>
  db.run(
    `INSERT INTO room_shares (channel_row, member_row, mine, share_id, epoch, from_seq, to_seq, done_seq, state, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'going', ?)`,
    row.channelRow,
    row.memberRow,
    row.mine,
    row.shareId,
    row.epoch,
    row.fromSeq,
    row.toSeq,
    row.fromSeq - 1,
    row.createdAt,
  ).lastInsertRowid;

const FIELDS = { doneSeq: 'done_seq', state: 'state', reason: 'reason', confirmed: 'confirmed' } as const;

/** Changes the given fields of one. */
export const patchShare = (db: Database, id: number, patch: Partial<Pick<ShareRow, keyof typeof FIELDS>>): void => {
  db.patch('room_shares', FIELDS, id, patch);
};

export const removeShare = (db: Database, id: number): void => {
  db.run('DELETE FROM room_shares WHERE id = ?', id);
};

/** Those that others began before `before` and that were never looked at. */
export const removeOldShares = (db: Database, before: number): boolean =>
  db.run(`DELETE FROM room_shares WHERE state IN ('going', 'whole') AND mine = 0 AND created_at < ?`, before).changes >
  0;

/** Adds what came next. */
export const putSharePart = (db: Database, shareRow: number, fromSeq: number, entries: Uint8Array): void => {
  db.run('INSERT INTO room_share_parts (share_row, from_seq, entries) VALUES (?, ?, ?)', shareRow, fromSeq, entries);
};

/** What has come, in order. */
export const listShareParts = (db: Database, shareRow: number): Uint8Array<ArrayBuffer>[] =>
  db
    .all<{ entries: Uint8Array<ArrayBuffer> }>(
      'SELECT entries FROM room_share_parts WHERE share_row = ? ORDER BY from_seq',
      shareRow,
    )
    .map(({ entries }) => entries);

/** How much of one has come, in bytes. */
export const sharePartBytes = (db: Database, shareRow: number): number =>
  db.get<{ bytes: number | null }>(
    'SELECT sum(length(entries)) AS bytes FROM room_share_parts WHERE share_row = ?',
    shareRow,
  )?.bytes ?? 0;

export const removeShareParts = (db: Database, shareRow: number): void => {
  db.run('DELETE FROM room_share_parts WHERE share_row = ?', shareRow);
};
