// The folder of a server on disk: where database, key file and blobs are, and how they are made and opened.
import { chmodSync, closeSync, existsSync, openSync, readSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { hkdf } from '../crypto/primitives.ts';
import type { Clock, Random } from '../ports.ts';
import { SottoError } from '../protocol/errors.ts';
import { SERVER_CHANNEL } from '../protocol/ids.ts';
import { syncPath } from '../sqlite/durable.ts';
import { makeFolder } from '../sqlite/folder.ts';
import { takeLock } from '../sqlite/lock.ts';
import { type Database, openDatabase } from '../sqlite/open.ts';
import { newHead } from './changes.ts';
import type { Epoch, Millis } from './event-log.ts';
import { makeKeyFile, Sealer } from './key-file.ts';
import { migrateServer } from './migrations.ts';
import { SERVER, type ServerRow } from './rows.ts';
import type { Turn } from './turns.ts';

export type ServerPaths = {
  readonly dir: string;
  readonly database: string;
  /** Full text of open channels: made anew when it is not there. */
  readonly search: string;
  readonly keyFile: string;
  readonly blobs: string;
  readonly lock: string;
};

export type ServerPorts = { readonly clock: Clock; readonly random: Random; readonly turn: Turn };

/** Where everything is below a server's folder. */
export const serverPaths = (dir: string): ServerPaths => ({
  dir,
  database: join(dir, 'server.db'),
  search: join(dir, 'search.db'),
  keyFile: join(dir, 'server.key'),
  blobs: join(dir, 'blobs'),
  lock: join(dir, 'lock'),
});

/** Whether there is a server in the folder. */
export const isServer = ({ database }: ServerPaths): boolean => existsSync(database);

export type NewServer = {
  readonly name: string;
  readonly registration: ServerRow['registration'];
  /** The seed of the server's Ed25519 key. */
  readonly serverKey: Uint8Array;
  /** Keeps the database encrypted under the key file: an append then costs about twice as much. */
  readonly encryptAtRest: boolean;
};

/** What the server's own key is sealed under. */
export const SERVER_KEY_LABEL = 'server key';
const PLAIN_HEADER = 'SQLite format 3';
// Sealed events have more than a kilobyte: in larger pages fewer bytes are left over, and a commit writes fewer of them.
const PAGE_BYTES = 8192;

/**
 * Makes the folder. The database comes last: a crash before leaves nothing that counts. Throws `server.exists`, and
 * `server.running` when another program is at it.
 */
export const createServer = (paths: ServerPaths, server: NewServer, { clock, random }: ServerPorts): void => {
  makePrivate(paths.dir);
  using _lock = takeLock(paths.lock, 'server.running');
  if (isServer(paths)) throw new SottoError('server.exists');
  const key = makeKeyFile(paths.keyFile, random);
  buildDatabase(paths, (building) => {
    using db = server.encryptAtRest
      ? openDatabase(building, databaseKey(key))
      : openDatabase(building, undefined, PAGE_BYTES);
    migrateServer(db);
    db.transaction(() => fill(db, server, sealerOf(key, random), clock.now(), epochAfter(0, clock.now(), random)));
  });
};

const fill = (
  db: Database,
  { name, registration, serverKey }: NewServer,
  sealer: Sealer,
  now: Millis,
  epoch: Epoch,
): void => {
  const sealedKey = sealer.seal(SERVER_KEY_LABEL, serverKey);
  const row = SERVER.insert({ epoch, name, registration, sealedKey, createdAt: now });
  db.run(row.sql, ...row.values);
  const head = newHead(SERVER_CHANNEL, now);
  db.run(head.sql, ...head.values);
};

/** What `buildDatabase` may leave when it does not end. */
export const filesOfBuilding = ({ database }: ServerPaths): string[] =>
  ['', '-wal', '-shm', '-journal'].map((suffix) => `${database}.new${suffix}`);

/** Lets `make` write a database beside its place, and puts it there once it is whole and durable. */
export const buildDatabase = (paths: ServerPaths, make: (building: string) => void): void => {
  const building = `${paths.database}.new`;
  for (const path of filesOfBuilding(paths)) rmSync(path, { force: true });
  make(building);
  chmodSync(building, 0o600);
  syncPath(building);
  renameSync(building, paths.database);
  syncPath(paths.dir);
};

/**
 * The epoch that follows `epoch`: by chance another one than every epoch that the same past was followed by, also when it is
 * followed twice in one second, or by a clock that was set back.
 */
export const epochAfter = (epoch: Epoch, now: Millis, random: Random): Epoch =>
  Math.max(epoch + 1, Math.floor(now / 1000)) + Math.floor(random.fraction() * EPOCH_SPREAD);
const EPOCH_SPREAD = 2 ** 16;

/** Opens the database file at `path`, encrypted or not. Throws `server.unknown`, `keyFile.*`, `database.*`, `disk.*`. */
export const openServerDatabase = (path: string, key: Uint8Array): Database => {
  if (!existsSync(path)) throw new SottoError('server.unknown');
  return openDatabase(path, isPlainFile(path) ? undefined : databaseKey(key));
};

/** Opens the file of the index, encrypted when the server's database at `main` is. Throws `database.*`, `disk.*`. */
export const openSearchDatabase = (path: string, main: string, key: Uint8Array): Database =>
  openDatabase(path, isPlainFile(main) ? undefined : databaseKey(key));

/** Whether the database file at `path` is not encrypted. */
export const isPlainFile = (path: string): boolean =>
  readStart(path, PLAIN_HEADER.length).toString('latin1') === PLAIN_HEADER;

/** What seals the secrets in the database. */
export const sealerOf = (key: Uint8Array, random: Random): Sealer =>
  new Sealer(hkdf(key, 'sotto server secrets 1'), random);

const databaseKey = (key: Uint8Array): Uint8Array => hkdf(key, 'sotto server database 1');

/** Makes a folder that only its owner enters. */
export const makePrivate = (dir: string): void => {
  makeFolder(dir);
  chmodSync(dir, 0o700);
};

const readStart = (path: string, size: number): Buffer => {
  const file = openSync(path, 'r');
  try {
    const start = Buffer.alloc(size);
    readSync(file, start, 0, size, 0);
    return start;
  } finally {
    closeSync(file);
  }
};
