// Hooks: executables that get each incoming event as JSON on stdin, at least once and in order, from a durable cursor.
import { mkdirSync, readdirSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Account } from '../core/account.ts';
import type { Cancel, Clock, Log } from '../ports.ts';
import { HOOK_MS_MAX, HOOK_OUTPUT_BYTES_MAX, HOOK_TRIES_MAX, HOOKS_RUNNING_MAX } from '../protocol/limits.ts';
import type { Result } from '../protocol/rpc.ts';
import type { Event } from '../protocol/rpc-events.ts';
import { asWord } from '../protocol/safe-text.ts';
import type { Database } from '../sqlite/open.ts';
import { getHook, type HookRow, putHook } from '../store/hooks.ts';
import { runChild } from './child.ts';

const RETRY_MS = 1_000;
export const HOOK_FOLDER = 'on-message.d';
// Those of requests where the setting says so; of a file tells the message that offers it.
const WANTED: readonly Event['kind'][] = [
  'message.received',
  'message.edited',
  'message.deleted',
  'message.reacted',
  'request.received',
];

type HooksOptions = {
  readonly account: Account;
  readonly db: Database;
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
};

/** Why a hook may not be run, or undefined: it must be a file of ours that nobody else can change. */
export const hookProblem = (path: string, userId: number): string | undefined => {
  const stat = lookAt(path);
  if (typeof stat === 'string') return stat;
  if (stat === undefined || !stat.isFile()) return 'is no file';
  if (stat.uid !== userId) return 'belongs to another user';
  if ((stat.mode & 0o022) !== 0) return 'can be changed by others: chmod go-w';
  if ((stat.mode & 0o100) === 0) return 'is not executable: chmod u+x';
  return undefined;
};

/** The command line that mends what `hookProblem` says of a hook; undefined where there is none. */
export const hookMend = (path: string, problem: string): string | undefined => {
  const change = problem === 'belongs to another user' ? 'sudo chown "$(id -u)"' : /: (chmod .*)$/.exec(problem)?.[1];
  return change === undefined ? undefined : `${change} ${asWord(path)}`;
};

// A link in a circle, a folder that is not ours: whatever is in the way of one hook is in the way of nothing else.
const lookAt = (path: string): Stats | string | undefined => {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    return `cannot be looked at: ${codeOf(error)}`;
  }
};

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error);

/** Runs the hooks of one open account. */
export class Hooks implements Disposable {
  readonly #options: HooksOptions;
  readonly #folder: string;
  readonly #running = new Set<string>();
  /** Hooks that failed and wait for their next try. */
  readonly #resting = new Set<string>();
  readonly #stop: Cancel;
  readonly #end = new AbortController();

  constructor(options: HooksOptions) {
    const { events } = options.account;
    this.#options = options;
    this.#folder = join(options.dir, HOOK_FOLDER);
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    this.#stop = events.subscribe(
      ({ cursor }) => (cursor === undefined ? undefined : this.#event(Number(cursor))),
      WANTED,
    );
    this.#meet(Number(events.head()));
    this.#kick();
  }

