// A bus between the nodes of one process, whose links a test cuts.
import type { Bus, BusLink, Subject } from '../server/bus.ts';

/** Joins the nodes of one process, for tests: each `join` is one node's bus. Messages arrive in a later task. */
export class MemoryBus {
  readonly #nodes = new Set<MemoryNode>();

  /** A new node's end. */
  join(): MemoryNode {
    const node: MemoryNode = new MemoryNode((subject, message) =>
      [...this.#nodes].filter((other) => other !== node).map((other) => other.arrive(subject, message)),
    );
    this.#nodes.add(node);
    return node;
  }

  /** Takes a node away, as its death does. */
  leave(node: MemoryNode): void {
    this.#nodes.delete(node);
  }
}

type Receive = (message: Uint8Array) => void;

/** One node's end of a MemoryBus. */
export class MemoryNode implements Bus {
  readonly #send: (subject: Subject, message: Uint8Array) => readonly Promise<void>[];
  readonly #subscribers = new Map<Subject, Set<Receive>>();
  readonly #listeners = new Set<(link: BusLink) => void>();
  #leaving: Promise<unknown> = Promise.resolve();
  #link: BusLink = 'up';
  #cuts = 0;

  constructor(send: (subject: Subject, message: Uint8Array) => readonly Promise<void>[]) {
    this.#send = send;
  }

  publish(subject: Subject, message: Uint8Array): void {
    if (this.#link === 'up')
      this.#leaving = Promise.all([this.#leaving, ...this.#send(subject, new Uint8Array(message))]);
  }

  subscribe(subject: Subject, receive: Receive): { readonly ready: Promise<void>; stop(): void } {
    const own: Receive = (message) => receive(message);
    const all = this.#subscribers.get(subject) ?? new Set();
    this.#subscribers.set(subject, all.add(own));
    return {
      ready: Promise.resolve(),
      stop: () => {
        all.delete(own);
        if (all.size === 0 && this.#subscribers.get(subject) === all) this.#subscribers.delete(subject);
      },
    };
  }

  onLink(listen: (link: BusLink) => void): void {
    this.#listeners.add(listen);
    listen(this.#link);
  }

  async flush(): Promise<void> {
    await this.#leaving;
  }

  /** Cuts the node off, or brings it back. */
  setLink(link: BusLink): void {
    if (link === this.#link) return;
    this.#link = link;
    this.#cuts++;
    for (const listen of this.#listeners) listen(link);
  }

  /** Another node has published: taken in a later task, and only while the link is up all the time. */
  async arrive(subject: Subject, message: Uint8Array): Promise<void> {
    const cuts = this.#cuts;
    await Promise.resolve();
    if (this.#link === 'down' || cuts !== this.#cuts) return;
    for (const receive of [...(this.#subscribers.get(subject) ?? [])]) receive(message);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscribers.clear();
    this.#listeners.clear();
  }
}
