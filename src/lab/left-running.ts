// Processes that outlive the program that started them: their ids are in a file of their folder, by which they are ended later.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const STEP_MS = 25;
// A server that ends has its own time to say so to everybody.
const END_MS_MAX = 10_000;

const fileIn = (dir: string): string => join(dir, 'pids.json');

/** Notes in a folder which processes, started with its path in their command line, are to be ended by `stopRunning`. */
export const noteRunning = (dir: string, pids: readonly number[]): void =>
  writeFileSync(fileIn(dir), JSON.stringify(pids), { mode: 0o600 });

/** They have ended, or are ended otherwise. */
export const forgetRunning = (dir: string): void => rmSync(fileIn(dir), { force: true });

/** Ends what is noted in a folder, and waits until it is gone; false when nothing is noted there. */
export const stopRunning = async (dir: string): Promise<boolean> => {
  if (!existsSync(fileIn(dir))) return false;
  const pids = JSON.parse(readFileSync(fileIn(dir), 'utf8')) as number[];
  // The id of one that has ended may be another's by now.
  const ours = () => pids.filter((pid) => commandOf(pid).includes(dir));
  for (const pid of ours()) process.kill(pid, 'SIGTERM');
  const endAt = Date.now() + END_MS_MAX;
  while (ours().length > 0 && Date.now() < endAt) await new Promise((done) => setTimeout(done, STEP_MS));
  for (const pid of ours()) process.kill(pid, 'SIGKILL');
  forgetRunning(dir);
  return true;
};

const commandOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
};
