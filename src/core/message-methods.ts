// The methods of an open account that are about messages, with contacts and in rooms.
import { type ErrorCode, isErrorCode, SottoError } from '../protocol/errors.ts';
import type { Params } from '../protocol/rpc.ts';
import type { MessageState } from '../protocol/rpc-objects.ts';
import type { ChannelRow } from '../store/channels.ts';
import { type ConversationRow, getConversation } from '../store/conversations.ts';
import { getMessage, getMessageById, type MessageRow } from '../store/messages.ts';
import { listReactions } from '../store/reactions.ts';
import { says } from './amend.ts';
import { markAnywhere } from './conversation-methods.ts';
import type { Core } from './core.ts';
import { heldBack } from './held.ts';
import { isSilentMember, openConversation } from './member-methods.ts';
import { cancel, deleteText, editText, pin, react, resend, sendText } from './messages.ts';
import type { Context, HandlersOf } from './methods.ts';
import { missingAnywhere, missingIn } from './missing.ts';
import { conversationOf, findConversation, findMessage, serverOfRoom } from './names.ts';
import { messageObject, messageObjects, messageWithVersions } from './objects.ts';
import { pageAround, pageOf, rangeOf, search, threadOf, unreadIn } from './pages.ts';
import { letInAgain, reachedFor } from './room-control.ts';
import { otherKeyOf } from './room-faults.ts';
import {
  cancelRoom,
  deleteRoomText,
  editRoomText,
  pinRoom,
  reactRoom,
  resendRoom,
  roomMessage,
  sendRoomText,
} from './room-messages.ts';
import { rewind } from './room-rewind.ts';
import { roomOf } from './room-rows.ts';
import { type Waited, waitFor } from './why.ts';

const STATE_RANK: Record<MessageState, number> = { failed: 0, queued: 1, sent: 2, delivered: 3, read: 4, received: 5 };
const QUEUED: Waited = { reached: true };

