// Somebody between the two Tors who reads every record and changes one: the link ends by a typed error, nothing is lost.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Stage, type User } from '../e2e/stage.ts';

const RECORD_BYTES = 480;

/** What goes on instead of the record of the moment; gets what was held back before. */
type Attack = (record: Buffer, held: Buffer[], back: (bytes: Buffer) => void) => Buffer[];

const flip = (record: Buffer, at: number): Buffer => {
  const changed = Buffer.from(record);
  changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
  return changed;
};

const ATTACKS: Readonly<Record<string, Attack>> = {
  'a bit changed': (record) => [flip(record, 100)],
  'a bit changed in the last byte': (record) => [flip(record, record.length - 1)],
  'a length changed': (record) => [flip(record, 1)],
  'a record forged': (record) => [Buffer.concat([record.subarray(0, 2), Buffer.alloc(RECORD_BYTES - 2, 7)]), record],
  'a record twice': (record) => [record, record],
  'a record sent back': (record, _held, back) => {
    back(record);
    return [record];
  },
  'a record kept back for ever': () => [],
  'a record after the next': (record, held) => {
    held.push(record);
    return [];
  },
};

let attack: Attack | undefined;
const proxies: Server[] = [];
let stage: Stage;
let alice: User;
let bob: User;

beforeAll(async () => {
  stage = new Stage();
  [alice, bob] = await Promise.all([stage.user('alice'), stage.user('bob')]);
  for (const user of [alice, bob]) await standBefore(user);
  await stage.befriend(alice, bob);
});
afterAll(async () => {
  for (const proxy of proxies) proxy.close();
  await stage[Symbol.asyncDispose]();
});

// Takes the place of the socket to which the user's Tor hands incoming streams.
const standBefore = async (user: User): Promise<void> => {
  const { socket } = await user.one<{ socket: string }>('daemon', 'status');
  const path = join(dirname(socket), 'onion');
  renameSync(path, `${path}-real`);
  const proxy = createServer((fromTor) => {
    const toDaemon = connect(`${path}-real`);
    for (const end of [fromTor, toDaemon]) end.on('error', () => {});
    // The dialler's handshake has two messages, the answer one; records follow.
    relay(fromTor, toDaemon, 2);
    relay(toDaemon, fromTor, 1);
  });
  proxies.push(proxy);
  await new Promise<void>((done) => proxy.listen(path, done));
};

const relay = (from: Socket, to: Socket, handshakeMessages: number): void => {
  let buffer = Buffer.alloc(0);
  let messages = 0;
  const held: Buffer[] = [];
  from.on('close', () => to.destroy());
  from.on('data', (chunk) => {
    buffer = Buffer.concat([buffer, chunk]);
    while (buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16BE(0)) {
      const message = buffer.subarray(0, 2 + buffer.readUInt16BE(0));
      buffer = buffer.subarray(message.length);
      const armed = messages++ < handshakeMessages ? undefined : attack;
      if (armed === undefined) {
        to.write(message);
        for (const late of held.splice(0)) to.write(late);
        continue;
      }
      attack = undefined;
      for (const bytes of armed(message, held, (back) => from.write(back))) to.write(bytes);
    }
  });
};

const refusals = async (...users: readonly User[]): Promise<number> => {
  const asked = users.length === 0 ? [alice, bob] : users;
  const all = await Promise.all(asked.map((user) => user.one<Refused>('status')));
  return all.reduce((sum, { refused }) => sum + (refused['frame.invalid'] ?? 0), 0);
};

// Links that end young are dialled again after ever longer waits: who does not want to wait says so.
const arrives = async (text: string): Promise<void> => {
  const { id } = await alice.one<{ id: string }>('send', 'bob', text);
  await alice.until(`the delivery of ${text}`, async () => {
    await alice.ok('why', 'bob', '--retry');
    const sent = (await alice.items<{ id: string; state: string }>('read', 'bob', '--limit', '3')).find(
      (one) => one.id === id,
    );
    return sent?.state === 'delivered';
  });
};

test.for(Object.keys(ATTACKS))('%s', async (name) => {
  await arrives(`${name} 0`);
  const before = await refusals();
  attack = ATTACKS[name];
  await alice.ok('send', 'bob', `${name} 1`);
  await arrives(`${name} 2`);
  expect(attack).toBeUndefined();
  expect(await refusals()).toBeGreaterThan(before);
});

test('everything came, once and in order', async () => {
  const texts = Object.keys(ATTACKS).flatMap((name) => [0, 1, 2].map((i) => `${name} ${i}`));
  expect(await bob.bodies('alice')).toEqual(texts);
});

test.for(['a bit changed', 'a record sent back'])('on the link of a file: %s', async (name) => {
  const source = join(stage.dir, name);
  writeFileSync(source, name.repeat(10_000));
  await alice.ok('file', 'send', 'bob', source);
  const { id } = await bob.until('the offer', async () =>
    (await bob.items<{ id: string; state: string }>('file', 'list')).find(({ state }) => state === 'offered'),
  );
  const [before, atBob] = [await refusals(), await refusals(bob)];
  attack = ATTACKS[name];
  const saved = `${source}.saved`;
  await bob.ok('file', 'save', id, saved);
  expect([attack, readFileSync(saved).equals(readFileSync(source))]).toEqual([undefined, true]);
  expect(await refusals()).toBeGreaterThan(before);
  // What was sent back came to Bob, who had dialled.
  if (name === 'a record sent back') expect(await refusals(bob)).toBeGreaterThan(atBob);
});

type Refused = { refused: Record<string, number> };
