// Commands about members of servers: who they are, whether they may write, which contact they are.
import { SottoError } from '../protocol/errors.ts';
import type { MemberObject } from '../protocol/rpc-rooms.ts';
import { safeName } from '../protocol/safe-text.ts';
import { memberArg, serverArg } from './arguments.ts';
import type { Command, CommandContext } from './command.ts';
import { each, first, optional, waitGiven } from './give.ts';
import { memberText } from './show-rooms.ts';

const memberGiven = (context: CommandContext) => ({ member: first(context), ...waitGiven(context) });

const memberCommand = (
  path: string,
  doc: string,
  method: 'member.show' | 'member.accept' | 'member.reject' | 'member.unlink',
): Command => ({
  path: `member ${path}`,
  doc,
  args: [memberArg],
  methods: [method],
  run: async (context) => context.out.item(await context.call(method, memberGiven(context)), memberText),
});

const members = (): readonly Command[] => [
  {
    path: 'member list',
    doc: 'the members of a server',
    args: [serverArg],
    methods: ['member.list'],
    run: async (context) =>
      each(
        context,
        await context.call('member.list', { ...optional('server', context.args[0]) }),
        memberText,
        'No members.',
      ),
  },
  memberCommand('show', 'one member, with the safety number', 'member.show'),
  memberCommand('accept', 'let a member write to you', 'member.accept'),
  memberCommand(
    'reject',
    'let in nothing more of a member, until you accept them; they are told nothing',
    'member.reject',
  ),
  {
    path: 'member verify',
    doc: 'show the safety number; --same once you have compared it',
    args: [memberArg],
    flags: { same: { doc: 'both of you read the same 60 digits' }, undo: { doc: 'take that back' } },
    methods: ['member.verify'],
    run: async (context) => {
      const [same, undo] = [context.flags.has('same'), context.flags.has('undo')];
      if (same && undo)
        throw new SottoError('usage.invalid', { message: '--undo takes back what --same says: give one of them' });
      const client = await context.connect();
      const member = memberGiven(context);
      if (same || undo) await client.call('member.verify', { ...member, verified: same });
      context.out.item(await client.call('member.show', member), memberText);
    },
  },
];

const links = (): readonly Command[] => [
  {
    path: 'member link',
    doc: 'say that a member is a contact of yours; they learn who you are there, and are one person once they say so, too',
    args: [memberArg, { name: 'contact', doc: 'a name, an address or an id', required: true, complete: 'contact' }],
    methods: ['member.link'],
    run: async (context) =>
      context.out.item(
        await context.call('member.link', { ...memberGiven(context), contact: context.args[1] ?? '' }),
        memberText,
      ),
  },
  memberCommand('unlink', 'take that back; the contact is told', 'member.unlink'),
];

const ROLES = ['member', 'admin'] as const;

/** A command of who runs the server; what has become of the member, and then the member. */
const serverCommand = (path: 'ban' | 'unban', doc: string, what: string): Command => ({
  path: `member ${path}`,
  doc,
  args: [memberArg],
  methods: [`member.${path}`],
  run: async (context) =>
    context.out.item(await context.call(`member.${path}`, memberGiven(context)), (member) => became(member, what)),
});

const became = (member: MemberObject, what: string): string =>
  `${safeName(member.name)} ${what}\n${memberText(member)}`;

// Of a server, for its owner and admins.
const rights = (): readonly Command[] => [
  serverCommand('ban', 'let a member into the server no more; for its owner and admins', 'is banned from the server'),
  serverCommand('unban', 'let a banned member in again', 'is banned from the server no more'),
  {
    path: 'member role',
    doc: 'make a member an admin of the server, or take that back; for its owner',
    args: [memberArg, { name: 'role', doc: ROLES.join(', '), required: true, words: ROLES }],
    methods: ['member.role'],
    run: async (context) => {
      const role = ROLES.find((one) => one === context.args[1]);
      if (role === undefined) throw new SottoError('usage.invalid', { message: `A role is ${ROLES.join(', ')}` });
      const changed = await context.call('member.role', { ...memberGiven(context), role });
      context.out.item(changed, (member) => became(member, `is ${role} of the server now`));
    },
  },
];

/** Commands of this file, in the order of the help. */
export const memberCommands = (): readonly Command[] => [...members(), ...links(), ...rights()];
