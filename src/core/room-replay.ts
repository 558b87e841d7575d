// The control events of a channel, from its creation on: fetched, verified, and replayed where only who is in it matters.
import { replay } from '../crypto/membership.ts';
import { sha256 } from '../crypto/primitives.ts';
import { idOf } from '../protocol/ids.ts';
import { ROOM_INCOMING_BYTES_MAX } from '../protocol/limits.ts';
import type { Control, UnknownControl } from '../protocol/room-content.ts';
import type { LogEvent } from '../protocol/server-frames.ts';
import { type ChannelRow, getChannel, patchChannel } from '../store/channels.ts';
import { stateOfJson, stateToJson } from './channel-json.ts';
import { type Core, commit } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { keepMissed, type Taking } from './room-keep.ts';
import { openControl } from './room-open.ts';
import { knowSigners, type Signed } from './room-people.ts';
import { theChannel } from './room-rows.ts';

/** A control event is in clear. */
export const signedOf = ({ member, body }: LogEvent): Signed => ({ member, signed: body });

/** The hash and content of what a server shows as the creation of a channel. Throws ProtocolError `event.*`. */
export const creationIn = async (
  core: Core,
  connection: RoomConnection,
  event: LogEvent,
): Promise<{ readonly hash: Uint8Array<ArrayBuffer>; readonly control: Control | UnknownControl }> => {
  await knowSigners(core, connection, [signedOf(event)]);
  const hash = sha256(event.body);
  const { control } = openControl(core, connection.row, { hash }, undefined, event);
  return { hash, control };
};

/** Which control events: those before `end`. */
type Replay = {
  readonly end: number;
  /** From the creation on: what was replayed before is forgotten. */
  readonly isFresh?: boolean;
  /** Those behind the last event that is held are kept, where any is: no other event of there may ever come. */
  readonly isMissed?: boolean;
};

/**
 * Fetches control events and replays those that were not: who is in a channel, and how, follows from them.
 * Throws `server.*`, `channel.*`.
 */
export const replayUpTo = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  { end, isFresh = false, isMissed = false }: Replay,
): Promise<void> => {
  const { channelId, membership, epoch } = theChannel(core.db, channelRow);
  const first = isFresh ? 0 : (stateOfJson(membership)?.seq ?? 0);
  for (let after = first; after + 1 < end; ) {
    const { events, answer } = await connection.client.events('log.control', { channel: idOf(channelId), after });
    // What was replayed before is of a log that is no more.
    if (!isFresh && after === first && first > 0 && epoch !== 0 && answer.head.epoch !== epoch)
      return replayUpTo(core, connection, channelRow, { end, isFresh: true });
    // Page by page: what is not signed ends it before the next one is asked for.
    const controls = events.filter(({ seq }) => seq < end);
    await replayControls(core, connection, channelRow, controls, { isFresh: isFresh && after === first, isMissed });
    after = events.at(-1)?.seq ?? after;
    if (!answer.more || events.length === 0) return;
  }
};

const replayControls = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  events: readonly LogEvent[],
  { isFresh, isMissed }: Required<Omit<Replay, 'end'>>,
): Promise<void> => {
  await knowSigners(core, connection, events.map(signedOf));
  await core.queue.call(() =>
    commit(core, (changes) => {
      const row = getChannel(core.db, channelRow);
      if (row === undefined || events.length === 0) return;
      const server = connection.row;
      const taking: Taking = { core, changes, server, row, state: isFresh ? undefined : stateOfJson(row.membership) };
      for (const event of events) {
        const { state } = taking;
        if (state !== undefined && event.seq <= state.seq) continue;
        const control = openControl(core, server, row, state, event);
        if (isMissed && row.lastSeq > 0 && event.seq > row.lastSeq) keepMissed(taking, event, control);
        else taking.state = replay(state, [control]).state ?? state;
      }
      const { state } = taking;
      patchChannel(core.db, channelRow, { membership: state === undefined ? '' : stateToJson(state) });
    }),
  );
};

/** The control events of a channel up to the last place that is known here, as many as may wait here. Throws `server.*`, `channel.*`. */
export const controlsOf = async (connection: RoomConnection, channel: ChannelRow): Promise<LogEvent[]> => {
  const controls: LogEvent[] = [];
  let bytes = 0;
  for (let after = 0; after < channel.lastSeq; ) {
    const page = { channel: idOf(channel.channelId), after };
    const { events, answer } = await connection.client.events('log.control', page);
    controls.push(...events.filter(({ seq }) => seq <= channel.lastSeq));
    bytes += events.reduce((sum, { body }) => sum + body.length, 0);
    after = events.at(-1)?.seq ?? after;
    if (!answer.more || events.length === 0 || bytes > ROOM_INCOMING_BYTES_MAX) break;
  }
  return controls;
};
