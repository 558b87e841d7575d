// Commands about servers, channels and members.
import { SottoError } from '../protocol/errors.ts';
import { HISTORY_EVENTS_DEFAULT, HISTORY_EVENTS_MAX, WAIT_MS_DEFAULT } from '../protocol/limits.ts';
import { NO_OLD_KEYS } from '../protocol/room-rules.ts';
import type { Method, ParamsIn } from '../protocol/rpc.ts';
import type { ChannelObject } from '../protocol/rpc-rooms.ts';
import { safeName } from '../protocol/safe-text.ts';
import type { Argument, Command, CommandContext, Flag } from './command.ts';
import { MEMBER_COMMANDS, memberArg, serverArg } from './commands-members.ts';
import { SECOND_COMMANDS } from './commands-second.ts';
import { each, first, optional } from './give.ts';
import {
  callText,
  channelDetailText,
  channelText,
  deviceText,
  inviteText,
  serverText,
  shareText,
} from './show-rooms.ts';

const channelArg: Argument = {
  name: 'channel',
  doc: '#name, #name@server or an id',
  required: true,
  complete: 'channel',
};
const SERVER_FLAG = { server: { doc: 'which server, where there are several', value: 'SERVER' } } as const;
const ROLES = ['member', 'moderator', 'admin', 'owner'] as const;

/** A passphrase of a channel: from `--passphrase-fd` or the terminal; SOTTO_PASSPHRASE_FILE is the account's. */
const channelPassphrase = (context: CommandContext, twice: boolean): Promise<string | undefined> =>
  context.passphrase({ prompt: 'Passphrase of the channel', twice, flag: 'passphrase-fd' });

/** Calls with the passphrase that is given by `--passphrase-fd`, or else without, and with one that is typed where it is needed. */
const withPassphrase = async (
  context: CommandContext,
  twice: boolean,
  call: (passphrase: string | undefined) => Promise<ChannelObject>,
): Promise<ChannelObject> => {
  const given = context.flags.text('passphrase-fd') === undefined ? undefined : await channelPassphrase(context, twice);
  try {
    return await call(given);
  } catch (error) {
    if (!(error instanceof SottoError) || error.code !== 'passphrase.needed' || given !== undefined) throw error;
    const typed = await channelPassphrase(context, twice);
    if (typed === undefined) throw error;
    return call(typed);
  }
};

