// A peer written by hand: real keys and real Signal, no rules; it sends what it likes and keeps all that it hears.
import { addressOf } from '../../src/crypto/address.ts';
import { deriveSecrets, localKeys, type Secrets } from '../../src/crypto/identity.ts';
import { SignalSession, signalIdentity } from '../../src/crypto/session.ts';
import type { Link, LinkEvents, LocalKeys, Network } from '../../src/ports.ts';
import { fromBase64, toBase64 } from '../../src/protocol/bytes.ts';
import { idBytes, idOf, type MessageId } from '../../src/protocol/ids.ts';
import {
  decodeBody,
  decodeFrame,
  encodeBody,
  encodeFrame,
  type PeerFrame,
  type SealedBody,
  type SealedFrame,
  type UnknownBody,
} from '../../src/protocol/peer.ts';
import type { Person, World } from '../../src/testing/people.ts';

type WithoutId<Body> = Body extends SealedBody ? Omit<Body, 'id'> & { readonly id?: MessageId } : never;

/** Clears the screen, sets the title, reorders, hides, and looks like another line. */
export const EVIL =
  '\u001b[2J\u001b]0;x\u0007\u202eevil\u2066\u200b\u200b\u061c\r\n◆ alice  accepted\u2028\u009b31m\u007f';
/** What plain characters, in one line or several, are free of. */
export const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/u;

/** One hostile account. Nothing it hears is answered unless a test says so. */
export class Hostile {
  readonly address: string;
  readonly keys: LocalKeys;
  readonly world: World;
  /** Frames it heard, oldest first. */
  readonly heard: PeerFrame[] = [];
  /** True: on links that it dials from now on it never reads what comes. */
  deaf = false;
  /** Why its links ended. */
  readonly ended: string[] = [];
  readonly #secrets: Secrets;
  readonly #network: Network;
  readonly #opened = new Set<SealedFrame>();
  #link: Link | undefined;
  #session: SignalSession | undefined;

  private constructor(world: World, secrets: Secrets, keys: LocalKeys) {
    this.world = world;
    this.#secrets = secrets;
    this.keys = keys;
    this.address = addressOf(keys.publicKeys.identityKey);
    this.#network = world.hub.join();
  }

