// What `npm run test:long` does: the long forms of the tests, one after the other, and their last figures at the end.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';

type Part = {
  readonly name: string;
  readonly project: 'unit' | 'sim' | 'tor';
  readonly files: readonly string[];
  /** The variable that sets how long it is, and what it is here when it is not set. */
  readonly size: readonly [variable: string, value: string];
};

const PARTS: readonly Part[] = [
  {
    name: 'sim',
    project: 'sim',
    files: ['test/sim/first.test.ts', 'test/sim/second.test.ts', 'test/sim/files.test.ts'],
    size: ['SOTTO_SIM_WORLDS', '5000'],
  },
  {
    name: 'rooms',
    project: 'sim',
    files: ['test/sim/rooms.test.ts'],
    size: ['SOTTO_SIM_WORLDS', '1000'],
  },
  { name: 'storm', project: 'unit', files: ['test/rooms/storm.test.ts'], size: ['SOTTO_STORM_CLIENTS', '1000'] },
  { name: 'fuzz', project: 'unit', files: ['test/fuzz'], size: ['SOTTO_FUZZ_SECONDS', '3600'] },
  { name: 'kills', project: 'tor', files: ['test/tor/kills.test.ts'], size: ['SOTTO_KILLS', '1000'] },
  { name: 'soak', project: 'sim', files: ['test/sim/soak.test.ts'], size: ['SOTTO_SOAK_HOURS', '24'] },
];

// What the tests write about themselves.
const FIGURE = /^(share \d|files: |rooms: |storm: |fuzz |\d+ kills, |soak: )/;

type Outcome = {
  readonly part: Part;
  readonly code: number;
  readonly minutes: string;
  readonly figures: readonly string[];
};

const run = (part: Part): Promise<Outcome> =>
  new Promise((done) => {
    const [variable, value] = part.size;
    const startedAt = performance.now();
    const child = spawn(
      process.execPath,
      // A core for each file: a second of a long part is one of work.
      [
        'node_modules/vitest/vitest.mjs',
        'run',
        `--maxWorkers=${availableParallelism()}`,
        '--project',
        part.project,
        ...part.files,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, [variable]: process.env[variable] ?? value } },
    );
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        process.stdout.write(chunk);
      });
    child.on('close', (code) => {
      const minutes = ((performance.now() - startedAt) / 60_000).toFixed(1);
      done({ part, code: code ?? 1, minutes, figures: said.split('\n').filter((line) => FIGURE.test(line)) });
    });
  });

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !PARTS.some((part) => part.name === name));
if (unknown.length > 0) {
  process.stderr.write(`There is no part ${unknown.join(', ')}: ${PARTS.map((part) => part.name).join(', ')}\n`);
  process.exit(2);
}
const outcomes: Outcome[] = [];
for (const part of PARTS) if (wanted.length === 0 || wanted.includes(part.name)) outcomes.push(await run(part));

process.stdout.write('\nSummary\n');
for (const { part, code, minutes, figures } of outcomes) {
  const [variable, value] = part.size;
  process.stdout.write(
    `${part.name}: ${code === 0 ? 'passed' : 'FAILED'} in ${minutes} min, ${variable}=${process.env[variable] ?? value}\n`,
  );
  for (const figure of figures) process.stdout.write(`  ${figure}\n`);
}
process.exit(outcomes.some(({ code }) => code !== 0) ? 1 : 0);
