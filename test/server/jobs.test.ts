import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ChannelId, RowId } from '../../src/protocol/ids.ts';
import { BLOB_UNUSED_MS, JOB_LEASE_MS, JOB_MS } from '../../src/protocol/limits.ts';
import { Turns } from '../../src/protocol/turns.ts';
import { collectLeftOver, type JobPorts, Jobs } from '../../src/server/jobs.ts';
import { ServerStore } from '../../src/server/server-store.ts';
import { TestLog } from '../../src/testing/log.ts';
import { bring, hashOf } from './blob-store-contract.ts';
import {
  ALL,
  bytesOf,
  change,
  channelId,
  draft,
  freshServer,
  furnish,
  memberId,
  put,
  quietPorts,
  rowId,
  textOf,
  turn,
} from './server.ts';

const CHANNEL = channelId(1);
const HOUR = 3_600_000;

let server: Awaited<ReturnType<typeof freshServer>>;
let forgotten: [ChannelId, number][];
let journal: TestLog;
let ports: JobPorts;
beforeEach(async () => {
  server = await freshServer();
  await furnish(server.log, 2);
  forgotten = [];
  journal = new TestLog();
  const { log, state, clock, store } = server;
  const forget = (channel: ChannelId, upTo: number) => forgotten.push([channel, upTo]);
  const pruned = async (channel: ChannelId, upTo: number) => void forget(channel, upTo);
  const erased = (channel: ChannelId, seqs: readonly number[]) => forget(channel, Math.max(...seqs));
  const tidy = () => Promise.resolve();
  const bug = (error: unknown) => {
    throw error;
  };
  const uploading: JobPorts['uploading'] = new Turns();
  ports = { log, state, blobs: store.blobs, uploading, clock, journal, erased, pruned, turn, tidy, bug };
});
afterEach(async () => {
  expect(journal.unclaimed()).toEqual([]);
  await server[Symbol.asyncDispose]();
});

/** The day jumps so far, and every job comes to its end twice. */
const pass = async (jobs: Jobs, ms: number) => {
  const { clock } = server;
  clock.jump(ms);
  const until = clock.monotonic() + 2 * JOB_MS;
  while (clock.step(until)) await jobs.idle();
};
const texts = async () => (await server.log.read(CHANNEL, 0, ALL)).map(textOf);

test('bodies are erased when they are due, retention takes the old, and readers forget both', async () => {
  await using jobs = new Jobs(ports);
  const at = server.clock.now();
  await put(
    server.log,
    change([{ kind: 'channelSet', set: { retentionMs: HOUR } }], { channel: CHANNEL, text: 'set' }),
  );
  await put(server.log, draft({ text: 'soon', changes: [{ kind: 'expire', at: at + HOUR / 4 }] }));
  await put(server.log, draft({ text: 'later', changes: [{ kind: 'expire', at: at + 2 * HOUR }] }));
  await pass(jobs, HOUR / 8);
  expect(await texts()).toEqual(['made 1', 'set', 'soon', 'later']);
  await pass(jobs, HOUR / 8);
  expect([await texts(), forgotten]).toEqual([['made 1', 'set', null, 'later'], [[CHANNEL, 3]]]);
  await pass(jobs, HOUR / 2);
  await put(server.log, draft({ text: 'young' }));
  await pass(jobs, HOUR * 0.7);
  expect([await texts(), forgotten.at(-1)]).toEqual([['young'], [CHANNEL, 4]]);
  expect(await server.log.read(channelId(2), 0, ALL)).toHaveLength(1);
  expect((await server.store.check({ deep: true })).wrong).toEqual([]);
});

