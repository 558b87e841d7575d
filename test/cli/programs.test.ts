// The programs beside the commands: each explains itself, and does nothing when it is told what it does not know.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { sotto } from '../rooms/program.ts';
import { daemonsOf } from './daemons.ts';
import { onTerminal } from './terminal.ts';

describe.each(['bench', 'demo', 'serve', 'daemon run'])('sotto %s', (name) => {
  const words = name.split(' ');

  test('explains itself, wherever that is asked', async () => {
    for (const argv of [
      [...words, '--help'],
      [...words, '-h'],
      ['--help', ...words],
      ['help', ...words],
    ]) {
      const { code, out, err } = await sotto(argv);
      expect([code, err], argv.join(' ')).toEqual([0, '']);
      expect(out).toMatch(new RegExp(`^sotto ${name}\\b`));
    }
  });

  test.skipIf(name === 'daemon run')('refuses a flag that it does not know', async () => {
    const { code, out, err } = await sotto([...words, '--no-such-flag']);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('--no-such-flag');
  });

  test('says in one line that there are no libraries for a system, before it does anything', async () => {
    // Where its loader looks for libraries of another system, there are none.
    const elsewhere = { npm_config_platform: 'freebsd' };
    const more = name === 'bench' ? ['search.cold'] : [];
    const { code, out, err } = await sotto([...words, ...more], elsewhere);
    expect([code, out]).toEqual([1, '']);
    expect(err).toMatch(/^sotto: There is no ready-made Signal or SQLCipher library for [^\n]+\n$/);
    if (name === 'demo') return;
    const told = await sotto([...words, ...more, '--json'], elsewhere);
    expect(JSON.parse(told.err)).toMatchObject({ code: 'platform.unsupported', exit: 1 });
  });
});

test('bench takes its flags before its name too, and no figure that is not there', async () => {
  const { code, out } = await sotto(['--json', 'bench', '--list']);
  expect(code).toBe(0);
  expect(JSON.parse(out.split('\n')[0] ?? '')).toMatchObject({ name: expect.any(String), unit: expect.any(String) });
  expect((await sotto(['bench', 'no.such'])).code).toBe(2);
  expect((await sotto(['demo', 'alice'])).code).toBe(2);
});

test('bench that is interrupted ends what it has started, and leaves nothing', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sotto-bench-'));
  const daemons = () => daemonsOf(`${dir}/`);
  const words = ['bench', 'cli.unread', '--only', '--runs', '1000'];
  const bench = spawn(resolve('bin/sotto'), words, { env: { ...process.env, TMPDIR: dir }, stdio: 'ignore' });
  await vi.waitFor(() => expect(daemons()).toHaveLength(1), { timeout: 30_000, interval: 50 });
  const ended = once(bench, 'exit');
  bench.kill('SIGTERM');
  expect(await ended).toEqual([143, null]);
  await vi.waitFor(() => expect(daemons()).toEqual([]), { timeout: 30_000, interval: 50 });
  expect(readdirSync(dir)).toEqual([]);
  rmSync(dir, { recursive: true });
});

test('help may stand behind flags of every command, and --version behind a command that wants words', async () => {
  expect((await sotto(['--json', 'help', 'send'])).out).toContain('sotto send <to>');
  expect((await sotto(['send', '--version'])).out).toMatch(/^sotto \d/);
});

test('sotto alone is a short page on a terminal, and all of help elsewhere; help is as wide as the terminal', async () => {
  const program = resolve('bin/sotto');
  const shown = async (words: string) => {
    const ran = await onTerminal(`stty cols 60; ${program} ${words}`, []);
    return ran.shown.replaceAll('\r', '').trimEnd().split('\n');
  };
  const short = await shown('');
  expect(short.length).toBeLessThan(20);
  expect(short).toEqual(expect.arrayContaining(['Start here:', 'All commands: sotto help']));
  const all = await shown('help');
  const { out } = await sotto([]);
  expect(out).toBe((await sotto(['help'])).out);
  expect(all.join(' ').replace(/\s+/g, ' ')).toBe(out.trimEnd().replace(/\s+/g, ' '));
  for (const line of [...short, ...all, ...(await shown('help channel')), ...(await shown('send --help')).slice(2)])
    expect(line.length, line).toBeLessThanOrEqual(60);
});
