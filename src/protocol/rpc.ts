// The local wire between the daemon and its front ends: every object, method and event, declared once.
import { z } from 'zod';
import {
  EXPIRY_MS_MAX,
  EXPIRY_MS_MIN,
  FILE_NAME_BYTES_MAX,
  NAME_CHARS_MAX,
  NOTE_CHARS_MAX,
  PAGE_DEFAULT,
  PAGE_MAX,
  QUERY_CHARS_MAX,
  REACTION_CHARS_MAX,
  WAIT_MS_MAX,
} from './limits.ts';
import {
  type CallObject,
  type ChannelObject,
  type MemberObject,
  ROOM_EVENT_KINDS,
  ROOM_METHODS,
  serverObject,
} from './rpc-rooms.ts';

/** Rises when a method or a field is removed or renamed. */
export const RPC_VERSION = 1;

const time = z.number().int().min(0);
const bytes = z.number().int().min(0);
const milliseconds = z.number().int().min(0);
const reference = z.string().min(1, 'is empty').max(4096);
// Half a surrogate pair has no UTF-8: the other side would refuse the frame.
const wellFormed = (text: string) => text.isWellFormed();
const label = z.string().min(1, 'is empty').max(NAME_CHARS_MAX).refine(wellFormed);
const note = z.string().max(NOTE_CHARS_MAX).refine(wellFormed);
const emoji = z.string().min(1, 'is empty').max(REACTION_CHARS_MAX).refine(wellFormed);
// With a selector or without: keyboards leave it out.
const ONE_EMOJI = /^(?:\p{RGI_Emoji}|\p{Extended_Pictographic}\ufe0f?)$/v;
const oneEmoji = emoji.refine((text) => ONE_EMOJI.test(text), 'is not one emoji');
const passphrase = z.string().max(4096);
const none = z.object({});

// objects

const account = z.object({
  account: z.string(),
  address: z.string(),
  words: z.string(),
  link: z.string(),
  nickname: z.string(),
});

