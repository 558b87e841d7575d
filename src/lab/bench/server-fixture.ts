// A server's folder for measuring: its log filled without a connection, a member who may read all of it, and a full index.
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { makeDevice, readDeviceCertificate } from '../../crypto/member.ts';
import { ed25519Public, sha256 } from '../../crypto/primitives.ts';
import { EVENT_HEADER_BYTES } from '../../crypto/room-event.ts';
import { systemClock, systemRandom } from '../../machine.ts';
import { concat } from '../../protocol/bytes.ts';
import { type ChannelId, type EventId, idOf, SERVER_CHANNEL, timedId } from '../../protocol/ids.ts';
import { EVENT } from '../../protocol/server-frames.ts';
import type { Change } from '../../server/changes.ts';
import type { Draft } from '../../server/event-log.ts';
import { SERVER_SCHEMA } from '../../server/migrations.ts';
import { createServer, type ServerPaths, type ServerPorts, serverPaths } from '../../server/server-dir.ts';
import { ServerStore } from '../../server/server-store.ts';
import { seededRandom } from '../../testing/random.ts';
import type { Bench } from './figure.ts';
import { bodyOf } from './fixture.ts';

/** Events of the long log. */
export const LONG_EVENTS = 1_000_000;
/** Channels of the long log: the first has 40 % of it, the last ten events, the others the rest. */
const LONG_CHANNELS = 10;
const LONG_BATCH = 1_000;

const SERVER_SEED = sha256(Buffer.from('bench server'));
/** The key that the server of a fixture proves. */
export const SERVER_KEY = ed25519Public(SERVER_SEED);
const DEVICE_SEED = sha256(Buffer.from('bench device'));
const { member: MEMBER, certificate: CERTIFICATE } = makeDevice(sha256(Buffer.from('bench member')), SERVER_KEY, {
  seed: DEVICE_SEED,
  serial: 1,
});
/** What the one member of a fixture logs in with. */
export const DEVICE = { seed: DEVICE_SEED, certificate: CERTIFICATE };
export { MEMBER };

// Cryptographic randomness would be most of what is measured.
const random = seededRandom(1);

const ports: ServerPorts = {
  clock: systemClock,
  random: systemRandom,
  turn: () => new Promise((done) => setImmediate(done)),
};

/** The id of channel number `n` of a fixture. */
export const channelOf = (n: number): ChannelId => idOf<ChannelId>(sha256(Buffer.from(`channel ${n}`)).subarray(0, 16));

/** An id for an event of now. */
export const newEventId = (): EventId => timedId<EventId>(systemClock.now(), random.bytes(10));

/** A content in a channel, which nobody has to have signed: the log does not look. */
export const draftIn = (channel: ChannelId, body: Uint8Array<ArrayBuffer>, changes: readonly Change[] = []): Draft => ({
  channel,
  id: newEventId(),
  member: MEMBER,
  kind: EVENT.content,
  body,
  checkedAt: Number.MAX_SAFE_INTEGER,
  changes,
});

/** A server with one member, who is in `channels` open channels, in `dir`, opened. */
export const newServer = async (
  dir: string,
  channels: number,
  { encryptAtRest = false } = {},
): Promise<ServerStore> => {
  const paths = serverPaths(dir);
  const server = {
    name: 'bench',
    registration: 'open',
    serverKey: SERVER_SEED,
    encryptAtRest,
  } as const;
  createServer(paths, server, ports);
  const store = ServerStore.open(paths, ports);
  const body = new Uint8Array(100).fill(1);
  await store.log.append([draftIn(SERVER_CHANNEL, body, registration())]);
  for (let n = 0; n < channels; n++) await store.log.append([draftIn(channelOf(n), body, creation(n, body))]);
  return store;
};

const registration = (): Change[] => {
  const { memberKey, signingKey, signalKey, serial, device } = readDeviceCertificate(CERTIFICATE, SERVER_KEY);
  const person = { name: 'reader', skeleton: 'reader', role: 'owner', status: '', banned: false } as const;
  const keys = { signingKey, signalKey, certificate: CERTIFICATE, serial };
  return [
    { kind: 'member', row: { id: MEMBER, memberKey, ...person, joinedAt: 1, erasedAt: null } },
    { kind: 'device', row: { id: device, member: MEMBER, ...keys, addedAt: 1, revokedAt: null } },
  ];
};

const creation = (n: number, body: Uint8Array<ArrayBuffer>): Change[] => [
  {
    kind: 'channel',
    row: {
      id: channelOf(n),
      ...{ name: `c${n}`, skeleton: `c${n}`, encryption: 'open', isPrivate: false, history: 'all' },
      ...{ slowMs: 0, retentionMs: 0, archivedAt: null, createdBy: MEMBER, createdAt: 1 },
      creation: body,
    },
  },
  { kind: 'membership', row: { member: MEMBER, state: 'joined', role: 'owner', mutedUntil: 0 } },
];

/** The folder of a server with `events` events in LONG_CHANNELS channels, all of them in its index; built once and kept. */
export const longServer = async (bench: Bench, events: number): Promise<ServerPaths> => {
  const dir = join(bench.cacheDir, `bench-rooms-${SERVER_SCHEMA}-${events}`);
  if (existsSync(dir)) return serverPaths(dir);
  mkdirSync(bench.cacheDir, { recursive: true, mode: 0o700 });
  const building = `${dir}.building`;
  rmSync(building, { recursive: true, force: true });
  bench.say(`building a log of ${events.toLocaleString('en-GB')} events, once`);
  {
    await using store = await newServer(building, LONG_CHANNELS);
    const channels = Array.from({ length: LONG_CHANNELS }, (_, n) => channelOf(n));
    for (let done = 0; done < events; done += LONG_BATCH) {
      await store.log.append(Array.from({ length: LONG_BATCH }, (_, i) => longDraft(channels, done + i, events)));
      if (done % (events / 10) === 0) bench.say(`${Math.round((100 * done) / events)} %`);
    }
    bench.say('its index');
    for (const channel of channels) while (await store.search.fill(channel));
  }
  renameSync(building, dir);
  return serverPaths(dir);
};

const longDraft = (channels: readonly ChannelId[], i: number, events: number): Draft => {
  const [big, last] = [i % 10 < 4, i % Math.floor(events / 10) === 5];
  const channel = last ? LONG_CHANNELS - 1 : big ? 0 : 1 + (i % (LONG_CHANNELS - 2));
  return draftIn(channels[channel] ?? channelOf(0), textBody(bodyOf(i, random.fraction)));
};

/** A text as an event of an open channel, about 300 bytes: header, content, signature. */
const textBody = (text: string): Uint8Array<ArrayBuffer> => {
  const content = Buffer.from(JSON.stringify({ kind: 'text', text }));
  return concat([random.bytes(EVENT_HEADER_BYTES), content, random.bytes(64)]);
};
