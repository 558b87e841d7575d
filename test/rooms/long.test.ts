// A channel with a long history: who joins it waits for the first part, and the rest comes in the background, visibly.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemRandom } from '../../src/machine.ts';
import { idBytes, idOf, timedId } from '../../src/protocol/ids.ts';
import { ROOM_PAGE_MAX } from '../../src/protocol/limits.ts';
import { openDatabase } from '../../src/sqlite/open.ts';
import { type Guest, House } from './house.ts';
import { Program } from './program.ts';

const TEXTS = 80;
const channel = '#long';
const program = new Program();
let house: House;
let alice: Guest;
let bob: Guest;

beforeAll(async () => {
  // What fills the pages is soon said.
  const often = '{ burst = 1000, perHour = 360000 }';
  mkdirSync(program.data, { mode: 0o700 });
  writeFileSync(join(program.data, 'server.toml'), `[rates]\npublish = ${often}\nburst = ${often}\n`);
  await program.start();
  ({ house, alice, bob } = await House.around(program, 'alice', 'bob'));
});
afterAll(async () => {
  await house[Symbol.asyncDispose]();
  await program[Symbol.asyncDispose]();
});

const show = (guest: Guest) => guest.call('channel.show', { channel });
test('who joins a long channel is let in at once; the rest comes in the background, whole and in order', async () => {
  await alice.call('channel.create', { name: channel, encryption: 'open' });
  const long = 'x'.repeat(16_000);
  const texts = Array.from({ length: TEXTS }, (_, n) => `walrus ${n} ${long}`);
  for (const text of texts) await alice.call('message.send', { conversation: channel, text });
  await alice.call('channel.topic', { channel, topic: 'walruses' });
  await alice.sees('that all is said', async () => (await alice.call('server.list', {}))[0]?.outboxDepth === 0);

  const joined = await bob.call('channel.join', { channel });
  expect(joined).toMatchObject({ state: 'joining', heldFrom: 1 });
  expect(joined.heldTo).toBeLessThan(TEXTS);
  const { message: early } = await bob.call('message.send', { conversation: channel, text: 'I am here' });
  expect(['queued', 'sent']).toContain(early.state);
  await bob.sees('the whole of it', async () => (await show(bob)).state === 'joined');
  expect(await show(bob)).toMatchObject({ topic: 'walruses', memberCount: 2, role: 'member', gaps: [] });
  const read = (await bob.messages(channel)).map(({ body }) => body.replace(/ x+$/, ''));
  expect(read.filter((body) => body.startsWith('walrus'))).toEqual(texts.map((text) => text.replace(/ x+$/, '')));
  expect(bob.events.filter(({ kind }) => kind === 'channel.progressed').at(-1)?.channel).toMatchObject({
    name: channel,
    logTo: expect.any(Number),
  });
  await alice.reads(channel, 'I am here');
  await alice.say(channel, 'welcome');
  await bob.reads(channel, 'welcome');
});

test('invites are told, and revoked, however many there are', async () => {
  await program.stop();
  const id = (n: number) => idBytes(timedId(Date.now() - 60_000 + n, systemRandom.bytes(10)));
  const last = id(10_000);
  {
    using db = openDatabase(join(program.data, 'server.db'));
    for (const [n, one] of [...Array.from({ length: ROOM_PAGE_MAX }, (_, n) => id(n)), last].entries())
      db.run(
        `INSERT INTO invite (id, token_hash, role, uses, uses_left, created_at, expires_at) VALUES (?, ?, 'member', 1, 1, ?, ?)`,
        one,
        systemRandom.bytes(32),
        n,
        Date.now() + 3_600_000,
      );
  }
  await program.start();
  await alice.call('server.retry', { server: 'home' });
  const ids = async () => (await alice.call('server.invites', {})).map((one) => one.id);
  expect((await ids()).length).toBeGreaterThan(ROOM_PAGE_MAX);
  expect(await ids()).toContain(idOf(last));
  expect(await alice.call('server.revoke', { id: idOf(last) })).toMatchObject({ uses: 0 });
  expect(await ids()).not.toContain(idOf(last));
});
