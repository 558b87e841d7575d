// WebSocket frames (RFC 6455) as bytes in and bytes out, for both ends: what a server takes and builds, what a client does.
import { isUtf8 } from 'node:buffer';
import { ProtocolError } from './errors.ts';

const CONTINUATION = 0;
const TEXT = 1;
const BINARY = 2;
const CLOSE_FRAME = 8;
const PING = 9;
const PONG = 10;

const FINAL = 0x80;
const MASKED = 0x80;
const MASK_BYTES = 4;
const CONTROL_BYTES_MAX = 125;
const HELD_BYTES_MIN = 256;

/** What both ends take from TLS to bind a log-in to its connection (RFC 5705, RFC 8446 section 7.5; an empty context). */
export const BINDING_LABEL = 'EXPORTER-sotto-login-1';
export const BINDING_BYTES = 32;

/** Why a connection ends; those from 4000 on are ours, the others RFC 6455 section 7.4.1. */
export const CLOSE = {
  normal: 1000,
  protocol: 1002,
  /** Nothing was said. Never on the wire. */
  none: 1005,
  /** The connection broke. Never on the wire. */
  broken: 1006,
  notText: 1007,
  policy: 1008,
  tooLarge: 1009,
  bug: 1011,
  restart: 1012,
  busy: 1013,
  /** The reader left too much unread: it resumes from its cursors. */
  slow: 4000,
  /** No first message, or no log-in, in time. */
  late: 4001,
  /** No sign of life. */
  dead: 4002,
} as const;

export type Message =
  | { readonly kind: 'text'; readonly text: string }
  /** The bytes are a part of what was read; nobody else writes to them. */
  | { readonly kind: 'binary' | 'ping' | 'pong'; readonly bytes: Buffer<ArrayBufferLike> }
  /** The last message there is. */
  | { readonly kind: 'close'; readonly code: number; readonly reason: string };

/** The close code that tells a ProtocolError of this file or of what was in a message. */
export const closeCodeOf = (error: ProtocolError): number => {
  if (error.code === 'frame.tooLarge') return CLOSE.tooLarge;
  return error.details.why === 'utf8' ? CLOSE.notText : CLOSE.protocol;
};

const refuse = (why: string): never => {
  throw new ProtocolError('frame.invalid', { details: { why } });
};

/**
 * Takes what one side of a connection sends. Keeps at most twice of what has arrived of one frame and of the frames before
 * it of one message; between messages, nothing. `from: 'client'` wants every frame masked, `from: 'server'` none.
 */
export class FrameParser {
  readonly #maskBit: number;
  readonly #bytesMax: number;
  /** The beginning of a frame whose end has not come. */
  #held: Growing | undefined;
  /** The fragments of a message whose last one has not come. */
  #message: Growing | undefined;
  #opcode = CONTINUATION;
  #over = false;

  constructor(options: { readonly from: 'client' | 'server'; readonly messageBytesMax: number }) {
    this.#maskBit = options.from === 'client' ? MASKED : 0;
    this.#bytesMax = options.messageBytesMax;
  }

  /**
   * The messages that end in this chunk, in order; the chunk is the parser's from here on (it is unmasked in place). To be
   * taken to the end, or not again. Throws ProtocolError `frame.invalid` and `frame.tooLarge`, as early as a header tells.
   */
  *take(chunk: Buffer): Generator<Message, void, undefined> {
    let at = 0;
    while (!this.#over) {
      const held = this.#held;
      let message: Message | undefined;
      if (held !== undefined) {
        at = this.#fill(held, chunk, at);
        if (this.#wanted(held.bytes, 0, held.length) > held.length) return;
        this.#held = undefined;
        message = this.#frame(held.bytes, 0, held.length);
      } else {
        const end = at === chunk.length ? Number.POSITIVE_INFINITY : at + this.#wanted(chunk, at, chunk.length);
        if (end > chunk.length) {
          if (at < chunk.length) this.#held = new Growing(chunk.subarray(at));
          return;
        }
        message = this.#frame(chunk, at, end);
        at = end;
      }
      if (message !== undefined) yield message;
    }
  }

  /** Moves bytes of the chunk to the held frame, none beyond its end; gives where the rest of the chunk begins. */
  #fill(held: Growing, chunk: Buffer, from: number): number {
    for (let at = from; ; ) {
      const missing = this.#wanted(held.bytes, 0, held.length) - held.length;
      const end = Math.min(at + missing, chunk.length);
      if (end === at) return at;
      held.add(chunk.subarray(at, end));
      at = end;
    }
  }

