// A Signal session, with one contact or between two devices of members: state in, state out, around the official library.
import {
  CiphertextMessageType,
  Fingerprint,
  PreKeySignalMessage,
  PrivateKey,
  PublicKey,
  processPreKeyBundle,
  SessionRecord,
  SignalMessage,
  signalDecrypt,
  signalDecryptPreKey,
  signalEncrypt,
} from '@signalapp/libsignal-client';
import { concat, u32 } from '../protocol/bytes.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { SIGNAL_KEY_BYTES } from '../protocol/sizes.ts';
import { type BundleKeys, Bundles, parseBundle } from './bundles.ts';
import { type PreKeySet, parsePublishedBundle } from './prekeys.ts';
import type { Bytes } from './primitives.ts';
import { guarded, OneSession, PinnedIdentity, protocolAddress, type SignalIdentity } from './signal-stores.ts';

/**
 * Who talks with whom: `ours` and `theirs` are onion addresses, or ids of devices; `pinned` the other's serialised Signal key
 * of 33 bytes; empty before the contact's first link, when only `makeBundle` may be called.
 */
export type Parties = {
  readonly identity: SignalIdentity;
  readonly ours: string;
  readonly theirs: string;
  readonly pinned: Uint8Array;
};

export type Sealed = { readonly type: number; readonly ciphertext: Bytes };

/** After that no session is current that was not answered. */
const LATE_MS = 365 * 24 * 3_600_000;

/** The identity of a 32-byte secret. */
export const signalIdentity = (secret: Uint8Array): SignalIdentity => {
  const privateKey = PrivateKey.deserialize(new Uint8Array(secret));
  return { privateKey, publicKey: privateKey.getPublicKey().serialize() };
};

