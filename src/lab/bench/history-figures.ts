// Figures of a long history in rooms: pages and full text from the server, and what the daemon keeps of an encrypted channel.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { Worker } from 'node:worker_threads';
import { accountPaths, placesOf } from '../../client/paths.ts';
import { ServerClient } from '../../core/server-client.ts';
import { serverCertificate } from '../../crypto/server-certificate.ts';
import { openAccountDatabase, openAccountVault } from '../../daemon/account-dir.ts';
import { systemClock, systemRandom } from '../../machine.ts';
import { serverNetwork } from '../../net/server-network.ts';
import { idBytes } from '../../protocol/ids.ts';
import { DAY_MS } from '../../protocol/limits.ts';
import type { ParamsIn } from '../../protocol/rpc.ts';
import type { RequestParamsIn } from '../../protocol/server.ts';
import type { LogEvent } from '../../protocol/server-frames.ts';
import type { ServerPaths } from '../../server/server-dir.ts';
import { openDatabase } from '../../sqlite/open.ts';
import { searchMessages } from '../../store/search.ts';
import { ServerProcess } from '../server-process.ts';
import { type Bench, type Figure, type Measured, quantile, short, Times, timed } from './figure.ts';
import { CHANNEL, ROOM_DAYS, roomFixture } from './room-fixture.ts';
import { channelOf, DEVICE, LONG_EVENTS, longServer, SERVER_KEY } from './server-fixture.ts';
import { unreadTimes, withDaemon } from './store-figures.ts';

const PAGE = 100;
const HITS = 50;
/** Pages, or searches of one kind, in a run. */
const A_RUN = 20;
/** Between two requests: a member may ask 50 times a second. */
const PAUSE_MS = 21;
/** Many more searches than a member may make. */
const RATES = `[rates]\nsearch = { burst = 100000, perHour = 100000 }\n`;
/** Pages after which both programs are as fast as they become. */
const WARM_PAGES = 200;
const LATER = Number.MAX_SAFE_INTEGER;

const sizeOf = (bench: Bench): number => (bench.quick ? LONG_EVENTS / 10 : LONG_EVENTS);
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Milliseconds of one of three steps in turn, after a rest: what a machine forgets meanwhile, and its waking, is in all of them. */
const rested = async (step: () => Promise<unknown> | unknown): Promise<number> => {
  await pause(PAUSE_MS / 3);
  return timed(step);
};

type Reader = {
  readonly page: (n: number) => Promise<readonly LogEvent[]>;
  readonly search: (params: Omit<RequestParamsIn<'log.search'>, 'limit'>) => Promise<readonly LogEvent[]>;
};

/** `sotto serve` in a fixture's folder and a member who is logged in, while `body` measures. */
const withServer = async <T>({ dir }: ServerPaths, body: (reader: Reader) => Promise<T>): Promise<T> => {
  writeFileSync(join(dir, 'server.toml'), RATES);
  const server = new ServerProcess(dir);
  const { url } = await server.start();
  try {
    const client = await ServerClient.open({
      network: serverNetwork({ clock: systemClock, random: systemRandom, tor: () => false }),
      target: { origin: url, serverKey: SERVER_KEY, trust: 'pinned' },
      clock: systemClock,
      random: systemRandom,
      events: { event: () => {}, notice: () => {}, closed: () => {} },
    });
    await client.login(DEVICE);
    const ask = async (asked: ReturnType<typeof client.events>) => (await asked).events;
    return await body({
      page: (n) => ask(client.events('log.page', { channel: channelOf(n), before: LATER, limit: PAGE })),
      search: (params) => ask(client.events('log.search', { ...params, limit: HITS })),
    });
  } finally {
    await server.stop();
  }
};

