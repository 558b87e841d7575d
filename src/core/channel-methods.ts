// The methods of an open account that are about channels.
import { generatePassphrase, PASSPHRASE_ENTROPY_BYTES } from '../crypto/channel-key.ts';
import { rankOf } from '../crypto/channel-state.ts';
import { SottoError } from '../protocol/errors.ts';
import { idOf, type MemberId } from '../protocol/ids.ts';
import type { Control } from '../protocol/room-content.ts';
import { CONTENT_RULES, NO_OLD_KEYS } from '../protocol/room-rules.ts';
import type { ChannelObject } from '../protocol/rpc-rooms.ts';
import { type ChannelRow, listChannels, patchChannel } from '../store/channels.ts';
import { getMemberById } from '../store/members.ts';
import { listServers, type ServerRow } from '../store/servers.ts';
import { type Core, commit } from './core.ts';
import { theMember } from './member-methods.ts';
import type { Context, HandlersOf } from './methods.ts';
import { begins, fitCalled, isPrefix, only } from './references.ts';
import { createChannel, joinChannel } from './room-channels.ts';
import { connectionOf, publishControl } from './room-control.ts';
import { serverOfChannel } from './room-find.ts';
import { allChannels } from './room-lists.ts';
import { findChannel, findServer, splitChannel } from './room-names.ts';
import { channelDetail, channelObject, shareObject } from './room-objects.ts';
import { enqueueRoom } from './room-outbox.ts';
import { rotateChannel } from './room-passphrase.ts';
import { placeOf } from './room-places.ts';
import { channelAt } from './room-rewind.ts';
import { isLost, ownRole, theChannel, theServer } from './room-rows.ts';
import { conversationOfChannel } from './room-scene.ts';
import { shareHistory, shareNow, shareOf } from './room-share.ts';

