// The keys a device publishes on a server, so that others begin sessions with it: made, topped up, used once, renewed weekly.
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
import { concat, toHex, u32 } from '../protocol/bytes.ts';
import { ProtocolError } from '../protocol/errors.ts';
import {
  LAST_RESORT_USES_MAX,
  PREKEY_LATE_MS,
  PREKEY_ROTATE_MS,
  PREKEYS_HELD_MAX,
  PREKEYS_KEPT_MAX,
  PREKEYS_LOW,
  PREKEYS_PUBLISHED,
} from '../protocol/limits.ts';
import { prekeyIdOf, splitBundle } from '../protocol/prekeys.ts';
import { SIGNATURE_BYTES } from '../protocol/sizes.ts';
import { type Bytes, sha256 } from './primitives.ts';
import {
  DEVICE,
  invalidBundle,
  type PreKeyStores,
  preKeyStoresOf,
  REGISTRATION,
  type SignalIdentity,
} from './signal-stores.ts';

const KINDS = ['ec', 'kyber', 'signed', 'lastResort'] as const;
type Kind = (typeof KINDS)[number];
/** A key with its private half. */
type Row = { readonly kind: Kind; readonly id: number; readonly madeAt: number; readonly record: Bytes };
/** A first message with a last-resort key: `hash` is 16 bytes over Kyber id, signed id and base key. */
type Use = { readonly kyberId: number; readonly hash: string };

const VERSION = 2;
const VERSIONS = [1, VERSION];
const USE_HASH_BYTES = 16;

/** What the server says it still has of ours: how many one-time keys, and the ids of the two others (absent: none). */
export type PublishedState = {
  readonly ec: number;
  readonly kyber: number;
  readonly signed?: number | undefined;
  readonly lastResort?: number | undefined;
};

/**
 * Entries to upload, in the layouts of PREKEY_ENTRY_BYTES, one-time keys by id. `signed` and `lastResort` replace what is there.
 * `lastId` is for `confirm`, once the server has answered all of it.
 */
export type Upload = {
  readonly lastId: number;
  readonly ec: readonly Bytes[];
  readonly kyber: readonly Bytes[];
  readonly signed?: Bytes;
  readonly lastResort?: Bytes;
};

/**
 * A device's whole set, private halves included, held in memory for one step of the account's queue; empty bytes are a set
 * without a key. Write `serialize` in the transaction that keeps what the step was about.
 */
export class PreKeySet {
  #rows: readonly Row[];
  #uses: readonly Use[];
  #lastId: number;
  /** One-time keys with a greater id were made for an upload that has not been answered. */
  #confirmedId: number;
  readonly stores: PreKeyStores = preKeyStoresOf({
    ec: (id) => this.recordOf(id, 'ec'),
    signed: (id) => this.recordOf(id, 'signed'),
    kyber: (id) => this.recordOf(id, 'kyber', 'lastResort'),
    usedEc: (id) => this.drop('ec', id),
    usedKyber: (id, signedId, baseKey) => this.use(id, signedId, baseKey.serialize()),
  });

  /** Throws when the bytes are not what `serialize` gave. */
  constructor(state: Uint8Array = new Uint8Array()) {
    const { rows, uses, lastId, confirmedId } = parseState(state);
    this.#rows = rows;
    this.#uses = uses;
    this.#lastId = lastId;
    this.#confirmedId = confirmedId;
  }

