// Completion in the real shells: names come from the daemon that runs, whole, and none is started or opened for it.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { SETTING_WORDS } from '../../src/cli/complete.ts';
import { EVENT_KINDS, VOLATILE_KINDS } from '../../src/protocol/event-kinds.ts';
import { SETTINGS } from '../../src/protocol/settings.ts';
import { furnish, pathsOf } from '../daemon/furnished.ts';
import { Stage, type User } from '../e2e/stage.ts';
import { House } from '../rooms/house.ts';
import { onTerminal } from './terminal.ts';

// What a shell would take apart, or run.
const NAME = `Berta $(touch pwned) O'Neil`;

let stage: Stage;
let alice: User;

beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = await furnish(stage, async (one) => {
    await one.call('contact.rename', { contact: 'bob', name: NAME });
  });
  await alice.ok('daemon', 'start');
  mkdirSync(join(stage.dir, 'bin'));
  symlinkSync(resolve('bin/sotto'), join(stage.dir, 'bin/sotto'));
});
afterAll(() => stage[Symbol.asyncDispose]());

/** Types a line with a tab in it into a shell, after `load`; gives what the completed command wrote. */
const typed = async (
  shell: string,
  load: string,
  line: string,
  account = 'alice',
  dataDir = stage.dir,
): Promise<string> => {
  const out = join(stage.dir, 'out');
  rmSync(out, { force: true });
  await onTerminal(
    shell,
    [
      { on: /./, type: `cd ${stage.dir}; ${load}; echo loa''ded\r` },
      { on: /loaded\r/, type: `${line} > out; exit\r` },
    ],
    {
      PATH: `${join(stage.dir, 'bin')}:${process.env.PATH}`,
      HOME: stage.dir,
      SOTTO_DATA_DIR: dataDir,
      SOTTO_ACCOUNT: account,
    },
  );
  return existsSync(out) ? readFileSync(out, 'utf8') : '';
};

const SHELLS = [
  ['bash', 'bash --norc --noprofile -i', 'source <(sotto completion bash)'],
  ['zsh', 'zsh -f -i', 'autoload -Uz compinit; compinit -u -D; source <(sotto completion zsh)'],
  ['fish', 'fish --no-config -i', 'sotto completion fish | source'],
] as const;

/** Shells that are not installed are named, and skipped. */
const has = (shell: string): boolean => spawnSync(shell, ['--version']).status === 0;
const MISSING = SHELLS.filter(([name]) => !has(name));

test.skip.each(MISSING)('%s is not installed', () => {});

describe.each(SHELLS.filter(([name]) => has(name)))('%s', (_name, shell, load) => {
  test('completes the name of a contact, whole, and runs nothing that is in it', async () => {
    const out = await typed(shell, load, 'sotto --json contact show B\t');
    expect(JSON.parse(out)).toMatchObject({ name: NAME });
    expect(existsSync(join(stage.dir, 'pwned'))).toBe(false);
  });

  test('completes commands and flags, and takes the account from the line', async () => {
    const out = await typed(shell, load, 'sotto --account al\tcont\tsho\tB\t --js\t', 'nobody');
    expect(JSON.parse(out)).toMatchObject({ name: NAME });
  });
});

test.skipIf(!has('bash'))(
  'bash completes channels and members, quoted or not, and behind what it breaks words at',
  async () => {
    const { house, olga } = await House.open('olga', 'bob');
    await using _ = house;
    await olga.call('channel.create', { name: '#ops', encryption: 'open' });
    const [, shell, load] = SHELLS[0];
    for (const line of ['read \\#o\t', "read '#o\t", 'read "#o\t', 'send \\#o\t --wait=qu\t hello'])
      expect(await typed(shell, load, `sotto --json ${line}`, 'olga', olga.user.dir), line).toMatch(/^({.*}\n)?$/);
    expect(await olga.bodies('#ops')).toEqual(['hello']);
    const shown = await typed(shell, load, `sotto --data-dir=${olga.user.dir} --json member show bob@ho\t`, 'olga');
    expect(JSON.parse(shown)).toMatchObject({ name: 'bob' });
  },
);

