// Events of a channel as a member shows them to a newcomer: each at its place in the log, signed as its author made it, or said to be absent.
import { concat } from './bytes.ts';
import { ProtocolError } from './errors.ts';
import { type EventId, ID_BYTES, idBytes, idOf } from './ids.ts';
import { HISTORY_PART_BYTES_MAX } from './limits.ts';
import { HASH_BYTES } from './sizes.ts';

const KIND = { content: 1, absent: 2, control: 3 } as const;
const LENGTH_BYTES = 2;
const HEAD_BYTES = 1 + ID_BYTES + HASH_BYTES;

/** What an entry is at most larger than its signed event, in bytes. */
export const HISTORY_ENTRY_HEAD_BYTES = HEAD_BYTES + LENGTH_BYTES;

/**
 * One place of the log: the event's id and the SHA-256 of its body as the server has it. A content comes with bytes ‖ signature;
 * what is erased, ends by itself or was never read is `absent`; a newcomer has controls from the server.
 */
export type HistoryEntry = { readonly id: EventId; readonly hash: Uint8Array<ArrayBuffer> } & (
  | { readonly kind: 'content'; readonly signed: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'absent' | 'control' }
);

/** The longest signed event that fits into a part. */
export const HISTORY_SIGNED_BYTES_MAX = HISTORY_PART_BYTES_MAX - HISTORY_ENTRY_HEAD_BYTES;

/** (u8 kind ‖ id ‖ body hash (‖ u16 length ‖ signed))*. */
export const encodeHistory = (entries: readonly HistoryEntry[]): Uint8Array<ArrayBuffer> => {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    parts.push(Uint8Array.of(KIND[entry.kind]), idBytes(entry.id), entry.hash);
    if (entry.kind !== 'content') continue;
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt16BE(entry.signed.length);
    parts.push(length, entry.signed);
  }
  return concat(parts);
};

/** Throws ProtocolError `frame.invalid`. */
export const decodeHistory = (bytes: Uint8Array): HistoryEntry[] => {
  const entries: HistoryEntry[] = [];
  for (let at = 0; at < bytes.length; ) {
    const [kind, id, hash] = [
      bytes[at],
      bytes.subarray(at + 1, at + 1 + ID_BYTES),
      bytes.slice(at + 1 + ID_BYTES, at + HEAD_BYTES) as Uint8Array<ArrayBuffer>,
    ];
    if (hash.length !== HASH_BYTES) throw invalid();
    at += HEAD_BYTES;
    const place = { id: idOf<EventId>(id), hash };
    if (kind === KIND.content) {
      const length = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
      const signed = bytes.slice(at + LENGTH_BYTES, at + LENGTH_BYTES + length) as Uint8Array<ArrayBuffer>;
      if (at + LENGTH_BYTES + length > bytes.length) throw invalid();
      entries.push({ ...place, kind: 'content', signed });
      at += LENGTH_BYTES + length;
    } else if (kind === KIND.absent) entries.push({ ...place, kind: 'absent' });
    else if (kind === KIND.control) entries.push({ ...place, kind: 'control' });
    else throw invalid();
  }
  return entries;
};

const invalid = () => new ProtocolError('frame.invalid', { details: { why: 'history' } });
