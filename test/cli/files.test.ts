// Files at the command line: on stdout, in the folder where one is, read from stdin; what a contact calls them does no harm.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { hashChunk, rootOf, sealChunk } from '../../src/crypto/file-chunks.ts';
import { toBase64 } from '../../src/protocol/bytes.ts';
import { Hostile } from '../attacks/hostile.ts';
import { furnish, pathsOf } from '../daemon/furnished.ts';
import { Stage, type User } from '../e2e/stage.ts';
import { onTerminal } from './terminal.ts';

const KEY = Buffer.alloc(32, 9);
const CONTENT = Buffer.from('\u001b[2J content \u0000\u009b31m\r\n');
/** What a contact calls a file → what it is called here. */
const NAMES: Readonly<Record<string, string>> = {
  '../../.bashrc': '_.._.bashrc',
  '/etc/passwd': '_etc_passwd',
  '..': 'file',
  '-rf': 'rf',
  '.profile': 'profile',
  'a\u0000b': 'a␀b',
  'clear\u001b[2J\u009b31m\n.txt': 'clear␛[2J�31m␊.txt',
  'photo\u202egpj.exe': 'photogpj¬.exe',
  'c:\\autoexec': 'c__autoexec',
  [`${'ü'.repeat(125)}.jpeg`]: `${'ü'.repeat(125)}.jpeg`,
  [`${'\u0007'.repeat(250)}.txt`]: `${'␇'.repeat(83)}.txt`,
};

let stage: Stage;
let alice: User;

beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = await furnish(stage, async (one, _bob, world) => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(one);
    const bytes = sealChunk(KEY, 0, true, CONTENT);
    const hashes = hashChunk(bytes);
    const [key = '', root = ''] = [KEY, rootOf(hashes)].map((value) => toBase64(value));
    const ids = await mallory.tell(
      ...Object.keys(NAMES).map(
        (name) => ({ kind: 'file.offer', name, sizeBytes: CONTENT.length, key, root, sentAt: 1 }) as const,
      ),
    );
    for (const id of ids) {
      await one.call('file.fetch', { id });
      await world.settle(50);
      await mallory.say({ kind: 'hashes', index: 0, bytes: hashes }, { kind: 'chunk', index: 0, bytes });
    }
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

const firstId = async (): Promise<string> => (await alice.files())[0]?.id ?? '';

describe('a name that a contact gave a file', () => {
  test('is told as it is in JSON, and harmless on a terminal', async () => {
    const list = await alice.files();
    expect(list.map(({ name }) => name)).toEqual(Object.keys(NAMES));
    for (const file of list)
      expect(file).toMatchObject({
        id: expect.stringMatching(/^[0-9a-f]{32}$/),
        conversation: 'mallory',
        sizeBytes: CONTENT.length,
        transferredBytes: CONTENT.length,
        state: 'done',
        hash: expect.stringMatching(/^[0-9a-f]{64}$/),
        direction: 'in',
        createdAt: expect.any(Number),
      });
    const { out } = await alice.ok('file', 'list', { json: false });
    expect(out.split('\n')).toHaveLength(list.length + 1);
    expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    for (const name of Object.values(NAMES)) expect(out).toContain(name);
  });

  test('saves it in the folder where one is, under a name that is safe there', async () => {
    const cwd = join(stage.dir, 'here');
    mkdirSync(cwd);
    const above = readdirSync(stage.dir);
    for (const { id } of await alice.files()) await alice.ok('file', 'save', id, { cwd });
    expect(readdirSync(cwd).sort()).toEqual(Object.values(NAMES).sort());
    expect(readdirSync(stage.dir)).toEqual(above);
    for (const name of readdirSync(cwd)) expect(readFileSync(join(cwd, name)).equals(CONTENT)).toBe(true);
    const folder = join(stage.dir, 'there');
    mkdirSync(folder);
    for (const path of [folder, `${folder}/`]) await alice.ok('file', 'save', await firstId(), path, '--overwrite');
    expect(readdirSync(folder)).toEqual([Object.values(NAMES)[0]]);
    expect((await alice.run('file', 'save', await firstId(), `${folder}/none/`)).error?.code).toBe('file.unknown');
    expect(readdirSync(folder)).toHaveLength(1);
    const again = await alice.run('file', 'save', await firstId(), { cwd });
    expect([again.code, again.error?.code]).toEqual([7, 'file.exists']);
  });
});

test('a file that came is told with the command that saves it; one that goes, with what is in its way', async () => {
  const { out } = await alice.ok('read', 'mallory', { json: false });
  const flags = `--data-dir ${stage.dir} --account alice`;
  const [, command = '', id = ''] = new RegExp(`\\[a file: sotto ${flags} (file save (\\w+))\\]`).exec(out) ?? [];
  for (const words of [['show', id], ['unread']]) {
    const said = await alice.ok(...words, { json: false });
    expect(said.out, words.join(' ')).toContain(`[a file: sotto ${flags} file save `);
  }
  const listening = await alice.run('listen', '--since', '0', '--timeout', '300ms', { json: false });
  expect(listening.out).toContain(`[a file: sotto ${flags} file save ${id}]`);
  expect(listening.out).toMatch(/^file\.offered {2}.*from mallory {2}photogpj¬\.exe/m);
  expect((await alice.files()).some((file) => file.id.startsWith(id))).toBe(true);
  await alice.ok(...command.split(' '), join(stage.dir, 'by its line'));
  const sent = await alice.ok('file', 'send', 'bob', '-', { input: 'bytes', json: false });
  expect([sent.out, sent.err]).toEqual([
    expect.stringContaining('offered'),
    expect.stringMatching(/^Tor is off in config\.toml: nothing goes to contacts until/),
  ]);
  await alice.ok('file', 'cancel', (await alice.files()).at(-1)?.id ?? '');
  const lacking = await alice.run('file', 'send', 'bob', { input: 'bytes' });
  expect(lacking).toMatchObject({
    code: 2,
    error: { message: expect.stringContaining('path is missing (- reads stdin)') },
  });
});

describe('a file on stdout', () => {
  const sh = (command: string) => spawnSync('bash', ['-c', command], { env: process.env });

  test('is its bytes and nothing else', async () => {
    const { status, stdout, stderr } = sh(alice.words(`file save ${await firstId()} -`));
    expect([status, stderr.toString()]).toEqual([0, '']);
    expect(stdout.equals(CONTENT)).toBe(true);
  });

  test('is its bytes with --json, too, where errors are JSON, and nothing on a terminal', async () => {
    const id = await firstId();
    const json = sh(`${alice.words(`--json file save ${id} -`)}`);
    expect([json.status, json.stdout.equals(CONTENT), json.stderr.toString()]).toEqual([0, true, '']);
    const unknown = await alice.run('file', 'save', 'abcdef', '-');
    expect([unknown.code, unknown.out, unknown.error?.code]).toEqual([3, '', 'file.unknown']);
    const { code, shown } = await onTerminal(alice.words(`file save ${id} -`), []);
    expect(code).toBe(2);
    expect(shown).not.toContain('content');
  });

  test('that nobody reads ends the program as a pipe does, and a full disk behind it is told', async () => {
    const id = await firstId();
    const gone = sh(`${alice.words(`file save ${id} -`)} | true; echo "\${PIPESTATUS[0]}"`);
    expect(['141\n', '0\n']).toContain(gone.stdout.toString());
    expect(gone.stderr.toString()).toBe('');
    const full = sh(`${alice.words(`file save ${id} -`)} > /dev/full`);
    expect(full.status).toBe(1);
    expect(full.stderr.toString()).toMatch(/^sotto: What this says could not be written[^\n]* \(ENOSPC\)\n$/);
  });
});

test('a file that is read while the account is locked is not offered, and the daemon stays', async () => {
  const source = join(stage.dir, 'source');
  writeFileSync(source, '');
  truncateSync(source, 1024 ** 3);
  const pid = await alice.pid();
  const sending = alice.run('file', 'send', 'bob', source);
  await alice.until('the spool', async () => (await alice.files()).at(-1)?.name === 'source');
  await alice.ok('account', 'lock');
  const { code, error } = await sending;
  expect([code, error?.code]).toEqual([6, 'account.locked']);
  await alice.ok('account', 'unlock');
  await alice.until('its end', async () => (await alice.files()).at(-1)?.state === 'failed');
  expect(await alice.pid()).toBe(pid);
  expect(readdirSync(join(stage.dir, 'accounts', 'alice', 'files'))).toHaveLength(2 * Object.keys(NAMES).length);
});

test('a file that nobody reads to its end is not offered, and nothing of it is kept', async () => {
  const stateOf = async (name: string) => (await alice.files()).find((file) => file.name === name)?.state;
  for (const signal of ['SIGINT', 'SIGKILL'] as const) {
    const child = spawn('sh', ['-c', `exec ${alice.words(`file send bob - --name ${signal}`)}`], { stdio: 'pipe' });
    const ended = new Promise((done) => child.on('close', (code, by) => done(code ?? by)));
    child.stdin.on('error', () => {});
    child.stdin.write(Buffer.alloc(2_000_000));
    await alice.until('the spool', async () => (await stateOf(signal)) !== undefined);
    child.kill(signal);
    expect(await ended).toBe(signal === 'SIGINT' ? 130 : signal);
    await alice.until('its end', async () => (await stateOf(signal)) === 'failed');
  }
  expect(readdirSync(join(stage.dir, 'accounts', 'alice', 'files'))).toHaveLength(2 * Object.keys(NAMES).length);
});

test('a file that was offered goes on when its front end has gone', async () => {
  await alice.ok('daemon', 'start');
  const client = await RpcClient.open(pathsOf(alice).socket);
  const { id } = await client.call('file.open', { conversation: 'bob', name: 'offered' });
  await client.call('file.write', { id, data: toBase64(Buffer.alloc(300_000)) });
  client.call('file.offer', { id }).catch(() => {});
  client.close();
  await alice.until('the offer', async () => (await alice.files()).at(-1)?.state === 'offered');
});

test('what is no file that can be read is refused before anything is begun; a pipe without a writer holds nobody up', async () => {
  const pipe = join(stage.dir, 'pipe');
  spawnSync('mkfifo', [pipe]);
  const before = (await alice.files()).length;
  for (const path of [pipe, stage.dir, '/dev/zero', join(stage.dir, 'nowhere')])
    expect((await alice.run('file', 'send', 'bob', path)).error).toMatchObject({ code: 'file.unknown', exit: 3 });
  expect(await alice.files()).toHaveLength(before);
});
