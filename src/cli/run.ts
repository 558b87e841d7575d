// Runs one command: parses, connects, prints, and gives the exit code.
import { isUtf8 } from 'node:buffer';
import { existsSync, fstatSync, readFileSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { connectOrStart } from '../client/launch.ts';
import {
  type AccountPaths,
  accountPaths,
  checkedPlaces,
  chooseAccount,
  type Environment,
  hasVault,
  listAccounts,
  lostVault,
  type Places,
  placesOf,
} from '../client/paths.ts';
import { RpcClient } from '../client/rpc-client.ts';
import { errorObject, exitOf, outputError, SottoError } from '../protocol/errors.ts';
import { meant, nearOf } from '../protocol/near.ts';
import { safeText } from '../protocol/safe-text.ts';
import { parseDuration, parseTime } from '../protocol/time-words.ts';
import type { Command, CommandContext, ConnectOptions, Flags, PassphraseOptions } from './command.ts';
import { mustBeFree } from './give.ts';
import { commandHelp, groupHelp, programHelp, startHelp } from './help.ts';
import { placeFlags, withFlags } from './hints.ts';
import { Output } from './output.ts';
import { type Parsed, parseCommandLine, placeOf, usage } from './parse.ts';
import { askTerminal, flushed, INTERRUPTED, readSecret, readStdin, stderr } from './terminal.ts';

export type Program = {
  readonly argv: readonly string[];
  readonly environment: Environment;
  readonly version: string;
  /** `sotto --version --json`. */
  readonly versions: object;
  /** Program and first arguments that run this program again. */
  readonly self: readonly [string, ...string[]];
};

/** Runs the command line; gives the exit code of the contract. */
export const runCli = async (program: Program): Promise<number> => {
  const code = await run(program);
  await flushed();
  return code;
};

const run = async (program: Program): Promise<number> => {
  const words = program.argv.includes('--') ? program.argv.slice(0, program.argv.indexOf('--')) : program.argv;
  const json = words.includes('--json');
  // Whoever reads stdout has gone, or its disk is full. What is said goes on without a reader.
  const broken = new Promise<never>((_done, fail) =>
    process.stdout.on('error', (error: NodeJS.ErrnoException) =>
      fail(error.code === 'EPIPE' ? error : outputError(error)),
    ),
  );
  broken.catch(() => {});
  const out = new Output({
    json,
    quiet: words.some((word) => word === '--quiet' || /^-[a-z]*q[a-z]*$/.test(word)),
    verbose: words.some((word) => word === '--verbose' || /^-[a-z]*v[a-z]*$/.test(word)),
    colour: (program.environment.NO_COLOR ?? '') === '' && program.environment.TERM !== 'dumb',
    errIsTerminal: () => stderr().isTTY === true,
    outIsTerminal: process.stdout.isTTY === true,
    // A terminal that does not tell its width says 0.
    columns: process.stdout.columns || COLUMNS_USUAL,
    hint: (sentence) => withFlags(sentence, placeFlags(placeOf(program.argv))),
    writeBytes: toStdout,
    taken: () => Promise.race([written(), broken]),
    write: (to, text) => (to === 'out' ? toStdout(text) : void stderr().write(text)),
  });
  try {
    refuseOtherEncodings(program.argv);
    const parsed = parseCommandLine(program.argv);
    if (parsed.flags.version === true) out.item({ ...program.versions }, () => `sotto ${program.version}`);
    else if (parsed.group !== undefined) out.raw(groupHelp(parsed.group, out));
    else if (parsed.command === undefined)
      out.raw(out.isForPerson && parsed.flags.help !== true ? startHelp(out) : programHelp(out));
    else if (parsed.flags.help === true) out.raw(commandHelp(parsed.command, out));
    else await runCommand(program, parsed.command, parsed, { out, broken });
    // What a file or a pipe does not take is said later than it is written.
    await Promise.race([written(), broken]);
    return 0;
  } catch (error) {
    out.settle();
    if (error === INTERRUPTED) return 130;
    // As by the signal that ends programs whose reader has seen enough.
    if (error instanceof Error && 'code' in error && error.code === 'EPIPE') return 141;
    out.error(error);
    const { code } = errorObject(error);
    if (code === 'internal.bug' && !(error instanceof SottoError))
      stderr().write(`${safeText((error instanceof Error && error.stack) || String(error))}\n`);
    return exitOf(code);
  }
};

const COLUMNS_USUAL = 80;
const ARGUMENTS = '/proc/self/cmdline';

// Node has replaced what is not UTF-8 in an argument; where the system does not tell what was there, that is believed.
const refuseOtherEncodings = (argv: readonly string[]): void => {
  if (!argv.some((word) => word.includes('\ufffd')) || !existsSync(ARGUMENTS)) return;
  if (!isUtf8(readFileSync(ARGUMENTS)))
    throw new SottoError('text.notUtf8', { message: 'An argument is not valid UTF-8' });
};

/** Resolves when stdout has taken everything; when it fails that is an event of its own. */
const written = (): Promise<void> =>
  new Promise((done) => process.stdout.write('', (error) => (error instanceof Error ? undefined : done())));

const STDOUT = 1;

// Node takes a short write to a file, as the last one to a full disk is, for a whole one.
const toStdout = (data: string | Uint8Array): void => {
  const kind = fstatSync(STDOUT);
  if (kind.isFIFO() || kind.isSocket() || process.stdout.isTTY) return void process.stdout.write(data);
  const bytes = Buffer.from(data);
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(STDOUT, bytes, done);
  } catch (error) {
    // Heard as what a pipe says later is: a stream of events is written where nobody would catch it.
    process.stdout.emit('error', error);
  }
};

