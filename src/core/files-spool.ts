// Files on their way in: what is read from a path or a front end is sealed chunk by chunk, and kept until it is offered.
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { hashChunk, sealChunk } from '../crypto/file-chunks.ts';
import { type RunningHash, runningHash } from '../crypto/primitives.ts';
import type { Cancel } from '../ports.ts';
import { SottoError } from '../protocol/errors.ts';
import { ID_BYTES, idOf } from '../protocol/ids.ts';
import {
  FILE_BYTES_MAX,
  FILE_CHUNK_BYTES,
  FILE_NAME_BYTES_MAX,
  FILE_QUOTA_BYTES,
  FILE_SPOOL_IDLE_MS,
  FILE_SPOOLS_MAX,
  MEMBER_FILES_BYTES_MAX,
} from '../protocol/limits.ts';
import { HASH_BYTES } from '../protocol/sizes.ts';
import { Blob } from '../store/blobs.ts';
import type { ConversationRow } from '../store/conversations.ts';
import { keptBytes, putFile } from '../store/files.ts';
import { type Core, commit } from './core.ts';
import { serverOfRoom } from './names.ts';
import { newEventId } from './room-outbox.ts';

const READ_CHUNKS = 16;

type Spool = {
  readonly key: Uint8Array;
  readonly blob: Blob;
  /** As large as it may be where it goes. */
  readonly most: number;
  chunks: number;
  /** Of the hashes of its chunks so far: its root. */
  readonly list: RunningHash;
  /** Of all sealed bytes so far. */
  readonly whole: RunningHash;
  rest: Buffer;
  size: number;
  cancelIdle: Cancel;
  /** Whoever writes it is waited for no more. */
  keep: () => void;
};

/** What is known of a file before its first byte. */
export type SpoolOptions = {
  /** In bytes. */
  readonly size?: number;
  /** Says that whoever writes it has gone: without all of it nobody else can go on. */
  readonly gone?: AbortSignal | undefined;
};

/** A spooled file: its size, the root of its chunks' hashes, and the hash of its ciphertext. */
export type Spooled = {
  readonly size: number;
  readonly root: Uint8Array<ArrayBuffer>;
  readonly blob: Uint8Array<ArrayBuffer>;
};

/** Files that are being written, by row id. All of it runs in the account's queue. */
export class Spools {
  readonly #core: Core;
  readonly #orphan: (row: number) => void;
  readonly #spools = new Map<number, Spool>();

  /** `orphan` hears of one that got no byte for FILE_SPOOL_IDLE_MS, or whose writer has gone. */
  constructor(core: Core, orphan: (row: number) => void) {
    this.#core = core;
    this.#orphan = orphan;
  }

