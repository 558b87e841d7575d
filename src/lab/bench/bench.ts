// `sotto bench`: measures the product beside its floors, and says which bounds hold.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, cpus, release, tmpdir, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { errorObject } from '../../protocol/errors.ts';
import { cacheDir } from '../actor.ts';
import { readWords } from '../flags.ts';
import { CLI_FIGURES } from './cli-figures.ts';
import { CORE_FIGURES } from './core-figures.ts';
import { FANOUT_FIGURES, serversTold } from './fanout-figures.ts';
import { type Bench, type Figure, type Judged, judge, type Row, type Skipped, short } from './figure.ts';
import { HISTORY_FIGURES } from './history-figures.ts';
import { LOG_FIGURES } from './log-figures.ts';
import { STORE_FIGURES } from './store-figures.ts';
import { TOR_FIGURES } from './tor-figures.ts';
import { VOICE_FIGURES } from './voice-figures.ts';
import { WIRE_FIGURES } from './wire-figures.ts';

/** What `sotto bench server` measures. */
const SERVER_FIGURES: readonly Figure[] = [...LOG_FIGURES, ...HISTORY_FIGURES, ...FANOUT_FIGURES, ...VOICE_FIGURES];
const FIGURES: readonly Figure[] = [
  ...CLI_FIGURES,
  ...CORE_FIGURES,
  ...STORE_FIGURES,
  ...SERVER_FIGURES,
  ...WIRE_FIGURES,
  ...TOR_FIGURES,
];

const RUNS = 9;
const RUNS_QUICK = 3;
/** How `sotto bench` is called. */
export const BENCH = {
  usage: 'sotto bench [NAME …] [flags]',
  doc: 'Measures the named figures, those of the server or the account, or all, beside their floors; exit code 1 when a bound does not hold.',
  flags: {
    list: ['tell the figures'],
    quick: [`${RUNS_QUICK} runs of each, and less of what is large`],
    runs: [`so many runs of each (${RUNS})`, 'N'],
    write: ['write a table of them into this file', 'FILE'],
    json: ['one JSON object a line'],
    only: ['one figure by its whole name, in this process'],
  },
} as const;

/** Measures the named figures, or all; gives the exit code: 1 when one does not hold. */
export const runBench = async (argv: readonly string[]): Promise<number> => {
  const words = readWords(argv, BENCH);
  if (typeof words === 'number') return words;
  const { values, names } = words;
  const json = values.json !== undefined;
  if (values.list !== undefined) {
    for (const { name, unit, doc } of FIGURES.flatMap(judgedBy))
      print(json ? JSON.stringify({ name, unit, doc }) : `${name}  ${doc}`);
    return 0;
  }
  const unknown = names.find((name) => !FIGURES.some((figure) => chosen(figure, [name])));
  if (unknown !== undefined) return complain(`There is no figure ${unknown}: sotto bench --list`);
  const runs = values.runs === undefined ? (values.quick !== undefined ? RUNS_QUICK : RUNS) : Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1 || runs > 1000) return complain('--runs takes a number from 1 to 1000');
  process.umask(0o077);
  const options = { runs, quick: values.quick !== undefined, json };
  const only = values.only !== undefined ? FIGURES.find((figure) => figure.name === names[0]) : undefined;
  if (only !== undefined) {
    print(JSON.stringify(await measureHere(only, options)));
    return 0;
  }
  const results = measureAll(names, options);
  if (values.write !== undefined) writeResults(resolve(values.write), argv, { names, results });
  return results.every(({ holds }) => holds !== false) ? 0 : 1;
};

type Options = { readonly runs: number; readonly quick: boolean; readonly json: boolean };

const measureAll = (names: readonly string[], options: Options): Row[] =>
  FIGURES.filter((one) => isWanted(one, names)).flatMap((figure) => {
    const startedAt = performance.now();
    const results = measureApart(figure, options);
    for (const result of results) print(options.json ? JSON.stringify(result) : lineOf(result));
    process.stderr.write(`${figure.name}: took ${short((performance.now() - startedAt) / 1000)} s\n`);
    return results;
  });

const judgedBy = (figure: Figure): readonly Judged[] => [figure, ...(figure.also ?? [])];

const measureHere = async (figure: Figure, options: Options): Promise<Row[]> => {
  const dir = mkdtempSync(join(tmpdir(), 'sotto-b-'));
  const remove = (): void => rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      // What it has started ends with it, and Tor with its daemon.
      spawnSync('pkill', ['-P', String(process.pid)]);
      remove();
      process.exit(128 + constants.signals[signal]);
    });
  const bench: Bench = {
    dir,
    cacheDir: cacheDir(),
    program: process.env.SOTTO_PROGRAM ?? resolve('bin/sotto'),
    say: (line) => process.stderr.write(`${figure.name}: ${line}\n`),
    ...options,
  };
  try {
    return await measure(figure, bench);
  } finally {
    remove();
  }
};

