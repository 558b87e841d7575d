// Somebody on a call link, for tests and measurements: a ticket first, then frames both ways, and reports of what has come.
import { dialServer } from '../net/server-dial.ts';
import type { Cancel, Clock, Random, ServerLink, ServerLinkEvents, ServerTarget } from '../ports.ts';
import { encodeReport, isReport, type Report, readReport } from '../protocol/call-frame.ts';
import { CALL_REPORT_MS } from '../protocol/limits.ts';

type CallerOptions = {
  /** What is dialled: a server, or what gives a link by itself. */
  readonly target: ServerTarget | ((events: ServerLinkEvents) => ServerLink);
  /** What `call.join` has given. */
  readonly ticket: Uint8Array;
  readonly clock: Clock;
  readonly random: Random;
  /** A frame came; its bytes are a part of what was read. */
  readonly frame: (frame: Uint8Array) => void;
  /** False for one who never says what has come. */
  readonly reports?: boolean;
};

type Ended = { readonly code: number; readonly reason: string };

export class Caller implements ServerLinkEvents {
  readonly #options: CallerOptions;
  readonly #ended = Promise.withResolvers<Ended>();
  #link: ServerLink | undefined;
  #cancel: Cancel | undefined;
  /** Frames that came. */
  received = 0;
  /** What the server last said has come. */
  reported: Report = { received: 0, quietMs: 0 };

  private constructor(options: CallerOptions) {
    this.#options = options;
  }

  /** The link is open when this resolves; whether the ticket is taken shows later. */
  static async open(options: CallerOptions): Promise<Caller> {
    const caller = new Caller(options);
    const { target, clock, random } = options;
    caller.#link =
      typeof target === 'function'
        ? target(caller)
        : await dialServer({ target, path: '/v1/call', clock, random, attach: () => caller });
    caller.#link.binary(options.ticket);
    return caller;
  }

  /** Resolves with why it has ended. */
  get ended(): Promise<Ended> {
    return this.#ended.promise;
  }

  /** Sends one message: a frame, as `sealFrame` makes it, or what should be refused. */
  send(message: Uint8Array): void {
    this.#link?.binary(message);
  }

  sendText(text: string): void {
    this.#link?.text(text);
  }

  /** Says what has come, now. */
  report(received = this.received): void {
    this.send(encodeReport({ received, quietMs: 0 }));
  }

  close(): void {
    this.#link?.close(1000, 'bye');
  }

  binary(message: Uint8Array): void {
    if (isReport(message)) {
      this.reported = readReport(message);
      return;
    }
    this.received++;
    this.#options.frame(message);
    if (this.#options.reports !== false) this.#reportLater();
  }

  text(): void {
    throw new Error('a call link has no text');
  }

  drained(): void {}

  closed(code: number, reason: string): void {
    this.#cancel?.();
    this.#ended.resolve({ code, reason });
  }

  #reportLater(): void {
    this.#cancel ??= this.#options.clock.after(CALL_REPORT_MS, () => {
      this.#cancel = undefined;
      this.report();
    });
  }
}
