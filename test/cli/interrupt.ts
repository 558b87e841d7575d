// Commands that are ended from outside before they are done.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import type { User } from '../e2e/stage.ts';

/**
 * Runs a command and sends it `signal` as soon as `when` holds. Gives what ended it: its exit code or a signal.
 */
export const interrupt = async (
  user: User,
  words: readonly string[],
  how: { readonly signal: NodeJS.Signals; readonly when: () => boolean; readonly env?: Record<string, string> },
): Promise<number | NodeJS.Signals> => {
  const args = ['--data-dir', user.dir, '--account', user.name, ...words];
  const child = spawn(resolve('bin/sotto'), args, { stdio: 'ignore', env: { ...process.env, ...how.env } });
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  while (child.exitCode === null && !how.when()) await new Promise(setImmediate);
  child.kill(how.signal);
  const [code, signal] = await ended;
  return code ?? signal ?? 1;
};
