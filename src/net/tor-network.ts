// The network over Tor: keeps a Tor running, takes links at our onion address, and dials those of others.
import { createHmac } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { addressOf } from '../crypto/address.ts';
import type {
  Cancel,
  Clock,
  DialOptions,
  Link,
  LinkEvents,
  LocalKeys,
  Log,
  Network,
  NetworkEvents,
  NetworkState,
  Random,
} from '../ports.ts';
import { errorObject, SottoError } from '../protocol/errors.ts';
import {
  DIAL_MS_MAX,
  PROBE_MS_MAX,
  PROBE_MS_MIN,
  TOR_RESTART_MS_MAX,
  TOR_RESTART_MS_MIN,
  TOR_STUCK_MS,
  UNPROVEN_STREAMS_MAX,
  VIRTUAL_PORT,
} from '../protocol/limits.ts';
import { DEAF, openLink } from './link.ts';
import { socksConnect } from './socks.ts';
import type { TorConfig, TorPaths } from './tor-config.ts';
import { TorProcess, type TorProgress } from './tor-process.ts';

export type TorNetworkOptions = {
  readonly config: TorConfig;
  readonly paths: TorPaths;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Process id that Tor belongs to. */
  readonly owner: number;
  /**
   * Given when the account may run elsewhere: our own address is then dialled before it is published, and this is called
   * when nobody answers there. While somebody does, we stay offline and look again.
   */
  readonly unclaimed?: () => void;
};

/** `Network` of ports.ts over a Tor of our own. */
export class TorNetwork implements Network {
  readonly #options: TorNetworkOptions;
  readonly #isolationKey: Uint8Array;
  readonly #unproven = new Set<Socket>();
  #state: NetworkState;
  #keys: LocalKeys | undefined;
  #events: NetworkEvents | undefined;
  #server: Server | undefined;
  #tor: TorProcess | undefined;
  #starting: Promise<void> | undefined;
  #restarts = 0;
  #cancelRestart: Cancel = () => {};
  #cancelStuck: Cancel = () => {};
  #cancelProbe: Cancel = () => {};
  #claimed: boolean;
  #probing = false;
  /** Tor's own words for what holds it up. */
  #problem = '';
  #closed = false;

