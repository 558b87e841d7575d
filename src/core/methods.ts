// The methods of an open account: each checks what is meant, does it in the queue, and gives the objects of the wire.
import { parseAddress } from '../crypto/identity.ts';
import { type ErrorCode, isErrorCode, SottoError, textOf } from '../protocol/errors.ts';
import { idOf } from '../protocol/ids.ts';
import { WAIT_MS_DEFAULT } from '../protocol/limits.ts';
import type { AccountMethod, Params, Result } from '../protocol/rpc.ts';
import type { Contact, MessageState } from '../protocol/rpc-objects.ts';
import { asWord, isBlank } from '../protocol/safe-text.ts';
import { getChannel } from '../store/channels.ts';
import { type ContactRow, getContact, listContacts, patchContact, putHistory } from '../store/contacts.ts';
import { type ConversationRow, getConversation, listConversations, patchConversation } from '../store/conversations.ts';
import { listUnread } from '../store/message-pages.ts';
import { getMessage, getMessageById, type MessageRow } from '../store/messages.ts';
import { putNickname } from '../store/self.ts';
import { CHANNEL_HANDLERS } from './channel-methods.ts';
import { block, removeOne } from './contact-ends.ts';
import { type Core, commit } from './core.ts';
import type { Files } from './files.ts';
import { FILE_METHODS } from './files-methods.ts';
import { sendPing } from './heartbeat.ts';
import { retryNow } from './links.ts';
import { isSilentMember, MEMBER_HANDLERS, openConversation } from './member-methods.ts';
import { cancel, checkText, clear, deleteText, editText, markRead, pin, react, resend, sendText } from './messages.ts';
import { checkName, findContact, findConversation, findMessage, messageIn, serverOfRoom } from './names.ts';
import {
  contactDetail,
  contactObject,
  conversationObject,
  FOREVER,
  hasBegun,
  messageObject,
  messageObjects,
  messageWithVersions,
  safetyOf,
  selfObject,
} from './objects.ts';
import { pageAround, pageOf, rangeOf, search, threadOf } from './pages.ts';
import { sendFrame } from './peer.ts';
import { accept, ask, freeName, refuseTaken, reject } from './requests.ts';
import {
  cancelRoom,
  checkRoomSetting,
  deleteRoomText,
  editRoomText,
  pinRoom,
  reactRoom,
  resendRoom,
  roomMessage,
  sendRoomText,
  typeInChannel,
} from './room-messages.ts';
import { missingIn } from './room-objects.ts';
import { markRoomRead } from './room-read.ts';
import { rewind } from './room-rewind.ts';
import { SERVER_HANDLERS } from './server-methods.ts';
import { listSettings, setSetting, settingOf, showSetting, unsetSetting } from './settings.ts';
import type { Waits } from './waits.ts';
import { uselessWait, why } from './why.ts';

export type Context = { readonly core: Core; readonly name: string; readonly waits: Waits; readonly files: Files };
/** Answers of an account, by method. */
export type Handlers = {
  readonly [M in AccountMethod]?: (context: Context, params: Params<M>) => Promise<Result<M>> | Result<M>;
};

/** The same for the methods of some nouns: all of them. */
export type HandlersOf<Noun extends string> = Required<Pick<Handlers, AccountMethod & `${Noun}.${string}`>>;

const LAST_ROW = Number.MAX_SAFE_INTEGER;
const STATE_RANK: Record<MessageState, number> = { failed: 0, queued: 1, sent: 2, delivered: 3, read: 4, received: 5 };

/** Answers one method. Throws SottoError. */
export const callMethod = async <M extends AccountMethod>(
  context: Context,
  method: M,
  params: Params<M>,
): Promise<Result<M>> => {
  const handler = HANDLERS[method] as
    | ((context: Context, params: Params<M>) => Promise<Result<M>> | Result<M>)
    | undefined;
  if (handler === undefined) throw new SottoError('method.unknown');
  return handler(context, params);
};

const inQueue = <T>({ core }: Context, step: () => Promise<T> | T): Promise<T> => core.queue.call(step);

const contactNow = (core: Core, id: number): ContactRow => {
  const row = getContact(core.db, id);
  if (row === undefined) throw new SottoError('contact.unknown');
  return row;
};

