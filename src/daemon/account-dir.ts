// The account's folder on disk: its vault file and its database, made, opened, re-keyed and erased.
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { type AccountPaths, lostVault } from '../client/paths.ts';
import { isKeyFile, makeVault, openVault } from '../crypto/vault.ts';
import type { Random } from '../ports.ts';
import { SottoError } from '../protocol/errors.ts';
import { KEY_BYTES } from '../protocol/sizes.ts';
import { syncPath, writeDurably } from '../sqlite/durable.ts';
import { makeFolder } from '../sqlite/folder.ts';
import { type Database, openDatabase, rekeyDatabase } from '../sqlite/open.ts';
import { checkDatabase } from '../store/check.ts';
import { migrate } from '../store/migrations.ts';

/** `absent` before init or restore; `passphrase` needs one to open; `keyFile` opens by itself. */
export type VaultState = 'absent' | 'passphrase' | 'keyFile';

/** What the vault file says. Throws `vault.damaged`. */
export const vaultState = (paths: AccountPaths): VaultState => {
  if (!existsSync(paths.vault)) return 'absent';
  return isKeyFile(readFileSync(paths.vault)) ? 'keyFile' : 'passphrase';
};

/** Makes the folder private, creating it when needed. */
export const makeAccountDir = (paths: AccountPaths): void => {
  makeFolder(paths.dir);
  chmodSync(paths.dir, 0o700);
};

/**
 * Makes vault and database beside their places; `fill` writes the account into the empty database. The renaming of the database is
 * the moment at which there is an account: `settleAccountDir` finishes or undoes the rest. Throws `account.exists` and
 * `vault.damaged`.
 */
export const createAccountDir = async (
  paths: AccountPaths,
  options: {
    readonly passphrase: string | undefined;
    readonly random: Random;
    readonly fill: (db: Database) => Promise<void> | void;
  },
): Promise<Uint8Array> => {
  if (vaultState(paths) !== 'absent') throw new SottoError('account.exists');
  const lost = lostVault(paths);
  if (lost !== undefined) throw lost;
  makeAccountDir(paths);
  undoNext(paths);
  const next = nextOf(paths);
  const key = options.random.bytes(KEY_BYTES);
  const vault = await makeVault(key, options.passphrase);
  try {
    {
      using db = openAccountDatabase({ ...paths, database: next.database }, key);
      await options.fill(db);
      db.truncateWal();
    }
    syncPath(next.database);
    // Alone the vault would look like an account that was made.
    syncPath(paths.dir);
    writeDurably(next.vault, vault);
    renameSync(next.database, paths.database);
  } catch (error) {
    undoNext(paths);
    throw error;
  }
  syncPath(paths.dir);
  settleAccountDir(paths);
  return key;
};

/** Takes back an account that was just made and could not be opened: its recovery phrase was shown to nobody. */
export const undoAccountDir = (paths: AccountPaths): void => {
  const next = nextOf(paths);
  renameSync(paths.vault, next.vault);
  renameSync(paths.database, next.database);
  undoNext(paths);
};

/**
 * Puts the database under a new key, wrapped under a passphrase or none. The database must be closed, and open nowhere
 * else. The renaming of the new database is the moment at which it counts: `settleAccountDir` finishes or undoes the rest.
 * Throws `account.running` when the database is read by another program, and `disk.*`.
 */
export const rekeyAccountDir = async (
  paths: AccountPaths,
  key: Uint8Array,
  wanted: { readonly passphrase: string | undefined; readonly random: Random },
): Promise<Uint8Array> => {
  const next = nextOf(paths);
  const newKey = wanted.random.bytes(KEY_BYTES);
  const vault = await makeVault(newKey, wanted.passphrase);
  settleAccountDir(paths);
  try {
    {
      using db = openDatabase(paths.database, key);
      // A log of the old key beside the new file would be the end of it.
      if (!db.truncateWal())
        throw new SottoError('account.running', { message: 'Another program still reads the database: try later' });
      db.copyTo(next.database);
    }
    rekeyDatabase(next.database, key, newKey);
    syncPath(next.database);
    syncPath(paths.dir);
    writeDurably(next.vault, vault);
    renameSync(next.database, paths.database);
  } catch (error) {
    undoNext(paths);
    throw error;
  }
  syncPath(paths.dir);
  settleAccountDir(paths);
  return newKey;
};

/** Finishes what was interrupted after its moment, a new account or another key, and undoes what was interrupted before. */
export const settleAccountDir = (paths: AccountPaths): void => {
  const next = nextOf(paths);
  rmSync(`${paths.vault}.new`, { force: true });
  if (!existsSync(next.vault) || existsSync(next.database)) return undoNext(paths);
  renameSync(next.vault, paths.vault);
  syncPath(paths.dir);
};

const nextOf = (paths: AccountPaths) => ({ vault: `${paths.vault}.next`, database: `${paths.database}.next` });

// The vault first: alone it would look like a change that has happened.
const undoNext = (paths: AccountPaths): void => {
  const next = nextOf(paths);
  if (existsSync(next.vault)) {
    rmSync(next.vault);
    syncPath(paths.dir);
  }
  for (const left of [`${next.vault}.new`, ...['', '-journal', '-wal', '-shm'].map((end) => next.database + end)])
    rmSync(left, { force: true });
};

/** Throws `account.unknown`, or `vault.damaged` where only the vault is missing. */
export const assertAccount = (paths: AccountPaths): void => {
  if (vaultState(paths) === 'absent') throw lostVault(paths) ?? new SottoError('account.unknown');
};

/** The database key. Throws `passphrase.needed`, `passphrase.wrong`, and like `assertAccount`. */
export const openAccountVault = async (paths: AccountPaths, passphrase: string | undefined): Promise<Uint8Array> => {
  assertAccount(paths);
  return openVault(readFileSync(paths.vault), passphrase);
};

/** Wraps the key anew, under another passphrase or none. */
export const rewrapVault = async (
  paths: AccountPaths,
  key: Uint8Array,
  passphrase: string | undefined,
): Promise<void> => writeDurably(paths.vault, await makeVault(key, passphrase));

/**
 * Opens and migrates the database; `upgrading` is told when that begins, which takes long for a long history. The copy from
 * before a migration is kept until the new state has proven whole.
 * Throws `database.*`, `disk.*`.
 */
export const openAccountDatabase = (paths: AccountPaths, key: Uint8Array, upgrading = (): void => {}): Database => {
  const db = openDatabase(paths.database, key);
  const copy = `${paths.database}.before`;
  try {
    migrate(db, { copyTo: copy, begins: upgrading });
    if (existsSync(copy)) proveWhole(db, copy);
    for (const suffix of ['', '-wal', '-shm'])
      if (existsSync(paths.database + suffix)) chmodSync(paths.database + suffix, 0o600);
    return db;
  } catch (error) {
    db[Symbol.dispose]();
    throw error;
  }
};

const proveWhole = (db: Database, copy: string): void => {
  const [wrong] = checkDatabase(db);
  if (wrong !== undefined)
    throw new SottoError('database.damaged', {
      message: `The database is not whole after its update (${wrong}); ${copy} is what it was before`,
    });
  rmSync(copy);
};

/** Tells this folder on this machine from every copy of it: its inode, and the machine's id. A renamed folder is the same. */
export const placeOf = (paths: AccountPaths): Uint8Array =>
  new Uint8Array(
    createHash('sha256')
      .update(`${statSync(paths.dir).ino} ${machineId()}`)
      .digest(),
  );

const machineId = (): string => {
  try {
    return readFileSync('/etc/machine-id', 'utf8');
  } catch {
    return hostname();
  }
};
