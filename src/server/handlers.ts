// What each request does, once the table has let it through.
import { SottoError } from '../protocol/errors.ts';
import { type ChannelId, type DeviceId, type MemberId, ownerOfInbox, type RowId } from '../protocol/ids.ts';
import { DEVICES_TOLD_MAX, ROOM_PAGE_MAX, TOLD_IN_PASSING_MAX } from '../protocol/limits.ts';
import { channelNameOf, isMemberName } from '../protocol/room-content.ts';
import type { Answer, Notice, RequestName, RequestParams, ServerChannel } from '../protocol/server.ts';
import { type Asker, mayNow } from './access.ts';
import { audited } from './audit.ts';
import { CALL_HANDLERS } from './call-requests.ts';
import type { ServerContext } from './context.ts';
import { eraseBelongings } from './erasure.ts';
import { exportOf } from './export.ts';
import { beginBlob, completeBlob, getBlob, removeBlob } from './files.ts';
import { createInvite, listInvites, revokeInvite } from './invites.ts';
import { controls, headObject, page, resume } from './live.ts';
import { appendAuthority, notify } from './notices.ts';
import { deviceObject, memberObject } from './objects.ts';
import { fitting, inTurns } from './pages.ts';
import { tell, tellOfMember } from './passing.ts';
import { putPrekeys, takePrekeys } from './prekeys.ts';
import { banMember, setRole } from './rights.ts';
import type { ChannelRow, DeviceRow, MemberRow } from './rows.ts';
import { search } from './search.ts';
import { removeSecond, setSecond, showSecond } from './second.ts';
import { skeletonOf } from './skeleton.ts';
import type { StateStore } from './state-store.ts';

type Handled = Exclude<RequestName, 'hello' | 'login'>;
type Handlers = {
  readonly [Name in Handled]: (
    context: ServerContext,
    asker: Asker,
    params: RequestParams<Name>,
    request: number,
  ) => Promise<Answer<Name>>;
};

const NOTHING = {};

