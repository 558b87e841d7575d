// The methods of an open account, by noun: each checks what is meant, does it in the queue, and gives the objects of the wire.
import { idOf } from '../protocol/ids.ts';
import type { AccountMethod, Params, Result } from '../protocol/rpc.ts';
import { putNickname } from '../store/self.ts';
import { CHANNEL_HANDLERS } from './channel-methods.ts';
import { CONTACT_HANDLERS } from './contact-methods.ts';
import { CONVERSATION_HANDLERS } from './conversation-methods.ts';
import { type Core, commit } from './core.ts';
import type { Files } from './files.ts';
import { FILE_HANDLERS } from './files-methods.ts';
import { refuseTakenNickname } from './labels.ts';
import { MEMBER_HANDLERS } from './member-methods.ts';
import { MESSAGE_HANDLERS } from './message-methods.ts';
import { checkName, findConversation } from './names.ts';
import { selfObject } from './objects.ts';
import { tellPresence } from './passing.ts';
import { checkRoomSetting } from './room-messages.ts';
import { SERVER_HANDLERS } from './server-methods.ts';
import { listSettings, setSetting, showSetting, unsetSetting } from './settings.ts';
import type { Waits } from './waits.ts';

export type Context = { readonly core: Core; readonly name: string; readonly waits: Waits; readonly files: Files };
/** Answers of an account, by method. */
export type Handlers = {
  readonly [M in AccountMethod]: (
    context: Context,
    params: Params<M>,
    gone?: AbortSignal,
  ) => Promise<Result<M>> | Result<M>;
};

/** Those of the methods of some nouns. */
export type HandlersOf<Noun extends string> = Pick<Handlers, AccountMethod & `${Noun}.${string}`>;

/** Answers one method; `gone` says that the front end that called it is there no more. Throws SottoError. */
export const callMethod = async <M extends AccountMethod>(
  context: Context,
  method: M,
  params: Params<M>,
  gone?: AbortSignal,
): Promise<Result<M>> => {
  const handler: Handlers[M] = HANDLERS[method];
  return handler(context, params, gone);
};

const HANDLERS: Handlers = {
  'account.show': ({ core, name }) => selfObject(core, name),
  'account.nickname': (context, { nickname }) =>
    context.core.queue.call(() => {
      checkName(nickname);
      refuseTakenNickname(context.core, nickname);
      commit(context.core, () => putNickname(context.core.db, nickname.trim()));
      return selfObject(context.core, context.name);
    }),

  'presence.set': (context, { state }) =>
    context.core.queue.call(() => {
      const { core } = context;
      core.rooms.present(state);
      for (const peer of core.peers.values()) tellPresence(core, peer);
      return {};
    }),

  'config.list': ({ core }, { conversation }) => listSettings(core.db, scopeOf(core, conversation)),
  'config.get': ({ core }, { key, conversation }) => showSetting(core.db, key, scopeOf(core, conversation)),
  'config.set': (context, { key, value, conversation }) =>
    context.core.queue.call(() => {
      const { core } = context;
      checkRoomSetting(core, conversation, key, value);
      return commit(core, (changes) => setSetting(core.db, changes, key, value, scopeOf(core, conversation)));
    }),
  'config.unset': (context, { key, conversation }) =>
    context.core.queue.call(() =>
      commit(context.core, (changes) =>
        unsetSetting(context.core.db, changes, key, scopeOf(context.core, conversation)),
      ),
    ),

  ...CONTACT_HANDLERS,
  ...MESSAGE_HANDLERS,
  ...CONVERSATION_HANDLERS,
  ...FILE_HANDLERS,
  ...SERVER_HANDLERS,
  ...MEMBER_HANDLERS,
  ...CHANNEL_HANDLERS,
};

const scopeOf = (core: Core, conversation: string | undefined): string =>
  conversation === undefined ? '' : idOf(findConversation(core.db, conversation).uid);
