// The RPC socket: JSON-RPC 2.0, one object per line, validated here; slow subscribers are cut off and not waited for.
import { chmodSync, existsSync, type FSWatcher, rmSync, watch } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { errorObject, expectedError, rpcNumberOf, SottoError } from '../protocol/errors.ts';
import { inWords, problemsOf, problemText } from '../protocol/issues.ts';
import {
  RPC_BATCH_MAX,
  RPC_BUFFER_BYTES_MAX,
  RPC_CONNECTIONS_MAX,
  RPC_IN_FLIGHT_MAX,
  RPC_LINE_BYTES_MAX,
} from '../protocol/limits.ts';
import { type Greeting, METHODS, type Method } from '../protocol/rpc.ts';
import type { Event, GapEvent } from '../protocol/rpc-events.ts';
import { makeFolder } from '../sqlite/folder.ts';

/** One front end. */
export type Connection = {
  /** Sends an event; false when the connection was cut off because too much waits. */
  readonly event: (event: Event | GapEvent) => boolean;
  /** Resolves once what was sent has left, or the front end is gone. */
  readonly drained: () => Promise<void>;
  /** Ends the connection once the answers of this moment have left: what it listened to is over. */
  readonly end: () => void;
  /** Aborted once the front end is gone. */
  readonly signal: AbortSignal;
  /** Ends what the connection listens to; undefined while it does not listen. */
  stopListening: (() => void) | undefined;
  focused: boolean;
};

export type SocketOptions = {
  readonly path: string;
  readonly greeting: () => Greeting;
  /** Answers a validated call. */
  readonly handle: (connection: Connection, method: Method, params: unknown) => Promise<unknown>;
  /** The last front end is gone, and what it asked for is done. */
  readonly left: () => void;
  /** Somebody has removed the socket: nobody finds it any more. */
  readonly gone: () => void;
  readonly bug: (error: unknown) => void;
};

type Id = string | number | null;
type Request = { readonly id?: Id; readonly method: string; readonly params: unknown };

// How long a front end has to read the last words.
const GOODBYE_MS = 200;
// How often it is looked whether one that sends nothing more still waits for its answers.
const LOOK_MS = 1_000;

const UTF8 = new TextDecoder('utf-8', { fatal: true });

const isMethod = (name: string): name is Method => Object.hasOwn(METHODS, name);

/** Listens for front ends at a Unix socket that only the user can reach. */
export class RpcSocket {
  readonly #options: SocketOptions;
  readonly #server: Server;
  readonly #sockets = new Map<Socket, Connection>();
  #calls = 0;
  #watcher: FSWatcher | undefined;

  constructor(options: SocketOptions) {
    this.#options = { ...options, handle: (...call) => this.#handle(options.handle(...call)) };
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
  }

  /** Front ends that are there. */
  get connections(): Connection[] {
    return [...this.#sockets.values()];
  }

  /** Begins to listen. The account's lock is held: a socket file that is there is a dead daemon's. */
  async listen(): Promise<void> {
    const { path } = this.#options;
    makeFolder(dirname(path));
    chmodSync(dirname(path), 0o700);
    rmSync(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(path, resolve);
    });
    chmodSync(path, 0o600);
    this.#watch();
  }

  // As at log-out, which takes the folder of its user away, and where old files are swept.
  #watch(): void {
    const { path, gone } = this.#options;
    try {
      this.#watcher = watch(dirname(path), { persistent: false }, () => {
        if (this.#watcher !== undefined && !existsSync(path)) gone();
      });
      this.#watcher.on('error', () => {});
    } catch (error) {
      // Where the system has no more watches to give, the socket is there all the same.
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }

  /** Listens no more, then `quit` gives back what another daemon needs, then all connections end: who waits for that finds it free. */
  async close(quit: () => void): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#watcher?.close();
    this.#watcher = undefined;
    rmSync(this.#options.path, { force: true });
    quit();
    for (const socket of this.#sockets.keys()) socket.end();
    setTimeout(() => {
      for (const socket of this.#sockets.keys()) socket.destroy();
    }, GOODBYE_MS).unref();
    await closed;
  }

  async #handle(call: Promise<unknown>): Promise<unknown> {
    this.#calls++;
    try {
      return await call;
    } finally {
      this.#calls--;
      this.#lookAround();
    }
  }

  // What a front end asked for before it went is done to its end.
  #lookAround(): void {
    if (this.#sockets.size === 0 && this.#calls === 0) this.#options.left();
  }

  // Where not even the greeting can be told, as without a file more that may be opened, one front end is turned away, and no more.
  #greeted(socket: Socket): Session | undefined {
    try {
      return new Session(socket, this.#options);
    } catch (error) {
      turnAway(socket, error);
      return undefined;
    }
  }

  #accept(socket: Socket): void {
    socket.on('error', () => {});
    if (this.#sockets.size >= RPC_CONNECTIONS_MAX) return turnAway(socket, new SottoError('daemon.busy'));
    const session = this.#greeted(socket);
    if (session === undefined) return;
    this.#sockets.set(socket, session.connection);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      session.gone();
      session.connection.stopListening?.();
      this.#lookAround();
    });
    socket.on('data', (chunk) => session.data(chunk));
    socket.on('end', () => session.ended());
  }
}