type Outcome = { readonly out: Output; readonly broken: Promise<never> };

const runCommand = async (
  program: Program,
  command: Command,
  parsed: Parsed,
  { out, broken }: Outcome,
): Promise<void> => {
  const clients: RpcClient[] = [];
  const over = new AbortController();
  const { promise: ended, reject } = Promise.withResolvers<never>();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) process.once(signal, () => reject(INTERRUPTED));
  broken.catch(reject);
  const interrupted = ended.catch(() => {});
  const flags = flagsOf(parsed, command);
  const late = () => reject(new SottoError('wait.timeout', { message: 'It was not done in time' }));
  const limit = new Limit(flags.duration('timeout'), late);
  limit.endAfter(command.waits === true ? { graceMs: GRACE_MS } : { leastMs: ANSWER_MS });
  const waitFromHere = () => limit.endAfter({});
  const context = contextOf(
    program,
    { command, parsed, flags },
    { out, clients, over: over.signal, interrupted, waitFromHere },
  );
  const running = command.run(context);
  try {
    await Promise.race([running, ended]);
  } catch (error) {
    // What is still read from a pipe that stays open keeps nobody.
    if (error === INTERRUPTED) process.stdin.destroy();
    throw byFlag(error, parsed);
  } finally {
    limit.clear();
    over.abort();
    for (const client of clients) client.close();
    // Its calls end now: it takes away what it has half written.
    await Promise.race([running.catch(() => {}), new Promise((done) => setTimeout(done, TIDY_MS_MAX))]);
  }
};

// A parameter that came by a flag is named by it: `expiresMs is at most ten years` is about --expires.
const byFlag = (error: unknown, { flags }: Parsed): unknown => {
  if (!(error instanceof SottoError) || error.code !== 'params.invalid') return error;
  const message = error.message.replace(/^(\w+?)(?:Ms)?(?= (?:is|must) |: )/, (place, name: string) =>
    typeof flags[name] === 'string' ? `--${name}` : place,
  );
  return new SottoError(error.code, { message, details: error.details });
};

// The daemon ends its own waits, and says how far it came: here that is only seen to.
const GRACE_MS = 3_000;
// An answer of this machine is no wait: it has a moment, and a daemon that hangs no more than that.
const ANSWER_MS = 1_000;
const TIDY_MS_MAX = 1_000;
const TIMER_MS_MAX = 2 ** 31 - 1;

