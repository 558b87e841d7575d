import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { chunkCount } from '../crypto/file-chunks.ts';
import { MemoryNetwork } from '../net/memory-network.ts';
import { FILE_QUOTA_BYTES, FILE_SPOOL_IDLE_MS, FILE_SPOOLS_MAX } from '../protocol/limits.ts';
import type { Event } from '../protocol/rpc-events.ts';
import type { FileObject } from '../protocol/rpc-objects.ts';
import { keptBytes } from '../store/files.ts';
import { type Person, World } from '../testing/people.ts';

const MINUTE = 60_000;
/** So large that it takes several round trips, and is noted before its end. */
const LARGE = 4_000_000;

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

const BYTES = Buffer.alloc(LARGE);
for (let i = 0; i < LARGE; i++) BYTES[i] = (i * 31 + (i >> 8)) & 255;
const content = (size: number) => BYTES.subarray(0, size);

const offer = async (size: number, name = 'photo.jpg'): Promise<FileObject> => {
  const path = join(world.dir, 'source');
  writeFileSync(path, content(size));
  const sending = alice.call('file.send', { conversation: 'bob', path, name });
  await world.settle();
  const { file } = await sending;
  await world.settle();
  return file;
};

const target = (name = 'saved'): string => join(world.dir, name);

/** Bob saves a file while `ms` pass; gives what came of it. */
const save = async (id: string, path = target(), { overwrite = false, ms = 30_000 } = {}) => {
  const saving = bob.call('file.save', { id, path, overwrite, wait: 'done', timeoutMs: ms });
  saving.catch(() => {});
  await world.settle(ms);
  return saving;
};

const show = (person: Person, id: string): Promise<FileObject> => person.call('file.show', { id });

const kept = (person: Person): string[] => {
  const dir = join(world.dir, person.name, 'files');
  return existsSync(dir) ? readdirSync(dir) : [];
};

const rows = (person: Person) => person.db.get<{ n: number }>('SELECT count(*) AS n FROM messages')?.n;

const isSaved = (size: number, path = target()): boolean => readFileSync(path).equals(content(size));

/** Bob has begun to save a large file, and a part of it is noted. */
const halfway = async (): Promise<string> => {
  const { id } = await offer(LARGE);
  world.hub.weather = { ...world.hub.weather, delayMs: [5, 5] };
  await bob.call('file.save', { id, path: target(), wait: 'active' });
  while ((await show(bob, id)).transferredBytes === 0) await world.settle(1);
  expect((await show(bob, id)).transferredBytes).toBeLessThan(LARGE);
  return id;
};

/** Changes a chunk of a file as its author keeps it: whoever is sent that chunk notices. */
const spoil = (id: string, chunk: number): void => {
  const path = join(world.dir, 'alice', 'files', id);
  const bytes = readFileSync(path);
  const at = chunk * Math.ceil(bytes.length / chunkCount(bytes.length)) + 100;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
};

/** What a person is told of files from now on. */
const eventsOf = (person: Person): { readonly kind: string; readonly file: FileObject }[] => {
  const told: { kind: string; file: FileObject }[] = [];
  person.account.events.subscribe(
    ({ kind, file }) => file !== undefined && 'state' in file && told.push({ kind, file }),
  );
  return told;
};

