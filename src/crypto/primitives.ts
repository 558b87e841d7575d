// Hashes, AEAD, signatures and key agreement on raw bytes, over node:crypto.
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hash,
  hkdfSync,
  type KeyObject,
  sign as nodeSign,
  verify as nodeVerify,
} from 'node:crypto';

import { concat } from '../protocol/bytes.ts';
import { KEY_BYTES, NONCE_BYTES, SIGNATURE_BYTES, TAG_BYTES } from '../protocol/sizes.ts';

export type Bytes = Uint8Array<ArrayBuffer>;

const PKCS8 = { ed25519: '302e020100300506032b657004220420', x25519: '302e020100300506032b656e04220420' } as const;
const SPKI = { ed25519: '302a300506032b6570032100', x25519: '302a300506032b656e032100' } as const;
type Curve = keyof typeof PKCS8;

/** SHA-256 of the parts, one after another. */
export const sha256 = (...parts: readonly Uint8Array[]): Bytes => {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) {
    const { buffer, byteOffset, length } = hash('sha256', only, 'buffer');
    return new Uint8Array(buffer as ArrayBuffer, byteOffset, length);
  }
  const digest = createHash('sha256');
  for (const part of parts) digest.update(part);
  return new Uint8Array(digest.digest());
};

/**
 * The same of one part, beside others in one piece of memory: a copy is what may be kept. By way of a string: memory of its own
 * for 32 bytes costs as much as the hash.
 */
export const passingSha256 = (part: Uint8Array): Bytes => Buffer.from(hash('sha256', part, 'binary'), 'latin1');

/** SHA-256 of bytes that come one after another. */
export type RunningHash = { readonly add: (part: Uint8Array) => void; readonly end: () => Bytes };

/** One that has seen nothing yet. */
export const runningHash = (): RunningHash => {
  const hash = createHash('sha256');
  return { add: (part) => void hash.update(part), end: () => new Uint8Array(hash.digest()) };
};

/** HKDF-SHA-256 with an empty salt unless one is given. RFC 5869. */
export const hkdf = (
  secret: Uint8Array,
  info: string | Uint8Array,
  size = KEY_BYTES,
  salt: Uint8Array = new Uint8Array(),
): Bytes => new Uint8Array(hkdfSync('sha256', secret, salt, info, size));

/**
 * ChaCha20-Poly1305: ciphertext ‖ 16-byte tag. Key 32 bytes, as an object when it is used often: Node prepares bytes anew each
 * time. Nonce 12 bytes, used once. RFC 8439.
 */
export const seal = (
  key: Uint8Array | KeyObject,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  aad: Uint8Array = new Uint8Array(),
): Bytes => concat(sealParts(key, nonce, [plaintext], aad));

/** What `seal` gives of the parts one after another, in pieces: large ones are copied together neither before nor after. */
export const sealParts = (
  key: Uint8Array | KeyObject,
  nonce: Uint8Array,
  parts: readonly Uint8Array[],
  aad: Uint8Array = new Uint8Array(),
): Uint8Array[] => {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(aad, { plaintextLength: parts.reduce((sum, part) => sum + part.length, 0) });
  const sealed: Uint8Array[] = parts.map((part) => cipher.update(part));
  // A stream cipher keeps nothing back.
  cipher.final();
  sealed.push(cipher.getAuthTag());
  return sealed;
};

/** The nonce of one chunk of many under a key: u64 index ‖ three zeros ‖ last flag. Chunks cannot be moved, and the end is known. */
export const chunkNonce = (index: number, last: boolean): Uint8Array => {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeBigUInt64BE(BigInt(index));
  nonce[NONCE_BYTES - 1] = last ? 1 : 0;
  return nonce;
};

/** The plaintext of `seal`, or undefined when key, nonce, data or AAD do not fit. */
export const unseal = (
  key: Uint8Array | KeyObject,
  nonce: Uint8Array,
  sealed: Uint8Array,
  aad: Uint8Array = new Uint8Array(),
): Bytes | undefined => {
  if (sealed.length < TAG_BYTES) return undefined;
  const end = sealed.length - TAG_BYTES;
  const cipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(aad, { plaintextLength: end });
  cipher.setAuthTag(sealed.subarray(end));
  try {
    const { buffer, byteOffset, length } = cipher.update(sealed.subarray(0, end));
    cipher.final();
    return new Uint8Array(buffer, byteOffset, length);
  } catch {
    return undefined;
  }
};

/** The 32-byte public key of an Ed25519 seed. RFC 8032. */
export const ed25519Public = (seed: Uint8Array): Bytes => rawPublic(createPublicKey(privateKey('ed25519', seed)));

/** A seed as an object, for a key that signs often: Node prepares bytes anew each time. */
export const ed25519Key = (seed: Uint8Array): KeyObject => privateKey('ed25519', seed);

/** A 64-byte Ed25519 signature. */
export const ed25519Sign = (seed: Uint8Array | KeyObject, message: Uint8Array): Bytes =>
  new Uint8Array(nodeSign(null, message, seed instanceof Uint8Array ? ed25519Key(seed) : seed));

/** Whether `signature` is the key's own over `message`; check the key with a subgroup test first. */
export const ed25519Verify = (key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean =>
  signature.length === SIGNATURE_BYTES && nodeVerify(null, message, publicKey('ed25519', key), signature);

/** The 64-byte expanded secret of a seed, as Tor's ADD_ONION wants it. */
export const ed25519Expanded = (seed: Uint8Array): Bytes => {
  const expanded = new Uint8Array(createHash('sha512').update(seed).digest());
  expanded[0] = (expanded[0] ?? 0) & 248;
  expanded[31] = ((expanded[31] ?? 0) & 63) | 64;
  return expanded;
};

/** The 32-byte public key of an X25519 secret. RFC 7748. */
export const x25519Public = (secret: Uint8Array): Bytes => rawPublic(createPublicKey(privateKey('x25519', secret)));

/** The shared secret, or undefined for a public key of small order. RFC 7748 section 6.1. */
export const x25519 = (secret: Uint8Array, theirs: Uint8Array): Bytes | undefined => {
  try {
    const shared = diffieHellman({ privateKey: privateKey('x25519', secret), publicKey: publicKey('x25519', theirs) });
    return shared.every((byte) => byte === 0) ? undefined : new Uint8Array(shared);
  } catch {
    return undefined;
  }
};

/** A 32-byte secret in the DER form of private keys. RFC 5958, RFC 8410. */
export const pkcs8Of = (curve: Curve, secret: Uint8Array): Buffer<ArrayBuffer> =>
  Buffer.concat([Buffer.from(PKCS8[curve], 'hex'), secret]);

/** A 32-byte public key in the DER form of certificates. RFC 5280, RFC 8410. */
export const spkiOf = (curve: Curve, key: Uint8Array): Buffer<ArrayBuffer> =>
  Buffer.concat([Buffer.from(SPKI[curve], 'hex'), key]);

const privateKey = (curve: Curve, secret: Uint8Array): KeyObject =>
  createPrivateKey({ key: pkcs8Of(curve, secret), format: 'der', type: 'pkcs8' });

// As text: of anything else Node first asks whether it is a key object already, by errors that it makes and catches, and that
// takes three times as long as all the rest.
const publicKey = (curve: Curve, key: Uint8Array): KeyObject =>
  createPublicKey(`-----BEGIN PUBLIC KEY-----\n${spkiOf(curve, key).toString('base64')}\n-----END PUBLIC KEY-----\n`);

const rawPublic = (key: KeyObject): Bytes =>
  new Uint8Array(key.export({ format: 'der', type: 'spki' }).subarray(-KEY_BYTES));
