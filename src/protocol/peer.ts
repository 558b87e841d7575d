// The wire between two accounts: every link frame and every sealed body, their schemas and their bytes.
import * as z from 'zod';
import { bufferOf, concat, jsonBytes, u32 } from './bytes.ts';
import { ProtocolError } from './errors.ts';
import {
  base64,
  base64Of,
  count,
  editNumber,
  emoji,
  expiresMs,
  fileName,
  id,
  key32,
  text,
  wellFormed,
} from './fields.ts';
import { ID_BYTES, idBytes, idOf, type MessageId } from './ids.ts';
import {
  ACK_IDS_MAX,
  FILE_BYTES_MAX,
  FRAME_BYTES_MAX,
  NAME_CHARS_MAX,
  NOTE_CHARS_MAX,
  READ_TARGETS_MAX,
} from './limits.ts';
import { padded, unpadded } from './padding.ts';
import { SIGNATURE_BYTES } from './sizes.ts';
import { parseJsonBytes } from './strict-json.ts';

const bundle = base64(8 * 1024).min(4);
const name = z.string().min(1).max(NAME_CHARS_MAX).refine(wellFormed);

/** Frames that travel as JSON, outside the Signal session. Their sender is whom the link proved, never a field. */
const PlainFrame = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('resume'), session: id.optional(), sent: count, received: count }),
  z.object({
    kind: z.literal('request'),
    id,
    bundle,
    nickname: name,
    note: z.string().max(NOTE_CHARS_MAX).refine(wellFormed).optional(),
  }),
  z.object({ kind: z.literal('no_request'), id }),
  z.object({ kind: z.literal('not_contact') }),
  z.object({ kind: z.literal('reset'), session: id, bundle }),
  z.object({ kind: z.literal('ping'), n: count }),
  z.object({ kind: z.literal('pong'), n: count }),
  z.object({ kind: z.literal('typing'), on: z.boolean() }),
  z.object({ kind: z.literal('presence'), state: z.enum(['online', 'away', 'offline']) }),
  z.object({ kind: z.literal('stream'), transfer: id, from: count }),
  z.object({ kind: z.literal('error'), code: z.string().max(64) }),
]);
export type PlainFrame = z.infer<typeof PlainFrame>;

// A message that ends by itself says when: so long after it came, or was read.
const expiry = {
  expiresMs: expiresMs.optional(),
  expiresFrom: z.enum(['delivery', 'read']).optional(),
};

/** What `sealed` frames carry. An unknown kind is acknowledged and answered with `unsupported`. */
const SealedBody = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('accept'), id, request: id, nickname: name }),
  z.object({
    kind: z.literal('text'),
    id,
    text,
    sentAt: count,
    replyTo: id.optional(),
    ...expiry,
  }),
  z.object({ kind: z.literal('edit'), id, target: id, number: editNumber, text }),
  z.object({ kind: z.literal('delete'), id, target: id }),
  z.object({
    kind: z.literal('react'),
    id,
    target: id,
    emoji,
    on: z.boolean(),
  }),
  z.object({ kind: z.literal('pin'), id, target: id, on: z.boolean() }),
  z.object({ kind: z.literal('read'), id, targets: z.array(id).min(1).max(READ_TARGETS_MAX) }),
  z.object({
    kind: z.literal('file.offer'),
    id,
    name: fileName,
    sizeBytes: z.number().int().min(0).max(FILE_BYTES_MAX),
    key: key32,
    root: key32,
    sentAt: count,
    ...expiry,
  }),
  z.object({ kind: z.literal('file.cancel'), id, target: id }),
  z.object({ kind: z.literal('file.done'), id, target: id }),
  z.object({ kind: z.literal('hello'), id }),
  /** Who I am on the server of this key: its member key, and that key's signature for these two addresses. */
  z.object({ kind: z.literal('member.link'), id, server: key32, member: key32, signature: base64Of(SIGNATURE_BYTES) }),
  z.object({ kind: z.literal('member.unlink'), id, server: key32 }),
  z.object({ kind: z.literal('unsupported'), id, target: id }),
]);
export type SealedBody = z.infer<typeof SealedBody>;

const BodyHead = z.object({ kind: z.string().max(64), id });
const BODY_KINDS: ReadonlySet<string> = new Set(SealedBody.options.map((option) => option.shape.kind.value));

/** A body of a kind this version does not know: its id is enough to answer it. */
export type UnknownBody = { readonly kind: 'unknown'; readonly id: MessageId };

