// Commands about the account itself.
import { closeSync, existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { listAccounts } from '../client/paths.ts';
import { RpcClient } from '../client/rpc-client.ts';
import { errorObject, SottoError } from '../protocol/errors.ts';
import type { Result } from '../protocol/rpc.ts';
import { asWord } from '../protocol/safe-text.ts';
import type { Command, CommandContext } from './command.ts';
import { drawn, endDaemon, optional } from './give.ts';
import { assertNew } from './new-file.ts';
import { openOld } from './old-file.ts';
import { sizeText } from './show.ts';

const PASSPHRASE_FLAGS = {
  'no-passphrase': { doc: 'keep the key in a file instead: whoever can read your files can be you' },
} as const;
const NEW_FLAGS = {
  nickname: { doc: 'the name that others see first', value: 'NAME' },
  ...PASSPHRASE_FLAGS,
  'no-tor': {
    doc: 'for rooms only: nothing of Tor is started, and servers are reached straight (setting network.tor)',
  },
} as const;

const selfText = (self: Result<'account.show'>): string =>
  [
    `${self.nickname} (account ${self.account})`,
    '',
    `address  ${self.address}`,
    `words    ${self.words}`,
    `link     ${self.link}`,
  ].join('\n');

const newPassphrase = async (context: CommandContext): Promise<{ passphrase?: string; noPassphrase?: boolean }> => {
  if (context.flags.has('no-passphrase')) return { noPassphrase: true };
  const passphrase = await context.passphrase({ prompt: 'Passphrase for this account', twice: true });
  if (passphrase === undefined)
    throw new SottoError('passphrase.needed', { message: 'Give a passphrase, or say --no-passphrase' });
  return { passphrase };
};

// Who gives a new passphrase and says that there shall be none would get an account without one.
const checkOne = ({ flags }: CommandContext, flag: string): void => {
  if (flags.has('no-passphrase') && flags.text(flag) !== undefined)
    throw new SottoError('usage.invalid', { message: `Give a new passphrase with --${flag}, or say --no-passphrase` });
};

const taken = (name: string): SottoError =>
  new SottoError('account.exists', {
    message: `The account ${name} exists already: give the other one another name with --account`,
  });

const PHRASE_HEAD = 'Recovery phrase. Write it down: it is shown once and kept nowhere.';

const init: Command = {
  path: 'init',
  doc: 'create an account',
  args: [],
  flags: NEW_FLAGS,
  methods: ['account.init'],
  run: async (context) => {
    const { account, flags, out } = context;
    if (existsSync(account.vault)) throw taken(account.name);
    checkOne(context, 'passphrase-fd');
    const secret = await newPassphrase(context);
    const client = await context.connect({ unlock: false, create: true });
    const params = { nickname: flags.text('nickname') ?? account.name, ...secret, noTor: flags.has('no-tor') };
    const made = await orNoDaemon(client, client.call('account.init', params));
    if (made.warning !== undefined) out.warn(made.warning);
    out.item(made, ({ recoveryPhrase, ...self }) =>
      out.showsSecrets ? `${selfText(self)}\n\n${PHRASE_HEAD}\n\n${recoveryPhrase}` : selfText(self),
    );
    if (!out.showsSecrets)
      out.warn('The recovery phrase is shown on a terminal or with --json only: remove this account and make it there');
    else if (!out.json) await checkPhrase(context, made.recoveryPhrase);
  },
};

// An account that could not be made needs no daemon; one that another command has made meanwhile does.
const orNoDaemon = async <T>(client: RpcClient, made: Promise<T>): Promise<T> => {
  try {
    return await made;
  } catch (error) {
    const isMade = error instanceof SottoError && error.code === 'account.exists';
    if (!client.greeting.exists && !isMade) await endDaemon(client).catch(() => undefined);
    throw error;
  }
};

// On a terminal the phrase counts as written down once two of its words were typed.
const checkPhrase = async (context: CommandContext, phrase: string): Promise<void> => {
  const words = phrase.split(' ');
  for (const position of [3, 9])
    for (let tries = 0; tries < 3; tries++) {
      const typed = await context.ask(`Word ${position} of the recovery phrase: `);
      if (typed === undefined || typed.trim().toLowerCase() === words[position - 1]) break;
      context.out.say(`That is not word ${position}; look again.`);
    }
};

const restore: Command = {
  path: 'restore',
  doc: 'make an account from a backup file, or from its recovery phrase (typed, or on stdin with -)',
  args: [{ name: 'file', doc: 'a backup, or - for a recovery phrase on stdin' }],
  flags: NEW_FLAGS,
  methods: ['account.restore'],
  run: async (context) => {
    const { args, account, flags, out } = context;
    if (existsSync(account.vault)) throw taken(account.name);
    const [file] = args;
    const nickname = flags.text('nickname');
    const from = file === undefined || file === '-' ? await fromPhrase(context, file) : await fromFile(context, file);
    const client = await context.connect({ unlock: false, create: true });
    const params = { ...from, ...optional('nickname', nickname), noTor: flags.has('no-tor') };
    const made = await orNoDaemon(client, client.call('account.restore', params));
    if (made.warning !== undefined) out.warn(made.warning);
    out.item(made, selfText);
    if (from.file === undefined) out.say('Contacts and history are not in the phrase: ask your contacts again.');
    else
      out.say(
        'Sessions are not in a backup: each contact begins a new one by itself. Do not run the old copy any more.',
      );
  },
};

type Source = {
  file?: string;
  phrase?: string;
  backupPassphrase?: string;
  passphrase?: string;
  noPassphrase?: boolean;
};

const fromPhrase = async (context: CommandContext, file: string | undefined): Promise<Source> => {
  checkOne(context, 'passphrase-fd');
  const phrase = file === '-' ? await context.stdinText() : await context.ask('Recovery phrase, 12 words: ');
  if (phrase === undefined)
    throw new SottoError('usage.invalid', {
      message: 'There is no terminal to ask on: give the phrase on stdin with -',
    });
  return { phrase, ...(await passphraseFor(context, phrase)) };
};

// A phrase with a slip in it makes no account: nobody thinks of a passphrase for that.
const passphraseFor = async (context: CommandContext, phrase: string): ReturnType<typeof newPassphrase> => {
  if (!context.flags.has('no-passphrase')) (await import('../protocol/word-list.ts')).bytesOfPhrase(phrase);
  return newPassphrase(context);
};

// The passphrase that opens the backup also becomes the account's, unless it shall have none.
const fromFile = async (context: CommandContext, file: string): Promise<Source> => {
  closeSync(openOld(file, 'backup'));
  const opens = await context.passphrase({ prompt: 'Passphrase of the backup (empty: the recovery phrase opens it)' });
  const path = { file: resolve(file) };
  if (opens !== undefined && opens !== '')
    return {
      ...path,
      backupPassphrase: opens,
      ...(context.flags.has('no-passphrase') ? { noPassphrase: true } : { passphrase: opens }),
    };
  const phrase = await context.ask('Recovery phrase, 12 words: ');
  if (phrase === undefined)
    throw new SottoError('passphrase.needed', {
      message: 'Give the passphrase of the backup, or a recovery phrase on a terminal',
    });
  return { ...path, phrase, ...(await passphraseFor(context, phrase)) };
};

const backup: Command = {
  path: 'backup',
  doc: 'write an encrypted backup while running; with a passphrase, or opened by the recovery phrase',
  args: [{ name: 'file', doc: 'where to', required: true }],
  methods: ['backup.create'],
  run: async (context) => {
    const file = resolve(context.args[0] ?? '');
    assertNew(file);
    const client = await context.connect();
    const passphrase = await context.passphrase({
      prompt: 'Passphrase for the backup (empty: the recovery phrase opens it)',
      twice: true,
      mayBeEmpty: true,
    });
    const isOpenedByPhrase = passphrase === undefined || passphrase === '';
    const written = await client.call('backup.create', {
      file,
      ...(isOpenedByPhrase ? {} : { passphrase }),
    });
    context.out.item(
      written,
      ({ file, messages, sizeBytes }) => `${file}: ${messages} messages, ${sizeText(sizeBytes)}`,
    );
    const opener = isOpenedByPhrase ? 'The recovery phrase of this account' : 'The passphrase that you gave for it';
    context.out.say(`${opener} opens it, where the account is not: sotto restore ${asWord(file)}`);
  },
};

const passwd: Command = {
  path: 'passwd',
  doc: 'change, set or remove the passphrase; --rekey also encrypts the database under a new key',
  args: [],
  flags: {
    'new-passphrase-fd': { doc: 'read the new passphrase from this file descriptor', value: 'N' },
    rekey: { doc: 'encrypt the database under a new key: needs its size once more on the disk' },
    ...PASSPHRASE_FLAGS,
  },
  methods: ['account.passwd'],
  run: async (context) => {
    const { flags, out } = context;
    checkOne(context, 'new-passphrase-fd');
    const client = await context.connect({ unlock: false });
    const { passphrase: isSet, exists } = client.greeting;
    if (!exists) throw new SottoError('account.unknown');
    const present = isSet ? await context.passphrase({ prompt: 'Present passphrase' }) : undefined;
    const next = flags.has('no-passphrase') ? undefined : await nextPassphrase(context, isSet);
    const result = await client.call('account.passwd', {
      ...(present === undefined ? {} : { passphrase: present }),
      ...(next === undefined ? { noPassphrase: true } : { newPassphrase: next }),
      ...(flags.has('rekey') ? { rekey: true } : {}),
    });
    if (result.warning !== undefined) out.warn(result.warning);
    out.item(result, () => (next === undefined ? 'The passphrase is removed.' : 'The passphrase is changed.'));
  },
};

// Where there is no present one, the usual ways to give a passphrase give the new one.
const nextPassphrase = async (context: CommandContext, isSet: boolean): Promise<string> => {
  const prompt = { prompt: 'New passphrase', twice: true };
  const usual = isSet || context.flags.text('new-passphrase-fd') !== undefined ? { flag: 'new-passphrase-fd' } : {};
  const next = await context.passphrase({ ...prompt, ...usual });
  if (next === undefined)
    throw new SottoError('passphrase.needed', {
      message: 'Give the new passphrase on a terminal or with --new-passphrase-fd, or say --no-passphrase',
    });
  return next;
};

const id: Command = {
  path: 'id',
  doc: 'my address in every form',
  args: [],
  flags: { words: { doc: 'only the 24 words' }, link: { doc: 'only the link' }, qr: { doc: 'the link as a QR code' } },
  methods: ['account.show'],
  run: async ({ call, flags, out }) => {
    const self = await call('account.show', {});
    if (flags.has('qr') && !out.json) return out.raw(await drawn(self.link));
    out.item(self, () => (flags.has('words') ? self.words : flags.has('link') ? self.link : selfText(self)));
  },
};

const nickname: Command = {
  path: 'nickname',
  doc: 'change the name that others see first',
  args: [{ name: 'name', doc: 'one line', required: true }],
  methods: ['account.nickname'],
  run: async ({ call, args, out }) => out.item(await call('account.nickname', { nickname: args[0] ?? '' }), selfText),
};

const list: Command = {
  path: 'account list',
  doc: 'accounts on this machine, and whether their daemons run',
  args: [],
  run: async ({ places, pathsOf, out }) => {
    for (const name of listAccounts(places)) {
      const answer: unknown = await RpcClient.open(pathsOf(name).socket).catch((error: unknown) => error);
      const client = answer instanceof RpcClient ? answer : undefined;
      client?.close();
      out.item(
        {
          account: name,
          running: client !== undefined || errorObject(answer).code === 'wait.timeout',
          ...(client === undefined ? {} : { locked: client.greeting.locked }),
        },
        (one) => `${one.account}  ${one.running ? (one.locked === true ? 'locked' : 'running') : 'not running'}`,
      );
    }
  },
};

const lock: Command = {
  path: 'account lock',
  doc: 'go offline and drop all keys from memory',
  args: [],
  methods: ['account.lock'],
  run: async ({ connect, out }) => {
    const client = await connect({ start: false, unlock: false });
    const { locked } = client.greeting;
    out.item(await client.call('account.lock', {}), () => (locked ? 'locked already' : 'locked'));
  },
};

const unlock: Command = {
  path: 'account unlock',
  doc: 'open a locked account',
  args: [],
  methods: ['account.unlock'],
  run: async ({ connect, out }) => {
    const client = await connect({ unlock: false });
    const { locked, passphrase } = client.greeting;
    if (passphrase || !locked) await connect();
    else await client.call('account.unlock', { passphrase: '' });
    out.item({ locked: false }, () => (locked ? 'unlocked' : 'unlocked already'));
  },
};

const rename: Command = {
  path: 'account rename',
  doc: 'change what this machine calls the account',
  args: [{ name: 'name', doc: 'lower-case letters, digits, - and _', required: true }],
  methods: ['account.rename'],
  run: async ({ connect, args, out }) =>
    out.item(
      await (await connect({ unlock: false })).call('account.rename', { name: args[0] ?? '' }),
      (one) => `The account is called ${one.account} now.`,
    ),
};

const remove: Command = {
  path: 'account remove',
  doc: 'erase the account: keys, contacts, history',
  args: [],
  flags: { confirm: { doc: 'its name, to say that you mean it', value: 'NAME' } },
  methods: ['account.remove'],
  run: async (context) => {
    const confirm =
      context.flags.text('confirm') ??
      (await context.ask(`Type the account's name (${context.account.name}) to erase it: `)) ??
      '';
    const client = await context.connect({ unlock: false });
    context.out.item(await client.call('account.remove', { confirm: confirm.trim() }), () => 'erased');
  },
};

/** Commands of this file, in the order of the help. */
export const ACCOUNT_COMMANDS: readonly Command[] = [
  init,
  restore,
  backup,
  passwd,
  id,
  nickname,
  list,
  lock,
  unlock,
  rename,
  remove,
];
