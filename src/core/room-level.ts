// Brings a server's inbox and channels level once we are logged in: what came while we were away is fetched and taken, in its order.
import { expectedError } from '../protocol/errors.ts';
import { idOf } from '../protocol/ids.ts';
import type { Answer } from '../protocol/server.ts';
import { listChannels } from '../store/channels.ts';
import { countPending } from '../store/room-events.ts';
import { patchServer, type ServerRow } from '../store/servers.ts';
import { type Core, commit, detach } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { isOfServer } from './room-faults.ts';
import { resumeChannels, shutOut } from './room-history.ts';
import { mayMiss } from './room-inbox.ts';
import { levelMarks } from './room-notices.ts';
import { retryPending } from './room-pending.ts';
import { learnMembers } from './room-people.ts';

// So many cursors fit into a message.
const CHANNELS_AT_ONCE = 500;

type Head = Answer<'login'>['inbox'];

/** Takes what was missed in channels, and is told live from there on. Throws `server.*`, `rate.limited`. */
export const levelChannels = async (core: Core, connection: RoomConnection): Promise<void> => {
  const ours = listChannels(core.db, connection.serverId).filter(({ state }) => state === 'joined');
  for (let at = 0; at < ours.length; at += CHANNELS_AT_ONCE) {
    const some = ours.slice(at, at + CHANNELS_AT_ONCE);
    const level = await resumeChannels(core, connection, some);
    await connection.taken();
    for (const { id } of some) if (!level.has(id)) await levelChannel(core, connection, id);
  }
  // Keys that came just before the program died have opened nothing yet.
  for (const { id } of ours) if (countPending(core.db, id) > 0) await retryPending(core, connection, id);
  await connection.meet();
  // What a long channel lacks since it was begun to be entered.
  for (const { id, state } of listChannels(core.db, connection.serverId))
    if (state === 'joining') connection.background.fetch(id);
  // Also of channels that we are in no more.
  await levelMarks(core, connection);
  // What others have shown may be much, and wrong.
  detach(core, connection.look());
};

type Cursor = [number, number, string | null];

/** Takes what came into our inbox: keys for channels come before what they open. Throws `server.*`, `rate.limited`. */
export const levelInbox = async (core: Core, connection: RoomConnection, head: Head): Promise<void> => {
  const { row } = connection;
  // Which devices I have besides this one: what I do is told to them, too.
  await learnMembers(core, connection, [idOf(row.memberId)]);
  const inbox = idOf(row.memberId);
  const cursor: Cursor = row.inboxSeq === 0 ? [head.epoch, 0, null] : cursorOf(row);
  const { channels } = await connection.request('resume', { cursors: { [inbox]: cursor } });
  const resumed = channels[inbox];
  if (resumed !== undefined && !resumed.recovered) await readInboxAgain(core, connection, resumed.head);
  await connection.taken();
};

const cursorOf = ({ epoch, inboxSeq, inboxId }: ServerRow): Cursor => [
  epoch,
  inboxSeq,
  inboxId === null ? null : idOf(inboxId),
];

// The inbox is another one, or has lost what came since: what it has is read, and what we have had does not count again.
const readInboxAgain = async (core: Core, connection: RoomConnection, head: Head): Promise<void> => {
  const { visit } = connection;
  const inbox = idOf(connection.row.memberId);
  const from = head.prunedTo;
  visit.isReadingInbox = true;
  await core.queue.call(() =>
    commit(core, (changes) => {
      patchServer(core.db, connection.serverId, { epoch: head.epoch, inboxSeq: from, inboxId: null });
      mayMiss(core, changes, connection.row);
    }),
  );
  for (let after = from; after < head.seq; ) {
    const { events } = await connection.client.events('log.page', { channel: inbox, after });
    await connection.take(events);
    after = events.at(-1)?.seq ?? head.seq;
  }
  await connection.request('resume', { cursors: { [inbox]: cursorOf(connection.row) } });
  await connection.taken();
  visit.isReadingInbox = false;
};

/**
 * Brings one channel level, or notes what is wrong with it: others go on, and one that ended while we were away has ended here.
 * Throws `server.*`, `rate.limited`, and anything once the connection is another.
 */
export const levelChannel = async (core: Core, connection: RoomConnection, channelRow: number): Promise<void> => {
  const { visit } = connection;
  try {
    await openOrEnd(core, connection, channelRow);
  } catch (error) {
    const known = expectedError(error);
    if (known === undefined || !connection.isOn(visit) || isOfServer(known)) throw error;
    visit.faults.set(channelRow, known);
    core.log.warn('channel.fault', { code: known.code });
  }
};

const openOrEnd = async (core: Core, connection: RoomConnection, channelRow: number): Promise<void> => {
  const { visit } = connection;
  try {
    await connection.open(channelRow);
  } catch (error) {
    const code = connection.isOn(visit) ? expectedError(error)?.code : undefined;
    if (code === 'channel.banned') return shutOut(core, connection, channelRow, 'banned');
    if (code === 'channel.notMember' || code === 'channel.unknown')
      return shutOut(core, connection, channelRow, 'removed');
    throw error;
  }
};
