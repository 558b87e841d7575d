// Commands about the program itself: raw RPC, completion, manual page.
import { statSync } from 'node:fs';
import { SottoError } from '../protocol/errors.ts';
import { safeLine } from '../protocol/safe-text.ts';
import type { Command } from './command.ts';
import { bashCompletion, fishCompletion, offer, offerBash, zshCompletion } from './complete.ts';
import { manualPage } from './manual.ts';

const rpc = (): Command => ({
  path: 'rpc',
  doc: 'call any method of the daemon; --methods lists them',
  args: [
    { name: 'method', doc: 'as in docs/rpc.md', complete: 'method' },
    { name: 'params', doc: 'a JSON object' },
  ],
  flags: { methods: { doc: 'list the methods' } },
  methods: ['rpc.methods', 'hook.list', 'session.focus', 'conversation.typing', 'presence.set'],
  run: async ({ args, flags, connect, out }) => {
    const [method, json] = args;
    if (flags.has('methods')) {
      for (const one of await (await connect({ unlock: false, create: true })).call('rpc.methods', {}))
        out.item(one, ({ method: name, doc }) => `${name}  ${doc}`);
      return;
    }
    if (method === undefined)
      throw new SottoError('usage.invalid', { message: 'Which method? sotto rpc --methods lists them' });
    let params: unknown = {};
    try {
      if (json !== undefined) params = JSON.parse(json);
    } catch {
      throw new SottoError('usage.invalid', { message: 'The parameters are not JSON' });
    }
    const client = await connect({ unlock: false, create: true });
    // Every method can be tried, on a locked account too; who gives its passphrase wants it open first.
    const given = flags.text('passphrase-fd') ?? process.env.SOTTO_PASSPHRASE_FILE ?? '';
    const open = given !== '' && client.greeting.locked ? await connect() : client;
    const result = await open.request(method, params);
    for (const one of Array.isArray(result) ? result : [result])
      out.item(one as object, (value) => JSON.stringify(value, null, 2));
  },
});

const completion = (): Command => ({
  path: 'completion',
  doc: 'a completion script for bash, zsh or fish',
  args: [{ name: 'shell', doc: 'bash, zsh or fish', required: true, words: ['bash', 'zsh', 'fish'] }],
  run: async ({ args, out }) => {
    const script = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion }[args[0] ?? ''];
    if (script === undefined)
      throw new SottoError('usage.invalid', { message: 'Completion is there for bash, zsh and fish' });
    out.raw(script());
  },
});

const complete = (): Command => ({
  path: 'complete',
  doc: 'what could stand next on a command line (completion scripts call this)',
  args: [{ name: 'word', doc: 'the words so far', many: true }],
  flags: { bash: { doc: 'the words are a line of bash, which breaks words at these too', value: 'BREAKS' } },
  run: async (context) => {
    const breaks = context.flags.text('bash');
    for (const one of await (breaks === undefined ? offer(context) : offerBash(context, breaks)))
      context.out.raw(`${safeLine(one)}\n`);
  },
});

const man = (): Command => ({
  path: 'man',
  doc: 'the manual page, for man -l -',
  args: [],
  run: async ({ out, version }) => out.raw(manualPage(version, statSync(import.meta.dirname).mtime)),
});

/** Commands of this file, in the order of the help. */
export const programCommands = (): readonly Command[] => [rpc(), completion(), complete(), man()];
