// Backup and restore through the command line: while messages are written, and while the daemon is killed.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { makeAccount } from '../../src/lab/bench/fixture.ts';
import { rememberMessages } from '../account/past.ts';
import { interrupt } from '../cli/interrupt.ts';
import { type Ran, Stage, type User } from '../e2e/stage.ts';
import { pathsOf } from './furnished.ts';

const MESSAGES = 3_000;
const LONG = 'z'.repeat(3_000);
const KILLED_AT_BYTES = [0, 100_000, 4_000_000];

let stage: Stage;
let alice: User;
let env: Record<string, string>;
beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = stage.stranger('alice');
  await makeAccount(stage.dir, 'alice', {
    contacts: 1,
    fill: (db, [one = 0]) => rememberMessages(db, one, { count: MESSAGES, text: LONG }),
  });
  const secret = join(stage.dir, 'secret');
  writeFileSync(secret, 'open sesame\n', { mode: 0o600 });
  env = { SOTTO_PASSPHRASE_FILE: secret };
});
afterAll(() => stage[Symbol.asyncDispose]());

const backup = (file: string) => alice.run<{ messages: number }>('backup', file, { env });
const restore = (user: User, file: string) => user.run('restore', file, '--no-passphrase', { env });
const kept = () => join(stage.dir, 'kept.backup');

const bodiesOf = async (user: User): Promise<string[]> =>
  (await user.items<{ body: string }>('export', 'c1')).map(({ body }) => body);

/** Runs a command on a daemon that is killed once `file` has so many bytes. */
const killedAt = async <T>(
  user: User,
  when: { readonly file: string; readonly bytes: number },
  command: () => Promise<Ran<T>>,
): Promise<Ran<T>> => {
  const { socket } = pathsOf(user);
  rmSync(socket, { force: true });
  const args = ['--data-dir', user.dir, '--account', user.name, 'daemon', 'run'];
  const daemon = spawn(resolve('bin/sotto'), args, { stdio: 'ignore' });
  const ended = once(daemon, 'exit');
  try {
    await user.until('its socket', async () => existsSync(socket));
    let over = false;
    const ran = command().finally(() => {
      over = true;
    });
    while (!over && (statSync(when.file, { throwIfNoEntry: false })?.size ?? -1) < when.bytes)
      await new Promise((done) => setTimeout(done, 1));
    daemon.kill('SIGKILL');
    return await ran;
  } finally {
    daemon.kill('SIGKILL');
    await ended;
  }
};

test('a backup holds what was there when it began, while writing goes on; there is one at a time', async () => {
  const file = join(stage.dir, 'busy.backup');
  await alice.ok('daemon', 'start');
  let writing = true;
  const making = backup(file).finally(() => {
    writing = false;
  });
  // Asked by the socket: on a busy machine the first is made before another command has started.
  const client = await RpcClient.open(pathsOf(alice).socket);
  while (!existsSync(`${file}.sotto-part`)) await new Promise((done) => setTimeout(done, 1));
  const another = client.call('backup.create', { file: `${file}.2`, passphrase: 'open sesame' });
  await expect(another).rejects.toMatchObject({ code: 'account.running' });
  client.close();
  let sent = 0;
  for (; writing; sent++) await alice.ok('send', 'c1', `during ${sent}`, '--wait', 'queued');
  const [made] = (await making).items;
  expect(sent).toBeGreaterThan(0);

  const all = await bodiesOf(alice);
  expect(all.length).toBe(MESSAGES + sent);
  const copy = stage.stranger('copy');
  expect((await restore(copy, file)).code).toBe(0);
  expect(await bodiesOf(copy)).toEqual(all.slice(0, made?.messages));
  expect((await copy.ok<{ check: string; ok: boolean }>('doctor')).items.filter((one) => !one.ok)).toEqual([]);
  await alice.ok('daemon', 'stop');
});

