// What the daemon does with a database that an update left in doubt, or that a newer program wrote.
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDatabase } from '../../src/sqlite/open.ts';
import { KEY } from '../../src/testing/people.ts';
import { furnish, pathsOf } from '../daemon/furnished.ts';
import { Stage, type User } from '../e2e/stage.ts';

let stage: Stage;
let alice: User;
beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = await furnish(stage, async (one, two) => {
    await two.send(one, 'hello');
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

// Past the checks that the program makes when it opens its database.
const change = (sql: string): void => {
  using db = openDatabase(pathsOf(alice).database, KEY);
  db.exec(sql);
};

test('the copy from before an update stays until the new state is whole', async () => {
  const copy = `${pathsOf(alice).database}.before`;
  change('UPDATE conversations SET unread = unread + 1');
  copyFileSync(pathsOf(alice).database, copy);
  const refused = await alice.run('status');
  expect(refused.error).toMatchObject({ code: 'database.damaged', message: expect.stringContaining(copy) });
  expect(existsSync(copy)).toBe(true);
  const [check] = (await alice.run<{ check: string; ok: boolean; detail: string }>('doctor')).items;
  expect(check).toMatchObject({ check: 'daemon', ok: false, detail: expect.stringContaining('unread') });
  change('UPDATE conversations SET unread = unread - 1');
  await alice.ok('status');
  expect(existsSync(copy)).toBe(false);
  await alice.ok('daemon', 'stop');
});

test('a database of a newer program is refused, and works again with that program', async () => {
  change('UPDATE schema_meta SET version = version + 1000');
  expect((await alice.run('status')).error).toMatchObject({ code: 'database.newer' });
  change('UPDATE schema_meta SET version = version - 1000');
  expect(await alice.bodies('bob')).toContain('hello');
});

test('a key file that is not at its place is asked back: nothing is erased, whatever is done meanwhile', async () => {
  const { vault, database } = pathsOf(alice);
  const wants = async (...words: string[]) => {
    const { error } = await alice.run(...words);
    expect(error, words.join(' ')).toMatchObject({ code: 'vault.damaged', message: expect.stringContaining(vault) });
  };
  // Taken away from a daemon that runs, which goes on; then from one that does not.
  await alice.ok('daemon', 'start');
  renameSync(vault, `${vault}.away`);
  await alice.ok('status');
  await alice.ok('daemon', 'stop');
  expect(existsSync(database)).toBe(true);
  for (const words of [['status'], ['daemon', 'start'], ['init', '--nickname', 'alice', '--no-passphrase']])
    await wants(...words);
  const [check] = (await alice.run<{ check: string; detail: string }>('doctor')).items;
  expect(check).toMatchObject({ check: 'daemon', detail: expect.stringContaining(vault) });
  await alice.run('daemon', 'stop');
  expect(existsSync(database)).toBe(true);
  renameSync(`${vault}.away`, vault);
  await alice.ok('status');
  await alice.ok('daemon', 'stop');
});

test('what no daemon can open is erased by its name, and by nothing else', async () => {
  const lost = stage.stranger('lost');
  await lost.ok('init', '--nickname', 'lost', '--no-passphrase');
  for (const spoil of [() => writeFileSync(pathsOf(lost).vault, ''), () => rmSync(pathsOf(lost).vault)]) {
    await lost.run('daemon', 'stop');
    spoil();
    expect((await lost.run('account', 'remove', '--confirm', 'alice')).code).toBe(8);
    expect(existsSync(pathsOf(lost).database)).toBe(true);
  }
  await lost.ok('account', 'remove', '--confirm', 'lost');
  expect(existsSync(pathsOf(lost).dir)).toBe(false);
  await alice.ok('status');
  await alice.ok('daemon', 'stop');
});

test('a database that is missing or empty is told, and no other is made in its place', async () => {
  await alice.ok('daemon', 'stop');
  const { database } = pathsOf(alice);
  renameSync(database, `${database}.away`);
  for (const left of [undefined, 0]) {
    if (left === 0) writeFileSync(database, '');
    expect((await alice.run('status')).error).toMatchObject({
      code: 'database.damaged',
      exit: 8,
      message: expect.stringContaining(database),
    });
    expect(statSync(database, { throwIfNoEntry: false })?.size).toBe(left);
  }
  renameSync(`${database}.away`, database);
  expect(await alice.bodies('bob')).toContain('hello');
});

test('what was in the write-ahead log when the program crashed is not there any more once the account is open', async () => {
  await alice.ok('daemon', 'stop');
  const { database } = pathsOf(alice);
  const files = [database, `${database}-wal`];
  {
    using db = openDatabase(database, KEY);
    db.exec('UPDATE conversations SET draft = hex(randomblob(50000))');
    for (const file of files) copyFileSync(file, `${file}.crashed`);
  }
  for (const file of files) renameSync(`${file}.crashed`, file);
  const end = readFileSync(`${database}-wal`).subarray(-1_000);
  await alice.ok('status');
  expect(readFileSync(`${database}-wal`).includes(end)).toBe(false);
  await alice.ok('daemon', 'stop');
});
