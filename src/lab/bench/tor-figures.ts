// Figures over a private Tor network: delivery, start, files; two real daemons, and what Tor itself takes.
import { createHash, randomBytes } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { socksConnect } from '../../net/socks.ts';
import { VIRTUAL_PORT } from '../../protocol/limits.ts';
import type { Actor } from '../actor.ts';
import { deliveryParts } from './delivery-parts.ts';
import { type Figure, type Measured, quantile, short, timed } from './figure.ts';
import { bareService, bareTor, friends, TEXT, WAIT_MS, withNetwork } from './scene.ts';

const MIB = 1024 * 1024;

const delivered: Figure = {
  name: 'direct.delivered',
  unit: 'ms',
  doc: '100 characters: from the RPC line of `send --wait delivered` to its reply; both online, private Tor network',
  bound: { of: 'ratio', at: 'median', better: 'lower', limit: 1.3 },
  measure: (bench) =>
    withNetwork(bench, async (scene) => {
      const { alice } = await friends(scene);
      const floor = deliveryParts(bench);
      await floor.begin();
      const samples: { ours: number; trip: number; floor: number }[] = [];
      for (let i = -5; i < bench.runs * SAMPLES_A_LINK; i++) {
        if (i > 0 && i % SAMPLES_A_LINK === 0) await relink(alice, 'bob');
        const { rttMs: trip } = await alice.call('contact.ping', { contact: 'bob' });
        const ours = await timed(() =>
          alice.call('message.send', { conversation: 'bob', text: TEXT, wait: 'delivered', timeoutMs: WAIT_MS }),
        );
        const alone = await floor.alone(trip);
        if (i >= 0) samples.push({ ours, trip, floor: trip + alone });
      }
      floor.end();
      const values = samples.map((one) => one.ours);
      const trips = samples.map((one) => one.trip);
      return {
        values,
        floor: {
          name: 'bare trip + two libsignal steps + three transactions, each alone',
          values: samples.map((one) => one.floor),
        },
        note: `bare trip ${short(quantile(trips, 0.5))} ms, difference ${short(quantile(values, 0.5) - quantile(trips, 0.5))} ms (wanted ≤ 6); p90 ${short(quantile(values, 0.9))}, p99 ${short(quantile(values, 0.99))}`,
      };
    }),
};

// Where a path goes over one connection of relays twice, the second cell waits 40 ms for the first one's acknowledgement: every
// run has a path of its own.
const SAMPLES_A_LINK = 12;

const relink = async (alice: Actor, contact: string): Promise<void> => {
  await alice.call('contact.block', { contact });
  await alice.call('contact.unblock', { contact });
  await alice.call('message.send', { conversation: contact, text: TEXT, wait: 'delivered', timeoutMs: WAIT_MS });
};

const backlogDay: Figure = {
  name: 'receive.day',
  unit: 's',
  doc: 'waiting messages after a day offline, from the start of the daemon until the last is committed and acknowledged',
  bound: { of: 'value', at: 'median', better: 'lower', limit: 60 },
  measure: (bench) =>
    withNetwork(bench, async (scene) => {
      const count = bench.quick ? 1_000 : 10_000;
      const { alice, bob } = await friends(scene);
      await bob.stop();
      for (let i = 0; i < count; i += 50)
        await Promise.all(
          Array.from({ length: 50 }, (_, n) =>
            alice.call('message.send', { conversation: 'bob', text: `${TEXT} ${i + n}` }),
          ),
        );
      const startedAt = performance.now();
      await bob.start();
      await bob.call('status.wait', { until: 'online', timeoutMs: WAIT_MS });
      const onlineAt = performance.now();
      const answers: number[] = [];
      for (let left = count; left > 0; ) {
        answers.push(await timed(() => bob.call('message.list', { conversation: 'alice', limit: 50 })));
        left = (await alice.call('status.show', {})).outboxDepth;
        await new Promise((done) => setTimeout(done, 50));
      }
      const whole = (performance.now() - startedAt) / 1000;
      const { messages } = await bob.call('message.list', { conversation: 'alice', limit: 5_000 });
      const bodies = messages.map((message) => message.body).filter((body) => body.startsWith(`${TEXT} `));
      const inOrder = bodies.every((body, i) => body === `${TEXT} ${count - bodies.length + i}`);
      if (!inOrder) throw new Error('the messages are not in order');
      return {
        values: [whole],
        note: `${count} messages, in order; Tor took ${short((onlineAt - startedAt) / 1000)} s of it; RPC of the receiver meanwhile p50 ${short(quantile(answers, 0.5))} ms, p99 ${short(quantile(answers, 0.99))} ms (wanted ≤ 50)`,
      };
    }),
};

