// Commands about the second check that a server asks of another device: shown, set, changed, removed.
import { SottoError } from '../protocol/errors.ts';
import type { Result } from '../protocol/rpc.ts';
import { safeName } from '../protocol/safe-text.ts';
import { serverArg } from './arguments.ts';
import type { Command, CommandContext, Flag } from './command.ts';
import { drawn, optional, serverGiven } from './give.ts';
import type { Hint } from './output.ts';

const PRESENT_FLAGS = {
  'password-fd': { doc: 'read the present password from this descriptor', value: 'N' },
  code: { doc: 'of your authenticator, or a recovery code', value: 'CODE' },
} as const satisfies Record<string, Flag>;
const SECRET_FLAG = {
  'secret-fd': {
    doc: 'read the secret from this descriptor: the one that a call without a code has shown, and that the code is of',
    value: 'N',
  },
} as const satisfies Record<string, Flag>;
const TRIES_MAX = 3;

const secondText = ({ server, on, recoveryCodesLeft: left }: Result<'server.secondCheck'>, hint: Hint): string =>
  on
    ? `${safeName(server)}  another device needs the password and a code; ${left} recovery ${left === 1 ? 'code is' : 'codes are'} left: ${hint('sotto server second-check change')} makes new ones`
    : `${safeName(server)}  no second check: ${hint('sotto server second-check set')}`;

const secretText = ({ link, secret }: Result<'server.secondSecret'>): string =>
  [
    'Scan this with an authenticator, or type the secret into it. It is shown once and kept nowhere here.',
    '',
    `link    ${link}`,
    `secret  ${secret.replace(/(.{4})(?=.)/g, '$1 ')}`,
  ].join('\n');

const recoveryText = ({ server, recoveryCodes }: Result<'server.setSecondCheck'>): string =>
  [
    `Another device of yours on ${safeName(server)} now needs the password and a code.`,
    'Recovery codes. Each serves once in place of a code. Write them down: they are shown once and kept nowhere.',
    '',
    ...recoveryCodes.map((code) => `  ${code}`),
  ].join('\n');

/** The flags that a new second check is given by. */
type NewFlags = { readonly password: string; readonly code: string };

const needed = (message: string) => new SottoError('usage.invalid', { message });

/** The secret, made and shown, or the one of `--secret-fd`. */
const secretOf = async (context: CommandContext): Promise<string> => {
  const { flags, out } = context;
  if (flags.text('secret-fd') !== undefined)
    return ((await context.passphrase({ prompt: 'Secret', flag: 'secret-fd' })) ?? '')
      .replaceAll(' ', '')
      .toUpperCase();
  const made = await context.call('server.secondSecret', optional('server', context.args[0]));
  if (!out.json) out.raw(await drawn(made.link));
  out.item(made, secretText);
  return made.secret;
};

/** Sets it, or changes it where the present password is given; a code that was mistyped on a terminal is asked for again. */
const set = async (context: CommandContext, names: NewFlags, isChange: boolean): Promise<void> => {
  const { flags, out } = context;
  if (!out.showsSecrets)
    throw needed('The secret and the recovery codes are shown once: on a terminal, or with --json');
  const given = flags.text(names.code);
  if (given !== undefined && flags.text('secret-fd') === undefined)
    throw needed('A code goes with the secret that it is of: --secret-fd');
  const server = serverGiven(context);
  const client = await context.connect();
  const { on } = await client.call('server.secondCheck', server);
  if (on !== isChange) throw new SottoError(on ? 'second.on' : 'second.off');
  const before = isChange ? await presentPassword(context) : undefined;
  const prompt = isChange ? 'New password of the second check' : 'Password for the second check';
  const password = await context.passphrase({ prompt, twice: true, flag: names.password });
  const secret = await secretOf(context);
  let present: { password: string; code: string } | undefined;
  for (let tries = 1; ; tries++) {
    const code = given ?? (await context.ask('Code that it shows for this now: '));
    if (code === undefined) return out.say('Nothing is changed before a code of it is given.');
    if (password === undefined) throw needed(`A password is needed: on a terminal, or with --${names.password}`);
    if (isChange) present ??= await presentOf(context, before);
    try {
      const params = { ...server, password, secret, code, ...optional('present', present) };
      return out.item(await client.call('server.setSecondCheck', params), recoveryText);
    } catch (error) {
      const isSlip = error instanceof SottoError && error.details.why === 'new' && given === undefined;
      if (!isSlip || tries === TRIES_MAX) throw error;
      out.warn(error.message);
    }
  }
};

const presentPassword = (context: CommandContext): Promise<string | undefined> =>
  context.passphrase({ prompt: 'Present password of the second check', flag: 'password-fd' });

const presentOf = async (context: CommandContext, password: string | undefined) => {
  const code =
    context.flags.text('code') ?? (await context.ask('Present code of your authenticator, or a recovery code: '));
  if (password === undefined || code === undefined)
    throw needed('The present password and a code are needed: on a terminal, or with --password-fd and --code');
  return { password, code };
};

/** Commands of this file, in the order of the help. */
export const secondCommands = (): readonly Command[] => [
  {
    path: 'server second-check',
    doc: 'whether another device of yours needs a password and a code, and how many recovery codes are left',
    args: [serverArg],
    methods: ['server.secondCheck'],
    run: async (context) =>
      context.out.item(await context.call('server.secondCheck', serverGiven(context)), secondText),
  },
  {
    path: 'server second-check set',
    doc: 'ask another device for a password and a code; without a code, given or typed, it only shows a secret',
    args: [serverArg],
    flags: {
      'password-fd': { doc: 'read the password from this descriptor', value: 'N' },
      ...SECRET_FLAG,
      code: { doc: 'the first code of your authenticator', value: 'CODE' },
    },
    methods: ['server.secondSecret', 'server.setSecondCheck'],
    run: (context) => set(context, { password: 'password-fd', code: 'code' }, false),
  },
  {
    path: 'server second-check change',
    doc: 'another password, secret and recovery codes, with the present password and a code',
    args: [serverArg],
    flags: {
      ...PRESENT_FLAGS,
      'new-password-fd': { doc: 'read the new password from this descriptor', value: 'N' },
      ...SECRET_FLAG,
      'new-code': { doc: 'the first code of the new secret', value: 'CODE' },
    },
    methods: ['server.setSecondCheck'],
    run: (context) => set(context, { password: 'new-password-fd', code: 'new-code' }, true),
  },
  {
    path: 'server second-check remove',
    doc: 'let another device in without it, with the present password and a code',
    args: [serverArg],
    flags: PRESENT_FLAGS,
    methods: ['server.removeSecondCheck'],
    run: async (context) => {
      const server = serverGiven(context);
      const client = await context.connect();
      if (!(await client.call('server.secondCheck', server)).on) throw new SottoError('second.off');
      const present = await presentOf(context, await presentPassword(context));
      context.out.item(await client.call('server.removeSecondCheck', { ...server, ...present }), secondText);
    },
  },
];
