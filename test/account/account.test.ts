// Accounts as their owner handles them: passphrases, locks, several side by side, names, the end.
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { wordlist } from '@scure/bip39/wordlists/english.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { onTerminal } from '../cli/terminal.ts';
import { pathsOf } from '../daemon/furnished.ts';
import { run, Stage, User } from '../e2e/stage.ts';

let stage: Stage;
beforeAll(() => {
  stage = new Stage({ offline: true });
});
afterAll(() => stage[Symbol.asyncDispose]());

/** Options that give a passphrase by file. */
const secret = (passphrase: string) => {
  const file = join(stage.dir, `secret-${passphrase}`);
  writeFileSync(file, `${passphrase}\n`, { mode: 0o600 });
  return { env: { SOTTO_PASSPHRASE_FILE: file } };
};

/** Runs a command on a terminal and gives one answer to each of its questions; all that was shown. */
const asked = async (user: User, words: readonly string[], answers: readonly string[]): Promise<string> => {
  const command = [resolve('bin/sotto'), '--data-dir', user.dir, '--account', user.name, ...words].join(' ');
  const steps = answers.map((answer) => ({ on: /: (\u001b\[\d*[A-Z])*$/, type: `${answer}\r` }));
  return (await onTerminal(command, steps)).shown;
};

describe('a passphrase', () => {
  test('that comes through a descriptor opens the account and what the command is for', async () => {
    const user = stage.stranger('twice');
    await user.ok('init', secret('one'));
    await user.ok('daemon', 'stop');
    const nowhere = await user.run('id', { env: { SOTTO_PASSPHRASE_FILE: join(stage.dir, 'no-secret') } });
    expect(nowhere.error).toMatchObject({ code: 'file.unknown', exit: 3 });
    const file = join(stage.dir, 'twice.backup');
    await user.ok('backup', file, '--passphrase-fd', '0', { input: 'one\n' });
    // What is asked for by two flags is not the same secret.
    const both = ['passwd', '--passphrase-fd', '0', '--new-passphrase-fd', '0'];
    expect((await user.run(...both, { input: 'one\ntwo\n' })).error?.code).toBe('passphrase.empty');
    await user.ok('daemon', 'stop');
    const other = stage.stranger('tulip');
    const wanted = ['restore', file, '--no-passphrase', '--nickname', 'another'];
    const [made] = (await other.ok<{ nickname: string }>(...wanted, '--passphrase-fd', '0', { input: 'one\n' })).items;
    expect(made?.nickname).toBe('another');
    await other.ok('daemon', 'stop');
  });

  test('opens the account, is changed with the present one only, and is removed; --rekey keeps everything', async () => {
    const user = stage.stranger('walter');
    for (const words of [['init'], ['restore', '-']])
      expect(
        (await user.run(...words, '--no-passphrase', '--passphrase-fd', '0', { input: 'one\n' })).error,
      ).toMatchObject({ code: 'usage.invalid', exit: 2 });
    for (const input of ['', '\n'])
      expect((await user.run('init', '--passphrase-fd', '0', { input })).error).toMatchObject({
        code: 'passphrase.empty',
        exit: 2,
      });
    await user.ok('init', '--nickname', 'walter', secret('one'));
    const none = await user.run('passwd', '--new-passphrase-fd', '0', { ...secret('one'), input: '\n' });
    expect(none.error).toMatchObject({ code: 'passphrase.empty', exit: 2 });
    const raw = ['rpc', 'account.passwd', '{"passphrase":"one","newPassphrase":""}'];
    expect((await user.run(...raw)).error).toMatchObject({ code: 'passphrase.empty' });
    await user.ok('nickname', 'Walter');
    const wrong = await user.run('passwd', '--new-passphrase-fd', '0', { ...secret('wrong'), input: 'two\n' });
    expect(wrong.error).toMatchObject({ code: 'passphrase.wrong', exit: 6 });
    await user.ok('passwd', '--new-passphrase-fd', '0', { ...secret('one'), input: 'two\n' });
    await user.ok('account', 'lock');
    expect((await user.run('account', 'unlock', secret('one'))).error).toMatchObject({ code: 'passphrase.wrong' });
    const latin = { input: Buffer.from('h\u00e4se\n', 'latin1') };
    expect((await user.run('account', 'unlock', '--passphrase-fd', '0', latin)).error).toMatchObject({
      code: 'text.notUtf8',
    });
    await user.ok('account', 'unlock', secret('two'));
    const before = readFileSync(join(stage.dir, 'accounts/walter/sotto.db')).subarray(0, 4096);
    await user.ok('passwd', '--rekey', '--new-passphrase-fd', '0', { ...secret('two'), input: 'three\n' });
    expect(readFileSync(join(stage.dir, 'accounts/walter/sotto.db')).subarray(0, 4096).equals(before)).toBe(false);
    expect((await user.one<{ nickname: string }>('id')).nickname).toBe('Walter');
    await user.ok('daemon', 'stop');
    expect((await user.run('id', secret('two'))).error).toMatchObject({ code: 'passphrase.wrong' });
    expect((await user.ok<{ nickname: string }>('id', secret('three'))).items[0]?.nickname).toBe('Walter');
    // Another key alone leaves the passphrase as it is.
    const kept = await user.ok('passwd', '--rekey', { ...secret('three'), json: false });
    expect(kept.out).toBe('The database has a new key. The passphrase is as before.\n');
    const both = await user.run('passwd', '--no-passphrase', '--new-passphrase-fd', '0', {
      ...secret('three'),
      input: 'four\n',
    });
    expect(both.error).toMatchObject({ code: 'usage.invalid', exit: 2 });
    const removed = await user.ok<{ warning: string }>('passwd', '--no-passphrase', secret('three'));
    expect(removed.items[0]?.warning).toContain('Without a passphrase');
    await user.ok('daemon', 'stop');
    await user.ok('id');
    expect((await user.ok('passwd', '--rekey', { json: false })).out).toContain('There is no passphrase, as before.');
    await user.ok('passwd', secret('four'));
    await user.ok('daemon', 'stop');
    expect((await user.run('id')).error).toMatchObject({ code: 'passphrase.needed', exit: 6 });
  });

  test('is asked twice on a terminal and not shown; the phrase is shown once, and words of it are asked back', async () => {
    const user = stage.stranger('tess');
    const mismatch = await asked(user, ['init', '--nickname', 'tess'], ['quince', 'pear']);
    expect(mismatch).toContain('The two passphrases differ');
    expect(existsSync(join(stage.dir, 'accounts/tess/vault'))).toBe(false);
    const made = await asked(
      user,
      ['init', '--nickname', 'tess'],
      ['quince', 'quince', 'wrong', 'wrong', 'wrong', 'x', 'x', 'x'],
    );
    expect(made).not.toContain('quince');
    expect(made).toMatch(/Recovery phrase[\s\S]*\n {2}1 \w+ +2 \w+ +3 \w+ +4 \w+\r\n {2}5 .*\r\n {2}9 .* 12 \w+\r\n/);
    expect(made).toContain('That is not word 3');
    expect(made).toMatch(/The account exists, but .*: sotto .*account remove, then sotto .*init again/);
    expect(made).not.toMatch(/word 9|Next:/);
    const changed = await asked(user, ['passwd'], ['quince', 'plum', 'plum']);
    expect(changed).toContain('The passphrase is changed.');
    expect(changed).not.toContain('plum');
    await user.ok('daemon', 'stop');
    await user.ok('id', secret('plum'));
  });
});

describe('a new account on a terminal', () => {
  // Answers the questions of `init` from what was shown; what stands for a word of the phrase is typed in its place.
  const init = async (user: User, flags: string, answers: readonly string[]) => {
    const words = (shown: string) => [...shown.matchAll(/^ {1,2}\d+ \w.*$/gm)].join(' ').match(/[a-z]+/g) ?? [];
    const steps = answers.map((answer) => ({
      on: /: (\u001b\[\d*[A-Z])*$/,
      type: (shown: string) => `${/^\d+$/.test(answer) ? words(shown)[Number(answer) - 1] : answer}\r`,
    }));
    return onTerminal(`stty cols 60; ${user.words(`init ${flags}`)}`, steps);
  };

  test('is asked for its name, and told what is next once two words of the phrase were typed', async () => {
    const nora = stage.stranger('nora');
    const made = await init(nora, '', ['Nora N', 'plum', 'plum', '3', '9']);
    expect(made).toMatchObject({ code: 0, shown: expect.stringMatching(/^Your name, as others see it first: /) });
    expect(made.shown).toMatch(/\r\nNext: sotto .*id, sotto .*contact add ADDRESS, sotto .*server join LINK\r\n$/);
    const { nickname, words } = await nora.one<{ nickname: string; words: string }>('id');
    expect(nickname).toBe('Nora N');
    expect(made.shown).not.toContain(words);
    expect(made.shown.replace(/\r\n {9}/g, ' ')).toContain(words);
    for (const line of made.shown.split('\r\n').filter((one) => /^( {9}|words )/.test(one)))
      expect(line.length).toBeLessThanOrEqual(60);
    expect((await nora.ok('id', '--words', { json: false })).out).toBe(`${words}\n`);
  });

  test('is called like the account where no name is typed; Ctrl-C before the words are typed says that it exists', async () => {
    const nils = stage.stranger('nils');
    const left = await init(nils, '--no-passphrase', ['', '\u0003']);
    expect(left).toMatchObject({ code: 130, shown: expect.stringContaining('The account exists') });
    expect((await nils.one<{ nickname: string }>('id')).nickname).toBe('nils');
  });
});

describe('a backup', () => {
  test('is given a passphrase twice, says what opens it, and asks for none where it cannot be written or read', async () => {
    const [user, again] = [stage.stranger('bea'), stage.stranger('bea-again')];
    const { recoveryPhrase } = await user.one<{ recoveryPhrase: string }>('init', '--no-passphrase');
    const file = join(stage.dir, 'bea.backup');
    expect(await asked(user, ['backup', file], ['plum', 'pear'])).toContain('The two passphrases differ');
    expect(existsSync(file)).toBe(false);
    const locked = await asked(user, ['backup', file], ['plum', 'plum']);
    expect(locked).toMatch(/The passphrase that you gave for it opens it.*: sotto .*restore \/.*bea\.backup/);
    expect(await asked(user, ['backup', `${file}2`], [''])).toMatch(/The recovery phrase of this account opens it/);
    expect((await onTerminal(user.words(`backup ${file}`), [])).shown).toMatch(/^sotto: There is something at /);
    expect((await onTerminal(user.words(`backup ${file}/x`), [])).shown).toMatch(/^sotto: There is no folder /);
    expect((await onTerminal(again.words(`restore ${file}3`), [])).shown).toMatch(/^sotto: The backup cannot be read/);
    const slip = recoveryPhrase.replace(/^\w+/, 'xyzzy');
    for (const words of ['restore', `restore ${file}2`]) {
      const answers = words === 'restore' ? [slip] : ['', slip];
      const told = await asked(again, words.split(' '), answers);
      expect(told, words).toContain('Word 1, "xyzzy", is not in the list');
      expect(told, words).not.toContain('Passphrase for this account');
    }
    await asked(again, ['restore', `${file}2`], ['', recoveryPhrase, 'plum', 'plum']);
    const third = stage.stranger('bea-third');
    await asked(third, ['restore', '--no-passphrase'], [recoveryPhrase, 'Third']);
    expect((await third.one<{ nickname: string }>('id')).nickname).toBe('Third');
    const { address } = await user.one<{ address: string }>('id');
    expect((await again.ok<{ address: string }>('id')).items[0]?.address).toBe(address);
  });
});

describe('a locked account', () => {
  test('says so to every command and acknowledges nothing; status, doctor and unlock are explained', async () => {
    const user = stage.stranger('lotte');
    await user.ok('init', '--nickname', 'lotte', secret('one'));
    await user.ok('account', 'lock');
    for (const words of [['status'], ['conversations'], ['send', 'bob', 'hello'], ['contact', 'list'], ['search', 'x']])
      expect((await user.run(...words)).error, words.join(' ')).toMatchObject({ code: 'passphrase.needed', exit: 6 });
    expect((await user.run('rpc', 'account.show')).error).toMatchObject({ code: 'account.locked', exit: 6 });
    expect((await user.ok('rpc', 'account.show', secret('one'))).items).toMatchObject([{ nickname: 'lotte' }]);
    await user.ok('account', 'lock');
    const status = await user.one<{ locked: boolean }>('daemon', 'status');
    expect(status.locked).toBe(true);
    const checks = (await user.run<{ check: string; ok: boolean; fix?: string }>('doctor')).items;
    expect(checks.find((one) => !one.ok)).toMatchObject({ check: 'account', fix: expect.stringContaining('unlock') });
    const said = async (...words: Parameters<typeof user.ok>) => {
      const { out } = await user.ok(...words, { ...secret('one'), json: false });
      return out;
    };
    expect(await said('account', 'lock')).toBe('locked already\n');
    expect((await user.ok('account', 'lock')).items).toEqual([{ locked: true }]);
    expect(await said('account', 'unlock')).toBe('unlocked\n');
    expect(await said('account', 'unlock')).toBe('unlocked already\n');
    await user.ok('status');
    for (const words of ['start', 'start', 'stop', 'stop']) await user.ok('daemon', words);
    expect((await user.run('account', 'lock')).error).toMatchObject({ code: 'daemon.absent', exit: 4 });
  });
});

test('an account that is made while its daemon ends is whole and its phrase was told, or there is none', async () => {
  for (const [i, ms] of [0, 100].entries()) {
    const user = stage.stranger(`brief${i}`);
    const { socket, vault } = pathsOf(user);
    const making = user.run('init', '--nickname', 'brief', secret('brief'));
    await user.until('the daemon', async () => existsSync(socket));
    await delay(ms);
    const client = await RpcClient.open(socket).catch(() => undefined);
    await client?.call('daemon.stop', {}).catch(() => {});
    const { code, out } = await making;
    await user.until('its end', async () => !existsSync(socket));
    expect([existsSync(vault), out.includes('recoveryPhrase')]).toEqual([code === 0, code === 0]);
    client?.close();
  }
});

test('links that lead nowhere, or in a circle, are in nobody’s way', async () => {
  const user = stage.stranger('linked');
  await user.ok('init', '--nickname', 'linked', '--no-passphrase');
  const { dir, hooksDir } = pathsOf(user);
  symlinkSync('/nonexistent', join(dir, 'nowhere'));
  symlinkSync('circle', join(hooksDir, 'on-message.d', 'circle'));
  const { items, code } = await user.run('doctor');
  expect([code, items.length > 5]).toEqual([1, true]);
  expect(await user.one('rpc', 'hook.list')).toMatchObject({ name: 'circle', ok: false });
  await user.ok('status');
});

test('stdin is a secret or a text, and a slip in a flag starts nobody', async () => {
  const user = stage.stranger('slips');
  await user.ok('init', '--nickname', 'slips', '--no-passphrase');
  const both = await user.run('send', 'somebody', '-', '--passphrase-fd', '0', { input: 'a secret' });
  expect(both.error).toMatchObject({ code: 'usage.invalid', exit: 2 });
  await user.ok('daemon', 'stop');
  const slip = await user.run('daemon', 'run', '--acount', 'other');
  expect(slip.error).toMatchObject({ code: 'usage.invalid', exit: 2, message: expect.stringContaining('--acount') });
});

describe('accounts side by side', () => {
  test('are listed, chosen by name, renamed, and erased; a second daemon of one is refused', async () => {
    const [ada, ben] = [stage.stranger('ada'), stage.stranger('ben')];
    await ada.ok('init', '--nickname', 'ada', '--no-passphrase');
    await ben.ok('init', '--nickname', 'ben', '--no-passphrase');
    const list = await ada.items<{ account: string; running: boolean }>('account', 'list');
    expect(list.filter((one) => ['ada', 'ben'].includes(one.account)).map((one) => one.running)).toEqual([true, true]);
    expect((await ada.run('daemon', 'run')).error).toMatchObject({ code: 'account.running', exit: 7 });
    const { address } = await ada.one<{ address: string }>('id');
    expect((await ada.run('account', 'rename', 'ben')).error).toMatchObject({ code: 'account.exists', exit: 7 });
    await ada.ok('account', 'rename', 'adele');
    const adele = stage.stranger('adele');
    expect((await ada.run('daemon', 'stop')).error).toMatchObject({ code: 'account.unknown', exit: 3 });
    expect((await adele.one<{ address: string }>('id')).address).toBe(address);
    expect((await adele.run('account', 'remove')).code).not.toBe(0);
    await adele.ok('account', 'remove', '--confirm', 'adele');
    expect(readdirSync(join(stage.dir, 'accounts'))).not.toContain('adele');
    expect((await adele.run('id')).error).toMatchObject({ code: 'account.unknown' });
    await ben.ok('id');
  });

  test('one that is not there is neither renamed nor erased, and the others are named', async () => {
    const nobody = stage.stranger('nobody');
    const unknown = { code: 'account.unknown', exit: 3, message: expect.stringMatching(/--account \(.*ben/) };
    for (const words of [
      ['status'],
      ['daemon', 'status'],
      ['account', 'rename', 'other'],
      ['account', 'remove', '--confirm', 'nobody'],
    ])
      expect((await nobody.run(...words)).error, words.join(' ')).toMatchObject(unknown);
    // A daemon that an account was wanted of, and came to none, does not stay.
    expect((await nobody.run('init', '--no-passphrase', '--nickname', 'two\nlines')).code).toBe(2);
    await nobody.until('the end', async () => (await nobody.run('daemon', 'status')).code === 3);
    for (const [method, params] of [
      ['account.rename', '{"name":"other"}'],
      ['account.remove', '{"confirm":"nobody"}'],
    ] as const)
      expect((await nobody.run('rpc', method, params)).error, method).toMatchObject({ code: 'account.unknown' });
  });

  test('tell what is in the way of their folder, and go on once it is not', async () => {
    const [ben, hooks] = [stage.stranger('ben'), join(stage.dir, 'accounts/ben/hooks')];
    await ben.ok('daemon', 'stop');
    rmSync(hooks, { recursive: true });
    writeFileSync(hooks, '');
    const failed = { code: 'disk.failed', exit: 1, message: expect.stringContaining(hooks) };
    expect((await ben.run('status')).error).toMatchObject(failed);
    rmSync(hooks);
    await ben.ok('status');
    rmSync(hooks, { recursive: true });
    await ben.ok('account', 'lock');
    writeFileSync(hooks, '');
    expect((await ben.run('account', 'unlock')).error).toMatchObject(failed);
    rmSync(hooks);
    await ben.ok('account', 'unlock');
  });

  test('have no folder where none can be: one error at once, of whatever makes one', async () => {
    const file = join(stage.dir, 'config.toml');
    for (const dir of ['/proc/sotto', '/proc', file, join(file, 'below')])
      for (const words of [
        ['init', '--no-passphrase'],
        ['restore', '-', '--no-passphrase'],
        ['daemon', 'run'],
        ['serve'],
      ]) {
        const { code, err } = await run(['--json', '--data-dir', dir, ...words], { input: stage.dir });
        expect([code, JSON.parse(err)], `${words.join(' ')} ${dir}`).toMatchObject([6, { code: 'path.notAllowed' }]);
      }
    expect((await run(['--data-dir', file, 'daemon', 'stop'])).code).toBe(6);
  });

  test('have their sockets in a short folder when theirs is too long, and in no folder of somebody else', async () => {
    const dir = join(stage.dir, 'long'.repeat(30));
    mkdirSync(dir);
    writeFileSync(join(dir, 'config.toml'), '[tor]\noffline = true\n');
    const user = new User(dir, 'lena');
    await user.ok('init', '--nickname', 'lena', '--no-passphrase');
    const { socket } = await user.one<{ socket: string }>('daemon', 'status');
    expect(Buffer.byteLength(socket)).toBeLessThan(108);
    expect(statSync(dirname(socket)).mode & 0o777).toBe(0o700);
    await user.ok('daemon', 'stop');
    await user.until('the end', async () => !existsSync(dirname(socket)));

    // Whoever is first in a shared folder could listen there, and ask for a passphrase.
    const theirs = join(stage.dir, 'theirs');
    mkdirSync(theirs);
    symlinkSync(theirs, dirname(socket));
    let heard = 0;
    const impostor = createServer(() => heard++).listen(join(theirs, 'rpc'));
    await once(impostor, 'listening');
    const refused = { code: 'path.notAllowed', exit: 6, message: expect.stringContaining(dirname(socket)) };
    expect((await user.run('status')).error).toMatchObject(refused);
    expect((await user.run('--no-start', 'status')).error).toMatchObject(refused);
    expect((await user.run('daemon', 'run')).error).toMatchObject(refused);
    expect(heard).toBe(0);
    impostor.close();
    rmSync(dirname(socket));
  });

  test('keep folders and files that only their owner can read', async () => {
    const dir = join(stage.dir, 'accounts/ben');
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(dir)) expect(statSync(join(dir, name)).mode & 0o077, name).toBe(0);
  });
});

describe('a recovery phrase', () => {
  test('that is not there, or is one word, is told as that', async () => {
    const nobody = stage.stranger('nobody');
    for (const [input, told] of [
      ['', 'there is none'],
      [' \n', 'there is none'],
      ['abandon\n', 'this is 1'],
    ] as const)
      for (const words of [
        ['restore', '-', '--no-passphrase'],
        ['restore', '-'],
      ])
        expect((await nobody.run(...words, { input })).error).toMatchObject({
          code: 'words.count',
          message: `A recovery phrase has 12 words; ${told}`,
        });
  });

  test('gives the same address back, and is refused where an address is wanted', async () => {
    const [rosa, again] = [stage.stranger('rosa'), stage.stranger('rosa-again')];
    const made = await rosa.one<{ address: string; recoveryPhrase: string }>(
      'init',
      '--nickname',
      'rosa',
      '--no-passphrase',
    );
    expect(made.recoveryPhrase.split(' ')).toHaveLength(12);
    expect(JSON.stringify(await rosa.one('id'))).not.toContain(made.recoveryPhrase);
    const refused = await rosa.run('contact', 'add', made.recoveryPhrase);
    expect(refused.error).toMatchObject({ code: 'words.recovery', exit: 8 });
    // The last bit of the last word is the checksum's: one other phrase in sixteen would be right.
    const wrong = made.recoveryPhrase.replace(/\w+$/, (last) => wordlist[wordlist.indexOf(last) ^ 1] ?? '');
    const bad = await again.run('restore', '-', '--no-passphrase', { input: wrong });
    expect(bad.code).toBe(8);
    expect(existsSync(join(stage.dir, 'accounts/rosa-again/vault'))).toBe(false);
    const restored = await again.ok<{ address: string }>('restore', '-', '--no-passphrase', {
      input: made.recoveryPhrase,
    });
    expect(restored.items[0]?.address).toBe(made.address);
  });
});
