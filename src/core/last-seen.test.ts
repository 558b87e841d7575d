// When a contact was last there: by what came on their link, kept when it ends, and not written for each frame.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LAST_SEEN_KEPT_MS, LINK_IDLE_MS } from '../protocol/limits.ts';
import { type Person, World } from '../testing/people.ts';

const MINUTE = 60_000;

let world: World;
let alice: Person;
let bob: Person;

beforeEach(async () => {
  world = new World(5);
  ({ alice, bob } = await world.friends());
});
afterEach(() => world[Symbol.asyncDispose]());

const ago = async (name = 'bob') => world.clock.now() - ((await alice.contact(name)).lastSeenAt ?? 0);
const keptAgo = () =>
  world.clock.now() - (alice.db.get<{ at: number }>(`SELECT last_seen_at AS at FROM contacts`)?.at ?? 0);

test('a contact was last seen when something last came, and that outlives the link and the program', async () => {
  await world.settle(LINK_IDLE_MS / 2);
  expect(await ago()).toBeLessThanOrEqual(MINUTE);
  await bob.send(alice, 'hello');
  await world.settle();
  expect(await ago()).toBeLessThanOrEqual(1_000);
  await bob.close();
  await world.settle(5 * MINUTE);
  expect(await ago()).toBeGreaterThanOrEqual(5 * MINUTE);
  expect(await ago()).toBeLessThanOrEqual(6 * MINUTE);
  const before = await alice.contact('bob');
  await alice.close();
  await alice.open();
  expect((await alice.contact('bob')).lastSeenAt).toBe(before.lastSeenAt);
});

test('while a link is up it is written rarely', async () => {
  for (let minute = 0; minute < 15; minute++) {
    await bob.send(alice, 'still here');
    await world.settle(MINUTE);
    expect(keptAgo()).toBeLessThanOrEqual(LAST_SEEN_KEPT_MS + 2 * MINUTE);
  }
  expect(keptAgo()).toBeGreaterThan(MINUTE);
});

test('who asks to be a contact has been seen', async () => {
  const carol = await world.person('carol');
  await carol.call('contact.add', { address: alice.address });
  await world.settle();
  const [request] = await alice.call('contact.requests', {});
  expect(world.clock.now() - (request?.lastSeenAt ?? 0)).toBeLessThanOrEqual(2_000);
  await carol.close();
  await world.settle(MINUTE);
  await alice.close();
  await alice.open();
  expect(await alice.call('contact.requests', {})).toMatchObject([{ lastSeenAt: expect.any(Number) }]);
});
