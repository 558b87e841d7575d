// Dials: how many at once, and how often who cannot be reached is tried.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { MemoryNetwork } from '../net/memory-network.ts';
import { SottoError } from '../protocol/errors.ts';
import { DIALS_MAX, RETRY_MS_MAX, RETRY_MS_MIN } from '../protocol/limits.ts';
import { type Person, World } from '../testing/people.ts';

let world: World;
let alice: Person;

beforeEach(async () => {
  world = new World();
  alice = await world.person('alice');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await world[Symbol.asyncDispose]();
});

test('many who are away are dialled a few at a time, and nobody is forgotten', async () => {
  const names = Array.from({ length: DIALS_MAX + 4 }, (_, n) => `friend${n}`);
  for (const name of names) {
    const friend = await world.person(name);
    await world.befriend(friend, alice);
    await friend.close();
  }
  await world.settle(60_000);
  const { dial } = MemoryNetwork.prototype;
  const dialled = new Set<string>();
  let [now, most] = [0, 0];
  vi.spyOn(MemoryNetwork.prototype, 'dial').mockImplementation(async function (this: MemoryNetwork, address, ...rest) {
    dialled.add(address);
    most = Math.max(most, ++now);
    return dial.call(this, address, ...rest).finally(() => now--);
  });
  for (const name of names) await alice.send(name, 'are you there?');
  await world.settle(30_000);
  expect([most, dialled.size]).toEqual([DIALS_MAX, names.length]);
});

test('who cannot be reached is tried at once a few times, then after 30 s and ever more rarely, up to 15 minutes', async () => {
  const bob = await world.person('bob');
  await world.befriend(alice, bob);
  await bob.close();
  await alice.send(bob, 'are you there?');
  const waits: number[] = [];
  const look = async () => (await alice.call('contact.why', { contact: 'bob' })).link;
  for (let round = 0, attempts = 0; round < 14; round++) {
    let link = await look();
    while (link.nextRetryAt === undefined || link.attempts === attempts) {
      await world.settle(50);
      link = await look();
    }
    ({ attempts } = link);
    waits.push(link.nextRetryAt - (link.lastErrorAt ?? 0));
    await world.settle(link.nextRetryAt - world.clock.now());
  }
  // The first is after the end of the link, the others after dials.
  const quick = [250, 250, 1_000, 2_000, 4_000, 8_000];
  const slow = Array.from({ length: 8 }, (_, n) => Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** n));
  expect([slow[0], slow.at(-1)]).toEqual([30_000, 900_000]);
  // A quarter more or less, so that many do not come at once.
  for (const [n, ms] of [...quick, ...slow].entries()) {
    expect(waits[n]).toBeGreaterThanOrEqual(0.75 * ms - 1);
    expect(waits[n]).toBeLessThanOrEqual(1.25 * ms + 1);
  }
  await bob.open();
  await world.settle(1.25 * RETRY_MS_MAX + 60_000);
  expect(await bob.read(alice)).toEqual(['are you there?']);
});

test('the first failure of one leaves the wait of another as it was', async () => {
  const [bob, carol] = [await world.person('bob'), await world.person('carol')];
  for (const friend of [bob, carol]) await world.befriend(alice, friend);
  await bob.close();
  await alice.send(bob, 'are you there?');
  const why = async (contact: string) => (await alice.call('contact.why', { contact })).link;
  await world.settle(5 * 60_000);
  await world.settle(((await why('bob')).nextRetryAt ?? 0) - world.clock.now() + 2_000);
  const before = await why('bob');
  await carol.close();
  await alice.send(carol, 'and you?');
  await world.settle(20_000);
  expect((await why('carol')).attempts).toBeGreaterThan(2);
  expect(await why('bob')).toEqual(before);
});

test('who takes each link and ends it at once is dialled ever more rarely', async () => {
  const bob = await world.person('bob');
  await world.befriend(alice, bob);
  await world.settle(60_000);
  const { dial } = MemoryNetwork.prototype;
  const dials: number[] = [];
  const spy = vi.spyOn(MemoryNetwork.prototype, 'dial').mockImplementation(async function (this: MemoryNetwork, ...to) {
    dials.push(world.clock.now());
    const link = await dial.apply(this, to);
    link.close('not now');
    return link;
  });
  world.hub.partition(alice.address, bob.address);
  await world.settle(1_000);
  world.hub.heal();
  dials.length = 0;
  const from = world.clock.now();
  await alice.send(bob, 'are you there?');
  await world.settle(10 * 60_000);
  // Five quick tries, and one in half a minute, a quarter more or less.
  expect(dials.length).toBeGreaterThan(10);
  expect(dials.length).toBeLessThan(40);
  expect((dials.at(-1) ?? 0) - from).toBeGreaterThan(9 * 60_000);
  spy.mockRestore();
  await world.settle(60_000);
  expect(await bob.read(alice)).toEqual(['are you there?']);
});

test('who is blocked is dialled by no word and by no wait, until they are not any more', async () => {
  const bob = await world.person('bob');
  await world.befriend(alice, bob);
  await bob.close();
  await alice.send(bob, 'one that waits');
  await alice.call('contact.block', { contact: 'bob' });
  await world.settle(60_000);
  const dial = vi.spyOn(MemoryNetwork.prototype, 'dial');
  await alice.call('contact.retry', { contact: 'bob' });
  await world.settle(2 * RETRY_MS_MAX);
  expect(dial).not.toHaveBeenCalled();
  await alice.call('contact.unblock', { contact: 'bob' });
  await alice.call('contact.retry', { contact: 'bob' });
  await world.settle(5_000);
  expect(dial).toHaveBeenCalled();
});

test('a dial that was called off and ends late is not taken for the one after it', async () => {
  const bob = await world.person('bob');
  await world.befriend(alice, bob);
  const { dial } = MemoryNetwork.prototype;
  const late: ((error: Error) => void)[] = [];
  vi.spyOn(MemoryNetwork.prototype, 'dial').mockImplementation(async function (this: MemoryNetwork, address, ...rest) {
    if (address !== bob.address) return dial.call(this, address, ...rest);
    // As in a handshake, which nobody calls off.
    return new Promise((_, reject) => late.push(reject));
  });
  const link = async () => (await alice.call('contact.why', { contact: 'bob' })).link;
  await bob.close();
  await world.settle(1_000);
  expect([late.length, (await link()).state]).toEqual([1, 'dialling']);
  await bob.open();
  await bob.send(alice, 'here I am');
  await world.settle(5_000);
  expect((await link()).state).toBe('up');
  await bob.close();
  await world.settle(1_000);
  const before = await link();
  expect([late.length, before.state]).toEqual([2, 'dialling']);
  late[0]?.(new SottoError('dial.timeout'));
  await world.settle(100);
  expect(await link()).toEqual(before);
  late[1]?.(new SottoError('dial.timeout'));
  await world.settle(100);
  expect((await link()).state).toBe('waiting');
});
