// A server of a simulated world: the real one on a real disk, which dies between any two steps, loses its disk, or is put back.
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../src/ports.ts';
import { SottoError } from '../../src/protocol/errors.ts';
import type { ChannelId } from '../../src/protocol/ids.ts';
import { RETENTION_MS_MIN } from '../../src/protocol/limits.ts';
import { restoreServer } from '../../src/server/backup.ts';
import { LogError } from '../../src/server/event-log.ts';
import { RoomServer } from '../../src/server/server.ts';
import { createServer, type ServerPorts, serverPaths } from '../../src/server/server-dir.ts';
import { ServerStore } from '../../src/server/server-store.ts';
import { TestLog } from '../../src/testing/log.ts';
import type { World } from '../../src/testing/people.ts';
import { seededRandom } from '../../src/testing/random.ts';
import type { MemorySockets } from '../../src/testing/sockets.ts';

/** What the disk does: takes nothing, takes all and says that it failed, or takes its time. */
type Disk = { readonly full: number; readonly unsure: number; readonly slowMs: number };
export const GOOD_DISK: Disk = { full: 0, unsure: 0, slowMs: 0 };
/** How long channels that forget keep what was said. */
export const KEPT_MS = RETENTION_MS_MIN;

const NEVER = new Promise<never>(() => {});
const ALL = { events: 1_000_000, bytes: 1e9 };
const READS = /^(get|list|count|read|resume|heads|seq|sizeOf)/;

/** One process of the server: once dead, nothing of it goes on. */
type Life = { isDead: boolean };

export class Host {
  disk = GOOD_DISK;
  readonly bugs: unknown[] = [];
  readonly #world: World;
  readonly #sockets: MemorySockets;
  readonly #random;
  readonly #dir: string;
  #life: Life = { isDead: true };
  #store: ServerStore | undefined;
  #server: RoomServer | undefined;
  #shiftMs = 0;
  #forgotten = 0;
  #busy = 0;
  #port = 0;
  #crash: { steps: number; when: 'before' | 'after'; isMachine: boolean } | undefined;

