import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { MemoryNetwork } from '../net/memory-network.ts';
import { SottoError } from '../protocol/errors.ts';
import { World } from '../testing/people.ts';

test('what is under way when the account closes ends with one error, and nothing of it goes on', async () => {
  await using world = new World();
  const alice = await world.person('alice');
  const bob = await world.person('bob');
  await world.befriend(alice, bob);
  await bob.close();
  const path = join(world.dir, 'large');
  writeFileSync(path, new Uint8Array(16 * 1024 * 1024));
  const waits = alice.call('message.send', {
    conversation: 'bob',
    text: 'later',
    wait: 'delivered',
    timeoutMs: 60_000,
  });
  await world.settle();
  const sends = alice.call('file.send', { conversation: 'bob', path });
  const locked = { code: 'account.locked' };
  const ended = Promise.all([expect(waits).rejects.toMatchObject(locked), expect(sends).rejects.toMatchObject(locked)]);
  await vi.waitUntil(async () => (await alice.call('file.list', {})).length === 1);
  const { id } = await alice.call('file.open', { conversation: 'bob', name: 'spooled' });
  const data = Buffer.alloc(100_000).toString('base64');
  const queued = expect(alice.call('file.write', { id, data })).resolves.toEqual({ sizeBytes: 100_000 });
  const { account } = alice;
  await alice.close();
  await Promise.all([ended, queued]);
  await world.settle(3 * 60_000);
  await expect(account.call('account.nickname', { nickname: 'later' })).rejects.toMatchObject(locked);
  expect(() => account.events.since('0')).toThrow(expect.objectContaining(locked));

  await alice.open();
  await world.settle();
  expect(await alice.call('file.list', {})).toMatchObject([{ state: 'failed' }, { state: 'failed' }]);
  expect(await alice.read(bob)).toEqual(['later']);
});

test('who waits for what a linked contact does is told that the account closes', async () => {
  await using world = new World();
  const [alice, bob] = [await world.person('alice'), await world.person('bob')];
  await world.befriend(alice, bob);
  const sent = alice.call('message.send', { conversation: 'bob', text: 'look', wait: 'read', timeoutMs: 60_000 });
  await world.settle();
  expect(await bob.read(alice)).toEqual(['look']);
  const ended = expect(sent).rejects.toMatchObject({ code: 'account.locked' });
  await alice.close();
  await ended;
});

test('an account whose network cannot be started leaves nothing that goes on', async () => {
  await using world = new World();
  const alice = await world.person('alice');
  await alice.close();
  const start = vi.spyOn(MemoryNetwork.prototype, 'start').mockRejectedValueOnce(new SottoError('disk.full'));
  await expect(alice.open()).rejects.toMatchObject({ code: 'disk.full' });
  await alice.close();
  await world.settle(3 * 60_000);
  start.mockRestore();
  await alice.open();
  expect((await alice.call('account.show', {})).nickname).toBe('alice');
});
