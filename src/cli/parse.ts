// Reads the command line by the table: which command, its flags, its arguments. Mistakes are `usage.invalid`.
import { parseArgs } from 'node:util';
import { SottoError } from '../protocol/errors.ts';
import { bashLine } from './bash-line.ts';
import type { Argument, Command, Flag } from './command.ts';
import { flagProblem, unknownCommand, unknownFlag, unknownText, withNumbers } from './slips.ts';
import { commandsOf, GLOBAL_FLAGS } from './table.ts';

export type Parsed = {
  readonly command: Command | undefined;
  /** The first word that several commands share, where `--help` asks about all of them. */
  readonly group?: string;
  readonly args: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
};

// parseArgs takes the dash in `-q-word` for `--`, and every letter after it for an argument.
const SHORT_WITH_DASH = /^-[^-]+-/;

/** The command that `typed` asks for; `help` before it is `--help`. Global flags may stand anywhere. Throws `usage.invalid`. */
export const parseCommandLine = (typed: readonly string[]): Parsed => {
  const first = wordsOf(typed, GLOBAL_FLAGS);
  const at = first[0] === 'help' ? typed.indexOf('help') : -1;
  const argv = at < 0 ? typed : [...typed.slice(0, at), ...typed.slice(at + 1), '--help'];
  const words = at < 0 ? first : wordsOf(argv, GLOBAL_FLAGS);
  const command = findCommand(words);
  const [group = ''] = words;
  if (command === undefined && groupOf(group).length > 0 && lenient(argv, GLOBAL_FLAGS).values.help === true)
    return { command, group, args: [], flags: {} };
  if (command === undefined && words.length > 0) {
    const slip = unknownFlag(flagsIn(argv));
    throw slip === undefined ? unknownCommand(words) : usage(slip, undefined);
  }
  const flags = { ...GLOBAL_FLAGS, ...(command?.flags ?? {}) };
  const odd = argv.find((word, i) => SHORT_WITH_DASH.test(word) && !argv.slice(0, i).includes('--'));
  if (odd !== undefined) throw usage(unknownText(odd, flags), command);
  let parsed: ReturnType<typeof parseArgs>;
  try {
    const line = command?.path.startsWith('config ') === true ? withoutScope(argv) : argv;
    parsed = parseArgs({
      args: withNumbers(line, flags),
      options: optionsOf(flags),
      allowPositionals: true,
      strict: true,
    });
  } catch (error) {
    throw usage(flagProblem(error, argv, flags), command);
  }
  const args = parsed.positionals.slice(command?.path.split(' ').length ?? 0);
  const own = parsed.values as Parsed['flags'];
  const line = typeof own.bash === 'string' ? bashLine(args.join(' '), own.bash).words : args;
  // The word that is being typed is no place yet.
  const given = command?.path === 'complete' ? { ...placeOf(line.slice(0, -1)), ...own } : own;
  if (command !== undefined && given.help !== true && given.version !== true) {
    checkArgs(command, args);
    checkFilled(command, args, given);
  }
  return { command, args, flags: given };
};

// `--account` of a setting, without a name: the whole account, which is meant anyway.
const withoutScope = (argv: readonly string[]): string[] =>
  argv.filter((word, i) => word !== '--account' || argv[i + 1]?.startsWith('-') === false);

/** An error that says how the command is used. */
export const usage = (message: string, command: Command | undefined): SottoError =>
  new SottoError('usage.invalid', {
    message: `${message}${command === undefined ? '' : `${message.endsWith('?') ? '' : '.'} Usage: sotto ${usageLine(command)}`}`,
  });

/** `send <to> [text] [flags]` */
export const usageLine = (command: Command): string => {
  const args = command.args.map((arg) =>
    arg.required === true ? `<${arg.name}>` : `[${arg.name}${arg.many === true ? ' …' : ''}]`,
  );
  return [command.path, ...args, ...(Object.keys(command.flags ?? {}).length > 0 ? ['[flags]'] : [])].join(' ');
};

const checkArgs = (command: Command, args: readonly string[]): void => {
  const required = command.args.filter((arg) => arg.required === true).length;
  const missing = args.length < required ? command.args[args.length] : undefined;
  if (missing !== undefined) throw usage(`${missing.name} is missing${hashHint(missing)}`, command);
  if (args.length > command.args.length && command.args.at(-1)?.many !== true)
    throw usage(`too many arguments: ${args.slice(command.args.length).join(' ')}`, command);
};

// Values that name something which is there, or is to be.
const NAMING: ReadonlySet<string> = new Set(['CONVERSATION', 'FILE', 'ID', 'KINDS', 'PATH', 'SERVER', 'WHO']);

// As a path what is empty would be the folder where one is; as a name it is a variable that was not set.
const checkFilled = (command: Command, args: readonly string[], given: Parsed['flags']): void => {
  const isNaming = ({ path, complete = 'value' }: Argument): boolean => path === true || complete !== 'value';
  const arg = command.args.find((one, i) => isNaming(one) && args[i] === '');
  if (arg !== undefined) throw usage(`${arg.name} is empty`, command);
  const flags = Object.entries(command.flags ?? {});
  const flag = flags.find(([name, { value = '' }]) => NAMING.has(value) && given[name] === '');
  if (flag !== undefined) throw usage(`--${flag[0]} is empty`, command);
};

// A shell takes an unquoted #name for a comment.
const hashHint = ({ name, complete }: Argument): string =>
  ['channel', 'conversation'].includes(complete ?? name) ? " (a # must be quoted: '#ops')" : '';

const optionsOf = (flags: Readonly<Record<string, Flag>>) =>
  Object.fromEntries(
    Object.entries(flags).map(([name, flag]) => [
      name,
      {
        type: flag.value === undefined ? ('boolean' as const) : ('string' as const),
        ...(flag.short === undefined ? {} : { short: flag.short }),
      },
    ]),
  );

const lenient = (argv: readonly string[], flags: Readonly<Record<string, Flag>>) =>
  parseArgs({ args: [...argv], options: optionsOf(flags), allowPositionals: true, strict: false });

const flagsIn = (argv: readonly string[]): string[] =>
  parseArgs({ args: [...argv], options: optionsOf(GLOBAL_FLAGS), allowPositionals: true, strict: false, tokens: true })
    .tokens.filter((token) => token.kind === 'option')
    .map(({ rawName }) => rawName);

/** The words that are neither flags nor values of these flags. */
export const wordsOf = (argv: readonly string[], flags: Readonly<Record<string, Flag>>): string[] =>
  lenient(argv, flags).positionals;

/** The flags that choose data folder and account, wherever they stand: a line that is being completed is about the account that it names. */
export const placeOf = (line: readonly string[]): Parsed['flags'] => {
  const { account, 'data-dir': dataDir } = lenient(line, GLOBAL_FLAGS).values as Parsed['flags'];
  return { ...(account === undefined ? {} : { account }), ...(dataDir === undefined ? {} : { 'data-dir': dataDir }) };
};

/** The command that most of the first words name: up to three. */
export const findCommand = (words: readonly string[]): Command | undefined => {
  const commands = commandsOf(words[0] ?? '');
  return [3, 2, 1]
    .map((count) => words.slice(0, count).join(' '))
    .map((path) => commands.find((command) => command.path === path))
    .find((command) => command !== undefined);
};

/** The commands of more words that begin with these. */
export const groupOf = (words: string): readonly Command[] =>
  commandsOf(words.split(' ')[0] ?? '').filter(({ path }) => path.startsWith(`${words} `));
