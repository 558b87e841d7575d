// What a reference means where a name looks like something else: never a guess.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
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

test('a place in a list is no reference', async () => {
  const { id } = await alice.send(bob, 'first');
  for (const place of ['0', '1', '2', '-1', '#1', '[1]']) {
    expect(await codeOf(alice.send(place, 'to whom?')), place).toMatch(/\.unknown$/);
    expect(await codeOf(alice.call('contact.show', { contact: place })), place).toMatch(/\.unknown$/);
    expect(await codeOf(alice.call('message.edit', { id: place, text: 'which?' })), place).toMatch(/\.unknown$/);
  }
  expect((await alice.messages(bob)).map((one) => [one.id, one.body])).toEqual([[id, 'first']]);
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

describe('my own nickname', () => {
  const authors = async (): Promise<string[]> => (await alice.messages('alice-2')).map(({ from }) => from);

  test('is nobody else’s label: not by their own word, and not by mine', async () => {
    const other = await world.person('other');
    await other.call('account.nickname', { nickname: 'alice' });
    await other.call('contact.add', { address: alice.address, name: 'first' });
    await world.settle(10_000);
    await alice.call('contact.accept', { contact: 'alice-2' });
    await world.settle(10_000);
    await alice.send('alice-2', 'to you');
    await other.send('first', 'to me');
    await world.settle();
    expect(await authors()).toEqual(['alice', 'alice-2']);
    for (const name of ['alice', 'a\u006cice'])
      expect(await codeOf(alice.call('contact.rename', { contact: 'bob', name }))).toBe('name.taken');
    const { link } = await other.call('account.show', {});
    const dave = await world.person('dave');
    await dave.call('account.nickname', { nickname: 'alice' });
    expect(await dave.call('contact.add', { address: link })).toMatchObject({ name: 'alice-2' });
    expect(await codeOf(dave.call('contact.add', { address: bob.address, name: 'alice' }))).toBe('name.taken');
  });

  test('is not changed to a label, also of who was removed and whose history is here', async () => {
    const change = (nickname: string) => codeOf(alice.call('account.nickname', { nickname }));
    expect([await change('bob'), await change('b\u200bob')]).toEqual(['name.taken', undefined]);
    expect(await change(' bob ')).toBe('name.taken');
    await alice.call('contact.remove', { contact: 'bob' });
    expect(await change('bob')).toBe('name.taken');
    await alice.call('contact.remove', { contact: bob.address, erase: true });
    expect(await change('bob')).toBe(undefined);
  });
});
