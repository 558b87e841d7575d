// The wire between an account and a server: every request, answer and notice, declared once; both ends import it.
import * as z from 'zod';
import { base64, count, id, key32, wellFormed } from './fields.ts';
import {
  DEVICES_ASKED_MAX,
  DEVICES_TOLD_MAX,
  FILE_BYTES_MAX,
  INVITE_USES_MAX,
  PREKEYS_PUBLISHED,
  QUERY_CHARS_MAX,
  ROOM_PAGE_MAX,
  STATUS_TEXT_CHARS_MAX,
  TOLD_IN_PASSING_MAX,
} from './limits.ts';
import { CALL, CALL_NOTICES, CALL_REQUESTS } from './server-calls.ts';
import { invalid } from './server-frames.ts';
import {
  blobHash,
  bundle,
  channel,
  code,
  cursor,
  device,
  head,
  inChannel,
  invite,
  MEMBER,
  member,
  memberName,
  type Needs,
  none,
  password,
  placed,
  request,
  time,
  token,
} from './server-objects.ts';
import { SIGNATURE_BYTES } from './sizes.ts';
import { parseStrictJson } from './strict-json.ts';

/** Versions this program speaks, best first. A server that speaks none of a client's tells its own in the error. */
export const SERVER_VERSIONS = [1] as const;
/** What a server offers beyond the version; unknown ones are ignored. */
export const SERVER_FEATURES = ['channels', 'direct', 'files', 'search', 'calls'] as const;

export type { Needs } from './server-objects.ts';

const BEFORE: Needs = { role: 'before' };
const ADMIN: Needs = { role: 'admin' };
const READ: Needs = { role: 'member', channel: 'read' };
const FILE: Needs = { role: 'member', channel: 'file' };
const SEE: Needs = { role: 'member', channel: 'see' };

