// Files in channels: many at once, a server that is away, a disk that is full, one that is taken back, and after a restore.
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pathsOf } from '../daemon/furnished.ts';
import { Guest, House } from './house.ts';

let house: House;
let alice: Guest;
let bob: Guest;
let dir: string;

beforeAll(async () => {
  ({ house, alice, bob } = await House.open('alice', 'bob'));
  dir = join(house.stage.dir, '..');
  await alice.call('channel.create', { name: '#files', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#files', member: 'bob' });
  await bob.call('channel.join', { channel: '#files' });
});
afterAll(() => house[Symbol.asyncDispose]());

const bytesOf = (size: number, seed: number) => Buffer.alloc(size).map((_, i) => (i * 31 + seed) % 251);

/** Writes a file of this size and sends it to the channel. */
const send = async (guest: Guest, name: string, size: number) => {
  const path = join(dir, name);
  writeFileSync(path, bytesOf(size, name.length));
  return (await guest.call('file.send', { conversation: '#files', path })).file;
};

const offered = (guest: Guest, name: string) =>
  guest.sees(`the offer of ${name}`, async () =>
    (await guest.call('file.list', { conversation: '#files' })).find((file) => file.name === name),
  );

const saved = async (guest: Guest, name: string, size: number) => {
  const path = join(dir, `${guest.name}-${name}`);
  const { id } = await offered(guest, name);
  const { reached } = await guest.call('file.save', { id, path, wait: 'done' });
  expect([reached, readFileSync(path).equals(bytesOf(size, name.length))]).toEqual([true, true]);
};

test('many at once, sent while the server is away, go up when it is back, and come down whole', async () => {
  await house.server.stop();
  const names = Array.from({ length: 6 }, (_, i) => `away-${'x'.repeat(i)}`);
  for (const [i, name] of names.entries()) await send(alice, name, 100_000 * i);
  await house.server.start();
  for (const [i, name] of names.entries()) await saved(bob, name, 100_000 * i);
});

test('a disk that is full while a file is fetched is told, ends nothing, and the file comes once there is room', async () => {
  await send(alice, 'full', 3_000_000);
  const { id } = await offered(bob, 'full');
  const kept = join(pathsOf(bob.user).filesDir, id);
  mkdirSync(join(kept, '..'), { recursive: true });
  symlinkSync('/dev/full', kept);
  const path = join(dir, 'bob-full');
  await expect(bob.call('file.save', { id, path, wait: 'done' })).rejects.toMatchObject({ code: 'disk.full' });
  rmSync(kept);
  await saved(bob, 'full', 3_000_000);
});

test('a file that is taken back before it is up never comes, and its message has failed', async () => {
  await house.server.stop();
  const { id } = await send(alice, 'regretted', 50_000);
  await alice.call('file.cancel', { id });
  expect(await alice.call('message.show', { id })).toMatchObject({ state: 'failed', reason: 'cancelled' });
  await house.server.start();
  await send(alice, 'after', 10);
  await saved(bob, 'after', 10);
  expect((await bob.messages('#files')).some(({ body }) => body === 'regretted')).toBe(false);
});

test('after a restore what was fetched can be fetched again, and what was not up has failed', async () => {
  await house.server.stop();
  const { id } = await send(bob, 'not up', 20_000);
  const [file, passphrase] = [join(dir, 'backup'), join(dir, 'passphrase')];
  await bob.call('backup.create', { file, passphrase: 'tulip mania' });
  writeFileSync(passphrase, 'tulip mania\n', { mode: 0o600 });
  await bob.user.ok('daemon', 'stop');
  await house.server.start();
  const user = house.stage.stranger('again');
  await user.ok('restore', file, '--no-passphrase', { env: { SOTTO_PASSPHRASE_FILE: passphrase } });
  const again = house.welcome(new Guest(user));
  await again.connect();
  await again.sees('the server', async () => (await again.call('server.list', {}))[0]?.state === 'online');
  await saved(again, 'full', 3_000_000);
  expect(await again.call('message.show', { id })).toMatchObject({ state: 'failed', reason: 'not in the backup' });
  await user.ok('daemon', 'stop');
  await again.back();
  expect((await again.call('server.list', {})).map(({ label }) => label)).toEqual(['home']);
});
