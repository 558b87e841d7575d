// Backup, restore and migration that are killed at any of their steps: no half of one counts, and the next attempt works.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { accountPaths, placesOf } from '../../src/client/paths.ts';
import {
  createAccountDir,
  openAccountDatabase,
  openAccountVault,
  settleAccountDir,
  vaultState,
} from '../../src/daemon/account-dir.ts';
import { checkBackup, loadBackup, writeBackup } from '../../src/daemon/backup.ts';
import { makeAccount } from '../../src/lab/bench/fixture.ts';
import { systemClock, systemRandom } from '../../src/machine.ts';
import { type Database, openDatabase } from '../../src/sqlite/open.ts';
import { checkDatabase } from '../../src/store/check.ts';
import { migrate } from '../../src/store/migrations.ts';
import { KEY, type Person, World } from '../../src/testing/people.ts';
import { dieEverywhere } from './dying.ts';
import { WITH_A_LATER_SCHEMA } from './later-schema.ts';
import { rememberMessages } from './past.ts';

const MESSAGES = 60;
const LONG = 'y'.repeat(4_000);
const SECRET = { kind: 'account', key: new Uint8Array(32) } as const;
const PORTS = { random: systemRandom, clock: systemClock };

type Remembered = { readonly name: string; readonly body: string };

const base = mkdtempSync(join(tmpdir(), 'sotto-backup-'));
const written = join(base, 'written');
const empty = join(base, 'empty');
const pathsOf = (dir: string) => accountPaths(placesOf(dir, {}), 'alice', {});
const fileIn = (dir: string) => join(dir, 'backup');

const openAt = async (dir: string): Promise<Database> =>
  openAccountDatabase(pathsOf(dir), await openAccountVault(pathsOf(dir), undefined));

/** Every message and contact of an account that is whole. */
const memoryOf = async (dir: string): Promise<Remembered[]> => {
  using db = await openAt(dir);
  expect(checkDatabase(db)).toEqual([]);
  return db.all(
    `SELECT c.name, m.message_id, m.body FROM messages m JOIN conversations v ON v.id = m.conversation_id
       JOIN contacts c ON c.id = v.contact_id ORDER BY m.id`,
  );
};

const restoreIn = (dir: string) =>
  createAccountDir(pathsOf(dir), {
    passphrase: undefined,
    random: systemRandom,
    fill: (db) => loadBackup(db, fileIn(dir), SECRET, PORTS),
  });

/** What comes of a backup of `db`. */
const restored = async (db: Database): Promise<Database> => {
  const dir = mkdtempSync(join(base, 'restored-'));
  await writeBackup(db, fileIn(dir), SECRET, systemClock.now());
  // A daemon closes what it read with; this one goes on.
  db.exec('COMMIT');
  const copy = openDatabase(join(dir, 'db'), KEY);
  migrate(copy);
  await loadBackup(copy, fileIn(dir), SECRET, PORTS);
  return copy;
};

