// Figures of the command line: a whole process against a running daemon, beside an empty Node program.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Actor } from '../actor.ts';
import { type Bench, type Figure, type Measured, timed } from './figure.ts';
import { makeAccount, makeOffline } from './fixture.ts';

const beside = async (bench: Bench, name: string, words: readonly string[]): Promise<Measured> => {
  const dir = join(bench.dir, name);
  makeOffline(dir);
  const actor = new Actor(await makeAccount(dir, 'alice', { contacts: 3 }), dir);
  const empty = join(dir, 'empty.cjs');
  writeFileSync(empty, '');
  await actor.start();
  try {
    const values: number[] = [];
    const floor: number[] = [];
    for (let i = -2; i < bench.runs * 3; i++) {
      const ours = await timed(() => runOnce(bench.program, ['--data-dir', dir, '--account', 'alice', ...words]));
      const nothing = await timed(() => runOnce(process.execPath, [empty]));
      if (i < 0) continue;
      values.push(ours);
      floor.push(nothing);
    }
    return { values, floor: { name: 'an empty Node program', values: floor } };
  } finally {
    await actor.stop();
    actor.close();
  }
};

const runOnce = (program: string, args: readonly string[]): void => {
  const { status, stderr } = spawnSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${status} ${stderr.toString()}`);
};

/** Figures of this file. */
export const CLI_FIGURES: readonly Figure[] = [
  {
    name: 'cli.unread',
    unit: 'ms',
    doc: '`sotto unread`, the whole process, against a running daemon',
    bound: { of: 'ratio', at: 'median', better: 'lower', limit: 1.6 },
    measure: (bench) => beside(bench, 'unread', ['unread']),
  },
  {
    name: 'cli.send',
    unit: 'ms',
    doc: '`sotto send c1 hello`, the whole process, against a running daemon',
    bound: { of: 'ratio', at: 'median', better: 'lower', limit: 1.7 },
    measure: (bench) => beside(bench, 'send', ['send', 'c1', 'hello']),
  },
];
