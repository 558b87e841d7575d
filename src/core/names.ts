// What the user's words mean: contacts by name, address or id, conversations, messages and files by id or prefix.
import { SottoError } from '../protocol/errors.ts';
import { idOf } from '../protocol/ids.ts';
import { NAME_CHARS_MAX } from '../protocol/limits.ts';
import { meant, nearOf } from '../protocol/near.ts';
import { asWord } from '../protocol/safe-text.ts';
import type { Database } from '../sqlite/open.ts';
import { getChannelName, listChannels, listChannelsByName } from '../store/channels.ts';
import { type ContactRow, getContact, getContactByAddress, getContactByName, listContacts } from '../store/contacts.ts';
import {
  type ConversationRow,
  getConversation,
  getConversationOfChannel,
  getConversationOfContact,
  getConversationOfMember,
  listConversations,
} from '../store/conversations.ts';
import { countFilesByIdRange, type FileRow, listFilesByIdRange } from '../store/files.ts';
import { getMember, listMembersByName } from '../store/members.ts';
import { listThreads } from '../store/message-pages.ts';
import { countMessagesByIdRange, listMessagesByIdRange, type MessageRow } from '../store/messages.ts';
import { labelOf } from '../store/servers.ts';
import {
  ambiguous,
  begins,
  CANDIDATES_MAX,
  type Fit,
  fitCalled,
  isPrefix,
  noneWithId,
  only,
  quoted,
} from './references.ts';
import {
  findChannel,
  findKnownMember,
  hasChannel,
  isChannelReference,
  isMemberReference,
  memberName,
  splitMember,
} from './room-names.ts';
import { roomOf } from './room-rows.ts';

/** The contact that `reference` names, by address, name, or the beginning of its id. Throws `contact.unknown`, or `name.ambiguous` with the candidates. */
export const findContact = (db: Database, reference: string): ContactRow => {
  const [, address] = /^([a-z2-7]{56})(\.onion)?$/.exec(reference.toLowerCase()) ?? [];
  const byAddress = address === undefined ? undefined : getContactByAddress(db, `${address}.onion`);
  if (byAddress !== undefined) return byAddress;
  const byName = getContactByName(db, reference);
  if (byName !== undefined && !isPrefix(reference)) return byName;
  const all = listContacts(db);
  // Who was blocked until their request ended is a contact no more, and is found by their name all the same: to be let in again.
  const composed = reference.normalize('NFC');
  const shut = all.filter(({ name, state, blocked }) => blocked === 1 && state === 'removed' && name === composed);
  const byId = isPrefix(reference)
    ? all.filter((one) => begins(idOf(one.uid), reference) && one.id !== byName?.id)
    : [];
  const fit = byName === undefined && shut.length > 0 ? shut : [...(byName === undefined ? [] : [byName]), ...byId];
  const near = [
    ...listMembersByName(db, reference).map(({ name, serverId }) => ({ name, label: labelOf(db, serverId) })),
    ...listChannelsByName(db, reference).map(({ name, serverId }) => ({
      name: `#${name}`,
      label: labelOf(db, serverId),
    })),
  ].flatMap(({ name, label }) => (label === undefined ? [] : [`${name}@${label}`]));
  const names =
    near.length > 0
      ? []
      : listContacts(db)
          .filter(({ state }) => state !== 'removed')
          .map(({ name }) => name);
  return only(
    fit,
    {
      code: 'contact.unknown',
      message: `${noneWithId('contact', reference)}${meant([...near.slice(0, 5), ...nearOf(reference, names)])}`,
    },
    contactFit,
  );
};

const contactFit = ({ name, uid }: ContactRow): Fit => fitCalled(name, idOf(uid));

/**
 * The conversation that `reference` names: by its contact, `#channel`, `member@server`, or by id. Throws like `findContact`,
 * `channel.unknown`, `member.unknown`, or `conversation.unknown`.
 */
