// An account that is open in this daemon: its database and network, and what runs beside it until it closes.
import { statSync } from 'node:fs';
import type { AccountPaths } from '../client/paths.ts';
import { Account } from '../core/account.ts';
import { settingOf } from '../core/settings.ts';
import type { BackupSecret } from '../crypto/backup.ts';
import { systemClock, systemRandom } from '../machine.ts';
import { serverNetwork } from '../net/server-network.ts';
import { TorNetwork } from '../net/tor-network.ts';
import type { Log } from '../ports.ts';
import { expectedError, SottoError } from '../protocol/errors.ts';
import { ID_BYTES } from '../protocol/ids.ts';
import { UPGRADING } from '../protocol/version.ts';
import { makeLogRoom } from '../sqlite/log-room.ts';
import type { Database } from '../sqlite/open.ts';
import { getSelf, isAtPlace, putInstallId, putPlace } from '../store/self.ts';
import { openAccountDatabase, placeOf } from './account-dir.ts';
import { type Written, writeBackup } from './backup.ts';
import { Checker } from './checker.ts';
import type { Config } from './config.ts';
import { Hooks } from './hooks.ts';
import { Notifier } from './notify.ts';

export type OpenOptions = {
  readonly paths: AccountPaths;
  readonly config: Config;
  readonly log: Log;
  /** Process id, for Tor's owner. */
  readonly pid: number;
  /** Whether somebody looks at a front end: no notifications then. */
  readonly focused: () => boolean;
  readonly bug: (error: unknown) => void;
};

/** One open account. Its key is its own: closing the account wipes it. */
export class OpenAccount implements AsyncDisposable {
  readonly account: Account;
  readonly db: Database;
  readonly key: Uint8Array;
  readonly checker: Checker;
  readonly hooks: Hooks;
  /** Whether it runs without Tor. */
  readonly offline: boolean;
  readonly #options: OpenOptions;
  readonly notifier: Notifier;
  /** Aborted when the account closes. */
  readonly #closing = new AbortController();
  /** A backup reads the database by a connection of its own. */
  #backup: Promise<Written> | undefined;

  private constructor(account: Account, db: Database, key: Uint8Array, offline: boolean, options: OpenOptions) {
    const { paths, log, focused } = options;
    this.account = account;
    this.db = db;
    this.key = key;
    this.offline = offline;
    this.#options = options;
    this.hooks = new Hooks({ account, db, dir: paths.hooksDir, clock: systemClock, log });
    this.notifier = new Notifier({
      account,
      clock: systemClock,
      log,
      focused,
      platform: process.platform,
      cwd: paths.dir,
    });
    this.checker = new Checker(paths.database, key);
  }

  /** Opens the database under its key and goes into the network. Throws `database.*`, and leaves nothing open then. */
  static async open(key: Uint8Array, options: OpenOptions): Promise<OpenAccount> {
    const { paths } = options;
    // A new one in its place would be of nobody.
    if ((statSync(paths.database, { throwIfNoEntry: false })?.size ?? 0) === 0)
      throw new SottoError('database.damaged', {
        message: `The database is missing: put ${paths.database} back, or restore it from a backup`,
      });
    const db = openAccountDatabase(paths, key, () => process.stderr.write(`${UPGRADING}\n`));
    let account: Account | undefined;
    try {
      // What was erased shortly before a crash is still in there.
      emptyLog(db, options.log);
      makeLogRoom(paths.database);
      const offline = isOffline(options.config, db);
      account = await openOn(db, offline, options);
      return new OpenAccount(account, db, key, offline, options);
    } catch (error) {
      await account?.[Symbol.asyncDispose]();
      db[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Writes a backup while everything goes on, one at a time: two would write to one file. Without a passphrase the recovery
   * phrase opens it. It ends, and leaves nothing, with `signal` and when the account closes.
   */
  async backup(file: string, passphrase: string | undefined, signal: AbortSignal): Promise<Written> {
    const self = getSelf(this.db);
    if (self === undefined) throw new Error('an open account has a row');
    const secret: BackupSecret =
      passphrase === undefined ? { kind: 'account', key: self.backupKey } : { kind: 'passphrase', passphrase };
    this.assertNoBackup();
    using reader = openAccountDatabase(this.#options.paths, this.key);
    const ends = AbortSignal.any([signal, this.#closing.signal]);
    this.#backup = writeBackup(reader, file, secret, systemClock.now(), ends);
    try {
      return await this.#backup;
    } finally {
      this.#backup = undefined;
    }
  }

  /** Throws `account.running` while a backup is being written. */
  assertNoBackup(): void {
    if (this.#backup !== undefined)
      throw new SottoError('account.running', { message: 'A backup is being written: try later' });
  }

  /** Drains, leaves the network, ends what reads the database, and closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.hooks[Symbol.dispose]();
    this.notifier[Symbol.dispose]();
    await this.account[Symbol.asyncDispose]();
    this.#closing.abort();
    await Promise.allSettled([this.checker[Symbol.asyncDispose](), this.#backup]);
    try {
      emptyLog(this.db, this.#options.log);
    } finally {
      this.db[Symbol.dispose]();
      this.key.fill(0);
    }
  }
}

/** Whether an account runs without Tor, by the configuration or by its own setting. */
export const isOffline = ({ tor }: Config, db: Database): boolean => tor.offline || !settingOf(db, 'network.tor');

// What is committed stays in the log until the disk has room: the account opens and closes all the same.
const emptyLog = (db: Database, log: Log): void => {
  try {
    db.truncateWal();
  } catch (error) {
    if (expectedError(error)?.code !== 'disk.full') throw error;
    log.warn('disk.full');
  }
};

const openOn = (db: Database, offline: boolean, { paths, config, log, pid, bug }: OpenOptions): Promise<Account> => {
  const place = placeOf(paths);
  const isHome = isAtPlace(db, place);
  // Anew each time: an id that comes back is a copy, also one of a whole machine, which is as much at home as this one.
  putInstallId(db, systemRandom.bytes(ID_BYTES));
  const machine = { clock: systemClock, random: systemRandom };
  const network = new TorNetwork({
    ...machine,
    config: { ...config.tor, offline },
    paths: { dataDir: paths.torDir, socketDir: paths.socketDir },
    log,
    owner: pid,
    ...(isHome ? {} : { unclaimed: () => putPlace(db, place) }),
  });
  const torWay = () => {
    if (offline) return false;
    return network.state.state === 'online' ? network.way : undefined;
  };
  return Account.open({
    ...machine,
    name: paths.name,
    db,
    network,
    servers: serverNetwork({ ...machine, tor: torWay }),
    log,
    filesDir: paths.filesDir,
    bug,
  });
};
