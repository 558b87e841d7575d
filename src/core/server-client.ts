// One connection to a server, spoken: greeting and log-in, requests with their answers, publishes, events and notices.
import { type Greeting, signLogin, verifyHello } from '../crypto/member.ts';
import type { Cancel, Clock, Random, ServerLink, ServerLinkEvents, ServerNetwork, ServerTarget } from '../ports.ts';
import { fromBase64, isEqual, toBase64 } from '../protocol/bytes.ts';
import { type ErrorCode, expectedError, ProtocolError, SERVER_CODES, SottoError } from '../protocol/errors.ts';
import {
  ANSWER_MS_MAX,
  REQUEST_MS_MAX,
  REQUESTS_IN_FLIGHT_MAX,
  ROOM_PAGE_MAX,
  SERVER_WAIT_MS_MAX,
} from '../protocol/limits.ts';
import {
  type Answer,
  decodeFromServer,
  encodeRequest,
  type FromServer,
  type Notice,
  PLACED,
  type Placed,
  type RequestName,
  type RequestParamsIn,
  SERVER_VERSIONS,
} from '../protocol/server.ts';
import { decodeAnswer, decodeNotice } from '../protocol/server-answers.ts';
import {
  decodeBinary,
  encodePart,
  encodePublish,
  type LogEvent,
  type Part,
  type Publish,
} from '../protocol/server-frames.ts';
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
  readonly resolve: (ok: unknown) => void;
  readonly reject: (error: SottoError) => void;
  cancel: Cancel;
  /** Monotonic time at which it is over, whatever comes. */
  readonly endAt: number;
  /** Takes events and bytes that come before the answer; without, none may. */
  readonly event?: (event: LogEvent) => void;
  readonly part?: (part: Part) => void;
};

type Before = Pick<Waiting, 'event' | 'part'>;

/** An open connection whose server has proven its key. */
export class ServerClient {
  readonly hello: Answer<'hello'>;
  readonly #options: ServerClientOptions;
  readonly #link: ServerLink;
  readonly #wire: Wire;
  readonly #clientNonce: Uint8Array<ArrayBuffer>;
  /** The time it told last, and when that was by the monotonic clock. */
  #told: { readonly at: number; readonly since: number };

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
    this.#told = { at: hello.at, since: options.clock.monotonic() };
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
        nonce: toBase64(clientNonce),
        origin: target.origin,
      });
      const greeting: Greeting = { origin: target.origin, clientNonce, serverNonce: fromBase64(hello.nonce) };
      const proven = verifyHello(target.serverKey, { ...greeting, isBound: hello.bound }, fromBase64(hello.proof));
      if (!proven || !isEqual(fromBase64(hello.server), target.serverKey)) throw new SottoError('server.keyChanged');
      if (!SERVER_VERSIONS.some((version) => version === hello.version)) throw new SottoError('version.unsupported');
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
      serverNonce: fromBase64(this.hello.nonce),
      binding: this.hello.bound ? this.#link.binding : undefined,
    });
    return this.request('login', { certificate: toBase64(device.certificate), proof: toBase64(proof), ...more });
  }

  /** The time by the server's clock, as it told it last, in ms. */
  get now(): number {
    return this.#told.at + this.#options.clock.monotonic() - this.#told.since;
  }

  /** How long the last ping took, in milliseconds. */
  get rttMs(): number | undefined {
    return this.#link.rttMs;
  }

  request<Name extends RequestName>(name: Name, params: RequestParamsIn<Name>): Promise<Answer<Name>> {
    return this.#wire.request(name, params);
  }

  /** A request whose answer follows events: of the channel that was asked for, in their order, after where it was asked from. */
  async events<Name extends 'log.page' | 'log.control' | 'log.search'>(
    name: Name,
    params: RequestParamsIn<Name>,
  ): Promise<{ readonly events: readonly LogEvent[]; readonly answer: Answer<Name> }> {
    const events: LogEvent[] = [];
    const isNewestFirst = name === 'log.search';
    let last = isNewestFirst ? Number.MAX_SAFE_INTEGER : 'after' in params ? (params.after ?? 0) : 0;
    const event = (event: LogEvent): void => {
      const isNext = isNewestFirst ? event.seq < last : event.seq > last;
      if (event.channel !== params.channel || !isNext || events.length === ROOM_PAGE_MAX)
        throw new ProtocolError('frame.unexpected');
      last = event.seq;
      events.push(event);
    };
    const answer = await this.#wire.request(name, params, { event });
    return { events, answer };
  }

  /** Bytes of a blob from `from` on, in order; resolves with its size when they have all come. */
  fetch(params: RequestParamsIn<'blob.get'>, take: (part: Part) => void): Promise<Answer<'blob.get'>> {
    let next = params.from ?? 0;
    const end = next + params.limit;
    const part = (part: Part): void => {
      if (part.offset !== next || next + part.body.length > end) throw new ProtocolError('frame.unexpected');
      next += part.body.length;
      take(part);
    };
    return this.#wire.request('blob.get', params, { part });
  }

  /**
   * Resolves when the server has committed it. A repeat under the same id gives the same place. An id that is of another time is
   * refused with the time there, which is `now` from there on: a clock may be put right while we are connected.
   */
  async publish(publish: Omit<Publish, 'request'>): Promise<Placed> {
    const answer = this.#wire
      .send((request) => encodePublish({ ...publish, request }))
      .catch((error: unknown) => {
        const at = timeToldBy(error);
        if (at !== undefined) this.#told = { at, since: this.#options.clock.monotonic() };
        throw error;
      });
    const placed = PLACED.safeParse(await answer);
    if (!placed.success) throw new ProtocolError('frame.invalid', { details: { why: 'answer of publish' } });
    return placed.data;
  }

  /** Sends bytes of an upload; resolves when the server has them. */
  async upload(part: Omit<Part, 'request'>): Promise<void> {
    await this.#wire.send((request) => encodePart({ ...part, request }));
  }

  close(reason: string): void {
    this.#link.close(CLOSE.normal, reason);
  }
}

