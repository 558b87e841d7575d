// Completion for shells: the scripts, and what could stand next, with names from a running daemon only.
import { listAccounts } from '../client/paths.ts';
import { SERVE_COMMANDS, SERVE_FLAGS } from '../protocol/serve-words.ts';
import { bashLine } from './bash-line.ts';
import type { Argument, CommandContext, Flag, Names } from './command.ts';
import { findCommand, groupOf, wordsOf } from './parse.ts';
import { shortId } from './show.ts';
import { allCommands, GLOBAL_FLAGS, PROGRAMS } from './table.ts';

const LOOK_MS = 500;

/** What settings take that are one of some words; those that are on or off tell it by their value. */
export const SETTING_WORDS: Readonly<Record<string, readonly string[]>> = {
  'messages.expiresFrom': ['delivery', 'read'],
  'notify.level': ['none', 'count', 'name'],
};

/** What bash is to put in for the last word of the line that it has read. */
export const offerBash = async (context: CommandContext, breaks: string): Promise<string[]> => {
  const { words, finish } = bashLine(context.args.join(' '), breaks);
  return (await offer(context, words)).map(finish).filter((one) => one !== undefined);
};

/** Words that may follow those of a command line; the last word is the one being typed. */
export const offer = async (context: CommandContext, words = context.args): Promise<string[]> => {
  const typed = words.at(-1) ?? '';
  const line = words.slice(0, -1);
  const command = findCommand(wordsOf(line, GLOBAL_FLAGS));
  const isServe = wordsOf(line, GLOBAL_FLAGS)[0] === 'serve';
  const flags = isServe ? serveFlags() : { ...GLOBAL_FLAGS, ...command?.flags };
  const before = wordsOf(line, { ...GLOBAL_FLAGS, ...flags });
  // `--flag=value`, or the value as a word of its own.
  const [, joined, begun = typed] = /^(--[a-z-]+)=(.*)$/s.exec(typed) ?? [];
  const last = joined ?? line.at(-1) ?? '';
  const flag = last.startsWith('--') ? flags[last.slice(2)] : undefined;
  if (flag?.value !== undefined) {
    const values = last === '--account' ? listAccounts(context.places) : await namesFor(context, flag, { begun });
    const fits = values.filter((name) => name.startsWith(begun));
    return joined === undefined ? fits : fits.map((value) => `${joined}=${value}`);
  }
  if (typed.startsWith('--'))
    return Object.keys(flags)
      .map((name) => `--${name}`)
      .filter((name) => name.startsWith(typed));
  if (command === undefined) {
    const depth = before.length;
    const paths = [...allCommands().map(({ path }) => path), ...PROGRAMS.map(([path]) => path), ...servePaths()];
    const fits = paths.map((path) => path.split(' ')).filter((path) => before.every((word, i) => path[i] === word));
    return [...new Set(fits.map((path) => path[depth]))]
      .filter((word): word is string => word?.startsWith(typed) === true && word !== 'complete')
      .sort();
  }
  const position = before.length - command.path.split(' ').length;
  const more = position === 0 ? groupOf(command.path).map(({ path }) => path.slice(command.path.length + 1)) : [];
  const arg = command.args[Math.min(position, command.args.length - 1)];
  const names = [...more, ...(await namesFor(context, arg, { begun: typed, last: before.at(-1) ?? '' }))];
  return names.filter((name) => name.startsWith(typed));
};

// `serve admin members | member NAME` is two paths.
const servePaths = (): string[] =>
  SERVE_COMMANDS.flatMap(([usage]) => {
    const [, group = '', rest = ''] = /^(serve(?: admin)?) ?(.*)$/.exec(usage) ?? [];
    return rest === '' ? [] : rest.split(' | ').map((one) => `${group} ${one.split(' ')[0]}`);
  });

const serveFlags = (): Readonly<Record<string, Flag>> =>
  Object.fromEntries(
    SERVE_FLAGS.map(([usage, , doc]) => {
      const [, name = '', value] = /--([a-z-]+)(?: (\S+))?/.exec(usage) ?? [];
      return [name, { doc, ...(value === undefined ? {} : { value }) }];
    }),
  );

type Typed = { readonly begun: string; readonly last?: string };