export const REQUESTS = {
  hello: request(
    'First on every connection. The answer is signed by the server key over both nonces, the origin dialled, and `bound`: whether TLS ends in the server, whose exporter the log-in signs then.',
    BEFORE,
    z.object({ versions: z.array(count).min(1).max(16), nonce: key32, origin: z.string().max(512) }),
    z.object({
      version: count,
      features: z.array(z.string().max(64)).max(64),
      server: key32,
      node: id,
      epoch: count,
      name: z.string(),
      nonce: key32,
      proof: base64(SIGNATURE_BYTES),
      bound: z.boolean(),
      at: time,
      registration: z.enum(['open', 'invite', 'closed']),
    }),
  ),
  login: request(
    'Proves a certified device; with `register` it also makes the member. `second` is asked for where a new device needs it. `sealed` is the greatest count this device has published with: one that knows of less was put back to an earlier state.',
    BEFORE,
    z.object({
      certificate: base64(512),
      proof: base64(SIGNATURE_BYTES),
      register: z.object({ name: memberName, invite: token.optional() }).optional(),
      second: z.object({ password, code }).optional(),
    }),
    z.object({
      member,
      device: id,
      inbox: head,
      oneTimeKeys: z.object({ ec: count, kyber: count }),
      sealed: count.default(0),
    }),
  ),
  'member.list': request(
    'Members by id, a page at a time; `names` and `ids` choose. Who has erased themself is found by `ids`, without a name.',
    MEMBER,
    z.object({
      after: id.optional(),
      names: z.array(z.string().max(256)).max(64).optional(),
      ids: z.array(id).max(ROOM_PAGE_MAX).optional(),
      limit: count.min(1).max(ROOM_PAGE_MAX).default(ROOM_PAGE_MAX),
    }),
    z.object({ members: z.array(member), more: z.boolean() }),
  ),
  'member.devices': request(
    'Certificates of the devices of up to 64 members: of each those that are, then those that were, 128 in all. Members that no more fit for are left out: they are asked for again.',
    MEMBER,
    z.object({ members: z.array(id).min(1).max(DEVICES_ASKED_MAX) }),
    z.object({ devices: z.record(id, z.array(device)) }),
  ),
  'member.profile': request(
    'Changes my name or status text.',
    MEMBER,
    z.object({
      name: memberName.optional(),
      status: z.string().max(STATUS_TEXT_CHARS_MAX).refine(wellFormed).optional(),
    }),
    z.object({ member }),
  ),
  'member.export': request(
    'What is kept about me, as JSON: profile, devices, how many one-time keys they have and how often they had sealed something, second check and its tries, memberships, read marks, invites I made, files and uploads, audit lines by and about me, and how many events my inbox has. A list that does not fit is named in `cut`. The events themselves are in `log.page`.',
    MEMBER,
    none,
    z.object({ json: z.string() }),
  ),
  'member.erase': request(
    'Erases my name, devices, keys, read marks and inbox with its files. Channels keep my id among their members, and my messages.',
    MEMBER,
    z.object({ confirm: z.string().max(256) }),
    none,
  ),
  'member.ban': request(
    'Ends all of a member’s connections and log-ins; `banned: false` takes it back.',
    ADMIN,
    z.object({ member: id, banned: z.boolean() }),
    none,
  ),
  'member.role': request(
    'Makes a member an admin, or takes that back.',
    { role: 'owner' },
    z.object({ member: id, role: z.enum(['admin', 'member']) }),
    none,
  ),
  'device.revoke': request('Ends a device of mine.', MEMBER, z.object({ device: id }), none),
  'second.show': request(
    'Whether there is a second check, how many recovery codes are left, and the time its codes go by.',
    MEMBER,
    none,
    z.object({ on: z.boolean(), recoveryCodesLeft: count, at: time }),
  ),
  'second.set': request(
    'Sets or changes password and TOTP; the present ones are asked for where there are some. `why` of its error is `new` where the code is not one of the new secret: nothing was tried or used up.',
    MEMBER,
    z.object({ password, secret: base64(64), code, present: z.object({ password, code }).optional() }),
    z.object({ recoveryCodes: z.array(z.string()) }),
  ),
  'second.remove': request('Removes them.', MEMBER, z.object({ password, code }), none),
  'prekeys.put': request(
    'Publishes prekeys of this device: the signed and last-resort ones whole; one-time ones are added that are newer than those that are here, so that it may be repeated.',
    MEMBER,
    z.object({
      signed: base64(256).optional(),
      lastResort: base64(2048).optional(),
      ec: z.array(base64(64)).max(PREKEYS_PUBLISHED),
      kyber: z.array(base64(2048)).max(PREKEYS_PUBLISHED),
    }),
    z.object({ ec: count, kyber: count }),
  ),
  'prekeys.take': request(
    'One bundle of each device of a member that has keys, or of `devices` alone, one-time keys used up; five a day of each member for each asker.',
    MEMBER,
    z.object({ member: id, devices: z.array(id).min(1).max(DEVICES_TOLD_MAX).optional() }),
    z.object({ bundles: z.array(bundle) }),
  ),
  'invite.create': request(
    'A token that lets people register; the server keeps its hash. It ends in 7 days, or when it says: after now, and within ten years.',
    ADMIN,
    z.object({
      uses: z.number().int().min(1).max(INVITE_USES_MAX).default(1),
      expiresAt: time.optional(),
      role: z.enum(['admin', 'member']).default('member'),
    }),
    z.object({ invite, token }),
  ),
  'invite.list': request(
    'Invites that still work, a page at a time.',
    ADMIN,
    z.object({ after: id.optional() }),
    z.object({ invites: z.array(invite), more: z.boolean().default(false) }),
  ),
  'invite.revoke': request('Ends an invite.', ADMIN, z.object({ invite: id }), none),
  'channel.list': request(
    'Channels I am in; `all` adds those that may be joined.',
    MEMBER,
    z.object({ all: z.boolean().default(false), after: id.optional() }),
    z.object({ channels: z.array(channel), more: z.boolean() }),
  ),
  'channel.find': request(
    'A channel by its name.',
    MEMBER,
    z.object({ name: z.string().max(64) }),
    z.object({ channel }),
  ),
  'log.page': request(
    'Events of a channel or of my inbox, ascending: before or after a seq, or around a time. They come as binary frames with this request’s id, then the answer.',
    READ,
    inChannel.extend({
      before: count.optional(),
      after: count.optional(),
      at: time.optional(),
      limit: count.max(ROOM_PAGE_MAX).default(ROOM_PAGE_MAX),
    }),
    z.object({ events: count, head }),
  ),
  'log.control': request(
    'The control events of a channel after a seq, from its creation on: what membership is replayed from.',
    SEE,
    inChannel.extend({ after: count.default(0) }),
    z.object({ events: count, more: z.boolean(), head }),
  ),
  'log.search': request(
    'Full text of an open channel, newest first: the events as binary frames, then the answer. A beginning, `begin*`, has two letters or digits at least.',
    READ,
    inChannel.extend({
      query: z.string().min(1).max(QUERY_CHARS_MAX),
      before: count.optional(),
      limit: count.max(ROOM_PAGE_MAX).default(ROOM_PAGE_MAX),
    }),
    z.object({ events: count, more: z.boolean() }),
  ),
  resume: request(
    'From now on these channels are told live. What came after a cursor is sent first, if it is still whole.',
    MEMBER,
    z.object({ cursors: z.record(id, cursor) }),
    z.object({ channels: z.record(id, z.object({ recovered: z.boolean(), head })) }),
  ),
  leave: request('Ends live telling.', MEMBER, z.object({ channels: z.array(id).max(10_000) }), none),
  mark: request('Read up to here; my other devices are told.', READ, inChannel.extend({ seq: count }), none),
  marks: request('All my read marks.', MEMBER, none, z.object({ marks: z.record(id, count) })),
  typing: request(
    'I write in a channel, or to the member of this id, or stopped. Kept nowhere.',
    CALL,
    inChannel.extend({ on: z.boolean() }),
    none,
  ),
  presence: request(
    `What others see of me. Who is there is told to all while not more than ${TOLD_IN_PASSING_MAX} members are. With more, \`presence.unknown\` says once that nothing told of it counts any more, until there are fewer.`,
    MEMBER,
    z.object({ state: z.enum(['online', 'away']) }),
    none,
  ),
  'blob.begin': request(
    'Begins or goes on with an upload of ciphertext, named by its SHA-256. What I have brought there before is received whole: it is only to be completed again.',
    FILE,
    inChannel.extend({ hash: blobHash, sizeBytes: count.max(FILE_BYTES_MAX) }),
    z.object({ upload: id, receivedBytes: count }),
  ),
  'blob.complete': request(
    'Ends an upload: the bytes are hashed, kept, and may be fetched by who reads the channel; those for an inbox by its owner and by who brought them. They count as the uploader’s for `ttlSeconds` (0: as long as channel or inbox keep what came then), and go when nobody may fetch them any more, an hour after the upload at the earliest. In a channel it counts as a publish, in an inbox as a direct message.',
    FILE,
    inChannel.extend({ upload: id, ttlSeconds: count.max(0xffff_ffff).default(0) }),
    none,
  ),
  'blob.get': request(
    'Bytes of a blob of a channel, of the own inbox, or of one that I have brought into the inbox of another, as binary frames with this request’s id, then the answer.',
    FILE,
    inChannel.extend({ hash: blobHash, from: count.default(0), limit: count.max(FILE_BYTES_MAX) }),
    z.object({ sentBytes: count }),
  ),
  'blob.remove': request(
    'Takes back what I brought to a channel or into an inbox: an upload under way, and the bytes that may be fetched there. A moderator of the channel takes back what anybody brought. Bytes that may be fetched nowhere any more are gone at once.',
    FILE,
    inChannel.extend({ hash: blobHash }),
    none,
  ),
  ...CALL_REQUESTS,
} as const;

