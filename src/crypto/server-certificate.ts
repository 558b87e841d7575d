// The X.509 certificate that carries a server key: made from the key alone, always the same bytes, and what a client reads of one.
import type { X509Certificate } from 'node:crypto';
import { toBase64 } from '../protocol/bytes.ts';
import { type Bytes, ed25519Public, ed25519Sign, pkcs8Of, sha256, spkiOf } from './primitives.ts';

export type ServerCertificate = {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
};

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OID = 0x06;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const VERSION = 0xa0;

/** DER of X.690: tag, length, contents. Up to 65,535 bytes. */
const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  const { length } = body;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >>> 8, length & 255];
  return Buffer.concat([Uint8Array.of(tag, ...size), body]);
};

const ED25519 = der(SEQUENCE, der(OID, Buffer.from('2b6570', 'hex')));
const COMMON_NAME = der(OID, Buffer.from('550403', 'hex'));
const NAME = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8_STRING, Buffer.from('sotto server')))));
// From before any server to the date that RFC 5280 section 4.1.2.5 gives for "no end".
const VALIDITY = der(
  SEQUENCE,
  der(UTC_TIME, Buffer.from('200101000000Z')),
  der(GENERALIZED_TIME, Buffer.from('99991231235959Z')),
);

/**
 * The self-signed certificate of a server key (Ed25519 seed, 32 bytes), valid for ever; signatures of Ed25519 are
 * deterministic, so it need not be kept. RFC 5280 section 4.1, RFC 8410.
 */
export const serverCertificate = (seed: Uint8Array): ServerCertificate => {
  const key = ed25519Public(seed);
  const serial = sha256(key).subarray(0, 16);
  // Positive, and not shorter than its bytes.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const version = der(VERSION, der(INTEGER, Uint8Array.of(2)));
  const content = der(SEQUENCE, version, der(INTEGER, serial), ED25519, NAME, VALIDITY, NAME, spkiOf('ed25519', key));
  const signature = der(BIT_STRING, Uint8Array.of(0), ed25519Sign(seed, content));
  return {
    cert: pem('CERTIFICATE', der(SEQUENCE, content, ED25519, signature)),
    key: pem('PRIVATE KEY', pkcs8Of('ed25519', seed)),
  };
};

const pem = (label: string, bytes: Uint8Array): string => {
  const lines = toBase64(bytes).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
};

/** The Ed25519 key in a certificate, 32 bytes, or undefined for one of another kind. Its signature is not looked at. */
export const keyOfCertificate = (certificate: X509Certificate): Bytes | undefined => {
  const { publicKey } = certificate;
  if (publicKey.asymmetricKeyType !== 'ed25519') return undefined;
  return new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
};
