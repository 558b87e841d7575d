// A full disk at one end or the other: one typed error, nothing lost, nothing doubled, and all goes on once there is room.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DISK_RETRY_MS } from '../protocol/limits.ts';
import { checkDatabase } from '../store/check.ts';
import { type Person, World } from '../testing/people.ts';

const LONG = 'x'.repeat(12_000);
const MINUTE = 60_000;

/** No page may be added to the database any more; the free ones are used up by what is written next. */
const fill = (person: Person): void => {
  person.db.exec(`PRAGMA max_page_count = ${person.db.get<{ page_count: number }>('PRAGMA page_count')?.page_count}`);
};

const makeRoom = (person: Person): void => person.db.exec('PRAGMA max_page_count = 1000000');

/** A change that needs hardly any room finds none all the same. */
const refuse = (person: Person, change: string): void =>
  person.db.exec(
    `CREATE TEMP TRIGGER no_room BEFORE ${change} BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`,
  );

const allow = (person: Person): void => person.db.exec('DROP TRIGGER no_room');

test('who cannot write what came does not acknowledge it, and has it once after there is room', async () => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  fill(bob);
  const texts = Array.from({ length: 12 }, (_, i) => `${i} ${LONG}`);
  for (const text of texts) await alice.send(bob, text);
  await world.settle(MINUTE);
  expect(bob.log.claim('disk.full')).toBeGreaterThan(0);
  const had = await bob.read(alice);
  expect(had.length).toBeLessThan(texts.length);
  expect(texts.slice(0, had.length)).toEqual(had);
  const states = (await alice.messages(bob)).map(({ state }) => state === 'delivered');
  expect(states).toEqual(texts.map((_, i) => i < had.length));

  makeRoom(bob);
  await world.settle(MINUTE);
  expect(await bob.read(alice)).toEqual(texts);
  expect((await alice.messages(bob)).every(({ state }) => state === 'delivered')).toBe(true);
  expect(checkDatabase(bob.db)).toEqual([]);
  expect(bob.log.unclaimed().concat(alice.log.unclaimed())).toEqual([]);
});

test('what still finds room does not overtake what found none', async () => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  refuse(bob, 'INSERT ON messages WHEN length(NEW.body) > 1000');
  for (const text of [LONG, 'short', 'shorter']) {
    await alice.send(bob, text);
    await world.settle(100);
  }
  expect(await bob.read(alice)).toEqual([]);
  allow(bob);
  await world.settle(MINUTE);
  expect(await bob.read(alice)).toEqual([LONG, 'short', 'shorter']);
  bob.log.claim('disk.full');
});

test('who cannot write what they send is told so, and nothing of it is there', async () => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  fill(alice);
  const sent: string[] = [];
  const send = async (text: string): Promise<boolean> => {
    try {
      await alice.send(bob, text);
      sent.push(text);
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: 'disk.full' });
      return false;
    }
  };
  for (let i = 0; await send(`${i} ${LONG}`); i++) await world.settle();
  await world.settle(MINUTE);
  expect(await alice.read(bob)).toEqual(sent);

  makeRoom(alice);
  expect(await send('there is room')).toBe(true);
  await world.settle(MINUTE);
  expect(await bob.read(alice)).toEqual(sent);
  expect((await alice.messages(bob)).every(({ state }) => state === 'delivered')).toBe(true);
  expect(checkDatabase(alice.db)).toEqual([]);
  alice.log.claim('disk.full');
  expect(bob.log.unclaimed().concat(alice.log.unclaimed())).toEqual([]);
});

test('what waits goes by itself once there is room', async () => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  await bob.close();
  await world.settle(MINUTE);
  await alice.send(bob, 'waits');
  refuse(alice, 'UPDATE ON contacts');
  await bob.open();
  await world.settle(5 * MINUTE);
  expect(alice.log.claim('disk.full')).toBeGreaterThan(1);
  expect(await bob.read(alice)).toEqual([]);
  allow(alice);
  await world.settle(DISK_RETRY_MS + 2_000);
  expect(await bob.read(alice)).toEqual(['waits']);
});

test('a file whose progress finds no room goes on, texts pass, and it is saved once there is room', async () => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  const [source, target] = [join(world.dir, 'source'), join(world.dir, 'target')];
  writeFileSync(source, LONG.repeat(300));
  const { file } = await alice.call('file.send', { conversation: 'bob', path: source });
  await world.settle();
  await bob.call('file.save', { id: file.id, path: target, wait: 'active' });
  refuse(bob, 'UPDATE ON files');
  const waiting = bob.call('file.fetch', { id: file.id, wait: 'done' });
  await expect(Promise.all([waiting, world.settle(MINUTE)])).rejects.toMatchObject({ code: 'disk.full' });
  await alice.send(bob, 'meanwhile');
  await world.settle();
  expect(await bob.read(alice)).toContain('meanwhile');
  expect(bob.log.claim('file.notNoted')).toBeGreaterThan(0);
  allow(bob);
  await world.settle(MINUTE);
  expect(readFileSync(target, 'utf8')).toBe(LONG.repeat(300));
  expect(bob.log.unclaimed()).toEqual([]);
});

test('a link that finds no room ends', async () => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  await alice.close();
  await world.settle(MINUTE);
  refuse(bob, 'UPDATE ON contacts');
  await alice.open();
  await alice.send(bob, 'waits');
  await world.settle();
  expect(alice.account.status().links.filter(({ state }) => state === 'up')).toEqual([]);
  allow(bob);
  await world.settle(MINUTE);
  expect(await bob.read(alice)).toEqual(['waits']);
  bob.log.claim('disk.full');
});

test('what ends by the clock ends in time again once there is room', async () => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  await alice.send(bob, 'first', { expiresMs: 0.5 * MINUTE });
  await alice.send(bob, 'second', { expiresMs: 1.5 * MINUTE });
  await world.settle();
  refuse(bob, 'DELETE ON messages');
  await world.settle(0.6 * MINUTE);
  expect(bob.log.claim('disk.full')).toBeGreaterThan(0);
  expect(await bob.read(alice)).toEqual(['first', 'second']);
  allow(bob);
  await world.settle(0.5 * MINUTE);
  expect(await bob.read(alice)).toEqual(['second']);
  await world.settle(0.5 * MINUTE);
  expect(await bob.read(alice)).toEqual([]);
});

test('MSG-2: a clock that is set back while there is no room lengthens no message’s life', async () => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  await alice.send(bob, 'brief', { expiresMs: 5 * MINUTE });
  await world.settle();
  refuse(bob, 'UPDATE OF expires_at ON messages');
  world.clock.jump(-60 * MINUTE);
  await world.settle(2 * MINUTE);
  expect(bob.log.claim('disk.full')).toBeGreaterThan(0);
  allow(bob);
  await world.settle(4 * MINUTE);
  expect(await bob.read(alice)).toEqual([]);
});