describe('a file', () => {
  test('FILE-1: of any size arrives whole; ciphertext is kept by who has it to save, and by who has it to send', async () => {
    for (const size of [0, 1, 32 * 1024, 32 * 1024 + 1, 700_000]) {
      const file = await offer(size, `f${size}`);
      expect(kept(alice)).toEqual([file.id, `${file.id}.hashes`]);
      expect(size > 100 && readFileSync(join(world.dir, 'alice', 'files', file.id)).includes(content(100))).toBe(false);
      expect(await save(file.id, target(`saved${size}`))).toMatchObject({ reached: true });
      expect(isSaved(size, target(`saved${size}`))).toBe(true);
      for (const person of [alice, bob])
        expect(await show(person, file.id)).toMatchObject({
          state: 'done',
          sizeBytes: size,
          transferredBytes: size,
          name: `f${size}`,
          hash: file.hash,
          direction: person === alice ? 'out' : 'in',
          conversation: person === alice ? 'bob' : 'alice',
        });
      expect(kept(alice)).toEqual([]);
    }
    for (const name of kept(bob))
      expect(readFileSync(join(world.dir, 'bob', 'files', name)).includes(content(200))).toBe(false);
  });

  test('is told of on both sides while it goes, and at its end', async () => {
    const [told, toldAlice] = [eventsOf(bob), eventsOf(alice)];
    const { id } = await offer(LARGE);
    await save(id);
    expect(told.map(({ kind }) => kind)).toEqual([
      'file.offered',
      ...told.slice(2).map(() => 'file.progressed'),
      'file.completed',
    ]);
    expect(toldAlice.at(-1)?.kind).toBe('file.completed');
    for (const events of [told, toldAlice]) {
      const steps = events.filter(({ kind }) => kind === 'file.progressed').map(({ file }) => file.transferredBytes);
      expect(steps.length).toBeGreaterThan(1);
      expect(steps).toEqual([...steps].sort((a, b) => a - b));
      expect(steps.at(-1)).toBe(LARGE);
    }
  });

  test.each(['bob', 'alice', 'both'])('goes on where it was after %s died', async (who) => {
    const id = await halfway();
    if (who !== 'alice') bob.die();
    if (who !== 'bob') alice.die();
    await world.settle(5_000);
    expect(existsSync(target())).toBe(false);
    // Nobody is sent the first piece again.
    spoil(id, 0);
    for (const person of [alice, bob]) if (!person.isOpen) await person.open();
    await world.settle(2 * MINUTE);
    expect(isSaved(LARGE)).toBe(true);
    expect(await show(alice, id)).toMatchObject({ state: 'done' });
  });

  test('keeps what came by a link that soon broke', async () => {
    const { id } = await offer(LARGE);
    world.hub.weather = { ...world.hub.weather, delayMs: [5, 5] };
    await bob.call('file.save', { id, path: target(), wait: 'active' });
    await world.settle(17);
    expect((await show(bob, id)).transferredBytes).toBe(0);
    world.hub.partition(alice.address, bob.address);
    await world.settle();
    expect((await show(bob, id)).transferredBytes).toBeGreaterThan(500_000);
  });

  test.each([
    ['last piece', 'file.progressed'],
    ['end', 'file.completed'],
  ])('is saved after a death at its %s, whatever lies there from before', async (_when, last) => {
    const { id } = await offer(100_000);
    writeFileSync(join(world.dir, `.sotto-${id}`), 'half of it');
    bob.account.events.subscribe(({ kind }) => (kind === last ? bob.die() : undefined));
    const run = bob.db.transaction.bind(bob.db);
    bob.db.transaction = (body) => {
      const result = run(body);
      if (bob.db.get<{ kind: string }>('SELECT kind FROM events ORDER BY id DESC')?.kind !== last) return result;
      bob.die();
      throw new Error(`died after ${last}`);
    };
    await bob.call('file.save', { id, path: target(), wait: 'active' });
    await world.settle(5_000);
    expect([bob.isOpen, existsSync(target())]).toEqual([false, false]);
    await bob.open();
    await world.settle();
    expect(isSaved(100_000)).toBe(true);
    expect(await show(bob, id)).toMatchObject({ state: 'done', savedTo: target() });
    expect(readdirSync(world.dir)).not.toContain(`.sotto-${id}`);
  });

  test('is saved after the account was closed while it was saved', async () => {
    const { id } = await offer(LARGE);
    await bob.call('file.fetch', { id });
    await world.settle(MINUTE);
    const saving = bob.call('file.save', { id, path: target(), wait: 'active' });
    await Promise.all([saving, bob.close()]);
    expect(readdirSync(world.dir).filter((name) => name === 'saved' || name.startsWith('.sotto-'))).toEqual([]);
    await bob.open();
    await world.settle();
    expect(isSaved(LARGE)).toBe(true);
  });

  test('of a contact who comes back is asked for at once, and one who is away costs nothing', async () => {
    const { id } = await offer(1000);
    await alice.close();
    await bob.call('file.save', { id, path: target(), wait: 'active' });
    await world.settle(MINUTE);
    const descriptors = readdirSync('/proc/self/fd').length;
    await world.settle(60.4 * MINUTE);
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(descriptors);
    // It is told why nothing comes; who waits goes on waiting.
    const reason = 'The address is not published: the other side is offline';
    expect(await show(bob, id)).toMatchObject({ state: 'active', reason });
    await expect(save(id)).resolves.toMatchObject({ reached: false, file: { reason } });
    await alice.open();
    await alice.send(bob, 'I am back');
    await world.settle(1_000);
    expect(isSaved(1000)).toBe(true);
    expect((await show(bob, id)).reason).toBeUndefined();
  });

  test('FILE-2: is served to the contact who owns it, and to nobody else', async () => {
    const file = await offer(100_000);
    const carol = await world.person('carol');
    await world.befriend(alice, carol);
    alice.db.run('UPDATE files SET conversation_id = (SELECT id FROM conversations ORDER BY id DESC LIMIT 1)');
    await expect(save(file.id)).resolves.toMatchObject({ reached: false });
    expect(existsSync(target())).toBe(false);
  });

  test('with a piece that was changed by its author has failed on both sides, says so, and leaves nothing', async () => {
    const file = await offer(300_000);
    spoil(file.id, 3);
    await expect(save(file.id)).rejects.toMatchObject({ code: 'file.damaged' });
    const reason = 'A piece of the file does not fit its hash';
    expect(await show(bob, file.id)).toMatchObject({ state: 'failed', reason });
    expect(await show(alice, file.id)).toMatchObject({ state: 'cancelled', reason: 'cancelled by the other side' });
    expect([existsSync(target()), kept(alice), kept(bob)]).toEqual([false, [], []]);
    await expect(save(file.id)).rejects.toMatchObject({ code: 'file.stopped' });
  });

  test('replaces nothing that is there or comes there, unless it may', async () => {
    const { id } = await offer(1000);
    writeFileSync(target(), 'mine');
    await expect(save(id)).rejects.toMatchObject({ code: 'file.exists' });
    expect(await show(bob, id)).toMatchObject({ state: 'offered' });

    const late = target('late');
    const saving = bob.call('file.save', { id, path: late, wait: 'done' });
    saving.catch(() => {});
    await world.settle(1);
    writeFileSync(late, 'mine');
    await world.settle();
    await expect(saving).rejects.toMatchObject({ code: 'file.exists' });
    expect(await show(bob, id)).toMatchObject({ state: 'done', reason: expect.stringContaining('--overwrite') });
    expect([target(), late].map((path) => readFileSync(path, 'utf8'))).toEqual(['mine', 'mine']);

    expect(await save(id, late, { overwrite: true })).toMatchObject({ reached: true });
    expect(isSaved(1000, late)).toBe(true);
    expect((await show(bob, id)).reason).toBeUndefined();
  });

  test('that is paused twice stays paused; one that is done says that there is nothing to pause', async () => {
    const id = await halfway();
    for (let time = 0; time < 2; time++)
      expect(await bob.call('file.pause', { id })).toMatchObject({ state: 'paused' });
    const saving = save(id);
    await world.settle(MINUTE);
    await saving;
    await expect(bob.call('file.pause', { id })).rejects.toMatchObject({ code: 'file.stopped' });
  });

  test('replaces no pipe and no device, not even one that comes there later', async () => {
    const { id } = await offer(1000);
    execFileSync('mkfifo', [target('pipe')]);
    await expect(save(id, target('pipe'), { overwrite: true })).rejects.toMatchObject({ code: 'file.exists' });
    expect(await show(bob, id)).toMatchObject({ state: 'offered' });

    const saving = bob.call('file.save', { id, path: target('late'), overwrite: true, wait: 'done' });
    saving.catch(() => {});
    await world.settle(1);
    execFileSync('mkfifo', [target('late')]);
    await world.settle();
    await expect(saving).rejects.toMatchObject({ code: 'file.exists' });
    expect(['pipe', 'late'].map((name) => lstatSync(target(name)).isFIFO())).toEqual([true, true]);
  });

  test('that cannot be written where it shall be says so, and can be saved elsewhere; a name may have 255 bytes', async () => {
    const name = `${'n'.repeat(251)}.txt`;
    const { id } = await offer(100_000, name);
    mkdirSync(target('folder'));
    writeFileSync(target('regular'), '');
    for (const path of ['none/x', 'regular/x'])
      await expect(save(id, target(path))).rejects.toMatchObject({
        code: 'file.unknown',
        message: `There is no folder ${dirname(target(path))}`,
      });
    mkdirSync(target('gone'));
    const saving = bob.call('file.save', { id, path: target('gone/x'), wait: 'done' });
    saving.catch(() => {});
    await world.settle(1);
    rmdirSync(target('gone'));
    writeFileSync(target('gone'), '');
    await world.settle();
    await expect(saving).rejects.toMatchObject({
      code: 'disk.failed',
      message: `The disk could not be read or written (ENOTDIR ${target('gone/x')})`,
    });
    await expect(save(id, target('folder'), { overwrite: true })).rejects.toMatchObject({ code: 'disk.failed' });
    expect(await save(id, target(name))).toMatchObject({ reached: true });
    expect(isSaved(100_000, target(name))).toBe(true);
    await expect(save(id, target('folder'), { overwrite: true })).rejects.toMatchObject({ code: 'disk.failed' });
    expect((await show(bob, id)).reason).toBeUndefined();
    expect(readdirSync(world.dir).filter((one) => one.startsWith('.sotto-'))).toEqual([]);
  });

  test.each(['alice', 'bob'])('that %s cancels on the way ends on both sides, and leaves nothing', async (who) => {
    const id = await halfway();
    const told = [eventsOf(alice), eventsOf(bob)];
    const [one, other] = who === 'alice' ? [alice, bob] : [bob, alice];
    expect(await one.call('file.cancel', { id })).toMatchObject({ state: 'cancelled', reason: 'cancelled' });
    await world.settle(MINUTE);
    expect(await show(other, id)).toMatchObject({ state: 'cancelled', reason: 'cancelled by the other side' });
    expect([existsSync(target()), kept(alice), kept(bob)]).toEqual([false, [], []]);
    for (const events of told) expect(events.filter(({ kind }) => kind === 'file.failed')).toHaveLength(1);
    await one.call('file.cancel', { id });
    await expect(bob.call('file.save', { id, path: target() })).rejects.toMatchObject({
      code: 'file.stopped',
      message: `The transfer was ${one === bob ? 'cancelled' : 'cancelled by the other side'}`,
    });
    await expect(bob.call('file.pause', { id })).rejects.toMatchObject({ code: 'file.stopped' });
  });

  test('that is done stays done when what is kept of it is erased: it is saved nowhere else then', async () => {
    const { id } = await offer(1000);
    await save(id);
    const before = await show(bob, id);
    expect(before).toMatchObject({ state: 'done', savedTo: target() });
    const told = eventsOf(bob);
    expect(await bob.call('file.cancel', { id })).toEqual(before);
    await world.settle();
    expect([kept(bob), told, isSaved(1000)]).toEqual([[], [], true]);
    expect(keptBytes(bob.db)).toBe(0);
    await bob.close();
    await bob.open();
    expect(await bob.call('file.cancel', { id })).toEqual(before);
    const again = { code: 'file.unknown', message: 'Nothing of this file is kept any more' };
    await expect(save(id, target('again'))).rejects.toMatchObject(again);
    await expect(bob.call('file.fetch', { id, wait: 'done' })).rejects.toMatchObject(again);
    expect(await show(bob, id)).toEqual(before);
  });

  test('whose end was the last that happened before a death leaves nothing after it', async () => {
    const id = await halfway();
    await bob.call('file.pause', { id });
    await world.settle();
    bob.crashAt(1, 'after');
    await alice.call('file.cancel', { id });
    await world.settle();
    expect([bob.isOpen, kept(bob).length]).toEqual([false, 2]);
    await bob.open();
    await world.settle();
    expect(await show(bob, id)).toMatchObject({ state: 'cancelled' });
    expect(kept(bob)).toEqual([]);
  });

  test('that is paused stops, also for who waits for it, and goes on from there', async () => {
    const id = await halfway();
    const waiting = bob.call('file.fetch', { id, wait: 'done' });
    expect(await bob.call('file.pause', { id })).toMatchObject({ state: 'paused' });
    expect(await waiting).toMatchObject({ reached: false, file: { state: 'paused' } });
    await world.settle(10 * MINUTE);
    const { transferredBytes } = await show(bob, id);
    expect(transferredBytes).toBeLessThan(LARGE);
    spoil(id, 0);
    // Where it shall be saved is still known.
    await bob.call('file.fetch', { id });
    await world.settle(MINUTE);
    expect(isSaved(LARGE)).toBe(true);
  });

  test('that is paused while its author is dialled is not fetched', async () => {
    const { id } = await offer(LARGE);
    await bob.call('file.save', { id, path: target(), wait: 'active' });
    await bob.call('file.pause', { id });
    await world.settle(MINUTE);
    expect(await show(bob, id)).toMatchObject({ state: 'paused', transferredBytes: 0 });
  });

  test('that is paused while a handshake with its author goes on is not fetched', async () => {
    const { id } = await offer(LARGE);
    const { dial } = MemoryNetwork.prototype;
    // Nothing calls it off from there on.
    const proving = vi.spyOn(MemoryNetwork.prototype, 'dial').mockImplementation(function (this: MemoryNetwork, ...to) {
      return dial.call(this, to[0], to[1], { attempt: to[2].attempt });
    });
    await bob.call('file.save', { id, path: target(), wait: 'active' });
    await bob.call('file.pause', { id });
    await world.settle(MINUTE);
    proving.mockRestore();
    expect(await show(bob, id)).toMatchObject({ state: 'paused', transferredBytes: 0 });
  });

  test('does not go on to who was blocked or removed', async () => {
    const id = await halfway();
    await alice.call('contact.block', { contact: 'bob' });
    await world.settle(5 * MINUTE);
    expect((await show(bob, id)).transferredBytes).toBeLessThan(LARGE);
    await alice.call('contact.unblock', { contact: 'bob' });
    await world.settle(5 * MINUTE);
    expect(isSaved(LARGE)).toBe(true);
  });

  test('is waited for no more once its author is blocked', async () => {
    const id = await halfway();
    const waits = bob.call('file.fetch', { id, wait: 'done', timeoutMs: 60 * MINUTE });
    await bob.call('contact.block', { contact: 'alice' });
    expect(await waits).toMatchObject({ reached: false, useless: 'contact.blocked' });
  });

  test('among many waits for its turn: all come, without a refused dial', async () => {
    const files: FileObject[] = [];
    for (let i = 0; i < 7; i++) files.push(await offer(50_000, `f${i}`));
    for (const { id } of files) await bob.call('file.save', { id, path: target(id), wait: 'active' });
    await world.settle(500);
    expect(files.map(({ id }) => existsSync(target(id)))).toEqual(files.map(() => true));
  });

  test('is erased with its message, for both sides', async () => {
    const { id } = await offer(50_000, 'secret plan');
    await save(id);
    await alice.call('message.delete', { id });
    await world.settle();
    for (const person of [alice, bob]) {
      expect(await person.call('file.list', {})).toEqual([]);
      expect(kept(person)).toEqual([]);
      expect(JSON.stringify(person.account.events.since('0'))).not.toContain('secret plan');
    }
    expect(isSaved(50_000)).toBe(true);
  });

  test('ends with its message where messages end by themselves, fetched or not', async () => {
    await alice.call('config.set', { key: 'messages.expiresMs', value: 60 * MINUTE, conversation: 'bob' });
    const [saved, waits] = [await offer(1000), await offer(1000)];
    await save(saved.id);
    expect((await bob.messages(alice)).every(({ expiresAt }) => expiresAt !== undefined)).toBe(true);
    expect([kept(alice).length, kept(bob).length]).toEqual([2, 2]);
    await world.settle(61 * MINUTE);
    for (const person of [alice, bob])
      expect([await person.call('file.list', {}), kept(person), rows(person)]).toEqual([[], [], 0]);
    expect(isSaved(1000)).toBe(true);
    await expect(save(waits.id)).rejects.toMatchObject({ code: 'file.unknown' });
    await bob.close();
    await offer(1000);
    await world.settle(61 * MINUTE);
    expect([await alice.call('file.list', {}), kept(alice), rows(alice)]).toEqual([[], [], 0]);
  });

  test.each(['conversation', 'contact'])('is erased with its %s, also while it goes', async (what) => {
    await halfway();
    if (what === 'contact') await bob.call('contact.remove', { contact: 'alice', erase: true });
    else await bob.call('conversation.clear', { conversation: 'alice' });
    await world.settle(MINUTE);
    expect([await bob.call('file.list', {}), kept(bob), existsSync(target())]).toEqual([[], [], false]);
  });

  test('whose offer ran out of time is offered again, as the file it is; a message taken back takes it back', async () => {
    await bob.close();
    await alice.call('config.set', { key: 'outbox.expiresMs', value: 60 * MINUTE });
    const { id } = await offer(1000);
    await world.settle(62 * MINUTE);
    expect((await alice.messages(bob)).at(-1)).toMatchObject({ state: 'failed', reason: 'outboxExpired' });
    await alice.call('message.resend', { id });
    const taken = await offer(1000, 'never mind');
    await alice.call('message.cancel', { id: taken.id });
    expect(await show(alice, taken.id)).toMatchObject({ state: 'cancelled' });
    await expect(alice.call('message.resend', { id: taken.id })).rejects.toMatchObject({ code: 'message.notEditable' });
    await bob.open();
    await world.settle(30 * MINUTE);
    expect((await bob.call('file.list', {})).map(({ name }) => name)).toEqual(['photo.jpg']);
    expect(await save(id)).toMatchObject({ reached: true });
  });
});

