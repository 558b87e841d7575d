// Fetched files on their way to a path of the user's: decrypted in steps of the queue, and there whole or not at all.
import { closeSync, existsSync, linkSync, lstatSync, openSync, readSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { chunkCount, openChunk } from '../crypto/file-chunks.ts';
import { errorAt, expectedError, SottoError } from '../protocol/errors.ts';
import { idOf } from '../protocol/ids.ts';
import { FILE_CHUNK_BYTES } from '../protocol/limits.ts';
import { isThere, syncPath } from '../sqlite/durable.ts';
import { Blob, syncFile, write } from '../store/blobs.ts';
import { type FileRow, getFile, patchFile } from '../store/files.ts';
import { type Core, commit } from './core.ts';

// About a megabyte: what else waits in the queue waits for milliseconds.
const CHUNKS_A_STEP = 32;

type Save = { readonly path: string; readonly overwrite: boolean; readonly target: Target; next: number };

/** The files that are being saved, by row id. All of it runs in the account's queue. */
export class Saving {
  readonly #core: Core;
  readonly #saves = new Map<number, Save>();

  constructor(core: Core) {
    this.#core = core;
  }

  /** Saves a whole file to its `saveTo`. What stands in the way is kept as its trouble, and it is not tried again. */
  start(row: FileRow, { overwrite }: { readonly overwrite: boolean }): void {
    this.stop(row.id);
    this.#guard(row.id, () => {
      const target = new Target(row.saveTo, idOf(row.fileId));
      const save: Save = { path: row.saveTo, overwrite, target, next: 0 };
      this.#saves.set(row.id, save);
      this.#later(row.id, save, () => this.#step(row.id, save));
    });
  }

  /** Gives up saving a file; nothing stays at its path. */
  stop(row: number): void {
    this.#saves.get(row)?.target[Symbol.dispose]();
    this.#saves.delete(row);
  }

  stopAll(): void {
    for (const row of [...this.#saves.keys()]) this.stop(row);
  }

  #later(rowId: number, save: Save, step: () => void): void {
    this.#core.queue.post(() => {
      if (this.#saves.get(rowId) === save) this.#guard(rowId, step);
    });
  }

  #step(rowId: number, save: Save): void {
    const row = getFile(this.#core.db, rowId);
    if (row === undefined) return this.stop(rowId);
    const count = chunkCount(row.size);
    const end = Math.min(count, save.next + CHUNKS_A_STEP);
    using blob = keptOf(this.#core, row);
    for (; save.next < end; save.next++) save.target.write(clearChunk(row, blob, save.next));
    if (save.next < count) return this.#later(rowId, save, () => this.#step(rowId, save));
    // A large file takes the disk for seconds, and the queue does not wait for that.
    this.#core.queue.beside(save.target.sync()).then(
      () => this.#later(rowId, save, () => this.#finish(rowId, save)),
      (error: unknown) =>
        this.#later(rowId, save, () => {
          throw error;
        }),
    );
  }

  #finish(rowId: number, save: Save): void {
    save.target.finish(save);
    this.stop(rowId);
    commit(this.#core, () => patchFile(this.#core.db, rowId, { savedTo: save.path, saveTo: '', reason: '' }));
  }

  #guard(rowId: number, step: () => void): void {
    try {
      step();
    } catch (error) {
      const known = expectedError(error);
      if (known === undefined) throw error;
      this.stop(rowId);
      this.#failed(rowId, known);
    }
  }

  // Saving again is the user's word: the disk may be full, and then not even that can be noted.
  #failed(rowId: number, error: SottoError): void {
    const core = this.#core;
    core.log.warn('file.notSaved', { code: error.code });
    core.fileTroubles.set(rowId, error);
    try {
      commit(core, () => patchFile(core.db, rowId, { saveTo: '', reason: error.message }));
    } catch (caught) {
      if (expectedError(caught) === undefined) throw caught;
    }
    core.volatile({ kind: 'file.progressed', fileRow: rowId });
  }
}

/** What is kept of a file. Throws `file.unknown` when that is nothing. */
export const keptOf = (core: Core, row: FileRow): Blob => {
  const blob = Blob.open(core.filesDir, idOf(row.fileId));
  if (blob === undefined) throw new SottoError('file.unknown', { message: 'Nothing of this file is kept any more' });
  return blob;
};

