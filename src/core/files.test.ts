import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SottoError } from '../protocol/errors.ts';
import { type Person, World } from '../testing/people.ts';

let world: World;
let alice: Person;
let bob: Person;

beforeEach(async () => {
  world = new World(7);
  ({ alice, bob } = await world.friends());
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

const content = (size: number) => Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 8)) & 255));

const offer = async (size: number, name = 'photo.jpg') => {
  const path = join(world.dir, 'source');
  writeFileSync(path, content(size));
  const sending = alice.call('file.send', { conversation: 'bob', path, name });
  await world.settle();
  const { file } = await sending;
  await world.settle();
  return file;
};

const save = async (id: string, target: string) => {
  const saving = bob.call('file.save', { id, path: target, wait: 'active' });
  await world.settle(30_000);
  await saving;
};

describe('a file', () => {
  test('of any size arrives whole, both sides see it done, and only ciphertext is kept', async () => {
    for (const size of [0, 1, 32 * 1024, 32 * 1024 + 1, 700_000]) {
      const file = await offer(size, `f${size}`);
      const target = join(world.dir, `saved${size}`);
      await save(file.id, target);
      expect(readFileSync(target).equals(content(size))).toBe(true);
      expect((await bob.call('file.show', { id: file.id })).state).toBe('done');
      expect((await alice.call('file.show', { id: file.id })).state).toBe('done');
    }
    const kept = join(world.dir, 'alice', 'files');
    for (const name of readdirSync(kept)) expect(readFileSync(join(kept, name)).includes(content(200))).toBe(false);
  });

  test('goes on where it was after the sender was away and both were opened again', async () => {
    const file = await offer(3_000_000);
    world.hub.weather = { ...world.hub.weather, delayMs: [5, 5] };
    const target = join(world.dir, 'saved');
    const saving = bob.call('file.save', { id: file.id, path: target, wait: 'active' });
    await world.settle(8);
    await saving;
    await alice.close();
    await world.settle(5_000);
    expect(existsSync(target)).toBe(false);
    await bob.close();
    await bob.open();
    await alice.open();
    await world.settle(120_000);
    expect(readFileSync(target).equals(content(3_000_000))).toBe(true);
  });

  test('is served to the contact who owns it, and to nobody else', async () => {
    const file = await offer(100_000);
    const carol = await world.person('carol');
    await world.befriend(alice, carol);
    alice.db.run('UPDATE files SET conversation_id = (SELECT id FROM conversations ORDER BY id DESC LIMIT 1)');
    const target = join(world.dir, 'stolen');
    const saving = bob.call('file.save', { id: file.id, path: target, wait: 'active' });
    await world.settle(60_000);
    await saving;
    expect(existsSync(target)).toBe(false);
  });

  test('with a chunk that was changed at the sender is never saved', async () => {
    const file = await offer(300_000);
    const path = join(world.dir, 'alice', 'files', file.id);
    const bytes = readFileSync(path);
    bytes[100_000] = (bytes[100_000] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    const target = join(world.dir, 'saved');
    await save(file.id, target);
    expect(existsSync(target)).toBe(false);
    expect((await bob.call('file.show', { id: file.id })).state).toBe('active');
  });

  test('does not replace what is there, and a cancelled one is gone on both sides', async () => {
    const file = await offer(1000);
    const target = join(world.dir, 'there');
    writeFileSync(target, 'mine');
    await expect(bob.call('file.save', { id: file.id, path: target })).rejects.toThrow(SottoError);
    await alice.call('file.cancel', { id: file.id });
    await world.settle();
    expect((await bob.call('file.show', { id: file.id })).state).toBe('cancelled');
    expect(existsSync(join(world.dir, 'alice', 'files', file.id))).toBe(false);
    expect(readFileSync(target, 'utf8')).toBe('mine');
  });
});
