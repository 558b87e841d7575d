// One run of Tor from start to death: spawns it, logs in, publishes the onion service, and watches how it gets on.
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addressOf } from '../crypto/address.ts';
import { ed25519Expanded, ed25519Public } from '../crypto/primitives.ts';
import type { Clock, Random } from '../ports.ts';
import { toBase64 } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { ONION_STREAMS_MAX, TOR_CONTROL_MS_MAX } from '../protocol/limits.ts';
import { checkVersion, type TorConfig, type TorPaths, torQuoted, torrcOf } from './tor-config.ts';
import { TorControl } from './tor-control.ts';

const CONTROL_RETRY_MS = 20;
const LOG_LINES_KEPT = 20;
const STOP_MS_MAX = 3000;

export type TorProgress =
  | { readonly kind: 'bootstrap'; readonly percent: number; readonly problem?: string }
  /** How far our clock is ahead of that of others; negative when it is behind. */
  | { readonly kind: 'skew'; readonly aheadMs: number }
  | {
      readonly kind: 'service';
      /** Uploads of our descriptor that succeeded, and those that are under way. */
      readonly done: number;
      readonly pending: number;
      /** Relays that would tell us of a dial now. */
      readonly introductions: number;
    };

/** An onion service whose streams come to `${socketDir}/onion`. */
export type OnionService = {
  /** Ed25519 seed (RFC 8032), 32 bytes: the address is its public key. */
  readonly seed: Uint8Array<ArrayBuffer>;
  /** The port that is dialled. */
  readonly port: number;
  /** Each stream begins with a line that names its circuit. Tor takes the key from a file in its own folder then. */
  readonly circuits: boolean;
};

type RunOptions = {
  readonly config: TorConfig;
  readonly paths: TorPaths;
  readonly service: OnionService;
  readonly clock: Clock;
  readonly random: Random;
  /** The process whose end ends Tor. */
  readonly owner: number;
  /** False: the onion service waits for `publish`. */
  readonly publish: boolean;
  /** Calls the start off. */
  readonly signal?: AbortSignal;
  readonly progress: (progress: TorProgress) => void;
  /** Called once when Tor is gone, with its last lines. */
  readonly exited: (lastLines: string) => void;
};

/** A running Tor. */
export class TorProcess {
  readonly version: string;
  readonly #warnings: string[];
  readonly #control: TorControl;
  readonly #child: TorChild;
  readonly #options: RunOptions;

  private constructor(options: RunOptions, child: TorChild, control: TorControl, version: string, warnings: string[]) {
    this.#options = options;
    this.#child = child;
    this.#control = control;
    this.version = version;
    this.#warnings = warnings;
  }

  /** What is to be said of this Tor. */
  get warning(): string | undefined {
    return this.#warnings.length === 0 ? undefined : this.#warnings.join('; ');
  }

  /**
   * Starts Tor, publishes the onion service with target `${socketDir}/onion` unless it shall wait, and lets Tor on the network.
   * Throws `tor.missing`, `tor.tooOld`, `config.invalid`, or `tor.failed` with Tor's own last lines.
   */
  static async start(options: RunOptions): Promise<TorProcess> {
    options.signal?.throwIfAborted();
    const child = new TorChild(options);
    try {
      const control = await child.control();
      // One that hangs hears nobody any more: another takes its place.
      control.onClose = () => void child.stop();
      const version = (await control.info('version')).split(' ', 1)[0] ?? '';
      const warnings = checkVersion(version);
      await control.command('TAKEOWNERSHIP');
      await control.command('RESETCONF __OwningControllerProcess');
      watch(control, options);
      await control.command('SETEVENTS STATUS_CLIENT STATUS_GENERAL HS_DESC CIRC CIRC_MINOR');
      if (options.publish) warnings.push(...(await publish(control, options)));
      await control.command('SETCONF DisableNetwork=0');
      return new TorProcess(options, child, control, version, warnings);
    } catch (error) {
      await child.stop();
      throw error;
    }
  }

  /** Publishes the onion service. */
  async publish(): Promise<void> {
    this.#warnings.push(...(await publish(this.#control, this.#options)));
  }

  /**
   * Asks a directory for the descriptor of `….onion`, whether or not Tor holds one; a newer one takes the place of the one it
   * holds, and links stay. Tor itself asks again only once no introduction point of the old one takes a cell, which those of
   * a service that froze or lost its network do for minutes. Asks no directory twice within 15 minutes. Source:
   * control-spec, "HSFETCH". (NEWNYM would do it too, but drop what is known of all others and choose new vanguards, which
   * a peer that does not answer could make us do at will.)
   */
  async fetchDescriptor(address: string): Promise<void> {
    await this.#control.command(`HSFETCH ${address.replace('.onion', '')}`);
  }

