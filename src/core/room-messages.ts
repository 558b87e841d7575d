// What a person does with messages in channels and with members: the same verbs as with contacts.
import { rankOf } from '../crypto/channel-state.ts';
import { jsonBytes } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { type EventId, idOf, type MessageId, timeOfId } from '../protocol/ids.ts';
import { EDITS_PER_MESSAGE_MAX, EVENT_ID_AGE_MS_MAX } from '../protocol/limits.ts';
import { ERASE_OTHERS } from '../protocol/room-rules.ts';
import type { Params } from '../protocol/rpc.ts';
import { type ConversationRow, patchConversation } from '../store/conversations.ts';
import { getFile } from '../store/files.ts';
import { getMemberById } from '../store/members.ts';
import {
  getMessage,
  getMessageById,
  type MessageRow,
  patchMessage,
  putMessage,
  renameMessage,
  replaceText,
} from '../store/messages.ts';
import { listReactions } from '../store/reactions.ts';
import { listRoomEventsOfMessage } from '../store/room-events.ts';
import {
  getRoomOutboxByEvent,
  listRoomOutboxNaming,
  listRoomOutboxOfMessage,
  replaceContent,
} from '../store/room-outbox.ts';
import type { ServerRow } from '../store/servers.ts';
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
import { type Changes, type Core, commit, detach } from './core.ts';
import { endFile } from './files-rows.ts';
import { checkResendable, checkText, dropOutbox, LOCAL } from './messages.ts';
import { conversationOf, findConversation, findMessage, messageIn } from './names.ts';
import { mentionsIn } from './room-mentions.ts';
import { contentIn, endOf, enqueueRoom, newEventId, takeBack } from './room-outbox.ts';
import { type Place, placeOf } from './room-places.ts';
import { mayPin, putOnRoomAgain } from './room-put-on.ts';
import { isLetIn } from './room-read.ts';
import { letIn } from './room-receipts.ts';
import { ownRole, roomOf, theChannel } from './room-rows.ts';
import { settingOf } from './settings.ts';
import { endUnsent, startTimer } from './timers.ts';

/** Throws `params.invalid` for a setting of a room that rooms do not know. */
export const checkRoomSetting = (core: Core, reference: string | undefined, key: string, value: unknown): void => {
  if (reference === undefined || key !== 'messages.expiresFrom' || value !== 'read') return;
  if (findConversation(core.db, reference).kind !== 'contact') throw endsWhenRead();
};

const endsWhenRead = (): SottoError =>
  new SottoError('params.invalid', { message: 'In rooms a message ends so long after it was sent, read or not' });

/** Puts a text into the outbox of a room; when this returns it is committed there. Gives the message's row id. */
export const sendRoomText = (core: Core, conversation: ConversationRow, params: Params<'message.send'>): number => {
  checkText(params.text);
  const { to, server } = placeOf(core, conversation);
  const replyTo = params.replyTo === undefined ? undefined : messageIn(core.db, conversation, params.replyTo);
  const root = params.thread === undefined ? undefined : messageIn(core.db, conversation, params.thread);
  if (params.expiresFrom === 'read' && (params.expiresMs ?? 0) > 0) throw endsWhenRead();
  const expiresMs = params.expiresMs ?? settingOf(core.db, 'messages.expiresMs', idOf(conversation.uid));
  const me = getMemberById(core.db, server.id, server.memberId);
  return commit(core, (changes) => {
    const row = putMessage(core.db, {
      conversationId: conversation.id,
      messageId: newEventId(core, server.id),
      mine: 1,
      body: params.text,
      state: 'queued',
      sentAt: changes.at,
      receivedAt: null,
      unread: 0,
      replyTo: replyTo?.messageId ?? null,
      expiresMs: expiresMs === 0 ? null : expiresMs,
      expiresFrom: 'delivery',
      expiresAt: null,
      fileId: null,
      memberRow: me?.id ?? null,
      thread: root === undefined ? null : (root.thread ?? root.messageId),
    });
    enqueueText(core, changes, { to, server }, row);
    // To write to somebody is to let them write.
    if ('memberRow' in to) letIn(core, to.memberRow);
    patchConversation(core.db, conversation.id, { lastAt: changes.at, archived: 0, draft: '' });
    changes.event({ kind: 'message.queued', messageRow: row });
    return row;
  });
};

