// Whether a message names somebody: as it reads now, on every device, whenever its edit comes.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Guest, House } from './house.ts';

let house: House;
let alice: Guest;
let bob: Guest;
let phone: Guest;

beforeAll(async () => {
  ({ house, alice, bob } = await House.open('alice', 'bob'));
  phone = await house.device(bob, 'phone');
  await phone.call('server.join', { link: await alice.invite(), label: 'home' });
});
afterAll(() => house[Symbol.asyncDispose]());

const open = async (name: string): Promise<void> => {
  await alice.call('channel.create', { name, encryption: 'open' });
  await bob.call('channel.join', { channel: name });
  await phone.sees('the channel', async () =>
    (await phone.call('channel.list', {})).some((one) => one.name === name && one.state === 'joined'),
  );
};

const counted = async (guest: Guest, conversation: string): Promise<number> =>
  (await guest.call('conversation.show', { conversation })).mentions;

const edit = (id: string, text: string) => alice.call('message.edit', { id, text });

test('an edit takes a mention away or makes one, on all devices, also on one that was away', async () => {
  await open('#edits');
  const named = await alice.say('#edits', 'hey @bob');
  const plain = await alice.say('#edits', 'plain');
  for (const guest of [bob, phone]) {
    await guest.reads('#edits', 'plain');
    expect(await counted(guest, '#edits')).toBe(1);
  }
  await phone.user.ok('daemon', 'stop');
  await edit(named.id, 'hey nobody');
  await bob.reads('#edits', 'hey nobody');
  expect(await counted(bob, '#edits')).toBe(0);
  expect((await bob.call('message.show', { id: named.id })).mention).toBeUndefined();
  await edit(plain.id, 'now @bob');
  expect((await bob.reads('#edits', 'now @bob')).mention).toBe(true);
  expect(await counted(bob, '#edits')).toBe(1);
  await phone.back();
  expect((await phone.reads('#edits', 'now @bob')).mention).toBe(true);
  expect((await phone.reads('#edits', 'hey nobody')).mention).toBeUndefined();
  expect(await counted(phone, '#edits')).toBe(1);
  await bob.call('conversation.markRead', { conversation: '#edits' });
  await edit(named.id, '@here again');
  expect((await bob.reads('#edits', '@here again')).mention).toBe(true);
  // What was read is not counted once more.
  expect(await counted(bob, '#edits')).toBe(0);
  await alice.reads('#edits', '@here again');
  expect((await alice.call('message.show', { id: named.id })).mention).toBeUndefined();
});

test('who reads the history is named by what messages say now, and in a look back by what they said then', async () => {
  await alice.call('channel.create', { name: '#late', encryption: 'open' });
  const named = await alice.say('#late', 'dear @bob');
  const plain = await alice.say('#late', 'no name');
  const thenAt = (await alice.call('message.show', { id: plain.id })).sentAt;
  await edit(named.id, 'dear friend');
  await edit(plain.id, 'the name: @bob');
  await alice.sees('nothing waits', async () => (await alice.call('server.list', {}))[0]?.outboxDepth === 0);
  await bob.call('channel.join', { channel: '#late' });
  await bob.reads('#late', 'the name: @bob');
  const told = async (at?: number) =>
    (await bob.messages('#late', at === undefined ? {} : { at })).map(({ body, mention }) => [body, mention === true]);
  expect(await told()).toEqual([
    ['dear friend', false],
    ['the name: @bob', true],
  ]);
  expect(await told(thenAt)).toEqual([
    ['dear @bob', true],
    ['no name', false],
  ]);
  expect(await counted(bob, '#late')).toBe(0);
});

test('a message that is gone names nobody, and one that was changed before it left names whom it says', async () => {
  await open('#gone');
  const { id } = await alice.say('#gone', 'bye @bob');
  await bob.reads('#gone', 'bye @bob');
  expect(await counted(bob, '#gone')).toBe(1);
  await alice.call('message.delete', { id });
  await bob.sees('it gone', async () => (await bob.call('message.show', { id })).deletedAt);
  expect(await bob.call('message.show', { id })).not.toHaveProperty('mention');
  expect(await counted(bob, '#gone')).toBe(0);
  await house.server.stop();
  const [first, second] = [await queued('early @bob'), await queued('early')];
  await edit(first, 'early for nobody');
  await edit(second, 'early for @bob');
  await house.server.start();
  expect((await bob.reads('#gone', 'early for @bob')).mention).toBe(true);
  expect((await bob.reads('#gone', 'early for nobody')).mention).toBeUndefined();
  expect(await counted(bob, '#gone')).toBe(1);
});

const queued = async (text: string): Promise<string> =>
  (await alice.call('message.send', { conversation: '#gone', text })).message.id;
