// One connection to a server, spoken: greeting and log-in, requests with their answers, publishes, events and notices.
import { type Greeting, signLogin, verifyHello } from '../crypto/member.ts';
import type { Cancel, Clock, Random, ServerLink, ServerLinkEvents, ServerNetwork, ServerTarget } from '../ports.ts';
import { type ErrorCode, isErrorCode, ProtocolError, SottoError } from '../protocol/errors.ts';
import { REQUEST_MS_MAX, REQUESTS_IN_FLIGHT_MAX } from '../protocol/limits.ts';
import {
  type Answer,
  decodeBinary,
  decodeFromServer,
  encodePart,
  encodePublish,
  encodeRequest,
  type FromServer,
  type LogEvent,
  NOTICES,
  type Notice,
  type NoticeName,
  type Part,
  type Publish,
  REQUESTS,
  type RequestName,
  type RequestParamsIn,
  SERVER_VERSIONS,
} from '../protocol/server.ts';
import { CLOSE } from '../protocol/websocket.ts';

/** What a server tells unasked. Called in order, never after `closed`. */
export interface ServerClientEvents {
  /** A live event, or one that follows a cursor. */
  event(event: LogEvent): void;
  notice(notice: Notice): void;
  closed(error: SottoError): void;
}

export type ServerClientOptions = {
  readonly network: ServerNetwork;
  readonly target: ServerTarget;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: ServerClientEvents;
  readonly signal?: AbortSignal;
};

type Waiting = {
  readonly name: RequestName | 'publish';
  readonly resolve: (ok: unknown) => void;
  readonly reject: (error: SottoError) => void;
  readonly cancel: Cancel;
  /** Events and bytes that come before the answer. */
  readonly collected: LogEvent[];
  readonly part?: (part: Part) => void;
};

/** What an append became: its place in the log. */
export type Published = { readonly seq: number; readonly epoch: number; readonly at: number };

/** An open connection whose server has proven its key. */
export class ServerClient {
  readonly hello: Answer<'hello'>;
  readonly #options: ServerClientOptions;
  readonly #link: ServerLink;
  readonly #wire: Wire;
  readonly #clientNonce: Uint8Array<ArrayBuffer>;

  private constructor(
    options: ServerClientOptions,
    link: ServerLink,
    wire: Wire,
    hello: Answer<'hello'>,
    clientNonce: Uint8Array<ArrayBuffer>,
  ) {
    this.#options = options;
    this.#link = link;
    this.#wire = wire;
    this.hello = hello;
    this.#clientNonce = clientNonce;
  }

  /** Dials and greets. Throws SottoError `server.*`, `dial.*`, `tor.*`; `server.keyChanged` when it proves another key. */
  static async open(options: ServerClientOptions): Promise<ServerClient> {
    const { target, random } = options;
    const wire = new Wire(options);
    const link = await options.network.dialServer(target, (link) => wire.attach(link), options.signal);
    try {
      const clientNonce = random.bytes(32);
      const hello = await wire.request('hello', {
        versions: [...SERVER_VERSIONS],
        nonce: base64(clientNonce),
        origin: target.origin,
      });
      const greeting: Greeting = { origin: target.origin, clientNonce, serverNonce: bytesOf(hello.nonce) };
      const proven = verifyHello(target.serverKey, greeting, bytesOf(hello.proof));
      if (!proven || !same(bytesOf(hello.server), target.serverKey)) throw new SottoError('server.keyChanged');
      return new ServerClient(options, link, wire, hello, clientNonce);
    } catch (error) {
      link.close(CLOSE.policy, 'refused');
      throw error;
    }
  }

  /** Proves a device; with `register` the member is made first. Throws `login.refused`, `login.second`, `name.taken`, … */
  login(
    device: { readonly seed: Uint8Array; readonly certificate: Uint8Array },
    more: Pick<RequestParamsIn<'login'>, 'register' | 'second'> = {},
  ): Promise<Answer<'login'>> {
    const { target } = this.#options;
    const proof = signLogin(device.seed, {
      serverId: target.serverKey,
      origin: target.origin,
      clientNonce: this.#clientNonce,
      serverNonce: bytesOf(this.hello.nonce),
      binding: this.#link.binding,
    });
    return this.request('login', { certificate: base64(device.certificate), proof: base64(proof), ...more });
  }

  /** How long the last ping took, in milliseconds. */
  get rttMs(): number | undefined {
    return this.#link.rttMs;
  }

  request<Name extends RequestName>(name: Name, params: RequestParamsIn<Name>): Promise<Answer<Name>> {
    return this.#wire.request(name, params);
  }

  /** A request whose answer follows events. */
  events<Name extends 'log.page' | 'log.control' | 'log.search'>(
    name: Name,
    params: RequestParamsIn<Name>,
  ): Promise<{ readonly events: readonly LogEvent[]; readonly answer: Answer<Name> }> {
    return this.#wire.collect(name, params);
  }

  /** Bytes of a blob from `from` on, in order; resolves with its size when they have all come. */
  fetch(params: RequestParamsIn<'blob.get'>, part: (part: Part) => void): Promise<Answer<'blob.get'>> {
    return this.#wire.request('blob.get', params, part);
  }

