// The file config.toml: Tor, and the log level. A file with a mistake is refused whole.
import { existsSync, readFileSync } from 'node:fs';
import { parse, TomlError } from 'smol-toml';
import * as z from 'zod';
import { readNetworkFile, type TorConfig, TorSection } from '../net/tor-config.ts';
import { SottoError } from '../protocol/errors.ts';
import { inWords, problemsOf, problemText } from '../protocol/issues.ts';

/** Every setting of the program, with its default and what it does. They count for each account from its daemon's next reading. */
export const CONFIG = z.strictObject({
  tor: TorSection.extend({
    offline: z
      .boolean()
      .default(false)
      .describe('no Tor for any account (one alone: `init --no-tor`); servers of rooms are then reached straight'),
  }).prefault({}),
  log: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('the least that `daemon.log` takes'),
    })
    .prefault({}),
});

export type Config = {
  readonly tor: TorConfig & { readonly offline: boolean };
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error' };
};

/** Reads the file; defaults when there is none. Throws `config.invalid` with the place and what is wrong there. */
export const readConfig = (path: string): Config => {
  if (!existsSync(path)) return CONFIG.parse({});
  let raw: unknown;
  try {
    raw = parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const place = error instanceof TomlError ? `${path}, line ${error.line}` : path;
    throw new SottoError('config.invalid', {
      message: `${place}: ${error instanceof Error ? error.message.split('\n')[0] : 'not TOML'}`,
    });
  }
  const config = CONFIG.safeParse(raw, { error: inWords });
  if (!config.success) {
    const problems = problemsOf(config.error, 'setting').map(problemText);
    throw new SottoError('config.invalid', { message: `${path}: ${problems.join('; ')}` });
  }
  if (config.data.tor.network !== undefined) readNetworkFile(config.data.tor.network);
  return config.data;
};
