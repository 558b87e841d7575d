// A daemon in a lab, started and driven by its RPC socket.
import { type ChildProcess, spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { endDaemon } from '../cli/give.ts';
import { connectOrStart } from '../client/launch.ts';
import { type AccountPaths, accountPaths, listAccounts, type Places } from '../client/paths.ts';
import { RpcClient } from '../client/rpc-client.ts';
import type { Method, ParamsIn, Result } from '../protocol/rpc.ts';
import type { Event } from '../protocol/rpc-events.ts';

const WAIT_MS = 90_000;

/** Where things are kept that take long to make and may be lost. */
export const cacheDir = (): string =>
  join(process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? tmpdir(), '.cache'), 'sotto');

/** Ends the daemons of these accounts of a folder, of all that are there when none is named, and waits until each is gone. */
export const stopDaemons = async (places: Places, names: readonly string[] = listAccounts(places)): Promise<void> => {
  for (const name of names) {
    const client = await RpcClient.open(accountPaths(places, name, process.env).socket).catch(() => undefined);
    if (client !== undefined) await endDaemon(client).catch(() => undefined);
  }
};

/** One account of a lab. `dir` is its `--data-dir`. */
export class Actor {
  readonly #paths: AccountPaths;
  readonly #dir: string;
  #client: RpcClient | undefined;
  #listening: ChildProcess | undefined;
  #closed = false;

  constructor(paths: AccountPaths, dir: string) {
    this.#paths = paths;
    this.#dir = dir;
  }

  /** The socket of this account's Tor: where it hands over incoming streams, takes outgoing ones, and is controlled. */
  torSocket(name: 'onion' | 'socks' | 'control'): string {
    return join(this.#paths.socketDir, name);
  }

  /** Starts the daemon, or connects to the one that runs. */
  async start(): Promise<void> {
    const [program, ...flags] = this.#command();
    this.#client = await connectOrStart({ account: this.#paths, command: [program, ...flags, 'daemon', 'run'] });
    if (this.#closed) this.close();
  }

  async stop(): Promise<void> {
    if (this.#client !== undefined) await endDaemon(this.#client);
    this.#client = undefined;
  }

  /** Nothing is asked any more, also of a daemon that is being started: what waits for an answer fails. */
  close(): void {
    this.#closed = true;
    this.#client?.close();
    this.#listening?.kill();
  }

  #command(): [string, ...string[]] {
    const program = process.env.SOTTO_PROGRAM ?? resolve('bin/sotto');
    return [program, '--data-dir', this.#dir, '--account', this.#paths.name];
  }

  call<M extends Method>(method: M, params: ParamsIn<M>): Promise<Result<M>> {
    if (this.#client === undefined) throw new Error(`${this.#paths.name} does not run`);
    return this.#client.call(method, params);
  }

  /** The cursor of now, after which `sotto listen --since` tells what happens. */
  async cursor(): Promise<string> {
    const listener = await RpcClient.open(this.#paths.socket);
    try {
      return (await listener.call('event.listen', {})).cursor;
    } finally {
      listener.close();
    }
  }

  /** Runs `sotto listen` until it prints a line with `text` in it, and gives that line. */
  async hears(text: string, words: readonly string[]): Promise<string> {
    const [program, ...flags] = this.#command();
    const child = spawn(program, [...flags, 'listen', ...words], {
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: WAIT_MS,
    });
    this.#listening = child;
    if (this.#closed) child.kill();
    try {
      for await (const line of createInterface(child.stdout)) if (line.includes(text)) return line;
    } finally {
      child.kill();
    }
    throw new Error(`${this.#paths.name} did not hear ${text}`);
  }

  /** Looks again after every event, until `look` gives something. */
  async until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
    const watcher = await RpcClient.open(this.#paths.socket);
    let wake: () => void = () => {};
    watcher.onEvent = (_event: Event | { kind: 'gap' }) => wake();
    const endAt = performance.now() + WAIT_MS;
    try {
      await watcher.call('event.listen', {});
      for (;;) {
        const seen = await look();
        if (seen) return seen;
        if (performance.now() > endAt) throw new Error(`${this.#paths.name} did not see ${what}`);
        await new Promise<void>((done) => {
          wake = done;
          setTimeout(done, 250);
        });
      }
    } finally {
      watcher.close();
    }
  }
}