test('a file whose offer failed in the outbox is told as failed, ends a wait, and is offered again by resend', async () => {
  const told: Event[] = [];
  alice.account.events.subscribe((event) => told.push(event));
  await bob.close();
  await alice.call('config.set', { key: 'outbox.expiresMs', value: MINUTE });
  writeFileSync(join(world.dir, 'source'), content(1000));
  const path = join(world.dir, 'source');
  const sending = alice.call('file.send', { conversation: 'bob', path, wait: 'done', timeoutMs: 5 * MINUTE });
  const before = world.clock.now();
  const { file, reached } = await world.during(sending);
  expect(world.clock.now() - before).toBeLessThan(3 * MINUTE);
  expect([reached, file]).toMatchObject([false, { state: 'failed', reason: 'outboxExpired' }]);
  const { id } = file;
  expect(await alice.call('file.list', {})).toMatchObject([{ id, state: 'failed', reason: 'outboxExpired' }]);
  expect(told.filter(({ kind }) => kind === 'file.failed')).toMatchObject([
    { file: { id, state: 'failed' }, contact: { name: 'bob' } },
  ]);
  await alice.call('config.unset', { key: 'outbox.expiresMs' });
  await alice.close();
  await alice.open();
  await alice.call('message.resend', { id });
  expect(await show(alice, id)).toMatchObject({ state: 'offered' });
  await bob.open();
  await world.settle(30 * MINUTE);
  expect(await save(id)).toMatchObject({ reached: true });
});

