// A server that lies: a real one on real TLS in this process, and one point, where its messages leave, at which they are changed.
import { makeInviteLink } from '../../src/protocol/invite-link.ts';
import { decodeRequest } from '../../src/protocol/server.ts';
import {
  type BinaryMessage,
  decodeBinary,
  encodeEvent,
  encodePart,
  type LogEvent,
  type Part,
} from '../../src/protocol/server-frames.ts';
import { binaryFrame, FrameParser, textFrame } from '../../src/protocol/websocket.ts';
import type { Connection, ConnectionEvents } from '../../src/server/connection.ts';
import type { Session } from '../../src/server/context.ts';
import { Listener } from '../../src/server/listener.ts';
import { Hosted } from '../rooms/scene.ts';

/** What a client asked for: a request of the table, or `publish` and `part`. */
export type Asked = { readonly name: string; readonly params: Readonly<Record<string, unknown>> };
type Json = Record<string, unknown>;

/** What the server is about to say. `asked` is absent for what is said unasked. */
export type Saying =
  | {
      readonly kind: 'answer';
      readonly asked: Asked | undefined;
      readonly value: { id: number; ok?: Json; error?: Json };
    }
  | { readonly kind: 'notice'; readonly value: Json }
  | { readonly kind: 'event'; readonly asked: Asked | undefined; readonly event: LogEvent }
  | { readonly kind: 'part'; readonly asked: Asked | undefined; readonly part: Part }
  | { readonly kind: 'frame'; readonly frame: Uint8Array };

/** What is said instead, to `member` (an id; undefined before the log-in); undefined leaves it as it is. */
export type Lie = (saying: Saying, member: string | undefined) => readonly Saying[] | undefined;
/** Whether the server has not heard a message; `say` answers it in its stead. */
export type Deaf = (asked: Asked, member: string | undefined, say: (answer: Json) => void) => boolean;

type Peer = Connection<Session>;

/** A server whose messages a test changes. */
export class Double implements AsyncDisposable {
  readonly hosted: Hosted;
  lie: Lie = () => undefined;
  deaf: Deaf = () => false;

  /** The first owner's link. */
  invite = '';

  private constructor(hosted: Hosted) {
    this.hosted = hosted;
  }

  static async start(): Promise<Double> {
    const often = { burst: 1e6, perSecond: 1e6 };
    const { open } = Listener;
    let double: Double | undefined;
    Listener.open = ((options: Parameters<typeof open>[0]) =>
      open.call(Listener, { ...options, events: tampered(() => double, options.events as never) as never })) as never;
    try {
      const hosted = await Hosted.start({
        registration: 'invite',
        rates: { publish: often, burst: often, request: often, register: often, direct: often, account: often },
      });
      double = new Double(hosted);
      double.invite = double.link((await hosted.server.makeOwnerInvite())?.token ?? '');
      return double;
    } finally {
      Listener.open = open;
    }
  }

  get context() {
    return this.hosted.server.context;
  }

  /** A link to it with a token. */
  link(token: string): string {
    const { origin, serverKey } = this.hosted.target;
    return makeInviteLink({ origin, serverKey: new Uint8Array(serverKey), trust: 'pinned', token });
  }

  stop(): Promise<void> {
    return this[Symbol.asyncDispose]();
  }

  honest(): void {
    this.lie = () => undefined;
    this.deaf = () => false;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.honest();
    return this.hosted[Symbol.asyncDispose]();
  }
}

/** A lie about events only. */
export const aboutEvents =
  (lie: (event: LogEvent, member: string | undefined) => readonly LogEvent[] | undefined): Lie =>
  (saying, member) =>
    saying.kind === 'event' ? lie(saying.event, member)?.map((event) => ({ ...saying, event })) : undefined;

/** A lie about the answers to one request. */
export const aboutAnswers =
  (name: string, lie: (ok: Json, asked: Asked, member: string | undefined) => Json | undefined): Lie =>
  (saying, member) => {
    if (saying.kind !== 'answer' || saying.asked?.name !== name || saying.value.ok === undefined) return undefined;
    const ok = lie(saying.value.ok, saying.asked, member);
    return ok === undefined ? undefined : [{ ...saying, value: { id: saying.value.id, ok } }];
  };

