// Commands about contacts.

import { isErrorCode, SottoError, textOf } from '../protocol/errors.ts';
import type { Conversation } from '../protocol/rpc-objects.ts';
import { asWord, safeName } from '../protocol/safe-text.ts';
import { requestText } from './cautions.ts';
import type { Argument, Command, CommandContext } from './command.ts';
import { WHY_COMMAND } from './command-why.ts';
import { askIfMeant, drawn, each, first, optional, YES_FLAG } from './give.ts';
import { contactDetailText, contactText } from './show.ts';

const contactArg: Argument = { name: 'contact', doc: 'a name, address or id', required: true, complete: 'contact' };
const requestArg: Argument = { name: 'contact', doc: 'a name, address or id', required: true, complete: 'request' };

// Of members of servers: told beside those of contacts, which are the result.
const memberRequests = async ({ out, call }: CommandContext): Promise<Conversation[]> =>
  out.json ? [] : (await call('conversation.list', { archived: true })).filter(({ request }) => request === true);

/** A command that calls one method about one contact and shows it. */
const contactCommand = (
  path: string,
  doc: string,
  method: 'contact.accept' | 'contact.reject' | 'contact.block' | 'contact.unblock',
  arg: Argument,
): Command => ({
  path: `contact ${path}`,
  doc,
  args: [arg],
  ...(method === 'contact.accept' ? { flags: { name: { doc: 'what you call them', value: 'NAME' } } } : {}),
  methods: [method],
  run: async (context) => {
    const name = method === 'contact.accept' ? optional('name', context.flags.text('name')) : {};
    context.out.item(await context.call(method, { contact: first(context), ...name }), contactText);
  },
});

// An address stands on the command line or in a picture, as `sotto id --qr` draws it.
const addressGiven = async ({ args, flags }: CommandContext): Promise<string> => {
  const picture = flags.text('qr');
  if ((picture === undefined) === (args.length === 0))
    throw new SottoError('usage.invalid', { message: 'Give an address, 24 words or a link, or a picture with --qr' });
  if (picture === undefined) return args.join(' ');
  const { readQr } = await import('./picture.ts');
  const text = await readQr(picture);
  if (!text.startsWith('sotto:'))
    throw new SottoError('qr.invalid', { message: 'The QR code in the picture holds no sotto link' });
  return text;
};

const notAccepted = (code: string): SottoError => {
  if (!isErrorCode(code) || code === 'wait.timeout')
    return new SottoError('wait.timeout', { message: 'The request was not accepted in time; it stays open' });
  return new SottoError(code, { message: `${textOf(code)}; the request stays open` });
};

