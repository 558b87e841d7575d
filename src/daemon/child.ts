// Runs a program of the user's with something on its stdin, within a time and an amount of output.
import { spawn } from 'node:child_process';
import type { Clock } from '../ports.ts';

export type ChildResult = { readonly ok: boolean; readonly detail: string; readonly output: string };

/** Runs `file` to its end; killed after `ms`, its output cut at `outputBytes`. Never throws. */
export const runChild = (
  file: string,
  args: readonly string[],
  options: {
    readonly input: string;
    readonly ms: number;
    readonly outputBytes: number;
    readonly clock: Clock;
    readonly cwd: string;
  },
): Promise<ChildResult> =>
  new Promise((resolve) => {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], cwd: options.cwd, detached: true });
    let output = '';
    let late = false;
    const cancel = options.clock.after(options.ms, () => {
      late = true;
      killGroup(child.pid);
    });
    const take = (chunk: Buffer): void => {
      if (output.length < options.outputBytes)
        output += chunk.toString('utf8').slice(0, options.outputBytes - output.length);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.stdin.on('error', () => {});
    child.stdin.end(options.input);
    const finish = (ok: boolean, detail: string): void => {
      cancel();
      resolve({ ok, detail, output });
    };
    child.on('error', (error: NodeJS.ErrnoException) =>
      finish(false, `cannot be run: ${error.code ?? 'unknown reason'}`),
    );
    child.on('close', (code) =>
      late
        ? finish(false, `took longer than ${options.ms / 1000} s`)
        : finish(code === 0, code === 0 ? 'ok' : `exit ${code}`),
    );
  });

const killGroup = (pid: number | undefined): void => {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended in the same moment.
  }
};
