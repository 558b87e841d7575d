// Keys of a passphrase channel: a random key for each epoch, wrapped under the passphrase, and the bodies sealed with it.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { wordlist } from '@scure/bip39/wordlists/english.js';
import { bufferOf, concat, toBase64, u32 } from '../protocol/bytes.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { type DeviceId, type EventId, ID_BYTES, idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import {
  ARGON2_LANES,
  ARGON2_LANES_MAX,
  ARGON2_MEMORY_KIB_MAX,
  ARGON2_PASSES,
  ARGON2_PASSES_MAX,
  CHANNEL_ARGON2_MEMORY_KIB,
  CHANNEL_ARGON2_MEMORY_KIB_MIN,
  CHANNEL_ARGON2_PASSES_MIN,
  PASSPHRASE_WORDS,
} from '../protocol/limits.ts';
import { padded, unpadded } from '../protocol/padding.ts';
import type { KeyWrap } from '../protocol/room-content.ts';
import { KEY_BYTES, NONCE_BYTES, SALT_BYTES } from '../protocol/sizes.ts';
import { type Bytes, hkdf, seal, unseal } from './primitives.ts';
import { type Argon2Cost, stretch } from './vault.ts';

const ZERO_NONCE = new Uint8Array(NONCE_BYTES);
const BODY_TYPE = 1;
const BODY_HEAD_BYTES = 1 + 4 + ID_BYTES + NONCE_BYTES;
const COST: Argon2Cost = { memoryKib: CHANNEL_ARGON2_MEMORY_KIB, passes: ARGON2_PASSES, lanes: ARGON2_LANES };

/** Bytes of chance that `generatePassphrase` takes. */
export const PASSPHRASE_ENTROPY_BYTES = 2 * PASSPHRASE_WORDS;

/** Six words of the list of 2,048 (66 bits) from PASSPHRASE_ENTROPY_BYTES random bytes. */
export const generatePassphrase = (entropy: Uint8Array): string => {
  if (entropy.length !== PASSPHRASE_ENTROPY_BYTES) throw new Error('a passphrase takes 12 bytes of chance');
  const view = Buffer.from(entropy);
  const words = Array.from({ length: PASSPHRASE_WORDS }, (_, i) => wordlist[view.readUInt16BE(2 * i) % 2048]);
  return words.join(' ');
};

/** Which key is wrapped: that of an epoch, brought by the creation or rotation of this id. */
export type KeyPlace = { readonly serverId: Uint8Array; readonly event: EventId; readonly epoch: number };

/**
 * Wraps a fresh channel key of 32 random bytes. Argon2id of the passphrase (NFKC) and 16 random bytes of salt gives 32 bytes,
 * HKDF of those the wrapping key ‖ the commitment, 32 bytes each. The wrapped key is sealed with nonce 0 and the place, cost
 * and salt as AAD. `previous`, given where newcomers may read everything, is the key of the epoch before, sealed under the
 * new one. `cost` has the floors and ceilings of `openKeyWrap`. Throws `passphrase.empty`.
 */
export const makeKeyWrap = async (
  place: KeyPlace,
  passphrase: string,
  given: {
    readonly key: Uint8Array;
    readonly salt: Uint8Array;
    readonly previous?: Uint8Array;
    readonly cost?: Argon2Cost;
  },
): Promise<KeyWrap> => {
  const { key, salt, previous, cost = COST } = given;
  if (passphrase === '') throw new SottoError('passphrase.empty');
  if (key.length !== KEY_BYTES || salt.length !== SALT_BYTES)
    throw new Error('a channel key has 32 bytes, its salt 16');
  const { wrapping, commitment } = await wrappingKeys(passphrase, salt, cost);
  const wrapped = seal(wrapping, ZERO_NONCE, key, wrapAad(place, salt, cost));
  return {
    salt: toBase64(salt),
    ...cost,
    commitment: toBase64(commitment),
    wrapped: toBase64(wrapped),
    ...(previous === undefined ? {} : { previous: toBase64(seal(previousKey(key, place), ZERO_NONCE, previous)) }),
  };
};

/**
 * The channel key of a wrap, 32 bytes. The cost is checked before anything is computed and the commitment, in constant time,
 * before anything is unwrapped. Throws ProtocolError `event.invalid` (a cost outside its floors and ceilings, or a wrap that
 * the passphrase fits and the place does not), or SottoError `passphrase.wrong`.
 */
export const openKeyWrap = async (place: KeyPlace, wrap: KeyWrap, passphrase: string): Promise<Bytes> => {
  const { memoryKib, passes, lanes } = wrap;
  if (!isFairCost({ memoryKib, passes, lanes })) throw invalid('cost');
  const cost = { memoryKib, passes, lanes };
  const [salt, told, wrapped] = [wrap.salt, wrap.commitment, wrap.wrapped].map((text) => Buffer.from(text, 'base64'));
  if (salt?.length !== SALT_BYTES || told?.length !== KEY_BYTES || wrapped === undefined) throw invalid('wrap');
  const { wrapping, commitment } = await wrappingKeys(passphrase, salt, cost);
  if (!timingSafeEqual(commitment, told)) throw new SottoError('passphrase.wrong');
  const key = unseal(wrapping, ZERO_NONCE, wrapped, wrapAad(place, salt, cost));
  if (key?.length !== KEY_BYTES) throw invalid('wrap');
  return key;
};