describe('a spooled file', () => {
  const open = (name = 'stdin') => alice.call('file.open', { conversation: 'bob', name });
  const write = (id: string, bytes: Buffer) => alice.call('file.write', { id, data: bytes.toString('base64') });

  test('arrives as it was written, in pieces of any size', async () => {
    const { id } = await open();
    const bytes = content(200_000);
    for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7) % 65_521)
      await write(id, bytes.subarray(at, at + size));
    await alice.call('file.offer', { id });
    await world.settle();
    expect(await save(id)).toMatchObject({ reached: true });
    expect(isSaved(200_000)).toBe(true);
  });

  test('that is cancelled while the disk is asked for it is not offered, and leaves nothing', async () => {
    const { id } = await open();
    await write(id, content(300_000));
    const [offered, cancelled] = await Promise.allSettled([
      alice.call('file.offer', { id }),
      alice.call('file.cancel', { id }),
    ]);
    expect(offered).toMatchObject({ status: 'rejected', reason: { code: 'file.unknown' } });
    expect(cancelled).toMatchObject({ status: 'fulfilled', value: { state: 'cancelled' } });
    expect(kept(alice)).toEqual([]);
  });

  test('that a death cut, or that nobody goes on with, has failed and leaves nothing', async () => {
    const cut = await open();
    await write(cut.id, content(100_000));
    alice.die();
    await alice.open();
    await world.settle();
    const idle = await open();
    await write(idle.id, content(100_000));
    await world.settle(FILE_SPOOL_IDLE_MS + 1_000);
    for (const { id } of [cut, idle]) {
      expect(await show(alice, id)).toMatchObject({ state: 'failed', reason: 'it was not read to its end' });
      await expect(write(id, content(1))).rejects.toMatchObject({ code: 'file.unknown' });
    }
    expect([kept(alice), await bob.call('file.list', {})]).toEqual([[], []]);
  });

  test('is one of a few, and has a name', async () => {
    for (const name of ['', '.', '..', '/', 'a/..', 'ü'.repeat(128), '\ud800'])
      await expect(open(name)).rejects.toMatchObject({ code: 'params.invalid' });
    const ids: string[] = [];
    for (let i = 0; i < FILE_SPOOLS_MAX; i++) ids.push((await open()).id);
    await expect(open()).rejects.toMatchObject({ code: 'quota.exceeded' });
    await alice.call('file.cancel', { id: ids[0] ?? '' });
    await open('/some/where/x.txt');
    const begun = (await alice.call('file.list', {})).at(-1);
    expect([begun?.name, begun?.hash, begun?.message]).toEqual(['x.txt', undefined, undefined]);
  });

  test('above the quota ends, leaves nothing, and there is room again for smaller ones', async () => {
    const first = await open();
    await write(first.id, content(1000));
    await alice.call('file.offer', { id: first.id });
    alice.db.run('UPDATE files SET size = ?', FILE_QUOTA_BYTES - 50_000);
    const { id } = await open();
    await write(id, content(40_000));
    await expect(write(id, content(20_000))).rejects.toMatchObject({ code: 'quota.exceeded' });
    expect(await show(alice, id)).toMatchObject({ state: 'failed', reason: expect.stringContaining('quota') });
    expect(kept(alice)).toEqual([first.id, `${first.id}.hashes`]);
    const small = await open();
    await write(small.id, content(20_000));
    await alice.call('file.offer', { id: small.id });
  });
});
