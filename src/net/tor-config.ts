// What Tor is told: its torrc from our configuration, and the file that describes a private network.
import { readFileSync } from 'node:fs';
import * as z from 'zod';
import { SottoError } from '../protocol/errors.ts';
import { TOR_VERSION_GOOD, TOR_VERSION_MIN } from '../protocol/limits.ts';

// What a private network may set; everything else in such a file is refused.
const NETWORK_KEYS = new Set([
  'TestingTorNetwork',
  'DirAuthority',
  'OutboundBindAddress',
  'PathsNeededToBuildCircuits',
  'Schedulers',
  'V3AuthVotingInterval',
  'V3AuthVoteDelay',
  'V3AuthDistDelay',
  'LearnCircuitBuildTimeout',
  'CircuitBuildTimeout',
  'ClientUseIPv6',
]);
/** What may stand on one line of a torrc: printable ASCII, and no backslash at its end, which would take in the next line. */
export const TORRC_LINE = /^[\x20-\x7e]{0,999}[\x20-\x5b\x5d-\x7e]$/;

const line = z.string().regex(TORRC_LINE, 'must be one line of printable ASCII');

/** The `[tor]` section of a configuration file. */
export const TorSection = z.strictObject({
  binary: z.string().min(1).default('tor').describe('the program; 0.4.8 or newer'),
  bridges: z.array(line).max(50).default([]).describe('bridge lines without the word Bridge; at most 50'),
  transports: z.array(line).max(10).default([]).describe('ClientTransportPlugin lines without that word; at most 10'),
  network: z
    .string()
    .startsWith('/', 'must be an absolute path')
    .optional()
    .describe("a file with a private network's authorities and options; without one the public network"),
});
export type TorConfig = Readonly<z.infer<typeof TorSection>>;

/** The lines of a private network's file. Throws `config.invalid` when it cannot be read or says what it may not. */
export const readNetworkFile = (path: string): string[] => {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new SottoError('config.invalid', {
      message: `The private network's file cannot be read: ${path}`,
      cause: error,
    });
  }
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  for (const line of lines) {
    const key = line.split(' ', 1)[0] ?? '';
    if (!TORRC_LINE.test(line) || !NETWORK_KEYS.has(key))
      throw new SottoError('config.invalid', { message: `${path}: ${key} may not be set for a private network` });
  }
  return lines;
};

export type TorPaths = {
  /** Tor's DataDirectory. */
  readonly dataDir: string;
  /** A private directory for its sockets, short enough for 107 bytes. */
  readonly socketDir: string;
};

/** A text as a torrc and the control port take it between quotes. */
export const torQuoted = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;

/** The torrc: a client with no TCP listener at all, owned by process `owner`. Throws `config.invalid` for the network's file. */
export const torrcOf = (config: TorConfig, paths: TorPaths, owner: number): string => {
  return [
    `DataDirectory ${torQuoted(paths.dataDir)}`,
    `ControlPort unix:${torQuoted(`${paths.socketDir}/control`)}`,
    `SocksPort unix:${torQuoted(`${paths.socketDir}/socks`)} ExtendedErrors`,
    'CookieAuthentication 1',
    `__OwningControllerProcess ${owner}`,
    'DisableNetwork 1',
    'ClientOnly 1',
    'AvoidDiskWrites 1',
    'SafeLogging 1',
    'Log notice stdout',
    'ShutdownWaitLength 0',
    ...(config.bridges.length > 0 ? ['UseBridges 1'] : []),
    ...config.transports.map((line) => `ClientTransportPlugin ${line}`),
    ...config.bridges.map((line) => `Bridge ${line}`),
    ...(config.network === undefined ? [] : readNetworkFile(config.network)),
    '',
  ].join('\n');
};

/** Compares dotted version numbers; negative when `a` is older. Anything after the numbers is ignored. */
export const compareVersions = (a: string, b: string): number => {
  const numbers = (version: string) => (/^[\d.]+/.exec(version)?.[0] ?? '').split('.').map(Number);
  const [left, right] = [numbers(a), numbers(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
};

/** What to warn of; throws `tor.tooOld` below the oldest version that works. */
export const checkVersion = (version: string): string[] => {
  if (compareVersions(version, TOR_VERSION_MIN) < 0)
    throw new SottoError('tor.tooOld', { message: `tor ${version} is older than ${TOR_VERSION_MIN}: update it` });
  if (compareVersions(version, TOR_VERSION_GOOD) < 0)
    return [`tor ${version} has known holes in onion services: update it to ${TOR_VERSION_GOOD} or newer`];
  return [];
};
