// Attacks with files: who asks and never reads, who offers and never sends, sends something else, too much, or under another's id.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { hashChunk, rootOf, sealChunk } from '../../src/crypto/file-chunks.ts';
import { toBase64 } from '../../src/protocol/bytes.ts';
import type { MessageId } from '../../src/protocol/ids.ts';
import {
  FILE_BYTES_MAX,
  FILE_QUOTA_BYTES,
  FILE_STALL_MS,
  FILE_TRANSFERS_PER_PEER_MAX,
} from '../../src/protocol/limits.ts';
import type { PeerFrame } from '../../src/protocol/peer.ts';
import type { FileObject } from '../../src/protocol/rpc-objects.ts';
import { codeOf } from '../../src/testing/code.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { Hostile } from './hostile.ts';

/** More than a link holds of what is not read. */
const LARGE = 3_000_000;

let world: World;
let alice: Person;
let bob: Person;
let mallory: Hostile;

beforeEach(async () => {
  world = new World();
  ({ alice, bob } = await world.friends());
  mallory = await Hostile.join(world);
  await mallory.befriend(alice);
});

afterEach(() => world[Symbol.asyncDispose]());

const source = (): string => join(world.dir, 'source');
const target = (name = 'saved'): string => join(world.dir, name);
const show = (person: Person, id: string): Promise<FileObject> => person.call('file.show', { id });

const offer = async (to: string, size = LARGE): Promise<string> => {
  writeFileSync(source(), Buffer.alloc(size, 7));
  const { file } = await alice.call('file.send', { conversation: to, path: source() });
  await world.settle(100);
  return file.id;
};

/** Links on which a hostile contact asks for a file of alice; gives how many of them were ended at once. */
const ask = async (who: Hostile, ids: readonly string[]): Promise<number> => {
  const before = who.ended.length;
  for (const id of ids) {
    const asking = who.ring(alice, { kind: 'stream', transfer: id as MessageId, from: 0 });
    await world.settle(50);
    await asking;
  }
  return who.ended.length - before;
};

/** Bob saves a file of alice, within so much time. */
const isSaved = async (id: string, ms: number): Promise<boolean> => {
  await bob.call('file.save', { id, path: target(id), wait: 'active' });
  await world.settle(ms);
  return existsSync(target(id));
};

describe('FILE-3: a contact who asks for files and never reads', () => {
  test('holds two places, whatever they ask for, and gets them back when nothing moves', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 4; i++) ids.push(await offer('mallory'));
    mallory.deaf = true;
    expect(await ask(mallory, ids)).toBe(4 - FILE_TRANSFERS_PER_PEER_MAX);
    // Others are served meanwhile.
    expect(await isSaved(await offer('bob'), 5_000)).toBe(true);
    await world.settle(FILE_STALL_MS);
    expect(await ask(mallory, ids.slice(FILE_TRANSFERS_PER_PEER_MAX))).toBe(0);
  });

  test('again and again for the same file holds one place: the newest link', async () => {
    const id = await offer('mallory');
    mallory.deaf = true;
    expect(await ask(mallory, [id, id, id, id, id])).toBe(4);
    expect(await isSaved(await offer('bob'), 5_000)).toBe(true);
  });

  test('together with another holds all places, and not for longer than nothing moves', async () => {
    const other = await Hostile.join(world);
    await other.befriend(alice, 'trudy');
    for (const [name, who] of [
      ['mallory', mallory],
      ['trudy', other],
    ] as const) {
      who.deaf = true;
      expect(await ask(who, [await offer(name), await offer(name)])).toBe(0);
    }
    const id = await offer('bob');
    expect(await isSaved(id, FILE_STALL_MS / 2)).toBe(false);
    await world.settle(FILE_STALL_MS);
    expect(existsSync(target(id))).toBe(true);
  });

  test('all of it, and then stays, keeps no place either', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 4; i++) ids.push(await offer('mallory', 1000));
    expect(await ask(mallory, ids)).toBe(4 - FILE_TRANSFERS_PER_PEER_MAX);
    expect(mallory.heardOf('chunk')).toHaveLength(FILE_TRANSFERS_PER_PEER_MAX);
    await world.settle(FILE_STALL_MS);
    expect(await ask(mallory, ids.slice(FILE_TRANSFERS_PER_PEER_MAX))).toBe(0);
  });

  test('or is blocked between its link and its first frame, gets nothing', async () => {
    const id = await offer('mallory', 1000);
    await mallory.dial(alice);
    await alice.call('contact.block', { contact: 'mallory' });
    await mallory.say({ kind: 'stream', transfer: id as MessageId, from: 0 });
    expect([mallory.heardOf('hashes'), mallory.heardOf('chunk')]).toEqual([[], []]);
  });

  test('or asks beyond the end, for what is not theirs, or was cancelled, gets nothing', async () => {
    const [own, gone, bobs] = [await offer('mallory'), await offer('mallory'), await offer('bob')];
    await alice.call('file.cancel', { id: gone });
    const heard = mallory.heardOf('chunk').length;
    expect(await ask(mallory, [gone, bobs, mallory.newId()])).toBe(3);
    const asking = mallory.ring(alice, { kind: 'stream', transfer: own as MessageId, from: 1_000_000 });
    await world.settle(50);
    await asking;
    expect(mallory.heardOf('chunk')).toHaveLength(heard);
    expect(mallory.linked).toBe(false);
  });
});