const SERVERS: readonly Command[] = [
  {
    path: 'server join',
    doc: 'become a member of the server of an invite link; - reads it from stdin',
    args: [{ name: 'link', doc: 'an invite link, or -', required: true }],
    flags: {
      as: { doc: 'your name there', value: 'NAME' },
      label: { doc: 'what you call the server', value: 'LABEL' },
      clearnet: { doc: 'reach it beside Tor: it sees your address' },
      code: { doc: 'where you set up a second check: of your authenticator, or a recovery code', value: 'CODE' },
      'password-fd': { doc: 'read the password of the second check from this descriptor', value: 'N' },
    },
    methods: ['server.join'],
    run: async (context) => {
      const { flags, out } = context;
      const link = first(context) === '-' ? (await context.stdinText()).trim() : first(context);
      const code = flags.text('code');
      if (code === undefined && flags.text('password-fd') !== undefined)
        throw new SottoError('usage.invalid', { message: 'The password goes with a code: --code' });
      const password =
        code === undefined
          ? undefined
          : await context.passphrase({ prompt: 'Password of the second check', flag: 'password-fd' });
      if (code !== undefined && password === undefined)
        throw new SottoError('usage.invalid', { message: 'The code goes with the password: --password-fd' });
      const client = await context.connect();
      out.item(
        await client.call('server.join', {
          link,
          ...optional('code', code),
          ...optional('password', password),
          ...optional('name', flags.text('as')),
          ...optional('label', flags.text('label')),
          ...(flags.has('clearnet') ? { clearnet: true } : {}),
          ...optional('timeoutMs', flags.duration('timeout')),
        }),
        serverText,
      );
    },
  },
  {
    path: 'server list',
    doc: 'the servers you are a member of',
    args: [],
    methods: ['server.list'],
    run: async (context) =>
      each(
        context,
        await context.call('server.list', {}),
        serverText,
        'No servers yet: sotto server join LINK, or host one: sotto serve',
      ),
  },
  {
    path: 'server leave',
    doc: 'end your membership here; the history stays',
    args: [{ ...serverArg, required: true }],
    flags: { erase: { doc: 'the server forgets you, too' } },
    methods: ['server.leave'],
    run: async (context) =>
      context.out.item(
        await context.call('server.leave', {
          server: first(context),
          erase: context.flags.has('erase'),
        }),
        ({ label }) => `You have left ${safeName(label)}. What was said there stays here: sotto conversations`,
      ),
  },
  {
    path: 'server invite',
    doc: 'make an invite link',
    args: [serverArg],
    flags: {
      uses: { doc: 'how many may use it (1)', value: 'N' },
      expires: { doc: 'until when: 1d, 7d … (7d)', value: 'DURATION' },
      role: { doc: 'member or admin', value: 'ROLE' },
    },
    methods: ['server.invite'],
    run: async (context) => {
      const { flags } = context;
      context.out.item(
        await context.call('server.invite', {
          ...optional('server', context.args[0]),
          ...optional('uses', flags.number('uses', { min: 1, max: 10_000 })),
          ...optional('expiresMs', flags.duration('expires')),
          ...optional('role', flags.choice('role', ['member', 'admin'])),
        }),
        inviteText,
      );
    },
  },
  {
    path: 'server invites',
    doc: 'invites that still work',
    args: [serverArg],
    methods: ['server.invites'],
    run: async (context) =>
      each(
        context,
        await context.call('server.invites', { ...optional('server', context.args[0]) }),
        inviteText,
        'No invites.',
      ),
  },
  {
    path: 'server revoke',
    doc: 'end an invite',
    args: [{ name: 'id', doc: 'of the invite', required: true }],
    flags: SERVER_FLAG,
    methods: ['server.revoke'],
    run: async (context) =>
      context.out.item(
        await context.call('server.revoke', {
          id: first(context),
          ...optional('server', context.flags.text('server')),
        }),
        inviteText,
      ),
  },
  {
    path: 'server devices',
    doc: 'your devices on a server; --revoke ends one',
    args: [serverArg],
    flags: { revoke: { doc: 'the id of a device to end', value: 'ID' } },
    methods: ['server.devices', 'server.revokeDevice'],
    run: async (context) => {
      const server = optional('server', context.args[0]);
      const client = await context.connect();
      const id = context.flags.text('revoke');
      if (id !== undefined) context.out.item(await client.call('server.revokeDevice', { ...server, id }), deviceText);
      else {
        const devices = await client.call('server.devices', server);
        each(context, devices, deviceText, 'No devices.');
        const [needs, rest] = devices[0]?.secondCheck ? ['the', ''] : ['no', ' set'];
        context.out.say(`Another device needs ${needs} second check: sotto server second-check${rest}`);
      }
    },
  },
  {
    path: 'server export',
    doc: 'what a server says that it keeps about you, besides what you said',
    args: [serverArg],
    methods: ['server.export'],
    run: async (context) =>
      context.out.item(await context.call('server.export', { ...optional('server', context.args[0]) }), ({ kept }) =>
        JSON.stringify(kept, null, 2),
      ),
  },
  {
    path: 'server profile',
    doc: 'change your name or status text on a server',
    args: [serverArg],
    flags: {
      name: { doc: 'your name there', value: 'NAME' },
      status: { doc: 'a line that all members see; empty removes it', value: 'TEXT' },
    },
    methods: ['server.profile'],
    run: async (context) => {
      const { args, flags, out } = context;
      const [name, status] = [flags.text('name'), flags.text('status')];
      if (name === undefined && status === undefined)
        throw new SottoError('usage.invalid', { message: 'Say what to change: --name NAME or --status TEXT' });
      const client = await context.connect();
      const changed = { ...optional('name', name), ...optional('status', status) };
      out.item(await client.call('server.profile', { ...optional('server', args[0]), ...changed }), serverText);
    },
  },
];

