// The methods of an open account that are about servers, channels and members.
import { expectedError, ProtocolError, SottoError } from '../protocol/errors.ts';
import { idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import { makeInviteLink } from '../protocol/invite-link.ts';
import { INVITE_MS } from '../protocol/limits.ts';
import type { Control, Role } from '../protocol/room-content.ts';
import { NO_OLD_KEYS } from '../protocol/room-rules.ts';
import type { AccountMethod, Params, Result } from '../protocol/rpc.ts';
import type { ChannelObject, ROOM_METHODS } from '../protocol/rpc-rooms.ts';
import type { Answer } from '../protocol/server.ts';
import { parseStrictJson } from '../protocol/strict-json.ts';
import { type ChannelRow, listChannels, patchChannel } from '../store/channels.ts';
import { getContactByName } from '../store/contacts.ts';
import { getConversationOfMember } from '../store/conversations.ts';
import {
  getDevice,
  getMember,
  getMemberById,
  listMembers,
  type MemberRow,
  patchMember,
  revokeDevice,
} from '../store/members.ts';
import { listServers, patchServer, type ServerRow } from '../store/servers.ts';
import { stateOfJson } from './channel-json.ts';
import { type Changes, type Core, commit } from './core.ts';
import { linkMember, unlinkMember } from './member-links.ts';
import type { Context } from './methods.ts';
import { findContact } from './names.ts';
import { isPrefix, only, quoted } from './references.ts';
import { conversationOfChannel } from './room-apply.ts';
import { callsOn } from './room-calls.ts';
import { createChannel, joinChannel, rotateChannel } from './room-channels.ts';
import { connectionOf, publishControl } from './room-control.ts';
import { tellDecided } from './room-devices.ts';
import { decisionOf, ensureConversation } from './room-direct.ts';
import { allChannels, allInvites } from './room-lists.ts';
import {
  findChannel,
  findKnownMember,
  findMemberById,
  findServer,
  isMemberReference,
  splitChannel,
  splitMember,
} from './room-names.ts';
import { channelDetail, channelObject, memberDetail, memberObject, serverObject, shareObject } from './room-objects.ts';
import { enqueueRoom } from './room-outbox.ts';
import { learnAll, learnByName } from './room-people.ts';
import { placeOf } from './room-places.ts';
import { letIn } from './room-receipts.ts';
import { channelAt } from './room-rewind.ts';
import { theChannel, theServer } from './room-rows.ts';
import { makeSecret, removeSecond, setSecond, showSecond } from './room-second.ts';
import { joinServer, leaveServer } from './room-servers.ts';
import { shareHistory, shareNow, shareOf } from './room-share.ts';

type RoomMethod = keyof typeof ROOM_METHODS;
type Handlers = {
  readonly [M in RoomMethod & AccountMethod]: (context: Context, params: Params<M>) => Promise<Result<M>> | Result<M>;
};

const shown = (core: Core, id: number): ChannelObject => channelObject(core, theChannel(core.db, id));

const serverShown = (core: Core, id: number) => serverObject(core, theServer(core.db, id));

/** A member by `name@server`, by a name on the channel's server, or by id; the server is asked when nobody here is called so. */
const theMember = async (core: Core, reference: string, inside?: ServerRow): Promise<MemberRow> => {
  const { name, server } = splitMember(core.db, reference, inside);
  if (inside !== undefined && server.id !== inside.id)
    throw new SottoError('member.unknown', { message: `${quoted(reference)} is no member of ${inside.label}` });
  const known = findKnownMember(core.db, server, name);
  if (known !== undefined) return known;
  return findMemberById(core.db, server, reference) ?? learnByName(core, await connectionOf(core, server), name);
};

const byPrefix = <T extends { readonly id: string }>(
  all: readonly T[],
  id: string,
  code: 'invite.unknown' | 'device.unknown',
  message: string,
): T => {
  const fit = isPrefix(id) ? all.filter((one) => one.id.startsWith(id)) : [];
  return only(fit, code, message, (one) => one.id);
};

/** A channel that is known here, or that its server knows. */
const anyChannel = async (context: Context, reference: string): Promise<{ server: ServerRow; name: string }> => {
  const { name, server } = splitChannel(context.core.db, reference);
  return { name, server: server ?? findServer(context.core.db, undefined) };
};

/** Publishes a control event about a member of a channel, and shows the channel. */
const about = async (
  { core }: Context,
  { channel, member }: { readonly channel: string; readonly member: string },
  control: (id: MemberId) => Control,
): Promise<ChannelObject> => {
  const row = findChannel(core.db, channel);
  const server = theServer(core.db, row.serverId);
  const who = await theMember(core, member, server);
  await publishControl(core, row.id, control(idOf<MemberId>(who.memberId)));
  return shown(core, row.id);
};

const inviteShown = (server: ServerRow, invite: Answer<'invite.create'>['invite'], link?: string) => ({
  id: invite.id,
  server: server.label,
  role: invite.role,
  uses: invite.usesLeft,
  createdAt: invite.createdAt,
  ...(invite.expiresAt === undefined ? {} : { expiresAt: invite.expiresAt }),
  ...(link === undefined ? {} : { link }),
});

const changeMember = async (
  { core }: Context,
  reference: string,
  step: (changes: Changes, row: MemberRow) => void,
): Promise<ReturnType<typeof memberObject>> => {
  const row = await theMember(core, reference);
  await core.queue.call(() => commit(core, (changes) => step(changes, row)));
  const now = getMember(core.db, row.id);
  if (now === undefined) throw new SottoError('member.unknown');
  return memberObject(core, now);
};

const decide = (context: Context, reference: string, accepted: boolean) =>
  changeMember(context, reference, (changes, row) => {
    if (accepted) letIn(context.core, row.id);
    else patchMember(context.core.db, row.id, decisionOf(false));
    tellDecided(context.core, changes, row, accepted);
  });

export const ROOM_HANDLERS: Handlers = {
  'server.join': async ({ core, waits }, params) => serverShown(core, await joinServer(core, waits, params)),
  'server.list': ({ core }) => listServers(core.db).map((row) => serverObject(core, row)),
  'server.retry': async ({ core }, { server, timeoutMs }) => {
    const row = findServer(core.db, server);
    // Also where only the user could have changed something. What stands in the way is in what is shown.
    core.rooms.connect(row.id).start();
    const connection = await connectionOf(core, row, timeoutMs).catch((error: unknown) => {
      if (expectedError(error) === undefined) throw error;
      return undefined;
    });
    connection?.sender.retry();
    return serverShown(core, row.id);
  },
  'server.leave': async ({ core }, { server, erase }) => {
    const row = findServer(core.db, server);
    await leaveServer(core, row.id, erase === true);
    return serverShown(core, row.id);
  },
  'server.invite': async ({ core }, { server, uses, expiresMs, role }) => {
    const row = findServer(core.db, server);
    const { invite, token } = await (await connectionOf(core, row)).request('invite.create', {
      uses: uses ?? 1,
      role: role ?? 'member',
      expiresAt: core.clock.now() + (expiresMs ?? INVITE_MS),
    });
    const { origin, serverKey, trust } = row;
    return inviteShown(row, invite, makeInviteLink({ origin, serverKey, trust, token }));
  },
  'server.invites': async ({ core }, { server }) => {
    const row = findServer(core.db, server);
    const invites = await allInvites(await connectionOf(core, row));
    return invites.map((invite) => inviteShown(row, invite));
  },
  'server.revoke': async ({ core }, { server, id }) => {
    const row = findServer(core.db, server);
    const connection = await connectionOf(core, row);
    const found = byPrefix(
      await allInvites(connection),
      id,
      'invite.unknown',
      `There is no invite ${quoted(id)}: sotto server invites`,
    );
    await connection.request('invite.revoke', { invite: found.id });
    return { ...inviteShown(row, found), uses: 0 };
  },
  'server.devices': async ({ core }, { server }) => {
    const row = findServer(core.db, server);
    return devicesOf(core, row);
  },
  'server.revokeDevice': async ({ core }, { server, id }) => {
    const row = findServer(core.db, server);
    const devices = await devicesOf(core, row);
    const found = byPrefix(devices, id, 'device.unknown', `There is no device ${quoted(id)}: sotto server devices`);
    await (await connectionOf(core, row)).request('device.revoke', { device: found.id });
    // From here on it is told nothing by this device, whatever the server says of it.
    await core.queue.call(() => commit(core, () => forgetDevice(core, row, found.id)));
    return { ...found, revoked: true };
  },
  'server.secondCheck': ({ core }, params) => showSecond(core, params),
  'server.secondSecret': ({ core }, params) => makeSecret(core, params),
  'server.setSecondCheck': ({ core }, params) => setSecond(core, params),
  'server.removeSecondCheck': ({ core }, params) => removeSecond(core, params),
  'server.export': async ({ core }, { server }) => {
    const row = findServer(core.db, server);
    const { json } = await (await connectionOf(core, row)).request('member.export', {});
    const kept: unknown = parseStrictJson(json);
    if (typeof kept !== 'object' || kept === null || Array.isArray(kept)) throw new ProtocolError('frame.invalid');
    return { server: row.label, kept: kept as Record<string, unknown> };
  },
  'server.profile': async ({ core }, { server, name, status }) => {
    const row = findServer(core.db, server);
    const { member } = await (await connectionOf(core, row)).request('member.profile', {
      ...(name === undefined ? {} : { name }),
      ...(status === undefined ? {} : { status }),
    });
    await core.queue.call(() => commit(core, () => patchServer(core.db, row.id, { memberName: member.name })));
    return serverShown(core, row.id);
  },
  'member.list': async ({ core }, { server }) => {
    const row = findServer(core.db, server);
    const isOnline = core.rooms.get(row.id)?.state === 'online';
    const there = isOnline ? await learnAll(core, await connectionOf(core, row)) : undefined;
    return listMembers(core.db, row.id)
      .filter(({ memberId }) => there?.has(idOf(memberId)) ?? true)
      .map((member) => memberObject(core, member));
  },
  'member.show': async ({ core }, { member }) => memberDetail(core, await theMember(core, member)),
  'member.verify': (context, { member, verified }) =>
    changeMember(context, member, ({ at }, row) =>
      patchMember(context.core.db, row.id, { verifiedAt: verified ? at : null }),
    ),
  'member.accept': (context, { member }) => decide(context, member, true),
  'member.reject': (context, { member }) => decide(context, member, false),
  'member.link': (context, { member, contact }) =>
    changeMember(context, member, (changes, row) =>
      linkMember(context.core, changes, row, findContact(context.core.db, contact)),
    ),
  'member.unlink': (context, { member }) =>
    changeMember(context, member, (changes, row) => unlinkMember(context.core, changes, row)),
  'channel.create': async ({ core }, params) => {
    if (params.encryption === 'members' && params.history === 'all')
      throw new SottoError('params.invalid', { message: NO_OLD_KEYS });
    const { name, server } = splitChannel(core.db, params.name);
    const id = await createChannel(core, server ?? findServer(core.db, params.server), {
      name,
      encryption: params.encryption,
      private: params.private === true,
      // Everybody may read an open channel, and its server does: hiding what came before from who joins would promise too much.
      history: params.history ?? (params.encryption === 'open' ? 'all' : 'joined'),
      passphrase: params.passphrase,
      timeoutMs: params.timeoutMs,
    });
    return shown(core, id);
  },
  'channel.join': async (context, { channel, passphrase, timeoutMs }) => {
    const { server, name } = await anyChannel(context, channel);
    return shown(context.core, await joinChannel(context.core, server, { name, passphrase, timeoutMs }));
  },
  'channel.leave': async ({ core }, { channel }) => {
    const row = findChannel(core.db, channel);
    await publishControl(core, row.id, { op: 'leave' });
    return shown(core, row.id);
  },
  'channel.list': async ({ core }, { server, all }) => {
    const servers = server === undefined ? listServers(core.db) : [findServer(core.db, server)];
    const own = servers.flatMap((one) => listChannels(core.db, one.id));
    const known = own.filter((row) => row.state !== 'left').map((row) => channelObject(core, row));
    if (all !== true) return known;
    const others = await Promise.all(servers.map((one) => joinable(core, one, own)));
    return [...known, ...others.flat()];
  },
  'channel.show': ({ core }, { channel, at }) => {
    const row = findChannel(core.db, channel);
    return at === undefined ? channelDetail(core, row) : channelAt(core, row, at);
  },
  'channel.topic': async ({ core }, { channel, topic }) => {
    const row = findChannel(core.db, channel);
    const role = stateOfJson(row.membership)?.members.get(idOf(theServer(core.db, row.serverId).memberId))?.role;
    if (role === undefined) throw new SottoError('channel.notMember');
    if (role === 'member') throw new SottoError('event.refused', { message: 'Moderators change the topic' });
    placeOf(core, conversationOfChannel(core, row));
    await core.queue.call(() =>
      commit(core, (changes) => {
        patchChannel(core.db, row.id, { topic });
        enqueueRoom(core, changes, { serverId: row.serverId, channelRow: row.id }, { kind: 'topic', text: topic });
      }),
    );
    return shown(core, row.id);
  },
  'channel.invite': (context, params) => about(context, params, (member) => ({ op: 'invite', member })),
  'channel.kick': (context, params) => about(context, params, (member) => ({ op: 'remove', member })),
  'channel.ban': (context, params) => about(context, params, (member) => ({ op: 'ban', member })),
  'channel.unban': (context, params) => about(context, params, (member) => ({ op: 'unban', member })),
  'channel.mute': (context, params) => {
    const { muted, until } = params;
    if (muted && until !== undefined && until <= context.core.clock.now())
      throw new SottoError('params.invalid', { message: 'until: is past already' });
    return about(context, params, (member) =>
      muted ? { op: 'mute', member, ...(until === undefined ? {} : { untilAt: until }) } : { op: 'unmute', member },
    );
  },
  'channel.role': (context, params) =>
    about(context, params, (member) => ({ op: 'role', member, role: params.role as Role })),
  'channel.rotate': async ({ core }, { channel, passphrase }) => {
    const row = findChannel(core.db, channel);
    await rotateChannel(core, row.id, passphrase);
    return shown(core, row.id);
  },
  'channel.shareHistory': async ({ core, waits }, params) => {
    const channel = findChannel(core.db, params.channel);
    const server = theServer(core.db, channel.serverId);
    const member = await theMember(core, params.member, server);
    const begun = params.share;
    const id =
      begun === undefined
        ? await core.queue.call(() =>
            commit(core, (changes) => shareHistory(core, changes, { channel, server, member }, params.limit)),
          )
        : shareOf(core, member, begun);
    const isOver = () => shareNow(core, id).state !== 'going';
    if (params.wait === 'sent') await waits.until(isOver, params.timeoutMs);
    return shareObject(core, shareNow(core, id));
  },
  'channel.archive': async ({ core }, { channel }) => {
    const row = findChannel(core.db, channel);
    await publishControl(core, row.id, { op: 'archive' });
    return shown(core, row.id);
  },
  'channel.set': async ({ core }, { channel, slowMs, retentionMs, notify }) => {
    const row = findChannel(core.db, channel);
    if (notify !== undefined)
      await core.queue.call(() => commit(core, () => patchChannel(core.db, row.id, { notify })));
    if (slowMs !== undefined || retentionMs !== undefined)
      await publishControl(core, row.id, {
        op: 'mode',
        ...(slowMs === undefined ? {} : { slowMs }),
        ...(retentionMs === undefined ? {} : { retentionMs }),
      });
    return shown(core, row.id);
  },
  'call.list': async ({ core }, { server }) => {
    const servers = server === undefined ? listServers(core.db) : [findServer(core.db, server)];
    const online = servers.filter((one) => server !== undefined || core.rooms.get(one.id)?.state === 'online');
    return (await Promise.all(online.map(async (one) => callsOn(core, await connectionOf(core, one))))).flat();
  },
};

/** Makes the conversation with a member that a reference names, when there is none yet; others are left alone. */
export const openConversation = (context: Context, reference: string): Promise<void> | undefined =>
  !isMemberReference(reference) || getContactByName(context.core.db, reference) !== undefined
    ? undefined
    : openWithMember(context, reference);

const openWithMember = async ({ core }: Context, reference: string): Promise<void> => {
  const { server } = splitMember(core.db, reference);
  const member = await theMember(core, reference);
  if (idOf(member.memberId) === idOf(server.memberId))
    throw new SottoError('contact.self', { message: `${reference} is you` });
  await core.queue.call(() => commit(core, (changes) => void ensureConversation(core, changes, member)));
};

/** Whether a reference is a member with whom nothing was said yet; the server is asked who they are. Throws `member.unknown`, … */
export const isSilentMember = async ({ core }: Context, reference: string): Promise<boolean> => {
  if (!isMemberReference(reference) || getContactByName(core.db, reference) !== undefined) return false;
  const member = await theMember(core, reference);
  return getConversationOfMember(core.db, member.id) === undefined;
};

const forgetDevice = (core: Core, server: ServerRow, id: string): void => {
  const me = getMemberById(core.db, server.id, server.memberId);
  const device = me === undefined ? undefined : getDevice(core.db, me.id, idBytes(id));
  if (device !== undefined) revokeDevice(core.db, device.id);
};

const devicesOf = async (core: Core, server: ServerRow) => {
  const id = idOf(server.memberId);
  const connection = await connectionOf(core, server);
  const [{ devices }, { on }] = await Promise.all([
    connection.request('member.devices', { members: [id] }),
    connection.request('second.show', {}),
  ]);
  return (devices[id] ?? []).map((one) => ({
    id: one.id,
    this: one.id === idOf(server.deviceId),
    addedAt: one.addedAt,
    revoked: one.revoked,
    secondCheck: on,
  }));
};

const joinable = async (core: Core, server: ServerRow, own: readonly ChannelRow[]): Promise<ChannelObject[]> => {
  const connection = core.rooms.get(server.id);
  if (connection?.state !== 'online') return [];
  const channels = await allChannels(connection, { all: true });
  return channels
    .filter((one) => !one.archived && !own.some((row) => idOf(row.channelId) === one.id && row.state !== 'left'))
    .map((one) => ({
      id: one.id,
      name: `#${one.name}`,
      server: server.label,
      encryption: one.encryption,
      private: one.private,
      history: one.history,
      state: one.invited ? 'invited' : one.encryption === 'members' ? 'byInvitation' : 'joinable',
      archived: one.archived,
      keyEpoch: 0,
      notify: 'all',
      memberCount: one.members,
    }));
};
