// Commands about servers: joined and left, their invites, one's own devices, profile and what is kept there.
import { SottoError } from '../protocol/errors.ts';
import { safeName } from '../protocol/safe-text.ts';
import { SERVER_FLAG, serverArg } from './arguments.ts';
import type { Command } from './command.ts';
import { askIfMeant, each, first, optional, serverGiven, waitGiven, YES_FLAG } from './give.ts';
import { deviceText, inviteText, serverText } from './show-rooms.ts';

const INVITE_ROLES = ['member', 'admin'] as const;

/** Commands about servers, in the order of the help. */
export const serverCommands = (): readonly Command[] => [
  {
    path: 'server join',
    doc: 'become a member of the server of an invite link; - reads it from stdin',
    args: [{ name: 'link', doc: 'an invite link, or -', required: true }],
    flags: {
      as: { doc: 'your name there', value: 'NAME' },
      label: { doc: 'what you call the server', value: 'LABEL' },
      clearnet: { doc: 'reach it without Tor: it sees your address' },
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
      const server = await client.call('server.join', {
        link,
        ...optional('code', code),
        ...optional('password', password),
        ...optional('name', flags.text('as')),
        ...optional('label', flags.text('label')),
        ...(flags.has('clearnet') ? { clearnet: true } : {}),
        ...waitGiven(context),
      });
      out.item(server, serverText);
      if (server.movedFrom !== undefined)
        out.say(`${safeName(server.label)} has moved, from ${server.movedFrom}: it is dialled at ${server.url} now`);
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
    flags: { erase: { doc: 'the server forgets you, too: this account cannot join it again' }, ...YES_FLAG },
    methods: ['server.leave'],
    run: async (context) => {
      const [server, erase] = [first(context), context.flags.has('erase')];
      if (erase) await askIfMeant(context, `Leave ${server} for good? This account can never join it again.`);
      context.out.item(await context.call('server.leave', { server, erase, ...waitGiven(context) }), ({ label }) =>
        context.out.hint(`You have left ${safeName(label)}. What was said there stays here: sotto conversations`),
      );
    },
  },
  {
    path: 'server invite',
    doc: 'make an invite link',
    args: [serverArg],
    flags: {
      uses: { doc: 'how many may use it (1)', value: 'N' },
      expires: { doc: 'until when: 1d, 7d … (7d)', value: 'DURATION' },
      role: { doc: 'member or admin', value: 'ROLE', words: INVITE_ROLES },
    },
    methods: ['server.invite'],
    run: async (context) => {
      const { flags } = context;
      context.out.item(
        await context.call('server.invite', {
          ...optional('server', context.args[0]),
          ...optional('uses', flags.number('uses', { min: 1, max: 10_000 })),
          ...optional('expiresMs', flags.duration('expires')),
          ...optional('role', flags.choice('role', INVITE_ROLES)),
          ...waitGiven(context),
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
      each(context, await context.call('server.invites', serverGiven(context)), inviteText, 'No invites.'),
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
          ...waitGiven(context),
        }),
        inviteText,
      ),
  },
  {
    path: 'server devices',
    doc: 'your devices on a server; --revoke ends one',
    args: [serverArg],
    flags: { revoke: { doc: 'the id of a device to end', value: 'ID' }, ...YES_FLAG },
    methods: ['server.devices', 'server.revokeDevice'],
    run: async (context) => {
      const server = serverGiven(context);
      const client = await context.connect();
      const id = context.flags.text('revoke');
      const devices = await client.call('server.devices', server);
      if (id !== undefined) {
        const own = devices.find((device) => device.this && device.id.startsWith(id.toLowerCase()));
        if (own !== undefined) await askIfMeant(context, 'End this very device? It cannot come back by itself.');
        context.out.item(await client.call('server.revokeDevice', { ...server, id }), deviceText);
      } else {
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
      context.out.item(await context.call('server.export', serverGiven(context)), ({ kept }) =>
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
      const { flags, out } = context;
      const [name, status] = [flags.text('name'), flags.text('status')];
      if (name === undefined && status === undefined)
        throw new SottoError('usage.invalid', { message: 'Say what to change: --name NAME or --status TEXT' });
      const client = await context.connect();
      const changed = { ...optional('name', name), ...optional('status', status) };
      out.item(await client.call('server.profile', { ...serverGiven(context), ...changed }), serverText);
    },
  },
];
