// Figures of the link and of a daemon with many neighbours: sizes of writes, memory and work of long runs.
import { closeSync, ftruncateSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Actor } from '../actor.ts';
import { type Figure, type Measured, short } from './figure.ts';
import { type Neighbour, withNeighbours, withPair } from './neighbour.ts';
import { TEXT, WAIT_MS } from './scene.ts';

const MIB = 1024 * 1024;
// The bounds of memory are in these.
const MB = 1_000_000;
const NEIGHBOURS = 20;

const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

const oneCell: Figure = {
  name: 'direct.onecell',
  unit: 'bytes',
  doc: 'each write of a text of 200 characters, its acknowledgement and a ping: one Tor cell carries 498 bytes',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 498 },
  measure: async (bench) => {
    const writes: { by: 'one' | 'two'; bytes: number }[] = [];
    return await withPair(
      bench,
      (by, bytes) => writes.push({ by, bytes }),
      async (one) => {
        const sizesOf = async (step: () => Promise<unknown>): Promise<number[]> => {
          writes.length = 0;
          await step();
          await sleep(50);
          const [there, back] = writes;
          if (writes.length !== 2 || there?.by !== 'one' || back?.by !== 'two')
            throw new Error(`${writes.length} writes where two were expected`);
          return [there.bytes, back.bytes];
        };
        const text = { conversation: 'two', text: 'x'.repeat(200), wait: 'delivered', timeoutMs: WAIT_MS } as const;
        const [message = 0, ack = 0] = await sizesOf(() => one.call('message.send', text));
        const [ping = 0, pong = 0] = await sizesOf(() => one.call('contact.ping', { contact: 'two' }));
        return {
          values: [message, ack, ping, pong],
          note: `text ${message}, acknowledgement ${ack}, ping ${ping}, pong ${pong}: one write each`,
        };
      },
    );
  },
};

/** Clock ticks of 10 ms that a process has used. */
const ticksOf = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
};

/** Share of a core, in per cent, that a daemon takes while nothing happens, without its Tor. */
const restOf = async (alice: Actor, seconds: number): Promise<Measured> => {
  const { links, daemon } = await alice.call('status.show', {});
  const up = links.filter((link) => link.state === 'up').length;
  if (up !== NEIGHBOURS) throw new Error(`${up} links are up`);
  // What the handshakes left is collected some eight seconds after them: that is no rest yet.
  await sleep(20_000);
  const before = ticksOf(daemon.pid);
  await sleep(seconds * 1000);
  return { values: [(ticksOf(daemon.pid) - before) / seconds], note: `${up} links, ${seconds} s` };
};

/** Lets every neighbour send its share of `count` texts, 50 at a time, and waits until all are delivered. */
const flood = async (neighbours: readonly Neighbour[], count: number): Promise<void> => {
  const text = { conversation: 'alice', text: TEXT } as const;
  await Promise.all(
    neighbours.map(async (neighbour) => {
      for (let left = count / neighbours.length; left > 0; left -= 50) {
        for (let more = Math.min(50, left); more > 1; more--) await neighbour.call('message.send', text);
        // They arrive in order: with the last all are there.
        const last = { ...text, wait: 'delivered', timeoutMs: WAIT_MS } as const;
        const { reached } = await neighbour.call('message.send', last);
        if (!reached) throw new Error('a message was not delivered');
      }
    }),
  );
};

const rssOf = async (alice: Actor): Promise<number> => (await alice.call('status.show', {})).daemon.rssBytes / MB;

// One daemon for three figures: at rest, after the first flood, and after the tenth.
const growth: Figure = {
  name: 'daemon.memory.growth',
  unit: 'MB',
  doc: 'how much more memory the daemon has 10 s after the tenth 20,000 received messages than after the second',
  // Resident memory of one moment differs by a few MB from the next, even at rest.
  bound: { of: 'value', at: 'max', better: 'lower', limit: 5 },
  also: [
    {
      name: 'daemon.idle',
      unit: '% of a core',
      doc: 'a daemon with 20 quiet links, without its Tor, over 60 s',
      bound: { of: 'value', at: 'max', better: 'lower', limit: 0.2 },
    },
    {
      name: 'daemon.memory.received',
      unit: 'MB',
      doc: 'resident memory of the daemon a minute after it has received 20,000 messages',
      bound: { of: 'value', at: 'max', better: 'lower', limit: 140 },
    },
  ],
  measure: (bench) =>
    withNeighbours(bench, NEIGHBOURS, async (alice, neighbours) => {
      const rest = await restOf(alice, bench.quick ? 15 : 60);
      const [count, rounds] = bench.quick ? [1_000, 4] : [20_000, 10];
      const sizes: number[] = [];
      let received: Measured = { values: [] };
      for (let round = 0; round < rounds; round++) {
        await flood(neighbours, count);
        await sleep(bench.quick ? 1_000 : 10_000);
        sizes.push(await rssOf(alice));
        bench.say(`${count} × ${round + 1} received: ${short(sizes.at(-1) ?? 0)} MB`);
        if (round > 0) continue;
        await sleep(bench.quick ? 4_000 : 50_000);
        received = { values: [await rssOf(alice)], note: `${count} messages` };
      }
      return {
        values: [(sizes.at(-1) ?? 0) - (sizes[1] ?? 0)],
        note: sizes.map(short).join(', '),
        also: { 'daemon.idle': rest, 'daemon.memory.received': received },
      };
    }),
};

const SMALL_TRANSFERS = 6;

const fileMemory: Figure = {
  name: 'file.memory',
  unit: 'MB',
  doc: 'how far resident memory rises while 1 GiB goes from one account to another in one process, by a link in memory',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 20 },
  measure: (bench) =>
    withPair(
      bench,
      () => {},
      async (one, two) => {
        const transfer = async (bytes: number): Promise<number> => {
          const path = join(bench.dir, `sparse-${bytes}`);
          const file = openSync(path, 'wx', 0o600);
          ftruncateSync(file, bytes);
          closeSync(file);
          const { file: offered } = await one.call('file.send', { conversation: 'two', path });
          const id = await two.until('the offer', async () =>
            (await two.call('file.list', { conversation: 'one' })).some((known) => known.id === offered.id)
              ? offered.id
              : undefined,
          );
          let most = 0;
          const look = setInterval(() => {
            most = Math.max(most, process.memoryUsage.rss());
          }, 100);
          const saved = `${path}.saved`;
          const { reached } = await two.call('file.save', { id, path: saved, wait: 'done', timeoutMs: 900_000 });
          clearInterval(look);
          if (!reached || statSync(saved).size !== bytes) throw new Error('the file is not whole');
          return most / MB;
        };
        // The first transfers fill what is kept for all: pools of buffers, compiled code.
        let small = 0;
        for (let i = 0; i < SMALL_TRANSFERS; i++) small = Math.max(small, await transfer(64 * MIB + i));
        const bytes = (bench.quick ? 256 : 1024) * MIB;
        const startedAt = performance.now();
        const large = await transfer(bytes);
        const rate = bytes / MIB / ((performance.now() - startedAt) / 1000);
        return {
          values: [large - small],
          note: `64 MiB: ${short(small)} MB at most; ${bytes / MIB} MiB: ${short(large)} MB at most, ${short(rate)} MiB/s`,
        };
      },
    ),
};

/** Figures of this file. */
export const WIRE_FIGURES: readonly Figure[] = [oneCell, growth, fileMemory];
