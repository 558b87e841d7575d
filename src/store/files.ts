// Rows of file transfers; their bytes are ciphertext files beside the database.
import type { Database } from '../sqlite/open.ts';

export type FileState = 'spooling' | 'offered' | 'active' | 'paused' | 'done' | 'cancelled' | 'failed';
export type FileRow = {
  readonly id: number;
  readonly fileId: Uint8Array<ArrayBuffer>;
  readonly conversationId: number;
  readonly mine: number;
  readonly name: string;
  readonly size: number;
  readonly key: Uint8Array<ArrayBuffer>;
  readonly root: Uint8Array<ArrayBuffer>;
  readonly state: FileState;
  readonly reason: string;
  /** Chunks that are here (theirs; none of one that is done and was erased since) or that the other side asked for (mine). */
  readonly chunks: number;
  readonly saveTo: string;
  /** Whether what is at `saveTo` may be replaced. */
  readonly overwrite: number;
  readonly savedTo: string;
  readonly createdAt: number;
  /** Of a file in a channel: SHA-256 of its ciphertext. */
  readonly blob: Uint8Array<ArrayBuffer> | null;
};

const COLUMNS = `id, file_id AS fileId, conversation_id AS conversationId, mine, name, size, key, root, state, reason, chunks,
  save_to AS saveTo, overwrite, saved_to AS savedTo, created_at AS createdAt, blob`;

export const getFile = (db: Database, id: number): FileRow | undefined =>
  db.get<FileRow>(`SELECT ${COLUMNS} FROM files WHERE id = ?`, id);

export const getFileById = (db: Database, conversationId: number, fileId: Uint8Array): FileRow | undefined =>
  db.get<FileRow>(`SELECT ${COLUMNS} FROM files WHERE conversation_id = ? AND file_id = ?`, conversationId, fileId);

/** Files whose id lies in [from, to]. */
export const listFilesByIdRange = (db: Database, from: Uint8Array, to: Uint8Array, limit: number): FileRow[] =>
  db.all<FileRow>(`SELECT ${COLUMNS} FROM files WHERE file_id BETWEEN ? AND ? ORDER BY id LIMIT ?`, from, to, limit);

/** How many have an id in [from, to]. */
export const countFilesByIdRange = (db: Database, from: Uint8Array, to: Uint8Array): number =>
  db.get<{ n: number }>('SELECT count(*) AS n FROM files WHERE file_id BETWEEN ? AND ?', from, to)?.n ?? 0;

/** Up to `limit` files before row `before`, oldest first, of one conversation or all. */
export const listFiles = (db: Database, conversationId: number | undefined, before: number, limit: number): FileRow[] =>
  (conversationId === undefined
    ? db.all<FileRow>(`SELECT ${COLUMNS} FROM files WHERE id < ? ORDER BY id DESC LIMIT ?`, before, limit)
    : db.all<FileRow>(
        `SELECT ${COLUMNS} FROM files WHERE conversation_id = ? AND id < ? ORDER BY id DESC LIMIT ?`,
        conversationId,
        before,
        limit,
      )
  ).reverse();

/** Files in one state, oldest first. */
export const listFilesInState = (db: Database, state: FileState): FileRow[] =>
  db.all<FileRow>(`SELECT ${COLUMNS} FROM files WHERE state = ? ORDER BY id`, state);

// Ciphertext is there, or room for it is promised: what others may still fetch, and what was asked for or came.
const KEPT = `(mine = 1 AND state IN ('offered', 'active') OR
  mine = 0 AND (state IN ('active', 'paused') OR state = 'done' AND chunks > 0))`;

/** Ids of the files of which ciphertext is kept. */
export const listKeptFiles = (db: Database): Uint8Array[] =>
  db.all<{ id: Uint8Array }>(`SELECT file_id AS id FROM files WHERE ${KEPT}`).map(({ id }) => id);

/** Bytes of all files of which ciphertext is kept, each with all of its size. */
export const keptBytes = (db: Database): number =>
  db.get<{ sum: number }>(`SELECT coalesce(sum(size), 0) AS sum FROM files WHERE ${KEPT}`)?.sum ?? 0;

/** Adds a transfer and gives its row id. */
export const putFile = (
  db: Database,
  row: Omit<FileRow, 'id' | 'reason' | 'chunks' | 'saveTo' | 'overwrite' | 'savedTo' | 'blob'> &
    Partial<Pick<FileRow, 'blob'>>,
): number =>
  db.run(
    `INSERT INTO files (file_id, conversation_id, mine, name, size, key, root, state, created_at, blob)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    row.fileId,
    row.conversationId,
    row.mine,
    row.name,
    row.size,
    row.key,
    row.root,
    row.state,
    row.createdAt,
    row.blob ?? null,
  ).lastInsertRowid;

const FIELDS = {
  size: 'size',
  root: 'root',
  state: 'state',
  reason: 'reason',
  chunks: 'chunks',
  saveTo: 'save_to',
  overwrite: 'overwrite',
  savedTo: 'saved_to',
  blob: 'blob',
} as const;

/** Changes the given fields of a transfer. */
export const patchFile = (db: Database, id: number, patch: Partial<Pick<FileRow, keyof typeof FIELDS>>): void => {
  db.patch('files', FIELDS, id, patch);
};

/** What was brought to a server counts no more: it may have been put back to before that. */
export const forgetBrought = (db: Database, serverId: number): void => {
  db.run(
    `UPDATE files SET chunks = 0 WHERE mine = 1 AND state = 'active' AND blob IS NOT NULL AND conversation_id IN
       (SELECT id FROM conversations WHERE channel_row IN (SELECT id FROM channels WHERE server_id = ?)
          OR member_row IN (SELECT id FROM members WHERE server_id = ?))`,
    serverId,
    serverId,
  );
};

/** Erases a transfer: its name and key are nowhere any more. */
export const removeFile = (db: Database, id: number): void => {
  db.run('DELETE FROM files WHERE id = ?', id);
};
