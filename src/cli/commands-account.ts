// Commands about the account itself.
import { resolve } from 'node:path';
import { assertNew } from '../client/new-file.ts';
import { eraseAccountDir, listAccounts } from '../client/paths.ts';
import { RpcClient } from '../client/rpc-client.ts';
import { errorObject, SottoError } from '../protocol/errors.ts';
import { asWord } from '../protocol/safe-text.ts';
import { PASSPHRASE_FLAGS } from './arguments.ts';
import type { Command, CommandContext } from './command.ts';
import { andEnd, checkOne, drawn, first } from './give.ts';
import { usage } from './parse.ts';
import { selfText, sizeText } from './show.ts';

const backup = (): Command => ({
  path: 'backup',
  doc: 'write an encrypted backup while running; with a passphrase, or opened by the recovery phrase',
  args: [{ name: 'file', doc: 'where to', required: true, path: true }],
  methods: ['backup.create'],
  run: async (context) => {
    if (first(context) === '-') throw usage('A backup goes into a file, which is there whole or not at all', backup());
    const file = resolve(first(context));
    assertNew(file);
    const client = await context.connect();
    const passphrase = await context.passphrase({
      prompt: 'Passphrase for the backup (empty: the recovery phrase opens it)',
      twice: true,
      mayBeEmpty: true,
    });
    const isOpenedByPhrase = passphrase === undefined || passphrase === '';
    context.out.progress('writing the backup');
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
});

const passwd = (): Command => ({
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
    const next = flags.has('no-passphrase') ? undefined : await nextPassphrase(context, { isSet, present });
    if (flags.has('rekey')) out.progress('encrypting the whole database anew');
    const result = await client.call('account.passwd', {
      ...(present === undefined ? {} : { passphrase: present }),
      ...(next === undefined ? { noPassphrase: true } : { newPassphrase: next }),
      ...(flags.has('rekey') ? { rekey: true } : {}),
    });
    if (result.warning !== undefined) out.warn(result.warning);
    const rekeyed = flags.has('rekey') ? 'The database has a new key. ' : '';
    out.item(result, () => rekeyed + changeText(present, next));
  },
});

const changeText = (before: string | undefined, now: string | undefined): string => {
  if (before === now)
    return before === undefined ? 'There is no passphrase, as before.' : 'The passphrase is as before.';
  return now === undefined ? 'The passphrase is removed.' : 'The passphrase is changed.';
};

// Where there is no present one, the usual ways to give a passphrase give the new one. For another key alone it stays as it is.
const nextPassphrase = async (
  context: CommandContext,
  { isSet, present }: { readonly isSet: boolean; readonly present: string | undefined },
): Promise<string | undefined> => {
  const isForKey = context.flags.has('rekey');
  const prompt = isForKey
    ? { prompt: 'New passphrase (empty: as before)', twice: true, mayBeEmpty: true }
    : { prompt: 'New passphrase', twice: true };
  const usual = isSet || context.flags.text('new-passphrase-fd') !== undefined ? { flag: 'new-passphrase-fd' } : {};
  const next = await context.passphrase({ ...prompt, ...usual });
  if (isForKey && (next === undefined || next === '')) return present;
  if (next === undefined)
    throw new SottoError('passphrase.needed', {
      message: 'Give the new passphrase on a terminal or with --new-passphrase-fd, or say --no-passphrase',
    });
  return next;
};

const id = (): Command => ({
  path: 'id',
  doc: 'my address in every form',
  args: [],
  flags: { words: { doc: 'only the 24 words' }, link: { doc: 'only the link' }, qr: { doc: 'the link as a QR code' } },
  methods: ['account.show'],
  run: async ({ call, flags, out }) => {
    const self = await call('account.show', {});
    const forms = [...(flags.has('words') ? [out.filled(self.words)] : []), ...(flags.has('link') ? [self.link] : [])];
    if (out.json || !flags.has('qr')) return out.item(self, () => forms.join('\n') || selfText(self, out));
    out.raw([...forms, await drawn(self.link)].join('\n'));
  },
});

const nickname = (): Command => ({
  path: 'nickname',
  doc: 'change the name that others see first',
  args: [{ name: 'name', doc: 'one line', required: true }],
  methods: ['account.nickname'],
  run: async ({ call, args, out }) =>
    out.item(await call('account.nickname', { nickname: args[0] ?? '' }), (self) => selfText(self, out)),
});

const list = (): Command => ({
  path: 'account list',
  doc: 'accounts on this machine, and whether their daemons run',
  args: [],
  run: async ({ places, pathsOf, out }) => {
    const names = listAccounts(places);
    if (names.length === 0) out.say('No accounts: sotto init makes one');
    for (const name of names) {
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
});

const lock = (): Command => ({
  path: 'account lock',
  doc: 'go offline and drop all keys from memory; a command that is given the passphrase (--passphrase-fd, SOTTO_PASSPHRASE_FILE) opens it again',
  args: [],
  methods: ['account.lock'],
  run: async ({ connect, out }) => {
    const client = await connect({ start: false, unlock: false });
    const { locked } = client.greeting;
    out.item(await client.call('account.lock', {}), () => (locked ? 'locked already' : 'locked'));
  },
});

const unlock = (): Command => ({
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
});

const rename = (): Command => ({
  path: 'account rename',
  doc: 'change what this machine calls the account',
  args: [{ name: 'name', doc: 'lower-case letters, digits, - and _', required: true }],
  methods: ['account.rename'],
  run: async ({ connect, args, out }) => {
    const client = await connect({ unlock: false });
    out.item(
      await andEnd(client, () => client.call('account.rename', { name: args[0] ?? '' })),
      (one) => `The account is called ${one.account} now. Its daemon has ended: the next command starts it.`,
    );
  },
});

const remove = (): Command => ({
  path: 'account remove',
  doc: 'erase the account: keys, contacts, history',
  args: [],
  flags: { confirm: { doc: 'its name, to say that you mean it', value: 'NAME' } },
  methods: ['account.remove'],
  run: async (context) => {
    const { account, out } = context;
    const confirm = (
      context.flags.text('confirm') ??
      (await context.ask(`Type the account's name (${account.name}) to erase it: `)) ??
      ''
    ).trim();
    out.item(await removeBy(context, confirm), () => 'erased');
  },
});

// What no daemon can open any more is erased here.
const removeBy = async ({ account, connect }: CommandContext, confirm: string): Promise<{ removed: boolean }> => {
  try {
    const client = await connect({ unlock: false });
    return await andEnd(client, () => client.call('account.remove', { confirm }));
  } catch (error) {
    const isDamaged = error instanceof SottoError && ['vault.damaged', 'database.damaged'].includes(error.code);
    if (!isDamaged || confirm !== account.name) throw error;
    eraseAccountDir(account);
    return { removed: true };
  }
};

/** Commands of this file, in the order of the help. */
export const accountCommands = (): readonly Command[] => [
  backup(),
  passwd(),
  id(),
  nickname(),
  list(),
  lock(),
  unlock(),
  rename(),
  remove(),
];
