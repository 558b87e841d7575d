// The account database's migrations, in order; one that was published is never edited.
import { rmSync } from 'node:fs';
import { SottoError } from '../protocol/errors.ts';
import type { Database } from '../sqlite/open.ts';
import { indexApart } from './messages.ts';
import { SCHEMA_1 } from './schema-1.ts';
import { SCHEMA_2 } from './schema-2.ts';
import { SCHEMA_3 } from './schema-3.ts';
import { SCHEMA_4 } from './schema-4.ts';
import { SCHEMA_5 } from './schema-5.ts';
import { SCHEMA_6 } from './schema-6.ts';
import { SCHEMA_7 } from './schema-7.ts';

/** Every step, from an empty file to the schema of now. */
export const SCHEMAS: readonly string[] = [SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5, SCHEMA_6, SCHEMA_7];

// What a step does beside its SQL.
const DEEDS: Readonly<Record<number, (db: Database) => void>> = { 6: indexApart };

/** The schema this program writes; `sotto --version --json` tells it. */
export const SCHEMA_VERSION = SCHEMAS.length;

/**
 * Brings a database to the last of `migrations`, all steps in one transaction, which leaves the file as it was when one
 * throws. Before a database with rows is changed, which `begins` is told of, `copyTo` (an absolute path) gets a copy of it. Throws `database.newer`
 * for a file that a newer program wrote.
 */
export const migrate = (
  db: Database,
  options: { readonly copyTo?: string; readonly migrations?: readonly string[]; readonly begins?: () => void } = {},
): void => {
  const { copyTo, migrations = SCHEMAS } = options;
  const current = versionOf(db);
  if (current > migrations.length)
    throw new SottoError('database.newer', {
      message: `The database has schema ${current}, this program knows ${migrations.length}: update it`,
    });
  if (copyTo !== undefined && current > 0 && current < migrations.length) {
    options.begins?.();
    // One that is there already comes from an attempt that ended before it changed anything.
    rmSync(copyTo, { force: true });
    db.copyTo(copyTo);
  }
  // A table that others point at is made anew under another name: SQLite asks that nothing cascades meanwhile.
  db.exec('PRAGMA foreign_keys = OFF');
  try {
    db.transaction(() => {
      for (let version = current + 1; version <= migrations.length; version++) step(db, version, migrations);
    });
  } finally {
    db.exec('PRAGMA foreign_keys = ON');
  }
};

const step = (db: Database, version: number, migrations: readonly string[]): void => {
  db.exec(migrations[version - 1] ?? '');
  if (migrations === SCHEMAS) DEEDS[version]?.(db);
  const [broken] = db.all<{ table: string }>('PRAGMA foreign_key_check');
  if (broken !== undefined) throw new Error(`migration ${version} leaves ${broken.table} pointing at nothing`);
  db.run(
    'INSERT INTO schema_meta (id, version) VALUES (1, ?) ON CONFLICT DO UPDATE SET version = excluded.version',
    version,
  );
};

const versionOf = (db: Database): number => {
  db.exec(
    'CREATE TABLE IF NOT EXISTS schema_meta (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL) STRICT',
  );
  return db.get<{ version: number }>('SELECT version FROM schema_meta')?.version ?? 0;
};
