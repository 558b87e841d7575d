// What every blob store promises.
import { createHash, randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type BlobHash, idOf, type RowId } from '../../src/protocol/ids.ts';
import { BLOB_PART_BYTES_MAX } from '../../src/protocol/limits.ts';
import type { BlobStore } from '../../src/server/blob-store.ts';
import { rowId } from './server.ts';

/** The name of bytes. */
export const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex') as BlobHash;

/** Brings a whole blob. */
export const bring = async (blobs: BlobStore, bytes: Uint8Array): Promise<void> => {
  const upload = idOf<RowId>(randomBytes(16));
  for (let at = 0; at < bytes.length; at += BLOB_PART_BYTES_MAX)
    await blobs.part(upload, at, bytes.subarray(at, at + BLOB_PART_BYTES_MAX));
  await blobs.complete(upload, { hash: hashOf(bytes), size: bytes.length });
};

/** Runs the promises of BlobStore on what `make` gives: an empty one, opened anew by `again` with what it holds. */
export const blobStoreContract = (
  name: string,
  make: () => { readonly again: () => BlobStore; readonly remove: () => void },
): void => {
  describe(`${name} keeps the promises of a blob store`, () => {
    let blobs: BlobStore;
    let again: () => BlobStore;
    let remove: () => void;
    beforeEach(() => {
      ({ again, remove } = make());
      blobs = again();
    });
    afterEach(() => remove());

    const bytes = new Uint8Array(randomBytes(3 * BLOB_PART_BYTES_MAX + 77));
    const hash = hashOf(bytes);
    const upload = rowId(1);
    const part = (from: number, to: number, id: RowId = upload) => blobs.part(id, from, bytes.subarray(from, to));
    const whole = async (): Promise<Uint8Array> => {
      const parts: Uint8Array[] = [];
      for (let from = 0; ; from += BLOB_PART_BYTES_MAX) {
        const got = await blobs.get(hash, { from, size: BLOB_PART_BYTES_MAX });
        if (got === undefined || got.length === 0) return Buffer.concat(parts);
        parts.push(got);
      }
    };
    const list = async () => {
      const names: string[] = [];
      for await (const one of blobs.list()) names.push(one);
      return names.sort();
    };

    test('an upload goes on where it was, after a restart too, and is a blob once it is whole', async () => {
      expect(await part(0, 0)).toBe(0);
      expect(await part(0, 1000)).toBe(1000);
      expect(await part(0, 2000)).toBe(1000);
      expect(await part(1500, 2000)).toBe(1000);
      expect(await part(1000, 1000 + BLOB_PART_BYTES_MAX)).toBe(1000 + BLOB_PART_BYTES_MAX);
      blobs = again();
      let has = await part(0, 0);
      while (has < bytes.length) has = await part(has, has + BLOB_PART_BYTES_MAX);
      expect([await blobs.sizeOf(hash), await blobs.get(hash, { from: 0, size: 9 })]).toEqual([undefined, undefined]);
      await blobs.complete(upload, { hash, size: bytes.length });
      blobs = again();
      expect([await blobs.sizeOf(hash), hashOf(await whole())]).toEqual([bytes.length, hash]);
      await blobs.complete(upload, { hash, size: bytes.length });
      expect([await list(), await part(0, 0)]).toEqual([[hash], 0]);
    });

    test('parts that are sent ahead are taken in their order, and the end after them', async () => {
      const size = 10 * 5000;
      const name = hashOf(bytes.subarray(0, size));
      const parts = Array.from({ length: 10 }, (_, i) => part(i * 5000, (i + 1) * 5000));
      const completed = blobs.complete(upload, { hash: name, size });
      expect(await Promise.all(parts)).toEqual(parts.map((_, i) => (i + 1) * 5000));
      await completed;
      expect(await blobs.sizeOf(name)).toBe(size);
    });

    test('ranges are given as asked, to the end, and no more than a part at once', async () => {
      await bring(blobs, bytes);
      const range = async (from: number, size: number) => await blobs.get(hash, { from, size });
      expect(await range(5, 3)).toEqual(bytes.subarray(5, 8));
      expect(await range(bytes.length - 2, 9)).toEqual(bytes.subarray(-2));
      expect(await range(bytes.length, 9)).toEqual(new Uint8Array(0));
      expect((await range(0, 1e9))?.length).toBe(BLOB_PART_BYTES_MAX);
    });

    test('an upload whose bytes are not what was announced is refused and forgotten', async () => {
      const damaged = { code: 'file.damaged' };
      await part(0, 1000);
      await expect(blobs.complete(upload, { hash, size: bytes.length })).rejects.toMatchObject(damaged);
      expect(await part(0, 0)).toBe(0);
      await part(1, 1);
      await blobs.part(upload, 0, new Uint8Array(50));
      await expect(blobs.complete(upload, { hash, size: 50 })).rejects.toMatchObject(damaged);
      await expect(blobs.complete(upload, { hash, size: 50 })).rejects.toMatchObject({ code: 'file.unknown' });
      await expect(blobs.part(upload, 0, new Uint8Array(BLOB_PART_BYTES_MAX + 1))).rejects.toThrow(RangeError);
      expect(await list()).toEqual([]);
    });

    test('the same bytes from two uploads, and at once, are one blob', async () => {
      const small = bytes.subarray(0, 5000);
      const name = hashOf(small);
      const ids = [1, 2, 3].map(rowId);
      await Promise.all(ids.map((id) => part(0, 5000, id)));
      expect(await list()).toEqual([...ids].sort());
      await Promise.all(ids.map((id) => blobs.complete(id, { hash: name, size: 5000 })));
      expect([await list(), await blobs.get(name, { from: 0, size: 6000 })]).toEqual([[name], small]);
    });

    test('what is removed is gone, twice too', async () => {
      await bring(blobs, bytes);
      await part(0, 10);
      for (const name of [hash, hash, upload, upload]) await blobs.remove(name);
      expect([await list(), await blobs.sizeOf(hash), await part(0, 0)]).toEqual([[], undefined, 0]);
    });
  });
};