  async isNetworkLive(): Promise<boolean> {
    try {
      return (await this.#control.info('network-liveness')) !== 'down';
    } catch (error) {
      // Tor that has no word for it says so; one that says nothing is none.
      return error instanceof SottoError && typeof error.details.code === 'number';
    }
  }

  async stop(): Promise<void> {
    this.#control.close();
    await this.#child.stop();
    rmSync(keyFolder(this.#options.paths), { recursive: true, force: true });
  }
}

class TorChild {
  readonly #process: ChildProcess;
  readonly #options: RunOptions;
  readonly #gone: Promise<void>;
  #lines: string[] = [];
  #error: SottoError | undefined;
  #exited = false;

  constructor(options: RunOptions) {
    this.#options = options;
    const { dataDir, socketDir } = options.paths;
    for (const dir of [dataDir, socketDir]) {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      chmodSync(dir, 0o700);
    }
    rmSync(join(socketDir, 'control'), { force: true });
    const torrc = join(dataDir, 'torrc');
    writeFileSync(torrc, torrcOf(options.config, options.paths, options.owner), { mode: 0o600 });
    this.#process = spawn(options.config.binary, ['--defaults-torrc', '/dev/null', '-f', torrc, '--hush'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream?.on('data', (chunk: Buffer) => this.#log(chunk));
    this.#gone = new Promise((resolve) => {
      const ended = (): void => {
        if (this.#exited) return;
        this.#exited = true;
        resolve();
        options.exited(this.#lines.join('\n'));
      };
      this.#process.on('error', (error: NodeJS.ErrnoException) => {
        this.#error =
          error.code === 'ENOENT' ? new SottoError('tor.missing') : new SottoError('tor.failed', { cause: error });
        ended();
      });
      this.#process.on('exit', ended);
    });
  }

  /** The control connection, as soon as Tor listens. */
  async control(): Promise<TorControl> {
    const { clock, paths, signal } = this.#options;
    const endAt = clock.monotonic() + TOR_CONTROL_MS_MAX;
    for (;;) {
      if (this.#exited)
        throw this.#error ?? new SottoError('tor.failed', { message: `Tor ended: ${reasonOf(this.#lines)}` });
      try {
        return await TorControl.open(join(paths.socketDir, 'control'), this.#options);
      } catch (error) {
        if (signal?.aborted || clock.monotonic() > endAt) throw error;
        await new Promise<void>((resolve) => clock.after(CONTROL_RETRY_MS, resolve));
      }
    }
  }

  /** Ends Tor and waits for that. */
  async stop(): Promise<void> {
    if (this.#exited) return;
    this.#process.kill('SIGTERM');
    const cancel = this.#options.clock.after(STOP_MS_MAX, () => this.#process.kill('SIGKILL'));
    await this.#gone;
    cancel();
  }

  #log(chunk: Buffer): void {
    this.#lines.push(
      ...chunk
        .toString('latin1')
        .split('\n')
        .filter((line) => line !== ''),
    );
    this.#lines = this.#lines.slice(-LOG_LINES_KEPT);
  }
}

// The last line only says that there was a warning.
const reasonOf = (lines: readonly string[]): string =>
  lines.findLast((line) => line.includes('[warn]')) ?? lines.at(-1) ?? 'no word';

// Gives what is to be said of it.
const publish = (control: TorControl, options: RunOptions): Promise<string[]> =>
  options.service.circuits ? publishWithCircuits(control, options) : publishHidden(control, options);

// Source: control-spec, "ADD_ONION": Tor gets the key for this run only.
const publishHidden = (control: TorControl, { service: { seed, port }, paths }: RunOptions): Promise<string[]> => {
  const key = `ED25519-V3:${toBase64(ed25519Expanded(seed))}`;
  const head = `ADD_ONION ${key} Flags=DiscardPK,MaxStreamsCloseCircuit MaxStreams=${ONION_STREAMS_MAX}`;
  const target = `Port=${port},unix:${paths.socketDir}/onion`;
  return withProofOfWork(control, `${head} PoWDefensesEnabled=1 ${target}`, `${head} ${target}`);
};

// Source: tor(1), "HiddenServiceExportCircuitID", which ADD_ONION has not. The key is read again with every SETCONF.
const publishWithCircuits = (
  control: TorControl,
  { service: { seed, port }, paths }: RunOptions,
): Promise<string[]> => {
  const folder = keyFolder(paths);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const put = (name: string, bytes: Uint8Array): void => {
    const kind = `== ed25519v1-${name}: type0 ==`.padEnd(32, '\0');
    writeFileSync(join(folder, `hs_ed25519_${name}_key`), Buffer.concat([Buffer.from(kind), bytes]), { mode: 0o600 });
  };
  put('secret', ed25519Expanded(seed));
  put('public', ed25519Public(seed));
  const line = [
    `SETCONF HiddenServiceDir=${torQuoted(folder)}`,
    `HiddenServicePort=${torQuoted(`${port} unix:${torQuoted(`${paths.socketDir}/onion`)}`)}`,
    'HiddenServiceExportCircuitID=haproxy',
    `HiddenServiceMaxStreams=${ONION_STREAMS_MAX}`,
    'HiddenServiceMaxStreamsCloseCircuit=1',
  ].join(' ');
  return withProofOfWork(control, `${line} HiddenServicePoWDefensesEnabled=1`, line);
};

// The keywords are newer than the oldest Tor that works, and some are built without: it refuses a word then.
const withProofOfWork = async (control: TorControl, line: string, without: string): Promise<string[]> => {
  try {
    await control.command(line);
    return [];
  } catch (error) {
    if (!(error instanceof SottoError) || typeof error.details.code !== 'number') throw error;
    await control.command(without);
    return ['this tor knows no proof of work: a flood of dials keeps others out sooner'];
  }
};

const keyFolder = ({ dataDir }: TorPaths): string => join(dataDir, 'service');

// Events of circuits are counted and go nowhere else: they name who talks with whom.
const watch = (control: TorControl, options: RunOptions): void => {
  const ours = addressOf(ed25519Public(options.service.seed)).replace('.onion', '');
  const service = new ServiceWatch(ours);
  control.onEvent = (type, text) => {
    if (type === 'STATUS_CLIENT') {
      const percent = /BOOTSTRAP PROGRESS=(\d+)/.exec(text)?.[1];
      const problem = /WARNING="([\x20-\x7e]{1,200}?)"/.exec(text)?.[1];
      if (percent !== undefined)
        options.progress({
          kind: 'bootstrap',
          percent: Number(percent),
          ...(problem === undefined ? {} : { problem }),
        });
    } else if (type === 'STATUS_GENERAL') {
      // Source: control-spec, CLOCK_SKEW: seconds, negative for a clock that is behind.
      const seconds = / CLOCK_SKEW (?:MIN_)?SKEW=([+-]?\d{1,10})\b/.exec(text)?.[1];
      if (seconds !== undefined) options.progress({ kind: 'skew', aheadMs: 1_000 * Number(seconds) });
    } else if (type === 'HS_DESC' ? service.descriptor(text) : service.circuit(text))
      options.progress(service.progress);
  };
};

// That of this time period and that of the next one.
const DESCRIPTORS_AT_ONCE = 2;

// How far our onion service is published, from Tor's events. Both verbs give true when that changed.
class ServiceWatch {
  readonly #address: string;
  readonly #introductions = new Set<string>();
  /** By directory: the descriptors that are on their way to it, the oldest first. Of one that is lost nothing is told. */
  readonly #pending = new Map<string, string[]>();
  #done = 0;

  constructor(address: string) {
    this.#address = address;
  }

  get progress(): TorProgress {
    const pending = [...this.#pending.values()].reduce((sum, { length }) => sum + length, 0);
    return { kind: 'service', done: this.#done, pending, introductions: this.#introductions.size };
  }

  /** HS_DESC Action Address AuthType Directory [DescriptorID …]: UPLOAD, then UPLOADED or FAILED, which name no descriptor. */
  descriptor(text: string): boolean {
    const [, action, address, , directory = '', descriptor = ''] = text.split(' ');
    if (address !== this.#address) return false;
    const going = this.#pending.get(directory) ?? [];
    if (action === 'UPLOAD') {
      const others = going.filter((one) => one !== descriptor);
      this.#pending.set(directory, [...others, descriptor].slice(-DESCRIPTORS_AT_ONCE));
    } else if (action === 'UPLOADED') {
      going.shift();
      this.#done++;
    } else if (action !== 'FAILED' || going.shift() === undefined) return false;
    return true;
  }

  /** CIRC and CIRC_MINOR: Type CircuitID Status …; an introduction point that has taken us in says HSSI_ESTABLISHED. */
  circuit(text: string): boolean {
    const [, id = '', status] = text.split(' ', 3);
    if (status === 'CLOSED' || status === 'FAILED') return this.#introductions.delete(id);
    if (this.#introductions.has(id) || !text.includes(' HS_STATE=HSSI_ESTABLISHED')) return false;
    this.#introductions.add(id);
    return true;
  }
}
