// A front end's end of the RPC socket: calls that are answered once, and events as they come.
import { connect, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { isErrorCode, SottoError } from '../protocol/errors.ts';
import { RPC_GREETING_MS_MAX, RPC_LINE_BYTES_MAX } from '../protocol/limits.ts';
import type { Greeting, Method, ParamsIn, Result } from '../protocol/rpc.ts';
import type { Event, GapEvent } from '../protocol/rpc-events.ts';
import { checkSocketDir } from './paths.ts';

type Waiting = { readonly resolve: (result: unknown) => void; readonly reject: (error: Error) => void };
type ErrorObject = {
  readonly message: string;
  readonly data?: { readonly code?: string; readonly details?: Record<string, unknown> };
};
type Reply = {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: ErrorObject;
  readonly method?: string;
  readonly params?: unknown;
};

/** A connection to a daemon. */
export class RpcClient {
  readonly greeting: Greeting;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  /** What came of a line that is not whole. */
  #begun: string[] = [];
  /** Gets every event after a call of `event.listen`. */
  onEvent: (event: Event | GapEvent) => void = () => {};
  /** Gets the name of every method that is called, and what will be answered. */
  onCall: (method: string, answer: Promise<unknown>) => void = () => {};
  /** Called once when the daemon is gone. */
  onClose: () => void = () => {};

  private constructor(socket: Socket, greeting: Greeting, rest: string) {
    this.#socket = socket;
    this.greeting = greeting;
    socket.on('data', (chunk: string) => this.#data(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new SottoError('daemon.gone'));
      this.#waiting.clear();
      this.onClose();
    });
    this.#data(rest);
  }

  /**
   * Connects and waits for the greeting, at most `limitMs`. Throws `daemon.absent` when nobody listens at `path`, `wait.timeout`
   * when who listens says nothing, `daemon.busy` and `path.notAllowed`.
   */
  static open(path: string, limitMs = RPC_GREETING_MS_MAX): Promise<RpcClient> {
    return new Promise((resolve, reject) => {
      checkSocketDir(dirname(path));
      const socket = connect({ path });
      let buffer = '';
      const end = (error: SottoError): void => {
        clearTimeout(timer);
        socket.destroy();
        reject(error);
      };
      const fail = (error?: Error): void => end(new SottoError('daemon.absent', { cause: error }));
      const silent = () => end(new SottoError('wait.timeout', { message: 'The daemon runs and does not answer' }));
      const timer = setTimeout(silent, limitMs);
      socket.setEncoding('utf8');
      socket.once('error', fail);
      socket.once('close', () => fail());
      socket.on('data', (chunk: string) => {
        buffer += chunk;
        const at = buffer.indexOf('\n');
        if (at < 0) return;
        const greeting = parse(buffer.slice(0, at)) as Reply | undefined;
        if (greeting === undefined || !isAnswer(greeting)) return fail();
        if (greeting.error !== undefined) return end(errorIn(greeting.error));
        clearTimeout(timer);
        socket.removeAllListeners();
        resolve(new RpcClient(socket, greeting as object as Greeting, buffer.slice(at + 1)));
      });
    });
  }

  /** Calls a method. Throws SottoError with the daemon's code, or `daemon.gone`. */
  call<M extends Method>(method: M, params: ParamsIn<M>): Promise<Result<M>> {
    return this.request(method, params) as Promise<Result<M>>;
  }

  /** Calls a method by a name that is not known before. */
  request(method: string, params: unknown): Promise<unknown> {
    const answer = this.#ask(method, params);
    this.onCall(method, answer);
    return answer;
  }

  #ask(method: string, params: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const line = JSON.stringify({ jsonrpc: '2.0', id, method, params });
      if (Buffer.byteLength(line) > RPC_LINE_BYTES_MAX) return reject(new SottoError('rpc.tooLarge'));
      if (this.#socket.destroyed) return reject(new SottoError('daemon.gone'));
      this.#waiting.set(id, { resolve, reject });
      this.#socket.write(`${line}\n`);
    });
  }

  /** Reads nothing more until then. */
  pauseUntil(then: Promise<void>): void {
    this.#socket.pause();
    const resume = (): void => void this.#socket.resume();
    then.then(resume, resume);
  }

  close(): void {
    this.#socket.destroy();
  }

  #data(chunk: string): void {
    this.#begun.push(chunk);
    // A large answer comes in many pieces, which are looked at once.
    if (!chunk.includes('\n')) return;
    const lines = this.#begun.join('').split('\n');
    this.#begun = [lines.pop() ?? ''];
    for (const line of lines) {
      const reply = parse(line) as Reply | undefined;
      // Whoever answers like this is no daemon of ours.
      if (reply === undefined || !isAnswer(reply)) this.close();
      else this.#reply(reply);
    }
  }

  #reply(reply: Reply): void {
    if (reply.method === 'event') return this.onEvent(reply.params as Event | GapEvent);
    const waiting = reply.id === undefined ? undefined : this.#waiting.get(reply.id);
    if (waiting === undefined || reply.id === undefined) return;
    this.#waiting.delete(reply.id);
    if (reply.error === undefined) return waiting.resolve(reply.result);
    waiting.reject(errorIn(reply.error));
  }
}

const errorIn = ({ message, data }: ErrorObject): SottoError => {
  const code = typeof data?.code === 'string' && isErrorCode(data.code) ? data.code : 'internal.bug';
  return new SottoError(code, { message, details: data?.details ?? {} });
};

const isAnswer = ({ error }: Reply): boolean => error === undefined || typeof error?.message === 'string';

/** The object on a line; undefined for anything else. */
const parse = (line: string): object | undefined => {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
};
