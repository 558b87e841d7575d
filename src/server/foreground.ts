// A server in the foreground: made where there is none, started, announced, told to read its configuration again, and ended.

import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { fileLog, openFilesMax, systemClock, systemRandom } from '../machine.ts';
import { TorSection } from '../net/tor-config.ts';
import type { Log } from '../ports.ts';
import { toHex } from '../protocol/bytes.ts';
import { expectedError, framesOf } from '../protocol/errors.ts';
import { COMMIT_MS, SERVER_CONNECTIONS_MAX, SERVER_FILES_KEPT } from '../protocol/limits.ts';
import { makeFolder } from '../sqlite/folder.ts';
import { Admin, linkForAll, linkOf } from './admin.ts';
import { auditRow } from './audit.ts';
import { metricsOf } from './measured.ts';
import { Metrics } from './metrics.ts';
import { Onion } from './onion.ts';
import { addressOf, LISTEN_DEFAULT, REGISTRATION_DEFAULT, ratesOf, readTls, type ServeConfig } from './serve-config.ts';
import { adminSocket, configOf, type ServeValues, validConfig } from './serve-flags.ts';
import { RoomServer, type ServerOptions } from './server.ts';
import { createServer, isServer, type ServerPaths, serverPaths } from './server-dir.ts';
import { ServerStore } from './server-store.ts';
import { systemError } from './system-error.ts';
import type { Turn } from './turns.ts';

// What waits for its commit outlives young garbage: by V8's own measure a server with a small heap looks through all of it four
// times a second, which is a third of what a message costs. Under load it may hold 3.5 times of what it needs.
const HEAP_GROWING_PERCENT = 250;

const turn: Turn = () => new Promise((done) => setImmediate(done));
/** This machine, as the parts of a server ask for it. */
export const PORTS = { clock: systemClock, random: systemRandom, turn };

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

/** Runs a server until it is told to end; gives the exit code. Throws `config.invalid` and what stands in the way of a start. */
export const serve = async (values: ServeValues, dir: string): Promise<number> => {
  process.umask(0o077);
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
  const config = validConfig(values, dir);
  makeFolder(dir);
  const paths = serverPaths(dir);
  if (!isServer(paths)) make(paths, config);
  using _awake = stayAwake();
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
  const made = isEmpty ? await server.makeOwnerInvite() : undefined;
  announce(values, {
    kind: 'ready',
    url: server.urls[0] ?? '',
    dataDir: dir,
    fingerprint: toHex(server.context.serverKey),
    ...(metrics === undefined ? {} : { metrics: metrics.url }),
    admin: adminSocket(dir),
    connectionsMax,
    ...(made === undefined ? {} : { invite: linkOf(server, made.token) }),
    ...linkForAll(server, await store.state.getServer()),
  });
  if (onion !== undefined) void onion.reachable.then(() => announceOnion(values, onion.origin));
  journal.info('server.started', { connectionsMax });
  const code = await end.promise;
  ready = false;
  if (values.json !== true)
    process.stderr.write('sotto: the server ends; members come back to it once it is there again\n');
  journal.info('server.ending', { code });
  return code;
};

/** What waits by a timer only would let the program end. */
const stayAwake = (): Disposable => {
  const timer = setInterval(() => {}, 2 ** 30);
  return { [Symbol.dispose]: () => clearInterval(timer) };
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
      registration: registration ?? REGISTRATION_DEFAULT,
      serverKey: systemRandom.bytes(32),
      encryptAtRest: encryptAtRest === true,
    },
    PORTS,
  );

const bugTo =
  (journal: Log, end: (code: number) => void) =>
  (error: unknown): void => {
    journal.error('bug', { stack: framesOf(error) });
    end(1);
  };

// A file that is not there, or a full disk, leaves everything as it was.
const notRead =
  (journal: Log, bug: (error: unknown) => void) =>
  (error: unknown): void => {
    const known = expectedError(systemError(error));
    if (known === undefined) return bug(error);
    journal.error('config.notRead', { place: '', problem: known.message });
  };

