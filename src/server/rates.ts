// Token buckets: how often somebody may do something. A bucket that is full again is forgotten.

export type Rate = {
  /** How many at once. */
  readonly burst: number;
  /** How many a second, in the long run. */
  readonly perSecond: number;
};

/** What one may take of a rate; full at first. */
export class Bucket {
  readonly #rate: Rate;
  #tokens: number;
  #at: number;

  /** `now` is monotonic, in milliseconds, here and below. */
  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#at = now;
  }

  /** Takes `count`, at most all that it holds when full; gives 0, or the milliseconds until there are so many. */
  take(now: number, count = 1): number {
    const tokens = this.#left(now);
    const wanted = Math.min(count, this.#rate.burst);
    if (tokens < wanted) return Math.ceil(((wanted - tokens) / this.#rate.perSecond) * 1000);
    this.#tokens = tokens - wanted;
    this.#at = now;
    return 0;
  }

  /** Puts one back that came to nothing. */
  giveBack(): void {
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + 1);
  }

  isFull(now: number): boolean {
    return this.#left(now) >= this.#rate.burst;
  }

  #left(now: number): number {
    return Math.min(this.#rate.burst, this.#tokens + ((now - this.#at) / 1000) * this.#rate.perSecond);
  }
}

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

  /** Takes `count`; gives 0, or the milliseconds until there are so many. `now` is monotonic, in milliseconds. */
  take(key: string, now: number, count = 1): number {
    if (++this.#taken % SWEEP_EVERY === 0) this.sweep(now);
    const known = this.#buckets.get(key);
    if (known !== undefined) return known.take(now, count);
    const bucket = new Bucket(this.#rate, now);
    const wait = bucket.take(now, count);
    if (wait === 0) this.#buckets.set(key, bucket);
    return wait;
  }

  /** What was taken last came to nothing: it does not count. */
  giveBack(key: string): void {
    this.#buckets.get(key)?.giveBack();
  }

  /** Forgets who may do as much again as ever. */
  sweep(now: number): void {
    for (const [key, bucket] of this.#buckets) if (bucket.isFull(now)) this.#buckets.delete(key);
  }
}
