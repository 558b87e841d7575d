// Help as text, from the table.
import type { Command, Flag } from './command.ts';
import type { Output } from './output.ts';
import { groupOf, usageLine } from './parse.ts';
import { GLOBAL_FLAGS, PROGRAMS, sections } from './table.ts';

const flagText = ([name, flag]: [string, Flag]): string =>
  `  ${flag.short === undefined ? '' : `-${flag.short}, `}--${name}${flag.value === undefined ? '' : ` ${flag.value}`}`;

type Screen = Pick<Output, 'filled'>;
const AS_IT_IS: Screen = { filled: (text) => text };

/** A name, and beside it what it is about. */
const row = (name: string, doc: string, columns: number, screen: Screen): string =>
  screen.filled(`${name.padEnd(columns)} ${doc}`, ' '.repeat(columns + 1));

const NAME_COLUMNS = 24;
const FLAG_COLUMNS = 28;

const flagLines = (flags: Readonly<Record<string, Flag>>, screen: Screen): string[] =>
  Object.entries(flags).map((entry) => row(flagText(entry), entry[1].doc, FLAG_COLUMNS, screen));

type Named = Pick<Command, 'path' | 'doc'>;

const commandLines = (commands: readonly Named[], screen: Screen): string[] =>
  commands.map(({ path, doc }) => row(`  ${path}`, doc, NAME_COLUMNS, screen));

const START: readonly (readonly [name: string, doc: string])[] = [
  ['init', 'create an account'],
  ['id', 'your address: give it to others'],
  ['contact add ADDRESS', 'ask somebody to be your contact'],
  ['send NAME TEXT', 'send a message'],
  ['read NAME', 'read a conversation'],
  ['listen', 'show what happens, as it happens'],
  ['server join LINK', 'become a member of a server, for its rooms'],
  ['channel', 'rooms: sotto help channel'],
];

/** What `sotto` alone prints on a terminal: few enough lines for a small one. */
export const startHelp = (screen: Screen): string =>
  [
    'sotto: a private terminal messenger',
    '',
    'Start here:',
    ...START.map(([name, doc]) => row(`  sotto ${name}`, doc, FLAG_COLUMNS, screen)),
    '',
    'All commands: sotto help',
    'One of them:  sotto help COMMAND',
    '',
  ].join('\n');

/** What `sotto --help` prints. */
export const programHelp = (screen = AS_IT_IS): string =>
  [
    'sotto: a private terminal messenger',
    '',
    'Usage: sotto COMMAND [arguments] [flags]',
    '',
    ...sections().flatMap(({ title, commands }) => [
      `${title}:`,
      ...commandLines(
        commands.filter((command) => command.path !== 'complete'),
        screen,
      ),
      '',
    ]),
    'On this machine:',
    ...PROGRAMS.map(([name, doc]) => row(`  ${name}`, doc, NAME_COLUMNS, screen)),
    '',
    'Flags of every command:',
    ...flagLines(GLOBAL_FLAGS, screen),
    '',
  ].join('\n');

const programsOf = (group: string): Named[] =>
  PROGRAMS.filter(([path]) => path.startsWith(`${group} `)).map(([path, doc]) => ({ path, doc }));

/** What `sotto GROUP --help` prints, of the commands that share their first word. */
export const groupHelp = (group: string, screen = AS_IT_IS): string =>
  [
    `Usage: sotto ${group} COMMAND [arguments] [flags]`,
    '',
    ...commandLines([...groupOf(group), ...programsOf(group)], screen),
    '',
    `More of each: sotto ${group} COMMAND --help`,
    '',
  ].join('\n');

/** What `sotto COMMAND --help` prints. */
export const commandHelp = (command: Command, screen: Screen): string =>
  [
    `sotto ${usageLine(command)}`,
    '',
    screen.filled(command.doc),
    '',
    ...command.args.map((arg) => row(`  ${arg.name}`, arg.doc, FLAG_COLUMNS, screen)),
    ...flagLines(command.flags ?? {}, screen),
    '',
    'Flags of every command: see sotto --help',
    '',
  ].join('\n');
