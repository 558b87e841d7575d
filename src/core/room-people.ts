// Members and devices of a server as this account knows them: by key and certificate, never by the server's word alone.
import { compareCertificate, type DeviceCertificate, memberIdOf, readDeviceCertificate } from '../crypto/member.ts';
import { readEventHeader } from '../crypto/room-event.ts';
import { isPrimeOrderKey } from '../crypto/subgroup.ts';
import { fromBase64, isEqual } from '../protocol/bytes.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { idBytes, idOf } from '../protocol/ids.ts';
import {
  CHANNEL_MEMBERS_MAX,
  DEVICES_ASKED_MAX,
  DEVICES_TOLD_MAX,
  MEMBER_DOUBTS_TOLD_MAX,
  ROOM_PAGE_MAX,
  STATUS_TEXT_CHARS_MAX,
} from '../protocol/limits.ts';
import { isMemberName } from '../protocol/room-content.ts';
import type { ServerDevice, ServerMember } from '../protocol/server.ts';
import type { LogEvent } from '../protocol/server-frames.ts';
import {
  type DeviceRow,
  getMemberById,
  getSigningKey,
  hasDevice,
  isNameOfAnother,
  listDevices,
  type MemberRow,
  patchMember,
  putDevice,
  putMember,
  renewDevice,
  revokeDevice,
} from '../store/members.ts';
import { labelOf, patchServer } from '../store/servers.ts';
import { type Changes, type Core, commit, refuse } from './core.ts';
import type { RoomConnection } from './room-connection.ts';

/** Asks the server for the members, and their devices, that events name and that are not known yet. */
export const knowSenders = async (
  core: Core,
  connection: RoomConnection,
  events: readonly LogEvent[],
): Promise<void> => {
  const unknown = new Set<string>();
  for (const { member } of events) {
    if (Number(`0x${member}`) === 0) continue;
    const row = getMemberById(core.db, connection.serverId, idBytes(member));
    if (row === undefined || !hasDevice(core.db, row.id)) unknown.add(member);
  }
  if (unknown.size > 0) await learnMembers(core, connection, [...unknown]);
};

/** Bytes ‖ signature of an event in clear, and as whose it is shown. */
export type Signed = { readonly member: string; readonly signed: Uint8Array };

/** The same for events in clear, and for a device that has signed one and came while nobody here was told. */
export const knowSigners = async (core: Core, connection: RoomConnection, events: readonly Signed[]): Promise<void> => {
  const unsure = events.filter((event) => !isSignerKnown(core, connection.serverId, event));
  if (unsure.length > 0) await learnMembers(core, connection, [...new Set(unsure.map(({ member }) => member))]);
};

const isSignerKnown = (core: Core, serverId: number, { member, signed }: Signed): boolean => {
  const row = getMemberById(core.db, serverId, idBytes(member));
  if (row === undefined) return false;
  try {
    return getSigningKey(core.db, row.id, idBytes(readEventHeader(signed).device)) !== undefined;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    // It is refused whoever has signed it.
    return true;
  }
};

/** Fetches members by id with the certificates of their devices, and keeps what is proven. */
export const learnMembers = async (core: Core, connection: RoomConnection, ids: readonly string[]): Promise<void> => {
  for (let rest = ids; rest.length > 0; ) {
    const some = rest.slice(0, DEVICES_ASKED_MAX);
    const [{ members }, { devices }] = await Promise.all([
      connection.request('member.list', { ids: some }),
      connection.request('member.devices', { members: some }),
    ]);
    await core.queue.call(() =>
      commit(core, (changes) => {
        for (const member of members.filter(({ id }) => some.includes(id)))
          keepMember(core, changes, connection, member);
        for (const id of some) keepDevices(core, changes, connection, id, devices[id] ?? []);
      }),
    );
    // As many as fit are told of at once; a server that tells of nobody is not asked again.
    const left = some.filter((id) => devices[id] === undefined);
    rest = [...(left.length < some.length ? left : []), ...rest.slice(DEVICES_ASKED_MAX)];
  }
};

/** The member whom the server calls so now. Throws `member.unknown`, `name.ambiguous` for a name that moved, `server.*`. */
export const learnByName = async (core: Core, connection: RoomConnection, name: string): Promise<MemberRow> => {
  const { members } = await connection.request('member.list', { names: [name] });
  const found = members.find((one) => one.name === name);
  if (found === undefined)
    throw new SottoError('member.unknown', { message: `There is no member ${JSON.stringify(name)}` });
  await learnMembers(core, connection, [found.id]);
  const row = getMemberById(core.db, connection.serverId, idBytes(found.id));
  if (row === undefined) throw new SottoError('member.unknown');
  if (row.name !== name)
    throw new SottoError('name.ambiguous', {
      message: `${name} is another person than before, who is called ${row.name} here`,
      details: { candidates: [`${row.name}@${labelOf(core.db, connection.serverId)}`] },
    });
  return row;
};

/** Fetches everybody, but no more than a server can have, and gives who is there. */
export const learnAll = async (core: Core, connection: RoomConnection): Promise<ReadonlySet<string>> => {
  const there = new Set<string>();
  let after: string | undefined;
  for (let learned = 0; learned < CHANNEL_MEMBERS_MAX; learned += ROOM_PAGE_MAX) {
    const { members, more } = await connection.request('member.list', {
      limit: ROOM_PAGE_MAX,
      ...(after === undefined ? {} : { after }),
    });
    await core.queue.call(() =>
      commit(core, (changes) => {
        for (const member of members.slice(0, ROOM_PAGE_MAX)) keepMember(core, changes, connection, member);
      }),
    );
    for (const { id } of members) there.add(id);
    after = members.at(-1)?.id;
    if (!more || after === undefined) break;
  }
  return there;
};