// What a start reads is read again: certificate, name and registration count at once, the rest with the next start.
const reload = async (running: {
  readonly values: ServeValues;
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
  const late: string[] = (['listen', 'origins', 'proxies', 'metrics', 'rates', 'log', 'onion', 'tor'] as const).filter(
    (key) => JSON.stringify(config[key]) !== JSON.stringify(before[key]),
  );
  // A certificate takes the place of another one, and of none.
  if ((config.tls === undefined) !== (before.tls === undefined)) late.push('tls');
  journal.info('config.read', { atTheNextStart: late.join(', ') });
};

/** SERVER_CONNECTIONS_MAX, or as many as the system gives this process sockets. */
const connectionsAllowed = (): number =>
  Math.max(1, Math.min(SERVER_CONNECTIONS_MAX, openFilesMax() - SERVER_FILES_KEPT));

type Ready = {
  readonly kind: 'ready';
  readonly url: string;
  readonly dataDir: string;
  readonly fingerprint: string;
  readonly metrics?: string;
  readonly admin: string;
  readonly connectionsMax: number;
  readonly invite?: string;
  readonly link?: string;
};

const announce = (values: ServeValues, ready: Ready): void =>
  void process.stdout.write(`${values.json === true ? JSON.stringify(ready) : readyText(ready)}\n`);

// All addresses of a machine: nobody else can dial that.
const ANYWHERE = /^wss?:\/\/(0\.0\.0\.0|\[::\]):/;

/** What a server that is ready says to a person. */
export const readyText = (ready: Ready): string =>
  [
    `${ready.url} is ready`,
    ...(ANYWHERE.test(ready.url)
      ? [
          'origin       invites name an address that leads nowhere from elsewhere: --origin wss://HOST:PORT says the right one',
        ]
      : []),
    `data         ${ready.dataDir}`,
    `fingerprint  ${ready.fingerprint}`,
    ...(ready.metrics === undefined ? [] : [`metrics      ${ready.metrics}/metrics`]),
    ...(ready.connectionsMax >= SERVER_CONNECTIONS_MAX
      ? []
      : [
          `connections  ${ready.connectionsMax} at most: the system allows ${openFilesMax()} open files (ulimit -n), ${SERVER_CONNECTIONS_MAX + SERVER_FILES_KEPT} are wanted`,
        ]),
    ...(ready.invite === undefined
      ? []
      : [
          '',
          'The first owner joins with:',
          `  sotto server join '${ready.invite}'`,
          'and invites others with:',
          '  sotto server invite',
        ]),
    ...(ready.link === undefined ? [] : ['', 'Everybody joins with:', `  sotto server join '${ready.link}'`]),
  ].join('\n');

const announceOnion = (values: ServeValues, url: string): void => {
  const line = values.json === true ? JSON.stringify({ kind: 'reachable', url }) : `${url} can be dialled`;
  process.stdout.write(`${line}\n`);
};

// Who may come in is as it is written now: what a start before this one said does not keep the door open. A name stays.
const applySettings = async (
  { context }: RoomServer,
  { name, registration = REGISTRATION_DEFAULT }: ServeConfig,
): Promise<void> => {
  const now = await context.store.getServer();
  const set = {
    ...(name === undefined || name === now.name ? {} : { name }),
    ...(registration === now.registration ? {} : { registration }),
  };
  if (Object.keys(set).length === 0) return;
  const detail = { set: Object.keys(set).join(', '), registration };
  await context.store.putServer(set, auditRow(context, { actor: null, kind: 'server.settings', target: '', detail }));
};

// An onion service needs no other place.
const placesOf = (
  { listen, proxies = [], tls, origins = [] }: ServeConfig,
  onion: Onion | undefined,
): Pick<ServerOptions, 'listen' | 'origins' | 'proxies'> => {
  const { host, port } = addressOf(listen ?? LISTEN_DEFAULT) ?? { host: '127.0.0.1', port: 0 };
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
