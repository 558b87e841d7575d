// Rows of channels, their keys, what is known of the devices that write there, and the gaps in what is held.
import { GAPS_KEPT_MAX, SENDER_KEY_EPOCHS_MAX } from '../protocol/limits.ts';
import type { Database } from '../sqlite/open.ts';

export type ChannelState = 'invited' | 'joining' | 'joined' | 'left' | 'removed' | 'banned';
export type Encryption = 'open' | 'passphrase' | 'members';

export type ChannelRow = {
  readonly id: number;
  readonly serverId: number;
  readonly channelId: Uint8Array<ArrayBuffer>;
  readonly hash: Uint8Array<ArrayBuffer>;
  /** Without its `#`. */
  readonly name: string;
  readonly encryption: Encryption;
  readonly private: number;
  readonly history: 'joined' | 'all';
  readonly state: ChannelState;
  readonly topic: string;
  /** The replayed list of members, as JSON; empty before the first control event. */
  readonly membership: string;
  readonly keyEpoch: number;
  readonly epoch: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly lastId: Uint8Array<ArrayBuffer> | null;
  readonly readSeq: number;
  /** How many events this device has sent here. */
  readonly sent: number;
  readonly senderKey: Uint8Array<ArrayBuffer> | null;
  /** Of the key epoch that our key was made in. */
  readonly senderKeyEpoch: number;
  readonly notify: string;
  readonly createdAt: number;
};

const COLUMNS = `id, server_id AS serverId, channel_id AS channelId, hash, name, encryption, private, history, state, topic, membership,
  key_epoch AS keyEpoch, epoch, first_seq AS firstSeq, last_seq AS lastSeq, last_id AS lastId, read_seq AS readSeq, sent,
  sender_key AS senderKey, sender_key_epoch AS senderKeyEpoch, notify, created_at AS createdAt`;

export const getChannel = (db: Database, id: number): ChannelRow | undefined =>
  db.get<ChannelRow>(`SELECT ${COLUMNS} FROM channels WHERE id = ?`, id);

/** What a channel is called, and where it is: without the rest of its row, which may be long. */
export const getChannelName = (db: Database, id: number): Pick<ChannelRow, 'name' | 'serverId'> | undefined =>
  db.get('SELECT name, server_id AS serverId FROM channels WHERE id = ?', id);

export const getChannelById = (db: Database, serverId: number, channelId: Uint8Array): ChannelRow | undefined =>
  db.get<ChannelRow>(`SELECT ${COLUMNS} FROM channels WHERE server_id = ? AND channel_id = ?`, serverId, channelId);

/** Channels of this name, on whatever server. */
export const listChannelsByName = (db: Database, name: string): ChannelRow[] =>
  db.all<ChannelRow>(`SELECT ${COLUMNS} FROM channels WHERE name = ? ORDER BY id`, name);

/** By name; of one server or all. */
export const listChannels = (db: Database, serverId?: number): ChannelRow[] =>
  serverId === undefined
    ? db.all<ChannelRow>(`SELECT ${COLUMNS} FROM channels ORDER BY name, id`)
    : db.all<ChannelRow>(`SELECT ${COLUMNS} FROM channels WHERE server_id = ? ORDER BY name, id`, serverId);

/** Row ids of channels of a server that are being entered, or where something waits for its key, by name. */
export const listUnfinishedChannels = (db: Database, serverId: number): number[] =>
  db
    .all<{ id: number }>(
      `SELECT id FROM channels WHERE server_id = ?
         AND (state = 'joining' OR EXISTS (SELECT 1 FROM room_pending WHERE channel_row = channels.id)) ORDER BY name, id`,
      serverId,
    )
    .map(({ id }) => id);

export type NewChannel = Pick<
  ChannelRow,
  'serverId' | 'channelId' | 'hash' | 'name' | 'encryption' | 'private' | 'history' | 'state' | 'createdAt'
>;

