// One connection to the server: its upgrade, then messages in and finished frames out, every wait and buffer bounded.
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { ProtocolError } from '../protocol/errors.ts';
import {
  CALL_FRAME_BYTES_MAX,
  CALL_PING_MS,
  SERVER_CLOSE_MS_MAX,
  SERVER_FIRST_FRAME_MS_MAX,
  SERVER_LOGIN_MS_MAX,
  SERVER_MESSAGE_BYTES_MAX,
  SERVER_PING_MS,
  SERVER_PINGS_MISSED_MAX,
  SERVER_UNSENT_BYTES_MAX,
} from '../protocol/limits.ts';
import {
  BINDING_BYTES,
  BINDING_LABEL,
  CLOSE,
  closeCodeOf,
  closeFrame,
  FrameParser,
  type Message,
  pingFrame,
  pongFrame,
} from '../protocol/websocket.ts';
import {
  buildRefusal,
  buildUpgradeResponse,
  type Head,
  HeadReader,
  type UpgradePath,
  type UpgradeRequest,
} from '../protocol/websocket-upgrade.ts';

const NO_CONTEXT = Buffer.alloc(0);
const PING = pingFrame();
/** The largest message of each path, and the silence after which there is a ping. */
const BOUNDS: Readonly<Record<UpgradePath, { readonly messageBytesMax: number; readonly pingMs: number }>> = {
  '/v1': { messageBytesMax: SERVER_MESSAGE_BYTES_MAX, pingMs: SERVER_PING_MS },
  '/v1/call': { messageBytesMax: CALL_FRAME_BYTES_MAX, pingMs: CALL_PING_MS },
};

/**
 * What connections tell their owner: in order, and never from inside a call of the owner. A ProtocolError that a handler
 * throws ends the connection; any other error is a bug and passes through.
 */
export interface ConnectionEvents<State> {
  /** The upgrade is done; `state` is the owner's to set. */
  opened(connection: Connection<State>): void;
  text(connection: Connection<State>, text: string): void;
  /** A part of what was read; nobody else writes to it. */
  binary(connection: Connection<State>, bytes: Buffer<ArrayBufferLike>): void;
  /** After `send` has answered false: there is room again. */
  drained(connection: Connection<State>): void;
  /** The last event of a connection that was opened. What it has not been sent is lost. */
  closed(connection: Connection<State>, code: number, reason: string): void;
  /** Bytes from outside were refused, or a connection was; `why` is a short word. For counting. */
  refused(why: string): void;
}

/** What a connection needs of the one that accepted it. */
export interface ConnectionHost<State> {
  readonly events: ConnectionEvents<State>;
  /** Seconds from an arbitrary start; moves once a second, and no further while the program stood still: others were not late then. */
  readonly now: number;
  /** The request of the head; throws ProtocolError `handshake.failed` for one that is not taken, or has too many beside it. */
  request(
    connection: Connection<State>,
    head: Head,
  ): { readonly request: UpgradeRequest; readonly source: string | undefined };
  /** Calls `flush` once the present turn is over. */
  wake(connection: Connection<State>): void;
  proven(connection: Connection<State>): void;
  /** The connection holds no socket any more. */
  gone(connection: Connection<State>): void;
}

const GREETING = 0;
const SILENT = 1;
const OPEN = 2;
const CLOSING = 3;
const GONE = 4;

const SECOND = 1000;
const COPIED_BYTES_MAX = 16 * 1024;
const GATHERED_MAX = 16;
const ROOM_BYTES = 64 * 1024;

/** Made by a `Listener` only. */
export class Connection<State> {
  /** The owner's own; undefined until it is set. */
  state: State | undefined = undefined;
  /** How many of its requests wait for their answers. The owner's own as well. */
  asking = 0;
  readonly #socket: Socket;
  readonly #host: ConnectionHost<State>;
  #source: string | undefined;
  #path: UpgradePath = '/v1';
  #reader: HeadReader | FrameParser = new HeadReader();
  #phase = GREETING;
  /** When the phase began, and when anything was last heard; `host.now`. */
  #since: number;
  #heardAt: number;
  #pingsMissed = 0;
  #proven = false;
  /** What this turn sends: one frame, and those after it. */
  #first: Uint8Array | undefined = undefined;
  #more: Uint8Array[] | undefined = undefined;
  #waitingBytes = 0;
  /** `send` has answered false, and `drained` was not told since. */
  #full = false;
  #end: { readonly code: number; readonly reason: string } | undefined = undefined;

