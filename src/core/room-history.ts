// Fetches what is not held of a channel: its control events from the creation on, its history, and then what comes live.
import { idOf } from '../protocol/ids.ts';
import { ROOM_PAGE_MAX } from '../protocol/limits.ts';
import type { LogEvent, WireHead } from '../protocol/server.ts';
import { type ChannelRow, getChannel, patchChannel, putGap } from '../store/channels.ts';
import { type Core, commit } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { replayControls } from './room-receive.ts';

/** Brings a channel level with the server and stays subscribed. Throws `server.*`, `channel.*`. */
export const openChannel = async (core: Core, connection: RoomConnection, channelRow: number): Promise<void> => {
  const channel = idOf(rowOf(core, channelRow).channelId);
  if (rowOf(core, channelRow).lastSeq === 0) await begin(core, connection, channelRow);
  for (;;) {
    const { epoch, lastSeq, lastId } = rowOf(core, channelRow);
    const cursor: [number, number, string | null] = [epoch, lastSeq, lastId === null ? null : idOf(lastId)];
    const { channels } = await connection.request('resume', { cursors: { [channel]: cursor } });
    const resumed = channels[channel];
    if (resumed === undefined || resumed.recovered) return;
    // The log is another one, or has lost what we held: a visible gap, and on from the first event it still has.
    await core.queue.call(() => beginAgain(core, channelRow, resumed.head));
    await pages(core, connection, channelRow);
  }
};

/** Fetches older events than the first that is held; gives how many came. */
export const fetchOlder = async (core: Core, connection: RoomConnection, channelRow: number): Promise<number> => {
  const { channelId, firstSeq } = rowOf(core, channelRow);
  if (firstSeq <= 1) return 0;
  const { events } = await connection.client.events('log.page', { channel: idOf(channelId), before: firstSeq });
  return events.length;
};

// The first look at a channel: who is in it comes from the control events, and the history from the first event we may see.
const begin = async (core: Core, connection: RoomConnection, channelRow: number): Promise<void> => {
  const channel = idOf(rowOf(core, channelRow).channelId);
  const first = await connection.client.events('log.page', { channel, after: 0, limit: 1 });
  const [event] = first.events;
  if (event === undefined) return;
  const before: LogEvent[] = [];
  for (let after = 0; event.seq > 1; ) {
    const { events, answer } = await connection.client.events('log.control', { channel, after });
    before.push(...events.filter(({ seq }) => seq < event.seq));
    after = events.at(-1)?.seq ?? after;
    if (!answer.more || after >= event.seq) break;
  }
  await replayControls(core, connection, channelRow, before);
  await core.queue.call(() =>
    commit(core, () =>
      patchChannel(core.db, channelRow, {
        epoch: event.epoch,
        firstSeq: event.seq,
        lastSeq: event.seq - 1,
        // Of what came before we know no hash: what others have seen is compared from our first event on.
        chain: event.seq === 1 ? new Uint8Array(32) : null,
      }),
    ),
  );
  await pages(core, connection, channelRow);
};

const pages = async (core: Core, connection: RoomConnection, channelRow: number): Promise<void> => {
  for (;;) {
    const { channelId, lastSeq } = rowOf(core, channelRow);
    const { events, answer } = await connection.client.events('log.page', {
      channel: idOf(channelId),
      after: lastSeq,
      limit: ROOM_PAGE_MAX,
    });
    if (events.length > 0) await connection.take(events);
    const now = rowOf(core, channelRow).lastSeq;
    if (events.length === 0 || now === lastSeq || now >= answer.head.seq) return;
  }
};

const beginAgain = (core: Core, channelRow: number, head: WireHead): void =>
  commit(core, (changes) => {
    const row = rowOf(core, channelRow);
    const other = head.epoch !== row.epoch || head.seq < row.lastSeq;
    if (!other && head.prunedTo <= row.lastSeq) return;
    const from = other ? head.seq : head.prunedTo;
    putGap(core.db, channelRow, {
      fromSeq: row.lastSeq + 1,
      toSeq: from,
      reason: other ? 'the server has another history than before' : 'the server no longer keeps it',
    });
    patchChannel(core.db, channelRow, {
      epoch: head.epoch,
      lastSeq: from,
      lastId: head.id === null || from !== head.seq ? null : Buffer.from(head.id, 'hex'),
      chain: null,
    });
    changes.event({ kind: 'channel.gap', channelRow, detail: `${row.lastSeq + 1} to ${from}` });
  });

const rowOf = (core: Core, channelRow: number): ChannelRow => {
  const row = getChannel(core.db, channelRow);
  if (row === undefined) throw new Error('the channel is there');
  return row;
};
