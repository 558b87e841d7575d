// The way to servers of rooms: straight to this machine and where the user allows it, else through Tor.
import type { Clock, Random, ServerLink, ServerLinkEvents, ServerNetwork, ServerTarget } from '../ports.ts';
import { SottoError } from '../protocol/errors.ts';
import { dialServer } from './server-dial.ts';

export type ServerWays = {
  readonly clock: Clock;
  readonly random: Random;
  /** Where Tor takes streams, once it runs; undefined while it does not, false when it is off by choice. */
  readonly tor: () => { readonly socksPath: string } | undefined | false;
};

/** `ServerNetwork` of ports.ts over sockets. */
export const serverNetwork = ({ clock, random, tor }: ServerWays): ServerNetwork => ({
  dialServer: (target, attach, signal) => {
    const way = wayTo(target, tor());
    return dialServer({
      target,
      path: '/v1',
      clock,
      random,
      attach,
      ...(way === undefined ? {} : { tor: { socksPath: way.socksPath, isolation: isolationOf(random) } }),
      ...(signal === undefined ? {} : { signal }),
    });
  },
});

const LOOPBACK = /^wss?:\/\/(127\.[\d.]+|localhost|\[::1\])(:\d+)?$/;

/** Tor, or undefined for straight. Throws `tor.failed` while a way through Tor is wanted and there is none yet. */
const wayTo = (target: ServerTarget, tor: ReturnType<ServerWays['tor']>) => {
  if (LOOPBACK.test(target.origin)) return undefined;
  if (tor === false || (target.clearnet === true && !target.origin.includes('.onion'))) return undefined;
  if (tor === undefined) throw new SottoError('tor.failed', { message: 'Tor is not ready yet' });
  return tor;
};

// Each connection has circuits of its own: nobody outside sees two servers, or two connections, from one exit at one time.
const isolationOf = (random: Random): string => `server-${Buffer.from(random.bytes(12)).toString('hex')}`;

/** A machine from which no server can be reached: for tests of everything else. */
export const noServers: ServerNetwork = {
  dialServer: (_target: ServerTarget, _attach: (link: ServerLink) => ServerLinkEvents): Promise<ServerLink> =>
    Promise.reject(new SottoError('server.unreachable')),
};
