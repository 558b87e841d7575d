// Servers, channels and members as the objects that front ends see.

import { memberSecrets } from '../crypto/member.ts';
import { safetyNumber } from '../crypto/session.ts';
import { isEqual, toHex } from '../protocol/bytes.ts';
import { idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import { isLoopback } from '../protocol/invite-link.ts';
import { FOREVER } from '../protocol/limits.ts';
import type { Role } from '../protocol/room-content.ts';
import type { ChannelObject, MemberObject, ServerObject, ShareObject } from '../protocol/rpc-rooms.ts';
import { type ChannelRow, getChannel, hasChannelKey, listGaps } from '../store/channels.ts';
import { getContact } from '../store/contacts.ts';
import { listMemberLinksOfMember } from '../store/member-links.ts';
import { getMember, getMemberById, listDevices, type MemberRow } from '../store/members.ts';
import { countRoomOutbox, listRoomOutboxNaming } from '../store/room-outbox.ts';
import { labelOf, type ServerRow } from '../store/servers.ts';
import { listShares, type ShareRow } from '../store/shares.ts';
import { stateOfJson } from './channel-json.ts';
import type { Core } from './core.ts';
import { unopenedIn } from './missing.ts';
import type { RoomConnection } from './room-connection.ts';
import { memberName } from './room-names.ts';
import { needsPassphrase } from './room-places.ts';
import { isLost, missedOn, theServer, wasNeverIn } from './room-rows.ts';
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
  const error = connection?.lastError;
  const isRevoked = connection?.state === 'banned' && error?.code === 'device.revoked';
  const state = isRevoked ? 'revoked' : row.state === 'banned' ? 'banned' : (connection?.state ?? 'off');
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
    ...(row.missedUntil === 0 ? {} : { missing: missedOn(row) }),
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
  const { visit } = core.rooms.get(row.serverId) ?? {};
  const presence = visit?.presence.get(idOf(row.memberId));
  return {
    id: idOf(row.memberId),
    name: row.name,
    server: server.label,
    role: row.role,
    blocked: row.blocked === 1,
    verified: row.verifiedAt !== null,
    ...said('status', row.status),
    ...(presence === undefined ? {} : { presence }),
    ...(visit?.banned.has(idOf(row.memberId)) === true ? { banned: true } : {}),
    ...(row.request === '' ? {} : { request: row.request }),
    ...(contact === undefined ? saidOf(core, row) : { contact: contact.name }),
  };
};

