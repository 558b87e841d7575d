// The calls of this server: who is in which, what they have switched, and their tickets. It is in memory only.
import type { Clock, Random } from '../ports.ts';
import { toHex } from '../protocol/bytes.ts';
import { TICKET_BYTES } from '../protocol/call-frame.ts';
import { type ErrorCode, SottoError } from '../protocol/errors.ts';
import { type ChannelId, type DeviceId, type MemberId, type RowId, timedId } from '../protocol/ids.ts';
import {
  CALL_DEVICES_MAX,
  CALL_PEOPLE_MAX,
  CALL_REDIAL_MS,
  CALL_STREAMS_MAX,
  CALL_TELL_MS,
  CALL_TICKET_MS,
  CALLS_MAX,
} from '../protocol/limits.ts';
import { CLOSE } from '../protocol/websocket.ts';
import type { CallLink } from './call-links.ts';

/** Where a call is: in a channel, or between two members, the lower id first. */
export type CallPlace =
  | { readonly kind: 'channel'; readonly channel: ChannelId }
  | { readonly kind: 'members'; readonly members: readonly [MemberId, MemberId] };

export type Call = {
  readonly id: RowId;
  readonly place: CallPlace;
  readonly startedAt: number;
  readonly people: Map<DeviceId, Person>;
  /** Who is heard now, with the time of their last frame: monotonic. */
  readonly talkers: Map<Person, number>;
};

/** A device in a call. */
export type Person = {
  readonly member: MemberId;
  readonly device: DeviceId;
  readonly call: Call;
  muted: boolean;
  deafened: boolean;
  /** Muted by the channel until then, as the clock tells the time of day. */
  silencedUntil: number;
  windowMs: number;
  /** Ids of the streams that are let through, the newest last. */
  streams: readonly Buffer[];
  ticket: string | undefined;
  link: CallLink | undefined;
  /** Without a link they leave then: monotonic. */
  leavesAt: number;
};

/** What somebody brings who joins. */
export type Joining = Pick<Person, 'member' | 'device' | 'muted' | 'deafened' | 'silencedUntil' | 'windowMs'>;

export type CallsPorts = {
  readonly clock: Clock;
  readonly random: Random;
  /** A call is another than it was; it is over when nobody is in it. At most once in CALL_TELL_MS. */
  readonly changed: (call: Call) => void;
};

/** Who is in which call. */
export class Calls {
  readonly #ports: CallsPorts;
  readonly #calls = new Map<string, Call>();
  readonly #members = new Map<MemberId, Set<Person>>();
  readonly #tickets = new Map<string, { readonly person: Person; readonly until: number }>();
  readonly #changed = new Set<Call>();

  constructor(ports: CallsPorts) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** All calls, those that began first first. */
  all(): Iterable<Call> {
    return this.#calls.values();
  }

  /** The place of a device in a call. Throws `call.unknown`. */
  find(place: CallPlace, device: DeviceId): Person {
    const person = this.#calls.get(keyOf(place))?.people.get(device);
    if (person === undefined) throw new SottoError('call.unknown');
    return person;
  }

