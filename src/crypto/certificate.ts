// The certificate that ties a person's three keys together: fixed bytes and the identity key's signature over them.
import type { PublicKeys } from '../ports.ts';
import { concat, isEqual } from '../protocol/bytes.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { type Bytes, ed25519Sign, ed25519Verify } from './primitives.ts';
import { isSignalKey } from './session.ts';
import { isPrimeOrderKey } from './subgroup.ts';

const LABEL = Buffer.from('sotto certificate 1');
const SIZES = { identityKey: 32, linkKey: 32, signalKey: 33, signature: 64 } as const;

/** Label ‖ identity key ‖ link key ‖ Signal key ‖ signature. */
export const CERTIFICATE_BYTES = LABEL.length + SIZES.identityKey + SIZES.linkKey + SIZES.signalKey + SIZES.signature;

/** Signs the three keys; `seed` is the identity key's. */
export const makeCertificate = (keys: PublicKeys, seed: Uint8Array): Bytes => {
  const signed = Buffer.concat([LABEL, keys.identityKey, keys.linkKey, keys.signalKey]);
  return concat([signed, ed25519Sign(seed, signed)]);
};

/** The keys of a certificate whose signature is right. Throws ProtocolError `certificate.invalid` or `key.invalid`. */
export const readCertificate = (bytes: Uint8Array<ArrayBuffer>): PublicKeys => {
  if (bytes.length !== CERTIFICATE_BYTES || !isEqual(bytes.subarray(0, LABEL.length), LABEL))
    throw new ProtocolError('certificate.invalid');
  let at = LABEL.length;
  const take = (size: number): Bytes => {
    at += size;
    return bytes.slice(at - size, at);
  };
  const keys = { identityKey: take(SIZES.identityKey), linkKey: take(SIZES.linkKey), signalKey: take(SIZES.signalKey) };
  const signed = bytes.subarray(0, at);
  if (!isPrimeOrderKey(keys.identityKey) || !isSignalKey(keys.signalKey)) throw new ProtocolError('key.invalid');
  if (!ed25519Verify(keys.identityKey, signed, take(SIZES.signature))) throw new ProtocolError('certificate.invalid');
  return keys;
};
