// Rows of servers this account is a member of.
import type { Database } from '../sqlite/open.ts';

export type ServerState = 'joining' | 'joined' | 'left' | 'banned';

export type ServerRow = {
  readonly id: number;
  readonly uid: Uint8Array<ArrayBuffer>;
  readonly label: string;
  readonly serverKey: Uint8Array<ArrayBuffer>;
  readonly name: string;
  /** `wss://host:port`, or `ws://….onion`. */
  readonly origin: string;
  readonly trust: 'pinned' | 'authority' | 'none';
  readonly clearnet: number;
  readonly state: ServerState;
  /** The token to register with; empty once registered. */
  readonly invite: string;
  readonly memberId: Uint8Array<ArrayBuffer>;
  readonly memberName: string;
  readonly role: string;
  readonly deviceId: Uint8Array<ArrayBuffer>;
  readonly deviceSeed: Uint8Array<ArrayBuffer>;
  readonly certificate: Uint8Array<ArrayBuffer>;
  readonly epoch: number;
  readonly inboxSeq: number;
  readonly inboxId: Uint8Array<ArrayBuffer> | null;
  readonly lastError: string;
  readonly lastErrorAt: number | null;
  readonly createdAt: number;
  /** How often this device has sealed or signed something that goes there. */
  readonly sealed: number;
  /** Some of what was said to me there before then, in ms by this machine's clock, may be missing; 0 where nothing may. */
  readonly missedUntil: number;
};

const COLUMNS = `id, uid, label, server_key AS serverKey, name, origin, trust, clearnet, state, invite, member_id AS memberId,
  member_name AS memberName, role, device_id AS deviceId, device_seed AS deviceSeed, certificate, epoch,
  inbox_seq AS inboxSeq, inbox_id AS inboxId, last_error AS lastError, last_error_at AS lastErrorAt, created_at AS createdAt, sealed,
  missed_until AS missedUntil`;

/** By label. */
export const listServers = (db: Database): ServerRow[] =>
  db.all<ServerRow>(`SELECT ${COLUMNS} FROM servers WHERE state <> 'left' ORDER BY label`);

export const getServer = (db: Database, id: number): ServerRow | undefined =>
  db.get<ServerRow>(`SELECT ${COLUMNS} FROM servers WHERE id = ?`, id);

/** What this account calls a server; undefined for one that was left. */
export const labelOf = (db: Database, id: number): string | undefined =>
  db.get<{ label: string }>("SELECT label FROM servers WHERE id = ? AND state <> 'left'", id)?.label;

export const getServerByKey = (db: Database, serverKey: Uint8Array): ServerRow | undefined =>
  db.get<ServerRow>(`SELECT ${COLUMNS} FROM servers WHERE server_key = ?`, serverKey);

export const getServerByLabel = (db: Database, label: string): ServerRow | undefined =>
  db.get<ServerRow>(`SELECT ${COLUMNS} FROM servers WHERE label = ? AND state <> 'left'`, label);

export type NewServer = Omit<
  ServerRow,
  'id' | 'name' | 'role' | 'epoch' | 'inboxSeq' | 'inboxId' | 'lastError' | 'lastErrorAt' | 'sealed' | 'missedUntil'
>;

/** Adds a server and gives its row id. */
export const putServer = (db: Database, row: NewServer): number =>
  db.run(
    `INSERT INTO servers (uid, label, server_key, origin, trust, clearnet, state, invite, member_id, member_name, device_id,
       device_seed, certificate, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    row.uid,
    row.label,
    row.serverKey,
    row.origin,
    row.trust,
    row.clearnet,
    row.state,
    row.invite,
    row.memberId,
    row.memberName,
    row.deviceId,
    row.deviceSeed,
    row.certificate,
    row.createdAt,
  ).lastInsertRowid;

const FIELDS = {
  label: 'label',
  name: 'name',
  origin: 'origin',
  trust: 'trust',
  clearnet: 'clearnet',
  state: 'state',
  invite: 'invite',
  memberName: 'member_name',
  role: 'role',
  deviceId: 'device_id',
  deviceSeed: 'device_seed',
  certificate: 'certificate',
  epoch: 'epoch',
  inboxSeq: 'inbox_seq',
  inboxId: 'inbox_id',
  lastError: 'last_error',
  lastErrorAt: 'last_error_at',
  sealed: 'sealed',
  missedUntil: 'missed_until',
} as const;

/** Changes the given fields of a server. */
export const patchServer = (db: Database, id: number, patch: Partial<Pick<ServerRow, keyof typeof FIELDS>>): void => {
  db.patch('servers', FIELDS, id, patch);
};

/** Counts that this device has sealed or signed something: in the transaction that keeps that, and how far its key or session was stepped. */
export const countSealed = (db: Database, id: number): void => {
  db.run('UPDATE servers SET sealed = sealed + 1 WHERE id = ?', id);
};

/** The set of prekeys that others may take, as crypto/prekeys.ts serialises it. */
export const getPreKeys = (db: Database, id: number): Uint8Array<ArrayBuffer> | undefined =>
  db.get<{ prekeys: Uint8Array<ArrayBuffer> }>('SELECT prekeys FROM server_prekeys WHERE server_id = ?', id)?.prekeys;

export const putPreKeys = (db: Database, id: number, prekeys: Uint8Array): void => {
  db.run(
    'INSERT INTO server_prekeys (server_id, prekeys) VALUES (?, ?) ON CONFLICT DO UPDATE SET prekeys = excluded.prekeys',
    id,
    prekeys,
  );
};

/** A new set is made: they were of another device of mine. */
export const forgetPreKeys = (db: Database, id: number): void => {
  db.run('DELETE FROM server_prekeys WHERE server_id = ?', id);
};

/** Erases a server with everything that came from it. */
export const removeServer = (db: Database, id: number): void => {
  db.run('DELETE FROM servers WHERE id = ?', id);
};
