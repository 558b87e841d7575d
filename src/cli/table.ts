// The one table of commands: parsing, help, completion, manual page and docs/cli.md come from it.

import type { Command, Flag } from './command.ts';
import { accountCommands } from './commands-account.ts';
import { callCommands } from './commands-calls.ts';
import { channelCommands } from './commands-channels.ts';
import { contactCommands } from './commands-contacts.ts';
import { conversationCommands } from './commands-conversations.ts';
import { daemonCommands } from './commands-daemon.ts';
import { exportCommands } from './commands-export.ts';
import { fileCommands } from './commands-files.ts';
import { memberCommands } from './commands-members.ts';
import { messageCommands } from './commands-messages.ts';
import { newAccountCommands } from './commands-new-account.ts';
import { programCommands } from './commands-program.ts';
import { secondCommands } from './commands-second.ts';
import { serverCommands } from './commands-servers.ts';

/** Flags of every command, before or after its name. */
export const GLOBAL_FLAGS: Readonly<Record<string, Flag>> = {
  account: { doc: 'the account to use', value: 'NAME' },
  'data-dir': { doc: 'everything of sotto lies below this folder', value: 'DIR' },
  json: { doc: 'one JSON object a line' },
  timeout: { doc: 'how long to wait at most: 60s, 5m …', value: 'DURATION' },
  'passphrase-fd': { doc: 'read the passphrase from this file descriptor', value: 'N' },
  'no-start': { doc: 'do not start a daemon' },
  quiet: { doc: 'no progress', short: 'q' },
  verbose: { doc: 'say what is tried', short: 'v' },
  help: { doc: 'explain the command', short: 'h' },
  version: { doc: 'the version' },
};

/** Programs beside the commands; each explains itself with `--help`. */
export const PROGRAMS: readonly (readonly [name: string, doc: string])[] = [
  ['serve', 'host a server for rooms: sotto serve --help'],
  ['demo', 'three people on a private Tor network on this machine'],
  ['bench', 'measure speed and memory beside their floors; --list tells the figures'],
  ['daemon run', 'run the daemon in the foreground'],
];

/** Variables of the environment that count. */
export const VARIABLES: readonly (readonly [name: string, doc: string])[] = [
  ['SOTTO_DATA_DIR, SOTTO_ACCOUNT', 'defaults of the flags of the same name'],
  ['SOTTO_PASSPHRASE_FILE', 'a file whose first line is the passphrase'],
  ['SOTTO_SERVER_DIR', 'where the server of sotto serve lives'],
  ['NO_COLOR', 'no colours'],
];

/** What each exit code means. */
export const EXIT_CODES = [
  '0 done',
  '1 failed here',
  '2 usage',
  '3 no such thing',
  '4 not now',
  '5 timed out',
  '6 not allowed or locked',
  '7 conflict',
  '8 bad data from outside',
  '130 interrupted',
  '141 nobody reads stdout any more',
] as const;

type Part = readonly [words: string, commands: () => readonly Command[]];

// Made when they are asked for: most runs need those of one word.
const PARTS: readonly { readonly title: string; readonly parts: readonly Part[] }[] = [
  {
    title: 'Account',
    parts: [
      ['init restore', newAccountCommands],
      ['backup account id nickname passwd', accountCommands],
    ],
  },
  { title: 'Daemon and settings', parts: [['config daemon doctor status', daemonCommands]] },
  { title: 'Contacts', parts: [['contact why', contactCommands]] },
  {
    title: 'Messages, with contacts and in rooms',
    parts: [
      ['cancel delete edit listen pin react read resend search send show unpin unreact unread', messageCommands],
      ['conversation conversations draft expire mark-read', conversationCommands],
      ['export', exportCommands],
    ],
  },
  { title: 'Files', parts: [['file', fileCommands]] },
  {
    title: 'Rooms',
    parts: [
      ['server', serverCommands],
      ['server', secondCommands],
      ['channel', channelCommands],
      ['member', memberCommands],
      ['call', callCommands],
    ],
  },
  { title: 'Scripts', parts: [['complete completion man rpc', programCommands]] },
];

/** The first words of all commands. */
export const FIRST_WORDS = PARTS.flatMap(({ parts }) => parts.flatMap(([words]) => words.split(' ')));

/** Every command of this program by what it is about, in the order of the help. */
export const sections = (): readonly { readonly title: string; readonly commands: readonly Command[] }[] =>
  PARTS.map(({ title, parts }) => ({ title, commands: parts.flatMap(([, commands]) => commands()) }));

/** Every command of this program. */
export const allCommands = (): readonly Command[] => sections().flatMap(({ commands }) => commands);

/** The commands whose first word is `word`. */
export const commandsOf = (word: string): readonly Command[] =>
  PARTS.flatMap(({ parts }) => parts)
    .filter(([words]) => words.split(' ').includes(word))
    .flatMap(([, commands]) => commands())
    .filter(({ path }) => path.split(' ')[0] === word);