  /** Every hook with what became of it. */
  list(): Result<'hook.list'> {
    const { why } = this.#look();
    if (why !== undefined) return [{ name: HOOK_FOLDER, ok: false, detail: why }];
    return this.#names().map((name) => {
      const row = getHook(this.#options.db, name);
      const problem = this.#problem(name);
      const detail = problem ?? (row?.failure ? row.failure : 'ok');
      return { name, ok: detail === 'ok', detail, ...(row?.lastRunAt == null ? {} : { lastRunAt: row.lastRunAt }) };
    });
  }

  [Symbol.dispose](): void {
    this.#stop();
    this.#end.abort();
  }

  #names(): string[] {
    return this.#look().names;
  }

  // A folder that cannot be read has no hooks that could be run, and says so.
  #look(): { readonly names: string[]; readonly why?: string } {
    try {
      const names = readdirSync(this.#folder).filter((name) => !name.startsWith('.'));
      return { names: names.sort() };
    } catch (error) {
      return codeOf(error) === 'ENOENT' ? { names: [] } : { names: [], why: `cannot be read: ${codeOf(error)}` };
    }
  }

  #problem(name: string): string | undefined {
    return hookProblem(join(this.#folder, name), process.getuid?.() ?? 0);
  }

  #event(cursor: number): void {
    this.#meet(cursor - 1);
    this.#kick();
  }

  // A hook that is new begins with what comes after `cursor`, not with the whole history.
  #meet(cursor: number): void {
    const { db } = this.#options;
    for (const name of this.#names())
      if (getHook(db, name) === undefined) putHook(db, { hook: name, cursor, tries: 0, lastRunAt: null, failure: '' });
  }

  // Lets as many hooks run as may; one that ends makes place for the next. A refused one is looked at again each time.
  #kick(): void {
    if (this.#end.signal.aborted) return;
    for (const name of this.#names()) {
      if (this.#running.size >= HOOKS_RUNNING_MAX) return;
      if (this.#running.has(name) || this.#resting.has(name) || !this.#isBehind(name)) continue;
      if (this.#problem(name) !== undefined) continue;
      this.#running.add(name);
      this.#work(name)
        .catch((error: unknown) => {
          this.#options.log.error('hook.failed', { hook: name, message: String(error) });
          this.#rest(name);
        })
        .finally(() => {
          this.#running.delete(name);
          this.#kick();
        });
    }
  }

  #isBehind(name: string): boolean {
    const row = getHook(this.#options.db, name);
    return row !== undefined && row.cursor < Number(this.#options.account.events.head());
  }

  #rest(name: string): void {
    this.#resting.add(name);
    this.#options.clock.after(RETRY_MS, () => {
      this.#resting.delete(name);
      this.#kick();
    });
  }

  /** Gives a hook everything it has not had yet. */
  async #work(name: string): Promise<void> {
    const { account, db } = this.#options;
    while (!this.#end.signal.aborted) {
      const row = getHook(db, name);
      if (row === undefined) return;
      const { events } = account.events.since(String(row.cursor));
      const next = events.find((event) => this.#wanted(event));
      const skipped = next === undefined ? events.at(-1)?.cursor : undefined;
      if (skipped !== undefined) putHook(db, { ...row, cursor: Number(skipped) });
      if (next === undefined && events.length === 0) return;
      if (next !== undefined && !(await this.#run(name, row, next))) return;
    }
  }

  #wanted({ kind, message }: Event): boolean {
    if (kind === 'request.received') return this.#options.account.setting('requests.hooks') === true;
    if (!WANTED.includes(kind) || message === undefined || 'gone' in message) return false;
    // What others do: they change what is theirs, and react to what is mine.
    return message.mine === (kind === 'message.reacted');
  }

  /** One run; false when this hook rests before its next try. */
  async #run(name: string, row: HookRow, event: Event): Promise<boolean> {
    const { db, clock, log, dir } = this.#options;
    const { signal } = this.#end;
    const result = await runChild(join(this.#folder, name), [], {
      input: `${JSON.stringify(event)}\n`,
      ms: HOOK_MS_MAX,
      outputBytes: HOOK_OUTPUT_BYTES_MAX,
      clock,
      cwd: dir,
      signal,
    });
    if (signal.aborted) return false;
    log.info('hook.ran', { hook: name, ok: result.ok, detail: result.detail, output: result.output });
    const tries = result.ok ? 0 : row.tries + 1;
    const isGivenUp = tries >= HOOK_TRIES_MAX;
    const moves = result.ok || isGivenUp;
    putHook(db, {
      hook: name,
      cursor: moves ? Number(event.cursor) : row.cursor,
      tries: moves ? 0 : tries,
      lastRunAt: clock.now(),
      failure: isGivenUp
        ? `${result.detail}; gave up on event ${event.cursor} after ${HOOK_TRIES_MAX} tries`
        : result.ok
          ? ''
          : row.failure,
    });
    if (!moves) this.#rest(name);
    return moves;
  }
}
