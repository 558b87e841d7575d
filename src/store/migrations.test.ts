import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../sqlite/open.ts';
import { checkDatabase } from './check.ts';
import { removeMessage } from './messages.ts';
import { migrate, SCHEMA_VERSION, SCHEMAS } from './migrations.ts';
import { SCHEMA_1 } from './schema-1.ts';
import { SCHEMA_2 } from './schema-2.ts';
import { searchMessages } from './search.ts';

const KEY = new Uint8Array(32).fill(7);
const frozen = (name: string) => readFileSync(join('test/compat', name), 'utf8');

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sotto-migrate-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const open = (name: string) => openDatabase(join(dir, name), KEY);
const schemaOf = (db: Database) =>
  db.all('SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name').map((row) => JSON.stringify(row));
const rowsOf = (db: Database) =>
  db
    .all<{ name: string }>(
      `SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name`,
    )
    .map(({ name }) => [name, db.all(`SELECT * FROM "${name}"`).length] as const);

describe('published schemas', () => {
  test('are never edited', () => {
    expect(SCHEMAS).toEqual(SCHEMAS.map((_, i) => frozen(`schema-${i + 1}.sql`)));
  });

  test.each(Array.from({ length: SCHEMA_VERSION }, (_, i) => i + 1))(
    '%i becomes what a fresh one is, rows kept',
    (version) => {
      using old = open('old');
      old.exec('CREATE TABLE schema_meta (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL) STRICT');
      old.exec('PRAGMA foreign_keys = OFF');
      for (let step = 1; step <= version; step++) old.exec(frozen(`schema-${step}.sql`));
      old.exec('PRAGMA foreign_keys = ON');
      old.run('INSERT INTO schema_meta (id, version) VALUES (1, ?)', version);
      old.exec(frozen(`schema-${version}-rows.sql`));
      const before = rowsOf(old);
      migrate(old);
      using fresh = open('fresh');
      migrate(fresh);
      const text = (line: string) => line.replace('IF NOT EXISTS ', '');
      expect(schemaOf(old).map(text)).toEqual(schemaOf(fresh).map(text));
      const kept = new Map(before);
      expect(rowsOf(old).filter(([name]) => kept.has(name))).toEqual(before);
      expect(rowsOf(old).filter(([name, count]) => !kept.has(name) && count > 0)).toEqual([]);
      expect(before.filter(([, count]) => count > 0).length).toBeGreaterThan(8);
      expect(checkDatabase(old)).toEqual([]);
    },
  );
});

test('what schema 5 had indexed as it was is found as it is looked for now, and goes whole', () => {
  using db = open('db');
  migrate(db, { migrations: SCHEMAS.slice(0, 5) });
  db.exec(frozen('schema-5-rows.sql'));
  const find = (words: string) =>
    searchMessages(db, { words, after: 0, before: Number.MAX_SAFE_INTEGER, limit: 10 }).map(({ row }) => row.id);
  const body = '我用iPhone拍照';
  const { id, c } = db.get<{ id: number; c: number }>(
    'SELECT id, conversation_id AS c FROM messages WHERE mine = 0 AND member_row IS NULL',
  ) ?? { id: 0, c: 0 };
  db.run('UPDATE messages SET body = ?, deleted_at = NULL WHERE id = ?', body, id);
  db.run('UPDATE messages SET deleted_at = 1 WHERE id <> ?', id);
  db.run(`INSERT INTO messages_fts (messages_fts) VALUES ('delete-all')`);
  db.run('INSERT INTO messages_fts (rowid, body, who) VALUES (?, ?, ?)', id, body, `c${c} them c${c}them`);
  expect(find('iphone')).toEqual([]);
  migrate(db);
  expect(find('iphone')).toEqual([id]);
  removeMessage(db, id);
  for (const word of ['iphone', '我用iphone拍照'])
    expect(db.all('SELECT rowid FROM messages_fts WHERE messages_fts MATCH ?', `body : "${word}"`)).toEqual([]);
});

describe('a migration', () => {
  const next = [...SCHEMAS, 'ALTER TABLE contacts ADD COLUMN extra TEXT'];
  const old = (): Database => {
    const db = open('db');
    migrate(db, { migrations: [SCHEMA_1] });
    db.exec(frozen('schema-1-rows.sql'));
    return db;
  };

  test('that throws in the middle leaves the file as it was', () => {
    using db = old();
    const before = [schemaOf(db), rowsOf(db)];
    const broken = `${SCHEMA_2}; DELETE FROM messages; INSERT INTO no_such_table VALUES (1)`;
    expect(() => migrate(db, { migrations: [SCHEMA_1, broken] })).toThrow('no_such_table');
    expect([schemaOf(db), rowsOf(db)]).toEqual(before);
    expect(db.get('SELECT version FROM schema_meta')).toEqual({ version: 1 });
    migrate(db, { migrations: next });
    expect(db.get('SELECT version FROM schema_meta')).toEqual({ version: next.length });
  });

  test('that ends at its second step keeps the copy of what was before the first, however often it is tried', () => {
    const copy = join(dir, 'before');
    using db = old();
    for (let tries = 0; tries < 2; tries++)
      expect(() => migrate(db, { copyTo: copy, migrations: [SCHEMA_1, SCHEMA_2, 'no sql'] })).toThrow();
    using before = openDatabase(copy, KEY);
    for (const one of [db, before]) expect(one.get('SELECT version FROM schema_meta')).toEqual({ version: 1 });
  });

  test('copies the database before it changes rows, under the same key; a fresh one is not copied', () => {
    const copy = join(dir, 'before');
    {
      using fresh = open('fresh');
      migrate(fresh, { copyTo: copy });
      expect(existsSync(copy)).toBe(false);
    }
    using db = old();
    migrate(db, { copyTo: copy, migrations: next });
    using before = openDatabase(copy, KEY);
    expect(before.get('SELECT version FROM schema_meta')).toEqual({ version: 1 });
    const kept = new Map(rowsOf(before));
    expect(rowsOf(db).filter(([name]) => kept.has(name))).toEqual(rowsOf(before));
  });

  test('of a newer program is refused, and nothing is touched', () => {
    using db = old();
    migrate(db, { migrations: next });
    const before = schemaOf(db);
    expect(() => migrate(db)).toThrow(expect.objectContaining({ code: 'database.newer' }));
    expect(schemaOf(db)).toEqual(before);
  });
});
