// A `sotto serve` in a process of its own, for the demo and the tests: started in its folder, and again where it was.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { SottoError } from '../protocol/errors.ts';

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

  /** `under`: a program and its words that run it, as `taskset -c 0`. */
  constructor(data: string, under: readonly string[] = []) {
    this.data = data;
    this.#under = under;
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
    const child = spawn(first, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
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
    return child.exitCode;
  }
}
