// What a server keeps on its disk, to tell afterwards what was written.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { serialize } from 'node:v8';
import { sha256 } from '../../crypto/primitives.ts';
import { toHex } from '../../protocol/bytes.ts';
import { serverPaths } from '../../server/server-dir.ts';
import { openDatabase } from '../../sqlite/open.ts';

/** A hash of the content of every file, and of every table of the database, by its name. */
export type Kept = ReadonlyMap<string, string>;

/** What the server of this folder keeps now; its database is a plain one. */
export const keptIn = (dir: string): Kept => {
  const { database } = serverPaths(dir);
  // Its tables are looked at instead: where their rows lie in these files is no matter. An index of a log holds nothing.
  const isContent = (path: string) => !path.startsWith(database) && !path.endsWith('-shm');
  const files = readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .filter(isContent);
  return new Map([
    ...files.map((path): [string, string] => [relative(dir, path), toHex(sha256(readFileSync(path)))]),
    ...tablesOf(database),
  ]);
};

const tablesOf = (path: string): [string, string][] => {
  using db = openDatabase(path);
  const tables = db.all<{ name: string }>("SELECT name FROM sqlite_schema WHERE type = 'table'");
  return tables.map(({ name }) => [`table ${name}`, toHex(sha256(serialize(db.all(`SELECT * FROM "${name}"`))))]);
};

/** The names of what is another now. */
export const changedSince = (before: Kept, now: Kept): string[] =>
  [...new Set([...before.keys(), ...now.keys()])].filter((name) => before.get(name) !== now.get(name));