export const HANDLERS: Handlers = {
  'member.list': async ({ store }, _asker, { after, names, ids, limit }) => {
    const rows =
      names !== undefined
        ? await Promise.all(names.map((name) => store.getMemberByName(skeletonOf(channelNameOf(name)))))
        : ids !== undefined
          ? await Promise.all(ids.map((id) => store.getMember(id as MemberId)))
          : await store.listMembers(after as MemberId | undefined, limit);
    // What somebody said before they erased themself is read by their key.
    const members = fitting(rows.filter((row) => row !== undefined).map(memberObject));
    const paged = names === undefined && ids === undefined;
    return { members, more: paged && (members.length < rows.length || members.length === limit) };
  },
  'member.devices': async ({ store }, _asker, { members }) => {
    const all: [string, ReturnType<typeof deviceObject>[]][] = [];
    for (const id of members) all.push([id, toldOf(await store.listDevices(id as MemberId))]);
    return { devices: Object.fromEntries(fitting(all)) };
  },
  'member.profile': async (context, { member }, { name, status }) => {
    if (name !== undefined && !isMemberName(name)) throw new SottoError('name.invalid');
    if (name === undefined && status === undefined) return { member: memberObject(member) };
    mayNow(context, 'account', member.id);
    const set = {
      ...(name === undefined ? {} : { name, skeleton: skeletonOf(name) }),
      ...(status === undefined ? {} : { status }),
    };
    await appendAuthority(context, member.id, { what: 'member.changed' }, [
      { kind: 'memberSet', member: member.id, set },
    ]);
    const changed = await mustBeMember(context, member.id);
    await tellOfMember(context, member.id);
    return { member: memberObject(changed) };
  },
  'member.export': async (context, { member }) => {
    mayNow(context, 'account', member.id);
    return { json: JSON.stringify(await exportOf(context, member)) };
  },
  'member.erase': async (context, { member, session }, { confirm }) => {
    if (confirm !== member.name) throw new SottoError('request.invalid', { details: { why: 'confirm' } });
    const devices = (await context.store.listDevices(member.id)).filter(({ revokedAt }) => revokedAt === null);
    return endingItself(session, async () => {
      await appendAuthority(context, member.id, { what: 'member.erased' }, [
        // First: this is what their connections end with.
        {
          kind: 'memberSet',
          member: member.id,
          set: { name: '', skeleton: null, status: '', erasedAt: context.clock.now() },
        },
        ...devices.map(({ id }) => ({ kind: 'deviceRevoked', device: id }) as const),
        audited(context, { actor: member.id, kind: 'member.erased', target: member.id }),
      ]);
      await eraseBelongings(context, member.id);
    });
  },
  'member.ban': async (context, { member }, { member: id, banned }) => {
    const target = await mustBeMember(context, id as MemberId);
    if (target.role === 'owner' || (target.role === 'admin' && member.role !== 'owner'))
      throw new SottoError('request.notAllowed');
    await banMember(context, { by: member.id, target, banned });
    return NOTHING;
  },
  'member.role': async (context, { member }, { member: id, role }) => {
    const target = await mustBeMember(context, id as MemberId);
    if (target.role === 'owner') throw new SottoError('request.notAllowed');
    await setRole(context, { by: member.id, target, role });
    return NOTHING;
  },
  'device.revoke': async (context, { member, session }, { device }) => {
    const row = await context.store.getDevice(device as DeviceId);
    if (row === undefined || row.member !== member.id || row.revokedAt !== null) throw new SottoError('device.unknown');
    // Not counted: each takes an addition that was, and who has stolen a device must not keep its owner from this.
    const revoke = async () => {
      await appendAuthority(context, member.id, { what: 'device.revoked', device }, [
        { kind: 'deviceRevoked', device: row.id },
        audited(context, { actor: member.id, kind: 'device.revoked', target: row.id }),
      ]);
      await notify(context, member.id, { what: 'device.revoked', device });
      // Who is here asks again which devices there are, and seals nothing more for this one.
      await tellOfMember(context, member.id);
    };
    if (row.id === session.device) return endingItself(session, revoke);
    await revoke();
    return NOTHING;
  },
  'second.show': showSecond,
  'second.set': setSecond,
  'second.remove': removeSecond,
  'prekeys.put': putPrekeys,
  'prekeys.take': takePrekeys,
  'invite.create': createInvite,
  'invite.list': listInvites,
  'invite.revoke': async (context, asker, { invite }) => {
    await revokeInvite(context, asker.member.id, invite as RowId);
    return NOTHING;
  },
  'channel.list': (context, { member }, { all, after }) =>
    channelPage(context, member.id, after as ChannelId | undefined, all ? allChannels : ownChannels),
  'channel.find': async (context, { member }, { name }) => {
    const wanted = channelNameOf(name);
    const row = await context.store.getChannelByName(skeletonOf(wanted));
    // One that only looks like it is not the one that was asked for.
    const channel = row?.name !== wanted ? undefined : await visible(context, row, member.id);
    if (channel === undefined) throw new SottoError('channel.unknown');
    return { channel };
  },
  'log.page': page,
  'log.control': controls,
  'log.search': search,
  resume,
  leave: async ({ fanout, hub }, { peer }, { channels }) => {
    for (const channel of channels) {
      fanout.unsubscribe(peer, channel);
      hub.idle(channel as ChannelId);
    }
    return NOTHING;
  },
  mark: async (context, { member, peer }, { channel, seq }) => {
    const [head] = await context.log.heads([channel as ChannelId]);
    if (seq > (head?.seq ?? 0)) throw new SottoError('request.invalid', { details: { why: 'seq' } });
    const isLast = await context.store.putReadMarker({ member: member.id, channel: channel as ChannelId, seq });
    // Said again it is told again: another device may have missed it.
    if (isLast)
      for (const other of context.online.get(member.id) ?? [])
        if (other !== peer) tell(other, { notice: 'marked', channel, seq });
    return NOTHING;
  },
  marks: async ({ store }, { member }) => ({
    marks: Object.fromEntries((await store.listReadMarkers(member.id)).map(({ channel, seq }) => [channel, seq])),
  }),
  typing: async (context, { member, peer, place }, { channel, on }) => {
    if (context.rates.signal.take(member.id, context.clock.monotonic()) > 0) return NOTHING;
    const said = { notice: 'typing', member: member.id, on } as const;
    if (place === undefined) {
      for (const other of context.online.get(ownerOfInbox(channel as ChannelId)) ?? [])
        tell(other, { ...said, channel: member.id });
      return NOTHING;
    }
    const notice: Notice = { ...said, channel };
    if (context.fanout.countOf(channel) > TOLD_IN_PASSING_MAX) return NOTHING;
    for (const reader of context.fanout.readersOf(channel)) if (reader !== peer) tell(reader, notice);
    return NOTHING;
  },
  presence: async (context, { member, peer }, { state }) => {
    if (context.rates.signal.take(member.id, context.clock.monotonic()) > 0) return NOTHING;
    context.presence.say(peer, member.id, state);
    return NOTHING;
  },
  'blob.begin': beginBlob,
  'blob.complete': completeBlob,
  'blob.get': getBlob,
  'blob.remove': removeBlob,
  ...CALL_HANDLERS,
};

