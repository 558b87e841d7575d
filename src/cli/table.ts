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

/** Every command of this program by what it is about, in the order of the help. */
export const SECTIONS: readonly { readonly title: string; readonly commands: readonly Command[] }[] = [
  { title: 'Account', commands: ACCOUNT_COMMANDS },
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
