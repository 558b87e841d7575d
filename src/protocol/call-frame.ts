// What goes over a call link, one binary message each: a ticket first, then frames, which are sealed, and reports, which are not.
import { ProtocolError } from './errors.ts';
import { CALL_FRAME_BYTES_MAX } from './limits.ts';
import { TAG_BYTES } from './sizes.ts';

/** What a frame carries: sound, a screen, or keys typed into one. */
export const FRAME_TYPE = { voice: 1, screen: 2, keys: 4 } as const;
export type FrameType = (typeof FRAME_TYPE)[keyof typeof FRAME_TYPE];

/** The first message of a call link, as `call.join` has given it. */
export const TICKET_BYTES = 32;
export const STREAM_ID_BYTES = 8;
export const FRAME_HEAD_BYTES = 1 + STREAM_ID_BYTES + 4;
const REPORT_TYPE = 3;
const REPORT_BYTES = 1 + 4 + 2;
const U16_MAX = 0xffff;

/** What a frame says of itself in clear: u8 type ‖ stream id ‖ u32 counter. */
export type FrameHead = {
  readonly type: FrameType;
  /** A part of the frame. */
  readonly stream: Uint8Array;
  readonly counter: number;
};

/** How much of a link's frames have come: one is sent each CALL_REPORT_MS while any come, both ways. */
export type Report = {
  /** Frames since the link was opened, without reports. */
  readonly received: number;
  /** Milliseconds since the last of them. */
  readonly quietMs: number;
};

/** Type, stream and counter that a frame says it has. Throws ProtocolError `frame.invalid`, `frame.tooLarge`. */
export const readFrameHead = (frame: Uint8Array): FrameHead => {
  const type = frame[0];
  if (type !== FRAME_TYPE.voice && type !== FRAME_TYPE.screen && type !== FRAME_TYPE.keys) throw invalid('type');
  if (frame.length < FRAME_HEAD_BYTES + TAG_BYTES) throw invalid('short');
  if (frame.length > CALL_FRAME_BYTES_MAX) throw new ProtocolError('frame.tooLarge');
  const counter = viewOf(frame).getUint32(1 + STREAM_ID_BYTES);
  return { type, stream: frame.subarray(1, 1 + STREAM_ID_BYTES), counter };
};

/** Whether a message of a call link is a report. */
export const isReport = (message: Uint8Array): boolean => message[0] === REPORT_TYPE;

/** u8 3 ‖ u32 received ‖ u16 quiet milliseconds, 65,535 at most. */
export const encodeReport = ({ received, quietMs }: Report): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(REPORT_BYTES);
  const view = viewOf(bytes);
  view.setUint8(0, REPORT_TYPE);
  view.setUint32(1, received);
  view.setUint16(5, Math.min(U16_MAX, Math.round(quietMs)));
  return bytes;
};

/** Throws ProtocolError `frame.invalid`. */
export const readReport = (message: Uint8Array): Report => {
  if (!isReport(message) || message.length !== REPORT_BYTES) throw invalid('report');
  const view = viewOf(message);
  return { received: view.getUint32(1), quietMs: view.getUint16(5) };
};

const viewOf = ({ buffer, byteOffset, length }: Uint8Array): DataView => new DataView(buffer, byteOffset, length);

const invalid = (why: string) => new ProtocolError('frame.invalid', { details: { why } });