const messageState = z.enum(['queued', 'sent', 'delivered', 'read', 'failed', 'received']);
const reaction = z.object({ emoji: z.string(), from: z.string(), mine: z.boolean() });
const message = z.object({
  id: z.string(),
  conversation: z.string(),
  conversationId: z.string(),
  from: z.string(),
  body: z.string(),
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
const contact = z.object({
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

const conversation = z.object({
  id: z.string(),
  name: z.string(),
  kind: z.enum(['contact', 'group', 'channel', 'member', 'feed']),
  encryption: z.string(),
  verified: z.boolean(),
  unread: z.number().int(),
  mentions: z.number().int(),
  lastAt: time.optional(),
  draft: z.string().optional(),
  muted: z.boolean(),
  /** Absent while it is muted for ever. */
  mutedUntilAt: time.optional(),
  archived: z.boolean(),
});

const file = z.object({
  id: z.string(),
  conversation: z.string(),
  name: z.string(),
  sizeBytes: bytes,
  transferredBytes: bytes,
  state: z.enum(['offered', 'active', 'paused', 'done', 'cancelled', 'failed']),
  hash: z.string(),
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
const status = z.object({
  account: z.string(),
  nickname: z.string(),
  address: z.string(),
  tor,
  outboxDepth: z.number().int(),
  unread: z.number().int(),
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

const why = z.object({
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

const check = z.object({ check: z.string(), ok: z.boolean(), detail: z.string(), fix: z.string().optional() });
const settingValue = z.union([z.string(), z.number(), z.boolean()]);
const settingRow = z.object({
  key: z.string(),
  value: settingValue,
  default: settingValue,
  source: z.enum(['default', 'account', 'conversation']),
  scopes: z.array(z.string()),
  restart: z.boolean(),
  doc: z.string(),
});

const page = {
  limit: z.number().int().min(1).max(PAGE_MAX).default(PAGE_DEFAULT),
  before: reference.optional(),
  after: reference.optional(),
};
const wait = { timeoutMs: z.number().int().min(0).max(WAIT_MS_MAX).optional() };
// Whether a wait reached what it was for, and the error that made waiting useless.
const waited = { reached: z.boolean(), useless: z.enum(['tor.offline', 'contact.paused']).optional() };
const inConversation = z.object({ conversation: reference });
const ofContact = z.object({ contact: reference });
const ofMessage = z.object({ id: reference });
const ofFile = z.object({ id: reference });
const expiry = {
  expiresMs: milliseconds
    .refine(
      (ms) => ms === 0 || (ms >= EXPIRY_MS_MIN && ms <= EXPIRY_MS_MAX),
      'a message lives 1 s to 365 days; 0 = for ever',
    )
    .optional(),
  expiresFrom: z.enum(['delivery', 'read']).optional(),
};

// kinds of events

/** Kinds with a cursor: committed, replayed by `listen --since`. */
export const EVENT_KINDS = [
  'message.received',
  'message.queued',
  'message.sent',
  'message.delivered',
  'message.read',
  'message.edited',
  'message.deleted',
  'message.reacted',
  'message.pinned',
  'message.expired',
  'message.failed',
  'request.received',
  'request.accepted',
  'request.rejected',
  'contact.keyChanged',
  'contact.verified',
  'contact.renamed',
  'contact.blocked',
  'contact.removed',
  'session.healed',
  'config.changed',
  'account.duplicate',
  'file.offered',
  'file.completed',
  'file.failed',
  ...ROOM_EVENT_KINDS,
] as const;
/** Kinds without a cursor: told while they happen, never replayed. */
export const VOLATILE_KINDS = [
  'link.up',
  'link.down',
  'tor.changed',
  'typing.changed',
  'presence.changed',
  'file.progressed',
  'voice.changed',
] as const;

// methods

const method = <Params extends z.ZodType, Result extends z.ZodType>(doc: string, params: Params, result: Result) => ({
  doc,
  params,
  result,
});

/** Methods that work before an account is open or while it is locked; the daemon answers them itself. */
export const DAEMON_METHODS = {
  'account.init': method(
    'Creates the account of this daemon and opens it. `noPassphrase` makes a key file instead.',
    z.object({ nickname: label, passphrase: passphrase.optional(), noPassphrase: z.boolean().optional() }),
    account.extend({ recoveryPhrase: z.string(), warning: z.string().optional() }),
  ),
  'account.restore': method(
    'Creates the account from a recovery phrase, or from a backup file at an absolute path.',
    z.object({
      phrase: z.string().max(1024).optional(),
      file: z.string().max(4096).optional(),
      backupPassphrase: passphrase.optional(),
      nickname: label.optional(),
      passphrase: passphrase.optional(),
      noPassphrase: z.boolean().optional(),
    }),
    account.extend({ warning: z.string().optional() }),
  ),
  'account.unlock': method('Opens a locked account.', z.object({ passphrase }), z.object({ locked: z.boolean() })),
  'account.lock': method('Drains, leaves the network and drops all keys.', none, z.object({ locked: z.boolean() })),
  'account.passwd': method(
    'Changes, sets or removes the passphrase; `rekey` also rewrites the database under a new key.',
    z.object({
      passphrase: passphrase.optional(),
      newPassphrase: passphrase.optional(),
      noPassphrase: z.boolean().optional(),
      rekey: z.boolean().optional(),
    }),
    z.object({ changed: z.boolean(), warning: z.string().optional() }),
  ),
  'account.remove': method(
    'Erases the account and ends the daemon.',
    z.object({ confirm: z.string() }),
    z.object({ removed: z.boolean() }),
  ),
  'account.takeover': method(
    'Runs the account here although it may run elsewhere too; contacts are told when two copies take turns.',
    none,
    z.object({ taken: z.boolean() }),
  ),
  'account.rename': method(
    'Renames the account on this machine and ends the daemon.',
    z.object({ name: label }),
    z.object({ account: z.string() }),
  ),
  'backup.create': method(
    'Writes an encrypted backup to an absolute path while running. Without a passphrase the recovery phrase opens it.',
    z.object({ file: z.string().max(4096), passphrase: passphrase.optional() }),
    z.object({ file: z.string(), sizeBytes: bytes, messages: z.number().int() }),
  ),
  'daemon.stop': method('Drains and ends the daemon.', none, z.object({ stopping: z.boolean() })),
  'daemon.reload': method(
    'Reads config.toml again; a bad one is refused whole.',
    none,
    z.object({ reloaded: z.boolean() }),
  ),
  'doctor.check': method('Looks at everything that can be wrong.', none, z.array(check)),
  'hook.list': method(
    'The hooks and what became of their last runs.',
    none,
    z.array(z.object({ name: z.string(), ok: z.boolean(), detail: z.string(), lastRunAt: time.optional() })),
  ),
  'rpc.methods': method(
    'Every method with its description.',
    none,
    z.array(z.object({ method: z.string(), doc: z.string() })),
  ),
  'status.show': method('Network, queue, unread, links and the daemon itself.', none, status),
  'status.wait': method(
    'Waits until Tor is bootstrapped (`online`) or a dial from outside would succeed (`reachable`).',
    z.object({ until: z.enum(['online', 'reachable']), ...wait }),
    status,
  ),
  'event.listen': method(
    'Turns this connection into a subscriber: committed events after `since`, then live ones, as `event` notifications.',
    z.object({
      since: z
        .string()
        .regex(/^\d{1,15}$/)
        .optional(),
      kinds: z
        .array(z.enum([...EVENT_KINDS, ...VOLATILE_KINDS], 'is no kind of event'))
        .max(64)
        .optional(),
    }),
    z.object({ cursor: z.string() }),
  ),
  'session.focus': method(
    'Tells that this front end has, or lost, the user’s eyes.',
    z.object({ focused: z.boolean() }),
    none,
  ),
} as const;

/** Methods of an open account; `core` answers them. */
export const ACCOUNT_METHODS = {
  'account.show': method('My address in every form.', none, account),
  'account.nickname': method('Changes the nickname that new contacts see.', z.object({ nickname: label }), account),
  'contact.add': method(
    'Sends a contact request to an address in any form.',
    z.object({
      address: z.string().min(1).max(4096),
      name: label.optional(),
      note: note.optional(),
      wait: z.enum(['accepted']).optional(),
      ...wait,
    }),
    contact,
  ),
  'contact.list': method(
    'Contacts by name; `all` with removed and blocked ones.',
    z.object({ all: z.boolean().optional() }),
    z.array(contact),
  ),
  'contact.requests': method('Open requests from others.', none, z.array(contact)),
  'contact.show': method('One contact with safety number and the history of its keys.', ofContact, contact),
  'contact.accept': method('Accepts a request.', ofContact.extend({ name: label.optional() }), contact),
  'contact.reject': method('Closes a request; the other side is told nothing.', ofContact, contact),
  'contact.verify': method(
    'Marks the safety number as compared, or takes that back; `scanned`, the text of their QR code, is compared first.',
    ofContact.extend({ verified: z.boolean(), scanned: z.string().max(1024).optional() }),
    contact,
  ),
  'contact.rename': method('Changes the name a contact has here.', ofContact.extend({ name: label }), contact),
  'contact.note': method('Keeps a note about a contact; empty removes it.', ofContact.extend({ note }), contact),
  'contact.block': method('Lets nothing from a contact in, and says nothing.', ofContact, contact),
  'contact.unblock': method('Lets a blocked contact in again.', ofContact, contact),
  'contact.remove': method(
    'Ends the contact and erases its keys; `erase` its history too.',
    ofContact.extend({ erase: z.boolean().optional() }),
    contact,
  ),
  'contact.why': method('Explains what is in the way of a contact.', ofContact, why),
  'contact.retry': method('Dials a contact now.', ofContact, why),
  'contact.ping': method(
    'Asks the program at the other end of the link to answer, and times it; a minute at most unless `timeoutMs` says so.',
    ofContact.extend({ timeoutMs: milliseconds.max(WAIT_MS_MAX).optional() }),
    z.object({ contact: z.string(), rttMs: z.number() }),
  ),
  'message.send': method(
    'Puts a text into the outbox, and waits for a state when asked. Where it was not reached, `code` is the error that says why.',
    inConversation.extend({
      text: z.string(),
      replyTo: reference.optional(),
      thread: reference.optional(),
      wait: z.enum(['queued', 'sent', 'delivered', 'read']).optional(),
      ...expiry,
      ...wait,
    }),
    z.object({ message, reached: z.boolean(), code: z.string().optional() }),
  ),
  'message.list': method(
    'A page of a conversation, oldest first; the newest page without a bound.',
    inConversation.extend({ ...page, at: time.optional(), thread: reference.optional() }),
    z.object({
      messages: z.array(message),
      more: z.boolean(),
      /** What of a room is known to be missing here, in words. */
      missing: z.array(z.string()).optional(),
    }),
  ),
  'message.unread': method(
    'Unread messages of all conversations or one, oldest first.',
    z.object({ conversation: reference.optional(), ...page, markRead: z.boolean().optional() }),
    z.object({ messages: z.array(message), more: z.boolean() }),
  ),
  'message.show': method('One message with its versions.', ofMessage, message),
  'message.edit': method('Changes the text of a message of mine.', ofMessage.extend({ text: z.string() }), message),
  'message.delete': method(
    'Deletes a message of mine on both sides; `local` only here, of anyone.',
    ofMessage.extend({ local: z.boolean().optional() }),
    message,
  ),
  'message.react': method('Adds a reaction.', ofMessage.extend({ emoji: oneEmoji }), message),
  'message.unreact': method('Takes a reaction back.', ofMessage.extend({ emoji }), message),
  'message.pin': method('Pins a message for both sides.', ofMessage, message),
  'message.unpin': method('Takes a pin back.', ofMessage, message),
  'message.resend': method(
    'Puts a failed message into the outbox again; one that was recalled gets another id.',
    ofMessage,
    message,
  ),
  'message.cancel': method(
    'Takes a message back that was not delivered yet: it has failed, `cancelled`; or `recalled`, when it had left already.',
    ofMessage,
    message,
  ),
  'message.search': method(
    'Full text over the history, newest first, with snippets.',
    z.object({
      query: z.string().min(1, 'is empty').max(QUERY_CHARS_MAX),
      conversation: reference.optional(),
      from: reference.optional(),
      ...page,
    }),
    z.object({ messages: z.array(message), more: z.boolean() }),
  ),
  'conversation.list': method(
    'Conversations, the latest first.',
    z.object({ archived: z.boolean().optional() }),
    z.array(conversation),
  ),
  'conversation.show': method('One conversation.', inConversation, conversation),
  'conversation.markRead': method(
    'Marks everything up to a message as read.',
    inConversation.extend({ to: reference.optional() }),
    conversation,
  ),
  'conversation.mute': method(
    'No notifications until a time; without one, for ever.',
    inConversation.extend({ until: time.optional() }),
    conversation,
  ),
  'conversation.unmute': method('Notifications again.', inConversation, conversation),
  'conversation.archive': method(
    'Hides a conversation until something new comes.',
    inConversation.extend({ archived: z.boolean() }),
    conversation,
  ),
  'conversation.clear': method('Erases the history of a conversation here.', inConversation, conversation),
  'conversation.draft': method(
    'Keeps, shows (no `text`) or drops (empty `text`) a draft.',
    inConversation.extend({ text: z.string().optional() }),
    conversation,
  ),
  'conversation.typing': method(
    'Tells the other side that you write, if the setting allows.',
    inConversation.extend({ on: z.boolean() }),
    none,
  ),
  'presence.set': method(
    'Online or away, for contacts the setting allows, and for servers, where who is connected is seen by all.',
    z.object({ state: z.enum(['online', 'away']) }),
    none,
  ),
  'config.list': method(
    'Every setting with its value.',
    z.object({ conversation: reference.optional() }),
    z.array(settingRow),
  ),
  'config.get': method('One setting.', z.object({ key: z.string(), conversation: reference.optional() }), settingRow),
  'config.set': method(
    'Sets a setting, for the account or one conversation.',
    z.object({ key: z.string(), value: settingValue, conversation: reference.optional() }),
    settingRow,
  ),
  'config.unset': method(
    'Back to the wider scope or the default.',
    z.object({ key: z.string(), conversation: reference.optional() }),
    settingRow,
  ),
  'file.send': method(
    'Offers a file at an absolute path.',
    inConversation.extend({
      path: z.string().max(4096),
      name: z.string().max(FILE_NAME_BYTES_MAX).optional(),
      wait: z.enum(['offered', 'done']).optional(),
      ...wait,
    }),
    z.object({ file, ...waited }),
  ),
  'file.open': method(
    'Begins a spooled file for `file.write`.',
    inConversation.extend({ name: z.string().max(FILE_NAME_BYTES_MAX) }),
    z.object({ id: z.string() }),
  ),
  'file.write': method(
    'Appends bytes (base64, at most 512 KiB) to a spooled file; an error ends it.',
    ofFile.extend({ data: z.string().max(700_000) }),
    z.object({ sizeBytes: bytes }),
  ),
  'file.offer': method(
    'Offers a spooled file.',
    ofFile.extend({ wait: z.enum(['offered', 'done']).optional(), ...wait }),
    z.object({ file, ...waited }),
  ),
  'file.list': method(
    'Files of all conversations or one, the latest last.',
    z.object({ conversation: reference.optional(), limit: page.limit, before: page.before }),
    z.array(file),
  ),
  'file.show': method('One file.', ofFile, file),
  'file.save': method(
    'Fetches a file and writes it to an absolute path that does not exist yet. Without `timeoutMs` the wait ends after a minute in which nothing came.',
    ofFile.extend({
      path: z.string().max(4096),
      overwrite: z.boolean().optional(),
      wait: z.enum(['active', 'done']).optional(),
      ...wait,
    }),
    z.object({ file, ...waited }),
  ),
  'file.read': method(
    'A chunk of a fetched file, decrypted (base64); empty at its end.',
    ofFile.extend({ index: z.number().int().min(0) }),
    z.object({ data: z.string(), last: z.boolean() }),
  ),
  'file.fetch': method(
    'Fetches a file without saving it.',
    ofFile.extend({ wait: z.enum(['active', 'done']).optional(), ...wait }),
    z.object({ file, ...waited }),
  ),
  'file.pause': method('Pauses what is being fetched; `file.fetch` or `file.save` goes on with it.', ofFile, file),
  'file.cancel': method('Ends a transfer and erases what is kept of it.', ofFile, file),
  ...ROOM_METHODS,
} as const;

export const METHODS = { ...DAEMON_METHODS, ...ACCOUNT_METHODS } as const;

export type DaemonMethod = keyof typeof DAEMON_METHODS;
export type AccountMethod = keyof typeof ACCOUNT_METHODS;
export type Method = keyof typeof METHODS;
/** What a caller gives: fields with a default may be absent. */
export type ParamsIn<M extends Method> = z.input<(typeof METHODS)[M]['params']>;
/** What a handler gets: validated, with defaults. */
export type Params<M extends Method> = z.output<(typeof METHODS)[M]['params']>;
export type Result<M extends Method> = z.infer<(typeof METHODS)[M]['result']>;

export type AccountObject = z.infer<typeof account>;
export type Message = z.infer<typeof message>;
export type MessageState = z.infer<typeof messageState>;
export type Contact = z.infer<typeof contact>;
export type Conversation = z.infer<typeof conversation>;
export type FileObject = z.infer<typeof file>;
export type Status = z.infer<typeof status>;
export type Why = z.infer<typeof why>;
export type Check = z.infer<typeof check>;
export type SettingRow = z.infer<typeof settingRow>;

// events

export type EventKind = (typeof EVENT_KINDS)[number];
export type VolatileKind = (typeof VOLATILE_KINDS)[number];

/** One event for front ends: the object it is about stands under its own name. */
export type Event = {
  readonly kind: EventKind | VolatileKind;
  /** Decimal, growing; absent for volatile kinds. */
  readonly cursor?: string;
  readonly at: number;
  readonly message?: Message | { readonly id: string };
  readonly contact?: Contact;
  readonly channel?: ChannelObject;
  readonly member?: MemberObject;
  readonly file?: FileObject;
  readonly call?: CallObject;
  readonly setting?: SettingRow;
  readonly tor?: Status['tor'];
  readonly conversation?: string;
  readonly state?: string;
  readonly detail?: string;
};
/** First line of a resumed stream whose cursor is too old. */
export type GapEvent = { readonly kind: 'gap'; readonly fromCursor: string; readonly toCursor: string };

/** The daemon's first line on every connection. */
export type Greeting = {
  readonly sotto: string;
  readonly rpc: number;
  readonly account: string;
  readonly locked: boolean;
  /** False until `account.init` or `account.restore`. */
  readonly exists: boolean;
  /** Whether a passphrase opens it. */
  readonly passphrase: boolean;
};
