// What every use of libsignal shares: our identity, addresses, the stores it asks, and its errors as ours.
import {
  type Direction,
  ErrorCode,
  IdentityChange,
  IdentityKeyStore,
  KyberPreKeyRecord,
  KyberPreKeyStore,
  LibSignalErrorBase,
  PreKeyRecord,
  PreKeyStore,
  type PrivateKey,
  ProtocolAddress,
  PublicKey,
  type SessionRecord,
  SessionStore,
  SignedPreKeyRecord,
  SignedPreKeyStore,
} from '@signalapp/libsignal-client';
import { toHex } from '../protocol/bytes.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { type Bytes, sha256 } from './primitives.ts';

export const DEVICE = 1;
export const REGISTRATION = 1;

/** Our Signal identity: an X25519 key pair in the library's form. */
export type SignalIdentity = { readonly privateKey: PrivateKey; readonly publicKey: Bytes };

/** Where the library finds the keys that a first message used. */
export interface PreKeyStores {
  readonly preKeys: PreKeyStore;
  readonly signedPreKeys: SignedPreKeyStore;
  readonly kyberPreKeys: KyberPreKeyStore;
}

/** Records of keys by id, as the library serialises them; what is thrown it turns into an undecryptable message. */
export type KeyRecords = {
  readonly ec: (id: number) => Bytes;
  readonly signed: (id: number) => Bytes;
  readonly kyber: (id: number) => Bytes;
  readonly usedEc: (id: number) => void;
  readonly usedKyber: (id: number, signedId: number, baseKey: PublicKey) => void;
};

/** The stores that read these records; nothing is saved through them. */
export const preKeyStoresOf = (records: KeyRecords): PreKeyStores => ({
  preKeys: new OneTimeKeys(records),
  signedPreKeys: new SignedKeys(records),
  kyberPreKeys: new KyberKeys(records),
});

class OneTimeKeys extends PreKeyStore {
  readonly #records: KeyRecords;
  constructor(records: KeyRecords) {
    super();
    this.#records = records;
  }
  override async savePreKey(): Promise<void> {}
  override async getPreKey(id: number): Promise<PreKeyRecord> {
    return PreKeyRecord.deserialize(this.#records.ec(id));
  }
  override async removePreKey(id: number): Promise<void> {
    this.#records.usedEc(id);
  }
}

class SignedKeys extends SignedPreKeyStore {
  readonly #records: KeyRecords;
  constructor(records: KeyRecords) {
    super();
    this.#records = records;
  }
  override async saveSignedPreKey(): Promise<void> {}
  override async getSignedPreKey(id: number): Promise<SignedPreKeyRecord> {
    return SignedPreKeyRecord.deserialize(this.#records.signed(id));
  }
}

class KyberKeys extends KyberPreKeyStore {
  readonly #records: KeyRecords;
  constructor(records: KeyRecords) {
    super();
    this.#records = records;
  }
  override async saveKyberPreKey(): Promise<void> {}
  override async getKyberPreKey(id: number): Promise<KyberPreKeyRecord> {
    return KyberPreKeyRecord.deserialize(this.#records.kyber(id));
  }
  override async markKyberPreKeyUsed(id: number, signedId: number, baseKey: PublicKey): Promise<void> {
    this.#records.usedKyber(id, signedId, baseKey);
  }
}

const ADDRESSES_KEPT_MAX = 256;
const addresses = new Map<string, ProtocolAddress>();

/** The library's address of who has this name: an onion address, or the id of a device. Made once for those who talk. */
export const protocolAddress = (name: string): ProtocolAddress => {
  const known = addresses.get(name);
  if (known !== undefined) return known;
  if (addresses.size >= ADDRESSES_KEPT_MAX) addresses.clear();
  const made = ProtocolAddress.new(uuidOf(sha256(Buffer.from(`sotto protocol address ${name}`))), DEVICE);
  addresses.set(name, made);
  return made;
};

/** The first 16 bytes of a hash in the form of a UUID, its version and variant set. */
export const uuidOf = (hash: Uint8Array): string => {
  const hex = toHex(hash);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};

/** The one session with a peer. */
export class OneSession extends SessionStore {
  record: SessionRecord | undefined;
  constructor(record: SessionRecord | undefined) {
    super();
    this.record = record;
  }
  override async saveSession(_name: ProtocolAddress, record: SessionRecord): Promise<void> {
    this.record = record;
  }
  override async getSession(): Promise<SessionRecord | null> {
    return this.record ?? null;
  }
  override async getExistingSessions(): Promise<SessionRecord[]> {
    return this.record === undefined ? [] : [this.record];
  }
}

/** Trusts the pinned key only, in both directions, and never learns another. */
export class PinnedIdentity extends IdentityKeyStore {
  readonly #identity: SignalIdentity;
  readonly #key: Uint8Array;
  #parsed: PublicKey | undefined;
  constructor({ identity, pinned }: { readonly identity: SignalIdentity; readonly pinned: Uint8Array }) {
    super();
    this.#identity = identity;
    this.#key = pinned;
  }
  get #pinned(): PublicKey {
    this.#parsed ??= PublicKey.deserialize(new Uint8Array(this.#key));
    return this.#parsed;
  }
  override async getIdentityKey(): Promise<PrivateKey> {
    return this.#identity.privateKey;
  }
  override async getLocalRegistrationId(): Promise<number> {
    return REGISTRATION;
  }
  override async saveIdentity(_name: ProtocolAddress, key: PublicKey): Promise<IdentityChange> {
    if (!key.equals(this.#pinned)) throw new Error('only the pinned Signal key may be saved');
    return IdentityChange.NewOrUnchanged;
  }
  override async isTrustedIdentity(_name: ProtocolAddress, key: PublicKey, _direction: Direction): Promise<boolean> {
    return key.equals(this.#pinned);
  }
  override async getIdentity(): Promise<PublicKey | null> {
    return this.#pinned;
  }
}

/** Runs a step of the library: its errors become ProtocolError `frame.undecryptable` with its code in `details`. */
export const guarded = async <T>(step: () => Promise<T>): Promise<T> => {
  try {
    return await step();
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    if (!(error instanceof LibSignalErrorBase)) throw error;
    throw new ProtocolError('frame.undecryptable', { details: { why: ErrorCode[error.code] ?? String(error.code) } });
  }
};

/** A bundle that is none. */
export const invalidBundle = () => new ProtocolError('frame.invalid', { details: { why: 'bundle' } });
