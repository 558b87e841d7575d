// Ids as they appear on the wires and in JSON: lower-case hex of 16 random bytes, and decimal cursors.
import { toHex } from './bytes.ts';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** 32 hex digits: names a message and the frame that carries it; made by its author. */
export type MessageId = Branded<'MessageId'>;
/** Names a channel of a server, or a member's inbox, in 32 hex digits; all zeros is the channel of server-wide authority. */
export type ChannelId = Branded<'ChannelId'>;
/** Names a member of a server, in 32 hex digits: made from the member's key. */
export type MemberId = Branded<'MemberId'>;
/** Names a member's device, in 32 hex digits: made from its signing key. */
export type DeviceId = Branded<'DeviceId'>;
/** Names an event of a channel, in 32 hex digits: a UUID of version 7, made by who publishes it. */
export type EventId = Branded<'EventId'>;
/** Names a row that a server made (an invite, an upload, a line of its audit log): a UUID of version 7 in 32 hex digits. */
export type RowId = Branded<'RowId'>;
/** The SHA-256 of a blob, in 64 hex digits. */
export type BlobHash = Branded<'BlobHash'>;

export const ID_BYTES = 16;
export const ID_PATTERN = /^[0-9a-f]{32}$/;
/** Arguments that name something by id may be cut to this many digits. */
export const ID_PREFIX_MIN = 6;
/** The channel whose events are about the server as a whole. */
export const SERVER_CHANNEL = '0'.repeat(2 * ID_BYTES) as ChannelId;

/** Hex of 16 bytes. */
export const idOf = <Id extends string>(bytes: Uint8Array): Id => toHex(bytes) as Id;

/** The 16 bytes of an id, beside others in one piece of memory: a copy is what may be kept. */
export const idBytes = (id: string): Uint8Array<ArrayBuffer> => {
  const { buffer, byteOffset, length } = Buffer.from(id, 'hex');
  return new Uint8Array(buffer, byteOffset, length);
};

/** A member's inbox is the channel of the same id. */
export const inboxOf = (member: MemberId): ChannelId => member as string as ChannelId;

/** Whose inbox a channel is, when it is one. */
export const ownerOfInbox = (channel: ChannelId): MemberId => channel as string as MemberId;

/**
 * A UUID of version 7 (RFC 9562, 5.7): `now` in milliseconds ‖ version ‖ variant ‖ 74 bits of `random`, 10 bytes of it. Ids
 * made later sort later, which keeps an index of them small.
 */
export const timedId = <Id extends string>(now: number, random: Uint8Array): Id => {
  const id = Buffer.alloc(ID_BYTES);
  id.writeUIntBE(now, 0, 6);
  id.set(random.subarray(0, 10), 6);
  id[6] = 0x70 | ((id[6] ?? 0) & 0x0f);
  id[8] = 0x80 | ((id[8] ?? 0) & 0x3f);
  return idOf(id);
};

/** Makes the ids of rows: as {@link timedId}, and those of one millisecond sort as they were made (12 bits count them: RFC 9562, 6.2). */
export const rowIds = (clock: { now(): number }, random: { bytes(size: number): Uint8Array }): (() => RowId) => {
  let [last, made] = [0, 0];
  return () => {
    const now = clock.now();
    made = now === last ? made + 1 : 0;
    last = now;
    return timedId<RowId>(now, Uint8Array.of(made >> 8, made, ...random.bytes(8)));
  };
};

/** When an id says that it was made, in milliseconds since the epoch; undefined when it is no UUID of version 7. */
export const timeOfId = (id: string): number | undefined =>
  ID_PATTERN.test(id) && id[12] === '7' && /[89ab]/.test(id[16] ?? '')
    ? Number.parseInt(id.slice(0, 12), 16)
    : undefined;
