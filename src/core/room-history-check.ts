// Whether what another member shows of the past of a channel is what was: signatures, places of controls, counts of devices, what others have seen.
import type { ChannelState, ControlEvent } from '../crypto/channel-state.ts';
import { judgeContent } from '../crypto/channel-state.ts';
import { replay } from '../crypto/membership.ts';
import { type EventHeader, firstSeen, readEventHeader, type Seen } from '../crypto/room-event.ts';
import { isEqual } from '../protocol/bytes.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { type EventId, idBytes, type MemberId, timeOfId } from '../protocol/ids.ts';
import type { Content, UnknownContent } from '../protocol/room-content.ts';
import type { HistoryEntry } from '../protocol/room-history.ts';
import type { LogEvent } from '../protocol/server-frames.ts';
import type { ChannelRow } from '../store/channels.ts';
import type { HeldRow } from '../store/room-events.ts';
import type { ServerRow } from '../store/servers.ts';
import type { ShareRow } from '../store/shares.ts';
import type { Core } from './core.ts';
import { endsByItself } from './room-apply.ts';
import { compareSeen, seenIn } from './room-doubts.ts';
import { openContent, openControl } from './room-open.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** What stands at one place, proven. */
export type Proven = {
  readonly seq: number;
  readonly id: EventId;
  readonly hash: Bytes;
  /** When: by the server for controls, by its author for contents, in the order of the log. */
  readonly at: number;
} & (
  | { readonly kind: 'absent' }
  | { readonly kind: 'refused'; readonly why: string }
  | {
      readonly kind: 'control';
      readonly event: ControlEvent;
      readonly before: ChannelState | undefined;
      readonly after: ChannelState | undefined;
    }
  | {
      readonly kind: 'content';
      readonly header: EventHeader;
      readonly content: Content | UnknownContent;
      readonly signed: Bytes;
      readonly state: ChannelState;
    }
);

type Erasure = {
  readonly seq: number;
  readonly target: EventId;
  readonly by: MemberId;
  readonly before: ChannelState;
};

type Looked = {
  readonly channel: ChannelRow;
  readonly share: ShareRow;
  /** The sharer and I: what we have seen confirms nothing. */
  readonly own: ReadonlySet<MemberId>;
};

/**
 * Looks at a stretch of a log, place by place, beside the controls that the server shows. A sharer can leave out the content of a
 * place, which is told, and nothing else: what does not fit throws ProtocolError `event.*`.
 */
export class HistoryCheck {
  readonly proven: Proven[] = [];
  /** The last count of each device. */
  readonly counts = new Map<string, number>();
  /** Places where the count of a device jumps and nothing is absent. */
  readonly jumps: number[] = [];
  /** What was erased behind the stretch, by whom, and what the channel was then. */
  readonly erasures: Erasure[] = [];
  readonly #core: Core;
  readonly #server: ServerRow;
  readonly #channel: ChannelRow;
  readonly #share: ShareRow;
  readonly #own: ReadonlySet<MemberId>;
  readonly #controls: ReadonlyMap<number, LogEvent>;
  /** What stands where, as far as it is known. */
  readonly #log = new Map<number, Seen & { readonly kind: string }>();
  readonly #confirmed = new Set<number>();
  readonly #witnesses = new Set<MemberId>();
  #state: ChannelState | undefined;
  #at = 0;
  #absent = 0;

  constructor(core: Core, server: ServerRow, { channel, share, own }: Looked, controls: readonly LogEvent[]) {
    this.#own = own;
    this.#core = core;
    this.#server = server;
    this.#channel = channel;
    this.#share = share;
    this.#controls = new Map(controls.map((event) => [event.seq, event]));
    for (const event of controls) if (event.seq < share.fromSeq) this.#control(event);
  }

