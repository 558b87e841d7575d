// Rows of an account as lines, and back: what a backup holds. No session, no prekey, no ciphertext, no event, no device of
// ours on a server: who comes back from a backup is another one there.
import { fromBase64, toBase64 } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import type { Database } from '../sqlite/open.ts';
import { indexedMessages, putIndex } from './messages.ts';

type Cell = string | number | null | Uint8Array;
type Row = Record<string, Cell>;

// In the order in which foreign keys allow them to come back.
const TABLES: Readonly<Record<string, string>> = {
  account: 'id, nickname, identity_seed, link_secret, signal_secret, backup_key, servers_key, created_at',
  settings: 'scope, key, value',
  contacts:
    'id, uid, address, name, nickname, state, blocked, link_key, signal_key, verified_at, note, request_note, paused, created_at, last_seen_at',
  contact_history: 'id, contact_id, at, kind, detail',
  servers:
    'id, uid, label, server_key, name, origin, trust, clearnet, state, invite, member_id, member_name, role, created_at',
  members:
    'id, server_id, member_id, member_key, name, former, role, status, request, blocked, verified_at, contact_id, created_at',
  member_links: 'id, contact_id, server_key, member_row, member_key',
  channels:
    'id, server_id, channel_id, hash, name, encryption, private, history, state, topic, read_seq, notify, created_at',
  channel_keys: 'channel_row, key_epoch, key',
  conversations:
    'id, uid, kind, contact_id, channel_row, member_row, draft, archived, unread, mentions, last_at, created_at',
  files: 'id, file_id, conversation_id, mine, name, size, key, root, state, reason, chunks, saved_to, created_at, blob',
  messages:
    'id, conversation_id, message_id, mine, body, state, reason, sent_at, received_at, delivered_at, read_at, unread, reply_to, edit_number, edited_at, deleted_at, expires_ms, expires_from, expires_at, pinned_at, file_id, member_row, seq, thread, mention, shared_by',
  message_versions: 'id, message_row, number, body, at',
  reactions: 'message_row, mine, member_row, emoji, at',
  tombstones: 'contact_id, message_id, at',
  frame_ids: 'contact_id, frame_id, at',
  outbox: 'id, contact_id, frame_id, kind, body, message_row, created_at, expires_at',
  room_outbox:
    'id, server_id, channel_row, member_row, event_id, kind, content, message_row, seq, ttl, created_at, expires_at',
};
// Where that is not the id.
const KEYS: Readonly<Record<string, readonly string[]>> = {
  settings: ['scope', 'key'],
  channel_keys: ['channel_row', 'key_epoch'],
  reactions: ['message_row', 'mine', 'member_row', 'emoji'],
  tombstones: ['contact_id', 'message_id'],
  frame_ids: ['contact_id', 'frame_id'],
};
// Columns that are made anew when a row is loaded.
const FRESH: ReadonlySet<string> = new Set(['install_id', 'device_id', 'device_seed', 'certificate']);
const PAGE = 500;

/** Lines of every row, table by table, in pages; the caller may rest between two of them. Read inside one transaction. */
export function* dumpRows(db: Database): Generator<string> {
  for (const table of Object.keys(TABLES)) {
    let rows = page(db, table, undefined);
    while (rows.length > 0) {
      yield rows.map((row) => `${JSON.stringify([table, encode(row)])}\n`).join('');
      rows = page(db, table, rows.at(-1));
    }
  }
}

// The rows of a table behind `last`, by its primary key: a page costs the same wherever it begins.
const page = (db: Database, table: string, last: Row | undefined): Row[] => {
  const columns = TABLES[table] ?? '';
  const key = KEYS[table] ?? ['id'];
  const behind = last === undefined ? '' : `WHERE (${key.join(', ')}) > (${key.map(() => '?').join(', ')})`;
  const from = last === undefined ? [] : key.map((name) => last[name] ?? null);
  return db.all<Row>(`SELECT ${columns} FROM ${table} ${behind} ORDER BY ${key.join(', ')} LIMIT ?`, ...from, PAGE);
};

/** Writes one line's row. Throws `backup.damaged` for a table or column that is none of ours, and a row that does not fit. */
export const loadRow = (db: Database, line: string): void => {
  const [table, row] = parseLine(line);
  const columns = Object.hasOwn(TABLES, table) ? TABLES[table]?.split(', ') : undefined;
  const names = Object.keys(row);
  if (columns === undefined || names.some((name) => !columns.includes(name) && !FRESH.has(name)))
    throw new SottoError('backup.damaged', { message: 'The backup holds a table or column that is unknown' });
  try {
    db.run(
      `INSERT INTO ${table} (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`,
      ...Object.values(row),
    );
  } catch (error) {
    if (error instanceof SottoError) throw error;
    throw new SottoError('backup.damaged', { cause: error });
  }
};

const encode = (row: Row): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(row).map(([name, cell]) => [name, cell instanceof Uint8Array ? { b: toBase64(cell) } : cell]),
  );

const parseLine = (line: string): [string, Row] => {
  try {
    const [table, row] = JSON.parse(line) as [unknown, Record<string, string | number | null | { b: string }>];
    if (typeof table !== 'string') throw new SottoError('backup.damaged');
    return [
      table,
      Object.fromEntries(
        Object.entries(row).map(([name, cell]) => [
          name,
          typeof cell === 'object' && cell !== null ? fromBase64(cell.b) : cell,
        ]),
      ),
    ];
  } catch (error) {
    throw new SottoError('backup.damaged', { cause: error });
  }
};

/** Fills the full-text index from the messages that were loaded. */
export const indexMessages = (db: Database): void => {
  for (const row of indexedMessages(db)) putIndex(db, row, row.body);
};
