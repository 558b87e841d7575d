// The part of the local wire that is about rooms: servers, channels and members.
import * as z from 'zod';
import { wellFormed } from './fields.ts';
import {
  HISTORY_EVENTS_MAX,
  INVITE_MS_MAX,
  INVITE_USES_MAX,
  MEMBER_NAME_CHARS_MAX,
  SLOW_MS_MAX,
  STATUS_TEXT_CHARS_MAX,
  TOPIC_CHARS_MAX,
  WAIT_MS_MAX,
} from './limits.ts';
import { isRetention } from './room-content.ts';
import { label, line, milliseconds, none, passphrase, reference, time } from './rpc-fields.ts';

// objects

// `revoked`: this device was removed by another one of its member, who may go on there.
const serverState = z.enum(['off', 'dialling', 'online', 'waiting', 'banned', 'revoked']);
/** A server as `status` and `server list` tell it. */
export const serverObject = z.object({
  id: z.string(),
  label: z.string(),
  url: z.string(),
  name: z.string(),
  state: serverState,
  memberName: z.string(),
  memberId: z.string(),
  role: z.string(),
  fingerprint: z.string(),
  through: z.enum(['tor', 'clearnet', 'loopback']),
  rttMs: z.number().optional(),
  lastError: z.string().optional(),
  lastErrorCode: z.string().optional(),
  lastErrorAt: time.optional(),
  nextRetryAt: time.optional(),
  outboxDepth: z.number().int(),
  /** Where what waits is tried again later, and why, and when the server takes it: some of them. */
  stuck: z.array(z.object({ conversation: z.string(), reason: z.string(), goesAt: time.optional() })).optional(),
  /** What of direct messages there may be lost, in words. */
  missing: z.array(z.string()).optional(),
});

/** A member as lists show it. */
export const memberObject = z.object({
  id: z.string(),
  name: z.string(),
  server: z.string(),
  role: z.string(),
  status: z.string().optional(),
  presence: z.enum(['online', 'away', 'offline']).optional(),
  /** The server lets them in no more, and takes nothing for them, until that is taken back; absent also where it was not asked. */
  banned: z.boolean().optional(),
  request: z.enum(['open', 'accepted', 'rejected']).optional(),
  blocked: z.boolean(),
  verified: z.boolean(),
  /** The contact that this is, as both have said. */
  contact: z.string().optional(),
  /** Whom I have said it is, while they have not. */
  contactSaid: z.string().optional(),
  safetyNumber: z.string().optional(),
});

/** What an owner makes of a member of a server. */
const serverRole = z.enum(['member', 'admin']);
export const channelRole = z.enum(['owner', 'admin', 'moderator', 'member']);
/** Somebody in a channel. */
const channelMember = z.object({
  id: z.string(),
  name: z.string(),
  role: channelRole,
  verified: z.boolean(),
  muted: z.boolean().optional(),
  /** Absent while it is for good. */
  mutedUntilAt: time.optional(),
});

/** History that a member shares with another. */
const share = z.object({
  id: z.string(),
  channel: z.string(),
  /** `out`: I share it with `member`; `in`: they share it with me. */
  direction: z.enum(['out', 'in']),
  member: z.string(),
  fromSeq: z.number().int(),
  toSeq: z.number().int(),
  /** Events in all, and how many have gone or come. */
  events: z.number().int(),
  doneEvents: z.number().int(),
  state: z.enum(['active', 'done', 'refused']),
  reason: z.string().optional(),
  /** Of what was shared with me: others whose signed events confirm some of it, and how many events they confirm. */
  confirmedBy: z.array(z.string()).optional(),
  confirmedEvents: z.number().int().optional(),
  createdAt: time,
});