class Session {
  readonly connection: Connection;
  readonly #socket: Socket;
  readonly #options: SocketOptions;
  readonly #gone = new AbortController();
  #buffer: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  #inFlight = 0;
  /** Lines that are not answered yet. */
  #lines = 0;
  #hasEnded = false;
  #deaf = false;

  constructor(socket: Socket, options: SocketOptions) {
    this.#socket = socket;
    this.#options = options;
    this.connection = {
      event: (event) => this.#write({ jsonrpc: '2.0', method: 'event', params: event }),
      drained: () =>
        new Promise((resolve) => {
          // An empty write is called back after all before it; 'drain' comes only when a buffer was full.
          if (socket.destroyed) resolve();
          else socket.write('', () => resolve());
        }),
      end: () => void setImmediate(() => socket.end()),
      signal: this.#gone.signal,
      stopListening: undefined,
      focused: false,
    };
    this.#write(options.greeting());
  }

  /** Nobody waits for answers any more. */
  gone(): void {
    this.#gone.abort();
  }

  data(chunk: Buffer): void {
    if (this.#deaf) return;
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    for (let end = this.#buffer.indexOf(10); end >= 0; end = this.#buffer.indexOf(10)) {
      const line = this.#buffer.subarray(0, end);
      this.#buffer = this.#buffer.subarray(end + 1);
      if (line.length > RPC_LINE_BYTES_MAX) return this.#tooLarge();
      if (line.length > 0) void this.#answer(line);
    }
    if (this.#buffer.length > RPC_LINE_BYTES_MAX) this.#tooLarge();
  }

  /** The front end sends nothing more: it gets the answers that are due, and then the end. */
  ended(): void {
    this.#hasEnded = true;
    this.#endWhenAnswered();
    this.#look();
  }

  async #answer(line: Buffer): Promise<void> {
    this.#lines++;
    await this.#line(line).catch(this.#options.bug);
    this.#lines--;
    this.#endWhenAnswered();
  }

  #endWhenAnswered(): void {
    if (this.#hasEnded && this.#lines === 0) this.#socket.end();
  }

  // Who is gone has ended, too: an empty write fails then, and closes the connection.
  #look(): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    this.#socket.write('');
    setTimeout(() => this.#look(), LOOK_MS).unref();
  }

  #tooLarge(): void {
    this.#deaf = true;
    this.#buffer = Buffer.alloc(0);
    this.#write(failure(null, new SottoError('rpc.tooLarge')));
    this.#socket.end();
    // Whoever still sends gets to read the error first, and is not read for ever.
    setTimeout(() => this.#socket.destroy(), GOODBYE_MS).unref();
  }

  async #line(line: Buffer): Promise<void> {
    let value: unknown;
    try {
      value = JSON.parse(UTF8.decode(line));
    } catch {
      return void this.#write({
        ...failure(null, new SottoError('rpc.invalid')),
        error: protocolError(-32700, 'not JSON'),
      });
    }
    if (!Array.isArray(value)) {
      const reply = await this.#one(value);
      if (reply !== undefined) this.#write(reply);
      return;
    }
    if (value.length === 0 || value.length > RPC_BATCH_MAX)
      return void this.#write({
        jsonrpc: '2.0',
        id: null,
        error: protocolError(-32600, `a batch has 1 to ${RPC_BATCH_MAX} requests`),
      });
    const replies: string[] = [];
    let size = 0;
    for (const one of value) {
      // What follows so much is not called: nobody could hold it.
      const isFull = size > RPC_BUFFER_BYTES_MAX;
      const reply = isFull ? refusal(one, new SottoError('rpc.tooLarge')) : await this.#one(one);
      if (reply === undefined) continue;
      const text = JSON.stringify(reply);
      size += text.length;
      replies.push(text);
    }
    if (replies.length > 0) this.#writeText(`[${replies.join(',')}]`);
  }

  /** The reply to one request; undefined for a notification. */
  async #one(value: unknown): Promise<object | undefined> {
    const request = requestOf(value);
    if (request === undefined) return { jsonrpc: '2.0', id: null, error: protocolError(-32600, 'not a request') };
    const { id = null, method, params } = request;
    const quiet = request.id === undefined;
    if (!isMethod(method))
      return quiet
        ? undefined
        : {
            jsonrpc: '2.0',
            id,
            error: { ...protocolError(-32601, `There is no method ${method.slice(0, 80)}`, 'method.unknown') },
          };
    const parsed = METHODS[method].params.safeParse(params ?? {}, { error: inWords });
    if (!parsed.success) {
      const [{ place, problem } = { place: '', problem: 'not valid' }] = problemsOf(parsed.error, 'parameter');
      return quiet
        ? undefined
        : {
            jsonrpc: '2.0',
            id,
            error: protocolError(-32602, problemText({ place: place || method, problem }), 'params.invalid'),
          };
    }
    if (this.#inFlight >= RPC_IN_FLIGHT_MAX) return quiet ? undefined : failure(id, tooManyCalls());
    this.#inFlight++;
    try {
      const result = await this.#options.handle(this.connection, method, parsed.data);
      return quiet ? undefined : { jsonrpc: '2.0', id, result };
    } catch (error) {
      if (expectedError(error) === undefined) this.#options.bug(error);
      return quiet ? undefined : failure(id, error);
    } finally {
      this.#inFlight--;
    }
  }

  // Who has not read what was sent before is cut off; one answer alone may be larger than that.
  #write(value: object): boolean {
    return this.#writeText(JSON.stringify(value));
  }

  #writeText(text: string): boolean {
    if (this.#socket.destroyed || this.#socket.writableEnded) return false;
    if (this.#socket.writableLength > RPC_BUFFER_BYTES_MAX) {
      this.#socket.destroy();
      return false;
    }
    this.#socket.write(`${text}\n`);
    return true;
  }
}

