// The binary messages between an account and a server: events, publishes, and bytes of files.
import { bufferOf } from './bytes.ts';
import { ProtocolError } from './errors.ts';
import { SERVER_MESSAGE_BYTES_MAX } from './limits.ts';
import { HASH_BYTES } from './sizes.ts';

/** First byte of a binary message. */
export const BINARY = { event: 1, publish: 2, part: 3 } as const;
/** What kind of event it is: the server looks into `control` ones only; `direct` ones are for one inbox. */
export const EVENT = { content: 1, control: 2, direct: 3, notice: 4 } as const;
const ERASED = 1;

/** One event of a log. `request` 0 is live. `body` is 32 bytes of hash when it was erased. */
export type LogEvent = {
  readonly request: number;
  readonly channel: string;
  readonly epoch: number;
  readonly seq: number;
  readonly id: string;
  readonly member: string;
  readonly at: number;
  readonly kind: number;
  readonly erased: boolean;
  readonly body: Uint8Array<ArrayBuffer>;
};

const EVENT_HEAD_BYTES = 1 + 4 + 16 + 4 + 6 + 16 + 16 + 6 + 1 + 1;

/** u8 type ‖ u32 request ‖ channel ‖ u32 epoch ‖ u48 seq ‖ id ‖ member ‖ u48 at ‖ u8 kind ‖ u8 flags ‖ body. */
export const encodeEvent = (event: LogEvent): Buffer<ArrayBuffer> => {
  const out = Buffer.allocUnsafeSlow(sizeOfEvent(event));
  writeEvent(event, out, 0);
  return out;
};

/** How many bytes `writeEvent` writes. */
export const sizeOfEvent = ({ body }: LogEvent): number => EVENT_HEAD_BYTES + body.length;

/** The same into `out` from `start` on. */
export const writeEvent = (event: LogEvent, out: Buffer, start: number): void => {
  let at = out.writeUInt8(BINARY.event, start);
  at = out.writeUInt32BE(event.request, at);
  at += out.write(event.channel, at, 'hex');
  at = out.writeUInt32BE(event.epoch, at);
  at = out.writeUIntBE(event.seq, at, 6);
  at += out.write(event.id, at, 'hex');
  at += out.write(event.member, at, 'hex');
  at = out.writeUIntBE(event.at, at, 6);
  at = out.writeUInt8(event.kind, at);
  at = out.writeUInt8(event.erased ? ERASED : 0, at);
  out.set(event.body, at);
};

/**
 * What a client wants appended. `ttlSeconds` 0 is for ever; `checkedAt` the seq up to which it knows the channel's rules; `sealed`
 * how often its device has sealed or signed something on that server so far, 0 where it does not say.
 */
export type Publish = {
  readonly request: number;
  readonly channel: string;
  readonly id: string;
  readonly kind: number;
  readonly checkedAt: number;
  readonly ttlSeconds: number;
  readonly sealed: number;
  readonly body: Uint8Array<ArrayBuffer>;
};

const PUBLISH_HEAD_BYTES = 1 + 4 + 16 + 16 + 1 + 6 + 4 + 6;

/** u8 type ‖ u32 request ‖ channel ‖ id ‖ u8 kind ‖ u48 checkedAt ‖ u32 ttl ‖ u48 sealed ‖ body. */
export const encodePublish = (publish: Publish): Buffer<ArrayBuffer> => {
  const out = Buffer.allocUnsafeSlow(PUBLISH_HEAD_BYTES + publish.body.length);
  let at = out.writeUInt8(BINARY.publish);
  at = out.writeUInt32BE(publish.request, at);
  at += out.write(publish.channel, at, 'hex');
  at += out.write(publish.id, at, 'hex');
  at = out.writeUInt8(publish.kind, at);
  at = out.writeUIntBE(publish.checkedAt, at, 6);
  at = out.writeUInt32BE(publish.ttlSeconds, at);
  at = out.writeUIntBE(publish.sealed, at, 6);
  out.set(publish.body, at);
  return out;
};

