// How this device signs a control event and has it published, on a state that may change meanwhile.
import { type ChannelState, judgeControl } from '../crypto/channel-state.ts';
import { type EventHeader, headOf, signEvent, ZERO_HASH } from '../crypto/room-event.ts';
import type { Cancel } from '../ports.ts';
import { expectedError, retryOf, SottoError } from '../protocol/errors.ts';
import { type DeviceId, type EventId, idOf, type MemberId } from '../protocol/ids.ts';
import { SERVER_REDIAL_MS, STALE_TRIES_MAX, WAIT_MS_DEFAULT } from '../protocol/limits.ts';
import type { Control } from '../protocol/room-content.ts';
import { EVENT } from '../protocol/server-frames.ts';
import { patchChannel } from '../store/channels.ts';
import type { ServerRow } from '../store/servers.ts';
import { stateOfJson } from './channel-json.ts';
import { type Core, commit } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { ourView } from './room-doubts.ts';
import { newEventId } from './room-outbox.ts';
import { theChannel, theServer } from './room-rows.ts';
import { timeToldBy } from './server-client.ts';

const REACH_MS_MAX = 15_000;

/**
 * The connection of a server, for somebody who waits: dialled at once, and about every second until it is there or they have
 * waited long enough, but not for what time alone does not mend. Throws `server.unreachable`, or what stands in the way.
 */
export const connectionOf = async (
  core: Core,
  server: ServerRow,
  timeoutMs = REACH_MS_MAX,
): Promise<RoomConnection> => {
  const connection = dialled(core, server);
  const endAt = core.clock.monotonic() + timeoutMs;
  const leftMs = (): number => Math.max(0, endAt - core.clock.monotonic());
  const mayCome = (): boolean =>
    connection.state === 'waiting' && retryOf(connection.lastError?.code ?? 'server.unreachable') === 'later';
  for (;;) {
    await core.waits.until(() => connection.state !== 'dialling', leftMs());
    if (!mayCome()) break;
    await core.waits.until(() => connection.state !== 'waiting', Math.min(SERVER_REDIAL_MS, leftMs()));
    if (leftMs() === 0) break;
    connection.redial();
  }
  void connection.client;
  return connection;
};

/** The same after one try: for what goes on without the server. */
export const connectionNow = async (
  core: Core,
  server: ServerRow,
  timeoutMs = REACH_MS_MAX,
): Promise<RoomConnection> => {
  const connection = dialled(core, server);
  await core.waits.until(() => connection.state !== 'dialling', timeoutMs);
  void connection.client;
  return connection;
};

/**
 * A server that did not let us in is asked again, and its answer waited for: what is wanted there may be so by now. One that is not
 * reached is dialled, for what goes on without it.
 */
export const letInAgain = async (core: Core, serverId: number | undefined, timeoutMs = REACH_MS_MAX): Promise<void> => {
  const connection = core.rooms.get(serverId ?? 0);
  const isBanned = connection?.state === 'banned';
  connection?.askAgain();
  if (isBanned) await core.waits.until(() => connection.state !== 'dialling', timeoutMs);
};

/** What is waited for of a server; for a minute it is dialled about every second while it cannot be reached, then as ever. */
export const reachedFor = async <T>(core: Core, serverId: number | undefined, wait: Promise<T>): Promise<T> => {
  const connection = core.rooms.get(serverId ?? 0);
  if (connection === undefined) return wait;
  const endAt = core.clock.monotonic() + WAIT_MS_DEFAULT;
  let cancel: Cancel = () => {};
  const again = (): void => {
    if (core.clock.monotonic() < endAt) cancel = core.clock.after(SERVER_REDIAL_MS, again);
    if (connection.state === 'waiting') connection.askAgain();
  };
  again();
  return wait.finally(() => cancel());
};

const dialled = (core: Core, server: ServerRow): RoomConnection => {
  if (server.state === 'left') throw serverLeft(server);
  const connection = core.rooms.connect(server.id);
  if (connection.state === 'off') connection.start();
  connection.redial();
  connection.askAgain();
  return connection;
};

