// Keeps one Tor running with its onion service: watches how it gets on, and starts it again when it ends.
import type { Cancel, Clock, Log, NetworkState, Random } from '../ports.ts';
import { errorObject, SottoError } from '../protocol/errors.ts';
import { TOR_LOOK_MS, TOR_RESTART_MS_MAX, TOR_RESTART_MS_MIN, TOR_STUCK_MS } from '../protocol/limits.ts';
import type { TorConfig, TorPaths } from './tor-config.ts';
import { type OnionService, TorProcess, type TorProgress } from './tor-process.ts';

export type TorPorts = {
  readonly config: TorConfig;
  readonly paths: TorPaths;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Process id that Tor belongs to. */
  readonly owner: number;
};

export type TorKeeperOptions = TorPorts & {
  readonly service: OnionService;
  /** False: the onion service waits for `publish`, and `waiting` tells each time that Tor is on the network before. */
  readonly publish: boolean;
  readonly waiting?: () => void;
  /** Gets every change of the state. */
  readonly changed: (state: NetworkState) => void;
};

/** The state before anything was started. */
export const torOff = (config: TorConfig): NetworkState => ({
  state: 'off',
  bootstrapPercent: 0,
  reachable: false,
  descriptorUploads: 0,
  private: config.network !== undefined,
});

/** A Tor that is there until it is disposed of. */
export class TorKeeper implements AsyncDisposable {
  readonly #options: TorKeeperOptions;
  #state: NetworkState;
  #tor: TorProcess | undefined;
  #starting: Promise<void> | undefined;
  #isPublished: boolean;
  #restarts = 0;
  #cancelRestart: Cancel = () => {};
  #cancelStuck: Cancel = () => {};
  #cancelLook: Cancel = () => {};
  /** Tor's own words for what holds it up. */
  #problem = '';
  readonly #closing = new AbortController();

  constructor(options: TorKeeperOptions) {
    this.#options = options;
    this.#isPublished = options.publish;
    this.#state = torOff(options.config);
  }

  get state(): NetworkState {
    return this.#state;
  }

  /** Whether there is a Tor now. */
  get isRunning(): boolean {
    return this.#tor !== undefined;
  }

  /** Whether Tor is on the network, and has not found since that it cannot be reached. Source: control-spec, "network-liveness". */
  async isOnNetwork(): Promise<boolean> {
    if (this.#tor === undefined || this.#state.bootstrapPercent !== 100) return false;
    return await this.#tor.isNetworkLive();
  }

  /** Resolves when the first try has ended; `state` says how. Further tries follow by themselves. */
  start(): Promise<void> {
    this.#starting = this.#run();
    return this.#starting;
  }

  /** Publishes the onion service, now and with every further start; `done` is called before the state says so. */
  async publish(done: () => void): Promise<void> {
    await this.#tor?.publish();
    this.#isPublished = true;
    done();
    this.#update({ state: 'online', ...warningOf(this.#tor) });
  }

  /** See `TorProcess.fetchDescriptor`. */
  async fetchDescriptor(address: string): Promise<void> {
    await this.#tor?.fetchDescriptor(address);
  }

  /** Something keeps us off the network. */
  failed(error: unknown): void {
    const told = errorObject(error);
    this.#options.log.warn('tor.failed', { code: told.code, message: told.message });
    this.#update({ state: 'failed', reachable: false, lastError: { ...told, at: this.#options.clock.now() } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    this.#cancelRestart();
    this.#cancelStuck();
    await this.#starting;
    this.#cancelLook();
    await this.#tor?.stop();
    this.#update({ state: 'off', bootstrapPercent: 0, reachable: false, descriptorUploads: 0 });
  }

  async #run(): Promise<void> {
    const { config, paths, service, clock, random, owner } = this.#options;
    // After a failure that is what is told, until there is progress.
    const state = this.#state.state === 'failed' ? 'failed' : 'starting';
    this.#update({ state, bootstrapPercent: 0, reachable: false, descriptorUploads: 0 });
    this.#watchProgress();
    try {
      const tor = await TorProcess.start({
        config,
        paths,
        service,
        clock,
        random,
        owner,
        signal: this.#closing.signal,
        publish: this.#isPublished,
        progress: (progress) => this.#progress(progress),
        exited: (lines) => this.#exited(lines),
      });
      this.#tor = tor;
      this.#update({ version: tor.version, ...warningOf(tor) });
      this.#lookAt(tor);
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.failed(error);
      this.#again();
    }
  }

