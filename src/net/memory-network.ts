// A network inside one process: links without Tor and Noise, with loss, delay, duplication and partition under a seed.
import { addressOf } from '../crypto/address.ts';
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
import { SottoError } from '../protocol/errors.ts';
import { LINK_BUFFER_BYTES_MAX } from '../protocol/limits.ts';
import { DEAF } from './link.ts';

/** How bad the network is; chances in [0, 1], delays in milliseconds. */
export type Weather = {
  readonly delayMs: readonly [number, number];
  /** A frame vanishes. */
  readonly loss: number;
  /** A frame comes twice. */
  readonly duplicate: number;
  /** A frame overtakes others. */
  readonly reorder: number;
  /** A link breaks while a frame is sent. */
  readonly breaks: number;
};

export const FAIR: Weather = { delayMs: [1, 1], loss: 0, duplicate: 0, reorder: 0, breaks: 0 };

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

const pairOf = (a: string, b: string): string => [a, b].sort().join(' ');

const ONLINE: NetworkState = {
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
    ours.begin(far, attach(ours));
    far.begin(ours, other.events.incoming(far));
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
  #events: LinkEvents = DEAF;
  #arrivesAt = 0;
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

  begin(other: MemoryLink, events: LinkEvents): void {
    this.#other = other;
    this.#events = events;
    this.#hub.track(this);
  }

  send(frame: Uint8Array): boolean {
    const { weather, random, clock } = this.#hub;
    if (this.#closed) return false;
    if (random.fraction() < weather.breaks) {
      this.close('broken');
      return false;
    }
    if (random.fraction() < weather.loss) return true;
    const copies = random.fraction() < weather.duplicate ? 2 : 1;
    const [least, most] = weather.delayMs;
    for (let copy = 0; copy < copies; copy++) {
      const due = clock.monotonic() + least + (most - least) * random.fraction();
      const at = random.fraction() < weather.reorder ? due : Math.max(due, this.#arrivesAt);
      this.#arrivesAt = Math.max(this.#arrivesAt, at);
      const bytes = new Uint8Array(frame);
      this.#waiting += bytes.length;
      clock.after(at - clock.monotonic(), () => this.#other?.arrive(bytes));
    }
    this.#full ||= this.#waiting > LINK_BUFFER_BYTES_MAX;
    return !this.#full;
  }

  arrive(frame: Uint8Array<ArrayBuffer>): void {
    if (this.#closed) return;
    if (this.#paused) this.#held.push(frame);
    else this.#tell(frame);
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

  #tell(frame: Uint8Array<ArrayBuffer>): void {
    this.#other?.taken(frame.length);
    this.#events.frame(frame);
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
    clock.after(Math.max(1, rest), () => other?.close('peer closed'));
    this.#events.closed(reason);
  }
}