test('what nobody refers to is collected after a while: blobs, uploads given up, files that no row knows', async () => {
  const { state, store, clock, log } = server;
  const [kept, used, unused] = ['kept', 'used', 'unused'].map(bytesOf);
  const place = async (bytes: Uint8Array<ArrayBuffer>) => {
    const hash = hashOf(bytes);
    await state.putBlob(hash, { size: bytes.length, isWhole: false, now: clock.now() });
    await bring(store.blobs, bytes);
    await state.putBlob(hash, { size: bytes.length, isWhole: true, now: clock.now() });
    return hash;
  };
  const refer = (bytes: Uint8Array, expiresAt: number, channel = CHANNEL) =>
    put(log, draft({ channel, changes: [{ kind: 'file', hash: hashOf(bytes), expiresAt }] }));
  if (kept === undefined || used === undefined || unused === undefined) throw new Error('three blobs');
  const hashes = [await place(kept), await place(used), await place(unused)];
  await refer(kept, 0);
  await refer(used, clock.now() + HOUR / 2);
  const upload = { member: memberId(1), channel: CHANNEL, hash: hashOf(kept), size: 9, received: 0, createdAt: 1 };
  for (const [n, expiresAt] of [
    [1, clock.now() + HOUR / 2],
    [2, clock.now() + 9 * HOUR],
  ] as const) {
    await state.putUpload({ id: rowId(n), ...upload, expiresAt });
    await store.blobs.part(rowId(n), 0, kept);
  }
  await bring(store.blobs, bytesOf('stray'));
  await store.blobs.part(rowId(7), 0, kept);
  expect([await collectLeftOver(ports), await collectLeftOver(ports)]).toEqual([2, 0]);
  await using jobs = new Jobs(ports);
  const there = async () => {
    const sizes = await Promise.all(hashes.map((hash) => store.blobs.sizeOf(hash)));
    const parts = await Promise.all([1, 2].map((n) => store.blobs.part(rowId(n) as RowId, 0, new Uint8Array(0))));
    return [...sizes.map((size) => size !== undefined), ...parts.map((size) => size > 0)];
  };
  await pass(jobs, HOUR / 4);
  expect(await there()).toEqual([true, true, true, true, true]);
  await pass(jobs, HOUR / 4);
  // What has ended goes at once.
  expect(await there()).toEqual([true, false, true, false, true]);
  await pass(jobs, BLOB_UNUSED_MS);
  expect(await there()).toEqual([true, false, false, false, true]);
  await put(log, change([{ kind: 'channelSet', set: { retentionMs: HOUR } }], { channel: CHANNEL }));
  await pass(jobs, 0);
  expect(await there()).toEqual([false, false, false, false, true]);
  expect(await store.check({ deep: true })).toMatchObject({ wrong: [], blobs: 0, leftOver: 0 });
});

test('bytes that somebody brings again stay while they are brought', async () => {
  const { state, store, clock } = server;
  const bytes = bytesOf('again');
  const hash = hashOf(bytes);
  await state.putBlob(hash, { size: bytes.length, isWhole: true, now: clock.now() });
  await bring(store.blobs, bytes);
  await using jobs = new Jobs(ports);
  clock.jump(BLOB_UNUSED_MS + 1);
  const { promise, resolve } = Promise.withResolvers<void>();
  const brought = ports.uploading.run(hash, async () => {
    await promise;
    await state.putBlob(hash, { size: bytes.length, isWhole: true, now: clock.now() });
  });
  const collected = jobs.run('collect');
  for (let i = 0; i < 20; i++) await turn();
  resolve();
  await Promise.all([brought, collected]);
  expect([await store.blobs.sizeOf(hash), await state.getBlob(hash)]).toEqual([5, { size: 5, isWhole: true }]);
});

test('a job that another node has waits for its lease; one that fails is tried again', async () => {
  const { state, clock, log } = server;
  await put(log, draft({ text: 'due', changes: [{ kind: 'expire', at: clock.now() }] }));
  await state.takeJob('erase', { now: clock.now(), leaseMs: JOB_LEASE_MS });
  let failures = 1;
  const listExpired: typeof state.listExpired = (...args) => {
    if (args[1] > 1 && failures-- > 0) return Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' }));
    return state.listExpired(...args);
  };
  await using jobs = new Jobs({ ...ports, state: { ...state, listExpired } });
  await pass(jobs, JOB_LEASE_MS - 3 * JOB_MS);
  expect(await texts()).toEqual(['made 1', 'due']);
  await pass(jobs, 3 * JOB_MS);
  expect([journal.claim('job.failed'), await texts()]).toEqual([1, ['made 1', null]]);
});

test('a server that died with a lease does not wait for it', async () => {
  const { state, clock, log, store } = server;
  await put(log, draft({ text: 'due', changes: [{ kind: 'expire', at: clock.now() }] }));
  await state.takeJob('erase', { now: clock.now(), leaseMs: JOB_LEASE_MS });
  await store[Symbol.asyncDispose]();
  await using again = ServerStore.open(store.paths, quietPorts(clock));
  await using jobs = new Jobs({ ...ports, log: again.log, state: again.state, blobs: again.blobs });
  await jobs.run('erase');
  expect((await again.log.read(CHANNEL, 0, ALL)).map(textOf)).toEqual(['made 1', null]);
});
