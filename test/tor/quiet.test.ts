// No connection that nobody asked for: by the kernel's own lists a daemon has Unix sockets and nothing else.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { Stage, User } from '../e2e/stage.ts';

const inNamespace = (...command: string[]) =>
  spawnSync('unshare', ['-rn', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...command], { encoding: 'utf8' });

/** Lines of a table of the kernel, as a process sees it, without the head. */
const table = (pid: number, name: string): string[][] =>
  readFileSync(`/proc/${pid}/net/${name}`, 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/));

/** The sockets a process holds that are not Unix sockets, and how many there are in all. */
const socketsOf = (pid: number): { all: number; others: string[] } => {
  const unixNow = () => table(pid, 'unix').map((row) => row[6]);
  const heldNow = () =>
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
      } catch {
        return [];
      }
    });
  const before = unixNow();
  const all = heldNow();
  // One that was opened after the first look is in a later one, and one that was closed meanwhile is held no more. The kernel
  // leaves some out of its table where others close while it is read.
  const unix = new Set([...before, ...Array.from({ length: 5 }, unixNow).flat()]);
  const still = new Set(heldNow());
  return { all: all.length, others: all.filter((inode) => !unix.has(inode) && still.has(inode)) };
};

// Addresses in the kernel's tables are hexadecimal, of the machine's byte order.
const isLoopback = (address = ''): boolean => /^(0100007F|00000000|0{8}0{8}0{8}01000000|0{32}):/.test(address);

const forbidden = process.platform === 'linux' ? inNamespace('true').stderr.trim() : 'not Linux';

test.skipIf(forbidden !== '')(
  `the demo with nothing but loopback: daemons hold Unix sockets, Tor stays on loopback ${forbidden}`,
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sotto-quiet-'));
    try {
      const demo = inNamespace(resolve('bin/sotto'), 'demo', '--keep', '--dir', dir);
      expect(demo.stderr).toBe('');
      expect(demo.status).toBe(0);
      const pids = await Promise.all(['alice', 'bob', 'carol'].map((name) => new User(dir, name).pid()));
      for (const pid of pids) {
        const { all, others } = socketsOf(pid);
        // Of RPC, of the onion service, and of Tor's control port at least.
        expect(all).toBeGreaterThanOrEqual(3);
        expect(others).toEqual([]);
      }
      const [pid = 0] = pids;
      expect(
        readFileSync(`/proc/${pid}/net/dev`, 'utf8')
          .match(/^ *\w+:/gm)
          ?.map((name) => name.trim()),
      ).toEqual(['lo:']);
      const ends = ['tcp', 'tcp6', 'udp', 'udp6'].flatMap((name) => table(pid, name)).flatMap((row) => row.slice(1, 3));
      expect(ends.length).toBeGreaterThan(0);
      expect(ends.filter((end) => !isLoopback(end))).toEqual([]);
    } finally {
      spawnSync(resolve('bin/sotto'), ['demo', '--stop', '--dir', dir]);
      rmSync(dir, { recursive: true, force: true });
    }
  },
);

test('SIGUSR1 opens no debugger and ends nothing', async () => {
  await using stage = new Stage({ offline: true });
  const user = await stage.user('quinn', { reachable: false });
  const pid = await user.pid();
  for (let i = 0; i < 3; i++) process.kill(pid, 'SIGUSR1');
  await new Promise((done) => setTimeout(done, 300));
  expect(await user.pid()).toBe(pid);
  expect(socketsOf(pid).others).toEqual([]);
});
