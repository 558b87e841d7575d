// A server's data while its program runs: log, state and blobs, opened by one program at a time.
import { SottoError } from '../protocol/errors.ts';
import { Turns } from '../protocol/turns.ts';
import { takeLock } from '../sqlite/lock.ts';
import type { Database } from '../sqlite/open.ts';
import { copyServer } from './backup.ts';
import { directoryBlobStore, type HeldBlobs, holding } from './blob-store.ts';
import { checkServer, type ServerCheck } from './check.ts';
import type { Uploading } from './context.ts';
import type { EventLog } from './event-log.ts';
import { readKeyFile, type Sealer } from './key-file.ts';
import { migrateServer } from './migrations.ts';
import { SearchIndex } from './search-index.ts';
import {
  isServer,
  openSearchDatabase,
  openServerDatabase,
  SERVER_KEY_LABEL,
  type ServerPaths,
  type ServerPorts,
  sealerOf,
} from './server-dir.ts';
import { sqliteSql } from './sql.ts';
import { sqlStateStore } from './sql-state-store.ts';
import { SqliteEventLog } from './sqlite-event-log.ts';
import type { StateStore } from './state-store.ts';
import type { Turn } from './turns.ts';
import { Wal } from './wal.ts';

/** Everything a server keeps. */
export class ServerStore implements AsyncDisposable {
  readonly paths: ServerPaths;
  readonly log: EventLog;
  readonly state: StateStore;
  readonly blobs: HeldBlobs;
  readonly uploading: Uploading = new Turns();
  readonly search: SearchIndex;
  readonly sealer: Sealer;
  readonly #db: Database;
  readonly #wal: Wal;
  readonly #turn: Turn;
  readonly #lock: Disposable;
  readonly #ending = new AbortController();
  /** The backup that is being made. */
  #backup: Promise<void> | undefined;
  readonly #checks = new Set<Promise<ServerCheck>>();
  #isClosed = false;

  private constructor(
    paths: ServerPaths,
    db: Database,
    lock: Disposable,
    key: Uint8Array,
    { clock, turn, random }: ServerPorts,
  ) {
    this.paths = paths;
    this.#db = db;
    this.#lock = lock;
    this.#turn = turn;
    this.#wal = new Wal(db, clock);
    this.sealer = sealerOf(key, random);
    this.log = new SqliteEventLog({ db, wal: this.#wal, clock, turn });
    this.state = sqlStateStore(sqliteSql(db));
    this.blobs = holding(directoryBlobStore(paths.blobs));
    const { epoch = 0 } = db.get<{ epoch: number }>('SELECT epoch FROM server') ?? {};
    const openFile = (path: string) => openSearchDatabase(path, paths.database, key);
    this.search = SearchIndex.open(paths.search, openFile, { log: this.log, turn, clock, epoch });
  }

  /** Throws `server.unknown`, `server.running`, `keyFile.*`, `database.*`, `disk.*`. */
  static open(paths: ServerPaths, ports: ServerPorts): ServerStore {
    if (!isServer(paths)) throw new SottoError('server.unknown');
    const lock = takeLock(paths.lock, 'server.running');
    try {
      const key = readKeyFile(paths.keyFile);
      const db = openServerDatabase(paths.database, key);
      try {
        // A statement that would replace a row is stopped by the triggers too.
        db.exec('PRAGMA recursive_triggers = ON');
        migrateServer(db);
        // Whoever had a lease is dead: the lock is ours.
        db.run('UPDATE job SET lease_until = 0 WHERE lease_until > 0');
        return new ServerStore(paths, db, lock, key, ports);
      } catch (error) {
        db[Symbol.dispose]();
        throw error;
      }
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  /** The seed of the server's key. Throws `keyFile.wrong` when the key file is another server's. */
  async serverKey(): Promise<Uint8Array> {
    return this.sealer.open(SERVER_KEY_LABEL, (await this.state.getServer()).sealedKey);
  }

  /**
   * Writes a copy of the whole server, as it is at one moment, into the folder `to`, which must not exist, while everything
   * goes on. It holds the key file: whoever has it can be this server. Throws `file.exists`, `disk.*`, `server.busy` while
   * another one is made, and `server.unavailable` when the server ends before it is there.
   */
  async backup(to: string): Promise<void> {
    this.#ending.signal.throwIfAborted();
    if (this.#backup !== undefined) throw new SottoError('server.busy', { message: 'A backup is being made already' });
    this.#backup = this.#copyTo(to);
    try {
      await this.#backup;
    } finally {
      this.#backup = undefined;
    }
  }

  async #copyTo(to: string): Promise<void> {
    // What the copied database refers to is there until it is copied too.
    const release = this.blobs.hold();
    try {
      await copyServer(this.paths, to, (copy) => this.#wal.hold(copy), this.#ending.signal);
    } finally {
      for (const hash of release())
        await this.uploading.run(hash, async () => {
          if ((await this.state.getBlob(hash)) === undefined) await this.blobs.remove(hash);
        });
    }
  }

  /**
   * Whether everything is whole; `deep` also reads every page of the database at once, and nothing else runs meanwhile, and then
   * every file. Throws `server.unavailable` when the server ends before all was looked at.
   */
  async check(options: { readonly deep: boolean }): Promise<ServerCheck> {
    const turn = async (): Promise<void> => {
      await this.#turn();
      this.#ending.signal.throwIfAborted();
    };
    const check = checkServer({ db: this.#db, blobs: this.blobs, turn }, options);
    this.#checks.add(check);
    try {
      return await check;
    } finally {
      this.#checks.delete(check);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#ending.abort(
      new SottoError('server.unavailable', { message: 'The server ends: this was not done to its end' }),
    );
    // Nobody else may write to the file while it is copied or looked at: the lock is kept until then. Who asked is told how it ended.
    await Promise.allSettled([this.#backup, ...this.#checks]);
    await this.log[Symbol.asyncDispose]();
    this.search[Symbol.dispose]();
    this.#wal[Symbol.dispose]();
    this.#db[Symbol.dispose]();
    this.#lock[Symbol.dispose]();
  }
}
