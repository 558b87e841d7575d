// Bytes as text and out of it, as numbers, in one piece, and compared.

/** Base64 with padding. RFC 4648, section 4. */
export const toBase64 = (bytes: Uint8Array): string => bufferOf(bytes).toString('base64');

/** The bytes of base64 that a schema let pass: what is no base64 is passed over. */
export const fromBase64 = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text, 'base64'));

/** Lower-case hex. */
export const toHex = (bytes: Uint8Array): string => bufferOf(bytes).toString('hex');

/** The bytes of hex that a schema let pass: it ends before what is no hex. */
export const fromHex = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text, 'hex'));

/** A value as JSON, in UTF-8. */
export const jsonBytes = (value: unknown): Uint8Array<ArrayBuffer> =>
  new Uint8Array(Buffer.from(JSON.stringify(value)));

/** Four bytes, the highest first. */
export const u32 = (value: number): Uint8Array<ArrayBuffer> => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
};

/** The parts in one piece. */
export const concat = (parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> => {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};

/** Whether they are the same bytes; how long it takes tells where they differ: not for secrets. */
export const isEqual = (one: Uint8Array, other: Uint8Array): boolean =>
  one.length === other.length && Buffer.compare(one, other) === 0;

/** The same memory as a Buffer. */
export const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
