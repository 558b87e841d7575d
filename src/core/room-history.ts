// Fetches what is not held of a channel: its control events from the creation on, its history, and then what comes live.
import { expectedError, SottoError } from '../protocol/errors.ts';
import { idOf, type MemberId } from '../protocol/ids.ts';
import { ROOM_FIRST_PAGES, ROOM_LEVEL_TRIES_MAX, ROOM_PAGE_MAX } from '../protocol/limits.ts';
import type { WireHead } from '../protocol/server.ts';
import type { LogEvent } from '../protocol/server-frames.ts';
import { type ChannelRow, patchChannel } from '../store/channels.ts';
import { getMemberById } from '../store/members.ts';
import { endAt } from '../store/room-events.ts';
import { listRoomOutboxPlaced } from '../store/room-outbox.ts';
import { stateOfJson } from './channel-json.ts';
import { type Changes, type Core, commit, detach } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { doubt } from './room-doubts.ts';
import { replayUpTo } from './room-replay.ts';
import { forgetOthers, goBack } from './room-restored.ts';
import { removeReturned, tellReturned } from './room-returned.ts';
import { isLost, ownRole, theChannel } from './room-rows.ts';
import { ownForgotten } from './room-settled.ts';

// Why there is a gap.
const OUT = 'you were not in the channel';
const PRUNED = 'the server no longer keeps it';

/**
 * Fetches the first pages of what is not held of a channel, without staying subscribed; true when that was all. Throws `server.*`,
 * `channel.*`.
 */
export const fetchFirst = (core: Core, connection: RoomConnection, channelRow: number): Promise<boolean> =>
  theChannel(core.db, channelRow).lastSeq === 0
    ? begin(core, connection, channelRow, ROOM_FIRST_PAGES)
    : pages(core, connection, channelRow, ROOM_FIRST_PAGES);

/** Brings a channel level with the server and stays subscribed. Throws `server.*`, `channel.*`. */
export const openChannel = async (core: Core, connection: RoomConnection, channelRow: number): Promise<void> => {
  const channel = idOf(theChannel(core.db, channelRow).channelId);
  for (let tries = 0; tries < ROOM_LEVEL_TRIES_MAX; tries++) {
    if (theChannel(core.db, channelRow).lastSeq === 0) await begin(core, connection, channelRow);
    // Whose history is long is not told all of it at once.
    else if (tries === 0 && theChannel(core.db, channelRow).state === 'joining')
      await pages(core, connection, channelRow);
    const row = theChannel(core.db, channelRow);
    const { channels } = await connection.request('resume', { cursors: { [channel]: cursorOf(row) } });
    const resumed = channels[channel];
    if (resumed === undefined) return;
    if (isRecovered(row, resumed)) {
      await connection.taken();
      if (isLevel(core, channelRow, resumed)) return;
      await pages(core, connection, channelRow);
      continue;
    }
    const isOther = isOtherLog(theChannel(core.db, channelRow), resumed.head);
    if (isOther) await goBack(core, connection, channelRow, resumed.head);
    const { lastSeq } = theChannel(core.db, channelRow);
    const end = (isOther ? lastSeq : Math.max(lastSeq, resumed.head.prunedTo)) + 1;
    if (end === 1) await begin(core, connection, channelRow);
    else await replayUpTo(core, connection, channelRow, { end, isFresh: isOther, isMissed: !isOther });
    // It keeps no more what comes next: a visible gap, and on from the first event it still has. Last: who came and went there is
    // not asked for again.
    if (!isOther) await core.queue.call(() => skipPruned(core, channelRow, resumed.head));
    if (isOther) await core.queue.call(() => keepEpoch(core, channelRow, resumed.head));
    if (end > 1) await pages(core, connection, channelRow);
    if (isOther) await core.queue.call(() => tellReturned(core, connection, channelRow));
    // All that is held has come: what still waits here is not in the other log.
    if (isOther) connection.sender.flush();
    if (isOther && connection.state === 'online') detach(core, removeReturned(core, connection));
  }
  throw new SottoError('server.invalid', { message: 'The server never tells the whole of a channel' });
};

/**
 * Asks at once for what came in many channels after what is held of them; gives the rows of those that are level now. Of the
 * others, and of all when the server refuses one, nothing has changed.
 */
