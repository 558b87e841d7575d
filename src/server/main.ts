// `sotto serve`: a server in the foreground from its folder, until it is told to end; and its administration.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { fileLog, systemClock, systemRandom } from '../machine.ts';
import { errorObject, exitOf, SottoError } from '../protocol/errors.ts';
import { parseDuration, parseTime } from '../protocol/time-words.ts';
import { Admin, type AdminRequest, linkOf } from './admin.ts';
import { askAdmin } from './admin-client.ts';
import { restoreServer } from './backup.ts';
import { COUNTED, type Counted } from './counts.ts';
import { type Metric, Metrics } from './metrics.ts';
import { RoomServer, type ServerOptions } from './server.ts';
import { createServer, isServer, serverPaths } from './server-dir.ts';
import { ServerStore } from './server-store.ts';
import type { Turn } from './turn.ts';

const turn: Turn = () => new Promise((done) => setImmediate(done));
const PORTS = { clock: systemClock, random: systemRandom, turn };

const OPTIONS = {
  'data-dir': { type: 'string' },
  listen: { type: 'string' },
  name: { type: 'string' },
  registration: { type: 'string' },
  origin: { type: 'string', multiple: true },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  'behind-proxy': { type: 'string', multiple: true },
  metrics: { type: 'string' },
  'encrypt-at-rest': { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
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

const HELP = `sotto serve — host a server for rooms

  sotto serve [--data-dir DIR] [--listen 127.0.0.1:7443] [--name TEXT]
    --registration invite|open|closed   who may become a member (invite)
    --origin wss://NAME[:PORT]          what people dial, when it is another name than --listen says
    --tls-cert FILE --tls-key FILE      a certificate of an authority, instead of the server's own
    --behind-proxy ADDRESS              a proxy on this machine ends TLS: its X-Forwarded-For is believed
    --metrics 127.0.0.1:PORT            health and metrics (a free port)
    --encrypt-at-rest                   a new server keeps its database encrypted under its key file
    --json                              the first line is one object: kind, url, fingerprint, metrics, admin, invite

  sotto serve admin status|members|member NAME|role NAME ROLE|ban NAME|unban NAME
  sotto serve admin invites|invite [--owner] [--role admin] [--uses N] [--expires 7d]|revoke ID
  sotto serve admin channels|audit [--actor A] [--target T] [--kind K] [--since TIME]|check [--deep]
  sotto serve admin backup FOLDER|restore FOLDER
`;

const parse = (argv: readonly string[]) => parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });

/** Runs `sotto serve …`; gives the exit code. Errors go to stderr, as an object with `--json`. */
export const runServe = async (argv: readonly string[]): Promise<number> => {
  const json = argv.includes('--json');
  try {
    let parsed: ReturnType<typeof parse>;
    try {
      parsed = parse(argv);
    } catch (error) {
      throw new SottoError('usage.invalid', { message: error instanceof Error ? error.message : 'not understood' });
    }
    const { values, positionals } = parsed;
    if (values.help === true) {
      process.stdout.write(HELP);
      return 0;
    }
    const [first, ...words] = positionals;
    if (first === 'admin') return await administer(words, values);
    if (first !== undefined) throw new SottoError('usage.invalid', { message: `sotto serve does not know ${first}` });
    return await serve(values);
  } catch (error) {
    const told = errorObject(error);
    process.stderr.write(json ? `${JSON.stringify(told)}\n` : `sotto: ${told.message}\n`);
    if (told.code === 'internal.bug') process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    return exitOf(told.code);
  }
};

const folderOf = (values: Values): string =>
  resolve(
    values['data-dir'] ??
      process.env.SOTTO_SERVER_DIR ??
      join(process.env.XDG_DATA_HOME ?? join(homedir(), '.local', 'share'), 'sotto-server'),
  );

const adminSocket = (dir: string): string => join(dir, 'admin.sock');

const serve = async (values: Values): Promise<number> => {
  process.umask(0o077);
  const dir = folderOf(values);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const paths = serverPaths(dir);
  if (!isServer(paths))
    createServer(
      paths,
      {
        name: values.name ?? 'sotto',
        registration: registrationOf(values.registration) ?? 'invite',
        serverKey: systemRandom.bytes(32),
        encryptAtRest: values['encrypt-at-rest'] === true,
      },
      PORTS,
    );
  const journal = fileLog(join(dir, 'server.log'), 'info');
  const store = ServerStore.open(paths, PORTS);
  const end = Promise.withResolvers<number>();
  const bug = (error: unknown): void => {
    journal.error('bug', {
      stack: error instanceof Error ? (error.stack ?? '').split('\n').slice(1, 8).join('\n') : '',
    });
    end.resolve(1);
  };
  await applySettings(store, values);
  const startedAt = systemClock.now();
  const server = await RoomServer.start({ store, ...PORTS, journal, ...placesOf(values), bug });
  let ready = true;
  const metrics = await Metrics.open({
    ...addressOf(values.metrics ?? '127.0.0.1:0', 'metrics'),
    metrics: metricsOf(server),
    ready: () => ready,
  });
  const admin = await Admin.open({ path: adminSocket(dir), server, store, startedAt, bug });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => end.resolve(0));
  process.on('uncaughtException', bug);
  process.on('unhandledRejection', bug);
  const token = await server.ownerInvite();
  announce(values, {
    kind: 'ready',
    url: server.urls[0] ?? '',
    fingerprint: Buffer.from(server.context.serverKey).toString('hex'),
    metrics: metrics.url,
    admin: adminSocket(dir),
    ...(token === undefined ? {} : { invite: linkOf(server, token) }),
  });
  journal.info('server.started', {});
  const keep = setInterval(() => {}, 2 ** 30);
  const code = await end.promise;
  ready = false;
  await admin[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await metrics[Symbol.asyncDispose]();
  await store[Symbol.asyncDispose]();
  clearInterval(keep);
  journal.info('server.ended', { code });
  return code;
};

