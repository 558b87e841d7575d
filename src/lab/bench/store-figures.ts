// Figures of the store: search, opening a conversation, the start and the memory of a daemon with a long history.

import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accountPaths, placesOf } from '../../client/paths.ts';
import { makeVault } from '../../crypto/vault.ts';
import { openAccountDatabase, openAccountVault } from '../../daemon/account-dir.ts';
import { DAY_MS } from '../../protocol/limits.ts';
import type { ParamsIn } from '../../protocol/rpc.ts';
import type { Database } from '../../sqlite/open.ts';
import { firstRowAt } from '../../store/message-pages.ts';
import { type SearchOptions, searchMessages } from '../../store/search.ts';
import { Actor } from '../actor.ts';
import { type Bench, type Figure, type Measured, quantile, short, Times, timed } from './figure.ts';
import { BIG_SHARE, FIXTURE_MESSAGES, largeFixture, makeOffline } from './fixture.ts';

const MB = 1_000_000;
const LIMIT = 50;

type Query = Omit<ParamsIn<'message.search'>, 'limit'>;

/** A query, and the share of all messages that it finds. */
type Asked = { readonly query: Query; readonly share: number };

const QUERIES = (): Readonly<Record<string, Asked>> => {
  const words: Readonly<Record<string, readonly [string, number]>> = {
    '50 %': ['common', 0.5],
    '1 %': ['uncommon', 0.01],
    '0.01 %': ['rare', 0.0001],
    both: ['common uncommon', 0.005],
  };
  const filters: Readonly<Record<string, readonly [Partial<Query>, number]>> = {
    '': [{}, 1],
    'in 400,000': [{ conversation: 'c1' }, BIG_SHARE],
    'in 10': [{ conversation: 'c2' }, 10 / FIXTURE_MESSAGES],
    'from me': [{ from: 'me' }, 0.5],
    'from c3': [{ from: 'c3' }, 0.01],
    'in a day': [{ after: String(Date.now() - 100 * DAY_MS), before: String(Date.now() - 99 * DAY_MS) }, 1 / 365],
    'in c1 before': [{ conversation: 'c1', before: String(Date.now() - 300 * DAY_MS) }, BIG_SHARE / 6],
  };
  const queries: [string, Asked][] = [];
  for (const [often, [query, ofAll]] of Object.entries(words))
    for (const [filter, [more, ofThose]] of Object.entries(filters))
      queries.push([`${often} ${filter}`.trim(), { query: { query, ...more }, share: ofAll * ofThose }]);
  return Object.fromEntries(queries);
};

// How many a query is to find before it can be said that it finds some: their number is one of chance.
const SURE = 5;

/** A search that finds nothing is fast, and measures nothing. */
const mustFind = (name: string, { share }: Asked, messages: number, found: number): void => {
  if (found === 0 && share * messages >= SURE)
    throw new Error(`"${name}" finds nothing, and should find about ${Math.round(share * messages)}`);
};

/** Runs the daemon of a fixture while `body` measures. */
export const withDaemon = async <T>(dir: string, body: (actor: Actor) => Promise<T>): Promise<T> => {
  const actor = new Actor(accountPaths(placesOf(dir, process.env), 'alice', process.env), dir);
  await actor.start();
  try {
    return await body(actor);
  } finally {
    await actor.stop();
    actor.close();
  }
};

const sizeOf = (bench: Bench): number => (bench.quick ? FIXTURE_MESSAGES / 10 : FIXTURE_MESSAGES);

const searchWarm: Figure = {
  name: 'search.warm',
  unit: 'ms',
  doc: 'RPC to reply, newest first, 50 with snippets, every filter, 1,000,000 messages',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 10 },
  measure: async (bench) =>
    withDaemon(await largeFixture(bench, sizeOf(bench)), async (actor) => {
      const times = new Times();
      for (let round = -1; round < bench.runs; round++)
        for (const [name, asked] of Object.entries(QUERIES()))
          await times.take(name, round, async () => {
            const { messages } = await actor.call('message.search', { ...asked.query, limit: LIMIT });
            mustFind(name, asked, sizeOf(bench), messages.length);
          });
      return times.worst();
    }),
};

const searchCold: Figure = {
  name: 'search.cold',
  unit: 'ms',
  doc: 'the first search on a database that was just opened: every page read and decrypted anew',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 25 },
  measure: async (bench) => {
    const dir = await largeFixture(bench, sizeOf(bench));
    const paths = accountPaths(placesOf(dir, process.env), 'alice', process.env);
    const key = await openAccountVault(paths, undefined);
    const times = new Times();
    for (let round = 0; round < bench.runs; round++)
      for (const [name, asked] of Object.entries(QUERIES())) {
        using db = openAccountDatabase(paths, key);
        await times.take(name, round, () =>
          mustFind(name, asked, sizeOf(bench), searchMessages(db, optionsOf(db, asked.query)).length),
        );
      }
    return times.worst();
  },
};