const KEY = Buffer.alloc(32, 9);

/** A file as its author would seal it. */
const sealed = (content: Buffer) => {
  const bytes = sealChunk(KEY, 0, true, content);
  const hashes = hashChunk(bytes);
  return { bytes, hashes, root: rootOf(hashes) };
};

type Lure = Partial<Record<'name' | 'key' | 'root', string>> & { readonly sizeBytes?: number; readonly id?: MessageId };
/** Mallory offers alice a file of one chunk, or something that says it is one. */
const lure = async (more: Lure = {}) => {
  const [id = ''] = await mallory.tell({
    kind: 'file.offer',
    name: 'lure',
    sizeBytes: 5,
    key: KEY.toString('base64'),
    root: toBase64(sealed(Buffer.from('hello')).root),
    sentAt: 1,
    ...more,
  });
  return id;
};

/** Alice begins to fetch, and has dialled Mallory when this returns. */
const fetched = async (id: string): Promise<void> => {
  await alice.call('file.save', { id, path: target(), wait: 'active' });
  await world.settle(100);
};

describe('FILE-4: a contact who offers files', () => {
  test('and never sends holds a link for as long as nothing moves, and keeps no other file waiting', async () => {
    const lures: string[] = [];
    for (let i = 0; i < 6; i++) lures.push(await lure());
    for (const id of lures) await alice.call('file.fetch', { id });
    await world.settle(100);
    expect(mallory.heardOf('stream')).toHaveLength(FILE_TRANSFERS_PER_PEER_MAX);
    writeFileSync(source(), 'from bob');
    const { file } = await bob.call('file.send', { conversation: 'alice', path: source() });
    await world.settle(100);
    await fetched(file.id);
    expect(readFileSync(target(), 'utf8')).toBe('from bob');
    await world.settle(FILE_STALL_MS);
    expect(mallory.heardOf('stream').length).toBeGreaterThan(FILE_TRANSFERS_PER_PEER_MAX);
  });

  test('and sends what was not offered has it refused as damaged; frames out of order end the link', async () => {
    const { bytes, hashes } = sealed(Buffer.from('hello'));
    const other = sealed(Buffer.from('other'));
    const [ordered, list, piece] = [await lure(), await lure(), await lure()];
    for (const frames of [
      [{ kind: 'chunk', index: 0, bytes }],
      [{ kind: 'hashes', index: 1, bytes: hashes }],
      [{ kind: 'hashes', index: 0, bytes: Buffer.concat([hashes, hashes]) }],
      [
        { kind: 'hashes', index: 0, bytes: hashes },
        { kind: 'chunk', index: 1, bytes },
      ],
      [{ kind: 'ping' }],
    ] as PeerFrame[][]) {
      await fetched(ordered);
      expect(mallory.linked).toBe(true);
      await mallory.say(...frames);
      expect([mallory.linked, (await show(alice, ordered)).state]).toEqual([false, 'active']);
    }
    for (const [id, ...frames] of [
      [list, { kind: 'hashes', index: 0, bytes: other.hashes }],
      [piece, { kind: 'hashes', index: 0, bytes: hashes }, { kind: 'chunk', index: 0, bytes: other.bytes }],
    ] as [string, ...PeerFrame[]][]) {
      await fetched(id);
      await mallory.say(...frames);
      expect((await show(alice, id)).state).toBe('failed');
    }
    expect(existsSync(target())).toBe(false);
    await fetched(ordered);
    await mallory.say({ kind: 'hashes', index: 0, bytes: hashes }, { kind: 'chunk', index: 0, bytes });
    expect(readFileSync(target(), 'utf8')).toBe('hello');
    expect(alice.account.status().refused).toMatchObject({ 'file.damaged': 2, 'frame.invalid': 5 });
  });

  test('above the quota is not asked for them, and what was asked for has its room', async () => {
    const half = FILE_QUOTA_BYTES / 2 + 1;
    const [whole, first, second] = [
      await lure({ sizeBytes: FILE_BYTES_MAX }),
      await lure({ sizeBytes: half }),
      await lure({ sizeBytes: half }),
    ];
    expect(await codeOf(alice.call('file.fetch', { id: whole }))).toBe('quota.exceeded');
    expect(await codeOf(alice.call('file.fetch', { id: first }))).toBe('done');
    expect(await codeOf(alice.call('file.fetch', { id: second }))).toBe('quota.exceeded');
    expect((await show(alice, second)).state).toBe('offered');
    // What goes on already needs no more room than it has.
    await alice.call('file.pause', { id: first });
    expect(await codeOf(alice.call('file.fetch', { id: first }))).toBe('done');
    writeFileSync(source(), Buffer.alloc(1000));
    expect(await codeOf(alice.call('file.send', { conversation: 'bob', path: source() }))).toBe('done');
    await alice.call('file.cancel', { id: first });
    expect(await codeOf(alice.call('file.fetch', { id: second }))).toBe('done');
  });

  test('under a name longer than any file has is not understood', async () => {
    const [named, long] = [await lure({ name: 'ü'.repeat(127) }), await lure({ name: 'ü'.repeat(128) })];
    expect([named, long].map((id) => mallory.acknowledged(id as MessageId))).toEqual([true, false]);
    expect((await alice.call('file.list', {})).map(({ name }) => name)).toEqual(['ü'.repeat(127)]);
  });

  test('under a key or a root of another size is not understood', async () => {
    const sizes = [31, 33].map((size) => toBase64(new Uint8Array(size)));
    for (const text of sizes)
      for (const id of [await lure({ key: text }), await lure({ root: text })])
        expect(mallory.acknowledged(id as MessageId)).toBe(false);
    expect(await alice.call('file.list', {})).toEqual([]);
  });

  test('under the id of a file of somebody else has it ignored', async () => {
    const id = (await offer('bob', 1000)) as MessageId;
    const kept = readdirSync(join(world.dir, 'alice', 'files'));
    const told = await lure({ id });
    expect(mallory.acknowledged(told as MessageId)).toBe(true);
    await mallory.tell(
      { kind: 'file.cancel', target: id },
      { kind: 'file.done', target: id },
      { kind: 'delete', target: id },
    );
    expect((await alice.call('file.list', {})).map(({ state, conversation }) => [state, conversation])).toEqual([
      ['offered', 'bob'],
    ]);
    expect(readdirSync(join(world.dir, 'alice', 'files'))).toEqual(kept);
    expect(await isSaved(id, 1_000)).toBe(true);
    expect(
      createHash('sha256')
        .update(readFileSync(target(id)))
        .digest(),
    ).toEqual(createHash('sha256').update(readFileSync(source())).digest());
  });
});