/** Commands of this file, in the order of the help. */
export const contactCommands = (): readonly Command[] => [
  {
    path: 'contact add',
    doc: 'ask somebody to be your contact',
    args: [{ name: 'address', doc: 'an address, 24 words, or a sotto: link', many: true }],
    flags: {
      qr: { doc: 'the address is the QR code in this picture, PNG or JPEG', value: 'FILE' },
      name: { doc: 'what you call them', value: 'NAME' },
      note: { doc: 'a line for them, with the request', value: 'TEXT' },
      wait: { doc: 'accepted: wait until they accept', value: 'STATE', words: ['accepted'] },
    },
    methods: ['contact.add'],
    waits: true,
    run: async (context) => {
      const { flags, out } = context;
      const address = await addressGiven(context);
      const wait = flags.choice('wait', ['accepted']);
      const client = await context.connect();
      if (wait !== undefined) out.progress('waiting until they accept');
      const { held, code, ...contact } = await client.call('contact.add', {
        address,
        ...optional('name', flags.text('name')),
        ...optional('note', flags.text('note')),
        ...optional('wait', wait),
        ...optional('timeoutMs', flags.duration('timeout')),
      });
      out.item(contact, contactText);
      if (code !== undefined) throw notAccepted(code);
      if (held !== undefined) out.warn(held);
      if (contact.state === 'outgoing') out.say(`They have to accept: watch it with sotto why ${asWord(contact.name)}`);
    },
  },
  {
    path: 'contact list',
    doc: 'contacts by name: ◆ for a safety number that you compared, ◇ for one that you did not yet',
    args: [],
    flags: { all: { doc: 'also removed ones and open requests' } },
    methods: ['contact.list'],
    run: async (context) =>
      each(
        context,
        await context.call('contact.list', { all: context.flags.has('all') }),
        contactText,
        'No contacts yet: sotto contact add ADDRESS',
      ),
  },
  {
    path: 'contact requests',
    doc: 'people who want to be your contact',
    args: [],
    methods: ['contact.requests', 'conversation.list'],
    run: async (context) => {
      const requests = await context.call('contact.requests', {});
      const members = await memberRequests(context);
      each(context, requests, contactText, members.length === 0 ? 'No requests.' : 'No requests of contacts.');
      for (const { name } of members) context.out.say(`${safeName(name)} ${requestText(name)}`);
      const [one, more] = requests;
      if (one === undefined) return;
      const name = more === undefined ? asWord(safeName(one.name)) : 'NAME';
      context.out.say(`Accept with sotto contact accept ${name}, or close with sotto contact reject ${name}`);
    },
  },
  contactCommand('accept', 'accept a request', 'contact.accept', requestArg),
  contactCommand('reject', 'close a request; they are told nothing', 'contact.reject', requestArg),
  {
    path: 'contact show',
    doc: 'one contact, with the safety number and the history of its keys',
    args: [contactArg],
    methods: ['contact.show'],
    run: async (context) =>
      context.out.item(await context.call('contact.show', { contact: first(context) }), contactDetailText),
  },
  {
    path: 'contact verify',
    doc: 'show the safety number; --same once you have compared it',
    args: [contactArg],
    flags: {
      same: { doc: 'both of you read the same 60 digits' },
      scan: { doc: 'compare with the QR code that they show, in this picture, PNG or JPEG', value: 'FILE' },
      qr: { doc: 'draw the QR code for them to scan' },
      undo: { doc: 'take that back' },
    },
    methods: ['contact.verify'],
    run: async (context) => {
      const { flags, out } = context;
      const picture = flags.text('scan');
      if (flags.has('undo') && (flags.has('same') || picture !== undefined))
        throw new SottoError('usage.invalid', {
          message: '--undo takes back what --same and --scan say: give one of them',
        });
      const scanned = picture === undefined ? undefined : await (await import('./picture.ts')).readQr(picture);
      const client = await context.connect();
      const contact = first(context);
      const verified = flags.has('same') || scanned !== undefined;
      if (verified || flags.has('undo'))
        await client.call('contact.verify', { contact, verified, ...optional('scanned', scanned) });
      const shown = await client.call('contact.show', { contact });
      if (shown.safetyNumber === undefined) out.say('There is no safety number before the first link');
      if (!flags.has('qr') || shown.safetyQr === undefined || out.json) return out.item(shown, contactDetailText);
      out.raw(await drawn(shown.safetyQr));
    },
  },
  {
    path: 'contact rename',
    doc: 'change what you call a contact',
    args: [contactArg, { name: 'name', doc: 'one line', required: true }],
    methods: ['contact.rename'],
    run: async (context) =>
      context.out.item(
        await context.call('contact.rename', {
          contact: first(context),
          name: context.args[1] ?? '',
        }),
        contactText,
      ),
  },
  {
    path: 'contact note',
    doc: 'keep a note about a contact; without text it is removed',
    args: [contactArg, { name: 'text', doc: 'one line', many: true }],
    methods: ['contact.note'],
    run: async (context) =>
      context.out.item(
        await context.call('contact.note', {
          contact: first(context),
          note: context.args.slice(1).join(' '),
        }),
        contactText,
      ),
  },
  contactCommand('block', 'let nothing of theirs in, and say nothing', 'contact.block', contactArg),
  contactCommand('unblock', 'let them in again', 'contact.unblock', { ...contactArg, complete: 'blocked' }),
  {
    path: 'contact remove',
    doc: 'end a contact and erase its keys',
    args: [contactArg],
    flags: { erase: { doc: 'erase the history too' }, ...YES_FLAG },
    methods: ['contact.remove'],
    run: async (context) => {
      const [contact, erase] = [first(context), context.flags.has('erase')];
      await askIfMeant(context, `End ${contact} as a contact${erase ? ', and erase all that was said' : ''}?`);
      context.out.item(await context.call('contact.remove', { contact, erase }), contactText);
    },
  },
  {
    path: 'contact ping',
    doc: 'time the way to a linked contact and back',
    args: [contactArg],
    methods: ['contact.ping'],
    waits: true,
    run: async (context) => {
      const timeoutMs = context.flags.duration('timeout');
      const client = await context.connect();
      context.out.item(
        await client.call('contact.ping', {
          contact: first(context),
          ...(timeoutMs === undefined ? {} : { timeoutMs }),
        }),
        ({ contact, rttMs }) => `${contact} answers after ${Math.round(rttMs)} ms`,
      );
    },
  },
  WHY_COMMAND,
];
