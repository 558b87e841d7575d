// What a person does with messages: send, edit, delete, react, pin, read, resend, take back.

import { jsonBytes } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { ID_BYTES, idOf } from '../protocol/ids.ts';
import { READ_TARGETS_MAX, TEXT_BYTES_MAX, TEXT_JSON_BYTES_MAX } from '../protocol/limits.ts';
import type { Params } from '../protocol/rpc.ts';
import { isBlank } from '../protocol/safe-text.ts';
import type { ContactRow } from '../store/contacts.ts';
import { addUnread, type ConversationRow, patchConversation } from '../store/conversations.ts';
import { getFile, listFiles } from '../store/files.ts';
import { listMessagesBetween, listUnreadUpTo } from '../store/message-pages.ts';
import {
  getMessage,
  listVersions,
  type MessageRow,
  patchMessage,
  putMessage,
  removeMessage,
} from '../store/messages.ts';
import { listOutboxOfMessage, markOlder, removeOutbox, replaceBody } from '../store/outbox.ts';
import { listReactions, removeReaction } from '../store/reactions.ts';
import {
  amendingNow,
  eraseMessage,
  isEditable,
  setPin,
  setReaction,
  setText,
  tooManyPins,
  tooManyReactions,
} from './amend.ts';
import { type Changes, type Core, commit } from './core.ts';
import { sealAhead } from './deliver.ts';
import { endFile, eraseFile, offerBody } from './files-rows.ts';
import { blockedError, contactOf, conversationOf, findMessage, messageIn } from './names.ts';
import { bodyOf, enqueue, hasRoom } from './outbox.ts';
import { isTold } from './pinned-keys.ts';
import { putOnAgain } from './put-on.ts';
import { dropFromRoom } from './room-outbox.ts';
import { settingOf } from './settings.ts';
import { endUnsent, startTimer, startWaiting } from './timers.ts';

// Why a message failed that was taken back before it had left, or after.
const CANCELLED = 'cancelled';
const RECALLED = 'recalled';
/** Of one that was deleted here only: it may still be deleted for all. */
export const LOCAL = 'local';
// Of one that waits again: it may have left before it failed.
const RESENT = 'resent';
const PAGE = 500;
const ALL_ROWS = { after: 0, before: Number.MAX_SAFE_INTEGER };

/** Throws `text.empty`, `text.tooLarge` or `text.notUtf8` for what is no message: one that would show nothing is empty. */
export const checkText = (text: string): void => {
  if (isBlank(text)) throw new SottoError('text.empty');
  if (Buffer.byteLength(text) > TEXT_BYTES_MAX) throw new SottoError('text.tooLarge');
  if (!text.isWellFormed()) throw new SottoError('text.notUtf8');
  if (Buffer.byteLength(JSON.stringify(text)) > TEXT_JSON_BYTES_MAX)
    throw new SottoError('text.tooLarge', {
      message: 'The text has too many quotes, line breaks or control characters for its length: send it as a file',
    });
};

/** Throws when a contact may not be written to now, with the reason that says what to do. */
export const checkMaySend = (contact: ContactRow): void => {
  if (contact.blocked === 1) throw blockedError(contact);
  if (contact.state === 'removed')
    throw new SottoError('contact.unknown', {
      message: `You have removed ${contact.name}: sotto contact add ${contact.address} asks them again`,
    });
  if (contact.state !== 'accepted') throw new SottoError('contact.notAccepted');
  if (contact.paused === 'keyChanged') throw new SottoError('contact.keyRefused');
};

/** Throws `message.notEditable` for a message that cannot be sent again, with the reason. */
export const checkResendable = ({ state, deletedAt }: MessageRow): void => {
  if (deletedAt !== null)
    throw new SottoError('message.notEditable', { message: 'This message was deleted: it is not sent again' });
  if (state !== 'failed')
    throw new SottoError('message.notEditable', { message: 'Only a failed message can be sent again' });
};

