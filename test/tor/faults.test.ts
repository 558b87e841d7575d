// Faults on a network of its own: the Tor of either side dies, and a guard; messages arrive, and soon.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemRandom } from '../../src/daemon/ports.ts';
import { startTorLab, type TorLab } from '../../src/lab/tor-lab.ts';
import { TorControl } from '../../src/net/tor-control.ts';
import { Stage, type User } from '../e2e/stage.ts';

let dir: string;
let lab: TorLab;
let stage: Stage;
let alice: User;
let bob: User;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sotto-f-'));
  lab = await startTorLab({ dir, cacheDir: resolve('.cache') });
  stage = new Stage({ offline: true });
  stage.configure(`[tor]\nnetwork = ${JSON.stringify(lab.networkFile)}\n`);
  ({ alice, bob } = await stage.friends());
  await alice.ok('send', 'bob', 'before', '--wait', 'delivered');
}, 120_000);
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await lab.stop();
  rmSync(dir, { recursive: true, force: true });
});

type Why = { link: { state: string } };
type Status = { tor: { reachable: boolean } };

// The Tor that a daemon has started.
const torOf = async (user: User): Promise<number> => {
  const daemon = await user.pid();
  const children = readFileSync(`/proc/${daemon}/task/${daemon}/children`, 'utf8').trim().split(' ').map(Number);
  const tor = children.find((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'tor');
  if (tor === undefined) throw new Error(`${user.name} has no Tor`);
  return tor;
};
// The relay by which a user's circuits enter the network.
const guardOf = async (user: User): Promise<string> => {
  const { socket } = await user.one<{ socket: string }>('daemon', 'status');
  const control = await TorControl.open(join(dirname(socket), 'control'), systemRandom);
  try {
    const circuits = await control.info('circuit-status');
    const [name] = /BUILT \$[0-9A-F]{40}~(\w+)[^\n]*PURPOSE=HS_CLIENT_REND/.exec(circuits)?.slice(1) ?? [];
    if (name === undefined) throw new Error(`no circuit of a link:\n${circuits}`);
    return name;
  } finally {
    control.close();
  }
};
const linked = async (): Promise<boolean> => (await alice.one<Why>('why', 'bob')).link.state === 'up';
const once = async (text: string): Promise<void> => {
  const bodies = (await bob.bodies('alice')).filter((body) => body === text);
  expect(bodies).toEqual([text]);
};

describe('a message arrives once', () => {
  test("though the other side's Tor dies", async () => {
    process.kill(await torOf(bob), 'SIGKILL');
    await alice.until('the end of the link', async () => !(await linked()));
    const sent = alice.ok('send', 'bob', 'over another Tor', '--wait', 'delivered', '--timeout', '60s');
    await bob.until('its address', async () => (await bob.one<Status>('status')).tor.reachable);
    const startedAt = performance.now();
    await sent;
    console.log(
      `Tor of the other side killed: delivered ${Math.round(performance.now() - startedAt)} ms after it was reachable`,
    );
    await once('over another Tor');
  }, 90_000);

  test('though our own Tor dies', async () => {
    process.kill(await torOf(alice), 'SIGKILL');
    const startedAt = performance.now();
    await alice.ok('send', 'bob', 'over a new Tor', '--wait', 'delivered', '--timeout', '60s');
    console.log(`our Tor killed: delivered after ${Math.round(performance.now() - startedAt)} ms`);
    await once('over a new Tor');
  }, 90_000);

  test('though the guard of the link dies', async () => {
    const guard = await guardOf(alice);
    const node = lab.nodes.find(({ name }) => name === guard);
    process.kill(node?.pid ?? 0, 'SIGKILL');
    const startedAt = performance.now();
    await alice.ok('send', 'bob', 'by another guard', '--wait', 'delivered', '--timeout', '60s');
    console.log(`the guard, ${guard}, killed: delivered after ${Math.round(performance.now() - startedAt)} ms`);
    await once('by another guard');
  }, 90_000);
});
