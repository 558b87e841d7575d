// Real people for end-to-end tests: daemons of their own driven through bin/sotto only, on one private Tor network.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { inject } from 'vitest';
import { accountPaths, placesOf } from '../../src/client/paths.ts';
import type { FileObject } from '../../src/protocol/rpc-objects.ts';
import { runInProcess } from './in-process.ts';

const PROGRAM = resolve('bin/sotto');
const LOG_LINES_TOLD = 30;

export type Ran<T> = {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** The JSON objects on stdout. */
  readonly items: T[];
  /** The error object on stderr. */
  readonly error: RanError | undefined;
};

type RanError = {
  readonly code: string;
  readonly message: string;
  readonly exit: number;
  readonly details: { readonly candidates?: readonly string[]; readonly more?: number };
};

type RunOptions = {
  readonly input?: string | Buffer;
  readonly env?: Record<string, string>;
  readonly json?: boolean;
  readonly cwd?: string;
  /** Another program than sotto. */
  readonly program?: string;
};

/** Runs a program to its end. */
export const run = (
  args: readonly string[],
  options: RunOptions = {},
): Promise<{ code: number; out: Buffer; err: string }> =>
  new Promise((done, fail) => {
    const child = spawn(options.program ?? PROGRAM, args, {
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.on('error', fail);
    child.on('close', (code) => done({ code: code ?? 1, out: Buffer.concat(out), err: Buffer.concat(err).toString() }));
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
  });

type StageOptions = {
  readonly offline?: boolean;
  /** The private Tor network; that of the test run where none is named. */
  readonly network?: string;
  readonly name?: string;
  /** Each command is a process, as it always is with Tor. */
  readonly processes?: boolean;
};

/** A folder with accounts that share a private Tor network, or are offline. */
export class Stage implements AsyncDisposable {
  readonly dir: string;
  readonly #people: User[] = [];
  readonly #processes: boolean;

  constructor(options: StageOptions = {}) {
    this.#processes = options.processes ?? options.offline !== true;
    this.dir = join(mkdtempSync(join(tmpdir(), 'sotto-e2e-')), options.name ?? 'd');
    mkdirSync(this.dir, { mode: 0o700 });
    this.configure(
      options.offline === true
        ? '[tor]\noffline = true\n'
        : `[tor]\nnetwork = ${JSON.stringify(options.network ?? inject('torNetworkFile'))}\n`,
    );
  }

  /** Writes config.toml. */
  configure(toml: string): void {
    writeFileSync(join(this.dir, 'config.toml'), toml, { mode: 0o600 });
  }

  /** Takes a Tor that is none, and behaves as `test/tor/false-tor.ts` says. */
  useFalseTor(manner: 'silent' | 'skewed'): void {
    const binary = join(this.dir, `${manner}-tor`);
    const program = `exec ${process.execPath} ${resolve('test/tor/false-tor.ts')} ${manner}`;
    writeFileSync(binary, `#!/bin/sh\n${program} "$@"\n`, { mode: 0o700 });
    this.configure(`[tor]\nbinary = ${JSON.stringify(binary)}\n`);
  }

  /** A user with an account that is open; reachable unless the stage is offline. */
  async user(name: string, options: { readonly reachable?: boolean } = {}): Promise<User> {
    const user = this.stranger(name);
    await user.ok('init', '--nickname', name, '--no-passphrase');
    if (options.reachable !== false) await user.ok('daemon', 'start', '--wait', 'reachable', '--timeout', '100s');
    return user;
  }

  /** A user without an account. */
  stranger(name: string): User {
    const user = new User(this.dir, name, { processes: this.#processes });
    this.#people.push(user);
    return user;
  }

  /** Two users who have accepted each other. */
  async friends(): Promise<{ alice: User; bob: User }> {
    const [alice, bob] = await Promise.all([this.user('alice'), this.user('bob')]);
    await this.befriend(alice, bob);
    return { alice, bob };
  }

  async befriend(one: User, two: User): Promise<void> {
    const { link } = await two.one<{ link: string }>('id');
    await one.ok('contact', 'add', link, '--name', two.name);
    const request = await two.until(
      'a request',
      async () => (await two.items<{ id: string }>('contact', 'requests'))[0],
    );
    await two.ok('contact', 'accept', request.id, '--name', one.name);
    await one.until('acceptance', async () =>
      (await one.items<{ name: string; state: string }>('contact', 'list')).some(
        (c) => c.name === two.name && c.state === 'accepted',
      ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#people.map((user) => user.run('daemon', 'stop')));
    rmSync(join(this.dir, '..'), { recursive: true, force: true });
  }
}

/** One account, seen through its command line. */
export class User {
  readonly name: string;
  readonly dir: string;
  readonly #processes: boolean;
  #looks = 0;

  constructor(dir: string, name: string, options: { readonly processes: boolean } = { processes: true }) {
    this.dir = dir;
    this.name = name;
    this.#processes = options.processes;
  }

  /** A shell's words for a command of this user. */
  words(command: string): string {
    return `${PROGRAM} --data-dir ${this.dir} --account ${this.name} ${command}`;
  }

  async run<T = Record<string, unknown>>(...args: (string | RunOptions)[]): Promise<Ran<T>> {
    const last = args.at(-1);
    const options = typeof last === 'object' ? last : {};
    const words = args.filter((one): one is string => typeof one === 'string');
    const flags = ['--data-dir', this.dir, '--account', this.name, ...(options.json === false ? [] : ['--json'])];
    const { code, out, err } = await this.#run([...flags, ...words], options);
    const parse = (text: string) =>
      text
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line));
    return {
      code,
      out: out.toString(),
      err,
      items: options.json === false ? [] : (parse(out.toString()) as T[]),
      error: parse(err).at(-1),
    };
  }

  #run(argv: readonly string[], options: RunOptions): ReturnType<typeof run> {
    const { env, cwd, program, input = '' } = options;
    const isPlain = env === undefined && cwd === undefined && program === undefined;
    // A descriptor is read as one, and a daemon is a process.
    const isOwn = argv.some((word, i) => /^--[a-z-]*fd\b/.test(word) || (word === 'run' && argv[i - 1] === 'daemon'));
    if ((this.#processes && this.#looks === 0) || !isPlain || isOwn) return run(argv, options);
    return runInProcess(argv, input);
  }

  /** Runs a command that must exit 0. */
  async ok<T = Record<string, unknown>>(...args: (string | RunOptions)[]): Promise<Ran<T>> {
    const ran = await this.run<T>(...args);
    if (ran.code !== 0)
      throw new Error(
        `${this.name} ${args.filter((one) => typeof one === 'string').join(' ')}: exit ${ran.code} ${ran.err}`,
      );
    return ran;
  }

  async items<T>(...args: string[]): Promise<T[]> {
    return (await this.ok<T>(...args)).items;
  }

  async one<T>(...args: string[]): Promise<T> {
    const [item] = await this.items<T>(...args);
    if (item === undefined) throw new Error(`${this.name} ${args.join(' ')}: nothing on stdout`);
    return item;
  }

  async bodies(conversation: string): Promise<string[]> {
    return (await this.items<{ body: string }>('read', conversation, '--limit', '2000')).map((message) => message.body);
  }

  /** What `listen` tells until that is enough; then it is interrupted, which must be exit 130. */
  async hears<T>(words: readonly string[], enough: (events: readonly T[]) => boolean): Promise<T[]> {
    const flags = ['--data-dir', this.dir, '--account', this.name, '--json', 'listen', ...words];
    const child = spawn(PROGRAM, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
    const events: T[] = [];
    for await (const line of createInterface(child.stdout)) {
      events.push(JSON.parse(line) as T);
      if (!child.killed && enough(events)) child.kill('SIGINT');
    }
    const [code] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode];
    if (code !== 130) throw new Error(`${this.name} listen ${words.join(' ')}: exit ${code}`);
    return events;
  }

  files(): Promise<FileObject[]> {
    return this.items<FileObject>('file', 'list');
  }

  async pid(): Promise<number> {
    return (await this.one<{ daemon: { pid: number } }>('status')).daemon.pid;
  }

  /**
   * Looks again and again until `look` gives something; an error that it does not tells what the daemon has last logged. Looking
   * takes no process each time.
   */
  async until<T>(what: string, look: () => Promise<T | undefined | false>, timeoutMs = 240_000): Promise<T> {
    const endAt = Date.now() + timeoutMs;
    for (;;) {
      this.#looks++;
      const seen = await look().finally(() => this.#looks--);
      if (seen) return seen;
      if (Date.now() > endAt) throw new Error(`${this.name} did not see ${what}\n${this.#lately()}`);
      await new Promise((done) => setTimeout(done, 100));
    }
  }

  #lately(): string {
    const log = accountPaths(placesOf(this.dir, {}), this.name, {}).log;
    return existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(-LOG_LINES_TOLD).join('\n') : 'it has no log';
  }
}
