// What ends before it is done: by time, or by the user's word.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkDatabase } from '../store/check.ts';
import { getSession } from '../store/sessions.ts';
import { type Person, World } from '../testing/people.ts';

const DAY = 24 * 3_600_000;

let world: World;
let alice: Person;
let bob: Person;

beforeEach(async () => {
  world = new World();
  ({ alice, bob } = await world.friends());
});
afterEach(async () => {
  expect(checkDatabase(alice.db)).toEqual([]);
  await world[Symbol.asyncDispose]();
});

const mine = async () => (await alice.messages(bob)).map(({ body, state, reason }) => [body, state, reason]);

test('what nobody fetched in its time has failed, and goes again on the user’s word, under the same id', async () => {
  await bob.close();
  const { id } = await alice.send(bob, 'old');
  world.clock.jump(31 * DAY);
  await world.settle(60_000);
  expect(await mine()).toEqual([['old', 'failed', 'outboxExpired']]);
  await bob.open();
  await alice.call('message.resend', { id });
  await world.settle(60_000);
  expect(await mine()).toEqual([['old', 'delivered', undefined]]);
  expect(await bob.messages(alice)).toMatchObject([{ id, body: 'old' }]);
  await expect(alice.call('message.resend', { id })).rejects.toMatchObject({ code: 'message.notEditable' });
});

test('what is taken back before it left never arrives', async () => {
  await bob.close();
  await world.settle();
  const { id } = await alice.send(bob, 'not this');
  await alice.send(bob, 'but this');
  await alice.call('message.cancel', { id });
  await bob.open();
  await world.settle(60_000);
  expect(await bob.read(alice)).toEqual(['but this']);
  expect(await mine()).toEqual([
    ['not this', 'failed', 'cancelled'],
    ['but this', 'delivered', undefined],
  ]);
});

test('what waits for a contact who is removed has failed, and can go again once they are a contact anew', async () => {
  await bob.close();
  const { id } = await alice.send(bob, 'waits');
  await alice.call('contact.remove', { contact: 'bob' });
  expect(await alice.call('message.show', { id })).toMatchObject({ state: 'failed', reason: 'contactRemoved' });
  expect(alice.account.status().outboxDepth).toBe(0);
  expect(checkDatabase(alice.db)).toEqual([]);
  await expect(alice.call('message.cancel', { id })).rejects.toMatchObject({ code: 'message.notEditable' });
  await bob.open();
  await alice.call('contact.add', { address: bob.address, name: 'bob' });
  await world.settle(60_000);
  await alice.call('message.resend', { id });
  await world.settle(60_000);
  expect(await bob.read(alice)).toEqual(['waits']);
});

test('a request that nobody answers ends after 30 days with the keys that went with it, and can be made again', async () => {
  const carol = await world.person('carol');
  await carol.close();
  await alice.call('contact.add', { address: carol.address, name: 'carol' });
  const session = () => alice.db.all<{ id: number }>('SELECT contact_id AS id FROM sessions').at(-1)?.id ?? 0;
  const bytes = () => getSession(alice.db, session())?.state.length ?? 0;
  expect(bytes()).toBeGreaterThan(1_000);
  world.clock.jump(31 * DAY);
  await world.settle(60_000);
  expect(bytes()).toBeLessThan(100);
  const why = await alice.call('contact.why', { contact: 'carol' });
  expect(why).toMatchObject({ summary: expect.stringContaining('has ended') });
  expect(why.advice).toContain(`ask again: sotto contact add ${carol.address} --name carol`);
  await carol.open();
  await alice.call('contact.add', { address: carol.address, name: 'carol' });
  await world.settle(60_000);
  expect(await carol.call('contact.requests', {})).toMatchObject([{ nickname: 'alice' }]);
});