/** Whether `key` is a serialised Signal public key that the library takes. */
export const isSignalKey = (key: Uint8Array): boolean => {
  try {
    return key.length === SIGNAL_KEY_BYTES && PublicKey.deserialize(new Uint8Array(key)) !== undefined;
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

/**
 * Everything Signal keeps about one contact or device, held in memory for one step of the account's queue. Load it from the
 * bytes of `serialize`, call, and write the bytes back in the transaction that stores what the call was about. A call that
 * throws leaves the session as it was.
 */
export class SignalSession {
  readonly #parties: Parties;
  readonly #address;
  readonly #local;
  readonly #sessions: OneSession;
  readonly #identities: PinnedIdentity;
  readonly #bundles: Bundles;
  readonly #published: PreKeySet | undefined;

  /**
   * `state` is empty for a contact without any session. Between devices of members `published` is the set that first messages
   * to us use: write it back together with the session. Throws when the bytes are not what `serialize` gave.
   */
  constructor(parties: Parties, state: Uint8Array = new Uint8Array(), published?: PreKeySet) {
    const { record, bundles } = parseState(state);
    this.#parties = parties;
    this.#address = protocolAddress(parties.theirs);
    this.#local = protocolAddress(parties.ours);
    this.#sessions = new OneSession(record);
    this.#identities = new PinnedIdentity(parties);
    this.#bundles = new Bundles(bundles);
    this.#published = published;
  }

  /** Whether it was made for these two, with the same key of the other. */
  isBetween({ ours, theirs, pinned }: Parties): boolean {
    const mine = this.#parties;
    return mine.ours === ours && mine.theirs === theirs && Buffer.compare(mine.pinned, pinned) === 0;
  }

  /** True when there is a session to encrypt with; one that was never answered ends after 30 days. */
  hasCurrent(now: number): boolean {
    return this.#sessions.record?.hasCurrentState(new Date(now)) ?? false;
  }

  /** Whether the other has never answered in it: whatever it seals begins it still, with keys that they used or forget. */
  isUnanswered(now: number): boolean {
    return this.hasCurrent(now) && !this.hasCurrent(now + LATE_MS);
  }

  /** Puts the current session aside: it still opens late frames, and encrypts nothing any more. */
  archive(): void {
    this.#sessions.record?.archiveCurrentState();
  }

  /**
   * Makes a bundle with fresh keys, kept until a first message used them. Layout: version ‖ u32 id ‖ prekey ‖ signed
   * prekey ‖ its signature ‖ Kyber prekey ‖ its signature, 1,768 bytes. `id` is below 2²⁴.
   */
  makeBundle(id: number, now: number): Bytes {
    return this.#bundles.make(id, this.#parties.identity, now);
  }

  /** Whether the keys of bundle `id` still wait for a first message. */
  hasBundle(id: number): boolean {
    return this.#bundles.keys.some((keys) => keys.id === id);
  }

  /** Forgets the keys of all bundles: nobody can begin a session with them any more. */
  dropBundles(): void {
    this.#bundles.drop();
  }

  /**
   * Begins a session from the contact's bundle; the one before it is archived. Throws ProtocolError `frame.invalid`, or
   * `frame.undecryptable` when a signature in it is wrong.
   */
  async start(bundle: Uint8Array<ArrayBuffer>, now: number): Promise<void> {
    return this.#begin(parseBundle(bundle, this.#parties.pinned), now);
  }

  /** Begins a session with a device, from what its server hands out of its published set. Throws as `start` does. */
  async startPublished(bundle: Uint8Array, now: number): Promise<void> {
    return this.#begin(parsePublishedBundle(bundle, this.#parties.pinned), now);
  }

  /** Throws `frame.undecryptable` when there is no current session: look with `hasCurrent` first. */
  async encrypt(plaintext: Uint8Array<ArrayBuffer>, now: number): Promise<Sealed> {
    const message = await guarded(() =>
      signalEncrypt(plaintext, this.#address, this.#local, this.#sessions, this.#identities, new Date(now)),
    );
    return { type: message.type(), ciphertext: message.serialize() };
  }

  /**
   * The plaintext. Throws ProtocolError `frame.undecryptable` with the library's code in `details`: a replay, a frame of
   * another session, one that was changed. A first message that used a bundle, or one-time keys of the published set, drops
   * those keys. Nor is one opened whose place in its chain is above `most`: the library derives every key before it first.
   */
  async decrypt({ type, ciphertext }: Sealed, most = Number.POSITIVE_INFINITY): Promise<Bytes> {
    return guarded(() => {
      if (type === CiphertextMessageType.PreKey) return this.#decryptFirst(ciphertext);
      if (type !== CiphertextMessageType.Whisper)
        throw new ProtocolError('frame.undecryptable', { details: { why: 'type' } });
      const message = SignalMessage.deserialize(ciphertext);
      if (message.counter() > most) throw new ProtocolError('frame.undecryptable', { details: { why: 'counter' } });
      return signalDecrypt(message, this.#address, this.#local, this.#sessions, this.#identities);
    });
  }

  /** u32 count ‖ (u32 length ‖ bytes)*: the session record, then four fields for each open bundle. */
  serialize(): Bytes {
    const fields: Uint8Array[] = [this.#sessions.record?.serialize() ?? new Uint8Array()];
    for (const keys of this.#bundles.keys) fields.push(u32(keys.id), keys.preKey, keys.signedPreKey, keys.kyberPreKey);
    return concat([u32(fields.length), ...fields.flatMap((field) => [u32(field.length), field])]);
  }

  async #begin(bundle: ReturnType<typeof parseBundle>, now: number): Promise<void> {
    await guarded(() =>
      processPreKeyBundle(bundle, this.#address, this.#local, this.#sessions, this.#identities, new Date(now)),
    );
  }

  #decryptFirst(ciphertext: Bytes): Promise<Bytes> {
    const keys = (this.#published ?? this.#bundles).stores;
    return signalDecryptPreKey(
      PreKeySignalMessage.deserialize(ciphertext),
      this.#address,
      this.#local,
      this.#sessions,
      this.#identities,
      keys.preKeys,
      keys.signedPreKeys,
      keys.kyberPreKeys,
    );
  }
}

type State = { readonly record: SessionRecord | undefined; readonly bundles: readonly BundleKeys[] };

const parseState = (state: Uint8Array): State => {
  if (state.length === 0) return { record: undefined, bundles: [] };
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
  const bundles: BundleKeys[] = [];
  for (let i = 0; i + 3 < rest.length; i += 4) {
    const [id, preKey, signedPreKey, kyberPreKey] = rest.slice(i, i + 4) as [Bytes, Bytes, Bytes, Bytes];
    bundles.push({ id: Buffer.from(id).readUInt32BE(), preKey, signedPreKey, kyberPreKey });
  }
  return {
    record: record === undefined || record.length === 0 ? undefined : SessionRecord.deserialize(record),
    bundles,
  };
};
