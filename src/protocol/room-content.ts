// What signed events of a channel say: contents for its readers, and control operations that change it; each with its limits.
import * as z from 'zod';
import { ProtocolError } from './errors.ts';
import {
  base64Of,
  count,
  editNumber,
  emoji,
  expiresMs,
  fileOffer,
  id as hexId,
  key32,
  text,
  wellFormed,
} from './fields.ts';
import type { EventId, MemberId } from './ids.ts';
import {
  ARGON2_LANES_MAX,
  ARGON2_MEMORY_KIB_MAX,
  ARGON2_PASSES_MAX,
  CHANNEL_ARGON2_MEMORY_KIB_MIN,
  CHANNEL_ARGON2_PASSES_MIN,
  CHANNEL_FIRST_MEMBERS_MAX,
  CHANNEL_NAME_CHARS_MAX,
  EDITS_PER_MESSAGE_MAX,
  EVENT_CONTENT_BYTES_MAX,
  MENTIONS_MAX,
  RETENTION_MS_MAX,
  RETENTION_MS_MIN,
  SLOW_MS_MAX,
  TOPIC_CHARS_MAX,
} from './limits.ts';
import { KEY_BYTES, SALT_BYTES, TAG_BYTES } from './sizes.ts';
import { parseJsonBytes } from './strict-json.ts';

/** The kinds a server sees. Contents are opaque to it; controls are in clear. */
export const EVENT_KIND = { content: 1, control: 2 } as const;
export type EventKind = (typeof EVENT_KIND)[keyof typeof EVENT_KIND];

export const ENCRYPTIONS = ['open', 'passphrase', 'members'] as const;
export type Encryption = (typeof ENCRYPTIONS)[number];

/** From the least to the most. */
export const ROLES = ['member', 'moderator', 'admin', 'owner'] as const;
export type Role = (typeof ROLES)[number];

const event = hexId.transform((hex) => hex as EventId);
const member = hexId.transform((hex) => hex as MemberId);
const role = z.enum(ROLES);

/** Whether `name` may name a channel: 1–32 lower-case letters, digits, `-`, `_`, in the form that NFKC gives. */
export const isChannelName = (name: string): boolean =>
  name.length <= CHANNEL_NAME_CHARS_MAX && /^[\p{L}\p{N}_-]+$/u.test(name) && channelNameOf(name) === name;

/** What calls all who have a role in a text, after `@`. */
export const callOf = (role: Role): string => `${role}s`;

/** Whether `name` may name a member: as a channel's, and none that calls several people in a text. */
export const isMemberName = (name: string): boolean =>
  isChannelName(name) && name !== 'here' && !ROLES.some((role) => name === callOf(role));

/** The form in which a typed name is compared: NFKC, lower case. Look with `isChannelName` whether it may be used. */
export const channelNameOf = (typed: string): string => typed.normalize('NFKC').toLowerCase().normalize('NFKC');

const ContentSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('text'),
    text,
    replyTo: event.optional(),
    thread: event.optional(),
    mentions: z
      .object({
        members: z.array(member).max(MENTIONS_MAX).optional(),
        roles: z.array(role).max(ROLES.length).optional(),
        here: z.boolean().optional(),
      })
      .optional(),
    expiresMs: expiresMs.optional(),
  }),
  z.object({ kind: z.literal('edit'), target: event, number: editNumber, text }),
  z.object({ kind: z.literal('react'), target: event, emoji, on: z.boolean() }),
  z.object({ kind: z.literal('pin'), target: event, on: z.boolean() }),
  z.object({ kind: z.literal('topic'), text: z.string().max(TOPIC_CHARS_MAX).refine(wellFormed) }),
  z.object({ ...fileOffer, replyTo: event.optional(), thread: event.optional() }),
]);
export type Content = z.infer<typeof ContentSchema>;
export type ContentKind = Content['kind'] | 'unknown';
/** A content of a kind that this version does not know. */
export type UnknownContent = { readonly kind: 'unknown' };

/**
 * How the key of a passphrase channel is wrapped: costs within their floors and ceilings, the commitment to the passphrase,
 * the sealed key, and, where newcomers may read what was before, the key of the epoch before sealed under this one.
 */
const KeyWrap = z.object({
  salt: base64Of(SALT_BYTES),
  memoryKib: z.number().int().min(CHANNEL_ARGON2_MEMORY_KIB_MIN).max(ARGON2_MEMORY_KIB_MAX),
  passes: z.number().int().min(CHANNEL_ARGON2_PASSES_MIN).max(ARGON2_PASSES_MAX),
  lanes: z.number().int().min(1).max(ARGON2_LANES_MAX),
  commitment: key32,
  wrapped: base64Of(KEY_BYTES + TAG_BYTES),
  previous: base64Of(KEY_BYTES + TAG_BYTES).optional(),
});
export type KeyWrap = z.infer<typeof KeyWrap>;

