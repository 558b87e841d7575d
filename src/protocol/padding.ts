// Padding of what is sealed: sizes fall into a few buckets, the same in every network.
import { bufferOf } from './bytes.ts';
import { ProtocolError } from './errors.ts';
import { SEALED_BUCKETS_BYTES } from './limits.ts';

/** The size of so many bytes once they are padded; undefined above the largest bucket. */
export const paddedSize = (bytes: number): number | undefined => SEALED_BUCKETS_BYTES.find((size) => size >= bytes + 4);

/** u32 length ‖ content ‖ zeros, up to the next bucket. Throws `frame.tooLarge` above the largest one. */
export const padded = (content: Uint8Array): Uint8Array<ArrayBuffer> => {
  const bucket = paddedSize(content.length);
  if (bucket === undefined) throw new ProtocolError('frame.tooLarge');
  const out = Buffer.alloc(bucket);
  out.writeUInt32BE(content.length);
  out.set(content, 4);
  return new Uint8Array(out.buffer, out.byteOffset, bucket);
};

/** The content of `padded`. Throws `frame.invalid` for another size than a bucket's, or anything but zeros after it. */
export const unpadded = (bytes: Uint8Array): Uint8Array => {
  if (!SEALED_BUCKETS_BYTES.some((size) => size === bytes.length)) throw invalid('bucket');
  const length = bufferOf(bytes).readUInt32BE();
  const rest = bytes.subarray(4 + length);
  if (length > bytes.length - 4 || Buffer.compare(rest, ZEROS.subarray(0, rest.length)) !== 0) throw invalid('padding');
  return bytes.subarray(4, 4 + length);
};

const ZEROS = new Uint8Array(Math.max(...SEALED_BUCKETS_BYTES));

const invalid = (why: string) => new ProtocolError('frame.invalid', { details: { why } });
