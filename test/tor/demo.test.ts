// The demo as somebody runs it who changes their mind: interrupted at any step it leaves nothing, and it takes no folder of others.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { ServerProcess } from '../../src/lab/server-process.ts';
import { sotto } from '../rooms/program.ts';

/** Runs the demo in `dir`, and interrupts it once `after` was said. */
const demo = (dir: string, after?: string): Promise<{ code: number | null; err: string }> =>
  new Promise((done) => {
    const child = spawn(resolve('bin/sotto'), ['demo', '--dir', dir], { stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => {
      const isSaid = after !== undefined && out.includes(after);
      out += chunk.toString();
      if (!isSaid && after !== undefined && out.includes(after)) setTimeout(() => child.kill('SIGINT'), 500);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString();
    });
    child.on('close', (code) => done({ code, err }));
  });

/** Command lines of processes that have to do with a folder. */
const processesOf = (dir: string): string[] =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')];
      } catch {
        return [];
      }
    })
    .filter((line) => line.includes(dir));

test.each(['Starting a private Tor network', 'The Tor network is up', 'Bob goes offline'])(
  'interrupted after "%s" it leaves nothing running, and nothing in its folder',
  async (after) => {
    const dir = join(mkdtempSync(join(tmpdir(), 'sotto-demo-')), 'here');
    const { code, err } = await demo(dir, after);
    expect([code, err]).toEqual([130, 'sotto: interrupted: ending what was started\n']);
    expect(existsSync(dir)).toBe(false);
    await expect.poll(() => processesOf(dir), { timeout: 5_000 }).toEqual([]);
  },
);

test('the server that --keep leaves goes on until --stop', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sotto-demo-'));
  const server = new ServerProcess(join(dir, 'server'), { detached: true });
  await server.start();
  server.leave();
  expect(processesOf(dir)).toHaveLength(1);
  const stop = () => sotto(['demo', '--stop', '--dir', dir]);
  expect(await stop()).toEqual({ code: 0, out: '', err: `The demo in ${dir} has ended.\n` });
  expect(processesOf(dir)).toEqual([]);
  expect(await stop()).toEqual({ code: 0, out: '', err: `No demo runs in ${dir}.\n` });
  rmSync(dir, { recursive: true });
});

test('a folder with something in it is not touched', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sotto-demo-'));
  const file = join(dir, 'of mine');
  writeFileSync(file, 'kept');
  for (const taken of [dir, file]) {
    const { code, err } = await demo(taken);
    expect([code, err]).toEqual([7, expect.stringContaining('is no empty folder')]);
  }
  expect(readFileSync(file, 'utf8')).toBe('kept');
  rmSync(dir, { recursive: true });
});
