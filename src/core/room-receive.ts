// Takes events of a channel: place and chain → open → verify → rules → rows, in one transaction; the cursor moves with them.
import { replay } from '../crypto/membership.ts';
import { isEqual } from '../protocol/bytes.ts';
import { idBytes } from '../protocol/ids.ts';
import type { LogEvent } from '../protocol/server-frames.ts';
import { type ChannelRow, getChannelById, patchChannel } from '../store/channels.ts';
import { eventIdAt, lastRoomSeq } from '../store/room-events.ts';
import { listRoomOutboxPlaced, removeRoomOutbox } from '../store/room-outbox.ts';
import type { ServerRow } from '../store/servers.ts';
import { stateOfJson, stateToJson } from './channel-json.ts';
import { type Changes, type Core, commit } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { doubt, isElsewhere } from './room-doubts.ts';
import { keepEvent, type Taking } from './room-keep.ts';
import { type Opened, openRoomEvent } from './room-open.ts';
import { ownLost } from './room-settled.ts';
import { Unsealer } from './room-unseal.ts';

/**
 * How far a batch was taken: to its end, to an event of channel row `missing` whose place is not the next, so that what lies
 * between must be fetched first, or to one for which a member, `stranger`, is to be asked for: nobody here knows them, or the
 * device that it is of; or to a key for a channel, `unmet`, that this device has not learned of yet.
 */
export type Took = { readonly missing?: number; readonly stranger?: string; readonly unmet?: Unmet };
export type Unmet = { readonly channel: string; readonly by: string };

/**
 * Handles events of one channel in order; what is held already changes nothing. `learned` are members whose devices were just
 * asked for: what they did not sign is forged. Runs in the queue.
 */
export const receiveRoom = async (
  core: Core,
  connection: RoomConnection,
  events: readonly LogEvent[],
  learned: ReadonlySet<string>,
): Promise<Took> => {
  const [first] = events;
  if (first === undefined) return {};
  const row = getChannelById(core.db, connection.serverId, idBytes(first.channel));
  if (row === undefined || (row.lastSeq === 0 && row.firstSeq === 0)) return {};
  const server = connection.row;
  const unsealer = new Unsealer(core, row);
  const held = lastRoomSeq(core.db, row.id);
  const elsewhere = events.find((event) => event.seq <= held && isElsewhere(core, row, event));
  const { opened, stop } = await openInOrder({ core, server, row, unsealer, learned }, events);
  if (opened.length === 0 && elsewhere === undefined) return stop;
  commit(core, (changes) => {
    if (elsewhere !== undefined)
      doubt(core, changes, row.id, {
        fromSeq: elsewhere.seq,
        toSeq: held,
        reason: 'the server shows something else where it has shown us this',
      });
    const before = stateOfJson(row.membership);
    const taking: Taking = { core, changes, server, row, state: before };
    for (const [event, one] of opened) keepEvent(taking, event, one);
    unsealer.keep();
    const last = opened.at(-1)?.[0];
    const lastSeq = last?.seq ?? row.lastSeq;
    patchChannel(core.db, row.id, {
      lastSeq,
      lastId: last === undefined ? row.lastId : idBytes(last.id),
      ...(taking.state === undefined || taking.state === before ? {} : { membership: stateToJson(taking.state) }),
    });
    lookForOurs(core, changes, row, lastSeq);
  });
  return stop;
};

type Batch = {
  readonly core: Core;
  readonly server: ServerRow;
  readonly row: ChannelRow;
  readonly unsealer: Unsealer;
  readonly learned: ReadonlySet<string>;
};

/** Opens what stands where it should; nothing is written. */
const openInOrder = async (
  batch: Batch,
  events: readonly LogEvent[],
): Promise<{ readonly opened: readonly (readonly [LogEvent, Opened])[]; readonly stop: Took }> => {
  const { row } = batch;
  const opened: [LogEvent, Opened][] = [];
  let state = stateOfJson(row.membership);
  for (const event of events) {
    const next = row.lastSeq + opened.length + 1;
    if (event.seq < next) continue;
    if (event.seq > next || event.epoch !== row.epoch) return { opened, stop: { missing: row.id } };
    const one = await openRoomEvent({ ...batch, state }, event);
    if (one.kind === 'stranger') return { opened, stop: { stranger: event.member } };
    opened.push([event, one]);
    // Who may do what in the events behind depends on this one.
    if (one.kind === 'control') state = replay(state, [one.event]).state;
  }
  return { opened, stop: {} };
};

/** What the server said it had stored of ours, and now shows something else in its place. */
const lookForOurs = (core: Core, changes: Changes, row: ChannelRow, lastSeq: number): void => {
  for (const outbox of listRoomOutboxPlaced(core.db, row.id, lastSeq)) {
    const shown = eventIdAt(core.db, row.id, outbox.seq ?? 0);
    if (shown !== undefined && isEqual(shown, outbox.eventId)) removeRoomOutbox(core.db, outbox.id);
    else ownLost(core, changes, row, outbox);
  }
};