type ChannelMethod = Extract<Method, `channel.${string}`>;

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
  } = {},
): Command => ({
  path: `channel ${path}`,
  doc,
  args: [channelArg, ...(rest.args ?? [])],
  ...(rest.flags === undefined ? {} : { flags: rest.flags }),
  methods: [method],
  run: async (context) => {
    const more = (await rest.params?.(context)) ?? {};
    const client = await context.connect();
    const channel = await client.call(method, { channel: first(context), ...more } as ParamsIn<M>);
    context.out.item(channel as ChannelObject, (one) => rest.text?.(one, context) ?? channelText(one));
  },
});

const PROGRESS_MS = 1_000;

const theMember = (context: CommandContext) => ({ member: context.args[1] ?? '' });

/** What has become of a member, and then the channel. */
const became = (context: CommandContext, what: string) => (channel: ChannelObject) =>
  `${safeName(context.args[1] ?? '')} ${what}\n${channelText(channel)}`;

const memberChange = (
  path: string,
  doc: string,
  method: 'channel.invite' | 'channel.kick' | 'channel.ban' | 'channel.unban',
  what: string,
): Command =>
  channelCommand(path, doc, method, {
    args: [memberArg],
    params: theMember,
    text: (channel, context) => became(context, what)(channel),
  });

