// The words behind `sotto serve`: which of them does what, and how its errors are told.
import { existsSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { errorObject, exitOf, outputError, SottoError } from '../protocol/errors.ts';
import { SERVE_COMMANDS, SERVE_FLAGS } from '../protocol/serve-words.ts';
import { makeFolder } from '../sqlite/folder.ts';
import { administer } from './admin-command.ts';
import { PORTS, serve } from './foreground.ts';
import {
  adminSocket,
  checkFlags,
  configPath,
  flagsOf,
  folderOf,
  type ServeValues,
  validConfig,
  wordsOfUnit,
} from './serve-flags.ts';
import { systemError } from './system-error.ts';
import { serverUnit } from './unit.ts';

const FLAG_COLUMNS = 26;

const helpText = (): string =>
  [
    'sotto serve: host a server for rooms',
    '',
    ...SERVE_COMMANDS.flatMap(([usage, doc]) => [`  sotto ${usage}`, `      ${doc}`]),
    '',
    'Flags of sotto serve:',
    ...SERVE_FLAGS.map(([flag, , doc]) => `  ${flag.padEnd(FLAG_COLUMNS)} ${doc}`),
    '',
  ].join('\n');

/** Runs `sotto serve …`; `program` is this program’s own path. Gives the exit code; errors go to stderr, as an object with `--json`. */
export const runServe = async (argv: readonly string[], program = 'sotto'): Promise<number> => {
  const json = argv.includes('--json');
  process.stdout.on('error', unread);
  try {
    const { values, positionals } = flagsOf(argv);
    if (values.help === true) return said(helpText());
    const [first, ...words] = positionals;
    checkFlags(values, positionals);
    const dir = folderOf(values, process.env);
    if (values.verbose === true) process.stderr.write(explained(values, dir, first === 'admin'));
    if (first === 'admin')
      return said(await administer(words, values, { dir, socket: adminSocket(dir), ports: PORTS }));
    if (first === 'install' && words.length === 0) return install(values, dir, program);
    if (first === 'install')
      throw new SottoError('usage.invalid', { message: 'sotto serve install takes no word more' });
    if (first !== undefined)
      throw new SottoError('usage.invalid', { message: `sotto serve does not know ${first}: see sotto serve --help` });
    if (values['check-config'] === true) return checkConfig(values, dir);
    // It serves on, whether or not somebody reads that it does.
    process.stdout.removeListener('error', unread).on('error', () => {});
    return await serve(values, dir);
  } catch (thrown) {
    const error = systemError(thrown);
    const told = errorObject(error);
    process.stderr.write(json ? `${JSON.stringify(told)}\n` : `sotto: ${told.message}\n`);
    if (told.code === 'internal.bug') process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    return exitOf(told.code);
  }
};

// As every command of sotto: nobody reads any more, or the disk takes no more.
const unread = (error: NodeJS.ErrnoException): void => {
  if (error.code === 'EPIPE') process.exit(141);
  const told = outputError(error);
  process.stderr.write(`sotto: ${told.message}\n`);
  process.exit(exitOf(told.code));
};

const explained = (values: ServeValues, dir: string, asks: boolean): string => {
  const config = configPath(values, dir);
  const from = asks ? `asked at ${adminSocket(dir)}` : `configured by ${existsSync(config) ? config : 'flags alone'}`;
  return `sotto: the server in ${dir}, ${from}\n`;
};

const said = (text: string): number => {
  process.stdout.write(text);
  return 0;
};

const checkConfig = (values: ServeValues, dir: string): number => {
  validConfig(values, dir);
  return said(values.json === true ? '{"problems":[]}\n' : 'The configuration is valid.\n');
};

const install = (values: ServeValues, dir: string, program: string): number => {
  validConfig(values, dir);
  const text = serverUnit({ program, args: [`--data-dir=${dir}`, ...wordsOfUnit(values)] });
  if (values.print === true) return said(text);
  const { XDG_CONFIG_HOME } = process.env;
  const configDir = XDG_CONFIG_HOME?.startsWith('/') === true ? XDG_CONFIG_HOME : join(homedir(), '.config');
  const path = join(configDir, 'systemd', 'user', 'sotto-server.service');
  makeFolder(dirname(path));
  writeFileSync(path, text, { mode: 0o600 });
  const next = 'systemctl --user daemon-reload && systemctl --user enable --now sotto-server';
  return said(
    values.json === true ? `${JSON.stringify({ file: path, next })}\n` : `Written: ${path}\nNow run: ${next}\n`,
  );
};
