// What `sotto serve` is told, by its flags and by a file: one description of both, and every mistake with its place.
import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import { parse } from 'smol-toml';
import * as z from 'zod';
import { readNetworkFile, TorSection } from '../net/tor-config.ts';
import { errorObject, SottoError } from '../protocol/errors.ts';
import { isLoopback, isOrigin } from '../protocol/invite-link.ts';
import { inWords, type Problem, problemsOf } from '../protocol/issues.ts';
import { NAME_CHARS_MAX, SERVER_RATES } from '../protocol/limits.ts';
import { safeName } from '../protocol/safe-text.ts';
import type { RateName } from './context.ts';
import type { TlsKeys } from './listener.ts';
import type { Rate } from './rates.ts';
import { Proxies } from './sources.ts';

export const REGISTRATIONS = ['invite', 'open', 'closed'] as const;
/** Who may become a member where nothing is said. */
export const REGISTRATION_DEFAULT = 'invite';

/** Where a server listens when nothing is said. */
export const LISTEN_DEFAULT = '127.0.0.1:7443';

const RATE_MAX = 1_000_000_000;
const PORT_MAX = 65_535;
const ADDRESS = /^(\[[0-9a-f:]+\]|[\w.-]+):(\d{1,5})$/i;
const address = z.string().refine((text) => addressOf(text) !== undefined, {
  error: `must be HOST:PORT, the port from 0 to ${PORT_MAX}`,
  abort: true,
});
// Numbers of a server are nobody else's business, and its port asks nobody who they are.
const local = address.refine(
  (text) => isLoopback(addressOf(text)?.host ?? ''),
  'must be an address of this machine, as 127.0.0.1:9100; who asks from elsewhere comes through a proxy',
);
const origin = z.string().refine(isOrigin, 'must be wss://NAME[:PORT], the name in lower case');
const proxy = z.string().refine((text) => isProxy(text), 'must be an address or a network');
const file = z.string().min(1);
// All members are shown it.
const name = z
  .string()
  .normalize('NFC')
  .min(1, { abort: true })
  .max(NAME_CHARS_MAX, { abort: true })
  .refine((text) => text === safeName(text), 'must be one line of what can be seen, without spaces at its ends');

const rate = z.strictObject({
  burst: z.number().int().min(1).max(RATE_MAX),
  perHour: z
    .number()
    .positive()
    .max(3_600 * RATE_MAX),
});
const rates = Object.fromEntries(Object.keys(SERVER_RATES).map((name) => [name, rate.optional()])) as Record<
  RateName,
  z.ZodOptional<typeof rate>
>;

const Schema = z.strictObject({
  name: name.optional(),
  registration: z.enum(REGISTRATIONS).optional(),
  listen: address.optional(),
  origins: z.array(origin).max(16).optional(),
  proxies: z.array(proxy).max(64).optional(),
  metrics: local.optional(),
  encryptAtRest: z.boolean().optional(),
  onion: z.boolean().optional(),
  tor: TorSection.optional(),
  tls: z.strictObject({ cert: file, key: file }).optional(),
  rates: z.strictObject(rates).optional(),
  log: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']) }).optional(),
});
export type ServeConfig = z.infer<typeof Schema>;

/** The rates that are another than usual. */
export const ratesOf = ({ rates: given = {} }: ServeConfig): Partial<Record<RateName, Rate>> =>
  Object.fromEntries(
    Object.entries(given).map(([name, { burst, perHour }]) => [name, { burst, perSecond: perHour / 3_600 }]),
  );

/** Host, in lower case as a link names it, and port of `HOST:PORT`; undefined when it is something else. */
export const addressOf = (text: string): { readonly host: string; readonly port: number } | undefined => {
  const match = ADDRESS.exec(text);
  const port = Number(match?.[2] ?? -1);
  return match === null || port > PORT_MAX
    ? undefined
    : { host: (match[1] ?? '').replace(/^\[|\]$/g, '').toLowerCase(), port };
};

const isProxy = (text: string): boolean => {
  if (isIP(text.split('/')[0] ?? '') === 0) return false;
  try {
    return new Proxies([text]) !== undefined;
  } catch {
    return false;
  }
};

