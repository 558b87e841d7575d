// What a person is told when Tor is missing, too old, blocked or dead, and what mends it.
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { Stage, type User } from '../e2e/stage.ts';

let stage: Stage;
let user: User;
beforeEach(async () => {
  stage = new Stage({ offline: true });
  user = await stage.user('uma', { reachable: false });
});
afterEach(() => stage[Symbol.asyncDispose]());

type Status = {
  tor: { state: string; version?: string; warning?: string; lastError?: { code: string; message: string } };
};
type Check = { check: string; ok: boolean; detail: string; fix?: string };

const toml = (line: string) => `[tor]\n${line}\nnetwork = ${JSON.stringify(inject('torNetworkFile'))}\n`;
const reload = async (text: string): Promise<void> => {
  stage.configure(text);
  await user.ok('daemon', 'reload');
};
const badChecks = async () => (await user.run<Check>('doctor')).items.filter((check) => !check.ok);
const script = (name: string, body: string): string => {
  const path = join(stage.dir, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o700);
  return path;
};
const oldTor = (version: string): string =>
  script('tor-old', `exec ${process.execPath} ${resolve('test/tor/old-tor.ts')} ${version} "$@"`);

describe('Tor', () => {
  test('that is missing is told with what to do, and found after a reload', async () => {
    await reload(toml('binary = "/nonexistent/tor"'));
    const waited = await user.run('daemon', 'start', '--wait', 'online', '--timeout', '30s');
    expect(waited.error).toMatchObject({ code: 'tor.missing' });
    expect(await badChecks()).toMatchObject([{ check: 'tor', fix: expect.stringContaining('install tor') }]);
    await reload(toml(''));
    await user.ok('daemon', 'start', '--wait', 'online', '--timeout', '60s');
    expect(await badChecks()).toEqual([]);
  });

  test('that is too old is refused; one with known holes is warned of', async () => {
    await reload(toml(`binary = ${JSON.stringify(oldTor('0.4.7.16'))}`));
    const waited = await user.run('daemon', 'start', '--wait', 'online', '--timeout', '30s');
    expect(waited.error).toMatchObject({ code: 'tor.tooOld', message: expect.stringContaining('0.4.7.16') });
    expect(await badChecks()).toMatchObject([{ check: 'tor', fix: expect.stringContaining('newer') }]);
    oldTor('0.4.8.10');
    await user.ok('daemon', 'stop');
    await user.ok('daemon', 'start', '--wait', 'online', '--timeout', '60s');
    const { tor } = await user.one<Status>('status');
    expect(tor).toMatchObject({
      state: 'online',
      version: '0.4.8.10',
      warning: expect.stringContaining('known holes'),
    });
  });

  test('that makes no progress for 30 s is told; status, doctor and why say what to try', async () => {
    const network = join(stage.dir, 'nowhere.conf');
    writeFileSync(
      network,
      readFileSync(inject('torNetworkFile'), 'utf8').replace(/(orport=|127\.0\.0\.1:)\d+/g, '$19'),
    );
    await reload(`[tor]\nnetwork = ${JSON.stringify(network)}\n`);
    const stuck = await user.until('the stuck Tor', async () => {
      const { tor } = await user.one<Status>('status');
      return tor.lastError?.code === 'tor.stuck' ? tor : undefined;
    });
    expect(stuck.state).toBe('failed');
    expect(stuck.lastError?.message).toMatch(/no progress at \d+ %.*bridges/);
    expect(await badChecks()).toMatchObject([{ check: 'tor', fix: expect.stringContaining('bridges') }]);
  });

  test('that dies is started again, and again, with the address published anew', async () => {
    await reload(toml(''));
    await user.ok('daemon', 'start', '--wait', 'reachable', '--timeout', '60s');
    for (let round = 0; round < 2; round++) {
      const pid = torOf(await user.pid());
      process.kill(pid, 'SIGKILL');
      await user.until(
        'the death',
        async () => (await user.one<Status>('status')).tor.lastError?.code === 'tor.failed',
      );
      await user.ok('daemon', 'start', '--wait', 'reachable', '--timeout', '60s');
      expect(torOf(await user.pid())).not.toBe(pid);
    }
  });

  test('that hangs is ended, and another takes its place', async () => {
    await reload(toml(''));
    await user.ok('daemon', 'start', '--wait', 'online', '--timeout', '60s');
    const pid = torOf(await user.pid());
    process.kill(pid, 'SIGSTOP');
    const next = await user.until(
      'another Tor',
      async () => {
        try {
          const now = torOf(await user.pid());
          return now === pid ? undefined : now;
        } catch {
          return undefined;
        }
      },
      100_000,
    );
    expect(next).not.toBe(pid);
    await user.ok('daemon', 'start', '--wait', 'online', '--timeout', '60s');
  });

  test('is off by choice: nothing of it runs, and a wait for it ends at once with exit 4', async () => {
    const waited = await user.run('daemon', 'start', '--wait', 'online');
    expect(waited.error).toMatchObject({ code: 'tor.offline', exit: 4 });
    const daemon = await user.pid();
    expect(() => torOf(daemon)).toThrow('no Tor runs');
    expect(await badChecks()).toEqual([]);
  });

  test('takes bridges and transports from the configuration, and refuses lines that would be more than one', async () => {
    const bridge = `127.0.0.1:9 ${'A'.repeat(40)}`;
    await reload(
      `[tor]\nbridges = ["${bridge}"]\ntransports = ["obfs4 exec /bin/false"]\nnetwork = ${JSON.stringify(inject('torNetworkFile'))}\n`,
    );
    const torrc = await user.until('the torrc', async () => {
      const text = readFileSync(join(stage.dir, 'accounts/uma/tor/torrc'), 'utf8');
      return text.includes('UseBridges') ? text : undefined;
    });
    expect(torrc).toContain(`\nUseBridges 1\nClientTransportPlugin obfs4 exec /bin/false\nBridge ${bridge}\n`);
    stage.configure('[tor]\nbridges = ["1.2.3.4:9\\nSocksPort 9050"]\n');
    expect((await user.run('daemon', 'reload')).error).toMatchObject({ code: 'config.invalid' });
  });
});

// The Tor that a daemon has started.
const torOf = (daemon: number): number => {
  const children = readFileSync(`/proc/${daemon}/task/${daemon}/children`, 'utf8').match(/\d+/g) ?? [];
  const tor = children.map(Number).find((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'tor');
  if (tor === undefined) throw new Error('no Tor runs');
  return tor;
};
