// Opens a stream through Tor's SOCKS port on a Unix socket, and says in our words why it could not.
import { connect, type Socket } from 'node:net';
import { type ErrorCode, SottoError } from '../protocol/errors.ts';

export type SocksTarget = {
  /** Path of the Unix socket of Tor's SocksPort, which must have ExtendedErrors. */
  readonly socksPath: string;
  readonly host: string;
  readonly port: number;
  /** Streams with different names never share a circuit. */
  readonly isolation: string;
  readonly signal: AbortSignal;
};

// RFC 1928 section 6, and Tor's extended errors (proposal 304).
const REPLIES: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  1: ['dial.unreachable', 'general failure'],
  4: ['dial.unreachable', 'host unreachable'],
  5: ['dial.unreachable', 'the other side refuses connections'],
  6: ['dial.timeout', 'no answer in time'],
  240: ['dial.noDescriptor', 'descriptor not found'],
  241: ['dial.noDescriptor', 'descriptor not valid'],
  242: ['dial.unreachable', 'introduction failed'],
  243: ['dial.unreachable', 'rendezvous failed'],
  244: ['dial.unreachable', 'client authorization is missing'],
  245: ['dial.unreachable', 'client authorization is wrong'],
  246: ['address.invalid', 'not an onion address'],
  247: ['dial.timeout', 'introduction timed out'],
};

/**
 * A connected stream to `host:port`, paused. Rejects with `dial.noDescriptor`, `dial.unreachable`, `dial.timeout`,
 * `address.invalid`, `tor.failed` when the SOCKS port itself is gone, or the signal's reason.
 */
export const socksConnect = (target: SocksTarget): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ path: target.socksPath });
    const negotiation = new Negotiation(target);
    const fail = (error: unknown): void => {
      target.signal.removeEventListener('abort', aborted);
      socket.destroy();
      reject(error);
    };
    const aborted = (): void => fail(target.signal.reason);
    if (target.signal.aborted) return aborted();
    target.signal.addEventListener('abort', aborted);
    socket.on('error', (error) => fail(new SottoError('tor.failed', { cause: error })));
    socket.on('close', () => fail(new SottoError('dial.unreachable', { message: 'Tor closed the connection' })));
    socket.on('connect', () => socket.write(negotiation.greeting()));
    const take = (chunk: Buffer): void => {
      try {
        const step = negotiation.take(chunk);
        if (step.write !== undefined) socket.write(step.write);
        if (!step.done) return;
        target.signal.removeEventListener('abort', aborted);
        // Not all listeners: without the stream's own ones, what is put back would be lost.
        socket.off('data', take);
        socket.pause();
        if (step.rest !== undefined && step.rest.length > 0) socket.unshift(step.rest);
        resolve(socket);
      } catch (error) {
        fail(error);
      }
    };
    socket.on('data', take);
  });

type Step = { readonly write?: Buffer; readonly done: boolean; readonly rest?: Buffer };

// SOCKS 5 with user name and password (RFC 1928, RFC 1929), bytes in and bytes out.
class Negotiation {
  readonly #target: SocksTarget;
  #stage: 'method' | 'login' | 'reply' = 'method';
  #buffer: Buffer<ArrayBufferLike> = Buffer.alloc(0);

  constructor(target: SocksTarget) {
    this.#target = target;
  }

  greeting(): Buffer {
    return Buffer.from([5, 1, 2]);
  }

  take(chunk: Buffer): Step {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    switch (this.#stage) {
      case 'method':
        return this.#two(2, 'login', this.#login());
      case 'login':
        return this.#two(0, 'reply', this.#request());
      case 'reply':
        return this.#reply();
    }
  }

  #two(wanted: number, next: 'login' | 'reply', write: Buffer): Step {
    if (this.#buffer.length < 2) return { done: false };
    if (this.#buffer[1] !== wanted) throw new SottoError('tor.failed', { message: 'Tor refused the SOCKS login' });
    this.#buffer = this.#buffer.subarray(2);
    this.#stage = next;
    return { done: false, write };
  }

  #login(): Buffer {
    const name = Buffer.from(this.#target.isolation);
    return Buffer.concat([Buffer.from([1, name.length]), name, Buffer.from([1, 0x78])]);
  }

  #request(): Buffer {
    const host = Buffer.from(this.#target.host);
    const port = Buffer.alloc(2);
    port.writeUInt16BE(this.#target.port);
    return Buffer.concat([Buffer.from([5, 1, 0, 3, host.length]), host, port]);
  }

  #reply(): Step {
    const [, code, , kind, length] = this.#buffer;
    if (code === undefined || this.#buffer.length < 5) return { done: false };
    if (code !== 0) {
      const [error, why] = REPLIES[code] ?? ['dial.unreachable', `SOCKS error ${code}`];
      throw new SottoError(error, { message: `The other side cannot be reached: ${why}`, details: { socks: code } });
    }
    const size = kind === 1 ? 10 : kind === 4 ? 22 : 7 + (length ?? 0);
    if (this.#buffer.length < size) return { done: false };
    return { done: true, rest: this.#buffer.subarray(size) };
  }
}
