// The handshake Noise_XX_25519_ChaChaPoly_SHA256 and the ciphers it ends in; bytes in, bytes out, no I/O.
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { concat } from '../protocol/bytes.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { KEY_BYTES, NONCE_BYTES, TAG_BYTES } from '../protocol/sizes.ts';
import { type Bytes, seal, sealParts, sha256, unseal, x25519, x25519Public } from './primitives.ts';

const NAME = Buffer.from('Noise_XX_25519_ChaChaPoly_SHA256');
const EMPTY = new Uint8Array();

/** One direction of an encrypted stream: a key and the number of messages it has handled. Noise, section 5.1. */
export class CipherState {
  readonly #key: KeyObject;
  #count = 0;

  constructor(key: Bytes) {
    this.#key = createSecretKey(key);
  }

  /** Ciphertext and tag of the next message. */
  encrypt(plaintext: Uint8Array, aad: Uint8Array = EMPTY): Bytes {
    return seal(this.#key, this.#nonce(), plaintext, aad);
  }

  /** The next message of these parts, one after another, in pieces. */
  encryptParts(parts: readonly Uint8Array[]): Uint8Array[] {
    return sealParts(this.#key, this.#nonce(), parts);
  }

  /** The next message; undefined when it is not authentic. */
  decrypt(ciphertext: Uint8Array, aad: Uint8Array = EMPTY): Bytes | undefined {
    return unseal(this.#key, this.#nonce(), ciphertext, aad);
  }

  #nonce(): Uint8Array {
    const nonce = Buffer.alloc(NONCE_BYTES);
    nonce.writeBigUInt64LE(BigInt(this.#count++), 4);
    return nonce;
  }
}

/** What a finished handshake gives. */
export type NoiseResult = {
  readonly send: CipherState;
  readonly receive: CipherState;
  /** The other side's static key, proven. */
  readonly remoteStatic: Bytes;
};

type HandshakeOptions = {
  readonly role: 'initiator' | 'responder';
  readonly prologue: Uint8Array;
  /** X25519 secrets, 32 bytes; the ephemeral one is fresh for every handshake. */
  readonly staticSecret: Uint8Array;
  readonly ephemeralSecret: Uint8Array;
};

/**
 * One side of an XX handshake: the initiator writes messages 1 and 3, the responder message 2. Call write and read in turn;
 * after the third message `finish` gives the ciphers. Everything that is not authentic throws ProtocolError `handshake.failed`.
 */
export class Handshake {
  readonly #initiator: boolean;
  readonly #static: Uint8Array;
  readonly #ephemeral: Uint8Array;
  #hash: Bytes;
  #chain: Bytes;
  #cipher: CipherState | undefined;
  #remoteEphemeral: Bytes | undefined;
  #remoteStatic: Bytes | undefined;
  #message = 0;

  constructor(options: HandshakeOptions) {
    this.#initiator = options.role === 'initiator';
    this.#static = options.staticSecret;
    this.#ephemeral = options.ephemeralSecret;
    this.#hash = new Uint8Array(NAME);
    this.#chain = this.#hash;
    this.#mixHash(options.prologue);
  }

  /** The other side's static key, once its message was read. */
  get remoteStatic(): Bytes | undefined {
    return this.#remoteStatic;
  }

  /** The next message of the pattern, with a payload inside: in clear in message 1, else encrypted. */
  write(payload: Uint8Array): Bytes {
    const parts: Uint8Array[] = [];
    this.#message++;
    if (this.#message <= 2) {
      const mine = x25519Public(this.#ephemeral);
      this.#mixHash(mine);
      parts.push(mine);
    }
    if (this.#message === 2) this.#mixKey(this.#agree(this.#ephemeral, this.#remoteEphemeral));
    if (this.#message >= 2) {
      parts.push(this.#encryptAndHash(x25519Public(this.#static)));
      this.#mixKey(this.#agree(this.#static, this.#remoteEphemeral));
    }
    parts.push(this.#encryptAndHash(payload));
    return concat(parts);
  }

  /** Reads the next message of the pattern and gives its payload. */
  read(message: Uint8Array<ArrayBuffer>): Bytes {
    this.#message++;
    let at = 0;
    const take = (size: number): Bytes => {
      if (message.length < at + size) throw new ProtocolError('handshake.failed', { details: { why: 'short' } });
      at += size;
      return message.slice(at - size, at);
    };
    if (this.#message <= 2) {
      this.#remoteEphemeral = take(KEY_BYTES);
      this.#mixHash(this.#remoteEphemeral);
    }
    if (this.#message === 2) this.#mixKey(this.#agree(this.#ephemeral, this.#remoteEphemeral));
    if (this.#message >= 2) {
      this.#remoteStatic = this.#decryptAndHash(take(KEY_BYTES + TAG_BYTES));
      this.#mixKey(this.#agree(this.#ephemeral, this.#remoteStatic));
    }
    return this.#decryptAndHash(message.slice(at));
  }

  /** The ciphers of both directions, after the third message. */
  finish(): NoiseResult {
    if (this.#message !== 3 || this.#remoteStatic === undefined) throw new Error('the handshake has not ended');
    const [first, second] = expand(this.#chain, EMPTY);
    const [send, receive] = this.#initiator ? [first, second] : [second, first];
    return {
      send: new CipherState(send),
      receive: new CipherState(receive),
      remoteStatic: this.#remoteStatic,
    };
  }

  #agree(secret: Uint8Array, theirs: Bytes | undefined): Bytes {
    const shared = theirs === undefined ? undefined : x25519(secret, theirs);
    if (shared === undefined) throw new ProtocolError('handshake.failed', { details: { why: 'key' } });
    return shared;
  }

  #mixHash(data: Uint8Array): void {
    this.#hash = sha256(this.#hash, data);
  }

  #mixKey(secret: Uint8Array): void {
    const [chain, key] = expand(this.#chain, secret);
    this.#chain = chain;
    this.#cipher = new CipherState(key);
  }

  #encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const out = this.#cipher?.encrypt(plaintext, this.#hash) ?? plaintext;
    this.#mixHash(out);
    return out;
  }

  #decryptAndHash(data: Bytes): Bytes {
    const out = this.#cipher === undefined ? data : this.#cipher.decrypt(data, this.#hash);
    if (out === undefined) throw new ProtocolError('handshake.failed', { details: { why: 'not authentic' } });
    this.#mixHash(data);
    return out;
  }
}

// HKDF with two outputs, as Noise section 4.3 writes it.
const expand = (chain: Uint8Array, secret: Uint8Array): [Bytes, Bytes] => {
  const hmac = (key: Uint8Array, data: Uint8Array) => new Uint8Array(createHmac('sha256', key).update(data).digest());
  const key = hmac(chain, secret);
  const first = hmac(key, Uint8Array.of(1));
  return [first, hmac(key, Buffer.concat([first, Uint8Array.of(2)]))];
};
