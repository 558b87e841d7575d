// People for tests: real accounts on real stores, talking over a memory network under a manual clock.
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Account, createAccount } from '../core/account.ts';
import { MemoryHub } from '../net/memory-network.ts';
import { noServers } from '../net/server-network.ts';
import type { Clock, ServerNetwork } from '../ports.ts';
import type { AccountMethod, ParamsIn, Result } from '../protocol/rpc.ts';
import { ACCOUNT_METHODS } from '../protocol/rpc-account.ts';
import type { Contact, Message } from '../protocol/rpc-objects.ts';
import { type Database, openDatabase } from '../sqlite/open.ts';
import { migrate } from '../store/migrations.ts';
import { ManualClock } from './clock.ts';
import { TestLog } from './log.ts';
import { seededRandom } from './random.ts';

const SETTLE_ROUNDS_MAX = 100_000;
const DURING_MS = 50;
const DURING_ROUNDS_MAX = 10_000;

/** How one program reaches servers of rooms; `drop` when it ends. */
export type Way = ServerNetwork & { drop(): void };

/** A world with its own time, network and people. */
export class World implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly random;
  readonly hub: MemoryHub;
  readonly dir: string;
  /** Whatever else acts in it comes to rest before time moves on. */
  readonly others: { settled(): Promise<void> }[] = [];
  /** The way of somebody's program, which has this clock. */
  wayFor: (name: string, clock: Clock) => Way = () => ({ ...noServers, drop: () => {} });
  readonly #people: Person[] = [];

  constructor(seed = 1) {
    this.random = seededRandom(seed);
    this.hub = new MemoryHub(this.clock, this.random);
    // Memory, where there is some: these tests are about order and crashes of programs, not of disks.
    this.dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'sotto-world-'));
  }

  /** A new account that is online; or another machine of somebody, who has restored theirs there. */
  async person(name: string, restored?: Person): Promise<Person> {
    const person = new Person(this, name);
    this.#people.push(person);
    person.create(restored?.root ?? this.random.bytes(16));
    await person.open();
    return person;
  }

  /** Two people who have accepted each other. */
  async friends(): Promise<{ alice: Person; bob: Person }> {
    const [alice, bob] = [await this.person('alice'), await this.person('bob')];
    await this.befriend(alice, bob);
    return { alice, bob };
  }

  async befriend(one: Person, two: Person): Promise<void> {
    await one.call('contact.add', { address: two.address, name: two.name });
    await this.settle();
    const [request] = await two.call('contact.requests', {});
    if (request === undefined) throw new Error('no request came');
    await two.call('contact.accept', { contact: request.id, name: one.name });
    await this.settle();
  }

  /** A file of the newest schema with nobody's account in it: made once, for it takes long. */
  emptyDatabase(): string {
    const path = join(this.dir, 'empty');
    if (existsSync(path)) return path;
    using db = openDatabase(path, KEY);
    migrate(db);
    return path;
  }

  /** Runs queues and timers of the next `ms` until nothing more happens within them. */
  async settle(ms = 1_000): Promise<void> {
    const until = this.clock.monotonic() + ms;
    for (let round = 0; round < SETTLE_ROUNDS_MAX; round++) {
      await this.#quiet();
      if (!this.clock.step(until)) {
        this.clock.moveTo(until);
        return;
      }
    }
    throw new Error('the world does not come to rest');
  }

  /** Lets time pass until a call has ended, and gives what it gives. */
  async during<T>(call: Promise<T>): Promise<T> {
    let isOver = false;
    const over = (): void => {
      isOver = true;
    };
    call.then(over, over);
    for (let round = 0; round < DURING_ROUNDS_MAX && !isOver; round++) await this.settle(DURING_MS);
    if (!isOver) throw new Error('a call is never answered');
    return call;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const person of this.#people) await person.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  async #quiet(): Promise<void> {
    for (let calm = 0; calm < 3; calm++) {
      await new Promise((resolve) => setImmediate(resolve));
      for (const one of [...this.#people, ...this.others]) await one.settled();
    }
  }
}

/** One account in a world. */
export class Person {
  readonly name: string;
  readonly log = new TestLog();
  readonly #world: World;
  readonly #dir: string;
  #account: Account | undefined;
  #crash: { commits: number; when: 'before' | 'after' } | undefined;
  #dead = false;
  /** Who waits for what may end by death. */
  readonly #mourners = new Set<() => void>();
  #generation = 0;
  #db: Database | undefined;
  #way: Way | undefined;
  #address = '';
  #root = new Uint8Array();
  #shiftMs = 0;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
    this.#dir = join(world.dir, name);
    mkdirSync(this.#dir, { mode: 0o700 });
  }

  get address(): string {
    return this.#address;
  }

  get db(): Database {
    if (this.#db === undefined) throw new Error(`${this.name} is closed`);
    return this.#db;
  }

  get account(): Account {
    if (this.#account === undefined) throw new Error(`${this.name} is closed`);
    return this.#account;
  }

  /** What the recovery phrase says; known once created. */
  get root(): Uint8Array<ArrayBuffer> {
    return this.#root;
  }

  create(root: Uint8Array<ArrayBuffer>): void {
    this.#root = root;
    copyFileSync(this.#world.emptyDatabase(), join(this.#dir, 'db'));
    using db = openDatabase(join(this.#dir, 'db'), KEY);
    createAccount(db, {
      root,
      nickname: this.name,
      random: this.#world.random,
      clock: this.#world.clock,
    });
  }

  async open(): Promise<void> {
    const db = openDatabase(join(this.#dir, 'db'), KEY);
    migrate(db);
    this.#db = db;
    this.#dead = false;
    this.#mortal(db);
    const generation = ++this.#generation;
    const clock = this.#mortalClock(generation);
    this.#way = this.#world.wayFor(this.name, clock);
    this.#account = await Account.open({
      name: this.name,
      db,
      servers: this.#way,
      network: this.#world.hub.join(),
      clock,
      random: this.#world.random,
      log: this.log,
      filesDir: join(this.#dir, 'files'),
      bug: (error) => {
        if (!this.#dead && generation === this.#generation) throw error;
      },
    });
    this.#address = (await this.call('account.show', {})).address;
  }

  /** The time of day of this person's machine is so far from that of the world; timers do not notice. */
  set shift(ms: number) {
    this.#shiftMs = ms;
  }

  /** True while the account runs. */
  get isOpen(): boolean {
    return this.#account !== undefined;
  }

  /** The next commits count down; then the program dies, before or after that commit, and nothing of it goes on. */
  crashAt(commits: number, when: 'before' | 'after'): void {
    this.#crash = { commits, when };
  }

  /** Dies now: no goodbye, nothing finished. What was committed is there when it opens again. */
  die(): void {
    this.#dead = true;
    for (const mourner of this.#mourners) mourner();
    this.#world.hub.drop(this.#address);
    this.#way?.drop();
    this.#account = undefined;
    this.#db?.[Symbol.dispose]();
    this.#db = undefined;
    this.#crash = undefined;
  }

  async close(): Promise<void> {
    await this.#account?.[Symbol.asyncDispose]();
    this.#way?.drop();
    this.#db?.[Symbol.dispose]();
    this.#account = undefined;
    this.#db = undefined;
  }

  /** Copies the data directory as it is now, as a snapshot of a running machine does. */
  copy(): void {
    rmSync(this.#copy, { recursive: true, force: true });
    cpSync(this.#dir, this.#copy, { recursive: true });
  }

  /** True when there is a copy to put back. */
  get hasCopy(): boolean {
    return existsSync(this.#copy);
  }

  /** Replaces the data directory by its copy. The account must not run. */
  putBack(): void {
    if (this.isOpen) throw new Error(`${this.name} still runs`);
    rmSync(this.#dir, { recursive: true });
    cpSync(this.#copy, this.#dir, { recursive: true });
  }

  get #copy(): string {
    return `${this.#dir}.copy`;
  }

  // Every transaction goes through here, so that a crash can come between any two of them.
  #mortal(db: Database): void {
    const run = db.transaction.bind(db);
    let depth = 0;
    db.transaction = <T>(body: () => T): T => {
      const crash = depth === 0 ? this.#crash : undefined;
      if (crash !== undefined && --crash.commits <= 0 && crash.when === 'before') {
        this.die();
        throw new Error('crashed before a commit');
      }
      depth++;
      try {
        const result = run(body);
        if (crash !== undefined && crash.commits <= 0) {
          this.die();
          throw new Error('crashed after a commit');
        }
        return result;
      } finally {
        depth--;
      }
    };
  }

  // A program that died has no timers any more.
  #mortalClock(generation: number): Clock {
    const { clock } = this.#world;
    return {
      now: () => clock.now() + this.#shiftMs,
      monotonic: () => clock.monotonic(),
      after: (ms, fire) =>
        clock.after(ms, () => {
          if (!this.#dead && generation === this.#generation) fire();
        }),
    };
  }

  settled(): Promise<void> {
    return this.#orDeath(this.#account?.settled() ?? Promise.resolve(), (resolve) => resolve());
  }

  /** Calls a method with defaults filled in, as the daemon does. Throws when what comes back is not what its table says. */
  call<M extends AccountMethod>(method: M, params: ParamsIn<M>): Promise<Result<M>> {
    const parsed = ACCOUNT_METHODS[method].params.parse(params);
    const done = this.account.call(method, parsed as never).then((result) => {
      ACCOUNT_METHODS[method].result.parse(result);
      return result;
    });
    return this.#orDeath(done, (_, reject) => reject(new Error(`${this.name} died`)));
  }

  // No race with a promise that lives longer than the work: it would keep every one of them.
  #orDeath<T>(
    work: Promise<T>,
    died: (resolve: (value: T) => void, reject: (error: Error) => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const mourner = (): void => died(resolve, reject);
      work.then(resolve, reject).finally(() => this.#mourners.delete(mourner));
      // It may have come with the first step of the work.
      if (this.#dead) mourner();
      else this.#mourners.add(mourner);
    });
  }

  async send(to: Person | string, text: string, more: Partial<ParamsIn<'message.send'>> = {}): Promise<Message> {
    const conversation = typeof to === 'string' ? to : to.name;
    return (await this.call('message.send', { conversation, text, ...more })).message;
  }

  /** Bodies of a conversation, oldest first. */
  async read(from: Person | string): Promise<string[]> {
    return (await this.messages(from)).map((message) => message.body);
  }

  async messages(from: Person | string): Promise<Message[]> {
    const conversation = typeof from === 'string' ? from : from.name;
    return (await this.call('message.list', { conversation, limit: 1000 })).messages;
  }

  contact(name: string): Promise<Contact> {
    return this.call('contact.show', { contact: name });
  }
}

/** The database key of every person. */
export const KEY = new Uint8Array(32).fill(3);
