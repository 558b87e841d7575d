// Makes the code caches of the programs that start often, with the functions that a start and the usual commands run. Node's own
// cache has none of them, as it is made before a program runs.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { cacheOf, compiled } from '../src/cli/compiled.ts';
import { accountPaths, placesOf } from '../src/client/paths.ts';

const COMMANDS = [
  'unread',
  'send bob hello',
  'read bob',
  'conversations',
  'search hello',
  'contact list',
  'status --json',
];
const umask = process.umask();
const DIST = join(import.meta.dirname, '../dist');

const load = (name: string) => {
  const file = join(DIST, `${name}.cjs`);
  const script = compiled(file);
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(file), module, file, dirname(file));
  const keep = (): void => {
    // A program that ran here has kept what is written to its user.
    process.umask(umask);
    writeFileSync(cacheOf(file), script.createCachedData());
  };
  return { exports: module.exports, keep };
};

const there = async (path: string): Promise<void> => {
  while (!existsSync(path)) await setTimeout(10);
};

const dataDir = mkdtempSync(join(tmpdir(), 'sotto-'));
writeFileSync(join(dataDir, 'config.toml'), '[tor]\noffline = true\n');
const { socket } = accountPaths(placesOf(dataDir, process.env), 'default', process.env);

const cli = load('cli');
const daemon = load('daemon');
const { runCli } = cli.exports as typeof import('../src/cli/run.ts');
const { runDaemon } = daemon.exports as typeof import('../src/daemon/main.ts');
// It makes an account, and opens it.
for (const lines of [['init --nickname a --no-passphrase'], COMMANDS]) {
  const ended = runDaemon({ account: 'default', dataDir, version: '', json: false, unknown: undefined });
  await there(socket);
  for (const line of [...lines, 'daemon stop'])
    await runCli({
      argv: ['--data-dir', dataDir, '--account', 'default', ...line.split(' ')],
      environment: process.env,
      version: '',
      versions: {},
      self: [''],
    });
  await ended;
}
cli.keep();
daemon.keep();

const server = load('server');
const { runServe } = server.exports as typeof import('../src/server/main.ts');
const ended = runServe(['--data-dir', join(dataDir, 'server'), '--listen', '127.0.0.1:0']);
await there(join(dataDir, 'server', 'admin.sock'));
process.emit('SIGTERM');
await ended;
// A cache is for a V8 with the same flags: those that a program starts with.
setFlagsFromString('--heap-growing-percent=0');
server.keep();
rmSync(dataDir, { recursive: true, force: true });
