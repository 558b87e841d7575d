// Writes and reads backup files: sealed while it is read, whole or not there at all.
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { writeWhole } from '../client/new-file.ts';
import {
  BACKUP_HEADER_BYTES,
  BackupOpener,
  BackupSealer,
  type BackupSecret,
  SEALED_BACKUP_CHUNK_BYTES,
} from '../crypto/backup.ts';
import { makeDevice } from '../crypto/member.ts';
import type { Clock, Random } from '../ports.ts';
import { fromBase64, toBase64 } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { ID_BYTES, idBytes } from '../protocol/ids.ts';
import { BACKUP_LINE_CHARS_MAX } from '../protocol/limits.ts';
import type { Database } from '../sqlite/open.ts';
import { dumpRows, indexMessages, loadRow } from '../store/dump.ts';
import { getSelf } from '../store/self.ts';

type Ports = { readonly random: Random; readonly clock: Clock };

export type Written = { readonly file: string; readonly sizeBytes: number; readonly messages: number };

/**
 * Writes a backup of `db`, a connection of its own, to `path`; the running account is not waited for. Throws `file.exists`,
 * `file.unknown`, `disk.*`, and `account.locked` once `signal` says so, and leaves no half file.
 */
export const writeBackup = async (
  db: Database,
  path: string,
  secret: BackupSecret,
  at: number,
  signal?: AbortSignal,
): Promise<Written> => {
  let messages = 0;
  const pieces = async function* () {
    const sealer = await BackupSealer.create(secret);
    yield sealer.header;
    db.exec('BEGIN');
    messages = db.get<{ n: number }>('SELECT count(*) AS n FROM messages')?.n ?? 0;
    yield* sealer.write(Buffer.from(`${JSON.stringify({ sotto: 1, at })}\n`));
    for (const lines of dumpRows(db)) {
      yield* sealer.write(Buffer.from(lines));
      await new Promise((resolve) => setImmediate(resolve));
      if (signal?.aborted) throw new SottoError('account.locked', { message: 'The backup was ended before its end' });
    }
    yield sealer.end();
  };
  const sizeBytes = await writeWhole(path, pieces());
  return { file: path, sizeBytes, messages };
};

/** Opens every chunk once and keeps nothing. Throws what is wrong with the file. */
export const checkBackup = async (path: string, secret: BackupSecret): Promise<void> => {
  using reader = await BackupReader.open(path, secret);
  for (const _bytes of reader.chunks());
};

/**
 * Fills an empty, migrated database from a backup that was checked: one transaction, all or nothing. The copy gets an
 * install id of its own, no session comes back, and every contact's history says since when messages may be missing.
 */
export const loadBackup = async (db: Database, path: string, secret: BackupSecret, ports: Ports): Promise<void> => {
  using reader = await BackupReader.open(path, secret);
  db.transaction(() => {
    db.exec('PRAGMA defer_foreign_keys = ON');
    const madeAt = loadLines(db, reader, ports);
    indexMessages(db);
    const since = `messages between ${new Date(madeAt).toISOString()} and ${new Date(ports.clock.now()).toISOString()} may be missing`;
    db.run(
      `INSERT INTO contact_history (contact_id, at, kind, detail) SELECT id, ?, 'account.restored', ? FROM contacts WHERE state = 'accepted'`,
      ports.clock.now(),
      since,
    );
    dropRequests(db, ports.clock.now());
    // The account may have sent it since.
    db.run('UPDATE outbox SET is_older = 1');
    // Ciphertext is not in the backup: what others have still can be fetched, from its beginning.
    db.run(
      `UPDATE files SET state = 'offered', chunks = 0
       WHERE mine = 0 AND (state IN ('active', 'paused') OR state = 'done' AND blob IS NOT NULL)`,
    );
    // Of mine, what a contact was offered is called off when the account opens, and they are told.
    db.run(
      `UPDATE files SET state = 'failed', reason = 'not in the backup'
       WHERE (mine = 1 AND (state = 'spooling' OR blob IS NOT NULL AND state = 'active')) OR (mine = 0 AND state = 'done')`,
    );
    // In a room a file's message goes after the file.
    db.run(
      `UPDATE messages SET state = 'failed', reason = 'not in the backup' WHERE mine = 1 AND state = 'queued'
       AND file_id IN (SELECT id FROM files WHERE state = 'failed' AND blob IS NOT NULL)
       AND id NOT IN (SELECT message_row FROM room_outbox WHERE message_row IS NOT NULL)`,
    );
    if (db.get('PRAGMA foreign_key_check') !== undefined) throw new SottoError('backup.damaged');
  });
};