const namesFor = async (
  context: CommandContext,
  arg: Argument | Flag | undefined,
  { begun, last = '' }: Typed,
): Promise<readonly string[]> => {
  if (arg?.complete === undefined) return arg?.words ?? [];
  if (arg.complete === 'kinds') return kindsAfter(begun);
  if (arg.complete === 'value' && SETTING_WORDS[last] !== undefined) return SETTING_WORDS[last];
  const late = new Promise<string[]>((resolve) => setTimeout(resolve, LOOK_MS, []).unref());
  return Promise.race([late, ask(context, arg.complete, last).catch(() => [])]);
};

// Behind a comma another one begins.
const kindsAfter = async (begun: string): Promise<readonly string[]> => {
  const { EVENT_KINDS, VOLATILE_KINDS } = await import('../protocol/event-kinds.ts');
  const before = begun.slice(0, begun.lastIndexOf(',') + 1);
  return [...EVENT_KINDS, ...VOLATILE_KINDS].map((kind) => `${before}${kind}`);
};

const ask = async (context: CommandContext, what: Names, last: string): Promise<string[]> => {
  const client = await context.connect({ start: false, unlock: false });
  try {
    switch (what) {
      case 'conversation': {
        const [contacts, rooms] = await Promise.all([
          client.call('contact.list', {}),
          client.call('conversation.list', { archived: true }),
        ]);
        return [...new Set([...contacts, ...rooms].map(({ name }) => name))];
      }
      case 'blocked': {
        const all = await client.call('contact.list', { all: true });
        return all.filter(({ state }) => state === 'blocked').map(({ name }) => name);
      }
      case 'contact':
        return (await client.call('contact.list', {})).map((contact) => contact.name);
      case 'request':
        return (await client.call('contact.requests', {})).map((contact) => contact.name);
      case 'file':
        return (await client.call('file.list', {})).map((file) => shortId(file.id));
      case 'server':
        return (await client.call('server.list', {})).map(({ label }) => label);
      case 'channel':
        return (await client.call('channel.list', {})).map(({ name }) => name);
      case 'member':
        return (await client.call('member.list', {})).map(({ name, server }) => `${name}@${server}`);
      case 'setting':
        return (await client.call('config.list', {})).map((row) => row.key);
      case 'method':
        return (await client.call('rpc.methods', {})).map(({ method }) => method);
      case 'value':
        return typeof (await client.call('config.get', { key: last })).value === 'boolean' ? ['on', 'off'] : [];
    }
  } finally {
    client.close();
  }
};

/** For `source <(sotto completion bash)`. */
export const bashCompletion =
  (): string => `# bash completion for sotto: source <(sotto completion bash) in ~/.bashrc, or a file sotto in
# ~/.local/share/bash-completion/completions.
# Names of contacts, channels and members come from a running daemon; completing never starts or unlocks one.
# The line goes to it as it was typed, up to the cursor: what is quoted there, and where readline breaks words, it knows.
_sotto() {
  local IFS=$'\\n'
  COMPREPLY=($(command sotto complete --bash "$COMP_WORDBREAKS" -- "\${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
}
complete -o default -F _sotto sotto
`;

/** For a file \`_sotto\` in a folder of zsh's fpath, or to be sourced after compinit. */
export const zshCompletion = (): string => `#compdef sotto
# zsh completion for sotto: put this into a file _sotto in a folder of fpath, or source it after compinit.
# Names of contacts come from a running daemon; completing never starts or unlocks one.
_sotto() {
  local -a found
  found=("\${(@f)$(command sotto complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ \${#found} -gt 0 && -n "\${found[1]}" ]]; then
    compadd -a found
  else
    _files
  fi
}
if [[ "\${funcstack[1]}" == _sotto ]]; then
  _sotto "$@"
else
  compdef _sotto sotto
fi
`;

/** For ~/.config/fish/completions/sotto.fish. */
export const fishCompletion = (): string => `# fish completion for sotto
function __sotto_complete
  set -l words (commandline -opc)
  set -l typed (commandline -ct)
  command sotto complete -- $words[2..-1] "$typed" 2>/dev/null
end
complete -c sotto -f -a '(__sotto_complete)'
complete -c sotto -n '__fish_seen_subcommand_from send save' -F
complete -c sotto -l json -d 'one JSON object a line'
complete -c sotto -l account -x -a '(__sotto_complete)' -d 'the account to use'
complete -c sotto -l data-dir -r -d 'everything of sotto lies below this folder'
`;