/**
 * The key of the epoch before, out of a rotation's wrap whose key is known. Undefined when it holds none. Throws
 * ProtocolError `event.invalid`.
 */
export const openPreviousKey = (place: KeyPlace, wrap: KeyWrap, key: Uint8Array): Bytes | undefined => {
  if (wrap.previous === undefined) return undefined;
  const previous = unseal(previousKey(key, place), ZERO_NONCE, Buffer.from(wrap.previous, 'base64'));
  if (previous?.length !== KEY_BYTES) throw invalid('previous');
  return previous;
};

/** Whose event a body is, and when: its message key is of these alone. */
export type BodyPlace = {
  readonly epoch: number;
  readonly id: EventId;
  readonly sender: MemberId;
  readonly device: DeviceId;
};

/**
 * The stored body of a signed event: u8 1 ‖ u32 epoch ‖ device ‖ nonce 12 ‖ ChaCha20-Poly1305 of the padded event, with all
 * before it as AAD. The message key is HKDF(channel key, salt event id, info `sotto room message 1` ‖ u32 epoch ‖ sender ‖
 * device), its second half makes the nonce out of what is sealed: the same event sealed twice with other contents (`seen` has
 * moved on) shares no key stream. Throws ProtocolError `frame.tooLarge`.
 */
export const sealBody = (key: Uint8Array, place: BodyPlace, signed: Uint8Array): Bytes => {
  const { message, nonceKey } = messageKeys(key, place);
  const plaintext = padded(signed);
  const nonce = createHmac('sha256', nonceKey).update(plaintext).digest().subarray(0, NONCE_BYTES);
  const head = Buffer.concat([Uint8Array.of(BODY_TYPE), u32(place.epoch), idBytes(place.device), nonce]);
  return concat([head, seal(message, nonce, plaintext, head)]);
};

/** The epoch and device a sealed body says it is of: which key to take. Throws ProtocolError `frame.undecryptable`. */
export const readBodyHead = (body: Uint8Array): { readonly epoch: number; readonly device: DeviceId } => {
  if (body.length <= BODY_HEAD_BYTES || body[0] !== BODY_TYPE) throw undecryptable('layout');
  const view = bufferOf(body);
  return { epoch: view.readUInt32BE(1), device: idOf(view.subarray(5, 5 + ID_BYTES)) };
};

/**
 * The signed event of a stored body, which the server says is event `id` by `sender`. Throws ProtocolError
 * `frame.undecryptable`: another channel, epoch, event, sender or device, or changed bytes; `frame.invalid` for padding.
 */
export const openBody = (
  key: Uint8Array,
  said: { readonly id: EventId; readonly sender: MemberId },
  body: Uint8Array,
): Uint8Array => {
  const { message } = messageKeys(key, { ...said, ...readBodyHead(body) });
  const nonce = body.subarray(BODY_HEAD_BYTES - NONCE_BYTES, BODY_HEAD_BYTES);
  const plaintext = unseal(message, nonce, body.subarray(BODY_HEAD_BYTES), body.subarray(0, BODY_HEAD_BYTES));
  if (plaintext === undefined) throw undecryptable('seal');
  return unpadded(plaintext);
};

// Less would be cheap to guess for whoever has the log, more an attack on the memory of this machine.
const isFairCost = ({ memoryKib, passes, lanes }: Argon2Cost): boolean =>
  memoryKib >= CHANNEL_ARGON2_MEMORY_KIB_MIN &&
  memoryKib <= ARGON2_MEMORY_KIB_MAX &&
  passes >= CHANNEL_ARGON2_PASSES_MIN &&
  passes <= ARGON2_PASSES_MAX &&
  lanes >= 1 &&
  lanes <= ARGON2_LANES_MAX;

const wrappingKeys = async (passphrase: string, salt: Uint8Array, cost: Argon2Cost) => {
  const both = hkdf(await stretch(passphrase, salt, cost), 'sotto channel wrap 1', 2 * KEY_BYTES);
  return { wrapping: both.subarray(0, KEY_BYTES), commitment: both.subarray(KEY_BYTES) };
};

// `sotto channel key 1` ‖ server id ‖ event id ‖ u32 epoch ‖ u32 KiB ‖ u8 passes ‖ u8 lanes ‖ salt
const wrapAad = ({ serverId, event, epoch }: KeyPlace, salt: Uint8Array, cost: Argon2Cost): Bytes =>
  concat([
    Buffer.from('sotto channel key 1'),
    serverId,
    idBytes(event),
    u32(epoch),
    u32(cost.memoryKib),
    Uint8Array.of(cost.passes, cost.lanes),
    salt,
  ]);

const previousKey = (key: Uint8Array, { event, epoch }: KeyPlace): Bytes =>
  hkdf(key, concat([Buffer.from('sotto channel previous 1'), u32(epoch)]), KEY_BYTES, idBytes(event));

const messageKeys = (key: Uint8Array, { epoch, id, sender, device }: BodyPlace) => {
  const info = concat([Buffer.from('sotto room message 1'), u32(epoch), idBytes(sender), idBytes(device)]);
  const both = hkdf(key, info, 2 * KEY_BYTES, idBytes(id));
  return { message: both.subarray(0, KEY_BYTES), nonceKey: both.subarray(KEY_BYTES) };
};

const invalid = (why: string) => new ProtocolError('event.invalid', { details: { why } });

const undecryptable = (why: string) => new ProtocolError('frame.undecryptable', { details: { why } });
