// The methods of an open account that are about conversations.
import { idOf } from '../protocol/ids.ts';
import { FOREVER } from '../protocol/limits.ts';
import { isBlank } from '../protocol/safe-text.ts';
import { type ConversationRow, getConversation, listConversations, patchConversation } from '../store/conversations.ts';
import { type Core, commit } from './core.ts';
import { checkText, clear, markRead } from './messages.ts';
import type { Context, HandlersOf } from './methods.ts';
import { contactOf, findConversation, messageIn } from './names.ts';
import { conversationObject, hasBegun } from './objects.ts';
import { sendFrame } from './peer.ts';
import { isTold } from './pinned-keys.ts';
import { typeInRoom } from './room-messages.ts';
import { markRoomRead } from './room-read.ts';
import { setSetting, settingOf, unsetSetting } from './settings.ts';

const LAST_ROW = Number.MAX_SAFE_INTEGER;

/** Answers of `conversation.*`. */
export const CONVERSATION_HANDLERS: HandlersOf<'conversation'> = {
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
  'conversation.clear': async (context, { conversation }) => {
    let takenBack = 0;
    const cleared = await inConversation(context, conversation, (core, row) => {
      takenBack = clear(core, row);
    });
    return { ...cleared, takenBack };
  },
  'conversation.draft': (context, { conversation, text }) =>
    inConversation(context, conversation, (core, row) => {
      if (text === undefined) return;
      const draft = isBlank(text) ? '' : text;
      if (draft !== '') checkText(draft);
      commit(core, () => patchConversation(core.db, row.id, { draft }));
    }),
  'conversation.typing': (context, { conversation, on }) =>
    context.core.queue.call(() => {
      const { core } = context;
      const row = findConversation(core.db, conversation);
      if (!settingOf(core.db, 'privacy.typing', idOf(row.uid))) return {};
      const peer = core.peers.get(row.contactId ?? 0);
      if (row.kind !== 'contact') typeInRoom(core, row, on);
      else if (peer?.ready === true && isTold(contactOf(core.db, row))) sendFrame(peer, { kind: 'typing', on });
      return {};
    }),
};

const inConversation = (
  context: Context,
  reference: string,
  step: (core: Core, row: ReturnType<typeof findConversation>) => void,
) =>
  context.core.queue.call(() => {
    const row = findConversation(context.core.db, reference);
    step(context.core, row);
    return conversationObject(context.core, getConversation(context.core.db, row.id) ?? row);
  });

/** Marks messages up to a row as read, whoever they are with. */
export const markAnywhere = (core: Core, conversation: ConversationRow, upToRow: number): void =>
  conversation.kind === 'contact' ? markRead(core, conversation, upToRow) : markRoomRead(core, conversation, upToRow);
