// Programs on a real terminal: a pseudo terminal whose screen is read, and on which is typed when something shows.
import { spawn } from 'node:child_process';

const ENDS_MS_MAX = 15_000;

/** What is typed may depend on all that was shown. */
type Step = { readonly on: RegExp; readonly type: string | ((shown: string) => string) };

/**
 * Runs a shell command line on a terminal; types each step's keys once its pattern has shown. Gives all that was shown.
 * Killed after 15 s.
 */
export const onTerminal = (
  command: string,
  steps: readonly Step[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number; readonly shown: string }> =>
  new Promise((done, fail) => {
    const child = spawn('script', ['-qefc', command, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, TERM: 'dumb', SHELL: '/bin/sh', ...env },
    });
    const limit = setTimeout(() => child.kill('SIGKILL'), ENDS_MS_MAX);
    const left = [...steps];
    let shown = '';
    let from = 0;
    // A letter may come in two pieces.
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      shown += chunk;
      for (let step = left[0]; step?.on.test(shown.slice(from)) === true; step = left[0]) {
        from = shown.length;
        left.shift();
        child.stdin.write(typeof step.type === 'string' ? step.type : step.type(shown));
      }
    });
    child.on('error', fail);
    child.on('close', (code) => {
      clearTimeout(limit);
      done({ code: code ?? 1, shown });
    });
  });
