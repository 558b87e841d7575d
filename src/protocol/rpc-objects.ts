// The objects of the local wire, and the fields that parameters and results are made of.
import * as z from 'zod';
import { EXPIRY_MS_MAX, EXPIRY_MS_MIN, PAGE_DEFAULT, PAGE_MAX, WAIT_MS_MAX } from './limits.ts';
import { bytes, milliseconds, reference, time } from './rpc-fields.ts';
import { channelObject, channelRole, serverObject } from './rpc-rooms.ts';

export const account = z.object({
  account: z.string(),
  address: z.string(),
  words: z.string(),
  link: z.string(),
  nickname: z.string(),
});

const messageState = z.enum(['queued', 'sent', 'delivered', 'read', 'failed', 'received']);
const reaction = z.object({ emoji: z.string(), from: z.string(), mine: z.boolean() });
export const message = z.object({
  id: z.string(),
  conversation: z.string(),
  conversationId: z.string(),
  /** Of somebody who wants to write to me: `member.accept` lets them. */
  request: z.literal(true).optional(),
  from: z.string(),
  body: z.string(),
  /** It is of a newer version of sotto: this one cannot show it. */
  kind: z.literal('unknown').optional(),
  /** In a channel by the server’s clock, once the server has taken it; else when its author says they wrote it. */
  sentAt: time,
  receivedAt: time.optional(),
  deliveredAt: time.optional(),
  readAt: time.optional(),
  state: messageState,
  reason: z.string().optional(),
  replyTo: z.string().optional(),
  editedAt: time.optional(),
  deletedAt: time.optional(),
  expiresAt: time.optional(),
  expiresMs: milliseconds.optional(),
  pinnedAt: time.optional(),
  reactions: z.array(reaction),
  versions: z.array(z.object({ body: z.string(), editedAt: time })).optional(),
  file: z.string().optional(),
  unread: z.boolean().optional(),
  seq: z.number().int().optional(),
  thread: z.string().optional(),
  answers: z.number().int().optional(),
  mention: z.boolean().optional(),
  /** Who has shown it to me, of what was said in a channel before I came. */
  sharedBy: z.string().optional(),
  mine: z.boolean(),
  snippet: z.string().optional(),
});

const contactState = z.enum(['outgoing', 'incoming', 'accepted', 'blocked', 'removed']);
const keyEvent = z.object({ at: time, kind: z.string(), detail: z.string().optional() });
export const contact = z.object({
  id: z.string(),
  name: z.string(),
  nickname: z.string().optional(),
  address: z.string(),
  state: contactState,
  verified: z.boolean(),
  verifiedAt: time.optional(),
  note: z.string().optional(),
  requestNote: z.string().optional(),
  paused: z.string().optional(),
  createdAt: time,
  lastSeenAt: time.optional(),
  safetyNumber: z.string().optional(),
  safetyQr: z.string().optional(),
  history: z.array(keyEvent).optional(),
  /** Who they are on servers: `linked` when both have said so, `said` when I have, `asked` when they have. */
  members: z
    .array(z.object({ name: z.string(), server: z.string(), state: z.enum(['linked', 'said', 'asked']) }))
    .optional(),
});

export const conversation = z.object({
  id: z.string(),
  name: z.string(),
  kind: z.enum(['contact', 'group', 'channel', 'member', 'feed']),
  encryption: z.string(),
  /** Of a passphrase channel: people who were removed and may still read until the passphrase changes. */
  mayStillRead: z.array(z.string()).optional(),
  /** Of a channel that I am in no more; with somebody whom I have removed or blocked. */
  state: z.enum(['left', 'removed', 'banned', 'lost', 'blocked']).optional(),
  /** Mine there, where `mayStillRead` is: a moderator changes the passphrase. */
  role: channelRole.optional(),
  /** With a member who wants to write to me: `member.accept` lets them. */
  request: z.literal(true).optional(),
  verified: z.boolean(),
  unread: z.number().int(),
  mentions: z.number().int(),
  lastAt: time.optional(),
  draft: z.string().optional(),
  muted: z.boolean(),
  /** Absent while it is muted for ever. */
  mutedUntilAt: time.optional(),
  /** How long new messages of mine live; absent: for ever. */
  expiresMs: milliseconds.optional(),
  expiresFrom: z.enum(['delivery', 'read']).optional(),
  archived: z.boolean(),
});

export const file = z.object({
  id: z.string(),
  conversation: z.string(),
  name: z.string(),
  sizeBytes: bytes,
  transferredBytes: bytes,
  state: z.enum(['offered', 'active', 'paused', 'done', 'cancelled', 'failed']),
  hash: z.string().optional(),
  direction: z.enum(['in', 'out']),
  message: z.string().optional(),
  savedTo: z.string().optional(),
  reason: z.string().optional(),
  createdAt: time,
});

