// Steps that take turns: under each key one after the other.

/** Runs steps of one key in the order of the calls; keys are forgotten once nothing of theirs runs. */
export class Turns<K> {
  readonly #last = new Map<K, Promise<unknown>>();

  /** Whether a step of this key is not over. */
  has(key: K): boolean {
    return this.#last.has(key);
  }

  /** Resolves or rejects as `step` does; a step that fails does not keep the next one. */
  run<T>(key: K, step: () => Promise<T>): Promise<T> {
    const own = (this.#last.get(key) ?? Promise.resolve()).then(step);
    const over: Promise<void> = own.then(
      () => this.#forget(key, over),
      () => this.#forget(key, over),
    );
    this.#last.set(key, over);
    return own;
  }

  #forget(key: K, over: Promise<unknown>): void {
    if (this.#last.get(key) === over) this.#last.delete(key);
  }
}
