// What nodes of one server tell each other as an interface: at most once, in order while it is up, and never relied upon. A server
// is one node so far and has none (docs/decisions/0010): what several will share keeps the contract of test/server/bus-contract.ts.

export type Subject = string;
export type BusLink = 'up' | 'down';

/**
 * Messages of ≤ 512 KiB by exact subject. Promises no more than this: first in, first out per publisher and subject while the
 * link is up; no echo; a message may be lost, or come twice. After `up` every subscription stands again, and everything in
 * between is lost.
 */
export interface Bus extends AsyncDisposable {
  /** Never throws, waits or grows: without a link the message is dropped. */
  publish(subject: Subject, message: Uint8Array): void;
  subscribe(subject: Subject, receive: (message: Uint8Array) => void): { readonly ready: Promise<void>; stop(): void };
  /** Called at once with the present state, then with every change. */
  onLink(listen: (link: BusLink) => void): void;
  /** What was published has left this process. */
  flush(): Promise<void>;
}
