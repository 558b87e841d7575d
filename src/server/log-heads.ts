// The ends of channels, of which the log keeps some in memory between its batches.
import { type ChannelId, type EventId, idBytes, idOf } from '../protocol/ids.ts';
import type { Database } from '../sqlite/open.ts';
import { newHead } from './changes.ts';
import type { Epoch, Head, Millis, Seq } from './event-log.ts';

/** What is known of a channel's end: as committed, except within an append. */
export type HeadState = {
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

/** The heads of one database. */
export class Heads {
  readonly #db: Database;
  readonly #max: number;
  readonly #known = new Map<ChannelId, HeadState>();

  /** At most `max` stay in memory. */
  constructor(db: Database, max: number) {
    this.#db = db;
    this.#max = max;
  }

  get(channel: ChannelId): HeadState | undefined {
    const known = this.#known.get(channel);
    if (known !== undefined) return known;
    const head = this.#read(channel);
    if (head !== undefined) this.#known.set(channel, head);
    return head;
  }

  /** The head of a new channel; it is known once it is kept. */
  begin(channel: ChannelId, now: Millis): HeadState | undefined {
    const { sql, values } = newHead(channel, now);
    this.#db.run(sql, ...values);
    return this.#read(channel);
  }

  keep(head: HeadState): void {
    this.#known.set(head.channel, head);
  }

  #read(channel: ChannelId): HeadState | undefined {
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

  /** Writes what an append has moved. */
  put({ key, seq, lastId, at, authoritySeq }: HeadState): void {
    this.#db.run(
      'UPDATE channel_head SET seq = ?, last_id = ?, at = ?, authority_seq = ? WHERE channel = ?',
      seq,
      lastId === null ? null : idBytes(lastId),
      at,
      authoritySeq,
      key,
    );
  }

  forget(channel: ChannelId): void {
    this.#known.delete(channel);
  }

  /** Makes room between batches: within one, a head that has moved is known here alone. */
  forgetSome(): void {
    if (this.#known.size > this.#max)
      for (const channel of [...this.#known.keys()].slice(this.#max / 2)) this.#known.delete(channel);
  }

  forgetAll(): void {
    this.#known.clear();
  }
}

/** A head as others see it. */
export const headOf = ({ channel, epoch, seq, lastId, authoritySeq, prunedTo }: HeadState): Head => ({
  channel,
  epoch,
  seq,
  id: lastId,
  authoritySeq,
  prunedTo,
});
