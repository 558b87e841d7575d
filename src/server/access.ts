// Who asks, and what they may do in a channel.
import { SottoError } from '../protocol/errors.ts';
import type { ChannelId, MemberId } from '../protocol/ids.ts';
import type { Peer, ServerContext, Session } from './context.ts';
import type { ChannelRow, MemberRow, MembershipRow } from './rows.ts';

/** Who asks, and what they are in the channel that they ask about. */
export type Asker = {
  readonly peer: Peer;
  readonly session: Extract<Session, { phase: 'in' }>;
  readonly member: MemberRow;
  readonly membership: MembershipRow | undefined;
};

/** What a member is in a channel they may `see` or `read`; nothing in their own inbox. Throws `channel.unknown`, `channel.notMember`, `channel.banned`. */
export const membershipIn = async (
  { store }: Pick<ServerContext, 'store'>,
  member: MemberId,
  channel: ChannelId,
  needs: 'see' | 'read',
): Promise<MembershipRow | undefined> => {
  if ((channel as string) === member) return undefined;
  const [row, membership] = await Promise.all([store.getChannel(channel), store.getMembership(channel, member)]);
  const invisible = row === undefined || (row.isPrivate && (membership === undefined || membership.state === 'left'));
  if (invisible) throw new SottoError('channel.unknown');
  if (membership?.state === 'banned') throw new SottoError('channel.banned');
  if (needs === 'read' && membership?.state !== 'joined') throw new SottoError('channel.notMember');
  return membership;
};

/**
 * What a member is in the channel whose call they may be in; nothing for another member, whose id names the call of the two.
 * Throws `channel.unknown`, `channel.notMember`, `channel.banned`.
 */
export const mayCall = async (
  context: Pick<ServerContext, 'store'>,
  member: MemberId,
  place: ChannelId,
): Promise<MembershipRow | undefined> => {
  if ((place as string) === member) throw new SottoError('channel.unknown');
  const other = await context.store.getMember(place as string as MemberId);
  if (other !== undefined && !other.banned && other.erasedAt === null) return undefined;
  return membershipIn(context, member, place, 'read');
};

/** Throws `channel.muted` or `channel.archived`. */
export const mustWrite = (
  { clock }: ServerContext,
  membership: Pick<MembershipRow, 'mutedUntil'>,
  { archivedAt }: Pick<ChannelRow, 'archivedAt'>,
): void => {
  if (membership.mutedUntil > clock.now()) throw new SottoError('channel.muted');
  if (archivedAt !== null) throw new SottoError('channel.archived');
};

/** Counts what a member changes of themself. Throws `rate.limited`. */
export const mayChangeAccount = ({ rates, clock }: ServerContext, member: MemberId): void => {
  const wait = rates.account.take(member, clock.monotonic());
  if (wait > 0) throw new SottoError('rate.limited', { details: { retryAfterMs: wait } });
};
