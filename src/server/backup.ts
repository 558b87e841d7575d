// A copy of a server's folder made while it runs, and a server made from one.
import { copyFileSync, existsSync, readFileSync, statSync } from 'node:fs';
import { copyFile, link, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sha256 } from '../crypto/primitives.ts';
import type { Random } from '../ports.ts';
import { RESTORED_NOTE } from '../protocol/channel-note.ts';
import { errorAt, expectedError, SottoError } from '../protocol/errors.ts';
import { idBytes, timedId } from '../protocol/ids.ts';
import { TOTP_STEP_MS } from '../protocol/limits.ts';
import { EVENT } from '../protocol/server-frames.ts';
import { isThere, writeDurably } from '../sqlite/durable.ts';
import { makeFolder } from '../sqlite/folder.ts';
import { integrity } from '../sqlite/integrity.ts';
import type { Database } from '../sqlite/open.ts';
import { blobPathIn, syncFolder, UPLOADS } from './blob-store.ts';
import { wholeBlobs } from './check.ts';
import type { Millis } from './event-log.ts';
import { readKeyFile, type Sealer } from './key-file.ts';
import { leavingNothing } from './leaving-nothing.ts';
import { migrateServer } from './migrations.ts';
import {
  buildDatabase,
  epochAfter,
  isServer,
  openServerDatabase,
  SERVER_KEY_LABEL,
  type ServerPaths,
  type ServerPorts,
  sealerOf,
  serverPaths,
} from './server-dir.ts';

/**
 * Copies the database file, which `hold` keeps as it is meanwhile, then the key file and every blob, which never change, into
 * the folder `to`, which must not exist. Blobs of the same disk are linked. Throws `file.exists`, `path.notAllowed`, `disk.*`,
 * and what `signal` was aborted with, after the file that is being copied.
 */
export const copyServer = async (
  paths: ServerPaths,
  to: string,
  hold: (copy: () => Promise<void>) => Promise<void>,
  signal: AbortSignal,
): Promise<void> => {
  if (isThere(to)) throw new SottoError('file.exists');
  const copy = serverPaths(`${to}.sotto-part`);
  try {
    await hold(() => beginCopy(paths, copy));
    await copyDurably(paths.keyFile, copy.keyFile);
    await copyBlobs(paths.blobs, copy.blobs, signal);
    await syncFolder(copy.dir);
    signal.throwIfAborted();
    await rename(copy.dir, to);
  } catch (error) {
    await rm(copy.dir, { recursive: true, force: true }).catch(() => {});
    throw errorAt(error, to);
  }
  await syncFolder(dirname(to));
};

// In a folder without anything of an attempt before.
const beginCopy = async (paths: ServerPaths, copy: ServerPaths): Promise<void> => {
  await rm(copy.dir, { recursive: true, force: true });
  makeFolder(copy.dir);
  await copyDurably(paths.database, copy.database);
};

/**
 * Makes a server of a backup, in a folder without one. Its clients' cursors are of another epoch: they are told that they
 * begin anew. The database comes last: after a crash it can be tried again; after an error nothing is there that was not before.
 * Tells how many blobs that the database calls whole are not there with their size. Throws `server.unknown` when `from` is no
 * backup, `server.exists`, `server.running`, `keyFile.*`, `database.*`, with what is wrong where it is damaged, `disk.*`.
 */
export const restoreServer = async (
  from: string,
  paths: ServerPaths,
  ports: ServerPorts,
): Promise<{ readonly missingFiles: number }> => {
  const backup = serverPaths(from);
  if (!isServer(backup)) throw new SottoError('server.unknown');
  return leavingNothing(paths, async () => {
    const key = readKeyFile(backup.keyFile);
    await copyBlobs(backup.blobs, paths.blobs);
    return { missingFiles: restoreDatabase(backup, paths, key, ports) };
  });
};

const restoreDatabase = (
  backup: ServerPaths,
  paths: ServerPaths,
  key: Uint8Array,
  { clock, random }: ServerPorts,
): number => {
  let missingFiles = 0;
  buildDatabase(paths, (building) => {
    copyFileSync(backup.database, building);
    mustBeWhole(building, key, backup.dir);
    using db = openServerDatabase(building, key);
    migrateServer(db);
    mustUnseal(db, sealerOf(key, random));
    missingFiles = countMissing(db, paths.blobs);
    db.transaction(() => beginAnew(db, clock.now(), random));
    // Not before the database has opened: a key that was here may be the only one for what else is here.
    writeDurably(paths.keyFile, readFileSync(backup.keyFile));
  });
  return missingFiles;
};

