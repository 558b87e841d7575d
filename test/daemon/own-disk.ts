// A script on a small file system of its own.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

// More than `doctor` wants to be free.
const SIZE = '96m';

/** What a script says in a place of its own, where it may mount, with a small disk at TMPDIR. */
export const saidBy = async (script: string): Promise<string> => {
  const mount = mkdtempSync(join(tmpdir(), 'sotto-disk-'));
  const start = `mount -t tmpfs -o size=${SIZE} none "$1" && TMPDIR=$1 exec "$2" "$3"`;
  const args = ['-rm', 'sh', '-c', start, 'sh', mount, process.execPath, resolve(script)];
  const child = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      said += chunk;
    });
  await new Promise((done) => child.on('close', done));
  rmdirSync(mount);
  return said;
};