/** Puts a text into the outbox; when this returns it is committed there. Gives the message's row id. */
export const sendText = async (
  core: Core,
  conversation: ConversationRow,
  params: Params<'message.send'>,
): Promise<number> => {
  checkText(params.text);
  if (params.thread !== undefined)
    throw new SottoError('params.invalid', {
      message: 'Threads are in channels and with members; with a contact, answer a message: --reply',
    });
  const contact = contactOf(core.db, conversation);
  checkMaySend(contact);
  const replyTo = params.replyTo === undefined ? undefined : messageIn(core.db, conversation, params.replyTo);
  const scope = idOf(conversation.uid);
  const asked = params.expiresMs ?? settingOf(core.db, 'messages.expiresMs', scope);
  const expiresMs = asked === 0 ? null : asked;
  const expiresFrom = params.expiresFrom ?? settingOf(core.db, 'messages.expiresFrom', scope);
  const messageId = core.random.bytes(ID_BYTES);
  const sentAt = core.clock.now();
  const body = {
    kind: 'text',
    id: idOf(messageId),
    text: params.text,
    sentAt,
    ...(replyTo === undefined ? {} : { replyTo: idOf(replyTo.messageId) }),
    ...(expiresMs === null ? {} : { expiresMs, expiresFrom }),
  } as const;
  const ahead = await sealAhead(core, contact, body);
  const { row, outboxRow } = commit(core, (changes) => {
    const row = putMessage(core.db, {
      conversationId: conversation.id,
      messageId,
      mine: 1,
      body: params.text,
      state: ahead === undefined ? 'queued' : 'sent',
      sentAt,
      receivedAt: null,
      unread: 0,
      replyTo: replyTo?.messageId ?? null,
      expiresMs,
      expiresFrom,
      expiresAt: null,
      fileId: null,
    });
    startWaiting(core, changes, { id: row, expiresMs, expiresFrom });
    const outboxRow = enqueue(core, changes, contact.id, body, row, ahead?.sealed);
    ahead?.keep(changes);
    patchConversation(core.db, conversation.id, { lastAt: changes.at, archived: 0, draft: '' });
    changes.event({ kind: 'message.queued', messageRow: row, contactId: contact.id });
    if (ahead !== undefined) changes.event({ kind: 'message.sent', messageRow: row, contactId: contact.id });
    return { row, outboxRow };
  });
  ahead?.send(outboxRow);
  return row;
};

/** Changes the text of a message of mine, on both sides; one that was not sent yet simply goes out changed. */
export const editText = (core: Core, params: Params<'message.edit'>): MessageRow => {
  checkText(params.text);
  const { row, contact } = mine(core, params.id);
  checkMaySend(contact);
  const number = row.editNumber + 1;
  if (!isEditable(row, number)) throw new SottoError('message.notEditable');
  commit(core, (changes) => {
    const waiting = isUnsent(row) ? listOutboxOfMessage(core.db, row.id).find((one) => one.kind === 'text') : undefined;
    if (waiting === undefined)
      enqueue(
        core,
        changes,
        contact.id,
        { kind: 'edit', target: idOf(row.messageId), number, text: params.text },
        row.id,
      );
    else replaceBody(core.db, waiting.id, jsonBytes({ ...bodyOf(waiting), text: params.text }));
    setText(amendingNow(core, changes, { contactId: contact.id }), row, { number, text: params.text });
  });
  return again(core, row);
};

/** Deletes a message: mine on both sides, anyone's here when `local`, and still on both after that. What was not sent yet never leaves. */
export const deleteText = (core: Core, params: Params<'message.delete'>): MessageRow => {
  const row = findMessage(core.db, params.id);
  const conversation = conversationOf(core.db, row.conversationId);
  const contact = contactOf(core.db, conversation);
  if (row.mine === 0 && params.local !== true)
    throw new SottoError('message.notYours', {
      message: 'Only its author can delete a message for both: --local deletes it here',
    });
  const tells = row.mine === 1 && params.local !== true && contact.state === 'accepted';
  if (row.deletedAt !== null && !(tells && row.reason === LOCAL)) return row;
  commit(core, (changes) => {
    if (tells && !isUnsent(row)) enqueue(core, changes, contact.id, { kind: 'delete', target: idOf(row.messageId) });
    if (row.deletedAt !== null) return patchMessage(core.db, row.id, { reason: '' });
    dropOutbox(core, row.id);
    takeBack(core, changes, row);
    eraseMessage(amendingNow(core, changes, { contactId: contact.id }), row);
    if (!tells && !isUnsent(row) && row.reason !== CANCELLED) patchMessage(core.db, row.id, { reason: LOCAL });
  });
  return again(core, row);
};

