// Hooks: executables that get each incoming event as JSON on stdin, at least once and in order, from a durable cursor.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Account } from '../core/account.ts';
import type { Cancel, Clock, Log } from '../ports.ts';
import { HOOK_MS_MAX, HOOK_OUTPUT_BYTES_MAX, HOOK_TRIES_MAX, HOOKS_RUNNING_MAX } from '../protocol/limits.ts';
import type { Event, Result } from '../protocol/rpc.ts';
import type { Database } from '../sqlite/open.ts';
import { getHook, type HookRow, putHook } from '../store/hooks.ts';
import { runChild } from './child.ts';

const RETRY_MS = 1_000;
const HOOK_FOLDER = 'on-message.d';

type HooksOptions = {
  readonly account: Account;
  readonly db: Database;
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
};

/** Why a hook may not be run, or undefined: it must be a file of ours that nobody else can change. */
export const hookProblem = (path: string, userId: number): string | undefined => {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isFile()) return 'is no file';
  if (stat.uid !== userId) return 'belongs to another user';
  if ((stat.mode & 0o022) !== 0) return 'can be changed by others: chmod go-w';
  if ((stat.mode & 0o100) === 0) return 'is not executable: chmod u+x';
  return undefined;
};

/** Runs the hooks of one open account. */
export class Hooks implements Disposable {
  readonly #options: HooksOptions;
  readonly #folder: string;
  readonly #running = new Set<string>();
  readonly #waiting = new Set<string>();
  readonly #stop: Cancel;
  #closed = false;

  constructor(options: HooksOptions) {
    this.#options = options;
    this.#folder = join(options.dir, HOOK_FOLDER);
    this.#stop = options.account.events.subscribe((event) => (event.cursor === undefined ? undefined : this.#kick()));
    for (const name of this.#names()) this.#row(name);
    this.#kick();
  }

  /** Every hook with what became of it. */
  list(): Result<'hook.list'> {
    return this.#names().map((name) => {
      const row = getHook(this.#options.db, name);
      const problem = hookProblem(join(this.#folder, name), process.getuid?.() ?? 0);
      const detail = problem ?? (row?.failure ? row.failure : 'ok');
      return { name, ok: detail === 'ok', detail, ...(row?.lastRunAt == null ? {} : { lastRunAt: row.lastRunAt }) };
    });
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#stop();
  }

  #names(): string[] {
    return existsSync(this.#folder)
      ? readdirSync(this.#folder)
          .filter((name) => !name.startsWith('.'))
          .sort()
      : [];
  }

  // A hook that is new begins with what comes next, not with the whole history.
  #row(name: string): HookRow {
    const known = getHook(this.#options.db, name);
    if (known !== undefined) return known;
    const made = {
      hook: name,
      cursor: Number(this.#options.account.events.head()),
      tries: 0,
      lastRunAt: null,
      failure: '',
    };
    putHook(this.#options.db, made);
    return made;
  }

  #kick(): void {
    for (const name of this.#names()) this.#waiting.add(name);
    this.#next();
  }

  // Begins waiting hooks while there is room. One that runs stays waiting: something may have come that it has not seen.
  #next(): void {
    for (const name of this.#waiting) {
      if (this.#closed || this.#running.size >= HOOKS_RUNNING_MAX) return;
      if (this.#running.has(name)) continue;
      this.#waiting.delete(name);
      this.#running.add(name);
      this.#work(name)
        .catch((error: unknown) => this.#options.log.error('hook.failed', { message: String(error) }))
        .finally(() => {
          this.#running.delete(name);
          this.#next();
        });
    }
  }

  /** Gives a hook everything it has not had yet. */
  async #work(name: string): Promise<void> {
    const { account } = this.#options;
    for (;;) {
      const row = this.#row(name);
      const { events } = account.events.since(String(row.cursor));
      const next = events.find((event) => this.#wanted(event));
      const skipped = next === undefined ? events.at(-1)?.cursor : undefined;
      if (skipped !== undefined) putHook(this.#options.db, { ...row, cursor: Number(skipped) });
      if (next === undefined && events.length === 0) return;
      if (next !== undefined && !(await this.#run(name, row, next))) return;
      if (this.#closed) return;
    }
  }

  #wanted(event: Event): boolean {
    if (event.kind === 'message.received') return event.message !== undefined;
    return event.kind === 'request.received' && this.#options.account.setting('requests.hooks') === true;
  }

  /** One run; false when this hook rests before its next try. */
  async #run(name: string, row: HookRow, event: Event): Promise<boolean> {
    const { db, clock, log, dir } = this.#options;
    const path = join(this.#folder, name);
    const problem = hookProblem(path, process.getuid?.() ?? 0);
    if (problem !== undefined) {
      putHook(db, { ...row, failure: problem });
      return false;
    }
    const result = await runChild(path, [], {
      input: `${JSON.stringify(event)}\n`,
      ms: HOOK_MS_MAX,
      outputBytes: HOOK_OUTPUT_BYTES_MAX,
      clock,
      cwd: dir,
    });
    if (this.#closed) return false;
    log.info('hook.ran', { hook: name, ok: result.ok, output: result.output });
    const tries = result.ok ? 0 : row.tries + 1;
    const moves = result.ok || tries >= HOOK_TRIES_MAX;
    putHook(db, {
      hook: name,
      cursor: moves ? Number(event.cursor) : row.cursor,
      tries: moves ? 0 : tries,
      lastRunAt: clock.now(),
      failure: result.ok
        ? ''
        : `${result.detail}${moves ? `; gave up on event ${event.cursor} after ${HOOK_TRIES_MAX} tries` : ''}`,
    });
    if (moves) return true;
    clock.after(RETRY_MS, () => this.#kick());
    return false;
  }
}
