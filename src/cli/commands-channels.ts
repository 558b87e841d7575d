// Commands about channels: made, joined, administered, shown to newcomers.
import type { RpcClient } from '../client/rpc-client.ts';
import { SottoError } from '../protocol/errors.ts';
import { HISTORY_EVENTS_DEFAULT, HISTORY_EVENTS_MAX, WAIT_MS_DEFAULT } from '../protocol/limits.ts';
import { NO_OLD_KEYS } from '../protocol/room-rules.ts';
import type { Method, ParamsIn } from '../protocol/rpc.ts';
import type { ChannelObject } from '../protocol/rpc-rooms.ts';
import { asWord, safeName } from '../protocol/safe-text.ts';
import { memberArg, SERVER_FLAG, serverArg } from './arguments.ts';
import type { Argument, Command, CommandContext, Flag } from './command.ts';
import { each, first, optional, waitGiven } from './give.ts';
import type { Hint } from './output.ts';
import { shortId } from './show.ts';
import { channelDetailText, channelText, shareText, thenText } from './show-rooms.ts';

const channelArg: Argument = {
  name: 'channel',
  doc: '#name, #name@server or an id',
  required: true,
  complete: 'channel',
};
const ROLES = ['member', 'moderator', 'admin', 'owner'] as const;

/** A passphrase of a channel: from `--passphrase-fd` or the terminal; SOTTO_PASSPHRASE_FILE is the account's. */
const channelPassphrase = (context: CommandContext): Promise<string | undefined> =>
  context.passphrase({ prompt: 'Passphrase of the channel', flag: 'passphrase-fd' });

const CHOSEN = { twice: true, mayBeEmpty: true, flag: 'passphrase-fd' } as const;

/** One that is chosen for a channel; undefined lets six words be made. */
const newPassphrase = async (context: CommandContext): Promise<string | undefined> => {
  const prompt = 'Passphrase of the channel (empty: six words are made)';
  const given = await context.passphrase({ ...CHOSEN, prompt });
  return given === '' && context.flags.text('passphrase-fd') === undefined ? undefined : given;
};

const NONE_JOINED = 'No channels: sotto channel list --all shows what may be joined';
const noneText = async (client: RpcClient): Promise<string> =>
  (await client.call('server.list', {})).length === 0
    ? 'You are in no server yet, and channels are on servers: sotto server join LINK'
    : "No channels yet: sotto channel create '#NAME' makes one";

// A list that is not whole says so.
const sayUnasked = async ({ out }: CommandContext, client: RpcClient): Promise<void> => {
  const away = (await client.call('server.list', {})).filter(({ state }) => state !== 'online');
  if (away.length === 0) return;
  const names = away.map(({ label }) => safeName(label)).join(', ');
  out.say(`Not connected: ${names}. What else may be joined there is not shown`);
};

/** Calls with the passphrase that is given by `--passphrase-fd`, or else without, and with one that is typed where it is needed. */
const withPassphrase = async (
  context: CommandContext,
  call: (passphrase: string | undefined) => Promise<ChannelObject>,
): Promise<ChannelObject> => {
  const given = context.flags.text('passphrase-fd') === undefined ? undefined : await channelPassphrase(context);
  try {
    return await call(given);
  } catch (error) {
    if (!(error instanceof SottoError) || error.code !== 'passphrase.needed' || given !== undefined) throw error;
    const typed = await channelPassphrase(context);
    if (typed === undefined) throw error;
    return call(typed);
  }
};

const withWords = (channel: ChannelObject, hint: Hint): string =>
  channel.passphrase === undefined
    ? channelText(channel, hint)
    : `${channelText(channel, hint)}\nIts passphrase, which is shown once; whoever knows it reads the channel:\n  ${channel.passphrase}`;

type ChannelMethod = Extract<Method, `channel.${string}`>;
/** What no server is asked for. */
const IS_HERE: ReadonlySet<ChannelMethod> = new Set(['channel.show', 'channel.topic']);