  constructor(options: TorNetworkOptions) {
    this.#options = options;
    this.#claimed = options.unclaimed === undefined;
    this.#isolationKey = options.random.bytes(32);
    this.#state = {
      state: 'off',
      bootstrapPercent: 0,
      reachable: false,
      descriptorUploads: 0,
      private: options.config.network !== undefined,
    };
  }

  get state(): NetworkState {
    return this.#state;
  }

  async start(keys: LocalKeys, events: NetworkEvents): Promise<void> {
    this.#keys = keys;
    this.#events = events;
    if (this.#options.config.offline) return;
    await this.#listen();
    this.#starting = this.#run();
  }

  /** Where Tor takes streams while it runs. */
  get socksPath(): string {
    return join(this.#options.paths.socketDir, 'socks');
  }

  async dial(address: string, attach: (link: Link) => LinkEvents, options: DialOptions): Promise<Link> {
    if (this.#options.config.offline) throw new SottoError('tor.offline');
    if (this.#state.state !== 'online') throw new SottoError('tor.failed', { message: 'Tor is not ready yet' });
    return await this.#dial(address, attach, options);
  }

  async #dial(address: string, attach: (link: Link) => LinkEvents, options: DialOptions): Promise<Link> {
    const { clock, random } = this.#options;
    if (this.#keys === undefined || this.#events === undefined) throw new Error('the network is not started');
    const abort = new AbortController();
    const cancel = clock.after(options.timeoutMs ?? DIAL_MS_MAX, () => abort.abort(new SottoError('dial.timeout')));
    const stopped = (): void => abort.abort(new SottoError('dial.unreachable', { message: 'The dial was called off' }));
    options.signal?.addEventListener('abort', stopped);
    try {
      const isolation = createHmac('sha256', this.#isolationKey).update(address).digest('hex').slice(0, 32);
      const stream = await socksConnect({
        socksPath: this.socksPath,
        host: address,
        port: VIRTUAL_PORT,
        isolation: `${isolation}-${options.attempt}`,
        signal: abort.signal,
      });
      const { admit } = this.#events;
      return await openLink({ stream, role: 'dial', keys: this.#keys, address, admit, clock, random, attach });
    } catch (error) {
      if (options.signal?.aborted !== true) this.#refresh(address, error);
      throw error;
    } finally {
      cancel();
      options.signal?.removeEventListener('abort', stopped);
    }
  }

  // Nobody answered where Tor was told that somebody is: the other side may have come back elsewhere since.
  #refresh(address: string, error: unknown): void {
    const { code } = errorObject(error);
    if (code !== 'dial.timeout' && code !== 'dial.unreachable') return;
    this.#tor?.fetchDescriptor(address).catch((refused: unknown) => {
      this.#options.log.debug('tor.notFetched', { message: errorObject(refused).message });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#cancelRestart();
    this.#cancelStuck();
    this.#cancelProbe();
    await this.#starting;
    await this.#tor?.stop();
    for (const socket of this.#unproven) socket.destroy();
    this.#server?.close();
    this.#update({ state: 'off', bootstrapPercent: 0, reachable: false, descriptorUploads: 0 });
  }

  /** The onion service's end: a Unix socket that only our Tor knows. */
  async #listen(): Promise<void> {
    const { socketDir } = this.#options.paths;
    mkdirSync(socketDir, { recursive: true, mode: 0o700 });
    const path = join(socketDir, 'onion');
    rmSync(path, { force: true });
    const server = createServer((socket) => this.#accept(socket));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
  }

  #accept(socket: Socket): void {
    const { clock, random } = this.#options;
    if (this.#keys === undefined || this.#events === undefined) return void socket.destroy();
    if (this.#unproven.size >= UNPROVEN_STREAMS_MAX) {
      const victims = [...this.#unproven];
      victims[Math.floor(random.fraction() * victims.length)]?.destroy();
    }
    this.#unproven.add(socket);
    socket.once('close', () => this.#unproven.delete(socket));
    const { admit, incoming, refused } = this.#events;
    openLink({
      stream: socket,
      role: 'accept',
      keys: this.#keys,
      address: addressOf(this.#keys.publicKeys.identityKey),
      admit,
      clock,
      random,
      attach: incoming,
    }).then(
      () => this.#unproven.delete(socket),
      (error: unknown) => {
        this.#unproven.delete(socket);
        refused(errorObject(error).code);
      },
    );
  }

  async #run(): Promise<void> {
    const { config, paths, clock, random, owner } = this.#options;
    if (this.#keys === undefined) return;
    // After a failure that is what is told, until there is progress.
    const state = this.#state.state === 'failed' ? 'failed' : 'starting';
    this.#update({ state, bootstrapPercent: 0, reachable: false, descriptorUploads: 0 });
    this.#watchProgress();
    try {
      const tor = await TorProcess.start({
        config,
        paths,
        keys: this.#keys,
        clock,
        random,
        owner,
        publish: this.#claimed,
        progress: (progress) => this.#progress(progress),
        exited: (lines) => this.#exited(lines),
      });
      this.#tor = tor;
      this.#update({ version: tor.version, ...(tor.warning === undefined ? {} : { warning: tor.warning }) });
    } catch (error) {
      this.#failed(error);
      this.#again();
    }
  }

  #progress(progress: TorProgress): void {
    if (progress.kind === 'bootstrap') {
      this.#problem = progress.problem ?? this.#problem;
      // Tor tells of each failure with the progress it has made already.
      if (progress.percent <= this.#state.bootstrapPercent) return;
      this.#watchProgress();
      const ready = progress.percent >= 100;
      if (ready) this.#restarts = 0;
      this.#update({
        state: ready && this.#claimed ? 'online' : 'bootstrapping',
        bootstrapPercent: progress.percent,
      });
      if (ready && !this.#claimed && !this.#probing) void this.#probe(1);
    } else {
      // Who looks for us asks several directories; one that is down must not count as if nobody could find us.
      const { done, pending, introductions } = progress;
      const reachable = introductions > 0 && done > 0 && done >= 2 * pending;
      if (reachable !== this.#state.reachable || done !== this.#state.descriptorUploads)
        this.#update({ descriptorUploads: done, reachable });
    }
    if (this.#state.bootstrapPercent === 100) this.#cancelStuck();
  }

  // Who answers at our own address with our own keys is another copy of this account.
  async #probe(attempt: number): Promise<void> {
    this.#cancelProbe();
    this.#probing = true;
    const address = addressOf((this.#keys as LocalKeys).publicKeys.identityKey);
    const answer = await this.#dial(address, () => DEAF, { attempt }).then(
      (link) => link.close('probe'),
      (error: unknown) => errorObject(error),
    );
    this.#probing = false;
    if (this.#closed || this.#tor === undefined) return;
    if (answer?.details.why === 'ourselves') {
      this.#failed(new SottoError('account.elsewhere'));
      const wait = Math.min(PROBE_MS_MAX, PROBE_MS_MIN * attempt);
      this.#cancelProbe = this.#options.clock.after(wait, () => void this.#probe(attempt + 1));
      return;
    }
    try {
      await this.#tor.publish();
      this.#claimed = true;
      this.#options.unclaimed?.();
      this.#update({ state: 'online' });
    } catch (error) {
      this.#failed(error);
    }
  }

  #watchProgress(): void {
    this.#cancelStuck();
    this.#cancelStuck = this.#options.clock.after(TOR_STUCK_MS, () => {
      this.#failed(
        new SottoError('tor.stuck', {
          message: `Tor makes no progress at ${this.#state.bootstrapPercent} %${this.#problem === '' ? '' : ` (${this.#problem})`}: check the network, the clock, or configure bridges`,
        }),
      );
      this.#watchProgress();
    });
  }

  #exited(lines: string): void {
    if (this.#tor === undefined) return;
    this.#tor = undefined;
    if (this.#closed) return;
    this.#options.log.warn('tor.exited', { restarts: this.#restarts });
    this.#options.log.debug('tor.lines', { lines });
    this.#failed(new SottoError('tor.failed', { message: 'Tor ended; it is started again' }));
    this.#again();
  }

  #again(): void {
    if (this.#closed) return;
    const wait = Math.min(TOR_RESTART_MS_MAX, TOR_RESTART_MS_MIN * 2 ** this.#restarts);
    this.#cancelStuck();
    this.#cancelRestart = this.#options.clock.after(this.#restarts === 0 ? 0 : wait, () => {
      this.#starting = this.#run();
    });
    this.#restarts++;
  }

  #failed(error: unknown): void {
    const told = errorObject(error);
    this.#options.log.warn('tor.failed', { code: told.code, message: told.message });
    this.#update({ state: 'failed', reachable: false, lastError: { ...told, at: this.#options.clock.now() } });
  }

  #update(change: Partial<NetworkState>): void {
    this.#state = { ...this.#state, ...change };
    this.#events?.state(this.#state);
  }
}