test('a backup without a passphrase is opened by the recovery phrase, on stdin, by a descriptor or by a file', async () => {
  const owner = stage.stranger('owner');
  const { recoveryPhrase: phrase } = await owner.one<{ recoveryPhrase: string }>('init', '--no-passphrase');
  const file = join(stage.dir, 'plain.backup');
  await owner.ok('backup', file);
  const words = join(stage.dir, 'words');
  writeFileSync(words, `${phrase}\n`, { mode: 0o600 });
  const byFile = { env: { SOTTO_PASSPHRASE_FILE: words } };
  for (const [name, given] of [
    ['piped', { input: `${phrase}\n` }],
    ['told', byFile],
  ] as const) {
    const again = stage.stranger(name);
    expect((await again.run('restore', file, '--no-passphrase', given)).code, name).toBe(0);
    expect((await again.one<{ address: string }>('id')).address).toBe(
      (await owner.one<{ address: string }>('id')).address,
    );
    await again.ok('daemon', 'stop');
  }
  const nothing = await stage.stranger('nothing').run('restore', file, '--no-passphrase', { input: '' });
  expect(nothing.error).toMatchObject({ code: 'passphrase.needed', exit: 6 });
  writeFileSync(words, 'passphrase\n');
  const passphrase = await stage.stranger('nothing').run('restore', file, '--no-passphrase', byFile);
  expect(passphrase.error).toMatchObject({ code: 'passphrase.needed', exit: 6 });
  expect(passphrase.error?.message).toContain('opens with the recovery phrase');
  await owner.ok('daemon', 'stop');
});

test('a daemon that is killed while it writes a backup leaves none, and the account whole', async () => {
  const file = join(stage.dir, 'killed.backup');
  let killed = 0;
  for (const bytes of KILLED_AT_BYTES) {
    const ran = await killedAt(alice, { file: `${file}.sotto-part`, bytes }, () => backup(file));
    // The answer can be lost after the end; an answer without a file, or half a file, cannot be.
    if (ran.code === 0) expect(existsSync(file)).toBe(true);
    else killed++;
    rmSync(file, { force: true });
  }
  expect(killed).toBeGreaterThan(0);
  expect((await alice.ok<{ check: string; ok: boolean }>('doctor')).items.filter((one) => !one.ok)).toEqual([]);
});

test('a backup ends, and leaves nothing, with its command and with the account; the next one is whole', async () => {
  const begun = () => existsSync(`${kept()}.sotto-part`);
  const nothing = async () => !begun() && !existsSync(kept());
  const signals = { signal: 'SIGINT', when: begun, env } as const;
  expect(await interrupt(alice, ['backup', kept()], signals)).toBe(130);
  await alice.until('its end', nothing);
  const client = await RpcClient.open(pathsOf(alice).socket);
  const making = backup(kept());
  while (!begun()) await new Promise((done) => setTimeout(done, 1));
  await client.call('account.lock', {});
  client.close();
  expect(await nothing()).toBe(true);
  expect((await making).error).toMatchObject({ code: 'account.locked' });
  await alice.ok('account', 'unlock');
  expect((await backup(kept())).code).toBe(0);
});

test('a backup is a regular file in a folder that is there; nothing else keeps the daemon waiting', async () => {
  expect((await backup(join(stage.dir, 'no/such'))).error).toMatchObject({
    code: 'file.unknown',
    exit: 3,
    message: `There is no folder ${join(stage.dir, 'no')}`,
  });
  const pipe = join(stage.dir, 'pipe');
  execFileSync('mkfifo', [pipe]);
  for (const path of [pipe, stage.dir, '/dev/null']) {
    const words = ['restore', path, '--no-passphrase', '--timeout', '10s'];
    const { error } = await stage.stranger('nobody').run(...words, { env });
    expect([path, error?.code, error?.message]).toEqual([path, 'file.unknown', `This is no regular file: ${path}`]);
  }
});

test('a daemon that is killed while it restores leaves no account; the next attempt makes it, even one that is interrupted', async () => {
  const all = await bodiesOf(alice);
  await alice.ok('daemon', 'stop');
  const again = stage.stranger('again');
  let killed = 0;
  for (const bytes of KILLED_AT_BYTES) {
    const ran = await killedAt(again, { file: `${pathsOf(again).database}.next-wal`, bytes }, () =>
      restore(again, kept()),
    );
    if (ran.code === 0) break;
    killed++;
    expect((await again.run('id')).error).toMatchObject({ code: 'account.unknown' });
    await again.run('daemon', 'stop');
  }
  expect(killed).toBeGreaterThan(0);
  // A daemon without an account clears away at its end what the killed ones left.
  await again.ok('rpc', '--methods');
  await again.run('daemon', 'stop');
  // The daemon does what it was told, whole, although nobody waits for it any more.
  const when = () => (statSync(`${pathsOf(again).database}.next-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0;
  await again.until('an empty place', async () => !when());
  const words = ['restore', kept(), '--no-passphrase'];
  expect(await interrupt(again, words, { signal: 'SIGINT', when, env })).toBe(130);
  await again.until('the account', async () => (await again.run('id')).code === 0);
  expect(await bodiesOf(again)).toEqual(all);
});
