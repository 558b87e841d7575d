import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { migrateServer, SERVER_SCHEMA } from '../../src/server/migrations.ts';
import { SCHEMA_1 } from '../../src/server/schema-1.ts';
import { SCHEMA_2 } from '../../src/server/schema-2.ts';
import { SCHEMA_3 } from '../../src/server/schema-3.ts';
import { type Database, openDatabase } from '../../src/sqlite/open.ts';
import { tempDir } from './server.ts';

const frozen = (name: string) => readFileSync(join('test/compat', name), 'utf8');
const META = `CREATE TABLE schema_meta (
  id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, oldest_program INTEGER NOT NULL) STRICT`;

let dir: string;
let remove: () => void;
beforeEach(() => {
  ({ dir, remove } = tempDir());
});
afterEach(() => remove());

const open = (name: string) => openDatabase(join(dir, name));
const flat = (sql: string) => sql.replace('IF NOT EXISTS ', '').replace(/\s+/g, ' ');
const schemaOf = (db: Database) =>
  db
    .all<{ name: string; sql: string | null }>('SELECT name, sql FROM sqlite_schema ORDER BY type, name')
    .map(({ name, sql }) => `${name}: ${flat(sql ?? '')}`);
const rowsOf = (db: Database) =>
  db
    .all<{ name: string }>(`SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`)
    .map(({ name }) => [name, db.all(`SELECT * FROM "${name}"`)] as const);

/** A database as the program of that schema left it. */
const old = (version: number): Database => {
  const db = open(`old-${version}`);
  db.exec(META);
  db.exec(frozen(`server-schema-${version}.sql`));
  db.run('INSERT INTO schema_meta (id, version, oldest_program) VALUES (1, ?, ?)', version, version);
  db.exec(frozen(`server-schema-${version}-rows.sql`));
  return db;
};

describe("published schemas of a server's database", () => {
  test('are never edited', () => {
    expect(SCHEMA_1).toBe(frozen('server-schema-1.sql'));
    expect(SCHEMA_1 + SCHEMA_2).toBe(frozen('server-schema-2.sql'));
    expect(SCHEMA_1 + SCHEMA_2 + SCHEMA_3).toBe(frozen('server-schema-3.sql'));
  });

  test.each(Array.from({ length: SERVER_SCHEMA }, (_, i) => i + 1))(
    '%i becomes what a fresh one is, rows kept',
    (version) => {
      using db = old(version);
      const before = rowsOf(db);
      expect(before.filter(([, rows]) => rows.length === 0)).toEqual([]);
      migrateServer(db);
      using fresh = open('fresh');
      migrateServer(fresh);
      expect(schemaOf(db)).toEqual(schemaOf(fresh));
      const names = new Set(before.map(([name]) => name));
      expect(
        rowsOf(db)
          .filter(([name]) => names.has(name))
          .map(([name, rows]) => [name, rows.length]),
      ).toEqual(before.map(([name, rows]) => [name, rows.length]));
      expect(db.all('PRAGMA foreign_key_check')).toEqual([]);
    },
  );
});

test('what others have in an inbox is counted when the count comes', () => {
  using db = old(1);
  const [alice, bob] = [1, 2].map((n) => `x'aa${n.toString().padStart(30, '0')}'`);
  for (const [seq, by] of [alice, bob, bob].entries())
    db.exec(`INSERT INTO event VALUES (${alice}, ${seq + 1}, randomblob(16), ${by}, 3, 1, zeroblob(32), x'78')`);
  migrateServer(db);
  expect(db.all('SELECT hex(inbox) AS inbox, hex(member) AS member, events FROM inbox_share')).toEqual([
    { inbox: `AA${'1'.padStart(30, '0')}`, member: `AA${'2'.padStart(30, '0')}`, events: 2 },
  ]);
});

describe('a migration', () => {
  const first = { sql: SCHEMA_1, oldestProgram: 1 };
  const expand = { sql: 'ALTER TABLE member ADD COLUMN extra TEXT', oldestProgram: 1 };
  const contract = { sql: 'ALTER TABLE member DROP COLUMN status', oldestProgram: 2 };
  const metaOf = (db: Database) => db.get('SELECT version, oldest_program FROM schema_meta');

  test('that throws in the middle leaves the file as it was', () => {
    using db = old(1);
    const before = [schemaOf(db), rowsOf(db)];
    const broken = { sql: `${expand.sql}; DELETE FROM job; INSERT INTO no_such_table VALUES (1)`, oldestProgram: 2 };
    expect(() => migrateServer(db, [first, broken])).toThrow('no_such_table');
    expect([schemaOf(db), rowsOf(db)]).toEqual(before);
    migrateServer(db, [first, expand]);
    expect(metaOf(db)).toEqual({ version: 2, oldest_program: 1 });
  });

  test('that only adds is bearable to the program before; one that takes away is refused by it, and nothing is touched', () => {
    using db = old(1);
    migrateServer(db, [first, expand]);
    const before = schemaOf(db);
    migrateServer(db, [first]);
    expect([schemaOf(db), metaOf(db)]).toEqual([before, { version: 2, oldest_program: 1 }]);
    migrateServer(db, [first, expand, contract]);
    migrateServer(db, [first, expand]);
    const after = schemaOf(db);
    expect(() => migrateServer(db, [first])).toThrow(expect.objectContaining({ code: 'database.newer' }));
    expect([schemaOf(db), metaOf(db)]).toEqual([after, { version: 3, oldest_program: 2 }]);
  });
});
