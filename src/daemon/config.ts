// The file config.toml: Tor, and the log level. A file with a mistake is refused whole.
import { existsSync, readFileSync } from 'node:fs';
import { parse, TomlError } from 'smol-toml';
import * as z from 'zod';
import { readNetworkFile, type TorConfig, TorSection } from '../net/tor-config.ts';
import { SottoError } from '../protocol/errors.ts';
import { inWords, problemsOf, problemText } from '../protocol/issues.ts';

const Schema = z.strictObject({
  tor: TorSection.extend({ offline: z.boolean().default(false) }).prefault({}),
  log: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info') }).prefault({}),
});

export type Config = {
  readonly tor: TorConfig & { readonly offline: boolean };
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error' };
};

/** Reads the file; defaults when there is none. Throws `config.invalid` with the place and what is wrong there. */
export const readConfig = (path: string): Config => {
  if (!existsSync(path)) return Schema.parse({});
  let raw: unknown;
  try {
    raw = parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const place = error instanceof TomlError ? `${path}, line ${error.line}` : path;
    throw new SottoError('config.invalid', {
      message: `${place}: ${error instanceof Error ? error.message.split('\n')[0] : 'not TOML'}`,
    });
  }
  const config = Schema.safeParse(raw, { error: inWords });
  if (!config.success) {
    const problems = problemsOf(config.error, 'setting').map(problemText);
    throw new SottoError('config.invalid', { message: `${path}: ${problems.join('; ')}` });
  }
  if (config.data.tor.network !== undefined) readNetworkFile(config.data.tor.network);
  return config.data;
};
