// Servers, channels and members as the objects that front ends see.

import { memberSecrets } from '../crypto/member.ts';
import { safetyNumber } from '../crypto/session.ts';
import { isEqual, toHex } from '../protocol/bytes.ts';
import { idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import { isLoopback } from '../protocol/invite-link.ts';
import { FOREVER } from '../protocol/limits.ts';
import type { Role } from '../protocol/room-content.ts';
import type { ChannelObject, MemberObject, ServerObject, ShareObject } from '../protocol/rpc-rooms.ts';
import { type ChannelRow, getChannel, listGaps, listUnfinishedChannels } from '../store/channels.ts';
import { getContact } from '../store/contacts.ts';
import type { ConversationRow } from '../store/conversations.ts';
import { listMemberLinksOfMember } from '../store/member-links.ts';
import { getMemberById, listDevices, type MemberRow } from '../store/members.ts';
import { countPending } from '../store/room-events.ts';
import { countRoomOutbox } from '../store/room-outbox.ts';
import { listServers, type ServerRow } from '../store/servers.ts';
import { listShares, type ShareRow } from '../store/shares.ts';
import { stateOfJson } from './channel-json.ts';
import type { Core } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { memberName } from './room-names.ts';
import { roomOf, theChannel, theServer } from './room-rows.ts';
import { inGroups, said, when } from './shown.ts';

/** How a server is reached: Tor unless the user, the address or an account without Tor says otherwise. */
export const wayOf = (
  { origin, clearnet }: Pick<ServerRow, 'origin' | 'clearnet'>,
  isOffline: boolean,
): ServerObject['through'] => {
  const host = new URL(origin).hostname;
  if (isLoopback(host)) return 'loopback';
  return (clearnet === 1 || isOffline) && !host.endsWith('.onion') ? 'clearnet' : 'tor';
};

/** A server as `status` and `server list` tell it. */
export const serverObject = (core: Core, row: ServerRow): ServerObject => {
  const connection = core.rooms.get(row.id);
  const state = row.state === 'banned' ? 'banned' : (connection?.state ?? 'off');
  const error = connection?.lastError;
  return {
    id: idOf(row.uid),
    label: row.label,
    url: row.origin,
    name: row.name,
    state,
    memberName: row.memberName,
    memberId: idOf(row.memberId),
    role: row.role,
    fingerprint: toHex(row.serverKey),
    through: wayOf(row, core.network.state.state === 'off'),
    outboxDepth: countRoomOutbox(core.db, row.id),
    ...(connection?.rttMs === undefined ? {} : { rttMs: Math.round(connection.rttMs * 10) / 10 }),
    ...(state === 'online' || error === undefined ? {} : { lastErrorCode: error.code }),
    ...(state === 'online' ? {} : said('lastError', error?.message ?? row.lastError)),
    ...(state === 'online' ? {} : when('lastErrorAt', row.lastErrorAt)),
    ...when('nextRetryAt', connection?.nextRetryAt),
    ...(connection === undefined || connection.sender.stuck.length === 0
      ? {}
      : { stuck: stuckOf(core, row, connection) }),
  };
};

const stuckOf = (core: Core, { label }: ServerRow, { sender }: RoomConnection): ServerObject['stuck'] =>
  sender.stuck.map(({ channelRow, memberRow, error, goesAt }) => ({
    conversation:
      channelRow === null ? `${memberName(core.db, memberRow)}@${label}` : `#${getChannel(core.db, channelRow)?.name}`,
    reason: error.message,
    ...(goesAt === undefined ? {} : { goesAt }),
  }));

/** A member as lists show it. */
export const memberObject = (core: Core, row: MemberRow): MemberObject => {
  const server = theServer(core.db, row.serverId);
  const contact = row.contactId === null ? undefined : getContact(core.db, row.contactId);
  const presence = core.rooms.get(row.serverId)?.visit.presence.get(idOf(row.memberId));
  return {
    id: idOf(row.memberId),
    name: row.name,
    server: server.label,
    role: row.role,
    blocked: row.blocked === 1,
    verified: row.verifiedAt !== null,
    ...said('status', row.status),
    ...(presence === undefined ? {} : { presence }),
    ...(row.request === '' ? {} : { request: row.request }),
    ...(contact === undefined ? saidOf(core, row) : { contact: contact.name }),
  };
};

const saidOf = (core: Core, row: MemberRow): { readonly contactSaid?: string } => {
  const [link] = listMemberLinksOfMember(core.db, row.id);
  const contact = link === undefined ? undefined : getContact(core.db, link.contactId);
  return contact === undefined ? {} : { contactSaid: contact.name };
};

/** A member with the safety number, which covers the member keys and Signal keys of both. */
export const memberDetail = (core: Core, row: MemberRow): MemberObject => {
  const server = theServer(core.db, row.serverId);
  const [device] = listDevices(core.db, row.id);
  if (device === undefined) return memberObject(core, row);
  const mine = memberSecrets(core.serversKey, server.serverKey);
  const { digits } = safetyNumber(
    { identityKey: mine.memberKey, signalKey: mine.signalKey },
    { identityKey: row.memberKey, signalKey: device.signalKey },
  );
  return { ...memberObject(core, row), safetyNumber: inGroups(digits) };
};

/** What of a channel is told outside the program: what I have said, else what the channel says. */
export const notifyOf = ({ notify, membership }: ChannelRow): ChannelObject['notify'] =>
  notify === '' ? (stateOfJson(membership)?.mode.notify ?? 'all') : (notify as ChannelObject['notify']);

/** Whose invitation to a channel is open, by its signed events; undefined when there is none. */
export const inviterOf = (core: Core, row: ChannelRow, { memberId }: ServerRow): MemberRow | undefined => {
  const grant = stateOfJson(row.membership)?.invited.get(idOf<MemberId>(memberId));
  return grant === undefined ? undefined : getMemberById(core.db, row.serverId, idBytes(grant.by));
};

/** A channel as lists show it. */
export const channelObject = (core: Core, row: ChannelRow): ChannelObject => {
  const server = theServer(core.db, row.serverId);
  const state = stateOfJson(row.membership);
  const me = state?.members.get(idOf<MemberId>(server.memberId));
  const nameOf = (id: string) => getMemberById(core.db, server.id, idBytes(id))?.name ?? id.slice(0, 8);
  const waiting = countPending(core.db, row.id);
  const changed = state?.unknown ?? 0;
  const fault = core.rooms.get(row.serverId)?.visit.faults.get(row.id);
  const next = row.lastSeq + 1;
  const inviter = row.state === 'invited' ? inviterOf(core, row, server) : undefined;
  return {
    id: idOf(row.channelId),
    name: `#${row.name}`,
    server: server.label,
    encryption: row.encryption,
    private: row.private === 1,
    history: row.history,
    state: row.state,
    archived: state?.archived ?? false,
    keyEpoch: state?.epoch ?? 0,
    notify: notifyOf(row),
    memberCount: state?.members.size ?? 0,
    ...(inviter === undefined ? {} : { invitedBy: inviter.name }),
    ...said('topic', row.topic),
    ...(me === undefined ? {} : { role: me.role }),
    ...(state === undefined || state.mode.slowMs === 0 ? {} : { slowMs: state.mode.slowMs }),
    ...(state === undefined || state.mode.retentionMs === 0 ? {} : { retentionMs: state.mode.retentionMs }),
    ...(state === undefined || state.exposed.size === 0 ? {} : { mayStillRead: [...state.exposed].map(nameOf) }),
    ...(row.lastSeq === 0 ? {} : { heldFrom: row.firstSeq, heldTo: row.lastSeq }),
    ...(row.state === 'joining' ? when('logTo', core.rooms.get(row.serverId)?.background.headOf(row.id)) : {}),
    gaps: [
      ...listGaps(core.db, row.id),
      ...(fault === undefined ? [] : [{ fromSeq: next, toSeq: next, reason: `not read further: ${fault.message}` }]),
      ...(waiting === 0 ? [] : [{ fromSeq: 0, toSeq: 0, reason: waitingText(waiting) }]),
      ...(changed === 0 ? [] : [{ fromSeq: 0, toSeq: 0, reason: newerText(changed) }]),
    ],
  };
};

const newerText = (count: number): string =>
  `${count === 1 ? '1 change' : `${count} changes`} of a newer version of sotto: who is in the channel, and how, may be otherwise`;

const waitingText = (count: number): string =>
  count === 1 ? '1 message waits for its key' : `${count} messages wait for their key`;

/** What of a room is known to be missing here, in words; nothing where all is here that was to be seen. */
export const missingIn = (core: Core, conversation: ConversationRow): { readonly missing?: string[] } => {
  const { channel, member } = roomOf(core.db, conversation);
  const missing =
    channel !== undefined ? missingInChannel(core, channel) : member !== undefined ? missingWith(core, member) : [];
  return missing.length === 0 ? {} : { missing };
};

const earlierText = (core: Core, { firstSeq, history, encryption, name, serverId }: ChannelRow): string => {
  if (history === 'all') return `What was said before place ${firstSeq} is not here`;
  const text = `What was said before you joined, at place ${firstSeq}, is not here`;
  if (encryption !== 'members') return text;
  const me = getMemberById(core.db, serverId, theServer(core.db, serverId).memberId)?.name ?? 'you';
  return `${text}: a member may show it (channel share-history '#${name}' ${me})`;
};

// Before the first event that is held nothing was said where all of it made the channel and let people in.
const isEarlier = ({ firstSeq, membership }: ChannelRow): boolean =>
  firstSeq > 1 + (stateOfJson(membership)?.opening ?? 0);

const missingInChannel = (core: Core, row: ChannelRow): string[] => [
  ...(isEarlier(row) ? [earlierText(core, row)] : []),
  ...listGaps(core.db, row.id).map(({ fromSeq, toSeq, reason }) => `Places ${fromSeq} to ${toSeq}: ${reason}`),
  ...notYetIn(core, row),
  ...(isEntered(row) ? missingSince(core, row.serverId) : []),
];

const isEntered = ({ state }: ChannelRow): boolean => state === 'joined' || state === 'joining';

// What may still come.
const notYetIn = (core: Core, row: ChannelRow): string[] => {
  const connection = core.rooms.get(row.serverId);
  const waiting = countPending(core.db, row.id);
  const changed = stateOfJson(row.membership)?.unknown ?? 0;
  const fault = connection?.visit.faults.get(row.id);
  const head = connection?.background.headOf(row.id);
  const coming = `What was said after place ${row.lastSeq} is not here yet: it is being fetched`;
  return [
    ...(waiting === 0 ? [] : [waitingText(waiting)]),
    ...(changed === 0 ? [] : [newerText(changed)]),
    ...(fault === undefined ? [] : [`What was said after place ${row.lastSeq} is not read: ${fault.message}`]),
    ...(row.state !== 'joining' || fault !== undefined
      ? []
      : [head === undefined ? coming : `${coming} (${row.lastSeq} of ${head})`]),
  ];
};

/** What may still come to all conversations in rooms, in words, so many at most; nothing where all is here. */
export const missingAnywhere = (core: Core): { readonly missing?: string[] } => {
  const missing: string[] = [];
  for (const server of listServers(core.db)) {
    missing.push(...missingSince(core, server.id));
    const faulty = core.rooms.get(server.id)?.visit.faults.keys() ?? [];
    for (const id of new Set([...listUnfinishedChannels(core.db, server.id), ...faulty])) {
      const row = theChannel(core.db, id);
      missing.push(...notYetIn(core, row).map((text) => `#${row.name}@${server.label}: ${text}`));
    }
  }
  const rest = missing.length - MISSING_MAX;
  const told = rest > 0 ? [...missing.slice(0, MISSING_MAX), `… and ${rest} more`] : missing;
  return told.length === 0 ? {} : { missing: told };
};
const MISSING_MAX = 20;

// While there is no connection to a server, what is said there goes by.
const missingSince = (core: Core, serverId: number): string[] => {
  const server = theServer(core.db, serverId);
  if (server.state !== 'joined' || core.rooms.get(serverId)?.state === 'online') return [];
  return [`Not connected to ${server.label}: what was said there meanwhile is not here yet`];
};

// What was sealed before this device was there was sealed for others of mine.
const missingWith = (core: Core, member: MemberRow): string[] => {
  const server = theServer(core.db, member.serverId);
  const me = getMemberById(core.db, server.id, server.memberId);
  const devices = me === undefined ? [] : listDevices(core.db, me.id);
  const serial = devices.find(({ deviceId }) => isEqual(deviceId, server.deviceId))?.serial ?? 0;
  const came = `What was said before ${new Date(serial).toISOString()}, when this device came, may be on others of yours only`;
  return [...(devices.some((one) => one.serial < serial) ? [came] : []), ...missingSince(core, member.serverId)];
};

/** History that is shared, as it is now. */
export const shareObject = (core: Core, share: ShareRow): ShareObject => {
  const channel = getChannel(core.db, share.channelRow);
  const { by, events } = JSON.parse(share.confirmed) as { readonly by: string[]; readonly events: number };
  return {
    id: idOf(share.shareId),
    channel: `#${channel?.name ?? ''}`,
    direction: share.mine === 1 ? 'out' : 'in',
    member: memberName(core.db, share.memberRow),
    fromSeq: share.fromSeq,
    toSeq: share.toSeq,
    events: share.toSeq - share.fromSeq + 1,
    doneEvents: share.doneSeq - share.fromSeq + 1,
    state: share.state === 'done' || share.state === 'refused' ? share.state : 'active',
    ...said('reason', share.reason),
    ...(share.mine === 0 && share.state === 'done' ? { confirmedBy: by, confirmedEvents: events } : {}),
    createdAt: share.createdAt,
  };
};

/** A channel with its members by name. */
export const channelDetail = (core: Core, row: ChannelRow): ChannelObject => {
  const shares = listShares(core.db, row.id).map((share) => shareObject(core, share));
  const { members = new Map() } = stateOfJson(row.membership) ?? {};
  const roles = new Map([...members].map(([id, { role }]) => [id, role]));
  const now = core.clock.now();
  return {
    ...channelObject(core, row),
    members: memberList(core, row, roles).map((one) => {
      const { mutedUntil = 0 } = members.get(one.id as MemberId) ?? {};
      if (mutedUntil <= now) return one;
      return { ...one, muted: true, ...(mutedUntil === FOREVER ? {} : { mutedUntilAt: mutedUntil }) };
    }),
    ...(shares.length === 0 ? {} : { shares }),
  };
};

/** People in a channel with their roles, by name. */
export const memberList = (core: Core, row: ChannelRow, roles: ReadonlyMap<MemberId, Role>) =>
  [...roles]
    .map(([id, role]) => {
      const known = getMemberById(core.db, row.serverId, idBytes(id));
      return { id, name: known?.name ?? id.slice(0, 8), role, verified: known?.verifiedAt != null };
    })
    .sort((a, b) => a.name.localeCompare(b.name));
