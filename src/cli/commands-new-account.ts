// Commands that make an account: anew, from a backup, or from its recovery phrase.
import { closeSync, existsSync, readSync } from 'node:fs';
import { resolve } from 'node:path';
import type { RpcClient } from '../client/rpc-client.ts';
import { SottoError } from '../protocol/errors.ts';
import { BACKUP_MAGIC } from '../protocol/version.ts';
import { PASSPHRASE_FLAGS } from './arguments.ts';
import type { Command, CommandContext } from './command.ts';
import { checkOne, endDaemon, optional } from './give.ts';
import { descriptorOf } from './old-file.ts';
import { selfText } from './show.ts';
import { numbered } from './wrap.ts';

const NEW_FLAGS = {
  nickname: { doc: 'the name that others see first', value: 'NAME' },
  ...PASSPHRASE_FLAGS,
  'no-tor': {
    doc: 'for rooms only: nothing of Tor is started, and servers are reached straight (setting network.tor)',
  },
} as const;

const newPassphrase = async (context: CommandContext): Promise<{ passphrase?: string; noPassphrase?: boolean }> => {
  if (context.flags.has('no-passphrase')) return { noPassphrase: true };
  const passphrase = await context.passphrase({ prompt: 'Passphrase for this account', twice: true });
  if (passphrase === undefined)
    throw new SottoError('passphrase.needed', { message: 'Give a passphrase, or say --no-passphrase' });
  return { passphrase };
};

const taken = (name: string): SottoError =>
  new SottoError('account.exists', {
    message: `The account ${name} exists already: give the other one another name with --account`,
  });

const NAME_PROMPT = 'Your name, as others see it first: ';
const PHRASE_HEAD = 'Recovery phrase. Write it down: it is shown once and kept nowhere.';
const UNWRITTEN =
  'The account exists, but its recovery phrase was not shown to be written down. If you do not have it: sotto account remove, then sotto init again';
const NEXT = 'Next: sotto id, sotto contact add ADDRESS, sotto server join LINK';
const TRIES = 3;

const init = (): Command => ({
  path: 'init',
  doc: 'create an account',
  args: [],
  flags: NEW_FLAGS,
  methods: ['account.init'],
  run: async (context) => {
    const { account, flags, out } = context;
    if (existsSync(account.vault)) throw taken(account.name);
    checkOne(context, 'passphrase-fd');
    const nickname = (await nicknameGiven(context)) ?? account.name;
    const secret = await newPassphrase(context);
    const client = await context.connect({ unlock: false, create: true });
    const params = { nickname, ...secret, noTor: flags.has('no-tor') };
    const made = await orNoDaemon(client, client.call('account.init', params));
    if (made.warning !== undefined) out.warn(made.warning);
    out.item(made, ({ recoveryPhrase, ...self }) =>
      out.showsSecrets
        ? `${selfText(self, out)}\n\n${PHRASE_HEAD}\n\n${numbered(recoveryPhrase.split(' '))}`
        : selfText(self, out),
    );
    if (!out.showsSecrets)
      out.warn('The recovery phrase is shown on a terminal or with --json only: remove this account and make it there');
    else if (!out.json) await checkPhrase(context, made.recoveryPhrase);
  },
});

