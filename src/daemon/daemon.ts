// The local program: owns one account, its database and its network, and answers front ends until it is told to end.
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { type AccountPaths, checkSocketDir, eraseAccountDir, type Places, socketsText } from '../client/paths.ts';
import { createAccount, torObject } from '../core/account.ts';
import type { BackupSecret } from '../crypto/backup.ts';
import { phraseOf, ROOT_BYTES, rootOfPhrase } from '../crypto/identity.ts';
import { type FileLog, fileLog, systemClock, systemRandom } from '../machine.ts';
import { expectedError, framesOf, SottoError } from '../protocol/errors.ts';
import { type Greeting, type Method, type Params, type Result, RPC_VERSION } from '../protocol/rpc.ts';
import type { Status } from '../protocol/rpc-objects.ts';
import { takeLock } from '../sqlite/lock.ts';
import type { Database } from '../sqlite/open.ts';
import { putSetting } from '../store/events.ts';
import { putPlace } from '../store/self.ts';
import {
  assertAccount,
  createAccountDir,
  makeAccountDir,
  openAccountVault,
  placeOf,
  rekeyAccountDir,
  rewrapVault,
  settleAccountDir,
  undoAccountDir,
  vaultState,
} from './account-dir.ts';
import { checkBackup, loadBackup } from './backup.ts';
import { type Config, readConfig } from './config.ts';
import { callDaemon } from './methods.ts';
import { isOffline, OpenAccount } from './opened.ts';
import { type Connection, RpcSocket } from './socket.ts';

export type DaemonOptions = {
  readonly places: Places;
  readonly paths: AccountPaths;
  readonly version: string;
  /** Process id, for Tor's owner. */
  readonly pid: number;
};

/** A passphrase, or a key file; `noTor` makes an account that nothing of Tor is started for. */
type Wanted = { readonly passphrase: string | undefined; readonly noTor?: boolean | undefined };
type Made = { readonly account: Result<'account.show'>; readonly recoveryPhrase: string };

