// One program per account: a small SQLite file held exclusively for as long as the program lives; the system frees it.
import { Database as Driver } from '@signalapp/sqlcipher';
import { SottoError } from '../protocol/errors.ts';
import { guarded } from './open.ts';

/** Takes the lock at `path`. Throws `account.running` when another program has it. Disposing gives it back. */
export const takeLock = (path: string): Disposable => {
  const driver = new Driver(path);
  try {
    guarded(() => {
      driver.exec('PRAGMA locking_mode = EXCLUSIVE');
      driver.exec('CREATE TABLE IF NOT EXISTS held (id INTEGER PRIMARY KEY)');
      driver.exec('BEGIN EXCLUSIVE');
      driver.exec('COMMIT');
    });
  } catch (error) {
    driver.close();
    if (error instanceof Error && /lock|busy/i.test(error.message)) throw new SottoError('account.running');
    throw error;
  }
  return { [Symbol.dispose]: () => driver.close() };
};
