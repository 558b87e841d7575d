import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { hkdf } from '../../src/crypto/primitives.ts';
import { SottoError } from '../../src/protocol/errors.ts';
import { readKeyFile } from '../../src/server/key-file.ts';
import { openServerDatabase } from '../../src/server/server-dir.ts';
import { ServerStore } from '../../src/server/server-store.ts';
import { SqliteEventLog } from '../../src/server/sqlite-event-log.ts';
import { Wal } from '../../src/server/wal.ts';
import { Database } from '../../src/sqlite/open.ts';
import { eventLogContract } from './event-log-contract.ts';
import {
  change,
  channelId,
  draft,
  freshServer,
  furnish,
  makeServer,
  put,
  quietPorts,
  tempDir,
  textsIn,
  turn,
} from './server.ts';

eventLogContract('SQLite', freshServer);

let dir: string;
let remove: () => void;
beforeEach(() => {
  ({ dir, remove } = tempDir());
});
afterEach(() => remove());

describe('the file of the log', () => {
  const filesHold = (word: string) =>
    readdirSync(join(dir, 'server'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && readFileSync(join(entry.parentPath, entry.name)).includes(word))
      .map((entry) => entry.name);

  test('takes no change of an event but the loss of its body, no removal but by retention, and heads that go on only', async () => {
    const paths = makeServer(join(dir, 'server'));
    {
      await using store = ServerStore.open(paths, quietPorts());
      await furnish(store.log);
      await store.log.append([draft(), draft()]);
    }
    using db = openServerDatabase(paths.database, readKeyFile(paths.keyFile));
    db.exec('PRAGMA recursive_triggers = ON');
    const copied = 'channel, seq, id, member, kind, at, hash, body';
    for (const [statement, says] of [
      [`UPDATE event SET body = x'00'`, 'never changed'],
      ['UPDATE event SET body = NULL, kind = kind + 1', 'never changed'],
      [`UPDATE event SET hash = zeroblob(32), body = NULL`, 'never changed'],
      ['UPDATE event SET seq = seq + 10, body = NULL', 'never changed'],
      ['DELETE FROM event WHERE seq = 1', 'by retention only'],
      [`INSERT OR REPLACE INTO event (${copied}) SELECT ${copied} FROM event LIMIT 1`, 'by retention only'],
      ['UPDATE channel_head SET seq = seq - 1', 'never goes back'],
      ['UPDATE channel_head SET epoch = epoch - 1', 'never goes back'],
      ['DELETE FROM channel_head', 'never removed'],
      ['UPDATE authority SET body = NULL', 'never changed'],
      ['DELETE FROM authority', 'never removed'],
    ] as const)
      expect(() => db.run(statement), statement).toThrow(says);
  });

  test.each([false, true])('holds what was erased nowhere a moment later; encrypted: %s', async (encryptAtRest) => {
    const ports = quietPorts();
    const paths = makeServer(join(dir, 'server'), { ports, encryptAtRest });
    await using store = ServerStore.open(paths, ports);
    await furnish(store.log);
    const words = ['quixoticerase', 'quixoticdelete', 'quixoticprune'] as const;
    for (const word of words) await put(store.log, draft({ text: `${word} `.repeat(60) }));
    await store.log.append(Array.from({ length: 50 }, () => draft()));
    expect(words.flatMap(filesHold).length > 0).toBe(!encryptAtRest);
    const gone: readonly (() => Promise<unknown>)[] = [
      () => store.log.erase(channelId(1), [2]),
      () => put(store.log, draft({ changes: [{ kind: 'erase', seq: 3 }] })),
      () => store.log.prune(channelId(1), 4),
    ];
    for (const [i, erase] of gone.entries()) {
      await erase();
      while (ports.clock.step(ports.clock.monotonic() + 60_000));
      expect(words.slice(0, i + 1).flatMap(filesHold)).toEqual([]);
    }
    expect(filesHold('event').length > 0).toBe(!encryptAtRest);
  });

  test('is opened by one program, with its own key file, and reads what was written', async () => {
    const ports = quietPorts();
    const paths = makeServer(join(dir, 'server'), { ports, encryptAtRest: true });
    {
      await using store = ServerStore.open(paths, ports);
      expect(() => ServerStore.open(paths, ports)).toThrow(expect.objectContaining({ code: 'server.running' }));
      await furnish(store.log);
      await put(store.log, change([{ kind: 'channelSet', set: { archivedAt: 1 } }], { channel: channelId(1) }));
    }
    await using store = ServerStore.open(paths, ports);
    expect(await store.serverKey()).toEqual(new Uint8Array(32).fill(9));
    expect(await put(store.log, draft())).toMatchObject({ code: 'archived' });
    expect(await textsIn(store.log)).toHaveLength(2);
    expect(() => openServerDatabase(paths.database, hkdf(new Uint8Array(32), 'another'))).toThrow(
      expect.objectContaining({ code: 'database.damaged' }),
    );
    expect(() => makeServer(join(dir, 'server'))).toThrow(expect.objectContaining({ code: 'server.running' }));
  });
});

describe('when the disk fails', () => {
  const open = () => {
    const ports = quietPorts();
    const paths = makeServer(join(dir, 'server'), { ports });
    const db = openServerDatabase(paths.database, readKeyFile(paths.keyFile));
    const wal = new Wal(db, ports.clock);
    const log = new SqliteEventLog({ db, wal, clock: ports.clock, turn });
    return { ports, paths, db, wal, log, [Symbol.dispose]: () => db[Symbol.dispose]() };
  };

  test('a full one takes nothing of a batch, and all of it when there is room again', async () => {
    using server = open();
    await furnish(server.log);
    const { pages = 0 } = server.db.get<{ pages: number }>('SELECT page_count AS pages FROM pragma_page_count') ?? {};
    server.db.exec(`PRAGMA max_page_count = ${pages + 5}`);
    const batch = [
      draft({ text: 'small' }),
      ...Array.from({ length: 9 }, () => draft({ body: new Uint8Array(9000).fill(1) })),
    ];
    await expect(server.log.append(batch)).rejects.toMatchObject({ certainty: 'unavailable' });
    expect(await textsIn(server.log)).toEqual(['made 1']);
    server.db.exec(`PRAGMA max_page_count = ${pages + 500}`);
    expect((await server.log.append(batch)).map((one) => 'seq' in one && one.seq)).toEqual(batch.map((_, i) => i + 2));
  });

  test('a commit that failed may have happened; a statement that failed surely changed nothing', async () => {
    using server = open();
    await furnish(server.log);
    const fails = (statement: string) => {
      server.db.run = function (this: Database, sql: string, ...params: Parameters<Database['run']>[1][]) {
        const result = Database.prototype.run.call(this, sql, ...params);
        if (sql === statement) throw new SottoError('disk.failed');
        return result;
      };
    };
    const event = draft();
    fails('COMMIT');
    await expect(server.log.append([event])).rejects.toMatchObject({ certainty: 'unknown' });
    fails('BEGIN IMMEDIATE');
    await expect(server.log.append([draft()])).rejects.toMatchObject({ certainty: 'unavailable' });
    fails('none');
    server.db.exec('ROLLBACK');
    expect(await put(server.log, event)).toMatchObject({ kind: 'duplicate', seq: 2 });
  });

  test('what was erased is taken out of the write-ahead log once the disk lets it', async () => {
    using server = open();
    await furnish(server.log);
    const size = () => statSync(`${server.paths.database}-wal`).size;
    let failures = 2;
    server.db.truncateWal = function (this: Database) {
      if (failures-- > 0) throw new SottoError('disk.full');
      return Database.prototype.truncateWal.call(this);
    };
    await server.log.erase(channelId(1), [1]);
    for (let i = 0; i < 2; i++) expect([server.ports.clock.step(), size() > 0]).toEqual([true, true]);
    expect([server.ports.clock.step(), size(), server.ports.clock.step()]).toEqual([true, 0, false]);
  });

  test('while the file is held nothing writes to it, however much is appended and erased', async () => {
    using server = open();
    await furnish(server.log);
    const { wal, paths, ports, log } = server;
    const body = () => draft({ body: new Uint8Array(16_000).fill(7) });
    await wal.hold(async () => {
      const before = readFileSync(paths.database);
      for (let i = 0; i < 3; i++) await log.append(Array.from({ length: 500 }, body));
      await log.erase(channelId(1), [2]);
      while (ports.clock.step(ports.clock.monotonic() + 60_000));
      expect(statSync(`${paths.database}-wal`).size).toBeGreaterThan(20_000_000);
      expect(readFileSync(paths.database).equals(before)).toBe(true);
    });
    while (ports.clock.step(ports.clock.monotonic() + 60_000));
    expect(statSync(`${paths.database}-wal`).size).toBe(0);
  });
});
