// Daemons as the system knows them, whether or not their socket can be found.
import { readdirSync, readFileSync } from 'node:fs';

/** The process ids of daemons with this data folder, or, by its beginning, with one of several. */
export const daemonsOf = (dataDir: string): number[] =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .map(Number)
    .filter((pid) => argumentsOf(pid).includes(`--data-dir ${dataDir}`));

/** The words that a process was started with; empty when it is gone. */
export const argumentsOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
};
