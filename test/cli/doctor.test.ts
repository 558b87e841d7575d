// doctor and why: each check broken alone is the one line that turns bad, and its fix mends it.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { World } from '../../src/testing/people.ts';
import { databaseOf, furnish, pathsOf } from '../daemon/furnished.ts';
import { Stage, type User } from '../e2e/stage.ts';

type Check = { check: string; ok: boolean; detail: string; fix?: string };

const OFFLINE = '[tor]\noffline = true\n';
const HOUR_MS = 3_600_000;

// Of an account without Tor and servers.
const CHECKS = 11;

describe('doctor', () => {
  let stage: Stage;
  let alice: User;
  beforeAll(async () => {
    stage = new Stage({ offline: true });
    alice = await furnish(stage, async (_alice, bob) => {
      await bob.send('alice', 'hello');
    });
    await alice.ok('daemon', 'start');
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  const bad = async (): Promise<Check[]> => {
    const { code, items } = await alice.run<Check>('doctor');
    const wrong = items.filter((one) => !one.ok);
    expect([code, items.length]).toEqual([wrong.length === 0 ? 0 : 1, CHECKS]);
    return wrong;
  };
  const edit = (sql: string): void => {
    using db = databaseOf(alice);
    db.exec(sql);
  };

  test('finds nothing on an account that is well', async () => {
    expect(await bad()).toEqual([]);
  });

  test('tor: one that is missing; the fix is a line of config.toml', async () => {
    stage.configure('[tor]\nbinary = "/nowhere/tor"\n');
    await alice.ok('daemon', 'reload');
    const wrong = await alice.until('a failure', async () => [await bad()].find((checks) => checks.length > 0));
    expect(wrong).toMatchObject([{ check: 'tor', fix: expect.stringContaining('[tor] binary in config.toml') }]);
    stage.configure(OFFLINE);
    await alice.ok('daemon', 'reload');
    expect(await bad()).toEqual([]);
  });

  /** Opens a file to others, sees the one check, and runs the fix that it names. */
  const opened = async (check: string, path: string): Promise<void> => {
    chmodSync(path, statSync(path).mode | 0o044);
    const [wrong, ...more] = await bad();
    expect([wrong?.check, more]).toEqual([check, []]);
    expect(wrong?.detail).toContain(path);
    expect(spawnSync('sh', ['-c', wrong?.fix ?? 'false']).status).toBe(0);
    expect(await bad()).toEqual([]);
  };

  test('socket: open to others, or its folder is', async () => {
    await opened('socket', pathsOf(alice).socket);
    await opened('socket', dirname(pathsOf(alice).socket));
  });

  test('permissions: a file of the account, or its folder, is open to others', async () => {
    await opened('permissions', pathsOf(alice).vault);
    await opened('permissions', pathsOf(alice).dir);
  });

  test('permissions: others may change config.toml, which names the program that is run as tor', async () => {
    const path = join(stage.dir, 'config.toml');
    chmodSync(path, 0o666);
    const [wrong, ...more] = await bad();
    expect([wrong, more]).toMatchObject([{ check: 'permissions', detail: `${path} can be changed by others` }, []]);
    expect(spawnSync('sh', ['-c', wrong?.fix ?? 'false']).status).toBe(0);
    expect(await bad()).toEqual([]);
  });

  test('clock: what was committed lies in the future', async () => {
    edit(`UPDATE events SET at = at + ${HOUR_MS} WHERE id = (SELECT max(id) FROM events)`);
    expect(await bad()).toMatchObject([{ check: 'clock', fix: expect.stringContaining('set the clock') }]);
    edit(`UPDATE events SET at = at - ${HOUR_MS} WHERE id = (SELECT max(id) FROM events)`);
    expect(await bad()).toEqual([]);
  });

  test('database: a rule of its tables does not hold', async () => {
    edit('UPDATE conversations SET unread = unread + 1');
    expect(await bad()).toMatchObject([{ check: 'database', detail: expect.stringContaining('unread counts') }]);
    edit('UPDATE conversations SET unread = unread - 1');
    expect(await bad()).toEqual([]);
  });

  const stateOf = (pid: number) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[2];
  const open = () => RpcClient.open(pathsOf(alice).socket);
  /** The process that reads the database, if there is one. */
  const readerOf = (daemon: number): number | undefined => {
    const [pid] = readFileSync(`/proc/${daemon}/task/${daemon}/children`, 'utf8').split(' ');
    // Before it runs its own program the daemon waits for it.
    return pid !== '' && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('check.cjs') ? Number(pid) : undefined;
  };

  test('database: everything goes on while it is read; the reading ends with its request, and with the account', async () => {
    const daemon = await alice.pid();
    /** Asks, and stops the process that reads before it is done. */
    const stopped = async (client: RpcClient) => {
      for (;;) {
        let over = false;
        const call = client.call('doctor.check', {}).finally(() => {
          over = true;
        });
        const answer = call.catch((error: { code: string }) => error.code);
        while (!over) {
          await new Promise(setImmediate);
          const pid = readerOf(daemon);
          if (pid === undefined) continue;
          process.kill(pid, 'SIGSTOP');
          if (stateOf(pid) === 'T') return { answer, pid };
        }
      }
    };
    const client = await open();
    const { pid, answer } = await stopped(client);
    await alice.ok('draft', 'bob', 'meanwhile');
    expect(readerOf(daemon)).toBe(pid);
    process.kill(pid, 'SIGCONT');
    expect(await answer).toHaveLength(CHECKS);

    const dead = await stopped(client);
    process.kill(dead.pid, 'SIGKILL');
    expect((await dead.answer) as Check[]).toContainEqual(
      expect.objectContaining({ check: 'database', ok: false, detail: 'its check came to no end: exit SIGKILL' }),
    );

    const asked = await stopped(client);
    client.close();
    await alice.until('its end', async () => !existsSync(`/proc/${asked.pid}`));

    const late = await stopped(await open());
    await alice.ok('account', 'lock');
    expect(existsSync(`/proc/${late.pid}`)).toBe(false);
    expect(await late.answer).toBe('account.locked');
    await alice.ok('account', 'unlock');
    expect(await bad()).toEqual([]);
  });

  test('hooks: one that others may change', async () => {
    const hook = join(pathsOf(alice).hooksDir, 'on-message.d', 'log');
    writeFileSync(hook, '#!/bin/sh\n', { mode: 0o700 });
    chmodSync(hook, 0o770);
    expect(await bad()).toMatchObject([
      { check: 'hooks', detail: 'log can be changed by others: chmod go-w', fix: `chmod go-w ${hook}` },
    ]);
    chmodSync(hook, 0o700);
    expect(await bad()).toEqual([]);
  });

  // Where it is installed nothing is missing.
  const hasNotifySend = spawnSync('sh', ['-c', 'command -v notify-send']).status === 0;
  test.skipIf(hasNotifySend || process.platform !== 'linux')(
    'notifications: one that is wanted, and no program here that shows it',
    async () => {
      await alice.ok('config', 'set', 'notify.level', 'count');
      expect(await bad()).toMatchObject([{ check: 'notifications', detail: 'there is no notify-send here' }]);
      await alice.ok('config', 'set', 'notify.command', 'cat');
      expect(await bad()).toEqual([]);
      await alice.ok('config', 'set', 'notify.level', 'none');
    },
  );

  test('tor, clock, address: a Tor without proof of work, which says that the clock is wrong and does not publish', async () => {
    const shift = join(stage.dir, 'shift');
    writeFileSync(shift, '0');
    await alice.ok('daemon', 'stop');
    stage.useFalseTor('skewed');
    const env = { NODE_OPTIONS: `--require=${resolve('test/rooms/clock.cjs')}`, SOTTO_TEST_CLOCK: shift };
    await alice.ok('daemon', 'start', '--wait', 'online', { env });
    expect(await bad()).toMatchObject([{ check: 'clock', detail: expect.stringContaining('120 minutes behind') }]);
    expect((await alice.run<Check>('doctor')).items).toContainEqual(
      expect.objectContaining({ check: 'tor', ok: true, detail: expect.stringContaining('no proof of work') }),
    );
    writeFileSync(shift, String(2 * HOUR_MS));
    expect(await bad()).toMatchObject([{ check: 'address', detail: expect.stringContaining('for 120 minutes') }]);
    await alice.ok('daemon', 'stop');
    stage.configure(OFFLINE);
    edit(`UPDATE events SET at = at - ${2 * HOUR_MS} WHERE at > ${Date.now() + HOUR_MS}`);
    await alice.ok('daemon', 'start');
    expect(await bad()).toEqual([]);
  });

  test('config: a file that the daemon goes on without, and the next one could not begin with', async () => {
    stage.configure('[tor]\noffline = maybe\n');
    const [wrong, ...more] = await bad();
    expect([wrong, more]).toMatchObject([{ check: 'config', detail: expect.stringContaining('line 2') }, []]);
    stage.configure(OFFLINE);
    expect(await bad()).toEqual([]);
  });

  test('daemon: one that does not start, because of its configuration, and one that nobody started', async () => {
    await alice.ok('daemon', 'stop');
    const left = await alice.run<Check>('doctor', '--no-start');
    const absent = [
      {
        check: 'daemon',
        ok: false,
        detail: 'does not run',
        fix: `sotto --data-dir ${stage.dir} --account alice daemon start`,
      },
    ];
    expect([left.code, left.items]).toEqual([1, absent]);
    stage.configure('[tor]\noffline = "perhaps"\n');
    const { code, items } = await alice.run<Check>('doctor');
    expect([code, items]).toMatchObject([1, [{ check: 'daemon', fix: 'correct config.toml' }]]);
    stage.configure(OFFLINE);
    expect(await bad()).toEqual([]);
  });
});

describe('why', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world[Symbol.asyncDispose]());

  test('tells link, last error, next retry, outbox and descriptor of somebody offline, and of somebody who is linked', async () => {
    const { alice, bob } = await world.friends();
    expect(await alice.call('contact.why', { contact: 'bob' })).toMatchObject({
      summary: 'linked with bob, nothing waits',
      link: { state: 'up' },
      outbox: { depth: 0 },
      advice: [],
    });
    await bob.close();
    await world.settle();
    const since = world.clock.now();
    await alice.send('bob', 'one');
    await alice.send('bob', 'two');
    await world.settle(40_000);
    const why = await alice.call('contact.why', { contact: 'bob' });
    expect(why).toMatchObject({
      summary: '2 wait for bob, who is not linked',
      link: { state: 'waiting', lastError: 'The address is not published: the other side is offline' },
      outbox: { depth: 2, oldestAt: since },
      descriptor: { found: false, checkedAt: why.link.lastErrorAt },
    });
    expect(why.link.attempts).toBeGreaterThan(0);
    expect(why.link.lastErrorAt).toBeGreaterThan(since);
    expect(why.link.nextRetryAt).toBeGreaterThan(world.clock.now());
    expect(why.advice.join()).toMatch(/not published.*sotto why bob --retry/);
    await bob.open();
    await world.settle(60_000);
    const { link, summary } = await alice.call('contact.why', { contact: 'bob' });
    expect([link.state, summary]).toEqual(['up', 'linked with bob, nothing waits']);
    expect(link.lastError ?? link.lastErrorAt).toBeUndefined();
  });

  test('counts a request that has not come to whoever is asked, as status does, until it has', async () => {
    const [alice, bob] = [await world.person('alice'), await world.person('bob')];
    await bob.close();
    const since = world.clock.now();
    await alice.call('contact.add', { address: bob.address, name: 'bob' });
    await world.settle(20_000);
    const waits = async () => [
      (await alice.call('contact.why', { contact: 'bob' })).outbox,
      alice.account.status().outboxDepth,
    ];
    expect(await waits()).toEqual([{ depth: 1, oldestAt: since }, 1]);
    await bob.open();
    await world.settle(60_000);
    expect(await waits()).toEqual([{ depth: 0 }, 0]);
  });

  test('tells of the descriptor what the last dial found that asked for it, and when', async () => {
    const { alice, bob } = await world.friends();
    const why = () => alice.call('contact.why', { contact: 'bob' });
    const { found, checkedAt: linkedAt } = (await why()).descriptor;
    expect([found, linkedAt]).toEqual([true, expect.any(Number)]);
    await bob.close();
    world.hub.partition(alice.address, bob.address);
    await alice.send('bob', 'one');
    await world.settle(60_000);
    const gone = await why();
    expect(gone.descriptor).toEqual({ found: false, checkedAt: gone.link.lastErrorAt });
    expect(gone.advice.join()).toContain('not published');
    await bob.open();
    await world.settle(60_000);
    const cut = await why();
    expect(cut.link.lastError).toBe('The other side cannot be reached');
    expect(cut.descriptor).toEqual({});
    expect(cut.advice.join()).not.toContain('not published');
    world.hub.heal();
    await world.settle(60_000);
    const again = (await why()).descriptor;
    world.hub.partition(alice.address, bob.address);
    await alice.send('bob', 'two');
    await world.settle(60_000);
    const late = await why();
    expect(late.descriptor).toEqual(again);
    expect(late.link.lastErrorAt).toBeGreaterThan(again.checkedAt ?? 0);
  });
});