const announce = (values: Values, ready: Record<string, string>): void => {
  if (values.json === true) return void process.stdout.write(`${JSON.stringify(ready)}\n`);
  const lines = [
    `${ready.url} is ready`,
    `fingerprint  ${ready.fingerprint}`,
    `metrics      ${ready.metrics}/metrics`,
    ...(ready.invite === undefined ? [] : ['', 'The first owner joins with:', `  sotto server join '${ready.invite}'`]),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
};

const applySettings = async (store: ServerStore, values: Values): Promise<void> => {
  const registration = registrationOf(values.registration);
  const set = {
    ...(values.name === undefined ? {} : { name: values.name.slice(0, 64) }),
    ...(registration === undefined ? {} : { registration }),
  };
  if (Object.keys(set).length > 0) await store.state.putServer(set);
};

const registrationOf = (text: string | undefined): 'open' | 'invite' | 'closed' | undefined => {
  const known = (['open', 'invite', 'closed'] as const).find((one) => one === text);
  if (text !== undefined && known === undefined)
    throw new SottoError('usage.invalid', { message: '--registration is invite, open or closed' });
  return known;
};

const addressOf = (text: string, flag: string): { readonly host: string; readonly port: number } => {
  const match = /^(\[[0-9a-f:]+\]|[\w.-]+):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[2] ?? -1);
  if (match === null || port > 65_535) throw new SottoError('usage.invalid', { message: `--${flag} is HOST:PORT` });
  return { host: (match[1] ?? '').replace(/^\[|\]$/g, ''), port };
};

const placesOf = (values: Values): Pick<ServerOptions, 'listen' | 'origins' | 'proxies'> => {
  const { host, port } = addressOf(values.listen ?? '127.0.0.1:7443', 'listen');
  const proxies = values['behind-proxy'] ?? [];
  const [cert, key] = [values['tls-cert'], values['tls-key']];
  if ((cert === undefined) !== (key === undefined))
    throw new SottoError('usage.invalid', { message: '--tls-cert and --tls-key go together' });
  const tls =
    proxies.length > 0
      ? ('none' as const)
      : cert !== undefined && key !== undefined
        ? { cert: readPem(cert), key: readPem(key) }
        : ('pinned' as const);
  return { listen: [{ kind: 'tcp', host, port, tls }], origins: values.origin ?? [], proxies };
};

const readPem = (path: string): string => {
  if (!existsSync(path)) throw new SottoError('usage.invalid', { message: `There is no file ${path}` });
  return readFileSync(path, 'utf8');
};

const metricsOf = (server: RoomServer): Metric[] => {
  const { context } = server;
  return [
    { name: 'connections', kind: 'gauge', doc: 'Connections that hold a socket', value: () => server.connections },
    { name: 'members_online', kind: 'gauge', doc: 'Members that are logged in', value: () => context.online.size },
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
    { name: 'resident_bytes', kind: 'gauge', doc: 'Resident memory', value: () => process.memoryUsage.rss() },
  ];
};

const administer = async (words: readonly string[], values: Values): Promise<number> => {
  const dir = folderOf(values);
  const [what = '', name = ''] = words;
  if (what === 'restore') {
    await restoreServer(resolve(name), serverPaths(dir), PORTS);
    return print(values, [{ restored: resolve(name) }]);
  }
  const items = await askAdmin(adminSocket(dir), requestOf(what, words, values));
  return print(values, items);
};

const requestOf = (what: string, words: readonly string[], values: Values): AdminRequest => {
  const [, name = ''] = words;
  const number = (text: string | undefined) => (text === undefined ? undefined : Number(text));
  const optional = <Key extends string, Value>(key: Key, value: Value | undefined) =>
    value === undefined ? {} : ({ [key]: value } as Record<Key, Value>);
  switch (what) {
    case 'status':
    case 'members':
    case 'invites':
    case 'channels':
      return { do: what };
    case 'member':
    case 'ban':
    case 'unban':
      return { do: what, name };
    case 'role':
      return { do: 'role', name, role: (words[2] ?? '') as 'admin' };
    case 'revoke':
      return { do: 'revoke', id: name };
    case 'invite':
      return {
        do: 'invite',
        owner: values.owner === true,
        ...optional('role', values.role as 'admin' | undefined),
        ...optional('uses', number(values.uses)),
        ...optional('expiresMs', values.expires === undefined ? undefined : parseDuration(values.expires)),
      };
    case 'audit':
      return {
        do: 'audit',
        ...optional('actor', values.actor),
        ...optional('target', values.target),
        ...optional('kind', values.kind),
        ...optional('since', values.since === undefined ? undefined : parseTime(values.since, systemClock.now())),
        ...optional('limit', number(values.limit)),
      };
    case 'backup':
      return { do: 'backup', to: resolve(name) };
    case 'check':
      return { do: 'check', deep: values.deep === true };
    default:
      throw new SottoError('usage.invalid', {
        message: `sotto serve admin does not know ${what || 'nothing'}: see --help`,
      });
  }
};

const print = (values: Values, items: readonly object[]): number => {
  for (const item of items)
    process.stdout.write(values.json === true ? `${JSON.stringify(item)}\n` : `${textOf(item)}\n`);
  return 0;
};

const textOf = (item: object): string =>
  Object.entries(item)
    .map(([key, value]) => `${key} ${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .join('  ');
