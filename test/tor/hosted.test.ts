// A server that is an onion service: no open port anywhere, a link that carries its address and key, and members over Tor.
import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { keyOfAddress } from '../../src/crypto/address.ts';
import { toHex } from '../../src/protocol/bytes.ts';
import { parseInviteLink } from '../../src/protocol/invite-link.ts';
import { Stage, type User } from '../e2e/stage.ts';
import { Program, sotto } from '../rooms/program.ts';
import { askTor } from './control.ts';

/** Inodes of the TCP sockets at which a process listens, by the kernel's own lists. */
const listening = (pid: number): string[] => {
  const open = ['tcp', 'tcp6'].flatMap((name) =>
    readFileSync(`/proc/${pid}/net/${name}`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .flatMap(([, , , state, , , , , , inode = '']) => (state === '0A' ? [inode] : [])),
  );
  const held = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      return [];
    }
  });
  expect(held.length).toBeGreaterThan(0);
  return held.filter((inode) => open.includes(inode));
};

const reads = (user: User, body: string) => user.until(body, async () => (await user.bodies('#ops')).includes(body));

test('a server without an open port is joined by its link, and found again after a restart', async () => {
  await using stage = new Stage();
  await using server = new Program();
  mkdirSync(server.data, { mode: 0o700 });
  writeFileSync(join(server.data, 'server.toml'), `[tor]\nnetwork = ${JSON.stringify(inject('torNetworkFile'))}\n`);
  const person = async (name: string): Promise<User> => {
    const user = await stage.user(name, { reachable: false });
    await user.ok('daemon', 'start', '--wait', 'online', '--timeout', '60s');
    return user;
  };
  const reachable = (times: number) =>
    expect
      .poll(() => server.lines.map((line) => JSON.parse(line)), { timeout: 60_000 })
      .toEqual(Array.from({ length: times }, () => ({ kind: 'reachable', url: server.ready?.url })));
  const [ready, alice, bob] = await Promise.all([server.start('--onion'), person('alice'), person('bob')]);
  const link = parseInviteLink(ready.invite ?? '');
  expect(ready.url).toMatch(/^ws:\/\/[a-z2-7]{56}\.onion$/);
  expect(link).toMatchObject({ origin: ready.url, trust: 'none' });
  expect(toHex(keyOfAddress(new URL(ready.url).hostname))).toBe(ready.fingerprint);
  expect(toHex(link.serverKey)).toBe(ready.fingerprint);
  await reachable(1);
  const torPid = Number(await askTor(join(server.data, 'tor'), 'process/pid'));
  expect([listening(server.pid), listening(torPid), ready.metrics]).toEqual([[], [], undefined]);
  expect((await server.admin('status'))[0]).toMatchObject({ tor: { state: 'online', reachable: true } });

  // Who looks for it where another consensus says may not find it at once: that is an error to try again after.
  const enters = (user: User, link: string, ...words: string[]) =>
    user.until('the server', async () => (await user.run('server', 'join', link, ...words)).code === 0);
  await enters(alice, ready.invite ?? '', '--as', 'alice', '--label', 'home');
  const invite = await alice.one<{ link: string }>('server', 'invite');
  await enters(bob, invite.link, '--as', 'bob', '--label', 'home');
  expect((await bob.one<{ through: string }>('server', 'list')).through).toBe('tor');
  await alice.ok('channel', 'create', '#ops', '--encryption', 'members');
  await alice.ok('channel', 'invite', '#ops', 'bob');
  await bob.ok('channel', 'join', '#ops');
  await alice.ok('send', '#ops', 'over two onion legs', '--wait', 'sent');
  await reads(bob, 'over two onion legs');
  expect((await server.admin('status'))[0]).toMatchObject({ online: 2, connections: 2 });

  expect(await server.stop()).toBe(0);
  expect(readdirSync(join(server.data, 'tor'))).not.toContain('service');
  await server.start('--onion');
  await reachable(2);
  await alice.ok('send', '#ops', 'after the restart', '--wait', 'sent', '--timeout', '90s');
  await reads(bob, 'after the restart');

  // A daemon that has just begun has its Tor to wait for, and then the server: nothing is wrong with either.
  await bob.ok('daemon', 'stop');
  const seen = await bob.until('the server again', async () => {
    const { items } = await bob.run<{ check: string; ok: boolean; detail: string }>('doctor');
    expect(items.filter(({ ok }) => !ok)).toEqual([]);
    return items.find(({ check, detail }) => check === 'server' && detail === 'home: connected');
  });
  expect(seen?.ok).toBe(true);
  expect(await server.stop()).toBe(0);
});

test('a server that cannot have its onion service does not start', async () => {
  await using server = new Program();
  mkdirSync(server.data, { mode: 0o700 });
  const start = async (tor: string) => {
    writeFileSync(join(server.data, 'server.toml'), `onion = true\n[tor]\n${tor}\n`);
    const { code, err } = await sotto(['serve', '--json', '--data-dir', server.data]);
    return [code, (JSON.parse(err) as { code: string }).code];
  };
  expect(await start('binary = "/nowhere/tor"')).toEqual([1, 'tor.missing']);
  expect(await start('network = "/nowhere/network"')).toEqual([2, 'config.invalid']);
  expect(await start('offline = true')).toEqual([2, 'config.invalid']);
});