const show = (core: Core, id: number): Contact => contactObject(contactNow(core, id));

/** Changes a contact in the queue and shows it. */
const change = (
  context: Context,
  reference: string,
  step: (contact: ContactRow) => Promise<void> | void,
): Promise<Contact> =>
  inQueue(context, async () => {
    const contact = findContact(context.core.db, reference);
    await step(contact);
    return show(context.core, contact.id);
  });

const message = (context: Context, step: () => MessageRow) =>
  inQueue(context, () => messageObject(context.core, step()));

const scopeOf = (core: Core, conversation: string | undefined): string =>
  conversation === undefined ? '' : idOf(findConversation(core.db, conversation).uid);

const reactAnywhere = (core: Core, params: Params<'message.react'>, on: boolean): MessageRow => {
  const room = roomMessage(core, params.id);
  if (room === undefined) return react(core, params, on);
  return reactRoom(core, room.row, room.conversation, { emoji: params.emoji, on });
};

const pinAnywhere = (core: Core, params: Params<'message.pin'>, on: boolean): MessageRow => {
  const room = roomMessage(core, params.id);
  return room === undefined ? pin(core, params, on) : pinRoom(core, room.row, room.conversation, on);
};

const HANDLERS: Handlers = {
  ...SERVER_HANDLERS,
  ...MEMBER_HANDLERS,
  ...CHANNEL_HANDLERS,
  'account.show': ({ core, name }) => selfObject(core, name),
  'account.nickname': (context, { nickname }) =>
    inQueue(context, () => {
      checkName(nickname);
      commit(context.core, () => putNickname(context.core.db, nickname));
      return selfObject(context.core, context.name);
    }),

  'contact.add': async (context, params) => {
    const { core } = context;
    const parsed = parseAddress(params.address);
    const id = await inQueue(context, () => {
      const name = params.name ?? freeName(core, parsed.nickname ?? parsed.address.slice(0, 8));
      return ask(core, { address: parsed.address, name, ...(params.note === undefined ? {} : { note: params.note }) });
    });
    if (params.wait !== 'accepted') return show(core, id);
    const accepted = () => getContact(core.db, id)?.state === 'accepted';
    const { reached, useless } = await waitFor(context, id, accepted, params.timeoutMs);
    if (useless !== undefined) throw new SottoError(useless, { message: `${textOf(useless)}; the request stays open` });
    if (!reached)
      throw new SottoError('wait.timeout', { message: 'The request was not accepted in time; it stays open' });
    return show(core, id);
  },
  'contact.list': ({ core }, { all }) =>
    listContacts(core.db)
      .filter((row) => all === true || (row.state !== 'removed' && row.state !== 'incoming'))
      .map(contactObject),
  'contact.requests': ({ core }) =>
    listContacts(core.db)
      .filter((row) => row.state === 'incoming' && row.blocked === 0)
      .map(contactObject),
  'contact.show': ({ core }, { contact }) => contactDetail(core, findContact(core.db, contact)),
  'contact.accept': (context, { contact, name }) =>
    change(context, contact, async (row) => {
      await accept(context.core, row, name ?? row.name);
    }),
  'contact.reject': (context, { contact }) => change(context, contact, (row) => reject(context.core, row)),
  'contact.verify': (context, { contact, verified, scanned }) =>
    change(context, contact, (row) => {
      const safety = safetyOf(context.core, row);
      if (safety === undefined)
        throw new SottoError('contact.notAccepted', { message: 'There is no safety number before the first link' });
      if (scanned !== undefined && scanned !== safety.theirQr()) throw new SottoError('safety.mismatch');
      commit(context.core, (changes) => {
        patchContact(context.core.db, row.id, { verifiedAt: verified ? changes.at : null });
        putHistory(context.core.db, row.id, {
          at: changes.at,
          kind: verified ? 'key.verified' : 'key.unverified',
          detail: '',
        });
        changes.event({ kind: 'contact.verified', contactId: row.id });
      });
    }),
  'contact.rename': (context, { contact, name }) =>
    change(context, contact, (row) => {
      checkName(name);
      refuseTaken(context.core, name, row.id);
      commit(context.core, (changes) => {
        patchContact(context.core.db, row.id, { name });
        changes.event({ kind: 'contact.renamed', contactId: row.id });
      });
    }),
  'contact.note': (context, { contact, note }) =>
    change(context, contact, (row) => commit(context.core, () => patchContact(context.core.db, row.id, { note }))),
  'contact.block': (context, { contact }) => change(context, contact, (row) => block(context.core, row, true)),
  'contact.unblock': (context, { contact }) => change(context, contact, (row) => block(context.core, row, false)),
  'contact.remove': (context, { contact, erase }) =>
    inQueue(context, () => removeOne(context.core, findContact(context.core.db, contact), erase === true)),
  'contact.why': ({ core }, { contact }) => why(core, findContact(core.db, contact)),
  'contact.retry': (context, { contact }) =>
    inQueue(context, () => {
      const row = findContact(context.core.db, contact);
      retryNow(context.core, row.id);
      return why(context.core, row);
    }),
  'contact.ping': async (context, { contact, timeoutMs }) => {
    const { core } = context;
    const { row, peer, pong } = await inQueue(context, () => {
      const row = findContact(core.db, contact);
      const peer = core.peers.get(row.id);
      if (peer?.link === undefined)
        throw new SottoError('dial.unreachable', {
          message: `${row.name} is not linked: sotto why ${asWord(row.name)}`,
        });
      const pong = new Promise<boolean>((resolve) => {
        const cancel = core.clock.after(timeoutMs ?? WAIT_MS_DEFAULT, () => resolve(false));
        peer.pongWaiters.push(() => {
          cancel();
          resolve(true);
        });
      });
      if (peer.pingSentAt === undefined) sendPing(core, peer);
      return { row, peer, pong };
    });
    if (!(await pong) || peer.rttMs === undefined)
      throw new SottoError('wait.timeout', { message: `${row.name} did not answer in time` });
    return { contact: row.name, rttMs: peer.rttMs };
  },

  'message.send': async (context, params) => {
    const { core } = context;
    await openConversation(context, params.conversation);
    const { conversation, row } = await inQueue(context, async () => {
      const conversation = findConversation(core.db, params.conversation);
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
      now = messageNow(core, sent);
      return now === undefined || now.state === 'failed' || STATE_RANK[now.state] >= wanted;
    };
    const { reached, useless } =
      wanted <= STATE_RANK.queued ? QUEUED : await waitFor(context, conversation.contactId, look, params.timeoutMs);
    if (now === undefined)
      throw new SottoError('message.failed', { message: 'The message ended while it was waited for' });
    // Who does not wait is told what is certain: it is in the outbox. Whether the link still lives, nobody knows yet.
    const told = wanted <= STATE_RANK.queued && now.state === 'sent' ? { ...now, state: 'queued' as const } : now;
    if (reached && now.state !== 'failed') return { message: messageObject(core, told), reached: true };
    return {
      message: messageObject(core, told),
      reached: false,
      code: useless ?? whyNot(core, conversation, now, params.timeoutMs),
    };
  },
  'message.list': async (context, params) => {
    const { core } = context;
    if (await isSilentMember(context, params.conversation)) return { messages: [], more: false };
    const conversation = findConversation(core.db, params.conversation);
    const { around } = params;
    if (around !== undefined) {
      if (params.at !== undefined || params.before !== undefined || params.after !== undefined)
        throw new SottoError('params.invalid', { message: 'The page around a message has no other bound' });
      const { rows, isEarlier, isLater } = pageAround(core, conversation, { ...params, around });
      const messages = messageObjects(core, rows);
      const [before, after] = [isEarlier ? messages[0]?.id : undefined, isLater ? messages.at(-1)?.id : undefined];
      return {
        messages,
        more: isEarlier || isLater,
        ...(before === undefined ? {} : { before }),
        ...(after === undefined ? {} : { after }),
        ...missingIn(core, conversation),
      };
    }
    const channel =
      conversation.channelRow === null || params.at === undefined
        ? undefined
        : getChannel(core.db, conversation.channelRow);
    if (channel !== undefined && params.at !== undefined) {
      if (params.after !== undefined)
        throw new SottoError('params.invalid', {
          message: 'A channel as it was is read backwards, from --at or --before: --after has no place there',
        });
      const messages = rewind(core, channel, {
        at: params.at,
        beforeRow: params.before === undefined ? undefined : rangeOf(core, { before: params.before }).before,
        limit: params.limit + 1,
        thread: threadOf(core, params.thread),
      });
      return {
        messages: messages.slice(-params.limit),
        more: messages.length > params.limit,
        ...missingIn(core, conversation),
      };
    }
    const rows = pageOf(core, conversation.id, params);
    return {
      messages: messageObjects(
        core,
        rows.slice(rows.length > params.limit && params.after === undefined ? 1 : 0).slice(0, params.limit),
      ),
      more: rows.length > params.limit,
      ...missingIn(core, conversation),
    };
  },
  'message.unread': (context, params) =>
    inQueue(context, () => {
      const { core } = context;
      const conversation =
        params.conversation === undefined ? undefined : findConversation(core.db, params.conversation);
      const rows = listUnread(core.db, conversation?.id, rangeOf(core, params), params.limit + 1);
      const messages = messageObjects(core, rows.slice(0, params.limit));
      if (params.markRead === true) markRows(core, rows.slice(0, params.limit));
      return { messages, more: rows.length > params.limit };
    }),
  'message.show': ({ core }, { id }) => messageWithVersions(core, findMessage(core.db, id)),
  'message.edit': (context, params) =>
    message(context, () => {
      const room = roomMessage(context.core, params.id);
      if (room === undefined) return editText(context.core, params);
      if (room.row.mine === 0) throw new SottoError('message.notYours');
      return editRoomText(context.core, room.row, room.conversation, params.text);
    }),
  'message.delete': async (context, params) => {
    const room = roomMessage(context.core, params.id);
    if (room === undefined) return message(context, () => deleteText(context.core, params));
    // The server's answer is waited for outside the queue, which would wait with it.
    return messageObject(
      context.core,
      await deleteRoomText(context.core, room.row, room.conversation, params.local === true),
    );
  },
  'message.react': (context, params) => message(context, () => reactAnywhere(context.core, params, true)),
  'message.unreact': (context, params) => message(context, () => reactAnywhere(context.core, params, false)),
  'message.pin': (context, params) => message(context, () => pinAnywhere(context.core, params, true)),
  'message.unpin': (context, params) => message(context, () => pinAnywhere(context.core, params, false)),
  'message.resend': (context, { id }) =>
    message(context, () => {
      const room = roomMessage(context.core, id);
      return room === undefined ? resend(context.core, id) : resendRoom(context.core, room.row, room.conversation);
    }),
  'message.cancel': (context, { id }) =>
    message(context, () => {
      const room = roomMessage(context.core, id);
      return room === undefined ? cancel(context.core, id) : cancelRoom(context.core, room.row);
    }),
  'message.search': ({ core }, params) => search(core, params),

  'conversation.list': ({ core }, { archived }) =>
    listConversations(core.db)
      .filter((row) => (archived === true || row.archived === 0) && hasBegun(core, row))
      .map((row) => conversationObject(core, row)),
  'conversation.show': ({ core }, { conversation }) =>
    conversationObject(core, findConversation(core.db, conversation)),
  'conversation.markRead': (context, { conversation, to }) =>
    inConversation(context, conversation, (core, row) =>
      markAnywhere(core, row, to === undefined ? LAST_ROW : messageIn(core.db, row, to).id),
    ),
  'conversation.mute': (context, { conversation, until }) =>
    inConversation(context, conversation, (core, row) =>
      commit(
        core,
        (changes) => void setSetting(core.db, changes, 'conversation.mutedUntil', until ?? FOREVER, idOf(row.uid)),
      ),
    ),
  'conversation.unmute': (context, { conversation }) =>
    inConversation(context, conversation, (core, row) =>
      commit(core, (changes) => void unsetSetting(core.db, changes, 'conversation.mutedUntil', idOf(row.uid))),
    ),
  'conversation.archive': (context, { conversation, archived }) =>
    inConversation(context, conversation, (core, row) =>
      commit(core, () => patchConversation(core.db, row.id, { archived: archived ? 1 : 0 })),
    ),
  'conversation.clear': (context, { conversation }) => inConversation(context, conversation, clear),
  'conversation.draft': (context, { conversation, text }) =>
    inConversation(context, conversation, (core, row) => {
      if (text === undefined) return;
      const draft = isBlank(text) ? '' : text;
      if (draft !== '') checkText(draft);
      commit(core, () => patchConversation(core.db, row.id, { draft }));
    }),
  'conversation.typing': (context, { conversation, on }) =>
    inQueue(context, () => {
      const { core } = context;
      const row = findConversation(core.db, conversation);
      if (!settingOf(core.db, 'privacy.typing', idOf(row.uid))) return {};
      const peer = core.peers.get(row.contactId ?? 0);
      if (row.kind === 'channel') typeInChannel(core, row, on);
      else if (peer?.ready === true) sendFrame(peer, { kind: 'typing', on });
      return {};
    }),
  'presence.set': (context, { state }) =>
    inQueue(context, () => {
      const { core } = context;
      for (const row of listConversations(core.db)) {
        const peer = core.peers.get(row.contactId ?? 0);
        if (peer?.ready === true && settingOf(core.db, 'privacy.presence', idOf(row.uid)))
          sendFrame(peer, { kind: 'presence', state });
      }
      core.rooms.present(state);
      return {};
    }),

  'config.list': ({ core }, { conversation }) => listSettings(core.db, scopeOf(core, conversation)),
  'config.get': ({ core }, { key, conversation }) => showSetting(core.db, key, scopeOf(core, conversation)),
  'config.set': (context, { key, value, conversation }) =>
    inQueue(context, () => {
      const { core } = context;
      checkRoomSetting(core, conversation, key, value);
      return commit(core, (changes) => setSetting(core.db, changes, key, value, scopeOf(core, conversation)));
    }),
  'config.unset': (context, { key, conversation }) =>
    inQueue(context, () =>
      commit(context.core, (changes) =>
        unsetSetting(context.core.db, changes, key, scopeOf(context.core, conversation)),
      ),
    ),

  ...FILE_METHODS,
};

type Waited = { readonly reached: boolean; readonly useless?: ReturnType<typeof uselessWait> };
const QUEUED: Waited = { reached: true };

/** Waits for what a contact, or a server (null), should do, no longer than that makes sense. */
const waitFor = async (
  { core, waits }: Context,
  contactId: number | null,
  look: () => boolean,
  timeoutMs: number | undefined,
): Promise<Waited> => {
  let reached = false;
  await waits.until(() => {
    reached = look();
    return reached || uselessWait(core, contactId) !== undefined;
  }, timeoutMs);
  return { reached, useless: reached ? undefined : uselessWait(core, contactId) };
};

/** Why a message has not come as far as was waited for: an error code. */
const whyNot = (
  core: Core,
  conversation: ConversationRow,
  message: MessageRow,
  timeoutMs: number | undefined,
): ErrorCode => {
  if (message.state === 'failed') return isErrorCode(message.reason) ? message.reason : 'message.failed';
  const server = serverOfRoom(core.db, conversation);
  if (server === undefined || timeoutMs !== 0 || message.state !== 'queued') return 'wait.timeout';
  // Who gives it no time is told at once that there is nobody to wait for.
  return core.rooms.get(server)?.state === 'online' ? 'wait.timeout' : 'server.unreachable';
};

const inConversation = (
  context: Context,
  reference: string,
  step: (core: Core, row: ReturnType<typeof findConversation>) => void,
) =>
  inQueue(context, () => {
    const row = findConversation(context.core.db, reference);
    step(context.core, row);
    return conversationObject(context.core, getConversation(context.core.db, row.id) ?? row);
  });

/** A message by its id: its row moves when the server gives it a place behind others. */
const messageNow = (core: Core, { conversationId, messageId }: MessageRow): MessageRow | undefined =>
  getMessageById(core.db, conversationId, messageId);

const markAnywhere = (core: Core, conversation: ConversationRow, upToRow: number): void =>
  conversation.kind === 'contact' ? markRead(core, conversation, upToRow) : markRoomRead(core, conversation, upToRow);

const markRows = (core: Core, rows: readonly MessageRow[]): void => {
  const last = new Map<number, number>();
  for (const row of rows) last.set(row.conversationId, row.id);
  for (const [id, upTo] of last) {
    const conversation = getConversation(core.db, id);
    if (conversation !== undefined) markAnywhere(core, conversation, upTo);
  }
};
