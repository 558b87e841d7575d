// Tasks that take turns: one after the other under each key.

/** What runs under one key waits for what was asked for before it there, whatever became of that; other keys go on beside it. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Gives what `task` gives, and throws what it throws. */
  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const done = (this.#last.get(key) ?? Promise.resolve()).then(task, task);
    this.#last.set(key, done);
    const forget = (): void => {
      if (this.#last.get(key) === done) this.#last.delete(key);
    };
    done.then(forget, forget);
    return done;
  }
}
