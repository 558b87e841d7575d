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
import { deleteRoomText } from '../../src/core/room-messages.ts';
import { enqueueRoom, newEventId } from '../../src/core/room-outbox.ts';
import { Receipts } from '../../src/core/room-receipts.ts';
import { RoomSender } from '../../src/core/room-send.ts';
import { publishDirect } from '../../src/core/room-sessions.ts';
import { newVisit } from '../../src/core/room-visit.ts';
import { type ErrorCode, SottoError } from '../../src/protocol/errors.ts';
import { type DeviceId, type EventId, idBytes, idOf, timedId } from '../../src/protocol/ids.ts';
import { EVENT_BODY_BYTES_MAX, OUTBOX_FRAMES_MAX } from '../../src/protocol/limits.ts';
import { encodeEnvelopes } from '../../src/protocol/room-direct.ts';
import { EVENT } from '../../src/protocol/server-frames.ts';
import { type Database, openDatabase } from '../../src/sqlite/open.ts';
import { patchChannel, putChannel } from '../../src/store/channels.ts';
import { getConversation, putConversation } from '../../src/store/conversations.ts';
import { getFile, patchFile, putFile } from '../../src/store/files.ts';
import { putMember } from '../../src/store/members.ts';
import { getMessage, putMessage } from '../../src/store/messages.ts';
import { migrate } from '../../src/store/migrations.ts';
import { countRoomOutbox, listRoomOutboxHeads, removeRoomOutbox } from '../../src/store/room-outbox.ts';
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
let kinds: number[];
/** Happens while something is sealed. */
let whileSealing: () => void;
let whenOpened: () => void;

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
  kinds = [];
  whileSealing = () => {};
  whenOpened = () => {};
  const publish = async ({ channel, kind }: { readonly channel: string; readonly kind: number }) => {
    kinds.push(kind);
    const n = Number.parseInt(channel.slice(0, 2), 16);
    asked.push([Math.round(clock.monotonic() / SECOND), n]);
    const error = answers.get(n);
    if (error !== undefined) throw error;
    return { seq: asked.length, epoch: 1, at: clock.now() };
  };
  const connection = {
    state: 'online',
    serverId,
    visit: newVisit(),
    get now() {
      return clock.now();
    },
    publish,
    open: async () => whenOpened(),
    request: async () => ({}),
  };
  const row = () => {
    whileSealing();
    return getServer(db, serverId);
  };
  Object.defineProperty(connection, 'row', { get: row });
  sender = new RoomSender(core, connection as unknown as RoomConnection);
  Object.assign(connection, { sender });
  Object.assign(core, {
    rooms: { connect: () => connection, get: () => connection },
    waits: { until: async () => true },
  });
});

afterEach(() => {
  db[Symbol.dispose]();
  rmSync(dir, { recursive: true });
});

