// What `scripts/setup` and `bin/sotto` say on machines that are not ready: the real scripts, where some commands of the system are others.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { onTerminal } from './cli/terminal.ts';

const INSTALL = 'apt-get install -y --no-install-recommends tor';
const USED = ['dirname', 'cmp', 'script'];

let bin: string;

/** Puts a command of its own on the path. */
const put = (name: string, script: string) => writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });

beforeEach(() => {
  bin = mkdtempSync(join(tmpdir(), 'sotto-setup-'));
  for (const name of USED) {
    const path = ['/usr/bin', '/bin'].map((dir) => join(dir, name)).find((one) => existsSync(one));
    if (path !== undefined) symlinkSync(path, join(bin, name));
  }
  put('uname', 'echo Linux');
  put('getconf', 'echo glibc 2.36');
  put('id', 'echo 1000');
  put('apt-get', 'echo "apt-get was run" >&2; exit 1');
});
afterEach(() => rmSync(bin, { recursive: true }));

/** Without a terminal, as from a script. */
const setup = () => {
  const { status, stdout, stderr } = spawnSync('/bin/sh', ['scripts/setup'], {
    env: { PATH: bin },
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
  });
  return { code: status, said: `${stdout}${stderr}` };
};

test('without rights it ends with one line that says what to run, and runs nothing', () => {
  expect(setup()).toEqual({
    code: 1,
    said: `setup: tor is missing and needs the administrator's rights: run  sudo ${INSTALL}\n`,
  });
});

test('on a terminal it becomes the administrator for what it prints', async () => {
  put('sudo', 'echo "did: $*"; case "$*" in *install*) exit 1 ;; esac');
  const { code, shown } = await onTerminal('/bin/sh scripts/setup', [], { PATH: bin });
  expect([code, shown.replaceAll('\r', '').split('\n')]).toEqual([
    1,
    expect.arrayContaining([
      'setup: sudo apt-get update',
      'did: apt-get update -qq',
      `setup: sudo ${INSTALL}`,
      `did: env DEBIAN_FRONTEND=noninteractive ${INSTALL}`,
      `setup: tor could not be installed: run  sudo ${INSTALL}`,
    ]),
  ]);
});

test('where nothing is ready-made, or no package manager is known, one line says so', () => {
  rmSync(join(bin, 'apt-get'));
  expect(setup()).toMatchObject({ code: 1, said: expect.stringMatching(/^setup: tor is missing: [^\n]+\n$/) });
  put('getconf', 'exit 1');
  expect(setup()).toMatchObject({ code: 1, said: expect.stringMatching(/^setup: [^\n]*Linux without glibc[^\n]*\n$/) });
  put('uname', 'echo OpenBSD');
  expect(setup()).toMatchObject({ code: 1, said: expect.stringMatching(/^setup: [^\n]*OpenBSD[^\n]*\n$/) });
});

test('without the pinned Node the program takes one that is new enough, or says in one line how to get it', () => {
  const root = join(bin, 'checkout');
  cpSync('bin', join(root, 'bin'), { recursive: true });
  mkdirSync(join(root, 'dist'));
  writeFileSync(join(root, 'dist/main.cjs'), '');
  const started = () => {
    const options = { env: { PATH: bin }, encoding: 'utf8' } as const;
    const { status, stdout, stderr } = spawnSync(join(root, 'bin/sotto'), ['status'], options);
    return { code: status, out: stdout, err: stderr };
  };
  const run = `run  sh scripts/setup  in ${root}\n`;
  expect(started()).toEqual({ code: 1, out: '', err: `sotto: there is no Node 24.7 or newer here: ${run}` });
  for (const version of ['v18.20.4', 'v20.20.2', 'v24.6.0', 'v9.1.0']) {
    put('node', `[ "$1" = --version ] || exit 9; echo ${version}`);
    const err = `sotto: there is no Node 24.7 or newer here, only ${version}: ${run}`;
    expect(started()).toEqual({ code: 1, out: '', err });
  }
  for (const version of ['v24.7.0', 'v24.21.0', 'v26.0.1']) {
    put('node', `[ "$1" = --version ] && echo ${version} || echo "run: $*"`);
    expect(started()).toMatchObject({ code: 0, out: expect.stringMatching(/^run: .*main\.cjs status\n$/), err: '' });
  }
});