/** What is signed; `keep` is written once the server has taken it. */
type Signed = { readonly control: Control; readonly keep: () => void };
/** What is published: a control, or what makes one for its place. */
export type Wanted = Control | ((header: EventHeader, epoch: number) => Promise<Signed>);

/**
 * Signs and publishes a control event on the state that is known, and takes it when it comes back. A channel that changed
 * meanwhile is looked at again; `timeoutMs` is for the server to be reached. Throws `event.refused` with the rule that forbids it, `channel.unchanged`, `channel.*`, `server.*`.
 */
export const publishControl = async (
  core: Core,
  channelRow: number,
  wanted: Wanted,
  timeoutMs?: number,
): Promise<void> => {
  const { serverId, state: place, name, lastSeq } = theChannel(core.db, channelRow);
  if (place === 'joining' && core.rooms.get(serverId)?.background.has(channelRow) === true)
    throw new SottoError('server.busy', { message: `#${name} is still being fetched, up to place ${lastSeq} so far` });
  const connection = await connectionOf(core, theServer(core.db, serverId), timeoutMs);
  for (let tries = 0; ; tries++)
    try {
      // What waits in the outbox goes first: what is refused anyway is not told to wait for that.
      if (typeof wanted !== 'function') {
        const { state, header } = nextOf(core, connection, channelRow);
        mustAllow(state, header, wanted);
      }
      const op = typeof wanted === 'function' ? undefined : wanted.op;
      const n = await byItsTime(() =>
        patiently(core, () =>
          connection.sender.between(channelRow, op, () => signAndPublish(core, connection, channelRow, wanted)),
        ),
      );
      const isHere = () => {
        const row = theChannel(core.db, channelRow);
        return (stateOfJson(row.membership)?.counted.get(idOf<DeviceId>(connection.row.deviceId)) ?? 0) >= n;
      };
      if (theChannel(core.db, channelRow).state === 'joined') await core.waits.until(isHere, EVENT_MS_MAX);
      return;
    } catch (error) {
      const known = expectedError(error);
      const changed =
        known?.code === 'event.stale' || known?.details.why === 'stale' || known?.details.why === 'repeated';
      if (!changed || tries >= STALE_TRIES_MAX || theChannel(core.db, channelRow).state !== 'joined') throw error;
      await connection.open(channelRow);
    }
};
const EVENT_MS_MAX = 10_000;

/** Gives the count of the event among those of this device. */
const signAndPublish = async (
  core: Core,
  connection: RoomConnection,
  channelRow: number,
  wanted: Wanted,
): Promise<number> => {
  const { row, server, state, header } = nextOf(core, connection, channelRow);
  const { control, keep } =
    typeof wanted === 'function' ? await wanted(header, state.epoch) : { control: wanted, keep: () => {} };
  mustAllow(state, header, control);
  const body = signEvent({ serverId: server.serverKey, channelHash: row.hash }, header, control, server.deviceSeed);
  await connection.publish({
    channel: idOf(row.channelId),
    id: header.id,
    kind: EVENT.control,
    checkedAt: state.seq,
    ttlSeconds: 0,
    body,
  });
  await core.queue.call(() =>
    commit(core, () => {
      keep();
      patchChannel(core.db, channelRow, { sent: header.n });
    }),
  );
  return header.n;
};

/** What this device would sign next in a channel, as it is known here. Throws `channel.notMember`. */
const nextOf = (core: Core, connection: RoomConnection, channelRow: number) => {
  const row = theChannel(core.db, channelRow);
  const server = connection.row;
  const state = stateOfJson(row.membership);
  if (state === undefined) throw new SottoError('channel.notMember');
  const header: EventHeader = {
    ...baseHeader(server, newEventId(core, server.id)),
    epoch: state.epoch,
    n: Math.max(row.sent, state.counted.get(idOf<DeviceId>(server.deviceId)) ?? 0) + 1,
    ...ourView(core, row, state, idOf<MemberId>(server.memberId)),
    membersHead: headOf(state.head),
  };
  return { row, server, state, header };
};

