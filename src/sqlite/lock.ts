// One program per account or server: a small SQLite file held exclusively for as long as the program lives; the system frees it.
import { chmodSync } from 'node:fs';
import { Database as Driver } from '@signalapp/sqlcipher';
import { SottoError } from '../protocol/errors.ts';
import { guarded } from './open.ts';

const TRY_MS = 200;

const opened = (path: string): Driver => {
  try {
    return new Driver(path);
  } catch (error) {
    if (!(error instanceof Error) || !/unable to open/.test(error.message)) throw error;
    throw new SottoError('path.notAllowed', { message: `Nothing can be written at ${path}`, cause: error });
  }
};

/** Takes the lock at `path`. Throws `taken` when another program has it, and `path.notAllowed`. Disposing gives it back. */
export const takeLock = (path: string, taken: 'account.running' | 'server.running' = 'account.running'): Disposable => {
  const driver = opened(path);
  try {
    // Not by opening it: closing it again would let go of a lock that this process has.
    chmodSync(path, 0o600);
    guarded(() => {
      // Of several who try at once each may find another half way: they let go and try again, and one of them has it.
      driver.exec(`PRAGMA busy_timeout = ${TRY_MS}`);
      driver.exec('BEGIN EXCLUSIVE');
      driver.exec('CREATE TABLE IF NOT EXISTS held (id INTEGER PRIMARY KEY)');
      driver.exec('PRAGMA locking_mode = EXCLUSIVE');
      driver.exec('COMMIT');
    });
  } catch (error) {
    driver.close();
    if (error instanceof Error && /lock|busy/i.test(error.message)) throw new SottoError(taken);
    throw error;
  }
  return { [Symbol.dispose]: () => driver.close() };
};
