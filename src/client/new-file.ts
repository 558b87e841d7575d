// A file that is written for a person: whole under its name, or not there at all.
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { errorAt, SottoError } from '../protocol/errors.ts';

/**
 * Writes the pieces, in order, to a file that only the user can read, and gives its size in bytes. It gets its name when all
 * of it is on the disk. `overwrite` is left out where nobody can ask for that. Throws `file.exists`, unless it may replace a
 * file that is there, `file.unknown` without its folder, `path.notAllowed` and `disk.*`, and what the pieces throw.
 */
export const writeWhole = async (
  path: string,
  pieces: AsyncIterable<string | Uint8Array>,
  { overwrite }: { readonly overwrite?: boolean } = {},
): Promise<number> => {
  const assertFree = (): void => {
    if (!isThere(path)) return;
    if (overwrite !== true) throw exists(path, overwrite === undefined ? '' : ': --overwrite replaces it');
    // A device or a pipe would be gone for everybody who uses it.
    if (existsSync(path) && !statSync(path).isFile())
      throw new SottoError('file.exists', { message: `What is at ${path} is no regular file: it is not replaced` });
  };
  const part = `${path}.sotto-part`;
  const file = openNew(path, part, assertFree);
  try {
    for await (const piece of pieces) writeFileSync(file, piece);
    const { size } = fstatSync(file);
    fsyncSync(file);
    assertFree();
    if (lstatSync(part, { throwIfNoEntry: false })?.ino !== fstatSync(file).ino)
      throw new SottoError('file.exists', {
        message: `Another command writes to ${path} too: nothing of this one is kept`,
      });
    renameSync(part, path);
    syncDir(dirname(path));
    return size;
  } catch (error) {
    if (lstatSync(part, { throwIfNoEntry: false })?.ino === fstatSync(file).ino) rmSync(part, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
};

/** What would keep a backup from being written, before anybody is asked for its passphrase. Throws `file.exists` and `file.unknown`. */
export const assertNew = (path: string): void => {
  if (isThere(path)) throw exists(path);
  assertFolder(path);
};

const exists = (path: string, next = ''): SottoError =>
  new SottoError('file.exists', { message: `There is something at ${path} already${next}` });

// A link that leads nowhere is there too.
const isThere = (path: string): boolean => hasFolder(path) && lstatSync(path, { throwIfNoEntry: false }) !== undefined;

const hasFolder = (path: string): boolean => statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory() === true;

const assertFolder = (path: string): void => {
  if (!hasFolder(path)) throw new SottoError('file.unknown', { message: `There is no folder ${dirname(path)}` });
};

const openNew = (path: string, part: string, assertFree: () => void): number => {
  try {
    assertFree();
    assertFolder(path);
    rmSync(part, { force: true });
    return openSync(part, 'wx', 0o600);
  } catch (error) {
    throw errorAt(error, path);
  }
};

const syncDir = (path: string): void => {
  const dir = openSync(path, 'r');
  try {
    fsyncSync(dir);
  } finally {
    closeSync(dir);
  }
};
