// The flags of `sotto serve`: the server’s folder, and its configuration from a file and from what the flags say instead.
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { SottoError } from '../protocol/errors.ts';
import type { Problem } from '../protocol/issues.ts';
import { SOCKET_PATH_BYTES_MAX } from '../protocol/limits.ts';
import { SERVE_FLAGS } from '../protocol/serve-words.ts';
import { checkServeConfig, configError, readServeConfig, type ServeConfig } from './serve-config.ts';
import { isPlainFile, isServer, serverPaths } from './server-dir.ts';

const OPTIONS = {
  'data-dir': { type: 'string' },
  config: { type: 'string' },
  'check-config': { type: 'boolean' },
  listen: { type: 'string' },
  name: { type: 'string' },
  registration: { type: 'string' },
  origin: { type: 'string', multiple: true },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  'behind-proxy': { type: 'string', multiple: true },
  onion: { type: 'boolean' },
  metrics: { type: 'string' },
  'log-level': { type: 'string' },
  'encrypt-at-rest': { type: 'boolean' },
  json: { type: 'boolean' },
  quiet: { type: 'boolean', short: 'q' },
  verbose: { type: 'boolean', short: 'v' },
  help: { type: 'boolean', short: 'h' },
  print: { type: 'boolean' },
  // administration
  owner: { type: 'boolean' },
  role: { type: 'string' },
  uses: { type: 'string' },
  expires: { type: 'string' },
  actor: { type: 'string' },
  target: { type: 'string' },
  kind: { type: 'string' },
  since: { type: 'string' },
  limit: { type: 'string' },
  deep: { type: 'boolean' },
  timeout: { type: 'string' },
} as const;

const ANYWHERE = ['data-dir', 'json', 'quiet', 'verbose', 'help'];
const RUNNING = ['config', 'listen', 'name', 'registration', 'origin', 'tls-cert', 'tls-key', 'behind-proxy', 'onion'];
const SERVING = [...RUNNING, 'metrics', 'log-level', 'encrypt-at-rest'];
const ASKING: Readonly<Record<string, readonly string[]>> = {
  invite: ['owner', 'role', 'uses', 'expires'],
  audit: ['actor', 'target', 'kind', 'since', 'limit'],
  check: ['deep'],
};

/** Refuses flags that mean nothing with these words. Throws `usage.invalid`. */
export const checkFlags = (values: ServeValues, [first, second = '']: readonly string[]): void => {
  const own =
    first === 'admin'
      ? ['timeout', ...(ASKING[second] ?? [])]
      : [...SERVING, first === 'install' ? 'print' : 'check-config'];
  const other = Object.keys(values).find((flag) => !ANYWHERE.includes(flag) && !own.includes(flag));
  if (other === undefined) return;
  const words = ['sotto serve', ...(first === undefined ? [] : [first]), ...(first === 'admin' ? [second] : [])];
  throw new SottoError('usage.invalid', { message: `${words.join(' ').trim()} does not take --${other}: see --help` });
};
/** The flags that were given. */
export type ServeValues = ReturnType<typeof parse>['values'];

const parse = (argv: readonly string[]) => parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });

/** Flags and words. Throws `usage.invalid`. */
export const flagsOf = (argv: readonly string[]): ReturnType<typeof parse> => {
  try {
    return parse(argv);
  } catch (error) {
    const [said = ''] = error instanceof Error ? error.message.split(/\. |\n/) : ['not understood'];
    throw new SottoError('usage.invalid', { message: `${said}: see sotto serve --help` });
  }
};

/** Where the server lives. A variable that is empty counts as not set, and so does a relative one of XDG. Throws `usage.invalid`. */
export const folderOf = (values: ServeValues, { SOTTO_SERVER_DIR, XDG_DATA_HOME }: NodeJS.ProcessEnv): string => {
  if (values['data-dir'] === '') throw new SottoError('usage.invalid', { message: '--data-dir is empty' });
  const data = XDG_DATA_HOME?.startsWith('/') === true ? XDG_DATA_HOME : join(homedir(), '.local', 'share');
  return resolve(values['data-dir'] ?? (SOTTO_SERVER_DIR || join(data, 'sotto-server')));
};

