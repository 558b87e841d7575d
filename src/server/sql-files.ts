// The state of files in the database: uploads, blobs, and which channels have which.
import { type BlobHash, idBytes, idOf } from '../protocol/ids.ts';
import { UPLOAD_MS } from '../protocol/limits.ts';
import { BLOB_REF, UPLOAD } from './rows.ts';
import type { Sql } from './sql.ts';
import { changed, count, many, one, type Verbs } from './sql-verbs.ts';

// One that seems to have much longer than any was begun by a clock that has been put back since.
const OVER = 'expires_at <= ? OR expires_at > ?';

/** Uploads that are under way. */
export const uploadVerbs = (
  sql: Sql,
): Verbs<
  | 'getUpload'
  | 'getUploadOf'
  | 'putUpload'
  | 'putUploadExpiry'
  | 'removeUpload'
  | 'removeUploadExpired'
  | 'listUploadsExpired'
> => ({
  getUpload: (id) => one(sql, UPLOAD, UPLOAD.select('WHERE id = ?', idBytes(id))),
  getUploadOf: (member, channel, hash) => {
    const rest = 'WHERE member = ? AND channel = ? AND hash = ?';
    return one(sql, UPLOAD, UPLOAD.select(rest, idBytes(member), idBytes(channel), idBytes(hash)));
  },
  putUpload: async (row) => void (await sql.run(UPLOAD.insert(row))),
  putUploadExpiry: async (id, expiresAt) => void (await sql.run(UPLOAD.update({ expiresAt }, 'id = ?', idBytes(id)))),
  removeUpload: async (id) => void (await changed(sql, 'DELETE FROM upload WHERE id = ?', idBytes(id))),
  removeUploadExpired: (id, now) =>
    changed(sql, `DELETE FROM upload WHERE id = ? AND (${OVER})`, idBytes(id), now, now + 2 * UPLOAD_MS),
  listUploadsExpired: (now, limit) =>
    many(sql, UPLOAD, UPLOAD.select(`WHERE ${OVER} LIMIT ?`, now, now + 2 * UPLOAD_MS, limit)),
});

const UNUSED = 'NOT EXISTS (SELECT 1 FROM blob_ref r WHERE r.hash = blob.hash)';

/** Blobs, and the channels whose members may fetch them. */
export const blobVerbs = (
  sql: Sql,
): Verbs<
  | 'putBlob'
  | 'getBlob'
  | 'getBlobRef'
  | 'removeBlobRef'
  | 'removeBlobRefsExpired'
  | 'removeBlobRefsBefore'
  | 'listBlobsUnused'
  | 'removeBlob'
  | 'countUploads'
  | 'listUploadsOf'
  | 'listBlobRefsOf'
  | 'countFileBytes'
> => ({
  putBlob: async (hash, { size, isWhole, now }) => {
    await changed(
      sql,
      `INSERT INTO blob (hash, size, is_whole, touched_at) VALUES (?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET
        touched_at = excluded.touched_at,
        size = CASE WHEN excluded.is_whole = 1 THEN excluded.size ELSE blob.size END,
        is_whole = CASE WHEN excluded.is_whole = 1 THEN 1 ELSE blob.is_whole END`,
      idBytes(hash),
      size,
      isWhole ? 1 : 0,
      now,
    );
  },
  getBlob: async (hash) => {
    const [row] = await sql.all({ sql: 'SELECT size, is_whole FROM blob WHERE hash = ?', values: [idBytes(hash)] });
    return row && { size: Number(row.size), isWhole: Number(row.is_whole) === 1 };
  },
  getBlobRef: (channel, hash) =>
    one(sql, BLOB_REF, BLOB_REF.select('WHERE channel = ? AND hash = ?', idBytes(channel), idBytes(hash))),
  removeBlobRef: async (channel, hash) =>
    void (await changed(sql, 'DELETE FROM blob_ref WHERE channel = ? AND hash = ?', idBytes(channel), idBytes(hash))),
  removeBlobRefsExpired: async (now, limit) => {
    const due = 'SELECT channel, hash FROM blob_ref WHERE expires_at > 0 AND expires_at <= ? LIMIT ?';
    const text = `DELETE FROM blob_ref WHERE (channel, hash) IN (${due}) RETURNING hash`;
    const rows = await sql.all({ sql: text, values: [now, limit] });
    return rows.map((row) => idOf<BlobHash>(row.hash as Uint8Array));
  },
  removeBlobRefsBefore: async (channel, before) =>
    void (await changed(sql, 'DELETE FROM blob_ref WHERE channel = ? AND created_at < ?', idBytes(channel), before)),
  listBlobsUnused: async (before, limit) => {
    const text = `SELECT hash FROM blob WHERE touched_at < ? AND ${UNUSED} ORDER BY touched_at LIMIT ?`;
    const rows = await sql.all({ sql: text, values: [before, limit] });
    return rows.map((row) => idOf<BlobHash>(row.hash as Uint8Array));
  },
  removeBlob: (hash, before) =>
    changed(sql, `DELETE FROM blob WHERE hash = ? AND touched_at < ? AND ${UNUSED}`, idBytes(hash), before),
  countUploads: (member) => count(sql, 'SELECT count(*) AS n FROM upload WHERE member = ?', idBytes(member)),
  listUploadsOf: (member) => many(sql, UPLOAD, UPLOAD.select('WHERE member = ? ORDER BY id', idBytes(member))),
  listBlobRefsOf: (member, limit) =>
    many(sql, BLOB_REF, BLOB_REF.select('WHERE member = ? ORDER BY created_at DESC LIMIT ?', idBytes(member), limit)),
  countFileBytes: (member) =>
    count(
      sql,
      `SELECT coalesce((SELECT sum(b.size) FROM blob_ref r JOIN blob b ON b.hash = r.hash WHERE r.member = ?), 0)
        + coalesce((SELECT sum(u.size) FROM upload u WHERE u.member = ?), 0) AS n`,
      idBytes(member),
      idBytes(member),
    ),
});
