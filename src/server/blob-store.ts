// Where the ciphertext of files is kept, as an interface, and in a folder.
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { SottoError } from '../protocol/errors.ts';
import type { BlobHash, RowId } from '../protocol/ids.ts';
import { BLOB_PART_BYTES_MAX } from '../protocol/limits.ts';
import { Turns } from '../protocol/turns.ts';

/** Bytes `from` … `from + size − 1`. */
export type BlobRange = { readonly from: number; readonly size: number };

/**
 * Blobs by the SHA-256 of their bytes; they never change. What resolves survives kill -9, and but for parts of an upload a power
 * cut: a part is not flushed, and is brought again where it was lost. How much anybody may put is the caller's business. Rejects with `disk.*` codes of the system (ENOSPC …).
 */
export interface BlobStore {
  /**
   * The next bytes (≤ BLOB_PART_BYTES_MAX) of an upload; `from` other than what it has changes nothing. Gives how many it has
   * now: with no bytes, a question. Calls about one upload are done one after another, in their order.
   */
  part(upload: RowId, from: number, bytes: Uint8Array): Promise<number>;
  /** At most BLOB_PART_BYTES_MAX of a blob, fewer at its end; undefined when there is no such blob. */
  get(hash: BlobHash, range: BlobRange): Promise<Uint8Array | undefined>;
  /** How many bytes a blob has; undefined when there is no such blob. */
  sizeOf(hash: BlobHash): Promise<number | undefined>;
  /**
   * Makes a whole upload a blob; again is harmless. Rejects with `file.damaged`, and forgets the upload, when its hash or size
   * is another; with `file.unknown` when there is neither upload nor blob.
   */
  complete(upload: RowId, blob: { readonly hash: BlobHash; readonly size: number }): Promise<void>;
  /** Removes a blob, or an upload that will not be completed. Idempotent. */
  remove(name: BlobHash | RowId): Promise<void>;
  /** Every blob and every upload there is, for collection and the integrity check. */
  list(): AsyncIterable<BlobHash | RowId>;
}

/** The folder of uploads within the one of blobs. */
export const UPLOADS = 'uploads';
const HASH_LENGTH = 64;

/** Where a blob lies in the folder of blobs. */
export const blobPathIn = (dir: string, hash: BlobHash): string => join(dir, hash.slice(0, 2), hash);

/** Blobs as files: `ab/ab12…`, uploads as `uploads/ID`. The folder is made when needed, private to its owner. */
export const directoryBlobStore = (dir: string): BlobStore => {
  const blobPath = (hash: BlobHash) => blobPathIn(dir, hash);
  const uploadPath = (upload: string) => join(dir, UPLOADS, upload);
  const turns = new Turns<BlobHash | RowId>();
  const place = async (from: string, hash: BlobHash): Promise<void> => {
    const to = blobPath(hash);
    await makeFolder(dirname(to), dir);
    await rename(from, to);
    await syncFolder(dirname(to));
    await syncFolder(dirname(from));
  };
  const addPart = async (path: string, from: number, bytes: Uint8Array): Promise<number> => {
    if (bytes.length > BLOB_PART_BYTES_MAX) throw new RangeError('a part of an upload is too large');
    const has = await sizeOf(path);
    if (bytes.length === 0 || from !== (has ?? 0)) return has ?? 0;
    if (has === undefined) await makeFolder(dirname(path), dir);
    await using file = await open(path, has === undefined ? 'w' : 'r+', 0o600);
    await writeAll(file, bytes, from);
    return from + bytes.length;
  };
  return {
    part: (upload, from, bytes) => turns.run(upload, () => addPart(uploadPath(upload), from, bytes)),
    get: async (hash, range) => {
      await using file = await openThere(blobPath(hash));
      return file && (await readAll(file, range.from, Math.min(range.size, BLOB_PART_BYTES_MAX)));
    },
    sizeOf: (hash) => sizeOf(blobPath(hash)),
    complete: (upload, { hash, size }) =>
      turns.run(upload, async () => {
        const path = uploadPath(upload);
        if ((await sizeOf(path)) === undefined) {
          if ((await sizeOf(blobPath(hash))) === size) return;
          throw new SottoError('file.unknown');
        }
        if ((await sizeOf(path)) !== size || (await hashOf(path)) !== hash) {
          await rm(path, { force: true });
          throw new SottoError('file.damaged');
        }
        await flush(path);
        await place(path, hash);
      }),
    remove: (name) => turns.run(name, () => rm(isBlobHash(name) ? blobPath(name) : uploadPath(name), { force: true })),
    list: () => listNames(dir),
  };
};

