// No connection that nobody asked for: by the kernel's own lists a daemon has Unix sockets and nothing else.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { Stage, User } from '../e2e/stage.ts';

const SAMPLE_MS = 100;

// Nothing leaves it, but there is a route: what goes to elsewhere fails only after a while, as behind a firewall, and is seen
// until then. The address is one of documentation (RFC 5737).
const NAMESPACE = `ip link set lo up && ip address add 192.0.2.1/32 dev lo &&
  ip route add default dev lo src 192.0.2.1 && exec "$@"`;

const inNamespace = (...command: string[]): ChildProcess =>
  spawn('unshare', ['-rn', 'sh', '-c', NAMESPACE, 'sh', ...command], { stdio: ['ignore', 'ignore', 'pipe'] });

/** Waits for its end; gives the exit code and what it said of errors. */
const endOf = async (child: ChildProcess): Promise<{ code: unknown; err: string }> => {
  const [[code], err] = await Promise.all([once(child, 'exit'), text(child.stderr as NodeJS.ReadableStream)]);
  return { code, err };
};

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

// Addresses in the kernel's tables are hexadecimal, of the machine's byte order. Who listens has no peer: no address and no port.
const LOOPBACK = /^(0100007F|0{8}0{8}0{8}01000000):/;
const NOBODY = /^(0{8}|0{32}):0000$/;

/** The ends of IP sockets in the namespace of a process that are, or speak to, something else than loopback; and how many there are. */
const endsOf = (pid: number): { all: number; others: string[] } => {
  const rows = ['tcp', 'tcp6', 'udp', 'udp6'].flatMap((name) => table(pid, name).map((row) => [name, ...row]));
  const isQuiet = ([, , local = '', peer = '']: string[]) =>
    LOOPBACK.test(local) && (LOOPBACK.test(peer) || NOBODY.test(peer));
  return {
    all: rows.length,
    others: rows.filter((row) => !isQuiet(row)).map(([name, , local, peer]) => `${name} ${local} ${peer}`),
  };
};

/** How many datagrams were sent in the namespace of a process so far, as those that ask for a name. */
const datagramsOf = (pid: number): number => {
  const [names = [], counts = []] = readFileSync(`/proc/${pid}/net/snmp`, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('Udp: '))
    .map((line) => line.split(' '));
  return Number(counts[names.indexOf('OutDatagrams')]);
};

/** Looks at the kernel's lists several times a second for as long as a program runs in its namespace. */
const watch = async (child: ChildProcess): Promise<{ looks: number; others: string[] }> => {
  const { pid = 0 } = child;
  const others = new Set<string>();
  let looks = 0;
  const look = (): void => {
    try {
      // It begins in our own namespace.
      const [its, ours] = [pid, 'self'].map((one) => readlinkSync(`/proc/${one}/ns/net`));
      if (its === ours) return;
      for (const end of endsOf(pid).others) others.add(end);
      looks++;
    } catch (error) {
      // It has just ended.
      if (!['ENOENT', 'ESRCH', 'EINVAL'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  };
  const timer = setInterval(look, SAMPLE_MS);
  await once(child, 'exit');
  clearInterval(timer);
  return { looks, others: [...others] };
};

const forbidden = process.platform === 'linux' ? (await endOf(inNamespace('true'))).err.trim() : 'not Linux';

test.skipIf(forbidden !== '')(
  `the demo with nothing but loopback: daemons hold Unix sockets, Tor stays on loopback ${forbidden}`,
  async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sotto-quiet-'));
    try {
      const demo = inNamespace(resolve('bin/sotto'), 'demo', '--keep', '--dir', dir);
      const [ended, { looks, others: seen }] = await Promise.all([endOf(demo), watch(demo)]);
      expect(ended).toEqual({ code: 0, err: '' });
      expect(seen).toEqual([]);
      expect(looks).toBeGreaterThan(20);
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
      const { all, others } = endsOf(pid);
      expect(all).toBeGreaterThan(0);
      expect([others, datagramsOf(pid)]).toEqual([[], 0]);
    } finally {
      spawnSync(resolve('bin/sotto'), ['demo', '--stop', '--dir', dir]);
      rmSync(dir, { recursive: true, force: true });
    }
  },
);

test.skipIf(forbidden !== '')(`who asks for a name, or dials, is seen there ${forbidden}`, async () => {
  const asking = `require('node:dgram').createSocket('udp4').send('who', 53, '192.0.2.53');
    require('node:net').connect(443, '192.0.2.80').on('error', () => {});
    require('node:fs').watch('.');`;
  const child = inNamespace(process.execPath, '-e', asking);
  const watching = watch(child);
  await expect.poll(() => datagramsOf(child.pid ?? 0)).toBe(1);
  await expect.poll(() => endsOf(child.pid ?? 0).others.filter((end) => end.startsWith('tcp'))).toHaveLength(1);
  setTimeout(() => child.kill(), 2 * SAMPLE_MS);
  const { others } = await watching;
  expect(others).toContainEqual(expect.stringMatching(/^tcp 010200C0:\w+ 500200C0:01BB$/));
  expect(others).toContainEqual(expect.stringMatching(/^udp /));
});

test('SIGUSR1 opens no debugger and ends nothing', async () => {
  await using stage = new Stage({ offline: true });
  const user = await stage.user('quinn', { reachable: false });
  const pid = await user.pid();
  for (let i = 0; i < 3; i++) process.kill(pid, 'SIGUSR1');
  await new Promise((done) => setTimeout(done, 300));
  expect(await user.pid()).toBe(pid);
  expect(socketsOf(pid).others).toEqual([]);
});
