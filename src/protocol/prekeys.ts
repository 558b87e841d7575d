// Prekeys as a server keeps and hands them out: entries of fixed sizes, and the bundle of some of them. Nothing is verified here.
import { bufferOf, concat } from './bytes.ts';
import { ProtocolError } from './errors.ts';
import { KYBER_KEY_BYTES, SIGNAL_KEY_BYTES, SIGNATURE_BYTES } from './sizes.ts';

/** u32 id ‖ key (33, or 1,569 of Kyber) ‖ the Signal identity's signature over the key, but for one-time EC keys. */
export const PREKEY_ENTRY_BYTES = {
  ec: 4 + SIGNAL_KEY_BYTES,
  signed: 4 + SIGNAL_KEY_BYTES + SIGNATURE_BYTES,
  kyber: 4 + KYBER_KEY_BYTES + SIGNATURE_BYTES,
} as const;

const VERSION = 1;
const HEAD_BYTES = 2;

/** What a first message needs: the signed key, a Kyber key (one-time, else last-resort), and a one-time EC key while there is one. */
export type BundleEntries = {
  readonly signed: Uint8Array;
  readonly kyber: Uint8Array;
  readonly ec?: Uint8Array | undefined;
};

/** u8 1 ‖ u8 1 if an EC entry is there, else 0 ‖ signed ‖ Kyber ‖ EC. */
export const joinBundle = ({ signed, kyber, ec }: BundleEntries): Uint8Array<ArrayBuffer> =>
  concat([Uint8Array.of(VERSION, ec === undefined ? 0 : 1), signed, kyber, ...(ec === undefined ? [] : [ec])]);

/** The entries of `joinBundle`. Throws ProtocolError `frame.invalid`. */
export const splitBundle = (bundle: Uint8Array): BundleEntries => {
  const kyberAt = HEAD_BYTES + PREKEY_ENTRY_BYTES.signed;
  const end = kyberAt + PREKEY_ENTRY_BYTES.kyber;
  const hasEc = bundle[1] === 1;
  if (bundle[0] !== VERSION || (bundle[1] ?? 2) > 1 || bundle.length !== end + (hasEc ? PREKEY_ENTRY_BYTES.ec : 0))
    throw new ProtocolError('frame.invalid', { details: { why: 'bundle' } });
  return {
    signed: bundle.subarray(HEAD_BYTES, kyberAt),
    kyber: bundle.subarray(kyberAt, end),
    ec: hasEc ? bundle.subarray(end) : undefined,
  };
};

/** The id of an entry. */
export const prekeyIdOf = (entry: Uint8Array): number => bufferOf(entry).readUInt32BE();
