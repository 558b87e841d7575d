// What an event may change beside itself, and the statements that do it in the event's transaction.
import { type BlobHash, type ChannelId, type DeviceId, idBytes, type MemberId, type RowId } from '../protocol/ids.ts';
import { CHANNELS_MADE_MAX } from '../protocol/limits.ts';
import type { Draft, Millis, RefusedCode, Seq } from './event-log.ts';
import {
  AUDIT,
  type AuditRow,
  BLOB_REF,
  CHANNEL,
  type ChannelRow,
  DEVICE,
  type DeviceRow,
  INVITE_USABLE,
  MEMBER,
  MEMBERSHIP,
  type MemberRow,
  type MembershipRow,
  NEW_CHANNEL,
  type NewChannelRow,
} from './rows.ts';
import type { Statement } from './table.ts';

/** Changes of rights and what they rest on: an event with one of these moves the channel's `authoritySeq`. */
type AuthorityChange =
  /** A new member, whose inbox is a channel. Refused `taken`. */
  | { readonly kind: 'member'; readonly row: MemberRow }
  /** Refused `taken` when the new name looks like another's, or `no_such_member` for one who is erased. */
  | { readonly kind: 'memberSet'; readonly member: MemberId; readonly set: MemberSet }
  /** A device whose serial is above all of its member's. Refused `taken`, or `no_such_member` for one who may not come in. */
  | { readonly kind: 'device'; readonly row: DeviceRow }
  /** Revoked for good, its prekeys with it. Refused `no_such_device` when it is already. */
  | { readonly kind: 'deviceRevoked'; readonly device: DeviceId }
  /** The channel of the event itself, which it makes: the event is its first. Refused `taken` or `full`. */
  | { readonly kind: 'channel'; readonly row: NewChannelRow }
  | { readonly kind: 'channelSet'; readonly set: ChannelSet }
  /** The event is a control: it is a link of the chain of controls and kept with them, whatever else it changes. */
  | { readonly kind: 'control' }
  /** What a member is in the event's channel; `joinedSeq` is set by the log when `state` becomes `joined`. */
  | { readonly kind: 'membership'; readonly row: Omit<MembershipRow, 'channel' | 'joinedSeq'> };

type OtherChange =
  /** Empties the body of an earlier event of the channel. */
  | { readonly kind: 'erase'; readonly seq: Seq }
  /** The event's own body is due for erasure then. */
  | { readonly kind: 'expire'; readonly at: Millis }
  /** Counts the event among those of its member in the inbox that it is in. */
  | { readonly kind: 'inbox' }
  /** How often its device had sealed something when it sent the event. */
  | { readonly kind: 'sealed'; readonly device: DeviceId; readonly times: number }
  /** Refused `slow_mode` when the member's last event with this change is not so long ago. */
  | { readonly kind: 'slow'; readonly intervalMs: number }
  /** Takes one use of an invite. Refused `spent`. */
  | { readonly kind: 'inviteUsed'; readonly invite: RowId }
  /** The channel's members may fetch a blob that is whole. Refused `gone`. */
  | { readonly kind: 'file'; readonly hash: BlobHash; readonly expiresAt: Millis }
  | { readonly kind: 'audit'; readonly row: AuditRow };

export type Change = AuthorityChange | OtherChange;

type MemberSet = Partial<Pick<MemberRow, 'name' | 'skeleton' | 'role' | 'status' | 'banned' | 'erasedAt'>>;
type ChannelSet = Partial<Pick<ChannelRow, 'slowMs' | 'retentionMs' | 'archivedAt'>>;

/**
 * A statement that must change a row, or the event is refused with `needs`. With `asks` it is a query, which must give a row,
 * or none: PostgreSQL takes no parameters of unknown type where one statement could do both.
 */
export type ChangeStatement = Statement & { readonly needs?: RefusedCode; readonly asks?: 'some' | 'none' };

