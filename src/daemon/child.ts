// Runs a program of the user's with something on its stdin, within a time and an amount of output.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import type { Clock } from '../ports.ts';

export type ChildResult = { readonly ok: boolean; readonly detail: string; readonly output: string };

/**
 * Runs `file` to its end; killed with all that it started after `ms`, or when `signal` says so. Its output is cut at
 * `outputBytes`. It gets a small fixed part of this process's environment. Never throws.
 */
export const runChild = (
  file: string,
  args: readonly string[],
  options: {
    readonly input: string;
    readonly ms: number;
    readonly outputBytes: number;
    readonly clock: Clock;
    readonly cwd: string;
    readonly signal?: AbortSignal;
  },
): Promise<ChildResult> =>
  new Promise((resolve) => {
    const child = begin(file, args, options.cwd);
    if (child === undefined)
      return resolve({ ok: false, detail: 'cannot be run: not a name of a program', output: '' });
    const output: Buffer[] = [];
    let size = 0;
    let late = false;
    const kill = (): void => {
      killGroup(child.pid);
      // What left the group may hold these open for ever.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const cancel = options.clock.after(options.ms, () => {
      late = true;
      kill();
    });
    options.signal?.addEventListener('abort', kill);
    const take = (chunk: Buffer): void => {
      if (size >= options.outputBytes) return;
      // A copy: a part of a chunk would hold all of it in memory.
      const part = Buffer.from(chunk.subarray(0, options.outputBytes - size));
      output.push(part);
      size += part.length;
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.stdin.on('error', () => {});
    child.stdin.end(options.input);
    const finish = (ok: boolean, detail: string): void => {
      cancel();
      options.signal?.removeEventListener('abort', kill);
      resolve({ ok, detail, output: Buffer.concat(output).toString('utf8') });
    };
    child.on('error', (error: NodeJS.ErrnoException) =>
      finish(false, `cannot be run: ${error.code ?? 'unknown reason'}`),
    );
    child.on('close', (code, signal) =>
      late
        ? finish(false, `took longer than ${options.ms / 1000} s`)
        : finish(code === 0, code === 0 ? 'ok' : `exit ${code ?? signal}`),
    );
  });

// What a program needs to find its way and to reach the desktop. What else stands in the shell that started the daemon is
// nobody's: a passphrase file, the keys of other services.
const PASSED_ON =
  /^(PATH|HOME|USER|LOGNAME|LANG|LC_[A-Z]+|TZ|TMPDIR|XDG_(RUNTIME_DIR|DATA_HOME|CONFIG_HOME)|DBUS_SESSION_BUS_ADDRESS|DISPLAY|WAYLAND_DISPLAY|XAUTHORITY)$/;

const environment = (): Record<string, string | undefined> =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => PASSED_ON.test(name)));

// A name or an argument that no system call takes is thrown, everything else is told by an event.
const begin = (file: string, args: readonly string[], cwd: string): ChildProcessWithoutNullStreams | undefined => {
  try {
    return spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], cwd, env: environment(), detached: true });
  } catch {
    return undefined;
  }
};

const killGroup = (pid: number | undefined): void => {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended in the same moment.
  }
};
