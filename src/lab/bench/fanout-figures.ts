// Figures of a server of rooms under load: fan-out, log-ins and idle connections, beside a bare server and well-known ones.
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openFilesMax } from '../../machine.ts';
import { expectedError } from '../../protocol/errors.ts';
import { SERVER_CONNECTIONS_MAX, SERVER_FILES_KEPT } from '../../protocol/limits.ts';
import { CONTENDERS, type ContenderName, contenders, onOneLine, type Running } from '../load/contenders.ts';
import { buildTown, type Plan, type Town } from '../load/people.ts';
import { type Costs, compiled, type LoadOptions, PINNED, runLoad } from '../load/programs.ts';
import { ServerProcess } from '../server-process.ts';
import { type Bench, type Bound, type Figure, type Judged, type Measured, quantile, short } from './figure.ts';

const TEXT_BYTES = 200;
const ROUNDS_MIN = 3;
// Nobody is behind it: a server that has a proxy leaves TLS to it.
const NO_TLS = 'proxies = ["127.255.255.254"]';
// One member publishes here what thousands would.
const RATES = ['publish', 'burst', 'request', 'signal'].map((name) => `${name} = { burst = 1000000, perHour = 1e10 }`);

const SETTINGS = [NO_TLS, '[rates]', ...RATES, ''].join('\n');

/** Each server that is measured here, ours first, with its version and its settings: a line of Markdown each. */
export const serversTold = (version: string, cacheDir: string): string[] => [
  `- sotto ${version}: \`${onOneLine(SETTINGS)}\``,
  ...CONTENDERS.map((name) => {
    const { title, about } = contenders[name];
    const { version: its, settings } = about(cacheDir);
    return its === undefined ? `- ${title}: not installed` : `- ${`${title} ${its}`.trimEnd()}: \`${settings}\``;
  }),
];

// Until a server is through with all the connections that were dropped at once.
const GONE_MS = 1_500;

const roundsOf = ({ runs, quick }: Bench): number => (quick ? 1 : Math.max(ROUNDS_MIN, Math.round(runs / 3)));

/** A program that loads servers, and the town that sotto is measured in. */
class Arena {
  readonly #bench: Bench;
  readonly #load: string;
  readonly #town: Town;
  #places = 0;

  private constructor(bench: Bench, load: string, town: Town) {
    this.#bench = bench;
    this.#load = load;
    this.#town = town;
  }

  static async open(bench: Bench, plan: Plan): Promise<Arena> {
    const load = compiled('load', bench.cacheDir);
    bench.say(`makes ${plan.people} members`);
    const dir = join(bench.dir, 'town');
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const town = await buildTown(dir, plan);
    writeFileSync(join(town.dir, 'server.toml'), SETTINGS);
    return new Arena(bench, load, town);
  }

  /** Of a sealed event. */
  get bodyBytes(): number {
    return this.#town.bodyBytes;
  }

