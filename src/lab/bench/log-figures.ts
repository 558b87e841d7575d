// Figures of the log of rooms: appending beside the bare INSERT, and opening a long one.
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../../crypto/primitives.ts';
import { systemClock, systemRandom } from '../../machine.ts';
import { type ChannelId, type EventId, idBytes, idOf, type MemberId, timedId } from '../../protocol/ids.ts';
import type { Draft, EventLog } from '../../server/event-log.ts';
import { SERVER_SCHEMA } from '../../server/migrations.ts';
import { SCHEMA_1 } from '../../server/schema-1.ts';
import { createServer, type ServerPaths, type ServerPorts, serverPaths } from '../../server/server-dir.ts';
import { ServerStore } from '../../server/server-store.ts';
import { openDatabase } from '../../sqlite/open.ts';
import { seededRandom } from '../../testing/random.ts';
import { type Bench, type Figure, type Measured, quantile, short, timed } from './figure.ts';

const BATCH = 64;
const CHANNELS = 200;
/** What a text of 200 characters is as an event of a `members` channel: the sealed bucket of 1 KiB, and its envelope. */
const EVENT_BYTES = 1_100;
const SMALL_BYTES = 300;
const LONG_EVENTS = 1_000_000;
const LONG_CHANNELS = 10;
const LONG_BATCH = 1_000;
const PAGE = { events: 100, bytes: 1024 * 1024 };

const ports: ServerPorts = {
  clock: systemClock,
  random: systemRandom,
  turn: () => new Promise((done) => setImmediate(done)),
};
const channelOf = (n: number) => idOf<ChannelId>(sha256(Buffer.from(`channel ${n}`)).subarray(0, 16));
const MEMBER = idOf<MemberId>(new Uint8Array(16).fill(1));
// Cryptographic randomness would be most of what is measured.
const random = seededRandom(1);
const draftIn = (channel: ChannelId, body: Uint8Array<ArrayBuffer>): Draft => ({
  channel,
  id: timedId<EventId>(systemClock.now(), random.bytes(10)),
  member: MEMBER,
  kind: 1,
  body,
  checkedAt: Number.MAX_SAFE_INTEGER,
  changes: [],
});

/** A server with `channels` channels in `dir`, opened. */
const newServer = async (dir: string, channels: number): Promise<ServerStore> => {
  const paths = serverPaths(dir);
  const server = {
    name: 'bench',
    registration: 'open',
    serverKey: systemRandom.bytes(32),
    encryptAtRest: false,
  } as const;
  createServer(paths, server, ports);
  const store = ServerStore.open(paths, ports);
  for (let n = 0; n < channels; n++) await store.log.append([creation(n)]);
  return store;
};

const creation = (n: number): Draft => ({
  ...draftIn(channelOf(n), new Uint8Array(100).fill(1)),
  changes: [
    {
      kind: 'channel',
      row: {
        id: channelOf(n),
        ...{ name: `c${n}`, skeleton: `c${n}`, encryption: 'members', isPrivate: false, history: 'joined' },
        ...{ slowMs: 0, retentionMs: 0, archivedAt: null, createdBy: MEMBER, createdAt: 1 },
        creation: new Uint8Array(100).fill(1),
      },
    },
  ],
});

type Sample = { readonly perSecond: number; readonly cpuUs: number };

/** Runs `commit` of BATCH events `count` times; events per second, and CPU of one. */
const sample = async (count: number, commit: () => Promise<unknown> | unknown): Promise<Sample> => {
  const before = process.cpuUsage();
  const ms = await timed(async () => {
    for (let i = 0; i < count; i++) await commit();
  });
  const { user, system } = process.cpuUsage(before);
  const events = count * BATCH;
  return { perSecond: (events * 1000) / ms, cpuUs: (user + system) / events };
};

/** The same rows by the same statement in the same transactions, and nothing else. */
const bareInsert = (path: string, body: Uint8Array<ArrayBuffer>) => {
  const db = openDatabase(path);
  db.exec(SCHEMA_1);
  const seqs = new Map<number, number>();
  const member = idBytes(MEMBER);
  const hash = sha256(body);
  let at = 0;
  const channels = Array.from({ length: CHANNELS }, (_, n) => idBytes(channelOf(n)));
  const commit = () =>
    db.transaction(() => {
      for (let i = 0; i < BATCH; i++) {
        const n = at++ % CHANNELS;
        const seq = (seqs.get(n) ?? 0) + 1;
        seqs.set(n, seq);
        db.run(
          'INSERT INTO event (channel, seq, id, member, kind, at, hash, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
          channels[n] ?? member,
          seq,
          idBytes(timedId<EventId>(systemClock.now(), random.bytes(10))),
          member,
          1,
          1,
          hash,
          body,
        );
      }
    });
  return { commit, [Symbol.dispose]: () => db[Symbol.dispose]() };
};

