// Rows as the objects that front ends see.

import { keyOfAddress } from '../crypto/address.ts';
import { linkOf, wordsOf } from '../crypto/identity.ts';
import { safetyNumber } from '../crypto/session.ts';
import { fromHex, toBase64, toHex } from '../protocol/bytes.ts';
import { idOf } from '../protocol/ids.ts';
import { FILE_CHUNK_BYTES, FOREVER } from '../protocol/limits.ts';
import type { Event } from '../protocol/rpc-events.ts';
import type { AccountObject, Contact, Conversation, FileObject, Message } from '../protocol/rpc-objects.ts';
import { type ChannelRow, getChannel } from '../store/channels.ts';
import { type ContactRow, getContact, listHistory } from '../store/contacts.ts';
import { type ConversationRow, getConversationByUid } from '../store/conversations.ts';
import type { EventRow } from '../store/events.ts';
import { type FileRow, getFile } from '../store/files.ts';
import { getMember } from '../store/members.ts';
import { countThread, countThreadAt } from '../store/message-pages.ts';
import { getMessage, listVersions, type MessageRow, UNKNOWN_KIND } from '../store/messages.ts';
import { listReactions } from '../store/reactions.ts';
import { nicknameOf } from '../store/self.ts';
import type { Core } from './core.ts';
import { standingOf } from './files-rows.ts';
import { lastSeenAt } from './last-seen.ts';
import { membersOf } from './member-links.ts';
import { contactOf, conversationName, conversationOf } from './names.ts';
import { memberName } from './room-names.ts';
import { channelObject, isRequest, mayStillRead, memberObject } from './room-objects.ts';
import { isLost, ownRole, theServer } from './room-rows.ts';
import { settingOf, showSetting } from './settings.ts';
import { inGroups, said, when } from './shown.ts';

/** My address in every form; `name` is what this machine calls the account. */
export const selfObject = (core: Core, name: string): AccountObject => {
  const nickname = nicknameOf(core.db);
  return {
    account: name,
    address: core.address,
    words: wordsOf(core.keys.publicKeys.identityKey),
    link: linkOf(core.address, nickname),
    nickname,
  };
};

/** What messages of one answer share, looked up once. It is of one turn: what changes afterwards is not in it. */
export type Seen = {
  readonly conversations: Map<number, SeenConversation>;
  readonly authors: Map<number | null, string>;
  /** In a look back: answers count up to this seq. */
  readonly upTo?: number;
};
type SeenConversation = { readonly row: ConversationRow; readonly name: string; readonly isRequest: boolean };
/** For a new answer. */
export const nothingSeen = (): Seen => ({ conversations: new Map(), authors: new Map() });

/** A message as `read`, `send` and events show it. */
export const messageObject = (core: Core, row: MessageRow, seen = nothingSeen()): Message => {
  const { conversation, name, from, isRequest } = namesIn(core, row, seen);
  const file = row.fileId === null ? undefined : getFile(core.db, row.fileId);
  return {
    id: idOf(row.messageId),
    conversation: name,
    conversationId: idOf(conversation.uid),
    ...(isRequest ? { request: true } : {}),
    from,
    body: row.body,
    sentAt: row.sentAt,
    state: row.state,
    mine: row.mine === 1,
    reactions: listReactions(core.db, row.id).map(({ emoji, mine, memberRow }) => ({
      emoji,
      from: (memberRow ?? 0) > 0 ? authorOf(core, memberRow ?? null, seen) : mine === 1 ? nicknameOf(core.db) : name,
      mine: mine === 1,
    })),
    ...when('receivedAt', row.receivedAt),
    ...when('deliveredAt', row.deliveredAt),
    ...when('readAt', row.readAt),
    ...when('editedAt', row.editedAt),
    ...when('deletedAt', row.deletedAt),
    ...when('expiresAt', row.expiresAt),
    ...when('expiresMs', row.expiresMs),
    ...when('pinnedAt', row.pinnedAt),
    ...(row.reason === UNKNOWN_KIND ? unknownKind(row) : said('reason', reasonOf(row))),
    ...(row.replyTo === null ? {} : { replyTo: idOf(row.replyTo) }),
    ...(row.unread === 1 ? { unread: true } : {}),
    ...(file === undefined ? {} : { file: idOf(file.fileId) }),
    ...when('seq', row.seq),
    ...(row.mention === 1 ? { mention: true } : {}),
    ...(row.sharedBy === null ? {} : { sharedBy: memberName(core.db, row.sharedBy) }),
    ...(row.thread === null ? {} : { thread: idOf(row.thread) }),
    ...(conversation.kind === 'contact' ? {} : answersOf(core, row, seen)),
  };
};

// What waits again keeps for itself that it has failed before; what was deleted says where.
const reasonOf = ({ state, deletedAt, reason }: MessageRow): string =>
  state === 'failed' || deletedAt !== null ? reason : '';

// What its author has written since in its place is a text.
const unknownKind = ({ deletedAt, editNumber }: MessageRow) =>
  deletedAt === null && editNumber === 0 ? { kind: 'unknown' as const } : {};