/** Whether somebody wants to write to me, on a server that was not left, and waits for my answer. */
export const isRequest = ({ db }: Core, memberRow: number | null): boolean => {
  const member = memberRow === null ? undefined : getMember(db, memberRow);
  return member?.request === 'open' && labelOf(db, member.serverId) !== undefined;
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
  // Nobody compares a number with themselves.
  if (device === undefined || isEqual(row.memberId, server.memberId)) return memberObject(core, row);
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

/** What a channel is to somebody who is not in it. */
export const wayInto = ({ encryption, private: isPrivate }: ChannelRow): ChannelObject['state'] =>
  encryption === 'members' || isPrivate === 1 ? 'byInvitation' : 'joinable';

/** Who was removed from a channel and may still read until its passphrase changes, by name: where I am there, and something may still be said. */
export const mayStillRead = (core: Core, row: ChannelRow): string[] => {
  const state = stateOfJson(row.membership);
  if (state === undefined || state.archived || !isIn(row)) return [];
  return [...state.exposed].map((id) => nameIn(core, row.serverId, id));
};

const isIn = ({ state }: ChannelRow): boolean => state === 'joined' || state === 'joining';

const nameIn = ({ db }: Core, serverId: number, id: string): string =>
  getMemberById(db, serverId, idBytes(id))?.name ?? id.slice(0, 8);

// A text that somebody writes has its quotation marks escaped there.
const isTopicQueued = ({ db }: Core, { id }: ChannelRow): boolean =>
  listRoomOutboxNaming(db, id, '"kind":"topic"').some(({ seq }) => seq === null);

/** A channel as lists show it. */
export const channelObject = (core: Core, row: ChannelRow): ChannelObject => {
  const server = theServer(core.db, row.serverId);
  const state = stateOfJson(row.membership);
  const me = state?.members.get(idOf<MemberId>(server.memberId));
  const exposed = mayStillRead(core, row);
  const fault = core.rooms.get(row.serverId)?.visit.faults.get(row.id);
  const next = row.lastSeq + 1;
  const lost = isLost(row, server);
  const isLocked = needsPassphrase(core, row) && !lost;
  const inviter = row.state === 'invited' ? inviterOf(core, row, server) : undefined;
  return {
    id: idOf(row.channelId),
    name: `#${row.name}`,
    server: server.label,
    encryption: row.encryption,
    private: row.private === 1,
    history: row.history,
    state: lost ? 'lost' : wasNeverIn(row) ? wayInto(row) : row.state,
    archived: state?.archived ?? false,
    keyEpoch: state?.epoch ?? 0,
    notify: notifyOf(row),
    memberCount: state?.members.size ?? 0,
    ...(inviter === undefined ? {} : { invitedBy: inviter.name }),
    ...said('topic', row.topic),
    ...(isTopicQueued(core, row) ? { topicState: 'queued' as const } : {}),
    ...(me === undefined || !isIn(row) ? {} : { role: me.role }),
    ...(state === undefined || state.mode.slowMs === 0 ? {} : { slowMs: state.mode.slowMs }),
    ...(state === undefined || state.mode.retentionMs === 0 ? {} : { retentionMs: state.mode.retentionMs }),
    ...(exposed.length === 0 ? {} : { mayStillRead: exposed }),
    ...(isLocked ? { passphraseNeeded: true } : {}),
    ...(isLocked && hasChannelKey(core.db, row.id) ? { passphraseChanged: true } : {}),
    ...(row.lastSeq === 0 ? {} : { heldFrom: row.firstSeq, heldTo: row.lastSeq }),
    ...(row.state === 'joining' ? when('logTo', core.rooms.get(row.serverId)?.background.headOf(row.id)) : {}),
    gaps: [
      ...listGaps(core.db, row.id),
      ...(fault === undefined ? [] : [{ fromSeq: next, toSeq: next, reason: `not read further: ${fault.message}` }]),
      ...unopenedIn(core, row).map((reason) => ({ fromSeq: 0, toSeq: 0, reason })),
    ],
  };
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
  const { members = new Map(), banned = new Set<MemberId>() } = stateOfJson(row.membership) ?? {};
  const roles = new Map([...members].map(([id, { role }]) => [id, role]));
  const now = core.clock.now();
  return {
    ...channelObject(core, row),
    members: memberList(core, row, roles).map((one) => {
      const { mutedUntil = 0 } = members.get(one.id as MemberId) ?? {};
      if (mutedUntil <= now) return one;
      return { ...one, muted: true, ...(mutedUntil === FOREVER ? {} : { mutedUntilAt: mutedUntil }) };
    }),
    ...(banned.size === 0 ? {} : { banned: bannedList(core, row, banned) }),
    ...(shares.length === 0 ? {} : { shares }),
  };
};

const bannedList = (core: Core, row: ChannelRow, banned: ReadonlySet<MemberId>) =>
  [...banned].map((id) => ({ id, name: nameIn(core, row.serverId, id) })).sort((a, b) => a.name.localeCompare(b.name));

/** People in a channel with their roles, by name. */
export const memberList = (core: Core, row: ChannelRow, roles: ReadonlyMap<MemberId, Role>) =>
  [...roles]
    .map(([id, role]) => {
      const known = getMemberById(core.db, row.serverId, idBytes(id));
      return { id, name: nameIn(core, row.serverId, id), role, verified: known?.verifiedAt != null };
    })
    .sort((a, b) => a.name.localeCompare(b.name));
