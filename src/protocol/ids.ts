// Ids as they appear on the wires and in JSON: lower-case hex of 16 random bytes, and decimal cursors.

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** 32 hex digits: names a message and the frame that carries it; made by its author. */
export type MessageId = Branded<'MessageId'>;
/** 32 hex digits: the first 16 bytes of the hash of a channel's creation event. */
export type ChannelId = Branded<'ChannelId'>;
/** 32 hex digits: the first 16 bytes of a hash over server id and member key. */
export type MemberId = Branded<'MemberId'>;
/** 32 hex digits: the first 16 bytes of a hash over a device's signing key. */
export type DeviceId = Branded<'DeviceId'>;
/** 32 hex digits of the layout of UUIDv7: names an event; made by its author. */
export type EventId = Branded<'EventId'>;

export const ID_BYTES = 16;
export const ID_PATTERN = /^[0-9a-f]{32}$/;
/** Arguments that name something by id may be cut to this many digits. */
export const ID_PREFIX_MIN = 6;

/** Hex of 16 bytes. */
export const idOf = <Id extends string>(bytes: Uint8Array): Id => Buffer.from(bytes).toString('hex') as Id;

/** The 16 bytes of an id. */
export const idBytes = (id: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(id, 'hex'));