/** Messages of one answer. */
export const messageObjects = (core: Core, rows: readonly MessageRow[]): Message[] => {
  const seen = nothingSeen();
  return rows.map((row) => messageObject(core, row, seen));
};

const answersOf = ({ db }: Core, { thread, conversationId, messageId }: MessageRow, { upTo }: Seen) => {
  if (thread !== null) return {};
  const answers =
    upTo === undefined
      ? countThread(db, conversationId, messageId)
      : countThreadAt(db, conversationId, messageId, upTo);
  return answers === 0 ? {} : { answers };
};

/** The conversation of a message, and what it and the author are called. */
const namesIn = (core: Core, row: MessageRow, seen: Seen) => {
  const { row: conversation, ...rest } = conversationIn(core, row.conversationId, seen);
  const from =
    conversation.kind !== 'contact'
      ? authorOf(core, row.memberRow, seen)
      : row.mine === 1
        ? nicknameOf(core.db)
        : rest.name;
  return { conversation, ...rest, from };
};

const conversationIn = (core: Core, id: number, { conversations }: Seen) => {
  const known = conversations.get(id);
  if (known !== undefined) return known;
  const row = conversationOf(core.db, id);
  const found = { row, name: conversationName(core.db, row), isRequest: isRequest(core, row.memberRow) };
  conversations.set(id, found);
  return found;
};

/** What a member who wrote is called. */
export const authorOf = ({ db }: Core, memberRow: number | null, { authors }: Seen): string => {
  const name = authors.get(memberRow) ?? memberName(db, memberRow);
  authors.set(memberRow, name);
  return name;
};

/** A message with its earlier texts. */
export const messageWithVersions = (core: Core, row: MessageRow): Message => ({
  ...messageObject(core, row),
  versions: listVersions(core.db, row.id).map(({ body, at }) => ({ body, editedAt: at })),
});

/** A contact as lists show it. */
export const contactObject = (core: Core, row: ContactRow): Contact => ({
  id: idOf(row.uid),
  name: row.name,
  address: row.address,
  state: row.blocked === 1 ? 'blocked' : row.state,
  verified: row.verifiedAt !== null,
  createdAt: row.createdAt,
  ...said('nickname', row.nickname),
  ...when('verifiedAt', row.verifiedAt),
  ...said('note', row.note),
  ...said('requestNote', row.requestNote),
  ...said('paused', row.paused),
  ...when('lastSeenAt', lastSeenAt(core, row)),
});

/** A contact with its safety number and the history of its keys. */
export const contactDetail = (core: Core, row: ContactRow): Contact => {
  const history = listHistory(core.db, row.id).map(({ at, kind, detail }) => ({ at, kind, ...said('detail', detail) }));
  const safety = safetyOf(core, row);
  const members = membersOf(core, row.id);
  const shown = { ...contactObject(core, row), history, ...(members.length === 0 ? {} : { members }) };
  if (safety === undefined) return shown;
  return {
    ...shown,
    safetyNumber: inGroups(safety.digits),
    safetyQr: safety.myQr,
  };
};

/** The safety number with a contact, and the texts of the QR codes that both sides show; undefined before the first link. */
export const safetyOf = (core: Core, row: ContactRow) => {
  if (row.signalKey === null) return undefined;
  const mine = core.keys.publicKeys;
  const theirs = { identityKey: keyOfAddress(row.address), signalKey: row.signalKey };
  const { digits, scannable } = safetyNumber(mine, theirs);
  return { digits, myQr: toBase64(scannable), theirQr: () => toBase64(safetyNumber(theirs, mine).scannable) };
};

/** A conversation as lists show it. */
export const conversationObject = (core: Core, row: ConversationRow): Conversation => {
  const mutedUntil = settingOf(core.db, 'conversation.mutedUntil', idOf(row.uid));
  const muted = mutedUntil > core.clock.now();
  const expiresMs = settingOf(core.db, 'messages.expiresMs', idOf(row.uid));
  const channel = row.channelRow === null ? undefined : getChannel(core.db, row.channelRow);
  return {
    id: idOf(row.uid),
    name: conversationName(core.db, row),
    kind: row.kind,
    encryption: row.channelRow === null ? 'signal' : (channel?.encryption ?? 'open'),
    ...(channel === undefined ? closedTo(core, row) : goneFrom(core, channel)),
    ...exposedIn(core, channel),
    ...(isRequest(core, row.memberRow) ? { request: true } : {}),
    verified: isVerified(core, row),
    unread: row.unread,
    mentions: row.mentions,
    archived: row.archived === 1,
    ...when('lastAt', row.lastAt),
    ...said('draft', row.draft),
    muted,
    ...(muted && mutedUntil !== FOREVER ? { mutedUntilAt: mutedUntil } : {}),
    ...(expiresMs === 0 ? {} : { expiresMs, expiresFrom: expiresFrom(core, row) }),
  };
};