/** Answers of `message.*`. */
export const MESSAGE_HANDLERS: HandlersOf<'message'> = {
  'message.send': async (context, params) => {
    const { core } = context;
    await openConversation(context, params.conversation, params.timeoutMs);
    const { conversation, row } = await core.queue.call(async () => {
      const conversation = findConversation(core.db, params.conversation);
      if (conversation.kind === 'channel' && params.wait === 'read')
        throw new SottoError('params.invalid', {
          message: 'wait is not read in a channel: nobody there tells that they have read. Wait for sent',
        });
      const send = conversation.kind === 'contact' ? sendText : sendRoomText;
      return { conversation, row: await send(core, conversation, params) };
    });
    const sent = getMessage(core.db, row);
    if (sent === undefined) throw new SottoError('message.unknown');
    // In a channel there is nobody's receipt: what the server has committed is delivered.
    const most = conversation.kind === 'channel' ? STATE_RANK.sent : STATE_RANK.read;
    const wanted = Math.min(STATE_RANK[params.wait ?? 'queued'], most);
    let now: MessageRow | undefined = sent;
    const look = () => {
      now = now && messageNow(core, now);
      return now === undefined || now.state === 'failed' || STATE_RANK[now.state] >= wanted;
    };
    const server = serverOfRoom(core.db, conversation);
    const lookAlsoThere = () => look() || otherKeyOf(core, server) !== undefined;
    const { useless } =
      wanted <= STATE_RANK.queued
        ? QUEUED
        : await reachedFor(core, server, waitFor(context, conversation.contactId, lookAlsoThere, params.timeoutMs));
    const reached = look();
    if (now === undefined)
      throw new SottoError('message.failed', { message: 'The message ended while it was waited for' });
    // Who does not wait is told what is certain: it is in the outbox. Whether the link still lives, nobody knows yet.
    const told = wanted <= STATE_RANK.queued && now.state === 'sent' ? { ...now, state: 'queued' as const } : now;
    if (reached && now.state !== 'failed') {
      const held = now.state === 'queued' ? heldBack(core, conversation) : undefined;
      return { message: messageObject(core, told), reached: true, ...(held === undefined ? {} : { held }) };
    }
    return {
      message: messageObject(core, told),
      reached: false,
      code: useless ?? whyNot(core, conversation, now, params.timeoutMs),
    };
  },
  'message.list': async (context, params) => {
    const { core } = context;
    const { around, thread } = params;
    if (await isSilentMember(context, params.conversation, params.timeoutMs)) {
      if ((around ?? thread) !== undefined) throw new SottoError('message.unknown');
      return { messages: [], more: false };
    }
    const conversation = findConversation(core.db, params.conversation);
    if (around !== undefined)
      return { ...listAround(core, conversation, { ...params, around }), ...missingIn(core, conversation) };
    const { channel } = roomOf(core.db, conversation);
    if (channel !== undefined && params.at !== undefined)
      return { ...listAt(core, conversation, channel, { ...params, at: params.at }), ...missingIn(core, conversation) };
    const { rows, more } = pageOf(core, conversation, params);
    return { messages: messageObjects(core, rows), more, ...missingIn(core, conversation) };
  },
  'message.unread': async (context, params) => {
    if (params.markRead === true && params.after !== undefined)
      throw new SottoError('params.invalid', {
        message: 'What is marked as read is all up to a message: without --after',
      });
    if (params.conversation !== undefined && (await isSilentMember(context, params.conversation, params.timeoutMs)))
      return { messages: [], more: false };
    return context.core.queue.call(() => {
      const { core } = context;
      const conversation =
        params.conversation === undefined ? undefined : findConversation(core.db, params.conversation);
      const { rows, more } = unreadIn(core, conversation, params);
      const messages = messageObjects(core, rows);
      const missing =
        conversation === undefined ? missingAnywhere(core, { of: 'unread' }) : missingIn(core, conversation);
      if (params.markRead === true) markRows(core, rows);
      return { messages, more, ...missing };
    });
  },
  'message.show': ({ core }, { id }) => messageWithVersions(core, findMessage(core.db, id)),
  'message.edit': (context, params) =>
    message(context, params, () => {
      const row = findMessage(context.core.db, params.id);
      if (says(row, params.text)) return row;
      const room = roomMessage(context.core, params.id);
      if (room === undefined) return editText(context.core, params);
      if (room.row.mine === 0) throw new SottoError('message.notYours');
      return editRoomText(context.core, room.row, room.conversation, params.text);
    }),
  'message.delete': async (context, params) => {
    const room = roomMessage(context.core, params.id);
    if (room === undefined) return messageHere(context, () => deleteText(context.core, params));
    if (params.local !== true) await letInFor(context, params);
    // The server's answer is waited for outside the queue, which would wait with it.
    return messageObject(
      context.core,
      await deleteRoomText(context.core, room.row, room.conversation, params.local === true),
    );
  },
  'message.react': (context, params) => message(context, params, () => reactAnywhere(context.core, params, true)),
  'message.unreact': (context, params) => message(context, params, () => reactAnywhere(context.core, params, false)),
  'message.pin': (context, params) => message(context, params, () => pinAnywhere(context.core, params, true)),
  'message.unpin': (context, params) => message(context, params, () => pinAnywhere(context.core, params, false)),
  'message.resend': (context, params) =>
    message(context, params, () => {
      const room = roomMessage(context.core, params.id);
      return room === undefined
        ? resend(context.core, params.id)
        : resendRoom(context.core, room.row, room.conversation);
    }),
  'message.cancel': (context, { id }) =>
    messageHere(context, () => {
      refuseEnded(context.core, id);
      const room = roomMessage(context.core, id);
      return room === undefined ? cancel(context.core, id) : cancelRoom(context.core, room.row);
    }),
  'message.search': async (context, params) =>
    params.conversation !== undefined && (await isSilentMember(context, params.conversation, params.timeoutMs))
      ? { messages: [], more: false }
      : search(context.core, params),
};

// Of a server that did not let us in the answer of now counts, not the one of before.
const letInFor = ({ core }: Context, { id }: { readonly id: string }): Promise<void> =>
  letInAgain(core, serverOfRoom(core.db, conversationOf(core.db, findMessage(core.db, id).conversationId)));

const message = async (context: Context, params: { readonly id: string }, step: () => MessageRow) => {
  await letInFor(context, params);
  return messageHere(context, step);
};