const tor = z.object({
  state: z.enum(['off', 'starting', 'bootstrapping', 'online', 'failed']),
  bootstrapPercent: z.number().int(),
  reachable: z.boolean(),
  descriptorUploads: z.number().int(),
  private: z.boolean(),
  version: z.string().optional(),
  warning: z.string().optional(),
  lastError: z.object({ code: z.string(), message: z.string(), at: time }).optional(),
});

const linkState = z.enum(['none', 'dialling', 'up', 'waiting', 'paused']);
export const status = z.object({
  account: z.string(),
  nickname: z.string(),
  address: z.string(),
  tor,
  outboxDepth: z.number().int(),
  unread: z.number().int(),
  /** Of contacts and of members, that wait for my answer. */
  requests: z.number().int(),
  links: z.array(
    z.object({ contact: z.string(), state: linkState, sinceAt: time.optional(), rttMs: z.number().optional() }),
  ),
  servers: z.array(serverObject),
  refused: z.record(z.string(), z.number().int()),
  daemon: z.object({
    pid: z.number().int(),
    uptimeMs: milliseconds,
    rssBytes: bytes,
    socket: z.string(),
    version: z.string(),
  }),
});

export const why = z.object({
  contact: z.string(),
  summary: z.string(),
  link: z.object({
    state: linkState,
    lastError: z.string().optional(),
    lastErrorAt: time.optional(),
    nextRetryAt: time.optional(),
    attempts: z.number().int(),
  }),
  outbox: z.object({ depth: z.number().int(), oldestAt: time.optional() }),
  descriptor: z.object({ found: z.boolean().optional(), checkedAt: time.optional() }),
  advice: z.array(z.string()),
});

/**
 * What is in the way of a server, and of a channel or member on it, as a front end puts it together. `summary` is the nearest of
 * the `reasons`, or how the server is reached; `gaps` are those of the channel; `files` wait for it.
 */
export const roomWhy = serverObject.extend({
  conversation: z.string().optional(),
  summary: z.string(),
  reasons: z.array(z.string()),
  advice: z.array(z.string()),
  gaps: channelObject.shape.gaps,
  files: z.array(file).optional(),
});

export const check = z.object({ check: z.string(), ok: z.boolean(), detail: z.string(), fix: z.string().optional() });
export const settingValue = z.union([z.string(), z.number(), z.boolean()]);
export const settingRow = z.object({
  key: z.string(),
  value: settingValue,
  default: settingValue,
  values: z.string(),
  source: z.enum(['default', 'account', 'conversation']),
  scopes: z.array(z.string()),
  restart: z.boolean(),
  doc: z.string(),
});

export const page = {
  limit: z.number().int().min(1).max(PAGE_MAX).default(PAGE_DEFAULT),
  before: reference.optional(),
  after: reference.optional(),
};
export const wait = { timeoutMs: z.number().int().min(0).max(WAIT_MS_MAX).optional() };
// Whether a wait reached what it was for, the error that made waiting useless, and why what was offered waits, where that is known.
export const waited = {
  reached: z.boolean(),
  useless: z
    .enum([
      'tor.offline',
      'contact.blocked',
      'contact.paused',
      'server.unreachable',
      'server.certificateChanged',
      'server.keyChanged',
    ])
    .optional(),
  held: z.string().optional(),
};
export const inConversation = z.object({ conversation: reference });
export const ofContact = z.object({ contact: reference });
export const ofMessage = z.object({ id: reference });
export const ofFile = z.object({ id: reference });
export const expiry = {
  expiresMs: milliseconds
    .refine(
      (ms) => ms === 0 || (ms >= EXPIRY_MS_MIN && ms <= EXPIRY_MS_MAX),
      'a message lives 1 s to 365 days; 0 = for ever',
    )
    .optional(),
  expiresFrom: z.enum(['delivery', 'read']).optional(),
};

/** One method: what it does, what it takes and what it gives. */
export const method = <Params extends z.ZodType, Result extends z.ZodType>(
  doc: string,
  params: Params,
  result: Result,
) => ({
  doc,
  params,
  result,
});

export type AccountObject = z.infer<typeof account>;
export type Message = z.infer<typeof message>;
export type MessageState = z.infer<typeof messageState>;
export type Contact = z.infer<typeof contact>;
export type Conversation = z.infer<typeof conversation>;
export type FileObject = z.infer<typeof file>;
export type Status = z.infer<typeof status>;
export type Why = z.infer<typeof why>;
export type RoomWhy = z.infer<typeof roomWhy>;
export type Check = z.infer<typeof check>;
export type SettingRow = z.infer<typeof settingRow>;