/** A command that calls one method about a channel and shows the channel. */
const channelCommand = <M extends ChannelMethod>(
  path: string,
  doc: string,
  method: M,
  rest: {
    readonly args?: readonly Argument[];
    readonly flags?: Readonly<Record<string, Flag>>;
    readonly params?: (context: CommandContext) => Promise<object> | object;
    readonly text?: (channel: ChannelObject, context: CommandContext) => string;
    /** What the same command asks and does afterwards; gives the channel as it is then. */
    readonly then?: (channel: ChannelObject, context: CommandContext, client: RpcClient) => Promise<ChannelObject>;
  } = {},
): Command => ({
  path: `channel ${path}`,
  doc,
  args: [channelArg, ...(rest.args ?? [])],
  ...(rest.flags === undefined ? {} : { flags: rest.flags }),
  methods: [method],
  ...(rest.then === undefined ? {} : { ownSecret: true as const }),
  run: async (context) => {
    const more = { ...(await rest.params?.(context)), ...(IS_HERE.has(method) ? {} : waitGiven(context)) };
    const client = await context.connect();
    const changed = (await client.call(method, { channel: first(context), ...more } as ParamsIn<M>)) as ChannelObject;
    const channel = (await rest.then?.(changed, context, client)) ?? changed;
    context.out.item(channel, (one, hint) => rest.text?.(one, context) ?? channelText(one, hint));
  },
});

const PROGRESS_MS = 1_000;
const ENCRYPTIONS = ['members', 'passphrase', 'open'] as const;
const HISTORIES = ['joined', 'all'] as const;
const SHARE_WAITS = ['queued', 'sent'] as const;
const NOTIFIES = ['all', 'mentions', 'none'] as const;

const KEY_AFTER =
  '; the key changes, that of a passphrase channel by another passphrase (--passphrase-fd, or asked for on a terminal)';

// Where one of its name is live, who has named it by its id reads it by that.
const leftText = ({ id, name, server, archived, memberCount }: ChannelObject, named: string): string => {
  const end =
    archived && memberCount === 0
      ? ' Nobody is in it any more: it is archived for good, and its name stays taken.'
      : '';
  const reference = named.startsWith('#') ? asWord(safeName(`${name}@${server}`)) : shortId(id);
  return `You have left ${safeName(name)}.${end} What was said there stays here: sotto read ${reference}`;
};

const theMember = (context: CommandContext) => ({ member: context.args[1] ?? '' });

/** What has become of a member, and then the channel. */
const became = (context: CommandContext, what: string) => (channel: ChannelObject) =>
  `${safeName(context.args[1] ?? '')} ${what}\n${withWords(channel, context.out.hint)}`;

// Whoever was removed knows the passphrase. Where nobody can be asked, the answer says so, and `channel rotate` changes it.
const askAnother = async (
  channel: ChannelObject,
  context: CommandContext,
  client: RpcClient,
): Promise<ChannelObject> => {
  if (channel.encryption !== 'passphrase' || channel.archived || channel.mayStillRead === undefined) return channel;
  const prompt = `Another passphrase for ${safeName(channel.name)}, which they do not know (empty: six words are made)`;
  const given = await context.passphrase({ ...CHOSEN, prompt });
  if (given === undefined) return channel;
  return client.call('channel.rotate', {
    channel: channel.id,
    ...(given === '' ? {} : { passphrase: given }),
    ...waitGiven(context),
  });
};

const memberChange = (
  path: string,
  doc: string,
  method: 'channel.invite' | 'channel.kick' | 'channel.ban' | 'channel.unban',
  what: string,
  then?: typeof askAnother,
): Command =>
  channelCommand(path, doc, method, {
    args: [memberArg],
    params: theMember,
    ...(then === undefined ? {} : { then }),
    text: (channel, context) => became(context, what)(channel),
  });

