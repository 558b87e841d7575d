// Appends what a member publishes: contents by their place in the channel, controls by the rules of the channel, directs into inboxes.
import type { ChannelState, ControlEvent } from '../crypto/channel-state.ts';
import { judgeControl, mayErase, rankOf } from '../crypto/channel-state.ts';
import { replay } from '../crypto/membership.ts';
import { sha256 } from '../crypto/primitives.ts';
import { channelOf, creationScope, openEvent } from '../crypto/room-event.ts';
import type { Clock } from '../ports.ts';
import { SottoError } from '../protocol/errors.ts';
import {
  type ChannelId,
  type DeviceId,
  type EventId,
  type MemberId,
  ownerOfInbox,
  SERVER_CHANNEL,
  timeOfId,
} from '../protocol/ids.ts';
import {
  CONTROL_BODY_BYTES_MAX,
  EVENT_BODY_BYTES_MAX,
  EVENT_ID_AGE_MS_MAX,
  EVENT_ID_AHEAD_MS_MAX,
} from '../protocol/limits.ts';
import { type Control, decodeControl, type UnknownControl } from '../protocol/room-content.ts';
import type { Placed } from '../protocol/server.ts';
import { EVENT, type Publish } from '../protocol/server-frames.ts';
import { type Asker, inboxChanges, mayNow, mustHaveRoom, mustWrite, placeIn, whyNotWrite } from './access.ts';
import { appendFresh, placed } from './append.ts';
import type { Change } from './changes.ts';
import type { ServerContext } from './context.ts';
import type { Draft, Outcome } from './event-log.ts';
import { tell } from './passing.ts';
import type { ChannelRole, MembershipRow } from './rows.ts';
import { skeletonOf } from './skeleton.ts';
import type { Standing } from './standings.ts';

type Publisher = Pick<Asker, 'peer' | 'session' | 'member'>;

/** What can be said of a publish without looking. Throws `frame.tooLarge`, `request.invalid`, `rate.limited`. */
export const checkPublish = (context: ServerContext, member: MemberId, { body, id, kind }: Publish): void => {
  if (body.length > (kind === EVENT.control ? CONTROL_BODY_BYTES_MAX : EVENT_BODY_BYTES_MAX))
    throw new SottoError('frame.tooLarge');
  if (kind !== EVENT.content && kind !== EVENT.control && kind !== EVENT.direct)
    throw new SottoError('request.invalid', { details: { why: 'kind' } });
  const [madeAt, now] = [timeOfId(id), context.clock.now()];
  if (madeAt === undefined || madeAt < now - EVENT_ID_AGE_MS_MAX || madeAt > now + EVENT_ID_AHEAD_MS_MAX)
    // By another clock than this: who knows the time here gives it another one.
    throw new SottoError('request.invalid', { details: { why: 'id', at: now } });
  checkRate(context, member, kind === EVENT.direct ? 'direct' : 'publish');
};

/**
 * Lets one event that passed `checkPublish` wait for the log: resolves once nothing that is published later can overtake it,
 * and `placed` with its place. Both throw `channel.*`, `event.*`, `name.taken`, `server.unavailable`.
 */
export const publish = async (context: ServerContext, who: Publisher, wanted: Publish): Promise<Waiting> => {
  try {
    return await begin(context, who, wanted);
  } catch (error) {
    const known = error instanceof SottoError ? await placeOf(context, who.member.id, wanted) : undefined;
    if (known === undefined) throw error;
    return { placed: Promise.resolve(known) };
  }
};

type Waiting = { readonly placed: Promise<Placed> };

// What is in the log already is answered like the first time, also to somebody who might not do it again.
const placeOf = async ({ log }: ServerContext, member: MemberId, wanted: Publish): Promise<Placed | undefined> => {
  const channel = wanted.channel as ChannelId;
  const seq = await log.seqOf(channel, wanted.id as EventId);
  if (seq === 0) return undefined;
  const [[stored], [head]] = await Promise.all([log.read(channel, seq - 1, ONE_EVENT), log.heads([channel])]);
  return stored?.member === member && head !== undefined ? { seq, epoch: head.epoch, at: stored.at } : undefined;
};

