// Every kind of event is told to who listens, with the object that it is about.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Hostile } from '../../test/attacks/hostile.ts';
import { deriveSecrets, localKeys } from '../crypto/identity.ts';
import { EVENT_KINDS, ROOM_EVENT_KINDS, VOLATILE_KINDS } from '../protocol/event-kinds.ts';
import { EVENTS_KEPT_MAX } from '../protocol/limits.ts';
import type { Event } from '../protocol/rpc-events.ts';
import { type Person, World } from '../testing/people.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

let world: World;
let alice: Person;
let bob: Person;
let told: Event[];

const listen = (person: Person) => person.account.events.subscribe((event) => told.push(event));

beforeEach(async () => {
  world = new World(11);
  told = [];
  [alice, bob] = [await world.person('alice'), await world.person('bob')];
  for (const person of [alice, bob]) listen(person);
  await world.befriend(alice, bob);
});
afterEach(() => world[Symbol.asyncDispose]());

const talk = async (): Promise<void> => {
  await bob.call('config.set', { key: 'privacy.readReceipts', value: true });
  const { id } = await alice.send(bob, 'frist');
  await world.settle();
  await alice.call('message.edit', { id, text: 'first' });
  await bob.call('message.react', { id, emoji: '👍' });
  await bob.call('message.pin', { id });
  await bob.call('conversation.markRead', { conversation: 'alice' });
  await alice.send(bob, 'brief', { expiresMs: 1_000 });
  for (const key of ['privacy.typing', 'privacy.presence']) await alice.call('config.set', { key, value: true });
  await alice.call('conversation.typing', { conversation: 'bob', on: true });
  await alice.call('presence.set', { state: 'away' });
  await world.settle(5_000);
  await alice.call('message.delete', { id });
  await world.settle();
};

const giveFiles = async (): Promise<void> => {
  writeFileSync(join(world.dir, 'file'), Buffer.alloc(3_000_000));
  for (const end of ['done', 'cancelled']) {
    const sending = alice.call('file.send', { conversation: 'bob', path: join(world.dir, 'file'), name: end });
    await world.settle();
    const { id } = (await sending).file;
    await world.settle();
    if (end === 'done') await bob.call('file.fetch', { id });
    else await alice.call('file.cancel', { id });
    await world.settle(30_000);
  }
};

const changeContacts = async (): Promise<void> => {
  const carol = await world.person('carol');
  await carol.call('contact.add', { address: bob.address, name: 'bob' });
  await world.settle();
  await bob.call('contact.reject', { contact: 'carol' });
  await bob.call('contact.verify', { contact: 'alice', verified: true });
  await bob.call('contact.rename', { contact: 'alice', name: 'alicia' });
  await bob.call('contact.block', { contact: 'alicia' });
  await bob.call('contact.unblock', { contact: 'alicia' });
  await bob.call('contact.rename', { contact: 'alicia', name: 'alice' });
  await world.settle(60_000);
};

// Bob gives up on one who is away, she comes back as an old copy of herself, and as two copies in turn.
const part = async (): Promise<void> => {
  alice.copy();
  await alice.send(bob, 'lost');
  await world.settle();
  await alice.close();
  await bob.call('config.set', { key: 'outbox.expiresMs', value: 60_000 });
  await bob.send(alice, 'late');
  await world.settle(20 * 60_000);
  alice.putBack();
  bob.db.run(`UPDATE contacts SET previous_install_id = install_id, install_id = zeroblob(16) WHERE name = 'alice'`);
  await alice.open();
  listen(alice);
  await alice.send(bob, 'again');
  await world.settle(60_000);
};

const beForged = async (): Promise<void> => {
  const { keys } = world.hub.find(alice.address) ?? {};
  if (keys === undefined) throw new Error('alice is not online');
  await alice.close();
  const { signalKey } = localKeys(deriveSecrets(world.random.bytes(16)), world.random.bytes(16)).publicKeys;
  const forged = () => ({ ...keys, publicKeys: { ...keys.publicKeys, signalKey } });
  await (await Hostile.join(world, forged)).dial(bob).catch(() => {});
  await world.settle();
  await bob.call('contact.remove', { contact: 'alice' });
  await world.settle();
};