  /** Resolves when the server has committed it. A repeat under the same id gives the same place. */
  publish(publish: Omit<Publish, 'request'>): Promise<Published> {
    return this.#wire.send('publish', (request) => encodePublish({ ...publish, request })) as Promise<Published>;
  }

  /** Sends bytes of an upload; resolves when the server has them. */
  async upload(part: Omit<Part, 'request'>): Promise<void> {
    await this.#wire.send('publish', (request) => encodePart({ ...part, request }));
  }

  close(reason: string): void {
    this.#link.close(CLOSE.normal, reason);
  }
}

// Matches answers with requests; knows nothing of what they mean.
class Wire implements ServerLinkEvents {
  #link: ServerLink | undefined;
  readonly #clock: Clock;
  readonly #events: ServerClientEvents;
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;
  #closed: SottoError | undefined;

  constructor({ clock, events }: ServerClientOptions) {
    this.#clock = clock;
    this.#events = events;
  }

  request<Name extends RequestName>(
    name: Name,
    params: RequestParamsIn<Name>,
    part?: (part: Part) => void,
  ): Promise<Answer<Name>> {
    return this.send(name, (id) => encodeRequest(id, name, params), part).then((ok) => parse(name, ok));
  }

  async collect<Name extends RequestName>(
    name: Name,
    params: RequestParamsIn<Name>,
  ): Promise<{ readonly events: readonly LogEvent[]; readonly answer: Answer<Name> }> {
    const events: LogEvent[] = [];
    const ok = await this.send(name, (id) => encodeRequest(id, name, params), undefined, events);
    return { events, answer: parse(name, ok) };
  }

  send(
    name: RequestName | 'publish',
    encode: (id: number) => string | Uint8Array,
    part?: (part: Part) => void,
    collected: LogEvent[] = [],
  ): Promise<unknown> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.#waiting.size >= REQUESTS_IN_FLIGHT_MAX)
      return Promise.reject(new SottoError('server.unavailable', { message: 'Too many requests wait for the server' }));
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(REQUEST_MS_MAX, () => {
        this.#waiting.delete(id);
        reject(new SottoError('server.unavailable', { message: 'The server did not answer in time' }));
      });
      this.#waiting.set(id, { name, resolve, reject, cancel, collected, ...(part === undefined ? {} : { part }) });
      const message = encode(id);
      if (typeof message === 'string') this.#link?.text(message);
      else this.#link?.binary(message);
    });
  }

  attach(link: ServerLink): ServerLinkEvents {
    this.#link = link;
    return this;
  }

  text(text: string): void {
    this.#take(() => this.#said(decodeFromServer(text)));
  }

  binary(bytes: Uint8Array): void {
    this.#take(() => this.#binary(new Uint8Array(bytes)));
  }

  drained(): void {}

  closed(code: number, reason: string): void {
    const error = new SottoError(isErrorCode(reason) ? reason : 'server.unreachable', {
      message: `The server is gone: ${reason} (${code})`,
    });
    this.#closed = error;
    for (const waiting of this.#waiting.values()) {
      waiting.cancel();
      waiting.reject(error);
    }
    this.#waiting.clear();
    this.#events.closed(error);
  }

  #take(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#link?.close(CLOSE.protocol, error.code);
    }
  }

  #said(said: FromServer): void {
    if ('notice' in said) return this.#notice(said);
    const waiting = this.#waiting.get(said.id);
    if (waiting === undefined) return;
    this.#waiting.delete(said.id);
    waiting.cancel();
    if ('error' in said) waiting.reject(errorOf(said.error));
    else waiting.resolve(said.ok);
  }

  #notice(said: { readonly notice: string }): void {
    if (!Object.hasOwn(NOTICES, said.notice)) return;
    const parsed = NOTICES[said.notice as NoticeName].safeParse(said);
    if (!parsed.success) throw new ProtocolError('frame.invalid', { details: { why: 'notice' } });
    this.#events.notice({ notice: said.notice, ...parsed.data } as Notice);
  }

  #binary(bytes: Uint8Array<ArrayBuffer>): void {
    const message = decodeBinary(bytes);
    if (message.type === 'publish') throw new ProtocolError('frame.unexpected');
    if (message.type === 'event' && message.request === 0) return this.#events.event(message);
    const waiting = this.#waiting.get(message.request);
    if (message.type === 'event') waiting?.collected.push(message);
    else waiting?.part?.(message);
  }
}

const parse = <Name extends RequestName>(name: Name, ok: unknown): Answer<Name> => {
  const parsed = REQUESTS[name].ok.safeParse(ok);
  if (!parsed.success) throw new ProtocolError('frame.invalid', { details: { why: `answer of ${name}` } });
  return parsed.data as Answer<Name>;
};

const errorOf = (error: {
  code: string;
  retryAfterMs?: number | undefined;
  details?: Record<string, unknown> | undefined;
}) => {
  const code: ErrorCode = isErrorCode(error.code) ? error.code : 'server.refused';
  return new SottoError(code, {
    details: {
      ...error.details,
      ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
      ...(code === error.code ? {} : { code: error.code }),
    },
  });
};

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const bytesOf = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text, 'base64'));
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.from(a).equals(b);
