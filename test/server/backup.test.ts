import { copyFileSync, existsSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { administer } from '../../src/server/admin-command.ts';
import { restoreServer } from '../../src/server/backup.ts';
import { directoryBlobStore } from '../../src/server/blob-store.ts';
import { checkServer } from '../../src/server/check.ts';
import { readKeyFile } from '../../src/server/key-file.ts';
import { openServerDatabase, type ServerPaths, serverPaths } from '../../src/server/server-dir.ts';
import { ServerStore } from '../../src/server/server-store.ts';
import { Wal } from '../../src/server/wal.ts';
import type { Database } from '../../src/sqlite/open.ts';
import { bring, hashOf } from './blob-store-contract.ts';
import {
  ALL,
  auditLine,
  bytesOf,
  change,
  channelId,
  deviceId,
  deviceRow,
  draft,
  furnish,
  makeServer,
  memberId,
  put,
  quietPorts,
  rowId,
  SERVER_KEY,
  tempDir,
  textsIn,
} from './server.ts';

const CHANNEL = channelId(1);
const BLOB = bytesOf('ciphertext of a file');

let dir: string;
let remove: () => void;
let paths: ServerPaths;
let ports: ReturnType<typeof quietPorts>;
beforeEach(() => {
  ({ dir, remove } = tempDir());
  ports = quietPorts();
  paths = makeServer(join(dir, 'server'), { ports, encryptAtRest: true });
});
afterEach(() => remove());

/** A server with some of everything. */
const filled = async (): Promise<ServerStore> => {
  const store = ServerStore.open(paths, ports);
  await furnish(store.log, 2);
  await store.log.append([
    change([{ kind: 'device', row: deviceRow(1) }]),
    ...['one', 'two', 'three'].map((text) => draft({ text })),
  ]);
  await store.state.putPrekeys(deviceId(1), [
    { kind: 'ec', keyId: 1, body: bytesOf('ec') },
    { kind: 'signed', keyId: 1, body: bytesOf('signed') },
    { kind: 'last', keyId: 1, body: bytesOf('last') },
  ]);
  const factor = {
    member: memberId(1),
    passwordHash: bytesOf('p'),
    sealedTotp: bytesOf('t'),
    lastStep: 5,
    updatedAt: 1,
  };
  await store.state.putSecondFactor(factor, [], auditLine());
  await bring(store.blobs, BLOB);
  await store.state.putBlob(hashOf(BLOB), { size: BLOB.length, isWhole: true, now: 1 });
  await put(store.log, draft({ text: 'file', changes: [{ kind: 'file', hash: hashOf(BLOB), expiresAt: 0 }] }));
  return store;
};

describe('a backup', () => {
  const backup = () => join(dir, 'backup');

  test('has every file that its database refers to, also one that is taken away while it is made', async () => {
    await using store = await filled();
    const hash = hashOf(BLOB);
    const hold = Wal.prototype.hold;
    const holding = vi.spyOn(Wal.prototype, 'hold').mockImplementation(async function (this: Wal, body) {
      const result = await hold.call(this, body);
      await store.state.removeBlobRef(CHANNEL, hash);
      expect(await store.state.removeBlob(hash, Number.MAX_SAFE_INTEGER)).toBe(true);
      await store.blobs.remove(hash);
      return result as never;
    });
    await store.backup(backup());
    holding.mockRestore();
    expect(await store.blobs.sizeOf(hash)).toBeUndefined();
    expect(await directoryBlobStore(serverPaths(backup()).blobs).sizeOf(hash)).toBe(BLOB.length);
  });

  test('that cannot be written where it is wanted is an error of its path', async () => {
    await using store = await filled();
    await expect(store.backup(join(dir, 'x'.repeat(250)))).rejects.toMatchObject({ code: 'path.notAllowed' });
  });

  test('made while the server goes on is the server as it was at one moment, and begins a new epoch', async () => {
    await using store = await filled();
    let isDone = false;
    const making = store.backup(backup()).finally(() => {
      isDone = true;
    });
    // What is published and erased meanwhile waits for nothing.
    let meanwhile = 0;
    while (!isDone || meanwhile < 20) {
      expect(await put(store.log, draft({ text: `meanwhile ${meanwhile++}` }))).toMatchObject({ kind: 'committed' });
      await store.log.erase(CHANNEL, [2]);
      await ports.turn();
    }
    await making;
    while (ports.clock.step(ports.clock.monotonic() + 60_000));
    const [before] = await store.log.heads([CHANNEL]);
    const restored = serverPaths(join(dir, 'restored'));
    await restoreServer(backup(), restored, ports);
    await using other = ServerStore.open(restored, ports);
    expect(await textsIn(other.log)).toEqual(['made 1', 'one', 'two', 'three', 'file', '{"what":"server.restored"}']);
    expect(await other.check({ deep: true })).toEqual({ wrong: [], events: 11, blobs: 1, leftOver: 0 });
    expect(await other.serverKey()).toEqual(SERVER_KEY);
    const [after] = await other.log.heads([CHANNEL]);
    expect(after?.epoch).toBeGreaterThan(before?.epoch ?? 0);
    const last = (await other.log.read(CHANNEL, 4, ALL))[0]?.id ?? null;
    const cursor = { channel: CHANNEL, epoch: before?.epoch ?? 0, seq: 5, id: last };
    expect((await other.log.resume([cursor], ALL))[0]?.recovered).toBe(false);
    expect((await other.log.resume([{ ...cursor, epoch: after?.epoch ?? 0 }], ALL))[0]?.recovered).toBe(true);
    expect((await store.check({ deep: true })).wrong).toEqual([]);
  });

  test('holds the database while that is copied, and not for the files', async () => {
    await using store = await filled();
    const { hold } = Wal.prototype;
    const files: boolean[] = [];
    using _held = vi.spyOn(Wal.prototype, 'hold').mockImplementation(async function (this: Wal, body) {
      const result = await hold.call(this, body);
      files.push(existsSync(serverPaths(`${backup()}.sotto-part`).database), existsSync(serverPaths(backup()).blobs));
      return result as never;
    });
    await store.backup(backup());
    expect(files).toEqual([true, false]);
    expect(readdirSync(serverPaths(backup()).blobs)).not.toEqual([]);
  });

  test('that a stop of the server cuts short is not there, and no fault of ours', async () => {
    const store = await filled();
    const { hold } = Wal.prototype;
    let closing: Promise<void> | undefined;
    using _held = vi.spyOn(Wal.prototype, 'hold').mockImplementation(function (this: Wal, body) {
      return hold.call(this, async () => {
        const result = await body();
        closing = store[Symbol.asyncDispose]();
        for (let i = 0; i < 20; i++) await ports.turn();
        // Nobody else opens what is being copied.
        expect(() => ServerStore.open(paths, ports)).toThrow(expect.objectContaining({ code: 'server.running' }));
        return result as never;
      }) as never;
    });
    await expect(store.backup(backup())).rejects.toMatchObject({ code: 'server.unavailable' });
    await closing;
    expect(readdirSync(dir).filter((name) => name.startsWith('backup'))).toEqual([]);
  });

  test('is one at a time: a second one into the same folder takes nothing from the first', async () => {
    await using store = await filled();
    const first = store.backup(backup());
    await expect(store.backup(backup())).rejects.toMatchObject({ code: 'server.busy' });
    await first;
    await expect(restoreServer(backup(), serverPaths(join(dir, 'restored')), ports)).resolves.toEqual({
      missingFiles: 0,
    });
  });

  test('of a plain database has its large pages, which carry more of an event each', async () => {
    const plain = makeServer(join(dir, 'plain'), { ports, encryptAtRest: false });
    {
      await using store = ServerStore.open(plain, ports);
      await store.backup(backup());
    }
    const restored = serverPaths(join(dir, 'restored'));
    await restoreServer(backup(), restored, ports);
    for (const { database, keyFile } of [plain, restored]) {
      using db = openServerDatabase(database, readKeyFile(keyFile));
      expect(db.get('PRAGMA page_size')).toEqual({ page_size: 8192 });
    }
  });

  test('restored hands out nothing that was handed out since: one-time keys, codes of the second factor', async () => {
    {
      await using store = await filled();
      await store.backup(backup());
    }
    const restored = serverPaths(join(dir, 'restored'));
    await restoreServer(backup(), restored, ports);
    await using store = ServerStore.open(restored, ports);
    expect(await store.state.countPrekeys(deviceId(1))).toEqual({ ec: 0, kyber: 0 });
    expect((await store.state.takePrekeys(deviceId(1)))?.kyber.kind).toBe('last');
    const step = Math.floor(ports.clock.now() / 30_000);
    expect(await store.state.takeTotpStep(memberId(1), step)).toBe(false);
    expect(await store.state.takeTotpStep(memberId(1), step + 1)).toBe(true);
  });

  test('is not written over anything, and not restored over a server', async () => {
    await using store = await filled();
    await store.backup(backup());
    await expect(store.backup(backup())).rejects.toMatchObject({ code: 'file.exists' });
    await expect(store.backup('/proc/nowhere/copy')).rejects.toMatchObject({ code: 'path.notAllowed' });
    await expect(store.backup(join(dir, 'no', 'such'))).resolves.toBeUndefined();
    await expect(restoreServer(join(dir, 'nothing'), paths, ports)).rejects.toMatchObject({ code: 'server.unknown' });
    await expect(restoreServer(backup(), paths, ports)).rejects.toMatchObject({ code: 'server.running' });
    await store[Symbol.asyncDispose]();
    await expect(restoreServer(backup(), paths, ports)).rejects.toMatchObject({ code: 'server.exists' });
    const other = serverPaths(join(dir, 'other'));
    rmSync(join(backup(), 'server.key'));
    await expect(restoreServer(backup(), other, ports)).rejects.toMatchObject({ code: 'keyFile.missing' });
  });
});

describe('a backup that is not whole', () => {
  const backup = () => join(dir, 'backup');
  const restored = () => serverPaths(join(dir, 'restored'));
  const restore = () => administer(['restore', backup()], {}, { dir: restored().dir, socket: '', ports });

  test('is no server where its database is damaged, and says what is', async () => {
    const plain = makeServer(join(dir, 'plain'), { ports, encryptAtRest: false });
    {
      await using store = ServerStore.open(plain, ports);
      await furnish(store.log, 2);
      await store.backup(backup());
    }
    const copy = serverPaths(backup());
    {
      using db = openServerDatabase(copy.database, readKeyFile(copy.keyFile));
      db.exec('PRAGMA foreign_keys = OFF; INSERT INTO read_marker VALUES (zeroblob(16), zeroblob(16), 0)');
      db.truncateWal();
    }
    const refused = {
      code: 'database.damaged',
      message: expect.stringContaining('a row of read_marker points to nothing'),
    };
    await expect(restore()).rejects.toMatchObject(refused);
    expect(existsSync(restored().dir)).toBe(false);
    writeFileSync(copy.database, 'no database');
    const unread = {
      code: 'database.damaged',
      message: expect.stringContaining(`${backup()} is damaged:\nit cannot be read`),
    };
    await expect(restore()).rejects.toMatchObject(unread);
  });

  test('is no server beside the key file of another one', async () => {
    const [plain, foreign] = ['plain', 'foreign'].map((name) => makeServer(join(dir, name), { ports })) as [
      ServerPaths,
      ServerPaths,
    ];
    {
      await using store = ServerStore.open(plain, ports);
      await store.backup(backup());
    }
    const { keyFile } = serverPaths(backup());
    copyFileSync(foreign.keyFile, keyFile);
    await expect(restore()).rejects.toMatchObject({ code: 'keyFile.wrong' });
    expect(existsSync(restored().dir)).toBe(false);
    copyFileSync(plain.keyFile, keyFile);
    expect(await restore()).toContain('restored');
  });

  test('leaves nothing that was not there before', async () => {
    const other = bytesOf('another file');
    {
      await using store = await filled();
      await bring(store.blobs, other);
      await store.backup(backup());
    }
    const copy = serverPaths(backup());
    truncateSync(copy.database, Math.floor(statSync(copy.database).size / 2));
    await expect(restore()).rejects.toMatchObject({ code: 'database.damaged' });
    expect(existsSync(restored().dir)).toBe(false);
    const deep = { dir: join(dir, 'no', 'such', 'folder'), socket: '', ports };
    await expect(administer(['restore', backup()], {}, deep)).rejects.toMatchObject({ code: 'database.damaged' });
    expect(existsSync(join(dir, 'no'))).toBe(false);
    const tooLong = { ...deep, dir: join(dir, 'no', 'x'.repeat(300)) };
    await expect(administer(['restore', backup()], {}, tooLong)).rejects.toMatchObject({ code: 'path.notAllowed' });
    expect(existsSync(join(dir, 'no'))).toBe(false);
    // What another attempt, or its operator, has left there stays; a database that is half built goes.
    await bring(directoryBlobStore(restored().blobs), BLOB);
    writeFileSync(join(restored().dir, 'server.toml'), '');
    writeFileSync(restored().keyFile, 'of who was here');
    const before = readdirSync(restored().dir, { recursive: true }).sort();
    writeFileSync(`${restored().database}.new`, 'half');
    await expect(restore()).rejects.toMatchObject({ code: 'database.damaged' });
    expect(readdirSync(restored().dir, { recursive: true }).sort()).toEqual(before);
    rmSync(copy.keyFile);
    await expect(restore()).rejects.toMatchObject({ code: 'keyFile.missing' });
    expect(readdirSync(restored().dir, { recursive: true }).sort()).toEqual(before);
  });

  test('takes nothing from a server that runs where it was to be', async () => {
    await using _store = await filled();
    const before = readdirSync(paths.dir, { recursive: true }).sort();
    makeServer(backup(), { ports });
    await expect(restoreServer(backup(), paths, ports)).rejects.toMatchObject({ code: 'server.running' });
    expect(readdirSync(paths.dir, { recursive: true }).sort()).toEqual(before);
  });

  test('is restored without the files that are missing or cut, and tells how many', async () => {
    const cut = bytesOf('a file that is cut');
    {
      await using store = await filled();
      await bring(store.blobs, cut);
      await store.state.putBlob(hashOf(cut), { size: cut.length, isWhole: true, now: 1 });
      await store.state.putBlob(hashOf(bytesOf('begun')), { size: 9, isWhole: false, now: 1 });
      await store.backup(backup());
    }
    const { blobs } = serverPaths(backup());
    const file = (bytes: Uint8Array) => join(blobs, hashOf(bytes).slice(0, 2), hashOf(bytes));
    // A copy of its own: a backup on the same disk shares its files with the server.
    rmSync(file(BLOB));
    rmSync(file(cut));
    writeFileSync(file(cut), cut.subarray(1));
    expect(await restore()).toMatch(/^restored +\S+backup\nmissing files +2\n$/);
    for (const path of [restored().lock, restored().database, restored().keyFile])
      expect([path, statSync(path).mode & 0o777]).toEqual([path, 0o600]);
    await using store = ServerStore.open(restored(), ports);
    expect((await store.check({ deep: true })).wrong).toHaveLength(2);
    const other = { dir: join(dir, 'other'), socket: '', ports };
    const json = await administer(['restore', backup()], { json: true }, other);
    expect(JSON.parse(json)).toEqual({ restored: backup(), missingFiles: 2 });
  });
});

describe('the check', () => {
  const broken: readonly [what: string, says: RegExp, harm: (db: Database) => void][] = [
    ['a hole', /hole from 3 to 3/, (db) => db.exec('DROP TRIGGER event_removed; DELETE FROM event WHERE seq = 3')],
    [
      'a cut end',
      /ends with event 4 and its head with 5/,
      (db) => db.exec('DROP TRIGGER event_removed; DELETE FROM event WHERE seq = 5'),
    ],
    [
      'a changed body',
      /body of event 2 does not fit/,
      (db) => db.exec(`DROP TRIGGER event_changed; UPDATE event SET body = x'00' WHERE seq = 2`),
    ],
    [
      'time that goes back',
      /event 5 is earlier/,
      (db) => db.exec('DROP TRIGGER event_changed; UPDATE event SET at = 1 WHERE seq = 5'),
    ],
    [
      'a head of another event',
      /names another event/,
      (db) => db.exec('UPDATE channel_head SET last_id = zeroblob(16)'),
    ],
    [
      'a lost head',
      /has events and no head|has a head/,
      (db) => db.exec('PRAGMA foreign_keys = OFF; DROP TRIGGER head_removed; DELETE FROM channel_head'),
    ],
    ['another epoch', /epoch of the server/, (db) => db.exec('UPDATE server SET epoch = epoch + 1')],
    [
      'authority nobody names',
      /last event of authority/,
      (db) => db.exec('UPDATE channel_head SET authority_seq = seq'),
    ],
    [
      'authority that differs',
      /outlives retention/,
      (db) => db.exec('DROP TRIGGER authority_changed; UPDATE authority SET hash = zeroblob(32)'),
    ],
    [
      'a membership of the future',
      /began in the channel/,
      (db) =>
        db.exec(`INSERT INTO membership SELECT channel.id, member.id, 'joined', 'member', 0, 99 FROM channel, member`),
    ],
    [
      'a marker of nothing',
      /read marker/,
      (db) => db.exec('INSERT INTO read_marker SELECT id, zeroblob(16), 99 FROM member LIMIT 1'),
    ],
    ['an expiry of nothing', /due for erasure/, (db) => db.exec('INSERT INTO expiry VALUES (zeroblob(16), 99, 1)')],
    ['a reference to nothing', /whole blob/, (db) => db.exec('UPDATE blob SET is_whole = 0')],
    [
      'a row that points to nothing',
      /points to nothing/,
      (db) => db.exec('PRAGMA foreign_keys = OFF; INSERT INTO read_marker VALUES (zeroblob(16), zeroblob(16), 0)'),
    ],
  ];

  test('finds each of these, and nothing in what is whole', async () => {
    await (await filled())[Symbol.asyncDispose]();
    const look = async () => {
      await using store = ServerStore.open(paths, ports);
      return await store.check({ deep: true });
    };
    const whole = { wrong: [], events: 9, blobs: 1, leftOver: 0 };
    expect(await look()).toEqual(whole);
    for (const [what, says, harm] of broken) {
      using db = openServerDatabase(paths.database, readKeyFile(paths.keyFile));
      // Undone afterwards: the store looks through this very connection.
      db.exec('PRAGMA foreign_keys = OFF; BEGIN');
      harm(db);
      const parts = { db, blobs: directoryBlobStore(paths.blobs), turn: ports.turn };
      expect((await checkServer(parts, { deep: true })).wrong.join('\n'), what).toMatch(says);
      db.exec('ROLLBACK');
    }
    expect(await look()).toEqual(whole);
  });

  test('ends with the server that it looks at, and is told as that', async () => {
    const store = await filled();
    const check = store.check({ deep: true });
    const told = expect(check).rejects.toMatchObject({ code: 'server.unavailable' });
    await store[Symbol.asyncDispose]();
    await told;
  });

  test('finds blobs that are missing, cut or damaged, and counts what is left over', async () => {
    await using store = await filled();
    const [folder = ''] = readdirSync(paths.blobs).filter((name) => name !== 'uploads');
    const file = join(paths.blobs, folder, hashOf(BLOB));
    await store.blobs.part(rowId(7), 0, bytesOf('part'));
    await bring(store.blobs, bytesOf('other'));
    expect(await store.check({ deep: false })).toMatchObject({ wrong: [], blobs: 1, leftOver: 2 });
    const damaged = new Uint8Array(BLOB).fill(0, 4, 8);
    writeFileSync(file, damaged);
    expect((await store.check({ deep: false })).wrong).toEqual([]);
    expect((await store.check({ deep: true })).wrong).toEqual([`blob ${hashOf(BLOB)} is damaged`]);
    truncateSync(file, 3);
    expect((await store.check({ deep: false })).wrong).toEqual([`blob ${hashOf(BLOB)} is cut`]);
    rmSync(file);
    expect((await store.check({ deep: false })).wrong).toEqual([`blob ${hashOf(BLOB)} is missing`]);
  });
});