/** A channel as `channel show` and `channel list` tell it. */
export const channelObject = z.object({
  id: z.string(),
  name: z.string(),
  server: z.string(),
  encryption: z.enum(['open', 'passphrase', 'members']),
  private: z.boolean(),
  history: z.enum(['joined', 'all']),
  /**
   * `lost`: its server shows it no more, and nobody has said that I was removed. `notCreated`: in a look back, before it was made.
   */
  state: z.enum([
    'joinable',
    'byInvitation',
    'invited',
    'joining',
    'joined',
    'left',
    'removed',
    'banned',
    'lost',
    'notCreated',
  ]),
  /** Whose invitation it is, while I have one. */
  invitedBy: z.string().optional(),
  topic: z.string().optional(),
  /** Of a topic of mine that the server has not answered; also where it removes the one that was. */
  topicState: z.literal('queued').optional(),
  role: channelRole.optional(),
  archived: z.boolean(),
  slowMs: milliseconds.optional(),
  retentionMs: milliseconds.optional(),
  keyEpoch: z.number().int(),
  /** Of a passphrase channel: people who were removed and may still read until the passphrase changes. */
  mayStillRead: z.array(z.string()).optional(),
  /** Of a passphrase channel that I am in: this device has not taken the passphrase of now. */
  passphraseNeeded: z.boolean().optional(),
  /** With `passphraseNeeded`: it has taken an earlier one. */
  passphraseChanged: z.boolean().optional(),
  /** Six words that were made for want of another passphrase: told once, by the call that made them. */
  passphrase: z.string().optional(),
  notify: z.enum(['all', 'mentions', 'none']),
  memberCount: z.number().int(),
  members: z.array(channelMember).optional(),
  /** Who may not join, by name; absent while nobody is banned. */
  banned: z.array(z.object({ id: z.string(), name: z.string() })).optional(),
  heldFrom: z.number().int().optional(),
  heldTo: z.number().int().optional(),
  /** Of one that is being joined: the last place of its log, when it was last asked for. */
  logTo: z.number().int().optional(),
  shares: z.array(share).optional(),
  gaps: z.array(z.object({ fromSeq: z.number().int(), toSeq: z.number().int(), reason: z.string() })).optional(),
});

const invite = z.object({
  id: z.string(),
  server: z.string(),
  link: z.string().optional(),
  role: z.string(),
  uses: z.number().int(),
  expiresAt: time.optional(),
  createdAt: time,
});
const device = z.object({
  id: z.string(),
  this: z.boolean(),
  addedAt: time,
  revoked: z.boolean(),
  /** Of the server, the same for all: whether another one needs the second check. */
  secondCheck: z.boolean(),
});

/** The second check that a server asks of another device of mine. */
const secondCheck = z.object({ server: z.string(), on: z.boolean(), recoveryCodesLeft: z.number().int() });
const second = z.object({ password: z.string().min(1).max(1024), code: z.string().min(4).max(64) });

/** A call: of a conversation, over when nobody is in it. `linked` is false while somebody’s connection is being dialled. */
const call = z.object({
  id: z.string(),
  conversation: z.string(),
  conversationId: z.string(),
  server: z.string(),
  startedAt: time,
  people: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      mine: z.boolean(),
      muted: z.boolean(),
      deafened: z.boolean(),
      linked: z.boolean(),
    }),
  ),
});

const method = <Params extends z.ZodType, Result extends z.ZodType>(doc: string, params: Params, result: Result) => ({
  doc,
  params,
  result,
});
const wait = { timeoutMs: z.number().int().min(0).max(WAIT_MS_MAX).optional() };
const onServer = z.object({ server: reference.optional() });
const ofChannel = z.object({ channel: reference });
/** For what the server is asked, and waited for: 15 s when `timeoutMs` is absent. */
const atServer = onServer.extend(wait);
const inChannel = ofChannel.extend(wait);
const ofChannelMember = inChannel.extend({ member: reference });
/** Whom nobody here knows the server is asked for. */
const ofMember = z.object({ member: reference }).extend(wait);

