// Help as text, from the table.
import type { Command, Flag } from './command.ts';
import { groupOf, usageLine } from './parse.ts';
import { GLOBAL_FLAGS, PROGRAMS, SECTIONS } from './table.ts';

const flagText = ([name, flag]: [string, Flag]): string =>
  `  ${flag.short === undefined ? '' : `-${flag.short}, `}--${name}${flag.value === undefined ? '' : ` ${flag.value}`}`;

const flagLines = (flags: Readonly<Record<string, Flag>>): string[] =>
  Object.entries(flags).map((entry) => `${flagText(entry).padEnd(28)} ${entry[1].doc}`);

const commandLines = (commands: readonly Command[]): string[] =>
  commands.map(({ path, doc }) => `  ${path.padEnd(22)} ${doc}`);

/** What `sotto --help` prints. */
export const programHelp = (): string =>
  [
    'sotto: a private terminal messenger',
    '',
    'Usage: sotto COMMAND [arguments] [flags]',
    '',
    ...SECTIONS.flatMap(({ title, commands }) => [
      `${title}:`,
      ...commandLines(commands.filter((command) => command.path !== 'complete')),
      '',
    ]),
    'On this machine:',
    ...PROGRAMS.map(([name, doc]) => `  ${name.padEnd(22)} ${doc}`),
    '',
    'Flags of every command:',
    ...flagLines(GLOBAL_FLAGS),
    '',
  ].join('\n');

/** What `sotto GROUP --help` prints, of the commands that share their first word. */
export const groupHelp = (group: string): string =>
  [
    `Usage: sotto ${group} COMMAND [arguments] [flags]`,
    '',
    ...commandLines(groupOf(group)),
    '',
    `More of each: sotto ${group} COMMAND --help`,
    '',
  ].join('\n');

/** What `sotto COMMAND --help` prints. */
export const commandHelp = (command: Command): string =>
  [
    `sotto ${usageLine(command)}`,
    '',
    command.doc,
    '',
    ...command.args.map((arg) => `  ${arg.name.padEnd(26)} ${arg.doc}`),
    ...flagLines(command.flags ?? {}),
    '',
    'Flags of every command: see sotto --help',
    '',
  ].join('\n');