  constructor(socket: Socket, host: ConnectionHost<State>, source: string | undefined) {
    this.#socket = socket;
    this.#host = host;
    this.#source = source;
    this.#since = host.now;
    this.#heardAt = host.now;
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('drain', () => this.#drained());
    socket.on('close', () => this.#gone());
    // 'close' follows.
    socket.on('error', () => {});
  }

  /** What limits count by: an address, a network or a circuit; undefined when nothing is known. */
  get source(): string | undefined {
    return this.#source;
  }

  /** What was asked for. */
  get path(): UpgradePath {
    return this.#path;
  }

  /** Whether messages may still come. */
  get isOpen(): boolean {
    return this.#phase === SILENT || this.#phase === OPEN;
  }

  /** Bytes that wait for the other side to read. */
  get unsentBytes(): number {
    return this.#socket.writableLength + this.#waitingBytes;
  }

  /** 32 bytes that only the two ends of this TLS connection know (RFC 5705, RFC 8446 section 7.5); undefined without TLS. */
  binding(): Uint8Array | undefined {
    if (!(this.#socket instanceof TLSSocket)) return undefined;
    return this.#socket.exportKeyingMaterial(BINDING_BYTES, BINDING_LABEL, NO_CONTEXT);
  }

  /** Who is there is known: the deadline of the log-in and the limit of its source are over. */
  prove(): void {
    if (this.#proven || !this.isOpen) return;
    this.#proven = true;
    this.#host.proven(this);
  }

  /**
   * Sends finished frames, as `textFrame` and `binaryFrame` make them; the bytes must not change afterwards. All that is
   * sent in one turn leaves in one write. False when enough waits: stop until `drained`, if that can be. Who has not taken
   * what earlier turns sent is closed with CLOSE.slow when more than SERVER_UNSENT_BYTES_MAX would wait.
   */
  send(frames: Uint8Array): boolean {
    if (!this.isOpen) return false;
    const { writableLength, writableHighWaterMark } = this.#socket;
    const unsent = writableLength + this.#waitingBytes + frames.length;
    if (writableLength > 0 && unsent > SERVER_UNSENT_BYTES_MAX) {
      this.close(CLOSE.slow, 'slow');
      return false;
    }
    this.#queue(frames);
    if (unsent < writableHighWaterMark) return true;
    this.#full = true;
    return false;
  }

  /** Stops reading; what was read already (at most one chunk) still comes. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    // What could not be read was no silence.
    this.#heardAt = this.#host.now;
    this.#pingsMissed = 0;
    this.#socket.resume();
  }

  /** Says why and ends; `closed` follows, once. What was sent before still leaves, for SERVER_CLOSE_MS_MAX. */
  close(code: number, reason: string): void {
    if (!this.isOpen) return;
    this.#queue(closeFrame(code, reason));
    this.#closing({ code, reason });
  }

  /** Ends at once, without a word. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** For the host, once a second: deadlines, pings. */
  tick(): void {
    const { now } = this.#host;
    // At least so long: deadlines are up to a second late, never early.
    const lasted = (now - this.#since - 1) * SECOND;
    if (this.#phase === GREETING) {
      if (lasted >= SERVER_FIRST_FRAME_MS_MAX) this.#refuse('late');
    } else if (this.#phase === CLOSING) {
      if (lasted >= SERVER_CLOSE_MS_MAX) this.destroy();
    } else if (this.#phase === SILENT && lasted >= SERVER_FIRST_FRAME_MS_MAX) this.close(CLOSE.late, 'first message');
    else if (!this.#proven && lasted >= SERVER_LOGIN_MS_MAX) this.close(CLOSE.late, 'log-in');
    else if (!this.#socket.isPaused()) this.#beat((now - this.#heardAt) * SECOND);
  }

  #beat(quietMs: number): void {
    if (quietMs < BOUNDS[this.#path].pingMs * (this.#pingsMissed + 1)) return;
    if (this.#pingsMissed === SERVER_PINGS_MISSED_MAX) {
      this.close(CLOSE.dead, 'no sign of life');
      return;
    }
    this.#pingsMissed++;
    this.send(PING);
  }

  /** For the host: writes what waits, and tells what is over. */
  flush(): void {
    const [first, more] = [this.#first, this.#more];
    if (first !== undefined) {
      const bytes = this.#waitingBytes;
      this.#first = undefined;
      this.#more = undefined;
      this.#waitingBytes = 0;
      if (this.#phase !== GONE) this.#write(first, more, bytes);
      // What the system has taken at once is never followed by 'drain'.
      if (!this.#socket.writableNeedDrain) this.#drained();
    }
    const end = this.#end;
    if (end === undefined) return;
    this.#end = undefined;
    if (this.#phase !== GONE) this.#socket.end();
    this.#host.events.closed(this, end.code, end.reason);
  }

  // One call of the system in any case. Few and large ones are what many readers share: a copy for each would cost more.
  #write(first: Uint8Array, more: readonly Uint8Array[] | undefined, bytes: number): void {
    if (more === undefined) this.#socket.write(first);
    else if (bytes < COPIED_BYTES_MAX || more.length > GATHERED_MAX) this.#socket.write(joined(first, more, bytes));
    else {
      this.#socket.cork();
      this.#socket.write(first);
      for (const one of more) this.#socket.write(one);
      this.#socket.uncork();
    }
  }

  #queue(frames: Uint8Array): void {
    this.#waitingBytes += frames.length;
    if (this.#first !== undefined) {
      if (this.#more === undefined) this.#more = [frames];
      else this.#more.push(frames);
      return;
    }
    this.#first = frames;
    this.#host.wake(this);
  }

  #closing(end: { readonly code: number; readonly reason: string }): void {
    this.#enter(CLOSING);
    this.#end = end;
    this.#host.wake(this);
    // What still comes is read and thrown away: unread bytes would reset the connection before our last words are read.
    this.#socket.resume();
  }

  #enter(phase: number): void {
    this.#phase = phase;
    this.#since = this.#host.now;
  }

  #data(chunk: Buffer): void {
    this.#heardAt = this.#host.now;
    this.#pingsMissed = 0;
    try {
      if (this.#reader instanceof FrameParser) this.#frames(this.#reader, chunk);
      else if (this.#phase === GREETING) this.#greet(this.#reader, chunk);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      if (this.#phase === GREETING) return this.#refuse(String(error.details.why ?? error.code), error.details.status);
      this.#host.events.refused(error.code);
      this.close(closeCodeOf(error), error.code);
    }
  }

  #greet(reader: HeadReader, chunk: Buffer): void {
    const head = reader.take(chunk);
    if (head === undefined) return;
    const { request, source } = this.#host.request(this, head);
    const parser = new FrameParser({ from: 'client', messageBytesMax: BOUNDS[request.path].messageBytesMax });
    this.#reader = parser;
    this.#source = source;
    this.#path = request.path;
    this.#enter(SILENT);
    this.#queue(Buffer.from(buildUpgradeResponse(request)));
    this.#host.events.opened(this);
    if (head.rest.length > 0) this.#frames(parser, head.rest);
  }

  #refuse(why: string, status?: unknown): void {
    this.#enter(CLOSING);
    this.#host.events.refused(why);
    if (typeof status === 'number') this.#socket.end(buildRefusal(status));
    else this.destroy();
  }

  #frames(parser: FrameParser, chunk: Buffer): void {
    if (!this.isOpen) return;
    for (const message of parser.take(chunk)) {
      this.#message(message);
      if (!this.isOpen) return;
    }
  }

  #message(message: Message): void {
    const { events } = this.#host;
    switch (message.kind) {
      case 'text':
        if (this.#phase === SILENT) this.#phase = OPEN;
        return events.text(this, message.text);
      case 'binary':
        if (this.#phase === SILENT) this.#phase = OPEN;
        return events.binary(this, message.bytes);
      case 'ping':
        this.send(pongFrame(message.bytes));
        return;
      case 'pong':
        return;
      case 'close':
        this.#queue(closeFrame(message.code));
        this.#closing({ code: message.code, reason: message.reason });
    }
  }

  #drained(): void {
    if (!this.#full || !this.isOpen) return;
    this.#full = false;
    this.#host.events.drained(this);
  }

  #gone(): void {
    const wasOpen = this.isOpen;
    this.#phase = GONE;
    this.#host.gone(this);
    if (wasOpen) this.#host.events.closed(this, CLOSE.broken, 'connection lost');
  }
}

// What is joined for one write lies beside what was joined before: memory of its own would have to be found and freed each time.
let room = Buffer.alloc(0);
let taken = 0;

const joined = (first: Uint8Array, more: readonly Uint8Array[], bytes: number): Uint8Array => {
  if (bytes > ROOM_BYTES) return Buffer.concat([first, ...more], bytes);
  if (taken + bytes > room.length) {
    room = Buffer.allocUnsafeSlow(ROOM_BYTES);
    taken = 0;
  }
  const from = taken;
  for (const part of [first, ...more]) {
    room.set(part, taken);
    taken += part.length;
  }
  return room.subarray(from, taken);
};
