// Receipts for what members have sent us: gathered a few seconds, so that they tell little about when we were there.
import type { Cancel } from '../ports.ts';
import { RECEIPT_TARGETS_MAX } from '../protocol/limits.ts';
import type { Core } from './core.ts';
import { enqueueDirect } from './room-outbox.ts';

const WAIT_MS_MAX = 5_000;

/** Delivery receipts of one server that are still to be sent. What a restart forgets is told with the next read. */
export class Receipts implements Disposable {
  readonly #core: Core;
  readonly #serverId: number;
  readonly #waiting = new Map<number, string[]>();
  #cancel: Cancel | undefined;

  constructor(core: Core, serverId: number) {
    this.#core = core;
    this.#serverId = serverId;
  }

  /** A message of a member was committed here. */
  add(memberRow: number, id: string): void {
    this.#waiting.set(memberRow, [...(this.#waiting.get(memberRow) ?? []), id]);
    const { clock, random, queue } = this.#core;
    this.#cancel ??= clock.after(random.fraction() * WAIT_MS_MAX, () => {
      this.#cancel = undefined;
      queue.post(() => this.#send());
    });
  }

  [Symbol.dispose](): void {
    this.#cancel?.();
  }

  #send(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [memberRow, targets] of waiting)
      for (let at = 0; at < targets.length; at += RECEIPT_TARGETS_MAX)
        enqueueDirect(
          this.#core,
          { serverId: this.#serverId, memberRow },
          {
            kind: 'receipt',
            targets: targets.slice(at, at + RECEIPT_TARGETS_MAX),
            state: 'delivered',
          },
        );
  }
}
