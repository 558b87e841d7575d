// A network inside one process: links without Tor, with delay, loss, replay, reordering, breaks and partition under a seed. Their
// records are those of a real link, but for the handshake: what stands in another place than it was sent in is refused.
import { addressOf } from '../crypto/address.ts';
import { CipherState } from '../crypto/noise.ts';
import type { Bytes } from '../crypto/primitives.ts';
import type {
  Clock,
  DialOptions,
  Link,
  LinkEvents,
  LinkPeer,
  LocalKeys,
  Network,
  NetworkEvents,
  NetworkState,
  Random,
} from '../ports.ts';
import { concat } from '../protocol/bytes.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { LINK_BUFFER_BYTES_MAX } from '../protocol/limits.ts';
import { KEY_BYTES } from '../protocol/sizes.ts';
import { DEAF } from './link.ts';
import { decodeRecord, encodeRecords } from './records.ts';

/** How bad the network is; chances for each frame in [0, 1], delays in milliseconds. */
export type Weather = {
  readonly delayMs: readonly [number, number];
  /** A record is lost. A stream has no holes: nothing comes behind it, the link's end neither, and nobody is told. */
  readonly loss: number;
  /** A frame is sent twice, in two records: its id tells. */
  readonly duplicate: number;
  /** A record comes twice: the link refuses it. */
  readonly replay: number;
  /** A record may overtake others, by as much as delays differ: the link refuses it. */
  readonly reorder: number;
  /** A link breaks while a frame is sent. */
  readonly breaks: number;
  /** How much passes, each way; all at once without it. */
  readonly bytesPerSecond?: number;
};

export const FAIR: Weather = { delayMs: [1, 1], loss: 0, duplicate: 0, replay: 0, reorder: 0, breaks: 0 };

type Member = { readonly network: MemoryNetwork; readonly keys: LocalKeys; readonly events: NetworkEvents };

/** Where the members of one in-process network meet. */
export class MemoryHub {
  readonly clock: Clock;
  readonly random: Random;
  weather: Weather = FAIR;
  readonly #members = new Map<string, Member>();
  readonly #cut = new Set<string>();
  readonly #links = new Set<MemoryLink>();

  constructor(clock: Clock, random: Random) {
    this.clock = clock;
    this.random = random;
  }

  /** A network for one account; it is online from `start` to its disposal. */
  join(): MemoryNetwork {
    return new MemoryNetwork(this);
  }

  enter(address: string, member: Member): void {
    this.#members.set(address, member);
  }

