// Our own Tor: what is said when it is missing, too old, stuck or dead; bridges, transports, and the offline switch.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { Stage, type User } from '../e2e/stage.ts';
import { startBridge } from './bridge.ts';
import { ask, torPid } from './control.ts';

const stages: Stage[] = [];
const stageWith = (tor: Record<string, unknown>): Stage => {
  const stage = new Stage();
  stages.push(stage);
  configure(stage, tor);
  return stage;
};
// JSON values are TOML values as long as they hold no object.
const configure = (stage: Stage, tor: Record<string, unknown>): void =>
  stage.configure(
    `[tor]\n${Object.entries(tor)
      .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
      .join('')}`,
  );

const network = () => ({ network: inject('torNetworkFile') });

const account = async (stage: Stage): Promise<User> => stage.user('olga', { reachable: false });

const torCheck = async (user: User): Promise<Check | undefined> =>
  (await user.run<Check>('doctor')).items.find((one) => one.check === 'tor');

/** A program that stands in for tor. */
const program = (stage: Stage, script: string): string => {
  const path = join(stage.dir, 'fake-tor');
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o700 });
  return path;
};

let stuck: User;
let other: User;
const stuckAt = performance.now();
beforeAll(async () => {
  // Nothing listens where this network's only authority should be.
  const stage = stageWith({});
  const file = join(stage.dir, 'dead.conf');
  writeFileSync(file, readFileSync(inject('torNetworkFile'), 'utf8').replaceAll(/orport=\d+|127\.0\.0\.1:\d+/g, dead));
  configure(stage, { network: file });
  stuck = await account(stage);
  other = await stage.user('pia', { reachable: false });
});
afterAll(async () => {
  for (const stage of stages) await stage[Symbol.asyncDispose]();
});
const dead = (place: string): string => place.replace(/\d+$/, '9');

describe('tor that cannot be used', () => {
  test('a missing tor is told at once, with what to install', async () => {
    const user = await account(stageWith({ ...network(), binary: '/nowhere/tor' }));
    const started = await user.run('daemon', 'start', '--wait', 'online', '--timeout', '20s');
    expect(started.error).toMatchObject({ code: 'tor.missing', exit: 1 });
    expect(started.error?.message).toContain('apt install tor');
    expect(await torCheck(user)).toMatchObject({ ok: false, fix: expect.stringContaining('install tor') });
    expect((await user.one<Status>('status')).tor).toMatchObject({
      state: 'failed',
      lastError: { code: 'tor.missing' },
    });
  });

  test('a tor older than 0.4.8 is refused, one older than 0.4.9.11 is warned of', async () => {
    const old = await account(withVersion('0.4.7.16'));
    const started = await old.run('daemon', 'start', '--wait', 'online', '--timeout', '20s');
    expect(started.error).toMatchObject({ code: 'tor.tooOld', exit: 1 });
    expect(started.error?.message).toContain('0.4.7.16');
    expect(await torCheck(old)).toMatchObject({ ok: false, fix: expect.stringContaining('newer tor') });

    const fair = await account(withVersion('0.4.8.10'));
    const warning = await fair.until('the warning', async () => (await fair.one<Status>('status')).tor.warning);
    expect(warning).toContain('0.4.9.11');
    expect(await torCheck(fair)).toMatchObject({ ok: true, detail: expect.stringContaining(warning) });
  });

  test('a program that is not tor is told by its last words, and tried again ever more rarely', async () => {
    const stage = stageWith({});
    const count = join(stage.dir, 'runs');
    configure(stage, { binary: program(stage, `echo run >> ${count}; echo "no such luck" >&2; exit 1`) });
    const user = await account(stage);
    await user.until('three runs', async () => runs(count) >= 3);
    expect(await torCheck(user)).toMatchObject({ ok: false, detail: expect.stringContaining('no such luck') });
    // After 0, 2 and 4 s comes one at 8 s.
    const before = runs(count);
    await new Promise((done) => setTimeout(done, 2_000));
    expect(runs(count)).toBe(before);
  });
});

const runs = (file: string): number => readFileSync(file, { encoding: 'utf8', flag: 'a+' }).split('\n').length - 1;