  /**
   * What to upload now; undefined when the server has all it needs. Tops one-time keys up to 100 of each kind once there are
   * fewer than 50, with those of an upload that was not answered first (the server passes over what it had), makes the signed and
   * the last-resort key weekly (and when half the uses that can be remembered are), and gives again what the server does not
   * have. Keep the set before the upload is sent.
   */
  refill({ privateKey }: SignalIdentity, published: PublishedState, now: number): Upload | undefined {
    const make = (kind: Kind): Row => this.#add(kind, privateKey, now);
    const several = (kind: 'ec' | 'kyber'): Row[] => {
      const left = published[kind];
      if (left >= PREKEYS_LOW) return [];
      const held = this.#rows.filter((row) => row.kind === kind);
      const again = held.filter((row) => row.id > this.#confirmedId);
      const room = Math.min(PREKEYS_PUBLISHED - left - again.length, PREKEYS_HELD_MAX - held.length);
      return [...again, ...Array.from({ length: Math.max(0, room) }, () => make(kind))];
    };
    const [ec, kyber] = [several('ec'), several('kyber')];
    const newest = this.#newest('signed');
    const isDue = newest === undefined || Math.abs(now - newest.madeAt) >= PREKEY_ROTATE_MS;
    const signed = isDue ? make('signed') : newest;
    const isWorn = this.#uses.length >= LAST_RESORT_USES_MAX / 2;
    const last = this.#newest('lastResort');
    const lastResort = isDue || isWorn || last === undefined ? make('lastResort') : last;
    const changed = {
      ...(signed.id === published.signed ? {} : { signed: entryOf(signed) }),
      ...(lastResort.id === published.lastResort ? {} : { lastResort: entryOf(lastResort) }),
    };
    if (ec.length + kyber.length === 0 && Object.keys(changed).length === 0) return undefined;
    return { lastId: this.#lastId, ec: ec.map(entryOf), kyber: kyber.map(entryOf), ...changed };
  }

  /** The server has answered an upload: what it needs more is made anew. True when that was not known. */
  confirm({ lastId }: Pick<Upload, 'lastId'>): boolean {
    const isNew = lastId > this.#confirmedId;
    if (isNew) this.#confirmedId = lastId;
    return isNew;
  }

  /**
   * Forgets what nobody can use any more; true when that is something. To be called when all that came was read: until then
   * it may be what opens it. One-time keys go by number, the oldest first, since a server that lost count makes us make more;
   * the others by age.
   */
  forget(now: number): boolean {
    const kept = new Set<Row>();
    for (const kind of ['ec', 'kyber'] as const)
      for (const row of this.#rows.filter((one) => one.kind === kind).slice(-PREKEYS_KEPT_MAX)) kept.add(row);
    for (const kind of ['signed', 'lastResort'] as const)
      for (const row of this.#rows.filter((one) => one.kind === kind))
        if (row === this.#newest(kind) || now - row.madeAt < PREKEY_ROTATE_MS + PREKEY_LATE_MS) kept.add(row);
    const isLess = kept.size < this.#rows.length;
    this.#rows = this.#rows.filter((row) => kept.has(row));
    const ids = new Set(this.#rows.filter((row) => row.kind === 'lastResort').map((row) => row.id));
    this.#uses = this.#uses.filter((use) => ids.has(use.kyberId));
    return isLess;
  }

  /** The private half of a key. What is thrown the library turns into an undecryptable message. */
  recordOf(id: number, ...kinds: readonly Kind[]): Bytes {
    const row = this.#rows.find((candidate) => candidate.id === id && kinds.includes(candidate.kind));
    if (row === undefined) throw used('prekey');
    return row.record;
  }

  /** Drops a one-time key that was used. */
  drop(kind: 'ec' | 'kyber', id: number): void {
    this.#rows = this.#rows.filter((row) => row.kind !== kind || row.id !== id);
  }

  /** A first message used this Kyber key. Throws when it is a last-resort key and the message came before. */
  use(kyberId: number, signedId: number, baseKey: Uint8Array): void {
    if (!this.#rows.some((row) => row.kind === 'lastResort' && row.id === kyberId)) return this.drop('kyber', kyberId);
    const hash = toHex(sha256(u32(kyberId), u32(signedId), baseKey).subarray(0, USE_HASH_BYTES));
    if (this.#uses.length >= LAST_RESORT_USES_MAX || this.#uses.some((use) => use.hash === hash)) throw used('again');
    this.#uses = [...this.#uses, { kyberId, hash }];
  }

  /**
   * u8 2 ‖ u32 last id ‖ u32 confirmed id ‖ u32 keys ‖ (u8 kind ‖ u32 id ‖ u48 made at ‖ u32 length ‖ record)* ‖ u32 uses ‖
   * (u32 Kyber id ‖ hash 16)*; version 1 had no confirmed id. A full set is about 500 KiB.
   */
  serialize(): Bytes {
    const rows = this.#rows.flatMap(({ kind, id, madeAt, record }) => {
      const head = Buffer.alloc(15);
      head.writeUInt8(KINDS.indexOf(kind));
      head.writeUInt32BE(id, 1);
      head.writeUIntBE(madeAt, 5, 6);
      head.writeUInt32BE(record.length, 11);
      return [head, record];
    });
    const uses = this.#uses.flatMap(({ kyberId, hash }) => [u32(kyberId), Buffer.from(hash, 'hex')]);
    const head = [Uint8Array.of(VERSION), ...[this.#lastId, this.#confirmedId, this.#rows.length].map(u32)];
    return concat([...head, ...rows, u32(this.#uses.length), ...uses]);
  }

  #newest(kind: Kind): Row | undefined {
    return this.#rows.findLast((row) => row.kind === kind);
  }

  #add(kind: Kind, identity: PrivateKey, madeAt: number): Row {
    const id = ++this.#lastId;
    const row = { kind, id, madeAt, record: makeRecord(kind, id, identity, madeAt) };
    this.#rows = [...this.#rows, row];
    return row;
  }
}

/** The bundle a server handed out, under the member's pinned Signal key. Throws ProtocolError `frame.invalid`. */
export const parsePublishedBundle = (bundle: Uint8Array, pinned: Uint8Array): PreKeyBundle => {
  const { signed, kyber, ec } = splitBundle(bundle);
  const key = (entry: Uint8Array) => new Uint8Array(entry.subarray(4, entry.length - SIGNATURE_BYTES));
  const signature = (entry: Uint8Array) => new Uint8Array(entry.subarray(-SIGNATURE_BYTES));
  try {
    return PreKeyBundle.new(
      REGISTRATION,
      DEVICE,
      ec === undefined ? null : prekeyIdOf(ec),
      ec === undefined ? null : PublicKey.deserialize(new Uint8Array(ec.subarray(4))),
      prekeyIdOf(signed),
      PublicKey.deserialize(key(signed)),
      signature(signed),
      PublicKey.deserialize(new Uint8Array(pinned)),
      prekeyIdOf(kyber),
      KEMPublicKey.deserialize(key(kyber)),
      signature(kyber),
    );
  } catch {
    throw invalidBundle();
  }
};

const makeRecord = (kind: Kind, id: number, identity: PrivateKey, now: number): Bytes => {
  if (kind === 'kyber' || kind === 'lastResort') {
    const pair = KEMKeyPair.generate();
    return KyberPreKeyRecord.new(id, now, pair, identity.sign(pair.getPublicKey().serialize())).serialize();
  }
  const secret = PrivateKey.generate();
  const key = secret.getPublicKey();
  if (kind === 'ec') return PreKeyRecord.new(id, key, secret).serialize();
  return SignedPreKeyRecord.new(id, now, key, secret, identity.sign(key.serialize())).serialize();
};

const entryOf = ({ kind, id, record }: Row): Bytes => {
  if (kind === 'ec') return concat([u32(id), PreKeyRecord.deserialize(record).publicKey().serialize()]);
  const key = kind === 'signed' ? SignedPreKeyRecord.deserialize(record) : KyberPreKeyRecord.deserialize(record);
  return concat([u32(id), key.publicKey().serialize(), key.signature()]);
};

type State = { rows: Row[]; uses: Use[]; lastId: number; confirmedId: number };

const parseState = (state: Uint8Array): State => {
  if (state.length === 0) return { rows: [], uses: [], lastId: 0, confirmedId: 0 };
  const view = Buffer.from(state);
  const version = view.readUInt8(0);
  if (!VERSIONS.includes(version)) throw new Error('the prekeys are of another version');
  const lastId = view.readUInt32BE(1);
  let at = version === 1 ? 5 : 9;
  const confirmedId = version === 1 ? lastId : view.readUInt32BE(5);
  const length = view.readUInt32BE(at);
  at += 4;
  const rows = Array.from({ length }, (): Row => {
    const size = view.readUInt32BE(at + 11);
    const record = new Uint8Array(view.subarray(at + 15, at + 15 + size));
    const kind = KINDS[view.readUInt8(at)];
    if (kind === undefined) throw new Error('there is no such kind of prekey');
    const row = { kind, id: view.readUInt32BE(at + 1), madeAt: view.readUIntBE(at + 5, 6), record };
    at += 15 + size;
    return row;
  });
  const count = view.readUInt32BE(at);
  if (view.length !== at + 4 + count * (4 + USE_HASH_BYTES)) throw new Error('the prekeys have another length');
  const uses = Array.from({ length: count }, (_, i): Use => {
    const from = at + 4 + i * (4 + USE_HASH_BYTES);
    return { kyberId: view.readUInt32BE(from), hash: toHex(view.subarray(from + 4, from + 4 + USE_HASH_BYTES)) };
  });
  return { rows, uses, lastId, confirmedId };
};

const used = (why: string) => new ProtocolError('frame.undecryptable', { details: { why } });
