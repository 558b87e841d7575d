// Pages of long texts: an answer ends early and says where it goes on, and the command line gives all that was asked for, in order.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { PAGE_BYTES_MAX, TEXT_BYTES_MAX } from '../../src/protocol/limits.ts';
import type { Params, Result } from '../../src/protocol/rpc.ts';
import type { Message } from '../../src/protocol/rpc-objects.ts';
import { rememberMessages } from '../account/past.ts';
import { databaseOf, furnish, pathsOf } from '../daemon/furnished.ts';
import { Stage, type User } from '../e2e/stage.ts';

const MANY = 300;
// Each answer has less than a half of them.
const LONG = `word ${'x'.repeat(TEXT_BYTES_MAX - 'nnn word '.length)}`;
const EVERY = Array.from({ length: MANY }, (_, index) => index);

let stage: Stage;
let alice: User;
let client: RpcClient;

beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = await furnish(stage);
  {
    using db = databaseOf(alice);
    rememberMessages(db, 1, { count: MANY, text: LONG });
    db.run(`UPDATE messages SET mine = 0, state = 'received', unread = 1`);
  }
  await alice.ok('daemon', 'start');
  client = await RpcClient.open(pathsOf(alice).socket);
});
afterAll(async () => {
  client.close();
  await stage[Symbol.asyncDispose]();
});

type Page = Pick<Result<'message.list'>, 'messages' | 'more' | 'before' | 'after'>;
const numbers = (messages: readonly Message[]): number[] => messages.map(({ body }) => Number.parseInt(body, 10));
const idAt = ({ messages }: Page, index: number): string => messages.at(index)?.id ?? '';
const bytesOf = (page: Page): number => page.messages.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0);

/** All pages from a first one on, each as `next` goes on after it. */
const pagesFrom = async (next: (page: Page | undefined) => Promise<Page>): Promise<number[][]> => {
  const pages: number[][] = [];
  for (let page: Page | undefined; page?.more !== false; ) {
    page = await next(page);
    expect(bytesOf(page)).toBeLessThanOrEqual(PAGE_BYTES_MAX);
    pages.push(numbers(page.messages));
  }
  expect(pages.length).toBeGreaterThan(2);
  return pages;
};

test('of read, unread and search end where their bodies have filled an answer, and go on behind it', async () => {
  const list = (params: Partial<Params<'message.list'>>): Promise<Page> =>
    client.call('message.list', { conversation: 'bob', limit: 5_000, ...params });
  const backwards = await pagesFrom((page) => list(page === undefined ? {} : { before: idAt(page, 0) }));
  expect(backwards.reverse().flat()).toEqual(EVERY);
  const onwards = await pagesFrom((page) => list({ after: page === undefined ? '000000000000' : idAt(page, -1) }));
  expect(onwards.flat()).toEqual(EVERY);
  const unread = await pagesFrom((page) =>
    client.call('message.unread', { limit: 5_000, ...(page === undefined ? {} : { after: idAt(page, -1) }) }),
  );
  expect(unread.flat()).toEqual(EVERY);
  const found = await pagesFrom((page) =>
    client.call('message.search', {
      query: 'word',
      limit: 5_000,
      ...(page === undefined ? {} : { before: idAt(page, -1) }),
    }),
  );
  expect(found.flat()).toEqual(EVERY.toReversed());
});

test('around a message hold as much on both sides, and say where both go on', async () => {
  const [middle] = (await client.call('message.list', { conversation: 'bob', limit: MANY / 2 })).messages.slice(-70);
  const id = middle?.id ?? '';
  const page = await client.call('message.list', { conversation: 'bob', limit: 5_000, around: id });
  expect(bytesOf(page)).toBeLessThanOrEqual(PAGE_BYTES_MAX);
  const at = numbers(page.messages);
  expect(at).toEqual(EVERY.slice(at[0], (at.at(-1) ?? 0) + 1));
  const place = page.messages.findIndex((one) => one.id === id);
  expect(Math.abs(place - (at.length - place))).toBeLessThanOrEqual(2);
  expect(page).toMatchObject({ more: true, before: idAt(page, 0), after: idAt(page, -1) });
});

test('of the command line are whole', async () => {
  const shown = async (...words: string[]): Promise<[number[], string]> => {
    const { items, err } = await alice.ok<Message>(...words);
    return [numbers(items), err.trim()];
  };
  expect(await shown('read', 'bob', '--limit', '5000')).toEqual([EVERY, '']);
  const cut = await alice.ok<Message>('read', 'bob', '--limit', '200');
  expect([numbers(cut.items), cut.err]).toEqual([EVERY.slice(-200), `More: --before ${cut.items[0]?.id}\n`]);
  expect(await shown('read', 'bob', '--after', '1970-01-02', '--limit', '5000')).toEqual([EVERY, '']);
  expect(await shown('export', 'bob')).toEqual([EVERY, '']);
  expect(await shown('search', 'word', '--limit', '5000')).toEqual([EVERY.toReversed(), '']);
  expect(await shown('unread', '--limit', '5000', '--mark-read')).toEqual([EVERY, '']);
  expect(await shown('unread')).toEqual([[], '']);
});
