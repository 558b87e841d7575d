// The log of rooms in one SQLite file: a batch is one transaction, and this process is the only writer.
import type { Clock } from '../ports.ts';
import { SottoError } from '../protocol/errors.ts';
import { type ChannelId, type EventId, idBytes, idOf } from '../protocol/ids.ts';
import { LOG_HEADS_MAX } from '../protocol/limits.ts';
import type { Database } from '../sqlite/open.ts';
import {
  type Cursor,
  type Draft,
  type EventLog,
  type Head,
  LogError,
  type Millis,
  type Outcome,
  type PageLimit,
  type Resumed,
  type Seq,
  type Stored,
} from './event-log.ts';
import { type HeadState, Heads, headOf } from './log-heads.ts';
import { lost, Placing } from './log-placing.ts';
import { EVENT } from './stored.ts';
import type { RawRow } from './table.ts';
import type { Turn } from './turns.ts';
import type { Wal } from './wal.ts';

const READ_ROWS = 128;
const PRUNE_ROWS = 1_000;

export type SqliteEventLogPorts = {
  readonly db: Database;
  readonly wal: Wal;
  readonly clock: Clock;
  readonly turn: Turn;
  /** How many heads stay in memory between batches. */
  readonly headsMax?: number;
};

/** The embedded log. Its owner closes the database. Nobody else writes channel_head, event, authority, expiry or inbox_share. */
export class SqliteEventLog implements EventLog {
  readonly #db: Database;
  readonly #wal: Wal;
  readonly #clock: Clock;
  readonly #turn: Turn;
  readonly #heads: Heads;
  readonly #placing: Placing;

  constructor({ db, wal, clock, turn, headsMax = LOG_HEADS_MAX }: SqliteEventLogPorts) {
    this.#db = db;
    this.#wal = wal;
    this.#clock = clock;
    this.#turn = turn;
    this.#heads = new Heads(db, headsMax);
    this.#placing = new Placing(db, this.#heads, wal);
  }

  async append(batch: readonly Draft[]): Promise<readonly Outcome[]> {
    return this.#commit(() => this.#placing.place(batch, this.#clock.now()));
  }

  async read(channel: ChannelId, after: Seq, limit: PageLimit): Promise<readonly Stored[]> {
    return this.#ask(() => this.#page(channel, { after }, limit));
  }

  async readBack(channel: ChannelId, before: Seq, limit: PageLimit): Promise<readonly Stored[]> {
    return this.#ask(() => this.#page(channel, { before }, limit));
  }