const say = (
  n: number,
  more: { readonly eventId: Uint8Array<ArrayBuffer>; readonly messageRow?: number } = {
    eventId: newEventId(core, serverId),
  },
): void => {
  const channelRow = channels[n - 1] ?? 0;
  const changes = { at: clock.now(), flush: new Set() } as never;
  enqueueRoom(core, changes, { serverId, channelRow }, { kind: 'text', text: 'x' }, more);
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

test('what is for a full inbox waits, and is tried again every ten minutes', async () => {
  answers.set(1, error('inbox.full'));
  say(1);
  await after(1500);
  expect(asked.map(([at]) => at)).toEqual([0, 600, 1200]);
  answers.clear();
  await after(600);
  expect([asked.length, listRoomOutboxHeads(db, serverId)]).toEqual([4, []]);
});

test('receipts that find no room in the outbox are let go', async () => {
  const receipts = new Receipts(core, serverId);
  db.run(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${OUTBOX_FRAMES_MAX})
       INSERT INTO room_outbox (server_id, channel_row, event_id, kind, content, created_at, expires_at)
       SELECT ?, ?, randomblob(16), 1, x'00', 1, 1 FROM n`,
    serverId,
    channels[0] ?? 0,
  );
  receipts.add(1, 'ab'.repeat(16));
  await after(5);
  expect(countRoomOutbox(db, serverId)).toBe(OUTBOX_FRAMES_MAX);
});

const aMember = (): number =>
  putMember(db, {
    serverId,
    memberId: new Uint8Array(16).fill(2),
    memberKey: new Uint8Array(32),
    name: 'b',
    role: 'member',
    status: '',
    createdAt: 1,
  });

test('a receipt waits anything up to five seconds: it tells little about when I was there', async () => {
  const receipts = new Receipts(core, serverId);
  const memberRow = aMember();
  const waits: number[] = [];
  for (let n = 0; n < 20; n++) {
    const before = clock.monotonic();
    receipts.add(memberRow, n.toString().padStart(32, '0'));
    while (countRoomOutbox(db, serverId) === 0) await after(0.1);
    waits.push(clock.monotonic() - before);
    for (const { id } of listRoomOutboxHeads(db, serverId)) removeRoomOutbox(db, id);
  }
  expect(Math.min(...waits)).toBeLessThan(1_000);
  expect(Math.max(...waits)).toBeGreaterThan(4_000);
  expect(Math.max(...waits)).toBeLessThanOrEqual(5_000);
});

test('receipts that wait take one place, and what is read is not told to have come', async () => {
  const receipts = new Receipts(core, serverId);
  const id = (n: number) => n.toString().padStart(32, '0');
  const memberRow = aMember();
  for (const n of [1, 2, 3]) {
    receipts.add(memberRow, id(n));
    if (n === 2) receipts.forget(memberRow, [id(2)]);
    await after(5);
  }
  const told = listRoomOutboxHeads(db, serverId).map(({ content }) => JSON.parse(Buffer.from(content).toString()));
  expect([told, countRoomOutbox(db, serverId)]).toEqual([
    [{ kind: 'receipt', targets: [id(1), id(3)], state: 'delivered' }],
    1,
  ]);
});

test('a file whose event is refused has failed with its message', async () => {
  const [channelRow = 0] = channels;
  const conversationId = putConversation(db, { uid: core.random.bytes(16), channelRow, createdAt: 1 });
  const eventId = newEventId(core, serverId);
  const [bytes, none] = [new Uint8Array(32), { unread: 0, replyTo: null, expiresMs: null, expiresAt: null }];
  const file = { conversationId, fileId: eventId, mine: 1, name: 'f', size: 1, key: bytes, root: bytes, blob: bytes };
  const fileId = putFile(db, { ...file, state: 'active', createdAt: 1 });
  patchFile(db, fileId, { chunks: 1 });
  const said = { conversationId, messageId: eventId, mine: 1, body: 'f', state: 'queued', sentAt: 1 } as const;
  const messageRow = putMessage(db, { ...said, ...none, receivedAt: null, expiresFrom: 'delivery', fileId });
  answers.set(1, error('event.refused'));
  say(1, { eventId, messageRow });
  await calm();
  const failed = { state: 'failed', reason: 'event.refused' };
  expect([getMessage(db, messageRow), getFile(db, fileId)]).toMatchObject([failed, failed]);
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

test('what is deleted while it is sealed has left: the server is told to erase it', async () => {
  const channelRow = channels[0] ?? 0;
  const conversationId = putConversation(db, { uid: core.random.bytes(16), channelRow, createdAt: 1 });
  const messageId = idBytes(timedId(clock.now(), core.random.bytes(10)));
  const rest = { unread: 0, replyTo: null, expiresMs: null, expiresFrom: 'delivery', expiresAt: null } as const;
  const said = { conversationId, messageId, mine: 1, body: 'x', state: 'queued', sentAt: 1, receivedAt: null } as const;
  const messageRow = putMessage(db, { ...said, ...rest, fileId: null });
  let deleted: Promise<unknown> | undefined;
  whileSealing = () => {
    const row = getMessage(db, messageRow);
    const conversation = getConversation(db, conversationId);
    if (row === undefined || conversation === undefined) throw new Error('they are there');
    whileSealing = () => {};
    deleted = deleteRoomText(core, row, conversation, false);
  };
  say(1, { eventId: messageId, messageRow });
  await calm();
  await deleted;
  expect(kinds).toEqual([EVENT.content, EVENT.control]);
});

test('what got no answer is looked for before its count is used again', async () => {
  const channelRow = channels[0] ?? 0;
  const lost = sender.between(channelRow, undefined, () => Promise.reject(error('server.unavailable')));
  expect(await lost.catch(({ code }) => code)).toBe('server.unavailable');
  // It came to the server all the same.
  whenOpened = () => patchChannel(db, channelRow, { sent: 1 });
  say(1);
  await calm();
  expect(db.get('SELECT n FROM room_outbox')).toEqual({ n: 2 });
});

test('a direct of several events waits for the rate where it is', async () => {
  let tokens = 2;
  Object.assign(core, { waits: { until: async () => tokens++ < 0 } });
  const ids: string[] = [];
  const publish = async ({ id }: { readonly id: string }) => {
    if (tokens === 0) throw new SottoError('rate.limited', { details: { retryAfterMs: 100 } });
    tokens--;
    ids.push(id);
    return { seq: ids.length, epoch: 1, at: clock.now() };
  };
  const connection = { publish } as unknown as RoomConnection;
  const ciphertext = new Uint8Array(EVENT_BODY_BYTES_MAX / 2);
  const to = Array.from({ length: 4 }, (_, n) => idOf<DeviceId>(new Uint8Array(16).fill(n)));
  const body = encodeEnvelopes(
    me.device,
    to.map((device) => ({ to: device, type: 2, ciphertext })),
  );
  const id = idOf<EventId>(newEventId(core, connection.serverId));
  const placed = await publishDirect(core, connection, { to: me.id, id, ttlSeconds: 0, body });
  expect([placed.seq, new Set(ids).size, ids[0]]).toEqual([4, 4, id]);
});
