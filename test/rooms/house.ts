// People in rooms: daemons without Tor, driven by command line or RPC, and a real `sotto serve` beside them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { openAccountDatabase, openAccountVault } from '../../src/daemon/account-dir.ts';
import type { Method, ParamsIn, Result } from '../../src/protocol/rpc.ts';
import type { Event, GapEvent } from '../../src/protocol/rpc-events.ts';
import type { Message } from '../../src/protocol/rpc-objects.ts';
import type { Database } from '../../src/sqlite/open.ts';
import { checkDatabase } from '../../src/store/check.ts';
import { pathsOf } from '../daemon/furnished.ts';
import { Stage, type User } from '../e2e/stage.ts';
import { Program } from './program.ts';

/** Something that people are on: it gives links, and ends. */
export type Home = { readonly invite: string; stop(): Promise<unknown> };

/** A server and the people on it. */
export class House<At extends Home = Program> implements AsyncDisposable {
  readonly stage = new Stage({ offline: true });
  readonly server: At;
  readonly label: string;
  readonly #guests: Guest[] = [];
  readonly #others: Program[] = [];

  private constructor(label: string, server: (dir: string) => At) {
    this.label = label;
    this.server = server(join(this.stage.dir, '..', 'server'));
  }

  /** Starts a server and lets people in; the first one owns it. */
  static async open<const Names extends readonly string[]>(
    ...names: Names
  ): Promise<{ readonly house: House } & { readonly [Name in Names[number]]: Guest }> {
    const house = new House('home', (dir) => new Program(dir));
    await house.server.start();
    return house.#let(names);
  }

  /** Lets people into a server that runs already; the first one owns it. */
  static around<At extends Home, const Names extends readonly string[]>(
    server: At,
    ...names: Names
  ): Promise<{ readonly house: House<At> } & { readonly [Name in Names[number]]: Guest }> {
    return new House<At>('home', () => server).#let(names);
  }

