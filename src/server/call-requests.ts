// What requests about calls do, and who is told of a call.
import { toBase64 } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import type { ChannelId, DeviceId, MemberId } from '../protocol/ids.ts';
import { CALL_PAGE_MAX, CALL_WINDOW_MS, TOLD_IN_PASSING_MAX } from '../protocol/limits.ts';
import type { Answer, RequestName, RequestParams, ServerCall } from '../protocol/server.ts';
import { type Asker, mayCall, mayNow } from './access.ts';
import type { Call, CallPlace, Person } from './calls.ts';
import type { Peer, ServerContext } from './context.ts';
import { noticeFrame, tell } from './passing.ts';

type CallRequest = Extract<RequestName, `call.${string}`>;
type CallHandlers = {
  readonly [Name in CallRequest]: (
    context: ServerContext,
    asker: Asker,
    params: RequestParams<Name>,
  ) => Promise<Answer<Name>>;
};

export const CALL_HANDLERS: CallHandlers = {
  'call.list': async (context, { peer, member }, { after = '' }) => {
    const told = context.fanout.channelsOf(peer);
    const seen = [...context.calls.all()]
      .filter(
        ({ id, place }) =>
          id > after && (place.kind === 'channel' ? told.has(place.channel) : place.members.includes(member.id)),
      )
      .sort((one, other) => (one.id < other.id ? -1 : 1));
    const calls = seen.slice(0, CALL_PAGE_MAX).map((call) => callObject(call, member.id));
    return { calls, more: seen.length > calls.length };
  },
  'call.join': async (context, asker, { channel, muted, deafened, through }) => {
    const { calls, callLinks } = context;
    const { member, session } = asker;
    mayNow(context, 'call', member.id);
    const person = calls.join(placeOf(asker, channel), {
      member: member.id,
      device: session.device,
      muted,
      deafened,
      silencedUntil: asker.place?.membership?.mutedUntil ?? 0,
      windowMs: CALL_WINDOW_MS[through],
    });
    try {
      // Looked at again: who is shut out from here on is found in the call.
      const place = await mayCall(context, member.id, channel as ChannelId);
      person.silencedUntil = Math.max(person.silencedUntil, place?.membership?.mutedUntil ?? 0);
      if (place !== undefined && place.row.archivedAt !== null) throw new SottoError('channel.archived');
    } catch (error) {
      calls.leave(person, 'call.refused');
      throw error;
    }
    if (!isStillIn(person)) throw new SottoError('call.refused');
    calls.changed(person.call);
    callLinks.watch();
    return { call: callObject(person.call, member.id), ticket: toBase64(calls.issue(person)) };
  },
  'call.set': async (context, asker, { channel, muted, deafened }) => {
    const person = context.calls.find(placeOf(asker, channel), asker.session.device);
    mayNow(context, 'call', asker.member.id);
    Object.assign(person, { muted, deafened });
    if (deafened) person.link?.window.empty();
    context.calls.changed(person.call);
    return {};
  },
  'call.leave': async ({ calls }, asker, { channel }) => {
    calls.leave(calls.find(placeOf(asker, channel), asker.session.device), 'left');
    return {};
  },
  'call.stream': async (context, asker, { channel, stream, to }) => {
    const person = context.calls.find(placeOf(asker, channel), asker.session.device);
    mayNow(context, 'stream', asker.member.id);
    context.calls.addStream(person, Buffer.from(stream, 'hex'));
    for (const { device, sealed } of to) passOn(context, person, { stream, sealed, device: device as DeviceId });
    return {};
  },
};

/** Tells those who read a channel, while they are few, and those in its call, what the call is now. */
export const tellCall = (context: Pick<ServerContext, 'fanout' | 'online'>, call: Call): void => {
  const { place, people } = call;
  const told = new Map<MemberId | undefined, Set<Peer>>();
  if (place.kind === 'members')
    for (const member of place.members) told.set(member, new Set(context.online.get(member)));
  else {
    const few = context.fanout.countOf(place.channel) <= TOLD_IN_PASSING_MAX;
    const peers = new Set(few ? context.fanout.readersOf(place.channel) : []);
    for (const { member } of people.values()) for (const peer of context.online.get(member) ?? []) peers.add(peer);
    told.set(undefined, peers);
  }
  for (const [viewer, peers] of told) {
    if (peers.size === 0) continue;
    const frame = noticeFrame({ notice: 'call', ...callObject(call, viewer) });
    for (const peer of peers) peer.send(frame);
  }
};

/** Tells the device of somebody that they are not heard: too many speak. */
export const tellBusy = (context: Pick<ServerContext, 'online'>, { member, device, call }: Person): void => {
  for (const peer of peersOf(context, member, device))
    tell(peer, { notice: 'call.busy', channel: nameOf(call, member), call: call.id });
};

const passOn = (
  context: ServerContext,
  from: Person,
  {
    stream,
    sealed,
    device,
  }: { readonly stream: string; readonly sealed: string; readonly device: DeviceId | undefined },
): void => {
  const { call } = from;
  for (const person of call.people.values()) {
    if (person === from || (device !== undefined && person.device !== device)) continue;
    for (const peer of peersOf(context, person.member, person.device))
      tell(peer, {
        notice: 'call.stream',
        channel: nameOf(call, person.member),
        call: call.id,
        member: from.member,
        device: from.device,
        stream,
        sealed,
      });
  }
};

const peersOf = ({ online }: Pick<ServerContext, 'online'>, member: MemberId, device: DeviceId): Peer[] =>
  [...(online.get(member) ?? [])].filter(({ state }) => state?.phase === 'in' && state.device === device);

// The row of the table has let it through: without a place it is another member.
const placeOf = ({ member, place }: Asker, channel: string): CallPlace => {
  if (place !== undefined) return { kind: 'channel', channel: place.row.id };
  const other = channel as MemberId;
  return { kind: 'members', members: member.id < other ? [member.id, other] : [other, member.id] };
};

const isStillIn = (person: Person): boolean => person.call.people.get(person.device) === person;

/** How a call is named to somebody: by its channel, or by the other of the two. */
const nameOf = ({ place }: Call, viewer: MemberId | undefined): string => {
  if (place.kind === 'channel') return place.channel;
  const [one, other] = place.members;
  return one === viewer ? other : one;
};

const callObject = (call: Call, viewer: MemberId | undefined): ServerCall => ({
  call: call.id,
  channel: nameOf(call, viewer),
  startedAt: call.startedAt,
  people: [...call.people.values()].map(({ member, device, muted, deafened, link }) => ({
    member,
    device,
    muted,
    deafened,
    linked: link !== undefined,
  })),
});