  async resume(
    cursors: readonly (Cursor & { readonly channel: ChannelId })[],
    limit: PageLimit,
  ): Promise<readonly Resumed[]> {
    return this.#ask(() => {
      const room = { bytes: limit.bytes };
      return cursors.flatMap((cursor): Resumed[] => {
        const head = this.#heads.get(cursor.channel);
        if (head === undefined) return [];
        const recovered = this.#holds(head, cursor);
        const isBehind = recovered && cursor.seq < head.seq && room.bytes > 0;
        const left = { events: limit.events, bytes: room.bytes };
        const events = isBehind ? this.#page(cursor.channel, { after: cursor.seq }, left) : [];
        room.bytes -= events.reduce((sum, { body }) => sum + (body?.length ?? 0), 0);
        return [{ channel: cursor.channel, recovered, events, head: headOf(head) }];
      });
    });
  }

  async heads(channels: readonly ChannelId[]): Promise<readonly Head[]> {
    return this.#ask(() =>
      channels.flatMap((channel) => {
        const head = this.#heads.get(channel);
        return head === undefined ? [] : [headOf(head)];
      }),
    );
  }

  async seqOf(channel: ChannelId, id: EventId): Promise<Seq> {
    return this.#ask(() => {
      const sql = 'SELECT seq FROM event WHERE id = ? AND channel = ?';
      return this.#db.get<{ seq: number }>(sql, idBytes(id), idBytes(channel))?.seq ?? 0;
    });
  }

  async seqAt(channel: ChannelId, at: Millis): Promise<Seq> {
    return this.#ask(() => {
      const head = this.#heads.get(channel);
      if (head === undefined) return 0;
      // Every event up to `low` is not later than `at`, every one from `high` on is.
      let [low, high] = [head.prunedTo, head.seq + 1];
      while (high - low > 1) {
        const middle = Math.floor((low + high) / 2);
        if (this.#timeOf(channel, middle) <= at) low = middle;
        else high = middle;
      }
      return low === head.prunedTo ? 0 : low;
    });
  }

  async prune(channel: ChannelId, upTo: Seq): Promise<void> {
    while (this.#ask(() => this.#pruneSome(channel, upTo))) await this.#turn();
  }

  async erase(channel: ChannelId, seqs: readonly Seq[]): Promise<void> {
    this.#commit(() => {
      for (const seq of seqs) this.#placing.eraseBody(channel, seq);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#heads.forgetAll();
  }

  /** Removes some of the events up to `upTo`; false when there are no more. */
  #pruneSome(channel: ChannelId, upTo: Seq): boolean {
    const head = this.#heads.get(channel);
    if (head === undefined) return false;
    const end = Math.min(upTo, head.seq, head.prunedTo + PRUNE_ROWS);
    if (end <= head.prunedTo) return false;
    const key = idBytes(channel);
    this.#commit(() => {
      this.#db.run(
        `UPDATE channel_head SET pruned_to = ?, pruned_id = (SELECT id FROM event WHERE channel = ? AND seq = ?)
          WHERE channel = ?`,
        end,
        key,
        end,
        key,
      );
      this.#db.run(
        `INSERT INTO inbox_share (inbox, member, events)
          SELECT channel, member, -count(*) FROM event WHERE channel = ? AND seq <= ?
            AND member IN (SELECT member FROM inbox_share WHERE inbox = ?) GROUP BY channel, member
          ON CONFLICT (inbox, member) DO UPDATE SET events = inbox_share.events + excluded.events`,
        key,
        end,
        key,
      );
      this.#db.run('DELETE FROM inbox_share WHERE inbox = ? AND events <= 0', key);
      this.#db.run('DELETE FROM event WHERE channel = ? AND seq <= ?', key, end);
      this.#db.run('DELETE FROM expiry WHERE channel = ? AND seq <= ?', key, end);
    });
    this.#heads.forget(channel);
    this.#wal.erased();
    return true;
  }

  /** Whether the log still has everything after the cursor, and the cursor is of this log. */
  #holds(head: HeadState, { epoch, seq, id }: Cursor): boolean {
    if (epoch !== head.epoch || seq < head.prunedTo || seq > head.seq) return false;
    if (seq === 0) return id === null;
    if (seq === head.seq) return id === head.lastId;
    if (seq === head.prunedTo) return id === head.prunedId;
    const row = this.#db.get<{ id: Uint8Array }>(
      'SELECT id FROM event WHERE channel = ? AND seq = ?',
      idBytes(head.channel),
      seq,
    );
    return row !== undefined && idOf(row.id) === id;
  }

  #page(
    channel: ChannelId,
    from: { readonly after: Seq } | { readonly before: Seq },
    limit: { readonly events: number; readonly bytes: number },
  ): Stored[] {
    const [rest, place] =
      'after' in from
        ? (['WHERE channel = ? AND seq > ? ORDER BY seq LIMIT ?', from.after] as const)
        : (['WHERE channel = ? AND seq < ? ORDER BY seq DESC LIMIT ?', from.before] as const);
    const page: Stored[] = [];
    const key = idBytes(channel);
    let [next, used] = [place, 0];
    while (page.length < limit.events) {
      const count = Math.min(READ_ROWS, limit.events - page.length);
      const sql = `SELECT ${EVENT.pageColumns} FROM event ${rest}`;
      const rows = this.#db.all<RawRow>(sql, key, next, count).map(EVENT.read);
      for (const event of rows) {
        used += event.body?.length ?? 0;
        if (used > limit.bytes && page.length > 0) return page;
        page.push(event);
        next = event.seq;
      }
      if (rows.length < count) break;
    }
    return page;
  }

  #timeOf(channel: ChannelId, seq: Seq): Millis {
    const row = this.#db.get<{ at: number }>(
      'SELECT at FROM event WHERE channel = ? AND seq = ?',
      idBytes(channel),
      seq,
    );
    return row === undefined ? lost() : row.at;
  }

  // A commit that fails may be on the disk all the same: only what failed before it surely is not.
  #commit<T>(body: () => T): T {
    let isWritten = false;
    this.#heads.forgetSome();
    try {
      return this.#db.transaction(() => {
        const result = body();
        isWritten = true;
        return result;
      });
    } catch (error) {
      this.#heads.forgetAll();
      throw logError(error, isWritten ? 'unknown' : 'unavailable');
    }
  }

  #ask<T>(body: () => T): T {
    this.#heads.forgetSome();
    try {
      return body();
    } catch (error) {
      throw logError(error, 'unavailable');
    }
  }
}

const logError = (error: unknown, certainty: LogError['certainty']): unknown =>
  error instanceof SottoError && !(error instanceof LogError) ? new LogError(certainty, { cause: error }) : error;
