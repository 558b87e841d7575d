// The log of rooms as an interface: what is in a channel, in one order, committed before anybody is answered.
import { SottoError } from '../protocol/errors.ts';
import type { ChannelId, EventId, MemberId } from '../protocol/ids.ts';
import type { Change } from './changes.ts';

/** Which history a seq belongs to: a restored one starts another, which is more than the last. */
export type Epoch = number;
/** The place of an event in its channel: 1, 2, 3 … without holes; 0 is before the first. */
export type Seq = number;
/** Milliseconds since the Unix epoch. */
export type Millis = number;
/** One byte, opaque to the log. */
export type EventKind = number;

/** The last event that somebody holds; seq 0 and id null for none. */
export type Cursor = { readonly epoch: Epoch; readonly seq: Seq; readonly id: EventId | null };

/** The end of a channel, the last event that changed who may do what, and the last one that retention took away. */
export type Head = Cursor & { readonly channel: ChannelId; readonly authoritySeq: Seq; readonly prunedTo: Seq };

/** An event before it has a place. Nobody changes the bytes afterwards. */
export type Draft = {
  readonly channel: ChannelId;
  readonly id: EventId;
  readonly member: MemberId;
  readonly kind: EventKind;
  readonly body: Uint8Array<ArrayBuffer>;
  /** The `authoritySeq` up to which the permission to append it was checked. */
  readonly checkedAt: Seq;
  /** Rows that commit with the event, or it does not. */
  readonly changes: readonly Change[];
};

/**
 * Why an event is not in the log and will not be: `taken`, `spent`, `gone` and `no_such_…` come from its changes: a name or
 * an id belongs to another; an invite has no use left; what is to change is not there. `full`: somebody has as many as they may.
 */
export type RefusedCode =
  | 'no_such_channel'
  | 'no_such_device'
  | 'no_such_member'
  | 'archived'
  | 'id_taken'
  | 'slow_mode'
  | 'taken'
  | 'spent'
  | 'gone'
  | 'full';

export type Outcome =
  | { readonly kind: 'committed' | 'duplicate'; readonly seq: Seq; readonly at: Millis; readonly epoch: Epoch }
  /** Something that may forbid it was appended after `checkedAt`: follow, check again, append again. */
  | { readonly kind: 'stale'; readonly authoritySeq: Seq }
  | { readonly kind: 'refused'; readonly code: RefusedCode; readonly retryAfterMs?: number };

/** An event in its place: with its body, or once that is erased with the SHA-256 of it. */
export type Stored = {
  readonly seq: Seq;
  readonly id: EventId;
  readonly member: MemberId;
  readonly kind: EventKind;
  readonly at: Millis;
} & (
  | { readonly body: Uint8Array<ArrayBuffer>; readonly hash: null }
  | { readonly body: null; readonly hash: Uint8Array<ArrayBuffer> }
);

/** What has happened since a cursor. Not recovered: no events, and the reader begins at `head` with a visible gap. */
export type Resumed = {
  readonly channel: ChannelId;
  readonly recovered: boolean;
  readonly events: readonly Stored[];
  readonly head: Head;
};

/**
 * How much one call gives: at most `events` of each channel, and no more events once their bodies together have `bytes`
 * bytes; the first one is always given. `atLeast`: a seq that a replica must have reached before it may answer.
 */
export type PageLimit = { readonly events: number; readonly bytes: number; readonly atLeast?: Seq };

/**
 * Events in one order per channel, whoever appends. Every method rejects with `LogError` when the store cannot answer.
 *
 * A batch commits whole, except for its drafts that are stale, refused or duplicates; each event with its changes. Once
 * `append` resolves, neither kill -9 nor a power cut undoes it. The same (channel, id) again gives `duplicate` with the first
 * seq, also when it would be stale or refused by now; from another member `id_taken`. Within a batch, and between calls one
 * after another, events come in the order of the calls; `at` never falls within a channel.
 */
export interface EventLog extends AsyncDisposable {
  /** outcomes[i] answers batch[i]. */
  append(batch: readonly Draft[]): Promise<readonly Outcome[]>;
  /** From after+1 on, ascending; sees every commit that was answered before the call. Unknown channels are empty. */
  read(channel: ChannelId, after: Seq, limit: PageLimit): Promise<readonly Stored[]>;
  /** From before−1 down. */
  readBack(channel: ChannelId, before: Seq, limit: PageLimit): Promise<readonly Stored[]>;
  /**
   * Answers every cursor whose channel exists, in order. `limit.bytes` is for all of them together: a channel that got fewer
   * events than its head promises is asked for again.
   */
  resume(cursors: readonly (Cursor & { readonly channel: ChannelId })[], limit: PageLimit): Promise<readonly Resumed[]>;
  /** Unknown channels are absent. */
  heads(channels: readonly ChannelId[]): Promise<readonly Head[]>;
  /** The place of an event by its id; 0 when it is not there. */
  seqOf(channel: ChannelId, id: EventId): Promise<Seq>;
  /** The last event not later than `at`, 0 if none that is still there. */
  seqAt(channel: ChannelId, at: Millis): Promise<Seq>;
  /** Retention: removes the events up to and including `upTo`. Head and seq stay. */
  prune(channel: ChannelId, upTo: Seq): Promise<void>;
  /** Empties the bodies of events for good; their hashes stay. Events that say who may do what are left as they are. */
  erase(channel: ChannelId, seqs: readonly Seq[]): Promise<void>;
}

/**
 * The store did not answer: `server.unavailable` to whoever asked. `unavailable`: surely nothing was committed. `unknown`: it
 * may have been committed or may still be; appending the same again tells.
 */
export class LogError extends SottoError {
  readonly certainty: 'unavailable' | 'unknown';

  constructor(certainty: 'unavailable' | 'unknown', options?: { readonly cause: unknown }) {
    super('server.unavailable', options);
    this.name = 'LogError';
    this.certainty = certainty;
  }
}