const measureAppend = async (bench: Bench): Promise<Measured> => {
  const sizes = [EVENT_BYTES, SMALL_BYTES];
  const commits = bench.quick ? 100 : 500;
  const all = new Map<number, { log: Sample[]; bare: Sample[] }>();
  for (const size of sizes) {
    const body = systemRandom.bytes(size);
    await using store = await newServer(join(bench.dir, `log-${size}`), CHANNELS);
    using bare = bareInsert(join(bench.dir, `bare-${size}`), body);
    let at = 0;
    const append = () =>
      store.log.append(Array.from({ length: BATCH }, () => draftIn(channelOfNumber(at++ % CHANNELS), body)));
    const samples = { log: [] as Sample[], bare: [] as Sample[] };
    for (let run = -1; run < bench.runs; run++) {
      const [one, two] = [await sample(commits, append), await sample(commits, bare.commit)];
      if (run < 0) continue;
      samples.log.push(one);
      samples.bare.push(two);
    }
    all.set(size, samples);
  }
  const { log = [], bare = [] } = all.get(EVENT_BYTES) ?? {};
  const middle = (samples: readonly Sample[], of: keyof Sample) =>
    quantile(
      samples.map((one) => one[of]),
      0.5,
    );
  const small = all.get(SMALL_BYTES);
  return {
    values: log.map(({ perSecond }) => perSecond),
    floor: { name: 'the same INSERT alone', values: bare.map(({ perSecond }) => perSecond) },
    note: `bodies of ${EVENT_BYTES} bytes, ${CHANNELS} channels in turn, synchronous = FULL: ${short(middle(log, 'cpuUs'))} µs CPU an event, bare ${short(middle(bare, 'cpuUs'))}; bodies of ${SMALL_BYTES}: ${short(middle(small?.log ?? [], 'perSecond'))}/s and ${short(middle(small?.log ?? [], 'cpuUs'))} µs, bare ${short(middle(small?.bare ?? [], 'perSecond'))}/s and ${short(middle(small?.bare ?? [], 'cpuUs'))} µs`,
  };
};

const CHANNEL_IDS = Array.from({ length: CHANNELS }, (_, n) => channelOf(n));
const channelOfNumber = (n: number): ChannelId => CHANNEL_IDS[n] ?? channelOf(n);

const append: Figure = {
  name: 'log.append',
  unit: 'events/s',
  doc: 'events appended to the log of rooms, 64 a commit, each commit durable',
  bound: { of: 'value', at: 'median', better: 'higher', limit: 30_000 },
  measure: measureAppend,
};

const appendRatio: Figure = {
  name: 'log.append.ratio',
  unit: 'events/s',
  doc: 'the same beside the same INSERT alone',
  bound: { of: 'ratio', at: 'median', better: 'higher', limit: 0.6 },
  measure: measureAppend,
};

/** A server's folder with a long log, built once and kept. */
const longServer = async (bench: Bench, events: number): Promise<ServerPaths> => {
  const dir = join(bench.cacheDir, `bench-server-${SERVER_SCHEMA}-${events}`);
  if (existsSync(dir)) return serverPaths(dir);
  mkdirSync(bench.cacheDir, { recursive: true, mode: 0o700 });
  const building = `${dir}.building`;
  rmSync(building, { recursive: true, force: true });
  bench.say(`building a log of ${events.toLocaleString('en-GB')} events, once`);
  {
    await using store = await newServer(building, LONG_CHANNELS);
    const body = systemRandom.bytes(SMALL_BYTES);
    for (let done = 0; done < events; done += LONG_BATCH) {
      await store.log.append(Array.from({ length: LONG_BATCH }, (_, i) => draftIn(channelOf(i % LONG_CHANNELS), body)));
      if (done % (events / 10) === 0) bench.say(`${Math.round((100 * done) / events)} %`);
    }
  }
  renameSync(building, dir);
  return serverPaths(dir);
};

/** Everything that a start needs of the log: heads, and the newest of each channel. */
const begin = async (log: EventLog): Promise<void> => {
  const channels = Array.from({ length: LONG_CHANNELS }, (_, n) => channelOf(n));
  const heads = await log.heads(channels);
  for (const { channel, seq } of heads) await log.readBack(channel, seq + 1, PAGE);
  const [first = channelOf(0)] = channels;
  await log.append([draftIn(first, new Uint8Array(SMALL_BYTES).fill(1))]);
};

const restart: Figure = {
  name: 'log.restart',
  unit: 'ms',
  doc: 'a log of 1,000,000 events: from opening the folder to the heads, the newest 100 of each channel, and an append',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 600 },
  measure: async (bench) => {
    const paths = await longServer(bench, bench.quick ? LONG_EVENTS / 10 : LONG_EVENTS);
    const values: number[] = [];
    for (let run = 0; run < bench.runs; run++) {
      let store: ServerStore | undefined;
      values.push(
        await timed(async () => {
          store = ServerStore.open(paths, ports);
          await begin(store.log);
        }),
      );
      await store?.[Symbol.asyncDispose]();
    }
    return { values, note: 'without the start of the program itself' };
  },
};

/** Figures of this file. */
export const LOG_FIGURES: readonly Figure[] = [append, appendRatio, restart];