const torStart: Figure = {
  name: 'tor.start',
  unit: 'ms',
  doc: 'from the start of the daemon until it is reachable, beside Tor alone with the same configuration',
  bound: { of: 'ratio', at: 'median', better: 'lower', limit: 1.1 },
  measure: (bench) =>
    withNetwork(bench, async (scene) => {
      const runs = Math.max(3, Math.ceil(bench.runs / 2));
      const [values, floor]: [number[], number[]] = [[], []];
      for (let i = 0; i < runs; i++) {
        values.push(await timed(() => scene.actor(`a${i}`)));
        const startedAt = performance.now();
        await using _bare = await bareTor(scene, `bare${i}`, (socket) => socket.destroy());
        floor.push(performance.now() - startedAt);
      }
      return { values, floor: { name: 'Tor alone', values: floor } };
    }),
};

const fileTor: Figure = {
  name: 'file.tor',
  unit: 'MiB/s',
  doc: 'a file over Tor, saved and checked, beside a bare onion stream of the same size',
  bound: { of: 'ratio', at: 'median', better: 'higher', limit: 0.8 },
  measure: (bench) =>
    withNetwork(bench, async (scene): Promise<Measured> => {
      const bytes = (bench.quick ? 4 : 32) * MIB;
      const { alice, bob } = await friends(scene);
      const source = join(bench.dir, 'source');
      writeFileSync(source, randomBytes(bytes));
      // The guards of two Tors are chosen once: with others the floor would be that of another way.
      await using service = await bareService(alice, join(bench.dir, 'bare'), (socket) => sendBytes(socket, bytes));
      const [values, floor]: [number[], number[]] = [[], []];
      for (let i = 0; i < Math.max(3, bench.runs - 2); i++) {
        const path = join(bench.dir, `saved${i}`);
        // A link keeps the way through the relays that it has begun with, and a bare stream takes another one each time: so does this.
        await bob.stop();
        await bob.start();
        await bob.call('status.wait', { until: 'reachable', timeoutMs: WAIT_MS });
        const sent = await alice.call('file.send', { conversation: 'bob', path: source });
        const file = await bob.until('the offer', async () =>
          (await bob.call('file.list', { conversation: 'alice' })).find((one) => one.id === sent.file.id),
        );
        const took = await timed(() => bob.call('file.save', { id: file.id, path, wait: 'done', timeoutMs: 600_000 }));
        if (statSync(path).size !== bytes) throw new Error('the file is not whole');
        values.push((1000 * bytes) / MIB / took);
        const bare = await timed(() => readAll(bob.torSocket('socks'), service.address, bytes));
        floor.push((1000 * bytes) / MIB / bare);
      }
      return { values, floor: { name: 'a bare onion stream', values: floor }, note: `${bytes / MIB} MiB` };
    }),
};

const sendBytes = (socket: Socket, bytes: number): void => {
  const chunk = randomBytes(64 * 1024);
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const part = chunk.subarray(0, Math.min(left, chunk.length));
      left -= part.length;
      if (!socket.write(part)) return void socket.once('drain', more);
    }
    socket.end();
  };
  socket.on('error', () => {});
  more();
};

const readAll = async (socksPath: string, host: string, bytes: number): Promise<void> => {
  const stream = await socksConnect({
    socksPath,
    host,
    port: VIRTUAL_PORT,
    isolation: createHash('sha256').update(randomBytes(8)).digest('hex').slice(0, 16),
    signal: AbortSignal.timeout(WAIT_MS),
  });
  let got = 0;
  await new Promise<void>((done, fail) => {
    stream.on('data', (chunk: Buffer) => {
      got += chunk.length;
      if (got >= bytes) done();
    });
    stream.on('close', () => fail(new Error(`the stream ended after ${got} bytes`)));
    stream.resume();
  });
  stream.destroy();
};

/** Figures of this file. */
export const TOR_FIGURES: readonly Figure[] = [delivered, backlogDay, torStart, fileTor];