// Real Tor whose control socket says another version: nothing else differs.
const withVersion = (version: string): Stage => {
  const stage = stageWith({});
  const script = `exec ${process.execPath} ${resolve('test/tor/old-tor.mjs')} ${version} "$@"`;
  configure(stage, { ...network(), binary: program(stage, script) });
  return stage;
};

describe('tor that dies or is not wanted', () => {
  test('a Tor that is killed comes back and the address with it; what it was is told meanwhile', async () => {
    const stage = stageWith(network());
    const user = await stage.user('olga');
    const before = await torPid(user);
    expect((await user.one<Status>('status')).tor).toMatchObject({ bootstrapPercent: 100, reachable: true });
    process.kill(before, 'SIGKILL');
    await user.until('its end', async () => !(await user.one<Status>('status')).tor.reachable);
    const { tor } = (await user.ok<Status>('daemon', 'start', '--wait', 'reachable', '--timeout', '60s'))
      .items[0] as Status;
    expect(tor).toMatchObject({ state: 'online', lastError: { code: 'tor.failed' } });
    expect(tor.descriptorUploads).toBeGreaterThan(0);
    expect(await torPid(user)).not.toBe(before);

    configure(stage, { ...network(), offline: true });
    await user.ok('daemon', 'reload');
    expect((await user.one<Status>('status')).tor.state).toBe('off');
    await expect(ask(user, 'version')).rejects.toThrow();
    const waited = await user.run('daemon', 'start', '--wait', 'online');
    expect(waited.error).toMatchObject({ code: 'tor.offline', exit: 4 });
    expect(await torCheck(user)).toMatchObject({ ok: true, detail: 'off by choice' });

    configure(stage, network());
    await user.ok('daemon', 'reload');
    await user.ok('daemon', 'start', '--wait', 'reachable', '--timeout', '60s');
  });
});

describe('bridges', () => {
  test('everything goes through the bridge, or the transport to it, that is configured', async () => {
    await using bridge = await startBridge();
    const { port, fingerprint } = bridge;
    const plain = `plain exec ${process.execPath} ${resolve('test/tor/plain-transport.mjs')}`;
    const direct = { bridges: [`127.0.0.1:${port} ${fingerprint}`] };
    const through = { bridges: [`plain 127.0.0.1:${port} ${fingerprint}`], transports: [plain] };
    await Promise.all(
      [direct, through].map(async (lines) => {
        const user = await stageWith({ ...network(), ...lines }).user('olga');
        const guards = (await ask(user, 'entry-guards')).split('\n').filter((line) => line.includes(' up'));
        expect(guards.map((line) => line.slice(1, 41))).toEqual([fingerprint]);
      }),
    );
  });

  test('a line that Tor does not take is told with Tor’s own words', async () => {
    const user = await account(stageWith({ ...network(), bridges: ['not an address'] }));
    await user.until('the refusal', async () => (await torCheck(user))?.ok === false);
    expect((await torCheck(user))?.detail).toMatch(/bridge/i);
    const split = await account(stageWith({ ...network(), bridges: ['127.0.0.1:1\nLog debug stdout'] }));
    expect(await torCheck(split)).toMatchObject({ ok: false, detail: expect.stringContaining('a character') });
  });
});

test('a Tor that gets nowhere for 30 s is told with advice, in status, doctor and why', async () => {
  await new Promise((done) => setTimeout(done, Math.max(0, 31_000 - (performance.now() - stuckAt))));
  const { tor } = await stuck.until('the complaint', async () => {
    const status = await stuck.one<Status>('status');
    return status.tor.lastError === undefined ? undefined : status;
  });
  expect(tor.lastError).toMatchObject({ code: 'tor.stuck', message: expect.stringContaining('bridges') });
  expect(await torCheck(stuck)).toMatchObject({ ok: false, fix: expect.stringContaining('bridges') });
  const { link } = await other.one<{ link: string }>('id');
  await stuck.ok('contact', 'add', link, '--name', 'pia');
  expect((await stuck.one<{ advice: string[] }>('why', 'pia')).advice).toContain(tor.lastError?.message);
});

type Check = { check: string; ok: boolean; detail: string; fix?: string };
type Status = {
  tor: {
    state: string;
    bootstrapPercent: number;
    reachable: boolean;
    descriptorUploads: number;
    warning?: string;
    lastError?: { code: string; message: string };
  };
};
