// Every command with --json: stdout is one JSON object a line and nothing else, an error is one on stderr.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allCommands } from '../../src/cli/table.ts';
import { furnish } from '../daemon/furnished.ts';
import { Stage, type User } from '../e2e/stage.ts';
import { Program } from '../rooms/program.ts';
import { onTerminal } from './terminal.ts';

// A text with what a terminal must not get: C1 controls and an override of the direction of writing.
const EVIL = 'evil \u009b31m \u202e txet';

type Row = { readonly args?: readonly string[]; readonly exit?: number; readonly empty?: true };

let stage: Stage;
let alice: User;
let theirs = '';
let mine = '';
let alina: User;
let server: Program;

beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = await furnish(stage, async (one, bob, world) => {
    mine = (await one.send('bob', 'mine')).id;
    theirs = (await bob.send('alice', EVIL)).id;
    for (const name of ['carol', 'dave']) {
      const other = await world.person(name);
      await other.call('contact.add', { address: one.address, name: 'alice' });
    }
  });
  writeFileSync(join(stage.dir, 'source'), 'content');
  alina = stage.stranger('alina');
  server = new Program(join(stage.dir, '..', 'server'));
  await server.start();
});
afterAll(async () => {
  await server.stop();
  await stage[Symbol.asyncDispose]();
});

/** What each command is tried with, in this order; those that end something come last. */
const rows = (): Record<string, Row | readonly Row[]> => ({
  init: { exit: 7 },
  restore: { args: ['nothing'], exit: 7 },
  backup: { args: [join(stage.dir, 'backup')] },
  passwd: { args: ['--no-passphrase'] },
  id: [{}, { args: ['--qr'] }, { args: ['--words'] }],
  nickname: { args: ['Alice'] },
  'account list': {},
  'daemon start': {},
  'daemon status': {},
  'daemon reload': {},
  'daemon logs': {},
  'daemon install': { args: ['--print'] },
  status: {},
  doctor: {},
  'config list': {},
  'config get': [{ args: ['privacy.typing'] }, { args: ['no.such'], exit: 3 }],
  'config set': [
    { args: ['privacy.typing', 'on'] },
    { args: ['privacy.typing', '7'], exit: 2 },
    { args: ['outbox.expiresMs', '30d'] },
    { args: ['outbox.expiresMs', 'long'], exit: 2 },
  ],
  'config unset': { args: ['privacy.typing'] },
  'contact add': [
    { args: [`${'a'.repeat(56)}.onion`], exit: 8 },
    { args: ['abandon '.repeat(12).trim()], exit: 8 },
  ],
  'contact list': { args: ['--all'] },
  'contact requests': {},
  'contact accept': { args: ['carol'] },
  'contact reject': { args: ['dave'] },
  'contact show': [{ args: ['bob'] }, { args: ['nobody'], exit: 3 }],
  'contact verify': { args: ['bob', '--same'] },
  'contact rename': [{ args: ['carol', 'caro'] }, { args: ['caro', 'bob'], exit: 7 }],
  'contact note': { args: ['bob', 'a', 'note'] },
  'contact ping': { args: ['bob'], exit: 4 },
  'contact block': { args: ['caro'] },
  'contact unblock': { args: ['caro'] },
  why: [{ args: ['bob'] }, { args: ['bob', '--retry'] }],
  send: [
    { args: ['bob', 'one'] },
    { args: ['bob', 'two', '--wait', 'sent'], exit: 4 },
    { args: ['caro', 'x'.repeat(20_000)], exit: 2 },
  ],
  read: { args: ['bob'] },
  unread: {},
  search: { args: ['evil'] },
  show: { args: [theirs] },
  edit: [{ args: [mine, 'changed'] }, { args: [theirs, 'changed'], exit: 6 }],
  react: { args: [theirs, '👍'] },
  unreact: { args: [theirs, '👍'] },
  pin: { args: [theirs] },
  unpin: { args: [theirs] },
  resend: { args: [mine], exit: 6 },
  cancel: { args: [mine], exit: 6 },
  conversations: {},
  'conversation show': { args: ['bob'] },
  'conversation mute': { args: ['bob', '--for', '1h'] },
  'conversation unmute': { args: ['bob'] },
  'conversation archive': { args: ['bob'] },
  'mark-read': { args: ['bob'] },
  draft: { args: ['bob', 'later'] },
  expire: { args: ['bob', 'read+30s'] },
  export: [{}, { args: ['--format', 'markdown'] }, { args: ['--output', join(stage.dir, 'history')] }],
  'file send': { args: ['bob', join(stage.dir, 'source')] },
  'file list': {},
  'file show': { args: ['ffffff'], exit: 3 },
  'file save': { args: ['ffffff'], exit: 3 },
  'file pause': { args: ['ffffff'], exit: 3 },
  'file cancel': { args: ['ffffff'], exit: 3 },
  'server join': [
    { args: [server.invite, '--as', 'alice', '--label', 'home'] },
    { args: [server.invite, '--as', 'alice'], exit: 7 },
    { args: ['sotto:room?nothing'], exit: 8 },
  ],
  'server list': {},
  'server invite': { args: ['home', '--uses', '2'] },
  'server invites': {},
  'server revoke': { args: ['ffffff'], exit: 3 },
  'server devices': {},
  'server second-check': {},
  'server second-check set': [{}, { args: ['home', '--code', '000000'], exit: 2 }, { args: ['nowhere'], exit: 3 }],
  'server second-check change': { args: ['home'], exit: 7 },
  'server second-check remove': { args: ['home'], exit: 7 },
  'server export': {},
  'server profile': { args: ['home', '--status', EVIL] },
  'member list': {},
  'member show': [{ args: ['alice@home'] }, { args: ['nobody@home'], exit: 3 }],
  'member accept': { args: ['nobody@home'], exit: 3 },
  'member reject': { args: ['nobody@home'], exit: 3 },
  'member verify': { args: ['nobody@home', '--same'], exit: 3 },
  'call list': { args: ['nowhere'], exit: 3 },
  'member ban': { args: ['nobody@home'], exit: 3 },
  'member unban': { args: ['nobody@home'], exit: 3 },
  'member role': [
    { args: ['nobody@home', 'admin'], exit: 3 },
    { args: ['nobody@home', 'king'], exit: 2 },
  ],
  'member link': { args: ['nobody@home', 'bob'], exit: 3 },
  'member unlink': { args: ['nobody@home'], exit: 3 },
  'channel create': [
    { args: ['#ops', '--encryption', 'open'] },
    { args: ['#ops', '--encryption', 'open'], exit: 7 },
    { args: ['#more', '--encryption', 'members', '--history', 'all'], exit: 2 },
    { args: ['#no name', '--encryption', 'open'], exit: 2 },
  ],
  'channel join': { args: ['#nothing'], exit: 3 },
  'channel share-history': { args: ['#nothing', 'alice'], exit: 3 },
  'channel list': [{}, { args: ['--all'] }],
  'channel topic': { args: ['#ops', EVIL] },
  'channel show': [{ args: ['#ops'] }, { args: ['#ops', '--at', '10m ago'] }, { args: ['#nothing'], exit: 3 }],
  'channel invite': { args: ['#ops', 'nobody'], exit: 3 },
  'channel kick': { args: ['#ops', 'nobody'], exit: 3 },
  'channel ban': { args: ['#ops', 'nobody'], exit: 3 },
  'channel unban': { args: ['#ops', 'nobody'], exit: 3 },
  'channel mute': { args: ['#ops', 'nobody'], exit: 3 },
  'channel role': [
    { args: ['#ops', 'nobody', 'moderator'], exit: 3 },
    { args: ['#ops', 'nobody', 'king'], exit: 2 },
  ],
  'channel rotate': { args: ['#ops'], exit: 6 },
  'channel set': { args: ['#ops', '--notify', 'none', '--slow', '5s'] },
  'channel archive': [{ args: ['#ops'] }, { args: ['#ops'], exit: 6 }],
  'channel leave': { args: ['#ops'] },
  'server leave': { args: ['home'] },
  rpc: [{ args: ['--methods'] }, { args: ['no.such'], exit: 3 }],
  completion: { args: ['bash'] },
  complete: { args: ['contact', 'show', ''] },
  man: {},
  delete: { args: [mine] },
  'conversation clear': { args: ['bob'] },
  'contact remove': { args: ['caro'] },
  'account lock': [{}, {}],
  'account unlock': {},
  'daemon stop': {},
  'account remove': { args: ['--confirm', 'nobody'], exit: 2 },
  'account rename': { args: ['alina'] },
});

