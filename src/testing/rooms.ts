// Members of a server and a channel for tests: real keys, certificates and signed events, in a log that is a list.

import type { ChannelState, ControlEvent } from '../crypto/channel-state.ts';
import { judgeControl } from '../crypto/channel-state.ts';
import {
  type DeviceCertificate,
  makeDeviceCertificate,
  memberSecrets,
  readDeviceCertificate,
} from '../crypto/member.ts';
import { type Outcome, replay } from '../crypto/membership.ts';
import { type Bytes, ed25519Public, sha256 } from '../crypto/primitives.ts';
import {
  creationScope,
  type EventHeader,
  headOf,
  openEvent,
  type Scope,
  type SigningKeys,
  signEvent,
  ZERO_HASH,
} from '../crypto/room-event.ts';
import { signalIdentity } from '../crypto/session.ts';
import type { SignalIdentity } from '../crypto/signal-stores.ts';
import type { DeviceId, EventId, MemberId } from '../protocol/ids.ts';
import { type Control, decodeControl, EVENT_KIND } from '../protocol/room-content.ts';

export const SERVER_SEED = new Uint8Array(32).fill(0x51);
export const SERVER_ID = ed25519Public(SERVER_SEED);

/** Somebody on a server, with one device. */
export type TestMember = {
  readonly id: MemberId;
  readonly device: DeviceId;
  readonly memberSeed: Bytes;
  readonly deviceSeed: Bytes;
  readonly signal: SignalIdentity;
  readonly certificate: Bytes;
  readonly certified: DeviceCertificate;
};

/** The same `n` below 256 makes the same keys. `copy` is which of the member's devices. */
export const testMember = (n: number, serverId: Uint8Array = SERVER_ID, copy = 0): TestMember => {
  const secrets = memberSecrets(new Uint8Array(32).fill(n), serverId);
  const deviceSeed = sha256(Uint8Array.of(n, copy));
  const keys = { signingKey: ed25519Public(deviceSeed), signalKey: secrets.signalKey, serial: 1 + copy };
  const certificate = makeDeviceCertificate(serverId, secrets.memberSeed, keys);
  const certified = readDeviceCertificate(certificate, serverId);
  return {
    id: certified.member,
    device: certified.device,
    memberSeed: secrets.memberSeed,
    deviceSeed,
    signal: signalIdentity(secrets.signalSecret),
    certificate,
    certified,
  };
};

/** Event ids in order: the layout of UUIDv7. */
export const testEventId = (n: number): EventId =>
  `${n.toString(16).padStart(12, '0')}70008${'0'.repeat(15)}` as EventId;

/** Signing keys as their certificates say. */
export const keysOf =
  (...members: readonly TestMember[]): SigningKeys =>
  (member, device) =>
    members.find((one) => one.id === member && one.device === device)?.certified.signingKey;

/** A channel whose control events are signed, opened and replayed as everywhere; members are added by what they do. */
export class TestChannel {
  state: ChannelState | undefined;
  readonly log: ControlEvent[] = [];
  /** bytes ‖ signature of each event in `log`. */
  readonly bodies: Bytes[] = [];
  readonly outcomes: Outcome[] = [];
  readonly #counts = new Map<DeviceId, number>();
  #seq = 0;

  /** The state, when there is one. */
  get now(): ChannelState {
    if (this.state === undefined) throw new Error('the channel was not created');
    return this.state;
  }

  get scope(): Scope {
    return this.state === undefined ? creationScope(SERVER_ID) : { serverId: SERVER_ID, channelHash: this.state.hash };
  }

  /** A header as the member's device would make it now. */
  header(member: TestMember, given: Partial<EventHeader> = {}): EventHeader {
    const n = (this.#counts.get(member.device) ?? 0) + 1;
    this.#counts.set(member.device, n);
    return {
      epoch: this.state?.epoch ?? 0,
      id: testEventId(++this.#seq),
      sender: member.id,
      device: member.device,
      n,
      seenSeq: this.state?.seq ?? 0,
      seenHash: headOf(ZERO_HASH),
      membersHead: headOf(this.state?.head ?? ZERO_HASH),
      kind: EVENT_KIND.control,
      ...given,
    };
  }

  /** Signs a control, to be given to `put` at once or late. */
  sign(member: TestMember, control: Control | { readonly op: string }, given: Partial<EventHeader> = {}): Signed {
    const header = this.header(member, given);
    return { member, header, body: signEvent(this.scope, header, control, member.deviceSeed) };
  }

  /** Puts a signed control at the end of the log and gives what became of it: `applied`, `unknown`, or why it was refused. */
  put({ member, header, body }: Signed): string {
    const outer = { id: header.id, sender: header.sender, kind: header.kind };
    const opened = openEvent({ scope: this.scope, outer, keyOf: keysOf(member) }, body, decodeControl);
    const event = {
      seq: (this.log.at(-1)?.seq ?? 0) + 1,
      header: opened.header,
      control: opened.content,
      bodyHash: sha256(body),
    };
    const judged = judgeControl(this.state, event);
    const { state, outcomes } = replay(this.state, [event]);
    const [outcome] = outcomes;
    if (outcome === undefined) throw new Error('an event has an outcome');
    this.state = state;
    this.log.push(event);
    this.bodies.push(body);
    this.outcomes.push(outcome);
    if ((judged ?? outcome.kind) !== (outcome.kind === 'refused' ? outcome.why : outcome.kind))
      throw new Error('the replay does not do what the judgement says');
    return outcome.kind === 'refused' ? outcome.why : outcome.kind;
  }

  /** Signs and puts. */
  do(member: TestMember, control: Control | { readonly op: string }, given: Partial<EventHeader> = {}): string {
    return this.put(this.sign(member, control, given));
  }
}

export type Signed = { readonly member: TestMember; readonly header: EventHeader; readonly body: Bytes };
