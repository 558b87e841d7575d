// A file as a list of sealed chunks that are checked one by one: key and root travel in the offer, nothing else is trusted.
import { FILE_CHUNK_BYTES } from '../protocol/limits.ts';
import { TAG_BYTES } from '../protocol/sizes.ts';
import { type Bytes, chunkNonce, seal, sha256, unseal } from './primitives.ts';

/** A sealed chunk is this long; the last one is shorter. */
export const SEALED_CHUNK_BYTES = FILE_CHUNK_BYTES + TAG_BYTES;

/** How many chunks a file of `size` bytes has; an empty file has one. */
export const chunkCount = (size: number): number => Math.max(1, Math.ceil(size / FILE_CHUNK_BYTES));

/** How long the sealed chunks of a file of `size` bytes are together. */
export const sealedBytes = (size: number): number => size + chunkCount(size) * TAG_BYTES;

/** Seals chunk `index`. */
export const sealChunk = (key: Uint8Array, index: number, last: boolean, plaintext: Uint8Array): Bytes =>
  seal(key, chunkNonce(index, last), plaintext);

/** The plaintext of a sealed chunk, or undefined when it is not chunk `index` of this file. */
export const openChunk = (key: Uint8Array, index: number, last: boolean, sealed: Uint8Array): Bytes | undefined =>
  unseal(key, chunkNonce(index, last), sealed);

/** The hash of a sealed chunk, as it stands in the list. */
export const hashChunk = (sealed: Uint8Array): Bytes => sha256(sealed);

/** The root of a list of chunk hashes. */
export const rootOf = (hashes: Uint8Array): Bytes => sha256(hashes);