export const findConversation = (db: Database, reference: string): ConversationRow => {
  const ofLeft = conversationOfLeft(db, reference);
  if (ofLeft !== undefined) return ofLeft;
  if (isChannelReference(reference))
    return conversationOfRoom(getConversationOfChannel(db, findChannel(db, reference).id));
  const named = getContactByName(db, reference);
  const isName = named !== undefined;
  const byId = isPrefix(reference)
    ? conversationsById(db, reference).filter((one) => named === undefined || one.contactId !== named.id)
    : [];
  if (byId.length === 1 && byId[0] !== undefined && !isName) return byId[0];
  if (byId.length > 0)
    throw ambiguous([
      ...(named === undefined ? [] : [contactFit(named)]),
      ...byId.map((one) => fitCalled(conversationName(db, one), idOf(one.uid))),
    ]);
  if (isMemberReference(reference) && !isName) {
    const { name, server } = splitMember(db, reference);
    const member = findKnownMember(db, server, name);
    return conversationOfRoom(member === undefined ? undefined : getConversationOfMember(db, member.id));
  }
  const ofRemoved = conversationOfRemoved(db, reference);
  if (ofRemoved !== undefined) return ofRemoved;
  const contact = findContact(db, reference);
  const conversation = getConversationOfContact(db, contact.id);
  if (conversation !== undefined) return conversation;
  if (contact.state === 'removed')
    throw new SottoError('conversation.unknown', { message: `There is no conversation with ${quoted(reference)}` });
  if (contact.blocked === 1) throw blockedError(contact);
  throw new SottoError('contact.notAccepted', {
    message:
      contact.state === 'incoming'
        ? `${contact.name} waits for your answer: sotto contact accept ${asWord(contact.name)}`
        : `${contact.name} has not accepted your request yet`,
  });
};

// By their own id, or that of the channel.
const conversationsById = (db: Database, prefix: string): ConversationRow[] => {
  const channels = new Set(
    listChannels(db).flatMap(({ id, channelId }) => (begins(idOf(channelId), prefix) ? id : [])),
  );
  return listConversations(db).filter(
    ({ uid, channelRow }) => begins(idOf(uid), prefix) || (channelRow !== null && channels.has(channelRow)),
  );
};

/** What was said on a server that was left, which is called after it: by that name, or a channel by its own when no other has it. Throws `name.ambiguous`. */
export const conversationOfLeft = (db: Database, reference: string): ConversationRow | undefined => {
  const [name = '', server] = reference.split('@');
  const isBare = server === undefined && isChannelReference(reference);
  if (!(isBare && !hasChannel(db, name)) && server !== LEFT) return undefined;
  const fit = listConversations(db).filter((one) => conversationName(db, one) === `${name}@${LEFT}`);
  return fit.length === 0 ? undefined : only(fit, { code: 'conversation.unknown' }, ({ uid }) => ({ id: idOf(uid) }));
};

// What was said with a contact who was removed is called as they were, while nobody else is.
const conversationOfRemoved = (db: Database, name: string): ConversationRow | undefined => {
  if (getContactByName(db, name) !== undefined) return undefined;
  const isOfRemoved = (one: ConversationRow): boolean => {
    const contact = one.contactId === null ? undefined : getContact(db, one.contactId);
    return contact?.state === 'removed' && contact.name === name;
  };
  const fit = listConversations(db).filter(isOfRemoved);
  return fit.length === 0
    ? undefined
    : only(fit, { code: 'conversation.unknown' }, ({ uid }) => fitCalled(name, idOf(uid)));
};

const conversationOfRoom = (conversation: ConversationRow | undefined): ConversationRow => {
  if (conversation === undefined)
    throw new SottoError('conversation.unknown', { message: 'There is no conversation with them yet' });
  return conversation;
};

/** The contact of a conversation with one. Throws `params.invalid` for a room: what is asked is of contacts only. */
export const contactOf = (db: Database, conversation: ConversationRow): ContactRow => {
  if (conversation.contactId === null)
    throw new SottoError('params.invalid', { message: 'This is possible with contacts only' });
  const contact = getContact(db, conversation.contactId);
  if (contact === undefined) throw new Error('a conversation has a contact');
  return contact;
};

/** What stands in place of the label of a server that was left: no other is called so. */
export const LEFT = 'left';

