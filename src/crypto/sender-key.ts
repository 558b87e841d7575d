// Sender keys of a members channel: one chain for each channel, epoch and device; state in, state out, around libsignal.
import {
  groupDecrypt,
  groupEncrypt,
  LibSignalErrorBase,
  type ProtocolAddress,
  processSenderKeyDistributionMessage,
  SenderKeyDistributionMessage,
  SenderKeyMessage,
  SenderKeyRecord,
  SenderKeyStore,
} from '@signalapp/libsignal-client';
import { concat } from '../protocol/bytes.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { type ChannelId, type DeviceId, idBytes } from '../protocol/ids.ts';
import { SENDER_KEY_MESSAGES_MAX, SENDER_KEY_MS_MAX, SENDER_KEY_STEPS_MAX } from '../protocol/limits.ts';
import { padded, unpadded } from '../protocol/padding.ts';
import { type Bytes, sha256 } from './primitives.ts';
import { guarded, protocolAddress, uuidOf } from './signal-stores.ts';

const BODY_TYPE = 2;
const U48_BYTES = 6;
const STATE_HEAD_BYTES = U48_BYTES + 4;

/** Whose chain it is, and where. */
export type ChainPlace = { readonly channel: ChannelId; readonly epoch: number; readonly device: DeviceId };

/**
 * The id that libsignal's messages of a chain name: UUID form of SHA-256(`sotto sender key 1` ‖ channel ‖ u32 epoch ‖
 * device). A reader finds the device by it, among those of the member who is said to have sent.
 */
export const distributionIdOf = ({ channel, epoch, device }: ChainPlace): string => {
  const number = Buffer.alloc(4);
  number.writeUInt32BE(epoch);
  return uuidOf(sha256(Buffer.from('sotto sender key 1'), idBytes(channel), number, idBytes(device)));
};

/** The distribution id of a sealed body. Throws ProtocolError `frame.undecryptable`. */
export const readDistributionId = (body: Uint8Array): string => messageOf(body).distributionId();

/** Why our own key must be made anew before the next message; undefined while it may go on. */
export type RotationReason = 'none' | 'epoch' | 'device' | 'age' | 'messages';

/**
 * Whether the next message needs a new key of ours: none yet; another epoch, which every leave and removal begins; a device
 * that has the key and is none of the present ones; 7 days; 1,000 messages.
 */
export const rotationDue = (
  own:
    | {
        readonly epoch: number;
        readonly chain: Pick<OwnChain, 'madeAt' | 'sent'>;
        readonly readers: readonly DeviceId[];
      }
    | undefined,
  present: { readonly epoch: number; readonly devices: ReadonlySet<DeviceId>; readonly now: number },
): RotationReason | undefined => {
  if (own === undefined) return 'none';
  if (own.epoch !== present.epoch) return 'epoch';
  if (own.readers.some((device) => !present.devices.has(device))) return 'device';
  if (Math.abs(present.now - own.chain.madeAt) >= SENDER_KEY_MS_MAX) return 'age';
  return own.chain.sent >= SENDER_KEY_MESSAGES_MAX ? 'messages' : undefined;
};

/** The devices that a key of ours has not gone to yet; they read from the next message on. */
export const devicesWithoutKey = (
  readers: readonly DeviceId[],
  devices: ReadonlySet<DeviceId>,
): readonly DeviceId[] => {
  const have = new Set(readers);
  return [...devices].filter((device) => !have.has(device));
};

/**
 * Our own chain, held in memory for one step of the account's queue; a new one is made by giving no state. Write `serialize`
 * in the transaction that keeps what was sealed.
 */
export class OwnChain {
  readonly #store: OneChain;
  /** When the key was made, ms. */
  readonly madeAt: number;
  #sent: number;

  /** Throws when the bytes are not what `serialize` gave. */
  constructor(place: ChainPlace, given: { readonly now: number } | { readonly state: Uint8Array }) {
    const head = 'state' in given ? Buffer.from(given.state.subarray(0, STATE_HEAD_BYTES)) : undefined;
    this.madeAt = 'now' in given ? given.now : (head?.readUIntBE(0, U48_BYTES) ?? 0);
    this.#sent = head?.readUInt32BE(U48_BYTES) ?? 0;
    this.#store = new OneChain(place, 'state' in given ? given.state.subarray(STATE_HEAD_BYTES) : undefined);
  }

  /** How many messages it has sealed. */
  get sent(): number {
    return this.#sent;
  }

