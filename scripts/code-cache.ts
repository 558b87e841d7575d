// Makes dist/cli.cache, with the functions that commands run: a daemon that knows no method answers them here. Node's own cache
// has none of them, as it is made before a program runs.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
const FILE = join(import.meta.dirname, '../dist/cli.cjs');

const GREETING = { sotto: '', rpc: 1, account: 'default', locked: false, exists: true, passphrase: false };
const REFUSAL = { code: -32601, message: 'There is no such method', data: { code: 'method.unknown' } };

const dataDir = mkdtempSync(join(tmpdir(), 'sotto-'));
const { socket: path, socketDir } = accountPaths(placesOf(dataDir, {}), 'default', {});
mkdirSync(socketDir, { recursive: true });
const server = createServer((socket) => {
  socket.write(`${JSON.stringify(GREETING)}\n`);
  socket.on('data', (line) => {
    const { id } = JSON.parse(String(line)) as { readonly id: number };
    socket.write(`${JSON.stringify({ jsonrpc: '2.0', id, error: REFUSAL })}\n`);
  });
}).listen(path);

const script = compiled(FILE);
const module = { exports: {} };
script.runInThisContext()(module.exports, createRequire(FILE), module, FILE, '');
const { runCli } = module.exports as typeof import('../src/cli/run.ts');
for (const line of COMMANDS)
  await runCli({
    argv: ['--data-dir', dataDir, ...line.split(' ')],
    environment: {},
    version: '',
    versions: {},
    self: [''],
  });
server.close();
for (const dir of [socketDir, dataDir]) rmSync(dir, { recursive: true, force: true });
writeFileSync(cacheOf(FILE), script.createCachedData());
