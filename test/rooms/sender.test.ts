// The outbox of one server, with a server that answers as a test says and a clock that stands still.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stateToJson } from '../../src/core/channel-json.ts';
import type { Core } from '../../src/core/core.ts';
import { AccountQueue } from '../../src/core/queue.ts';
import type { RoomConnection } from '../../src/core/room-connection.ts';
import { enqueueRoom } from '../../src/core/room-outbox.ts';
import { RoomSender } from '../../src/core/room-send.ts';
import { type ErrorCode, SottoError } from '../../src/protocol/errors.ts';
import { idBytes, timedId } from '../../src/protocol/ids.ts';
import { type Database, openDatabase } from '../../src/sqlite/open.ts';
import { patchChannel, putChannel } from '../../src/store/channels.ts';
import { migrate } from '../../src/store/migrations.ts';
import { listRoomOutboxHeads, removeRoomOutbox } from '../../src/store/room-outbox.ts';
import { getServer, putServer } from '../../src/store/servers.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { SERVER_ID, TestChannel, testMember } from '../../src/testing/rooms.ts';

const me = testMember(1);
const SECOND = 1_000;

let dir: string;
let db: Database;
let clock: ManualClock;
let core: Core;
let serverId: number;
let sender: RoomSender;
let channels: number[];
/** When the server was asked, in seconds, and for which channel. */
let asked: [number, number][];
let answers: Map<number, SottoError>;
/** Happens while something is sealed. */
let whileSealing: () => void;

const channelAt = (n: number): number => {
  const made = new TestChannel();
  made.do(me, { op: 'create', name: `room${n}`, encryption: 'open', private: false, history: 'all' });
  const channelId = new Uint8Array(16).fill(n);
  const rest = { private: 0, history: 'all', state: 'joined', createdAt: 1 } as const;
  const row = putChannel(db, {
    serverId,
    channelId,
    hash: made.now.hash,
    name: `room${n}`,
    encryption: 'open',
    ...rest,
  });
  patchChannel(db, row, { membership: stateToJson(made.now) });
  return row;
};

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sotto-sender-'));
  db = openDatabase(join(dir, 'db'), new Uint8Array(32).fill(7));
  migrate(db);
  clock = new ManualClock();
  const random = seededRandom(1);
  const queue = new AccountQueue((error) => {
    throw error;
  });
  const given = { db, clock, random, queue, clockWatch: { look: () => false }, committed: () => {} };
  core = given as unknown as Core;
  serverId = putServer(db, {
    uid: new Uint8Array(16),
    label: 'home',
    serverKey: SERVER_ID as Uint8Array<ArrayBuffer>,
    origin: 'ws://127.0.0.1',
    trust: 'pinned',
    clearnet: 0,
    state: 'joined',
    invite: '',
    memberId: idBytes(me.id),
    memberName: 'me',
    deviceId: idBytes(me.device),
    deviceSeed: me.deviceSeed,
    certificate: me.certificate,
    createdAt: 1,
  });
  channels = [channelAt(1), channelAt(2)];
  asked = [];
  answers = new Map();
  whileSealing = () => {};
  const publish = async ({ channel }: { readonly channel: string }) => {
    const n = Number.parseInt(channel.slice(0, 2), 16);
    asked.push([Math.round(clock.monotonic() / SECOND), n]);
    const error = answers.get(n);
    if (error !== undefined) throw error;
    return { seq: asked.length, epoch: 1, at: clock.now() };
  };
  const connection = { state: 'online', serverId, client: { publish }, open: async () => {} };
  const row = () => {
    whileSealing();
    return getServer(db, serverId);
  };
  Object.defineProperty(connection, 'row', { get: row });
  sender = new RoomSender(core, connection as unknown as RoomConnection);
});

afterEach(() => {
  db[Symbol.dispose]();
  rmSync(dir, { recursive: true });
});

const say = (n: number): void => {
  const eventId = idBytes(timedId(clock.now(), core.random.bytes(10)));
  const channelRow = channels[n - 1] ?? 0;
  const changes = { at: clock.now(), flush: new Set() } as never;
  enqueueRoom(core, changes, { serverId, channelRow }, { kind: 'text', text: 'x' }, { eventId });
  sender.flush();
};

/** Lets all go on that does not wait for the clock. */
const calm = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await setImmediate();
};

const after = async (seconds: number): Promise<void> => {
  await calm();
  const until = clock.monotonic() + seconds * SECOND;
  while (clock.step(until)) await calm();
  clock.moveTo(until);
  await calm();
};

const error = (code: ErrorCode, details = {}) => new SottoError(code, { details });

test('a channel that waits for its time asks no earlier, whatever others do; delays double, up to a minute', async () => {
  answers.set(1, error('channel.slow', { retryAfterMs: 30 * SECOND }));
  answers.set(2, error('server.unavailable'));
  say(1);
  say(2);
  await after(10);
  say(1);
  sender.flush();
  await after(115);
  const times = (which: number) => asked.filter(([, n]) => n === which).map(([at]) => at);
  expect(times(1)).toEqual([0, 30, 60, 90, 120]);
  expect(times(2)).toEqual([0, 1, 3, 7, 15, 31, 63, 123]);
  answers.clear();
  await after(60);
  expect(listRoomOutboxHeads(db, serverId)).toEqual([]);
});

test('who stops tries nothing again', async () => {
  answers.set(1, error('server.unavailable'));
  say(1);
  await calm();
  sender.stop();
  await after(300);
  expect(asked).toEqual([[0, 1]]);
  expect(clock.next()).toBeUndefined();
});

test('what is taken back while it is sealed does not leave', async () => {
  whileSealing = () => {
    for (const { id } of listRoomOutboxHeads(db, serverId)) removeRoomOutbox(db, id);
  };
  say(1);
  await calm();
  expect(asked).toEqual([]);
});
