// How a node stays level with the log: own commits and those of others enter alike, what is missing is noticed and read.
import type { ChannelId, EventId } from '../protocol/ids.ts';
import {
  GAP_MS,
  HELD_BATCHES_MAX,
  HELD_BYTES_MAX,
  RING_BYTES_MAX,
  RING_EVENTS_MAX,
  RINGS_BYTES_MAX,
} from '../protocol/limits.ts';
import type { Cursor, Epoch, Head, Seq } from './event-log.ts';

/** The finished frame of one event, the same bytes for every reader. */
export type Frame = Uint8Array;

/** Events one after another in a channel, as finished frames. */
export type Batch = {
  readonly channel: ChannelId;
  readonly epoch: Epoch;
  readonly first: Seq;
  /** The id of the last one. */
  readonly lastId: EventId;
  readonly frames: readonly Frame[];
};

/** What the log answered to a `resume` step's cursor. `batch` is absent when it has nothing more yet. */
export type Caught = {
  readonly cursor: ChannelCursor;
  readonly head: Head;
  readonly recovered: boolean;
  readonly batch: Batch | undefined;
};
export type ChannelCursor = Cursor & { readonly channel: ChannelId };

/** What its owner is to do, in this order. */
export type Step =
  /** To every reader of the channel, each event once and in order. */
  | { readonly kind: 'deliver'; readonly channel: ChannelId; readonly first: Seq; readonly frames: readonly Frame[] }
  /** Ask the log's `resume`, and answer with `caught` or `failed`. */
  | { readonly kind: 'resume'; readonly cursor: ChannelCursor }
  /** Ask the log's `heads`, and answer with `head`; a channel that is not there: `unfollow`. */
  | { readonly kind: 'check'; readonly channel: ChannelId }
  /** Every reader of the channel is told `recovered: false`, and begins after this head. */
  | { readonly kind: 'begin'; readonly channel: ChannelId; readonly head: Head }
  /** The log has lost events that were told: start a new epoch, then answer with `head`. */
  | { readonly kind: 'lost'; readonly channel: ChannelId; readonly head: Head };

type Place = { epoch: Epoch; next: Seq; lastId: EventId | null };

type Followed = {
  readonly channel: ChannelId;
  /** Undefined until the first head is known: what comes before is held. */
  place: Place | undefined;
  /** The highest seq that anybody has told of. */
  seen: Seq;
  held: Batch[];
  heldBytes: number;
  isReading: boolean;
  readonly ring: Ring;
};

/** The state of all followed channels. Pure: `now` is monotonic milliseconds, and what must happen comes back as steps. */
export class Follow {
  readonly #idOf: (frame: Frame) => EventId;
  readonly #channels = new Map<ChannelId, Followed>();
  /** When to ask the log for what is missing. */
  readonly #gaps = new Map<ChannelId, number>();
  /** Channels with frames in memory, those that have been quiet for longest first. */
  readonly #rings = new Map<ChannelId, Ring>();
  #ringBytes = 0;

  /** `idOf` reads an event's id out of its frame. */
  constructor(idOf: (frame: Frame) => EventId) {
    this.#idOf = idOf;
  }

  /** Bytes of all frames in memory; at most RINGS_BYTES_MAX. */
  get ringBytes(): number {
    return this.#ringBytes;
  }