/** What the core makes of a query: times become rows. */
const optionsOf = (db: Database, { query, conversation, from, after, before }: Query): SearchOptions => {
  const inside = conversation ?? (from === 'me' ? undefined : from);
  const conversationId = inside === undefined ? undefined : Number(inside.slice(1));
  const row = (time: string): number =>
    firstRowAt(db, Number(time), conversationId === undefined ? undefined : { conversationId, kind: 'contact' });
  return {
    words: query,
    ...(conversationId === undefined ? {} : { conversationId }),
    ...(from === undefined ? {} : { side: from === 'me' ? 'me' : 'them' }),
    after: after === undefined ? 0 : row(after) - 1,
    before: before === undefined ? Number.MAX_SAFE_INTEGER : row(before),
    limit: LIMIT,
  };
};

const openEnd: Figure = {
  name: 'open.end',
  unit: 'ms',
  doc: 'the last 50 of a conversation of 400,000, RPC to reply',
  bound: { of: 'value', at: 'median', better: 'lower', limit: 10 },
  measure: async (bench) =>
    withDaemon(await largeFixture(bench, sizeOf(bench)), async (actor) => {
      const values: number[] = [];
      for (let i = 0; i < bench.runs * 5; i++)
        values.push(await timed(() => actor.call('message.list', { conversation: 'c1', limit: LIMIT })));
      return { values, note: `first ${short(values[0] ?? 0)}, p95 ${short(quantile(values, 0.95))}` };
    }),
};

/** What is unread in all and in a conversation, and its last message marked as read: RPC to reply. */
export const unreadTimes = async (bench: Bench, dir: string, conversation: string): Promise<Measured> =>
  withDaemon(dir, async (actor) => {
    const times = new Times();
    for (let round = -1; round < bench.runs * 5; round++) {
      await times.take('of all', round, () => actor.call('message.unread', { limit: LIMIT }));
      await times.take('of one', round, () => actor.call('message.unread', { conversation, limit: LIMIT }));
      await times.take('marked', round, () => actor.call('conversation.markRead', { conversation }));
    }
    return times.worst();
  });

const openUnread: Figure = {
  name: 'open.unread',
  unit: 'ms',
  doc: 'what is unread of 1,000,000 messages and of a conversation of 400,000, and that one marked as read, RPC to reply',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 10 },
  measure: async (bench) => unreadTimes(bench, await largeFixture(bench, sizeOf(bench)), 'c1'),
};

const daemonReady: Figure = {
  name: 'daemon.ready',
  unit: 'ms',
  doc: 'from the start of the daemon to its first answer, 1,000,000 messages, key file',
  bound: { of: 'value', at: 'median', better: 'lower', limit: 500 },
  measure: async (bench) => {
    const dir = await largeFixture(bench, sizeOf(bench));
    const values: number[] = [];
    for (let i = 0; i < bench.runs; i++) {
      const startedAt = performance.now();
      await withDaemon(dir, async (actor) => {
        await actor.call('account.show', {});
        values.push(performance.now() - startedAt);
      });
    }
    return { values };
  },
};

const PASSPHRASE = 'correct horse';

/** The same database in another folder, whose vault is behind a passphrase. */
const withPassphrase = async (bench: Bench, fixture: string, passphrase: string): Promise<string> => {
  const dir = join(bench.dir, 'ready');
  makeOffline(dir);
  const from = accountPaths(placesOf(fixture, process.env), 'alice', process.env);
  const to = accountPaths(placesOf(dir, process.env), 'alice', process.env);
  mkdirSync(to.dir, { recursive: true, mode: 0o700 });
  copyFileSync(from.database, to.database);
  writeFileSync(to.vault, await makeVault(await openAccountVault(from, undefined), passphrase), { mode: 0o600 });
  return dir;
};

const readyPassphrase: Figure = {
  name: 'daemon.ready.passphrase',
  unit: 'ms',
  doc: 'the same with a passphrase: start, unlock, first answer',
  bound: { of: 'value', at: 'median', better: 'lower', limit: 800 },
  measure: async (bench) => {
    const dir = await withPassphrase(bench, await largeFixture(bench, sizeOf(bench)), PASSPHRASE);
    const values: number[] = [];
    for (let i = 0; i < bench.runs; i++) {
      const startedAt = performance.now();
      await withDaemon(dir, async (actor) => {
        await actor.call('account.unlock', { passphrase: PASSPHRASE });
        await actor.call('account.show', {});
        values.push(performance.now() - startedAt);
      });
    }
    return { values };
  },
};

const daemonMemory: Figure = {
  name: 'daemon.memory',
  unit: 'MB',
  doc: 'resident memory of the daemon a minute after its start with 1,000,000 messages, and some reading',
  bound: { of: 'value', at: 'max', better: 'lower', limit: 120 },
  measure: async (bench) =>
    withDaemon(await largeFixture(bench, sizeOf(bench)), async (actor) => {
      await actor.call('message.list', { conversation: 'c1' });
      await actor.call('message.search', { query: 'common' });
      await new Promise((done) => setTimeout(done, bench.quick ? 5_000 : 60_000));
      return { values: [(await actor.call('status.show', {})).daemon.rssBytes / MB] };
    }),
};

/** Figures of this file. */
export const STORE_FIGURES: readonly Figure[] = [
  searchWarm,
  searchCold,
  openEnd,
  openUnread,
  daemonReady,
  readyPassphrase,
  daemonMemory,
];
