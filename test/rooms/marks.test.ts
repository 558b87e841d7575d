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
  await phone.sees('nothing unread', async () => (await unread(phone, '#past')) === 0);
  await carol.call('conversation.markRead', { conversation: '#past' });
  const tablet = await device('tablet');
  await tablet.reads('#past', 'three');
  await tablet.sees('nothing unread', async () => (await unread(tablet, '#past')) === 0);
  await alice.say('#past', 'news');
  for (const guest of [carol, phone, tablet]) {
    await guest.reads('#past', 'news');
    expect(await unread(guest, '#past')).toBe(1);
  }
});

/** Ends the daemon of somebody and starts it: it is level with the server again once it is online. */
const again = async (guest: Guest): Promise<void> => {
  await guest.user.ok('daemon', 'stop');
  await guest.back();
  await guest.online();
};

const unreadBodies = async (guest: Guest, conversation: string): Promise<string[]> =>
  (await guest.call('message.unread', { conversation })).messages.map(({ body }) => body);

// A device learns a moment later what another one has joined.
const knows = (guest: Guest, name: string): Promise<unknown> =>
  guest.sees(name, async () => (await guest.call('channel.list', {})).some((channel) => channel.name === name));

test.for(['open', 'members'] as const)(
  'what was unread when one left an %s channel is unread when one is back, and for as long as nobody reads it',
  async (encryption) => {
    const name = `#${encryption}-again`;
    const isIn = async (guest: Guest) =>
      (await guest.call('channel.show', { channel: name })).members?.some((one) => one.name === 'carol');
    const back = async (): Promise<void> => {
      await alice.sees('that carol is out', async () => !(await isIn(alice)));
      if (encryption === 'members') await alice.call('channel.invite', { channel: name, member: 'carol' });
      await carol.call('channel.join', { channel: name });
      await alice.sees('carol', () => isIn(alice));
    };
    await alice.call('channel.create', { name, encryption });
    await alice.say(name, 'before carol');
    await back();
    for (const text of ['old 1', 'old 2', 'old 3']) await alice.say(name, text);
    await carol.reads(name, 'old 3');
    await knows(phone, name);
    await phone.reads(name, 'old 3');
    const old = ['old 1', 'old 2', 'old 3'];
    expect(await unreadBodies(carol, name)).toEqual(old);
    await carol.call('channel.leave', { channel: name });
    await alice.say(name, 'while carol is away');
    await back();
    expect(await unreadBodies(carol, name)).toEqual(old);
    await again(carol);
    expect(await unreadBodies(carol, name)).toEqual(old);
    await carol.call('channel.leave', { channel: name });
    await back();
    expect(await unreadBodies(carol, name)).toEqual(old);
    await carol.call('server.leave', { server: 'home' });
    await carol.call('server.join', { link: await alice.invite(), label: 'home' });
    await alice.say(name, 'news');
    for (const guest of [carol, phone]) {
      await knows(guest, name);
      await guest.reads(name, 'news');
    }
    await again(carol);
    for (const guest of [carol, phone]) expect(await unreadBodies(guest, name)).toEqual([...old, 'news']);
    await carol.call('conversation.markRead', { conversation: name });
    await phone.sees('nothing unread', async () => (await unread(phone, name)) === 0);
  },
);

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
  await phone.sees('nothing unread', async () => (await unread(phone, '#past')) === 0);
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
  // Nothing more of hers is on its way while her outbox is filled from outside.
  await alice.sees('the receipt', async () => (await alice.messages('carol@home')).at(-1)?.state === 'delivered');
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
