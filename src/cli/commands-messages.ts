// Commands about messages.
import { SottoError } from '../protocol/errors.ts';
import { PAGE_DEFAULT, PAGE_MAX } from '../protocol/limits.ts';
import { meant, nearOf } from '../protocol/near.ts';
import type { ParamsIn } from '../protocol/rpc.ts';
import type { EventKind } from '../protocol/rpc-events.ts';
import type { Message } from '../protocol/rpc-objects.ts';
import { conversationArg, messageArg } from './arguments.ts';
import { mayBeChannel, sayCautions, sayRequests, sayWhoReads } from './cautions.ts';
import type { Command, CommandContext } from './command.ts';
import { bodyGiven, each, first, lifeOf, optional, waitGiven } from './give.ts';
import type { Hint } from './output.ts';
import { wholePage } from './paging.ts';
import { notReached, sendWith, WAIT_WORDS } from './sending.ts';
import { bareMessageText, block, foundText, messageText } from './show.ts';
import { thenText } from './show-rooms.ts';
import { eventText } from './show-state.ts';

// Events that are written before whoever reads has taken them.
const EVENTS_AHEAD = 50;

const PAGING = {
  limit: { doc: 'how many at most (50)', value: 'N' },
  before: { doc: 'only before this message or time', value: 'ID|TIME' },
  after: { doc: 'only after this message or time', value: 'ID|TIME' },
} as const;

const paging = ({ flags }: CommandContext) => ({
  limit: flags.number('limit', { min: 1, max: PAGE_MAX }) ?? PAGE_DEFAULT,
  ...optional('before', flags.bound('before')),
  ...optional('after', flags.bound('after')),
});

const expiry = ({ flags }: CommandContext): Partial<ReturnType<typeof lifeOf>> => {
  const asked = flags.text('expires');
  return asked === undefined ? {} : lifeOf(asked);
};

// Who locks an account ends what listens to it, and the daemon goes on.
const whyGone = async ({ connect }: CommandContext): Promise<SottoError> => {
  const client = await connect({ start: false, unlock: false }).catch(() => undefined);
  return new SottoError(client?.greeting.locked === true ? 'account.locked' : 'daemon.gone');
};

const send = (): Command => ({
  path: 'send',
  doc: 'send a text; - or nothing reads it from stdin',
  args: [
    { name: 'to', doc: 'a contact, #channel or member@server', required: true, complete: 'conversation' },
    {
      name: 'text',
      doc: 'the text, or -; in a channel it names people by @name, @here, @members, @moderators, @admins or @owners',
      many: true,
    },
  ],
  flags: {
    wait: {
      doc: 'until it is queued, sent, delivered or read; a channel tells no reading',
      value: 'STATE',
      words: WAIT_WORDS,
    },
    reply: { doc: 'the message this answers', value: 'ID' },
    thread: { doc: 'the message whose thread this belongs to, in a channel or with a member', value: 'ID' },
    expires: {
      doc: 'ends on both sides after 30s, 1h, 7d …; read+30s: theirs so long after they read it, mine after it was delivered, or they told that they read it; never, whatever the conversation says',
      value: 'DURATION',
    },
  },
  methods: ['message.send', 'conversation.show'],
  waits: true,
  run: async (context) => {
    const { flags, out } = context;
    const wait = flags.choice('wait', WAIT_WORDS);
    const params = {
      conversation: first(context),
      text: await bodyGiven(context),
      ...optional('replyTo', flags.text('reply')),
      ...optional('thread', flags.text('thread')),
      ...optional('wait', wait),
      ...optional('timeoutMs', flags.duration('timeout')),
      ...expiry(context),
    };
    const sent = await sendWith(context, await context.connect(), params);
    const { message, reached, code, held } = sent;
    out.item(message, filled(context, messageText));
    await sayWhoReads(context);
    if (held !== undefined) out.say(held);
    if (!reached) throw notReached(message, { code, to: first(context), wait: wait ?? 'queued' });
  },
});

/** A command that changes one message and shows it. */
const messageCommand = (
  path: string,
  doc: string,
  method: 'message.pin' | 'message.unpin' | 'message.resend' | 'message.cancel',
): Command => ({
  path,
  doc,
  args: [messageArg],
  methods: [method],
  run: async (context) => context.out.item(await context.call(method, { id: first(context) }), messageText),
});

const reactionCommand = (path: 'react' | 'unreact', doc: string): Command => ({
  path,
  doc,
  args: [messageArg, { name: 'emoji', doc: 'one emoji', required: true }],
  methods: [`message.${path}`],
  run: async (context) =>
    context.out.item(
      await context.call(`message.${path}`, { id: first(context), emoji: context.args[1] ?? '' }),
      messageText,
    ),
});

