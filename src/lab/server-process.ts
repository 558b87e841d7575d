// A `sotto serve` of a lab: started in its folder, ready when it says so, ended by its process.
import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { SottoError } from '../protocol/errors.ts';

/** What a server says when it is ready. */
export type Ready = {
  readonly url: string;
  readonly fingerprint: string;
  readonly metrics: string;
  readonly invite?: string;
};

const READY_MS = 20_000;

/** A running server. */
export class ServerProcess {
  readonly ready: Ready;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, ready: Ready) {
    this.#child = child;
    this.ready = ready;
  }

  /** Starts one at a free port. Throws when it does not become ready. */
  static start(dir: string): Promise<ServerProcess> {
    const program = process.env.SOTTO_PROGRAM ?? resolve('bin/sotto');
    const words = ['serve', '--data-dir', dir, '--listen', '127.0.0.1:0', '--json'];
    const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      said = `${said}${chunk}`.slice(-2_000);
    });
    return new Promise((done, fail) => {
      const failed = (error?: unknown) => {
        clearTimeout(late);
        child.kill();
        const why = error instanceof Error ? error.message : said.trim();
        fail(new SottoError('server.unreachable', { message: `The server did not start: ${why}` }));
      };
      const late = setTimeout(failed, READY_MS);
      child.once('exit', failed);
      child.once('error', failed);
      createInterface({ input: child.stdout as NonNullable<typeof child.stdout> }).on('line', (line) => {
        if (!line.includes('"ready"')) return;
        clearTimeout(late);
        child.off('exit', failed);
        done(new ServerProcess(child, JSON.parse(line) as Ready));
      });
    });
  }

  /** Tells it to end and waits until it has; gives its exit code. */
  stop(): Promise<number | null> {
    return new Promise((done) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) return done(this.#child.exitCode);
      this.#child.once('exit', (code) => done(code));
      this.#child.kill('SIGTERM');
    });
  }
}