let memory: Remembered[] = [];
beforeAll(async () => {
  await makeAccount(written, 'alice', {
    contacts: 2,
    fill: (db, [one = 0, two = 0]) => {
      rememberMessages(db, one, { count: MESSAGES, text: LONG });
      rememberMessages(db, two, { count: 1, text: LONG });
    },
  });
  memory = await memoryOf(written);
  mkdirSync(empty);
  using db = await openAt(written);
  await writeBackup(db, fileIn(empty), SECRET, systemClock.now());
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

test('a backup that is killed leaves no file under its name, and the next one is whole', async () => {
  const counted: boolean[] = [];
  await dieEverywhere('backup', written, async (dir, { step }) => {
    counted.push(existsSync(fileIn(dir)));
    if (counted.at(-1)) await checkBackup(fileIn(dir), SECRET);
    expect(await memoryOf(dir), `killed at step ${step}`).toEqual(memory);
    rmSync(fileIn(dir), { force: true });
    using db = await openAt(dir);
    await writeBackup(db, fileIn(dir), SECRET, systemClock.now());
    await checkBackup(fileIn(dir), SECRET);
    expect(existsSync(`${fileIn(dir)}.sotto-part`)).toBe(false);
  });
  expect(counted.join()).toMatch(/^(false,)+(true,?)+$/);
  expect(counted.length).toBeGreaterThan(8);
});

test('of backups that are written to one file at a time one is there, and whoever made another is told so', async () => {
  const file = join(base, 'shared');
  using mine = await openAt(written);
  using other = await openAt(written);
  const theirs = { kind: 'passphrase', passphrase: 'theirs' } as const;
  const [first, second] = await Promise.allSettled([
    writeBackup(mine, file, SECRET, systemClock.now()),
    writeBackup(other, file, theirs, systemClock.now()),
  ]);
  expect(first).toMatchObject({ status: 'rejected', reason: { code: 'file.exists' } });
  expect(second).toMatchObject({ status: 'fulfilled', value: { sizeBytes: statSync(file).size } });
  await checkBackup(file, theirs);
  expect(existsSync(`${file}.sotto-part`)).toBe(false);

  // What came to be there meanwhile is not replaced.
  using late = await openAt(written);
  const path = join(base, 'taken');
  const making = writeBackup(late, path, SECRET, systemClock.now());
  writeFileSync(path, 'not a backup');
  await expect(making).rejects.toMatchObject({ code: 'file.exists' });
  expect(readFileSync(path, 'utf8')).toBe('not a backup');
});

test('a restore that is killed leaves no account, or the whole one; the next attempt works', async () => {
  const states: string[] = [];
  await dieEverywhere('restore', empty, async (dir, { step }) => {
    // As a daemon does that starts.
    settleAccountDir(pathsOf(dir));
    states.push(vaultState(pathsOf(dir)));
    if (states.at(-1) === 'absent') await restoreIn(dir);
    expect(await memoryOf(dir), `killed at step ${step}`).toEqual(memory);
  });
  expect(states.join()).toMatch(/^(absent,)+(keyFile,?)+$/);
  expect(states.length).toBeGreaterThan(12);
});

test('a migration that is killed has changed all or nothing, and is made once by the next attempt', async () => {
  const changed: boolean[] = [];
  await dieEverywhere('migrate', written, async (dir, { step }) => {
    const { database } = pathsOf(dir);
    using db = openDatabase(database, await openAccountVault(pathsOf(dir), undefined));
    const bodies = () => db.all<{ body: string }>('SELECT body FROM messages ORDER BY id').map(({ body }) => body);
    const hasColour = () => db.all(`SELECT 1 FROM pragma_table_info('contacts') WHERE name = 'colour'`).length === 1;
    const before = memory.map(({ body }) => body);
    const after = before.map((body) => `${body} again`);
    changed.push(hasColour());
    expect(bodies(), `killed at step ${step}`).toEqual(changed.at(-1) ? after : before);
    migrate(db, { copyTo: `${database}.before`, migrations: WITH_A_LATER_SCHEMA });
    expect(bodies()).toEqual(after);
    using copy = openDatabase(`${database}.before`, await openAccountVault(pathsOf(dir), undefined));
    expect(copy.all('SELECT body FROM messages ORDER BY id')).toEqual(before.map((body) => ({ body })));
  });
  expect(changed.join()).toMatch(/^(false,)+(true,?)+$/);
  expect(changed.length).toBeGreaterThan(6);
});

test('a restore that finds no room says so and leaves nothing behind', async () => {
  const dir = join(base, 'full');
  cpSync(empty, dir, { recursive: true });
  const fill = async (db: Database): Promise<void> => {
    db.exec('PRAGMA max_page_count = 60');
    await loadBackup(db, fileIn(dir), SECRET, PORTS);
  };
  await expect(
    createAccountDir(pathsOf(dir), { passphrase: undefined, random: systemRandom, fill }),
  ).rejects.toMatchObject({ code: 'disk.full' });
  expect(readdirSync(pathsOf(dir).dir)).toEqual([]);
  await restoreIn(dir);
  expect(await memoryOf(dir)).toEqual(memory);
});

test('SESSION-7: what waits for somebody who is asked again has failed in what is restored', async () => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  await bob.call('contact.remove', { contact: 'alice', erase: true });
  await alice.send(bob, 'waits', { expiresMs: 60_000, expiresFrom: 'read' });
  await world.settle(60_000);
  await alice.call('contact.add', { address: bob.address, name: 'bob' });
  using db = await restored(alice.db);
  expect(checkDatabase(db)).toEqual([]);
  const rows = db.all('SELECT state, reason, expires_at IS NULL AS stays FROM messages');
  expect(rows).toEqual([{ state: 'failed', reason: 'contactRemoved', stays: 0 }]);
});

/** Somebody goes on with what was restored, in place of what they had. */
const comeBack = async (world: World, person: Person, db: Database): Promise<void> => {
  await person.close();
  const dir = join(world.dir, person.name);
  rmSync(dir, { recursive: true });
  mkdirSync(dir);
  db.copyTo(join(dir, 'db'));
  await person.open();
  await world.settle(60_000);
};

test('BACKUP-1: no session comes back: each begins anew, and its history says for which time messages may be missing', async () => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  await alice.send(bob, 'early');
  await world.settle();
  await bob.send(alice, 'answer');
  await world.settle();
  using reader = openDatabase(join(world.dir, 'alice', 'db'), KEY);
  using db = await restored(reader);
  await bob.send(alice, 'not in the backup');
  await world.settle();
  for (const table of ['sessions', 'requests', 'events']) expect(db.all(`SELECT 1 FROM ${table}`)).toEqual([]);
  await comeBack(world, alice, db);
  await alice.send(bob, 'late');
  await world.settle(60_000);
  await bob.send(alice, 'later');
  await world.settle(60_000);
  expect(await alice.read(bob)).toEqual(['early', 'answer', 'late', 'later']);
  expect(await bob.read(alice)).toEqual(['early', 'answer', 'not in the backup', 'late', 'later']);
  const history = async (person: Person, name: string) => (await person.contact(name)).history ?? [];
  const told = (await history(alice, 'bob')).filter(({ kind }) => kind === 'account.restored');
  expect(told).toMatchObject([
    { detail: expect.stringMatching(/^messages between \d{4}-.*Z and \d{4}-.*Z may be missing$/) },
  ]);
  // With the conversation itself, too.
  const { missing } = await alice.call('message.list', { conversation: 'bob' });
  expect(missing).toEqual([`This account was restored: ${told[0]?.detail}`]);
  expect((await bob.call('message.list', { conversation: 'alice' })).missing).toBeUndefined();
  for (const [one, other] of [
    [alice, 'bob'],
    [bob, 'alice'],
  ] as const)
    expect((await history(one, other)).map(({ kind }) => kind)).toContain('session.healed');
});

test('whoever was offered a file that is not in the backup is told that it does not come', async () => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  const path = join(world.dir, 'source');
  writeFileSync(path, LONG);
  const sending = alice.call('file.send', { conversation: 'bob', path });
  await world.settle();
  const { id } = (await sending).file;
  await world.settle();
  using db = await restored(alice.db);
  await comeBack(world, alice, db);
  expect((await alice.call('file.show', { id })).state).toBe('cancelled');
  expect(await bob.call('file.show', { id })).toMatchObject({ reason: 'cancelled by the other side' });
});