/** Puts a text of mine into the outbox, as its row has it; its time runs from now on. */
const enqueueText = (core: Core, changes: Changes, { to, server }: Place, rowId: number): void => {
  const row = getMessage(core.db, rowId);
  if (row === undefined) throw new Error('a message that is sent has a row');
  startTimer(core, changes, row);
  const { body: text, sentAt } = row;
  const rest = {
    kind: 'text' as const,
    text,
    ...(row.replyTo === null ? {} : { replyTo: idOf<EventId>(row.replyTo) }),
    ...(row.thread === null ? {} : { thread: idOf<EventId>(row.thread) }),
    ...(row.expiresMs === null ? {} : { expiresMs: row.expiresMs }),
  };
  const content =
    'channelRow' in to
      ? { ...rest, ...mentionsIn(core, server, text) }
      : { ...rest, id: idOf<MessageId>(row.messageId), sentAt };
  enqueueRoom(core, changes, to, content, {
    eventId: row.messageId,
    messageRow: row.id,
    ...(row.expiresMs === null ? {} : { ttl: Math.ceil(row.expiresMs / 1000) }),
  });
};

/** Changes the text of a message of mine. */
export const editRoomText = (core: Core, row: MessageRow, conversation: ConversationRow, text: string): MessageRow => {
  checkText(text);
  const { to, server } = placeOf(core, conversation);
  const number = row.editNumber + 1;
  if (!isEditable(row, number)) throw new SottoError('message.notEditable');
  commit(core, (changes) => {
    const waiting = listRoomOutboxOfMessage(core.db, row.id).find((one) => one.sealed === null);
    if (row.state === 'queued' && waiting !== undefined) {
      // What was never said is no version of it.
      replaceText(core.db, row, text);
      changes.erased = true;
      changes.event({ kind: 'message.edited', messageRow: row.id });
      const { mentions: _before, ...content } = { mentions: undefined, ...contentIn(waiting) };
      const mentions = 'channelRow' in to ? mentionsIn(core, server, text) : {};
      replaceContent(core.db, waiting.id, jsonBytes({ ...content, text, ...mentions }));
    } else {
      setText(amendingNow(core, changes), row, { number, text });
      patchMessage(core.db, row.id, { reason: '' });
      const edit = { kind: 'edit', target: idOf<EventId>(row.messageId), number, text } as const;
      enqueueRoom(core, changes, to, edit, endOf(row, changes.at));
    }
  });
  return again(core, row);
};

/** Deletes a message: mine, or as a moderator of the channel anyone's; `local` only here. Takes its turn in the queue. */
export const deleteRoomText = async (
  core: Core,
  { id, conversationId, messageId }: MessageRow,
  conversation: ConversationRow,
  local: boolean,
): Promise<MessageRow> => {
  const now = (): MessageRow => {
    const row = getMessageById(core.db, conversationId, messageId) ?? getMessage(core.db, id);
    if (row === undefined) throw new SottoError('message.unknown');
    return row;
  };
  // Between a look at the outbox and what follows from it nothing may leave.
  const erasure = await core.queue.call(() => {
    const row = now();
    const isLeft = row.deletedAt === null;
    if (!isLeft && (local || row.reason !== LOCAL)) return undefined;
    const { to, server } = local || !hasLeft(core, row) ? NOWHERE : placeOf(core, conversation, 'erases');
    const inChannel = to !== undefined && 'channelRow' in to;
    if (inChannel && row.mine === 0 && !mayEraseAny(core, server, to.channelRow))
      throw new SottoError('event.refused', {
        message: 'Only its author or a moderator can delete a message for everybody: --local deletes it here',
      });
    if (to !== undefined && !inChannel && row.mine === 0)
      throw new SottoError('message.notYours', {
        message: 'Only its author can delete a message for both: --local deletes it here',
      });
    const eventId = newEventId(core, server?.id);
    commit(core, (changes) => {
      const target = idOf<EventId>(messageId);
      const said = inChannel ? erasureOf(core, row, to.channelRow) : ({ kind: 'delete', target } as const);
      if (to !== undefined) enqueueRoom(core, changes, to, said, { eventId });
      if (!isLeft) return patchMessage(core.db, row.id, { reason: '' });
      const file = row.fileId === null ? undefined : getFile(core.db, row.fileId);
      // What has not left goes nowhere any more, and so does its file.
      if (file !== undefined && (!local || !hasLeft(core, row))) takeBack(core, changes, file);
      deleteHere(core, changes, row);
      if (local && hasLeft(core, row)) patchMessage(core.db, row.id, { reason: LOCAL });
      // What was sealed in a channel has its count there and goes first: what is left out would show as a gap.
      if (!inChannel) dropOutbox(core, row.id);
    });
    return inChannel ? { serverId: to.serverId, eventId } : undefined;
  });
  if (erasure !== undefined) await erased(core, erasure);
  return now();
};