const mustAllow = (state: ChannelState, header: EventHeader, control: Control): void => {
  const why = judgeControl(state, { seq: state.seq + 1, header, control, bodyHash: ZERO_HASH });
  if (why !== undefined) throw refusal(why, control, header.sender);
};

const REASONS: Readonly<Record<string, string>> = {
  role: 'Your role in the channel does not allow this',
  'invite target': 'They are invited already',
  'ban banned': 'They are banned from the channel already',
  'unban target': 'They are not banned from the channel',
  'rotate key': 'An open channel has no key that could be changed',
  target: 'They are not in the channel',
  notMember: 'You are not in this channel',
  alreadyMember: 'They are in the channel already',
  banned: 'They are banned from the channel',
  notInvited: 'You need an invitation to this channel: ask somebody who is in it',
  full: 'The channel is full',
  lastOwner: 'The last owner cannot leave: make somebody else one first',
  'role lastOwner': 'The last owner stays one: make somebody else one first',
};

const OF_ONESELF: ReadonlySet<string> = new Set(['remove', 'ban', 'unban', 'mute', 'unmute', 'invite']);

const MYSELF = 'That is you, and nobody does this to themselves: who wants to go says sotto channel leave';

// What would change nothing: it is so already.
const IS_SO: ReadonlySet<string> = new Set(['invite target', 'ban banned', 'unban target']);

const refusal = (why: string, control: Control, me: MemberId): SottoError => {
  if (why === 'archived') return new SottoError('channel.archived', { details: { why } });
  const { op } = control;
  const refused = `${op} ${why}`;
  const isSo = why === 'alreadyMember' || IS_SO.has(refused);
  const isMe = OF_ONESELF.has(op) && 'member' in control && control.member === me;
  return new SottoError(isSo ? 'channel.unchanged' : 'event.refused', {
    message: isMe ? MYSELF : (REASONS[refused] ?? REASONS[why] ?? 'The channel does not allow this'),
    details: { why },
  });
};

/** Who signs here and now, having seen nothing. */
export const baseHeader = (server: ServerRow, id: Uint8Array): Omit<EventHeader, 'epoch' | 'n' | 'membersHead'> => ({
  id: idOf<EventId>(id),
  sender: idOf<MemberId>(server.memberId),
  device: idOf<DeviceId>(server.deviceId),
  seenSeq: 0,
  seenHash: ZERO_HASH.slice(0, 16),
  kind: EVENT.control,
});

/** Waits a little for the rate of a server, as the outbox does; who is too fast all the time is told. */
export const patiently = async <T>(core: Core, publish: () => Promise<T>): Promise<T> => {
  for (let left = RATE_MS_MAX; ; )
    try {
      return await publish();
    } catch (error) {
      const { code, details } = expectedError(error) ?? {};
      const wait =
        code === 'rate.limited' && typeof details?.retryAfterMs === 'number' ? details.retryAfterMs : left + 1;
      if (wait > left) throw error;
      left -= Math.max(wait, RATE_MS_MIN);
      await core.waits.until(() => false, Math.max(wait, RATE_MS_MIN));
    }
};
const RATE_MS_MIN = 50;
const RATE_MS_MAX = 5_000;

/** Publishes what is given its id by the server's clock; again, under another, when that is not what it was taken for. */
export const byItsTime = async <T>(publish: () => Promise<T>): Promise<T> => {
  for (let tries = 0; ; tries++)
    try {
      return await publish();
    } catch (error) {
      if (timeToldBy(error) === undefined || tries >= STALE_TRIES_MAX) throw error;
    }
};

/** Nothing can be done any more on a server that was left. */
export const serverLeft = ({ label }: ServerRow): SottoError =>
  new SottoError('server.unknown', { message: `You have left ${label}: sotto server join LINK` });
