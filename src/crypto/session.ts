// The Signal session with one contact: state in, state out, around the official library's in-memory stores.
import {
  CiphertextMessageType,
  type Direction,
  ErrorCode,
  Fingerprint,
  IdentityChange,
  IdentityKeyStore,
  KEMKeyPair,
  KEMPublicKey,
  KyberPreKeyRecord,
  KyberPreKeyStore,
  LibSignalErrorBase,
  PreKeyBundle,
  PreKeyRecord,
  PreKeySignalMessage,
  PreKeyStore,
  PrivateKey,
  ProtocolAddress,
  PublicKey,
  processPreKeyBundle,
  SessionRecord,
  SessionStore,
  SignalMessage,
  SignedPreKeyRecord,
  SignedPreKeyStore,
  signalDecrypt,
  signalDecryptPreKey,
  signalEncrypt,
} from '@signalapp/libsignal-client';
import { ProtocolError } from '../protocol/errors.ts';
import { type Bytes, sha256 } from './primitives.ts';

const DEVICE = 1;
const REGISTRATION = 1;
const BUNDLE_VERSION = 1;
const SIZES = { id: 4, key: 33, signature: 64, kyber: 1569 } as const;
const BUNDLE_BYTES = 1 + SIZES.id + 2 * SIZES.key + 2 * SIZES.signature + SIZES.kyber;

/** Our Signal identity: an X25519 key pair in the library's form. */
export type SignalIdentity = { readonly privateKey: PrivateKey; readonly publicKey: Bytes };

/**
 * Who talks with whom: addresses are onion addresses, `pinned` the contact's serialised Signal key of 33 bytes; empty
 * before the contact's first link, when only `makeBundle` may be called.
 */
export type Parties = {
  readonly identity: SignalIdentity;
  readonly ours: string;
  readonly theirs: string;
  readonly pinned: Uint8Array;
};

export type Sealed = { readonly type: number; readonly ciphertext: Bytes };

/** The identity of a 32-byte secret. */
export const signalIdentity = (secret: Uint8Array): SignalIdentity => {
  const privateKey = PrivateKey.deserialize(new Uint8Array(secret));
  return { privateKey, publicKey: privateKey.getPublicKey().serialize() };
};

/** Whether `key` is a serialised Signal public key that the library takes. */
export const isSignalKey = (key: Uint8Array): boolean => {
  try {
    return key.length === SIZES.key && PublicKey.deserialize(new Uint8Array(key)) !== undefined;
  } catch {
    return false;
  }
};

/**
 * 60 digits that both sides compute alike from the identity and Signal keys of both, and the bytes of a QR code in which
 * one's own part stands first: libsignal's numeric fingerprint, version 2, 5,200 iterations, with the identity key as the
 * stable identifier.
 */
export const safetyNumber = (
  mine: { readonly identityKey: Uint8Array; readonly signalKey: Uint8Array },
  theirs: { readonly identityKey: Uint8Array; readonly signalKey: Uint8Array },
): { readonly digits: string; readonly scannable: Bytes } => {
  const fingerprint = Fingerprint.new(
    5200,
    2,
    new Uint8Array(mine.identityKey),
    PublicKey.deserialize(new Uint8Array(mine.signalKey)),
    new Uint8Array(theirs.identityKey),
    PublicKey.deserialize(new Uint8Array(theirs.signalKey)),
  );
  return {
    digits: fingerprint.displayableFingerprint().toString(),
    scannable: fingerprint.scannableFingerprint().toBuffer(),
  };
};

type PreKeys = {
  readonly id: number;
  readonly preKey: Bytes;
  readonly signedPreKey: Bytes;
  readonly kyberPreKey: Bytes;
};

/**
 * Everything Signal keeps about one contact, held in memory for one step of the account's queue. Load it from the bytes
 * of `serialize`, call, and write the bytes back in the transaction that stores what the call was about. A call that
 * throws leaves the session as it was.
 */
export class SignalSession {
  readonly #parties: Parties;
  readonly #address: ProtocolAddress;
  readonly #local: ProtocolAddress;
  readonly #stores: Stores;

  /** `state` is empty for a contact without any session. Throws when the bytes are not what `serialize` gave. */
  constructor(parties: Parties, state: Uint8Array = new Uint8Array()) {
    this.#parties = parties;
    this.#address = addressOf(parties.theirs);
    this.#local = addressOf(parties.ours);
    this.#stores = new Stores(parties, parseState(state));
  }

  /** True when there is a session to encrypt with; one that was never answered ends after 30 days. */
  hasCurrent(now: number): boolean {
    return this.#stores.record?.hasCurrentState(new Date(now)) ?? false;
  }

  /** Puts the current session aside: it still opens late frames, and encrypts nothing any more. */
  archive(): void {
    this.#stores.record?.archiveCurrentState();
  }