/** What an event of this kind must have. */
const objectOf = (kind: string): string => {
  const [noun = ''] = kind.split('.');
  if (noun === 'config') return 'setting';
  return ['message', 'file'].includes(noun) ? noun : 'contact';
};

test('every kind comes, committed ones with a growing cursor, each with its object', async () => {
  await talk();
  await giveFiles();
  await changeContacts();
  await part();
  await beForged();
  const seen = new Set<string>(told.map((event) => event.kind));
  // `tor.changed` is the network's own: test/e2e/direct.test.ts sees it. Those of rooms come in test/rooms: people.test.ts, `message.refused` in
  // its own, `channel.progressed` in long.test.ts, `voice.changed` in talk.test.ts.
  const ofRooms = new Set<string>(ROOM_EVENT_KINDS);
  const missing = [...EVENT_KINDS, ...VOLATILE_KINDS].filter((kind) => !seen.has(kind) && !ofRooms.has(kind));
  expect(missing).toEqual(['message.refused', 'tor.changed', 'channel.progressed', 'voice.changed']);
  for (const event of told) {
    expect(event, event.kind).toHaveProperty(objectOf(event.kind));
    expect(event.at, event.kind).toBeGreaterThan(1e12);
    expect(event.cursor !== undefined, event.kind).toBe((EVENT_KINDS as readonly string[]).includes(event.kind));
  }
  expect(told.find((event) => event.kind === 'message.expired')?.message).toEqual({
    id: expect.any(String),
    gone: true,
  });
  expect(told.find((event) => event.kind === 'message.failed')?.message).toMatchObject({
    state: 'failed',
    reason: 'outboxExpired',
  });
  const cursors = bob.account.events.since('0').events.map((one) => Number(one.cursor));
  expect(cursors).toEqual([...cursors].sort((a, b) => a - b));
});

test('what was told is kept for 30 days, and the last 100,000 of it: who asks for more hears of one gap', async () => {
  const since = (cursor: string) => bob.account.events.since(cursor);
  const { id: early } = await alice.send(bob, 'early');
  await world.settle();
  const isTold = () =>
    since('0').events.some(({ kind, message }) => kind === 'message.received' && message?.id === early);
  world.clock.jump(29 * DAY);
  await world.settle(2 * MINUTE);
  expect([isTold(), since('0').gap]).toEqual([true, undefined]);
  await alice.send(bob, 'late');
  await world.settle();
  const cursor = bob.account.events.head();
  world.clock.jump(2 * DAY);
  await world.settle(2 * MINUTE);
  expect([isTold(), since('0').gap]).toEqual([false, { kind: 'gap', fromCursor: '0', toCursor: expect.any(String) }]);
  expect(since('0').events.map(({ message }) => message && 'body' in message && message.body)).toContain('late');
  const many = (count: number) =>
    bob.db.run(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
         INSERT INTO events (at, kind) SELECT ?, 'session.healed' FROM n`,
      count,
      world.clock.now(),
    );
  many(EVENTS_KEPT_MAX);
  await world.settle(2 * MINUTE);
  expect(since(cursor).gap).toBeUndefined();
  many(5);
  await world.settle(2 * MINUTE);
  expect(since(cursor).gap).toMatchObject({ toCursor: String(Number(cursor) + 5) });
});

test('what is replayed of a message or a file that is gone has its id, and says that it is gone', async () => {
  const cursor = bob.account.events.head();
  const { id } = await alice.send(bob, 'not for long');
  writeFileSync(join(world.dir, 'plan'), 'a plan');
  const { file } = await alice.call('file.send', { conversation: bob.name, path: join(world.dir, 'plan') });
  await world.settle();
  await bob.call('conversation.clear', { conversation: alice.name });
  const told = bob.account.events.since(cursor).events.filter(({ kind }) => /received|offered/.test(kind));
  expect(told.map(({ kind, message, file }) => ({ kind, message, file }))).toEqual([
    { kind: 'message.received', message: { id, gone: true } },
    { kind: 'message.received', message: { id: file.id, gone: true } },
    { kind: 'file.offered', file: { id: file.id, gone: true } },
  ]);
});