const OTHERS: ReadonlySet<Change['kind']> = new Set<OtherChange['kind']>([
  'erase',
  'expire',
  'inbox',
  'sealed',
  'slow',
  'inviteUsed',
  'file',
  'audit',
]);

/** Whether an event with these changes may make a permission that was checked before it wrong. */
export const changesAuthority = (changes: readonly Change[]): boolean => changes.some(({ kind }) => !OTHERS.has(kind));

const SURE: ReadonlySet<Change['kind']> = new Set(['expire', 'inbox', 'sealed']);

/** Whether none of these changes is ever refused: nothing is to be undone. */
export const areSure = (changes: readonly Change[]): boolean => changes.every(({ kind }) => SURE.has(kind));

/** Whether an archived channel takes an event with these changes: it takes what administers it, and erasure. */
export const entersArchive = (changes: readonly Change[]): boolean =>
  changesAuthority(changes) || changes.some(({ kind }) => kind === 'erase');

/** A head without events, for a new channel or inbox. */
export const newHead = (channel: ChannelId | MemberId, now: Millis): Statement => ({
  sql: `INSERT INTO channel_head (channel, epoch, seq, at, authority_seq, pruned_to)
    VALUES (?, (SELECT epoch FROM server), 0, ?, 0, 0)`,
  values: [idBytes(channel), now],
});

/**
 * The statements of one change of `draft`, which has got `seq`. By the clock, not by the times of the log, which never go back:
 * those stay ahead where the clock was ahead once. `erase` is the log's own and has none here.
 */
export const changeStatements = (
  change: Exclude<Change, { kind: 'erase' }>,
  draft: Draft,
  { seq, now }: { readonly seq: Seq; readonly now: Millis },
): readonly ChangeStatement[] => {
  const channel = idBytes(draft.channel);
  switch (change.kind) {
    case 'member':
      return [{ ...MEMBER.insert(change.row, 'ON CONFLICT DO NOTHING'), needs: 'taken' }, newHead(change.row.id, now)];
    case 'memberSet':
      return setMember(change.member, change.set);
    case 'device':
      return putDevice(change.row);
    case 'deviceRevoked':
      return revokeDevice(change.device, now);
    case 'channel':
      return makeChannel(change.row);
    case 'channelSet':
      return [{ ...CHANNEL.update(change.set, 'id = ?', channel), needs: 'gone' }];
    case 'control':
      return [];
    case 'membership':
      return [putMembership(draft.channel, change.row, seq)];
    case 'expire':
      return [
        {
          sql: 'INSERT INTO expiry (channel, seq, at) VALUES (?, ?, ?)',
          values: [channel, seq, change.at],
        },
      ];
    case 'inbox':
      return [
        {
          sql: `INSERT INTO inbox_share (inbox, member, events) VALUES (?, ?, 1)
            ON CONFLICT (inbox, member) DO UPDATE SET events = inbox_share.events + 1`,
          values: [channel, idBytes(draft.member)],
        },
      ];
    case 'sealed':
      return [
        {
          sql: `INSERT INTO sealed (device, times) VALUES (?, ?)
            ON CONFLICT (device) DO UPDATE SET times = excluded.times WHERE excluded.times > sealed.times`,
          values: [idBytes(change.device), change.times],
        },
      ];
    case 'slow':
      return [slow(draft, change.intervalMs, now)];
    case 'inviteUsed':
      return [useInvite(change.invite, now)];
    case 'file':
      return refer(draft, change, now);
    case 'audit':
      return [AUDIT.insert(change.row)];
  }
};

// An erased member stays erased, whatever was under way.
const setMember = (member: MemberId, set: MemberSet): ChangeStatement[] => {
  const bytes = idBytes(member);
  const there = 'id = ? AND erased_at IS NULL';
  const update: ChangeStatement = { ...MEMBER.update(set, there, bytes), needs: 'no_such_member' };
  if (set.skeleton === undefined || set.skeleton === null) return [update];
  const looksAlike = {
    sql: 'SELECT 1 FROM member WHERE skeleton = ? AND id <> ?',
    values: [set.skeleton, bytes],
    asks: 'none',
    needs: 'taken',
  } as const;
  return [looksAlike, update];
};

