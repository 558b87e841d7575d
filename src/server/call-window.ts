// What one listener of a call is sent: no more than they report soon enough, so that voice never waits in the sockets between.
import { CALL_WAITING_BYTES_MAX, CALL_WINDOW_BYTES_MAX } from '../protocol/limits.ts';

/** A finished frame, and when it came; the clock is monotonic, in milliseconds. */
type Waiting = { readonly frame: Uint8Array; readonly at: number };
/** What was sent and not reported: when, and how large. */
type Sent = { readonly at: number; readonly bytes: number };

/**
 * The acknowledged window of one link: frames go out while the oldest that is not reported is younger than `windowMs`, and
 * no more than CALL_WINDOW_BYTES_MAX of them are. What waits for longer than `windowMs` is dropped, the oldest first.
 */
export class CallWindow {
  readonly #windowMs: number;
  readonly #dropped: () => void;
  readonly #sent = new Queue<Sent>();
  readonly #waiting = new Queue<Waiting>();
  #sentBytes = 0;
  #waitingBytes = 0;
  #reported = 0;
  #total = 0;

  /** `dropped` is called for each frame that has waited for too long. */
  constructor(windowMs: number, dropped: () => void) {
    this.#windowMs = windowMs;
    this.#dropped = dropped;
  }

  /** Whether the frame is to be sent now; else it waits, until `report` gives it or it is too old. */
  offer(frame: Uint8Array, now: number): boolean {
    if (this.#waiting.length === 0 && this.#isOpen(now)) {
      this.#send(frame, now);
      return true;
    }
    this.#waiting.push({ frame, at: now });
    this.#waitingBytes += frame.length;
    this.dropOld(now);
    return false;
  }

  /**
   * So many frames have come, of all that were ever sent; gives those that are to be sent now, in order. A number that was
   * reported before gives none; false for one that is above what was sent: whoever says that lies.
   */
  report(received: number, now: number): readonly Uint8Array[] | false {
    if (received > this.#total) return false;
    for (; this.#reported < received; this.#reported++) this.#sentBytes -= this.#sent.shift()?.bytes ?? 0;
    this.dropOld(now);
    const frames: Uint8Array[] = [];
    for (let next = this.#waiting.first; next !== undefined && this.#isOpen(now); next = this.#waiting.first) {
      this.#waiting.shift();
      this.#waitingBytes -= next.frame.length;
      this.#send(next.frame, now);
      frames.push(next.frame);
    }
    return frames;
  }

  /** Nothing of what waits is wanted any more. */
  empty(): void {
    while (this.#waiting.length > 0) this.#waiting.shift();
    this.#waitingBytes = 0;
  }

  /** Drops what has waited for too long. */
  dropOld(now: number): void {
    for (let next = this.#waiting.first; next !== undefined; next = this.#waiting.first) {
      if (now - next.at < this.#windowMs && this.#waitingBytes <= CALL_WAITING_BYTES_MAX) return;
      this.#waiting.shift();
      this.#waitingBytes -= next.frame.length;
      this.#dropped();
    }
  }

  #isOpen(now: number): boolean {
    const oldest = this.#sent.first;
    return oldest === undefined || (now - oldest.at < this.#windowMs && this.#sentBytes < CALL_WINDOW_BYTES_MAX);
  }

  #send({ length: bytes }: Uint8Array, now: number): void {
    this.#sent.push({ at: now, bytes });
    this.#sentBytes += bytes;
    this.#total++;
  }
}

const SPARE = 256;

// First in, first out; what was taken is let go a good deal at a time.
class Queue<T> {
  #items: T[] = [];
  #from = 0;

  get length(): number {
    return this.#items.length - this.#from;
  }

  get first(): T | undefined {
    return this.#items[this.#from];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#from];
    if (item === undefined) return undefined;
    this.#from++;
    if (this.#from === this.#items.length || this.#from === SPARE) {
      this.#items.splice(0, this.#from);
      this.#from = 0;
    }
    return item;
  }
}
