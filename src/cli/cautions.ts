// What is said beside a conversation whenever it is shown: that its server reads it, who may still read it, who only asks to write.
import type { Conversation, Message } from '../protocol/rpc-objects.ts';
import type { ChannelObject } from '../protocol/rpc-rooms.ts';
import { asWord, safeName } from '../protocol/safe-text.ts';
import type { CommandContext } from './command.ts';
import { first } from './give.ts';
import { alert } from './style.ts';

/** That somebody, `name@server`, wants to write to me, and the command that lets them. */
export const requestText = (name: string): string => {
  const at = name.lastIndexOf('@');
  const [who, server] = [name.slice(0, at), name.slice(at + 1)].map((one) => asWord(safeName(one)));
  return `wants to write to you: sotto member accept ${who}@${server}`;
};

/** Of a passphrase channel, `#name@server`: who was removed and may still read. */
type StillRead = { readonly name: string } & Pick<ChannelObject, 'mayStillRead' | 'role'>;

/** Who was removed and may still read, and, where I may change the passphrase, the command that does; none where nobody may. */
export const stillReadTexts = ({ name, mayStillRead = [], role = 'member' }: StillRead): string[] => {
  if (mayStillRead.length === 0) return [];
  const who = mayStillRead.map(safeName).join(', ');
  return role === 'member'
    ? [`${who} may still read until the passphrase changes`]
    : [`${who} may still read: change the passphrase (sotto channel rotate ${asWord(safeName(name))})`];
};

/** Tells, beside what is read or written in the conversation that is named first, who else reads it. A channel is named by its name or its id. */
export const sayWhoReads = async (context: CommandContext): Promise<void> => {
  const conversation = first(context);
  if (context.out.json || !mayBeChannel(conversation)) return;
  const shown = await context.call('conversation.show', { conversation });
  sayEncryption(context, shown, 'this');
  sayStillRead(context, shown);
};

/** Whether what names a conversation can name a channel: `#name`, or an id. */
export const mayBeChannel = (reference: string): boolean => /^(#|[0-9a-f]{6,32}$)/i.test(reference);

/** Tells, beside messages of whatever conversations, who only asks to write, what of them is not encrypted, and who may still read a channel. */
export const sayCautions = async (context: CommandContext, messages: readonly Message[]): Promise<void> => {
  if (context.out.json) return;
  sayRequests(context, messages);
  const isChannel = ({ conversation }: Message): boolean => conversation.startsWith('#');
  for (const id of new Set(messages.filter(isChannel).map(({ conversationId }) => conversationId))) {
    const shown = await context.call('conversation.show', { conversation: id });
    sayEncryption(context, shown, safeName(shown.name));
    sayStillRead(context, shown);
  }
};

/** Tells who only asks to write, of those whose messages are shown. */
export const sayRequests = ({ out }: CommandContext, messages: readonly Message[]): void => {
  const names = messages.flatMap(({ request, conversation }) => (request === true ? [conversation] : []));
  for (const name of new Set(names)) out.say(alert(`${safeName(name)} ${requestText(name)}`));
};

const sayEncryption = ({ out }: CommandContext, { encryption }: Conversation, what: string): void => {
  if (encryption === 'open') out.say(alert(`! NOT ENCRYPTED: the server reads ${what}`));
};

const sayStillRead = ({ out }: CommandContext, conversation: Conversation): void => {
  for (const text of stillReadTexts(conversation)) out.say(alert(text));
};
