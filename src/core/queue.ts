// The account's one queue: everything that touches its state runs here, one task at a time, in order of arrival.
import { SottoError } from '../protocol/errors.ts';

/** Runs tasks one at a time. A task that throws is reported and does not stop the ones behind it. */
export class AccountQueue implements AsyncDisposable {
  readonly #tasks: (() => Promise<void>)[] = [];
  readonly #failed: (error: unknown) => void;
  #running: Promise<void> | undefined;
  readonly #beside = new Set<Promise<void>>();
  #closed = false;

  /** `failed` gets what a task of `post` throws: our bug, never an expected error. */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /** Runs `task` after all that was queued before it, and gives its result or error; `account.locked` after closing. */
  call<T>(task: () => Promise<T> | T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed) {
        reject(new SottoError('account.locked', { message: 'The account was closed meanwhile' }));
        return;
      }
      this.#push(async () => {
        try {
          resolve(await task());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  /** Runs `task` after all that was queued before it; nobody waits for it. After closing it is dropped. */
  post(task: () => Promise<void> | void): void {
    if (this.#closed) return;
    this.#push(async () => {
      try {
        await task();
      } catch (error) {
        this.#failed(error);
      }
    });
  }

  /** Work that no task waits for, a disk that writes: tasks run meanwhile, and the end of the account waits for it. */
  beside<T>(work: Promise<T>): Promise<T> {
    const over = work.then(
      () => {},
      () => {},
    );
    this.#beside.add(over);
    void over.then(() => this.#beside.delete(over));
    return work;
  }

  /** Resolves when nothing waits or runs any more. */
  async settled(): Promise<void> {
    while (this.#running !== undefined || this.#beside.size > 0)
      await (this.#running ?? Promise.race([...this.#beside]));
  }

  /** Takes nothing new and finishes what is queued. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.settled();
  }

  #push(task: () => Promise<void>): void {
    this.#tasks.push(task);
    this.#running ??= this.#work();
  }

  async #work(): Promise<void> {
    await Promise.resolve();
    for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) await task();
    this.#running = undefined;
  }
}