/** Chunk `index` of a whole file, in clear. Throws `file.damaged`. */
export const clearChunk = (row: FileRow, blob: Blob, index: number): Uint8Array => {
  const data = openChunk(row.key, index, index === chunkCount(row.size) - 1, blob.chunk(index));
  if (data === undefined) throw new SottoError('file.damaged');
  return data;
};

/**
 * Throws `params.invalid` for a path that is not absolute, `file.exists` when something is there and may not be replaced, and
 * `file.unknown` when its folder is not there: before anything is fetched.
 */
export const checkTarget = (path: string, { overwrite }: { readonly overwrite: boolean }): void => {
  if (!path.startsWith('/')) throw new SottoError('params.invalid', { message: 'The path must be absolute' });
  if (!overwrite && isThere(path)) throw exists(path);
  checkReplaced(path);
  if (!isFolder(dirname(path)))
    throw new SottoError('file.unknown', { message: `There is no folder ${dirname(path)}` });
};

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

const exists = (path: string): SottoError =>
  new SottoError('file.exists', { message: `There is something at ${path} already: --overwrite replaces it` });

// A device or a pipe would be gone for everybody who uses it.
const checkReplaced = (path: string): void => {
  const there = existsSync(path) ? statSync(path) : undefined;
  if (there !== undefined && !there.isFile() && !there.isDirectory())
    throw new SottoError('file.exists', { message: `What is at ${path} is no regular file: it is not replaced` });
};

const isSame = (one: string, other: string): boolean => {
  const [a, b] = [one, other].map((path) => lstatSync(path));
  if (a?.isFile() !== true || b?.isFile() !== true || a.size !== b.size) return false;
  const [left, right] = [openSync(one, 'r'), openSync(other, 'r')];
  try {
    const [here, there] = [Buffer.alloc(FILE_CHUNK_BYTES), Buffer.alloc(FILE_CHUNK_BYTES)];
    for (let size = readSync(left, here); size > 0; size = readSync(left, here))
      if (readSync(right, there) !== size || !here.subarray(0, size).equals(there.subarray(0, size))) return false;
    return true;
  } finally {
    closeSync(left);
    closeSync(right);
  }
};

// A file under another name, in the folder where it shall be: that name is short, whatever the file's own is.
class Target implements Disposable {
  readonly #path: string;
  readonly #temporary: string;
  readonly #fd: number;
  #open = true;

  constructor(path: string, id: string) {
    this.#path = path;
    this.#temporary = join(dirname(path), `.sotto-${id}`);
    this.#fd = this.#try(() => {
      // One that is there comes from a program that died.
      rmSync(this.#temporary, { force: true });
      return openSync(this.#temporary, 'wx', 0o600);
    });
  }

  write(bytes: Uint8Array): void {
    this.#try(() => write(this.#fd, bytes));
  }

  /** All that was written survives a crash once this has resolved. Throws `disk.*`. */
  async sync(): Promise<void> {
    try {
      await syncFile(this.#fd);
    } catch (error) {
      throw errorAt(error, this.#path);
    }
  }

  /** All is written: it gets its name. Throws `file.exists` when something that may not be replaced came there meanwhile. */
  finish({ overwrite }: { readonly overwrite: boolean }): void {
    this.#try(() => {
      if (!overwrite && this.#link()) return;
      checkReplaced(this.#path);
      renameSync(this.#temporary, this.#path);
    });
    this.#syncName();
  }

  // It is told as saved: its name is to survive too. A folder that may not be read is left to the system.
  #syncName(): void {
    try {
      syncPath(dirname(this.#path));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#fd);
    rmSync(this.#temporary, { force: true });
  }

  // A second name replaces nothing, not even what came just now; if that is the same it was saved before a death that came
  // before it was noted. False where a file has one name only.
  #link(): boolean {
    try {
      linkSync(this.#temporary, this.#path);
      return true;
    } catch {
      if (!isThere(this.#path)) return false;
      if (!isSame(this.#temporary, this.#path)) throw exists(this.#path);
      return true;
    }
  }

  #try<T>(step: () => T): T {
    try {
      return step();
    } catch (error) {
      throw errorAt(error, this.#path);
    }
  }
}
