// Kills a step of another program at each of its changes of the disk, in a folder of its own each time.
import { spawn } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join, resolve } from 'node:path';

const STEPS_MAX = 60;

/** Runs `what` of killed.ts on copies of `first` until it ends before it is killed; `look` sees each folder afterwards. */
export const dieEverywhere = async (
  what: 'rekey' | 'migrate' | 'backup' | 'restore',
  first: string,
  look: (dir: string, at: { readonly step: number; readonly ended: boolean }) => Promise<void>,
): Promise<void> => {
  for (let step = 1; step < STEPS_MAX; step++) {
    const dir = join(first, '..', `${what}-${step}`);
    cpSync(first, dir, { recursive: true });
    const ended = await runUntil(what, dir, step);
    await look(dir, { step, ended });
    if (ended) return;
  }
  throw new Error(`${what} does not end`);
};

/** Gives true when the program came to its end before the step. */
const runUntil = (what: string, dir: string, step: number): Promise<boolean> =>
  new Promise((done, fail) => {
    const args = [resolve('test/account/killed.ts'), what, dir, String(step)];
    // Its modules are translated once.
    const env = { ...process.env, NODE_COMPILE_CACHE: join(dir, '..', 'compiled') };
    const child = spawn(process.execPath, args, { stdio: 'inherit', env });
    child.on('close', (code, signal) =>
      signal === 'SIGKILL' ? done(false) : code === 0 ? done(true) : fail(new Error(`exit ${code}`)),
    );
  });