/** Adds or takes back a reaction of mine. */
export const react = (core: Core, params: Params<'message.react'>, on: boolean): MessageRow => {
  const { row, contact } = living(core, params.id);
  checkMaySend(contact);
  const { emoji } = params;
  commit(core, (changes) => {
    if (!setReaction(amendingNow(core, changes, { contactId: contact.id }), row, { mine: 1 }, { emoji, on }))
      throw tooManyReactions();
    enqueue(core, changes, contact.id, { kind: 'react', target: idOf(row.messageId), emoji, on });
  });
  return again(core, row);
};

/** Pins a message for both sides, or takes the pin back. */
export const pin = (core: Core, params: Params<'message.pin'>, on: boolean): MessageRow => {
  const { row, contact } = living(core, params.id);
  checkMaySend(contact);
  commit(core, (changes) => {
    if (!setPin(amendingNow(core, changes, { contactId: contact.id }), row, on)) throw tooManyPins();
    enqueue(core, changes, contact.id, { kind: 'pin', target: idOf(row.messageId), on }, row.id);
  });
  return again(core, row);
};

/**
 * Puts a failed message into the outbox again, under the same id; one that was taken back after it left gets another, for
 * the other side has deleted that id for good.
 */
export const resend = (core: Core, id: string): MessageRow => {
  const { row, contact } = mine(core, id);
  checkMaySend(contact);
  checkResendable(row);
  const file = row.fileId === null ? undefined : getFile(core.db, row.fileId);
  if (row.fileId !== null && file?.state !== 'offered')
    throw new SottoError('message.notEditable', { message: 'The file is not kept any more: send it again' });
  const messageId = row.reason === RECALLED ? core.random.bytes(ID_BYTES) : row.messageId;
  commit(core, (changes) => {
    dropOutbox(core, row.id);
    const reason = mayBeThere(row) ? RESENT : '';
    // Where it is already, only its edits change it: they follow the text as it was first.
    const versions = [...listVersions(core.db, row.id), { number: row.editNumber, body: row.body }];
    const [first, ...edits] = reason === RESENT ? versions : [];
    patchMessage(core.db, row.id, { messageId, state: 'queued', reason, expiresAt: null });
    startWaiting(core, changes, row);
    const text = {
      kind: 'text',
      id: idOf(messageId),
      text: first?.body ?? row.body,
      sentAt: row.sentAt,
      ...(row.replyTo === null ? {} : { replyTo: idOf(row.replyTo) }),
      ...(row.expiresMs === null ? {} : { expiresMs: row.expiresMs, expiresFrom: row.expiresFrom }),
    } as const;
    enqueue(core, changes, contact.id, file === undefined ? text : offerBody(file, row), row.id);
    for (const { number, body } of edits)
      if (hasRoom(core, contact.id))
        enqueue(core, changes, contact.id, { kind: 'edit', target: idOf(messageId), number, text: body }, row.id);
    putOn(core, changes, contact, { ...row, messageId });
    markOlder(core.db, contact.id);
    changes.event({ kind: 'message.queued', messageRow: row.id, contactId: contact.id });
  });
  return again(core, row);
};

// Where a message was not there, nothing could be put on it; and what others have put on one that was taken back is gone with it.
const putOn = (core: Core, changes: Changes, contact: ContactRow, row: MessageRow): void => {
  for (const one of listReactions(core.db, row.id))
    if (one.mine === 0 && row.reason === RECALLED) removeReaction(core.db, row.id, one);
  putOnAgain(core, changes, contact.id, row);
};

/** Takes a message back that nobody has acknowledged; one that already left is also deleted at the other side. */
export const cancel = (core: Core, id: string): MessageRow => {
  const { row, contact } = mine(core, id);
  if (row.state !== 'queued' && row.state !== 'sent')
    throw new SottoError('message.notEditable', { message: 'Only a message that was not delivered can be taken back' });
  commit(core, (changes) => {
    dropOutbox(core, row.id);
    if (!isUnsent(row)) enqueue(core, changes, contact.id, { kind: 'delete', target: idOf(row.messageId) });
    takeBack(core, changes, row);
    const file = row.fileId === null ? undefined : getFile(core.db, row.fileId);
    if (file !== undefined) endFile(core, changes, file, { state: 'cancelled', reason: 'cancelled' });
    changes.event({ kind: 'message.failed', messageRow: row.id, contactId: contact.id });
  });
  return again(core, row);
};