/** Bytes of an upload or a download: `request` names the one it belongs to. */
export type Part = {
  readonly request: number;
  /** The upload's id; of a download the first 16 bytes of the hash. */
  readonly upload: string;
  readonly offset: number;
  readonly body: Uint8Array<ArrayBuffer>;
};

const PART_HEAD_BYTES = 1 + 4 + 16 + 6;

/** u8 type ‖ u32 request ‖ upload ‖ u48 offset ‖ bytes. */
export const encodePart = (part: Part): Buffer<ArrayBuffer> => {
  const out = Buffer.allocUnsafeSlow(PART_HEAD_BYTES + part.body.length);
  let at = out.writeUInt8(BINARY.part);
  at = out.writeUInt32BE(part.request, at);
  at += out.write(part.upload, at, 'hex');
  at = out.writeUIntBE(part.offset, at, 6);
  out.set(part.body, at);
  return out;
};

export type BinaryMessage =
  | ({ readonly type: 'event' } & LogEvent)
  | ({ readonly type: 'publish' } & Publish)
  | ({ readonly type: 'part' } & Part);

/**
 * The binary message in `bytes`, whose body stays a part of them in a publish, and is a copy elsewhere. Throws ProtocolError
 * `frame.invalid` or `frame.tooLarge`.
 */
export const decodeBinary = (bytes: Uint8Array): BinaryMessage => {
  if (bytes.length > SERVER_MESSAGE_BYTES_MAX) throw new ProtocolError('frame.tooLarge');
  const view = bufferOf(bytes);
  switch (view[0]) {
    case BINARY.event:
      return eventOf(view);
    case BINARY.publish:
      return publishOf(view);
    case BINARY.part:
      return partOf(view);
    default:
      throw invalid('type');
  }
};

type Decoded<Type extends BinaryMessage['type']> = Extract<BinaryMessage, { type: Type }>;

const eventOf = (view: Buffer): Decoded<'event'> => {
  if (view.length < EVENT_HEAD_BYTES) throw invalid('short');
  const flags = view.readUInt8(70);
  if ((flags & ~ERASED) !== 0 || (flags === ERASED && view.length !== EVENT_HEAD_BYTES + HASH_BYTES))
    throw invalid('flags');
  return {
    type: 'event',
    request: view.readUInt32BE(1),
    channel: view.toString('hex', 5, 21),
    epoch: view.readUInt32BE(21),
    seq: view.readUIntBE(25, 6),
    id: view.toString('hex', 31, 47),
    member: view.toString('hex', 47, 63),
    at: view.readUIntBE(63, 6),
    kind: view.readUInt8(69),
    erased: flags === ERASED,
    body: new Uint8Array(view.subarray(EVENT_HEAD_BYTES)),
  };
};

const publishOf = (view: Buffer): Decoded<'publish'> => {
  const bodyLength = view.length - PUBLISH_HEAD_BYTES;
  if (bodyLength <= 0) throw invalid('short');
  return {
    type: 'publish',
    request: view.readUInt32BE(1),
    channel: view.toString('hex', 5, 21),
    id: view.toString('hex', 21, 37),
    kind: view.readUInt8(37),
    checkedAt: view.readUIntBE(38, 6),
    ttlSeconds: view.readUInt32BE(44),
    sealed: view.readUIntBE(48, 6),
    body: new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset + PUBLISH_HEAD_BYTES, bodyLength),
  };
};

const partOf = (view: Buffer): Decoded<'part'> => {
  if (view.length <= PART_HEAD_BYTES) throw invalid('short');
  return {
    type: 'part',
    request: view.readUInt32BE(1),
    upload: view.toString('hex', 5, 21),
    offset: view.readUIntBE(21, 6),
    body: new Uint8Array(view.subarray(PART_HEAD_BYTES)),
  };
};

/** What is thrown for bytes that are no message of this wire; `request` is its id, where it was read. */
export const invalid = (why: string, request?: number) =>
  new ProtocolError('frame.invalid', { details: { why, ...(request === undefined ? {} : { request }) } });