/** Methods of an open account about rooms. */
export const ROOM_METHODS = {
  'server.join': method(
    'Becomes a member of the server of an invite link, or logs another device in; waits until the server has answered.',
    z.object({
      link: z.string().min(1).max(4096),
      name: z.string().min(1).max(MEMBER_NAME_CHARS_MAX).refine(wellFormed).optional(),
      // `x@label` has one reading, and what is pasted from a screen is what was shown.
      label: label.regex(/^(?!\s)[^#@\p{C}]+(?<!\s)$/u, 'has no # or @, and no space at its ends').optional(),
      clearnet: z.boolean().optional(),
      password: passphrase.optional(),
      code: z.string().max(64).optional(),
      ...wait,
    }),
    serverObject.extend({
      /** Where it was until now, when this account is a member already and the link has its key at another address. */
      movedFrom: z.string().optional(),
    }),
  ),
  'server.list': method('The servers this account is a member of.', none, z.array(serverObject)),
  'server.retry': method(
    'Dials a server now, not at its next try, and lets what waits for a time go at once; waits until it has answered.',
    atServer,
    serverObject,
  ),
  'server.leave': method(
    'Ends this account’s membership here; `erase` also asks the server to forget it.',
    z.object({ server: reference, erase: z.boolean().optional(), ...wait }),
    serverObject,
  ),
  'server.invite': method(
    'Makes an invite link.',
    atServer.extend({
      uses: z.number().int().min(1).max(INVITE_USES_MAX).optional(),
      expiresMs: milliseconds.min(1, 'is more than 0').max(INVITE_MS_MAX, 'is at most ten years').optional(),
      role: serverRole.optional(),
    }),
    invite,
  ),
  'server.invites': method('Invites that still work.', atServer, z.array(invite)),
  'server.revoke': method('Ends an invite.', atServer.extend({ id: reference }), invite),
  'server.devices': method(
    'My devices on a server; `secondCheck` says of them all whether another one needs the second check.',
    atServer,
    z.array(device),
  ),
  'server.revokeDevice': method('Ends a device of mine.', atServer.extend({ id: reference }), device),
  'server.secondCheck': method(
    'Whether another device of mine needs a password and a code on a server, and how many recovery codes are left.',
    atServer,
    secondCheck,
  ),
  'server.secondSecret': method(
    'A secret for an authenticator, in base32 and as the link that it reads; it is kept nowhere and sets nothing.',
    onServer,
    z.object({ server: z.string(), secret: z.string(), link: z.string() }),
  ),
  'server.setSecondCheck': method(
    'Sets the second check, with a code of the new secret; with `present` it changes the one that is there. The recovery codes are told once.',
    atServer.extend({
      ...second.shape,
      secret: z.string().regex(/^[A-Z2-7]{32}$/, 'is 32 digits of base32, as server.secondSecret gives it'),
      present: second.optional(),
    }),
    z.object({ server: z.string(), recoveryCodes: z.array(z.string()) }),
  ),
  'server.removeSecondCheck': method(
    'Takes the second check away; needs the password and a code or a recovery code.',
    atServer.extend(second.shape),
    secondCheck,
  ),
  'server.export': method(
    'What a server says that it keeps about me, besides what I said.',
    atServer,
    z.object({ server: z.string(), kept: z.record(z.string(), z.unknown()) }),
  ),
  'server.profile': method(
    'Changes my name or status text on a server.',
    atServer.extend({
      name: z.string().min(1).max(MEMBER_NAME_CHARS_MAX).refine(wellFormed).optional(),
      status: line(STATUS_TEXT_CHARS_MAX).optional(),
    }),
    serverObject,
  ),
  'member.list': method('Members of a server by name.', onServer, z.array(memberObject)),
  'member.show': method('One member, with the safety number.', ofMember, memberObject),
  'member.verify': method(
    'Marks the safety number as compared, or takes that back.',
    ofMember.extend({ verified: z.boolean() }),
    memberObject,
  ),
  'member.accept': method('Lets a member write to me.', ofMember, memberObject),
  'member.reject': method('Lets nothing more of a member in, and says nothing.', ofMember, memberObject),
  'member.link': method(
    'Says that a member is a contact, and tells the contact who I am there; they are one person once both have said so.',
    ofMember.extend({ contact: reference }),
    memberObject,
  ),
  'member.unlink': method('Takes that back, and tells the contact.', ofMember, memberObject),
  'member.ban': method(
    'Ends a member’s connections to the server, which lets them in no more: for its owner and admins.',
    ofMember,
    memberObject,
  ),
  'member.unban': method('Lets a banned member in again.', ofMember, memberObject),
  'member.role': method(
    'Makes a member an admin of the server, or takes that back: for its owner.',
    ofMember.extend({ role: serverRole }),
    memberObject,
  ),
  'channel.create': method(
    'Makes a channel; its creation is signed and decides its encryption for ever. Without a passphrase where one is wanted, six words are made and told.',
    atServer.extend({
      name: z.string().min(1).max(64),
      encryption: z.enum(['open', 'passphrase', 'members']),
      private: z.boolean().optional(),
      history: z.enum(['joined', 'all']).optional(),
      passphrase: passphrase.optional(),
    }),
    channelObject,
  ),
  'channel.join': method('Joins a channel.', inChannel.extend({ passphrase: passphrase.optional() }), channelObject),
  'channel.leave': method(
    'Leaves a channel; its history stays here. The last member’s leaving archives it for good; one that its server shows no more ends here only.',
    inChannel,
    channelObject,
  ),
  'channel.list': method(
    'Channels I am in; `all` with those that may be joined.',
    atServer.extend({ all: z.boolean().optional() }),
    z.array(channelObject),
  ),
  'channel.show': method(
    'One channel with its members; with `at`, its topic and members at that time: `state` is `notCreated` where it was not made yet.',
    ofChannel.extend({ at: time.optional() }),
    channelObject,
  ),
  'channel.topic': method(
    'Changes the topic; it is as secret as the messages.',
    ofChannel.extend({ topic: line(TOPIC_CHARS_MAX) }),
    channelObject,
  ),
  'channel.invite': method('Lets a member join.', ofChannelMember, channelObject),
  'channel.kick': method(
    'Removes a member; the key changes before the next message, that of a passphrase channel by `channel.rotate`.',
    ofChannelMember,
    channelObject,
  ),
  'channel.ban': method('Removes a member for good; of the key the same is true.', ofChannelMember, channelObject),
  'channel.unban': method('Lets a banned member join again.', ofChannelMember, channelObject),
  'channel.mute': method(
    'Lets a member read but not write, until a time or for good.',
    ofChannelMember.extend({ until: time.optional(), muted: z.boolean() }),
    channelObject,
  ),
  'channel.role': method('Changes what a member may do.', ofChannelMember.extend({ role: channelRole }), channelObject),
  'channel.rotate': method(
    'Changes the key now; a passphrase channel gets the new passphrase, or six words that are made and told.',
    inChannel.extend({ passphrase: passphrase.optional() }),
    channelObject,
  ),
  'channel.shareHistory': method(
    'Shows a member of a members channel what was said before they came, as it was signed; called again, how far it has come.',
    ofChannelMember.extend({
      limit: z.number().int().min(1).max(HISTORY_EVENTS_MAX).optional(),
      /** One that was begun: nothing new is. */
      share: reference.optional(),
      wait: z.enum(['queued', 'sent']).optional(),
    }),
    share,
  ),
  'channel.archive': method('Ends writing in a channel for good; it stays readable.', inChannel, channelObject),
  'channel.set': method(
    'Slow mode and retention of the channel; my own notifications of it.',
    inChannel.extend({
      slowMs: milliseconds.max(SLOW_MS_MAX, 'is at most 6 hours').optional(),
      retentionMs: milliseconds.refine(isRetention, 'is 0, or from 1 hour to 10 years').optional(),
      notify: z.enum(['all', 'mentions', 'none']).optional(),
    }),
    channelObject,
  ),
  'call.list': method('Calls of my channels and with members, and who is in them.', atServer, z.array(call)),
} as const;

export type ServerObject = z.infer<typeof serverObject>;
export type MemberObject = z.infer<typeof memberObject>;
export type ChannelObject = z.infer<typeof channelObject>;
export type ShareObject = z.infer<typeof share>;
export type InviteObject = z.infer<typeof invite>;
export type DeviceObject = z.infer<typeof device>;
export type CallObject = z.infer<typeof call>;
