// Commands about calls.
import { serverArg } from './arguments.ts';
import type { Command } from './command.ts';
import { each, serverGiven } from './give.ts';
import { callText } from './show-rooms.ts';

/** Commands about calls, in the order of the help. */
export const callCommands = (): readonly Command[] => [
  {
    path: 'call list',
    doc: 'calls in your channels and with you, and who is in them',
    args: [serverArg],
    methods: ['call.list'],
    run: async (context) => each(context, await context.call('call.list', serverGiven(context)), callText, 'No calls.'),
  },
];
