// A signed event of a channel: its bytes, its signature, how it is opened, and the hashes that chain events together.
import { bufferOf, concat, jsonBytes } from '../protocol/bytes.ts';
import { ProtocolError } from '../protocol/errors.ts';
import {
  type ChannelId,
  type DeviceId,
  type EventId,
  ID_BYTES,
  idBytes,
  idOf,
  type MemberId,
} from '../protocol/ids.ts';
import { EVENT_CONTENT_BYTES_MAX, HISTORY_SEEN_EVENTS } from '../protocol/limits.ts';
import { EVENT_KIND, type EventKind } from '../protocol/room-content.ts';
import { HASH_BYTES, KEY_BYTES, SIGNATURE_BYTES } from '../protocol/sizes.ts';
import { type Bytes, ed25519Sign, ed25519Verify, sha256 } from './primitives.ts';

const LABEL = Buffer.from('sotto event 1');
const VERSION = 1;
const U48_MAX = 2 ** 48 - 1;
const U32_MAX = 0xffff_ffff;
/** The 32 zero bytes at which the chain of controls begins. */
export const ZERO_HASH: Bytes = new Uint8Array(HASH_BYTES);

/** u8 1 ‖ u32 epoch ‖ event id ‖ sender ‖ device ‖ u48 n ‖ u48 seen seq ‖ seen h 16 ‖ members head 16 ‖ u8 kind. */
export const EVENT_HEADER_BYTES = 1 + 4 + 3 * ID_BYTES + 6 + 6 + 2 * ID_BYTES + 1;

export type EventHeader = {
  /** Of the channel's key: 0 in the creation, 1 after it, one more with each rotation and each loss of a member. */
  readonly epoch: number;
  readonly id: EventId;
  readonly sender: MemberId;
  readonly device: DeviceId;
  /** Counts the events of this device in this channel by one, from 1. */
  readonly n: number;
  /** The last event its author had, and what the author had seen up to it (`historyHash`); 0 and zeros for none. */
  readonly seenSeq: number;
  readonly seenHash: Bytes;
  /** The first 16 bytes of the chain of controls, as its author had it. */
  readonly membersHead: Bytes;
  readonly kind: EventKind;
};

/** Where an event belongs: a signature fits one channel of one server. */
export type Scope = { readonly serverId: Uint8Array; readonly channelHash: Uint8Array };

/** What the event stood under when it came in: the server's header, and the epoch its body was sealed for, where it was. */
export type Outer = {
  readonly id: EventId;
  readonly sender: MemberId;
  readonly kind: number;
  readonly epoch?: number | undefined;
};

/** The signing key of a device that its member's certificate names; undefined when there is none. */
export type SigningKeys = (member: MemberId, device: DeviceId) => Uint8Array | undefined;

/** The scope of the event that creates a channel: there is no hash yet. */
export const creationScope = (serverId: Uint8Array): Scope => ({ serverId, channelHash: ZERO_HASH });

/** The hash of a channel, and its id, from its creation: SHA-256 of bytes ‖ signature. */
export const channelOf = (creation: Uint8Array): { readonly channel: ChannelId; readonly hash: Bytes } => {
  const hash = sha256(creation);
  return { channel: idOf(hash.subarray(0, ID_BYTES)), hash };
};

/**
 * Bytes ‖ signature of an event that says `content` as JSON. The signature is over `sotto event 1` ‖ server id ‖ channel
 * hash ‖ bytes. Throws ProtocolError `frame.tooLarge` for a content above EVENT_CONTENT_BYTES_MAX.
 */
export const signEvent = (scope: Scope, header: EventHeader, content: object, deviceSeed: Uint8Array): Bytes => {
  const json = jsonBytes(content);
  if (json.length > EVENT_CONTENT_BYTES_MAX) throw new ProtocolError('frame.tooLarge');
  const bytes = Buffer.concat([encodeHeader(header), json]);
  return concat([bytes, ed25519Sign(deviceSeed, signedBytes(scope, bytes))]);
};

/**
 * The header and content of bytes ‖ signature. Nothing of the content is looked at before the signature is verified; `decode`
 * parses it. Throws ProtocolError `event.invalid` (layout; a header that differs from `outer`), `event.forged` (no such
 * device, or not its signature), and what `decode` throws.
 */
export const openEvent = <Content>(
  { scope, outer, keyOf }: { readonly scope: Scope; readonly outer: Outer; readonly keyOf: SigningKeys },
  signed: Uint8Array,
  decode: (json: Uint8Array) => Content,
): { readonly header: EventHeader; readonly content: Content } => {
  const header = readEventHeader(signed);
  const { id, sender, kind, epoch = header.epoch } = outer;
  if (header.id !== id || header.sender !== sender || header.kind !== kind || header.epoch !== epoch)
    throw invalid('outer');
  const key = keyOf(header.sender, header.device);
  if (key === undefined) throw forged('device');
  const end = signed.length - SIGNATURE_BYTES;
  const bytes = signed.subarray(0, end);
  if (!ed25519Verify(key, signedBytes(scope, bytes), signed.subarray(end))) throw forged('signature');
  return { header, content: decode(contentOfEvent(signed)) };
};

