// What a contact is told in passing: whether I am there, also on a link that comes later, and that I write no more when it ends.
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Event } from '../protocol/rpc-events.ts';
import { type Person, World } from '../testing/people.ts';

let world: World;
let alice: Person;
let bob: Person;
let heard: string[];

const hear = ({ kind, contact, state }: Event): void => {
  heard.push([contact?.name, kind, ...(state === undefined ? [] : [state])].join(' '));
};

beforeEach(async () => {
  world = new World(7);
  ({ alice, bob } = await world.friends());
  heard = [];
  bob.account.events.subscribe(hear, ['typing.changed', 'presence.changed', 'link.down']);
});
afterEach(() => world[Symbol.asyncDispose]());

const relink = async (): Promise<void> => {
  await bob.close();
  await world.settle(5_000);
  await bob.open();
  heard = [];
  bob.account.events.subscribe(hear, ['presence.changed']);
  await bob.send(alice, 'back');
  await world.settle();
};

test('presence that was set before a contact linked is told when they do, where the setting is on for them', async () => {
  await alice.call('config.set', { key: 'privacy.presence', value: true });
  await relink();
  expect(heard).toEqual([]);
  await alice.call('presence.set', { state: 'away' });
  await world.settle();
  expect(heard).toEqual(['alice presence.changed away']);
  await relink();
  expect(heard).toEqual(['alice presence.changed away']);
  await alice.call('presence.set', { state: 'online' });
  await relink();
  expect(heard).toEqual(['alice presence.changed online']);
  await alice.call('config.set', { key: 'privacy.presence', value: false, conversation: 'bob' });
  await relink();
  expect(heard).toEqual([]);
});

test('who was told that a contact writes is told that they stopped when the link ends, before that', async () => {
  await alice.call('config.set', { key: 'privacy.typing', value: true });
  await alice.call('conversation.typing', { conversation: 'bob', on: true });
  await world.settle();
  expect(heard).toEqual(['alice typing.changed on']);
  alice.die();
  await world.settle();
  expect(heard.slice(1)).toEqual(['alice typing.changed off', 'alice link.down']);
  await alice.open();
  await alice.send(bob, 'again');
  await alice.call('conversation.typing', { conversation: 'bob', on: true });
  await alice.call('conversation.typing', { conversation: 'bob', on: false });
  await world.settle();
  heard = [];
  await alice.close();
  await world.settle();
  expect(heard).toEqual(['alice link.down']);
});
