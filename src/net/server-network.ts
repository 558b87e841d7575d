// The way to servers of rooms: straight to this machine and where the user allows it, else through Tor.
import type { Clock, Random, ServerLink, ServerLinkEvents, ServerNetwork, ServerTarget } from '../ports.ts';
import { toHex } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { isLoopback } from '../protocol/invite-link.ts';
import { DIAL_MS_MIN, SERVER_DIAL_MS_MAX } from '../protocol/limits.ts';
import { dialServer, parseOrigin } from './server-dial.ts';

export type ServerWays = {
  readonly clock: Clock;
  readonly random: Random;
  /** Where Tor takes streams, once it runs; undefined while it does not, false when it is off by choice. */
  readonly tor: () => TorWay | undefined | false;
};

export type TorWay = {
  readonly socksPath: string;
  /** A dial of an onion address has ended with an error. */
  readonly failed: (address: string, error: unknown) => void;
};

/** `ServerNetwork` of ports.ts over sockets. */
export const serverNetwork = ({ clock, random, tor }: ServerWays): ServerNetwork => {
  const patience = new Patience();
  return {
    dialServer: async (target, attach, signal) => {
      const way = wayTo(target, tor());
      const dial = { target, path: '/v1', clock, random, attach, ...(signal === undefined ? {} : { signal }) } as const;
      if (way === undefined) return dialServer(dial);
      const { origin } = target;
      try {
        const through = { socksPath: way.socksPath, isolation: isolationOf(random) };
        const link = await dialServer({ ...dial, tor: through, timeoutMs: patience.of(origin) });
        patience.reached(origin);
        return link;
      } catch (error) {
        if (signal?.aborted === true) throw error;
        patience.failed(origin);
        const { hostname } = new URL(origin);
        if (hostname.endsWith('.onion')) way.failed(hostname, error);
        throw error;
      }
    },
  };
};

/** How long a dial through Tor may take: where somebody was reached before, a circuit that hangs is soon given up. */
class Patience {
  /** Failures since a server was reached; nothing for one that never was. */
  readonly #failures = new Map<string, number>();

  of(origin: string): number {
    const failures = this.#failures.get(origin);
    return failures === undefined ? SERVER_DIAL_MS_MAX : Math.min(SERVER_DIAL_MS_MAX, DIAL_MS_MIN * 2 ** failures);
  }

  reached(origin: string): void {
    this.#failures.set(origin, 0);
  }

  failed(origin: string): void {
    const failures = this.#failures.get(origin);
    if (failures !== undefined) this.#failures.set(origin, failures + 1);
  }
}

/**
 * Tor, or undefined for straight. Throws `tor.failed` while a way through Tor is wanted and there is none yet, and `link.invalid`.
 * `wayOf` of the core tells it.
 */
export const wayTo = (
  { origin, clearnet }: Pick<ServerTarget, 'origin' | 'clearnet'>,
  tor: ReturnType<ServerWays['tor']>,
): TorWay | undefined => {
  const { host, isOnion } = parseOrigin(origin);
  if (isLoopback(host) || tor === false || (clearnet === true && !isOnion)) return undefined;
  if (tor === undefined) throw new SottoError('tor.failed', { message: 'Tor is not ready yet' });
  return tor;
};

// Each connection has circuits of its own: nobody outside sees two servers, or two connections, from one exit at one time.
const isolationOf = (random: Random): string => `server-${toHex(random.bytes(12))}`;

/** A machine from which no server can be reached: for tests of everything else. */
export const noServers: ServerNetwork = {
  dialServer: (_target: ServerTarget, _attach: (link: ServerLink) => ServerLinkEvents): Promise<ServerLink> =>
    Promise.reject(new SottoError('server.unreachable')),
};
