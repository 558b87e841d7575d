// The one table of commands: parsing, help, completion, manual page and docs/cli.md come from it.

import type { Command, Flag } from './command.ts';
import { ACCOUNT_COMMANDS } from './commands-account.ts';
import { CALL_COMMANDS } from './commands-calls.ts';
import { CHANNEL_COMMANDS } from './commands-channels.ts';
import { CONTACT_COMMANDS } from './commands-contacts.ts';
import { CONVERSATION_COMMANDS } from './commands-conversations.ts';
import { DAEMON_COMMANDS } from './commands-daemon.ts';
import { EXPORT_COMMANDS } from './commands-export.ts';
import { FILE_COMMANDS } from './commands-files.ts';
import { MEMBER_COMMANDS } from './commands-members.ts';
import { MESSAGE_COMMANDS } from './commands-messages.ts';
import { NEW_ACCOUNT_COMMANDS } from './commands-new-account.ts';
import { PROGRAM_COMMANDS } from './commands-program.ts';
import { SECOND_COMMANDS } from './commands-second.ts';
import { SERVER_COMMANDS } from './commands-servers.ts';

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

/** Every command of this program by what it is about, in the order of the help. */
export const SECTIONS: readonly { readonly title: string; readonly commands: readonly Command[] }[] = [
  { title: 'Account', commands: [...NEW_ACCOUNT_COMMANDS, ...ACCOUNT_COMMANDS] },
  { title: 'Daemon and settings', commands: DAEMON_COMMANDS },
  { title: 'Contacts', commands: CONTACT_COMMANDS },
  {
    title: 'Messages, with contacts and in rooms',
    commands: [...MESSAGE_COMMANDS, ...CONVERSATION_COMMANDS, ...EXPORT_COMMANDS],
  },
  { title: 'Files', commands: FILE_COMMANDS },
  {
    title: 'Rooms',
    commands: [...SERVER_COMMANDS, ...SECOND_COMMANDS, ...CHANNEL_COMMANDS, ...MEMBER_COMMANDS, ...CALL_COMMANDS],
  },
  { title: 'Scripts', commands: PROGRAM_COMMANDS },
];

/** Every command of this program. */
export const COMMANDS: readonly Command[] = SECTIONS.flatMap(({ commands }) => commands);
