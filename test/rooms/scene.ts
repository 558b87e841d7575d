// A real server on loopback and members who speak the wire to it: the client of an account without the account.
import { join } from 'node:path';
import { ServerClient } from '../../src/core/server-client.ts';
import { deviceIdOf, makeDeviceCertificate, memberIdOf, memberSecrets, signLogin } from '../../src/crypto/member.ts';
import { ed25519Public, sha256 } from '../../src/crypto/primitives.ts';
import {
  channelOf,
  creationScope,
  type EventHeader,
  headOf,
  membersHash,
  signEvent,
  ZERO_HASH,
} from '../../src/crypto/room-event.ts';
import { systemClock, systemRandom } from '../../src/machine.ts';
import { dialServer } from '../../src/net/server-dial.ts';
import type { Clock, ServerLink, ServerLinkEvents, ServerNetwork, ServerTarget } from '../../src/ports.ts';
import { bufferOf, fromBase64, toBase64 } from '../../src/protocol/bytes.ts';
import type { SottoError } from '../../src/protocol/errors.ts';
import { type ChannelId, type EventId, timedId } from '../../src/protocol/ids.ts';
import type { Content, Control } from '../../src/protocol/room-content.ts';
import type { Notice } from '../../src/protocol/server.ts';
import { EVENT, type LogEvent, type Publish } from '../../src/protocol/server-frames.ts';
import { RoomServer, type ServerOptions } from '../../src/server/server.ts';
import { createServer, serverPaths } from '../../src/server/server-dir.ts';
import { ServerStore } from '../../src/server/server-store.ts';
import { TestLog } from '../../src/testing/log.ts';
import { tempDir, turn } from '../server/server.ts';

const PORTS = { clock: systemClock, random: systemRandom, turn };
const network: ServerNetwork = {
  dialServer: (target, attach, signal) =>
    dialServer({
      target,
      path: '/v1',
      clock: systemClock,
      random: systemRandom,
      attach,
      ...(signal === undefined ? {} : { signal }),
    }),
};

const clockOf = (clock: Clock): Clock => ({
  now: () => clock.now(),
  monotonic: () => clock.monotonic(),
  after: (ms, fire) => clock.after(ms, fire),
});

/** Limits that are not as usual. */
type Limits = Pick<ServerOptions, 'rates' | 'presenceMax'>;

/** A server that can be stopped and started again in its folder. */
export class Hosted implements Host, AsyncDisposable {
  readonly #dir = tempDir();
  readonly #paths = serverPaths(join(this.#dir.dir, 'server'));
  readonly #members: Member[] = [];
  #store: ServerStore | undefined;
  #server: RoomServer | undefined;
  #port = 0;
  #shiftMs = 0;
  #held: Promise<void> | undefined;
  #limits: Limits = {};

  static async start({
    registration = 'open',
    ...limits
  }: { readonly registration?: 'open' | 'invite' | 'closed' } & Limits = {}): Promise<Hosted> {
    const hosted = new Hosted();
    hosted.#limits = limits;
    createServer(
      hosted.#paths,
      {
        name: 'home',
        registration,
        serverKey: systemRandom.bytes(32),
        encryptAtRest: false,
      },
      PORTS,
    );
    await hosted.open();
    return hosted;
  }

