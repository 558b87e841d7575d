// Figures of the store: search, opening a conversation, the start and the memory of a daemon with a long history.

import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accountPaths, placesOf } from '../../client/paths.ts';
import { makeVault } from '../../crypto/vault.ts';
import { openAccountDatabase, openAccountVault } from '../../daemon/account-dir.ts';
import { DAY_MS } from '../../protocol/limits.ts';
import type { ParamsIn } from '../../protocol/rpc.ts';
import { searchMessages } from '../../store/search.ts';
import { Actor } from '../actor.ts';
import { type Bench, type Figure, type Measured, quantile, short, Times, timed } from './figure.ts';
import { FIXTURE_MESSAGES, largeFixture, makeOffline } from './fixture.ts';

const MB = 1_000_000;
const LIMIT = 50;

type Query = Omit<ParamsIn<'message.search'>, 'limit'>;

const QUERIES = (): Readonly<Record<string, Query>> => {
  const words = { '50 %': 'common', '1 %': 'uncommon', '0.01 %': 'rare', both: 'common uncommon' };
  const filters: Readonly<Record<string, Partial<Query>>> = {
    '': {},
    'in 400,000': { conversation: 'c1' },
    'in 10': { conversation: 'c2' },
    'from me': { from: 'me' },
    'from c3': { from: 'c3' },
    'in a day': { after: String(Date.now() - 100 * DAY_MS), before: String(Date.now() - 99 * DAY_MS) },
    'in c1 before': { conversation: 'c1', before: String(Date.now() - 300 * DAY_MS) },
  };
  const queries: [string, Query][] = [];
  for (const [share, query] of Object.entries(words))
    for (const [filter, more] of Object.entries(filters))
      queries.push([`${share} ${filter}`.trim(), { query, ...more }]);
  return Object.fromEntries(queries);
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
        for (const [name, query] of Object.entries(QUERIES()))
          await times.take(name, round, () => actor.call('message.search', { ...query, limit: LIMIT }));
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
      for (const [name, { query, conversation, from, after, before }] of Object.entries(QUERIES())) {
        using db = openAccountDatabase(paths, key);
        const conversationId = conversation === undefined ? undefined : Number(conversation.slice(1));
        await times.take(name, round, () =>
          searchMessages(db, {
            words: query,
            ...(conversationId === undefined ? {} : { conversationId }),
            ...(from === 'me' ? { side: 'me' } : from === undefined ? {} : { side: 'them', conversationId: 3 }),
            after: Number(after ?? 0),
            before: Number(before ?? Number.MAX_SAFE_INTEGER),
            limit: LIMIT,
          }),
        );
      }
    return times.worst();
  },
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
