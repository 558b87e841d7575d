// A `sotto serve` in a process of its own, for the demo and the tests: started in its folder, and again where it was.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { SottoError } from '../protocol/errors.ts';
import { forgetRunning, noteRunning } from './left-running.ts';

/** What a server says when it is ready. */
export type Ready = {
  readonly url: string;
  readonly fingerprint: string;
  readonly metrics: string;
  readonly admin: string;
  readonly connectionsMax: number;
  readonly invite?: string;
  /** Where everybody may join. */
  readonly link?: string;
};

const READY_MS = 20_000;
const REACHABLE_MS = 90_000;
const LOOK_MS = 100;

export type ServerProcessOptions = {
  /** A program and its words that run it, as `taskset -c 0`. */
  readonly under?: readonly string[];
  /** True: it outlives this process once it is left, until `stopRunning` of its folder. */
  readonly detached?: boolean;
};

/** A server that may end and be started again. */
export class ServerProcess {
  /** Its data folder. */
  readonly data: string;
  /** The owner's link, once it was told. */
  invite = '';
  /** What it said last time. */
  ready: Ready | undefined;
  /** The lines after that. */
  readonly lines: string[] = [];
  #address = '127.0.0.1:0';
  #child: ChildProcess | undefined;
  #said = '';

  readonly #under: readonly string[];
  readonly #detached: boolean;

  constructor(data: string, { under = [], detached = false }: ServerProcessOptions = {}) {
    this.data = data;
    this.#under = under;
    this.#detached = detached;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts it, at a free port the first time; `words` are more flags of `sotto serve`. Throws when it does not become ready. */
  async start(...words: string[]): Promise<Ready> {
    const program = process.env.SOTTO_PROGRAM ?? resolve('bin/sotto');
    const where = words.includes('--onion') ? [] : ['--listen', this.#address];
    const args = ['serve', '--json', '--data-dir', this.data, ...where, ...words];
    const [first = program, ...rest] = [...this.#under, program, ...args];
    const child = spawn(first, rest, { stdio: ['ignore', 'pipe', 'pipe'], detached: this.#detached });
    this.#child = child;
    child.stderr.on('data', (chunk: Buffer) => {
      this.#said = `${this.#said}${chunk}`.slice(-2_000);
    });
    const ready = await new Promise<Ready>((done, fail) => {
      const failed = (error?: unknown) => {
        clearTimeout(late);
        child.kill();
        const why = error instanceof Error ? error.message : this.#said.trim();
        fail(new SottoError('server.unreachable', { message: `The server did not start: ${why}` }));
      };
      const late = setTimeout(failed, READY_MS);
      child.once('exit', failed);
      child.once('error', failed);
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (!line.includes('"ready"')) return void this.lines.push(line);
        clearTimeout(late);
        child.off('exit', failed);
        done(JSON.parse(line) as Ready);
      });
    });
    if (this.#detached) noteRunning(this.data, [this.pid]);
    this.ready = ready;
    this.invite = ready.invite ?? this.invite;
    const { hostname, host } = new URL(ready.url);
    if (hostname === '127.0.0.1') this.#address = host;
    return ready;
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Ends it, by SIGTERM unless another signal is named; gives its exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    child.kill(signal);
    await once(child, 'exit');
    if (this.#detached) forgetRunning(this.data);
    return child.exitCode;
  }

  /** Waits until it can be dialled, started with `--onion`. Throws when that takes too long, or `signal` is aborted. */
  async reachable(signal: AbortSignal): Promise<void> {
    const endAt = Date.now() + REACHABLE_MS;
    while (!this.lines.some((line) => line.includes('"reachable"'))) {
      signal.throwIfAborted();
      if (Date.now() > endAt)
        throw new SottoError('server.unreachable', { message: 'The server cannot be dialled yet' });
      await new Promise((done) => setTimeout(done, LOOK_MS));
    }
  }

  /** A detached one goes on without this process, which may end. */
  leave(): void {
    this.#child?.stdout?.destroy();
    this.#child?.stderr?.destroy();
    this.#child?.unref();
  }
}
