// Files that are there whole after a crash, or as they were before.
import { closeSync, fsyncSync, lstatSync, openSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Writes a file so that after a crash there is the old one or the new one, never half of it. */
export const writeDurably = (path: string, bytes: Uint8Array): void => {
  const temporary = `${path}.new`;
  const file = openSync(temporary, 'w', 0o600);
  try {
    writeFileSync(file, bytes);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  syncPath(dirname(path));
};

/** Whether something is at a path, were it a link that leads nowhere. Throws codes of the system where no path can be. */
export const isThere = (path: string): boolean =>
  statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory() === true &&
  lstatSync(path, { throwIfNoEntry: false }) !== undefined;

/** Makes a file's bytes, or a folder's names, durable. */
export const syncPath = (path: string): void => {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
};
