// Whether a server's data is whole: no holes, no changed byte, heads and rows that fit, and nothing that belongs to nothing.
import { createHash } from 'node:crypto';
import { sha256 } from '../crypto/primitives.ts';
import { isEqual } from '../protocol/bytes.ts';
import { expectedError } from '../protocol/errors.ts';
import { type BlobHash, idBytes, idOf } from '../protocol/ids.ts';
import { BLOB_PART_BYTES_MAX } from '../protocol/limits.ts';
import { integrity } from '../sqlite/integrity.ts';
import type { Database } from '../sqlite/open.ts';
import { type BlobStore, isBlobHash } from './blob-store.ts';
import { EVENT } from './stored.ts';
import { bytes, type RawRow } from './table.ts';
import type { Turn } from './turns.ts';

export type ServerCheck = {
  /** What is wrong, in words with ids; empty when nothing is. */
  readonly wrong: readonly string[];
  readonly events: number;
  readonly blobs: number;
  /** Files that no row knows: an interrupted removal or upload. Collection takes them. */
  readonly leftOver: number;
};

/** `turn` is taken between the steps: it rejects when the check shall end. */
type Parts = { readonly db: Database; readonly blobs: BlobStore; readonly turn: Turn };

const PAGE = 500;
const WRONG_MAX = 100;

const RULES: readonly { readonly name: string; readonly broken: string }[] = [
  {
    name: 'a channel and an inbox have a head',
    broken: `SELECT id FROM member WHERE NOT EXISTS (SELECT 1 FROM channel_head h WHERE h.channel = member.id)
      UNION ALL SELECT id FROM channel WHERE NOT EXISTS (SELECT 1 FROM channel_head h WHERE h.channel = channel.id)`,
  },
  {
    name: 'a head is of the epoch of the server',
    broken: 'SELECT channel AS id FROM channel_head WHERE epoch <> (SELECT epoch FROM server)',
  },
  {
    name: 'a head names its last event of authority',
    broken: `SELECT channel AS id FROM channel_head h
      WHERE authority_seq <> coalesce((SELECT max(seq) FROM authority a WHERE a.channel = h.channel), 0)`,
  },
  {
    name: 'what outlives retention is as it was',
    broken: `SELECT a.channel AS id FROM authority a LEFT JOIN event e ON e.channel = a.channel AND e.seq = a.seq
      JOIN channel_head h ON h.channel = a.channel
      WHERE a.seq > h.pruned_to AND (e.id IS NULL OR e.id <> a.id OR e.hash <> a.hash OR (e.body IS NULL AND a.body IS NOT NULL))`,
  },
  {
    name: 'a membership began in the channel',
    broken: `SELECT m.channel AS id FROM membership m JOIN channel_head h ON h.channel = m.channel WHERE m.joined_seq > h.seq`,
  },
  {
    name: 'a read marker is in the channel',
    broken: `SELECT m.channel AS id FROM read_marker m LEFT JOIN channel_head h ON h.channel = m.channel
      WHERE h.seq IS NULL OR m.seq > h.seq`,
  },
  {
    name: 'what is due for erasure is there',
    broken: `SELECT x.channel AS id FROM expiry x LEFT JOIN event e ON e.channel = x.channel AND e.seq = x.seq
      WHERE e.id IS NULL`,
  },
  {
    name: 'what others have in an inbox is counted',
    broken: `SELECT m.id FROM member m WHERE
      (SELECT count(*) FROM event e WHERE e.channel = m.id AND e.member <> m.id)
        <> (SELECT coalesce(sum(events), 0) FROM inbox_share s WHERE s.inbox = m.id)`,
  },
  {
    name: 'a reference is to a whole blob',
    broken:
      'SELECT r.hash AS id FROM blob_ref r LEFT JOIN blob b ON b.hash = r.hash AND b.is_whole = 1 WHERE b.hash IS NULL',
  },
];

/**
 * Looks at everything, a page at a time, while the log goes on. `deep`: SQLite's own check of every page first, in one step
 * during which nothing else runs, and all bytes of every blob against its hash, a part at a time. At most 100 findings.
 */
export const checkServer = async (parts: Parts, { deep }: { readonly deep: boolean }): Promise<ServerCheck> => {
  const wrong: string[] = deep ? integrity(parts.db) : [];
  for (const { name, broken } of RULES) {
    const rows = parts.db.all<{ id: Uint8Array }>(`${broken} LIMIT 3`);
    if (rows.length > 0) wrong.push(`not so: ${name} (${rows.map((row) => idOf(row.id)).join(', ')})`);
    await parts.turn();
  }
  let events = 0;
  for (const channel of channels(parts.db)) {
    events += await checkChannel(parts, channel, wrong);
    if (wrong.length >= WRONG_MAX) break;
  }
  const { blobs, leftOver } = await checkBlobs(parts, { deep }, wrong);
  return { wrong: wrong.slice(0, WRONG_MAX), events, blobs, leftOver };
};

// Every channel of a head or an event, in order; each step is one look into an index.
function* channels(db: Database): Generator<Uint8Array<ArrayBuffer>> {
  for (let last: Uint8Array<ArrayBuffer> | null = new Uint8Array(1); last !== null; ) {
    const row: { channel: Uint8Array<ArrayBuffer> | null } | undefined = db.get(
      `SELECT min(channel) AS channel FROM (SELECT min(channel) AS channel FROM channel_head WHERE channel > ?
        UNION ALL SELECT min(channel) FROM event WHERE channel > ?)`,
      last,
      last,
    );
    last = row?.channel ?? null;
    if (last !== null) yield last;
  }
}