// No request comes back: what waits for somebody who was asked again goes nowhere.
const dropRequests = (db: Database, now: number): void => {
  const rows = `FROM outbox WHERE contact_id IN (SELECT id FROM contacts WHERE state = 'outgoing')`;
  db.run(
    `UPDATE messages SET state = 'failed', reason = 'contactRemoved', expires_at = coalesce(expires_at, ? + expires_ms)
     WHERE state IN ('queued', 'sent') AND id IN (SELECT message_row ${rows})`,
    now,
  );
  db.run(`DELETE ${rows}`);
  db.run(`UPDATE contacts SET state = 'removed' WHERE state IN ('outgoing', 'incoming')`);
};

const loadLines = (db: Database, reader: BackupReader, ports: Ports): number => {
  let rest = '';
  let madeAt: number | undefined;
  const decode = textReader();
  for (const bytes of reader.chunks()) {
    rest += decode(bytes);
    if (rest.length > BACKUP_LINE_CHARS_MAX) throw new SottoError('backup.damaged');
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (madeAt === undefined) madeAt = headOf(line);
      else loadRow(db, freshened(db, line, ports));
    }
  }
  if (rest !== '' || madeAt === undefined) throw new SottoError('backup.damaged');
  return madeAt;
};

// UTF-8 whose characters may be cut by the end of a chunk.
const textReader = (): ((bytes: Uint8Array) => string) => {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  return (bytes) => {
    try {
      return decoder.decode(bytes, { stream: true });
    } catch (error) {
      throw new SottoError('backup.damaged', { cause: error });
    }
  };
};

const headOf = (line: string): number => {
  const { sotto, at } = (parsed(line) ?? {}) as { sotto?: unknown; at?: unknown };
  if (typeof sotto !== 'number' || typeof at !== 'number' || Number.isNaN(new Date(at).getTime()))
    throw new SottoError('backup.damaged');
  if (sotto > 1) throw new SottoError('backup.version');
  return at;
};

// What does not come from the file: which install this is, and which device on each server.
const freshened = (db: Database, line: string, ports: Ports): string => {
  if (line.startsWith('["account"')) return withColumns(line, { install_id: ports.random.bytes(ID_BYTES) });
  if (!line.startsWith('["servers"')) return line;
  const [, row] = parsed(line) as [string, { server_key?: { b?: unknown } | null }?];
  const serverKey = fromBase64(String(row?.server_key?.b));
  const self = getSelf(db);
  if (self === undefined || serverKey.length !== 32) throw new SottoError('backup.damaged');
  const seed = ports.random.bytes(32);
  const { device, certificate } = makeDevice(self.serversKey, serverKey, { seed, serial: ports.clock.now() });
  return withColumns(line, { device_id: idBytes(device), device_seed: seed, certificate });
};

const withColumns = (line: string, columns: Readonly<Record<string, Uint8Array>>): string => {
  const [table, row] = parsed(line) as [string, object];
  const cells = Object.entries(columns).map(([name, bytes]) => [name, { b: toBase64(bytes) }]);
  return JSON.stringify([table, { ...row, ...Object.fromEntries(cells) }]);
};

const parsed = (line: string): unknown => {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new SottoError('backup.damaged', { cause: error });
  }
};

class BackupReader implements Disposable {
  readonly #file: number;
  readonly #size: number;
  readonly #opener: BackupOpener;

  private constructor(file: number, size: number, opener: BackupOpener) {
    this.#file = file;
    this.#size = size;
    this.#opener = opener;
  }

  static async open(path: string, secret: BackupSecret): Promise<BackupReader> {
    const file = openOld(path);
    try {
      const { size } = fstatSync(file);
      const header = new Uint8Array(Math.min(BACKUP_HEADER_BYTES, size));
      readSync(file, header, 0, header.length, 0);
      return new BackupReader(file, size, await BackupOpener.create(header, secret));
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  /** The plaintext of every chunk, once and in order. */
  *chunks(): Generator<Uint8Array> {
    for (let at = this.#opener.headerBytes; ; at += SEALED_BACKUP_CHUNK_BYTES) {
      const sealed = new Uint8Array(Math.max(0, Math.min(SEALED_BACKUP_CHUNK_BYTES, this.#size - at)));
      readSync(this.#file, sealed, 0, sealed.length, at);
      const last = at + SEALED_BACKUP_CHUNK_BYTES >= this.#size;
      yield this.#opener.read(sealed, last);
      if (last) return;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }
}

const openOld = (path: string): number => {
  try {
    // A pipe opens at once then, whether or not somebody writes into it.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (fstatSync(file).isFile()) return file;
    closeSync(file);
  } catch (error) {
    throw new SottoError('file.unknown', { message: `The backup cannot be read: ${path}`, cause: error });
  }
  throw new SottoError('file.unknown', { message: `This is no regular file: ${path}` });
};
