// Private folders, made with all above them, or one error that says why not.
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { SottoError } from '../protocol/errors.ts';

const NO_PLACE: ReadonlySet<string | undefined> = new Set([
  'EACCES',
  'EEXIST',
  'ELOOP',
  'ENAMETOOLONG',
  'ENOENT',
  'ENOTDIR',
  'EPERM',
  'EROFS',
]);

/**
 * Makes a folder and those above it that are missing, all with mode 0700; one that is there stays as it is. Throws
 * `path.notAllowed` where none can be. One after the other: where the system says of a new name that it is not there, as below
 * /proc, a recursive mkdir of Node tries for ever.
 */
export const makeFolder = (dir: string): void => {
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() === true) return;
  if (!existsSync(dirname(dir))) makeFolder(dirname(dir));
  try {
    mkdirSync(dir, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(dir, { throwIfNoEntry: false })?.isDirectory() === true) return;
    if (!NO_PLACE.has(code)) throw error;
    throw new SottoError('path.notAllowed', {
      message: `${dir} cannot be a folder of sotto (${code}): take one that you may write to`,
      cause: error,
    });
  }
};
