// What a member shows another of what was said in a members channel before they came: kept as it was signed, sent part by part on its user's word.
import { ZERO_HASH } from '../crypto/room-event.ts';
import { isEqual, toBase64 } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { type EventId, ID_BYTES, idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import {
  HISTORY_BYTES_MAX,
  HISTORY_EVENTS_DEFAULT,
  HISTORY_EVENTS_MAX,
  HISTORY_PART_BYTES_MAX,
} from '../protocol/limits.ts';
import type { Content, UnknownContent } from '../protocol/room-content.ts';
import type { Direct } from '../protocol/room-direct.ts';
import {
  encodeHistory,
  HISTORY_ENTRY_HEAD_BYTES,
  HISTORY_SIGNED_BYTES_MAX,
  type HistoryEntry,
} from '../protocol/room-history.ts';
import { CONTROL_RULES } from '../protocol/room-rules.ts';
import { type ChannelRow, getChannel, getChannelById } from '../store/channels.ts';
import type { MemberRow } from '../store/members.ts';
import { getMessage } from '../store/messages.ts';
import { getPendingById, type HeldRow, listHeld, listHeldSizes, type RoomEventRow } from '../store/room-events.ts';
import { type RoomOutboxRow, removeHistoryOutbox } from '../store/room-outbox.ts';
import type { ServerRow } from '../store/servers.ts';
import { getShare, getShareById, listShares, patchShare, putShare, type ShareRow } from '../store/shares.ts';
import { stateOfJson } from './channel-json.ts';
import { type Changes, type Core, commit } from './core.ts';
import { endsByItself } from './room-apply.ts';
import { directIn, enqueueRoom } from './room-outbox.ts';

type History = Extract<Direct, { kind: 'history' }>;

/**
 * The signed event where it is needed again: it is about what waits for its key, or others may be shown it, which is one that
 * was taken, does not end by itself, and is about nothing that was erased.
 */
export const signedKept = (
  core: Core,
  channel: ChannelRow,
  { kind, messageRow }: Pick<RoomEventRow, 'kind' | 'messageRow'>,
  { content, signed }: { readonly content: Content | UnknownContent; readonly signed: Uint8Array | null },
): Uint8Array<ArrayBuffer> | null => {
  if (signed === null || kind === 'refused' || endsByItself(content)) return null;
  const target = messageRow === null && 'target' in content ? content.target : undefined;
  if (target !== undefined && getPendingById(core.db, channel.id, idBytes(target)) !== undefined)
    return new Uint8Array(signed);
  if (channel.encryption !== 'members') return null;
  // What it is about may be known later, where there is something from before.
  if (target !== undefined && channel.firstSeq <= 1) return null;
  if (messageRow !== null && getMessage(core.db, messageRow)?.deletedAt !== null) return null;
  return new Uint8Array(signed);
};

/**
 * Begins to show a member of a members channel what was said before they came, the last `limit` events; one that is under way
 * goes on. Gives its row. Throws `channel.notMember`, `history.unshared`, `params.invalid`, `outbox.full`.
 */
export const shareHistory = (
  core: Core,
  changes: Changes,
  { channel, server, member }: { readonly channel: ChannelRow; readonly server: ServerRow; readonly member: MemberRow },
  limit = HISTORY_EVENTS_DEFAULT,
): number => {
  const under = listShares(core.db, channel.id).find(
    (one) => one.mine === 1 && one.memberRow === member.id && one.state === 'going',
  );
  if (under !== undefined) return under.id;
  const toSeq = joinedSeqOf(channel, server, member) - 1;
  const { fromSeq, parts } = planOf(core, channel, toSeq, Math.min(limit, HISTORY_EVENTS_MAX));
  const shareId = core.random.bytes(ID_BYTES);
  const row = putShare(core.db, {
    channelRow: channel.id,
    memberRow: member.id,
    mine: 1,
    shareId,
    epoch: channel.epoch,
    fromSeq,
    toSeq,
    createdAt: changes.at,
  });
  for (const [at, end] of parts)
    enqueueRoom(
      core,
      changes,
      { serverId: server.id, memberRow: member.id },
      {
        kind: 'history',
        share: idOf(shareId),
        channel: idOf(channel.channelId),
        epoch: channel.epoch,
        from: fromSeq,
        to: toSeq,
        at,
        end,
        entries: '',
      },
    );
  changes.event({ kind: 'channel.sharing', channelRow: channel.id, memberRow: member.id });
  return row;
};

// They must be in the channel, by its signed events, and so must I.
const joinedSeqOf = (channel: ChannelRow, server: ServerRow, member: MemberRow): number => {
  if (channel.encryption !== 'members')
    throw new SottoError('params.invalid', {
      message: 'Only in a channel of members is there something that newcomers cannot read by themselves',
    });
  const members = stateOfJson(channel.membership)?.members;
  const joined = members?.get(idOf<MemberId>(member.memberId));
  if (channel.state !== 'joined' || members === undefined) throw new SottoError('channel.notMember');
  if (isEqual(member.memberId, server.memberId))
    throw new SottoError('contact.self', { message: 'This is you: another member can show you what was said before' });
  if (joined === undefined)
    throw new SottoError('channel.notMember', { message: `${member.name} is not in the channel: invite them first` });
  return joined.joinedSeq;
};

type Plan = {
  readonly fromSeq: number;
  /** First and last place of each part. */
  readonly parts: readonly (readonly [number, number])[];
};

// The longest stretch before their coming that is here, in this very log, without a hole.
const planOf = (core: Core, channel: ChannelRow, toSeq: number, limit: number): Plan => {
  const sizes = listHeldSizes(core.db, channel.id, toSeq, limit);
  let [fromSeq, bytes] = [toSeq + 1, 0];
  for (const one of sizes) {
    bytes += HISTORY_ENTRY_HEAD_BYTES + one.bytes;
    if (one.seq !== fromSeq - 1 || one.isHashed === 0 || bytes > HISTORY_BYTES_MAX) break;
    fromSeq = one.seq;
  }
  if (fromSeq > toSeq)
    throw new SottoError('history.unshared', {
      message: 'There is nothing here from before they came: somebody who was there can share it',
    });
  return { fromSeq, parts: partsOf(sizes, fromSeq) };
};

const partsOf = (sizes: ReturnType<typeof listHeldSizes>, fromSeq: number): [number, number][] => {
  const parts: [number, number][] = [];
  let room = 0;
  for (const { seq, bytes } of sizes.filter((one) => one.seq >= fromSeq).reverse()) {
    const size = HISTORY_ENTRY_HEAD_BYTES + (bytes > HISTORY_SIGNED_BYTES_MAX ? 0 : bytes);
    const last = parts.at(-1);
    if (last === undefined || size > room) {
      parts.push([seq, seq]);
      room = HISTORY_PART_BYTES_MAX;
    } else last[1] = seq;
    room -= size;
  }
  return parts;
};

/**
 * The part that an outbox row names, as it is here now; undefined, and the whole share is stopped, when its reader is not in the
 * channel any more, or I am not.
 */
export const readPart = (core: Core, server: ServerRow, member: MemberRow, part: History): History | undefined => {
  const channel = getChannelById(core.db, server.id, idBytes(part.channel));
  const joined = stateOfJson(channel?.membership ?? '')?.members.get(idOf<MemberId>(member.memberId));
  if (channel?.state !== 'joined' || joined?.joinedSeq !== part.to + 1 || channel.epoch !== part.epoch) {
    commit(core, (changes) => stop(core, changes, { serverId: server.id, memberRow: member.id }, part));
    return undefined;
  }
  const entries = listHeld(core.db, channel.id, part.at, part.end).map(entryOf);
  return { ...part, entries: toBase64(encodeHistory(entries)) };
};

const entryOf = (row: HeldRow): HistoryEntry => {
  const place = { id: idOf<EventId>(row.eventId), hash: row.hash ?? ZERO_HASH };
  if (row.signed !== null && row.signed.length <= HISTORY_SIGNED_BYTES_MAX)
    return { ...place, kind: 'content', signed: row.signed };
  return { ...place, kind: Object.hasOwn(CONTROL_RULES, row.kind) ? 'control' : 'absent' };
};

type To = { readonly serverId: number; readonly memberRow: number };

const stop = (
  core: Core,
  changes: Changes,
  { serverId, memberRow }: To,
  part: History,
  reason = 'they are not in the channel any more, or you are not',
): void => {
  removeHistoryOutbox(core.db, serverId, memberRow, part.share);
  const share = getShareById(core.db, { memberRow, mine: 1, shareId: idBytes(part.share) });
  if (share === undefined) return;
  patchShare(core.db, share.id, { state: 'refused', reason });
  changes.event({ kind: 'channel.shareEnded', channelRow: share.channelRow, memberRow });
};

/** A part will never be sent: without it nothing follows, and the whole share is over. */
export const partFailed = (core: Core, changes: Changes, row: RoomOutboxRow, reason: string): void => {
  if (row.memberRow === null) return;
  const part = directIn(row);
  if (part.kind === 'history') stop(core, changes, { serverId: row.serverId, memberRow: row.memberRow }, part, reason);
};

/** The server has taken something for a member: if it was a part, the share has come that far. */
export const partSent = (core: Core, changes: Changes, row: RoomOutboxRow): void => {
  const part = directIn(row);
  if (part.kind !== 'history' || row.memberRow === null) return;
  const share = getShareById(core.db, { memberRow: row.memberRow, mine: 1, shareId: idBytes(part.share) });
  if (share === undefined) return;
  const isAll = part.end === share.toSeq;
  patchShare(core.db, share.id, { doneSeq: part.end, ...(isAll ? { state: 'done' } : {}) });
  if (isAll) changes.event({ kind: 'channel.shareEnded', channelRow: share.channelRow, memberRow: share.memberRow });
};

/** The row of a share of mine, by its id. Throws `history.unshared`. */
export const shareOf = (core: Core, member: MemberRow, id: string): number => {
  const share = getShareById(core.db, { memberRow: member.id, mine: 1, shareId: idBytes(id) });
  if (share === undefined) throw new SottoError('history.unshared');
  return share.id;
};

/** A share that was begun, as it is now. */
export const shareNow = (core: Core, id: number): ShareRow => {
  const share = getShare(core.db, id);
  if (share === undefined || getChannel(core.db, share.channelRow) === undefined)
    throw new SottoError('channel.unknown');
  return share;
};
