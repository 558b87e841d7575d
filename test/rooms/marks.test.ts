// What is read, or was said before one came: the same on every device of a member, whichever of them says so and whenever they come.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OUTBOX_FRAMES_MAX } from '../../src/protocol/limits.ts';
import { type Guest, House } from './house.ts';

let house: House;
let alice: Guest;
let carol: Guest;
let phone: Guest;

beforeAll(async () => {
  ({ house, alice, carol } = await House.open('alice', 'carol'));
  phone = await device('phone');
});
afterAll(() => house[Symbol.asyncDispose]());

const device = async (name: string): Promise<Guest> => {
  const guest = await house.device(carol, name);
  await guest.call('server.join', { link: await alice.invite(), label: 'home' });
  return guest;
};

const history = async (name: string): Promise<void> => {
  await alice.call('channel.create', { name, encryption: 'open' });
  for (const text of ['one', 'two', 'three']) await alice.say(name, text);
};

const unread = async (guest: Guest, conversation: string) =>
  (await guest.call('conversation.show', { conversation })).unread;

test('what was said before one came is read on all devices, and on one that comes later', async () => {
  await history('#past');
  await carol.call('channel.join', { channel: '#past' });
  await phone.sees('the channel', async () =>
    (await phone.call('channel.list', {})).some(({ name, state }) => name === '#past' && state === 'joined'),
  );
  await phone.reads('#past', 'three');
  expect(await unread(carol, '#past')).toBe(0);
  await phone.sees('nothing unread', async () => (await unread(phone, '#past')) === 0, 5_000);
  await carol.call('conversation.markRead', { conversation: '#past' });
  const tablet = await device('tablet');
  await tablet.reads('#past', 'three');
  await tablet.sees('nothing unread', async () => (await unread(tablet, '#past')) === 0, 5_000);
  await alice.say('#past', 'news');
  for (const guest of [carol, phone, tablet]) {
    await guest.reads('#past', 'news');
    expect(await unread(guest, '#past')).toBe(1);
  }
});

test('a mark that a device holds counts again for what it has missed', async () => {
  for (const guest of [carol, phone]) await guest.reads('#past', 'news');
  await carol.call('conversation.markRead', { conversation: '#past' });
  await phone.sees('nothing unread', async () => (await unread(phone, '#past')) === 0);
  await phone.user.ok('daemon', 'stop');
  await phone.look((db) => {
    db.run("UPDATE messages SET unread = 1 WHERE body = 'three'");
    db.run("UPDATE conversations SET unread = 1 WHERE channel_row = (SELECT id FROM channels WHERE name = 'past')");
  });
  await phone.back();
  await phone.sees('nothing unread', async () => (await unread(phone, '#past')) === 0, 5_000);
});

test('what is read is read also while nothing more waits for the server: its author is not told', async () => {
  await carol.call('config.set', { key: 'privacy.readReceipts', value: true });
  await alice.call('message.send', { conversation: 'carol@home', text: 'are you there?' });
  await carol.sees(
    'the request',
    async () => (await carol.call('member.show', { member: 'alice@home' })).request === 'open',
  );
  await carol.call('member.accept', { member: 'alice@home' });
  await carol.reads('alice@home', 'are you there?');
  await house.server.stop();
  await carol.look((db) =>
    db.run(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
       INSERT INTO room_outbox (server_id, channel_row, event_id, kind, content, ttl, created_at, expires_at)
         SELECT s.id, c.id, randomblob(16), 1, CAST('{}' AS BLOB), 0, 0, 9e15
           FROM n, servers s, channels c WHERE c.name = 'past'`,
      OUTBOX_FRAMES_MAX,
    ),
  );
  expect(await unread(carol, 'alice@home')).toBe(1);
  await carol.call('conversation.markRead', { conversation: 'alice@home' });
  expect(await unread(carol, 'alice@home')).toBe(0);
  await carol.call('member.reject', { member: 'alice@home' });
  await carol.look((db) => db.run('DELETE FROM room_outbox WHERE expires_at = 9e15'));
  await house.server.start();
});