  /** What a device must be given, in a Signal session, to read from the next message on. */
  async share(): Promise<Bytes> {
    const { address, id } = this.#store;
    return guarded(async () => (await SenderKeyDistributionMessage.create(address, id, this.#store)).serialize());
  }

  /** The stored body of a signed event: u8 2 ‖ sender-key message of the padded event. Throws `frame.tooLarge`. */
  async seal(signed: Uint8Array): Promise<Bytes> {
    if (this.#sent >= SENDER_KEY_STEPS_MAX) throw new Error('the chain is as long as it may be: rotate it');
    const plaintext = padded(signed);
    const { address, id } = this.#store;
    if (this.#store.record === undefined) await this.share();
    const message = await guarded(() => groupEncrypt(address, id, this.#store, plaintext));
    this.#sent++;
    return concat([Uint8Array.of(BODY_TYPE), message.serialize()]);
  }

  /** u48 made at ‖ u32 sent ‖ libsignal's record. */
  serialize(): Bytes {
    const head = Buffer.alloc(STATE_HEAD_BYTES);
    head.writeUIntBE(this.madeAt, 0, U48_BYTES);
    head.writeUInt32BE(this.#sent, U48_BYTES);
    return concat([head, this.#store.record?.serialize() ?? new Uint8Array()]);
  }
}

/** The chain of what `OwnChain` serialises, as a reader has it: `TheirChain` takes it. */
export const chainOfOwn = (state: Uint8Array): Uint8Array => state.subarray(STATE_HEAD_BYTES);

/** The chain of another device, as far as it was given to us. A call that throws leaves it as it was. */
export class TheirChain {
  readonly #store: OneChain;

  /** `state` is empty before the first key. Throws when the bytes are not what `serialize` gave. */
  constructor(place: ChainPlace, state: Uint8Array = new Uint8Array()) {
    this.#store = new OneChain(place, state);
  }

  /**
   * Takes a key out of a Signal session with that very device. Throws ProtocolError `frame.undecryptable` for the key of
   * another channel, epoch or device, or one that starts beyond where a chain may be.
   */
  async take(share: Uint8Array): Promise<void> {
    const { address, id } = this.#store;
    await guarded(async () => {
      const message = SenderKeyDistributionMessage.deserialize(new Uint8Array(share));
      if (message.distributionId() !== id) throw undecryptable('chain');
      if (message.iteration() > SENDER_KEY_STEPS_MAX) throw undecryptable('steps');
      await processSenderKeyDistributionMessage(address, message, this.#store);
    });
  }

  /**
   * The signed event of a stored body. Throws ProtocolError `frame.undecryptable`: a repeat, another chain, a key that never
   * came, a message further on than a chain may be, changed bytes; `frame.invalid` for padding.
   */
  async open(body: Uint8Array): Promise<Uint8Array> {
    const message = messageOf(body);
    const { address, id } = this.#store;
    if (message.distributionId() !== id) throw undecryptable('chain');
    if (message.iteration() > SENDER_KEY_STEPS_MAX) throw undecryptable('steps');
    const before = this.#store.record;
    try {
      return unpadded(await guarded(() => groupDecrypt(address, this.#store, new Uint8Array(body.subarray(1)))));
    } catch (error) {
      this.#store.record = before;
      throw error;
    }
  }

  /** libsignal's record, or nothing. */
  serialize(): Bytes {
    return this.#store.record?.serialize() ?? new Uint8Array();
  }
}

class OneChain extends SenderKeyStore {
  readonly address: ProtocolAddress;
  readonly id: string;
  record: SenderKeyRecord | undefined;

  constructor(place: ChainPlace, state: Uint8Array = new Uint8Array()) {
    super();
    this.address = protocolAddress(place.device);
    this.id = distributionIdOf(place);
    this.record = state.length === 0 ? undefined : SenderKeyRecord.deserialize(new Uint8Array(state));
  }
  override async saveSenderKey(_sender: ProtocolAddress, id: string, record: SenderKeyRecord): Promise<void> {
    if (id !== this.id) throw new Error('a chain has one distribution id');
    this.record = record;
  }
  override async getSenderKey(_sender: ProtocolAddress, id: string): Promise<SenderKeyRecord | null> {
    return id === this.id ? (this.record ?? null) : null;
  }
}

const messageOf = (body: Uint8Array): SenderKeyMessage => {
  if (body[0] !== BODY_TYPE) throw undecryptable('layout');
  try {
    return SenderKeyMessage.deserialize(new Uint8Array(body.subarray(1)));
  } catch (error) {
    if (!(error instanceof LibSignalErrorBase)) throw error;
    throw undecryptable('layout');
  }
};

const undecryptable = (why: string) => new ProtocolError('frame.undecryptable', { details: { why } });
