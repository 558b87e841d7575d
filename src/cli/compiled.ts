// Loads a bundle from the code cache that the build has made beside it: nothing of a command is parsed when it runs.
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Script } from 'node:vm';

/** Path of the code cache of the bundle `file`. */
export const cacheOf = (file: string): string => file.replace(/\.cjs$/, '.cache');

/** The bundle `file`, a CommonJS module, as one function; a cache that is for another Node is not used. */
export const compiled = (file: string, cachedData?: Buffer): Script =>
  // The bundles are ASCII.
  new Script(`(function (exports, require, module, __filename, __dirname) {${readFileSync(file, 'latin1')}\n})`, {
    filename: file,
    ...(cachedData === undefined ? {} : { cachedData }),
  });

/** What the bundle `file` exports; it loads others by `require`. */
export const loadCompiled = (file: string, require: NodeJS.Require): unknown => {
  const module = { exports: {} };
  const run = compiled(file, readFileSync(cacheOf(file))).runInThisContext();
  run(module.exports, require, module, file, dirname(file));
  return module.exports;
};
