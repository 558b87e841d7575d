// The command table and the RPC table belong together, and what help shows is built.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { groupHelp, programHelp } from '../src/cli/help.ts';
import { findCommand, parseCommandLine } from '../src/cli/parse.ts';
import { allCommands, FIRST_WORDS } from '../src/cli/table.ts';
import { SottoError } from '../src/protocol/errors.ts';
import { LINK_VERSION } from '../src/protocol/limits.ts';
import { METHODS, RPC_VERSION } from '../src/protocol/rpc.ts';
import { VERSION, WIRE_VERSIONS } from '../src/protocol/version.ts';
import { SCHEMA_VERSION } from '../src/store/migrations.ts';

const code = (...argv: string[]): unknown => {
  try {
    return parseCommandLine(argv).command?.path;
  } catch (error) {
    return error instanceof SottoError ? error.code : error;
  }
};

// Methods that only `sotto rpc` reaches, and why no command needs them. Whoever adds one says so here.
const BY_RPC_ONLY: Readonly<Record<string, string>> = {
  'rpc.methods': 'is `sotto rpc --methods`, and completes its words',
  'hook.list': 'is for programs: `doctor` tells a person of hooks that are refused or have failed',
  'session.focus': 'says who looks at a screen right now: a command is over before it could',
  'conversation.typing': 'says that somebody types right now: `send` has its text already',
  'presence.set': 'says that somebody is there for as long as a front end is open',
};

describe('the command table', () => {
  test('reaches every RPC method', () => {
    const reached = new Set(allCommands().flatMap((command) => command.methods ?? []));
    expect(Object.keys(METHODS).filter((method) => !reached.has(method as never))).toEqual([]);
  });

  test('has a command of its own for each, but for those of a front end that stays', () => {
    const others = allCommands().filter(({ path }) => path !== 'rpc');
    const reached = new Set(others.flatMap((command) => command.methods ?? []));
    const left = Object.keys(METHODS).filter((method) => !reached.has(method as never));
    expect(left.sort()).toEqual(Object.keys(BY_RPC_ONLY).sort());
  });

  test('has no path twice, and help shows each command once', () => {
    const paths = allCommands().map((command) => command.path);
    expect(new Set(paths).size).toBe(paths.length);
    const lines = programHelp().split('\n');
    for (const path of paths.filter((one) => one !== 'complete'))
      expect(lines.filter((line) => line.startsWith(`  ${path.padEnd(22)} `))).toHaveLength(1);
  });

  test('makes only those of the word that is asked for, and has each under its own', () => {
    const commands = allCommands();
    expect([...new Set(commands.map(({ path }) => path.split(' ')[0]))].sort()).toEqual(
      [...new Set(FIRST_WORDS)].sort(),
    );
    for (const { path } of commands) expect(findCommand(path.split(' '))?.path).toBe(path);
  });

  test('tells of commands that share their first word', () => {
    expect(parseCommandLine(['channel', '--help'])).toMatchObject({ command: undefined, group: 'channel' });
    expect(groupHelp('channel')).toMatch(
      /^Usage: sotto channel COMMAND .*\n\n {2}channel create .*\n(?: {2}channel .*\n)+\nMore of each/,
    );
    expect([code('channel'), code('channel', 'nothing')]).toEqual(['usage.invalid', 'usage.invalid']);
  });

  test('names daemon run among the words of daemon, and the programs among those that come near', () => {
    const told = (...argv: string[]) => expect(() => parseCommandLine(argv));
    told('daemon').toThrow(/^daemon needs one of start, .*, run$/);
    told('daemon', 'runn').toThrow('did you mean daemon run?');
    told('serv').toThrow(/did you mean .*serve/);
    expect(groupHelp('daemon')).toMatch(/\n {2}daemon run +run the daemon in the foreground\n/);
  });

  test('takes global flags before and after the command', () => {
    for (const argv of [
      ['--json', '--account', 'a', 'contact', 'show', 'bob'],
      ['contact', 'show', 'bob', '--json', '--account', 'a'],
      ['contact', '--account', 'a', 'show', '--json', 'bob'],
    ]) {
      const parsed = parseCommandLine(argv);
      expect([parsed.command?.path, parsed.args, parsed.flags.json, parsed.flags.account]).toEqual([
        'contact show',
        ['bob'],
        true,
        'a',
      ]);
    }
  });

  test('takes --account without a name where it says for what a setting is', () => {
    for (const argv of [
      ['config', 'set', 'privacy.typing', 'on', '--account'],
      ['config', 'set', '--account', '--json', 'privacy.typing', 'on'],
    ])
      expect(parseCommandLine(argv)).toMatchObject({ args: ['privacy.typing', 'on'] });
    expect(parseCommandLine(['config', 'list', '--account', 'a']).flags.account).toBe('a');
    expect(code('status', '--account')).toBe('usage.invalid');
  });

  test('refuses what it does not know with a usage error', () => {
    expect(code('nonsense')).toBe('usage.invalid');
    expect(code('contact')).toBe('usage.invalid');
    expect(code('contact', 'nonsense')).toBe('usage.invalid');
    expect(code('send', 'bob', 'x', '--no-such-flag')).toBe('usage.invalid');
    expect(code('send')).toBe('usage.invalid');
    expect(code('status', 'now')).toBe('usage.invalid');
    expect(code('send', 'bob', '--', '--looks-like-a-flag')).toBe('send');
    expect(code()).toBeUndefined();
    expect(parseCommandLine(['help', 'send'])).toMatchObject({ command: { path: 'send' }, flags: { help: true } });
    expect(parseCommandLine(['help', 'contact']).group).toBe('contact');
  });
});