/** Blobs that can be kept for a while: those that are removed meanwhile stay, and their names are given at the end of it. */
export type HeldBlobs = BlobStore & { hold(): () => readonly BlobHash[] };

/** The same store, with `hold`. */
export const holding = (blobs: BlobStore): HeldBlobs => {
  const holds = new Set<Set<BlobHash>>();
  return {
    ...blobs,
    remove: async (name) => {
      if (holds.size === 0 || !isBlobHash(name)) return blobs.remove(name);
      for (const kept of holds) kept.add(name);
    },
    hold: () => {
      const kept = new Set<BlobHash>();
      holds.add(kept);
      return () => {
        holds.delete(kept);
        return [...kept];
      };
    },
  };
};

/** Whether a name is a blob's, else an upload's. */
export const isBlobHash = (name: BlobHash | RowId): name is BlobHash => name.length === HASH_LENGTH;

async function* listNames(dir: string): AsyncGenerator<BlobHash | RowId> {
  for (const folder of await namesIn(dir))
    for (const name of await namesIn(join(dir, folder))) yield name as BlobHash | RowId;
}

const namesIn = async (dir: string): Promise<string[]> => {
  try {
    return (await readdir(dir)).sort();
  } catch (error) {
    return absent(error, []);
  }
};

const sizeOf = async (path: string): Promise<number | undefined> => {
  try {
    return (await stat(path)).size;
  } catch (error) {
    return absent(error, undefined);
  }
};

const openThere = async (path: string): Promise<FileHandle | undefined> => {
  try {
    return await open(path, 'r');
  } catch (error) {
    return absent(error, undefined);
  }
};

const absent = <T>(error: unknown, nothing: T): T => {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return nothing;
  throw error;
};

const hashOf = async (path: string): Promise<string> => {
  await using file = await open(path, 'r');
  const hash = createHash('sha256');
  for (let at = 0; ; ) {
    const bytes = await readAll(file, at, BLOB_PART_BYTES_MAX);
    if (bytes.length === 0) return hash.digest('hex');
    hash.update(bytes);
    at += bytes.length;
  }
};

const readAll = async (file: FileHandle, from: number, size: number): Promise<Uint8Array> => {
  const buffer = new Uint8Array(size);
  let got = 0;
  while (got < size) {
    const { bytesRead } = await file.read(buffer, got, size - got, from + got);
    if (bytesRead === 0) break;
    got += bytesRead;
  }
  return buffer.subarray(0, got);
};

const writeAll = async (file: FileHandle, bytes: Uint8Array, at: number): Promise<void> => {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
};

const flush = async (path: string): Promise<void> => {
  await using file = await open(path, 'r+');
  await file.sync();
};

// A new folder is there after a crash only once the one that holds it is written too.
const makeFolder = async (path: string, top: string): Promise<void> => {
  const made = await mkdir(path, { recursive: true, mode: 0o700 });
  if (made === undefined) return;
  for (let folder = path; folder.length >= dirname(top).length; folder = dirname(folder)) {
    await syncFolder(folder);
    if (folder === dirname(made)) return;
  }
};

/** Makes the names of a folder durable. */
export const syncFolder = async (path: string): Promise<void> => {
  await using folder = await open(path, 'r');
  await folder.sync();
};
