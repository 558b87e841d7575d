// Contacts through the command line: QR codes drawn and read, verification, names, notes, and what is remembered of keys.
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AccountObject, Contact } from '../../src/protocol/rpc-objects.ts';
import { CONTROL, EVIL, Hostile } from '../attacks/hostile.ts';
import { furnish } from '../daemon/furnished.ts';
import { run, Stage, type User } from '../e2e/stage.ts';
import { jpegOf, modulesFor, modulesOf, pngOf } from './drawings.ts';

let stage: Stage;
let alice: User;
let theirQr = '';

beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = await furnish(stage, async (one, bob, world) => {
    theirQr = (await bob.contact('alice')).safetyQr ?? '';
    await world.befriend(one, await world.person('carol'));
    const dave = await world.person('dave');
    await dave.call('contact.add', { address: one.address, name: 'alice', note: 'it is me' });
    const mallory = await Hostile.join(world);
    await mallory.dial(one);
    await mallory.say(mallory.request(one, { nickname: EVIL.slice(0, 60), note: EVIL }));
  });
  await alice.ok('daemon', 'start');
});
afterAll(() => stage[Symbol.asyncDispose]());

const file = (name: string, content: string | Buffer): string => {
  writeFileSync(join(stage.dir, name), content);
  return join(stage.dir, name);
};
const drawing = async (...words: string[]): Promise<string> => (await alice.ok(...words, { json: false })).out;
const bob = () => alice.one<Contact>('contact', 'show', 'bob');

test('a stranger whose name and note would move the cursor, hide or fake a line does nothing of it', async () => {
  const requests = await alice.items<Contact>('contact', 'requests');
  const { id = '' } = requests.find(({ requestNote }) => requestNote?.includes('evil')) ?? {};
  const { out } = await alice.ok('contact', 'requests', { json: false });
  expect(out.trimEnd().split('\n')).toHaveLength(requests.length);
  for (const words of [
    ['contact', 'requests'],
    ['contact', 'show', id],
    ['why', id],
    ['contact', 'reject', id],
  ])
    for (const json of words.includes('reject') ? [false] : [false, true]) {
      const said = await alice.ok(...words, { json });
      expect(`${said.out}${said.err}`).toContain('evil');
      expect(`${said.out}${said.err}`).not.toMatch(CONTROL);
    }
  await alice.ok('contact', 'remove', id, '--erase');
});

test('who is not known is answered with the name that comes near to it', async () => {
  expect((await alice.run('contact', 'show', 'bbo')).error?.message).toBe(
    'There is no contact "bbo": did you mean bob?',
  );
  expect((await alice.run('contact', 'show', 'nobody')).error?.message).toBe('There is no contact "nobody"');
  const other = await stage.stranger(`${alice.name}e`).run('status');
  expect(other.error?.message).toMatch(
    new RegExp(`^There is no account ${alice.name}e: did you mean ${alice.name}\\? Or choose one with --account`),
  );
});

test('an address in capitals is the contact whose it is, in every command', async () => {
  const { address } = await bob();
  await alice.ok('send', address.toUpperCase(), 'to an address');
  expect((await alice.one<{ body: string }>('read', address.toUpperCase())).body).toBe('to an address');
});

test('a nickname that is too long is told as that', async () => {
  const long = 'x'.repeat(65);
  for (const ran of [
    await alice.run('nickname', long),
    await stage.stranger('long').run('init', '--nickname', long, '--no-passphrase'),
  ])
    expect([ran.code, ran.error?.code]).toEqual([2, 'nickname.invalid']);
});

test('a file in place of the data folder is no data folder, for any command', async () => {
  const dir = file('no folder', '');
  for (const words of [['status'], ['doctor'], ['account', 'list'], ['init', '--nickname', 'x', '--no-passphrase']]) {
    const { code, out, err } = await run(['--data-dir', dir, '--json', ...words]);
    expect([words, code, out.toString(), JSON.parse(err).code]).toEqual([words, 6, '', 'path.notAllowed']);
  }
});

test('a recovery phrase that is none says so, whatever its length', async () => {
  const someone = stage.stranger('someone');
  for (const input of ['one two', 'word '.repeat(400), 'word '.repeat(40_000)])
    for (const more of [['--no-passphrase'], []])
      expect((await someone.run('restore', '-', ...more, { input })).error).toMatchObject({
        code: 'words.count',
        message: expect.stringContaining('A recovery phrase has 12 words'),
      });
});