  /** Begins with a channel: from now on everything about it may come. Nothing when it is followed already. */
  follow(channel: ChannelId): Step[] {
    if (this.#channels.has(channel)) return [];
    this.#channels.set(channel, {
      channel,
      place: undefined,
      seen: 0,
      held: [],
      heldBytes: 0,
      isReading: false,
      ring: new Ring(),
    });
    return [{ kind: 'check', channel }];
  }

  unfollow(channel: ChannelId): void {
    const followed = this.#channels.get(channel);
    if (followed === undefined) return;
    this.#empty(followed);
    this.#channels.delete(channel);
    this.#gaps.delete(channel);
  }

  /** A commit of this node, or what another one has told. */
  take(batch: Batch, now: number): Step[] {
    const followed = this.#channels.get(batch.channel);
    if (followed === undefined || batch.frames.length === 0) return [];
    const { place } = followed;
    if (place !== undefined && place.epoch !== batch.epoch) return [{ kind: 'check', channel: batch.channel }];
    followed.seen = Math.max(followed.seen, lastOf(batch));
    if (place === undefined || batch.first > place.next) hold(followed, batch);
    else return this.#level(followed, now, this.#enter(followed, place, batch));
    return this.#level(followed, now, []);
  }

  /** The answer to a `check`, or to any other look at the log's heads. */
  head(head: Head, now: number): Step[] {
    const followed = this.#channels.get(head.channel);
    if (followed === undefined) return [];
    const { place } = followed;
    if (place === undefined) {
      followed.place = { epoch: head.epoch, next: head.seq + 1, lastId: head.id };
      return this.#level(followed, now, this.#drain(followed));
    }
    if (head.epoch !== place.epoch) return this.#beginAt(followed, head, now);
    if (head.seq < place.next - 1 || (head.seq === place.next - 1 && head.id !== place.lastId))
      return [{ kind: 'lost', channel: head.channel, head }];
    followed.seen = Math.max(followed.seen, head.seq);
    return head.seq < place.next ? [] : this.#ask(followed);
  }

  /** The answer to a `resume`. */
  caught({ cursor, head, recovered, batch }: Caught, now: number): Step[] {
    const followed = this.#asker(cursor);
    const place = followed?.place;
    if (followed === undefined || place === undefined) return [];
    followed.isReading = false;
    if (head.epoch !== place.epoch) return this.#beginAt(followed, head, now);
    if (!recovered) {
      if (head.prunedTo <= cursor.seq) return [{ kind: 'lost', channel: head.channel, head }];
      // Retention has overtaken the question, but not necessarily what was told since.
      return head.prunedTo < place.next ? this.head(head, now) : this.#beginAt(followed, head, now);
    }
    followed.seen = Math.max(followed.seen, head.seq);
    const before = place.next;
    const steps = batch === undefined || batch.first > before ? [] : this.#enter(followed, place, batch);
    const isMore = place.next > before && place.next <= followed.seen;
    return isMore ? [...steps, ...this.#ask(followed)] : this.#level(followed, now, steps);
  }

  /** A `resume` got no answer: it is asked again a moment later. */
  failed(cursor: ChannelCursor, now: number): Step[] {
    const followed = this.#asker(cursor);
    if (followed === undefined) return [];
    followed.isReading = false;
    return this.#level(followed, now, []);
  }

  /** When `due` must be called next, in monotonic milliseconds; undefined while nothing is missing. */
  nextDue(): number | undefined {
    let next: number | undefined;
    for (const at of this.#gaps.values()) if (next === undefined || at < next) next = at;
    return next;
  }

  /** Asks for what has been missing long enough. */
  due(now: number): Step[] {
    const due = [...this.#gaps].filter(([, at]) => at <= now);
    return due.flatMap(([channel]) => {
      const followed = this.#channels.get(channel);
      return followed === undefined ? [] : this.#ask(followed);
    });
  }

  /** Whether anything of a channel is taken. */
  follows(channel: ChannelId): boolean {
    return this.#channels.has(channel);
  }

  /** Where the channel is; undefined while its first head is not known. */
  cursor(channel: ChannelId): Cursor | undefined {
    const place = this.#channels.get(channel)?.place;
    return place && { epoch: place.epoch, seq: place.next - 1, id: place.lastId };
  }

  /** The frames after a cursor, when all of them and the cursor's own event are in memory; undefined: ask the log. */
  since(channel: ChannelId, { epoch, seq, id }: Cursor): readonly Frame[] | undefined {
    const followed = this.#channels.get(channel);
    const place = followed?.place;
    if (followed === undefined || place === undefined || epoch !== place.epoch || seq >= place.next) return undefined;
    if (seq === place.next - 1) return id === place.lastId ? [] : undefined;
    const { ring } = followed;
    if (seq === 0) return id === null && ring.first === 1 ? ring.after(0) : undefined;
    const own = ring.at(seq);
    return own !== undefined && this.#idOf(own) === id ? ring.after(seq) : undefined;
  }

  /** The body of an event was erased: no frame of it, nor any older one, stays in memory. */
  forget(channel: ChannelId, seq: Seq): void {
    const followed = this.#channels.get(channel);
    if (followed === undefined) return;
    this.#ringBytes -= followed.ring.dropTo(seq);
    if (followed.ring.size === 0) this.#rings.delete(channel);
  }

  // A question of an epoch that has ended meanwhile is nobody's any more.
  #asker({ channel, epoch }: ChannelCursor): Followed | undefined {
    const followed = this.#channels.get(channel);
    return followed?.place?.epoch === epoch && followed.isReading ? followed : undefined;
  }

  /** Delivers what of a batch is new, and after it whatever was held for then. */
  #enter(followed: Followed, place: Place, batch: Batch): Step[] {
    const { channel } = followed;
    const frames = batch.first === place.next ? batch.frames : batch.frames.slice(place.next - batch.first);
    if (frames.length === 0) return [];
    const first = place.next;
    place.next += frames.length;
    place.lastId = batch.lastId;
    this.#remember(followed, first, frames);
    return [{ kind: 'deliver', channel, first, frames }, ...this.#drain(followed)];
  }

  #drain(followed: Followed): Step[] {
    const { place } = followed;
    if (place === undefined) return [];
    followed.held = followed.held.filter((batch) => batch.epoch === place.epoch && lastOf(batch) >= place.next);
    followed.heldBytes = followed.held.reduce((sum, batch) => sum + bytesOf(batch), 0);
    const at = followed.held.findIndex((batch) => batch.first <= place.next);
    const [batch] = at === -1 ? [] : followed.held.splice(at, 1);
    return batch === undefined ? [] : this.#enter(followed, place, batch);
  }

  // Whether something is missing is looked at after every change: then the log is asked GAP_MS later, unless it comes first.
  #level(followed: Followed, now: number, steps: Step[]): Step[] {
    const { channel, place, seen, isReading } = followed;
    if (place === undefined || isReading) return steps;
    if (seen < place.next) this.#gaps.delete(channel);
    else if (!this.#gaps.has(channel)) this.#gaps.set(channel, now + GAP_MS);
    return steps;
  }

  #ask(followed: Followed): Step[] {
    const { channel, place, isReading } = followed;
    this.#gaps.delete(channel);
    if (isReading || place === undefined) return [];
    followed.isReading = true;
    return [{ kind: 'resume', cursor: { channel, epoch: place.epoch, seq: place.next - 1, id: place.lastId } }];
  }

  #beginAt(followed: Followed, head: Head, now: number): Step[] {
    followed.place = { epoch: head.epoch, next: head.seq + 1, lastId: head.id };
    followed.seen = head.seq;
    followed.isReading = false;
    this.#empty(followed);
    return this.#level(followed, now, [{ kind: 'begin', channel: head.channel, head }]);
  }

  #empty(followed: Followed): void {
    this.#ringBytes -= followed.ring.clear();
    this.#rings.delete(followed.channel);
    followed.held = [];
    followed.heldBytes = 0;
  }

  #remember({ channel, ring }: Followed, first: Seq, frames: readonly Frame[]): void {
    this.#ringBytes += ring.add(first, frames);
    this.#rings.delete(channel);
    this.#rings.set(channel, ring);
    for (const [quiet, other] of this.#rings) {
      if (this.#ringBytes <= RINGS_BYTES_MAX) return;
      this.#ringBytes -= other.clear();
      this.#rings.delete(quiet);
    }
  }
}

