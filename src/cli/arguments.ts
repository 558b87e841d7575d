// Arguments and flags that commands of several files have.
import type { Argument, Flag } from './command.ts';

export const conversationArg: Argument = {
  name: 'conversation',
  doc: 'a contact, #channel, member@server or an id',
  required: true,
  complete: 'conversation',
};
export const messageArg: Argument = {
  name: 'id',
  doc: 'a message id, or at least 6 of its first digits',
  required: true,
};
export const serverArg: Argument = { name: 'server', doc: 'a label or an id', complete: 'server' };
export const memberArg: Argument = {
  name: 'member',
  doc: 'a name, name@server or an id',
  required: true,
  complete: 'member',
};

export const SERVER_FLAG = {
  server: { doc: 'which server, where there are several', value: 'SERVER', complete: 'server' },
} as const satisfies Record<string, Flag>;

export const PASSPHRASE_FLAGS = {
  'no-passphrase': { doc: 'keep the key in a file instead: whoever can read your files can be you' },
} as const satisfies Record<string, Flag>;
