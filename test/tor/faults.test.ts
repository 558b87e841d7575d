// Parts of Tor are killed while two people write to each other: what was sent arrives, once and in order.
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TorLab } from '../../src/lab/tor-lab.ts';
import { Stage, type User } from '../e2e/stage.ts';
import { linkCircuits, tellTor, torPid } from './control.ts';
import { openNetwork } from './network.ts';

// The product aims at 6 s on an idle machine; this one may be busy.
const HEAL_MS_MAX = 120_000;
// A link that is younger is not missed when it breaks.
const LINK_AGE_MS = 2_500;

let network: TorLab;
let stage: Stage;
let alice: User;
let bob: User;
const texts: string[] = [];

beforeAll(async () => {
  network = await openNetwork();
  stage = new Stage({ network: network.networkFile });
  ({ alice, bob } = await stage.friends());
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await network.stop();
});

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

const write = async (text: string): Promise<void> => {
  texts.push(text);
  await alice.ok('send', 'bob', text, '--wait', 'delivered', '--timeout', `${HEAL_MS_MAX}ms`);
};

const tell = (what: string, ms: number): void => console.info(`${what}: delivered after ${(ms / 1000).toFixed(1)} s`);

// The authority has nothing to stand in for it, so it is spared.
const killRelay = async (at: 'guard' | 'behind'): Promise<string> => {
  const circuits = [...(await linkCircuits(alice)), ...(await linkCircuits(bob))];
  const guards = new Set(circuits.map(([guard]) => guard));
  const names = circuits.flatMap(([guard, ...behind]) =>
    at === 'guard' ? [guard] : behind.filter((name) => !guards.has(name)),
  );
  const [victim = 'relay0'] = names.filter((name) => name !== 'auth');
  process.kill(network.nodes.find(({ name }) => name === victim)?.pid ?? Number.NaN, 'SIGKILL');
  return victim;
};

test('the other side comes back elsewhere, while the relays that spoke for it still do: it is found by its new ones', async () => {
  await write('before they slept');
  const [frozen, daemon] = [await torPid(bob), await bob.pid()];
  process.kill(frozen, 'SIGSTOP');
  process.kill(daemon, 'SIGKILL');
  // A frozen Tor keeps the lock of its folder.
  renameSync(join(stage.dir, 'accounts/bob/tor'), join(stage.dir, 'frozen'));
  try {
    await bob.ok('daemon', 'start', '--wait', 'reachable', '--timeout', '60s');
    await alice.ok('contact', 'block', 'bob');
    await alice.ok('contact', 'unblock', 'bob');
    const startedAt = performance.now();
    await write('after they woke');
    tell('their old relays still speak for them', performance.now() - startedAt);
  } finally {
    process.kill(frozen, 'SIGKILL');
  }
});

test.for(['behind', 'guard'] as const)('a relay of the link is killed: %s', async (at) => {
  await write(`before ${at}`);
  await pause(LINK_AGE_MS);
  const victim = await killRelay(at);
  const killedAt = performance.now();
  await write(`after ${at}`);
  tell(`${victim} (${at}) killed`, performance.now() - killedAt);
});

test('the sender’s own Tor is killed', async () => {
  await write('before the end of our Tor');
  await pause(LINK_AGE_MS);
  process.kill(await torPid(alice), 'SIGKILL');
  const killedAt = performance.now();
  await write('after the end of our Tor');
  tell('own Tor killed', performance.now() - killedAt);
});

test('the other side’s Tor is killed: it dials as soon as it is back, for who writes may not notice', async () => {
  await write('before the end of their Tor');
  const attempts = await dialsOf(bob);
  await pause(LINK_AGE_MS);
  process.kill(await torPid(bob), 'SIGKILL');
  const delivered = write('after the end of their Tor').then(() => performance.now());
  await bob.until('its end', async () => !(await bob.one<Online>('status')).tor.reachable);
  await bob.ok('daemon', 'start', '--wait', 'reachable', '--timeout', '60s');
  const reachableAt = performance.now();
  tell('the other side reachable again', Math.max(0, (await delivered) - reachableAt));
  expect(await dialsOf(bob)).toBeGreaterThan(attempts);
});

const dialsOf = async (user: User): Promise<number> =>
  (await user.one<{ link: { attempts: number } }>('why', 'alice')).link.attempts;

test('a Tor that no introduction point takes in is not reachable, and says so until one does', async () => {
  await bob.ok('daemon', 'start', '--wait', 'reachable', '--timeout', '60s');
  await tellTor(bob, 'SETCONF DisableNetwork=1');
  await bob.until('the loss', async () => !(await bob.one<Online>('status')).tor.reachable);
  expect((await bob.one<{ advice: string[] }>('why', 'alice')).advice).toContainEqual(
    expect.stringContaining('others cannot dial you'),
  );
  await tellTor(bob, 'SETCONF DisableNetwork=0');
  await bob.ok('daemon', 'start', '--wait', 'reachable', '--timeout', '60s');
  await write('after the loss of all relays');
});

test('nothing came twice or out of order', async () => {
  expect(await bob.bodies('alice')).toEqual(texts);
});

type Online = { tor: { reachable: boolean } };
