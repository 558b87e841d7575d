import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { directoryBlobStore } from '../../src/server/blob-store.ts';
import { blobStoreContract, bring, hashOf } from './blob-store-contract.ts';
import { rowId, tempDir } from './server.ts';

blobStoreContract('A folder', () => {
  const { dir, remove } = tempDir();
  return { again: () => directoryBlobStore(join(dir, 'server', 'blobs')), remove };
});

test('an upload in a folder is flushed at its end only, however many parts it has', async () => {
  const { dir, remove } = tempDir();
  const blobs = directoryBlobStore(join(dir, 'blobs'));
  const bytes = new Uint8Array(100);
  const whole = { hash: hashOf(bytes), size: bytes.length };
  // The folders are made, and flushed, once.
  await bring(blobs, bytes);
  await using file = await open(dir, 'r');
  const flushed = vi.spyOn(Object.getPrototypeOf(file), 'sync');
  for (let at = 0; at < bytes.length; at++) await blobs.part(rowId(1), at, bytes.subarray(at, at + 1));
  expect(flushed).toHaveBeenCalledTimes(0);
  await blobs.complete(rowId(1), whole);
  // The file, the folder that it comes to, and the one that it leaves.
  expect(flushed).toHaveBeenCalledTimes(3);
  flushed.mockRestore();
  remove();
});