/** What deletes a message for everybody, with those of its edits that came here or are on their way: they are events of their own, and hold what is to go. */
export const erasureOf = (core: Core, { id, messageId, memberRow }: MessageRow, channelRow: number) => {
  const target = idOf<EventId>(messageId);
  const known = listRoomEventsOfMessage(core.db, id, Number.MAX_SAFE_INTEGER).filter(
    (one) => one.kind === 'edit' && one.memberRow === memberRow,
  );
  const waiting = listRoomOutboxNaming(core.db, channelRow, target).filter((one) => contentIn(one).kind === 'edit');
  const edits = new Set([...known, ...waiting].map(({ eventId }) => idOf<EventId>(eventId)));
  return {
    op: 'erase',
    target,
    ...(edits.size === 0 ? {} : { edits: [...edits].slice(0, EDITS_PER_MESSAGE_MAX) }),
  } as const;
};

type Waiting = { readonly serverId: number; readonly eventId: Uint8Array };

// Where the server can be reached, it has heard of it when this is over.
const erased = (core: Core, { serverId, eventId }: Waiting): Promise<unknown> => {
  const waits = () => getRoomOutboxByEvent(core.db, serverId, eventId) !== undefined;
  return core.waits.until(() => core.rooms.get(serverId)?.state !== 'online' || !waits(), ERASED_MS_MAX);
};
const ERASED_MS_MAX = 10_000;

const NOWHERE = { to: undefined, server: undefined };

const mayEraseAny = (core: Core, server: ServerRow, channelRow: number): boolean => {
  const role = ownRole(theChannel(core.db, channelRow), server);
  return role !== undefined && rankOf(role) >= rankOf(ERASE_OTHERS);
};

const deleteHere = (core: Core, changes: Changes, row: MessageRow): void => {
  if (row.state === 'queued' && !hasLeft(core, row))
    patchMessage(core.db, row.id, { state: 'failed', reason: 'cancelled' });
  eraseMessage(amendingNow(core, changes), row);
};

// What was sealed may have come to the server, whatever became of its answer.
const hasLeft = (core: Core, row: MessageRow): boolean =>
  row.state !== 'failed' &&
  (row.state !== 'queued' || listRoomOutboxOfMessage(core.db, row.id).some(({ sealed }) => sealed !== null));

/** Adds or takes back a reaction of mine. */
export const reactRoom = (
  core: Core,
  row: MessageRow,
  conversation: ConversationRow,
  reaction: { readonly emoji: string; readonly on: boolean },
): MessageRow => {
  const { to, server } = placeOf(core, conversation);
  if (row.deletedAt !== null) throw new SottoError('message.notEditable', { message: 'The message was deleted' });
  const me = getMemberById(core.db, server.id, server.memberId);
  const hasIt = listReactions(core.db, row.id).some((one) => one.mine === 1 && one.emoji === reaction.emoji);
  if (hasIt === reaction.on) return row;
  commit(core, (changes) => {
    const author = { mine: 1, memberRow: me?.id ?? 0 };
    if (!setReaction(amendingNow(core, changes), row, author, reaction)) throw tooManyReactions();
    enqueueRoom(core, changes, to, { kind: 'react', target: idOf(row.messageId), ...reaction });
  });
  return again(core, row);
};