// With somebody of whom nothing is let in, or who is a contact no more.
const closedTo = ({ db }: Core, row: ConversationRow): Pick<Conversation, 'state'> => {
  if (row.memberRow !== null) return getMember(db, row.memberRow)?.blocked === 1 ? { state: 'blocked' } : {};
  const { blocked, state } = contactOf(db, row);
  return blocked === 1 ? { state: 'blocked' } : state === 'removed' ? { state } : {};
};

const goneFrom = (core: Core, channel: ChannelRow): Pick<Conversation, 'state'> => {
  const { state } = channel;
  if (state !== 'left' && state !== 'removed' && state !== 'banned') return {};
  return { state: isLost(channel, theServer(core.db, channel.serverId)) ? 'lost' : state };
};

// Only who is there is told of it.
const exposedIn = (core: Core, channel: ChannelRow | undefined): Pick<Conversation, 'mayStillRead' | 'role'> => {
  if (channel?.encryption !== 'passphrase') return {};
  const exposed = mayStillRead(core, channel);
  const role = ownRole(channel, theServer(core.db, channel.serverId));
  return exposed.length === 0 || role === undefined ? {} : { mayStillRead: exposed, role };
};

// In rooms it counts from when a message was sent, whatever the account's setting says.
const expiresFrom = ({ db }: Core, { kind, uid }: ConversationRow): 'delivery' | 'read' =>
  kind === 'contact' ? settingOf(db, 'messages.expiresFrom', idOf(uid)) : 'delivery';

/** Whether there is something to see: not in a channel that I am invited to, or have but looked at. */
export const hasBegun = (core: Core, { channelRow, lastAt }: ConversationRow): boolean => {
  if (channelRow === null || lastAt !== null) return true;
  const state = getChannel(core.db, channelRow)?.state;
  return state !== 'invited' && state !== 'left';
};

const isVerified = (core: Core, row: ConversationRow): boolean => {
  if (row.contactId !== null) return contactOf(core.db, row).verifiedAt !== null;
  return row.memberRow !== null && getMember(core.db, row.memberRow)?.verifiedAt != null;
};

/** A file transfer. */
export const fileObject = (core: Core, file: FileRow): FileObject => {
  const row = { ...file, ...standingOf(core, file) };
  return {
    id: idOf(row.fileId),
    conversation: conversationName(core.db, conversationOf(core.db, row.conversationId)),
    name: row.name,
    sizeBytes: row.size,
    transferredBytes: row.state === 'done' ? row.size : Math.min(row.size, row.chunks * FILE_CHUNK_BYTES),
    state: row.state === 'spooling' ? 'active' : row.state,
    direction: row.mine === 1 ? 'out' : 'in',
    createdAt: row.createdAt,
    // A file that is still read has neither yet.
    ...(row.root.some((byte) => byte !== 0) ? { hash: toHex(row.root), message: idOf(row.fileId) } : {}),
    ...said('savedTo', row.savedTo),
    // A second place where it could not be saved takes nothing from the first.
    ...(row.state === 'done' && row.savedTo !== ''
      ? {}
      : said('reason', core.fileTroubles.get(row.id)?.message ?? row.reason)),
  };
};

/** An event with the object it is about, as that is now; an object that is gone leaves its id. */
export const eventObject = (core: Core, row: EventRow): Event => {
  const base = { kind: row.kind as Event['kind'], cursor: String(row.id), at: row.at, ...said('detail', row.detail) };
  if (row.kind === 'config.changed') return { ...base, ...changedSetting(core, row) };
  const message = row.messageRow === null ? undefined : getMessage(core.db, row.messageRow);
  const contact = row.contactId === null ? undefined : getContact(core.db, row.contactId);
  const file = row.fileRow === null ? undefined : getFile(core.db, row.fileRow);
  const channel = row.channelRow === null ? undefined : getChannel(core.db, row.channelRow);
  const member = row.memberRow === null ? undefined : getMember(core.db, row.memberRow);
  return {
    ...base,
    ...(message === undefined ? {} : { message: messageObject(core, message) }),
    ...goneObject(row, { isThere: message !== undefined || file !== undefined }),
    ...(contact === undefined ? {} : { contact: contactObject(core, contact) }),
    ...(channel === undefined ? {} : { channel: channelObject(core, channel) }),
    ...(member === undefined ? {} : { member: memberObject(core, member) }),
    ...(file === undefined ? {} : { file: fileObject(core, file) }),
  };
};

// The setting as it is now, and the conversation that it is of, which may be gone since.
const changedSetting = ({ db }: Core, { subject, detail }: EventRow): Partial<Event> => {
  const of = detail === '' ? undefined : getConversationByUid(db, fromHex(detail));
  return {
    setting: showSetting(db, subject, detail),
    ...(of === undefined ? {} : { conversation: conversationName(db, of) }),
  };
};

// Whose object is gone is told of it all the same: by its id.
const goneObject = ({ fileRow, subject }: EventRow, { isThere }: { readonly isThere: boolean }): Partial<Event> => {
  if (isThere || subject === '') return {};
  const gone = { id: subject, gone: true } as const;
  return fileRow === null ? { message: gone } : { file: gone };
};
