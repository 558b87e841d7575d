// A look back at a channel: what is counted and named there is of then, too.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Guest, House } from './house.ts';

let house: House;
let alice: Guest;
let bob: Guest;

beforeAll(async () => {
  ({ house, alice, bob } = await House.open('alice', 'bob'));
});
afterAll(() => house[Symbol.asyncDispose]());

/** A time behind all that was said: what is said after it has a later one, by the clock that the server has too. */
const timeBehind = async (): Promise<number> => {
  const at = Date.now();
  await alice.sees('the next millisecond', async () => Date.now() > at);
  return at;
};

const gather = async (channel: string, encryption: 'open' | 'members'): Promise<void> => {
  await alice.call('channel.create', { name: channel, encryption });
  if (encryption === 'members') await alice.call('channel.invite', { channel, member: 'bob' });
  await bob.call('channel.join', { channel });
};

test('a message has as many answers as it had then, in its thread too', async () => {
  const channel = '#threads';
  await gather(channel, 'open');
  const root = await alice.say(channel, 'root');
  const noneAt = await timeBehind();
  const first = await bob.say(channel, 'first answer', { thread: root.id });
  await alice.reads(channel, 'first answer');
  const oneAt = await timeBehind();
  await bob.say(channel, 'second answer', { thread: root.id });
  await bob.say(channel, 'third answer', { thread: root.id });
  await bob.call('message.delete', { id: first.id });
  await alice.reads(channel, 'third answer');
  await alice.sees('two answers', async () => (await alice.call('message.show', { id: root.id })).answers === 2);
  const gone = await timeBehind();
  const answers = async (at: number, more = {}) => (await alice.messages(channel, { at, ...more }))[0]?.answers;
  for (const more of [{}, { thread: root.id }]) {
    expect(await answers(noneAt, more)).toBeUndefined();
    // What was deleted since was there.
    expect(await answers(oneAt, more)).toBe(1);
    expect(await answers(gone, more)).toBe(2);
  }
  await alice.call('message.delete', { id: root.id });
  expect(await answers(oneAt)).toBe(1);
});

test('the key epoch of a channel is that of then', async () => {
  const channel = '#epochs';
  await gather(channel, 'members');
  const [first, firstAt] = [(await alice.call('channel.show', { channel })).keyEpoch, await timeBehind()];
  await alice.call('channel.rotate', { channel });
  const rotatedAt = await timeBehind();
  await alice.call('channel.kick', { channel, member: 'bob' });
  expect((await alice.call('channel.show', { channel })).keyEpoch).toBe(first + 2);
  for (const [at, keyEpoch] of [
    [firstAt, first],
    [rotatedAt, first + 1],
    [await timeBehind(), first + 2],
    [0, 0],
  ] as const)
    expect((await alice.call('channel.show', { channel, at })).keyEpoch).toBe(keyEpoch);
});

test('a channel that was not made yet says so, also one whose members have all gone since', async () => {
  const channel = '#made';
  const beforeAt = await timeBehind();
  await gather(channel, 'open');
  const thenAt = await timeBehind();
  const before = () => alice.call('channel.show', { channel, at: beforeAt });
  expect(await before()).toMatchObject({ state: 'notCreated', keyEpoch: 0, memberCount: 0, archived: false });
  await bob.call('channel.leave', { channel });
  await alice.sees('that bob has gone', async () => (await alice.call('channel.show', { channel })).memberCount === 1);
  await alice.call('channel.leave', { channel });
  await alice.sees('its end', async () => (await alice.call('channel.show', { channel })).archived);
  expect(await before()).toMatchObject({ state: 'notCreated', memberCount: 0, archived: false });
  expect(await alice.call('channel.show', { channel, at: thenAt })).toMatchObject({ state: 'joined', archived: false });
  const long = await alice.user.ok('channel', 'show', channel, '--at', '2001-01-01', { json: false });
  expect(long.out).toBe(`Then: ${channel} did not exist yet\n`);
  const now = await alice.call('channel.show', { channel, at: await timeBehind() });
  expect(now).toMatchObject({ state: 'left', memberCount: 0, archived: true });
});
