// Accounts inside this process, on the product's core and link, over streams of this machine and without Tor.
import { mkdirSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { Account, createAccount } from '../../core/account.ts';
import { addressOf } from '../../crypto/address.ts';
import { systemClock, systemRandom } from '../../machine.ts';
import { openLink } from '../../net/link.ts';
import { ONLINE } from '../../net/memory-network.ts';
import { noServers } from '../../net/server-network.ts';
import type { DialOptions, Link, LinkEvents, LocalKeys, Network, NetworkEvents } from '../../ports.ts';
import type { AccountMethod, ParamsIn, Result } from '../../protocol/rpc.ts';
import { ACCOUNT_METHODS } from '../../protocol/rpc-account.ts';
import { openDatabase } from '../../sqlite/open.ts';
import { migrate } from '../../store/migrations.ts';
import type { Actor } from '../actor.ts';
import type { Bench } from './figure.ts';
import { befriend, WAIT_MS, withNetwork } from './scene.ts';

/** The Unix socket at which an address takes streams. */
type Route = (address: string) => string;

/** `Network` of ports.ts whose streams come from a route. */
class LocalNetwork implements Network {
  readonly state = ONLINE;
  readonly #route: Route;
  #keys: LocalKeys | undefined;
  #events: NetworkEvents | undefined;

  readonly #wrote: (bytes: number) => void;

  constructor(route: Route, wrote: (bytes: number) => void) {
    this.#route = route;
    this.#wrote = wrote;
  }

  async start(keys: LocalKeys, events: NetworkEvents): Promise<void> {
    this.#keys = keys;
    this.#events = events;
    events.state(ONLINE);
  }

  async dial(address: string, attach: (link: Link) => LinkEvents, _options: DialOptions): Promise<Link> {
    return await this.#open(connect(this.#route(address)), 'dial', address, attach);
  }

  /** Takes a stream that another account has opened to this one. */
  async take(stream: Socket): Promise<void> {
    const { keys, events } = this.#started();
    await this.#open(stream, 'accept', addressOf(keys.publicKeys.identityKey), events.incoming);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #started() {
    if (this.#keys === undefined || this.#events === undefined) throw new Error('the network is not started');
    return { keys: this.#keys, events: this.#events };
  }

  #open(stream: Socket, role: 'dial' | 'accept', address: string, attach: (link: Link) => LinkEvents): Promise<Link> {
    const { keys, events } = this.#started();
    const { admit } = events;
    listenToWrites(stream, this.#wrote);
    return openLink({ stream, role, keys, address, admit, clock: systemClock, random: systemRandom, attach });
  }
}

/** One account of this process. */
export class Neighbour implements AsyncDisposable {
  readonly #account: Account;
  readonly #end: () => void;

  private constructor(account: Account, end: () => void) {
    this.#account = account;
    this.#end = end;
  }

  /**
   * A new account whose files are in `dir` and which takes streams at `dir/onion`. Its own commits are not waited for, as
   * they are not what is measured. `wrote` hears the size of each of its writes.
   */
  static async open(
    dir: string,
    name: string,
    route: Route,
    wrote: (bytes: number) => void = () => {},
  ): Promise<Neighbour> {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const db = openDatabase(join(dir, 'db'), systemRandom.bytes(32));
    migrate(db);
    db.exec('PRAGMA synchronous = OFF');
    createAccount(db, { root: systemRandom.bytes(16), nickname: name, random: systemRandom, clock: systemClock });
    const network = new LocalNetwork(route, wrote);
    const silent = (): void => {};
    const account = await Account.open({
      servers: noServers,
      name,
      db,
      network,
      clock: systemClock,
      random: systemRandom,
      log: { debug: silent, info: silent, warn: silent, error: silent },
      filesDir: join(dir, 'files'),
      bug: (error) => {
        throw error;
      },
    });
    const server = createServer((stream) => void network.take(stream).catch(() => stream.destroy()));
    await new Promise<void>((done) => server.listen(join(dir, 'onion'), done));
    return new Neighbour(account, () => {
      server.close();
      db[Symbol.dispose]();
    });
  }

  call<M extends AccountMethod>(method: M, params: ParamsIn<M>): Promise<Result<M>> {
    return this.#account.call(method, ACCOUNT_METHODS[method].params.parse(params) as never);
  }

  /** Looks every 20 ms until `look` gives something. */
  async until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
    const endAt = performance.now() + WAIT_MS;
    for (;;) {
      const seen = await look();
      if (seen) return seen;
      if (performance.now() > endAt) throw new Error(`a neighbour did not see ${what}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#account[Symbol.asyncDispose]();
    this.#end();
  }
}

/** Two friends in this process, called `one` and `two`; `wrote` hears the size of each write and who made it. */
export const withPair = async <T>(
  bench: Bench,
  wrote: (by: 'one' | 'two', bytes: number) => void,
  body: (one: Neighbour, two: Neighbour) => Promise<T>,
): Promise<T> => {
  const addresses = new Map<string, string>();
  const route: Route = (address) => join(bench.dir, addresses.get(address) ?? '', 'onion');
  const open = async (name: 'one' | 'two'): Promise<Neighbour> => {
    const member = await Neighbour.open(join(bench.dir, name), name, route, (bytes) => wrote(name, bytes));
    addresses.set((await member.call('account.show', {})).address, name);
    return member;
  };
  await using one = await open('one');
  await using two = await open('two');
  await befriend(one, two, { one: 'one', two: 'two' });
  return await body(one, two);
};

const listenToWrites = (stream: Socket, wrote: (bytes: number) => void): void => {
  const write = stream.write.bind(stream) as (chunk: Uint8Array, written?: () => void) => boolean;
  stream.write = ((chunk: Uint8Array, written?: () => void) => {
    wrote(chunk.length);
    return write(chunk, written);
  }) as typeof stream.write;
};

/** A real daemon `alice` on a private Tor network, with `count` friends in this process who come in where Tor would. */
export const withNeighbours = <T>(
  bench: Bench,
  count: number,
  body: (alice: Actor, neighbours: readonly Neighbour[]) => Promise<T>,
): Promise<T> =>
  withNetwork(bench, async ({ actor }) => {
    const alice = await actor('alice');
    const onionSocket = alice.torSocket('onion');
    const neighbours: Neighbour[] = [];
    try {
      for (let i = 0; i < count; i++) {
        const neighbour = await Neighbour.open(join(bench.dir, `n${i}`), `n${i}`, () => onionSocket);
        neighbours.push(neighbour);
        await befriend(neighbour, alice, { one: `n${i}`, two: 'alice' });
      }
      return await body(alice, neighbours);
    } finally {
      for (const neighbour of neighbours) await neighbour[Symbol.asyncDispose]();
    }
  });