export type RequestName = keyof typeof REQUESTS;
export type RequestParamsIn<Name extends RequestName> = z.input<(typeof REQUESTS)[Name]['params']>;
export type RequestParams<Name extends RequestName> = z.output<(typeof REQUESTS)[Name]['params']>;
export type Answer<Name extends RequestName> = z.infer<(typeof REQUESTS)[Name]['ok']>;

/** The answer to a publish. */
export const PLACED = placed;
export type Placed = z.infer<typeof placed>;

/** What a server says unasked, as JSON; log events are binary. */
export const NOTICES = {
  /** In a channel, or to me: then the channel is the id of the member. */
  typing: z.object({ channel: id, member: id, on: z.boolean() }),
  presence: z.object({ member: id, state: z.enum(['online', 'away', 'offline']), status: z.string() }),
  /** So many are there that nobody is told who: what was told of it counts no more. */
  'presence.unknown': z.object({ members: count }),
  marked: z.object({ channel: id, seq: count }),
  member: z.object({ member }),
  invited: z.object({ channel: id }),
  moved: z.object({ retryAfterMs: count }),
  ...CALL_NOTICES,
} as const;

export type { ServerCall } from './server-calls.ts';
export type NoticeName = keyof typeof NOTICES;
export type Notice = { [Name in NoticeName]: { readonly notice: Name } & z.infer<(typeof NOTICES)[Name]> }[NoticeName];

export type ServerMember = z.infer<typeof member>;
export type ServerDevice = z.infer<typeof device>;
export type ServerChannel = z.infer<typeof channel>;
export type ServerInvite = z.infer<typeof invite>;
export type WireHead = z.infer<typeof head>;

// It stands in the head of binary messages, too.
const RequestHead = z.object({ id: count.max(0xffff_ffff), do: z.string().max(64) });
const AnswerHead = z.union([
  z.object({ id: count, ok: z.unknown() }),
  z.object({
    id: count,
    error: z.object({
      code: z.string().max(64),
      retryAfterMs: count.optional(),
      details: z.record(z.string(), z.unknown()).optional(),
    }),
  }),
  z.looseObject({ notice: z.string().max(64) }),
]);

export type AnyRequest = {
  [Name in RequestName]: { readonly id: number; readonly name: Name; readonly params: RequestParams<Name> };
}[RequestName];

/** One request of a text frame. Throws ProtocolError `frame.invalid`; a request that is not known has its id in details. */
export const decodeRequest = (text: string): AnyRequest => {
  const value = parseStrictJson(text);
  const parsed = RequestHead.safeParse(value);
  if (!parsed.success) throw invalid('request');
  const { id, do: name } = parsed.data;
  if (!Object.hasOwn(REQUESTS, name)) throw invalid('unknown', id);
  const params = REQUESTS[name as RequestName].params.safeParse(value);
  if (!params.success) throw invalid('params', id);
  return { id, name, params: params.data } as AnyRequest;
};

/** A request as its frame of text. */
export const encodeRequest = <Name extends RequestName>(
  id: number,
  name: Name,
  params: RequestParamsIn<Name>,
): string => JSON.stringify({ ...(params as object), id, do: name });

/** An answer or notice as the client reads it; `ok` is still to be parsed by the request it answers. */
export type FromServer = z.infer<typeof AnswerHead>;

/** Throws ProtocolError `frame.invalid`. */
export const decodeFromServer = (text: string): FromServer => {
  const parsed = AnswerHead.safeParse(parseStrictJson(text));
  if (!parsed.success) throw invalid('answer');
  return parsed.data;
};