  leave(address: string, network: MemoryNetwork): void {
    if (this.#members.get(address)?.network === network) this.#members.delete(address);
    for (const link of [...this.#links]) if (link.owner === network) link.close('network closed');
  }

  /** The member died: its links break, and it hears nothing of that. */
  drop(address: string): void {
    const member = this.#members.get(address);
    if (member === undefined) return;
    this.#members.delete(address);
    for (const link of [...this.#links]) if (link.owner === member.network) link.sever();
  }

  /** The member's links end at its side; the other sides hear nothing, and what they send is lost. */
  loseHalf(address: string): void {
    const member = this.#members.get(address);
    for (const link of [...this.#links]) if (link.owner === member?.network) link.endAlone();
  }

  find(address: string): Member | undefined {
    return this.#members.get(address);
  }

  /** Lets nothing pass between two addresses until `heal`; open links break. */
  partition(a: string, b: string): void {
    this.#cut.add(pairOf(a, b));
    for (const link of [...this.#links])
      if (pairOf(link.own, link.peer.address) === pairOf(a, b)) link.close('partition');
  }

  heal(): void {
    this.#cut.clear();
  }

  isCut(a: string, b: string): boolean {
    return this.#cut.has(pairOf(a, b));
  }

  track(link: MemoryLink): void {
    this.#links.add(link);
  }

  untrack(link: MemoryLink): void {
    this.#links.delete(link);
  }
}

/** How long it is stands before a record; here each comes whole. */
const LENGTH_BYTES = 2;

const pairOf = (a: string, b: string): string => [a, b].sort().join(' ');

/** What a network says of itself where everybody is reached. */
export const ONLINE: NetworkState = {
  state: 'online',
  bootstrapPercent: 100,
  reachable: true,
  descriptorUploads: 1,
  private: true,
};
const OFF: NetworkState = { ...ONLINE, state: 'off', bootstrapPercent: 0, reachable: false, descriptorUploads: 0 };

/** `Network` of ports.ts over a MemoryHub. */
export class MemoryNetwork implements Network {
  readonly #hub: MemoryHub;
  #address = '';
  #keys: LocalKeys | undefined;
  #events: NetworkEvents | undefined;
  #state = OFF;

  constructor(hub: MemoryHub) {
    this.#hub = hub;
  }

  get state(): NetworkState {
    return this.#state;
  }

  async start(keys: LocalKeys, events: NetworkEvents): Promise<void> {
    this.#keys = keys;
    this.#events = events;
    this.#address = addressOf(keys.publicKeys.identityKey);
    this.#hub.enter(this.#address, { network: this, keys, events });
    this.#state = ONLINE;
    events.state(this.#state);
  }

  async dial(address: string, attach: (link: Link) => LinkEvents, options: DialOptions): Promise<Link> {
    const [least, most] = this.#hub.weather.delayMs;
    await new Promise<void>((resolve) =>
      this.#hub.clock.after(least + (most - least) * this.#hub.random.fraction(), resolve),
    );
    const keys = this.#keys;
    const events = this.#events;
    const other = this.#hub.find(address);
    if (options.signal?.aborted === true || keys === undefined || events === undefined)
      throw new SottoError('dial.unreachable');
    if (other === undefined) throw new SottoError('dial.noDescriptor');
    if (this.#hub.isCut(this.#address, address)) throw new SottoError('dial.unreachable');
    const theirs: LinkPeer = { ...other.keys.publicKeys, address };
    const mine: LinkPeer = { ...keys.publicKeys, address: this.#address, installId: keys.installId };
    if (events.admit(theirs, true) !== 'accept') throw new SottoError('contact.keyRefused');
    if (other.events.admit(mine, false) === 'close') throw new SottoError('handshake.failed');
    const ours = new MemoryLink(this.#hub, this, { peer: theirs, own: this.#address, dialled: true });
    const far = new MemoryLink(this.#hub, other.network, { peer: mine, own: address, dialled: false });
    const [there, back] = [this.#hub.random.bytes(KEY_BYTES), this.#hub.random.bytes(KEY_BYTES)];
    ours.begin(far, there, back, attach(ours));
    far.begin(ours, back, there, other.events.incoming(far));
    return ours;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#state = OFF;
    this.#hub.leave(this.#address, this);
  }
}

class MemoryLink implements Link {
  readonly peer: LinkPeer;
  readonly own: string;
  readonly dialled: boolean;
  readonly openedAt: number;
  readonly owner: MemoryNetwork;
  readonly #hub: MemoryHub;
  #other: MemoryLink | undefined;
  #sending: CipherState | undefined;
  #receiving: CipherState | undefined;
  #events: LinkEvents = DEAF;
  #arrivesAt = 0;
  /** When all has left that was sent. */
  #leavesAt = 0;
  /** Nothing of what is sent arrives any more. */
  #stalled = false;
  #paused = false;
  #held: Uint8Array<ArrayBuffer>[] = [];
  #closed = false;
  /** Bytes that the other side has not taken yet. */
  #waiting = 0;
  #full = false;

  constructor(
    hub: MemoryHub,
    owner: MemoryNetwork,
    about: { readonly peer: LinkPeer; readonly own: string; readonly dialled: boolean },
  ) {
    this.#hub = hub;
    this.owner = owner;
    this.peer = about.peer;
    this.own = about.own;
    this.dialled = about.dialled;
    this.openedAt = hub.clock.now();
  }

  begin(other: MemoryLink, sending: Bytes, receiving: Bytes, events: LinkEvents): void {
    this.#other = other;
    this.#sending = new CipherState(sending);
    this.#receiving = new CipherState(receiving);
    this.#events = events;
    this.#hub.track(this);
  }

  send(frame: Uint8Array): boolean {
    const { weather, random } = this.#hub;
    if (this.#closed) return false;
    if (random.fraction() < weather.breaks) {
      this.close('broken');
      return false;
    }
    this.#stalled ||= random.fraction() < weather.loss;
    const copies = random.fraction() < weather.duplicate ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) this.#put(frame);
    this.#full ||= this.#waiting > LINK_BUFFER_BYTES_MAX;
    return !this.#full;
  }

  #put(frame: Uint8Array): void {
    const { weather, random, clock } = this.#hub;
    if (this.#sending === undefined) throw new Error('a link that has not begun');
    const record = concat(encodeRecords(this.#sending, [frame])).subarray(LENGTH_BYTES);
    this.#waiting += frame.length;
    if (this.#stalled) return;
    const { delayMs, bytesPerSecond = Number.POSITIVE_INFINITY } = weather;
    const [least, most] = delayMs;
    const copies = random.fraction() < weather.replay ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      this.#leavesAt = Math.max(this.#leavesAt, clock.monotonic()) + (record.length / bytesPerSecond) * 1000;
      const due = this.#leavesAt + least + (most - least) * random.fraction();
      const at = random.fraction() < weather.reorder ? due : Math.max(due, this.#arrivesAt);
      this.#arrivesAt = Math.max(this.#arrivesAt, at);
      clock.after(at - clock.monotonic(), () => this.#other?.arrive(record));
    }
  }

  arrive(record: Uint8Array<ArrayBuffer>): void {
    if (this.#closed) return;
    if (this.#paused) this.#held.push(record);
    else this.#tell(record);
  }

  /** The other side took so many bytes. */
  taken(bytes: number): void {
    this.#waiting -= bytes;
    if (!this.#full || this.#waiting > 0) return;
    this.#full = false;
    this.#hub.clock.after(0, () => (this.#closed ? undefined : this.#events.drained()));
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    while (!this.#paused && this.#held.length > 0) {
      const next = this.#held.shift();
      if (next !== undefined && !this.#closed) this.#tell(next);
    }
  }

  #tell(record: Uint8Array<ArrayBuffer>): void {
    try {
      for (const frame of this.#receiving === undefined ? [] : decodeRecord(this.#receiving, record)) {
        this.#other?.taken(frame.length);
        this.#events.frame(frame);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.close(error.code);
    }
  }

  /** Ends without telling the other side. */
  endAlone(): void {
    this.#other = undefined;
    this.close('peer closed');
  }

  /** Ends without telling its own side. */
  sever(): void {
    this.#events = DEAF;
    this.close('dead');
  }

  close(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#hub.untrack(this);
    const other = this.#other;
    // What was sent before the end mostly still arrives; sometimes the end overtakes it.
    const { clock, random } = this.#hub;
    const rest = random.fraction() < 0.7 ? this.#arrivesAt - clock.monotonic() : 0;
    if (!this.#stalled) clock.after(Math.max(1, rest), () => other?.close('peer closed'));
    this.#events.closed(reason);
  }
}