/** A running daemon. */
export class Daemon {
  readonly options: DaemonOptions;
  readonly log: FileLog;
  readonly #lock: Disposable;
  readonly #socket: RpcSocket;
  readonly #startedAt = systemClock.monotonic();
  readonly #end = Promise.withResolvers<number>();
  #config: Config;
  #open: OpenAccount | undefined;
  #ending = false;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: DaemonOptions, lock: Disposable, config: Config) {
    this.options = options;
    this.#lock = lock;
    this.#config = config;
    this.log = fileLog(options.paths.log, config.log.level);
    this.#socket = new RpcSocket({
      path: options.paths.socket,
      greeting: () => this.#greeting(),
      handle: (connection, method, params) => this.#handle(connection, method, params),
      // Whoever wanted an account here has none: nobody would come back to this daemon.
      left: () => void (isNothing(options.paths) && this.stop().catch((error) => this.bug(error))),
      gone: () => this.#socketGone(),
      bug: (error) => this.bug(error),
    });
  }

  // Those of Tor stand beside it: no link can begin any more. The next command starts another daemon.
  #socketGone(): void {
    if (this.#ending) return;
    this.log.warn('socket.gone');
    this.stop(1).catch((error) => this.bug(error));
  }

  /** Takes the account's lock, opens it when it needs no passphrase, and listens. Throws what stands in the way. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const config = readConfig(options.places.configFile);
    checkSocketDir(options.paths.socketDir);
    makeAccountDir(options.paths);
    const lock = takeLock(options.paths.lock);
    settleAccountDir(options.paths);
    const daemon = new Daemon(options, lock, config);
    try {
      if (vaultState(options.paths) === 'keyFile') await daemon.unlock(undefined);
      await daemon.#socket.listen();
      daemon.#tellSockets();
    } catch (error) {
      await daemon.stop(1);
      throw error;
    }
    daemon.log.info('daemon.started', { version: options.version });
    return daemon;
  }

  // Where the disk takes nothing more, only an environment like ours finds it.
  #tellSockets(): void {
    const { paths } = this.options;
    try {
      writeFileSync(paths.sockets, socketsText(paths), { mode: 0o600 });
    } catch (error) {
      if (expectedError(error) === undefined) throw error;
    }
  }

  /** Resolves with the exit code when the daemon has ended. */
  get ended(): Promise<number> {
    return this.#end.promise;
  }

  /** The open account. Throws `account.unknown` or `account.locked`. */
  get open(): OpenAccount {
    if (this.#open !== undefined) return this.#open;
    this.assertExists();
    throw new SottoError('account.locked');
  }

  get isOpen(): boolean {
    return this.#open !== undefined;
  }

  get config(): Config {
    return this.#config;
  }

  /** Drains, leaves the network, closes everything and gives the lock back. */
  async stop(code = 0): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    // What cannot be put away, on a disk that takes nothing any more, ends the daemon all the same.
    let ends = 1;
    try {
      await this.lock();
      const { paths } = this.options;
      await this.#socket.close(() => {
        if (isNothing(paths)) rmSync(paths.dir, { recursive: true, force: true });
        rmSync(paths.socketDir, { recursive: true, force: true });
        rmSync(paths.sockets, { force: true });
        this.#lock[Symbol.dispose]();
      });
      ends = code;
    } finally {
      this.#end.resolve(ends);
    }
  }

  /** Something that must never happen: told to the log with its stack, and the process ends. */
  bug(error: unknown): void {
    this.log.error('bug', {
      stack: framesOf(error),
      name: error instanceof Error ? error.name : typeof error,
      version: this.options.version,
    });
    this.stop(1).catch(() => {});
  }

  /** Makes a new account and opens it; gives it with its recovery phrase, which is kept nowhere. */
  async create(
    wanted: Wanted & { readonly nickname: string; readonly phrase?: string },
    gone?: AbortSignal,
  ): Promise<Made> {
    const root = wanted.phrase === undefined ? systemRandom.bytes(ROOT_BYTES) : rootOfPhrase(wanted.phrase);
    const account = await this.#make(
      wanted,
      (db) => {
        createAccount(db, { root, nickname: wanted.nickname, random: systemRandom, clock: systemClock });
        // A new address runs nowhere else.
        if (wanted.phrase === undefined) putPlace(db, placeOf(this.options.paths));
      },
      gone,
    );
    return { account, recoveryPhrase: phraseOf(root) };
  }

  /** Makes the account from a backup file that was made with `secret`; nothing is left when it is not whole. */
  async restore(file: string, secret: BackupSecret, wanted: Wanted): Promise<void> {
    await checkBackup(file, secret);
    await this.#make(wanted, (db) => loadBackup(db, file, secret, { random: systemRandom, clock: systemClock }));
  }

  unlock(passphrase: string | undefined): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#open === undefined) await this.#openWith(await openAccountVault(this.options.paths, passphrase));
    });
  }

  /** A locked account is offline and acknowledges nothing; its keys are gone from memory. Again is harmless. */
  lock(): Promise<void> {
    return this.#inTurn(() => this.#close());
  }

  /** Changes the passphrase after checking the present one; `rekey` also encrypts the database under a new key. */
  changePassphrase(wanted: {
    readonly present: string | undefined;
    readonly next: string | undefined;
    readonly rekey: boolean;
  }): Promise<void> {
    const { paths } = this.options;
    return this.#inTurn(async () => {
      const key = await openAccountVault(paths, wanted.present);
      if (!wanted.rekey) return await rewrapVault(paths, key, wanted.next);
      this.#open?.assertNoBackup();
      await this.#reopen(() => rekeyAccountDir(paths, key, { passphrase: wanted.next, random: systemRandom }), key);
    });
  }

  /** Runs the account here, whether or not another copy of it runs: contacts are told if it does. */
  takeOver(): Promise<void> {
    return this.#inTurn(async () => {
      const { db, key } = this.open;
      putPlace(db, placeOf(this.options.paths));
      const kept = new Uint8Array(key);
      await this.#reopen(() => Promise.resolve(kept), kept);
    });
  }

  /** Reads config.toml and network.tor again; a bad file changes nothing. A change of Tor's part takes the account off and on again. */
  reload(): Promise<void> {
    return this.#inTurn(async () => {
      const config = readConfig(this.options.places.configFile);
      const open = this.#open;
      const changed =
        JSON.stringify(config.tor) !== JSON.stringify(this.#config.tor) ||
        (open !== undefined && open.offline !== isOffline(config, open.db));
      this.#config = config;
      this.log.setLevel(config.log.level);
      this.log.info('config.reloaded', { changed });
      if (!changed || open === undefined) return;
      const key = new Uint8Array(open.key);
      await this.#reopen(() => Promise.resolve(key), key);
    });
  }

  /** Erases the account; the daemon is to end. Throws `account.unknown`. */
  remove(): Promise<void> {
    return this.#inTurn(async () => {
      this.assertExists();
      await this.#close();
      eraseAccountDir(this.options.paths);
    });
  }

  /** Moves the account's folder to where none is; the daemon is to end. Throws `account.unknown`, `account.exists`. */
  move(dir: string): Promise<void> {
    return this.#inTurn(async () => {
      this.assertExists();
      assertFree(dir);
      const key = this.#open === undefined ? undefined : new Uint8Array(this.#open.key);
      await this.#close();
      try {
        // Another daemon may have made it while this one left the network.
        assertFree(dir);
        renameSync(this.options.paths.dir, dir);
      } catch (error) {
        if (key !== undefined) await this.#openWith(key);
        throw error;
      }
    });
  }

  status(): Status {
    const { account } = this.open;
    return {
      account: this.options.paths.name,
      tor: torObject(account.network),
      ...account.status(),
      daemon: {
        pid: this.options.pid,
        uptimeMs: Math.round(systemClock.monotonic() - this.#startedAt),
        rssBytes: process.memoryUsage.rss(),
        socket: this.options.paths.socket,
        version: this.options.version,
      },
    };
  }

  /** Throws like `assertAccount`. */
  assertExists(): void {
    assertAccount(this.options.paths);
  }

  // What opens and closes the account happens one after the other.
  #inTurn<T>(body: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(body);
    this.#turn = result.catch(() => {});
    return result;
  }

  // What nobody was told of is not there: when it cannot be opened, as the daemon ends, and when who wanted it has `gone`.
  #make(
    { passphrase, noTor }: Wanted,
    make: (db: Database) => Promise<void> | void,
    gone?: AbortSignal,
  ): Promise<Made['account']> {
    const { paths } = this.options;
    const fill = async (db: Database): Promise<void> => {
      await make(db);
      if (noTor === true) putSetting(db, '', 'network.tor', 'false');
    };
    return this.#inTurn(async () => {
      const key = await createAccountDir(paths, { passphrase, random: systemRandom, fill });
      try {
        gone?.throwIfAborted();
        await this.#openWith(key);
        gone?.throwIfAborted();
      } catch (error) {
        await this.#close();
        undoAccountDir(paths);
        throw gone?.aborted === true ? new SottoError('daemon.gone', { cause: error }) : error;
      }
      return this.open.account.call('account.show', {});
    });
  }

  // Runs `change` while the account is closed, then opens what was open: with the key it gives, or with `key` when it fails.
  async #reopen(change: () => Promise<Uint8Array>, key: Uint8Array): Promise<void> {
    const wasOpen = this.#open !== undefined;
    await this.#close();
    let opens = key;
    try {
      opens = await change();
    } finally {
      if (wasOpen) await this.#openWith(opens);
    }
  }

  async #close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined) return;
    try {
      await open[Symbol.asyncDispose]();
    } finally {
      // An account that opens again has other events: whoever listened resumes from its cursor.
      for (const connection of this.#socket.connections) if (connection.stopListening !== undefined) connection.end();
    }
  }

  async #openWith(key: Uint8Array): Promise<void> {
    if (this.#ending) throw new SottoError('account.locked', { message: 'The daemon ends' });
    this.#open = await OpenAccount.open(key, {
      paths: this.options.paths,
      config: this.#config,
      log: this.log,
      pid: this.options.pid,
      focused: () => this.#socket.connections.some((connection) => connection.focused),
      bug: (error) => this.bug(error),
    });
  }

  #greeting(): Greeting {
    const state = vaultState(this.options.paths);
    return {
      sotto: this.options.version,
      rpc: RPC_VERSION,
      account: this.options.paths.name,
      locked: state !== 'absent' && this.#open === undefined,
      exists: state !== 'absent' || this.#open !== undefined,
      passphrase: state === 'passphrase',
      pid: this.options.pid,
    };
  }

  async #handle<M extends Method>(connection: Connection, method: M, params: unknown): Promise<Result<M>> {
    try {
      return await callDaemon(this, connection, method, params as Params<M>);
    } catch (error) {
      // Whose call ends with the daemon has no account to unlock.
      if (!this.#ending || expectedError(error)?.code !== 'account.locked') throw error;
      throw new SottoError('daemon.gone', { message: 'The daemon was ended meanwhile', cause: error });
    }
  }
}

const assertFree = (dir: string): void => {
  if (existsSync(dir)) throw new SottoError('account.exists');
};

// No account was made here, or it was removed.
const isNothing = ({ vault, database }: AccountPaths): boolean => !existsSync(vault) && !existsSync(database);
