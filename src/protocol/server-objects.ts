// What requests and answers of a server are made of, with the limits of each.
import * as z from 'zod';
import { base64, count, id, key32, wellFormed } from './fields.ts';
import { MEMBER_NAME_CHARS_MAX } from './limits.ts';

/** Milliseconds since the epoch, as far as a date goes. */
export const time = z.number().int().min(0).max(8.64e15);
export const blobHash = z.string().regex(/^[0-9a-f]{64}$/);
export const memberName = z.string().min(1).max(MEMBER_NAME_CHARS_MAX).refine(wellFormed);
export const token = z.string().min(16).max(64);
export const code = z.string().min(4).max(64);
export const password = z.string().min(1).max(1024);
export const cursor = z.tuple([count, count, id.nullable()]);
export const none = z.object({});
/** What an append became: its place in the log. */
export const placed = z.object({ seq: count.min(1), epoch: count, at: time });

/**
 * Who may ask. `before`: anyone, before log-in; `member`: any device that logged in; `admin`, `owner`: of the server.
 * Of the channel named in `channel`: `see`: it is public, or the member is in it; `read`: in it and not banned, or it is the
 * own inbox; `file`: as `read`, or the inbox of another member; `call`: in it, or it is the id of another member.
 */
export type Needs = {
  readonly role: 'before' | 'member' | 'admin' | 'owner';
  readonly channel?: 'see' | 'read' | 'file' | 'call';
};

/** A row of the table of requests. */
export const request = <Params extends z.ZodType, Ok extends z.ZodType>(
  doc: string,
  needs: Needs,
  params: Params,
  ok: Ok,
) => ({ doc, needs, params, ok });

export const MEMBER: Needs = { role: 'member' };
/** What names a channel. */
export const inChannel = z.object({ channel: id });

export const member = z.object({
  id,
  key: key32,
  name: z.string(),
  role: z.enum(['owner', 'admin', 'member']),
  status: z.string(),
  joinedAt: time,
  banned: z.boolean(),
});
export const device = z.object({
  id,
  certificate: base64(512),
  addedAt: time,
  revoked: z.boolean(),
  revokedAt: time.optional(),
});
export const head = z.object({ epoch: count, seq: count, id: id.nullable(), prunedTo: count });
export const channel = z.object({
  id,
  name: z.string(),
  encryption: z.enum(['open', 'passphrase', 'members']),
  private: z.boolean(),
  history: z.enum(['joined', 'all']),
  archived: z.boolean(),
  members: count,
  joined: z.boolean(),
  invited: z.boolean(),
  head,
});
export const invite = z.object({
  id,
  role: z.enum(['owner', 'admin', 'member']),
  usesLeft: count,
  expiresAt: time.optional(),
  createdAt: time,
  createdBy: id.optional(),
});
/** Public prekeys of one device, as crypto/session.ts lays them out. */
export const bundle = z.object({ device: id, certificate: base64(512), bundle: base64(4096) });