  /**
   * Makes a bundle with fresh keys, kept until a first message used them. Layout: version ‖ u32 id ‖ prekey ‖ signed
   * prekey ‖ its signature ‖ Kyber prekey ‖ its signature, 1,768 bytes. `id` is below 2²⁴.
   */
  makeBundle(id: number, now: number): Bytes {
    const { privateKey } = this.#parties.identity;
    const [one, signed, kyber] = [PrivateKey.generate(), PrivateKey.generate(), KEMKeyPair.generate()];
    const signedPublic = signed.getPublicKey().serialize();
    const kyberPublic = kyber.getPublicKey().serialize();
    const [signature, kyberSignature] = [privateKey.sign(signedPublic), privateKey.sign(kyberPublic)];
    this.#stores.preKeys.push({
      id,
      preKey: PreKeyRecord.new(id, one.getPublicKey(), one).serialize(),
      signedPreKey: SignedPreKeyRecord.new(id, now, signed.getPublicKey(), signed, signature).serialize(),
      kyberPreKey: KyberPreKeyRecord.new(id, now, kyber, kyberSignature).serialize(),
    });
    const head = Buffer.alloc(1 + SIZES.id);
    head.writeUInt8(BUNDLE_VERSION);
    head.writeUInt32BE(id, 1);
    return new Uint8Array(
      Buffer.concat([head, one.getPublicKey().serialize(), signedPublic, signature, kyberPublic, kyberSignature]),
    );
  }

  /** Whether the keys of bundle `id` still wait for a first message. */
  hasBundle(id: number): boolean {
    return this.#stores.preKeys.some((keys) => keys.id === id);
  }

  /** Forgets the keys of all bundles: nobody can begin a session with them any more. */
  dropBundles(): void {
    this.#stores.preKeys.length = 0;
  }

  /**
   * Begins a session from the contact's bundle; the one before it is archived. Throws ProtocolError `frame.invalid`, or
   * `frame.undecryptable` when a signature in it is wrong.
   */
  async start(bundle: Uint8Array<ArrayBuffer>, now: number): Promise<void> {
    const parsed = parseBundle(bundle, this.#parties.pinned);
    await guarded(() =>
      processPreKeyBundle(
        parsed,
        this.#address,
        this.#local,
        this.#stores.sessions,
        this.#stores.identities,
        new Date(now),
      ),
    );
  }

  /** Throws `frame.undecryptable` when there is no current session: look with `hasCurrent` first. */
  async encrypt(plaintext: Uint8Array<ArrayBuffer>, now: number): Promise<Sealed> {
    const message = await guarded(() =>
      signalEncrypt(
        plaintext,
        this.#address,
        this.#local,
        this.#stores.sessions,
        this.#stores.identities,
        new Date(now),
      ),
    );
    return { type: message.type(), ciphertext: message.serialize() };
  }

  /**
   * The plaintext. Throws ProtocolError `frame.undecryptable` with the library's code in `details`: a replay, a frame of
   * another session, one that was changed. A first message that used a bundle drops that bundle's keys.
   */
  async decrypt({ type, ciphertext }: Sealed): Promise<Bytes> {
    const { sessions, identities, preKeyStore, signedPreKeyStore, kyberPreKeyStore } = this.#stores;
    return guarded(() => {
      if (type === CiphertextMessageType.Whisper)
        return signalDecrypt(SignalMessage.deserialize(ciphertext), this.#address, this.#local, sessions, identities);
      if (type !== CiphertextMessageType.PreKey)
        throw new ProtocolError('frame.undecryptable', { details: { why: 'type' } });
      return signalDecryptPreKey(
        PreKeySignalMessage.deserialize(ciphertext),
        this.#address,
        this.#local,
        sessions,
        identities,
        preKeyStore,
        signedPreKeyStore,
        kyberPreKeyStore,
      );
    });
  }

  /** u32 count ‖ (u32 length ‖ bytes)*: the session record, then four fields for each open bundle. */
  serialize(): Bytes {
    const { record, preKeys } = this.#stores;
    const fields: Uint8Array[] = [record?.serialize() ?? new Uint8Array()];
    for (const keys of preKeys) fields.push(u32(keys.id), keys.preKey, keys.signedPreKey, keys.kyberPreKey);
    return new Uint8Array(
      Buffer.concat([u32(fields.length), ...fields.flatMap((field) => [u32(field.length), field])]),
    );
  }
}

type State = { readonly record: SessionRecord | undefined; readonly preKeys: PreKeys[] };

// The stores the library asks. They trust the pinned key only, in both directions, and never learn another.
class Stores {
  record: SessionRecord | undefined;
  readonly preKeys: PreKeys[];
  readonly sessions: SessionStore;
  readonly identities: IdentityKeyStore;
  readonly preKeyStore: PreKeyStore;
  readonly signedPreKeyStore: SignedPreKeyStore;
  readonly kyberPreKeyStore: KyberPreKeyStore;

  constructor(parties: Parties, state: State) {
    this.record = state.record;
    this.preKeys = state.preKeys;
    this.sessions = new OneSession(this);
    this.identities = new PinnedIdentity(parties);
    this.preKeyStore = new BundlePreKeys(this);
    this.signedPreKeyStore = new BundleSignedPreKeys(this);
    this.kyberPreKeyStore = new BundleKyberPreKeys(this);
  }

  /** The keys of bundle `id`; the library turns what is thrown into an undecryptable message. */
  keysOf(id: number): PreKeys {
    const keys = this.preKeys.find((candidate) => candidate.id === id);
    if (keys === undefined) throw new ProtocolError('frame.undecryptable', { details: { why: 'bundle' } });
    return keys;
  }
}

class OneSession extends SessionStore {
  readonly #stores: Stores;
  constructor(stores: Stores) {
    super();
    this.#stores = stores;
  }
  override async saveSession(_name: ProtocolAddress, record: SessionRecord): Promise<void> {
    this.#stores.record = record;
  }
  override async getSession(): Promise<SessionRecord | null> {
    return this.#stores.record ?? null;
  }
  override async getExistingSessions(): Promise<SessionRecord[]> {
    return this.#stores.record === undefined ? [] : [this.#stores.record];
  }
}

class PinnedIdentity extends IdentityKeyStore {
  readonly #identity: SignalIdentity;
  readonly #key: Uint8Array;
  #parsed: PublicKey | undefined;
  constructor(parties: Parties) {
    super();
    this.#identity = parties.identity;
    this.#key = parties.pinned;
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

class BundlePreKeys extends PreKeyStore {
  readonly #stores: Stores;
  constructor(stores: Stores) {
    super();
    this.#stores = stores;
  }
  override async savePreKey(): Promise<void> {}
  override async getPreKey(id: number): Promise<PreKeyRecord> {
    return PreKeyRecord.deserialize(this.#stores.keysOf(id).preKey);
  }
  override async removePreKey(id: number): Promise<void> {
    const at = this.#stores.preKeys.findIndex((keys) => keys.id === id);
    if (at >= 0) this.#stores.preKeys.splice(at, 1);
  }
}

class BundleSignedPreKeys extends SignedPreKeyStore {
  readonly #stores: Stores;
  constructor(stores: Stores) {
    super();
    this.#stores = stores;
  }
  override async saveSignedPreKey(): Promise<void> {}
  override async getSignedPreKey(id: number): Promise<SignedPreKeyRecord> {
    return SignedPreKeyRecord.deserialize(this.#stores.keysOf(id).signedPreKey);
  }
}

class BundleKyberPreKeys extends KyberPreKeyStore {
  readonly #stores: Stores;
  constructor(stores: Stores) {
    super();
    this.#stores = stores;
  }
  override async saveKyberPreKey(): Promise<void> {}
  override async getKyberPreKey(id: number): Promise<KyberPreKeyRecord> {
    return KyberPreKeyRecord.deserialize(this.#stores.keysOf(id).kyberPreKey);
  }
  override async markKyberPreKeyUsed(): Promise<void> {}
}

const addressOf = (onion: string): ProtocolAddress => {
  const hex = Buffer.from(sha256(Buffer.from(`sotto protocol address ${onion}`))).toString('hex');
  const uuid = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  return ProtocolAddress.new(uuid, DEVICE);
};

const parseBundle = (bundle: Uint8Array<ArrayBuffer>, pinned: Uint8Array): PreKeyBundle => {
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

const invalidBundle = () => new ProtocolError('frame.invalid', { details: { why: 'bundle' } });

const guarded = async <T>(step: () => Promise<T>): Promise<T> => {
  try {
    return await step();
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    if (!(error instanceof LibSignalErrorBase)) throw error;
    throw new ProtocolError('frame.undecryptable', { details: { why: ErrorCode[error.code] ?? String(error.code) } });
  }
};

const parseState = (state: Uint8Array): State => {
  if (state.length === 0) return { record: undefined, preKeys: [] };
  const view = Buffer.from(state);
  const fields: Bytes[] = [];
  let at = 4;
  for (let left = view.readUInt32BE(0); left > 0; left--) {
    const size = view.readUInt32BE(at);
    fields.push(new Uint8Array(view.subarray(at + 4, at + 4 + size)));
    at += 4 + size;
  }
  if (at !== view.length) throw new Error('the Signal state has another length than it says');
  const [record, ...rest] = fields;
  const preKeys: PreKeys[] = [];
  for (let i = 0; i + 3 < rest.length; i += 4) {
    const [id, preKey, signedPreKey, kyberPreKey] = rest.slice(i, i + 4) as [Bytes, Bytes, Bytes, Bytes];
    preKeys.push({ id: Buffer.from(id).readUInt32BE(), preKey, signedPreKey, kyberPreKey });
  }
  return {
    record: record === undefined || record.length === 0 ? undefined : SessionRecord.deserialize(record),
    preKeys,
  };
};

const u32 = (value: number): Uint8Array => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
};
