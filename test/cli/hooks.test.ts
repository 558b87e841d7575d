// Hooks of a daemon that dies, hooks that do not behave, and hooks that are new.
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Hooks, hookProblem } from '../../src/daemon/hooks.ts';
import type { Log, LogFields } from '../../src/ports.ts';
import { World } from '../../src/testing/people.ts';
import { databaseOf, furnish, pathsOf } from '../daemon/furnished.ts';
import { Stage, type User } from '../e2e/stage.ts';

const FOLDER = 'on-message.d';
const ARRIVES_MS = 300;

type Check = { check: string; ok: boolean; detail: string; fix?: string };
type Received = { kind: string; cursor: string; message: { body: string; from: string; id: string } };

const write = (hooksDir: string, name: string, script: string, mode = 0o700): void => {
  mkdirSync(join(hooksDir, FOLDER), { recursive: true, mode: 0o700 });
  writeFileSync(join(hooksDir, FOLDER, name), `#!/bin/sh\n${script}\n`, { mode });
  chmodSync(join(hooksDir, FOLDER, name), mode);
};

describe('hooks of a daemon', () => {
  let stage: Stage;
  let alice: User;
  let dir: string;

  beforeEach(async () => {
    stage = new Stage({ offline: true });
    alice = await furnish(stage, async (_alice, bob) => {
      for (const body of ['first', 'second', 'third']) await bob.send('alice', `${body} canary`);
    });
    dir = pathsOf(alice).hooksDir;
  });
  afterEach(() => stage[Symbol.asyncDispose]());

  /** A hook that was there before the messages came. */
  const hook = (name: string, script: string, mode?: number): void => {
    write(dir, name, script, mode);
    using db = databaseOf(alice);
    db.run(`INSERT INTO hook_cursors (hook, cursor, tries, failure) VALUES (?, 0, 0, '')`, name);
  };
  const lines = (name: string): string[] =>
    existsSync(join(dir, name)) ? readFileSync(join(dir, name), 'utf8').trimEnd().split('\n') : [];
  const until = (name: string, count: number) =>
    alice.until(`${count} lines in ${name}`, async () => lines(name).length >= count);
  const doctor = async () => (await alice.run<Check>('doctor')).items.find((one) => one.check === 'hooks') as Check;

  test('get an event again when the daemon died over it, and none that was done', async () => {
    hook('slow', 'cat >> seen; [ "$(wc -l < seen)" != 2 ] || while [ ! -e go ]; do sleep 0.05; done');
    await alice.ok('daemon', 'start');
    const pid = await alice.pid();
    await until('seen', 2);
    process.kill(pid, 'SIGKILL');
    appendFileSync(join(dir, 'go'), '');
    await alice.ok('daemon', 'start');
    await until('seen', 4);
    expect(lines('seen').map((line) => (JSON.parse(line) as Received).message.body.split(' ')[0])).toEqual([
      'first',
      'second',
      'second',
      'third',
    ]);
  });

  test('are tried three times with one event, and then shown by doctor', async () => {
    hook('fails', 'cat > last; cat last >> tries; ! grep -q third last');
    await alice.ok('daemon', 'start');
    await until('tries', 3);
    expect(await doctor()).toMatchObject({ ok: true });
    const bad = await alice.until('what failed', async () => [await doctor()].find((check) => !check.ok));
    expect(bad.detail).toMatch(/^fails exit 1; gave up on event \d+ after 3 tries$/);
    expect(bad.fix).toContain(join(dir, FOLDER));
    expect(lines('tries').map((line) => (JSON.parse(line) as Received).message.body.split(' ')[0])).toEqual([
      'first',
      'second',
      'third',
      'third',
      'third',
    ]);
  });
});

describe('hooks of an account under a manual clock', () => {
  let world: World;
  let dir: string;
  let logged: LogFields[];

  beforeEach(() => {
    world = new World();
    dir = mkdtempSync(join(tmpdir(), 'sotto-hooks-'));
    logged = [];
  });
  afterEach(async () => {
    await world[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true });
  });

  const log: Log = {
    debug: () => {},
    info: (_event, fields = {}) => logged.push(fields),
    warn: () => {},
    error: (_event, fields = {}) => logged.push(fields),
  };

  /** Waits for real processes; the world's time stands still. */
  const until = async (look: () => boolean): Promise<void> => {
    while (!look()) await new Promise((done) => setTimeout(done, 5));
  };
  const file = (name: string): string => (existsSync(join(dir, name)) ? readFileSync(join(dir, name), 'utf8') : '');
  const isRunning = (pid: number): boolean =>
    existsSync(`/proc/${pid}/stat`) && readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[2] !== 'Z';
  const friends = async () => {
    const { alice, bob } = await world.friends();
    const hooks = () => new Hooks({ account: alice.account, db: alice.db, dir, clock: world.clock, log });
    return { alice, bob, hooks };
  };

  test('are ended after 10 s with all that they started, and given up after three tries', async () => {
    const { bob, hooks } = await friends();
    write(dir, 'hangs', 'sleep 60 & echo $! >> pids; wait');
    using running = hooks();
    await bob.send('alice', 'one');
    await world.settle(ARRIVES_MS);
    for (let tries = 1; tries <= 3; tries++) {
      await until(() => file('pids').split('\n').length === tries + 1);
      const pid = Number(file('pids').split('\n').at(-2));
      await world.settle(9_999 - ARRIVES_MS);
      expect(isRunning(pid)).toBe(true);
      expect(logged).toHaveLength(tries - 1);
      await world.settle(ARRIVES_MS + 1);
      await until(() => logged.length === tries);
      await until(() => !isRunning(pid));
      expect(running.list()[0]?.ok).toBe(tries < 3);
      await world.settle(1_000);
    }
    expect(running.list()[0]?.detail).toMatch(/^took longer than 10 s; gave up/);
  });

  test('that are new begin with the first message after they were put there', async () => {
    const { bob, hooks } = await friends();
    using _running = hooks();
    await bob.send('alice', 'before');
    await world.settle(ARRIVES_MS);
    write(dir, 'new', 'cat >> seen');
    await bob.send('alice', 'after');
    await world.settle(ARRIVES_MS);
    await until(() => file('seen').endsWith('\n'));
    expect(file('seen')).toContain('"body":"after"');
    expect(file('seen')).not.toContain('before');
  });

  test('that belong to another user are refused', async () => {
    write(dir, 'own', 'true');
    const path = join(dir, FOLDER, 'own');
    const me = process.getuid?.() ?? 0;
    expect([hookProblem(path, me), hookProblem(path, me + 1)]).toEqual([undefined, 'belongs to another user']);
  });
});
