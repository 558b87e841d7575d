// What is said of a command line with a slip in it: which word was meant, and what a flag takes.
import { SottoError } from '../protocol/errors.ts';
import { meant, nearOf } from '../protocol/near.ts';
import type { Flag } from './command.ts';
import { allCommands, GLOBAL_FLAGS, PROGRAMS } from './table.ts';

type Flags = Readonly<Record<string, Flag>>;

const namesOf = (flags: Flags): string[] =>
  Object.entries(flags).flatMap(([name, { short }]) => [`--${name}`, ...(short === undefined ? [] : [`-${short}`])]);

/** `contact add` of the words that come nearest to a command. */
export const unknownCommand = (words: readonly string[]): SottoError => {
  const [first = '', second] = words;
  const paths = [...allCommands().map(({ path }) => path), ...PROGRAMS.map(([path]) => path)];
  const group = new Set(paths.filter((path) => path.startsWith(`${first} `)).map((path) => wordOf(path, 1)));
  const invalid = (message: string) => new SottoError('usage.invalid', { message });
  if (group.size === 0) {
    const known = paths.map((path) => wordOf(path, 0));
    return invalid(`There is no command ${JSON.stringify(first)}${meant(nearOf(first, known), ': see sotto --help')}`);
  }
  const near = second === undefined ? [] : nearOf(second, group).map((word) => `${first} ${word}`);
  const all = `: ${first} needs one of ${[...group].join(', ')}`;
  return second === undefined
    ? invalid(`${first} needs one of ${[...group].join(', ')}`)
    : invalid(`There is no command ${JSON.stringify(`${first} ${second}`)}${meant(near, all)}`);
};

const wordOf = (path: string, index: number): string => path.split(' ')[index] ?? '';

/** The first of these flags that no command has: it may have taken the word that was to be the command. */
export const unknownFlag = (typed: readonly string[]): string | undefined => {
  const known = new Set(
    allCommands()
      .flatMap(({ flags = {} }) => namesOf(flags))
      .concat(namesOf(GLOBAL_FLAGS)),
  );
  const flag = typed.find((one) => !known.has(one));
  return flag === undefined ? undefined : unknownText(flag, GLOBAL_FLAGS);
};

/** That there is no such flag: which one may be meant, or how what only begins as one is given. */
export const unknownText = (flag: string, flags: Flags): string => {
  const asText = flag.startsWith('--') ? '' : ': what begins with - and is no option goes behind --';
  return `Unknown option '${flag}'${meant(nearOf(flag, namesOf(flags)), asText)}`;
};

/** What parseArgs found wrong, in words of ours. */
export const flagProblem = (error: unknown, argv: readonly string[], flags: Flags): string => {
  const { message, code } = error as { readonly message: string; readonly code?: string };
  const unknown = /^Unknown option '([^']*)'/.exec(message)?.[1];
  if (unknown !== undefined) return unknownText(unknown, flags);
  const name = /^Option '(?:-\w, )?--([\w-]+)/.exec(message)?.[1] ?? '';
  if (code !== 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE') return message.split(/\.\s/)[0] ?? '';
  const { value, short } = flags[name] ?? {};
  if (value === undefined) return `--${name} takes no value`;
  const typed = argv[argv.findIndex((word) => word === `--${name}` || word === `-${short}`) + 1];
  if (typed === undefined) return `--${name} is given without its ${value}`;
  return `--${name} takes ${KINDS[value] ?? value}, not ${JSON.stringify(typed)}`;
};

const KINDS: Readonly<Record<string, string>> = { N: 'a whole number', DURATION: 'a duration, as 90s or 7d' };

/**
 * The line with each number below zero held to its flag, which then refuses it by its bounds: parseArgs would take it for
 * another flag.
 */
export const withNumbers = (argv: readonly string[], flags: Flags): string[] => {
  const end = argv.includes('--') ? argv.indexOf('--') : argv.length;
  const isValue = (i: number): boolean => {
    const name = argv[i - 1]?.slice(2) ?? '';
    return i < end && flags[name]?.value === 'N' && !name.endsWith('-fd') && /^-\d+$/.test(argv[i] ?? '');
  };
  return argv.flatMap((word, i) => (isValue(i) ? [] : isValue(i + 1) ? [`${word}=${argv[i + 1]}`] : [word]));
};