/** How long a channel may keep what is said, in ms; 0 keeps everything. */
export const isRetention = (ms: number): boolean => ms === 0 || (ms >= RETENTION_MS_MIN && ms <= RETENTION_MS_MAX);

const Create = z
  .object({
    op: z.literal('create'),
    name: z.string().refine(isChannelName),
    encryption: z.enum(ENCRYPTIONS),
    private: z.boolean(),
    history: z.enum(['joined', 'all']),
    key: KeyWrap.optional(),
    /** Those that are in from the start, besides the creator, who is the owner. */
    members: z
      .array(z.object({ member, role: role.exclude(['owner']) }))
      .max(CHANNEL_FIRST_MEMBERS_MAX)
      .optional(),
  })
  .refine(({ encryption, key }) => (encryption === 'passphrase') === (key !== undefined))
  .refine(({ encryption, history }) => encryption !== 'members' || history === 'joined')
  .refine(({ members = [] }) => new Set(members.map((one) => one.member)).size === members.length);

const ControlSchema = z.discriminatedUnion('op', [
  Create,
  z.object({ op: z.literal('invite'), member }),
  z.object({ op: z.literal('join') }),
  z.object({ op: z.literal('add'), member }),
  z.object({ op: z.literal('remove'), member }),
  z.object({ op: z.literal('leave') }),
  z.object({ op: z.literal('role'), member, role }),
  z.object({ op: z.literal('ban'), member }),
  z.object({ op: z.literal('unban'), member }),
  /** Without `untilAt`, until `unmute`. */
  z.object({ op: z.literal('mute'), member, untilAt: count.optional() }),
  z.object({ op: z.literal('unmute'), member }),
  z.object({
    op: z.literal('mode'),
    slowMs: z.number().int().min(0).max(SLOW_MS_MAX).optional(),
    /** 0 keeps everything. */
    retentionMs: z.number().int().refine(isRetention).optional(),
    notify: z.enum(['all', 'mentions', 'none']).optional(),
  }),
  z.object({ op: z.literal('rotate'), key: KeyWrap.optional() }),
  /** `edits`: those of the target, which hold its text too. */
  z.object({ op: z.literal('erase'), target: event, edits: z.array(event).max(EDITS_PER_MESSAGE_MAX).optional() }),
  z.object({ op: z.literal('archive') }),
]);
export type Control = z.infer<typeof ControlSchema>;
export type ControlOp = Control['op'];
/** An operation that this version does not know: it changes nothing here but the chain of controls. */
export type UnknownControl = { readonly op: 'unknown' };

const KINDS: ReadonlySet<string> = new Set(ContentSchema.options.map((option) => option.shape.kind.value));
const OPS: ReadonlySet<string> = new Set(ControlSchema.options.map((option) => option.shape.op.value));
const ContentHead = z.object({ kind: z.string().max(64) });
const ControlHead = z.object({ op: z.string().max(64) });

/** The content in UTF-8 JSON. Throws ProtocolError `event.invalid`; unknown kinds are a value, not an error. */
export const decodeContent = (bytes: Uint8Array): Content | UnknownContent => {
  const value = jsonOf(bytes);
  const head = ContentHead.safeParse(value);
  if (!head.success) throw invalid('content');
  if (!KINDS.has(head.data.kind)) return { kind: 'unknown' };
  const content = ContentSchema.safeParse(value);
  if (!content.success) throw invalid('content');
  return content.data;
};

/** The control operation in UTF-8 JSON. Throws ProtocolError `event.invalid`; unknown ones are a value, not an error. */
export const decodeControl = (bytes: Uint8Array): Control | UnknownControl => {
  const value = jsonOf(bytes);
  const head = ControlHead.safeParse(value);
  if (!head.success) throw invalid('control');
  if (!OPS.has(head.data.op)) return { op: 'unknown' };
  const control = ControlSchema.safeParse(value);
  if (!control.success) throw invalid('control');
  return control.data;
};

const jsonOf = (bytes: Uint8Array): unknown => {
  if (bytes.length > EVENT_CONTENT_BYTES_MAX) throw invalid('size');
  try {
    return parseJsonBytes(bytes);
  } catch {
    throw invalid('json');
  }
};

const invalid = (why: string) => new ProtocolError('event.invalid', { details: { why } });