/** A contact's name, `#channel@server`, or `member@server`. */
export const conversationName = (db: Database, conversation: ConversationRow): string => {
  if (conversation.channelRow !== null) {
    const channel = getChannelName(db, conversation.channelRow);
    return `#${channel?.name}@${labelOf(db, channel?.serverId ?? 0) ?? LEFT}`;
  }
  if (conversation.memberRow !== null) {
    const member = getMember(db, conversation.memberRow);
    return `${memberName(db, conversation.memberRow)}@${labelOf(db, member?.serverId ?? 0) ?? LEFT}`;
  }
  return contactOf(db, conversation).name;
};

/** The server row of a conversation in a channel or with a member. */
export const serverOfRoom = (
  db: Database,
  conversation: Pick<ConversationRow, 'channelRow' | 'memberRow'>,
): number | undefined => {
  const { channel, member } = roomOf(db, conversation);
  return (channel ?? member)?.serverId;
};

/** The conversation of a message or file. */
export const conversationOf = (db: Database, id: number): ConversationRow => {
  const conversation = getConversation(db, id);
  if (conversation === undefined) throw new Error('a message has a conversation');
  return conversation;
};

/** The message with this id, or a unique prefix of at least 6 digits. Throws `message.unknown` or `name.ambiguous`. */
export const findMessage = (db: Database, reference: string): MessageRow => {
  const fit = isPrefix(reference) ? listMessagesByIdRange(db, ...rangeOf(reference), CANDIDATES_MAX) : [];
  return only(
    fit,
    { code: 'message.unknown', message: noneWithId('message', reference) },
    ({ messageId }) => ({ id: idOf(messageId) }),
    () => countMessagesByIdRange(db, ...rangeOf(reference)),
  );
};

/**
 * The thread in a conversation whose root, which is not here any more, has this id or prefix; undefined when there is none. Throws
 * `name.ambiguous`.
 */
export const findThread = (
  db: Database,
  { id }: ConversationRow,
  reference: string,
): Uint8Array<ArrayBuffer> | undefined => {
  if (!isPrefix(reference) || listMessagesByIdRange(db, ...rangeOf(reference), 1).length > 0) return undefined;
  const fit = listThreads(db, id, rangeOf(reference), CANDIDATES_MAX);
  return fit.length === 0 ? undefined : only(fit, { code: 'message.unknown' }, (thread) => ({ id: idOf(thread) }));
};

/** A message of this conversation. Throws like `findMessage`; one of another conversation is `message.unknown`. */
export const messageIn = (db: Database, conversation: ConversationRow, reference: string): MessageRow => {
  const message = findMessage(db, reference);
  if (message.conversationId !== conversation.id)
    throw new SottoError('message.unknown', { message: `The message ${quoted(reference)} is in another conversation` });
  return message;
};

/** The file with this id or prefix. Throws `file.unknown` or `name.ambiguous`. */
export const findFile = (db: Database, reference: string): FileRow => {
  const fit = isPrefix(reference) ? listFilesByIdRange(db, ...rangeOf(reference), CANDIDATES_MAX) : [];
  return only(
    fit,
    { code: 'file.unknown', message: noneWithId('file', reference) },
    ({ name, fileId }) => fitCalled(name, idOf(fileId)),
    () => countFilesByIdRange(db, ...rangeOf(reference)),
  );
};

/** Throws `nickname.invalid` for what is no name: nothing that shows, longer than 64 characters, or with line breaks or other controls. */
export const checkName = (name: string): void => {
  if (/^[\s\p{Default_Ignorable_Code_Point}]*$/u.test(name) || name.length > NAME_CHARS_MAX || /\p{Cc}/u.test(name))
    throw new SottoError('nickname.invalid');
};

const rangeOf = (prefix: string): [Uint8Array, Uint8Array] => [
  Buffer.from(prefix.padEnd(32, '0'), 'hex'),
  Buffer.from(prefix.padEnd(32, 'f'), 'hex'),
];

/** That a contact is blocked, with the command that lets them in again. */
export const blockedError = ({ name }: ContactRow): SottoError =>
  new SottoError('contact.blocked', {
    message: `${name} is blocked: sotto contact unblock ${asWord(name)} lets them in again`,
  });
