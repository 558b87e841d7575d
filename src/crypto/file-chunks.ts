// A file as a list of sealed chunks that are checked one by one: key and root travel in the offer, nothing else is trusted.
import { FILE_CHUNK_BYTES } from '../protocol/limits.ts';
import { type Bytes, seal, sha256, unseal } from './primitives.ts';

export const HASH_BYTES = 32;
/** A sealed chunk is this long; the last one is shorter. */
export const SEALED_CHUNK_BYTES = FILE_CHUNK_BYTES + 16;

/** How many chunks a file of `size` bytes has; an empty file has one. */
export const chunkCount = (size: number): number => Math.max(1, Math.ceil(size / FILE_CHUNK_BYTES));

/** How long the sealed chunks of a file of `size` bytes are together. */
export const sealedBytes = (size: number): number => size + chunkCount(size) * (SEALED_CHUNK_BYTES - FILE_CHUNK_BYTES);

/** Seals chunk `index` under nonce = u64 index ‖ three zeros ‖ last flag: chunks cannot be moved, and the end is known. */
export const sealChunk = (key: Uint8Array, index: number, last: boolean, plaintext: Uint8Array): Bytes =>
  seal(key, nonceOf(index, last), plaintext);

/** The plaintext of a sealed chunk, or undefined when it is not chunk `index` of this file. */
export const openChunk = (key: Uint8Array, index: number, last: boolean, sealed: Uint8Array): Bytes | undefined =>
  unseal(key, nonceOf(index, last), sealed);

/** The hash of a sealed chunk, as it stands in the list. */
export const hashChunk = (sealed: Uint8Array): Bytes => sha256(sealed);

/** The root of a list of chunk hashes. */
export const rootOf = (hashes: Uint8Array): Bytes => sha256(hashes);

const nonceOf = (index: number, last: boolean): Uint8Array => {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(index));
  nonce[11] = last ? 1 : 0;
  return nonce;
};
