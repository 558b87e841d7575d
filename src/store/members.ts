// Rows of the people on servers, and of their devices with the Signal session of each.
import type { Database } from '../sqlite/open.ts';

export type MemberRow = {
  readonly id: number;
  readonly serverId: number;
  readonly memberId: Uint8Array<ArrayBuffer>;
  readonly memberKey: Uint8Array<ArrayBuffer>;
  readonly name: string;
  /** The first name here, once it is another; empty before. */
  readonly former: string;
  readonly role: string;
  readonly status: string;
  readonly request: '' | 'open' | 'accepted' | 'rejected';
  readonly blocked: number;
  readonly verifiedAt: number | null;
  /** The contact that this is, as both have said. */
  readonly contactId: number | null;
  readonly createdAt: number;
};

const COLUMNS = `id, server_id AS serverId, member_id AS memberId, member_key AS memberKey, name, former, role, status, request, blocked,
  verified_at AS verifiedAt, contact_id AS contactId, created_at AS createdAt`;

export const getMember = (db: Database, id: number): MemberRow | undefined =>
  db.get<MemberRow>(`SELECT ${COLUMNS} FROM members WHERE id = ?`, id);

export const getMemberById = (db: Database, serverId: number, memberId: Uint8Array): MemberRow | undefined =>
  db.get<MemberRow>(`SELECT ${COLUMNS} FROM members WHERE server_id = ? AND member_id = ?`, serverId, memberId);

/** Members that carry this name now: a name is a label, and a server may have moved it. */
export const listMembersByName = (db: Database, name: string): MemberRow[] =>
  // The index goes by server.
  db.all<MemberRow>(
    `SELECT ${COLUMNS} FROM members WHERE server_id IN (SELECT id FROM servers) AND name = ? ORDER BY id`,
    name,
  );

/** Whether a name is, or was first, that of another member of a server. */
export const isNameOfAnother = (db: Database, serverId: number, memberId: Uint8Array, name: string): boolean =>
  db.get(
    `SELECT 1 FROM members WHERE server_id = ? AND name = ? AND member_id <> ? UNION ALL
       SELECT 1 FROM members WHERE server_id = ? AND former = ? AND former <> '' AND member_id <> ? LIMIT 1`,
    serverId,
    name,
    memberId,
    serverId,
    name,
    memberId,
  ) !== undefined;

/** By name. */
export const listMembers = (db: Database, serverId: number): MemberRow[] =>
  db.all<MemberRow>(`SELECT ${COLUMNS} FROM members WHERE server_id = ? ORDER BY name, id`, serverId);

/** How many members of servers that were not left want to write to me, and wait for my answer. */
export const countMemberRequests = (db: Database): number =>
  db.get<{ n: number }>(
    `SELECT count(*) AS n FROM members WHERE request = 'open'
       AND EXISTS (SELECT 1 FROM servers WHERE id = server_id AND state <> 'left')`,
  )?.n ?? 0;

/** Members that a contact is, as both have said. */
export const listMembersOfContact = (db: Database, contactId: number): MemberRow[] =>
  db.all<MemberRow>(`SELECT ${COLUMNS} FROM members WHERE contact_id = ? ORDER BY id`, contactId);

/** Adds a member and gives its row id. */
export const putMember = (
  db: Database,
  row: Pick<MemberRow, 'serverId' | 'memberId' | 'memberKey' | 'name' | 'role' | 'status' | 'createdAt'>,
): number =>
  db.run(
    'INSERT INTO members (server_id, member_id, member_key, name, role, status, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)',
    row.serverId,
    row.memberId,
    row.memberKey,
    row.name,
    row.role,
    row.status,
    row.createdAt,
  ).lastInsertRowid;

const FIELDS = {
  name: 'name',
  former: 'former',
  role: 'role',
  status: 'status',
  request: 'request',
  blocked: 'blocked',
  verifiedAt: 'verified_at',
  contactId: 'contact_id',
} as const;

/** Changes the given fields of a member. */
export const patchMember = (db: Database, id: number, patch: Partial<Pick<MemberRow, keyof typeof FIELDS>>): void => {
  db.patch('members', FIELDS, id, patch);
};

