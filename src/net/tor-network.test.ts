import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { addressOf } from '../crypto/address.ts';
import { deriveSecrets, localKeys } from '../crypto/identity.ts';
import type { NetworkEvents } from '../ports.ts';
import { ManualClock } from '../testing/clock.ts';
import { codeOf } from '../testing/code.ts';
import { TestLog } from '../testing/log.ts';
import { DEAF } from './link.ts';
import { serverNetwork } from './server-network.ts';
import { TorKeeper, torOff } from './tor-keeper.ts';
import { TorNetwork } from './tor-network.ts';

const keysOf = () => localKeys(deriveSecrets(randomBytes(16)), new Uint8Array(randomBytes(16)));
const CONFIG = { binary: 'tor', bridges: [], transports: [] };
const random = { bytes: (size: number) => new Uint8Array(randomBytes(size)), fraction: () => 0.5 };

/** Tor's SOCKS port that lets nobody through: the user names and hosts that it was told. Source: RFC 1928, RFC 1929. */
const socksAt = async (path: string): Promise<{ readonly name: string; readonly host: string }[]> => {
  const asked: { name: string; host: string }[] = [];
  const server = createServer((socket) => {
    let name = '';
    const steps: ((bytes: Buffer) => number[])[] = [
      () => [5, 2],
      (bytes) => {
        name = bytes.toString('latin1', 2, 2 + (bytes[1] ?? 0));
        return [1, 0];
      },
      (bytes) => {
        asked.push({ name, host: bytes.toString('latin1', 5, bytes.length - 2) });
        return [5, 1, 0, 1, 0, 0, 0, 0, 0, 0];
      },
    ];
    socket.on('data', (bytes) => socket.write(Uint8Array.from(steps.shift()?.(bytes) ?? [])));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => void server.close());
  return asked;
};

/** A network whose Tor is only the SOCKS port, and what that was asked. */
const networkOf = async () => {
  const socketDir = mkdtempSync(join(tmpdir(), 'sotto-net-'));
  onTestFinished(() => rmSync(socketDir, { recursive: true }));
  const network = new TorNetwork({
    config: { ...CONFIG, offline: false },
    paths: { dataDir: socketDir, socketDir },
    clock: new ManualClock(),
    random,
    log: new TestLog(),
    owner: process.pid,
  });
  const events = { state: () => {}, refused: () => {} } as unknown as NetworkEvents;
  await network.start(keysOf(), events);
  onTestFinished(() => network[Symbol.asyncDispose]());
  return { network, asked: await socksAt(join(socketDir, 'socks')) };
};

test('no two dials share a circuit, and what Tor is told of a peer is known to this account only', async () => {
  vi.spyOn(TorKeeper.prototype, 'start').mockResolvedValue();
  vi.spyOn(TorKeeper.prototype, 'state', 'get').mockImplementation(() => ({
    ...torOff(CONFIG),
    state: 'online',
  }));
  onTestFinished(() => void vi.restoreAllMocks());
  const peers = [1, 2].map(() => addressOf(keysOf().publicKeys.identityKey));
  const accounts = [await networkOf(), await networkOf()];
  for (const { network } of accounts)
    for (const peer of peers)
      for (const attempt of [1, 2])
        expect(await codeOf(network.dial(peer, () => DEAF, { attempt }))).toBe('dial.unreachable');

  const asked = accounts.flatMap((account) => account.asked);
  expect(asked.map(({ host }) => host)).toEqual([...peers, ...peers].flatMap((peer) => [peer, peer]));
  expect(new Set(asked.map(({ name }) => name)).size).toBe(8);
  const parts = asked.map(({ name }) => /^([0-9a-f]{32})-(\d+)$/.exec(name) ?? []);
  expect(parts.map(([, , attempt]) => attempt)).toEqual(['1', '2', '1', '2', '1', '2', '1', '2']);
  // The redial of a peer has its hash again; every other peer, and the same one of another account, has another.
  const hashes = parts.map(([, hash]) => hash);
  expect(hashes.filter((_, i) => i % 2 === 0)).toEqual(hashes.filter((_, i) => i % 2 === 1));
  expect(new Set(hashes).size).toBe(4);
});

test('a server is asked for at Tor by its name, and each time through circuits of its own', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sotto-net-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const socksPath = join(dir, 'socks');
  const asked = await socksAt(socksPath);
  const tor = () => ({ socksPath, failed: () => {} });
  const { dialServer } = serverNetwork({ clock: new ManualClock(), random, tor });
  const target = { origin: 'wss://chat.invalid:7443', serverKey: new Uint8Array(randomBytes(32)) };
  for (const _ of [1, 2])
    expect(await codeOf(dialServer({ ...target, trust: 'pinned' }, () => expect.fail('linked')))).toBe(
      'dial.unreachable',
    );
  expect(asked.map(({ host }) => host)).toEqual(['chat.invalid', 'chat.invalid']);
  expect(new Set(asked.map(({ name }) => name)).size).toBe(2);
});