// Each figure has a process of its own: what one leaves in memory is not measured in the next.
const measureApart = (figure: Figure, { runs, quick }: Options): Row[] => {
  const script = process.argv[1] ?? '';
  const words = [figure.name, '--only', '--runs', String(runs), ...(quick ? ['--quick'] : [])];
  const child = spawnSync(process.execPath, [...process.execArgv, script, 'bench', ...words], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const line = child.stdout.trim();
  if (line === '') return skip(figure, `its process ended: ${child.signal ?? child.status}`);
  return JSON.parse(line) as Row[];
};

const measure = async (figure: Figure, bench: Bench): Promise<Row[]> => {
  try {
    const measured = await figure.measure(bench);
    return judgedBy(figure).map((one) => judge(one, measured.also?.[one.name] ?? measured));
  } catch (error) {
    const { code, message } = errorObject(error);
    if (code !== 'internal.bug') return skip(figure, message);
    // Not what is missing here, but something that is not as the figure takes it to be.
    return skip(figure, String(error)).map((row) => ({ ...row, holds: false }));
  }
};

const skip = (figure: Figure, skipped: string): Skipped[] => judgedBy(figure).map(({ name }) => ({ name, skipped }));

// A name chooses itself and everything below it, `search` is `search.warm` and `search.cold`; `server` all of a server,
// `account` all others.
const chosen = (figure: Figure, names: readonly string[]): boolean =>
  names.some(
    (name) =>
      judgedBy(figure).some((one) => one.name === name || one.name.startsWith(`${name}.`)) ||
      (name === 'server' && SERVER_FIGURES.includes(figure)) ||
      (name === 'account' && !SERVER_FIGURES.includes(figure)),
  );

const isWanted = (figure: Figure, names: readonly string[]): boolean => names.length === 0 || chosen(figure, names);

const lineOf = (row: Row): string => {
  if ('skipped' in row) return `${row.holds === false ? 'MISSES  ' : ''}${row.name}  skipped: ${row.skipped}`;
  const floor = row.floor === undefined ? '' : ` · ${row.floor.name} ${short(row.floor.median)}, ratio ${row.ratio}`;
  const note = row.note === undefined ? '' : `\n    ${row.note}`;
  const { target = 'no bound' } = row;
  return `${verdictOf(row, { yes: 'holds', no: 'MISSES', none: 'told' })}  ${row.name}  ${short(row.median)} ${row.unit} (${short(row.min)}–${short(row.max)}, ${row.runs} runs)${floor} · ${target}${note}`;
};

const verdictOf = ({ holds }: Row, words: Readonly<Record<'yes' | 'no' | 'none', string>>): string =>
  holds === undefined ? words.none : holds ? words.yes : words.no;
const IN_TABLE = { yes: 'yes', no: '**no**', none: '' };

type Measurement = { readonly names: readonly string[]; readonly results: readonly Row[] };

const writeResults = (path: string, argv: readonly string[], { names, results: rows }: Measurement): void => {
  const { version } = JSON.parse(readFileSync(join(dirname(process.argv[1] ?? ''), '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  const table = rows.map((row) =>
    'skipped' in row
      ? `| ${row.name} | skipped: ${row.skipped} | | | | | ${verdictOf(row, IN_TABLE)} |`
      : `| ${row.name} | ${short(row.median)} ${row.unit} | ${short(row.min)}–${short(row.max)} (${row.runs}) | ${row.floor === undefined ? '' : `${short(row.floor.median)} · ${row.floor.name}`} | ${row.ratio ?? ''} | ${row.target ?? 'none'} | ${verdictOf(row, IN_TABLE)} |${row.note === undefined ? '' : `\n| | ${row.note} | | | | | |`}`,
  );
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(
    path,
    [
      '# Measured figures',
      '',
      `Written by \`sotto bench ${argv.join(' ')}\` on ${new Date().toISOString().slice(0, 10)}: sotto ${version}, Node ${process.versions.node}, Linux ${release()}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB. Every figure stands beside its floor, measured in the same run between its samples.`,
      '',
      '| figure | median | spread (runs) | floor | ratio | bound | holds |',
      '|---|---|---|---|---|---|---|',
      ...table,
      '',
      ...(FANOUT_FIGURES.some((one) => isWanted(one, names))
        ? ['Servers under load, and what each is set to:', '', ...serversTold(version, cacheDir()), '']
        : []),
    ].join('\n'),
  );
};

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const complain = (line: string): number => {
  process.stderr.write(`sotto: ${line}\n`);
  return 2;
};
