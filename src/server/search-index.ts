// Full text of open channels in a file of its own: made from the log in batches, and made anew whenever it is lost.
import { rmSync } from 'node:fs';
import { contentOfEvent } from '../crypto/room-event.ts';
import type { Clock } from '../ports.ts';
import { toHex } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { type ChannelId, idBytes } from '../protocol/ids.ts';
import { decodeContent } from '../protocol/room-content.ts';
import { apart, matchOf, type Term } from '../protocol/search-words.ts';
import { EVENT } from '../protocol/server-frames.ts';
import { Turns } from '../protocol/turns.ts';
import type { Database } from '../sqlite/open.ts';
import type { Epoch, EventLog, Seq, Stored } from './event-log.ts';
import type { Turn } from './turns.ts';
import { Wal } from './wal.ts';

const SCHEMA = `
CREATE TABLE of_epoch (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL) STRICT;
CREATE TABLE progress (channel BLOB PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE place (doc INTEGER PRIMARY KEY, channel BLOB NOT NULL, seq INTEGER NOT NULL, UNIQUE (channel, seq)) STRICT;
CREATE VIRTUAL TABLE words USING fts5 (body, channel, tokenize = 'unicode61 remove_diacritics 2');
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
`;
/** In what form texts are in it; one of another form is made anew. */
const FORM = 2;
const BATCH = { events: 200, bytes: 512 * 1024 };
const PLACES = 50;
const PRUNED_AT_ONCE = 200;
const DOCS = [
  ['words', 'rowid'],
  ['place', 'doc'],
] as const;

type Ports = { readonly log: EventLog; readonly turn: Turn; readonly clock: Clock };

export type Found = { readonly seqs: readonly Seq[]; readonly more: boolean };

/**
 * The index of one server. It holds the texts too, though they are read from the log: by them all their words are taken out
 * again when they are erased.
 */
export class SearchIndex implements Disposable {
  readonly #db: Database;
  readonly #wal: Wal;
  readonly #log: EventLog;
  /** The rest of the process has its turn after each batch. */
  readonly #turn: Turn;
  /** One fill of a channel at a time: two would take the same events. */
  readonly #filling = new Turns<ChannelId>();

  private constructor(db: Database, { log, turn, clock }: Ports) {
    this.#db = db;
    this.#wal = new Wal(db, clock);
    this.#log = log;
    this.#turn = turn;
  }

  /** Opens the file, or begins a new one when it is damaged, of another epoch or of another form. `openFile` opens it in the server's way. */
  static open(
    path: string,
    openFile: (path: string) => Database,
    { epoch, ...ports }: Ports & { readonly epoch: Epoch },
  ): SearchIndex {
    const db = openedWhole(path, openFile, epoch) ?? emptied(path, openFile, epoch);
    return new SearchIndex(db, ports);
  }

  /** Takes the next events of an open channel. False when it is level with the log. Rejects as the log does. */
  fill(channel: ChannelId): Promise<boolean> {
    return this.#filling.run(channel, () => this.#fill(channel));
  }

