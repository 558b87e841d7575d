// The C programs of the bench: compiled where the bench runs, run on a core of their own.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { SottoError } from '../../protocol/errors.ts';

/** What runs a program on the core of what is measured; the load has the other one. */
export const PINNED = ['taskset', '-c', '0'] as const;
const LOAD_CORE = 1;

/** Gives this process the core of the load, for one that is a load itself. */
export const pinAsLoad = (): void => void spawnSync('taskset', ['-acp', `${LOAD_CORE}`, `${process.pid}`]);

const SOURCES = {
  load: ['load.c', 'net.c', 'measure.c', 'sotto.c', 'peers.c'],
  server: ['server.c'],
  forward: ['forward.c'],
} as const;
const HEADERS = ['load.h', 'floor.h'];
type Program = keyof typeof SOURCES;
/** What the C programs are compiled with. */
export const FLAGS = ['-O2', '-std=gnu11', '-Wall', '-Wextra'];

const missing = (message: string) => new SottoError('file.unknown', { message });

/** The path of a program, compiled into the cache unless it is there. Throws what is missing: a compiler, Linux, two cores. */
export const compiled = (program: Program, cacheDir: string): string => {
  if (process.platform !== 'linux') throw missing('the load generator needs Linux');
  if (cpus().length < 2) throw missing('the server and its load need a core each');
  const dir = join(dirname(process.argv[1] ?? ''), '..', 'src', 'lab', 'load');
  if (!existsSync(join(dir, 'load.h'))) throw missing('the load generator is in the checkout of sotto only');
  const files = SOURCES[program].map((name) => join(dir, name));
  const texts = [...HEADERS.map((name) => join(dir, name)), ...files].map((file) => readFileSync(file));
  const version = createHash('sha256').update(Buffer.concat(texts)).digest('hex').slice(0, 16);
  const path = join(cacheDir, 'load', `${program}-${version}`);
  if (existsSync(path)) return path;
  mkdirSync(dirname(path), { recursive: true });
  const { error, status, stderr } = spawnSync('cc', [...FLAGS, '-o', `${path}.new`, ...files], { encoding: 'utf8' });
  if (error !== undefined) throw missing('there is no C compiler (cc): the load generator cannot be built');
  if (status !== 0) throw new Error(`cc: ${stderr}`);
  renameSync(`${path}.new`, path);
  return path;
};

/** What a run of the load generator prints; which of them depends on its mode. */
export type Costs = {
  readonly deliveries: number;
  readonly messages: number;
  readonly bytes: number;
  readonly logins: number;
  readonly seconds: number;
  readonly serverCpuSeconds: number;
  readonly ownCpuSeconds: number;
  readonly lost: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly rssBeforeKib: number;
  readonly rssKib: number;
  readonly idleCpu: number;
  /** The run before it, on a server that was just started. */
  readonly first?: Costs;
};

/** Options of load.c, by their names without `--`. */
export type LoadOptions = Readonly<Record<string, string | number>>;

/** Signs the log-in of the connection with this number over a nonce of the server, both base64. */
export type Sign = (connection: number, nonce: string) => string;

/** Runs the load generator once against a server. Throws what it says. */
export const runLoad = (program: string, options: LoadOptions, sign?: Sign): Promise<Costs> => {
  const words = Object.entries({ core: LOAD_CORE, ...options }).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = `${said}${chunk}`.slice(-1_000);
  });
  let result: Costs | undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [word, connection = '', nonce = ''] = line.split(' ');
    if (word === 'sign') child.stdin.write(`${connection} ${sign?.(Number(connection), nonce) ?? ''}\n`);
    else result = JSON.parse(line) as Costs;
  });
  child.stdin.on('error', () => {});
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('close', (code) => {
      if (code === 0 && result !== undefined) done(result);
      else fail(new Error(`the load generator ended with ${code}: ${said.trim()}`));
    });
  });
};
