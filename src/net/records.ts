// Frames to padded, encrypted records and back: what an outsider sees is a number of 480-byte cells.
import type { CipherState } from '../crypto/noise.ts';
import { bufferOf, concat } from '../protocol/bytes.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { FRAME_BYTES_MAX, LINK_CELL_BYTES } from '../protocol/limits.ts';

const LENGTH_BYTES = 2;
const OVERHEAD_BYTES = LENGTH_BYTES + 16;
const CELLS_MAX = Math.floor(65_535 / LINK_CELL_BYTES);
const CONTENT_BYTES_MAX = CELLS_MAX * LINK_CELL_BYTES - OVERHEAD_BYTES;

/**
 * Packs frames into as few records as they need, in order. A record is u16 length ‖ ciphertext, its plaintext
 * (u16 length ‖ frame)* ‖ zeros, the whole a multiple of 480 bytes. Frames are at most FRAME_BYTES_MAX. Gives
 * pieces of the stream, in order.
 */
export const encodeRecords = (cipher: CipherState, frames: readonly Uint8Array[]): Uint8Array[] => {
  const pieces: Uint8Array[] = [];
  let content: Uint8Array[] = [];
  let size = 0;
  const flush = (): void => {
    if (size > 0) pieces.push(...encodeRecord(cipher, content, size));
    content = [];
    size = 0;
  };
  for (const frame of frames) {
    if (size + LENGTH_BYTES + frame.length > CONTENT_BYTES_MAX) flush();
    content.push(u16(frame.length), frame);
    size += LENGTH_BYTES + frame.length;
  }
  flush();
  return pieces;
};

const encodeRecord = (cipher: CipherState, content: readonly Uint8Array[], size: number): Uint8Array[] => {
  const bytes = Math.ceil((size + OVERHEAD_BYTES) / LINK_CELL_BYTES) * LINK_CELL_BYTES;
  const padding = ZEROS.subarray(0, bytes - OVERHEAD_BYTES - size);
  const pieces = [u16(bytes - LENGTH_BYTES), ...cipher.encryptParts([...content, padding])];
  return bytes > JOINED_BYTES_MAX ? pieces : [concat(pieces)];
};
// A small record is one piece; of a large one no copy is made, as garbage of its size is dear.
const JOINED_BYTES_MAX = 4096;
const ZEROS = new Uint8Array(LINK_CELL_BYTES);

/** The frames in one record's ciphertext, parts of one array. Throws ProtocolError `frame.invalid` or `frame.tooLarge`. */
export const decodeRecord = (cipher: CipherState, ciphertext: Uint8Array): Uint8Array<ArrayBuffer>[] => {
  const plaintext = cipher.decrypt(ciphertext);
  if (plaintext === undefined) throw new ProtocolError('frame.invalid', { details: { why: 'not authentic' } });
  const view = bufferOf(plaintext);
  const frames: Uint8Array<ArrayBuffer>[] = [];
  let at = 0;
  while (at + LENGTH_BYTES <= view.length) {
    const size = view.readUInt16BE(at);
    if (size === 0) break;
    if (size > FRAME_BYTES_MAX) throw new ProtocolError('frame.tooLarge');
    if (at + LENGTH_BYTES + size > view.length)
      throw new ProtocolError('frame.invalid', { details: { why: 'record' } });
    frames.push(plaintext.subarray(at + LENGTH_BYTES, at + LENGTH_BYTES + size));
    at += LENGTH_BYTES + size;
  }
  return frames;
};

const u16 = (value: number): Uint8Array => Uint8Array.of(value >>> 8, value & 255);
