// The account database's migrations, in order; one that was published is never edited.
import { SottoError } from '../protocol/errors.ts';
import type { Database } from '../sqlite/open.ts';
import { SCHEMA_1 } from './schema-1.ts';

const MIGRATIONS: readonly string[] = [SCHEMA_1];

/** The schema this program writes; `sotto --version --json` tells it. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * Brings a database to SCHEMA_VERSION, each step in a transaction of its own that leaves the file as it was when it
 * throws. Throws `database.newer` for a file that a newer program wrote.
 */
export const migrate = (db: Database): void => {
  db.exec(
    'CREATE TABLE IF NOT EXISTS schema_meta (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL) STRICT',
  );
  const current = db.get<{ version: number }>('SELECT version FROM schema_meta')?.version ?? 0;
  if (current > SCHEMA_VERSION)
    throw new SottoError('database.newer', {
      message: `The database has schema ${current}, this program knows ${SCHEMA_VERSION}: update it`,
    });
  for (let version = current; version < SCHEMA_VERSION; version++)
    db.transaction(() => {
      db.exec(MIGRATIONS[version] ?? '');
      db.run(
        'INSERT INTO schema_meta (id, version) VALUES (1, ?) ON CONFLICT DO UPDATE SET version = excluded.version',
        version + 1,
      );
    });
};
