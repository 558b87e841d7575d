// The client's end of a connection to a server: messages both ways, pings, bounded buffers.
import type { Socket } from 'node:net';
import type { Cancel, Clock, Random, ServerLink, ServerLinkEvents } from '../ports.ts';
import { ProtocolError } from '../protocol/errors.ts';
import {
  LINK_BUFFER_BYTES_MAX,
  SERVER_CLOSE_MS_MAX,
  SERVER_MESSAGE_BYTES_MAX,
  SERVER_PING_MS,
  SERVER_PINGS_MISSED_MAX,
  SERVER_UNSENT_BYTES_MAX,
} from '../protocol/limits.ts';
import {
  binaryFrame,
  CLOSE,
  closeCodeOf,
  closeFrame,
  FrameParser,
  type Message,
  maskedFrame,
  pingFrame,
  pongFrame,
  textFrame,
} from '../protocol/websocket.ts';

/** Of a frame of SERVER_MESSAGE_BYTES_MAX, unmasked. */
const HEADER_BYTES_MAX = 10;

export type LinkParts = {
  /** Upgraded; paused. */
  readonly socket: Socket;
  readonly binding: Uint8Array | undefined;
  readonly clock: Clock;
  readonly random: Random;
};

/** `ServerLink` of ports.ts over a socket whose upgrade is done. */
export class SocketServerLink implements ServerLink {
  readonly binding: Uint8Array | undefined;
  rttMs: number | undefined = undefined;
  readonly #parts: LinkParts;
  readonly #parser = new FrameParser({ from: 'server', messageBytesMax: SERVER_UNSENT_BYTES_MAX });
  #events: ServerLinkEvents | undefined;
  #outgoing: Buffer[] = [];
  #waitingBytes = 0;
  #full = false;
  #closed = false;
  #paused = false;
  #cancelBeat: Cancel = () => {};
  #pings = 0;
  #pingedAt = 0;
  #missed = 0;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.binding = parts.binding;
  }

  /** Begins to tell; `rest` is what came with the answer to the upgrade. */
  begin(events: ServerLinkEvents, rest: Buffer<ArrayBufferLike>): void {
    const { socket } = this.#parts;
    this.#events = events;
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('drain', () => this.#drained());
    socket.on('close', () => this.#over(CLOSE.broken, 'connection lost'));
    this.#beatLater();
    // What came with the answer is told when the owner is done with `attach`.
    queueMicrotask(() => {
      this.#data(rest);
      if (!this.#paused) socket.resume();
    });
  }

  text(text: string): boolean {
    return this.#message(textFrame(text));
  }

  binary(bytes: Uint8Array): boolean {
    return this.#message(binaryFrame(bytes));
  }

  pause(): void {
    this.#paused = true;
    this.#parts.socket.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#missed = 0;
    this.#parts.socket.resume();
  }

  close(code: number, reason: string): void {
    this.#end(closeFrame(code, reason), code, reason);
  }

  #message(frame: Buffer): boolean {
    if (frame.length > SERVER_MESSAGE_BYTES_MAX + HEADER_BYTES_MAX)
      throw new Error(`a message of ${frame.length - HEADER_BYTES_MAX} bytes`);
    if (this.#closed) return false;
    return this.#send(frame);
  }

  #send(frame: Buffer): boolean {
    const { socket, random } = this.#parts;
    if (this.#outgoing.length === 0) queueMicrotask(() => this.#flush());
    this.#outgoing.push(maskedFrame(frame, random.bytes(4)));
    this.#waitingBytes += frame.length;
    this.#full ||= socket.writableLength + this.#waitingBytes > LINK_BUFFER_BYTES_MAX;
    return !this.#full;
  }

  #flush(): void {
    if (this.#closed || this.#outgoing.length === 0) return;
    const bytes = Buffer.concat(this.#outgoing);
    this.#outgoing = [];
    this.#waitingBytes = 0;
    this.#parts.socket.write(bytes);
    // What the system has taken at once is never followed by 'drain'.
    if (!this.#parts.socket.writableNeedDrain) this.#drained();
  }

  #drained(): void {
    if (!this.#full || this.#closed) return;
    this.#full = false;
    this.#events?.drained();
  }

  #over(code: number, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelBeat();
    this.#events?.closed(code, reason);
  }

  #data(chunk: Buffer): void {
    if (this.#closed) return;
    this.#missed = 0;
    try {
      for (const message of this.#parser.take(chunk)) {
        this.#take(message);
        if (this.#closed) return;
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.close(closeCodeOf(error), error.code);
    }
  }

  #take(message: Message): void {
    switch (message.kind) {
      case 'text':
        return this.#events?.text(message.text);
      case 'binary':
        return this.#events?.binary(message.bytes);
      case 'ping':
        // For who does not read, answers would pile up here.
        if (!this.#full) this.#send(pongFrame(message.bytes));
        return;
      case 'pong':
        if (message.bytes.equals(numberOf(this.#pings))) this.rttMs = this.#parts.clock.monotonic() - this.#pingedAt;
        return;
      case 'close':
        return this.#end(closeFrame(message.code), message.code, message.reason);
    }
  }

  /** Sends our last frame; what is queued still goes out, for as long as the server takes it. */
  #end(last: Buffer, code: number, reason: string): void {
    if (this.#closed) return;
    this.#send(last);
    this.#flush();
    const { socket, clock } = this.#parts;
    const cancel = clock.after(SERVER_CLOSE_MS_MAX, () => socket.destroy());
    socket.once('close', cancel);
    socket.end();
    socket.resume();
    this.#over(code, reason);
  }

  #beatLater(): void {
    const { clock, random } = this.#parts;
    this.#cancelBeat = clock.after(SERVER_PING_MS * (1 - random.fraction() / 10), () => this.#beat());
  }

  #beat(): void {
    const { socket, clock } = this.#parts;
    if (this.#missed >= SERVER_PINGS_MISSED_MAX && !this.#paused) {
      socket.destroy();
      return this.#over(CLOSE.dead, 'no sign of life');
    }
    this.#missed++;
    this.#pings++;
    this.#pingedAt = clock.monotonic();
    this.#send(pingFrame(numberOf(this.#pings)));
    this.#beatLater();
  }
}

const numberOf = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
