// Reads the whole database in a process of its own while the daemon goes on: a thread that is ended inside a statement takes
// the whole program with it.
import { dirname, join } from 'node:path';
import { systemClock } from '../machine.ts';
import { toBase64 } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { CHECK_MS_MAX, CHECK_OUTPUT_BYTES_MAX } from '../protocol/limits.ts';
import { runChild } from './child.ts';

/** What the process reads from its stdin; the key, in base64, is in no argument that others can see. */
export type CheckOrder = { readonly path: string; readonly key: string };

/** Checks the database of one open account, once at a time. */
export class Checker implements AsyncDisposable {
  readonly #path: string;
  readonly #key: Uint8Array;
  readonly #end = new AbortController();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(path: string, key: Uint8Array) {
    this.#path = path;
    this.#key = key;
  }

  /**
   * What is wrong, in words; empty when nothing is. The process is killed when `signal` says so or the account closes.
   * Throws `account.locked` then.
   */
  check(signal: AbortSignal): Promise<string[]> {
    const ends = AbortSignal.any([signal, this.#end.signal]);
    const result = this.#turn.then(() => this.#run(ends));
    this.#turn = result.catch(() => {});
    return result;
  }

  /** Ends the checks: when it resolves nobody reads the file for them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#turn;
  }

  async #run(signal: AbortSignal): Promise<string[]> {
    const over = () => new SottoError('account.locked', { message: 'The account was closed while it was checked' });
    if (signal.aborted) throw over();
    const order: CheckOrder = { path: this.#path, key: toBase64(this.#key) };
    const program = join(import.meta.dirname, 'check.cjs');
    const { ok, detail, output } = await runChild(process.execPath, [...process.execArgv, program], {
      input: JSON.stringify(order),
      ms: CHECK_MS_MAX,
      outputBytes: CHECK_OUTPUT_BYTES_MAX,
      clock: systemClock,
      cwd: dirname(this.#path),
      signal,
    });
    if (signal.aborted) throw over();
    return ok ? (JSON.parse(output) as string[]) : [`its check came to no end: ${detail}`];
  }
}