/** Answers of `channel.*`. */
export const CHANNEL_HANDLERS: HandlersOf<'channel'> = {
  'channel.create': async ({ core }, params) => {
    if (params.encryption === 'members' && params.history === 'all')
      throw new SottoError('params.invalid', { message: NO_OLD_KEYS });
    const { name, server } = splitChannel(core.db, params.name);
    const made = params.encryption === 'passphrase' && params.passphrase === undefined ? sixWords(core) : {};
    const id = await createChannel(core, server ?? findServer(core.db, params.server), {
      name,
      encryption: params.encryption,
      private: params.private === true,
      // Everybody may read an open channel, and its server does: hiding what came before from who joins would promise too much.
      history: params.history ?? (params.encryption === 'open' ? 'all' : 'joined'),
      passphrase: params.passphrase,
      timeoutMs: params.timeoutMs,
      ...made,
    });
    return { ...shown(core, id), ...made };
  },
  'channel.join': async ({ core }, { channel, passphrase, timeoutMs }) => {
    const { server, name } = await anyChannel(core, channel);
    return shown(core, await joinChannel(core, server, { name, passphrase, timeoutMs }));
  },
  'channel.leave': async ({ core }, { channel, timeoutMs }) => {
    const row = findChannel(core.db, channel);
    const server = theServer(core.db, row.serverId);
    if (isLost(row, server)) await leaveLost(core, row);
    // By its signed events I am in one still that was lost and ended here.
    else if (row.state === 'left' && ownRole(row, server) !== undefined) throw new SottoError('channel.notMember');
    else await publishControl(core, row.id, { op: 'leave' }, timeoutMs);
    return shown(core, row.id);
  },
  'channel.list': async ({ core }, { server, all, timeoutMs }) => {
    if (server === undefined) return listed(core, listServers(core.db), all === true);
    const row = findServer(core.db, server);
    if (all === true) await connectionOf(core, row, timeoutMs);
    return listed(core, [row], all === true);
  },
  'channel.show': ({ core }, { channel, at }) => {
    const row = findChannel(core.db, channel);
    return at === undefined ? channelDetail(core, row) : channelAt(core, row, at);
  },
  'channel.topic': async ({ core }, { channel, topic }) => {
    const row = findChannel(core.db, channel);
    const role = ownRole(row, theServer(core.db, row.serverId));
    if (role === undefined) throw new SottoError('channel.notMember');
    if (rankOf(role) < rankOf(CONTENT_RULES.topic))
      throw new SottoError('event.refused', { message: 'Moderators change the topic' });
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
  'channel.role': (context, params) => about(context, params, (member) => ({ op: 'role', member, role: params.role })),
  'channel.rotate': async ({ core }, { channel, passphrase, timeoutMs }) => {
    const row = findChannel(core.db, channel);
    const made = row.encryption === 'passphrase' && passphrase === undefined ? sixWords(core) : {};
    await rotateChannel(core, row.id, made.passphrase ?? passphrase, timeoutMs);
    return { ...shown(core, row.id), ...made };
  },
  'channel.shareHistory': async ({ core, waits }, params) => {
    const channel = findChannel(core.db, params.channel);
    const server = theServer(core.db, channel.serverId);
    const member = await theMember(core, params.member, { inside: server, timeoutMs: params.timeoutMs });
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
  'channel.archive': async ({ core }, { channel, timeoutMs }) => {
    const row = findChannel(core.db, channel);
    await publishControl(core, row.id, { op: 'archive' }, timeoutMs);
    return shown(core, row.id);
  },
  'channel.set': async ({ core }, { channel, slowMs, retentionMs, notify, timeoutMs }) => {
    const row = findChannel(core.db, channel);
    if (notify !== undefined)
      await core.queue.call(() => commit(core, () => patchChannel(core.db, row.id, { notify })));
    if (slowMs !== undefined || retentionMs !== undefined)
      await publishControl(
        core,
        row.id,
        {
          op: 'mode',
          ...(slowMs === undefined ? {} : { slowMs }),
          ...(retentionMs === undefined ? {} : { retentionMs }),
        },
        timeoutMs,
      );
    return shown(core, row.id);
  },
};

// Nobody is there who could be told.
const leaveLost = (core: Core, { id, serverId }: ChannelRow): Promise<void> =>
  core.queue.call(() =>
    commit(core, (changes) => {
      const me = getMemberById(core.db, serverId, theServer(core.db, serverId).memberId);
      patchChannel(core.db, id, { state: 'left' });
      changes.event({ kind: 'channel.left', channelRow: id, ...(me === undefined ? {} : { memberRow: me.id }) });
    }),
  );

const sixWords = ({ random }: Core): { readonly passphrase?: string } => ({
  passphrase: generatePassphrase(random.bytes(PASSPHRASE_ENTROPY_BYTES)),
});

const shown = (core: Core, id: number): ChannelObject => channelObject(core, theChannel(core.db, id));

/** A channel that is known here, or that its server knows. */
const anyChannel = async (core: Core, reference: string): Promise<{ server: ServerRow; name: string }> => {
  const all = isPrefix(reference) ? await listed(core, listServers(core.db), true) : [];
  const fit = all.filter(({ id }) => begins(id, reference));
  if (fit.length > 0) {
    const one = only(fit, { code: 'channel.unknown' }, ({ id, name, server }) => fitCalled(`${name}@${server}`, id));
    return { name: one.name.slice(1), server: findServer(core.db, one.server) };
  }
  const { name, server } = splitChannel(core.db, reference);
  return { name, server: server ?? (await serverOfChannel(core, name)) };
};

const listed = async (core: Core, servers: readonly ServerRow[], all: boolean): Promise<ChannelObject[]> => {
  const own = servers.flatMap((one) => listChannels(core.db, one.id));
  const known = own.filter((row) => row.state !== 'left').map((row) => channelObject(core, row));
  if (!all) return known;
  const others = await Promise.all(servers.map((one) => joinable(core, one, own).catch(noneOf)));
  return [...known, ...others.flat()];
};

// A server that gives no right answer hides nothing of the others.
const noneOf = (error: unknown): ChannelObject[] => {
  if (error instanceof SottoError) return [];
  throw error;
};

/** Publishes a control event about a member of a channel, and shows the channel. */
const about = async (
  { core }: Context,
  {
    channel,
    member,
    timeoutMs,
  }: { readonly channel: string; readonly member: string; readonly timeoutMs?: number | undefined },
  control: (id: MemberId) => Control,
): Promise<ChannelObject> => {
  const row = findChannel(core.db, channel);
  const server = theServer(core.db, row.serverId);
  const who = await theMember(core, member, { inside: server, timeoutMs });
  await publishControl(core, row.id, control(idOf<MemberId>(who.memberId)), timeoutMs);
  return shown(core, row.id);
};

const joinable = async (core: Core, server: ServerRow, own: readonly ChannelRow[]): Promise<ChannelObject[]> => {
  const connection = core.rooms.get(server.id);
  connection?.askAgain();
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
