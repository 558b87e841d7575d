import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

// What looks after SQLite's own file may speak to it: schema, migrations, check, opening and checkpoints.
const OWN = /^(schema-\d+|migrations|check|wal|server-dir|server-store|search-index)\.ts$/;
const SQLITE_ONLY =
  /rowid|last_insert|INSERT OR|REPLACE INTO|IFNULL|\bGLOB\b|PRAGMA|sqlite_|datetime\(|\bIS NOT \?|\bSELECT \?/i;

test('statements of the server are in the common subset of SQLite and PostgreSQL', () => {
  const wrong: string[] = [];
  let statements = 0;
  for (const name of readdirSync('src/server').filter((file) => !OWN.test(file)))
    for (const [, sql = ''] of readFileSync(join('src/server', name), 'utf8').matchAll(
      /[`']((?:SELECT|INSERT|UPDATE|DELETE|WHERE|ON CONFLICT)\b[^`]*?)[`']/g,
    )) {
      statements++;
      if (SQLITE_ONLY.test(sql)) wrong.push(`${name}: ${sql}`);
    }
  expect(wrong).toEqual([]);
  expect(statements).toBeGreaterThan(80);
});
