// The manual page, in mdoc's older sister man(7), from the table.

import { SERVE_COMMANDS, SERVE_FLAGS } from '../protocol/serve-words.ts';
import type { Command, Flag } from './command.ts';
import { usageLine } from './parse.ts';
import { EXIT_CODES, GLOBAL_FLAGS, PROGRAMS, sections, VARIABLES } from './table.ts';
import { wrap } from './wrap.ts';

const LINE_CHARS_MAX = 80;

/** Text as roff, in short lines, which roff fills again. */
const roff = (text: string): string =>
  wrap(
    text
      .replaceAll('\\', '\\e')
      .replaceAll('-', '\\-')
      .replace(/[^ -~]/gu, (char) => `\\[u${char.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}]`),
    LINE_CHARS_MAX,
  ).replace(/^([.'])/gm, '\\&$1');

const flagEntry = ([name, flag]: [string, Flag]): string[] => ['.TP', ...flagLines([name, flag])];

const flagLines = ([name, flag]: [string, Flag]): string[] => [
  `.B \\-\\-${roff(name)}${flag.value === undefined ? '' : ` ${roff(flag.value)}`}`,
  roff(flag.doc),
];

const commandEntry = (command: Command): string[] =>
  command.path === 'complete'
    ? []
    : [
        '.TP',
        `.B ${roff(usageLine(command))}`,
        roff(command.doc),
        ...Object.entries(command.flags ?? {}).flatMap((flag) => ['.br', ...flagLines(flag)]),
      ];

const entry = ([name, doc]: readonly [string, string]): string[] => ['.TP', `.B ${roff(name)}`, roff(doc)];

/** The page as roff; `builtAt` is its date. */
export const manualPage = (version: string, builtAt: Date): string =>
  [
    `.TH SOTTO 1 "${builtAt.toISOString().slice(0, 10)}" "sotto ${version}" "User Commands"`,
    '.SH NAME',
    'sotto \\- a private terminal messenger',
    '.SH SYNOPSIS',
    '.B sotto',
    '.I command',
    '[arguments] [flags]',
    '.SH DESCRIPTION',
    roff('Two people talk over Tor onion services, end to end encrypted with the Signal protocol, with no server.'),
    roff('Rooms are channels and direct messages on a server that somebody hosts; it cannot read the encrypted ones.'),
    'Every command talks to a daemon that owns the account and is started on demand.',
    '.SH COMMANDS',
    ...sections().flatMap(({ title, commands }) => [`.SS ${roff(title)}`, ...commands.flatMap(commandEntry)]),
    '.SS Hosting a server',
    ...SERVE_COMMANDS.flatMap(entry),
    '.SS On this machine',
    ...PROGRAMS.flatMap(entry),
    '.SH OPTIONS OF SERVE',
    ...SERVE_FLAGS.flatMap(([flag, , doc]) => entry([flag, doc])),
    '.SH OPTIONS',
    ...Object.entries(GLOBAL_FLAGS).flatMap(flagEntry),
    '.SH EXIT STATUS',
    roff(`${EXIT_CODES.join(', ')}.`),
    '.SH ENVIRONMENT',
    ...VARIABLES.flatMap(entry),
    '',
  ].join('\n');