/** One Signal ciphertext under its id. `type` is libsignal's message type: 2 whisper, 3 prekey. */
export type SealedFrame = {
  readonly kind: 'sealed';
  readonly id: MessageId;
  readonly type: number;
  readonly ciphertext: Uint8Array<ArrayBuffer>;
};
export type AckFrame = { readonly kind: 'ack'; readonly ids: readonly MessageId[] };
/** Chunk `index` of a file, ciphertext, on a stream of its own. */
export type ChunkFrame = { readonly kind: 'chunk'; readonly index: number; readonly bytes: Uint8Array<ArrayBuffer> };
/** A slice of the list of chunk hashes, sent before the chunks; 32 bytes each. */
export type HashesFrame = { readonly kind: 'hashes'; readonly index: number; readonly bytes: Uint8Array<ArrayBuffer> };
export type PeerFrame = PlainFrame | SealedFrame | AckFrame | ChunkFrame | HashesFrame;

const KIND = { json: 0, sealed: 1, ack: 2, chunk: 3, hashes: 4 } as const;

/** First byte the kind; then JSON, id ‖ type ‖ ciphertext, ids, or u32 index ‖ bytes. */
export const encodeFrame = (frame: PeerFrame): Uint8Array<ArrayBuffer> => {
  switch (frame.kind) {
    case 'sealed':
      return concat([Uint8Array.of(KIND.sealed), idBytes(frame.id), Uint8Array.of(frame.type), frame.ciphertext]);
    case 'ack':
      return concat([Uint8Array.of(KIND.ack), ...frame.ids.map(idBytes)]);
    case 'chunk':
    case 'hashes':
      return concat([Uint8Array.of(KIND[frame.kind]), u32(frame.index), frame.bytes]);
    default:
      return concat([Uint8Array.of(KIND.json), jsonBytes(frame)]);
  }
};

/** The frame in `bytes`. Throws ProtocolError `frame.invalid` or `frame.tooLarge`. */
export const decodeFrame = (bytes: Uint8Array<ArrayBuffer>): PeerFrame => {
  if (bytes.length > FRAME_BYTES_MAX) throw new ProtocolError('frame.tooLarge');
  const rest = bytes.subarray(1);
  switch (bytes[0]) {
    case KIND.json:
      return parse(PlainFrame, rest);
    case KIND.sealed:
      if (rest.length <= ID_BYTES + 1) throw invalid('sealed');
      return {
        kind: 'sealed',
        id: idOf(rest.subarray(0, ID_BYTES)),
        type: rest[ID_BYTES] ?? 0,
        ciphertext: rest.slice(ID_BYTES + 1),
      };
    case KIND.ack:
      return { kind: 'ack', ids: decodeIds(rest) };
    case KIND.chunk:
      return { kind: 'chunk', ...indexed(rest) };
    case KIND.hashes:
      return { kind: 'hashes', ...indexed(rest) };
    default:
      throw invalid('kind');
  }
};

/** The body as JSON, padded to a bucket. Throws `frame.tooLarge` above the largest one. */
export const encodeBody = (body: SealedBody): Uint8Array<ArrayBuffer> => padded(jsonBytes(body));

/** The body in a decrypted plaintext. Throws ProtocolError `frame.invalid`; unknown kinds are a value, not an error. */
export const decodeBody = (bytes: Uint8Array): SealedBody | UnknownBody => {
  const value = parseJsonBytes(unpadded(bytes));
  const body = SealedBody.safeParse(value);
  if (body.success) return body.data;
  const head = BodyHead.safeParse(value);
  if (!head.success || BODY_KINDS.has(head.data.kind)) throw invalid('body');
  return { kind: 'unknown', id: head.data.id as MessageId };
};

const decodeIds = (bytes: Uint8Array): MessageId[] => {
  const ids: MessageId[] = [];
  if (bytes.length === 0 || bytes.length % ID_BYTES !== 0 || bytes.length > ID_BYTES * ACK_IDS_MAX)
    throw invalid('ack');
  for (let at = 0; at < bytes.length; at += ID_BYTES) ids.push(idOf(bytes.subarray(at, at + ID_BYTES)));
  return ids;
};

const indexed = (rest: Uint8Array<ArrayBuffer>): { index: number; bytes: Uint8Array<ArrayBuffer> } => {
  if (rest.length < 5) throw invalid('chunk');
  return { index: bufferOf(rest).readUInt32BE(), bytes: rest.subarray(4) };
};

const parse = (schema: typeof PlainFrame, bytes: Uint8Array): PlainFrame => {
  const parsed = schema.safeParse(parseJsonBytes(bytes));
  if (!parsed.success) throw invalid('fields');
  return parsed.data;
};

const invalid = (why: string) => new ProtocolError('frame.invalid', { details: { why } });
