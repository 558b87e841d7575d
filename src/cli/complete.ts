// Completion for shells: the scripts, and what could stand next, with names from a running daemon only.
import { listAccounts } from '../client/paths.ts';
import type { Argument, CommandContext, Flag } from './command.ts';
import { findCommand, groupOf, wordsOf } from './parse.ts';
import { shortId } from './show.ts';
import { COMMANDS, GLOBAL_FLAGS } from './table.ts';

const LOOK_MS = 500;

/** Words that may follow those of the command line; the last word is the one being typed. */
export const offer = async (context: CommandContext): Promise<string[]> => {
  const typed = context.args.at(-1) ?? '';
  const line = context.args.slice(0, -1);
  const command = findCommand(wordsOf(line, GLOBAL_FLAGS));
  const flags = { ...GLOBAL_FLAGS, ...command?.flags };
  const before = wordsOf(line, flags);
  const last = line.at(-1) ?? '';
  const flag = last.startsWith('--') ? flags[last.slice(2)] : undefined;
  if (flag?.value !== undefined) {
    const values = last === '--account' ? listAccounts(context.places) : await namesFor(context, flag);
    return values.filter((name) => name.startsWith(typed));
  }
  if (typed.startsWith('--'))
    return Object.keys(flags)
      .map((name) => `--${name}`)
      .filter((name) => name.startsWith(typed));
  if (command === undefined) {
    const depth = before.length;
    const fits = COMMANDS.map((one) => one.path.split(' ')).filter((path) =>
      before.every((word, i) => path[i] === word),
    );
    return [...new Set(fits.map((path) => path[depth]))]
      .filter((word): word is string => word?.startsWith(typed) === true && word !== 'complete')
      .sort();
  }
  const position = before.length - command.path.split(' ').length;
  const more = position === 0 ? groupOf(command.path).map(({ path }) => path.slice(command.path.length + 1)) : [];
  const names = [...more, ...(await namesFor(context, command.args[Math.min(position, command.args.length - 1)]))];
  return names.filter((name) => name.startsWith(typed));
};

const namesFor = async (context: CommandContext, arg: Argument | Flag | undefined): Promise<readonly string[]> => {
  if (arg?.complete === undefined) return arg?.words ?? [];
  const late = new Promise<string[]>((resolve) => setTimeout(resolve, LOOK_MS, []).unref());
  return Promise.race([late, ask(context, arg.complete).catch(() => [])]);
};

const ask = async (context: CommandContext, what: NonNullable<Argument['complete']>): Promise<string[]> => {
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
    }
  } finally {
    client.close();
  }
};

/** For `source <(sotto completion bash)`. */
export const bashCompletion = (): string => `# bash completion for sotto
_sotto() {
  local IFS=$'\\n'
  local words=("\${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=($(command sotto complete -- "\${words[@]}" 2>/dev/null))
  if [[ \${#COMPREPLY[@]} -eq 0 && "\${words[-1]}" == */* ]]; then
    COMPREPLY=($(compgen -f -- "\${words[-1]}"))
  fi
  local i
  for i in "\${!COMPREPLY[@]}"; do COMPREPLY[i]=$(printf '%q' "\${COMPREPLY[i]}"); done
}
complete -F _sotto sotto
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