/** What a file says, and everything that is wrong with it: with a problem the configuration is not to be used. */
export const readServeConfig = (path: string): { readonly config: ServeConfig; readonly problems: Problem[] } => {
  const nothing = (place: string, problem: string) => ({ config: {}, problems: [{ place, problem }] });
  if (!existsSync(path)) return nothing(path, 'there is no such file');
  let raw: unknown;
  try {
    raw = parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const { line, column, message } = error as { line?: number; column?: number; message?: string };
    const place = line === undefined ? path : `line ${line}, column ${column}`;
    return nothing(place, (message ?? 'not TOML').split('\n')[0] ?? '');
  }
  return checkServeConfig(raw);
};

/** The same for what is parsed already. */
export const checkServeConfig = (raw: unknown): { readonly config: ServeConfig; readonly problems: Problem[] } => {
  const parsed = Schema.safeParse(raw, { error: inWords });
  return parsed.success
    ? { config: parsed.data, problems: problemsTogether(parsed.data) }
    : { config: {}, problems: withOthers(problemsOf(parsed.error, 'setting'), raw) };
};

const problemsTogether = (config: ServeConfig): Problem[] => [
  ...tlsProblems(config),
  ...torProblems(config),
  ...portProblems(config),
];

// What is wrong with a key says nothing of the others: files that are not there are told beside it, once.
const withOthers = (problems: readonly Problem[], raw: unknown): Problem[] => {
  const wrong = new Set(problems.map(({ place }) => rootOf(place)));
  const rest = Object.entries(raw ?? {}).filter(([key]) => !wrong.has(key));
  const { data } = Schema.safeParse(Object.fromEntries(rest));
  const others = data === undefined ? [] : problemsTogether(data);
  return [...problems, ...others.filter(({ place }) => !wrong.has(rootOf(place)))];
};

const rootOf = (place: string): string => place.split('.')[0] ?? '';

const portProblems = ({ listen = LISTEN_DEFAULT, metrics, onion }: ServeConfig): Problem[] => {
  const [one, other] = [addressOf(listen), addressOf(metrics ?? '')];
  const isOne = one?.port !== 0 && one?.port === other?.port && one?.host === other?.host;
  return isOne && onion !== true ? [{ place: 'metrics', problem: `${metrics} is where the server listens` }] : [];
};

const tlsProblems = ({ tls, proxies = [], origins = [] }: ServeConfig): Problem[] => {
  if (tls === undefined) return [];
  const missing = (['cert', 'key'] as const).filter((one) => !existsSync(tls[one]));
  const problems: Problem[] = missing.map((one) => ({ place: `tls.${one}`, problem: `there is no file ${tls[one]}` }));
  if (proxies.length > 0)
    problems.push({ place: 'tls', problem: 'a proxy ends TLS already: leave out tls, or proxies' });
  if (origins.length === 0)
    problems.push({
      place: 'origins',
      problem: 'a certificate of an authority is for a name: give the origin that people dial',
    });
  if (missing.length > 0) return problems;
  try {
    createSecureContext(readTls(tls));
  } catch (error) {
    problems.push({ place: 'tls', problem: `the two cannot be used: ${error instanceof Error ? error.message : ''}` });
  }
  return problems;
};

const torProblems = ({ tor }: ServeConfig): Problem[] => {
  try {
    if (tor?.network !== undefined) readNetworkFile(tor.network);
    return [];
  } catch (error) {
    return [{ place: 'tor.network', problem: errorObject(error).message }];
  }
};

/** Certificate chain and key. Throws what the system says. */
export const readTls = ({ cert, key }: { readonly cert: string; readonly key: string }): TlsKeys => ({
  cert: readFileSync(cert, 'utf8'),
  key: readFileSync(key, 'utf8'),
});

/** All problems in one error. */
export const configError = (problems: readonly Problem[]) =>
  new SottoError('config.invalid', {
    message: problems.map(({ place, problem }) => `${place}: ${problem}`).join('\n'),
    details: { problems },
  });