/** When a command has had the time of its `--timeout`, counted from its begin; without one it has all the time. */
class Limit {
  readonly #beganAt = performance.now();
  readonly #timeoutMs: number | undefined;
  readonly #late: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(timeoutMs: number | undefined, late: () => void) {
    this.#timeoutMs = timeoutMs;
    this.#late = late;
  }

  /** In place of what was said before. */
  endAfter({ graceMs = 0, leastMs = 0 }: { readonly graceMs?: number; readonly leastMs?: number }): void {
    this.clear();
    if (this.#timeoutMs === undefined) return;
    const leftMs = Math.max(this.#timeoutMs + graceMs, leastMs) - (performance.now() - this.#beganAt);
    this.#timer = setTimeout(this.#late, Math.min(Math.max(0, leftMs), TIMER_MS_MAX));
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}

type Running = {
  readonly out: Output;
  readonly clients: RpcClient[];
  /** Aborted once the command is over: it gets no daemon any more. */
  readonly over: AbortSignal;
  readonly interrupted: Promise<void>;
  readonly waitFromHere: () => void;
};

type Asked = { readonly command: Command; readonly parsed: Parsed; readonly flags: Flags };

const contextOf = (
  program: Program,
  { command, parsed, flags }: Asked,
  { out, clients, over, interrupted, waitFromHere }: Running,
): CommandContext => {
  const { environment, version, self } = program;
  // A variable that is empty counts as not set; a flag that is empty was meant to be something.
  const dataDir = flags.text('data-dir') ?? (environment.SOTTO_DATA_DIR || undefined);
  if (dataDir === '') throw usage('--data-dir is empty', command);
  const places = checkedPlaces(placesOf(dataDir === undefined ? undefined : resolve(dataDir), environment));
  const name = chooseAccount(places, flags.text('account') ?? (environment.SOTTO_ACCOUNT || undefined));
  const account = accountPaths(places, name, environment);
  const daemonCommand = [
    ...self,
    ...(places.dataDir === undefined ? [] : ['--data-dir', places.dataDir]),
    '--account',
    name,
    'daemon',
    'run',
  ] as const;
  const passphrase = (options: PassphraseOptions) => passphraseOf(flags, environment, options);
  const connect = async (options: ConnectOptions = {}) => {
    out.explain(`connecting to ${account.socket}`);
    const start = options.start !== false && !flags.has('no-start');
    const unlessThere = (): void => {
      if (options.create !== true && !hasVault(account)) throw noAccount(account, places);
    };
    const starting = (): void => {
      unlessThere();
      out.explain(`nobody answers: starting ${daemonCommand.join(' ')}`);
    };
    const absent = (error: unknown): never => {
      if (error instanceof SottoError && error.code === 'daemon.absent') unlessThere();
      throw error;
    };
    const waiting = (why: string): void => out.say(why);
    const client = await (start
      ? connectOrStart({ account, command: daemonCommand as unknown as [string, ...string[]], starting, waiting })
      : RpcClient.open(account.socket).catch(absent));
    if (over.aborted) client.close();
    client.onCall = (method, answer) => tellCall(out, method, answer);
    clients.push(client);
    if (options.unlock !== false && !client.greeting.exists) throw noAccount(account, places);
    if (options.unlock !== false)
      await unlock(client, account, (asked) => passphrase({ ...asked, notFd: command.ownSecret === true }));
    return client;
  };
  return {
    args: parsed.args,
    flags,
    out,
    places,
    account,
    pathsOf: (other) => accountPaths(places, other, environment),
    version,
    connect,
    call: async (method, params) => (await connect()).call(method, params),
    passphrase,
    stdinText: () => {
      mustBeFree(flags);
      if (process.stdin.isTTY) out.say('Type the text; Ctrl-D on a line of its own ends it.');
      return readStdin();
    },
    ask: (prompt) => askTerminal(prompt, { secret: false }),
    daemonCommand: daemonCommand as unknown as [string, ...string[]],
    interrupted,
    waitFromHere,
  };
};

const OF_SERVERS = /^(server|channel|member)\./;
const SILENT_MS = 1_500;

// This machine answers at once: who waits longer for what is of servers is told for whom.
const tellCall = (out: Output, method: string, answer: Promise<unknown>): void => {
  out.explain(`calling ${method}`);
  if (!OF_SERVERS.test(method)) return;
  let isTold = false;
  const timer = setTimeout(() => {
    isTold = true;
    out.progress('waiting for the server');
  }, SILENT_MS);
  const over = (): void => {
    clearTimeout(timer);
    if (isTold) out.settle();
  };
  answer.then(over, over);
};

const noAccount = (account: AccountPaths, places: Places): SottoError => {
  const lost = lostVault(account);
  if (lost !== undefined) return lost;
  const { name } = account;
  const others = listAccounts(places);
  const near = nearOf(name, others);
  const next = others.length === 0 ? 'make one with sotto init' : `choose one with --account (${others.join(', ')})`;
  return new SottoError('account.unknown', {
    message: `There is no account ${name}${meant(near)}${near.length > 0 ? ' Or' : ':'} ${next}`,
  });
};

const unlock = async (
  client: RpcClient,
  account: AccountPaths,
  passphrase: CommandContext['passphrase'],
): Promise<void> => {
  if (!client.greeting.locked) return;
  // Locked by its owner's word, and nothing to ask for: only `account unlock` opens it again.
  if (!client.greeting.passphrase) throw new SottoError('account.locked');
  const secret = await passphrase({ prompt: `Passphrase of ${account.name}`, piped: true });
  if (secret === undefined) throw new SottoError('passphrase.needed');
  await client.call('account.unlock', { passphrase: secret });
};

// A descriptor gives what it has once: whoever asks again by the same flag gets the same.
const given = new Map<string, string>();
const secretFrom = (flag: string, fd: number): string => {
  const secret = given.get(flag) ?? readSecret(fd);
  given.set(flag, secret);
  return secret;
};

const passphraseOf = async (
  flags: Flags,
  environment: Environment,
  options: PassphraseOptions,
): Promise<string | undefined> => {
  const flag = options.flag ?? 'passphrase-fd';
  const fd = flags.number(flag, { min: 0, max: 1_000 });
  if (fd !== undefined && options.notFd !== true) return chosen(secretFrom(flag, fd), options);
  if (options.flag === undefined && environment.SOTTO_PASSPHRASE_FILE)
    return chosen(readSecret(environment.SOTTO_PASSPHRASE_FILE), options);
  const typed = await askTerminal(`${options.prompt}: `, { secret: true, piped: options.piped });
  if (typed === undefined || chosen(typed, options) === '' || options.twice !== true) return typed;
  if ((await askTerminal('The same again: ', { secret: true })) !== typed) throw new SottoError('passphrase.mismatch');
  return typed;
};

// One that is being chosen is not empty, however it is given.
const chosen = (secret: string, { twice, mayBeEmpty, flag }: PassphraseOptions): string => {
  if (secret !== '' || twice !== true || mayBeEmpty === true) return secret;
  throw new SottoError('passphrase.empty', {
    ...(flag === undefined ? { message: 'The passphrase is empty: --no-passphrase does without one' } : {}),
  });
};

const flagsOf = (parsed: Parsed, command: Command): Flags => {
  const text = (name: string): string | undefined => {
    const value = parsed.flags[name];
    return typeof value === 'string' ? value : undefined;
  };
  return {
    has: (name) => parsed.flags[name] === true,
    text,
    number: (name, { min, max }) => {
      const value = text(name);
      if (value === undefined) return undefined;
      if (!/^\d{1,15}$/.test(value) || Number(value) < min || Number(value) > max)
        throw usage(`--${name} takes a whole number from ${min} to ${max}, not ${JSON.stringify(value)}`, command);
      return Number(value);
    },
    duration: (name) => {
      const value = text(name);
      return value === undefined ? undefined : parseDuration(value);
    },
    time: (name) => {
      const value = text(name);
      return value === undefined ? undefined : parseTime(value, Date.now());
    },
    bound: (name) => {
      const value = text(name);
      return value === undefined || /^[0-9a-f]{6,32}$/i.test(value)
        ? value
        : String(parseTime(value, Date.now())).padStart(12, '0');
    },
    choice: (name, words) => {
      const value = text(name);
      if (value === undefined) return undefined;
      const found = words.find((word) => word === value);
      if (found === undefined)
        throw usage(`--${name} is one of ${words.join(', ')}, not ${JSON.stringify(value)}`, command);
      return found;
    },
  };
};
