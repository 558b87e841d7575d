// Attacks on the place where streams come in: silence, garbage, replayed handshakes, records sent back or out of order.

import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { addressOf } from '../../src/crypto/address.ts';
import { deriveSecrets, localKeys } from '../../src/crypto/identity.ts';
import { DEAF, openLink } from '../../src/net/link.ts';
import { TorNetwork } from '../../src/net/tor-network.ts';
import type { Link } from '../../src/ports.ts';
import {
  HANDSHAKE_FIRST_MS_MAX,
  HANDSHAKE_MESSAGE_BYTES_MAX,
  UNPROVEN_STREAMS_MAX,
} from '../../src/protocol/limits.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { TestLog } from '../../src/testing/log.ts';
import { seededRandom } from '../../src/testing/random.ts';

const random = seededRandom(7);
const person = () => {
  const keys = localKeys(deriveSecrets(random.bytes(16)), random.bytes(16));
  return { keys, address: addressOf(keys.publicKeys.identityKey) };
};

const bob = person();
let dir: string;
let clock: ManualClock;
let network: TorNetwork;
let sockets: Socket[];
/** What Bob's end of one test has seen: streams of the test before end late, and count there. */
let seen: { readonly refused: string[]; readonly heard: string[]; readonly ended: string[]; readonly links: Link[] };

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sotto-streams-'));
  clock = new ManualClock();
  const mine: typeof seen = { refused: [], heard: [], ended: [], links: [] };
  seen = mine;
  sockets = [];
  // The program called tor here is none: only the socket behind the onion service is looked at.
  network = new TorNetwork({
    config: { binary: join(dir, 'none'), bridges: [], transports: [], offline: false },
    paths: { dataDir: join(dir, 'tor'), socketDir: join(dir, 's') },
    clock,
    random,
    log: new TestLog(),
    owner: process.pid,
  });
  await network.start(bob.keys, {
    admit: () => 'accept',
    incoming: (link) => {
      mine.links.push(link);
      return {
        frame: (frame) => mine.heard.push(Buffer.from(frame).toString()),
        drained: () => {},
        closed: (reason) => mine.ended.push(reason),
      };
    },
    state: () => {},
    refused: (code) => mine.refused.push(code),
  });
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  let closed = false;
  const closing = network[Symbol.asyncDispose]().then(() => {
    closed = true;
  });
  // The network gives up on its missing Tor by the clock.
  while (!closed) {
    clock.step();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await closing;
  rmSync(dir, { recursive: true });
});

/** A stream as a Tor would bring it. */
const stream = (): Promise<Socket> =>
  new Promise((done, fail) => {
    const socket = createConnection(join(dir, 's', 'onion'), () => done(socket)).on('error', fail);
    sockets.push(socket);
  });

const dialOver = (socket: Socket, who = person()): Promise<Link> =>
  openLink({
    stream: socket,
    role: 'dial',
    keys: who.keys,
    address: bob.address,
    admit: () => 'accept',
    clock,
    random,
    attach: () => DEAF,
  });

const until = async (ready: () => boolean): Promise<void> => {
  while (!ready()) await new Promise((resolve) => setImmediate(resolve));
};

describe('streams that come in', () => {
  test('LINK-1: 50 that say nothing keep nobody out, and end after 5 s', async () => {
    for (let i = 0; i < 50; i++) await stream();
    const link = await dialOver(await stream());
    link.send(Buffer.from('hello'));
    await until(() => seen.heard.length === 1);
    const end = clock.monotonic() + HANDSHAKE_FIRST_MS_MAX;
    while (clock.step(end));
    await until(() => seen.refused.length === 50);
    expect(new Set(seen.refused)).toEqual(new Set(['handshake.timeout']));
    expect(seen.heard).toEqual(['hello']);
  });

  test('300 of them hold 64 places, and a dial gets through', async () => {
    let open = 0;
    for (let i = 0; i < 300; i++) {
      open++;
      (await stream()).on('close', () => open--).resume();
    }
    await until(() => open <= UNPROVEN_STREAMS_MAX);
    const link = await dialOver(await stream());
    expect(link.peer.address).toBe(bob.address);
  });

  test('garbage, and a message above 4 KiB, end the stream without a word', async () => {
    const said: Buffer[] = [];
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.concat([Buffer.from([(HANDSHAKE_MESSAGE_BYTES_MAX + 1) >> 8, 1]), Buffer.alloc(100)]),
      Buffer.from([0, 0]),
      Buffer.concat([Buffer.from([0, 32]), Buffer.alloc(32)]),
    ]) {
      const socket = await stream();
      const closed = new Promise((resolve) => socket.on('close', resolve));
      socket.on('data', (chunk: Buffer) => said.push(chunk));
      socket.write(bytes);
      await closed;
    }
    await until(() => seen.refused.length === 4);
    expect(said).toEqual([]);
  });
});

describe('LINK-2 and LINK-7: what was said once cannot be said again', () => {
  /** Links over a stream and keeps every write of the dialling side. */
  const recorded = async () => {
    const socket = await stream();
    const writes: Buffer[] = [];
    const write = socket.write.bind(socket);
    socket.write = ((chunk: Buffer, ...rest: never[]) => {
      writes.push(Buffer.from(chunk));
      return write(chunk, ...rest);
    }) as typeof socket.write;
    const link = await dialOver(socket);
    return { socket, writes, write, link };
  };

  test('a recorded handshake with its records, sent to another stream, proves nothing', async () => {
    const { writes, link } = await recorded();
    link.send(Buffer.from('once'));
    await until(() => seen.heard.length === 1);
    const again = await stream();
    const closed = new Promise((resolve) => again.on('close', resolve));
    again.resume();
    for (const bytes of writes) again.write(bytes);
    await closed;
    await until(() => seen.refused.length === 1);
    expect(seen.refused).toEqual(['handshake.failed']);
    expect(seen.heard).toEqual(['once']);
  });

  test.each(['replayed', 'swapped', 'reflected'] as const)(
    'records that are %s end the link, and are not told',
    async (how) => {
      const { socket, writes, write, link } = await recorded();
      const handshake = writes.length;
      if (how === 'reflected') {
        // Bob's own record comes back to him.
        socket.removeAllListeners('data');
        socket.on('data', (chunk: Buffer) => write(chunk));
        await until(() => seen.links.length === 1);
        seen.links[0]?.send(Buffer.from('mine'));
        await until(() => seen.ended.length > 0);
        expect([seen.heard, seen.ended]).toEqual([[], ['frame.invalid']]);
        return;
      }
      socket.write = ((chunk: Buffer) => writes.push(Buffer.from(chunk)) > 0) as typeof socket.write;
      for (const words of ['one', 'two']) {
        link.send(Buffer.from(words));
        await until(
          () => writes.some((_, at) => at >= handshake) && writes.length > handshake + (words === 'two' ? 1 : 0),
        );
      }
      const [one, two] = writes.slice(handshake);
      for (const bytes of how === 'replayed' ? [one, one] : [two, one]) write(bytes as Buffer);
      await until(() => seen.ended.length > 0);
      expect([seen.heard, seen.ended]).toEqual([how === 'replayed' ? ['one'] : [], ['frame.invalid']]);
    },
  );
});
