// What the server is measured beside: well-known servers and a bare one, each started here with its own configuration.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { expectedError, SottoError } from '../../protocol/errors.ts';
import { compiled, FLAGS, PINNED } from './programs.ts';

export const CONTENDERS = ['c', 'redis', 'nats', 'ergo', 'inspircd', 'ngircd', 'mosquitto'] as const;
export type ContenderName = (typeof CONTENDERS)[number];

/** A server that runs and takes connections on loopback. */
export type Running = { readonly port: number; readonly pid: number; readonly stop: () => Promise<void> };

/** What a reader should know of one: its version, where it is installed, and what it is set to, on one line. */
export type About = { readonly version: string | undefined; readonly settings: string };

export type Contender = {
  /** As a reader knows it. */
  readonly title: string;
  readonly about: (cacheDir: string) => About;
  /** As load.c calls it. */
  readonly protocol: string;
  /** The largest message it passes on. */
  readonly bytesMax: number;
  /** Starts it with all it writes in the empty folder `dir`. Throws `file.unknown` when it is not installed. */
  readonly start: (dir: string, cacheDir: string) => Promise<Running>;
};

const READY_MS = 20_000;
const LOOK_MS = 20;
// An IRC line; what is more goes in a tag, for those who know tags.
const LINE_BYTES = 400;
const TAGGED_BYTES = 4_000;

type Place = { readonly dir: string; readonly port: number | string };
type Words = (place: Place) => readonly string[];

/** A program found by its name, and its configuration as a file. */
const program = (
  given: Omit<Contender, 'start' | 'about'> & {
    readonly command: string;
    readonly config: (place: Place) => string;
    /** What makes it tell its version. */
    readonly versionBy?: string;
    readonly words: Words;
    readonly prepare?: Words;
  },
): Contender => ({
  title: given.title,
  protocol: given.protocol,
  bytesMax: given.bytesMax,
  about: (cacheDir) => ({
    version: versionOf(given.command, given.versionBy ?? '--version', cacheDir),
    settings: onOneLine(given.config({ dir: 'DIR', port: 'PORT' })),
  }),
  start: async (dir, cacheDir) => {
    const path = find(given.command, cacheDir);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const place = { dir, port: await freePort() };
    writeFileSync(join(dir, 'conf'), given.config(place));
    if (given.prepare !== undefined) spawnSync(path, given.prepare(place), { cwd: dir, stdio: 'ignore' });
    return running([path, ...given.words(place)], dir, place.port);
  },
});

const EVERYWHERE = Number.MAX_SAFE_INTEGER;

/** Each by its name. */
export const contenders: Readonly<Record<ContenderName, Contender>> = {
  c: {
    title: 'the bare server in C',
    protocol: 'line',
    bytesMax: EVERYWHERE,
    about: () => ({ version: '', settings: `src/lab/load/server.c by cc ${FLAGS.join(' ')}` }),
    start: async (dir, cacheDir) => {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      return await bare('server', dir, cacheDir);
    },
  },
  redis: program({
    title: 'Redis',
    protocol: 'redis',
    bytesMax: EVERYWHERE,
    command: 'redis-server',
    words: () => ['conf'],
    config: ({ port }) =>
      `port ${port}\nbind 127.0.0.1\nprotected-mode no\nsave ""\nappendonly no\nmaxclients 15000\nclient-output-buffer-limit pubsub 0 0 0\n`,
  }),
  nats: program({
    title: 'nats-server',
    protocol: 'nats',
    bytesMax: EVERYWHERE,
    command: 'nats-server',
    words: () => ['-c', 'conf'],
    config: ({ port }) => `listen: 127.0.0.1:${port}\nmax_connections: 65536\nmax_pending: 256MB\n`,
  }),
  ergo: program({
    title: 'ergo',
    protocol: 'irc',
    bytesMax: TAGGED_BYTES,
    command: 'ergochat',
    prepare: () => ['initdb', '--conf', 'conf', '--quiet'],
    words: () => ['run', '--conf', 'conf', '--quiet'],
    config: ({ port }) => ERGO.replace('PORT', String(port)),
  }),
  inspircd: program({
    title: 'InspIRCd',
    protocol: 'irc',
    // With tags of that size it takes a few lines a second only.
    bytesMax: LINE_BYTES,
    command: 'inspircd',
    words: ({ dir }) => ['--runasroot', '--nofork', '--config', join(dir, 'conf')],
    config: ({ dir, port }) => INSPIRCD.replaceAll('DIR', dir).replace('PORT', String(port)),
  }),
  ngircd: program({
    title: 'ngIRCd',
    protocol: 'irc',
    bytesMax: LINE_BYTES,
    command: 'ngircd',
    words: ({ dir }) => ['--nodaemon', '--config', join(dir, 'conf')],
    config: ({ dir, port }) => NGIRCD.replace('DIR', dir).replace('PORT', String(port)),
  }),
  mosquitto: program({
    title: 'Mosquitto',
    protocol: 'mqtt',
    bytesMax: EVERYWHERE,
    command: 'mosquitto',
    versionBy: '-h',
    words: () => ['-c', 'conf'],
    config: ({ port }) =>
      [
        `listener ${port} 127.0.0.1`,
        'allow_anonymous true',
        'persistence false',
        'log_type none',
        'max_queued_messages 0',
        'max_inflight_messages 0',
        'max_connections -1',
        'set_tcp_nodelay true',
        '',
      ].join('\n'),
  }),
};