test('to stop a daemon that does not run is told as that', async () => {
  const other = stage.stranger('stops');
  await other.ok('init', '--nickname', 'stops', '--no-passphrase');
  expect((await other.ok('daemon', 'stop')).items).toEqual([{ stopped: true }]);
  expect((await other.ok('daemon', 'stop')).items).toEqual([{ stopped: false }]);
});

test('what cannot be meant says what is wanted in its place', async () => {
  const told = async (...words: string[]) => (await alice.run(...words)).error;
  expect(await told('show', '0c')).toMatchObject({
    code: 'message.unknown',
    message: 'An id has at least 6 digits: "0c" has 2',
  });
  expect(await told('contact', 'add', 'bob')).toMatchObject({
    code: 'address.invalid',
    message: expect.stringMatching(/^"bob" is no address or link: ask them for what `sotto .*id` shows$/),
  });
  expect(await told('contact', 'accept', 'bob')).toMatchObject({
    code: 'request.unknown',
    message: 'bob is your contact already',
  });
  expect((await alice.ok('contact', 'requests', { json: false })).err).toMatch(
    /^Accept with sotto .*contact accept \S+, or/,
  );
  expect((await alice.ok('channel', 'list', '--all', { json: false })).err).toMatch(
    /^You are in no server yet, .*join LINK/,
  );
  const nowhere = await run(['account', 'list', '--data-dir', join(stage.dir, 'nowhere')]);
  expect(nowhere).toMatchObject({ code: 0, err: expect.stringMatching(/^No accounts: sotto .*init makes one\n$/) });
});

test('what is empty is named as it was typed, and an empty path is no folder', async () => {
  for (const [place, words] of Object.entries({
    file: ['backup', ''],
    path: ['file', 'send', 'bob', ''],
    '--output': ['export', '--output', ''],
    '--scan': ['contact', 'verify', 'bob', '--scan', ''],
    '--qr': ['contact', 'add', '--qr', ''],
    '--reply': ['send', 'bob', 'x', '--reply', ''],
    '--in': ['search', 'x', '--in='],
  })) {
    const { error } = await alice.run(...words);
    expect([words.join(' '), error?.code, error?.exit]).toEqual([words.join(' '), 'usage.invalid', 2]);
    expect(error?.message).toMatch(new RegExp(`^${place} is empty\\. Usage: sotto `));
  }
  expect((await alice.run('file', 'save', 'abcdef', '')).error?.message).toMatch(/^path is empty\./);
  expect((await stage.stranger('anew').run('restore', '')).error?.message).toMatch(/^file is empty\./);
});

test('what is said twice, or has nothing to do, is no word less', async () => {
  const { words, link } = await alice.one<{ words: string; link: string }>('id');
  const text = async (...flags: string[]) => (await alice.ok('id', ...flags, { json: false })).out;
  expect(await text('--words', '--link')).toBe(`${words}\n${link}\n`);
  expect(await text('--link', '--words')).toBe(`${words}\n${link}\n`);
  expect(await text('--link', '--qr')).toBe(`${link}\n${await text('--qr')}`);
  for (const flags of [[], ['--output', '-']])
    expect((await alice.run('export', 'bob', '--overwrite', ...flags)).error).toMatchObject({
      code: 'usage.invalid',
      message: expect.stringContaining('--overwrite'),
    });
});

test('- is stdout, or is refused: no file is called so', async () => {
  const cwd = join(stage.dir, 'dash');
  mkdirSync(cwd);
  const text = async (...flags: string[]) => (await alice.ok('export', 'bob', ...flags, { cwd, json: false })).out;
  expect(await text('--output', '-')).toBe(await text());
  expect((await alice.run('backup', '-', { cwd })).error).toMatchObject({ code: 'usage.invalid', exit: 2 });
  expect(readdirSync(cwd)).toEqual([]);
});

test('a kind of event that is none is answered with those that come near, or with all', async () => {
  const told = async (kinds: string) => (await alice.run('listen', '--kinds', kinds)).error;
  expect(await told('message.recieved')).toMatchObject({
    code: 'params.invalid',
    message: 'There is no kind of event "message.recieved": did you mean message.received?',
  });
  for (const none of ['nonsense', 'tor.changed,'])
    expect((await told(none))?.message).toMatch(/^There is no kind of event ".*": it is one of .*\btyping\.changed\b/);
});