// What is done here alone waits for no server.
const messageHere = ({ core }: Context, step: () => MessageRow) => core.queue.call(() => messageObject(core, step()));

// What does not wait any more is not taken back a second time.
const refuseEnded = (core: Core, id: string): void => {
  const { mine, state, reason } = findMessage(core.db, id);
  if (mine === 0 || state !== 'failed') return;
  const isTakenBack = reason === 'cancelled' || reason === 'recalled';
  throw new SottoError('message.failed', {
    message: isTakenBack ? 'The message was taken back already' : `The message does not wait any more: ${reason}`,
  });
};

/** A message as it is now: its row moves when the server gives it a place behind others, and its id may be of another time there. */
const messageNow = (core: Core, { id, conversationId, messageId }: MessageRow): MessageRow | undefined =>
  getMessageById(core.db, conversationId, messageId) ?? getMessage(core.db, id);

/** Why a message has not come as far as was waited for: an error code. */
const whyNot = (
  core: Core,
  conversation: ConversationRow,
  message: MessageRow,
  timeoutMs: number | undefined,
): ErrorCode => {
  if (message.state === 'failed') return isErrorCode(message.reason) ? message.reason : 'message.failed';
  const server = serverOfRoom(core.db, conversation);
  const otherKey = otherKeyOf(core, server);
  if (otherKey !== undefined) return otherKey;
  if (server === undefined || timeoutMs !== 0 || message.state !== 'queued') return 'wait.timeout';
  // Who gives it no time is told at once that there is nobody to wait for.
  return core.rooms.get(server)?.state === 'online' ? 'wait.timeout' : 'server.unreachable';
};

const listAround = (
  core: Core,
  conversation: ConversationRow,
  params: Params<'message.list'> & { readonly around: string },
) => {
  if (params.at !== undefined || params.before !== undefined || params.after !== undefined)
    throw new SottoError('params.invalid', { message: 'The page around a message has no other bound' });
  const { rows, isEarlier, isLater } = pageAround(core, conversation, params);
  const messages = messageObjects(core, rows);
  const [before, after] = [isEarlier ? messages[0]?.id : undefined, isLater ? messages.at(-1)?.id : undefined];
  return {
    messages,
    more: isEarlier || isLater,
    ...(before === undefined ? {} : { before }),
    ...(after === undefined ? {} : { after }),
  };
};

const listAt = (
  core: Core,
  conversation: ConversationRow,
  channel: ChannelRow,
  { at, before, after, limit, thread }: Params<'message.list'> & { readonly at: number },
) => {
  if (after !== undefined)
    throw new SottoError('params.invalid', {
      message: 'A channel as it was is read backwards, from --at or --before: --after has no place there',
    });
  return rewind(core, channel, {
    at,
    beforeRow: before === undefined ? undefined : rangeOf(core, { before }, conversation).before,
    limit,
    thread: threadOf(core, conversation, thread),
  });
};

const markRows = (core: Core, rows: readonly MessageRow[]): void => {
  const last = new Map<number, number>();
  for (const row of rows) last.set(row.conversationId, row.id);
  for (const [id, upTo] of last) {
    const conversation = getConversation(core.db, id);
    if (conversation !== undefined) markAnywhere(core, conversation, upTo);
  }
};

const reactAnywhere = (core: Core, { id, emoji: given }: Params<'message.react'>, on: boolean): MessageRow => {
  // One emoji may be written with a selector or without: what is there already is meant.
  const plain = (emoji: string) => emoji.replaceAll('\ufe0f', '');
  const mine = listReactions(core.db, findMessage(core.db, id).id).filter((one) => one.mine === 1);
  const emoji = mine.find((one) => plain(one.emoji) === plain(given))?.emoji ?? given;
  const room = roomMessage(core, id);
  if (room === undefined) return react(core, { id, emoji }, on);
  return reactRoom(core, room.row, room.conversation, { emoji, on });
};

const pinAnywhere = (core: Core, params: Params<'message.pin'>, on: boolean): MessageRow => {
  const room = roomMessage(core, params.id);
  return room === undefined ? pin(core, params, on) : pinRoom(core, room.row, room.conversation, on);
};