  /** Fresh keys on the network of a world; `change` forges them. */
  static async join(world: World, change: (keys: LocalKeys) => LocalKeys = (keys) => keys): Promise<Hostile> {
    const secrets = deriveSecrets(world.random.bytes(16));
    const hostile = new Hostile(world, secrets, change(localKeys(secrets, world.random.bytes(16))));
    await hostile.#network.start(hostile.keys, {
      admit: () => 'accept',
      incoming: (link) => hostile.#attach(link),
      state: () => {},
      refused: () => {},
    });
    return hostile;
  }

  /** Opens a link to a person; what it did in the meantime has happened when this returns. Throws what the dial throws. */
  async dial(person: Person): Promise<void> {
    const dial = this.ring(person);
    dial.catch(() => {});
    await this.world.settle(100);
    await dial;
  }

  /** Begins a dial that ends when time passes, and sends `frames` at once when it is through. */
  async ring(person: Person, ...frames: readonly PeerFrame[]): Promise<void> {
    const link = await this.#network.dial(person.address, (made) => this.#attach(made), { attempt: 1 });
    if (this.deaf) link.pause();
    for (const frame of frames) link.send(encodeFrame(frame));
  }

  /** Sends frames, or bytes that are none, and lets the world react. */
  async say(...frames: readonly (PeerFrame | Uint8Array)[]): Promise<void> {
    for (const frame of frames) this.#link?.send(frame instanceof Uint8Array ? frame : encodeFrame(frame));
    await this.world.settle(100);
  }

  hangUp(): void {
    this.#link?.close('bye');
  }

  get linked(): boolean {
    return this.#link !== undefined;
  }

  /** A fresh request frame; its bundle can begin a session. */
  request(victim: Person, more: { readonly nickname?: string; readonly note?: string } = {}) {
    const id = this.newId();
    const bundle = this.#sessionWith(victim).makeBundle(bundleNumber(id), this.world.clock.now());
    return { kind: 'request', id, bundle: toBase64(bundle), nickname: more.nickname ?? 'mallory', ...more } as const;
  }

  /** A fresh reset frame. */
  reset(victim: Person) {
    const { id, bundle } = this.request(victim);
    return { kind: 'reset', session: id, bundle } as const;
  }

  /** Becomes an accepted contact, called `name`, of someone who is careless; the session is ready and the link up. */
  async befriend(victim: Person, name = 'mallory'): Promise<MessageId> {
    await this.dial(victim);
    const request = this.request(victim, { nickname: name });
    await this.say(request);
    const [pending] = await victim.call('contact.requests', {});
    await victim.call('contact.accept', { contact: pending?.id ?? '', name });
    await this.world.settle(100);
    await this.say({ kind: 'resume', session: request.id, sent: 0, received: 0 });
    const bodies = await this.open();
    if (bodies[0]?.kind !== 'accept') throw new Error('no accept came');
    await this.acknowledge();
    return request.id;
  }

  /** Begins a session from a bundle that the victim sent, as the side that accepts or answers a reset. */
  async begin(victim: Person, bundle: string): Promise<void> {
    await this.#sessionWith(victim).start(fromBase64(bundle), this.world.clock.now());
  }

  /** A body under the session. */
  async seal(body: WithoutId<SealedBody>): Promise<SealedFrame> {
    const id = body.id ?? this.newId();
    return this.sealBytes(id, encodeBody({ ...body, id } as SealedBody));
  }

  /** Any bytes under the session, named by any id. */
  async sealBytes(id: MessageId, plaintext: Uint8Array<ArrayBuffer>): Promise<SealedFrame> {
    if (this.#session === undefined) throw new Error('no session');
    return { kind: 'sealed', id, ...(await this.#session.encrypt(plaintext, this.world.clock.now())) };
  }

  /** Seals and sends. Gives the ids. */
  async tell(...bodies: readonly WithoutId<SealedBody>[]): Promise<MessageId[]> {
    const frames: SealedFrame[] = [];
    for (const body of bodies) frames.push(await this.seal(body));
    await this.say(...frames);
    return frames.map((frame) => frame.id);
  }

  /** The bodies of sealed frames it heard and did not open yet. */
  async open(): Promise<(SealedBody | UnknownBody)[]> {
    const bodies: (SealedBody | UnknownBody)[] = [];
    for (const frame of this.heardOf('sealed')) {
      if (this.#opened.has(frame) || this.#session === undefined) continue;
      this.#opened.add(frame);
      bodies.push(decodeBody(await this.#session.decrypt(frame)));
    }
    return bodies;
  }

  /** Acknowledges every sealed frame it ever heard. */
  acknowledge(): Promise<void> {
    return this.say({ kind: 'ack', ids: this.heardOf('sealed').map((frame) => frame.id) });
  }

  heardOf<K extends PeerFrame['kind']>(kind: K): Extract<PeerFrame, { kind: K }>[] {
    return this.heard.filter((frame): frame is Extract<PeerFrame, { kind: K }> => frame.kind === kind);
  }

  /** Whether a frame of this id was acknowledged to it. */
  acknowledged(id: MessageId): boolean {
    return this.heardOf('ack').some((frame) => frame.ids.includes(id));
  }

  newId(): MessageId {
    return idOf(this.world.random.bytes(16));
  }

  /** Leaves the network. */
  async leave(): Promise<void> {
    await this.#network[Symbol.asyncDispose]();
  }

  #sessionWith(victim: Person): SignalSession {
    const theirs = this.world.hub.find(victim.address);
    if (theirs === undefined) throw new Error(`${victim.name} is not online`);
    this.#session ??= new SignalSession({
      identity: signalIdentity(this.#secrets.signalSecret),
      ours: this.address,
      theirs: victim.address,
      pinned: theirs.keys.publicKeys.signalKey,
    });
    return this.#session;
  }

  #attach(link: Link): LinkEvents {
    this.#link = link;
    return {
      frame: (bytes) => this.heard.push(decodeFrame(bytes)),
      drained: () => {},
      closed: (reason) => {
        this.ended.push(reason);
        if (this.#link === link) this.#link = undefined;
      },
    };
  }
}

/** Rows of a table in a person's store. */
export const rowsOf = (person: Person, table: string): number =>
  person.db.get<{ n: number }>(`SELECT count(*) AS n FROM ${table}`)?.n ?? -1;

const bundleNumber = (id: string): number => Buffer.from(idBytes(id)).readUIntBE(0, 3);