// The same kind of connection, whose other end is on another thread and answers every message with so many bytes.
const ECHO = `
const { createServer } = require('node:tls');
const { parentPort, workerData: { bytes, cert, key } } = require('node:worker_threads');
const answer = Buffer.alloc(bytes, 1);
const server = createServer({ cert, key }, (socket) => {
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('data', () => socket.write(answer));
});
server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;

/** Gives a function that asks for `bytes` bytes and resolves when they are here. */
const openEcho = async (bytes: number) => {
  const worker = new Worker(ECHO, { eval: true, workerData: { bytes, ...serverCertificate(systemRandom.bytes(32)) } });
  const port = await new Promise<number>((done) => worker.once('message', done));
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  socket.setNoDelay(true);
  let [got, come] = [0, (): void => {}];
  socket.on('data', (chunk: Buffer) => {
    got += chunk.length;
    if (got >= bytes) come();
  });
  await new Promise<void>((done) => socket.once('secureConnect', done));
  return {
    ask: () =>
      new Promise<void>((done) => {
        got = 0;
        come = done;
        socket.write(QUESTION);
      }),
    [Symbol.asyncDispose]: async () => {
      socket.destroy();
      await worker.terminate();
    },
  };
};
const QUESTION = Buffer.alloc(100, 1);
/** Of an event beside its body, as it travels. */
const EVENT_OVERHEAD = 100;

type Pages = { readonly ours: number[]; readonly floor: number[]; readonly query: number[] };

const measurePages = async (bench: Bench): Promise<Pages> => {
  const paths = await longServer(bench, sizeOf(bench));
  using db = openDatabase(paths.database);
  const query = (n: number) =>
    db.all<{ body: Uint8Array }>(
      `SELECT seq, id, member, kind, at, hash, body FROM event WHERE channel = ? AND seq < ? ORDER BY seq DESC LIMIT ${PAGE}`,
      idBytes(channelOf(n)),
      LATER,
    );
  const bytes = query(0).reduce((sum, { body }) => sum + body.length + EVENT_OVERHEAD, 0);
  await using echo = await openEcho(bytes);
  const pages: Pages = { ours: [], floor: [], query: [] };
  await withServer(paths, async (reader) => {
    for (let i = -WARM_PAGES; i < bench.runs * A_RUN; i++) {
      const n = (i + WARM_PAGES) % 9;
      const ours = await rested(() => reader.page(n));
      const asked = await rested(() => query(n));
      const echoed = await rested(() => echo.ask());
      if (i < 0) continue;
      pages.ours.push(ours);
      pages.query.push(asked);
      pages.floor.push(asked + echoed);
    }
  });
  return pages;
};

const toldOf = ({ ours, floor, query }: Pages): string => {
  const at = (values: readonly number[], share: number) => short(quantile(values, share));
  return `${ours.length} pages, one at a time: p50 ${at(ours, 0.5)}, p95 ${at(ours, 0.95)}, p99 ${at(ours, 0.99)}; bare query p50 ${at(query, 0.5)}, with the echo p95 ${at(floor, 0.95)}`;
};

const last100: Figure = {
  name: 'history.last100',
  unit: 'ms',
  doc: 'the last 100 events of a channel, log of 1,000,000: from the request to the last event, beside the bare query and an echo of the same bytes',
  bound: { of: 'ratio', at: 'median', better: 'lower', limit: 2 },
  measure: async (bench) => {
    const pages = await measurePages(bench);
    return {
      values: pages.ours,
      floor: { name: 'the bare query, and an echo of the same bytes', values: pages.floor },
      note: toldOf(pages),
    };
  },
};

const last100p95: Figure = {
  name: 'history.last100.p95',
  unit: 'ms',
  doc: 'the 95th percentile of the same, nobody else asking',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 2 },
  measure: async (bench) => {
    const pages = await measurePages(bench);
    return { values: [quantile(pages.ours, 0.95)], note: toldOf(pages) };
  },
};

const WORDS = { '50 %': 'common', '1 %': 'uncommon', '0.01 %': 'rare', both: 'common uncommon' };

type Search = readonly [name: string, params: Parameters<Reader['search']>[0]];

/** Channel 0 has 40 % of the events, channel 1 a twelfth, channel 9 ten. */
const searches = (channels: readonly number[], events: number): Search[] =>
  Object.entries(WORDS).flatMap(([share, query]) =>
    channels.flatMap((n): Search[] => [
      [`${share} in c${n}`, { channel: channelOf(n), query }],
      [`${share} in c${n} before`, { channel: channelOf(n), query, before: Math.floor(events / 50) }],
    ]),
  );

const search: Figure = {
  name: 'history.search',
  unit: 'ms',
  doc: 'full text of open channels on the server, newest first, 50 events, log of 1,000,000: from the request to the last event',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 10 },
  measure: async (bench) => {
    const events = sizeOf(bench);
    const paths = await longServer(bench, events);
    return withServer(paths, async (reader) => {
      const times = new Times();
      for (let round = -1; round < bench.runs; round++)
        for (const [name, params] of searches([0, 1, 9], events)) {
          await times.take(name, round, () => reader.search(params));
          await pause(PAUSE_MS);
        }
      return times.worst();
    });
  },
};

const searchCold: Figure = {
  name: 'history.search.cold',
  unit: 'ms',
  doc: 'the first search of a server that was just started',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 25 },
  measure: async (bench) => {
    const paths = await longServer(bench, sizeOf(bench));
    const times = new Times();
    for (let round = 0; round < bench.runs; round++)
      for (const [name, params] of searches([0], 0).filter(([, { before }]) => before === undefined))
        await withServer(paths, (reader) => times.take(name, round, () => reader.search(params)));
    return times.worst();
  },
};

const FILTERS = (): Readonly<Record<string, Partial<ParamsIn<'message.search'>>>> => ({
  '': {},
  in: { conversation: CHANNEL },
  'in, of a day': { conversation: CHANNEL, ...dayBack(100) },
  'in, long ago': { conversation: CHANNEL, before: String(Date.now() - 0.9 * ROOM_DAYS * DAY_MS) },
  'from me': { from: 'me' },
});
const dayBack = (days: number) => ({
  after: String(Date.now() - days * DAY_MS),
  before: String(Date.now() - (days - 1) * DAY_MS),
});

const searchDaemon: Figure = {
  name: 'history.search.daemon',
  unit: 'ms',
  doc: 'the daemon’s own full text of an encrypted channel of 1,000,000 events, newest first, 50 with snippets, RPC to reply',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 10 },
  measure: async (bench) =>
    withDaemon(await roomFixture(bench, sizeOf(bench)), async (actor) => {
      const times = new Times();
      for (let round = -1; round < bench.runs; round++)
        for (const [share, query] of Object.entries(WORDS))
          for (const [filter, more] of Object.entries(FILTERS())) {
            const name = `${share} ${filter}`.trim();
            await times.take(name, round, () => actor.call('message.search', { query, ...more, limit: HITS }));
          }
      return times.worst();
    }),
};

const searchDaemonCold: Figure = {
  name: 'history.search.daemon.cold',
  unit: 'ms',
  doc: 'the first of them on a database that was just opened: every page read and decrypted anew',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 25 },
  measure: async (bench) => {
    const paths = accountPaths(placesOf(await roomFixture(bench, sizeOf(bench)), process.env), 'alice', process.env);
    const key = await openAccountVault(paths, undefined);
    const times = new Times();
    for (let round = 0; round < bench.runs; round++)
      for (const [name, words] of Object.entries(WORDS)) {
        using db = openAccountDatabase(paths, key);
        await times.take(name, round, () =>
          searchMessages(db, { words, conversationId: 1, after: 0, before: LATER, limit: HITS }),
        );
      }
    return times.worst();
  },
};

const unread: Figure = {
  name: 'history.unread',
  unit: 'ms',
  doc: 'what is unread of a channel of 1,000,000 events, and the channel marked as read, RPC to reply',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 10 },
  measure: async (bench) => unreadTimes(bench, await roomFixture(bench, sizeOf(bench)), CHANNEL),
};

const rewind: Figure = {
  name: 'history.rewind',
  unit: 'ms',
  doc: 'a page of 100 of a channel of 1,000,000 events as it was at any time, and its topic and members then, RPC to reply',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 10 },
  measure: async (bench): Promise<Measured> =>
    withDaemon(await roomFixture(bench, sizeOf(bench)), async (actor) => {
      const times = new Times();
      for (let round = -1; round < bench.runs; round++)
        for (let i = 0; i < A_RUN; i++)
          // Each tenth of the year, at a time that was not asked for before.
          for (let tenth = 0; tenth < 10; tenth++) {
            const days = ROOM_DAYS * ((tenth + (i + 0.5 + (round + 1) / bench.runs) / (A_RUN + 2)) / 10);
            const at = Date.now() - Math.floor((1 + days) * DAY_MS);
            const asked = { conversation: CHANNEL, at, limit: PAGE };
            await times.take(`page, ${tenth}0 % back`, round, () => actor.call('message.list', asked));
            if (i % 4 === 0)
              await times.take(`channel, ${tenth}0 % back`, round, () =>
                actor.call('channel.show', { channel: CHANNEL, at }),
              );
          }
      return times.worst();
    }),
};

/** Figures of this file. */
export const HISTORY_FIGURES: readonly Figure[] = [
  last100,
  last100p95,
  search,
  searchCold,
  searchDaemon,
  searchDaemonCold,
  unread,
  rewind,
];
