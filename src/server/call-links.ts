// Call links: a ticket first, then frames, each looked at, counted and passed on to the others in the call, and kept nowhere.
import type { Cancel, Clock } from '../ports.ts';
import { encodeReport, FRAME_TYPE, isReport, readFrameHead, readReport, TICKET_BYTES } from '../protocol/call-frame.ts';
import { ProtocolError } from '../protocol/errors.ts';
import {
  CALL_BUSY_MS,
  CALL_FRAME_RATE,
  CALL_OVER_RATE_MAX,
  CALL_REDIAL_MS,
  CALL_REPORT_MS,
  CALL_TALKER_MS,
  CALL_TALKERS_MAX,
} from '../protocol/limits.ts';
import { binaryFrame, CLOSE } from '../protocol/websocket.ts';
import { CallWindow } from './call-window.ts';
import type { Call, Calls, Person } from './calls.ts';
import type { Peer } from './context.ts';
import type { Counts } from './counts.ts';
import { Bucket } from './rates.ts';

/** One connection that somebody in a call speaks and listens on. Times are monotonic, in milliseconds. */
export type CallLink = {
  readonly peer: Peer;
  readonly person: Person;
  /** What goes out on it. */
  readonly window: CallWindow;
  readonly rate: Bucket;
  /** Messages over the rate; each within it makes up for one. */
  overRate: number;
  /** Frames that came, and how many of them were reported. */
  received: number;
  reported: number;
  lastAt: number;
  busyToldAt: number;
};

export type CallLinksPorts = {
  readonly calls: Calls;
  readonly clock: Clock;
  readonly counts: Counts;
  /** Tells somebody, beside the link, that too many speak. */
  readonly busy: (person: Person) => void;
};

/** All call links of a server. */
export class CallLinks implements Disposable {
  readonly #ports: CallLinksPorts;
  readonly #links = new Map<Peer, CallLink>();
  #cancel: Cancel | undefined;
  #isOver = false;

  constructor(ports: CallLinksPorts) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#links.size;
  }

  /** A message of a call link. Throws ProtocolError, with which the link ends. */
  message(peer: Peer, message: Uint8Array): void {
    const link = this.#links.get(peer);
    if (link === undefined) return this.#begin(peer, message);
    const now = this.#ports.clock.monotonic();
    const isOver = link.rate.take(now) > 0;
    link.overRate = Math.max(0, link.overRate + (isOver ? 1 : -1));
    if (link.overRate > CALL_OVER_RATE_MAX) return peer.close(CLOSE.policy, 'rate.limited');
    if (isReport(message)) return this.#report(link, message, now);
    this.#frame(link, message, { now, isOver });
  }

  /** A link is gone; who was on it may come back with another ticket. */
  closed(peer: Peer): void {
    const link = this.#links.get(peer);
    if (link === undefined) return;
    this.#links.delete(peer);
    const { person } = link;
    if (person.link !== link) return;
    person.link = undefined;
    person.leavesAt = this.#ports.clock.monotonic() + CALL_REDIAL_MS;
    this.#ports.calls.changed(person.call);
  }

  /** From the first person in a call on, until nobody is in one: reports, and who is away for too long. */
  watch(): void {
    const { clock, calls } = this.#ports;
    if (this.#isOver) return;
    this.#cancel ??= clock.after(CALL_REPORT_MS, () => {
      this.#cancel = undefined;
      this.#tick();
      if (calls.size > 0) this.watch();
    });
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#cancel?.();
  }

  #begin(peer: Peer, ticket: Uint8Array): void {
    const { calls, clock, counts } = this.#ports;
    if (ticket.length !== TICKET_BYTES) throw new ProtocolError('frame.invalid', { details: { why: 'ticket' } });
    const person = calls.redeem(ticket);
    if (person === undefined) {
      counts.add('loginFailures');
      return peer.close(CLOSE.policy, 'call.refused');
    }
    peer.prove();
    const before = person.link;
    const link: CallLink = {
      peer,
      person,
      window: new CallWindow(person.windowMs, () => counts.add('callFramesLate')),
      rate: new Bucket(CALL_FRAME_RATE, clock.monotonic()),
      overRate: 0,
      received: 0,
      reported: 0,
      lastAt: 0,
      busyToldAt: -Infinity,
    };
    person.link = link;
    this.#links.set(peer, link);
    before?.peer.close(CLOSE.normal, 'replaced');
    calls.changed(person.call);
  }

  #report({ peer, window }: CallLink, message: Uint8Array, now: number): void {
    const frames = window.report(readReport(message).received, now);
    if (frames === false) throw new ProtocolError('frame.invalid', { details: { why: 'report' } });
    for (const frame of frames) peer.send(frame);
    this.#ports.counts.add('callFramesForwarded', frames.length);
  }

  #frame(
    link: CallLink,
    message: Uint8Array,
    { now, isOver }: { readonly now: number; readonly isOver: boolean },
  ): void {
    const { counts } = this.#ports;
    const { type, stream } = readFrameHead(message);
    // The other types are for what is not built yet.
    if (type !== FRAME_TYPE.voice) throw new ProtocolError('frame.invalid', { details: { why: 'type' } });
    link.received++;
    link.lastAt = now;
    counts.add('callFrames');
    if (isOver || !this.#mayBeHeard(link, stream, now)) return counts.add('callFramesRefused');
    this.#forward(link.person, binaryFrame(message), now);
  }

  #mayBeHeard(link: CallLink, stream: Uint8Array, now: number): boolean {
    const { person } = link;
    if (person.muted || person.deafened) return false;
    if (person.silencedUntil > this.#ports.clock.now()) return false;
    if (!person.streams.some((one) => one.equals(stream))) return false;
    if (hasPlace(person.call, person, now)) return true;
    if (now - link.busyToldAt >= CALL_BUSY_MS) {
      link.busyToldAt = now;
      this.#ports.busy(person);
    }
    return false;
  }

  // Nobody hears himself, nor another device of his own.
  #forward({ call, member }: Person, frame: Uint8Array, now: number): void {
    let sent = 0;
    for (const { member: other, deafened, link } of call.people.values()) {
      if (link === undefined || deafened || other === member) continue;
      if (!link.window.offer(frame, now)) continue;
      link.peer.send(frame);
      sent++;
    }
    this.#ports.counts.add('callFramesForwarded', sent);
  }

  #tick(): void {
    const { calls, clock } = this.#ports;
    const now = clock.monotonic();
    for (const link of this.#links.values()) {
      link.window.dropOld(now);
      if (link.received === link.reported) continue;
      link.reported = link.received;
      link.peer.send(binaryFrame(encodeReport({ received: link.received, quietMs: now - link.lastAt })));
    }
    calls.sweep();
  }
}

/** Whether somebody is one of those who are heard, and takes a place when one is free. */
const hasPlace = ({ talkers }: Call, person: Person, now: number): boolean => {
  if (!talkers.has(person) && talkers.size >= CALL_TALKERS_MAX)
    for (const [one, at] of talkers) if (now - at >= CALL_TALKER_MS) talkers.delete(one);
  if (!talkers.has(person) && talkers.size >= CALL_TALKERS_MAX) return false;
  talkers.set(person, now);
  return true;
};
