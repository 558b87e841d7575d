// Who hears of which channel, and one write a reader a tick: finished frames are gathered and handed over at its end.

/** What a fan-out writes to: it gathers what it is sent in one turn into one write. */
export interface Reader {
  /** Takes finished frames, the same object for every reader. False when it wants no more, or was closed for being behind. */
  send(frames: Uint8Array): boolean;
}

/** Somebody is about to be told of a channel: it is over when they may no more. */
export type Ticket<R> = { readonly reader: R; readonly channel: string; isOver: boolean };

/** Subscriptions of one server, and what was delivered in this tick. */
export class Fanout<R extends Reader> {
  readonly #readers = new Map<string, Set<R>>();
  readonly #channels = new Map<R, Set<string>>();
  readonly #tickets = new Map<string, Set<Ticket<R>>>();
  readonly #later: (flush: () => void) => void;
  #pending = new Map<string, Uint8Array[]>();
  #scheduled = false;
  /** Frames handed to readers since the start. */
  delivered = 0;

  /** `later` runs a function at the end of this tick. */
  constructor(later: (flush: () => void) => void) {
    this.#later = later;
  }

  /** How many readers a channel has. */
  countOf(channel: string): number {
    return this.#readers.get(channel)?.size ?? 0;
  }

  readersOf(channel: string): Iterable<R> {
    return this.#readers.get(channel) ?? [];
  }

  channelsOf(reader: R): ReadonlySet<string> {
    return this.#channels.get(reader) ?? new Set();
  }

  /** Whether anybody reads a channel, or is about to. */
  isIdle(channel: string): boolean {
    return !this.#readers.has(channel) && !this.#tickets.has(channel);
  }

  /** Begun before it is looked whether the reader may; ended in any case. */
  begin(reader: R, channel: string): Ticket<R> {
    const ticket = { reader, channel, isOver: false };
    add(this.#tickets, channel, ticket);
    return ticket;
  }

  end(ticket: Ticket<R>): void {
    ticket.isOver = true;
    remove(this.#tickets, ticket.channel, ticket);
  }

  /** From now on: what waits in this tick was answered by the resume that comes before. */
  subscribe({ reader, channel }: Ticket<R>): void {
    this.#flush();
    add(this.#readers, channel, reader);
    add(this.#channels, reader, channel);
  }

  /** A reader may read a channel no more: what is told from now on does not reach it, whatever it has begun. */
  revoke(reader: R, channel: string): void {
    this.unsubscribe(reader, channel);
    for (const ticket of this.#tickets.get(channel) ?? []) if (ticket.reader === reader) ticket.isOver = true;
  }

  unsubscribe(reader: R, channel: string): void {
    this.#flush();
    remove(this.#readers, channel, reader);
    remove(this.#channels, reader, channel);
  }

  /** A reader is gone. */
  drop(reader: R): void {
    this.#flush();
    for (const tickets of this.#tickets.values())
      for (const ticket of tickets) if (ticket.reader === reader) ticket.isOver = true;
    for (const channel of this.#channels.get(reader) ?? []) remove(this.#readers, channel, reader);
    this.#channels.delete(reader);
  }

  /** Finished frames of a channel, in order. */
  deliver(channel: string, frames: readonly Uint8Array[]): void {
    if (!this.#readers.has(channel)) return;
    const pending = this.#pending.get(channel);
    if (pending === undefined) this.#pending.set(channel, [...frames]);
    else pending.push(...frames);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#later(() => this.#flush());
  }

  // A channel's frames become one chunk, the same for all its readers.
  #flush(): void {
    this.#scheduled = false;
    if (this.#pending.size === 0) return;
    const pending = this.#pending;
    this.#pending = new Map();
    for (const [channel, frames] of pending) {
      const chunk = joined(frames);
      for (const reader of this.#readers.get(channel) ?? []) {
        this.delivered += frames.length;
        reader.send(chunk);
      }
    }
  }
}

const joined = (frames: readonly Uint8Array[]): Uint8Array =>
  frames.length === 1 && frames[0] !== undefined ? frames[0] : Buffer.concat(frames);

const add = <K, V>(map: Map<K, Set<V>>, key: K, value: V): void => {
  const set = map.get(key);
  if (set === undefined) map.set(key, new Set([value]));
  else set.add(value);
};

const remove = <K, V>(map: Map<K, Set<V>>, key: K, value: V): void => {
  const set = map.get(key);
  if (set?.delete(value) === true && set.size === 0) map.delete(key);
};
