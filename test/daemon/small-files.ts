// What disk-full.test.ts runs where it may mount: two people whose files lie on disks of their own, small ones.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorObject } from '../../src/protocol/errors.ts';
import type { FileObject } from '../../src/protocol/rpc-objects.ts';
import { type Person, World } from '../../src/testing/people.ts';

const KIB = 1024;
const SMALL = 1024 * KIB;
const LARGE = 3 * SMALL;
const MINUTE = 60_000;
// What is written last: pages of a disk and pieces of a file end at different places.
const SEAMS = Array.from({ length: 12 }, (_, i) => SMALL - (4 + 8 * i) * KIB);

await using world = new World();
const { alice, bob } = await world.friends();
const source = join(world.dir, 'source');

const disks: string[] = [];

const run = (program: string, ...args: string[]): void => {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
};

/** A disk of so many bytes at a folder, which is made. */
const disk = (dir: string, size: number): void => {
  mkdirSync(dir, { recursive: true });
  run('mount', '-t', 'tmpfs', '-o', `size=${size}`, 'none', dir);
  disks.push(dir);
};

const enlarge = (dir: string): void => run('mount', '-o', `remount,size=${4 * LARGE}`, dir);

/** Runs a call while the time that it needs passes; gives its result, or the code of its error. */
const outcome = async <T>(call: Promise<T>): Promise<T | string> => {
  const ended = call.catch((error: unknown) => errorObject(error).code);
  await world.settle(3_000);
  return ended;
};

const BYTES = Buffer.alloc(LARGE);
for (let i = 0; i < LARGE; i++) BYTES[i] = (i * 7 + (i >> 9)) & 255;
const content = (size: number): Buffer => BYTES.subarray(0, size);

const send = async (size: number): Promise<FileObject | string> => {
  writeFileSync(source, content(size));
  const sent = await outcome(alice.call('file.send', { conversation: 'bob', path: source }));
  await world.settle(100);
  return typeof sent === 'string' ? sent : sent.file;
};

const sent = async (size: number): Promise<string> => {
  const file = await send(size);
  assert.ok(typeof file !== 'string', String(file));
  return file.id;
};

const save = (id: string, path: string) => outcome(bob.call('file.save', { id, path, wait: 'done' }));

const isSaved = (path: string, size: number): void => assert.ok(readFileSync(path).equals(content(size)), path);

let texts = 0;

/** Texts flow both ways meanwhile. */
const flow = async (): Promise<void> => {
  const text = `text ${texts++}`;
  for (const [one, other] of [
    [alice, bob],
    [bob, alice],
  ] as readonly [Person, Person][]) {
    await one.send(other, text);
    await world.settle(100);
    assert.equal((await other.read(one)).at(-1), text);
  }
};

const filesOf = (person: Person): string => join(world.dir, person.name, 'files');

const spools = async (): Promise<void> => {
  disk(filesOf(alice), SMALL);
  assert.equal(await send(LARGE), 'disk.full');
  const [failed] = await alice.call('file.list', {});
  assert.deepEqual([failed?.state, failed?.reason?.startsWith('The disk is full')], ['failed', true]);
  assert.deepEqual(readdirSync(filesOf(alice)), []);
  await flow();
  const whole: string[] = [];
  for (const size of SEAMS) {
    const file = await send(size);
    if (typeof file === 'string') assert.equal(file, 'disk.full');
    else {
      whole.push(file.id);
      const path = join(world.dir, file.id);
      await save(file.id, path);
      isSaved(path, size);
    }
    assert.deepEqual(readdirSync(filesOf(alice)), []);
  }
  assert.ok(whole.length > 0 && whole.length < SEAMS.length, 'some fit and some do not');
  enlarge(filesOf(alice));
  await sent(LARGE);
};

const receives = async (): Promise<void> => {
  disk(filesOf(bob), SMALL);
  const id = await sent(LARGE);
  const path = join(world.dir, 'received');
  assert.equal(await save(id, path), 'disk.full');
  const waits = await bob.call('file.show', { id });
  assert.deepEqual([waits.state, waits.reason?.startsWith('The disk is full')], ['active', true]);
  await flow();
  const { transferredBytes } = waits;
  assert.ok(transferredBytes > SMALL / 2);
  await world.settle(10 * MINUTE);
  await flow();
  enlarge(filesOf(bob));
  await world.settle(MINUTE);
  isSaved(path, LARGE);
  assert.equal((await bob.call('file.show', { id })).reason, undefined);
};

const saves = async (): Promise<void> => {
  const dir = join(world.dir, 'target');
  disk(dir, SMALL);
  const id = await sent(LARGE);
  assert.equal(await save(id, join(dir, 'large')), 'disk.full');
  const done = await bob.call('file.show', { id });
  assert.deepEqual([done.state, done.reason?.startsWith('The disk is full')], ['done', true]);
  assert.deepEqual(readdirSync(dir), []);
  await flow();
  for (const size of [...SEAMS.map((seam) => seam + 40 * KIB), SMALL - 10]) {
    const path = join(dir, 'seam');
    const saved = await save(await sent(size), path);
    if (typeof saved === 'string') assert.deepEqual([saved, readdirSync(dir)], ['disk.full', []]);
    else isSaved(path, size);
    spawnSync('rm', ['-f', path]);
  }
  enlarge(dir);
  await save(id, join(dir, 'large'));
  isSaved(join(dir, 'large'), LARGE);
};

try {
  for (const step of [spools, receives, saves]) {
    await step();
    process.stdout.write(`${step.name}\n`);
  }
} finally {
  for (const dir of disks) run('umount', '-l', dir);
}