describe('sotto complete', () => {
  const offered = async (user: User, ...words: string[]) =>
    (await user.ok('complete', '--', ...words, { json: false })).out.split('\n').filter((line) => line !== '');

  test('knows where the line is: flags with values are no words', async () => {
    expect(await offered(alice, 'send', '--wait', 'sent', 'B')).toEqual([NAME]);
    expect(await offered(alice, '--timeout', '5s', 'config', 'get', 'notify.q')).toEqual(['notify.quietHours']);
    expect(await offered(alice, 'send', 'bob', 'B')).toEqual([]);
    expect(await offered(alice, 'daemon', 'sta')).toEqual(['start', 'status']);
    expect(await offered(alice, 'daemon', 'r')).toEqual(['reload', 'run']);
    expect(await offered(alice, 'se')).toEqual(['search', 'send', 'serve', 'server']);
    expect(await offered(alice, 'send', '--rep')).toEqual(['--reply']);
    expect(await offered(alice, 'comp')).toEqual(['completion']);
    expect(await offered(alice, 'send', 'bob', '--wait', '')).toEqual(['queued', 'sent', 'delivered', 'read']);
    expect(await offered(alice, 'completion', 'z')).toEqual(['zsh']);
    for (const words of [
      ['search', 'x', '--in', 'B'],
      ['read', 'B'],
      ['config', 'list', '--in', 'B'],
    ])
      expect(await offered(alice, ...words)).toEqual([NAME]);
  });

  test('knows the words of settings, events, methods and serve, the accounts, and who is blocked', async () => {
    expect(await offered(alice, 'config', 'set', 'privacy.typing', '')).toEqual(['on', 'off']);
    expect(await offered(alice, 'config', 'set', 'notify.level', '')).toEqual(['none', 'count', 'name']);
    expect(await offered(alice, 'config', 'set', 'notify.quietHours', '')).toEqual([]);
    expect(await offered(alice, 'listen', '--kinds', 'typ')).toEqual(['typing.changed']);
    expect(await offered(alice, 'listen', '--kinds=link.up,typ')).toEqual(['--kinds=link.up,typing.changed']);
    expect(await offered(alice, 'listen', '--kinds', '')).toHaveLength(EVENT_KINDS.length + VOLATILE_KINDS.length);
    expect(await offered(alice, 'rpc', 'account.in')).toEqual(['account.init']);
    expect(await offered(alice, 'serve', '')).toEqual(['admin', 'install']);
    expect(await offered(alice, 'serve', 'admin', 'in')).toEqual(['invite', 'invites']);
    expect(await offered(alice, '--data-dir', stage.dir, 'serve', '--name', 'x', 'admin', 'che')).toEqual(['check']);
    expect(await offered(alice, 'serve', '--be')).toEqual(['--behind-proxy']);
    expect(await offered(alice, '--account', '')).toEqual(['alice']);
    expect(await offered(alice, '--account=')).toEqual(['--account=alice']);
    expect(await offered(alice, 'contact', 'unblock', '')).toEqual([]);
    await alice.ok('contact', 'block', NAME);
    expect(await offered(alice, 'contact', 'unblock', '')).toEqual([NAME]);
    await alice.ok('contact', 'unblock', NAME);
  });

  test('has the words of every setting that is one of some', () => {
    const enums = Object.entries(SETTINGS).flatMap(([key, { schema }]) =>
      schema instanceof z.ZodEnum ? [[key, schema.options]] : [],
    );
    expect(SETTING_WORDS).toEqual(Object.fromEntries(enums));
  });

  test('starts no daemon', async () => {
    const idle = stage.stranger('idle');
    await idle.ok('init', '--nickname', 'idle', '--no-passphrase');
    await idle.ok('daemon', 'stop');
    expect(await offered(idle, 'contact', 'show', '')).toEqual([]);
    expect(await idle.one('daemon', 'status')).toMatchObject({ running: false });
    expect(existsSync(pathsOf(idle).socket)).toBe(false);
  });

  test('opens no locked account, even where the passphrase is at hand', async () => {
    const locked = stage.stranger('locked');
    const file = join(stage.dir, 'secret');
    writeFileSync(file, 'one\n', { mode: 0o600 });
    const secret = { env: { SOTTO_PASSPHRASE_FILE: file }, json: false };
    await locked.ok('init', '--nickname', 'locked', secret);
    await locked.ok('account', 'lock');
    expect((await locked.ok('complete', '--', 'config', 'get', '', secret)).out).toBe('');
    expect(await locked.one('daemon', 'status')).toMatchObject({ running: true, locked: true });
  });
});