const begin = async (context: ServerContext, who: Publisher, wanted: Publish): Promise<Waiting> => {
  if (wanted.kind === EVENT.content) return { placed: (await contentOf(context, who, wanted))() };
  if (wanted.kind === EVENT.direct) return { placed: (await directOf(context, who, wanted))() };
  // A control event changes what may follow: it waits for its commit.
  const placed = publishControl(context, who, wanted);
  await placed;
  return { placed };
};

/** Counts what a member publishes. Throws `rate.limited`. */
export const checkRate = (context: ServerContext, member: MemberId, rate: 'publish' | 'direct'): void => {
  mayNow(context, 'burst', member);
  mayNow(context, rate, member);
};

/** The author of a content in its channel, when both are in memory and let it pass; undefined for all others. */
export const knownWriter = (
  context: Pick<ServerContext, 'standings' | 'clock'>,
  member: MemberId,
  wanted: Publish,
): Standing | undefined => {
  const { standings } = context;
  if (wanted.kind !== EVENT.content) return undefined;
  const standing = standings.knownWriter(wanted.channel as ChannelId, member);
  const row = standings.knownMember(member);
  if (standing === undefined || row === undefined || row.banned || row.erasedAt !== null) return undefined;
  return standing.membership?.state === 'joined' && whyNotWrite(context, standing) === undefined ? standing : undefined;
};

/** The content of somebody who may write it, from a device of theirs. */
export const contentDraft = (
  { clock }: Pick<ServerContext, 'clock'>,
  { member, device }: { readonly member: MemberId; readonly device: DeviceId },
  { authoritySeq, row, membership }: Standing,
  wanted: Publish,
): Draft => {
  const isSlow = row.slowMs > 0 && membership?.role === 'member';
  const changes = changesBeside(clock, device, wanted);
  if (isSlow) changes.push({ kind: 'slow', intervalMs: row.slowMs });
  return {
    channel: row.id,
    id: wanted.id as EventId,
    member,
    kind: EVENT.content,
    body: wanted.body,
    // Whatever forbids it after that look makes it stale.
    checkedAt: Math.min(wanted.checkedAt, authoritySeq),
    changes,
  };
};

const changesBeside = (clock: Clock, device: DeviceId, { sealed, ttlSeconds }: Publish): Change[] => {
  const changes: Change[] = sealed > 0 ? [{ kind: 'sealed', device, times: sealed }] : [];
  if (ttlSeconds > 0) changes.push({ kind: 'expire', at: clock.now() + ttlSeconds * 1000 });
  return changes;
};

/** What is answered to a content. Throws `event.stale` and what the log refuses. */
export const contentPlaced = (
  { indexer }: Pick<ServerContext, 'indexer'>,
  { row }: Standing,
  outcome: Outcome,
): Placed => {
  const ok = placed(outcome);
  if (row.encryption === 'open') indexer.due(row.id);
  return ok;
};

type Append = () => Promise<Placed>;

const contentOf = async (context: ServerContext, { member, session }: Publisher, wanted: Publish): Promise<Append> => {
  const channel = wanted.channel as ChannelId;
  const standing = await placeIn(context, member.id, channel, 'write');
  if (standing === undefined) throw new SottoError('channel.unknown');
  mustWrite(context, standing);
  const draft = contentDraft(context, session, standing, wanted);
  return async () => contentPlaced(context, standing, await context.append(draft));
};

const directOf = async (context: ServerContext, { member, session }: Publisher, wanted: Publish): Promise<Append> => {
  const to = await context.store.getMember(ownerOfInbox(wanted.channel as ChannelId));
  if (to === undefined || to.erasedAt !== null || to.banned) throw new SottoError('member.unknown');
  const inbox = wanted.channel as ChannelId;
  await mustHaveRoom(context, inbox, member.id);
  const draft: Draft = {
    channel: inbox,
    id: wanted.id as EventId,
    member: member.id,
    kind: EVENT.direct,
    body: wanted.body,
    checkedAt: Number.MAX_SAFE_INTEGER,
    changes: [...inboxChanges(inbox, member.id), ...changesBeside(context.clock, session.device, wanted)],
  };
  return async () => placed(await context.append(draft));
};

