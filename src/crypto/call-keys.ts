// Keys of a call: a stream for each who speaks, its announcement, its steps when somebody joins, and the frames sealed with it.
import { concat, isEqual } from '../protocol/bytes.ts';
import { FRAME_HEAD_BYTES, type FrameType, readFrameHead, STREAM_ID_BYTES } from '../protocol/call-frame.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { type ChannelId, type DeviceId, ID_BYTES, idBytes, type MemberId } from '../protocol/ids.ts';
import { STREAM_FRAMES_MAX, STREAM_STEPS_MAX } from '../protocol/limits.ts';
import { KEY_BYTES, SIGNATURE_BYTES } from '../protocol/sizes.ts';
import { type Bytes, ed25519Sign, ed25519Verify, hkdf, seal, unseal } from './primitives.ts';

const LABEL = Buffer.from('sotto call 1');
const STREAM_BYTES = STREAM_ID_BYTES + KEY_BYTES;
/** Stream id ‖ key ‖ u8 profile ‖ signature. */
export const ANNOUNCEMENT_BYTES = STREAM_BYTES + 1 + SIGNATURE_BYTES;

/** An id of 8 random bytes and a key of 32. Drawn anew when somebody leaves, and never used again by a restarted engine. */
export type Stream = { readonly id: Bytes; readonly key: Bytes };

/** Whose stream it is, and of which call: 16 bytes of hex each. */
export type StreamPlace = {
  /** Between two members: the lower of their ids. */
  readonly channel: ChannelId;
  readonly call: string;
  readonly sender: MemberId;
  readonly device: DeviceId;
};

/** The stream of 40 random bytes. */
export const streamOf = (random: Uint8Array): Stream => {
  if (random.length !== STREAM_BYTES) throw new Error('a stream has 40 bytes');
  return {
    id: new Uint8Array(random.subarray(0, STREAM_ID_BYTES)),
    key: new Uint8Array(random.subarray(STREAM_ID_BYTES)),
  };
};

/** The stream after somebody joined: HKDF of the key with info `sotto voice step 1` ‖ call gives id 8 ‖ key 32. */
export const stepStream = ({ key }: Stream, call: string): Stream =>
  streamOf(hkdf(key, Buffer.concat([Buffer.from('sotto voice step 1'), idBytes(call)]), STREAM_BYTES));

/** The stream of this id, at most STREAM_STEPS_MAX steps after the one that is known; undefined when it is none of those. */
export const stepTo = (known: Stream, call: string, id: Uint8Array): Stream | undefined => {
  let stream = known;
  for (let steps = 0; steps <= STREAM_STEPS_MAX; steps++) {
    if (isEqual(stream.id, id)) return stream;
    stream = stepStream(stream, call);
  }
  return undefined;
};

/** Whose device announces a stream, on which server. */
export type AnnouncePlace = StreamPlace & { readonly serverId: Uint8Array };

/**
 * What participants are sent, within a Signal session or sealed under the channel key: stream id ‖ key ‖ u8 profile ‖
 * the device's signature over `sotto call 1` ‖ server id ‖ channel ‖ call ‖ sender ‖ device ‖ stream id ‖ key ‖ profile.
 */
export const announceStream = (
  place: AnnouncePlace,
  stream: Stream,
  profile: number,
  deviceSeed: Uint8Array,
): Bytes => {
  const said = concat([stream.id, stream.key, Uint8Array.of(profile)]);
  return concat([said, ed25519Sign(deviceSeed, announced(place, said))]);
};

/** The stream and profile of an announcement. Throws ProtocolError `event.invalid` (size) or `event.forged`. */
export const openAnnouncement = (
  place: AnnouncePlace,
  bytes: Uint8Array,
  signingKey: Uint8Array,
): { readonly stream: Stream; readonly profile: number } => {
  if (bytes.length !== ANNOUNCEMENT_BYTES) throw new ProtocolError('event.invalid', { details: { why: 'size' } });
  const said = bytes.subarray(0, STREAM_BYTES + 1);
  if (!ed25519Verify(signingKey, announced(place, said), bytes.subarray(STREAM_BYTES + 1)))
    throw new ProtocolError('event.forged', { details: { why: 'signature' } });
  return { stream: streamOf(said.subarray(0, STREAM_BYTES)), profile: said[STREAM_BYTES] ?? 0 };
};

/**
 * A frame: u8 type ‖ stream id 8 ‖ u32 counter ‖ ChaCha20-Poly1305 with nonce = 8 zeros ‖ counter, and as AAD the 13 bytes
 * before it ‖ channel ‖ call ‖ sender ‖ device. The counter begins at 0 and is never used twice; at STREAM_FRAMES_MAX another
 * stream is due.
 */
export const sealFrame = (
  place: StreamPlace,
  { id, key }: Stream,
  { type, counter }: { readonly type: FrameType; readonly counter: number },
  plaintext: Uint8Array,
): Bytes => {
  if (counter >= STREAM_FRAMES_MAX) throw new Error('a stream has no more frames: draw another');
  const number = Buffer.alloc(4);
  number.writeUInt32BE(counter);
  const head = concat([Uint8Array.of(type), id, number]);
  return concat([head, seal(key, nonceOf(number), plaintext, frameAad(place, head))]);
};

/**
 * What a frame of this stream holds. `last` is the counter of the frame before it, −1 at first: remember the new one only
 * once this has given something. Throws ProtocolError `frame.invalid`, `frame.tooLarge`, or `frame.undecryptable`: another
 * stream, a counter that is not above the last, changed bytes.
 */
export const openFrame = (place: StreamPlace, { id, key }: Stream, last: number, frame: Uint8Array): Bytes => {
  const { stream, counter } = readFrameHead(frame);
  if (!isEqual(id, stream)) throw undecryptable('stream');
  if (counter <= last || counter >= STREAM_FRAMES_MAX) throw undecryptable('counter');
  const head = frame.subarray(0, FRAME_HEAD_BYTES);
  const nonce = nonceOf(head.subarray(-4));
  const plaintext = unseal(key, nonce, frame.subarray(FRAME_HEAD_BYTES), frameAad(place, head));
  if (plaintext === undefined) throw undecryptable('seal');
  return plaintext;
};

const announced = ({ serverId, ...place }: AnnouncePlace, said: Uint8Array): Bytes =>
  concat([LABEL, serverId, placeBytes(place), said]);

const frameAad = (place: StreamPlace, head: Uint8Array): Bytes => concat([head, placeBytes(place)]);

const placeBytes = ({ channel, call, sender, device }: StreamPlace): Bytes => {
  const bytes = concat([channel, call, sender, device].map(idBytes));
  if (bytes.length !== 4 * ID_BYTES) throw new Error('the place of a stream is four ids');
  return bytes;
};

const nonceOf = (counter: Uint8Array): Bytes => concat([new Uint8Array(8), counter]);

const undecryptable = (why: string) => new ProtocolError('frame.undecryptable', { details: { why } });
