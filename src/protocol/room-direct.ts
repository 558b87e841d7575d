// What members say to each other's devices inside Signal sessions, and how one event carries it to all devices of a member.
import * as z from 'zod';
import { bufferOf, concat } from './bytes.ts';
import { ProtocolError } from './errors.ts';
import { base64, count, editNumber, emoji, expiresMs, fileOffer, id, text } from './fields.ts';
import { type DeviceId, ID_BYTES, idBytes, idOf } from './ids.ts';
import { DEVICES_MAX, HISTORY_PART_BYTES_MAX, RECEIPT_TARGETS_MAX } from './limits.ts';
import { parseJsonBytes } from './strict-json.ts';

const SAID = [
  z.object({
    kind: z.literal('text'),
    /** Of the message; that of its event, where it is absent. */
    id: id.optional(),
    text,
    sentAt: count,
    replyTo: id.optional(),
    /** The root of its thread. */
    thread: id.optional(),
    expiresMs: expiresMs.optional(),
  }),
  /** A file: its ciphertext is brought into the inbox it is for. */
  z.object({ ...fileOffer, id: id.optional() }),
  z.object({ kind: z.literal('edit'), target: id, number: editNumber, text }),
  z.object({ kind: z.literal('delete'), target: id }),
  z.object({ kind: z.literal('react'), target: id, emoji, on: z.boolean() }),
  z.object({ kind: z.literal('pin'), target: id, on: z.boolean() }),
] as const;

const SaidSchema = z.discriminatedUnion('kind', SAID);
/** What one says to somebody; one's own other devices hear it too. */
export type Said = z.infer<typeof SaidSchema>;

const OWN = [
  /** What I have said to the member `to`, and the server has taken. */
  z.object({ kind: z.literal('sent'), to: id, content: SaidSchema }),
  /** How far I have read what the member `of` wrote: by the place in the inbox, in the log of this epoch. */
  z.object({ kind: z.literal('marked'), of: id, epoch: count, seq: count }),
  /** Whether I let the member `of` write to me. */
  z.object({ kind: z.literal('decided'), of: id, accepted: z.boolean() }),
  /** I am in another channel now. */
  z.object({ kind: z.literal('joined'), channel: id }),
] as const;

const OwnSchema = z.discriminatedUnion('kind', OWN);
/** What devices of one member tell each other; from anybody else it is nothing. */
export type Own = z.infer<typeof OwnSchema>;
const OWN_KINDS: ReadonlySet<string> = new Set(OWN.map((option) => option.shape.kind.value));

/** Whether only my own devices may say it. */
export const isOwn = (direct: { readonly kind: string }): direct is Own => OWN_KINDS.has(direct.kind);

const DirectSchema = z.discriminatedUnion('kind', [
  ...SAID,
  ...OWN,
  z.object({
    kind: z.literal('receipt'),
    targets: z.array(id).min(1).max(RECEIPT_TARGETS_MAX),
    state: z.enum(['delivered', 'read']),
  }),
  /**
   * Part of what was said in a channel before its reader came: places `at` to `end` of the log of this epoch, of `from` to `to` in
   * all. Entries as in protocol/room-history.ts.
   */
  z.object({
    kind: z.literal('history'),
    share: id,
    channel: id,
    epoch: count,
    from: count.min(1),
    to: count.min(1),
    at: count.min(1),
    end: count.min(1),
    entries: base64(HISTORY_PART_BYTES_MAX),
  }),
  /** A sender key: from the next message on the device that gets it reads this one in the channel. */
  z.object({ kind: z.literal('sender.key'), channel: id, epoch: count.max(0xffff_ffff), share: base64(4096) }),
]);
export type Direct = z.infer<typeof DirectSchema>;
const KINDS: ReadonlySet<string> = new Set(DirectSchema.options.map((option) => option.shape.kind.value));

/** A direct in UTF-8 JSON; of an unknown kind a value. Throws ProtocolError `frame.invalid`. */
export const decodeDirect = (bytes: Uint8Array): Direct | { readonly kind: 'unknown' } => {
  const value = parseJsonBytes(bytes);
  const head = z.object({ kind: z.string().max(64) }).safeParse(value);
  if (!head.success) throw invalid('direct');
  if (!KINDS.has(head.data.kind)) return { kind: 'unknown' };
  const direct = DirectSchema.safeParse(value);
  if (!direct.success) throw invalid('direct');
  return direct.data;
};

/** One ciphertext for one device. `type` is libsignal's: 2 whisper, 3 prekey. */
export type Envelope = { readonly to: DeviceId; readonly type: number; readonly ciphertext: Uint8Array<ArrayBuffer> };

const VERSION = 1;
const HEAD_BYTES = 2 + ID_BYTES;
const ENTRY_BYTES = ID_BYTES + 1 + 4;

/** u8 1 ‖ from (device id) ‖ u8 count ‖ (to (device id) ‖ u8 type ‖ u32 length ‖ ciphertext)*. */
export const encodeEnvelopes = (from: DeviceId, envelopes: readonly Envelope[]): Uint8Array<ArrayBuffer> => {
  const parts: Uint8Array[] = [Uint8Array.of(VERSION), idBytes(from), Uint8Array.of(envelopes.length)];
  for (const { to, type, ciphertext } of envelopes) {
    const head = Buffer.alloc(5);
    head.writeUInt8(type);
    head.writeUInt32BE(ciphertext.length, 1);
    parts.push(idBytes(to), head, ciphertext);
  }
  return concat(parts);
};

/** Throws ProtocolError `frame.invalid`. */
export const decodeEnvelopes = (
  body: Uint8Array,
): { readonly from: DeviceId; readonly envelopes: readonly Envelope[] } => {
  const count = body[HEAD_BYTES - 1] ?? 0;
  if (body.length < HEAD_BYTES || body[0] !== VERSION || count > DEVICES_MAX) throw invalid('envelopes');
  const view = bufferOf(body);
  const envelopes: Envelope[] = [];
  let at = HEAD_BYTES;
  for (let i = 0; i < count; i++) {
    if (at + ENTRY_BYTES > body.length) throw invalid('envelopes');
    const length = view.readUInt32BE(at + ID_BYTES + 1);
    const start = at + ENTRY_BYTES;
    if (start + length > body.length) throw invalid('envelopes');
    envelopes.push({
      to: idOf(view.subarray(at, at + ID_BYTES)),
      type: view.readUInt8(at + ID_BYTES),
      ciphertext: new Uint8Array(view.subarray(start, start + length)),
    });
    at = start + length;
  }
  if (at !== body.length) throw invalid('envelopes');
  return { from: idOf(view.subarray(1, 1 + ID_BYTES)), envelopes };
};

/**
 * The same envelopes in bodies of at most `bytesMax` each, in their order: what many devices are told, or two of them at
 * length, is more than one event. An envelope that alone is larger has a body of its own.
 */
export const splitEnvelopes = (body: Uint8Array<ArrayBuffer>, bytesMax: number): Uint8Array<ArrayBuffer>[] => {
  if (body.length <= bytesMax) return [body];
  const { from, envelopes } = decodeEnvelopes(body);
  const groups: Envelope[][] = [];
  let room = 0;
  for (const envelope of envelopes) {
    const size = ENTRY_BYTES + envelope.ciphertext.length;
    if (size > room) {
      groups.push([]);
      room = bytesMax - HEAD_BYTES;
    }
    groups.at(-1)?.push(envelope);
    room -= size;
  }
  return groups.map((group) => encodeEnvelopes(from, group));
};

const invalid = (why: string) => new ProtocolError('frame.invalid', { details: { why } });