test('a hint is a command that can be typed as it stands, with the flags in use', async () => {
  const flags = `--data-dir ${stage.dir} --account ${alice.name}`;
  const away = await alice.run('contact', 'ping', 'bob', { json: false });
  expect(away.err).toContain(`sotto ${flags} why bob`);
  expect((await alice.run('contact', 'ping', 'bob')).error?.message).toContain(`: sotto ${flags} why bob`);
  const body = await alice.ok('send', 'bob', 'see sotto status', { json: false });
  expect(body.out).toContain('alice: see sotto status');
});

describe('a picture of a QR code', () => {
  const LINK = 'sotto:t2uh7vyb45dqmn5f4dfbtg6kzxwzsdafz4nfkwyxamdpbmnm4me4wsqd.onion?name=zoe';

  test('gives the address to add, as PNG, on nothing, and as JPEG', async () => {
    const code = modulesFor(LINK);
    for (const [name, picture] of Object.entries({
      png: pngOf(code),
      clear: pngOf(code, { clear: true }),
      jpeg: jpegOf(code),
    })) {
      const added = await alice.one<Contact>('contact', 'add', '--qr', file(name, picture), '--name', name);
      expect(added).toMatchObject({ name, state: 'outgoing', address: LINK.slice(6, -9) });
      expect(added).not.toHaveProperty('held');
      await alice.ok('contact', 'remove', name, '--erase');
    }
  });

  test('of whom is waited for in vain: the request that stays open is told, and why', async () => {
    const ran = await alice.run<Contact>('contact', 'add', LINK, '--wait', 'accepted', '--timeout', '5s');
    expect(ran).toMatchObject({
      code: 4,
      items: [{ name: 'zoe', state: 'outgoing' }],
      error: { code: 'tor.offline', message: expect.stringContaining('; the request stays open') },
    });
    for (const flags of [[], ['--qr']]) {
      const { err } = await alice.ok('contact', 'verify', 'zoe', ...flags, { json: false });
      expect(err).toBe('There is no safety number before the first link\n');
    }
    await alice.ok('contact', 'remove', 'zoe', '--erase');
  });

  test('that is none, holds no link of ours, is too large or is missing gives one typed error', async () => {
    const huge = pngOf(modulesFor(LINK));
    huge.writeUInt32BE(100_000, 16);
    for (const [name, content, reason] of [
      ['text', 'no picture', 'neither PNG nor JPEG'],
      ['white', pngOf([Array(30).fill(false), ...Array(29).fill([])]), 'No QR code'],
      ['web', pngOf(modulesFor('https://example.org/')), 'no sotto link'],
      ['huge', huge, 'million pixels'],
      ['heavy', Buffer.alloc(17 * 1024 * 1024), 'MiB'],
      ['cut', pngOf(modulesFor(LINK)).subarray(0, 200), 'damaged'],
    ] as const) {
      const { code, error } = await alice.run('contact', 'add', '--qr', file(name, content));
      expect([name, code, error?.code, error?.message]).toEqual([
        name,
        8,
        'qr.invalid',
        expect.stringContaining(reason),
      ]);
    }
    expect((await alice.run('contact', 'add', '--qr', '/nowhere')).error).toMatchObject({
      code: 'file.unknown',
      exit: 3,
    });
    expect((await alice.run('contact', 'add', '--qr', stage.dir)).error).toMatchObject({ code: 'file.unknown' });
    const mine = file('mine', pngOf(modulesOf(await drawing('id', '--qr'))));
    expect((await alice.run('contact', 'add', '--qr', mine)).error?.code).toBe('contact.self');
    expect((await alice.run('contact', 'add')).code).toBe(2);
    expect((await alice.run('contact', 'add', LINK, '--qr', mine)).code).toBe(2);
    expect((await alice.items<Contact>('contact', 'list')).map(({ name }) => name)).toEqual(['bob', 'carol']);
  });
});

describe('my address', () => {
  test('is the same in every form', async () => {
    const me = await alice.one<AccountObject>('id');
    expect(me).toMatchObject({
      account: 'alice',
      nickname: 'alice',
      address: expect.stringMatching(/^[a-z2-7]{56}\.onion$/),
    });
    expect(await drawing('id', '--words')).toBe(`${me.words}\n`);
    expect(await drawing('id', '--link')).toBe(`${me.link}\n`);
    for (const form of [me.address, me.link, me.words, me.words.toUpperCase()])
      expect((await alice.run('contact', 'add', ...form.split(' '))).error?.code).toBe('contact.self');
  });
});

