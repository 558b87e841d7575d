// What members are told of each other, of requests, and of channels that end, through daemons and a server.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Guest, House } from './house.ts';

let house: House;
let bob: Guest;
let carol: Guest;

beforeAll(async () => {
  ({ house, bob, carol } = await House.open('alice', 'bob', 'carol'));
});
afterAll(() => house[Symbol.asyncDispose]());

test('a status text that changes is told once, and no other', async () => {
  await bob.call('member.show', { member: 'carol' });
  const told = () =>
    bob.events
      .filter(({ kind, member }) => kind === 'presence.changed' && member?.name === 'carol')
      .map(({ state, member }) => [state, member?.status]);
  await carol.call('presence.set', { state: 'away' });
  await bob.sees('that Carol is away', async () => told().at(-1)?.[0] === 'away');
  const before = told().length;
  for (const status of ['at lunch', 'at lunch', '']) {
    await carol.user.ok('server', 'profile', 'home', '--status', status);
    await carol.user.ok('server', 'profile', 'home', '--name', 'carol');
  }
  await bob.sees('that there is none', async () => told().length > before && told().at(-1)?.[1] === undefined);
  await carol.call('presence.set', { state: 'online' });
  await bob.sees('that Carol is back', async () => told().at(-1)?.[0] === 'online');
  expect(told().slice(before)).toEqual([
    ['away', 'at lunch'],
    ['away', undefined],
    ['online', undefined],
  ]);
});
