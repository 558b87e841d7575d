// Figures of the log of rooms: appending beside the bare INSERT, and a server's start with a long one.
import { join } from 'node:path';
import { sha256 } from '../../crypto/primitives.ts';
import { systemRandom } from '../../machine.ts';
import { idBytes } from '../../protocol/ids.ts';
import { SCHEMA_1 } from '../../server/schema-1.ts';
import type { ServerStore } from '../../server/server-store.ts';
import { openDatabase } from '../../sqlite/open.ts';
import { ServerProcess } from '../server-process.ts';
import { type Bench, type Figure, type Measured, quantile, short, timed } from './figure.ts';
import { channelOf, draftIn, LONG_EVENTS, longServer, MEMBER, newEventId, newServer } from './server-fixture.ts';

const BATCH = 64;
const CHANNELS = 200;
/** What a text of 200 characters is as an event of a `members` channel: the sealed bucket of 1 KiB, and its envelope. */
const EVENT_BYTES = 1_100;
const SMALL_BYTES = 300;

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
          idBytes(newEventId()),
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

/** Appends BATCH events of this body a commit, channel after channel. */
const appendTo = ({ log }: ServerStore, body: Uint8Array<ArrayBuffer>) => {
  let at = 0;
  return () => log.append(Array.from({ length: BATCH }, () => draftIn(channelOfNumber(at++ % CHANNELS), body)));
};

/** Samples of two ways in turn; the round before the first warms up. */
const inTurn = async (
  bench: Bench,
  one: () => Promise<unknown> | unknown,
  two: () => Promise<unknown> | unknown,
): Promise<readonly [Sample[], Sample[]]> => {
  const commits = bench.quick ? 100 : 500;
  const samples = [[], []] as [Sample[], Sample[]];
  for (let run = -1; run < bench.runs; run++) {
    const both = [await sample(commits, one), await sample(commits, two)] as const;
    if (run < 0) continue;
    samples[0].push(both[0]);
    samples[1].push(both[1]);
  }
  return samples;
};

const middle = (samples: readonly Sample[], of: keyof Sample): string =>
  short(
    quantile(
      samples.map((one) => one[of]),
      0.5,
    ),
  );
const ratesOf = (samples: readonly Sample[]): number[] => samples.map(({ perSecond }) => perSecond);

const measureAppend = async (bench: Bench): Promise<Measured> => {
  const beside = async (size: number) => {
    const body = systemRandom.bytes(size);
    await using store = await newServer(join(bench.dir, `log-${size}`), CHANNELS);
    using bare = bareInsert(join(bench.dir, `bare-${size}`), body);
    return await inTurn(bench, appendTo(store, body), bare.commit);
  };
  const [log, bare] = await beside(EVENT_BYTES);
  const [small, smallBare] = await beside(SMALL_BYTES);
  return {
    values: ratesOf(log),
    floor: { name: 'the same INSERT alone', values: ratesOf(bare) },
    note: `bodies of ${EVENT_BYTES} bytes, ${CHANNELS} channels in turn, synchronous = FULL: ${middle(log, 'cpuUs')} µs CPU an event, bare ${middle(bare, 'cpuUs')}; bodies of ${SMALL_BYTES}: ${middle(small, 'perSecond')}/s and ${middle(small, 'cpuUs')} µs, bare ${middle(smallBare, 'perSecond')}/s and ${middle(smallBare, 'cpuUs')} µs`,
  };
};

const measureEncrypted = async (bench: Bench): Promise<Measured> => {
  const body = systemRandom.bytes(EVENT_BYTES);
  await using sealed = await newServer(join(bench.dir, 'sealed'), CHANNELS, { encryptAtRest: true });
  await using plain = await newServer(join(bench.dir, 'plain'), CHANNELS);
  const [log, beside] = await inTurn(bench, appendTo(sealed, body), appendTo(plain, body));
  return {
    values: ratesOf(log),
    floor: { name: 'the same log without', values: ratesOf(beside) },
    note: `bodies of ${EVENT_BYTES} bytes, as in log.append: ${middle(log, 'cpuUs')} µs CPU an event, without ${middle(beside, 'cpuUs')}`,
  };
};

const CHANNEL_IDS = Array.from({ length: CHANNELS }, (_, n) => channelOf(n));
const channelOfNumber = (n: number) => CHANNEL_IDS[n] ?? channelOf(n);

const append: Figure = {
  name: 'log.append',
  unit: 'events/s',
  doc: 'events appended to the log of rooms, 64 a commit, each commit durable',
  bound: { of: 'value', at: 'median', better: 'higher', limit: 30_000 },
  measure: measureAppend,
  also: [
    {
      name: 'log.append.ratio',
      unit: 'events/s',
      doc: 'the same beside the same INSERT alone',
      bound: { of: 'ratio', at: 'median', better: 'higher', limit: 0.6 },
    },
  ],
};

const encrypted: Figure = {
  name: 'log.append.encrypted',
  unit: 'events/s',
  doc: 'the same with `--encrypt-at-rest`, beside a log without it',
  measure: measureEncrypted,
};

const restart: Figure = {
  name: 'log.restart',
  unit: 'ms',
  doc: 'a log of 1,000,000 events: from the start of `sotto serve` until it says that it is ready',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 600 },
  measure: async (bench) => {
    const { dir } = await longServer(bench, bench.quick ? LONG_EVENTS / 10 : LONG_EVENTS);
    const values: number[] = [];
    for (let run = -1; run < bench.runs; run++) {
      const startedAt = performance.now();
      const server = new ServerProcess(dir);
      await server.start();
      if (run >= 0) values.push(performance.now() - startedAt);
      await server.stop();
    }
    return { values };
  },
};

/** Figures of this file. */
export const LOG_FIGURES: readonly Figure[] = [append, encrypted, restart];
