// The server as an onion service: a Tor of its own leads to a socket in the server's folder, at the address of the server's key.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { addressOf } from '../crypto/address.ts';
import { ed25519Public } from '../crypto/primitives.ts';
import { TorKeeper, type TorPorts } from '../net/tor-keeper.ts';
import { type ErrorCode, SottoError } from '../protocol/errors.ts';

/** As for any web address without a port. */
const PORT = 80;
// After these no further try brings anything else.
const FINAL: ReadonlySet<ErrorCode> = new Set(['tor.missing', 'tor.tooOld', 'config.invalid']);

/** A server's onion service, while its Tor runs. */
export class Onion implements AsyncDisposable {
  readonly origin: string;
  /** Where the server listens for what Tor brings. */
  readonly place: { readonly kind: 'unix'; readonly path: string; readonly circuits: true };
  /** Resolves when it could be dialled for the first time. */
  readonly reachable: Promise<void>;
  readonly #keeper: TorKeeper;

  private constructor(seed: Uint8Array<ArrayBuffer>, ports: Omit<TorPorts, 'paths'>, dir: string) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.reachable = promise;
    this.origin = `ws://${addressOf(ed25519Public(seed))}`;
    this.place = { kind: 'unix', path: join(dir, 'onion'), circuits: true };
    this.#keeper = new TorKeeper({
      ...ports,
      paths: { dataDir: dir, socketDir: dir },
      service: { seed, port: PORT, circuits: true },
      publish: true,
      changed: ({ state, reachable }) => {
        if (state === 'online' && reachable) resolve();
      },
    });
  }

  /**
   * Starts Tor in the folder `dir`; `seed` is the server's. What goes wrong later is told by `state`, and tried again. Throws
   * `tor.missing`, `tor.tooOld`, `config.invalid`.
   */
  static async start(seed: Uint8Array<ArrayBuffer>, dir: string, ports: Omit<TorPorts, 'paths'>): Promise<Onion> {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const onion = new Onion(seed, ports, dir);
    await onion.#keeper.start();
    const { lastError } = onion.state;
    if (lastError === undefined || !FINAL.has(lastError.code)) return onion;
    await onion[Symbol.asyncDispose]();
    throw new SottoError(lastError.code, { message: lastError.message });
  }

  /** How Tor gets on. */
  get state(): TorKeeper['state'] {
    return this.#keeper.state;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keeper[Symbol.asyncDispose]();
  }
}