/** Starts one of the bare programs in C, which write nothing. */
export const bare = async (name: 'server' | 'forward', dir: string, cacheDir: string): Promise<Running> => {
  const port = await freePort();
  return await running([compiled(name, cacheDir), String(port)], dir, port);
};

/** Where bench:peers puts what no package of the system gives. */
const fetchedDir = (cacheDir: string): string => join(cacheDir, 'peers', 'usr', 'bin');

const find = (command: string, cacheDir: string): string => {
  const dirs = [fetchedDir(cacheDir), ...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  const path = dirs.map((dir) => join(dir, command)).find((one) => isProgram(one));
  if (path === undefined)
    throw new SottoError('file.unknown', { message: `${command} is not installed: npm run bench:peers` });
  return path;
};

/** The version that an installed program tells of itself; undefined where there is none. */
const versionOf = (command: string, word: string, cacheDir: string): string | undefined => {
  try {
    const { stdout, stderr } = spawnSync(find(command, cacheDir), [word], { encoding: 'utf8' });
    return /\d+\.\d+[\w.+~-]*/.exec(stdout + stderr)?.[0] ?? 'of no version that it tells';
  } catch (error) {
    if (expectedError(error) === undefined) throw error;
    return undefined;
  }
};

/** A configuration file as one line, without what only sets it out. */
export const onOneLine = (config: string): string =>
  config
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && line !== '-')
    .join(' ; ');

const isProgram = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** A port of loopback that is free now. */
const freePort = async (): Promise<number> => {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
};

/** Starts a program and waits until it takes connections at a port. Throws what it said when it ends before. */
const running = async (words: readonly string[], cwd: string, port: number): Promise<Running> => {
  const [pin, ...rest] = [...PINNED, ...words];
  const child: ChildProcess = spawn(pin, rest, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      said = `${said}${chunk}`.slice(-1_000);
    });
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  const until = Date.now() + READY_MS;
  while (!(await answers(port))) {
    if (child.exitCode !== null || Date.now() > until) {
      child.kill('SIGKILL');
      throw new Error(`it did not start: ${said.trim()}`);
    }
    await new Promise((done) => setTimeout(done, LOOK_MS));
  }
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  return { port, pid: child.pid ?? 0, stop };
};

const answers = (port: number): Promise<boolean> =>
  new Promise((done) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
    socket.once('connect', () => socket.destroy());
  });

// History on, in memory; everything that slows people down off.
const ERGO = `network:
    name: bench
server:
    name: ergo.bench
    listeners:
        "127.0.0.1:PORT":
    casemapping: "ascii"
    enforce-utf8: true
    lookup-hostnames: false
    check-ident: false
    max-sendq: 16M
    ip-limits:
        count: false
        throttle: false
    ip-cloaking:
        enabled: false
accounts:
    authentication-enabled: true
    registration:
        enabled: false
    multiclient:
        enabled: true
        allowed-by-default: true
        always-on: "disabled"
channels:
    default-modes: +nt
    max-channels-per-client: 100
    registration:
        enabled: false
logging:
    -
        method: stderr
        type: "*"
        level: error
lock-file: "ergo.lock"
datastore:
    path: ergo.db
    autoupgrade: true
languages:
    enabled: false
limits:
    nicklen: 32
    identlen: 20
    channellen: 64
    awaylen: 390
    kicklen: 390
    topiclen: 390
    monitor-entries: 100
    whowas-entries: 100
    chan-list-modes: 100
    registration-messages: 1024
fakelag:
    enabled: false
history:
    enabled: true
    channel-length: 131072
    client-length: 256
    autoresize-window: 3d
    autoreplay-on-join: 0
    chathistory-maxmessages: 1000
`;

const INSPIRCD = `<server name="irc.bench.local" description="bench" network="bench">
<admin name="a" nick="a" email="a@a">
<bind address="127.0.0.1" port="PORT" type="clients">
<connect name="main" allow="*" timeout="60" pingfreq="600" hardsendq="64M" softsendq="32M" recvq="8M" threshold="1000000" commandrate="1000000000" fakelag="no" maxchans="100" localmax="100000" globalmax="100000" maxconnwarn="no" resolvehostnames="no" useident="no" useconnectban="no" useconnflood="no">
<dns server="127.0.0.1" timeout="1">
<pid file="DIR/inspircd.pid">
<options prefixquit="" defaultmodes="not">
<performance netbuffersize="65536" somaxconn="1024" softlimit="12800" clonesonconnect="no" quietbursts="yes">
<limits maxnick="30" maxchan="64" maxident="10">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="DIR/inspircd.log">
`;

const NGIRCD = `[Global]
Name = irc.bench.local
Info = bench
Listen = 127.0.0.1
Ports = PORT
MotdPhrase = "hi"
PidFile = DIR/ngircd.pid
ServerUID = root
ServerGID = root
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 600
PongTimeout = 60
[Options]
DNS = no
Ident = no
PAM = no
`;