const requestOf = (value: unknown): Request | undefined => {
  if (typeof value !== 'object' || value === null) return undefined;
  const { jsonrpc, id, method, params } = value as Record<string, unknown>;
  if (jsonrpc !== '2.0' || typeof method !== 'string') return undefined;
  if (id !== undefined && id !== null && typeof id !== 'string' && typeof id !== 'number') return undefined;
  return { method, params, ...(id === undefined ? {} : { id }) };
};

/** The reply to a request that is not called; undefined for a notification. */
const refusal = (value: unknown, error: SottoError): object | undefined => {
  const request = requestOf(value);
  if (request === undefined) return { jsonrpc: '2.0', id: null, error: protocolError(-32600, 'not a request') };
  return request.id === undefined ? undefined : failure(request.id, error);
};

const tooManyCalls = (): SottoError =>
  new SottoError('rate.limited', {
    message: `This connection has ${RPC_IN_FLIGHT_MAX} calls under way: send others once one of them is answered`,
  });

const failure = (id: Id, error: unknown) => {
  const { code, message, exit, retry, details } = errorObject(error);
  return { jsonrpc: '2.0', id, error: { code: rpcNumberOf(code), message, data: { code, exit, retry, details } } };
};

// Told and ended at once, whatever the other side does.
const turnAway = (socket: Socket, error: unknown): void =>
  void socket.end(`${JSON.stringify(failure(null, error))}\n`, () => socket.destroy());

// A fault of the protocol itself keeps JSON-RPC's own number.
const protocolError = (
  number: number,
  message: string,
  code: 'rpc.invalid' | 'method.unknown' | 'params.invalid' = 'rpc.invalid',
) => {
  const { exit, retry } = errorObject(new SottoError(code));
  return { code: number, message, data: { code, exit, retry, details: {} } };
};
