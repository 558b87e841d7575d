// The server database's migrations, in order; one that was published is never edited.
import { SottoError } from '../protocol/errors.ts';
import type { Database } from '../sqlite/open.ts';
import { SCHEMA_1 } from './schema-1.ts';
import { SCHEMA_2 } from './schema-2.ts';
import { SCHEMA_3 } from './schema-3.ts';

/**
 * One step. `oldestProgram` is the oldest schema whose program still works with the result: an expansion keeps it, the
 * contraction a release later raises it, so that two versions of the program can run beside each other in between.
 */
export type Migration = { readonly sql: string; readonly oldestProgram: number };

const MIGRATIONS: readonly Migration[] = [
  { sql: SCHEMA_1, oldestProgram: 1 },
  { sql: SCHEMA_2, oldestProgram: 2 },
  { sql: SCHEMA_3, oldestProgram: 2 },
];

/** The schema this program writes. */
export const SERVER_SCHEMA = MIGRATIONS.length;

type Meta = { readonly version: number; readonly oldest_program: number };

/**
 * Brings a database to the last of `migrations`, each step in a transaction of its own that leaves the file as it was when it
 * throws. A newer schema that still allows this program is left as it is; throws `database.newer` for one that does not.
 */
export const migrateServer = (db: Database, migrations: readonly Migration[] = MIGRATIONS): void => {
  const { version, oldest_program: oldest } = metaOf(db);
  if (version > migrations.length && oldest > migrations.length)
    throw new SottoError('database.newer', {
      message: `The database has schema ${version}, this program knows ${migrations.length}: update it`,
    });
  for (const [at, migration] of migrations.entries())
    if (at >= version)
      db.transaction(() => {
        db.exec(migration.sql);
        db.run(
          `INSERT INTO schema_meta (id, version, oldest_program) VALUES (1, ?, ?)
            ON CONFLICT (id) DO UPDATE SET version = excluded.version, oldest_program = excluded.oldest_program`,
          at + 1,
          migration.oldestProgram,
        );
      });
};

const metaOf = (db: Database): Meta => {
  db.exec(`CREATE TABLE IF NOT EXISTS schema_meta (
    id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, oldest_program INTEGER NOT NULL) STRICT`);
  return db.get<Meta>('SELECT version, oldest_program FROM schema_meta') ?? { version: 0, oldest_program: 0 };
};