const errorObject = (exit: number) => ({
  code: expect.stringMatching(/^[a-z]+\.[a-zA-Z0-9]+$/),
  message: expect.stringMatching(/.{5}/),
  exit,
  retry: expect.stringMatching(/^(never|later|after-change)$/),
  details: expect.any(Object),
});

/** What the contract says of every object: names in camel case, no null, and times in fields that end in `At`. */
const faultsOf = (value: unknown, name = ''): string[] => {
  if (value === null) return [`${name} is null`];
  if (typeof value === 'number' && value > 1e12 && !/^at$|At$/.test(name)) return [`${name} is a time`];
  if (typeof value !== 'object') return [];
  // A server's own words.
  if (name === 'kept') return [];
  if (Array.isArray(value)) return value.flatMap((one) => faultsOf(one, name));
  return Object.entries(value).flatMap(([key, one]) => [
    // The refusals are counted by their codes.
    ...(/^[a-z][a-zA-Z0-9]*$/.test(key) || name === 'refused' ? [] : [`${key} is not camel case`]),
    ...faultsOf(one, key),
  ]);
};

describe('--json', () => {
  test('is understood by every command of the table', async () => {
    // `listen` does not end by itself: it has a test of its own.
    const untried = allCommands().filter(({ path }) => rows()[path] === undefined && path !== 'listen');
    expect(untried.map(({ path }) => path)).toEqual([]);
    for (const [path, tries] of Object.entries(rows()))
      for (const { args = [], exit = 0 } of [tries].flat() as Row[]) {
        const { code, out, err } = await alice.run(...path.split(' '), ...args);
        const what = `${path} ${args.join(' ').slice(0, 60)}`;
        expect([what, code, exit === 0 ? err : '']).toEqual([what, exit, '']);
        const lines = out.split('\n').slice(0, -1);
        for (const line of lines) expect([line[0], faultsOf(JSON.parse(line))], what).toEqual(['{', []]);
        if (exit === 0) expect(lines.length, what).toBeGreaterThan(0);
        else expect(JSON.parse(err), what).toEqual(errorObject(exit));
        expect(`${out}${err}`, what).not.toMatch(/[\u0080-\u009f\u202e]/);
      }
  });

  test('of a stream goes on until it is interrupted, which is exit 130', async () => {
    const program = `bin/sotto --data-dir ${stage.dir} --account alina --json listen --since 0 2>&1`;
    const { code, shown } = await onTerminal(program, [{ on: /"cursor"[\s\S]*\n/, type: '\u0003' }]);
    expect(code).toBe(130);
    const first = JSON.parse(shown.split('\r\n')[0] ?? '') as { kind: string; cursor: string };
    expect(first.cursor).toBe('1');
  });

  test('stands for itself before --, and is a text after it', async () => {
    const { out } = await alina.ok('draft', 'bob', '--', '--json', { json: false });
    expect(out).toBe('--json\n');
  });
});
