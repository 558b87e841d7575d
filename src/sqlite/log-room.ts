// Room for a write-ahead log before it is needed.
import { closeSync, fstatSync, fsync, ftruncateSync, openSync, statfsSync, writeSync } from 'node:fs';
import { WAL_ROOM_BYTES, WAL_ROOM_FREE_BYTES_MIN } from '../protocol/limits.ts';

const ZEROS = Buffer.alloc(64 * 1024);

/**
 * Makes the log of the open database at `path` WAL_ROOM_BYTES long, by zeros behind what it holds: a commit takes less of the
 * disk's time where the file need not grow. SQLite takes no frame without its header's salt, as it finds them behind the end
 * of every log that began anew. Nothing is done where the disk has little free, and nobody else may write meanwhile.
 */
export const makeLogRoom = (path: string): void => {
  const { bavail, bsize } = statfsSync(path);
  if (bavail * bsize < WAL_ROOM_FREE_BYTES_MIN) return;
  const log = openSync(`${path}-wal`, 'r+');
  const { size } = fstatSync(log);
  try {
    for (let at = size; at < WAL_ROOM_BYTES; at += ZEROS.length) writeSync(log, ZEROS, 0, ZEROS.length, at);
  } catch {
    // It goes without, too.
    ftruncateSync(log, size);
  }
  // Before the first commit has to wait for it; whether the disk has taken it is not asked.
  fsync(log, () => closeSync(log));
};
