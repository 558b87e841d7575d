// What kill -9 would leave at every change of the disk: a copy of the folder is made before each. What a program has written
// outlives its death; so a copy of the files at that moment is what the next program finds.
import fs from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { Database } from '../../src/sqlite/open.ts';

type Call = (...args: never[]) => unknown;

const SYNC = ['renameSync', 'fsyncSync', 'rmSync', 'copyFileSync', 'writeFileSync'] as const;
const ASYNC = ['rename', 'rm', 'link', 'copyFile', 'mkdir'] as const;
const HANDLE = ['sync', 'write'] as const;
const SQL = ['exec', 'run'] as const;

/**
 * Runs `work` in `dir` and gives a folder for each change of the disk, as it was before it, and one of the end, each with
 * what `work` had said by then: what it answered to somebody.
 */
export const stillsOf = async (
  dir: string,
  work: (say: (answer: string) => void) => Promise<unknown>,
): Promise<readonly { readonly dir: string; readonly said: readonly string[] }[]> => {
  const stills: { dir: string; said: string[] }[] = [];
  const said: string[] = [];
  const { cpSync } = fs;
  let isCopying = false;
  const still = () => {
    if (isCopying) return;
    isCopying = true;
    const copy = join(dir, '..', `${stills.length}-${process.hrtime.bigint()}`);
    cpSync(dir, copy, { recursive: true });
    stills.push({ dir: copy, said: [...said] });
    isCopying = false;
  };
  const handle = await promises.open(dir, 'r');
  const undo = [
    ...SYNC.map((name) => replace(fs as never, name, still)),
    ...ASYNC.map((name) => replace(promises as never, name, still)),
    ...HANDLE.map((name) => replace(Object.getPrototypeOf(handle), name, still)),
    ...SQL.map((name) => replace(Database.prototype as never, name, still)),
  ];
  await handle.close();
  syncBuiltinESMExports();
  try {
    await work((answer) => said.push(answer));
  } finally {
    for (const back of undo) back();
    syncBuiltinESMExports();
  }
  still();
  return stills;
};

const replace = (owner: Record<string, Call>, name: string, before: () => void): (() => void) => {
  const call = owner[name];
  if (call === undefined) throw new Error(`there is no ${name}`);
  owner[name] = function (this: unknown, ...args: never[]) {
    before();
    return call.apply(this, args);
  };
  return () => {
    owner[name] = call;
  };
};
