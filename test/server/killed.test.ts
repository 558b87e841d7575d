// A server's program that dies at any of its changes of the disk: what was answered is there, and everything is whole.
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { restoreServer } from '../../src/server/backup.ts';
import { isServer, serverPaths } from '../../src/server/server-dir.ts';
import { ServerStore } from '../../src/server/server-store.ts';
import { bring, hashOf } from './blob-store-contract.ts';
import {
  ALL,
  bytesOf,
  channelId,
  draft,
  eventId,
  furnish,
  makeServer,
  quietPorts,
  rowId,
  tempDir,
  textOf,
} from './server.ts';
import { stillsOf } from './stills.ts';

const CHANNEL = channelId(1);
const BYTES = bytesOf('ciphertext');
const KEPT = bytesOf('kept');
const { dir: base, remove } = tempDir();
const first = join(base, 'first');
const ports = quietPorts();
const events = (...more: Parameters<typeof draft>) =>
  [1, 2, 3, 4].map((n) => draft({ id: eventId(n), text: `event ${n}`, ...more[0] }));

beforeAll(async () => {
  mkdirSync(first);
  await using store = ServerStore.open(makeServer(join(first, 'server'), { ports }), ports);
  await furnish(store.log);
  await bring(store.blobs, KEPT);
  await store.state.putBlob(hashOf(KEPT), { size: KEPT.length, isWhole: true, now: 1 });
});
afterAll(() => remove());

/** A folder of its own with what `first` has, whose copies lie beside it. */
const begin = (name: string): string => {
  const dir = join(base, name, 'own');
  cpSync(first, dir, { recursive: true });
  return dir;
};
const openIn = (dir: string, name = 'server') => ServerStore.open(serverPaths(join(dir, name)), ports);

test('append, erase, prune, and a blob', async () => {
  const own = begin('work');
  const stills = await stillsOf(own, async (say) => {
    await using store = openIn(own);
    const outcomes = await store.log.append(events({ checkedAt: 1, changes: [{ kind: 'expire', at: 5 }] }));
    say(`append ${outcomes.map((one) => ('seq' in one ? one.seq : '?')).join()}`);
    await store.log.erase(CHANNEL, [3]);
    say('erase');
    await store.log.prune(CHANNEL, 2);
    say('prune');
    await store.blobs.part(rowId(1), 0, BYTES);
    say('part');
    await store.blobs.complete(rowId(1), { hash: hashOf(BYTES), size: BYTES.length });
    say('complete');
  });
  const states = new Set<string>();
  for (const { dir, said } of stills) {
    await using store = openIn(dir);
    expect((await store.check({ deep: true })).wrong, said.join()).toEqual([]);
    const texts = (await store.log.read(CHANNEL, 0, ALL)).map(textOf);
    states.add(JSON.stringify(texts));
    if (said.includes('append 2,3,4,5')) expect(texts.at(-1)).toBe('event 4');
    if (said.includes('erase')) expect(texts.at(-3)).toBe(null);
    if (said.includes('prune')) expect(texts).toEqual([null, 'event 3', 'event 4']);
    const part = await store.blobs.part(rowId(1), 0, new Uint8Array(0));
    const blob = await store.blobs.get(hashOf(BYTES), { from: 0, size: 99 });
    if (said.includes('complete')) expect([blob, part]).toEqual([BYTES, 0]);
    else if (said.includes('part')) expect(blob?.length ?? part).toBe(BYTES.length);
    // Asked for again it is there once, in its place.
    if (texts.length === 3) continue;
    const seqs = (await store.log.append(events())).map((one) => ('seq' in one ? [one.kind, one.seq] : one));
    const kind = texts.length > 1 ? 'duplicate' : 'committed';
    expect(seqs).toEqual([2, 3, 4, 5].map((seq) => [kind, seq]));
  }
  expect([...states].map((state) => JSON.parse(state))).toEqual([
    ['made 1'],
    ['made 1', 'event 1', 'event 2', 'event 3', 'event 4'],
    ['made 1', 'event 1', null, 'event 3', 'event 4'],
    [null, 'event 3', 'event 4'],
  ]);
  expect(stills.length).toBeGreaterThan(30);
});

test('a new server: it is there whole, or can be made again', async () => {
  const own = join(base, 'create', 'own');
  mkdirSync(own, { recursive: true });
  const stills = await stillsOf(own, async () => makeServer(join(own, 'server'), { ports }));
  const seen: boolean[] = [];
  for (const { dir } of stills) {
    const paths = serverPaths(join(dir, 'server'));
    seen.push(isServer(paths));
    if (!isServer(paths)) makeServer(paths.dir, { ports });
    await using store = openIn(dir);
    expect(await store.serverKey()).toHaveLength(32);
    expect((await store.check({ deep: true })).wrong).toEqual([]);
  }
  expect([seen[0], seen.at(-1)]).toEqual([false, true]);
});

test('a backup, and a restore of one: it is there whole, or can be made again', async () => {
  const own = begin('backup');
  const whole = { wrong: [], events: 2, blobs: 1, leftOver: 0 };
  const stills = await stillsOf(own, async (say) => {
    await using store = openIn(own);
    await store.backup(join(own, 'backup'));
    say('backup');
    await restoreServer(join(own, 'backup'), serverPaths(join(own, 'restored')), ports);
    say('restore');
  });
  for (const { dir, said } of stills) {
    const backup = join(dir, 'backup');
    const restored = serverPaths(join(dir, 'restored'));
    if (said.includes('backup')) expect(existsSync(backup)).toBe(true);
    else {
      await using store = openIn(dir);
      if (!existsSync(backup)) await store.backup(backup);
      expect(await store.check({ deep: true })).toEqual(whole);
    }
    if (said.includes('restore')) expect(isServer(restored)).toBe(true);
    if (!isServer(restored)) await restoreServer(backup, restored, ports);
    await using store = openIn(dir, 'restored');
    // With the note that it was restored.
    expect(await store.check({ deep: true })).toEqual({ ...whole, events: 3 });
  }
  expect(stills.length).toBeGreaterThan(30);
});

/** Lets load.ts run until it has had `count` answers, kills it, and gives what it said: lines of seq and id. */
const killedUnderLoad = (dir: string, count: number): Promise<string[]> =>
  new Promise((done) => {
    const child = spawn(process.execPath, [resolve('test/server/load.ts'), dir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.on('data', (bytes: Buffer) => {
      said += bytes.toString();
      if (said.split('\n').length > count) child.kill('SIGKILL');
    });
    child.on('close', () => done(said.split('\n').slice(0, -1)));
  });

test('twenty who publish, and kill -9 four times: every answer is there, once, in its place', async () => {
  const own = begin('load');
  const answers: string[] = [];
  for (const count of [1, 150, 333, 20]) answers.push(...(await killedUnderLoad(join(own, 'server'), count)));
  await using store = openIn(own);
  expect((await store.check({ deep: true })).wrong).toEqual([]);
  const there = await store.log.read(CHANNEL, 0, ALL);
  const lines = new Set(there.map(({ seq, id }) => `${seq} ${id}`));
  expect(answers.filter((line) => !lines.has(line))).toEqual([]);
  expect(new Set(there.map(({ id }) => id)).size).toBe(there.length);
  expect(answers.length).toBeGreaterThan(500);
});
