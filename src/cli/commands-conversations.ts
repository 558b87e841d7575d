// Commands about conversations.
import { SottoError } from '../protocol/errors.ts';
import type { Conversation } from '../protocol/rpc-objects.ts';
import { safeName, safeText } from '../protocol/safe-text.ts';
import { parseDuration } from '../protocol/time-words.ts';
import { conversationArg } from './arguments.ts';
import type { Command, CommandContext } from './command.ts';
import { askIfMeant, bodyGiven, each, first, lifeOf, optional, YES_FLAG } from './give.ts';
import { conversationText } from './show.ts';

/** A command that changes one conversation and shows it. */
const conversationCommand = (
  path: string,
  doc: string,
  call: (context: CommandContext, conversation: string) => Promise<Conversation>,
  rest: Pick<Command, 'methods'> & Partial<Pick<Command, 'flags' | 'args'>>,
): Command => ({
  path,
  doc,
  args: [conversationArg],
  ...rest,
  run: async (context) => context.out.item(await call(context, first(context)), conversationText),
});

/** Commands about conversations, in the order of the help. */
export const conversationCommands = (): readonly Command[] => [
  {
    path: 'conversations',
    doc: 'conversations, the latest first; ◆ with somebody whose safety number you compared, ◇ with others',
    args: [],
    flags: { archived: { doc: 'archived ones too' } },
    methods: ['conversation.list'],
    run: async (context) =>
      each(
        context,
        await context.call('conversation.list', { archived: context.flags.has('archived') }),
        conversationText,
        'No conversations yet.',
      ),
  },
  conversationCommand(
    'conversation show',
    'one conversation',
    ({ call }, conversation) => call('conversation.show', { conversation }),
    { methods: ['conversation.show'] },
  ),
  conversationCommand(
    'conversation mute',
    'no notifications, for a time or for ever',
    ({ args, call, flags }, conversation) => {
      const [, given] = args;
      if (given !== undefined && flags.text('for') !== undefined)
        throw new SottoError('usage.invalid', { message: 'Give a duration, or --for, not both' });
      const ms = given === undefined ? flags.duration('for') : parseDuration(given);
      return call('conversation.mute', {
        conversation,
        ...(ms === undefined ? {} : { until: Date.now() + ms }),
      });
    },
    {
      methods: ['conversation.mute'],
      args: [conversationArg, { name: 'duration', doc: 'how long: 1h, 7d …; for ever without it' }],
      flags: { for: { doc: 'the same as a flag', value: 'DURATION' } },
    },
  ),
  conversationCommand(
    'conversation unmute',
    'notifications again',
    ({ call }, conversation) => call('conversation.unmute', { conversation }),
    { methods: ['conversation.unmute'] },
  ),
  conversationCommand(
    'conversation archive',
    'hide a conversation until something new comes',
    ({ call, flags }, conversation) => call('conversation.archive', { conversation, archived: !flags.has('undo') }),
    { methods: ['conversation.archive'], flags: { undo: { doc: 'show it again' } } },
  ),
  conversationCommand(
    'conversation clear',
    'erase the history here; what waits is taken back',
    async (context, conversation) => {
      const { call, out } = context;
      await askIfMeant(context, `Erase all of ${conversation} that is kept here?`);
      const cleared = await call('conversation.clear', { conversation });
      const { takenBack } = cleared;
      if (takenBack > 0) out.say(`${takenBack} ${takenBack === 1 ? 'message' : 'messages'} that waited: taken back.`);
      return cleared;
    },
    { methods: ['conversation.clear'], flags: YES_FLAG },
  ),
  conversationCommand(
    'mark-read',
    'mark a conversation as read',
    ({ call, flags }, conversation) =>
      call('conversation.markRead', { conversation, ...optional('to', flags.text('to')) }),
    { methods: ['conversation.markRead'], flags: { to: { doc: 'only up to this message', value: 'ID' } } },
  ),
  {
    path: 'draft',
    doc: 'keep a text for later; without text show it',
    args: [conversationArg, { name: 'text', doc: 'the draft, or -', many: true }],
    flags: { clear: { doc: 'drop it' } },
    methods: ['conversation.draft'],
    run: async (context) => {
      if (context.flags.has('clear') && context.args.length > 1)
        throw new SottoError('usage.invalid', { message: 'Give a text, or --clear' });
      const text = context.flags.has('clear') ? '' : context.args.length > 1 ? await bodyGiven(context) : undefined;
      const client = await context.connect();
      const kept = await client.call('conversation.draft', { conversation: first(context), ...optional('text', text) });
      if (!context.out.json && kept.draft === undefined) return context.out.say('There is no draft.');
      context.out.item(kept, ({ draft }) => safeText(draft ?? ''));
    },
  },
  {
    path: 'expire',
    doc: 'how long new messages of a conversation live: 1h, 7d …, read+30s, or never',
    args: [conversationArg, { name: 'duration', doc: 'a duration, read+duration, or never', required: true }],
    run: async (context) => {
      const client = await context.connect();
      const conversation = first(context);
      const asked = context.args[1] ?? '';
      const { expiresMs, expiresFrom } = lifeOf(asked);
      // The one that a room may refuse goes first: then nothing is set.
      await client.call('config.set', {
        key: 'messages.expiresFrom',
        value: expiresFrom,
        conversation,
      });
      await client.call('config.set', { key: 'messages.expiresMs', value: expiresMs, conversation });
      const ends = (kind: Conversation['kind']) =>
        expiresFrom === 'read'
          ? `end ${asked.slice(5)} after they are read`
          : `end ${asked} after they are ${kind === 'contact' ? 'delivered' : 'sent'}`;
      context.out.item(
        await client.call('conversation.show', { conversation }),
        ({ name, kind }) => `New messages with ${safeName(name)} ${expiresMs === 0 ? 'do not end' : ends(kind)}.`,
      );
    },
  },
];