  /**
   * One run of sotto, on a server that was just started, with nothing said in it before; with `comeBack` the same again counts,
   * and that one is its `first`.
   */
  async sotto(options: LoadOptions, comeBack = false): Promise<Costs> {
    const dir = join(this.#bench.dir, `sotto-${++this.#places}`);
    cpSync(this.#town.dir, dir, { recursive: true });
    const server = new ServerProcess(dir, { under: PINNED });
    try {
      const { url } = await server.start();
      return await this.#run(
        { protocol: 'sotto', port: new URL(url).port, pid: server.pid, people: this.#town.peopleFile, ...options },
        comeBack,
        url,
      );
    } finally {
      await server.stop();
      rmSync(dir, { recursive: true });
    }
  }

  /** One run of another server. Throws `file.unknown` when it is not installed. */
  async other(name: ContenderName, options: LoadOptions, comeBack = false): Promise<Costs> {
    const { protocol, start } = contenders[name];
    const server: Running = await start(join(this.#bench.dir, `${name}-${++this.#places}`), this.#bench.cacheDir);
    try {
      return await this.#run({ protocol, port: server.port, pid: server.pid, ...options }, comeBack);
    } finally {
      await server.stop();
    }
  }

  async #run(options: LoadOptions, comeBack: boolean, origin = ''): Promise<Costs> {
    const quick: LoadOptions = this.#bench.quick ? { warm: 0.5, seconds: 1 } : {};
    const run = () => runLoad(this.#load, { ...quick, ...options }, this.#town.signFor(origin));
    const first = await run();
    if (!comeBack) return first;
    await new Promise((done) => setTimeout(done, GONE_MS));
    return { ...(await run()), first };
  }
}

type Missing = { readonly missing: string };

/** Several bounds that one measurement gives, each a figure with a name below this one's. */
type Several = {
  readonly name: string;
  readonly unit: string;
  readonly doc: string;
  readonly bounds: Readonly<Record<string, Bound & { readonly unit?: string }>>;
  readonly measure: (bench: Bench) => Promise<Readonly<Record<string, Measured>>>;
};

const figureOf = ({ name, unit, doc, bounds, measure }: Several): Figure => {
  const [first, ...also] = Object.entries(bounds).map(
    ([part, { unit: own = unit, ...bound }]): Judged => ({ name: `${name}.${part}`, unit: own, doc, bound }),
  );
  if (first === undefined) throw new Error('a figure has a bound');
  return {
    ...first,
    also,
    measure: async (bench) => {
      const parts = Object.entries(await measure(bench)).map(([part, measured]) => [`${name}.${part}`, measured]);
      const { [first.name]: own, ...rest } = Object.fromEntries(parts) as Record<string, Measured>;
      return { ...(own ?? { values: [] }), also: rest };
    },
  };
};

type Entry = { readonly name: ContenderName; readonly bytes: number };
const keyOf = ({ name, bytes }: Entry): string => `${name} ${bytes}`;

/** Runs of sotto and of others, taken in turn. */
type Runs = {
  readonly own: readonly Costs[];
  /** The runs of an entry, or why there are none. */
  of(entry: Entry): readonly Costs[] | Missing;
};

const interleaved = async (
  bench: Bench,
  arena: Arena,
  options: LoadOptions,
  entries: readonly Entry[],
  comeBack = false,
): Promise<Runs> => {
  const own: Costs[] = [];
  const others = new Map<string, Costs[] | Missing>(entries.map((entry) => [keyOf(entry), []]));
  for (let round = 1; round <= roundsOf(bench); round++) {
    own.push(await arena.sotto(options, comeBack));
    for (const entry of entries) {
      const runs = others.get(keyOf(entry));
      if (runs === undefined || 'missing' in runs) continue;
      bench.say(`round ${round}: ${keyOf(entry)}`);
      try {
        runs.push(await arena.other(entry.name, { ...options, bytes: entry.bytes }, comeBack));
      } catch (error) {
        const missing = expectedError(error)?.message ?? String(error);
        others.set(keyOf(entry), { missing: `${contenders[entry.name].title}: ${missing}` });
      }
    }
  }
  return { own, of: (entry) => others.get(keyOf(entry)) ?? { missing: 'it was not measured' } };
};

type Value = (costs: Costs) => number;
const perMillion: Value = ({ serverCpuSeconds, deliveries }) => (1e6 * serverCpuSeconds) / deliveries;
const perMessage: Value = ({ serverCpuSeconds, messages }) => (1e6 * serverCpuSeconds) / messages;

/** One bound against an entry: what `value` says of both. */
const against = (runs: Runs, entry: Entry, value: Value, note?: string): Measured => {
  const others = runs.of(entry);
  if ('missing' in others) return { values: [], ...others };
  const floor = { name: contenders[entry.name].title, values: others.map(value) };
  return { values: runs.own.map(value), floor, ...(note === undefined ? {} : { note }) };
};

const median = (costs: readonly Costs[], value: Value): number => quantile(costs.map(value), 0.5);

/** What a reader should know of the runs: rates, who was busy, sizes; and every entry, bound or not. */
const told = (runs: Runs, entries: readonly Entry[], bodyBytes: number, value: Value): string => {
  const line = (costs: readonly Costs[]): string => {
    const [cpu, load] = [median(costs, (one) => one.serverCpuSeconds / one.seconds), median(costs, loadOf)];
    const lost = costs.reduce((sum, one) => sum + one.lost, 0);
    return [
      short(median(costs, value)),
      `${short(median(costs, (one) => one.deliveries / one.seconds))} deliveries/s`,
      `core ${cpu.toFixed(2)}, load ${load.toFixed(2)}`,
      `${Math.round(median(costs, (one) => one.bytes / one.deliveries))} bytes`,
      ...(lost > 0 ? [`${lost} LOST`] : []),
    ].join(', ');
  };
  const others = entries.map((entry) => {
    const costs = runs.of(entry);
    return `${entry.name} with ${entry.bytes} bytes: ${'missing' in costs ? costs.missing : line(costs)}`;
  });
  return [`an event of ${bodyBytes} bytes: ${line(runs.own)}`, ...others].join(' · ');
};
const loadOf: Value = ({ ownCpuSeconds, seconds }) => ownCpuSeconds / seconds;

/** The same in both sizes: as many bytes as a sealed event, and its text alone. */
const entriesOf = (
  bench: Bench,
  bodyBytes: number,
  bound: readonly ContenderName[],
  more: readonly ContenderName[],
) => {
  const sized = (names: readonly ContenderName[], bytes: number): Entry[] =>
    names.filter((name) => contenders[name].bytesMax >= bytes).map((name) => ({ name, bytes }));
  const all = [...bound, ...more];
  return bench.quick ? sized(bound, bodyBytes) : [...sized(all, bodyBytes), ...sized(all, TEXT_BYTES)];
};

const lead = (limit: number): Bound => ({ of: 'lead', at: 'median', better: 'higher', limit });
const atMost = (limit: number, unit: string) => ({ of: 'value', at: 'median', better: 'lower', limit, unit }) as const;
const ratio = (limit: number, unit: string) => ({ of: 'ratio', at: 'median', better: 'lower', limit, unit }) as const;

/** One room; `speakers` of its people have something to say. */
const oneRoom = (people: number, speaks: Plan['speaks']): Plan => ({ people, rooms: 1, roomsOf: () => [0], speaks });

const fanout = (readers: number, limits: Readonly<Record<'ergo' | 'redis' | 'nats' | 'c', number>>): Several => ({
  name: `fanout.${readers}`,
  unit: 'CPU s/million',
  doc: `deliveries from one sender to ${readers} readers of a sealed channel`,
  bounds: {
    ergo: lead(limits.ergo),
    redis: lead(limits.redis),
    nats: lead(limits.nats),
    c: lead(limits.c),
  },
  measure: async (bench) => {
    const arena = await Arena.open(
      bench,
      oneRoom(readers + 1, (person) => person === readers),
    );
    const entries = entriesOf(
      bench,
      arena.bodyBytes,
      ['c', 'redis', 'nats', 'ergo'],
      ['inspircd', 'ngircd', 'mosquitto'],
    );
    const runs = await interleaved(bench, arena, { mode: 'fan', readers }, entries);
    const note = told(runs, entries, arena.bodyBytes, perMillion);
    const row = (name: ContenderName, more?: string) =>
      against(runs, { name, bytes: arena.bodyBytes }, perMillion, more);
    return { ergo: row('ergo'), redis: row('redis'), nats: row('nats'), c: row('c', note) };
  },
});

const everybody: Several = {
  name: 'fanout.all',
  unit: 'µs CPU/message',
  doc: '200 members of one channel, all sending',
  bounds: { ergo: lead(12), redis: lead(1.5) },
  measure: async (bench) => {
    const arena = await Arena.open(
      bench,
      oneRoom(200, () => true),
    );
    const entries = entriesOf(bench, arena.bodyBytes, ['ergo', 'redis'], ['c', 'nats', 'inspircd']);
    const runs = await interleaved(bench, arena, { mode: 'many', channels: 1, members: 200 }, entries);
    const note = told(runs, entries, arena.bodyBytes, perMessage);
    const row = (name: ContenderName, more?: string) =>
      against(runs, { name, bytes: arena.bodyBytes }, perMessage, more);
    return { ergo: row('ergo', note), redis: row('redis') };
  },
};

const small: Several = {
  name: 'fanout.small',
  unit: 'µs CPU/message',
  doc: '200 channels with 5 members each, all sending; every message is on the disk before it is delivered',
  bounds: { ergo: lead(1.2), cpu: atMost(40, 'µs CPU/message') },
  measure: async (bench) => {
    const [channels, members] = [200, 5];
    const plan: Plan = {
      people: channels * members,
      rooms: channels,
      roomsOf: (person) => [Math.floor(person / members)],
      speaks: () => true,
    };
    const arena = await Arena.open(bench, plan);
    const entries = entriesOf(bench, arena.bodyBytes, ['ergo'], ['c', 'redis', 'nats', 'inspircd']);
    const runs = await interleaved(bench, arena, { mode: 'many', channels, members }, entries);
    const note = told(runs, entries, arena.bodyBytes, perMessage);
    return {
      ergo: against(runs, { name: 'ergo', bytes: arena.bodyBytes }, perMessage, note),
      cpu: { values: runs.own.map(perMessage) },
    };
  },
};

const offered: Several = {
  name: 'fanout.offered',
  unit: 'ms',
  doc: '200 readers: 400,000 deliveries a second, and a quiet channel with 10,000',
  bounds: {
    cpu: atMost(0.55, 'of a core'),
    p50: atMost(5, 'ms'),
    quietP50: ratio(1.1, 'ms'),
    quietP99: ratio(1, 'ms'),
  },
  measure: async (bench) => {
    const readers = 200;
    const arena = await Arena.open(
      bench,
      oneRoom(readers + 1, (person) => person === readers),
    );
    const open = { mode: 'open', readers };
    const busy: Costs[] = [];
    for (let round = 0; round < roundsOf(bench); round++)
      busy.push(await arena.sotto({ ...open, rate: 400_000, seconds: bench.quick ? 1 : 3 }));
    const ergo: Entry = { name: 'ergo', bytes: arena.bodyBytes };
    const quiet = await interleaved(bench, arena, { ...open, rate: 10_000, seconds: bench.quick ? 1 : 5 }, [ergo]);
    const rate = short(median(busy, ({ deliveries, seconds }) => deliveries / seconds));
    return {
      cpu: {
        values: busy.map(({ serverCpuSeconds, seconds }) => serverCpuSeconds / seconds),
        note: `${rate} deliveries/s`,
      },
      p50: {
        values: busy.map(({ p50Ms }) => p50Ms),
        note: `p99 ${short(median(busy, ({ p99Ms }) => p99Ms))} ms`,
      },
      quietP50: against(quiet, ergo, ({ p50Ms }) => p50Ms),
      quietP99: against(quiet, ergo, ({ p99Ms }) => p99Ms),
    };
  },
};

const IDLE_ROOMS = 20;
const idlePlan = (people: number): Plan => ({
  people,
  rooms: IDLE_ROOMS,
  roomsOf: (person) => Array.from({ length: 10 }, (_, i) => (person + 2 * i) % IDLE_ROOMS),
  speaks: () => false,
});
const kibEach: Value = ({ rssKib, rssBeforeKib, logins }) => (rssKib - rssBeforeKib) / logins;

// V8 looks through a heap that rests after eight seconds: what the log-ins have left is gone then.
const REST_SECONDS = 12;

const rested = async (bench: Bench, readers: number, rounds: number): Promise<Measured> => {
  const files = openFilesMax();
  if (files < readers + SERVER_FILES_KEPT)
    return {
      values: [],
      missing: `a process may open ${files} files here (ulimit -n), which is too few for ${readers} connections`,
    };
  const arena = await Arena.open({ ...bench, dir: join(bench.dir, String(readers)) }, idlePlan(readers));
  const costs: Costs[] = [];
  for (let round = 0; round < rounds; round++)
    costs.push(await arena.sotto({ mode: 'login', settle: REST_SECONDS, readers }));
  const notes = [
    `${short(median(costs, ({ rssBeforeKib }) => rssBeforeKib / 1024))} MiB empty`,
    `${short(median(costs, ({ rssKib }) => rssKib / 1024))} MiB with all`,
    `${short(median(costs, ({ idleCpu }) => idleCpu))} of a core at rest`,
  ];
  return { values: costs.map(kibEach), note: notes.join(', ') };
};

const idle: Several = {
  name: 'idle',
  unit: 'KiB/connection',
  doc: 'memory of members who are logged in and hear of 10 channels each, after 12 s of rest: 2,000, and for crowd 10,000',
  bounds: { memory: atMost(14, 'KiB/connection'), crowd: atMost(14, 'KiB/connection') },
  measure: async (bench) => ({
    memory: await rested(bench, 2_000, roundsOf(bench)),
    crowd: await rested(bench, SERVER_CONNECTIONS_MAX, 1),
  }),
};

const logins: Several = {
  name: 'login',
  unit: 'log-ins/s',
  doc: '2,000 members come back over plain TCP, 64 at once, to a server that was warmed by their first coming',
  bounds: { rate: { of: 'ratio', at: 'median', better: 'higher', limit: 0.6 } },
  measure: async (bench) => {
    const readers = 2_000;
    const arena = await Arena.open(
      bench,
      oneRoom(readers, () => false),
    );
    const ergo: Entry = { name: 'ergo', bytes: TEXT_BYTES };
    const options = { mode: 'login', readers, joins: 0, settle: 0, seconds: 0.1 };
    const runs = await interleaved(bench, arena, options, [ergo], true);
    const rate: Value = ({ logins: all, seconds }) => all / seconds;
    const line = (costs: readonly Costs[]): string =>
      `${short(median(costs, rate))}/s, ${short(median(costs, ({ serverCpuSeconds, logins: all }) => (1e3 * serverCpuSeconds) / all))} ms CPU each`;
    const firsts = (costs: readonly Costs[]): Costs[] => costs.flatMap(({ first }) => first ?? []);
    const others = runs.of(ergo);
    const beside = 'missing' in others ? '' : `; ergo ${line(others)}, the first time ${line(firsts(others))}`;
    return { rate: against(runs, ergo, rate, `${line(runs.own)}, the first time ${line(firsts(runs.own))}${beside}`) };
  },
};

/** In the order of the table of bounds. */
export const FANOUT_FIGURES: readonly Figure[] = [
  fanout(1000, { ergo: 10, redis: 3, nats: 4, c: 0.7 }),
  fanout(200, { ergo: 8, redis: 2, nats: 1.5, c: 0.5 }),
  fanout(50, { ergo: 3, redis: 1, nats: 0.6, c: 0.25 }),
  everybody,
  small,
  offered,
  idle,
  logins,
].map(figureOf);
