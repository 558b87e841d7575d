// Token buckets: how often somebody may do something. A bucket that is full again is forgotten.

export type Rate = {
  /** How many at once. */
  readonly burst: number;
  /** How many a second, in the long run. */
  readonly perSecond: number;
};

type Bucket = { tokens: number; at: number };

const SWEEP_EVERY = 1_024;

/** Buckets of one rate by key: a member, a source, a channel and member. */
export class Rates {
  readonly #rate: Rate;
  readonly #buckets = new Map<string, Bucket>();
  #taken = 0;

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  /** Buckets that are not full. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Takes one; gives 0, or the milliseconds until there is one. `now` is monotonic, in milliseconds. */
  take(key: string, now: number): number {
    if (++this.#taken % SWEEP_EVERY === 0) this.sweep(now);
    const tokens = this.#tokens(key, now);
    if (tokens < 1) return Math.ceil(((1 - tokens) / this.#rate.perSecond) * 1000);
    this.#buckets.set(key, { tokens: tokens - 1, at: now });
    return 0;
  }

  /** Forgets who may do as much again as ever. */
  sweep(now: number): void {
    for (const key of this.#buckets.keys()) if (this.#tokens(key, now) >= this.#rate.burst) this.#buckets.delete(key);
  }

  #tokens(key: string, now: number): number {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return this.#rate.burst;
    return Math.min(this.#rate.burst, bucket.tokens + ((now - bucket.at) / 1000) * this.#rate.perSecond);
  }
}
