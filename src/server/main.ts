// `sotto serve`: a server in the foreground from its folder, until it is told to end; and what stands behind the word.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { fileLog, openFilesMax, systemClock, systemRandom } from '../machine.ts';
import { TorSection } from '../net/tor-config.ts';
import type { Log } from '../ports.ts';
import { toHex } from '../protocol/bytes.ts';
import { errorObject, exitOf, expectedError, SottoError } from '../protocol/errors.ts';
import { COMMIT_MS, SERVER_CONNECTIONS_MAX, SERVER_FILES_KEPT } from '../protocol/limits.ts';
import { SERVE_COMMANDS, SERVE_FLAGS } from '../protocol/serve-words.ts';
import { Admin, linkOf } from './admin.ts';
import { administer } from './admin-command.ts';
import { auditRow } from './audit.ts';
import { COUNTED, type Counted } from './counts.ts';
import { type Metric, Metrics } from './metrics.ts';
import { Onion } from './onion.ts';
import {
  addressOf,
  checkServeConfig,
  configError,
  type Problem,
  ratesOf,
  readServeConfig,
  readTls,
  type ServeConfig,
} from './serve-config.ts';
import { RoomServer, type ServerOptions } from './server.ts';
import { createServer, isPlainFile, isServer, type ServerPaths, serverPaths } from './server-dir.ts';
import { ServerStore } from './server-store.ts';
import type { Turn } from './turns.ts';
import { serverUnit } from './unit.ts';

// What waits for its commit outlives young garbage: by V8's own measure a server with a small heap looks through all of it four
// times a second, which is a third of what a message costs. Under load it may hold 3.5 times of what it needs.
const HEAP_GROWING_PERCENT = 250;

const turn: Turn = () => new Promise((done) => setImmediate(done));
const PORTS = { clock: systemClock, random: systemRandom, turn };

/** Turns that begin COMMIT_MS apart. One after a rest comes at once: what is quiet waits for nothing. */
const pacedTurn = (): Turn => {
  let last = Number.NEGATIVE_INFINITY;
  return async () => {
    await turn();
    const wait = last + COMMIT_MS - performance.now();
    if (wait > 0) await new Promise((done) => setTimeout(done, wait));
    last = performance.now();
  };
};

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
} as const;
type Values = ReturnType<typeof parse>['values'];

const WIDTH = 26;
const helpText = (): string =>
  [
    'sotto serve: host a server for rooms',
    '',
    ...SERVE_COMMANDS.flatMap(([usage, doc]) => [`  sotto ${usage}`, `      ${doc}`]),
    '',
    'Flags of sotto serve:',
    ...SERVE_FLAGS.map(([flag, , doc]) => `  ${flag.padEnd(WIDTH)} ${doc}`),
    '',
  ].join('\n');

const parse = (argv: readonly string[]) => parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });

/** Runs `sotto serve …`; `program` is this program’s own path. Gives the exit code; errors go to stderr, as an object with `--json`. */
export const runServe = async (argv: readonly string[], program = 'sotto'): Promise<number> => {
  const json = argv.includes('--json');
  try {
    const { values, positionals } = parsed(argv);
    if (values.help === true) return said(helpText());
    const [first, ...words] = positionals;
    const dir = folderOf(values);
    if (first === 'admin')
      return said(await administer(words, values, { dir, socket: adminSocket(dir), ports: PORTS }));
    if (first === 'install') return install(values, dir, program);
    if (first !== undefined) throw new SottoError('usage.invalid', { message: `sotto serve does not know ${first}` });
    return values['check-config'] === true ? checkConfig(values, dir) : await serve(values, dir);
  } catch (thrown) {
    const error = ofSystem(thrown);
    const told = errorObject(error);
    process.stderr.write(json ? `${JSON.stringify(told)}\n` : `sotto: ${told.message}\n`);
    if (told.code === 'internal.bug') process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    return exitOf(told.code);
  }
};

// What the system says of an address or a folder is no fault of ours.
const ofSystem = (error: unknown): unknown => {
  if (!(error instanceof Error) || !('syscall' in error)) return error;
  const { code = '', address, port, path } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  const place = address === undefined ? (path ?? '') : port === undefined ? address : `${address}:${port}`;
  if (code === 'EADDRINUSE') return new SottoError('config.invalid', { message: `${place} is in use already` });
  if (error.syscall === 'listen' || error.syscall === 'getaddrinfo')
    return new SottoError('config.invalid', { message: `${place} is no address to listen at here (${code})` });
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new SottoError('path.notAllowed', { message: `${place} does not let you: look at its owner and mode` });
  return code === 'ENOSPC' ? new SottoError('disk.full') : error;
};