const kindsGiven = async ({ flags }: CommandContext): Promise<EventKind[] | undefined> => {
  const given = flags.text('kinds')?.split(',');
  if (given === undefined) return undefined;
  // Loaded here: no other command looks at all of them.
  const { EVENT_KINDS, VOLATILE_KINDS } = await import('../protocol/event-kinds.ts');
  const known: readonly string[] = [...EVENT_KINDS, ...VOLATILE_KINDS];
  const wrong = given.find((kind) => !known.includes(kind));
  if (wrong === undefined) return given as EventKind[];
  const text = meant(nearOf(wrong, known), `: it is one of ${known.join(', ')}`);
  throw new SottoError('params.invalid', { message: `There is no kind of event ${JSON.stringify(wrong)}${text}` });
};

const unlessLeft = (error: unknown): undefined => {
  if (error instanceof SottoError && ['server.unknown', 'channel.unknown'].includes(error.code)) return undefined;
  throw error;
};

/** Commands about messages, in the order of the help. */
export const messageCommands = (): readonly Command[] => [
  send(),
  {
    path: 'read',
    doc: 'the history of a conversation, oldest first',
    args: [conversationArg],
    flags: {
      ...PAGING,
      at: {
        doc: 'the page that ends at this time; a channel as it was then, with its topic and members in channel show --at',
        value: 'TIME',
      },
      around: { doc: 'the page around this message', value: 'ID' },
      thread: { doc: 'only the thread of this message', value: 'ID' },
    },
    methods: ['message.list', 'channel.show', 'conversation.show'],
    run: async (context) => {
      const at = context.flags.time('at');
      const around = context.flags.text('around');
      const wanted = {
        conversation: first(context),
        ...paging(context),
        ...waitGiven(context),
        ...optional('at', at),
        ...optional('around', around),
        ...optional('thread', context.flags.text('thread')),
      };
      const way = context.flags.text('after') === undefined ? 'back' : 'on';
      const client = await context.connect();
      const list = (params: ParamsIn<'message.list'>) => client.call('message.list', params);
      const { missing = [], ...page } = await (around === undefined ? wholePage(list, wanted, way) : list(wanted));
      for (const text of missing) context.out.missing(text);
      if (at !== undefined && mayBeChannel(first(context)) && !context.out.json) {
        // Of a server that was left only what was said is told.
        const then = await context.call('channel.show', { channel: first(context), at }).catch(unlessLeft);
        if (then !== undefined) context.out.say(thenText(then));
      }
      await sayWhoReads(context);
      sayRequests(context, page.messages);
      each(context, page.messages, filled(context, bareMessageText), 'Nothing.');
      if (around !== undefined) {
        if (page.before !== undefined) context.out.more(`--before ${page.before}`);
        if (page.after !== undefined) context.out.more(`--after ${page.after}`);
      } else if (page.more) goOn(context, page.messages);
    },
  },
  {
    path: 'unread',
    doc: 'what is new, oldest first',
    args: [{ ...conversationArg, required: false }],
    flags: { ...PAGING, 'mark-read': { doc: 'and mark it as read' } },
    methods: ['message.unread', 'conversation.show', 'conversation.markRead'],
    run: async (context) => {
      const marks = context.flags.has('mark-read');
      if (marks && context.flags.text('after') !== undefined)
        throw new SottoError('usage.invalid', {
          message: 'What is marked as read is all up to a message: without --after',
        });
      const client = await context.connect();
      const {
        messages,
        more,
        missing = [],
      } = await wholePage(
        (params) => client.call('message.unread', params),
        { ...optional('conversation', context.args[0]), ...paging(context), ...waitGiven(context) },
        'on',
      );
      for (const text of missing) context.out.missing(text);
      await sayCautions(context, messages);
      page(context, messages);
      if (marks) {
        // What nobody was shown is not read.
        await context.out.taken();
        for (const [conversation, shown] of Map.groupBy(messages, (one) => one.conversationId))
          await client.call('conversation.markRead', { conversation, ...optional('to', shown.at(-1)?.id) });
      }
      if (more) context.out.more(marks ? '--mark-read' : `--after ${messages.at(-1)?.id}`);
    },
  },
  {
    path: 'listen',
    doc: 'events as they happen, one a line; --since resumes after a cursor',
    args: [],
    flags: {
      since: { doc: 'replay what was committed after this cursor first', value: 'CURSOR' },
      kinds: { doc: 'only these kinds, with commas', value: 'KINDS', complete: 'kinds' },
    },
    methods: ['event.listen'],
    run: async (context) => {
      const since = context.flags.text('since');
      if (since !== undefined && !/^\d{1,15}$/.test(since))
        throw new SottoError('usage.invalid', { message: '--since takes a cursor, a whole number' });
      const kinds = await kindsGiven(context);
      const client = await context.connect();
      let events = 0;
      client.onEvent = (event) => {
        context.out.item(event, filled(context, eventText));
        // Who reads slower than it happens is waited for; the daemon cuts off who is far behind.
        if (++events % EVENTS_AHEAD === 0) client.pauseUntil(context.out.taken());
      };
      const gone = new Promise<'gone'>((resolve) => {
        client.onClose = () => resolve('gone');
      });
      await client.call('event.listen', {
        ...optional('since', since),
        ...optional('kinds', kinds),
      });
      context.waitFromHere();
      if ((await Promise.race([gone, context.interrupted])) === 'gone') throw await whyGone(context);
    },
  },
  {
    path: 'search',
    doc: 'full text over the history, newest first',
    args: [
      {
        name: 'query',
        doc: 'words that must all be there; begin* finds every word that begins so',
        required: true,
        many: true,
      },
    ],
    flags: {
      ...PAGING,
      in: { doc: 'only in this conversation', value: 'CONVERSATION', complete: 'conversation' },
      from: { doc: 'only by this contact, by member@server, or by me', value: 'WHO', complete: 'contact' },
    },
    methods: ['message.search', 'conversation.show'],
    run: async (context) => {
      const client = await context.connect();
      const {
        messages,
        more,
        missing = [],
      } = await wholePage(
        (params) => client.call('message.search', params),
        {
          query: context.args.join(' '),
          ...optional('conversation', context.flags.text('in')),
          ...optional('from', context.flags.text('from')),
          ...paging(context),
          ...waitGiven(context),
        },
        'down',
      );
      for (const text of missing) context.out.missing(text);
      await sayCautions(context, messages);
      each(
        context,
        messages,
        filled(context, context.flags.text('in') !== undefined ? bareMessageText : foundText),
        'Nothing.',
      );
      if (more) context.out.more(`--before ${messages.at(-1)?.id}`);
    },
  },
  {
    path: 'show',
    doc: 'one message with its earlier texts',
    args: [messageArg],
    methods: ['message.show'],
    run: async (context) =>
      context.out.item(await context.call('message.show', { id: first(context) }), (message, hint) =>
        [messageText(message, hint), ...(message.versions ?? []).map((one) => `  before: ${block(one.body)}`)].join(
          '\n',
        ),
      ),
  },
  {
    path: 'edit',
    doc: 'change the text of a message of yours',
    args: [messageArg, { name: 'text', doc: 'the new text, or -', many: true }],
    methods: ['message.edit'],
    run: async (context) =>
      context.out.item(
        await context.call('message.edit', { id: first(context), text: await bodyGiven(context) }),
        messageText,
      ),
  },
  {
    path: 'delete',
    doc: 'delete a message of yours for everybody; in a channel a moderator deletes any',
    args: [messageArg],
    flags: { local: { doc: 'only here, whoever wrote it' } },
    methods: ['message.delete'],
    run: async (context) =>
      context.out.item(
        await context.call('message.delete', {
          id: first(context),
          local: context.flags.has('local'),
        }),
        messageText,
      ),
  },
  reactionCommand('react', 'add a reaction'),
  reactionCommand('unreact', 'take a reaction back'),
  messageCommand('pin', 'pin a message for everybody in the conversation; in a channel moderators pin', 'message.pin'),
  messageCommand('unpin', 'take a pin back', 'message.unpin'),
  messageCommand('resend', 'put a failed message into the outbox again', 'message.resend'),
  messageCommand('cancel', 'take a message back that was not delivered', 'message.cancel'),
];

// A long text is broken between its words, and the next line does not look like another message.
const filled =
  <T>({ out }: CommandContext, text: (one: T, hint: Hint) => string) =>
  (one: T): string =>
    out.filled(text(one, out.hint), INDENT);
const INDENT = '    ';

const page = (context: CommandContext, messages: readonly Message[]): void =>
  each(context, messages, filled(context, messageText), 'Nothing.');

// A page after something goes on forwards, any other one backwards.
const goOn = ({ flags, out }: CommandContext, messages: readonly Message[]): void =>
  out.more(flags.text('after') === undefined ? `--before ${messages[0]?.id}` : `--after ${messages.at(-1)?.id}`);