  /** Places of events with all terms, newest first, from `from` up to `before` − 1. */
  find(
    channel: ChannelId,
    terms: readonly Term[],
    { from, before, limit }: { readonly from: Seq; readonly before: Seq; readonly limit: number },
  ): Found {
    const key = idBytes(channel);
    const edge = (order: 'ASC' | 'DESC', where: string, seq: Seq) =>
      this.#db.get<{ doc: number }>(
        `SELECT doc FROM place WHERE channel = ? AND ${where} ORDER BY seq ${order} LIMIT 1`,
        key,
        seq,
      )?.doc;
    const [first, last] = [edge('ASC', 'seq >= ?', from), edge('DESC', 'seq < ?', before)];
    if (first === undefined || last === undefined) return { seqs: [], more: false };
    // FTS5 seeks to a bound only when it is an integer, and the driver binds numbers as REAL.
    const rows = this.#db.all<{ seq: number }>(
      `SELECT p.seq FROM words JOIN place p ON p.doc = words.rowid WHERE words MATCH ? AND words.rowid >= CAST(? AS INTEGER)
        AND words.rowid <= CAST(? AS INTEGER) ORDER BY words.rowid DESC LIMIT ?`,
      `${matchOf('body', terms)} AND channel : "c${channel}"`,
      first,
      last,
      limit + 1,
    );
    return { seqs: rows.slice(0, limit).map(({ seq }) => seq), more: rows.length > limit };
  }

  /** Events whose bodies are gone. */
  forget(channel: ChannelId, seqs: readonly Seq[]): void {
    this.#db.transaction(() => {
      for (const seq of seqs) this.#remove(channel, seq, seq);
    });
    this.#wal.erased();
  }

  /** Everything of a channel up to a place, a part at a time. */
  async prune(channel: ChannelId, upTo: Seq): Promise<void> {
    while (this.#db.transaction(() => this.#remove(channel, 0, upTo)) === PRUNED_AT_ONCE) await this.#turn();
    this.#wal.erased();
  }

  /**
   * Looks at some entries after `doc` and removes those whose bodies the log has not any more: what a death between the two
   * files left. Gives where to go on, undefined at the end.
   */
  async reconcile(doc: number): Promise<number | undefined> {
    const rows = this.#db.all<{ doc: number; channel: Uint8Array; seq: number }>(
      'SELECT doc, channel, seq FROM place WHERE doc > ? ORDER BY doc LIMIT ?',
      doc,
      PLACES,
    );
    for (const row of rows) {
      const channel = toHex(row.channel) as ChannelId;
      const [event] = await this.#log.read(channel, row.seq - 1, { events: 1, bytes: 1 });
      if (event?.seq !== row.seq || event.body === null) this.forget(channel, [row.seq]);
    }
    return rows.length < PLACES ? undefined : rows.at(-1)?.doc;
  }

  [Symbol.dispose](): void {
    this.#wal[Symbol.dispose]();
    this.#db[Symbol.dispose]();
  }

  async #fill(channel: ChannelId): Promise<boolean> {
    const key = idBytes(channel);
    const { seq: after = 0 } = this.#db.get<{ seq: number }>('SELECT seq FROM progress WHERE channel = ?', key) ?? {};
    const events = await this.#log.read(channel, after, BATCH);
    const last = events.at(-1);
    if (last === undefined) return false;
    this.#db.transaction(() => {
      for (const event of events) this.#take(channel, event);
      this.#db.run(
        'INSERT INTO progress (channel, seq) VALUES (?, ?) ON CONFLICT (channel) DO UPDATE SET seq = excluded.seq',
        key,
        last.seq,
      );
    });
    await this.#turn();
    return true;
  }

  #take(channel: ChannelId, event: Stored): void {
    const text = textOf(event);
    if (text === '') return;
    const { lastInsertRowid } = this.#db.run(
      'INSERT INTO place (channel, seq) VALUES (?, ?)',
      idBytes(channel),
      event.seq,
    );
    this.#db.run(
      'INSERT INTO words (rowid, body, channel) VALUES (?, ?, ?)',
      lastInsertRowid,
      apart(text),
      `c${channel}`,
    );
  }

  // Gives how many there were, at most PRUNED_AT_ONCE.
  #remove(channel: ChannelId, from: Seq, to: Seq): number {
    const docs = this.#db.all<{ doc: number }>(
      'SELECT doc FROM place WHERE channel = ? AND seq BETWEEN ? AND ? LIMIT ?',
      idBytes(channel),
      from,
      to,
      PRUNED_AT_ONCE,
    );
    for (const { doc } of docs)
      for (const [table, key] of DOCS) this.#db.run(`DELETE FROM ${table} WHERE ${key} = CAST(? AS INTEGER)`, doc);
    return docs.length;
  }
}

/** What may be found of an event of an open channel. */
const textOf = ({ kind, body }: Stored): string => {
  if (kind !== EVENT.content || body === null) return '';
  try {
    const content = decodeContent(contentOfEvent(body));
    if (content.kind === 'text' || content.kind === 'edit' || content.kind === 'topic') return content.text;
    return content.kind === 'file' ? content.name : '';
  } catch (error) {
    // Readers refuse it too.
    if (error instanceof SottoError) return '';
    throw error;
  }
};

const openedWhole = (path: string, openFile: (path: string) => Database, epoch: Epoch): Database | undefined => {
  let db: Database | undefined;
  try {
    db = openFile(path);
    db.exec('PRAGMA synchronous = NORMAL');
    if (db.get("SELECT 1 FROM sqlite_schema WHERE name = 'progress'") === undefined)
      db.exec(`${SCHEMA} PRAGMA user_version = ${FORM}`);
    db.run('INSERT INTO of_epoch (id, epoch) VALUES (1, ?) ON CONFLICT DO NOTHING', epoch);
    const isOf = db.get<{ epoch: number }>('SELECT epoch FROM of_epoch')?.epoch === epoch;
    if (isOf && db.get<{ form: number }>('SELECT user_version AS form FROM pragma_user_version')?.form === FORM)
      return db;
  } catch (error) {
    if (!(error instanceof SottoError) || error.code !== 'database.damaged') throw error;
  }
  db?.[Symbol.dispose]();
  return undefined;
};

const emptied = (path: string, openFile: (path: string) => Database, epoch: Epoch): Database => {
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
  const db = openedWhole(path, openFile, epoch);
  if (db === undefined) throw new SottoError('database.damaged');
  return db;
};