const parsed = (argv: readonly string[]): ReturnType<typeof parse> => {
  try {
    return parse(argv);
  } catch (error) {
    throw new SottoError('usage.invalid', {
      message: error instanceof Error ? (error.message.split(/\. |\n/)[0] ?? '') : 'not understood',
    });
  }
};

const said = (text: string): number => {
  process.stdout.write(text);
  return 0;
};

const folderOf = (values: Values): string =>
  resolve(
    values['data-dir'] ??
      process.env.SOTTO_SERVER_DIR ??
      join(process.env.XDG_DATA_HOME ?? join(homedir(), '.local', 'share'), 'sotto-server'),
  );

const adminSocket = (dir: string): string => join(dir, 'admin.sock');
const configPath = (values: Values, dir: string): string => resolve(values.config ?? join(dir, 'server.toml'));

/** The file, and what the flags say instead. */
const configOf = (
  values: Values,
  dir: string,
): { readonly config: ServeConfig; readonly problems: readonly Problem[] } => {
  const path = configPath(values, dir);
  const fromFile = values.config !== undefined || existsSync(path) ? readServeConfig(path) : undefined;
  if (fromFile !== undefined && fromFile.problems.length > 0) return fromFile;
  const { config, problems } = checkServeConfig({ ...fromFile?.config, ...fromFlags(values) });
  return { config, problems: [...problems, ...atRestProblems(config, dir)] };
};

// A server that was made plain would stay so without a word.
const atRestProblems = ({ encryptAtRest }: ServeConfig, dir: string): Problem[] => {
  const paths = serverPaths(dir);
  if (encryptAtRest !== true || !isServer(paths) || !isPlainFile(paths.database)) return [];
  const problem = `the server in ${dir} was made without it and stays plain: only a new one, in another --data-dir, is encrypted`;
  return [{ place: 'encryptAtRest', problem }];
};

const fromFlags = (values: Values): object => {
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

const checkConfig = (values: Values, dir: string): number => {
  const { problems } = configOf(values, dir);
  if (problems.length > 0) throw configError(problems);
  return said(values.json === true ? '{"problems":[]}\n' : 'The configuration is valid.\n');
};

const install = (values: Values, dir: string, program: string): number => {
  const { problems } = configOf(values, dir);
  if (problems.length > 0) throw configError(problems);
  const text = serverUnit({ program, args: [`--data-dir=${dir}`, ...wordsOf(values)] });
  if (values.print === true) return said(text);
  const path = join(homedir(), '.config', 'systemd', 'user', 'sotto-server.service');
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text, { mode: 0o600 });
  const next = 'systemctl --user daemon-reload && systemctl --user enable --now sotto-server';
  return said(
    values.json === true ? `${JSON.stringify({ file: path, next })}\n` : `Written: ${path}\nNow run: ${next}\n`,
  );
};

// The flags that say how it runs, as they were given: a unit runs elsewhere, and a value may begin with a dash.
const UNIT_FLAGS: ReadonlySet<string> = new Set([
  'config',
  ...SERVE_FLAGS.filter(([, key]) => key !== '').map(([flag]) => flag.slice(2).split(' ')[0] ?? ''),
]);
const PATH_FLAGS: ReadonlySet<string> = new Set(['config', 'tls-cert', 'tls-key']);
const wordsOf = (values: Values): string[] =>
  Object.entries(values)
    .filter(([flag]) => UNIT_FLAGS.has(flag))
    .flatMap(([flag, given]) =>
      [given]
        .flat()
        .map((one) => (one === true ? `--${flag}` : `--${flag}=${PATH_FLAGS.has(flag) ? resolve(`${one}`) : one}`)),
    );