/** The time of the server that has refused an id for its own; undefined for another error. */
export const timeToldBy = (error: unknown): number | undefined => {
  const { code, details } = expectedError(error) ?? {};
  return code === 'request.invalid' && typeof details?.at === 'number' ? details.at : undefined;
};

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
    before: Before = {},
  ): Promise<Answer<Name>> {
    return this.send((id) => encodeRequest(id, name, params), before).then((ok) => decodeAnswer(name, ok));
  }

  send(encode: (id: number) => string | Uint8Array, before: Before = {}): Promise<unknown> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.#waiting.size >= REQUESTS_IN_FLIGHT_MAX)
      return Promise.reject(new SottoError('server.unavailable', { message: 'Too many requests wait for the server' }));
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      const waiting = { resolve, reject, cancel: () => {}, endAt: this.#clock.monotonic() + ANSWER_MS_MAX, ...before };
      this.#waiting.set(id, waiting);
      this.#await(id, waiting);
      const message = encode(id);
      if (typeof message === 'string') this.#link?.text(message);
      else this.#link?.binary(message);
    });
  }

  // For the answer, or for more of what comes before it: on a slow link that is long on its way.
  #await(id: number, waiting: Waiting): void {
    waiting.cancel();
    const wait = Math.min(REQUEST_MS_MAX, waiting.endAt - this.#clock.monotonic());
    waiting.cancel = this.#clock.after(Math.max(0, wait), () => {
      this.#waiting.delete(id);
      waiting.reject(new SottoError('server.unavailable', { message: 'The server did not answer in time' }));
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
    this.#take(() => this.#binary(bytes));
  }

  drained(): void {}

  closed(code: number, reason: string): void {
    const said = codeOf(reason);
    const error =
      said === undefined
        ? new SottoError('server.unreachable', {
            message: `The server is gone: ${wordOf(reason) ?? 'without a word'} (${code})`,
          })
        : new SottoError(said);
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
    const notice = decodeNotice(said);
    if (notice !== undefined) this.#events.notice(notice);
  }

  #binary(bytes: Uint8Array): void {
    const message = decodeBinary(bytes);
    if (message.type === 'publish') throw new ProtocolError('frame.unexpected');
    if (message.type === 'event' && message.request === 0) return this.#events.event(message);
    const waiting = this.#waiting.get(message.request);
    if (waiting === undefined) return;
    if (message.type === 'event') waiting.event?.(message);
    else waiting.part?.(message);
    this.#await(message.request, waiting);
  }
}

// Of an error a server tells the code and a word: the sentences are ours, and codes of what is ours are not its to give.
const errorOf = ({ code: said, retryAfterMs, details }: ServerError) => {
  const code = codeOf(said) ?? 'server.refused';
  const why = wordOf(details?.why);
  const { least, at } = details ?? {};
  return new SottoError(code, {
    details: {
      ...(why === undefined ? {} : { why }),
      ...(typeof least === 'number' ? { least } : {}),
      ...(typeof at === 'number' && Number.isSafeInteger(at) && at >= 0 ? { at } : {}),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs: Math.min(retryAfterMs, SERVER_WAIT_MS_MAX) }),
      ...(code === said ? {} : { code: wordOf(said) ?? 'unknown' }),
    },
  });
};

type ServerError = Extract<FromServer, { error: unknown }>['error'];

// A full disk there is none of ours.
const codeOf = (said: string): ErrorCode | undefined =>
  said.startsWith('disk.') ? 'server.unavailable' : SERVER_CODES.find((code) => code === said);

const wordOf = (said: unknown): string | undefined =>
  typeof said === 'string' && /^[a-zA-Z][\w. -]{0,39}$/.test(said) ? said : undefined;
