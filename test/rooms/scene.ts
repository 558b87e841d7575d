// A real server on loopback and members who speak the wire to it: the client of an account without the account.
import { join } from 'node:path';
import { ServerClient } from '../../src/core/server-client.ts';
import { deviceIdOf, makeDeviceCertificate, memberIdOf, memberSecrets } from '../../src/crypto/member.ts';
import { ed25519Public } from '../../src/crypto/primitives.ts';
import { channelOf, creationScope, type EventHeader, signEvent, ZERO_HASH } from '../../src/crypto/room-event.ts';
import { systemClock, systemRandom } from '../../src/machine.ts';
import { dialServer } from '../../src/net/server-dial.ts';
import type { ServerNetwork, ServerTarget } from '../../src/ports.ts';
import { type ChannelId, type EventId, timedId } from '../../src/protocol/ids.ts';
import type { Control } from '../../src/protocol/room-content.ts';
import { EVENT, type LogEvent, type Notice } from '../../src/protocol/server.ts';
import { RoomServer } from '../../src/server/server.ts';
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

/** A server that can be stopped and started again in its folder. */
export class Hosted implements AsyncDisposable {
  readonly #dir = tempDir();
  readonly #paths = serverPaths(join(this.#dir.dir, 'server'));
  readonly #members: Member[] = [];
  #store: ServerStore | undefined;
  #server: RoomServer | undefined;
  #port = 0;

  static async start(options: { readonly registration?: 'open' | 'invite' } = {}): Promise<Hosted> {
    const hosted = new Hosted();
    createServer(
      hosted.#paths,
      {
        name: 'home',
        registration: options.registration ?? 'open',
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

  get target(): ServerTarget {
    return { origin: this.server.urls[0] ?? '', serverKey: this.server.context.serverKey, trust: 'pinned' };
  }

  async open(): Promise<void> {
    this.#store = ServerStore.open(this.#paths, PORTS);
    this.#server = await RoomServer.start({
      ...PORTS,
      store: this.#store,
      journal: new TestLog(),
      listen: [{ kind: 'tcp', host: '127.0.0.1', port: this.#port, tls: 'pinned' }],
      origins: [],
      proxies: [],
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

  member(name: string): Member {
    const member = new Member(this, name);
    this.#members.push(member);
    return member;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const member of this.#members) member.leave();
    await this.close();
    this.#dir.remove();
  }
}

/** Somebody with a device. */
export class Member {
  readonly name: string;
  readonly events: LogEvent[] = [];
  readonly notices: Notice[] = [];
  readonly #hosted: Hosted;
  readonly #serversKey = systemRandom.bytes(32);
  readonly #seed = systemRandom.bytes(32);
  #client: ServerClient | undefined;
  #n = 0;

  constructor(hosted: Hosted, name: string) {
    this.#hosted = hosted;
    this.name = name;
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
    this.#client = await ServerClient.open({
      network,
      target: this.#hosted.target,
      clock: systemClock,
      random: systemRandom,
      events: {
        event: (event) => this.events.push(event),
        notice: (notice) => this.notices.push(notice),
        closed: () => {
          this.#client = undefined;
        },
      },
    });
    return this.#client;
  }

  /** Dials and logs in, as a new member the first time. */
  async join(invite?: string) {
    const client = await this.dial();
    const { serverKey } = this.#hosted.target;
    const { memberSeed, signalKey } = memberSecrets(this.#serversKey, serverKey);
    const certificate = makeDeviceCertificate(serverKey, memberSeed, {
      signingKey: ed25519Public(this.#seed),
      signalKey,
      serial: 1,
    });
    const register = { name: this.name, ...(invite === undefined ? {} : { invite }) };
    return client.login({ seed: this.#seed, certificate }, { register });
  }

  leave(): void {
    this.#client?.close('bye');
  }

  /** Makes an open channel. */
  async create(name: string): Promise<{ readonly channel: ChannelId; readonly hash: Uint8Array }> {
    const body = signEvent(
      creationScope(this.#hosted.target.serverKey),
      this.#header(EVENT.control, { epoch: 0 }),
      { op: 'create', name, encryption: 'open', private: false, history: 'all' } satisfies Control,
      this.#seed,
    );
    const { channel, hash } = channelOf(body);
    const { id } = this.#last;
    await this.client.publish({ channel, id, kind: EVENT.control, checkedAt: 0, ttlSeconds: 0, body });
    return { channel, hash };
  }

  /** Signs and publishes a control operation that has seen `head`. */
  async control(
    where: { readonly channel: ChannelId; readonly hash: Uint8Array },
    control: Control,
    head: Uint8Array<ArrayBuffer>,
  ) {
    const scope = { serverId: this.#hosted.target.serverKey, channelHash: where.hash };
    const body = signEvent(scope, this.#header(EVENT.control, { epoch: 1, head }), control, this.#seed);
    const { id } = this.#last;
    return this.client.publish({ channel: where.channel, id, kind: EVENT.control, checkedAt: 1, ttlSeconds: 0, body });
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
