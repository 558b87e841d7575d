// Who asks, and what they may do in a channel.
import { SottoError } from '../protocol/errors.ts';
import { type ChannelId, type MemberId, ownerOfInbox } from '../protocol/ids.ts';
import { INBOX_EVENTS_MAX } from '../protocol/limits.ts';
import type { Change } from './changes.ts';
import type { Peer, RateName, ServerContext, Session } from './context.ts';
import type { Seq } from './event-log.ts';
import type { ChannelRow, MemberRow, MembershipRow } from './rows.ts';
import type { Standing } from './standings.ts';

/** Who asks, and the channel that they ask about. */
export type Asker = {
  readonly peer: Peer;
  readonly session: Extract<Session, { phase: 'in' }>;
  readonly member: MemberRow;
  readonly place: Place | undefined;
};

/** A channel, and what a member is in it: always something where they may read. */
export type Place = { readonly row: ChannelRow; readonly membership: MembershipRow | undefined };

/** A channel that a member may `see`, `read`, or is about to `write` in; nothing for their own inbox. Throws `channel.unknown`, `channel.notMember`, `channel.banned`. */
export const placeIn = async (
  { standings }: Pick<ServerContext, 'standings'>,
  member: MemberId,
  channel: ChannelId,
  needs: 'see' | 'read' | 'write',
): Promise<Standing | undefined> => {
  if ((channel as string) === member) return undefined;
  const standing = await standings.in(channel, member, needs === 'write');
  const membership = standing?.membership;
  const isHidden = standing?.row.isPrivate === true && (membership === undefined || membership.state === 'left');
  if (standing === undefined || isHidden) throw new SottoError('channel.unknown');
  if (membership?.state === 'banned') throw new SottoError('channel.banned');
  if (needs !== 'see' && membership?.state !== 'joined') throw new SottoError('channel.notMember');
  return standing;
};

/** The first seq that a reader of a channel sees: where `history` is `joined`, that of their own join. */
export const firstVisible = (place: Place | undefined): Seq =>
  place?.row.history === 'joined' ? (place.membership?.joinedSeq ?? 0) : 0;

/**
 * The channel that a member reads; nothing for another member, whose id names the two of them, and for their own inbox. Throws
 * `channel.unknown`, `channel.notMember`, `channel.banned`.
 */
export const placeWith = async (
  context: Pick<ServerContext, 'store' | 'standings'>,
  member: MemberId,
  channel: ChannelId,
): Promise<Standing | undefined> => {
  const other = await context.store.getMember(ownerOfInbox(channel));
  if (other !== undefined && !other.banned && other.erasedAt === null) return undefined;
  return placeIn(context, member, channel, 'read');
};

/** The channel whose call a member may be in; nothing for another member. Throws like `placeWith`. */
export const mayCall = async (
  context: Pick<ServerContext, 'store' | 'standings'>,
  member: MemberId,
  channel: ChannelId,
): Promise<Place | undefined> => {
  if ((channel as string) === member) throw new SottoError('channel.unknown');
  return placeWith(context, member, channel);
};

/** Why somebody in a channel may not write there now; undefined when they may. */
export const whyNotWrite = (
  { clock }: Pick<ServerContext, 'clock'>,
  { row, membership }: Place,
): 'channel.muted' | 'channel.archived' | undefined => {
  if ((membership?.mutedUntil ?? 0) > clock.now()) return 'channel.muted';
  return row.archivedAt === null ? undefined : 'channel.archived';
};

/** Throws `channel.muted` or `channel.archived`. */
export const mustWrite = (context: ServerContext, place: Place): void => {
  const why = whyNotWrite(context, place);
  if (why !== undefined) throw new SottoError(why);
};

/**
 * Throws `inbox.full` where the inbox of a member has no place, or none for `member`: nobody but its owner has more events
 * there than there are places left, so that however many come alone, there are some for the next.
 */
export const mustHaveRoom = async (
  { log, store }: Pick<ServerContext, 'log' | 'store'>,
  inbox: ChannelId,
  member: MemberId,
): Promise<void> => {
  const [head] = await log.heads([inbox]);
  const taken = head === undefined ? 0 : head.seq - head.prunedTo;
  const free = INBOX_EVENTS_MAX - taken;
  // Who has not even half of it in all has no more than is left.
  if (taken < free || (free > 0 && (inbox as string) === member)) return;
  if (free <= 0 || (await store.countInboxEvents(inbox, member)) >= free) throw new SottoError('inbox.full');
};

/** What counts an event of a member in an inbox: in their own none is counted. */
export const inboxChanges = (inbox: ChannelId, member: MemberId): readonly Change[] =>
  (inbox as string) === member ? [] : [{ kind: 'inbox' }];

/** Counts one more of what a key does (a member, a source), or `count` of it. Throws `rate.limited`. */
export const mayNow = (
  { rates, clock }: Pick<ServerContext, 'rates' | 'clock'>,
  rate: RateName,
  key: string,
  count = 1,
): void => {
  const wait = rates[rate].take(key, clock.monotonic(), count);
  if (wait > 0) throw new SottoError('rate.limited', { details: { retryAfterMs: wait } });
};
