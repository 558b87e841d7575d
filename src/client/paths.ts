// Where things are: data, configuration and sockets, by XDG or below one `--data-dir`.
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SottoError } from '../protocol/errors.ts';
import { SOCKET_PATH_BYTES_MAX } from '../protocol/limits.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Folders of the program as a whole. All paths are absolute. */
export type Places = {
  readonly accountsDir: string;
  readonly configFile: string;
  /** Folder below which each account has its private socket folder. */
  readonly runDir: string;
  /** The value of `--data-dir`, when there is one. */
  readonly dataDir: string | undefined;
};

/** Paths of one account. */
export type AccountPaths = {
  readonly name: string;
  readonly dir: string;
  readonly vault: string;
  readonly database: string;
  readonly lock: string;
  readonly filesDir: string;
  readonly torDir: string;
  readonly hooksDir: string;
  readonly log: string;
  /** File in which the daemon that runs tells where its sockets are: that depends on the environment it was started in. */
  readonly sockets: string;
  /** Private folder of this account's sockets. */
  readonly socketDir: string;
  /** The daemon's RPC socket. */
  readonly socket: string;
};

const NAME = /^[a-z0-9][a-z0-9_-]{0,31}$/;

/** The folders, from `--data-dir` (or SOTTO_DATA_DIR) or the XDG variables of `environment`. */
export const placesOf = (dataDir: string | undefined, environment: Environment): Places => {
  if (dataDir !== undefined)
    return {
      accountsDir: join(dataDir, 'accounts'),
      configFile: join(dataDir, 'config.toml'),
      runDir: join(dataDir, 'run'),
      dataDir,
    };
  const home = absolute(environment.HOME) ?? process.getBuiltinModule('node:os').userInfo().homedir;
  const data = join(absolute(environment.XDG_DATA_HOME) ?? join(home, '.local', 'share'), 'sotto');
  const config = join(absolute(environment.XDG_CONFIG_HOME) ?? join(home, '.config'), 'sotto');
  const runtime = absolute(environment.XDG_RUNTIME_DIR);
  const run = runtime === undefined ? join(data, 'run') : join(runtime, 'sotto');
  return {
    accountsDir: join(data, 'accounts'),
    configFile: join(config, 'config.toml'),
    runDir: run,
    dataDir: undefined,
  };
};

/** The same places. Throws `path.notAllowed` where something else than a folder is in the place of `--data-dir`. */
export const checkedPlaces = (places: Places): Places => {
  const { dataDir } = places;
  const stat = dataDir === undefined ? undefined : statSync(dataDir, { throwIfNoEntry: false });
  if (stat === undefined || stat.isDirectory()) return places;
  throw new SottoError('path.notAllowed', { message: `${dataDir} is no folder: take another --data-dir` });
};

// What is empty or relative counts as not set (XDG Base Directory Specification).
const absolute = (path: string | undefined): string | undefined => (path?.startsWith('/') === true ? path : undefined);

/** Paths of the account `name`. Throws `params.invalid` for a name that cannot be a folder. */
export const accountPaths = (places: Places, name: string, environment: Environment): AccountPaths => {
  if (!NAME.test(name))
    throw new SottoError('params.invalid', {
      message: `An account is named by 1 to 32 lower-case letters, digits, - and _, not ${JSON.stringify(name)}`,
    });
  const dir = join(places.accountsDir, name);
  const sockets = join(dir, 'sockets');
  const socketDir = toldSocketDir(dir, sockets) ?? socketDirFor(join(places.runDir, name), environment);
  return {
    name,
    dir,
    vault: join(dir, 'vault'),
    database: join(dir, 'sotto.db'),
    lock: join(dir, 'lock'),
    filesDir: join(dir, 'files'),
    torDir: join(dir, 'tor'),
    hooksDir: join(dir, 'hooks'),
    log: join(dir, 'daemon.log'),
    sockets,
    socketDir,
    socket: join(socketDir, 'rpc'),
  };
};

/**
 * Throws `path.notAllowed` when the folder of the sockets is there and is somebody else's: one in a shared place such as
 * /tmp could listen there for passphrases.
 */
export const checkSocketDir = (dir: string): void => {
  // Below a file there is nothing, too.
  const stat = existsSync(dirname(dir)) ? lstatSync(dir, { throwIfNoEntry: false }) : undefined;
  if (stat === undefined || (stat.isDirectory() && stat.uid === process.getuid?.())) return;
  throw new SottoError('path.notAllowed', { message: `${dir} is no folder of yours: who made it could pose as sotto` });
};

/** Whether there is a vault, or one that the next daemon puts at its place. */
export const hasVault = ({ vault }: AccountPaths): boolean => existsSync(vault) || existsSync(`${vault}.next`);

/**
 * What there is to say of an account whose vault is not at its place while its database is: that is no account of any use, and
 * nothing may take its place. Undefined otherwise.
 */
export const lostVault = (paths: AccountPaths): SottoError | undefined =>
  hasVault(paths) || !existsSync(paths.database)
    ? undefined
    : new SottoError('vault.damaged', {
        message: `${paths.vault} is gone, and only with it can the database beside it be read: put it back, or erase what is left: sotto account remove`,
      });

/** Erases an account's folder, the vault first: what is left without it opens with nothing. */
export const eraseAccountDir = (paths: AccountPaths): void => {
  rmSync(paths.vault, { force: true });
  rmSync(paths.dir, { recursive: true, force: true });
};

/** Accounts that exist, by name. */
export const listAccounts = (places: Places): string[] =>
  existsSync(places.accountsDir)
    ? readdirSync(places.accountsDir, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
        .filter((name) => ['vault', 'sotto.db'].some((file) => existsSync(join(places.accountsDir, name, file))))
        .sort()
    : [];

/** The account that is meant: the one asked for, the only one, or `default`. */
export const chooseAccount = (places: Places, asked: string | undefined): string => {
  if (asked !== undefined) return asked;
  const [only, ...others] = listAccounts(places);
  return only !== undefined && others.length === 0 ? only : 'default';
};

/** What stands in `sockets` of a daemon that has its sockets in `socketDir`. */
export const socketsText = ({ dir, socketDir }: Pick<AccountPaths, 'dir' | 'socketDir'>): string =>
  `${dir}\n${socketDir}\n`;

// A copy of the folder has the file too, and nothing to do with the daemon that wrote it.
const toldSocketDir = (dir: string, sockets: string): string | undefined => {
  if (!existsSync(sockets)) return undefined;
  const text = readFileSync(sockets, 'utf8');
  const socketDir = text.split('\n').at(-2) ?? '';
  return text === socketsText({ dir, socketDir }) && existsSync(join(socketDir, 'rpc')) ? socketDir : undefined;
};

/** The folder itself, or a short private one with a name of its own where `wanted` is none for sockets, Tor's too. */
export const socketDirFor = (wanted: string, environment: Environment): string => {
  if (takesSockets(wanted)) return wanted;
  // Loaded here: few need it, and it costs every command a tenth of its time.
  const { createHash } = process.getBuiltinModule('node:crypto');
  const name = `sotto-${createHash('sha256').update(wanted).digest('hex').slice(0, 12)}`;
  const dir = join(absolute(environment.TMPDIR) ?? '/tmp', name);
  return takesSockets(dir) ? dir : join('/tmp', name);
};

// The path of a Unix socket has at most 107 bytes, and Tor takes a space, a quote, # or a letter of no ASCII in none.
const takesSockets = (dir: string): boolean =>
  Buffer.byteLength(join(dir, 'control')) <= SOCKET_PATH_BYTES_MAX && /^[\w/.+@~%-]+$/.test(dir);
