// A file that a command reads: a regular one that is there.
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { SottoError } from '../protocol/errors.ts';

/** Opens a file to read; `what` is what a person calls it. Throws `file.unknown` when it cannot be read or is no regular file. */
export const descriptorOf = (path: string, what: string): number => {
  try {
    // A pipe opens at once then, whether or not somebody writes into it.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (fstatSync(file).isFile()) return file;
    closeSync(file);
  } catch (error) {
    throw new SottoError('file.unknown', { message: `The ${what} cannot be read: ${path}`, cause: error });
  }
  throw new SottoError('file.unknown', { message: `This is no regular file: ${path}` });
};