describe('verification', () => {
  test('compares the picture of the code that the other side shows, and nothing else will do', async () => {
    const { safetyNumber, safetyQr = '', verified } = await bob();
    expect([safetyNumber, verified]).toEqual([expect.stringMatching(/^(\d{5} ){11}\d{5}$/), false]);
    const drawn = pngOf(modulesOf(await drawing('contact', 'verify', 'bob', '--qr')));
    expect(drawn.equals(pngOf(modulesFor(safetyQr)))).toBe(true);
    for (const wrong of [drawn, pngOf(modulesFor('something else'))]) {
      const { error } = await alice.run('contact', 'verify', 'bob', '--scan', file('wrong', wrong));
      expect(error).toMatchObject({ code: 'safety.mismatch', exit: 6 });
    }
    expect((await bob()).verified).toBe(false);
    const theirs = file('theirs', jpegOf(modulesFor(theirQr)));
    expect((await alice.run('contact', 'verify', 'carol', '--scan', theirs)).error?.code).toBe('safety.mismatch');
    expect((await alice.one<Contact>('contact', 'verify', 'bob', '--scan', theirs)).verified).toBe(true);
  });

  test('by reading the digits is noted with its time, and is taken back', async () => {
    expect((await alice.one<Contact>('contact', 'verify', 'bob', '--undo')).verifiedAt).toBeUndefined();
    expect(await drawing('contact', 'verify', 'bob')).toContain('Compare these 60 digits');
    expect((await alice.one<Contact>('contact', 'verify', 'bob', '--same')).verifiedAt).toBeGreaterThan(1e12);
    const verified = await drawing('contact', 'verify', 'bob');
    expect(verified).toMatch(/\nVerified since \d{4}-[\d: -]+: both of you see these 60 digits\n {2}\d{5} /);
    expect(verified).not.toContain('Compare');
    expect((await alice.one<{ verified: boolean }>('conversation', 'show', 'bob')).verified).toBe(true);
  });
});

