// A link over any byte stream: the handshake that proves who is there, then frames in padded records.
import type { Duplex } from 'node:stream';
import { addressOf } from '../crypto/address.ts';
import { makeCertificate, readCertificate } from '../crypto/certificate.ts';
import { type CipherState, Handshake } from '../crypto/noise.ts';
import type { Admission, Clock, Link, LinkEvents, LinkPeer, LocalKeys, PublicKeys, Random } from '../ports.ts';
import { isEqual } from '../protocol/bytes.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import {
  FRAME_BYTES_MAX,
  HANDSHAKE_FIRST_MS_MAX,
  HANDSHAKE_MESSAGE_BYTES_MAX,
  HANDSHAKE_MS_MAX,
  LINK_BUFFER_BYTES_MAX,
  LINK_CLOSE_MS_MAX,
  LINK_UNREAD_BYTES_MAX,
  LINK_VERSION,
} from '../protocol/limits.ts';
import { decodeRecord, encodeRecords } from './records.ts';

const INSTALL_ID_BYTES = 16;
const LABEL = 'sotto link 1';

/** For a link that nobody listens to. */
export const DEAF: LinkEvents = { frame: () => {}, drained: () => {}, closed: () => {} };

export type LinkOptions = {
  readonly stream: Duplex;
  /** `dial`: we opened the stream and speak first. */
  readonly role: 'dial' | 'accept';
  readonly keys: LocalKeys;
  /** The dialled address; for the side that accepts, its own. Part of what both sides sign. */
  readonly address: string;
  readonly admit: (peer: LinkPeer, dialled: boolean) => Admission;
  readonly clock: Clock;
  readonly random: Random;
  /** Who hears of frames; called once, when the other side is proven and admitted. */
  readonly attach: (link: Link) => LinkEvents;
};

/**
 * Proves both sides to each other and gives the link. Rejects with `handshake.timeout`, `handshake.failed`, `frame.tooLarge`,
 * `certificate.invalid`, `key.invalid` or `contact.keyRefused`; the stream is destroyed then, without a word to the other side.
 */
export const openLink = async (options: LinkOptions): Promise<Link> => {
  const reader = new MessageReader(options.stream);
  const late = (ms: number) => options.clock.after(ms, () => reader.fail(new ProtocolError('handshake.timeout')));
  const cancelAll = late(HANDSHAKE_MS_MAX);
  const cancelFirst = late(HANDSHAKE_FIRST_MS_MAX);
  try {
    const proven = await (options.role === 'dial'
      ? dial(options, reader, cancelFirst)
      : accept(options, reader, cancelFirst));
    const verdict = options.admit(proven.peer, options.role === 'dial');
    if (verdict === 'close') throw new SottoError('contact.keyRefused');
    const link = new StreamLink(options, proven, reader.detach());
    link.begin(options.attach(link));
    return link;
  } catch (error) {
    options.stream.destroy();
    throw error;
  } finally {
    cancelAll();
    cancelFirst();
  }
};

type Proven = { readonly peer: LinkPeer; readonly send: CipherState; readonly receive: CipherState };

const handshakeOf = (options: LinkOptions): Handshake =>
  new Handshake({
    role: options.role === 'dial' ? 'initiator' : 'responder',
    prologue: Buffer.from(`${LABEL}${options.address}`),
    staticSecret: options.keys.linkSecret,
    ephemeralSecret: options.random.bytes(32),
  });

const dial = async (options: LinkOptions, reader: MessageReader, heard: () => void): Promise<Proven> => {
  const { stream, keys, address } = options;
  const handshake = handshakeOf(options);
  writeMessage(stream, handshake.write(Uint8Array.of(LINK_VERSION)));
  const answer = handshake.read(await reader.next());
  heard();
  if (answer[0] !== LINK_VERSION) throw new ProtocolError('handshake.failed', { details: { why: 'version' } });
  const theirs = proveKeys(answer.slice(1), handshake.remoteStatic);
  if (addressOf(theirs.identityKey) !== address)
    throw new ProtocolError('handshake.failed', { details: { why: 'address' } });
  const mine = makeCertificate(keys.publicKeys, keys.identitySeed);
  writeMessage(stream, handshake.write(Buffer.concat([mine, keys.installId])));
  return { ...handshake.finish(), peer: peerOf(theirs, keys) };
};

