// Callers who wait until something is so, each with a limit.
import type { Cancel, Clock } from '../ports.ts';
import { WAIT_MS_DEFAULT } from '../protocol/limits.ts';

type Waiter = { readonly look: () => void };

/** Wakes every waiter after each commit; a waiter whose look is true is done. */
export class Waits implements Disposable {
  readonly #clock: Clock;
  readonly #waiters = new Set<Waiter>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True as soon as `look` gives true, false after `timeoutMs` (a minute when absent) or when the account closes. */
  until(look: () => boolean, timeoutMs = WAIT_MS_DEFAULT): Promise<boolean> {
    return new Promise((resolve) => {
      let cancel: Cancel = () => {};
      const finish = (result: boolean): void => {
        this.#waiters.delete(waiter);
        cancel();
        resolve(result);
      };
      const waiter: Waiter = { look: () => (look() ? finish(true) : undefined) };
      if (look()) return resolve(true);
      if (timeoutMs === 0) return resolve(false);
      this.#waiters.add(waiter);
      cancel = this.#clock.after(timeoutMs, () => finish(look()));
    });
  }

  /** Something changed. */
  wake(): void {
    for (const waiter of this.#waiters) waiter.look();
  }

  [Symbol.dispose](): void {
    this.#waiters.clear();
  }
}
