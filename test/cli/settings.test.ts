// Settings at both ends: what is off until somebody turns it on, and what the other side then sees.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Event } from '../../src/protocol/rpc-events.ts';
import { type Person, World } from '../../src/testing/people.ts';

let world: World;
let alice: Person;
let bob: Person;
let seen: Event[];

beforeEach(async () => {
  world = new World();
  ({ alice, bob } = await world.friends());
  seen = [];
  alice.account.events.subscribe((event) => seen.push(event));
});
afterEach(() => world[Symbol.asyncDispose]());

const on = (key: string, value: string | number | boolean = true, conversation?: string) =>
  bob.call('config.set', { key, value, ...(conversation === undefined ? {} : { conversation }) });
const kinds = (kind: string) => seen.filter((event) => event.kind === kind);

describe('a setting that is turned on at one end is seen at the other', () => {
  test('read receipts', async () => {
    const read = async (text: string): Promise<string | undefined> => {
      const { id } = await alice.send('bob', text);
      await world.settle();
      await bob.call('conversation.markRead', { conversation: 'alice' });
      await world.settle();
      return (await alice.messages('bob')).find((one) => one.id === id)?.state;
    };
    expect(await read('one')).toBe('delivered');
    await on('privacy.readReceipts');
    expect(await read('two')).toBe('read');
    await on('privacy.readReceipts', false, 'alice');
    expect(await read('three')).toBe('delivered');
  });

  test('typing', async () => {
    const type = async (): Promise<number> => {
      await bob.call('conversation.typing', { conversation: 'alice', on: true });
      await world.settle(2_000);
      return kinds('typing.changed').length;
    };
    expect(await type()).toBe(0);
    await on('privacy.typing');
    expect(await type()).toBe(1);
    expect(kinds('typing.changed')[0]).toMatchObject({ contact: { name: 'bob' } });
    expect(kinds('typing.changed')[0]?.cursor).toBeUndefined();
  });

  test('presence', async () => {
    const leave = async (): Promise<number> => {
      await bob.call('presence.set', { state: 'away' });
      await world.settle(2_000);
      return kinds('presence.changed').length;
    };
    expect(await leave()).toBe(0);
    await on('privacy.presence', true, 'alice');
    expect(await leave()).toBe(1);
    expect(kinds('presence.changed')[0]).toMatchObject({ contact: { name: 'bob' }, state: 'away' });
  });

  test('the default expiry, of the account and of one conversation', async () => {
    await bob.send('alice', 'stays');
    await on('messages.expiresMs', 60_000);
    await bob.send('alice', 'a minute');
    await on('messages.expiresMs', 10_000, 'alice');
    await bob.send('alice', 'ten seconds');
    await world.settle(2_000);
    expect(await alice.read('bob')).toEqual(['stays', 'a minute', 'ten seconds']);
    await world.settle(12_000);
    expect(await alice.read('bob')).toEqual(['stays', 'a minute']);
    await world.settle(60_000);
    expect([await alice.read('bob'), await bob.read('alice')]).toEqual([['stays'], ['stays']]);
  });

  test('every change is an event, and nothing of this is on by default', async () => {
    const rows = await alice.call('config.list', {});
    const off = { 'privacy.readReceipts': false, 'privacy.typing': false, 'privacy.presence': false };
    expect(Object.fromEntries(rows.map(({ key, value }) => [key, value]))).toMatchObject({
      ...off,
      'messages.expiresMs': 0,
      'notify.level': 'none',
    });
    await alice.call('config.set', { key: 'privacy.typing', value: true });
    await world.settle(1);
    expect(kinds('config.changed')).toMatchObject([{ setting: { key: 'privacy.typing', value: true } }]);
  });
});