const accept = async (options: LinkOptions, reader: MessageReader, heard: () => void): Promise<Proven> => {
  const { stream, keys } = options;
  const handshake = handshakeOf(options);
  const offered = handshake.read(await reader.next());
  heard();
  if (!offered.includes(LINK_VERSION)) throw new ProtocolError('handshake.failed', { details: { why: 'version' } });
  const mine = makeCertificate(keys.publicKeys, keys.identitySeed);
  writeMessage(stream, handshake.write(Buffer.concat([Uint8Array.of(LINK_VERSION), mine])));
  const payload = handshake.read(await reader.next());
  const certificateEnd = payload.length - INSTALL_ID_BYTES;
  const theirs = proveKeys(payload.slice(0, Math.max(0, certificateEnd)), handshake.remoteStatic);
  return { ...handshake.finish(), peer: { ...peerOf(theirs, keys), installId: payload.slice(certificateEnd) } };
};

/** The certificate's keys, when its link key is the static key that the handshake has just proven. */
const proveKeys = (certificate: Uint8Array<ArrayBuffer>, proven: Uint8Array | undefined): PublicKeys => {
  const theirs = readCertificate(certificate);
  if (proven === undefined || !isEqual(proven, theirs.linkKey))
    throw new ProtocolError('handshake.failed', { details: { why: 'link key' } });
  return theirs;
};

const peerOf = (theirs: PublicKeys, keys: LocalKeys): LinkPeer => {
  if (isEqual(theirs.identityKey, keys.publicKeys.identityKey))
    throw new ProtocolError('handshake.failed', { details: { why: 'ourselves' } });
  return { ...theirs, address: addressOf(theirs.identityKey) };
};

const writeMessage = (stream: Duplex, message: Uint8Array): void => {
  stream.write(Buffer.concat([Uint8Array.of(message.length >>> 8, message.length & 255), message]));
};