export const resumeChannels = async (
  core: Core,
  connection: RoomConnection,
  channels: readonly ChannelRow[],
): Promise<ReadonlySet<number>> => {
  const held = channels.filter(({ lastSeq }) => lastSeq > 0);
  if (held.length < 2) return new Set();
  const cursors = Object.fromEntries(held.map((row) => [idOf(row.channelId), cursorOf(row)]));
  const answer = await connection.request('resume', { cursors }).catch((error: unknown) => {
    if (expectedError(error) === undefined) throw error;
    return undefined;
  });
  await connection.taken();
  const level = held.filter((row) => {
    const resumed = answer?.channels[idOf(row.channelId)];
    return resumed !== undefined && isRecovered(row, resumed) && isLevel(core, row.id, resumed);
  });
  return new Set(level.map(({ id }) => id));
};

type Resumed = { readonly recovered: boolean; readonly head: WireHead };

// Nothing can have been recovered of another log, or of one that ends before what we hold.
const isRecovered = ({ epoch, lastSeq }: ChannelRow, { recovered, head }: Resumed): boolean =>
  recovered && head.epoch === epoch && head.seq >= lastSeq;

// What was promised has come before the answer, unless the server shows less than it says there is.
const isLevel = (core: Core, channelRow: number, { head }: Resumed): boolean =>
  theChannel(core.db, channelRow).lastSeq >= head.seq;

const cursorOf = ({ epoch, lastSeq, lastId }: ChannelRow): [number, number, string | null] => [
  epoch,
  lastSeq,
  lastId === null ? null : idOf(lastId),
];

/**
 * We are in a channel no more, and may not read the event that says so. What may still be seen of it is the list of its
 * members, and that of public channels only.
 */
export const shutOut = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  state: 'removed' | 'banned',
): Promise<void> => {
  if (state === 'removed')
    await replayUpTo(core, connection, channelRow, { end: Number.MAX_SAFE_INTEGER, isMissed: true }).catch(whenHidden);
  await core.queue.call(() => {
    const { memberId, id: serverId } = connection.row;
    const me = getMemberById(core.db, serverId, memberId);
    const hasLeft =
      state === 'removed' && (connection.sender.mayHaveLeft(channelRow) || isLeft(core, connection, channelRow));
    const now = hasLeft ? 'left' : state;
    commit(core, (changes) => {
      patchChannel(core.db, channelRow, { state: now });
      const row = theChannel(core.db, channelRow);
      const about = { channelRow, ...(me === undefined ? {} : { memberRow: me.id }) };
      if (!isLost(row, connection.row)) return changes.event({ kind: `channel.${now}`, ...about });
      const detail = 'the server shows it no more';
      // Of a private channel it tells somebody who was put out no more than it tells of one that it has lost.
      if (row.private === 1) changes.event({ kind: 'channel.removed', ...about, detail });
      else changes.event({ kind: 'channel.changed', channelRow, detail });
    });
  });
};

// Another device of mine may have done so.
const isLeft = (core: Core, { row: server }: RoomConnection, channelRow: number): boolean =>
  ownRole(theChannel(core.db, channelRow), server) === undefined &&
  endAt(core.db, channelRow, idOf<MemberId>(server.memberId), Number.MAX_SAFE_INTEGER) === 'leave';

const whenHidden = (error: unknown): void => {
  if (expectedError(error)?.code !== 'channel.unknown') throw error;
};

// The first look at a channel: who is in it comes from the control events, and the history from the first event we may see.
const begin = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  most = Number.MAX_SAFE_INTEGER,
): Promise<boolean> => {
  const channel = idOf(theChannel(core.db, channelRow).channelId);
  const first = await connection.client.events('log.page', { channel, after: 0, limit: 1 });
  const [event] = first.events;
  if (event === undefined) return true;
  const isFresh = isBeyond(core, channelRow, event.seq - 1);
  await replayUpTo(core, connection, channelRow, { end: event.seq, isFresh });
  await core.queue.call(() =>
    commit(core, () =>
      patchChannel(core.db, channelRow, {
        epoch: event.epoch,
        firstSeq: event.seq,
        lastSeq: event.seq - 1,
        // Each event is judged by what the channel was at its place.
        ...(event.seq === 1 ? { membership: '' } : {}),
      }),
    ),
  );
  return pages(core, connection, channelRow, most);
};

