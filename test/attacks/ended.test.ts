// What has ended stays ended, and is told: requests, blocks, what was put on a message, and links of who nobody knows.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { deriveSecrets, localKeys } from '../../src/crypto/identity.ts';
import { checkDatabase } from '../../src/store/check.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { Hostile, rowsOf } from './hostile.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

let world: World;
let alice: Person;
let bob: Person;

beforeEach(async () => {
  world = new World();
  ({ alice, bob } = await world.friends());
});

afterEach(async () => {
  for (const person of [alice, bob]) if (person.isOpen) expect(checkDatabase(person.db)).toEqual([]);
  await world[Symbol.asyncDispose]();
});

const stateOf = async (person: Person, id: string) => (await person.call('message.show', { id })).state;

test('an accept that comes when the request has ended is answered, and who asks then is heard', async () => {
  // A month of their pings takes long.
  await Promise.all([alice.close(), bob.close()]);
  const [carol, dave] = [await world.person('carol'), await world.person('dave')];
  await dave.close();
  await carol.call('contact.add', { address: dave.address, name: 'dave' });
  await carol.close();
  await world.settle(20 * DAY);
  await Promise.all([carol.open(), dave.open()]);
  await world.settle(5 * MINUTE);
  const [request] = await dave.call('contact.requests', {});
  await carol.close();
  await dave.close();
  await world.settle(11 * DAY);
  await Promise.all([carol.open(), dave.open()]);
  await world.settle(5 * MINUTE);
  await dave.call('contact.accept', { contact: request?.id ?? '', name: 'carol' });
  await world.settle(5 * MINUTE);
  expect((await dave.contact('carol')).paused).toBe('notContact');
  await dave.call('contact.add', { address: carol.address, name: 'carol' });
  await world.settle(20 * MINUTE);
  const [theirs] = await carol.call('contact.requests', {});
  await carol.call('contact.accept', { contact: theirs?.id ?? '', name: 'dave' });
  await world.settle(30 * MINUTE);
  await dave.send(carol, 'at last');
  await world.settle(5 * MINUTE);
  expect(await carol.read(dave)).toEqual(['at last']);
  for (const person of [carol, dave]) person.log.claim('frame.refused');
});

test('what is written to somebody who has removed me waits, and says so in words, as why and status do', async () => {
  await bob.call('contact.remove', { contact: 'alice' });
  await alice.send(bob, 'are you there?');
  await world.settle(5 * MINUTE);
  expect((await alice.contact('bob')).paused).toBe('notContact');
  const sent = await alice.call('message.send', { conversation: 'bob', text: 'and now?' });
  expect(sent).toMatchObject({
    message: { state: 'queued' },
    held: 'bob does not have you as a contact: it waits; sotto why bob',
  });
  const why = await alice.call('contact.why', { contact: 'bob' });
  expect(why.summary).toBe('sending to bob is paused: they do not have you as a contact');
  expect(why.advice).toEqual([`ask them again: sotto contact add ${bob.address} --name bob`]);
  expect(alice.account.status().links).toEqual([{ contact: 'bob', state: why.link.state }]);
  expect(why.link.state).toBe('paused');
});

test('a pin that has waited too long ends alone: its text goes', async () => {
  await bob.close();
  const { id } = await alice.send(bob, 'waits');
  await alice.call('config.set', { key: 'outbox.expiresMs', value: 60_000 });
  await alice.call('message.pin', { id });
  await world.settle(5 * MINUTE);
  expect(await stateOf(alice, id)).not.toBe('failed');
  await bob.open();
  await world.settle(30 * MINUTE);
  expect([await stateOf(alice, id), await bob.read(alice)]).toEqual(['delivered', ['waits']]);
});

test('what is read of somebody while they are blocked is not told later', async () => {
  await bob.call('config.set', { key: 'privacy.readReceipts', value: true });
  const { id } = await alice.send(bob, 'read in silence');
  await world.settle();
  await bob.call('contact.block', { contact: 'alice' });
  await bob.call('conversation.markRead', { conversation: 'alice' });
  await bob.call('contact.unblock', { contact: 'alice' });
  await world.settle(30 * MINUTE);
  expect(await stateOf(alice, id)).toBe('delivered');
});

test('who is removed hears nothing of me, whatever they ask', async () => {
  const mallory = await Hostile.join(world);
  await mallory.befriend(bob);
  await bob.call('config.set', { key: 'privacy.presence', value: true });
  await bob.call('config.set', { key: 'privacy.typing', value: true });
  await bob.call('contact.remove', { contact: 'mallory' });
  await world.settle();
  mallory.heard.length = 0;
  await mallory.dial(bob);
  await mallory.say({ kind: 'reset', session: mallory.newId(), bundle: Buffer.alloc(1_800, 1).toString('base64') });
  await bob.call('presence.set', { state: 'away' });
  await bob.call('conversation.typing', { conversation: 'mallory', on: true }).catch(() => {});
  await world.settle();
  expect(mallory.heard.filter(({ kind }) => kind === 'presence' || kind === 'typing')).toEqual([]);
  bob.log.claim('frame.refused');
});

test('a request of who is blocked takes no place from others', async () => {
  const mallory = await Hostile.join(world);
  await mallory.dial(bob);
  await mallory.say(mallory.request(bob));
  await world.settle();
  const [request] = await bob.call('contact.requests', {});
  expect(bob.account.status().requests).toBe(1);
  await bob.call('contact.block', { contact: request?.id ?? '' });
  expect(bob.account.status().requests).toBe(0);
  expect(await bob.call('contact.unblock', { contact: request?.id ?? '' })).toMatchObject({ state: 'incoming' });
  expect(bob.account.status().requests).toBe(1);
});

test('a stranger who shows two keys leaves nothing', async () => {
  const before = rowsOf(bob, 'contacts');
  const mallory = await Hostile.join(world);
  await mallory.dial(bob);
  await mallory.say({ kind: 'ping', n: 1 });
  const { signalKey } = localKeys(deriveSecrets(world.random.bytes(16)), world.random.bytes(16)).publicKeys;
  const { keys } = mallory;
  const other = await Hostile.join(world, () => ({ ...keys, publicKeys: { ...keys.publicKeys, signalKey } }));
  await other.dial(bob).catch(() => {});
  await world.settle();
  mallory.hangUp();
  await world.settle(10 * MINUTE);
  expect(rowsOf(bob, 'contacts')).toBe(before);
});