/**
 * Keeps what a server says of a member whose id is that of the key it shows; another key is another person. A name that is, or
 * was first, somebody else's here stays theirs: the newcomer has the beginning of the id behind it, and that is said.
 */
export const keepMember = (core: Core, changes: Changes, connection: RoomConnection, said: ServerMember): void => {
  const { serverId, row: server } = connection;
  const memberKey = fromBase64(said.key);
  if (memberIdOf(server.serverKey, memberKey) !== said.id) return refuse(core, 'event.forged');
  const memberId = idBytes(said.id);
  const known = getMemberById(core.db, serverId, memberId);
  if (known === undefined && !isPrimeOrderKey(memberKey)) return refuse(core, 'key.invalid');
  // Who erased themself has none there any more. By what is no name nobody could be found.
  const nobody = said.name === '' ? '' : said.id.slice(0, 8);
  const wanted = isMemberName(said.name) ? said.name : (known?.name ?? nobody);
  const isTaken = wanted !== '' && isNameOfAnother(core.db, serverId, memberId, wanted);
  const name = isTaken ? `${wanted}-${said.id.slice(0, 8)}` : wanted;
  const { role } = said;
  if (!said.banned) connection.visit.banned.delete(said.id);
  else if (connection.visit.banned.size < CHANNEL_MEMBERS_MAX) connection.visit.banned.add(said.id);
  if (said.name === '' && connection.visit.erased.size < CHANNEL_MEMBERS_MAX) connection.visit.erased.add(said.id);
  const status = said.status.slice(0, STATUS_TEXT_CHARS_MAX);
  const row =
    known?.id ?? putMember(core.db, { serverId, memberId, memberKey, name, role, status, createdAt: changes.at });
  if (known !== undefined) {
    const isRenamed = known.name !== name && known.name !== '';
    patchMember(core.db, row, {
      name,
      role,
      status,
      ...(isRenamed && known.former === '' ? { former: known.name } : {}),
    });
    if (isRenamed) changes.event({ kind: 'member.renamed', memberRow: row, detail: `was ${known.name}` });
  }
  if (isTaken && known?.name !== name)
    changes.event({ kind: 'member.renamed', memberRow: row, detail: `${wanted} is another person than before` });
  // What we are called there, and may do, is kept with the server, too.
  const isOther = role !== server.role || said.name !== server.memberName;
  if (said.id === idOf(server.memberId) && isOther)
    patchServer(core.db, serverId, { role, ...(isMemberName(said.name) ? { memberName: said.name } : {}) });
};

const keepDevices = (
  core: Core,
  changes: Changes,
  connection: RoomConnection,
  memberId: string,
  devices: readonly ServerDevice[],
): void => {
  const member = getMemberById(core.db, connection.serverId, idBytes(memberId));
  if (member === undefined) return;
  // To look at a certificate takes a while: nobody is told of more than so many.
  for (const said of devices.slice(0, DEVICES_TOLD_MAX)) {
    try {
      keepDevice(core, changes, connection, member, said);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      refuse(core, error.code);
      tellOnce(changes, connection, member, 'the server shows a device that is not theirs');
    }
  }
};

/** Tells once on a connection what a server shows of somebody that is not theirs. */
const tellOnce = (changes: Changes, { visit: { told } }: RoomConnection, member: MemberRow, detail: string): void => {
  const what = `${member.id} ${detail}`;
  if (told.has(what) || told.size >= MEMBER_DOUBTS_TOLD_MAX) return;
  told.add(what);
  changes.event({ kind: 'member.device', memberRow: member.id, detail });
};

const keepDevice = (
  core: Core,
  changes: Changes,
  connection: RoomConnection,
  member: MemberRow,
  said: ServerDevice,
): void => {
  const { serverKey } = connection.row;
  const rows = listDevices(core.db, member.id);
  const bytes = fromBase64(said.certificate);
  const revoke = ({ id, revoked }: Pick<DeviceRow, 'id' | 'revoked'>): void => {
    if (said.revoked && revoked === 0) revokeDevice(core.db, id, said.revokedAt ?? 1);
  };
  const same = rows.find((row) => isEqual(row.certificate, bytes));
  if (same !== undefined) return revoke(same);
  const certificate = readDeviceCertificate(bytes, serverKey);
  if (certificate.member !== idOf(member.memberId)) throw new ProtocolError('certificate.invalid');
  const known = rows.map((row) => certificateOf(row, member));
  const news = compareCertificate(known, certificate);
  const present = rows.find(({ deviceId }) => idOf(deviceId) === certificate.device);
  if (present !== undefined) {
    if (news === 'renewed') renewDevice(core.db, present.id, { certificate: bytes, serial: certificate.serial });
    return revoke(present);
  }
  const id = putDevice(core.db, {
    memberRow: member.id,
    deviceId: idBytes(certificate.device),
    certificate: bytes,
    signingKey: certificate.signingKey,
    signalKey: certificate.signalKey,
    serial: certificate.serial,
    createdAt: changes.at,
  });
  revoke({ id, revoked: 0 });
  if (rows.length > 0 && !said.revoked)
    changes.event({ kind: 'member.device', memberRow: member.id, detail: 'has another device' });
};

const certificateOf = (row: DeviceRow, member: MemberRow): DeviceCertificate => ({
  memberKey: member.memberKey,
  signingKey: row.signingKey,
  signalKey: row.signalKey,
  serial: row.serial,
  member: idOf(member.memberId),
  device: idOf(row.deviceId),
});