describe('a slip on the command line', () => {
  const told = (...argv: string[]): string => {
    try {
      return parseCommandLine(argv).command?.path ?? '';
    } catch (error) {
      return error instanceof SottoError ? error.message : String(error);
    }
  };

  test('in a command is answered with what comes near to it', () => {
    expect(told('sattus')).toBe('There is no command "sattus": did you mean status?');
    expect(told('contcat', 'add')).toBe('There is no command "contcat": did you mean contact?');
    expect(told('contact', 'lsit')).toBe('There is no command "contact lsit": did you mean contact list?');
    expect(told('contact', 'nothing')).toMatch(
      /^There is no command "contact nothing": contact needs one of add, list,/,
    );
    expect(told('contact')).toMatch(/^contact needs one of add, list,/);
    expect(told('nonsense')).toBe('There is no command "nonsense": see sotto --help');
  });

  test('in a flag is about that flag, also where it hides the command', () => {
    expect(told('--acount', 'x', 'status')).toBe("Unknown option '--acount': did you mean --account?");
    expect(told('read', 'bob', '--limti', '5')).toMatch(
      /^Unknown option '--limti': did you mean --limit\? Usage: sotto read/,
    );
    expect(told('status', '--no-such-flag')).toBe("Unknown option '--no-such-flag'. Usage: sotto status");
  });

  test('in the value of a flag says what the flag takes', () => {
    expect(parseCommandLine(['read', 'bob', '--limit', '-5'])).toMatchObject({ args: ['bob'], flags: { limit: '-5' } });
    expect(parseCommandLine(['send', 'bob', '--', '--limit', '-5']).args).toEqual(['bob', '--limit', '-5']);
    expect(told('status', '--timeout', '-1s')).toMatch(/^--timeout takes a duration, as 90s or 7d, not "-1s"\./);
    expect(told('status', '--passphrase-fd', '-5')).toMatch(/^--passphrase-fd takes a whole number, not "-5"\./);
    expect(told('read', 'bob', '--limit')).toMatch(/^--limit is given without its N\./);
    expect(told('status', '--json=1')).toMatch(/^--json takes no value\./);
  });

  test('that leaves out a name with a # says how it is quoted', () => {
    expect(told('channel', 'create')).toMatch(/^channel is missing \(a # must be quoted: '#ops'\)\. Usage:/);
    expect(told('send')).toMatch(/^to is missing \(a # must be quoted: '#ops'\)\./);
    expect(told('contact', 'show')).toMatch(/^contact is missing\./);
  });
});

test('the versions agree', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const { rpc, wire, schema } = WIRE_VERSIONS;
  expect([VERSION, rpc, wire, schema]).toEqual([version, RPC_VERSION, LINK_VERSION, SCHEMA_VERSION]);
});

test('no bundle of a front end holds a schema library', () => {
  for (const name of ['main', 'cli'])
    expect(readFileSync(`dist/${name}.cjs`, 'utf8')).not.toMatch(/ZodType|\$ZodCheck/);
});