/** Where it is administered. */
export const adminSocket = (dir: string): string => join(dir, 'admin.sock');
/** Its configuration file, which need not be there. */
export const configPath = (values: ServeValues, dir: string): string =>
  resolve(values.config ?? join(dir, 'server.toml'));

/** The file, and what the flags say instead. Throws `usage.invalid`. */
export const configOf = (
  values: ServeValues,
  dir: string,
): { readonly config: ServeConfig; readonly problems: readonly Problem[] } => {
  const path = configPath(values, dir);
  const fromFile = values.config !== undefined || existsSync(path) ? readServeConfig(path) : undefined;
  if (fromFile !== undefined && fromFile.problems.length > 0) return fromFile;
  const { config, problems } = checkServeConfig({ ...fromFile?.config, ...fromFlags(values) });
  return { config, problems: [...problems, ...folderProblems(config, dir), ...atRestProblems(config, dir)] };
};

// The sockets of the server and of its Tor are in its folder.
const folderProblems = ({ onion }: ServeConfig, dir: string): Problem[] => {
  const most = SOCKET_PATH_BYTES_MAX - (onion === true ? '/tor/control' : '/admin.sock').length;
  if (Buffer.byteLength(dir) > most)
    return [{ place: 'data-dir', problem: `${dir} is too long for the path of a socket: at most ${most} bytes` }];
  if (onion !== true || /^[\w/.+@~%-]+$/.test(dir)) return [];
  const problem = `Tor takes no socket in ${dir}: only ASCII letters, digits and - _ . + @ ~ % may be in the path`;
  return [{ place: 'data-dir', problem }];
};

// A server that was made plain would stay so without a word.
const atRestProblems = ({ encryptAtRest }: ServeConfig, dir: string): Problem[] => {
  const paths = serverPaths(dir);
  if (encryptAtRest !== true || !isServer(paths) || !isPlainFile(paths.database)) return [];
  const problem = `the server in ${dir} was made without it and stays plain: only a new one, in another --data-dir, is encrypted`;
  return [{ place: 'encryptAtRest', problem }];
};

/** The same where it has no problem. Throws `config.invalid` with all of them, `usage.invalid`. */
export const validConfig = (values: ServeValues, dir: string): ServeConfig => {
  const { config, problems } = configOf(values, dir);
  if (problems.length > 0) throw configError(problems);
  return config;
};

const fromFlags = (values: ServeValues): object => {
  const [cert, key] = [values['tls-cert'], values['tls-key']];
  if ((cert === undefined) !== (key === undefined))
    throw new SottoError('usage.invalid', { message: '--tls-cert and --tls-key go together' });
  return Object.fromEntries(
    Object.entries({
      name: values.name,
      registration: values.registration,
      listen: values.listen,
      origins: values.origin,
      proxies: values['behind-proxy'],
      encryptAtRest: values['encrypt-at-rest'],
      onion: values.onion,
      metrics: values.metrics,
      tls: cert === undefined ? undefined : { cert: resolve(cert), key: resolve(key ?? '') },
      log: values['log-level'] === undefined ? undefined : { level: values['log-level'] },
    }).filter(([, value]) => value !== undefined),
  );
};

const UNIT_FLAGS: ReadonlySet<string> = new Set([
  'config',
  ...SERVE_FLAGS.filter(([, key]) => key !== '').map(([flag]) => flag.slice(2).split(' ')[0] ?? ''),
]);
const PATH_FLAGS: ReadonlySet<string> = new Set(['config', 'tls-cert', 'tls-key']);

/** The flags that say how it runs, as they were given: a unit runs elsewhere, and a value may begin with a dash. */
export const wordsOfUnit = (values: ServeValues): string[] =>
  Object.entries(values)
    .filter(([flag]) => UNIT_FLAGS.has(flag))
    .flatMap(([flag, given]) =>
      [given]
        .flat()
        .map((one) => (one === true ? `--${flag}` : `--${flag}=${PATH_FLAGS.has(flag) ? resolve(`${one}`) : one}`)),
    );