  get server(): RoomServer {
    if (this.#server === undefined) throw new Error('the server does not run');
    return this.#server;
  }

  readonly #clock: Clock = { ...clockOf(systemClock), now: () => systemClock.now() + this.#shiftMs };

  get paths() {
    return this.#paths;
  }

  get store(): ServerStore {
    if (this.#store === undefined) throw new Error('the server does not run');
    return this.#store;
  }

  get target(): ServerTarget {
    return { origin: this.server.urls[0] ?? '', serverKey: this.server.context.serverKey, trust: 'pinned' };
  }

  async open(): Promise<void> {
    this.#store = ServerStore.open(this.#paths, { ...PORTS, clock: this.#clock });
    this.#server = await RoomServer.start({
      ...PORTS,
      clock: this.#clock,
      turn: async () => {
        await turn();
        await this.#held;
      },
      store: this.#store,
      journal: new TestLog(),
      listen: [{ kind: 'tcp', host: '127.0.0.1', port: this.#port, tls: 'pinned' }],
      origins: [],
      proxies: [],
      ...this.#limits,
      bug: (error) => {
        throw error;
      },
    });
    this.#port = Number(new URL(this.server.urls[0] ?? '').port);
  }

  async close(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    await this.#store?.[Symbol.asyncDispose]();
  }

  /** The server’s time of day moves on; nobody else’s. */
  shift(ms: number): void {
    this.#shiftMs += ms;
  }

  /** Lets nothing into the log until the answer is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held = promise;
    return resolve;
  }

  /** Resolves once so many events wait for the log. */
  async waiting(count: number): Promise<void> {
    while (this.server.context.hub.depth < count) await turn();
  }

  member(name: string, serversKey?: Uint8Array<ArrayBuffer>): Member {
    const member = new Member(this, name, serversKey);
    this.#members.push(member);
    return member;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const member of this.#members) member.leave();
    await this.close();
    this.#dir.remove();
  }
}

/** A channel, and the chain of its controls so far. */
export type Room = { readonly channel: ChannelId; readonly hash: Uint8Array; chain: Uint8Array<ArrayBuffer> };

type More = { readonly id?: EventId; readonly ttlSeconds?: number };

/** Where members are: a server in this process or in another. */
export interface Host {
  readonly target: ServerTarget;
  member(name: string, serversKey?: Uint8Array<ArrayBuffer>): Member;
}

/** Somebody with a device. */
export class Member {
  readonly name: string;
  readonly events: LogEvent[] = [];
  readonly notices: Notice[] = [];
  readonly #hosted: Host;
  serial: number;
  /** Resolves with what ended the present connection. */
  closed: Promise<SottoError> = new Promise(() => {});
  readonly #serversKey: Uint8Array<ArrayBuffer>;
  readonly #seed = systemRandom.bytes(32);
  readonly #network: ServerNetwork;
  #client: ServerClient | undefined;
  #n = 0;

  constructor(hosted: Host, name: string, serversKey?: Uint8Array<ArrayBuffer>, way = network) {
    this.#network = way;
    this.#hosted = hosted;
    this.name = name;
    this.serial = serversKey === undefined ? 1 : 2;
    this.#serversKey = serversKey ?? systemRandom.bytes(32);
  }

  get client(): ServerClient {
    if (this.#client === undefined) throw new Error(`${this.name} is not connected`);
    return this.#client;
  }

  get id() {
    const { serverKey } = this.#hosted.target;
    return memberIdOf(serverKey, memberSecrets(this.#serversKey, serverKey).memberKey);
  }

  get device() {
    return deviceIdOf(ed25519Public(this.#seed));
  }

  async dial(): Promise<ServerClient> {
    const { promise, resolve: closed } = Promise.withResolvers<SottoError>();
    this.closed = promise;
    let client: ServerClient | undefined;
    client = await ServerClient.open({
      network: this.#network,
      target: this.#hosted.target,
      clock: systemClock,
      random: systemRandom,
      events: {
        event: (event) => this.events.push(event),
        notice: (notice) => this.notices.push(notice),
        closed: (error) => {
          // One that was dialled before may end later.
          if (this.#client === client) this.#client = undefined;
          closed(error);
        },
      },
    });
    this.#client = client;
    return client;
  }

  /** Dials and logs in, as a new member the first time. */
  async join(invite?: string) {
    const client = await this.dial();
    const register = { name: this.name, ...(invite === undefined ? {} : { invite }) };
    try {
      return await client.login(this.keys(), { register });
    } catch (error) {
      // It would count as unproven for as long as a log-in may take.
      client.close('refused');
      throw error;
    }
  }

  /** What its device logs in with. */
  keys(serverKey = this.#hosted.target.serverKey) {
    const { memberSeed, signalKey } = memberSecrets(this.#serversKey, serverKey);
    const signingKey = ed25519Public(this.#seed);
    const certificate = makeDeviceCertificate(serverKey, memberSeed, { signingKey, signalKey, serial: this.serial });
    return { seed: this.#seed, certificate };
  }

  /** The same member with another device, serial 2. */
  another(): Member {
    return this.#hosted.member(this.name, this.#serversKey);
  }

  leave(): void {
    this.#client?.close('bye');
  }

  /** Makes an open channel. */
  async create(name: string, more: Partial<Extract<Control, { op: 'create' }>> = {}): Promise<Room> {
    const body = signEvent(
      creationScope(this.#hosted.target.serverKey),
      this.#header(EVENT.control, { epoch: 0 }),
      { op: 'create', name, encryption: 'open', private: false, history: 'all', ...more } satisfies Control,
      this.#seed,
    );
    const { channel, hash } = channelOf(body);
    const { id } = this.#last;
    await this.client.publish({ channel, id, kind: EVENT.control, checkedAt: 0, ttlSeconds: 0, sealed: 0, body });
    return { channel, hash, chain: membersHash(ZERO_HASH, hash) };
  }

  /** A signed control operation that has seen all that the room has seen. */
  signed(room: Room, control: Control): Omit<Publish, 'request'> {
    const scope = { serverId: this.#hosted.target.serverKey, channelHash: room.hash };
    const head = headOf(room.chain);
    const body = signEvent(scope, this.#header(EVENT.control, { epoch: 1, head }), control, this.#seed);
    return {
      channel: room.channel,
      id: this.#last.id,
      kind: EVENT.control,
      checkedAt: 0,
      ttlSeconds: 0,
      sealed: 0,
      body,
    };
  }

  /** Signs and publishes a control operation; the room has seen it then. */
  async control(room: Room, control: Control) {
    const signed = this.signed(room, control);
    const placed = await this.client.publish(signed);
    room.chain = membersHash(room.chain, sha256(signed.body));
    return placed;
  }

  /** Signs and publishes a content of an open channel. */
  async write(room: Room, content: Content, more: More = {}) {
    return this.client.publish(this.written(room, content, more));
  }

  /** A signed content of an open channel. */
  written(room: Room, content: Content, more: More = {}): Omit<Publish, 'request'> {
    const scope = { serverId: this.#hosted.target.serverKey, channelHash: room.hash };
    const header = { ...this.#header(EVENT.content, { epoch: 1, head: headOf(room.chain) }), ...more };
    const body = signEvent(scope, header, content, this.#seed);
    const { ttlSeconds = 0 } = more;
    return {
      channel: room.channel,
      id: header.id,
      kind: EVENT.content,
      checkedAt: 2 ** 40,
      ttlSeconds,
      sealed: 0,
      body,
    };
  }

  /** From now on it is told what happens in a channel, and what has happened before. */
  async hear(channel: ChannelId): Promise<void> {
    const { answer } = await this.client.events('log.page', { channel, limit: 1 });
    await this.client.request('resume', { cursors: { [channel]: [answer.head.epoch, 0, null] } });
  }

  /** Publishes bytes as a content. */
  async say(channel: ChannelId, text: string, id = timedId<EventId>(Date.now(), systemRandom.bytes(10))) {
    const body = new Uint8Array(Buffer.from(text));
    return this.client.publish({
      channel,
      id,
      kind: EVENT.content,
      checkedAt: Number.MAX_SAFE_INTEGER % 2 ** 47,
      ttlSeconds: 0,
      sealed: 0,
      body,
    });
  }

  /** Live texts of a channel, in order. */
  texts(channel: ChannelId): string[] {
    return this.events
      .filter((event) => event.channel === channel && event.kind === EVENT.content)
      .map(({ body }) => Buffer.from(body).toString());
  }

  #last: { id: EventId } = { id: '' as EventId };

  #header(kind: 1 | 2, more: { readonly epoch: number; readonly head?: Uint8Array<ArrayBuffer> }): EventHeader {
    this.#last = { id: timedId<EventId>(Date.now(), systemRandom.bytes(10)) };
    this.#n++;
    return {
      epoch: more.epoch,
      id: this.#last.id,
      sender: this.id,
      device: this.device,
      n: this.#n,
      seenSeq: 0,
      seenHash: ZERO_HASH.slice(0, 16),
      membersHead: more.head ?? ZERO_HASH.slice(0, 16),
      kind,
    };
  }
}

/** What a server said to a `Speaker`: an answer as JSON, or that it is over. */
export type Said = { readonly id?: number; readonly ok?: unknown; readonly error?: { readonly code: string } } | Closed;
type Closed = { readonly closed: number; readonly why: string };

/** Somebody who says what he likes: no greeting, no log-in, no valid message unless told to. */
export class Speaker {
  #link: ServerLink | undefined;
  #last = 0;
  #closed: Closed | undefined;
  readonly #waiting = new Map<number, (said: Said) => void>();
  #next: (said: Said) => void = () => {};
  #over: (closed: Closed) => void = () => {};
  /** Resolves once the server has ended it. */
  readonly over = new Promise<Closed>((resolve) => {
    this.#over = resolve;
  });

  static async to(hosted: Hosted, path: '/v1' | '/v1/call' = '/v1'): Promise<Speaker> {
    const speaker = new Speaker();
    const attach = (): ServerLinkEvents => ({
      text: (text) => speaker.#said(JSON.parse(text)),
      binary: () => {},
      drained: () => {},
      closed: (code, why) => speaker.#end({ closed: code, why }),
    });
    const ports = { clock: systemClock, random: systemRandom };
    speaker.#link = await dialServer({ target: hosted.target, path, attach, ...ports });
    return speaker;
  }

  get link(): ServerLink {
    if (this.#link === undefined) throw new Error('not connected');
    return this.#link;
  }

  /** The answer to one request; `params` are as they are. */
  ask(name: string, params: object): Promise<Said> {
    const id = ++this.#last;
    return this.#answer(id, () => this.link.text(JSON.stringify({ ...params, id, do: name })));
  }

  /** The answer to one binary message, whose request is written into it. */
  say(bytes: Uint8Array): Promise<Said> {
    const id = ++this.#last;
    bufferOf(bytes).writeUInt32BE(id, 1);
    return this.#answer(id, () => this.link.binary(bytes));
  }

  /** What is said to a text that may be anything. */
  text(text: string): Promise<Said> {
    const said = new Promise<Said>((resolve) => {
      this.#next = resolve;
    });
    this.link.text(text);
    return said;
  }

  /** Logs in as a member who is known, after the greeting. */
  async login(greeting: Awaited<ReturnType<Speaker['greet']>>, { seed, certificate }: ReturnType<Member['keys']>) {
    return this.ask('login', { certificate: toBase64(certificate), proof: toBase64(signLogin(seed, greeting)) });
  }

  /** Greets; gives what a log-in needs. */
  async greet(hosted: Hosted, origin = hosted.target.origin) {
    const clientNonce = systemRandom.bytes(32);
    const said = await this.ask('hello', {
      versions: [1],
      nonce: toBase64(clientNonce),
      origin,
    });
    const { nonce = '' } = ('ok' in said ? said.ok : {}) as { nonce?: string };
    const serverNonce = fromBase64(nonce);
    const { serverKey: serverId } = hosted.target;
    return { origin, clientNonce, serverNonce, serverId, binding: this.link.binding };
  }

  leave(): void {
    this.#link?.close(1000, 'bye');
  }

  #answer(id: number, send: () => void): Promise<Said> {
    if (this.#closed !== undefined) return Promise.resolve(this.#closed);
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      send();
    });
  }

  #said(said: Said): void {
    if (!('id' in said) || said.id === undefined) return;
    this.#next(said);
    this.#waiting.get(said.id)?.(said);
    this.#waiting.delete(said.id);
  }

  #end(closed: Closed): void {
    this.#closed = closed;
    this.#next(closed);
    for (const resolve of this.#waiting.values()) resolve(closed);
    this.#waiting.clear();
    this.#over(closed);
  }
}
