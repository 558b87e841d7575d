// The log of rooms in one SQLite file: a batch is one transaction, and this process is the only writer.
import { passingSha256 } from '../crypto/primitives.ts';
import type { Clock } from '../ports.ts';
import { SottoError } from '../protocol/errors.ts';
import { type ChannelId, type EventId, idBytes, idOf } from '../protocol/ids.ts';
import type { Database } from '../sqlite/open.ts';
import {
  areSure,
  type ChangeStatement,
  changeStatements,
  changesAuthority,
  entersArchive,
  newHead,
} from './changes.ts';
import {
  type Cursor,
  type Draft,
  type Epoch,
  type EventLog,
  type Head,
  LogError,
  type Millis,
  type Outcome,
  type PageLimit,
  type RefusedCode,
  type Resumed,
  type Seq,
  type Stored,
} from './event-log.ts';
import { EVENT } from './stored.ts';
import type { RawRow } from './table.ts';
import type { Turn } from './turns.ts';
import type { Wal } from './wal.ts';

const HEADS_CACHED_MAX = 10_000;
const READ_ROWS = 128;
const PRUNE_ROWS = 1_000;

// What is known of a channel's end: as committed, except within an append.
type HeadState = {
  readonly channel: ChannelId;
  /** The channel's id as bytes. */
  readonly key: Uint8Array<ArrayBuffer>;
  readonly epoch: Epoch;
  seq: Seq;
  lastId: EventId | null;
  at: Millis;
  authoritySeq: Seq;
  prunedTo: Seq;
  prunedId: EventId | null;
  isArchived: boolean;
};
type HeadRow = {
  readonly epoch: number;
  readonly seq: number;
  readonly last_id: Uint8Array | null;
  readonly at: number;
  readonly authority_seq: number;
  readonly pruned_to: number;
  readonly pruned_id: Uint8Array | null;
  readonly archived_at: number | null;
};

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
  readonly #headsMax: number;
  readonly #heads = new Map<ChannelId, HeadState>();

  constructor({ db, wal, clock, turn, headsMax = HEADS_CACHED_MAX }: SqliteEventLogPorts) {
    this.#db = db;
    this.#wal = wal;
    this.#clock = clock;
    this.#turn = turn;
    this.#headsMax = headsMax;
  }

  async append(batch: readonly Draft[]): Promise<readonly Outcome[]> {
    return this.#commit(() => {
      const now = this.#clock.now();
      const moved = new Set<HeadState>();
      const outcomes = batch.map((draft) =>
        areSure(draft.changes) ? this.#place(draft, now, moved) : this.#placeWithChanges(draft, now, moved),
      );
      for (const head of moved) this.#putHead(head);
      return outcomes;
    });
  }

  async read(channel: ChannelId, after: Seq, limit: PageLimit): Promise<readonly Stored[]> {
    return this.#ask(() => this.#page(channel, { after }, { events: limit.events, bytes: limit.bytes }));
  }

  async readBack(channel: ChannelId, before: Seq, limit: PageLimit): Promise<readonly Stored[]> {
    return this.#ask(() => this.#page(channel, { before }, { events: limit.events, bytes: limit.bytes }));
  }

  async resume(
    cursors: readonly (Cursor & { readonly channel: ChannelId })[],
    limit: PageLimit,
  ): Promise<readonly Resumed[]> {
    return this.#ask(() => {
      const room = { bytes: limit.bytes };
      return cursors.flatMap((cursor): Resumed[] => {
        const head = this.#head(cursor.channel);
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
        const head = this.#head(channel);
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
      const head = this.#head(channel);
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
      for (const seq of seqs) this.#eraseBody(channel, seq);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#heads.clear();
  }

  /** One draft on its own; `moved` collects the heads that the batch must write. */
  #place(draft: Draft, now: Millis, moved: Set<HeadState>): Outcome {
    const known = this.#head(draft.channel);
    const head = known ?? this.#beginChannel(draft, now);
    if (head === undefined) return refused('no_such_channel');
    const barred = bar(draft, head);
    const [seq, at] = [head.seq + 1, Math.max(head.at, now)];
    if (barred !== undefined || !this.#putEvent(head, draft, seq, at))
      return this.#known(draft, head) ?? barred ?? lost();
    const isAuthority = changesAuthority(draft.changes);
    const code = this.#applyChanges(draft, { seq, now });
    if (code === 'slow_mode') return this.#tooSoon(draft, now);
    if (code !== undefined) return refused(code);
    if (isAuthority) this.#keepAuthority(draft, seq);
    head.seq = seq;
    head.at = at;
    head.lastId = draft.id;
    if (isAuthority) head.authoritySeq = seq;
    for (const change of draft.changes)
      if (change.kind === 'channelSet' && change.set.archivedAt !== undefined)
        head.isArchived = change.set.archivedAt !== null;
    if (known === undefined) this.#heads.set(draft.channel, head);
    moved.add(head);
    return { kind: 'committed', seq, at, epoch: head.epoch };
  }

  // What a draft did before one of its changes was refused is undone alone; the batch goes on.
  #placeWithChanges(draft: Draft, now: Millis, moved: Set<HeadState>): Outcome {
    this.#db.run('SAVEPOINT draft');
    const outcome = this.#place(draft, now, moved);
    if (outcome.kind !== 'committed') this.#db.run('ROLLBACK TO draft');
    this.#db.run('RELEASE draft');
    return outcome;
  }

  // The event that makes a channel is its first.
  #beginChannel(draft: Draft, now: Millis): HeadState | undefined {
    const isFirst = draft.changes.some((change) => change.kind === 'channel' && change.row.id === draft.channel);
    if (!isFirst) return undefined;
    const { sql, values } = newHead(draft.channel, now);
    this.#db.run(sql, ...values);
    return this.#readHead(draft.channel);
  }

  /** False when the id is in the channel already. */
  #putEvent({ key }: HeadState, { id, member, kind, body }: Draft, seq: Seq, at: Millis): boolean {
    const { changes } = this.#db.run(
      `INSERT INTO event (channel, seq, id, member, kind, at, hash, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id, channel) DO NOTHING`,
      key,
      seq,
      Buffer.from(id, 'hex'),
      Buffer.from(member, 'hex'),
      kind,
      at,
      passingSha256(body),
      body,
    );
    return changes === 1;
  }

  /** The first change that is refused; undefined when all are made. */
  #applyChanges(draft: Draft, when: Parameters<typeof changeStatements>[2]): RefusedCode | undefined {
    for (const change of draft.changes) {
      if (change.kind === 'erase') {
        this.#eraseBody(draft.channel, change.seq);
        continue;
      }
      for (const statement of changeStatements(change, draft, when)) if (!this.#does(statement)) return statement.needs;
    }
    return undefined;
  }

  /** False when it did not find or change what it needs. */
  #does({ sql, values, needs, asks }: ChangeStatement): boolean {
    if (asks !== undefined) return (this.#db.get(sql, ...values) !== undefined) === (asks === 'some');
    return this.#db.run(sql, ...values).changes > 0 || needs === undefined;
  }

  #tooSoon(draft: Draft, now: Millis): Outcome {
    const interval = Math.max(0, ...draft.changes.map((change) => (change.kind === 'slow' ? change.intervalMs : 0)));
    const last = this.#db.get<{ at: number }>(
      'SELECT at FROM slow WHERE channel = ? AND member = ?',
      idBytes(draft.channel),
      idBytes(draft.member),
    );
    return { kind: 'refused', code: 'slow_mode', retryAfterMs: Math.max(0, (last?.at ?? now) + interval - now) };
  }

  #keepAuthority({ channel }: Draft, seq: Seq): void {
    this.#db.run(
      `INSERT INTO authority (channel, ${EVENT.columns}) SELECT channel, ${EVENT.columns} FROM event
        WHERE channel = ? AND seq = ?`,
      idBytes(channel),
      seq,
    );
  }

  /** The answer to a draft whose id is in the channel already. */
  #known(draft: Draft, head: HeadState): Outcome | undefined {
    const row = this.#db.get<{ seq: number; at: number; member: Uint8Array }>(
      'SELECT seq, at, member FROM event WHERE id = ? AND channel = ?',
      idBytes(draft.id),
      idBytes(draft.channel),
    );
    if (row === undefined) return undefined;
    if (idOf(row.member) !== draft.member) return refused('id_taken');
    return { kind: 'duplicate', seq: row.seq, at: row.at, epoch: head.epoch };
  }

  /** The one function that empties a body; what is gone or empty already stays so, and so does what says who may do what. */
  #eraseBody(channel: ChannelId, seq: Seq): void {
    const key = idBytes(channel);
    this.#db.run(
      `UPDATE event SET body = NULL WHERE channel = ? AND seq = ? AND body IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM authority a WHERE a.channel = event.channel AND a.seq = event.seq)`,
      key,
      seq,
    );
    this.#db.run('DELETE FROM expiry WHERE channel = ? AND seq = ?', key, seq);
    this.#wal.erased();
  }

  /** Removes some of the events up to `upTo`; false when there are no more. */
  #pruneSome(channel: ChannelId, upTo: Seq): boolean {
    const head = this.#head(channel);
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
    this.#heads.delete(channel);
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

  #head(channel: ChannelId): HeadState | undefined {
    const known = this.#heads.get(channel);
    if (known !== undefined) return known;
    const head = this.#readHead(channel);
    if (head === undefined) return undefined;
    this.#heads.set(channel, head);
    return head;
  }

  #readHead(channel: ChannelId): HeadState | undefined {
    const key = new Uint8Array(idBytes(channel));
    const row = this.#db.get<HeadRow>(
      `SELECT h.epoch, h.seq, h.last_id, h.at, h.authority_seq, h.pruned_to, h.pruned_id, c.archived_at
        FROM channel_head h LEFT JOIN channel c ON c.id = h.channel WHERE h.channel = ?`,
      key,
    );
    if (row === undefined) return undefined;
    return {
      channel,
      key,
      epoch: row.epoch,
      seq: row.seq,
      lastId: row.last_id === null ? null : idOf(row.last_id),
      at: row.at,
      authoritySeq: row.authority_seq,
      prunedTo: row.pruned_to,
      prunedId: row.pruned_id === null ? null : idOf(row.pruned_id),
      isArchived: row.archived_at !== null,
    };
  }

  #putHead({ key, seq, lastId, at, authoritySeq }: HeadState): void {
    this.#db.run(
      'UPDATE channel_head SET seq = ?, last_id = ?, at = ?, authority_seq = ? WHERE channel = ?',
      seq,
      lastId === null ? null : idBytes(lastId),
      at,
      authoritySeq,
      key,
    );
  }

  // Between batches only: within one, a head that has moved is known here alone.
  #forgetSome(): void {
    if (this.#heads.size > this.#headsMax)
      for (const channel of [...this.#heads.keys()].slice(this.#headsMax / 2)) this.#heads.delete(channel);
  }

  // A commit that fails may be on the disk all the same: only what failed before it surely is not.
  #commit<T>(body: () => T): T {
    let isWritten = false;
    this.#forgetSome();
    try {
      return this.#db.transaction(() => {
        const result = body();
        isWritten = true;
        return result;
      });
    } catch (error) {
      this.#heads.clear();
      throw logError(error, isWritten ? 'unknown' : 'unavailable');
    }
  }

  #ask<T>(body: () => T): T {
    this.#forgetSome();
    try {
      return body();
    } catch (error) {
      throw logError(error, 'unavailable');
    }
  }
}

const bar = (draft: Draft, head: HeadState): Outcome | undefined => {
  if (draft.checkedAt < head.authoritySeq) return { kind: 'stale', authoritySeq: head.authoritySeq };
  return head.isArchived && !entersArchive(draft.changes) ? refused('archived') : undefined;
};

const refused = (code: RefusedCode): Outcome => ({ kind: 'refused', code });

const headOf = ({ channel, epoch, seq, lastId, authoritySeq, prunedTo }: HeadState): Head => ({
  channel,
  epoch,
  seq,
  id: lastId,
  authoritySeq,
  prunedTo,
});

const lost = (): never => {
  throw new Error('an event that must be in the log is not');
};

const logError = (error: unknown, certainty: LogError['certainty']): unknown =>
  error instanceof SottoError && !(error instanceof LogError) ? new LogError(certainty, { cause: error }) : error;