const lastOf = ({ first, frames }: Batch): Seq => first + frames.length - 1;
const bytesOf = ({ frames }: Batch): number => frames.reduce((sum, frame) => sum + frame.length, 0);

// What does not fit is dropped: the log has it.
const hold = (followed: Followed, batch: Batch): void => {
  const bytes = bytesOf(batch);
  if (followed.held.length >= HELD_BATCHES_MAX || followed.heldBytes + bytes > HELD_BYTES_MAX) return;
  followed.held.push(batch);
  followed.heldBytes += bytes;
};

/** The newest frames of one channel, without a hole: at most RING_EVENTS_MAX, RING_BYTES_MAX. */
class Ring {
  /** Those before `#from` were dropped: they are moved away together. */
  #frames: (Frame | undefined)[] = [];
  #from = 0;
  #first: Seq = 0;
  #bytes = 0;

  get first(): Seq {
    return this.#first;
  }

  get size(): number {
    return this.#frames.length - this.#from;
  }

  at(seq: Seq): Frame | undefined {
    return seq < this.#first ? undefined : this.#frames[this.#from + seq - this.#first];
  }

  after(seq: Seq): readonly Frame[] {
    return this.#frames.slice(this.#from + seq + 1 - this.#first) as Frame[];
  }

  /** Gives by how many bytes the ring has grown; negative when it has shrunk. */
  add(first: Seq, frames: readonly Frame[]): number {
    const before = this.#bytes;
    if (this.size === 0) this.#first = first;
    for (const frame of frames) {
      this.#frames.push(frame);
      this.#bytes += frame.length;
    }
    while (this.size > RING_EVENTS_MAX || this.#bytes > RING_BYTES_MAX) this.#dropOldest();
    return this.#bytes - before;
  }

  /** Drops everything up to `seq`; gives how many bytes that were. */
  dropTo(seq: Seq): number {
    const before = this.#bytes;
    while (this.size > 0 && this.#first <= seq) this.#dropOldest();
    return before - this.#bytes;
  }

  /** Drops everything; gives how many bytes that were. */
  clear(): number {
    const before = this.#bytes;
    this.#frames = [];
    this.#from = 0;
    this.#bytes = 0;
    return before;
  }

  #dropOldest(): void {
    this.#bytes -= this.#frames[this.#from]?.length ?? 0;
    this.#frames[this.#from++] = undefined;
    this.#first++;
    if (this.#from < RING_EVENTS_MAX && this.size > 0) return;
    this.#frames = this.#frames.slice(this.#from);
    this.#from = 0;
  }
}