// Reads length-prefixed handshake messages from a stream, one at a time, and hands what is left over to the link.
class MessageReader {
  readonly #stream: Duplex;
  #buffer: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on('data', this.#data);
    stream.on('error', this.#ended);
    stream.on('close', this.#ended);
    stream.on('end', this.#ended);
    stream.resume();
  }

  /** The next message. Throws ProtocolError when it is too large, late, or the stream ends. */
  async next(): Promise<Uint8Array<ArrayBuffer>> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const size = this.#buffer.length >= 2 ? this.#buffer.readUInt16BE(0) : undefined;
      if (size !== undefined && size > HANDSHAKE_MESSAGE_BYTES_MAX) throw new ProtocolError('frame.tooLarge');
      if (size !== undefined && this.#buffer.length >= 2 + size) {
        const message = new Uint8Array(this.#buffer.subarray(2, 2 + size));
        this.#buffer = this.#buffer.subarray(2 + size);
        return message;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#wake?.();
  }

  /** Stops listening; gives the bytes that came after the last message. */
  detach(): Buffer<ArrayBufferLike> {
    if (this.#error !== undefined) throw this.#error;
    this.#stream.off('data', this.#data);
    this.#stream.off('close', this.#ended);
    this.#stream.off('end', this.#ended);
    return this.#buffer;
  }

  readonly #data = (chunk: Buffer): void => {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    if (this.#buffer.length > 2 * (HANDSHAKE_MESSAGE_BYTES_MAX + 2) + FRAME_BYTES_MAX)
      this.fail(new ProtocolError('frame.tooLarge'));
    this.#wake?.();
  };
  readonly #ended = (): void => this.fail(new ProtocolError('handshake.failed', { details: { why: 'closed' } }));
}

class StreamLink implements Link {
  readonly peer: LinkPeer;
  readonly dialled: boolean;
  readonly openedAt: number;
  readonly #clock: Clock;
  readonly #stream: Duplex;
  readonly #send: CipherState;
  readonly #receive: CipherState;
  #events: LinkEvents | undefined;
  readonly #joiner = new RecordJoiner();
  /** What came with the last message of the handshake. */
  #rest: Buffer<ArrayBufferLike>;
  #outgoing: Uint8Array[] = [];
  #outgoingBytes = 0;
  #full = false;
  #closed = false;

  constructor(options: LinkOptions, proven: Proven, rest: Buffer<ArrayBufferLike>) {
    this.peer = proven.peer;
    this.dialled = options.role === 'dial';
    this.openedAt = options.clock.now();
    this.#clock = options.clock;
    this.#stream = options.stream;
    this.#send = proven.send;
    this.#receive = proven.receive;
    this.#rest = rest;
  }

  begin(events: LinkEvents): void {
    this.#events = events;
    this.#stream.on('data', (chunk: Buffer) => this.#data(chunk));
    this.#stream.on('error', () => this.close('stream error'));
    this.#stream.on('end', () => this.close('peer closed'));
    this.#stream.on('close', () => this.close('peer closed'));
    // Frames that came with the last handshake message are told after the caller has its link.
    queueMicrotask(() => this.#data(NOTHING));
  }

  send(frame: Uint8Array): boolean {
    if (frame.length === 0 || frame.length > FRAME_BYTES_MAX) throw new Error(`a frame of ${frame.length} bytes`);
    if (this.#closed) return false;
    if (this.#outgoing.length === 0) queueMicrotask(() => this.#flush());
    this.#outgoing.push(frame);
    this.#outgoingBytes += frame.length;
    const unread = this.#stream.writableLength + this.#outgoingBytes;
    this.#full ||= unread > LINK_BUFFER_BYTES_MAX;
    if (unread > LINK_UNREAD_BYTES_MAX) this.close('frame.tooMany');
    // A little at a time: Tor waits for none of it, and a stream that stops for a moment costs it tens of milliseconds.
    if (this.#outgoingBytes >= STEP_BYTES) this.#flush();
    return !this.#full;
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  close(reason: string): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    // What is queued still goes out, for as long as the other side takes it.
    const cancel = this.#clock.after(LINK_CLOSE_MS_MAX, () => this.#stream.destroy());
    this.#stream.on('close', cancel);
    this.#stream.end(() => this.#stream.destroy());
    this.#stream.resume();
    this.#events?.closed(reason);
  }

  #flush(): void {
    if (this.#closed || this.#outgoing.length === 0) return;
    const frames = this.#outgoing;
    this.#outgoing = [];
    this.#outgoingBytes = 0;
    const parts = encodeRecords(this.#send, frames);
    const last = parts.pop() ?? NOTHING;
    this.#stream.cork();
    for (const part of parts) this.#stream.write(part);
    this.#stream.write(last, () => this.#written());
    this.#stream.uncork();
  }

  #written(): void {
    if (!this.#full || this.#closed || this.#stream.writableLength > LINK_BUFFER_BYTES_MAX - STEP_BYTES) return;
    this.#full = false;
    this.#events?.drained();
  }

  #data(chunk: Buffer): void {
    const rest = this.#rest;
    this.#rest = NOTHING;
    if (rest.length > 0) this.#take(rest);
    this.#take(chunk);
  }

  #take(chunk: Buffer<ArrayBufferLike>): void {
    try {
      this.#joiner.take(chunk, (record) => {
        for (const frame of this.#closed ? [] : decodeRecord(this.#receive, record))
          if (!this.#closed) this.#events?.frame(frame);
      });
    } catch (error) {
      if (!(error instanceof SottoError)) throw error;
      this.close(error.code);
    }
  }
}

// Cuts a stream into records of u16 length ‖ ciphertext. Tor gives little at a time, and garbage of whole records is dear: what
// is no whole record yet is kept in one room, which is used again.
class RecordJoiner {
  #room: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  #held = 0;

  /** Gives `record` each ciphertext that `chunk` completes, in order; good for as long as the call. */
  take(chunk: Buffer<ArrayBufferLike>, record: (ciphertext: Uint8Array) => void): void {
    let rest = chunk;
    while (rest.length > 0) {
      const taken = this.#held === 0 ? takeWhole(rest, record) : this.#complete(rest, record);
      if (taken === 0) return this.#keep(rest, sizeOf(rest));
      rest = rest.subarray(taken);
    }
  }

  /** How much of `rest` belongs to the record that is begun: all, when that is not enough. */
  #complete(rest: Buffer<ArrayBufferLike>, record: (ciphertext: Uint8Array) => void): number {
    const wanted = sizeOf(this.#room.subarray(0, this.#held));
    const part = rest.subarray(0, wanted - this.#held);
    this.#keep(part, wanted);
    if (this.#held < wanted || sizeOf(this.#room.subarray(0, wanted)) > wanted) return part.length;
    this.#held = 0;
    record(this.#room.subarray(LENGTH_BYTES, wanted));
    return part.length;
  }

  #keep(part: Buffer<ArrayBufferLike>, size: number): void {
    if (this.#room.length < size) {
      const larger = Buffer.allocUnsafeSlow(size);
      this.#room.copy(larger, 0, 0, this.#held);
      this.#room = larger;
    }
    part.copy(this.#room, this.#held);
    this.#held += part.length;
  }
}

const NOTHING = Buffer.alloc(0);
const STEP_BYTES = 64 * 1024;
const LENGTH_BYTES = 2;

/** How long the record is that begins here; LENGTH_BYTES while that is not known. */
const sizeOf = (bytes: Buffer<ArrayBufferLike>): number =>
  bytes.length < LENGTH_BYTES ? LENGTH_BYTES : LENGTH_BYTES + bytes.readUInt16BE(0);

const takeWhole = (bytes: Buffer<ArrayBufferLike>, record: (ciphertext: Uint8Array) => void): number => {
  const size = sizeOf(bytes);
  if (bytes.length < size) return 0;
  record(bytes.subarray(LENGTH_BYTES, size));
  return size;
};