/** Adds a channel and gives its row id. */
export const putChannel = (db: Database, row: NewChannel): number =>
  db.run(
    `INSERT INTO channels (server_id, channel_id, hash, name, encryption, private, history, state, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    row.serverId,
    row.channelId,
    row.hash,
    row.name,
    row.encryption,
    row.private,
    row.history,
    row.state,
    row.createdAt,
  ).lastInsertRowid;

const FIELDS = {
  name: 'name',
  state: 'state',
  topic: 'topic',
  membership: 'membership',
  keyEpoch: 'key_epoch',
  epoch: 'epoch',
  firstSeq: 'first_seq',
  lastSeq: 'last_seq',
  lastId: 'last_id',
  readSeq: 'read_seq',
  sent: 'sent',
  senderKey: 'sender_key',
  senderKeyEpoch: 'sender_key_epoch',
  notify: 'notify',
} as const;

/** Changes the given fields of a channel. */
export const patchChannel = (db: Database, id: number, patch: Partial<Pick<ChannelRow, keyof typeof FIELDS>>): void => {
  db.patch('channels', FIELDS, id, patch);
};

/** Forgets a channel that we never were in. */
export const removeChannel = (db: Database, id: number): void => {
  db.run('DELETE FROM channels WHERE id = ?', id);
};

/** The channel's key of an epoch, of a passphrase channel. */
export const getChannelKey = (
  db: Database,
  channelRow: number,
  keyEpoch: number,
): Uint8Array<ArrayBuffer> | undefined =>
  db.get<{ key: Uint8Array<ArrayBuffer> }>(
    'SELECT key FROM channel_keys WHERE channel_row = ? AND key_epoch = ?',
    channelRow,
    keyEpoch,
  )?.key;

/** Whether a key of any epoch of a passphrase channel is here. */
export const hasChannelKey = (db: Database, channelRow: number): boolean =>
  db.get('SELECT 1 AS one FROM channel_keys WHERE channel_row = ? LIMIT 1', channelRow) !== undefined;

export const putChannelKey = (db: Database, channelRow: number, keyEpoch: number, key: Uint8Array): void => {
  db.run(
    'INSERT INTO channel_keys (channel_row, key_epoch, key) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET key = excluded.key',
    channelRow,
    keyEpoch,
    key,
  );
};

type SenderKeyPlace = {
  readonly channelRow: number;
  readonly deviceId: Uint8Array;
  readonly keyEpoch: number;
};

/** The sender key of a device for an epoch of a members channel, as crypto/sender-key.ts serialises it. */
export const getSenderKey = (
  db: Database,
  { channelRow, deviceId, keyEpoch }: SenderKeyPlace,
): Uint8Array<ArrayBuffer> | undefined =>
  db.get<{ key: Uint8Array<ArrayBuffer> }>(
    'SELECT key FROM sender_keys WHERE channel_row = ? AND device_id = ? AND key_epoch = ?',
    channelRow,
    deviceId,
    keyEpoch,
  )?.key;

/** Keeps a sender key; those of epochs `SENDER_KEY_EPOCHS_MAX` and more before the last one of the device are forgotten. */
export const putSenderKey = (
  db: Database,
  { channelRow, deviceId, keyEpoch }: SenderKeyPlace,
  key: Uint8Array,
): void => {
  db.run(
    `INSERT INTO sender_keys (channel_row, device_id, key_epoch, key) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET key = excluded.key`,
    channelRow,
    deviceId,
    keyEpoch,
    key,
  );
  db.run(
    `DELETE FROM sender_keys WHERE channel_row = ? AND device_id = ? AND key_epoch <=
       (SELECT max(key_epoch) FROM sender_keys WHERE channel_row = ? AND device_id = ?) - ?`,
    channelRow,
    deviceId,
    channelRow,
    deviceId,
    SENDER_KEY_EPOCHS_MAX,
  );
};

/** What is known of a device in a channel. */
export type ChannelDeviceRow = {
  readonly deviceId: Uint8Array<ArrayBuffer>;
  /** Of its last event here; negative when that was in another log, so that what comes next may be any above. */
  readonly n: number;
  /** The place of that event; 0 when it is not known. */
  readonly seq: number;
  readonly hasOurs: number;
};

const DEVICE_COLUMNS = 'device_id AS deviceId, n, seq, has_ours AS hasOurs';

export const getChannelDevice = (
  db: Database,
  channelRow: number,
  deviceId: Uint8Array,
): ChannelDeviceRow | undefined =>
  db.get<ChannelDeviceRow>(
    `SELECT ${DEVICE_COLUMNS} FROM channel_devices WHERE channel_row = ? AND device_id = ?`,
    channelRow,
    deviceId,
  );

export const listChannelDevices = (db: Database, channelRow: number): ChannelDeviceRow[] =>
  db.all<ChannelDeviceRow>(`SELECT ${DEVICE_COLUMNS} FROM channel_devices WHERE channel_row = ?`, channelRow);

/** Changes what is known of a device in a channel; a first mention adds it. */
export const patchChannelDevice = (
  db: Database,
  channelRow: number,
  deviceId: Uint8Array,
  patch: Partial<Omit<ChannelDeviceRow, 'deviceId'>>,
): void => {
  const { n = null, seq = null, hasOurs = null } = patch;
  db.run(
    `INSERT INTO channel_devices (channel_row, device_id, n, seq, has_ours)
       VALUES (?, ?, coalesce(?, 0), coalesce(?, 0), coalesce(?, 0))
       ON CONFLICT DO UPDATE SET n = coalesce(?, n), seq = coalesce(?, seq), has_ours = coalesce(?, has_ours)`,
    ...[channelRow, deviceId, n, seq, hasOurs, n, seq, hasOurs],
  );
};

/** Our sender key is a new one: nobody has it yet. */
export const forgetOurKey = (db: Database, channelRow: number): void => {
  db.run('UPDATE channel_devices SET has_ours = 0 WHERE channel_row = ?', channelRow);
};

/** Another log begins: what devices count may jump once, though never back, and nobody has our key. */
export const forgetChannelDevices = (db: Database, channelRow: number): void => {
  db.run('UPDATE channel_devices SET n = -abs(n), seq = 0, has_ours = 0 WHERE channel_row = ?', channelRow);
};

export type GapRow = { readonly fromSeq: number; readonly toSeq: number; readonly reason: string };

/** Stretches that are missing here, the first first. */
export const listGaps = (db: Database, channelRow: number): GapRow[] =>
  db.all<GapRow>(
    'SELECT from_seq AS fromSeq, to_seq AS toSeq, reason FROM room_gaps WHERE channel_row = ? ORDER BY from_seq',
    channelRow,
  );

/** In how many places something is missing in channels of a server, by their row, by name; of what is unread, behind what was read. */
export const countGaps = (db: Database, serverId: number, of: 'all' | 'unread'): ReadonlyMap<number, number> =>
  new Map(
    db
      .all<{ id: number; count: number }>(
        `SELECT c.id, count(*) AS count FROM channels c JOIN room_gaps g ON g.channel_row = c.id
           WHERE c.server_id = ? AND (? = 'all' OR g.to_seq > c.read_seq) GROUP BY c.id ORDER BY c.name, c.id`,
        serverId,
        of,
      )
      .map(({ id, count }) => [id, count]),
  );

/** Forgets the gaps that lie within a stretch; of those that reach into it, what lies beside it stays. */
export const removeGaps = (db: Database, channelRow: number, fromSeq: number, toSeq: number): void => {
  for (const gap of listGaps(db, channelRow)) {
    if (gap.toSeq < fromSeq || gap.fromSeq > toSeq) continue;
    db.run('DELETE FROM room_gaps WHERE channel_row = ? AND from_seq = ?', channelRow, gap.fromSeq);
    if (gap.fromSeq < fromSeq) putGap(db, channelRow, { ...gap, toSeq: fromSeq - 1 });
    if (gap.toSeq > toSeq) putGap(db, channelRow, { ...gap, fromSeq: toSeq + 1 });
  }
};

/** Keeps that a stretch is missing; one that goes on from another of the same reason makes that longer. Gives whether it is a new one. */
export const putGap = (db: Database, channelRow: number, gap: GapRow): boolean => {
  const longer = db.run(
    'UPDATE room_gaps SET to_seq = max(to_seq, ?) WHERE channel_row = ? AND reason = ? AND ? BETWEEN from_seq AND to_seq + 1',
    gap.toSeq,
    channelRow,
    gap.reason,
    gap.fromSeq,
  );
  if (longer.changes > 0) return false;
  const { changes } = db.run(
    `INSERT INTO room_gaps (channel_row, from_seq, to_seq, reason) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
       SET to_seq = max(to_seq, excluded.to_seq), reason = reason || '; ' || excluded.reason
       WHERE instr(reason, excluded.reason) = 0`,
    channelRow,
    gap.fromSeq,
    gap.toSeq,
    gap.reason,
  );
  db.run(
    `DELETE FROM room_gaps WHERE channel_row = ? AND from_seq <
       (SELECT from_seq FROM room_gaps WHERE channel_row = ? ORDER BY from_seq DESC LIMIT 1 OFFSET ?)`,
    channelRow,
    channelRow,
    GAPS_KEPT_MAX - 1,
  );
  return changes > 0;
};
