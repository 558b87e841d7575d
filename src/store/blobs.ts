// The ciphertext of files beside the database: one file of sealed chunks and one of their hashes, by file id.
import { closeSync, existsSync, fsync, mkdirSync, openSync, readdirSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SEALED_CHUNK_BYTES } from '../crypto/file-chunks.ts';
import { HASH_BYTES } from '../protocol/sizes.ts';
import { syncPath } from '../sqlite/durable.ts';

/** Everything written to the open file so far survives a crash once this has resolved; who writes more does not wait for it. */
export const syncFile = promisify(fsync);

/** The stored chunks of one file. */
export class Blob implements Disposable {
  readonly #chunks: number;
  readonly #hashes: number;
  #chunk: Uint8Array<ArrayBuffer> | undefined;

  private constructor(chunks: number, hashes: number) {
    this.#chunks = chunks;
    this.#hashes = hashes;
  }

  /** Opens the chunks of file `id` (hex) below `dir`, making both files when there are none. */
  static make(dir: string, id: string): Blob {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const path = join(dir, id);
    const open = (name: string) => openSync(name, existsSync(name) ? 'r+' : 'wx+', 0o600);
    const isNew = !existsSync(path);
    const chunks = open(path);
    try {
      const blob = new Blob(chunks, open(`${path}.hashes`));
      // The database is about to count on both names.
      if (isNew) syncPath(dir);
      return blob;
    } catch (error) {
      closeSync(chunks);
      throw error;
    }
  }

  /** Opens what is kept of file `id` below `dir`; undefined when there is nothing. */
  static open(dir: string, id: string): Blob | undefined {
    return existsSync(join(dir, id)) ? Blob.make(dir, id) : undefined;
  }

  /** Sealed chunk `index`, as much of it as is there. The next call overwrites it: garbage of this size is dear. */
  chunk(index: number): Uint8Array<ArrayBuffer> {
    this.#chunk ??= new Uint8Array(SEALED_CHUNK_BYTES);
    return readInto(this.#chunk, this.#chunks, index * SEALED_CHUNK_BYTES);
  }

  putChunk(index: number, sealed: Uint8Array): void {
    write(this.#chunks, sealed, index * SEALED_CHUNK_BYTES);
  }

  /** `count` hashes from number `index` on. */
  hashes(index: number, count: number): Uint8Array<ArrayBuffer> {
    return readInto(new Uint8Array(count * HASH_BYTES), this.#hashes, index * HASH_BYTES);
  }

  putHashes(index: number, hashes: Uint8Array): void {
    write(this.#hashes, hashes, index * HASH_BYTES);
  }

  /** Everything written so far survives a crash once this has resolved. */
  async sync(): Promise<void> {
    await syncFile(this.#chunks);
    await syncFile(this.#hashes);
  }

  [Symbol.dispose](): void {
    closeSync(this.#chunks);
    closeSync(this.#hashes);
  }
}

/** Erases what is kept of a file. */
export const removeBlob = (dir: string, id: string): void => {
  rmSync(join(dir, id), { force: true });
  rmSync(join(dir, `${id}.hashes`), { force: true });
};

/** The ids of all files of which something is kept. */
export const listBlobs = (dir: string): string[] =>
  existsSync(dir) ? [...new Set(readdirSync(dir).map((name) => name.replace(/\.hashes$/, '')))] : [];

/** Writes all of `bytes` at byte `at`, or where the last write ended: on a disk that is nearly full one write takes a part. */
export const write = (fd: number, bytes: Uint8Array, at?: number): void => {
  for (let done = 0; done < bytes.length; )
    done += writeSync(fd, bytes, done, bytes.length - done, at === undefined ? null : at + done);
};

/** Fills `room` from byte `at` on; gives the part of it that was filled. */
const readInto = (room: Uint8Array<ArrayBuffer>, fd: number, at: number): Uint8Array<ArrayBuffer> => {
  let got = 0;
  while (got < room.length) {
    const n = readSync(fd, room, got, room.length - got, at + got);
    if (n === 0) break;
    got += n;
  }
  return room.subarray(0, got);
};
