// What a reference means where a name looks like something else: never a guess.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Person, World } from '../testing/people.ts';

let world: World;
let alice: Person;
let bob: Person;
let carol: Person;

beforeEach(async () => {
  world = new World();
  ({ alice, bob } = await world.friends());
  carol = await world.person('carol');
  await world.befriend(alice, carol);
});
afterEach(() => world[Symbol.asyncDispose]());

const idOf = async (contact: string): Promise<string> => (await alice.call('contact.show', { contact })).id;
const conversationOf = async (conversation: string): Promise<string> =>
  (await alice.call('conversation.show', { conversation })).id;
const codeOf = (step: Promise<unknown>): Promise<string | undefined> =>
  step.then(
    () => undefined,
    ({ code }: { code: string }) => code,
  );

test('a name that is the beginning of another’s id is ambiguous, for contacts and conversations', async () => {
  const [id, conversationId] = [await idOf('bob'), await conversationOf('bob')];
  for (const name of [id.slice(0, 8), conversationId.slice(0, 8)]) {
    await alice.call('contact.rename', { contact: carol.address, name });
    expect(await codeOf(alice.send(name, 'to whom?'))).toBe('name.ambiguous');
  }
  await alice.call('contact.rename', { contact: carol.address, name: id.slice(0, 8) });
  expect(await codeOf(alice.call('contact.show', { contact: id.slice(0, 8) }))).toBe('name.ambiguous');
  await alice.call('contact.rename', { contact: carol.address, name: 'facade' });
  expect(await idOf('facade')).toBe(await idOf(carol.address));
});

test('nobody is called like an address or a whole id: not by me, and not by themselves', async () => {
  const [id, conversationId] = [await idOf('bob'), await conversationOf('bob')];
  for (const name of [bob.address, bob.address.replace('.onion', ''), id, conversationId, id.toUpperCase()])
    expect(await codeOf(alice.call('contact.rename', { contact: 'carol', name })), name).toBe('nickname.invalid');
  const mallory = await world.person('mallory');
  await mallory.call('account.nickname', { nickname: bob.address });
  await mallory.call('contact.add', { address: alice.address });
  await world.settle(10_000);
  expect((await alice.call('contact.requests', {})).map(({ name }) => name)).toEqual(['contact']);
});

test('an id is taken in capitals too, and one that is too short is said to be', async () => {
  const id = await idOf('bob');
  expect(await idOf(id.slice(0, 8).toUpperCase())).toBe(id);
  const { id: message } = await alice.send(bob, 'hello');
  expect((await alice.call('message.show', { id: message.toUpperCase() })).id).toBe(message);
  await expect(alice.call('contact.show', { contact: '1a2b3' })).rejects.toThrow('An id has at least 6 digits');
});

test('who asks somebody again and waits for their answer waits on', async () => {
  const dave = await world.person('dave');
  await dave.close();
  await alice.call('contact.add', { address: dave.address, name: 'dave' });
  expect(await codeOf(alice.call('contact.add', { address: dave.address }))).toBe('contact.exists');
  const waiting = alice.call('contact.add', { address: dave.address, wait: 'accepted', timeoutMs: 600_000 });
  await dave.open();
  await world.settle(60_000);
  await dave.call('contact.accept', { contact: 'alice' });
  expect(await world.during(waiting)).toMatchObject({ name: 'dave', state: 'accepted' });
});

test('without a time in which messages end, what it counts from does not stay', async () => {
  const conversation = await conversationOf('bob');
  await alice.call('config.set', { key: 'messages.expiresFrom', value: 'read', conversation });
  await alice.call('config.set', { key: 'messages.expiresMs', value: 30_000, conversation });
  await alice.call('config.unset', { key: 'messages.expiresMs', conversation });
  await alice.call('config.set', { key: 'messages.expiresMs', value: 3_600_000 });
  expect(await alice.call('config.get', { key: 'messages.expiresFrom', conversation })).toMatchObject({
    source: 'default',
  });
  expect(await alice.call('conversation.show', { conversation: 'bob' })).toMatchObject({
    expiresMs: 3_600_000,
    expiresFrom: 'delivery',
  });
});