  /** How many bytes the frame at `at` has, or its header while that is cut: then more than there are. RFC 6455 section 5.2. */
  #wanted(bytes: Buffer<ArrayBufferLike>, at: number, end: number): number {
    if (end - at < 2) return 2;
    const second = bytes[at + 1] as number;
    this.#checkFirst(bytes[at] as number, second);
    const length = second & 0x7f;
    const header = 2 + extraBytes(length) + (this.#maskBit === 0 ? 0 : MASK_BYTES);
    if (end - at < header) return header;
    const size = length < 126 ? length : length === 126 ? bytes.readUInt16BE(at + 2) : longLength(bytes, at + 2);
    if (size < (length < 126 ? 0 : length === 126 ? 126 : 0x1_0000)) return refuse('length not in its shortest form');
    const before = isControl(bytes[at] as number) ? 0 : (this.#message?.length ?? 0);
    if (before + size > this.#bytesMax) throw new ProtocolError('frame.tooLarge');
    return header + size;
  }

  #checkFirst(first: number, second: number): void {
    if ((first & 0x70) !== 0) refuse('reserved bits');
    if ((second & MASKED) !== this.#maskBit) refuse('mask');
    const opcode = first & 0x0f;
    if (isControl(first)) {
      if (opcode > PONG) refuse('opcode');
      if ((first & FINAL) === 0) refuse('fragmented control frame');
      if ((second & 0x7f) > CONTROL_BYTES_MAX) refuse('long control frame');
    } else {
      if (opcode > BINARY) refuse('opcode');
      if ((opcode === CONTINUATION) !== (this.#opcode !== CONTINUATION)) refuse('fragments');
    }
  }

  /** What a whole frame gives: nothing, when it is a fragment with more to come. */
  #frame(bytes: Buffer<ArrayBufferLike>, at: number, end: number): Message | undefined {
    const first = bytes[at] as number;
    const from = at + 2 + extraBytes((bytes[at + 1] as number) & 0x7f) + (this.#maskBit === 0 ? 0 : MASK_BYTES);
    if (this.#maskBit !== 0) applyMask(bytes, from, end, bytes, from - MASK_BYTES);
    const payload = bytes.subarray(from, end);
    if (isControl(first)) return this.#control(first & 0x0f, payload);
    const isFinal = (first & FINAL) !== 0;
    if (isFinal && this.#opcode === CONTINUATION) return messageOf(first & 0x0f, payload);
    if (this.#opcode === CONTINUATION) this.#opcode = first & 0x0f;
    if (this.#message === undefined) this.#message = new Growing(payload);
    else this.#message.add(payload);
    if (!isFinal) return undefined;
    const message = messageOf(this.#opcode, this.#message.taken());
    this.#message = undefined;
    this.#opcode = CONTINUATION;
    return message;
  }

  #control(opcode: number, payload: Buffer<ArrayBufferLike>): Message {
    if (opcode !== CLOSE_FRAME) return { kind: opcode === PING ? 'ping' : 'pong', bytes: payload };
    this.#over = true;
    if (payload.length === 0) return { kind: 'close', code: CLOSE.none, reason: '' };
    if (payload.length === 1) return refuse('close code');
    const code = payload.readUInt16BE(0);
    if (!isCloseCode(code)) return refuse('close code');
    return { kind: 'close', code, reason: utf8(payload.subarray(2)) };
  }
}

// Bytes that come piece by piece: never more room than twice of what has come.
class Growing {
  bytes: Buffer<ArrayBufferLike>;
  length = 0;

  constructor(first: Uint8Array) {
    this.bytes = Buffer.allocUnsafe(Math.max(HELD_BYTES_MIN, first.length));
    this.add(first);
  }

  add(more: Uint8Array): void {
    const length = this.length + more.length;
    if (length > this.bytes.length) {
      const bytes = Buffer.allocUnsafe(Math.max(length, 2 * this.bytes.length));
      bytes.set(this.taken());
      this.bytes = bytes;
    }
    this.bytes.set(more, this.length);
    this.length = length;
  }

  taken(): Buffer<ArrayBufferLike> {
    return this.bytes.subarray(0, this.length);
  }
}

const isControl = (first: number): boolean => (first & 0x08) !== 0;

/** Bytes of the length beyond its first seven bits. */
const extraBytes = (length: number): number => (length === 127 ? 8 : length === 126 ? 2 : 0);

const longLength = (bytes: Buffer<ArrayBufferLike>, at: number): number =>
  bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);

const messageOf = (opcode: number, payload: Buffer<ArrayBufferLike>): Message =>
  opcode === TEXT ? { kind: 'text', text: utf8(payload) } : { kind: 'binary', bytes: payload };

const utf8 = (bytes: Buffer<ArrayBufferLike>): string => (isUtf8(bytes) ? bytes.toString('utf8') : refuse('utf8'));

// RFC 6455 section 7.4, and what IANA has added: 1012 to 1014.
const isCloseCode = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && code !== 1004 && code !== CLOSE.none && code !== CLOSE.broken) ||
  (code >= 3000 && code <= 4999);

const applyMask = (bytes: Uint8Array, from: number, end: number, mask: Uint8Array, maskAt: number): void => {
  const m0 = mask[maskAt] as number;
  const m1 = mask[maskAt + 1] as number;
  const m2 = mask[maskAt + 2] as number;
  const m3 = mask[maskAt + 3] as number;
  let at = from;
  for (; at + 3 < end; at += 4) {
    bytes[at] = (bytes[at] as number) ^ m0;
    bytes[at + 1] = (bytes[at + 1] as number) ^ m1;
    bytes[at + 2] = (bytes[at + 2] as number) ^ m2;
    bytes[at + 3] = (bytes[at + 3] as number) ^ m3;
  }
  if (at < end) bytes[at] = (bytes[at] as number) ^ m0;
  if (at + 1 < end) bytes[at + 1] = (bytes[at + 1] as number) ^ m1;
  if (at + 2 < end) bytes[at + 2] = (bytes[at + 2] as number) ^ m2;
};

/** Room for an unmasked frame with its header written; the payload, `size` bytes long, is what follows the header. */
const emptyFrame = (opcode: number, size: number): Buffer<ArrayBuffer> => {
  const length = size < 126 ? size : size < 0x1_0000 ? 126 : 127;
  const frame = Buffer.allocUnsafe(2 + extraBytes(length) + size);
  frame[0] = FINAL | opcode;
  frame[1] = length;
  if (length === 126) frame.writeUInt16BE(size, 2);
  if (length === 127) {
    frame.writeUInt32BE(Math.floor(size / 2 ** 32), 2);
    frame.writeUInt32BE(size >>> 0, 6);
  }
  return frame;
};

const frameOf = (opcode: number, parts: readonly Uint8Array[]): Buffer<ArrayBuffer> => {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  if (isControl(opcode) && size > CONTROL_BYTES_MAX) throw new Error(`a control frame of ${size} bytes`);
  const frame = emptyFrame(opcode, size);
  let at = frame.length - size;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  return frame;
};

/** A text message as a server sends it: one frame, to be written as it is to as many sockets as there are. */
export const textFrame = (text: string): Buffer<ArrayBuffer> => {
  const size = Buffer.byteLength(text);
  const frame = emptyFrame(TEXT, size);
  frame.write(text, frame.length - size);
  return frame;
};

/** A binary message of the parts, one after another, as a server sends it; see `textFrame`. */
export const binaryFrame = (...parts: readonly Uint8Array[]): Buffer<ArrayBuffer> => frameOf(BINARY, parts);

/** Room for a binary message of `size` bytes, which are the last of the frame and still to be written; see `textFrame`. */
export const emptyBinaryFrame = (size: number): Buffer<ArrayBuffer> => emptyFrame(BINARY, size);

/** A ping; the other side answers with the same bytes, at most 125. */
export const pingFrame = (payload: Uint8Array = new Uint8Array()): Buffer<ArrayBuffer> => frameOf(PING, [payload]);

/** The answer to a ping of these bytes. */
export const pongFrame = (payload: Uint8Array): Buffer<ArrayBuffer> => frameOf(PONG, [payload]);

/** The last frame of a side. The reason is at most 123 bytes; no code at all for CLOSE.none. */
export const closeFrame = (code: number, reason = ''): Buffer<ArrayBuffer> =>
  frameOf(CLOSE_FRAME, code === CLOSE.none ? [] : [Uint8Array.of(code >>> 8, code & 0xff), Buffer.from(reason)]);

/** A frame of the functions above as a client sends it; `mask` is 4 random bytes, new for each frame. */
export const maskedFrame = (frame: Buffer, mask: Uint8Array): Buffer<ArrayBuffer> => {
  const header = 2 + extraBytes(frame[1] as number);
  const out = Buffer.allocUnsafe(frame.length + MASK_BYTES);
  frame.copy(out, 0, 0, header);
  out[1] = (frame[1] as number) | MASKED;
  out.set(mask, header);
  frame.copy(out, header + MASK_BYTES, header);
  applyMask(out, header + MASK_BYTES, out.length, mask, 0);
  return out;
};