/** By the flag, or as it is typed on a terminal; undefined where neither says any. */
const nicknameGiven = async ({ flags, out, ask }: CommandContext): Promise<string | undefined> => {
  const typed = flags.text('nickname') === undefined && out.isForPerson ? await ask(NAME_PROMPT) : undefined;
  return flags.text('nickname') ?? (typed?.trim() || undefined);
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

// The account is made by now, whether or not its phrase is on paper.
const checkPhrase = async (context: CommandContext, phrase: string): Promise<void> => {
  let isWritten = false;
  try {
    isWritten = await isWrittenDown(context, phrase.split(' '));
  } finally {
    if (!isWritten) context.out.warn(UNWRITTEN);
  }
  if (isWritten) context.out.say(NEXT);
};

// On a terminal the phrase counts as written down once two of its words were typed.
const isWrittenDown = async ({ ask, out }: CommandContext, words: readonly string[]): Promise<boolean> => {
  const isTyped = async (position: number): Promise<boolean> => {
    for (let tries = 0; tries < TRIES; tries++) {
      const typed = await ask(`Word ${position} of the recovery phrase: `);
      if (typed === undefined || typed.trim().toLowerCase() === words[position - 1]) return typed !== undefined;
      out.say(`That is not word ${position}; look again.`);
    }
    return false;
  };
  return (await isTyped(3)) && (await isTyped(9));
};

const restore = (): Command => ({
  path: 'restore',
  doc: 'make an account from a backup file, or from its recovery phrase (typed, or on stdin with -)',
  args: [{ name: 'file', doc: 'a backup, or - for a recovery phrase on stdin', path: true }],
  flags: NEW_FLAGS,
  methods: ['account.restore'],
  run: async (context) => {
    const { args, account, flags, out } = context;
    if (existsSync(account.vault)) throw taken(account.name);
    const [file] = args;
    const from = file === undefined || file === '-' ? await fromPhrase(context, file) : await fromFile(context, file);
    const client = await context.connect({ unlock: false, create: true });
    const params = { ...optional('nickname', flags.text('nickname')), ...from, noTor: flags.has('no-tor') };
    const restored = (given: typeof params) => client.call('account.restore', given);
    if (from.file !== undefined) out.progress('reading the backup');
    const made = await orNoDaemon(
      client,
      restored(params).catch((error: unknown) => {
        const instead = phraseInstead(params, error);
        if (instead === undefined) throw error;
        return restored(instead);
      }),
    );
    if (made.warning !== undefined) out.warn(made.warning);
    out.item(made, (self) => selfText(self, out));
    if (from.file === undefined) out.say('Contacts and history are not in the phrase: ask your contacts again.');
    else
      out.say(
        'Sessions are not in a backup: each contact begins a new one by itself. Do not run the old copy any more.',
      );
  },
});

type Source = {
  nickname?: string;
  file?: string;
  phrase?: string;
  backupPassphrase?: string;
  passphrase?: string;
  noPassphrase?: boolean;
};

const fromPhrase = async (context: CommandContext, file: string | undefined): Promise<Source> => {
  checkOne(context, 'passphrase-fd');
  const phrase = file === '-' ? await phraseOnStdin(context) : await context.ask('Recovery phrase, 12 words: ');
  if (phrase === undefined)
    throw new SottoError('usage.invalid', {
      message: 'There is no terminal to ask on: give the phrase on stdin with -',
    });
  await checkWords(context, phrase);
  const nickname = await nicknameGiven(context);
  return { phrase, ...optional('nickname', nickname), ...(await newPassphrase(context)) };
};

// A phrase with a slip in it makes no account: nobody thinks of a passphrase for that.
const checkWords = async ({ flags }: CommandContext, phrase: string): Promise<void> => {
  if (!flags.has('no-passphrase')) (await import('../protocol/word-list.ts')).bytesOfPhrase(phrase);
};

const phraseOnStdin = (context: CommandContext): Promise<string> =>
  context.stdinText().catch((error: unknown) => {
    if (!(error instanceof SottoError) || error.code !== 'text.tooLarge') throw error;
    throw new SottoError('words.count', { message: 'A recovery phrase has 12 words; stdin gives far more than that' });
  });

// What is no backup at all is said before anything is asked.
const checkBackup = (file: string): void => {
  const fd = descriptorOf(file, 'backup');
  const head = Buffer.alloc(BACKUP_MAGIC.length);
  readSync(fd, head);
  closeSync(fd);
  if (head.toString('latin1') !== BACKUP_MAGIC)
    throw new SottoError('backup.damaged', { message: `This is no sotto backup: ${file}` });
};

// The passphrase that opens the backup also becomes the account's, unless it shall have none.
const fromFile = async (context: CommandContext, file: string): Promise<Source> => {
  checkBackup(file);
  const opens = await context.passphrase({ prompt: 'Passphrase of the backup (empty: the recovery phrase opens it)' });
  const path = { file: resolve(file) };
  if (opens !== undefined && opens !== '')
    return {
      ...path,
      backupPassphrase: opens,
      ...(context.flags.has('no-passphrase') ? { noPassphrase: true } : { passphrase: opens }),
    };
  const phrase = (await context.ask('Recovery phrase, 12 words: ')) ?? (await phraseOnStdin(context));
  if (phrase.trim() === '')
    throw new SottoError('passphrase.needed', {
      message: 'Give the passphrase of the backup, or the recovery phrase on stdin',
    });
  await checkWords(context, phrase);
  return { ...path, phrase, ...(await newPassphrase(context)) };
};

// What was given by a descriptor or a file may be the phrase: only the backup says which of the two opens it. One word is none.
const phraseInstead = <Given extends Source>(given: Given, error: unknown): Given | undefined => {
  const { backupPassphrase: phrase, ...rest } = given;
  if (!(error instanceof SottoError) || error.code !== 'passphrase.needed' || phrase === undefined) return undefined;
  return /\s/.test(phrase.trim()) ? ({ ...rest, phrase } as Given) : undefined;
};

/** Commands of this file, in the order of the help. */
export const newAccountCommands = (): readonly Command[] => [init(), restore()];