export type DeviceRow = {
  readonly id: number;
  readonly memberRow: number;
  readonly deviceId: Uint8Array<ArrayBuffer>;
  readonly certificate: Uint8Array<ArrayBuffer>;
  readonly signingKey: Uint8Array<ArrayBuffer>;
  readonly signalKey: Uint8Array<ArrayBuffer>;
  readonly serial: number;
  /** When the server ended it, by its clock in ms; 1 where that is not known, and 0 while it lives. */
  readonly revoked: number;
  readonly session: Uint8Array<ArrayBuffer> | null;
};

const DEVICE_COLUMNS = `id, member_row AS memberRow, device_id AS deviceId, certificate, signing_key AS signingKey,
  signal_key AS signalKey, serial, revoked, session`;

/** Devices of a member, the first known first. */
export const listDevices = (db: Database, memberRow: number): DeviceRow[] =>
  db.all<DeviceRow>(`SELECT ${DEVICE_COLUMNS} FROM devices WHERE member_row = ? ORDER BY id`, memberRow);

/** Devices of all members of a server with which there is a session. */
export const listDevicesInSession = (db: Database, serverId: number): DeviceRow[] =>
  db.all<DeviceRow>(
    `SELECT ${DEVICE_COLUMNS} FROM devices
       WHERE member_row IN (SELECT id FROM members WHERE server_id = ?) AND session IS NOT NULL ORDER BY id`,
    serverId,
  );

/** Ids of the devices of a member, the first known first. */
export const listDeviceIds = (db: Database, memberRow: number): Uint8Array<ArrayBuffer>[] =>
  db
    .all<{ deviceId: Uint8Array<ArrayBuffer> }>(
      'SELECT device_id AS deviceId FROM devices WHERE member_row = ? ORDER BY id',
      memberRow,
    )
    .map(({ deviceId }) => deviceId);

/** Whether any device of a member is known. */
export const hasDevice = (db: Database, memberRow: number): boolean =>
  db.get('SELECT 1 FROM devices WHERE member_row = ? LIMIT 1', memberRow) !== undefined;

/** The key with which a device of a member signs. */
export const getSigningKey = (
  db: Database,
  memberRow: number,
  deviceId: Uint8Array,
): Uint8Array<ArrayBuffer> | undefined =>
  db.get<{ key: Uint8Array<ArrayBuffer> }>(
    'SELECT signing_key AS key FROM devices WHERE member_row = ? AND device_id = ?',
    memberRow,
    deviceId,
  )?.key;

export const getDevice = (db: Database, memberRow: number, deviceId: Uint8Array): DeviceRow | undefined =>
  db.get<DeviceRow>(
    `SELECT ${DEVICE_COLUMNS} FROM devices WHERE member_row = ? AND device_id = ?`,
    memberRow,
    deviceId,
  );

/** Adds a device whose certificate was checked; gives its row id. */
export const putDevice = (
  db: Database,
  row: Omit<DeviceRow, 'id' | 'session' | 'revoked'> & { readonly createdAt: number },
): number =>
  db.run(
    `INSERT INTO devices (member_row, device_id, certificate, signing_key, signal_key, serial, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
    row.memberRow,
    row.deviceId,
    row.certificate,
    row.signingKey,
    row.signalKey,
    row.serial,
    row.createdAt,
  ).lastInsertRowid;

/** Keeps another certificate of a device, which was checked. */
export const renewDevice = (db: Database, id: number, row: Pick<DeviceRow, 'certificate' | 'serial'>): void => {
  db.run('UPDATE devices SET certificate = ?, serial = ? WHERE id = ?', row.certificate, row.serial, id);
};

/** Keeps the Signal state of the session with a device. */
export const putDeviceSession = (db: Database, id: number, session: Uint8Array): void => {
  db.run('UPDATE devices SET session = ? WHERE id = ?', session, id);
};

/** Sessions with all devices on a server end: they are of another device of mine. */
export const forgetSessions = (db: Database, serverId: number): void => {
  db.run(
    'UPDATE devices SET session = NULL WHERE member_row IN (SELECT id FROM members WHERE server_id = ?)',
    serverId,
  );
};

/** A revoked device gets nothing any more. Its session stays: what it said before may come yet. */
export const revokeDevice = (db: Database, id: number, at: number): void => {
  db.run('UPDATE devices SET revoked = ? WHERE id = ?', at, id);
};