const serve = async (values: Values, dir: string): Promise<number> => {
  process.umask(0o077);
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
  const { config, problems } = configOf(values, dir);
  if (problems.length > 0) throw configError(problems);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const paths = serverPaths(dir);
  if (!isServer(paths)) make(paths, config);
  // What waits by a timer only would let the program end.
  const keep = setInterval(() => {}, 2 ** 30);
  using _keep = { [Symbol.dispose]: () => clearInterval(keep) };
  const journal = fileLog(join(dir, 'server.log'), config.log?.level ?? 'info');
  const end = Promise.withResolvers<number>();
  const bug = bugTo(journal, end.resolve);
  // Signals that come during the start count too: the first way to end one is to drain it.
  let readAgain = (): void => {};
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => end.resolve(0));
  process.on('SIGHUP', () => readAgain());
  await using store = ServerStore.open(paths, PORTS);
  const startedAt = systemClock.now();
  const connectionsMax = connectionsAllowed();
  // It tells that the server is not ready while that drains.
  let metrics: Metrics | undefined;
  await using _metrics = { [Symbol.asyncDispose]: async () => metrics?.[Symbol.asyncDispose]() };
  // Before the server's own end: its drain still answers.
  await using onion = await onionOf(config, store, dir, journal);
  await using server = await RoomServer.start({
    store,
    ...PORTS,
    commitTurn: pacedTurn(),
    journal,
    ...placesOf(config, onion),
    connectionsMax,
    rates: ratesOf(config),
    bug,
  });
  await applySettings(server, config);
  let ready = true;
  const at = metricsPlace(config);
  if (at !== undefined) metrics = await Metrics.open({ ...at, metrics: metricsOf(server, onion), ready: () => ready });
  await using _admin = await Admin.open({ path: adminSocket(dir), server, onion, store, startedAt, bug });
  readAgain = () => void reload({ values, dir, server, journal, before: config }).catch(notRead(journal, bug));
  process.on('uncaughtException', bug);
  process.on('unhandledRejection', bug);
  // Also at a later start: the first one may have failed after it had made the folder.
  const isEmpty = (await store.state.countMembers()) === 0;
  const token = isEmpty ? await server.ownerInvite() : undefined;
  announce(values, {
    kind: 'ready',
    url: server.urls[0] ?? '',
    fingerprint: toHex(server.context.serverKey),
    ...(metrics === undefined ? {} : { metrics: metrics.url }),
    admin: adminSocket(dir),
    connectionsMax,
    ...(token === undefined ? {} : { invite: linkOf(server, token) }),
  });
  if (onion !== undefined) void onion.reachable.then(() => announceOnion(values, onion.origin));
  journal.info('server.started', { connectionsMax });
  const code = await end.promise;
  ready = false;
  journal.info('server.ending', { code });
  return code;
};

const onionOf = async (
  { onion, tor }: ServeConfig,
  store: ServerStore,
  dir: string,
  log: Log,
): Promise<Onion | undefined> => {
  if (onion !== true) return undefined;
  const seed = new Uint8Array(await store.serverKey());
  const config = tor ?? TorSection.parse({});
  return Onion.start(seed, join(dir, 'tor'), { ...PORTS, config, log, owner: process.pid });
};

const make = (paths: ServerPaths, { name, registration, encryptAtRest }: ServeConfig): void =>
  createServer(
    paths,
    {
      name: name ?? 'sotto',
      registration: registration ?? 'invite',
      serverKey: systemRandom.bytes(32),
      encryptAtRest: encryptAtRest === true,
    },
    PORTS,
  );

const bugTo =
  (journal: Log, end: (code: number) => void) =>
  (error: unknown): void => {
    journal.error('bug', {
      stack: error instanceof Error ? (error.stack ?? '').split('\n').slice(1, 8).join('\n') : '',
    });
    end(1);
  };

// A file that is not there, or a full disk, leaves everything as it was.
const notRead =
  (journal: Log, bug: (error: unknown) => void) =>
  (error: unknown): void => {
    const known = expectedError(ofSystem(error));
    if (known === undefined) return bug(error);
    journal.error('config.notRead', { place: '', problem: known.message });
  };

// What a start reads is read again: certificate, name and registration count at once, the rest with the next start.
const reload = async (running: {
  readonly values: Values;
  readonly dir: string;
  readonly server: RoomServer;
  readonly journal: Log;
  readonly before: ServeConfig;
}): Promise<void> => {
  const { values, dir, server, journal, before } = running;
  const { config, problems } = configOf(values, dir);
  for (const { place, problem } of problems) journal.error('config.notRead', { place, problem });
  if (problems.length > 0) return;
  if (config.tls !== undefined && before.tls !== undefined) server.setTls(readTls(config.tls));
  await applySettings(server, config);
  const late = (['listen', 'origins', 'proxies', 'metrics', 'rates', 'log', 'onion', 'tor'] as const).filter(
    (key) => JSON.stringify(config[key]) !== JSON.stringify(before[key]),
  );
  journal.info('config.read', { atTheNextStart: late.join(', ') });
};

/** SERVER_CONNECTIONS_MAX, or as many as the system gives this process sockets. */
const connectionsAllowed = (): number =>
  Math.max(1, Math.min(SERVER_CONNECTIONS_MAX, openFilesMax() - SERVER_FILES_KEPT));