  // One that hangs loses its connection by this, and ends.
  #lookAt(tor: TorProcess): void {
    this.#cancelLook = this.#options.clock.after(TOR_LOOK_MS, async () => {
      await tor.isNetworkLive();
      if (this.#tor === tor && !this.#closing.signal.aborted) this.#lookAt(tor);
    });
  }

  #progress(progress: TorProgress): void {
    const { clock } = this.#options;
    if (progress.kind === 'bootstrap') this.#bootstrap(progress);
    else if (progress.kind === 'skew')
      this.#update({ timeOfOthers: clock.now() - progress.aheadMs - clock.monotonic() });
    else {
      // Who looks for us asks several directories; one that is down must not count as if nobody could find us.
      const { done, pending, introductions } = progress;
      const reachable = introductions > 0 && done > 0 && done >= 2 * pending;
      if (reachable !== this.#state.reachable || done !== this.#state.descriptorUploads)
        this.#update({ descriptorUploads: done, reachable });
    }
    if (this.#state.bootstrapPercent === 100) this.#cancelStuck();
  }

  #bootstrap({ percent, problem }: Extract<TorProgress, { kind: 'bootstrap' }>): void {
    this.#problem = problem ?? this.#problem;
    // Tor tells of each failure with the progress it has made already.
    if (percent <= this.#state.bootstrapPercent) return;
    this.#watchProgress();
    const ready = percent >= 100;
    if (ready) this.#restarts = 0;
    this.#update({ state: ready && this.#isPublished ? 'online' : 'bootstrapping', bootstrapPercent: percent });
    if (ready && !this.#isPublished) this.#options.waiting?.();
  }

  #watchProgress(): void {
    this.#cancelStuck();
    this.#cancelStuck = this.#options.clock.after(TOR_STUCK_MS, () => {
      const problem = this.#problem === '' ? '' : ` (${this.#problem})`;
      this.failed(
        new SottoError('tor.stuck', {
          message: `Tor makes no progress at ${this.#state.bootstrapPercent} %${problem}: check the network, the clock, or configure bridges`,
        }),
      );
      this.#watchProgress();
    });
  }

  #exited(lines: string): void {
    if (this.#tor === undefined) return;
    this.#tor = undefined;
    this.#cancelLook();
    if (this.#closing.signal.aborted) return;
    this.#options.log.warn('tor.exited', { restarts: this.#restarts });
    this.#options.log.debug('tor.lines', { lines });
    this.failed(new SottoError('tor.failed', { message: 'Tor ended; it is started again' }));
    this.#again();
  }

  #again(): void {
    if (this.#closing.signal.aborted) return;
    const wait = Math.min(TOR_RESTART_MS_MAX, TOR_RESTART_MS_MIN * 2 ** this.#restarts);
    this.#cancelStuck();
    this.#cancelRestart = this.#options.clock.after(this.#restarts === 0 ? 0 : wait, () => {
      this.#starting = this.#run();
    });
    this.#restarts++;
  }

  #update(change: Partial<NetworkState>): void {
    const { hiddenSince = this.#options.clock.now(), ...state } = { ...this.#state, ...change };
    const isHidden = state.state === 'online' && !state.reachable;
    this.#state = { ...state, ...(isHidden ? { hiddenSince } : {}) };
    this.#options.changed(this.#state);
  }
}

const warningOf = (tor: TorProcess | undefined) => (tor?.warning === undefined ? {} : { warning: tor.warning });
