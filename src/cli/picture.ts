// The QR code in a picture file, PNG or JPEG; everything is bounded before a pixel is decoded.
import { closeSync, fstatSync, readFileSync } from 'node:fs';
import { SottoError } from '../protocol/errors.ts';
import { PICTURE_BYTES_MAX, PICTURE_PIXELS_MAX, PICTURE_SCANS_MAX, QR_SEARCH_MS_MAX } from '../protocol/limits.ts';
import { descriptorOf } from './old-file.ts';

/** Rows of pixels from the top, four bytes each: red, green, blue, opacity. */
type Picture = { readonly width: number; readonly height: number; readonly data: Uint8Array };

/** The text of the QR code in the picture at `path`. Throws `file.unknown`, and `qr.invalid` like `decodeQr`. */
export const readQr = (path: string): Promise<string> => decodeQr(bytesOf(path));

/** The text of the QR code in a PNG or JPEG file. Throws `qr.invalid` with the reason. */
export const decodeQr = async (bytes: Buffer): Promise<string> => {
  const picture = await pictureOf(bytes).catch((error: unknown) => {
    throw error instanceof SottoError ? error : invalid('The picture is damaged', error);
  });
  const { decodeQR: find } = await import('qr/decode.js');
  try {
    return find(onWhite(picture), { effort: Number.POSITIVE_INFINITY, timeLimit: QR_SEARCH_MS_MAX });
  } catch (error) {
    throw invalid('No QR code was found in the picture', error);
  }
};

const invalid = (message: string, cause?: unknown): SottoError => new SottoError('qr.invalid', { message, cause });

const bytesOf = (path: string): Buffer => {
  const fd = descriptorOf(path, 'picture');
  try {
    if (fstatSync(fd).size > PICTURE_BYTES_MAX)
      throw invalid(`The picture has more than ${PICTURE_BYTES_MAX / 1024 / 1024} MiB`);
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
};

// The smallest QR code has as many modules.
const QR_SIDE_MIN = 21;
const PNG_START = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
const PNG_HEAD_BYTES = 29;
const JPEG_START = Buffer.from('ffd8ff', 'hex');
const JPEG_SCAN = Buffer.from('ffda', 'hex');

const pictureOf = async (bytes: Buffer): Promise<Picture> => {
  if (bytes.subarray(0, PNG_START.length).equals(PNG_START) && bytes.length >= PNG_HEAD_BYTES) return pngOf(bytes);
  if (bytes.subarray(0, JPEG_START.length).equals(JPEG_START)) return jpegOf(bytes);
  throw invalid('The picture is neither PNG nor JPEG');
};

// W3C PNG, 5.3 and 11.2.1: a chunk is length, name, data and checksum; the first one holds width, height and, in its last
// byte, the way of interlacing.
const pngOf = async (bytes: Buffer): Promise<Picture> => {
  checkSize(bytes.readUInt32BE(16), bytes.readUInt32BE(20));
  // The library inflates of such a picture all that there is, however much that is.
  if (bytes[PNG_HEAD_BYTES - 1] !== 0) throw invalid('The picture is interlaced: save it as a plain PNG');
  for (let at = PNG_HEAD_BYTES + 4; at + 8 <= bytes.length; at += 12 + bytes.readUInt32BE(at))
    if (bytes.toString('latin1', at + 4, at + 8) === 'IHDR') throw invalid('The picture has two heads');
  const { PNG } = await import('pngjs');
  return PNG.sync.read(bytes);
};

const jpegOf = async (bytes: Buffer): Promise<Picture> => {
  const [width, height] = jpegSize(bytes);
  checkSize(width, height);
  if (width * height > bytes.length * JPEG_PIXELS_PER_BYTE_MAX) throw invalid('The picture is cut');
  // Every scan goes over the whole picture, however few bytes it has.
  let scans = 0;
  for (let at = bytes.indexOf(JPEG_SCAN); at >= 0; at = bytes.indexOf(JPEG_SCAN, at + 2)) scans++;
  if (scans > PICTURE_SCANS_MAX) throw invalid('The picture has too many scans');
  const { default: jpeg } = await import('jpeg-js');
  const maxResolutionInMP = PICTURE_PIXELS_MAX / 1e6;
  return jpeg.decode(bytes, { useTArray: true, maxResolutionInMP, tolerantDecoding: false });
};

// A block of 64 pixels takes one bit at least.
const JPEG_PIXELS_PER_BYTE_MAX = 512;

// ITU T.81, B.2: segments of marker and length come before the first scan; that of a frame holds height and width.
const jpegSize = (bytes: Buffer): [width: number, height: number] => {
  for (let at = 2; at + 9 <= bytes.length && bytes[at] === 0xff; at += 2 + bytes.readUInt16BE(at + 2)) {
    const marker = bytes[at + 1] ?? 0;
    if (marker >= 0xc0 && marker <= 0xc2) return [bytes.readUInt16BE(at + 7), bytes.readUInt16BE(at + 5)];
  }
  throw invalid('The picture is damaged');
};

const checkSize = (width: number, height: number): void => {
  if (Math.min(width, height) < QR_SIDE_MIN) throw invalid('The picture is too small for a QR code');
  if (width * height > PICTURE_PIXELS_MAX)
    throw invalid(`The picture has more than ${PICTURE_PIXELS_MAX / 1e6} million pixels`);
};

// Black on nothing is black on white, as every viewer shows it.
const onWhite = ({ width, height, data }: Picture): Picture => {
  for (let at = 0; at < data.length; at += 4) {
    const opacity = data[at + 3] ?? 255;
    if (opacity === 255) continue;
    for (let channel = at; channel < at + 3; channel++)
      data[channel] = Math.round(((data[channel] ?? 0) * opacity + 255 * (255 - opacity)) / 255);
  }
  return { width, height, data };
};