// What ends its own session is answered first.
const endingItself = async (session: Asker['session'], step: () => Promise<void>): Promise<typeof NOTHING> => {
  session.ending++;
  try {
    await step();
  } finally {
    session.ending--;
  }
  return NOTHING;
};

const mustBeMember = async ({ store }: ServerContext, id: MemberId): Promise<MemberRow> => {
  const row = await store.getMember(id);
  if (row === undefined || row.erasedAt !== null) throw new SottoError('member.unknown');
  return row;
};

type Listed = { readonly id: ChannelId; readonly row: ChannelRow | undefined };
type Lists = (store: StateStore, member: MemberId, after: ChannelId | undefined) => Promise<readonly Listed[]>;

const allChannels: Lists = async (store, _member, after) =>
  (await store.listChannels(after, ROOM_PAGE_MAX)).map((row) => ({ id: row.id, row }));

const ownChannels: Lists = async (store, member, after) =>
  Promise.all(
    (await store.listMembershipsOf(member, after, ROOM_PAGE_MAX)).map(async ({ channel: id, state }) => ({
      id,
      row: state === 'joined' || state === 'invited' ? await store.getChannel(id) : undefined,
    })),
  );

// A page of which a member sees nothing is passed over: the last channel of an answer is where the next one begins.
const channelPage = async (
  context: ServerContext,
  member: MemberId,
  after: ChannelId | undefined,
  list: Lists,
): Promise<Answer<'channel.list'>> => {
  for (let last = after; ; ) {
    const listed = await list(context.store, member, last);
    const rows = listed.map(({ row }) => row).filter((row) => row !== undefined);
    const seen = await inTurns(rows, context.turn, (row) => visible(context, row, member));
    const channels = seen.filter((one) => one !== undefined);
    const more = listed.length === ROOM_PAGE_MAX;
    if (channels.length > 0 || !more) return { channels, more };
    last = listed.at(-1)?.id;
  }
};

/** A channel as this member sees it; undefined when they may not know of it. */
const visible = async (
  context: ServerContext,
  row: ChannelRow,
  member: MemberId,
): Promise<ServerChannel | undefined> => {
  const membership = await context.store.getMembership(row.id, member);
  const inside = membership?.state === 'joined' || membership?.state === 'invited';
  if (membership?.state === 'banned' || (row.isPrivate && !inside)) return undefined;
  return {
    id: row.id,
    name: row.name,
    encryption: row.encryption,
    private: row.isPrivate,
    history: row.history,
    archived: row.archivedAt !== null,
    members: await context.store.countJoined(row.id),
    joined: membership?.state === 'joined',
    invited: membership?.state === 'invited',
    head: await headObject(context, row.id),
  };
};

// Who has had many is still told of by those of now.
const toldOf = (rows: readonly DeviceRow[]) => {
  const [past, present] = [
    rows.filter(({ revokedAt }) => revokedAt !== null),
    rows.filter((row) => row.revokedAt === null),
  ];
  return [...present, ...past.reverse()].slice(0, DEVICES_TOLD_MAX).map(deviceObject);
};
