// The network over Tor: keeps a Tor running, takes links at our onion address, and dials those of others.
import { createHmac } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { addressOf } from '../crypto/address.ts';
import type {
  Cancel,
  DialOptions,
  Link,
  LinkEvents,
  LocalKeys,
  Network,
  NetworkEvents,
  NetworkState,
} from '../ports.ts';
import { errorObject, SottoError } from '../protocol/errors.ts';
import { DIAL_MS_MAX, PROBE_MS_MAX, PROBE_MS_MIN, UNPROVEN_STREAMS_MAX, VIRTUAL_PORT } from '../protocol/limits.ts';
import { DEAF, openLink } from './link.ts';
import type { TorWay } from './server-network.ts';
import { socksConnect } from './socks.ts';
import { TorKeeper, type TorPorts, torOff } from './tor-keeper.ts';

export type TorNetworkOptions = TorPorts & {
  readonly config: { readonly offline: boolean };
  /**
   * Given when the account may run elsewhere: our own address is then dialled before it is published, and this is called
   * when nobody answers there. While somebody does, we stay offline and look again.
   */
  readonly unclaimed?: () => void;
};

/** What streams said last, and that they ended, leaves our Tor within it. */
const TOR_FLUSH_MS = 50;

// What answered before may be hard to reach for a while.
const PROBES_SILENT_MIN = 2;

/** `Network` of ports.ts over a Tor of our own. */
export class TorNetwork implements Network {
  readonly #options: TorNetworkOptions;
  readonly #isolationKey: Uint8Array;
  readonly #unproven = new Set<Socket>();
  #keeper: TorKeeper | undefined;
  #keys: LocalKeys | undefined;
  #events: NetworkEvents | undefined;
  #server: Server | undefined;
  #cancelProbe: Cancel = () => {};
  #probing = false;
  /** How many probes are still to find nobody: one at first, more once another copy has answered. */
  #silences = 1;
  #closed = false;

  constructor(options: TorNetworkOptions) {
    this.#options = options;
    this.#isolationKey = options.random.bytes(32);
  }

  get state(): NetworkState {
    return this.#keeper?.state ?? torOff(this.#options.config);
  }

  async start(keys: LocalKeys, events: NetworkEvents): Promise<void> {
    this.#keys = keys;
    this.#events = events;
    if (this.#options.config.offline) return;
    await this.#listen();
    this.#keeper = new TorKeeper({
      ...this.#options,
      service: { seed: keys.identitySeed, port: VIRTUAL_PORT, circuits: false },
      publish: this.#options.unclaimed === undefined,
      waiting: () => {
        if (!this.#probing) void this.#probe(1);
      },
      changed: events.state,
    });
    void this.#keeper.start();
  }

  /** How others dial while Tor runs. */
  get way(): TorWay {
    return { socksPath: this.#socksPath, failed: (address, error) => this.#refresh(address, error) };
  }

  get #socksPath(): string {
    return join(this.#options.paths.socketDir, 'socks');
  }

  async dial(address: string, attach: (link: Link) => LinkEvents, options: DialOptions): Promise<Link> {
    if (this.#options.config.offline) throw new SottoError('tor.offline');
    if (this.state.state !== 'online') throw new SottoError('tor.failed', { message: 'Tor is not ready yet' });
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
        socksPath: this.#socksPath,
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
    if (code !== 'dial.timeout' && code !== 'dial.unreachable' && code !== 'server.timeout') return;
    this.#keeper?.fetchDescriptor(address).catch((refused: unknown) => {
      this.#options.log.debug('tor.notFetched', { message: errorObject(refused).message });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#cancelProbe();
    if (this.#keeper?.isRunning === true)
      await new Promise<void>((done) => void this.#options.clock.after(TOR_FLUSH_MS, done));
    await this.#keeper?.[Symbol.asyncDispose]();
    for (const socket of this.#unproven) socket.destroy();
    this.#server?.close();
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

  // Who answers at our own address with our own keys is another copy of this account.
  async #probe(attempt: number): Promise<void> {
    this.#cancelProbe();
    this.#probing = true;
    const address = addressOf((this.#keys as LocalKeys).publicKeys.identityKey);
    const answer = await this.#dial(address, () => DEAF, { attempt }).then(
      (link) => link.close('probe'),
      (error: unknown) => errorObject(error),
    );
    const keeper = this.#keeper;
    const isOnNetwork = (await keeper?.isOnNetwork()) === true;
    this.#probing = false;
    if (this.#closed || keeper?.isRunning !== true) return;
    const isElsewhere = answer?.details.why === 'ourselves';
    if (isElsewhere) {
      keeper.failed(new SottoError('account.elsewhere'));
      this.#silences = PROBES_SILENT_MIN;
    } else if (isOnNetwork) this.#silences--;
    // Where we cannot reach anybody, nobody can be said to be there or not.
    if (isOnNetwork && !isElsewhere && (this.#silences <= 0 || answer?.code === 'dial.noDescriptor'))
      try {
        return await keeper.publish(() => this.#options.unclaimed?.());
      } catch (error) {
        keeper.failed(error);
      }
    const wait = isElsewhere ? Math.min(PROBE_MS_MAX, PROBE_MS_MIN * attempt) : PROBE_MS_MIN;
    this.#cancelProbe = this.#options.clock.after(wait, () => void this.#probe(attempt + 1));
  }
}
