// Bundles of the direct network: fresh keys made for one request or reset, each set of them used once.
import {
  KEMKeyPair,
  KEMPublicKey,
  KyberPreKeyRecord,
  PreKeyBundle,
  PreKeyRecord,
  PrivateKey,
  PublicKey,
  SignedPreKeyRecord,
} from '@signalapp/libsignal-client';
import { concat } from '../protocol/bytes.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { KYBER_KEY_BYTES, SIGNAL_KEY_BYTES, SIGNATURE_BYTES } from '../protocol/sizes.ts';
import type { Bytes } from './primitives.ts';
import {
  DEVICE,
  invalidBundle,
  type PreKeyStores,
  preKeyStoresOf,
  REGISTRATION,
  type SignalIdentity,
} from './signal-stores.ts';

const BUNDLE_VERSION = 1;
const SIZES = { id: 4, key: SIGNAL_KEY_BYTES, signature: SIGNATURE_BYTES, kyber: KYBER_KEY_BYTES } as const;
const BUNDLE_BYTES = 1 + SIZES.id + 2 * SIZES.key + 2 * SIZES.signature + SIZES.kyber;

/** The private halves of one bundle, as libsignal's records. */
export type BundleKeys = {
  readonly id: number;
  readonly preKey: Bytes;
  readonly signedPreKey: Bytes;
  readonly kyberPreKey: Bytes;
};

/** The bundles that wait for a first message of one contact. */
export class Bundles {
  keys: readonly BundleKeys[];
  readonly stores: PreKeyStores = preKeyStoresOf({
    ec: (id) => this.keysOf(id).preKey,
    signed: (id) => this.keysOf(id).signedPreKey,
    kyber: (id) => this.keysOf(id).kyberPreKey,
    usedEc: (id) => this.drop(id),
    usedKyber: () => {},
  });

  constructor(keys: readonly BundleKeys[]) {
    this.keys = keys;
  }

  /** Makes the keys of bundle `id` and gives the bundle, as `SignalSession.makeBundle` tells it. */
  make(id: number, { privateKey }: SignalIdentity, now: number): Bytes {
    const [one, signed, kyber] = [PrivateKey.generate(), PrivateKey.generate(), KEMKeyPair.generate()];
    const signedPublic = signed.getPublicKey().serialize();
    const kyberPublic = kyber.getPublicKey().serialize();
    const [signature, kyberSignature] = [privateKey.sign(signedPublic), privateKey.sign(kyberPublic)];
    const keys = {
      id,
      preKey: PreKeyRecord.new(id, one.getPublicKey(), one).serialize(),
      signedPreKey: SignedPreKeyRecord.new(id, now, signed.getPublicKey(), signed, signature).serialize(),
      kyberPreKey: KyberPreKeyRecord.new(id, now, kyber, kyberSignature).serialize(),
    };
    this.keys = [...this.keys, keys];
    const head = Buffer.alloc(1 + SIZES.id);
    head.writeUInt8(BUNDLE_VERSION);
    head.writeUInt32BE(id, 1);
    return concat([head, one.getPublicKey().serialize(), signedPublic, signature, kyberPublic, kyberSignature]);
  }

  /** The keys of bundle `id`; the library turns what is thrown into an undecryptable message. */
  keysOf(id: number): BundleKeys {
    const keys = this.keys.find((candidate) => candidate.id === id);
    if (keys === undefined) throw new ProtocolError('frame.undecryptable', { details: { why: 'bundle' } });
    return keys;
  }

  /** Forgets the keys of bundle `id`, or of all. */
  drop(id?: number): void {
    this.keys = id === undefined ? [] : this.keys.filter((keys) => keys.id !== id);
  }
}

/** A bundle under the contact's pinned Signal key. Throws ProtocolError `frame.invalid`. */
export const parseBundle = (bundle: Uint8Array<ArrayBuffer>, pinned: Uint8Array): PreKeyBundle => {
  if (bundle.length !== BUNDLE_BYTES || bundle[0] !== BUNDLE_VERSION) throw invalidBundle();
  let at = 1;
  const take = (size: number): Bytes => {
    at += size;
    return bundle.slice(at - size, at);
  };
  const id = Buffer.from(take(SIZES.id)).readUInt32BE();
  try {
    return PreKeyBundle.new(
      REGISTRATION,
      DEVICE,
      id,
      PublicKey.deserialize(take(SIZES.key)),
      id,
      PublicKey.deserialize(take(SIZES.key)),
      take(SIZES.signature),
      PublicKey.deserialize(new Uint8Array(pinned)),
      id,
      KEMPublicKey.deserialize(take(SIZES.kyber)),
      take(SIZES.signature),
    );
  } catch {
    throw invalidBundle();
  }
};