const makeChannel = (row: NewChannelRow): ChangeStatement[] => [
  {
    sql: 'SELECT 1 FROM channel WHERE created_by = ? AND archived_at IS NULL LIMIT 1 OFFSET ?',
    values: [idBytes(row.createdBy), CHANNELS_MADE_MAX - 1],
    asks: 'none',
    needs: 'full',
  },
  { ...NEW_CHANNEL.insert(row, 'ON CONFLICT DO NOTHING'), needs: 'taken' },
];

const putDevice = (row: DeviceRow): ChangeStatement[] => [
  {
    sql: 'SELECT 1 FROM member WHERE id = ? AND erased_at IS NULL AND banned = 0',
    values: [idBytes(row.member)],
    asks: 'some',
    needs: 'no_such_member',
  },
  {
    sql: 'SELECT 1 FROM device WHERE member = ? AND serial >= ? LIMIT 1',
    values: [idBytes(row.member), row.serial],
    asks: 'none',
    needs: 'taken',
  },
  { ...DEVICE.insert(row, 'ON CONFLICT DO NOTHING'), needs: 'taken' },
];

const revokeDevice = (device: DeviceId, at: Millis): ChangeStatement[] => [
  { ...DEVICE.update({ revokedAt: at }, 'id = ? AND revoked_at IS NULL', idBytes(device)), needs: 'no_such_device' },
  { sql: 'DELETE FROM prekey WHERE device = ?', values: [idBytes(device)] },
  { sql: 'DELETE FROM sealed WHERE device = ?', values: [idBytes(device)] },
];

const putMembership = (
  channel: ChannelId,
  row: Omit<MembershipRow, 'channel' | 'joinedSeq'>,
  seq: Seq,
): ChangeStatement => {
  const joinedSeq = row.state === 'joined' ? seq : 0;
  return MEMBERSHIP.insert(
    { ...row, channel, joinedSeq },
    // Who was in already has joined where it did.
    `ON CONFLICT (channel, member) DO UPDATE SET state = excluded.state, role = excluded.role,
      muted_until = excluded.muted_until,
      joined_seq = CASE WHEN membership.state = 'joined' AND excluded.state = 'joined' THEN membership.joined_seq
        WHEN excluded.state = 'joined' THEN excluded.joined_seq ELSE membership.joined_seq END`,
  );
};

// A last time ahead is of a clock that has been put back since.
const slow = (draft: Draft, intervalMs: number, at: Millis): ChangeStatement => ({
  sql: `INSERT INTO slow (channel, member, at) VALUES (?, ?, ?) ON CONFLICT (channel, member)
    DO UPDATE SET at = excluded.at WHERE slow.at <= excluded.at - ? OR slow.at > excluded.at`,
  values: [idBytes(draft.channel), idBytes(draft.member), at, intervalMs],
  needs: 'slow_mode',
});

const useInvite = (invite: RowId, at: Millis): ChangeStatement => ({
  sql: `UPDATE invite SET uses_left = uses_left - 1 WHERE id = ? AND ${INVITE_USABLE}`,
  values: [idBytes(invite), at],
  needs: 'spent',
});

const refer = (
  { channel, member }: Draft,
  { hash, expiresAt }: { readonly hash: BlobHash; readonly expiresAt: Millis },
  at: Millis,
): ChangeStatement[] => [
  {
    sql: 'SELECT 1 FROM blob WHERE hash = ? AND is_whole = 1',
    values: [idBytes(hash)],
    asks: 'some',
    needs: 'gone',
  },
  BLOB_REF.insert(
    { channel, hash, member, createdAt: at, expiresAt },
    // How long it stays is for who has brought it first to say.
    `ON CONFLICT (channel, hash) DO UPDATE SET expires_at = excluded.expires_at
      WHERE blob_ref.member = excluded.member`,
  ),
];