/** The content of bytes ‖ signature, as JSON: nothing of it is checked. */
export const contentOfEvent = (signed: Uint8Array): Uint8Array =>
  signed.subarray(EVENT_HEADER_BYTES, signed.length - SIGNATURE_BYTES);

/** The header of bytes ‖ signature, as it claims to be. Throws ProtocolError `event.invalid`. */
export const readEventHeader = (signed: Uint8Array): EventHeader => {
  const content = signed.length - EVENT_HEADER_BYTES - SIGNATURE_BYTES;
  if (content < 2 || content > EVENT_CONTENT_BYTES_MAX || signed[0] !== VERSION) throw invalid('layout');
  const view = bufferOf(signed);
  let at = 1;
  const int = (size: number): number => {
    at += size;
    return view.readUIntBE(at - size, size);
  };
  const take = (): Bytes => {
    at += ID_BYTES;
    return new Uint8Array(view.subarray(at - ID_BYTES, at));
  };
  const epoch = int(4);
  const [id, sender, device] = [idOf<EventId>(take()), idOf<MemberId>(take()), idOf<DeviceId>(take())];
  const [n, seenSeq, seenHash, membersHead, kind] = [int(6), int(6), take(), take(), int(1)];
  if (kind !== EVENT_KIND.content && kind !== EVENT_KIND.control) throw invalid('kind');
  return { epoch, id, sender, device, n, seenSeq, seenHash, membersHead, kind };
};

/** An event as it stands in a log: `hash` is the SHA-256 of its stored body. */
export type Seen = { readonly seq: number; readonly eventId: Uint8Array; readonly hash: Uint8Array };

/**
 * What somebody has seen: the first 16 bytes of SHA-256 of (u64 seq ‖ event id ‖ SHA-256(stored body)) of each of the last
 * HISTORY_SEEN_EVENTS events, or of all since `from`, the first that its author may read. Undefined when `seen` does not
 * hold every one of them: then nothing can be said.
 */
export const historyHash = (seen: readonly Seen[], { from, to }: { readonly from: number; readonly to: number }) => {
  const first = firstSeen(from, to);
  const events = seen.filter(({ seq }) => seq >= first && seq <= to);
  if (to < first || events.length !== to - first + 1) return undefined;
  const parts = events.flatMap(({ seq, eventId, hash }) => {
    const place = Buffer.alloc(8);
    place.writeBigUInt64BE(BigInt(seq));
    return [place, eventId, hash];
  });
  return headOf(sha256(...parts));
};

/** Where what somebody has seen up to `to` begins, who may read from `from` on. */
export const firstSeen = (from: number, to: number): number => Math.max(from, to - HISTORY_SEEN_EVENTS + 1);

/** m(k) = SHA-256(m(k − 1) ‖ SHA-256(control body)); m(0) is zeros. An event names the first 16 bytes. */
export const membersHash = (before: Uint8Array, bodyHash: Uint8Array): Bytes => sha256(before, bodyHash);

/** The 16 bytes of a hash that events name. */
export const headOf = (hash: Uint8Array): Bytes => new Uint8Array(hash.subarray(0, ID_BYTES));

/**
 * How `n` follows the last one of its device in its channel (0 for none): `next`, or `gap` when events of that device are
 * missing. Throws ProtocolError `event.invalid` for one that is not above it: a repeat.
 */
export const followsN = (last: number, n: number): 'next' | 'gap' => {
  if (n <= last) throw invalid('n');
  return n === last + 1 ? 'next' : 'gap';
};

const encodeHeader = (header: EventHeader): Buffer => {
  const { epoch, n, seenSeq, seenHash, membersHead } = header;
  if (epoch > U32_MAX || n > U48_MAX || seenSeq > U48_MAX || seenHash.length !== 16 || membersHead.length !== 16)
    throw new Error('a header of an event has another size');
  const int = (value: number, size: number): Buffer => {
    const out = Buffer.alloc(size);
    out.writeUIntBE(value, 0, size);
    return out;
  };
  const ids = [header.id, header.sender, header.device].map(idBytes);
  const rest = [int(n, 6), int(seenSeq, 6), seenHash, membersHead, int(header.kind, 1)];
  return Buffer.concat([int(VERSION, 1), int(epoch, 4), ...ids, ...rest]);
};

const signedBytes = ({ serverId, channelHash }: Scope, bytes: Uint8Array): Buffer => {
  if (serverId.length !== KEY_BYTES || channelHash.length !== HASH_BYTES)
    throw new Error('a scope is a key and a hash');
  return Buffer.concat([LABEL, serverId, channelHash, bytes]);
};

const invalid = (why: string) => new ProtocolError('event.invalid', { details: { why } });

const forged = (why: string) => new ProtocolError('event.forged', { details: { why } });