  /** Others who have seen some of it as it is, and how many of its places they have. */
  get confirmed(): { readonly by: readonly MemberId[]; readonly events: number } {
    return { by: [...this.#witnesses], events: this.#confirmed.size };
  }

  /** The next place of the stretch. */
  take(entry: HistoryEntry): void {
    const seq = this.#share.fromSeq + this.proven.length;
    const control = this.#controls.get(seq);
    const place = { seq, id: entry.id, hash: entry.hash };
    const stands = { seq, eventId: idBytes(entry.id), hash: entry.hash };
    if (control !== undefined) {
      const before = this.#state;
      const { event, why } = this.#control(control);
      this.#log.set(seq, { ...stands, kind: kindOf(event, why) });
      if (event.header.id !== entry.id || !isEqual(event.bodyHash, entry.hash)) throw forged('control');
      const at = this.#at;
      if (why !== undefined) this.proven.push({ ...place, kind: 'refused', at, why });
      else this.proven.push({ ...place, kind: 'control', at, event, before, after: this.#state });
      return;
    }
    if (entry.kind === 'control') throw forged('control');
    this.#log.set(seq, { ...stands, kind: entry.kind });
    if (entry.kind === 'content') this.#content(place, entry.signed);
    else this.#leaveOut(place);
  }

  /** A place behind the stretch, in order: its control, or what was read here. */
  later({ seq, eventId, hash, signed }: HeldRow): void {
    const control = this.#controls.get(seq);
    const before = this.#state;
    const opened = control === undefined ? undefined : this.#control(control);
    const kind = opened === undefined ? 'content' : kindOf(opened.event, opened.why);
    if (hash !== null) this.#log.set(seq, { seq, eventId, hash, kind });
    const said = opened?.event.control;
    if (opened !== undefined && said?.op === 'erase' && before !== undefined)
      this.erasures.push({ seq, target: said.target, by: opened.event.header.sender, before });
    if (opened !== undefined || signed === null) return;
    const header = readEventHeader(signed);
    this.#count(header, seq);
    this.#compare(header, seq);
  }

  #control(shown: LogEvent): { readonly event: ControlEvent; readonly why: string | undefined } {
    const event = openControl(this.#core, this.#server, this.#channel, this.#state, shown);
    const { state, outcomes } = replay(this.#state, [event]);
    const [outcome] = outcomes;
    this.#state = state ?? this.#state;
    this.#at = shown.at;
    this.#count(event.header, shown.seq);
    return { event, why: outcome?.kind === 'refused' ? outcome.why : undefined };
  }

  #content(place: Omit<Proven, 'kind' | 'at'>, signed: Bytes): void {
    const claimed = readEventHeader(signed);
    if (claimed.id !== place.id || timeOfId(place.id) === undefined) throw forged('id');
    const opened = this.#open(claimed, signed);
    // Who the server does not know any more cannot be proven to have said it.
    if (opened === undefined || endsByItself(opened.content)) return this.#leaveOut(place);
    const { header, content } = opened;
    this.#count(header, place.seq);
    this.#compare(header, place.seq);
    this.#at = Math.max(this.#at, Math.min(timeOfId(place.id) ?? 0, this.#nextAt(place.seq)));
    const at = this.#at;
    const state = this.#state;
    const why = state === undefined ? 'notCreated' : judgeContent(state, { header, kind: content.kind, at });
    if (state === undefined || why !== undefined)
      this.proven.push({ ...place, kind: 'refused', at, why: why ?? 'notCreated' });
    else this.proven.push({ ...place, kind: 'content', at, header, content, signed, state });
  }

  #open({ id, sender }: EventHeader, signed: Bytes) {
    try {
      return openContent(this.#core, this.#server, this.#channel, { id, sender, signed });
    } catch (error) {
      if (error instanceof SottoError && error.details.why === 'device') return undefined;
      throw error;
    }
  }

  #leaveOut(place: Omit<Proven, 'kind' | 'at'>): void {
    this.#absent++;
    this.proven.push({ ...place, kind: 'absent', at: this.#at });
  }

  #count({ device, n }: EventHeader, seq: number): void {
    const last = this.counts.get(device);
    if (last !== undefined && n <= last) throw forged('n');
    const isInside = seq >= this.#share.fromSeq && seq <= this.#share.toSeq;
    if (last !== undefined && n - last - 1 > this.#absent && isInside) this.jumps.push(seq);
    this.counts.set(device, n);
  }

  // What its author had seen up to then, as far as we are shown all of that.
  #compare(header: EventHeader, seq: number): void {
    const { sender, seenSeq } = header;
    if (seenSeq === 0 || this.#state === undefined) return;
    if (seenSeq >= seq) throw forged('history');
    const held: (Seen & { readonly kind: string })[] = [];
    for (let at = firstSeen(1, seenSeq); at <= seenSeq; at++) {
      const one = this.#log.get(at);
      if (one !== undefined) held.push(one);
    }
    for (const [i, { from, hash }] of seenIn(held, this.#state, sender, seenSeq).entries()) {
      const outcome = compareSeen(header, hash, i);
      if (outcome === 'differs') throw forged('history');
      if (outcome === 'same') this.#confirm(sender, from, seenSeq);
    }
  }

  #confirm(by: MemberId, from: number, to: number): void {
    const { fromSeq, toSeq } = this.#share;
    if (this.#own.has(by) || to < fromSeq || from > toSeq) return;
    this.#witnesses.add(by);
    for (let at = Math.max(from, fromSeq); at <= Math.min(to, toSeq); at++) this.#confirmed.add(at);
  }

  // When the next control came: what was said before it is not younger.
  #nextAt(seq: number): number {
    for (let next = seq + 1; next <= this.#share.toSeq + 1; next++) {
      const control = this.#controls.get(next);
      if (control !== undefined) return control.at;
    }
    return Number.MAX_SAFE_INTEGER;
  }
}

// As it is kept where it was taken.
const kindOf = ({ control }: ControlEvent, why: string | undefined): string =>
  why === undefined ? control.op : 'refused';

/** Something that is shown is not what was. */
export const forged = (why: string): ProtocolError => new ProtocolError('event.forged', { details: { why } });
