// Opens what is sealed in a channel: with the channel's key, or with the chain of the device that sealed it.
import { openBody, readBodyHead } from '../crypto/channel-key.ts';
import { chainOfOwn, distributionIdOf, readDistributionId, TheirChain } from '../crypto/sender-key.ts';
import { isEqual } from '../protocol/bytes.ts';
import { ProtocolError, type SottoError } from '../protocol/errors.ts';
import { type ChannelId, type DeviceId, type EventId, idOf, type MemberId } from '../protocol/ids.ts';
import { type ChannelRow, getChannelKey, getSenderKey, putSenderKey } from '../store/channels.ts';
import { listDeviceIds } from '../store/members.ts';
import type { Core } from './core.ts';
import { theServer } from './room-rows.ts';

/** A body as a server shows it: under which id, and as whose. */
type Sealed = {
  readonly id: EventId;
  readonly sender: MemberId;
  readonly memberRow: number | undefined;
  /** The key epoch of the channel at its place. */
  readonly keyEpoch: number;
  readonly body: Uint8Array;
};

type Stepped = { readonly kept: Parameters<typeof getSenderKey>[1]; readonly chain: TheirChain };

// The last is libsignal's: among other things, a chain of the device that is none of those we were given.
const WAITS: ReadonlySet<unknown> = new Set(['key', 'device', 'chain', 'Generic']);

/** Whether what did not open may open with a key that is still to come. */
export const waitsForKey = ({ code, details }: SottoError): boolean =>
  code === 'frame.undecryptable' && WAITS.has(details.why);

/** Opens bodies of one channel in their order. What it steps on is in memory until `keep`. */
export class Unsealer {
  readonly #core: Core;
  readonly #channel: ChannelRow;
  /** By the id that names device and epoch in a body. */
  readonly #stepped = new Map<string, Stepped>();

  constructor(core: Core, channel: ChannelRow) {
    this.#core = core;
    this.#channel = channel;
  }

  /**
   * Gives the signed event. Throws ProtocolError `frame.undecryptable`: without the channel's key (`key`) or the device's
   * (`chain`), which may still come; for a device that none is known of (`device`); and for what is not sealed with its key.
   */
  async open(sealed: Sealed): Promise<Uint8Array> {
    switch (this.#channel.encryption) {
      case 'open':
        return sealed.body;
      case 'passphrase': {
        const key = getChannelKey(this.#core.db, this.#channel.id, readBodyHead(sealed.body).epoch);
        if (key === undefined) throw undecryptable('key');
        return openBody(key, sealed, sealed.body);
      }
      case 'members':
        return this.#chainOf(sealed).open(sealed.body);
    }
  }

  /** Keeps how far chains were stepped, in the transaction that keeps what was opened. */
  keep(): void {
    for (const { kept, chain } of this.#stepped.values()) putSenderKey(this.#core.db, kept, chain.serialize());
  }

  // The id in the body names its device, which must be one of who is said to have sent it.
  #chainOf({ memberRow, keyEpoch, body }: Sealed): TheirChain {
    const { db } = this.#core;
    const { id: channelRow, channelId } = this.#channel;
    const id = readDistributionId(body);
    const place = (device: Uint8Array) => ({
      channel: idOf<ChannelId>(channelId),
      epoch: keyEpoch,
      device: idOf<DeviceId>(device),
    });
    const devices = memberRow === undefined ? [] : listDeviceIds(db, memberRow);
    const deviceId = devices.find((one) => distributionIdOf(place(one)) === id);
    if (deviceId === undefined) throw undecryptable('device');
    const known = this.#stepped.get(id);
    if (known !== undefined) return known.chain;
    const kept = { channelRow, deviceId, keyEpoch };
    const key = getSenderKey(db, kept) ?? this.#ownKey(deviceId, keyEpoch);
    if (key === undefined) throw undecryptable('chain');
    const chain = new TheirChain(place(deviceId), key);
    this.#stepped.set(id, { kept, chain });
    return chain;
  }

  // What this device has sealed it opens only where its store was put back to before that.
  #ownKey(deviceId: Uint8Array, keyEpoch: number): Uint8Array | undefined {
    const { senderKey, senderKeyEpoch, serverId } = this.#channel;
    if (senderKey === null || senderKeyEpoch !== keyEpoch) return undefined;
    return isEqual(theServer(this.#core.db, serverId).deviceId, deviceId) ? chainOfOwn(senderKey) : undefined;
  }
}

const undecryptable = (why: string) => new ProtocolError('frame.undecryptable', { details: { why } });