/** What a member is told of the end of a channel, moved by `by`. */
export const aboutHeads =
  (channel: string, theirs: string, by: number): Lie =>
  (saying, member) => {
    if (saying.kind !== 'answer' || saying.value.ok === undefined || member !== theirs) return undefined;
    const { ok } = saying.value;
    const moved = (head: { seq: number }) => ({ ...head, seq: head.seq + by });
    if (saying.asked?.name === 'resume') {
      const one = (ok.channels as Record<string, { head: { seq: number } }>)[channel];
      if (one === undefined) return undefined;
      const channels = { ...(ok.channels as object), [channel]: { ...one, head: moved(one.head) } };
      return [{ ...saying, value: { id: saying.value.id, ok: { ...ok, channels } } }];
    }
    if (saying.asked?.params.channel !== channel || ok.head === undefined) return undefined;
    return [{ ...saying, value: { id: saying.value.id, ok: { ...ok, head: moved(ok.head as { seq: number }) } } }];
  };

/** The first of several lies that has something to say. */
export const either =
  (...lies: readonly Lie[]): Lie =>
  (saying, member) => {
    for (const lie of lies) {
      const said = lie(saying, member);
      if (said !== undefined) return said;
    }
    return undefined;
  };

const tampered = (double: () => Double | undefined, events: ConnectionEvents<Session>): ConnectionEvents<Session> => {
  const asked = new Map<Peer, Map<number, Asked>>();
  const note = (peer: Peer, id: number, one: Asked): boolean => {
    asked.get(peer)?.set(id, one);
    const say = (answer: Json) => void peer.send(textFrame(JSON.stringify({ ...answer, id })));
    return double()?.deaf(one, memberOf(peer), say) === true;
  };
  return {
    ...events,
    opened: (peer) => {
      asked.set(peer, new Map());
      const send = peer.send.bind(peer);
      peer.send = (frames) =>
        send(changed(frames, (saying) => double()?.lie(saying, memberOf(peer)), asked.get(peer) ?? new Map()));
      events.opened(peer);
    },
    text: (peer, text) => {
      const request = taken(() => decodeRequest(text));
      if (request !== undefined && note(peer, request.id, request)) return;
      events.text(peer, text);
    },
    binary: (peer, bytes) => {
      const message = taken(() => decodeBinary(new Uint8Array(bytes)));
      if (message !== undefined && note(peer, message.request, { name: message.type, params: { ...message } })) return;
      events.binary(peer, bytes);
    },
    closed: (peer, code, reason) => {
      asked.delete(peer);
      events.closed(peer, code, reason);
    },
  };
};

const memberOf = ({ state }: Peer): string | undefined => (state?.phase === 'in' ? state.member : undefined);

// What is no message is the real server's to answer.
const taken = <T>(decode: () => T): T | undefined => {
  try {
    return decode();
  } catch {
    return undefined;
  }
};

const changed = (
  frames: Uint8Array,
  lie: (saying: Saying) => readonly Saying[] | undefined,
  asked: ReadonlyMap<number, Asked>,
): Uint8Array => {
  const parser = new FrameParser({ from: 'server', messageBytesMax: 2 ** 24 });
  const out: Uint8Array[] = [];
  let isChanged = false;
  for (const message of parser.take(Buffer.from(frames))) {
    const said = sayingOf(message, asked);
    // Pings and what ends a connection have no place in a lie.
    if (said === undefined) return frames;
    const instead = lie(said);
    isChanged ||= instead !== undefined;
    out.push(...(instead ?? [said]).map(frameOf));
  }
  return isChanged ? Buffer.concat(out) : frames;
};

type Message = Exclude<ReturnType<FrameParser['take']> extends Iterable<infer One> ? One : never, undefined>;

const sayingOf = (message: Message, asked: ReadonlyMap<number, Asked>): Saying | undefined => {
  if (message.kind === 'text') {
    const value = JSON.parse(message.text);
    return 'notice' in value ? { kind: 'notice', value } : { kind: 'answer', asked: asked.get(value.id), value };
  }
  if (message.kind !== 'binary') return undefined;
  const binary: BinaryMessage = decodeBinary(new Uint8Array(message.bytes));
  if (binary.type === 'publish') return undefined;
  const by = binary.request === 0 ? undefined : asked.get(binary.request);
  return binary.type === 'event'
    ? { kind: 'event', asked: by, event: binary }
    : { kind: 'part', asked: by, part: binary };
};

const frameOf = (saying: Saying): Uint8Array => {
  switch (saying.kind) {
    case 'answer':
    case 'notice':
      return textFrame(JSON.stringify(saying.value));
    case 'event':
      return binaryFrame(encodeEvent(saying.event));
    case 'part':
      return binaryFrame(encodePart(saying.part));
    case 'frame':
      return saying.frame;
  }
};