describe('a contact', () => {
  test('is found by name, address and id; a request is listed apart, with its note', async () => {
    const { id, address } = await bob();
    for (const reference of ['bob', address, address.replace('.onion', ''), id, id.slice(0, 6)])
      expect((await alice.one<Contact>('contact', 'show', reference)).id).toBe(id);
    const [request, ...more] = await alice.items<Contact>('contact', 'requests');
    expect([request?.state, request?.requestNote, more]).toEqual(['incoming', 'it is me', []]);
    expect((await alice.items<Contact>('contact', 'list', '--all')).map(({ name }) => name)).toEqual([
      'bob',
      'carol',
      'dave',
    ]);
  });

  test('is renamed and noted; a name that is taken or none is refused', async () => {
    expect((await alice.one<Contact>('contact', 'rename', 'bob', 'Robert B')).name).toBe('Robert B');
    expect((await alice.one<Contact>('contact', 'note', 'Robert B', 'met', 'in', 'Bern')).note).toBe('met in Bern');
    expect(await alice.one('contact', 'note', 'Robert B')).not.toHaveProperty('note');
    const [composed, apart] = ['Zoé', 'Zoe\u0301'];
    expect((await alice.one<Contact>('contact', 'rename', 'Robert B', apart)).name).toBe(composed);
    for (const name of [composed, apart]) expect((await alice.run('contact', 'rename', 'carol', name)).code).toBe(7);
    await alice.ok('contact', 'rename', apart, 'bob');
    for (const [name, code] of [
      ['carol', 'name.taken'],
      [' ', 'nickname.invalid'],
      ['\u200b\u202e', 'nickname.invalid'],
      ['#ops', 'nickname.invalid'],
      ['carol ', 'nickname.invalid'],
      ['two\nlines', 'nickname.invalid'],
      ['a@b', 'nickname.invalid'],
      ['me', 'name.taken'],
      ['x'.repeat(65), 'nickname.invalid'],
    ] as const)
      expect((await alice.run('contact', 'rename', 'bob', name)).error?.code).toBe(code);
    const { link } = await alice.one<{ link: string }>('id');
    for (const words of [
      ['nickname', 'two\nlines'],
      ['contact', 'add', link, '--name', 'two\nlines'],
    ])
      expect((await alice.run(...words)).error?.code, words.join(' ')).toBe('nickname.invalid');
    const made = await stage.stranger('nobody').run('init', '--no-passphrase', '--nickname', 'two\nlines');
    expect(made.error?.code).toBe('nickname.invalid');
    expect((await alice.run('contact', 'note', 'bob', 'two\nlines')).error?.code).toBe('params.invalid');
    const { nickname } = await alice.one<{ nickname: string }>('id');
    expect((await alice.one<{ nickname: string }>('nickname', ' pad ')).nickname).toBe('pad');
    await alice.ok('nickname', nickname);
    expect((await alice.run('contact', 'note', 'bob', 'x'.repeat(501))).error).toMatchObject({
      code: 'params.invalid',
      message: 'note is longer than 500 characters',
    });
    for (const [words, message] of [
      [['contact', 'add', ''], 'address is empty'],
      [['search', 'x'.repeat(1001)], 'query is longer than 1000 characters'],
      [['rpc', 'message.list', '{"conversation":"bob","limit":"5"}'], 'limit must be a number'],
      [['rpc', 'message.list', '{"limit":5}'], 'conversation is missing'],
      [
        ['config', 'set', 'conversation.mutedUntil', 'tomorrow', '--in', 'bob'],
        'conversation.mutedUntil: milliseconds since 1970',
      ],
    ] as const)
      expect((await alice.run(...words)).error).toMatchObject({ code: 'params.invalid', message });
  });

  test('is blocked and let in again, and is not written to meanwhile; its history tells what became of its keys', async () => {
    for (let twice = 0; twice < 2; twice++)
      expect((await alice.one<Contact>('contact', 'block', 'bob')).state).toBe('blocked');
    expect(await alice.items('conversations')).toContainEqual(
      expect.objectContaining({ name: 'bob', state: 'blocked' }),
    );
    expect((await alice.run('send', 'bob', 'x')).error).toMatchObject({ code: 'contact.blocked', exit: 6 });
    expect((await alice.one<Contact>('contact', 'unblock', 'bob')).state).toBe('accepted');
    const { history = [] } = await bob();
    expect(history.map(({ kind }) => kind)).toEqual([
      'contact.asked',
      'contact.accepted',
      'key.verified',
      'key.unverified',
      'key.verified',
      'contact.blocked',
      'contact.unblocked',
    ]);
    expect(history.every(({ at }, i) => at >= (history[i - 1]?.at ?? 0))).toBe(true);
  });

  test('that is blocked before it answers is told as blocked, not as one who has to answer', async () => {
    const link = 'sotto:t2uh7vyb45dqmn5f4dfbtg6kzxwzsdafz4nfkwyxamdpbmnm4me4wsqd.onion';
    await alice.ok('contact', 'add', link, '--name', 'silent');
    expect((await alice.run('send', 'silent', 'x')).error?.code).toBe('contact.notAccepted');
    await alice.ok('contact', 'block', 'silent');
    expect((await alice.run('send', 'silent', 'x')).error).toMatchObject({ code: 'contact.blocked', exit: 6 });
    await alice.ok('contact', 'remove', 'silent', '--erase');
  });

  test('that is removed has no keys and is written to no more; its history stays until it is erased', async () => {
    await alice.ok('send', 'carol', 'goodbye');
    const { id, state } = await alice.one<Contact>('contact', 'remove', 'carol');
    expect(state).toBe('removed');
    expect(await alice.one('contact', 'show', id)).not.toHaveProperty('safetyNumber');
    for (const name of [id, 'carol']) {
      expect((await alice.run('send', name, 'x')).error).toMatchObject({
        code: 'contact.unknown',
        message: expect.stringMatching(/^You have removed carol: sotto .*contact add \w{56}\.onion asks them again$/),
      });
      expect(await alice.bodies(name)).toEqual(['goodbye']);
    }
    expect((await alice.items<Contact>('contact', 'list')).map(({ name }) => name)).toEqual(['bob']);
    await alice.ok('contact', 'remove', id, '--erase');
    expect((await alice.run('contact', 'show', id)).error).toMatchObject({ code: 'contact.unknown', exit: 3 });
    expect(await alice.items('search', 'goodbye')).toEqual([]);
  });
});