// A database that is not encrypted opens beside any key.
const mustUnseal = (db: Database, sealer: Sealer): void => {
  const row = db.get<{ sealedKey: Uint8Array }>('SELECT sealed_key AS sealedKey FROM server');
  sealer.open(SERVER_KEY_LABEL, row?.sealedKey ?? new Uint8Array());
};

const mustBeWhole = (path: string, key: Uint8Array, from: string): void => {
  const wrong = wrongIn(path, key);
  if (wrong.length === 0) return;
  const message = `The database of the backup ${from} is damaged:\n${wrong.join('\n')}`;
  throw new SottoError('database.damaged', { message });
};

const wrongIn = (path: string, key: Uint8Array): string[] => {
  try {
    using db = openServerDatabase(path, key);
    return integrity(db);
  } catch (error) {
    if (expectedError(error)?.code !== 'database.damaged') throw error;
    return ['it cannot be read, or the key beside it is another one’s'];
  }
};

const countMissing = (db: Database, blobs: string): number => {
  let missing = 0;
  for (const { hash, size } of wholeBlobs(db))
    if (statSync(blobPathIn(blobs, hash), { throwIfNoEntry: false })?.size !== size) missing++;
  return missing;
};

// What was handed out or used once since the backup was made must not be so again.
const beginAnew = (db: Database, now: Millis, random: Random): void => {
  const { epoch = 0 } = db.get<{ epoch: number }>('SELECT epoch FROM server') ?? {};
  const next = epochAfter(epoch, now, random);
  db.run('UPDATE server SET epoch = ?', next);
  db.run('UPDATE channel_head SET epoch = ?', next);
  noteRestored(db, now, random);
  db.run(`DELETE FROM prekey WHERE kind IN ('ec', 'kyber')`);
  const step = Math.floor(now / TOTP_STEP_MS);
  db.run('UPDATE second_factor SET last_step = ? WHERE last_step < ?', step, step);
  db.run('DELETE FROM upload');
  db.run('UPDATE job SET lease_until = 0');
};

// For who reads a channel later, and would take what its members count since for something that was left out.
const noteRestored = (db: Database, now: Millis, random: Random): void => {
  const heads = db.all<{ channel: Uint8Array; seq: number; at: number; by: Uint8Array }>(
    'SELECT h.channel, h.seq + 1 AS seq, max(h.at, ?) AS at, c.created_by AS by FROM channel_head h JOIN channel c ON c.id = h.channel',
    now,
  );
  for (const { channel, seq, at, by } of heads) {
    const id = idBytes(timedId(now, random.bytes(10)));
    db.run(
      'INSERT INTO event (channel, seq, id, member, kind, at, hash, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      channel,
      seq,
      id,
      by,
      EVENT.notice,
      at,
      sha256(RESTORED_NOTE),
      RESTORED_NOTE,
    );
    db.run('UPDATE channel_head SET seq = ?, last_id = ?, at = ? WHERE channel = ?', seq, id, at, channel);
  }
};

/** Everything but uploads. What is there already, of an attempt that did not end, has the same name and so the same bytes. */
const copyBlobs = async (from: string, to: string, signal?: AbortSignal): Promise<void> => {
  await mkdir(to, { recursive: true, mode: 0o700 });
  for (const folder of existsSync(from) ? await readdir(from) : []) {
    if (folder === UPLOADS) continue;
    await mkdir(join(to, folder), { recursive: true, mode: 0o700 });
    for (const name of await readdir(join(from, folder))) {
      signal?.throwIfAborted();
      await linkBlob(join(from, folder, name), join(to, folder, name));
    }
    await syncFolder(join(to, folder));
  }
  await syncFolder(to);
};

// A blob that collection has just taken away was one that nobody needs.
const linkBlob = async (from: string, to: string): Promise<void> => {
  try {
    await link(from, to);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : '';
    if (code === 'EEXIST' || code === 'ENOENT') return;
    await copyBlob(from, to);
  }
};

const copyBlob = async (from: string, to: string): Promise<void> => {
  const half = `${to}.new`;
  try {
    await copyDurably(from, half);
    await rename(half, to);
  } catch (error) {
    if (existsSync(from)) throw error;
  }
};

const copyDurably = async (from: string, to: string): Promise<void> => {
  await copyFile(from, to);
  await using file = await open(to, 'r');
  await file.chmod(0o600);
  await file.sync();
};