  constructor(world: World, sockets: MemorySockets, seed: number) {
    this.#world = world;
    this.#sockets = sockets;
    this.#random = seededRandom(seed ^ 0x5e77e7);
    this.#dir = join(world.dir, 'server');
    world.others.push(this);
    const settings = { name: 'home', registration: 'open', encryptAtRest: false } as const;
    createServer(this.#paths, { ...settings, serverKey: this.#random.bytes(32) }, this.#ports({ isDead: false }));
  }

  get #paths() {
    return serverPaths(this.#dir);
  }

  get isUp(): boolean {
    return this.#server !== undefined;
  }

  get server(): RoomServer {
    if (this.#server === undefined) throw new Error('the server is down');
    return this.#server;
  }

  get store(): ServerStore {
    if (this.#store === undefined) throw new Error('the server is down');
    return this.#store;
  }

  set shift(ms: number) {
    this.#shiftMs = ms;
  }

  async open(): Promise<void> {
    this.disk = GOOD_DISK;
    await this.#store?.[Symbol.asyncDispose]();
    const life = { isDead: false };
    this.#life = life;
    const ports = this.#ports(life);
    const store = ServerStore.open(this.#paths, ports);
    this.#store = store;
    const steps = {
      log: { value: this.#mortal(life, store.log) },
      state: { value: this.#mortal(life, store.state) },
      blobs: { value: this.#mortal(life, store.blobs) },
    };
    this.#server = await RoomServer.start({
      ...ports,
      store: Object.create(store, steps) as ServerStore,
      journal: new TestLog(),
      listen: [{ kind: 'tcp', host: '127.0.0.1', port: this.#port, tls: 'none' }],
      origins: [],
      proxies: [],
      createServer: this.#sockets.serverOf(life),
      bug: (error) => {
        if (!life.isDead) this.bugs.push(error);
      },
    });
    this.#port = Number(new URL(this.#server.urls[0] ?? '').port);
  }

  /** Ends as SIGTERM does; or dies on the way, of what was about to kill it. */
  async stop(): Promise<void> {
    this.#crash = undefined;
    const [server, store, life] = [this.#server, this.#store, this.#life];
    this.#server = undefined;
    let isOver = false;
    const ending = (async () => server?.[Symbol.asyncDispose]())().finally(() => {
      isOver = true;
    });
    while (!isOver && !life.isDead) await this.#world.settle(100);
    if (!isOver) return;
    await ending;
    life.isDead = true;
    await store?.[Symbol.asyncDispose]();
  }

  /** Dies now; with its machine, those who are connected hear nothing of it. */
  die(isMachine = false): void {
    this.#life.isDead = true;
    this.#crash = undefined;
    this.#sockets.drop(this.#life, isMachine);
    this.#server = undefined;
  }

  /** Channels forget what was said, as if that was long ago; each time longer, as what comes meanwhile is of then. */
  async forget(): Promise<void> {
    const { server } = this;
    const wasMs = this.#shiftMs;
    this.#shiftMs += ++this.#forgotten * 2 * KEPT_MS;
    server.jobs.run('retain').catch((error: unknown) => this.bugs.push(error));
    await this.#world.settle(1_000);
    this.#shiftMs = wasMs;
  }

  /** Dies before or after so many steps of its store. */
  crashAt(steps: number, when: 'before' | 'after', isMachine: boolean): void {
    this.#crash = { steps, when, isMachine };
  }

  /** Nothing kills it any more. */
  spare(): void {
    this.#crash = undefined;
  }

  /** Copies the server as it is now, in place of the copy before. */
  async backup(): Promise<void> {
    rmSync(this.#copy, { recursive: true, force: true });
    await this.store.backup(this.#copy);
  }

  /** Replaces the server, which must not run, by one that is made of the copy. */
  async restore(): Promise<void> {
    await this.#store?.[Symbol.asyncDispose]();
    this.#store = undefined;
    rmSync(this.#dir, { recursive: true });
    const ports = this.#ports({ isDead: false });
    const made = serverPaths(`${this.#dir}.made`);
    await restoreServer(this.#copy, made, ports);
    renameSync(made.dir, this.#dir);
  }

  /** Ids of all events that are in channels and inboxes. */
  async ids(): Promise<Set<string>> {
    const { log, state } = this.store;
    const [channels, members] = [await state.listChannels(undefined, 100), await state.listMembers(undefined, 100)];
    const ids = new Set<string>();
    for (const { id } of [...channels, ...members])
      for (const event of await log.read(id as ChannelId, 0, ALL)) ids.add(event.id);
    return ids;
  }

  async settled(): Promise<void> {
    while (this.#busy > 0) await new Promise((done) => setImmediate(done));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.die();
    await this.#store?.[Symbol.asyncDispose]();
  }

  get #copy(): string {
    return `${this.#dir}.copy`;
  }

  #ports(life: Life): ServerPorts {
    const { clock } = this.#world;
    const mortal: Clock = {
      now: () => clock.now() + this.#shiftMs,
      monotonic: () => clock.monotonic(),
      after: (ms, fire) => clock.after(ms, () => (life.isDead ? undefined : fire())),
    };
    const turn = async (): Promise<void> => {
      this.#busy++;
      await new Promise((done) => setImmediate(done));
      this.#busy--;
      if (life.isDead) await NEVER;
    };
    return { clock: mortal, random: this.#random, turn };
  }

  // Every call of the store is a step: before and after it the process may die, and the disk may do what it likes with it.
  #mortal<T extends object>(life: Life, part: T): T {
    return new Proxy(part, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        if (name === 'list') return value.bind(target);
        return (...args: unknown[]) => this.#step(life, String(name), () => value.apply(target, args));
      },
    });
  }

  async #step<R>(life: Life, name: string, body: () => Promise<R>): Promise<R> {
    if (life.isDead) return NEVER;
    const crash = this.#crash;
    if (crash !== undefined && --crash.steps <= 0 && crash.when === 'before') return this.#dieIn(crash.isMachine);
    await this.#slow();
    if (life.isDead) return NEVER;
    const { full, unsure } = this.disk;
    const isWrite = !READS.test(name);
    const roll = isWrite && full + unsure > 0 ? this.#random.fraction() : 1;
    if (roll < full) throw failed(name, 'unavailable');
    const result = await this.#counted(body);
    if (roll < full + unsure) throw failed(name, 'unknown');
    await this.#slow();
    if (life.isDead) return NEVER;
    if (crash !== undefined && crash.steps <= 0) return this.#dieIn(crash.isMachine);
    return result;
  }

  async #slow(): Promise<void> {
    const { slowMs } = this.disk;
    if (slowMs === 0) return;
    const wait = this.#random.fraction() * slowMs;
    await new Promise<void>((done) => this.#world.clock.after(wait, done));
  }

  // Blobs are files: what is done with them takes turns of the event loop.
  async #counted<R>(body: () => Promise<R>): Promise<R> {
    this.#busy++;
    try {
      return await body();
    } finally {
      this.#busy--;
    }
  }

  #dieIn(isMachine: boolean): Promise<never> {
    this.die(isMachine);
    return NEVER;
  }
}

const LOG_WRITES = new Set(['append', 'erase', 'prune']);

const failed = (name: string, certainty: LogError['certainty']): Error => {
  const cause = new SottoError('disk.full');
  return LOG_WRITES.has(name) ? new LogError(certainty, { cause }) : cause;
};
