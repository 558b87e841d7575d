// The key file of a server: 32 random bytes that only its owner reads, under which the secrets in the database are sealed.
import { existsSync, readFileSync } from 'node:fs';
import { type Bytes, seal, unseal } from '../crypto/primitives.ts';
import type { Random } from '../ports.ts';
import { concat } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { KEY_BYTES, NONCE_BYTES } from '../protocol/sizes.ts';
import { writeDurably } from '../sqlite/durable.ts';

const MAGIC = Buffer.from('sotto server key 1\n');

/** Seals what the database must not show: nonce ‖ ChaCha20-Poly1305, bound to a label that says what it is. */
export class Sealer {
  readonly #key: Uint8Array;
  readonly #random: Random;

  constructor(key: Uint8Array, random: Random) {
    this.#key = key;
    this.#random = random;
  }

  /** `label` names what is sealed and whose it is: a sealed value moved to another row does not open there. */
  seal(label: string, secret: Uint8Array): Bytes {
    const nonce = this.#random.bytes(NONCE_BYTES);
    return concat([nonce, seal(this.#key, nonce, secret, Buffer.from(label))]);
  }

  /** Throws `keyFile.wrong` when it was sealed under another key or label, or was changed. */
  open(label: string, sealed: Uint8Array): Bytes {
    const [nonce, rest] = [sealed.subarray(0, NONCE_BYTES), sealed.subarray(NONCE_BYTES)];
    const secret = nonce.length < NONCE_BYTES ? undefined : unseal(this.#key, nonce, rest, Buffer.from(label));
    if (secret === undefined) throw new SottoError('keyFile.wrong');
    return secret;
  }
}

/** Makes the file (mode 0600) with a fresh key. */
export const makeKeyFile = (path: string, random: Random): Uint8Array => {
  const key = random.bytes(KEY_BYTES);
  writeDurably(path, Buffer.concat([MAGIC, key]));
  return key;
};

/** The key. Throws `keyFile.missing` or `keyFile.damaged`. */
export const readKeyFile = (path: string): Uint8Array => {
  if (!existsSync(path)) throw new SottoError('keyFile.missing', { details: { path } });
  const file = readFileSync(path);
  if (file.length !== MAGIC.length + KEY_BYTES || !file.subarray(0, MAGIC.length).equals(MAGIC))
    throw new SottoError('keyFile.damaged');
  return new Uint8Array(file.subarray(MAGIC.length));
};
