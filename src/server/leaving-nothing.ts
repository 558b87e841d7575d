// A server that is begun in a folder and does not come about: what was not there before is not there after.
import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SottoError } from '../protocol/errors.ts';
import { takeLock } from '../sqlite/lock.ts';
import { filesOfBuilding, isServer, makePrivate, type ServerPaths } from './server-dir.ts';

/**
 * Runs `make` in the folder, which is made and held. Where it throws, whatever it has made is taken away, and so are the folder
 * and those above it that were not there. Throws `server.exists`, `server.running`, `path.notAllowed`, and what `make` throws.
 */
export const leavingNothing = async <T>(paths: ServerPaths, make: () => Promise<T>): Promise<T> => {
  const missing = missingFolders(paths.dir);
  try {
    const hadLock = existsSync(paths.lock);
    makePrivate(paths.dir);
    using _lock = takeLock(paths.lock, 'server.running');
    if (isServer(paths)) throw new SottoError('server.exists');
    return await takenBack(paths, make, hadLock ? [] : [paths.lock]);
  } catch (error) {
    removeEmpty(missing);
    throw error;
  }
};

// A lock goes while it is held: once let go it may be another program's.
const takenBack = async <T>(paths: ServerPaths, make: () => Promise<T>, alsoNew: readonly string[]): Promise<T> => {
  const before = new Set(partsOf(paths));
  try {
    return await make();
  } catch (error) {
    const made = partsOf(paths).filter((path) => !before.has(path));
    for (const path of [...filesOfBuilding(paths), ...made, ...alsoNew]) rmSync(path, { recursive: true, force: true });
    throw error;
  }
};

// The innermost first.
const missingFolders = (dir: string): string[] => (existsSync(dir) ? [] : [dir, ...missingFolders(dirname(dir))]);

const removeEmpty = (folders: readonly string[]): void => {
  try {
    for (const folder of folders.filter((one) => existsSync(one))) rmdirSync(folder);
  } catch {
    // Something else is in it, which stays, and so do those above.
  }
};

const partsOf = ({ keyFile, database, blobs }: ServerPaths): string[] =>
  [keyFile, `${keyFile}.new`, database, blobs].filter((path) => existsSync(path)).concat(blobFiles(blobs));

const blobFiles = (blobs: string): string[] =>
  existsSync(blobs) ? readdirSync(blobs, { encoding: 'utf8', recursive: true }).map((name) => join(blobs, name)) : [];