// Whether more was replayed than what is held, when somebody looked at who is in it: that is replayed again in its place.
const isBeyond = (core: Core, channelRow: number, seq: number): boolean =>
  (stateOfJson(theChannel(core.db, channelRow).membership)?.seq ?? 0) > seq;

// False when after `most` of them there is more.
const pages = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  most = Number.MAX_SAFE_INTEGER,
): Promise<boolean> => {
  const held = theChannel(core.db, channelRow).lastSeq;
  if (isBeyond(core, channelRow, held))
    await replayUpTo(core, connection, channelRow, { end: held + 1, isFresh: true });
  for (let count = 0; count < most; count++) {
    const { channelId, lastSeq } = theChannel(core.db, channelRow);
    const { events, answer } = await connection.client.events('log.page', {
      channel: idOf(channelId),
      after: lastSeq,
      limit: ROOM_PAGE_MAX,
    });
    const [next] = events;
    if (next !== undefined && next.seq <= answer.head.seq)
      await passOver(core, connection, channelRow, next, answer.head);
    if (events.length > 0) await connection.take(events);
    connection.background.came(channelRow, answer.head.seq);
    const now = theChannel(core.db, channelRow).lastSeq;
    if (events.length === 0 || now === lastSeq || now >= answer.head.seq) return true;
  }
  return false;
};

// It has what comes next, and does not show what lies between: as to everybody who was out meanwhile, or once it keeps that no more.
// Who came and went there is told all the same: what follows, which may be my own coming back, counts from that.
const passOver = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  next: LogEvent,
  { prunedTo }: WireHead,
): Promise<void> => {
  const upTo = next.seq - 1;
  const { lastSeq, epoch, state } = theChannel(core.db, channelRow);
  // Of another log than before only what came when we were let in there.
  if (upTo <= lastSeq || (next.epoch !== epoch && state !== 'joining')) return;
  await replayUpTo(core, connection, channelRow, { end: next.seq, isMissed: true });
  await core.queue.call(() =>
    commit(core, (changes) => {
      const { lastSeq, membership, epoch, history } = theChannel(core.db, channelRow);
      if (upTo <= lastSeq) return;
      if (next.epoch !== epoch) forgetOthers(core, channelRow, lastSeq);
      const wasOut = stateOfJson(membership)?.members.has(idOf(connection.row.memberId)) === false;
      const mayRead = !wasOut || history === 'all';
      const reason = !mayRead ? OUT : upTo <= prunedTo ? PRUNED : 'the server does not show it';
      doubt(core, changes, channelRow, { fromSeq: lastSeq + 1, toSeq: upTo, reason });
      if (reason === PRUNED) forgetOurs(core, changes, channelRow, upTo);
      patchChannel(core.db, channelRow, { epoch: next.epoch, lastSeq: upTo, lastId: null });
    }),
  );
};

// What of ours it has said to have stored there is not shown any more.
const forgetOurs = (core: Core, changes: Changes, channelRow: number, upTo: number): void => {
  for (const outbox of listRoomOutboxPlaced(core.db, channelRow, upTo)) ownForgotten(core, changes, outbox);
};

// A server that was restored from a backup has another epoch, or less than we have seen, or something else where we have it.
const isOtherLog = (row: ChannelRow, head: WireHead): boolean =>
  head.epoch !== row.epoch || head.seq < row.lastSeq || (row.lastId !== null && head.prunedTo <= row.lastSeq);

const keepEpoch = (core: Core, channelRow: number, { epoch }: WireHead): void =>
  commit(core, () => patchChannel(core.db, channelRow, { epoch }));

const skipPruned = (core: Core, channelRow: number, head: WireHead): void =>
  commit(core, (changes) => {
    const { lastSeq } = theChannel(core.db, channelRow);
    const { prunedTo } = head;
    if (prunedTo <= lastSeq) return;
    const gap = { fromSeq: lastSeq + 1, toSeq: prunedTo, reason: PRUNED };
    doubt(core, changes, channelRow, gap);
    forgetOurs(core, changes, channelRow, prunedTo);
    patchChannel(core.db, channelRow, {
      lastSeq: prunedTo,
      lastId: head.id === null || prunedTo !== head.seq ? null : Buffer.from(head.id, 'hex'),
    });
  });