// Nobody waits any more for what nobody has acknowledged.
const takeBack = (core: Core, changes: Changes, row: MessageRow): void => {
  if (row.state !== 'queued' && row.state !== 'sent') return;
  endUnsent(core, changes, row, isUnsent(row) ? CANCELLED : RECALLED);
};

/** Marks everything up to a message (or all) as read, starts read timers, and tells the author when the setting and their outbox allow. */
export const markRead = (core: Core, conversation: ConversationRow, upToRow = Number.MAX_SAFE_INTEGER): void => {
  const contact = contactOf(core.db, conversation);
  const receipts = isTold(contact) && settingOf(core.db, 'privacy.readReceipts', idOf(conversation.uid));
  for (let rows = unread(core, conversation, upToRow); rows.length > 0; rows = unread(core, conversation, upToRow))
    commit(core, (changes) => {
      for (const row of rows) readOne(core, changes, row);
      addUnread(core.db, conversation.id, -rows.length);
      for (let at = 0; receipts && at < rows.length && hasRoom(core, contact.id); at += READ_TARGETS_MAX)
        enqueue(core, changes, contact.id, {
          kind: 'read',
          targets: rows.slice(at, at + READ_TARGETS_MAX).map((row) => idOf(row.messageId)),
        });
    });
};

/** Erases every message and every file of a conversation here; gives how many messages waited, which are told as failed. */
export const clear = (core: Core, conversation: ConversationRow): number => {
  let takenBack = 0;
  const rows = () => listMessagesBetween(core.db, conversation.id, ALL_ROWS, PAGE);
  for (let page = rows(); page.length > 0; page = rows())
    commit(core, (changes) => {
      for (const row of page) {
        if (isWaiting(core, row)) {
          takenBack++;
          const { contactId } = conversation;
          changes.event({ kind: 'message.failed', messageRow: row.id, ...(contactId === null ? {} : { contactId }) });
        }
        dropOutbox(core, row.id);
        removeMessage(core.db, row.id);
      }
      patchConversation(core.db, conversation.id, { unread: 0, mentions: 0, lastAt: null });
      changes.erased = true;
    });
  const files = () => listFiles(core.db, conversation.id, Number.MAX_SAFE_INTEGER, PAGE);
  for (let page = files(); page.length > 0; page = files())
    commit(core, (changes) => {
      for (const { id } of page) eraseFile(core, changes, id);
    });
  return takenBack;
};

// What was sent and not acknowledged may be there, or not.
const isWaiting = ({ db }: Core, { id, state }: MessageRow): boolean =>
  state === 'queued' || (state === 'sent' && listOutboxOfMessage(db, id).length > 0);

const unread = (core: Core, conversation: ConversationRow, upTo: number): MessageRow[] =>
  listUnreadUpTo(core.db, conversation.id, upTo, PAGE);

const readOne = (core: Core, changes: Changes, row: MessageRow): void => {
  patchMessage(core.db, row.id, { unread: 0, readAt: changes.at });
  if (row.expiresFrom === 'read') startTimer(core, changes, row);
};

/** Whether a text has never left. A new session forgets its ciphertext, and the other side may have it all the same. */
const isUnsent = (row: MessageRow): boolean => row.state === 'queued' && row.reason !== RESENT;

// What was taken back either never left, or goes under another id.
const mayBeThere = ({ reason }: MessageRow): boolean => reason !== CANCELLED && reason !== RECALLED;

/** Takes out of the outbox what waits about a message, of a contact or in a room. */
export const dropOutbox = (core: Core, messageRow: number): void => {
  for (const row of listOutboxOfMessage(core.db, messageRow)) removeOutbox(core.db, row.id);
  dropFromRoom(core, messageRow);
};

const living = (core: Core, id: string) => {
  const row = findMessage(core.db, id);
  if (row.deletedAt !== null) throw new SottoError('message.notEditable', { message: 'The message was deleted' });
  return { row, contact: contactOf(core.db, conversationOf(core.db, row.conversationId)) };
};

const mine = (core: Core, id: string) => {
  const row = findMessage(core.db, id);
  if (row.mine === 0) throw new SottoError('message.notYours');
  return { row, contact: contactOf(core.db, conversationOf(core.db, row.conversationId)) };
};

const again = (core: Core, row: MessageRow): MessageRow => getMessage(core.db, row.id) ?? row;