  async #let<const Names extends readonly string[]>(
    names: Names,
  ): Promise<{ readonly house: House<At> } & { readonly [Name in Names[number]]: Guest }> {
    const guests = await Promise.all(names.map((name) => this.guest(name)));
    const [owner, ...others] = guests;
    if (owner === undefined) throw new Error('nobody is there');
    await owner.call('server.join', { link: this.server.invite, name: owner.name, label: this.label });
    if (others.length > 0) {
      const link = await owner.invite(others.length);
      await Promise.all(
        others.map((guest) => guest.call('server.join', { link, name: guest.name, label: this.label })),
      );
    }
    return Object.assign({ house: this }, Object.fromEntries(guests.map((guest) => [guest.name, guest]))) as never;
  }

  /** Somebody with an account that is open, and in no server yet. */
  async guest(name: string): Promise<Guest> {
    const user = this.stage.stranger(name);
    const made = await user.one<{ recoveryPhrase: string }>('init', '--nickname', name, '--no-passphrase');
    const guest = new Guest(user, made.recoveryPhrase);
    this.#guests.push(guest);
    await guest.connect();
    return guest;
  }

  /** Another device of somebody, from the recovery phrase; in no server yet. */
  async device(of: Guest, name: string): Promise<Guest> {
    const user = this.stage.stranger(name);
    await user.ok('restore', '-', '--no-passphrase', { input: of.phrase });
    const guest = this.welcome(new Guest(user, of.phrase));
    await guest.connect();
    return guest;
  }

  /** Looks after somebody who was made elsewhere. */
  welcome(guest: Guest): Guest {
    this.#guests.push(guest);
    return guest;
  }

  /** Another server beside. */
  async another(): Promise<Program> {
    const serving = new Program(join(this.stage.dir, '..', `server-${this.#others.length + 2}`));
    this.#others.push(serving);
    await serving.start();
    return serving;
  }

  /** What the daemons reported as faults of their own. */
  bugs(): string[] {
    return this.#guests.flatMap((guest) => guest.bugs());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const bugs = this.bugs();
    for (const guest of this.#guests) guest.disconnect();
    await Promise.all([this.server.stop(), ...this.#others.map((one) => one.stop())]);
    await Promise.all(this.#guests.map(({ user }) => user.run('daemon', 'stop')));
    for (const guest of this.#guests) {
      const wrong = await guest.look((db) => checkDatabase(db, { deep: false }));
      bugs.push(...wrong.map((one) => `${guest.name}: ${one}`));
    }
    await this.stage[Symbol.asyncDispose]();
    if (bugs.length > 0) throw new Error(`daemons have faults:\n${bugs.join('\n')}`);
  }
}

/** One person: an account, its daemon, and its events since the start. */
export class Guest {
  readonly user: User;
  readonly events: Event[] = [];
  #client: RpcClient | undefined;
  readonly phrase: string;
  #look: () => void = () => {};

  constructor(user: User, phrase = '') {
    this.user = user;
    this.phrase = phrase;
  }

  get name(): string {
    return this.user.name;
  }

  async connect(): Promise<void> {
    const client = await RpcClient.open(pathsOf(this.user).socket);
    this.#client = client;
    client.onEvent = (event: Event | GapEvent) => {
      if (event.kind !== 'gap') this.events.push(event);
      this.#look();
    };
    // Who comes back hears what was told before they were here.
    const since = this.events.findLast(({ cursor }) => cursor !== undefined)?.cursor;
    await client.call('event.listen', since === undefined ? {} : { since });
  }

  /** Starts the daemon again after it died. */
  async back(): Promise<void> {
    this.disconnect();
    await this.user.ok('daemon', 'start');
    await this.connect();
  }

  /** Waits until the daemon has taken what its first server had for it. */
  async online(): Promise<void> {
    await this.sees('the server', async () => (await this.call('server.list', {}))[0]?.state === 'online');
  }

  /** Looks into the account's store. Its daemon may run. */
  async look<T>(step: (db: Database) => T): Promise<T> {
    const paths = pathsOf(this.user);
    using db = openAccountDatabase(paths, await openAccountVault(paths, undefined));
    return step(db);
  }

  disconnect(): void {
    this.#client?.close();
  }

  call<M extends Method>(method: M, params: ParamsIn<M>): Promise<Result<M>> {
    if (this.#client === undefined) throw new Error(`${this.name} is not connected`);
    return this.#client.call(method, params);
  }

  /** The code of the error that a call ends with. */
  refused<M extends Method>(method: M, params: ParamsIn<M>): Promise<string> {
    return this.call(method, params).then(
      () => 'nothing was refused',
      (error: { code: string }) => error.code,
    );
  }

  async invite(uses = 1): Promise<string> {
    return (await this.call('server.invite', { uses })).link ?? '';
  }

  /** Sends and waits for the server's answer. */
  async say(conversation: string, text: string, more: Partial<ParamsIn<'message.send'>> = {}): Promise<Message> {
    const { message, reached } = await this.call('message.send', { conversation, text, wait: 'sent', ...more });
    if (!reached) throw new Error(`${text}: ${message.state} ${message.reason}`);
    return message;
  }

  async messages(conversation: string, more: Partial<ParamsIn<'message.list'>> = {}): Promise<Message[]> {
    return (await this.call('message.list', { conversation, limit: 1000, ...more })).messages;
  }

  async bodies(conversation: string, more: Partial<ParamsIn<'message.list'>> = {}): Promise<string[]> {
    return (await this.messages(conversation, more)).map(({ body }) => body);
  }

  /** Looks again after every event, until `look` gives something. */
  async sees<T>(what: string, look: () => Promise<T | undefined | false>, timeoutMs = 180_000): Promise<T> {
    const endAt = Date.now() + timeoutMs;
    for (;;) {
      const event = new Promise<void>((resolve) => {
        this.#look = resolve;
      });
      const seen = await look();
      if (seen) return seen;
      const left = endAt - Date.now();
      if (left <= 0) throw new Error(`${this.name} did not see ${what}; ${await this.#place()}`);
      // An event is the sign to look; what comes without one is looked for now and then.
      let timer: NodeJS.Timeout | undefined;
      const pause = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, Math.min(left, 250));
      });
      await Promise.race([event, pause]);
      clearTimeout(timer);
    }
  }

  // What may be the reason that something is not seen.
  async #place(): Promise<string> {
    const servers = await this.call('server.list', {});
    const told = this.events.slice(-10).map(({ kind }) => kind);
    return JSON.stringify({ servers, told, bugs: this.bugs() });
  }

  /** Waits for a message with this body, and gives it. */
  reads(conversation: string, body: string): Promise<Message> {
    return this.sees(`${body} in ${conversation}`, async () =>
      (await this.messages(conversation)).find((message) => message.body === body),
    );
  }

  bugs(): string[] {
    const log = readFileSync(pathsOf(this.user).log, 'utf8');
    return log.split('\n').filter((line) => /"bug"|internal\.bug/.test(line));
  }
}
