// The v3 onion address of an identity key: text and back, with its checksum.
import { createHash } from 'node:crypto';
import { SottoError } from '../protocol/errors.ts';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
const VERSION = 3;

/** `….onion` of a 32-byte Ed25519 public key. Source: rend-spec-v3, "Encoding onion addresses". */
export const addressOf = (identityKey: Uint8Array): string =>
  `${base32(Buffer.concat([identityKey, checksum(identityKey), Uint8Array.of(VERSION)]))}.onion`;

/** The 32-byte key of an address, with or without `.onion`, in any case. Throws `address.invalid`. */
export const keyOfAddress = (address: string): Uint8Array<ArrayBuffer> => {
  const text = address
    .trim()
    .toLowerCase()
    .replace(/\.onion$/, '');
  refuseForeign(text);
  const bytes = unbase32(text);
  const key = bytes.slice(0, 32);
  if (bytes[34] !== VERSION || !checksum(key).equals(bytes.subarray(32, 34)))
    throw new SottoError('address.invalid', {
      message: 'The checksum of the address does not match: a letter is wrong',
    });
  return key;
};

// What is easily taken for a letter of the alphabet, and is none.
const LOOK_ALIKES: Readonly<Record<string, string>> = { 0: 'o', 1: 'l', 8: 'b', 9: 'g' };

const refuseForeign = (text: string): void => {
  const letters = [...text];
  if (letters.length !== 56)
    throw new SottoError('address.invalid', { message: 'An address has 56 letters a–z and digits 2–7, then .onion' });
  const at = letters.findIndex((letter) => !ALPHABET.includes(letter));
  if (at < 0) return;
  const [letter = '', near] = [letters[at], LOOK_ALIKES[letters[at] ?? '']];
  throw new SottoError('address.invalid', {
    message: `Letter ${at + 1}, ${JSON.stringify(letter)}, is none of a–z and 2–7${near === undefined ? '' : `: perhaps ${near}`}`,
    details: { position: at + 1, letter, near: near === undefined ? [] : [near] },
  });
};

const checksum = (key: Uint8Array): Buffer =>
  createHash('sha3-256').update('.onion checksum').update(key).update(Uint8Array.of(VERSION)).digest().subarray(0, 2);

const base32 = (bytes: Uint8Array): string => {
  let bits = 0;
  let value = 0;
  let text = '';
  for (const byte of bytes) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(value >>> (bits - 5)) & 31];
    value &= (1 << bits) - 1;
  }
  return text;
};

const unbase32 = (text: string): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8));
  let bits = 0;
  let value = 0;
  let at = 0;
  for (const letter of text) {
    value = (value << 5) | ALPHABET.indexOf(letter);
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = value >>> bits;
    value &= (1 << bits) - 1;
  }
  return bytes;
};