// The server verifies what it must enforce: the signature of a control event, and the rules of the channel.
const publishControl = async (context: ServerContext, who: Publisher, wanted: Publish): Promise<Placed> => {
  const channel = wanted.channel as ChannelId;
  // Inboxes and the channel of server-wide authority are logs too, and nobody's to change.
  if (channel === SERVER_CHANNEL) throw new SottoError('channel.unknown');
  let invited: Invited = { changes: [], before: undefined };
  const place = await appendFresh(context, async (tries) => {
    const known = await context.states.get(channel);
    if (known !== undefined) await placeIn(context, who.member.id, channel, 'see');
    const event = await openControl(context, who, wanted, known?.state);
    const why = judgeControl(known?.state, event);
    if (why !== undefined) throw new SottoError('event.refused', { details: { why } });
    const rank = rankOf(known?.state.members.get(who.member.id)?.role ?? 'member');
    if (tries === 0 && rank === 0) mayNow(context, 'control', who.member.id);
    const changes = await changesOf(context, who, wanted, event, known?.state);
    await mustBeMembers(context, changes);
    invited = { changes, before: known?.state };
    return {
      channel,
      id: event.header.id,
      member: who.member.id,
      kind: EVENT.control,
      body: wanted.body,
      checkedAt: known?.authoritySeq ?? 0,
      changes,
    };
  });
  tellInvited(context, who.member.id, channel, invited);
  return place;
};

/** Rows that a control changes, and the channel before it. */
type Invited = { readonly changes: readonly Change[]; readonly before: ChannelState | undefined };

// Who is invited reads nothing of the channel yet, nor is told there that it was taken back, or that nobody may join any more.
const tellInvited = (
  { online }: ServerContext,
  by: MemberId,
  channel: ChannelId,
  { changes, before }: Invited,
): void => {
  const isInvited = ({ member, state }: Pick<MembershipRow, 'state'> & { readonly member: MemberId }): boolean =>
    state === 'invited' || before?.invited.has(member) === true;
  const changed = changes.flatMap((change) =>
    change.kind === 'membership' && isInvited(change.row) ? change.row.member : [],
  );
  const isArchived = changes.some((change) => change.kind === 'channelSet' && change.set.archivedAt !== undefined);
  const about = new Set([...changed, ...(isArchived ? (before?.invited.keys() ?? []) : [])]);
  about.delete(by);
  for (const member of about) for (const peer of online.get(member) ?? []) tell(peer, { notice: 'invited', channel });
};

// Whom a control names has to be somebody: the rows that go with it refer to members. Who has erased themself is invited no more.
const mustBeMembers = async ({ store }: ServerContext, changes: readonly Change[]): Promise<void> => {
  for (const change of changes) {
    if (change.kind !== 'membership') continue;
    const member = await store.getMember(change.row.member);
    if (member === undefined || (member.erasedAt !== null && change.row.state === 'invited'))
      throw new SottoError('member.unknown');
  }
};

const openControl = async (
  context: ServerContext,
  { session, member }: Publisher,
  wanted: Publish,
  state: ChannelState | undefined,
): Promise<ControlEvent> => {
  const device = await context.store.getDevice(session.device);
  const creates = state === undefined;
  if (creates && channelOf(wanted.body).channel !== wanted.channel) throw new SottoError('channel.unknown');
  const { header, content } = openEvent(
    {
      scope: creates ? creationScope(context.serverKey) : { serverId: context.serverKey, channelHash: state.hash },
      outer: { id: wanted.id as EventId, sender: member.id, kind: EVENT.control },
      // A device signs for itself only: another one of the member sends its own events.
      keyOf: (sender, id) => (sender === member.id && id === device?.id ? device.signingKey : undefined),
    },
    wanted.body,
    decodeControl,
  );
  const seq = (state?.seq ?? 0) + 1;
  return { seq, header, control: content, bodyHash: sha256(wanted.body) };
};