type Head = { readonly seq: number; readonly pruned_to: number; readonly last_id: Uint8Array | null };

/** Gives the number of events that it saw. */
const checkChannel = async (
  { db, turn }: Parts,
  channel: Uint8Array<ArrayBuffer>,
  wrong: string[],
): Promise<number> => {
  const name = idOf(channel);
  const headNow = () => db.get<Head>('SELECT seq, pruned_to, last_id FROM channel_head WHERE channel = ?', channel);
  const first = headNow();
  if (first === undefined) {
    wrong.push(`channel ${name} has events and no head`);
    return 0;
  }
  let [next, at, seen] = [first.pruned_to + 1, 0, 0];
  for (;;) {
    const head = headNow() ?? first;
    // Retention has overtaken this look.
    next = Math.max(next, head.pruned_to + 1);
    const page = `SELECT ${EVENT.columns} FROM event WHERE channel = ? AND seq >= ? ORDER BY seq LIMIT ?`;
    const rows = db.all<RawRow>(page, channel, next, PAGE);
    for (const raw of rows) {
      const event = EVENT.read(raw);
      if (event.seq !== next) wrong.push(`channel ${name} has a hole from ${next} to ${event.seq - 1}`);
      if (event.at < at) wrong.push(`channel ${name}: event ${event.seq} is earlier than the one before`);
      if (event.body !== null && !isEqual(sha256(event.body), bytes.read(raw.hash)))
        wrong.push(`channel ${name}: the body of event ${event.seq} does not fit its hash`);
      [next, at, seen] = [event.seq + 1, event.at, seen + 1];
      if (event.seq === head.seq && (head.last_id === null || idOf(head.last_id) !== event.id))
        wrong.push(`channel ${name}: its head names another event than the last`);
    }
    if (rows.length < PAGE) {
      if (next !== head.seq + 1)
        wrong.push(`channel ${name} ends with event ${next - 1} and its head with ${head.seq}`);
      return seen;
    }
    if (wrong.length >= WRONG_MAX) return seen;
    await turn();
  }
};

const checkBlobs = async (
  { db, blobs, turn }: Parts,
  { deep }: { readonly deep: boolean },
  wrong: string[],
): Promise<{ blobs: number; leftOver: number }> => {
  let [count, leftOver] = [0, 0];
  for await (const name of blobs.list()) {
    const table = isBlobHash(name) ? 'blob WHERE hash = ?' : 'upload WHERE id = ?';
    if (db.get(`SELECT 1 FROM ${table}`, idBytes(name)) === undefined) leftOver++;
    else if (isBlobHash(name)) count++;
  }
  for (const { hash, size } of wholeBlobs(db)) {
    const held = await blobs.sizeOf(hash);
    const isCut = held === undefined ? 'missing' : held === size ? undefined : 'cut';
    const fault = isCut ?? (deep ? await faultIn(blobs, hash, turn) : undefined);
    // It may have been taken back or collected meanwhile.
    const isThere = () => db.get('SELECT 1 FROM blob WHERE hash = ? AND is_whole = 1', idBytes(hash)) !== undefined;
    if (fault !== undefined && isThere()) wrong.push(`blob ${hash} is ${fault}`);
    if (wrong.length >= WRONG_MAX) break;
    await turn();
  }
  return { blobs: count, leftOver };
};

/** What is wrong with the bytes of a blob, which are read a part at a time; undefined when they have the hash that names it. */
const faultIn = async (blobs: BlobStore, hash: BlobHash, turn: Turn): Promise<string | undefined> => {
  const found = createHash('sha256');
  for (let from = 0; ; from += BLOB_PART_BYTES_MAX) {
    const part = await partOf(blobs, hash, from);
    if (part === undefined) return 'not to be read';
    found.update(part);
    if (part.length < BLOB_PART_BYTES_MAX) return found.digest('hex') === hash ? undefined : 'damaged';
    await turn();
  }
};

// A disk that does not give a blob keeps nobody from hearing of the others.
const partOf = async (blobs: BlobStore, hash: BlobHash, from: number): Promise<Uint8Array | undefined> => {
  try {
    return await blobs.get(hash, { from, size: BLOB_PART_BYTES_MAX });
  } catch (error) {
    if (expectedError(error) === undefined) throw error;
    return undefined;
  }
};

/** Every blob that the database calls whole, with its size in bytes, in the order of their hashes; a page at a time. */
export function* wholeBlobs(db: Database): Generator<{ readonly hash: BlobHash; readonly size: number }> {
  for (let last = new Uint8Array(1); ; ) {
    const rows = db.all<{ hash: Uint8Array<ArrayBuffer>; size: number }>(
      'SELECT hash, size FROM blob WHERE is_whole = 1 AND hash > ? ORDER BY hash LIMIT ?',
      last,
      PAGE,
    );
    for (const { hash, size } of rows) yield { hash: idOf(hash), size };
    last = rows.at(-1)?.hash ?? last;
    if (rows.length < PAGE) return;
  }
}