  /**
   * Puts a device into the call of a place, which begins with the first; who is in stays, with what they bring now. Nobody is
   * told before `changed`. Throws `call.full`, `call.tooMany`, `server.busy`.
   */
  join(place: CallPlace, joining: Joining): Person {
    const known = this.#calls.get(keyOf(place));
    const here = known?.people.get(joining.device);
    if (here !== undefined) return Object.assign(here, joining);
    const own = this.#members.get(joining.member) ?? new Set();
    if (own.size >= CALL_DEVICES_MAX) throw new SottoError('call.tooMany');
    if (known === undefined && this.#calls.size >= CALLS_MAX) throw new SottoError('server.busy');
    if (known !== undefined && known.people.size >= CALL_PEOPLE_MAX) throw new SottoError('call.full');
    const call = known ?? this.#begin(place);
    const leavesAt = this.#ports.clock.monotonic() + CALL_REDIAL_MS;
    const person: Person = { ...joining, call, streams: [], ticket: undefined, link: undefined, leavesAt };
    call.people.set(person.device, person);
    this.#members.set(person.member, own.add(person));
    return person;
  }

  /** TICKET_BYTES with which one call link may begin, once, within CALL_TICKET_MS; the one before is worth nothing. */
  issue(person: Person): Uint8Array<ArrayBuffer> {
    this.#forgetTicket(person);
    const { clock, random } = this.#ports;
    const ticket = random.bytes(TICKET_BYTES);
    person.ticket = toHex(ticket);
    const until = clock.monotonic() + CALL_TICKET_MS;
    this.#tickets.set(person.ticket, { person, until });
    // Their place is kept as long as it lets them in.
    if (person.link === undefined) person.leavesAt = Math.max(person.leavesAt, until);
    return ticket;
  }

  /** Whose ticket it is: it is spent then. Undefined when it is nobody's, was used, or is too old. */
  redeem(ticket: Uint8Array): Person | undefined {
    const key = toHex(ticket);
    const found = this.#tickets.get(key);
    this.#tickets.delete(key);
    return found !== undefined && found.until > this.#ports.clock.monotonic() ? found.person : undefined;
  }

  /** Lets frames of a stream through. Throws `request.invalid` for one of somebody else. */
  addStream(person: Person, stream: Buffer): void {
    for (const other of person.call.people.values())
      if (other !== person && isOneOf(other.streams, stream))
        throw new SottoError('request.invalid', { details: { why: 'stream' } });
    if (isOneOf(person.streams, stream)) return;
    person.streams = [...person.streams, stream].slice(-CALL_STREAMS_MAX);
  }

  /** They are in the call no more, and their link ends with the reason. */
  leave(person: Person, why: ErrorCode | 'left'): void {
    const { call, member, device, link } = person;
    if (call.people.get(device) !== person) return;
    call.people.delete(device);
    call.talkers.delete(person);
    const own = this.#members.get(member);
    if (own?.delete(person) === true && own.size === 0) this.#members.delete(member);
    this.#forgetTicket(person);
    person.link = undefined;
    link?.peer.close(why === 'left' ? CLOSE.normal : CLOSE.policy, why);
    if (call.people.size === 0) this.#calls.delete(keyOf(call.place));
    this.changed(call);
  }

  /** A member, or one device of theirs, may be in no call any more, or in none of this channel. */
  shutOut(
    member: MemberId,
    why: ErrorCode,
    only: { readonly device?: DeviceId; readonly channel?: ChannelId } = {},
  ): void {
    for (const person of [...(this.#members.get(member) ?? [])]) {
      if (only.device !== undefined && person.device !== only.device) continue;
      if (only.channel !== undefined && !isIn(person, only.channel)) continue;
      this.leave(person, why);
    }
  }

  /** A member is no more: nobody stays in a call in which they were the other of two. */
  endWith(member: MemberId, why: ErrorCode): void {
    for (const { place, people } of [...this.#calls.values()])
      if (place.kind === 'members' && place.members.includes(member))
        for (const person of [...people.values()]) this.leave(person, why);
  }

  /** A channel has muted a member until then, or lets them speak: what they send is not heard from now on. */
  silence(channel: ChannelId, member: MemberId, until: number): void {
    for (const person of this.#members.get(member) ?? []) if (isIn(person, channel)) person.silencedUntil = until;
  }

  /** Nobody speaks in a channel any more. */
  end(channel: ChannelId, why: ErrorCode): void {
    for (const person of [...(this.#calls.get(channel)?.people.values() ?? [])]) this.leave(person, why);
  }

  /** Who has no link any more for too long leaves. */
  sweep(): void {
    const now = this.#ports.clock.monotonic();
    for (const call of [...this.#calls.values()])
      for (const person of [...call.people.values()])
        if (person.link === undefined && person.leavesAt <= now) this.leave(person, 'left');
    for (const [key, { until }] of this.#tickets) if (until <= now) this.#tickets.delete(key);
  }

  /** Others are told within CALL_TELL_MS, of all that changes meanwhile at once. */
  changed(call: Call): void {
    if (this.#changed.size === 0) this.#ports.clock.after(CALL_TELL_MS, () => this.#tell());
    this.#changed.add(call);
  }

  #tell(): void {
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const call of changed) this.#ports.changed(call);
  }

  #begin(place: CallPlace): Call {
    const { clock, random } = this.#ports;
    const startedAt = clock.now();
    const id = timedId<RowId>(startedAt, random.bytes(10));
    const call: Call = { id, place, startedAt, people: new Map(), talkers: new Map() };
    this.#calls.set(keyOf(place), call);
    return call;
  }

  #forgetTicket(person: Person): void {
    if (person.ticket !== undefined) this.#tickets.delete(person.ticket);
    person.ticket = undefined;
  }
}

const keyOf = (place: CallPlace): string => (place.kind === 'channel' ? place.channel : place.members.join());

const isIn = ({ call: { place } }: Person, channel: ChannelId): boolean =>
  place.kind === 'channel' && place.channel === channel;

const isOneOf = (streams: readonly Buffer[], stream: Uint8Array): boolean => streams.some((one) => one.equals(stream));