/** The rows that go with a control event, and with what follows from it. */
const changesOf = async (
  context: ServerContext,
  { member }: Publisher,
  wanted: Publish,
  event: ControlEvent,
  before: ChannelState | undefined,
): Promise<Change[]> => {
  const { control } = event;
  const { state } = replay(before, [event]);
  if (state === undefined) throw new Error('the event was judged');
  const changes: Change[] = [{ kind: 'control' }];
  if (before === undefined) changes.push(creation(context, wanted, control, member.id, state));
  if (control.op === 'erase') changes.push(...(await erasure(context, wanted, control, member.id, before)));
  changes.push(...memberships(before, state));
  if (control.op === 'mode')
    changes.push({ kind: 'channelSet', set: { slowMs: state.mode.slowMs, retentionMs: state.mode.retentionMs } });
  // Also where its last member leaves.
  if (state.archived && before?.archived !== true)
    changes.push({ kind: 'channelSet', set: { archivedAt: context.clock.now() } });
  return changes;
};

const creation = (
  context: ServerContext,
  wanted: Publish,
  control: Control | UnknownControl,
  creator: MemberId,
  state: ChannelState,
): Change => {
  if (control.op !== 'create') throw new Error('the first event was judged to be a creation');
  return {
    kind: 'channel',
    row: {
      id: state.channel,
      name: state.name,
      skeleton: skeletonOf(state.name),
      encryption: state.encryption,
      isPrivate: state.private,
      history: state.history,
      slowMs: 0,
      retentionMs: 0,
      archivedAt: null,
      createdBy: creator,
      createdAt: context.clock.now(),
      creation: wanted.body,
    },
  };
};

/** Rows of everybody whose place in the channel is another now. */
const memberships = (before: ChannelState | undefined, after: ChannelState): Change[] => {
  const ids = new Set([
    ...(before?.members.keys() ?? []),
    ...(before?.invited.keys() ?? []),
    ...(before?.banned ?? []),
    ...after.members.keys(),
    ...after.invited.keys(),
    ...after.banned,
  ]);
  return [...ids].flatMap((id): Change[] => {
    const [was, is] = [standingOf(before, id), standingOf(after, id)];
    const same = was.state === is.state && was.role === is.role && was.mutedUntil === is.mutedUntil;
    return same ? [] : [{ kind: 'membership', row: { member: id, ...is } }];
  });
};

type PlaceIn = Pick<MembershipRow, 'state' | 'role' | 'mutedUntil'>;

const standingOf = (state: ChannelState | undefined, id: MemberId): PlaceIn => {
  const member = state?.members.get(id);
  if (member !== undefined)
    return { state: 'joined', role: roleOf(rankOf(member.role)), mutedUntil: member.mutedUntil ?? 0 };
  const absent = { role: 'member', mutedUntil: 0 } as const;
  if (state?.banned.has(id) === true) return { state: 'banned', ...absent };
  return { state: state?.invited.has(id) === true ? 'invited' : 'left', ...absent };
};

// The server knows three: what it enforces does not tell admins from moderators.
const roleOf = (rank: number): ChannelRole => (rank >= 3 ? 'owner' : rank >= 1 ? 'moderator' : 'member');

const ONE_EVENT = { events: 1, bytes: 1 };

const erasure = async (
  context: ServerContext,
  wanted: Publish,
  control: Extract<Control, { op: 'erase' }>,
  by: MemberId,
  state: ChannelState | undefined,
): Promise<Change[]> => {
  const changes: Change[] = [];
  for (const id of [control.target, ...(control.edits ?? [])]) {
    const seq = await context.log.seqOf(wanted.channel as ChannelId, id);
    if (seq === 0 || state === undefined) continue;
    const [stored] = await context.log.read(wanted.channel as ChannelId, seq - 1, ONE_EVENT);
    const may = stored?.kind === EVENT.content && mayErase(state, by, stored.member);
    if (may) changes.push({ kind: 'erase', seq });
    else if (id === control.target) throw new SottoError('event.refused', { details: { why: 'role' } });
  }
  return changes;
};
