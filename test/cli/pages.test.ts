// What sotto hands to other programs: the manual page and the files that start it at log-in, checked by those programs.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchdAgent } from '../../src/cli/units.ts';
import { run } from '../e2e/stage.ts';

// Spaces, quotes, what systemd expands, and what XML takes for its own.
const DIR = `/srv/a b/"c" %h $HOME \\x <d> & 'e'`;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sotto-pages-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const has = (program: string): boolean => spawnSync('which', [program]).status === 0;

/** A test that needs another program; its name says so where that is missing. */
const testWith = (program: string, name: string, body: () => Promise<void>) =>
  has(program) ? test(name, body) : test.skip(`${name} (skipped: ${program} is not installed)`, body);

/** Runs a program; gives its exit code and all it said. */
const check = (program: string, args: readonly string[], input = '') => {
  const { status, stdout, stderr } = spawnSync(program, args, {
    input,
    encoding: 'utf8',
    env: { ...process.env, XDG_RUNTIME_DIR: dir },
  });
  return { code: status, said: `${stdout}${stderr}` };
};

describe('the manual page', () => {
  testWith('mandoc', 'has nothing that mandoc finds wrong', async () => {
    const { code, out } = await run(['man']);
    expect(code).toBe(0);
    expect(check('mandoc', ['-Tlint'], out.toString())).toEqual({ code: 0, said: '' });
    const text = check('mandoc', ['-Tascii', '-O', 'width=200'], out.toString()).said.replace(/.\u0008/g, '');
    expect(text).toContain('contact verify <contact> [flags]');
    expect(text).toContain('0 done, 1 failed here, 2 usage');
  });
});

describe('the files that start the daemon at log-in', () => {
  testWith(
    'systemd-analyze',
    'the user unit passes systemd-analyze verify, whatever the folder is called',
    async () => {
      const { out } = await run(['--data-dir', DIR, '--account', 'alice', 'daemon', 'install', '--print']);
      const unit = join(dir, 'sotto-alice.service');
      writeFileSync(unit, out);
      expect(check('systemd-analyze', ['verify', '--user', '--man=no', unit])).toEqual({ code: 0, said: '' });
      expect(out.toString()).toContain(`"/srv/a b/\\"c\\" %%h $$HOME \\\\x <d> & 'e'"`);
    },
  );

  test('install writes the unit into the home of the user and says what to run next', async () => {
    const env = { HOME: dir };
    const { code, out } = await run(['--account', 'alice', 'daemon', 'install', '--json'], { env });
    expect(code).toBe(0);
    const { file, next } = JSON.parse(out.toString()) as { file: string; next: string };
    expect(file.startsWith(dir)).toBe(true);
    expect(next).toContain('alice');
    const printed = await run(['--account', 'alice', 'daemon', 'install', '--print'], { env });
    expect(readFileSync(file, 'utf8')).toBe(printed.out.toString());
  });

  testWith('python3', 'the launchd agent is a property list that holds the command word by word', async () => {
    const agent = launchdAgent({ program: '/opt/s&t/bin/sotto', account: 'alice', dataDir: DIR });
    const read = 'import json,plistlib,sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))';
    const { code, said } = check('python3', ['-c', read], agent);
    expect([code, JSON.parse(said)]).toEqual([
      0,
      {
        Label: 'sotto.alice',
        ProgramArguments: ['/opt/s&t/bin/sotto', '--data-dir', DIR, '--account', 'alice', 'daemon', 'run'],
        RunAtLoad: true,
        KeepAlive: { SuccessfulExit: false },
      },
    ]);
  });
});
