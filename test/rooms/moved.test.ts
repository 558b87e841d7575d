// A server whose address another one has taken, and one that has moved: its key is what counts.
import { renameSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Guest, House } from './house.ts';
import { Program } from './program.ts';

let house: House;
let alice: Guest;
let bob: Guest;

beforeAll(async () => {
  ({ house, alice, bob } = await House.open('alice', 'bob'));
  await alice.call('channel.create', { name: '#ops', encryption: 'open' });
  await bob.call('channel.join', { channel: '#ops' });
});
afterAll(() => house[Symbol.asyncDispose]());

const server = async (guest: Guest) => (await guest.call('server.list', {}))[0];

test('another server at its address: who waits for a text or a file is told so at once, and what can be done', async () => {
  const { data } = house.server;
  await house.server.stop();
  renameSync(data, `${data}.true`);
  await house.server.start();
  const { user } = bob;
  await bob.call('server.retry', { server: 'home' });
  expect(await server(bob)).toMatchObject({ state: 'waiting', lastErrorCode: 'server.certificateChanged' });
  const { code, error, items } = await user.run('send', '#ops', 'waits', '--wait', 'sent', '--timeout', '10m');
  expect([code, error?.code, items[0]]).toMatchObject([6, 'server.certificateChanged', { state: 'queued' }]);
  expect(error?.message).toContain('another key');
  const file = await user.run('file', 'send', '#ops', '-', '--name', 'x', '--wait', 'done', '--timeout', '10m', {
    input: 'x',
  });
  expect([file.code, file.error?.code]).toEqual([6, 'server.certificateChanged']);
  expect((await user.run('send', '#ops', 'waits too', { json: false })).err).toContain('Somebody else answers');
  const why = (await user.ok('why', 'home', { json: false })).out;
  expect(why).toMatch(/another key.*\n.*\n?.*ask its owner/);
  expect(why).not.toContain('goes on by itself');
  await house.server.stop();
  rmSync(data, { recursive: true });
  renameSync(`${data}.true`, data);
  await house.server.start();
  await alice.call('server.retry', { server: 'home' });
  await bob.call('server.retry', { server: 'home' });
  await alice.reads('#ops', 'waits too');
});

test('a server that has moved is followed by a link with its key; what waits and what was said stay, and the link lets somebody else in', async () => {
  const { data, ready: { url: before = '' } = {} } = house.server;
  const { user } = bob;
  const link = await alice.invite(1);
  expect(await user.run('server', 'join', link)).toMatchObject({ code: 7, error: { code: 'server.joined' } });
  const at = (origin: string) => link.replace(/at=[^&]*/, `at=${encodeURIComponent(origin)}`);
  // Where nobody answers it is not.
  expect((await user.run('server', 'join', at('wss://127.0.0.1:9'))).code).toBe(4);
  await bob.sees('the server', async () => (await server(bob))?.state === 'online');
  expect((await server(bob))?.url).toBe(before);
  await house.server.stop();
  await user.ok('send', '#ops', 'follows');
  const elsewhere = new Program(data);
  await elsewhere.start();
  const url = elsewhere.target.origin;
  expect(url).not.toBe(before);
  const told = await user.ok('server', 'join', at(url), { json: false });
  expect(told.err).toContain('has moved');
  expect(await server(bob)).toMatchObject({ state: 'online', url, memberName: 'bob', label: 'home' });
  await alice.call('server.join', { link: at(url) });
  await alice.reads('#ops', 'follows');
  expect(await bob.bodies('#ops')).toContain('waits too');
  const carol = await house.guest('carol');
  await carol.call('server.join', { link: at(url), label: 'home' });
  await carol.user.ok('server', 'leave', 'home');
  for (const guest of [alice, bob]) await guest.user.run('daemon', 'stop');
  await elsewhere.stop();
});
