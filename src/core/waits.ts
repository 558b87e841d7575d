// Callers who wait until something is so, each with a limit.
import type { Cancel, Clock } from '../ports.ts';
import { SottoError } from '../protocol/errors.ts';
import { WAIT_MS_DEFAULT } from '../protocol/limits.ts';

type Waiter = { readonly look: () => void; readonly end: () => void };

/** Wakes every waiter after each commit; a waiter whose look is true is done. */
export class Waits implements Disposable {
  readonly #clock: Clock;
  readonly #waiters = new Set<Waiter>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * True as soon as `look` gives true, false after `timeoutMs` (a minute when absent). Rejects with what `look` throws, and with
   * `account.locked` when the account closes before.
   */
  until(look: () => boolean, timeoutMs = WAIT_MS_DEFAULT): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (look()) return resolve(true);
      if (timeoutMs === 0) return resolve(false);
      let cancel: Cancel = () => {};
      const over = (): void => {
        this.#waiters.delete(waiter);
        cancel();
      };
      const fail = (error: unknown): void => {
        over();
        reject(error);
      };
      // Whoever wakes it has no part in what it throws.
      const lookAgain = (isLast: boolean): void => {
        try {
          const result = look();
          if (!result && !isLast) return;
          over();
          resolve(result);
        } catch (error) {
          fail(error);
        }
      };
      const waiter: Waiter = {
        look: () => lookAgain(false),
        end: () => fail(new SottoError('account.locked', { message: 'The account was closed meanwhile' })),
      };
      this.#waiters.add(waiter);
      cancel = this.#clock.after(timeoutMs, () => lookAgain(true));
    });
  }

  /** Something changed. */
  wake(): void {
    for (const waiter of this.#waiters) waiter.look();
  }

  [Symbol.dispose](): void {
    for (const waiter of this.#waiters) waiter.end();
  }
}