  /** Bytes taken so far, of all. */
  get bytes(): number {
    return [...this.#spools.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * Begins one; gives its row id. Throws `params.invalid` for a name that is none, and `quota.exceeded` at FILE_SPOOLS_MAX, and
   * for a size, where it is known, that will be too large.
   */
  begin(conversation: ConversationRow, name: string, { size = 0, gone }: SpoolOptions): number {
    if (this.#spools.size >= FILE_SPOOLS_MAX)
      throw new SottoError('quota.exceeded', {
        message: `${FILE_SPOOLS_MAX} files are being read already: wait, or cancel one with sotto file cancel`,
      });
    const most = conversation.kind === 'contact' ? FILE_BYTES_MAX : MEMBER_FILES_BYTES_MAX;
    this.#checkRoom(size, most);
    const { random, db, filesDir } = this.#core;
    // In a room the file's message is an event, whose id tells when it was made.
    const fileId =
      conversation.kind === 'contact' ? random.bytes(ID_BYTES) : newEventId(this.#core, serverOfRoom(db, conversation));
    const key = random.bytes(32);
    const wanted = {
      fileId,
      conversationId: conversation.id,
      mine: 1,
      name: checkFileName(name),
      size: 0,
      key,
    } as const;
    // First what may not be possible: a row without it would wait for its end. A blob without a row goes at the next start.
    const blob = Blob.make(filesDir, idOf(fileId));
    const row = commit(this.#core, (changes) =>
      putFile(db, { ...wanted, root: new Uint8Array(HASH_BYTES), state: 'spooling', createdAt: changes.at }),
    );
    const left = () => this.#core.queue.post(() => this.#orphan(row));
    const spool: Spool = {
      key,
      blob,
      most,
      chunks: 0,
      list: runningHash(),
      whole: runningHash(),
      rest: Buffer.alloc(0),
      size: 0,
      cancelIdle: () => {},
      keep: () => gone?.removeEventListener('abort', left),
    };
    this.#spools.set(row, spool);
    this.#watch(row, spool);
    gone?.addEventListener('abort', left);
    if (gone?.aborted) left();
    return row;
  }

  /** It is whole: whoever wrote it may go. */
  keep(row: number): void {
    this.#spools.get(row)?.keep();
  }

  /** Seals more bytes; gives the size so far. Throws `quota.exceeded`, `file.unknown`, `disk.*`: then it cannot go on. */
  write(row: number, bytes: Uint8Array): number {
    const spool = this.#get(row);
    this.#checkRoom(bytes.length, spool.most - spool.size);
    spool.size += bytes.length;
    spool.rest = Buffer.concat([spool.rest, bytes]);
    // The last chunk is sealed as the last: one whole chunk stays back until it is known that more follows.
    while (spool.rest.length > FILE_CHUNK_BYTES) {
      seal(spool, spool.rest.subarray(0, FILE_CHUNK_BYTES), false);
      spool.rest = spool.rest.subarray(FILE_CHUNK_BYTES);
    }
    this.#watch(row, spool);
    return spool.size;
  }

  /** What was written so far is on disk once this has resolved. Throws `disk.*`, and `file.unknown` for one that ends meanwhile. */
  async sync(row: number): Promise<void> {
    const spool = this.#get(row);
    try {
      await this.#core.queue.beside(spool.blob.sync());
    } catch (error) {
      // Its descriptors are closed then.
      throw this.#spools.get(row) === spool ? error : notSpooled();
    }
  }

  /** Ends one: all of it is on disk. Throws like `write`. */
  async end(row: number): Promise<Spooled> {
    const spool = this.#get(row);
    seal(spool, spool.rest, true);
    await spool.blob.sync();
    this.drop(row);
    return { size: spool.size, root: spool.list.end(), blob: spool.whole.end() };
  }

  /** Lets go of one; what is kept of it stays. */
  drop(row: number): void {
    const spool = this.#spools.get(row);
    spool?.cancelIdle();
    spool?.keep();
    spool?.blob[Symbol.dispose]();
    this.#spools.delete(row);
  }

  stop(): void {
    for (const row of this.#spools.keys()) this.drop(row);
  }

  #checkRoom(bytes: number, most: number): void {
    if (bytes > most)
      throw new SottoError('quota.exceeded', { message: 'The file is too large for where it goes: send it in parts' });
    if (bytes > FILE_QUOTA_BYTES - keptBytes(this.#core.db) - this.bytes) throw new SottoError('quota.exceeded');
  }

  #get(row: number): Spool {
    const spool = this.#spools.get(row);
    if (spool === undefined) throw notSpooled();
    return spool;
  }

  #watch(row: number, spool: Spool): void {
    const { clock, queue } = this.#core;
    spool.cancelIdle();
    spool.cancelIdle = clock.after(FILE_SPOOL_IDLE_MS, () => queue.post(() => this.#orphan(row)));
  }
}

/** Gives `take` the bytes of the regular file at an absolute path, in order. Throws `file.unknown`, and what `take` throws. */
export const takePieces = async (path: string, take: (bytes: Uint8Array) => Promise<unknown>): Promise<void> => {
  const source = await openSource(path);
  try {
    const buffer = Buffer.alloc(FILE_CHUNK_BYTES * READ_CHUNKS);
    for (;;) {
      const { bytesRead } = await source.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0) return;
      await take(buffer.subarray(0, bytesRead));
    }
  } finally {
    await source.close();
  }
};

/** The size of a regular file. Throws `file.unknown` for what is none, or cannot be read. */
export const sizeOfSource = async (path: string): Promise<number> => {
  const source = await openSource(path);
  try {
    return (await source.stat()).size;
  } finally {
    await source.close();
  }
};

const notSpooled = () => new SottoError('file.unknown', { message: 'This file is not being spooled' });

const seal = (spool: Spool, plaintext: Uint8Array, last: boolean): void => {
  const index = spool.chunks++;
  const sealed = sealChunk(spool.key, index, last, plaintext);
  spool.blob.putChunk(index, sealed);
  const hash = hashChunk(sealed);
  spool.blob.putHashes(index, hash);
  spool.list.add(hash);
  spool.whole.add(sealed);
};

const checkFileName = (name: string): string => {
  const base = name.split(/[/\\]/).at(-1) ?? '';
  if (
    base === '' ||
    base === '.' ||
    base === '..' ||
    Buffer.byteLength(base) > FILE_NAME_BYTES_MAX ||
    !base.isWellFormed()
  )
    throw new SottoError('params.invalid', { message: 'The file has no usable name: give one' });
  return base;
};

const openSource = async (path: string) => {
  try {
    // A pipe opens at once then, whether or not somebody writes into it.
    const source = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if ((await source.stat()).isFile()) return source;
    await source.close();
  } catch (error) {
    throw new SottoError('file.unknown', { message: `The file cannot be read: ${path}`, cause: error });
  }
  throw new SottoError('file.unknown', { message: `This is no regular file: ${path}` });
};
