// What a server itself notes in a member's inbox, so that all their devices hear of it.
import * as z from 'zod';
import { ProtocolError } from './errors.ts';
import { id } from './fields.ts';
import { parseJsonBytes } from './strict-json.ts';

const NoteSchema = z.discriminatedUnion('what', [
  z.object({ what: z.literal('second.set') }),
  z.object({ what: z.literal('second.removed') }),
  z.object({ what: z.literal('device.added'), device: id }),
  z.object({ what: z.literal('device.revoked'), device: id }),
]);
/** The second check was set, changed or removed; a device came, or was ended. */
export type InboxNote = z.infer<typeof NoteSchema>;

const KINDS: ReadonlySet<string> = new Set(NoteSchema.options.map((option) => option.shape.what.value));

/** A note in UTF-8 JSON; of an unknown kind a value. Throws ProtocolError `frame.invalid`. */
export const decodeNote = (bytes: Uint8Array): InboxNote | { readonly what: 'unknown' } => {
  const value = parseJsonBytes(bytes);
  const head = z.object({ what: z.string().max(64) }).safeParse(value);
  if (head.success && !KINDS.has(head.data.what)) return { what: 'unknown' };
  const note = NoteSchema.safeParse(value);
  if (!note.success) throw new ProtocolError('frame.invalid', { details: { why: 'note' } });
  return note.data;
};
