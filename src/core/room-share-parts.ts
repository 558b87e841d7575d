// Gathers the parts of what another member shows of a channel’s past, until it has come whole.
import { fromBase64 } from '../protocol/bytes.ts';
import { idBytes } from '../protocol/ids.ts';
import { HISTORY_BYTES_MAX, HISTORY_COMING_MAX, HISTORY_ENDED_MAX, HISTORY_EVENTS_MAX } from '../protocol/limits.ts';
import type { Direct } from '../protocol/room-direct.ts';
import { type ChannelRow, type ChannelState, getChannelById } from '../store/channels.ts';
import type { MemberRow } from '../store/members.ts';
import {
  getShareById,
  listShares,
  patchShare,
  putShare,
  putSharePart,
  removeShare,
  type ShareRow,
  sharePartBytes,
} from '../store/shares.ts';
import type { Changes, Core } from './core.ts';

type History = Extract<Direct, { kind: 'history' }>;

// Of where I am not, or no more, nobody shows me anything.
const SHOWN: ReadonlySet<ChannelState> = new Set(['invited', 'joining', 'joined']);

/**
 * Keeps one part of what a member shows; gives whether it has come whole. Parts come in order: what does not follow the one
 * before, or is more than anybody may show, is dropped. In the transaction that passes over the event.
 */
export const takePart = (core: Core, changes: Changes, member: MemberRow, part: History): boolean => {
  const channel = getChannelById(core.db, member.serverId, idBytes(part.channel));
  if (channel === undefined || channel.encryption !== 'members' || !SHOWN.has(channel.state)) return false;
  const key = { memberRow: member.id, mine: 0, shareId: idBytes(part.share) };
  const share =
    getShareById(core.db, key) ?? (part.at === part.from ? begin(core, changes, channel, key, part) : undefined);
  if (share === undefined || share.state !== 'going') return false;
  const entries = fromBase64(part.entries);
  const follows =
    part.at === share.doneSeq + 1 &&
    part.end >= part.at &&
    part.end <= share.toSeq &&
    share.channelRow === channel.id &&
    sharePartBytes(core.db, share.id) + entries.length <= HISTORY_BYTES_MAX;
  if (!follows) return false;
  putSharePart(core.db, share.id, part.at, entries);
  const isWhole = part.end === share.toSeq;
  patchShare(core.db, share.id, { doneSeq: part.end, ...(isWhole ? { state: 'whole' } : {}) });
  return isWhole;
};

type Key = Pick<ShareRow, 'memberRow' | 'mine' | 'shareId'>;

const begin = (core: Core, changes: Changes, channel: ChannelRow, key: Key, part: History): ShareRow | undefined => {
  if (part.to < part.from || part.to - part.from + 1 > HISTORY_EVENTS_MAX) return undefined;
  const all = listShares(core.db, channel.id).filter(({ mine }) => mine === 0);
  const [ended, coming] = [all.filter(isOver), all.filter((one) => !isOver(one))];
  // Who begins anew gives up what they had begun; the last that are over are told still.
  const given = coming.filter(({ memberRow }) => memberRow === key.memberRow);
  for (const one of [...given, ...ended.slice(0, -HISTORY_ENDED_MAX)]) removeShare(core.db, one.id);
  if (coming.length - given.length >= HISTORY_COMING_MAX) return undefined;
  putShare(core.db, {
    ...key,
    channelRow: channel.id,
    epoch: part.epoch,
    fromSeq: part.from,
    toSeq: part.to,
    createdAt: changes.at,
  });
  return getShareById(core.db, key);
};

const isOver = ({ state }: ShareRow): boolean => state === 'done' || state === 'refused';