/** Commands about channels, in the order of the help. */
export const channelCommands = (): readonly Command[] => [
  {
    path: 'channel create',
    doc: 'make a channel',
    args: [{ name: 'channel', doc: '#name', required: true }],
    flags: {
      encryption: {
        doc: 'members (when not said), passphrase (--passphrase-fd, typed, or six words that are made), or open: not encrypted',
        value: 'KIND',
        words: ENCRYPTIONS,
      },
      private: { doc: 'only who is invited sees and joins it' },
      history: {
        doc: 'who joins reads from then on (joined) or everything (all); all when open, else joined',
        value: 'RULE',
        words: HISTORIES,
      },
      ...SERVER_FLAG,
    },
    methods: ['channel.create'],
    ownSecret: true,
    run: async (context) => {
      const { flags, out } = context;
      const encryption = flags.choice('encryption', ENCRYPTIONS) ?? 'members';
      const history = flags.choice('history', HISTORIES);
      if (encryption === 'members' && history === 'all')
        throw new SottoError('usage.invalid', {
          message: NO_OLD_KEYS,
        });
      const passphrase = encryption === 'passphrase' ? await newPassphrase(context) : undefined;
      const client = await context.connect();
      out.item(
        await client.call('channel.create', {
          name: first(context),
          encryption,
          ...(flags.has('private') ? { private: true } : {}),
          ...optional('history', history),
          ...optional('passphrase', passphrase),
          ...optional('server', flags.text('server')),
          ...waitGiven(context),
        }),
        withWords,
      );
    },
  },
  {
    path: 'channel join',
    doc: 'join a channel',
    args: [channelArg],
    methods: ['channel.join'],
    ownSecret: true,
    run: async (context) => {
      const client = await context.connect();
      const channel = first(context);
      const join = (passphrase: string | undefined) =>
        client.call('channel.join', { channel, ...waitGiven(context), ...optional('passphrase', passphrase) });
      context.out.item(await withPassphrase(context, join), channelText);
    },
  },
  channelCommand(
    'leave',
    'leave a channel; its history stays here. With its last member it is archived for good, and its name stays taken',
    'channel.leave',
    { text: (channel, context) => context.out.hint(leftText(channel, first(context))) },
  ),
  {
    path: 'channel list',
    doc: 'channels you are in; ! for one that is not encrypted',
    args: [serverArg],
    flags: { all: { doc: 'also those that you may join' } },
    methods: ['channel.list', 'server.list'],
    run: async (context) => {
      const [server] = context.args;
      const all = context.flags.has('all');
      const client = await context.connect();
      const channels = await client.call('channel.list', { ...optional('server', server), all, ...waitGiven(context) });
      each(context, channels, channelText, all ? await noneText(client) : NONE_JOINED);
      if (all && server === undefined) await sayUnasked(context, client);
    },
  },
  channelCommand('show', 'one channel with its members', 'channel.show', {
    flags: { at: { doc: 'its topic and members at this time', value: 'TIME' } },
    params: ({ flags }) => optional('at', flags.time('at')),
    text: (channel, { flags, out }) =>
      flags.text('at') !== undefined && channel.memberCount === 0
        ? thenText(channel)
        : channelDetailText(channel, out.hint),
  }),
  channelCommand('topic', 'change the topic; without text it is removed', 'channel.topic', {
    args: [{ name: 'text', doc: 'one line', many: true }],
    params: (context) => ({ topic: context.args.slice(1).join(' ') }),
  }),
  memberChange('invite', 'let a member join', 'channel.invite', 'may join now'),
  memberChange('kick', `remove a member${KEY_AFTER}`, 'channel.kick', 'is removed', askAnother),
  memberChange('ban', `remove a member for good${KEY_AFTER}`, 'channel.ban', 'is banned', askAnother),
  memberChange('unban', 'let a banned member join again', 'channel.unban', 'is banned no more'),
  channelCommand('mute', 'let a member read but not write; --undo takes it back', 'channel.mute', {
    args: [memberArg],
    flags: { for: { doc: 'for so long', value: 'DURATION' }, undo: { doc: 'let them write again' } },
    params: (context) => {
      const ms = context.flags.duration('for');
      if (ms !== undefined && context.flags.has('undo'))
        throw new SottoError('usage.invalid', { message: '--undo lets them write again now: it goes without --for' });
      if (ms === 0) throw new SottoError('usage.invalid', { message: '--for is more than 0' });
      return {
        ...theMember(context),
        muted: !context.flags.has('undo'),
        ...optional('until', ms === undefined ? undefined : Date.now() + ms),
      };
    },
    text: (channel, context) =>
      became(context, context.flags.has('undo') ? 'may write again' : 'may read but not write')(channel),
  }),
  channelCommand('role', 'change what a member may do', 'channel.role', {
    args: [memberArg, { name: 'role', doc: ROLES.join(', '), required: true, words: ROLES }],
    params: (context) => {
      const role = ROLES.find((one) => one === context.args[2]);
      if (role === undefined) throw new SottoError('usage.invalid', { message: `A role is ${ROLES.join(', ')}` });
      return { ...theMember(context), role };
    },
    text: (channel, context) => became(context, `is ${context.args[2]} now`)(channel),
  }),
  {
    path: 'channel rotate',
    doc: 'change the key now; a passphrase channel gets another passphrase',
    args: [channelArg],
    methods: ['channel.show', 'channel.rotate'],
    ownSecret: true,
    run: async (context) => {
      const client = await context.connect();
      const channel = first(context);
      const { encryption } = await client.call('channel.show', { channel });
      const passphrase = encryption === 'passphrase' ? await newPassphrase(context) : undefined;
      const wanted = { channel, ...optional('passphrase', passphrase), ...waitGiven(context) };
      context.out.item(await client.call('channel.rotate', wanted), withWords);
    },
  },
  {
    path: 'channel share-history',
    doc: 'show a newcomer of a members channel what was said before they came, as it was signed',
    args: [channelArg, memberArg],
    flags: {
      limit: { doc: `the last so many events (${HISTORY_EVENTS_DEFAULT})`, value: 'N' },
      wait: { doc: 'queued, or sent: until the server has all of it', value: 'STATE', words: SHARE_WAITS },
    },
    methods: ['channel.shareHistory'],
    waits: true,
    run: async (context) => {
      const { flags, out } = context;
      const wait = flags.choice('wait', SHARE_WAITS) ?? 'queued';
      const params = {
        channel: first(context),
        ...theMember(context),
        ...optional('limit', flags.number('limit', { min: 1, max: HISTORY_EVENTS_MAX })),
      };
      const client = await context.connect();
      const endAt = Date.now() + (flags.duration('timeout') ?? WAIT_MS_DEFAULT);
      let share = await client.call('channel.shareHistory', { ...params, ...waitGiven(context) });
      while (wait === 'sent' && share.state === 'active' && Date.now() < endAt) {
        out.progress(`${share.doneEvents} of ${share.events} events`);
        const timeoutMs = Math.min(PROGRESS_MS, Math.max(0, endAt - Date.now()));
        share = await client.call('channel.shareHistory', { ...params, share: share.id, wait, timeoutMs });
      }
      out.item(share, shareText);
      if (wait === 'sent' && share.state === 'active') throw new SottoError('wait.timeout');
      if (share.state === 'refused') throw new SottoError('history.unshared', { message: share.reason ?? '' });
    },
  },
  channelCommand('archive', 'end writing in a channel for good; it stays readable', 'channel.archive'),
  channelCommand('set', 'slow mode, retention, and your notifications', 'channel.set', {
    flags: {
      slow: { doc: 'at most one message of each member in this time; 0s ends it', value: 'DURATION' },
      retention: { doc: 'how long the server keeps what is said, topics too; 0s keeps it', value: 'DURATION' },
      notify: { doc: 'all, mentions or none', value: 'WHAT', words: NOTIFIES },
    },
    params: ({ flags }) => {
      const set = {
        ...optional('slowMs', flags.duration('slow')),
        ...optional('retentionMs', flags.duration('retention')),
        ...optional('notify', flags.choice('notify', NOTIFIES)),
      };
      if (Object.keys(set).length === 0)
        throw new SottoError('usage.invalid', { message: 'Say what to set: --slow, --retention or --notify' });
      return set;
    },
    text: (channel, { out }) => channelDetailText(channel, out.hint),
  }),
];