type Ready = {
  readonly kind: 'ready';
  readonly url: string;
  readonly fingerprint: string;
  readonly metrics?: string;
  readonly admin: string;
  readonly connectionsMax: number;
  readonly invite?: string;
};

const announce = (values: Values, ready: Ready): void => {
  if (values.json === true) return void process.stdout.write(`${JSON.stringify(ready)}\n`);
  const lines = [
    `${ready.url} is ready`,
    `fingerprint  ${ready.fingerprint}`,
    ...(ready.metrics === undefined ? [] : [`metrics      ${ready.metrics}/metrics`]),
    ...(ready.connectionsMax >= SERVER_CONNECTIONS_MAX
      ? []
      : [
          `connections  ${ready.connectionsMax} at most: the system allows ${openFilesMax()} open files (ulimit -n), ${SERVER_CONNECTIONS_MAX + SERVER_FILES_KEPT} are wanted`,
        ]),
    ...(ready.invite === undefined ? [] : ['', 'The first owner joins with:', `  sotto server join '${ready.invite}'`]),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
};

const announceOnion = (values: Values, url: string): void => {
  const line = values.json === true ? JSON.stringify({ kind: 'reachable', url }) : `${url} can be dialled`;
  process.stdout.write(`${line}\n`);
};

const applySettings = async ({ context }: RoomServer, { name, registration }: ServeConfig): Promise<void> => {
  const now = await context.store.getServer();
  const set = {
    ...(name === undefined || name === now.name ? {} : { name }),
    ...(registration === undefined || registration === now.registration ? {} : { registration }),
  };
  if (Object.keys(set).length === 0) return;
  await context.store.putServer(set);
  const detail = { set: Object.keys(set).join(', '), registration: set.registration ?? now.registration };
  await context.store.putAudit(auditRow(context, { actor: null, kind: 'server.settings', target: '', detail }));
};

// An onion service needs no other place.
const placesOf = (
  { listen, proxies = [], tls, origins = [] }: ServeConfig,
  onion: Onion | undefined,
): Pick<ServerOptions, 'listen' | 'origins' | 'proxies'> => {
  const { host, port } = addressOf(listen ?? '127.0.0.1:7443') ?? { host: '127.0.0.1', port: 0 };
  const kind = proxies.length > 0 ? ('none' as const) : tls === undefined ? ('pinned' as const) : readTls(tls);
  const tcp = { kind: 'tcp', host, port, tls: kind } as const;
  if (onion === undefined) return { listen: [tcp], origins, proxies };
  return {
    listen: listen === undefined ? [onion.place] : [onion.place, tcp],
    origins: [onion.origin, ...origins],
    proxies,
  };
};

const metricsPlace = ({ metrics, onion }: ServeConfig) => addressOf(metrics ?? (onion === true ? '' : '127.0.0.1:0'));

const metricsOf = (server: RoomServer, onion: Onion | undefined): Metric[] => {
  const { context } = server;
  return [
    { name: 'connections', kind: 'gauge', doc: 'Connections that hold a socket', value: () => server.connections },
    { name: 'members_online', kind: 'gauge', doc: 'Members that are logged in', value: () => context.online.size },
    { name: 'calls', kind: 'gauge', doc: 'Calls that somebody is in', value: () => context.calls.size },
    { name: 'call_links', kind: 'gauge', doc: 'Connections for calls', value: () => context.callLinks.size },
    { name: 'lane_depth', kind: 'gauge', doc: 'Events that wait for their commit', value: () => context.hub.depth },
    { name: 'ring_bytes', kind: 'gauge', doc: 'Frames kept in memory', value: () => context.hub.ringBytes },
    {
      name: 'deliveries_total',
      kind: 'counter',
      doc: 'Events handed to readers',
      value: () => context.fanout.delivered,
    },
    ...(Object.keys(COUNTED) as Counted[]).map((what) => ({
      name: `${what.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}_total`,
      kind: 'counter' as const,
      doc: COUNTED[what],
      value: () => context.counts.of(what),
    })),
    ...(onion === undefined
      ? []
      : [
          {
            name: 'onion_reachable',
            kind: 'gauge' as const,
            doc: 'Whether the onion service can be dialled',
            value: () => Number(onion.state.reachable),
          },
        ]),
    { name: 'resident_bytes', kind: 'gauge', doc: 'Resident memory', value: () => process.memoryUsage.rss() },
  ];
};