const CHANNELS: readonly Command[] = [
  {
    path: 'channel create',
    doc: 'make a channel',
    args: [{ name: 'channel', doc: '#name', required: true }],
    flags: {
      encryption: { doc: 'members (when not said), passphrase, or open: not encrypted', value: 'KIND' },
      private: { doc: 'only who is invited sees and joins it' },
      history: {
        doc: 'who joins reads from then on (joined) or everything (all); all when open, else joined',
        value: 'RULE',
      },
      ...SERVER_FLAG,
    },
    methods: ['channel.create'],
    run: async (context) => {
      const { flags, out } = context;
      const encryption = flags.choice('encryption', ['members', 'passphrase', 'open']) ?? 'members';
      const history = flags.choice('history', ['joined', 'all']);
      if (encryption === 'members' && history === 'all')
        throw new SottoError('usage.invalid', {
          message: NO_OLD_KEYS,
        });
      const passphrase = encryption === 'passphrase' ? await channelPassphrase(context, true) : undefined;
      const client = await context.connect();
      out.item(
        await client.call('channel.create', {
          name: first(context),
          encryption,
          ...(flags.has('private') ? { private: true } : {}),
          ...optional('history', history),
          ...optional('passphrase', passphrase),
          ...optional('server', flags.text('server')),
          ...optional('timeoutMs', flags.duration('timeout')),
        }),
        channelText,
      );
    },
  },
  {
    path: 'channel join',
    doc: 'join a channel',
    args: [channelArg],
    methods: ['channel.join'],
    run: async (context) => {
      const timeout = optional('timeoutMs', context.flags.duration('timeout'));
      const client = await context.connect();
      const channel = first(context);
      const join = (passphrase: string | undefined) =>
        client.call('channel.join', { channel, ...timeout, ...optional('passphrase', passphrase) });
      context.out.item(await withPassphrase(context, false, join), channelText);
    },
  },
  channelCommand('leave', 'leave a channel; its history stays here', 'channel.leave', {
    text: ({ name }) => `You have left ${safeName(name)}. What was said there stays here: sotto read`,
  }),
  {
    path: 'channel list',
    doc: 'channels you are in',
    args: [serverArg],
    flags: { all: { doc: 'also those that you may join' } },
    methods: ['channel.list'],
    run: async (context) =>
      each(
        context,
        await context.call('channel.list', {
          ...optional('server', context.args[0]),
          all: context.flags.has('all'),
        }),
        channelText,
        'No channels: sotto channel list --all shows what may be joined',
      ),
  },
  channelCommand('show', 'one channel with its members', 'channel.show', {
    flags: { at: { doc: 'its topic and members at this time', value: 'TIME' } },
    params: ({ flags }) => optional('at', flags.time('at')),
    text: channelDetailText,
  }),
  channelCommand('topic', 'change the topic; without text it is removed', 'channel.topic', {
    args: [{ name: 'text', doc: 'one line', many: true }],
    params: (context) => ({ topic: context.args.slice(1).join(' ') }),
  }),
  memberChange('invite', 'let a member join', 'channel.invite', 'may join now'),
  memberChange('kick', 'remove a member; the key changes', 'channel.kick', 'is removed'),
  memberChange('ban', 'remove a member for good', 'channel.ban', 'is banned'),
  memberChange('unban', 'let a banned member join again', 'channel.unban', 'is banned no more'),
  channelCommand('mute', 'let a member read but not write; --undo takes it back', 'channel.mute', {
    args: [memberArg],
    flags: { for: { doc: 'for so long', value: 'DURATION' }, undo: { doc: 'let them write again' } },
    params: (context) => {
      const ms = context.flags.duration('for');
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
    args: [memberArg, { name: 'role', doc: ROLES.join(', '), required: true }],
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
    methods: ['channel.rotate'],
    run: async (context) => {
      const client = await context.connect();
      const rotate = (passphrase: string | undefined) =>
        client.call('channel.rotate', { channel: first(context), ...optional('passphrase', passphrase) });
      context.out.item(await withPassphrase(context, true, rotate), channelText);
    },
  },
  {
    path: 'channel share-history',
    doc: 'show a newcomer of a members channel what was said before they came, as it was signed',
    args: [channelArg, memberArg],
    flags: {
      limit: { doc: `the last so many events (${HISTORY_EVENTS_DEFAULT})`, value: 'N' },
      wait: { doc: 'queued, or sent: until the server has all of it', value: 'STATE' },
    },
    methods: ['channel.shareHistory'],
    run: async (context) => {
      const { flags, out } = context;
      const wait = flags.choice('wait', ['queued', 'sent']) ?? 'queued';
      const params = {
        channel: first(context),
        ...theMember(context),
        ...optional('limit', flags.number('limit', { min: 1, max: HISTORY_EVENTS_MAX })),
      };
      const client = await context.connect();
      const endAt = Date.now() + (flags.duration('timeout') ?? WAIT_MS_DEFAULT);
      let share = await client.call('channel.shareHistory', params);
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
      retention: { doc: 'how long the server keeps what is said; 0s keeps it', value: 'DURATION' },
      notify: { doc: 'all, mentions or none', value: 'WHAT' },
    },
    params: ({ flags }) => {
      const set = {
        ...optional('slowMs', flags.duration('slow')),
        ...optional('retentionMs', flags.duration('retention')),
        ...optional('notify', flags.choice('notify', ['all', 'mentions', 'none'])),
      };
      if (Object.keys(set).length === 0)
        throw new SottoError('usage.invalid', { message: 'Say what to set: --slow, --retention or --notify' });
      return set;
    },
    text: channelDetailText,
  }),
];

const CALLS: readonly Command[] = [
  {
    path: 'call list',
    doc: 'calls in your channels and with you, and who is in them',
    args: [serverArg],
    methods: ['call.list'],
    run: async (context) =>
      each(context, await context.call('call.list', optional('server', context.args[0])), callText, 'No calls.'),
  },
];

/** Commands of this file, in the order of the help. */
export const ROOM_COMMANDS: readonly Command[] = [
  ...SERVERS,
  ...SECOND_COMMANDS,
  ...CHANNELS,
  ...MEMBER_COMMANDS,
  ...CALLS,
];