/** Pins a message, or takes the pin back: in a channel what moderators do. */
export const pinRoom = (core: Core, row: MessageRow, conversation: ConversationRow, on: boolean): MessageRow => {
  const { to, server } = placeOf(core, conversation);
  if (row.deletedAt !== null) throw new SottoError('message.notEditable', { message: 'The message was deleted' });
  if (!mayPin(core, { to, server })) throw new SottoError('event.refused', { message: 'Moderators pin' });
  if ((row.pinnedAt !== null) === on) return row;
  commit(core, (changes) => {
    if (!setPin(amendingNow(core, changes), row, on)) throw tooManyPins();
    enqueueRoom(core, changes, to, { kind: 'pin', target: idOf(row.messageId), on });
  });
  return again(core, row);
};

/** Takes a message back that the server has not got. */
export const cancelRoom = (core: Core, row: MessageRow): MessageRow => {
  const waiting = listRoomOutboxOfMessage(core.db, row.id);
  if (row.state !== 'queued' || waiting.some((one) => one.sealed !== null))
    throw new SottoError('message.notEditable', { message: 'Only a message that has not left can be taken back' });
  commit(core, (changes) => {
    dropOutbox(core, row.id);
    endUnsent(core, changes, row, 'cancelled');
    const file = row.fileId === null ? undefined : getFile(core.db, row.fileId);
    if (file !== undefined) endFile(core, changes, file, { state: 'cancelled', reason: 'cancelled' });
    changes.event({ kind: 'message.failed', messageRow: row.id });
  });
  return again(core, row);
};

/** Puts a failed text into the outbox again: under its id, or another one when the server takes that no more. */
export const resendRoom = (core: Core, row: MessageRow, conversation: ConversationRow): MessageRow => {
  checkResendable(row);
  if (row.fileId !== null)
    throw new SottoError('message.notEditable', { message: 'The file is not kept any more: send it again' });
  const target = placeOf(core, conversation);
  const madeAt = timeOfId(idOf(row.messageId)) ?? 0;
  // It may wait again: half of the age that an id may have is left for that.
  const isOld = madeAt < core.clock.now() - EVENT_ID_AGE_MS_MAX / 2;
  // An empty word may be on its way in its place.
  const isTaken = getRoomOutboxByEvent(core.db, target.server.id, row.messageId) !== undefined;
  commit(core, (changes) => {
    patchMessage(core.db, row.id, { state: 'queued', reason: '' });
    if (isOld || isTaken) renameMessage(core.db, row, newEventId(core, target.server.id));
    enqueueText(core, changes, target, row.id);
    putOnRoomAgain(core, changes, target, again(core, row));
    changes.event({ kind: 'message.queued', messageRow: row.id });
  });
  return again(core, row);
};

/** Tells a channel, or a member whom I have let in, that I write, or stopped. */
export const typeInRoom = (core: Core, conversation: ConversationRow, on: boolean): void => {
  const { channel, member } = roomOf(core.db, conversation);
  const at = channel?.channelId ?? (member !== undefined && isLetIn(member) ? member.memberId : undefined);
  const connection = core.rooms.get((channel ?? member)?.serverId ?? 0);
  if (at === undefined || connection?.state !== 'online') return;
  // Nobody waits for it, and a lost one does no harm.
  detach(core, connection.request('typing', { channel: idOf(at), on }));
};

/** The row and conversation of a message in a room; undefined for one with a contact. */
export const roomMessage = (core: Core, id: string) => {
  const row = findMessage(core.db, id);
  const conversation = conversationOf(core.db, row.conversationId);
  return conversation.kind === 'contact' ? undefined : { row, conversation };
};

const again = (core: Core, row: MessageRow): MessageRow => getMessage(core.db, row.id) ?? row;
