// Devices of one member: what one of them says, reads and decides the others see; one that is revoked gets nothing more.
import { cpSync, renameSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemRandom } from '../../src/machine.ts';
import { jsonBytes } from '../../src/protocol/bytes.ts';
import { type EventId, idBytes, timedId } from '../../src/protocol/ids.ts';
import type { Direct } from '../../src/protocol/room-direct.ts';
import type { Message } from '../../src/protocol/rpc-objects.ts';
import { EVENT } from '../../src/protocol/server-frames.ts';
import { putRoomOutbox } from '../../src/store/room-outbox.ts';
import { pathsOf } from '../daemon/furnished.ts';
import { type Guest, House } from './house.ts';

let house: House;
let alice: Guest;
let bob: Guest;
let phone: Guest;
let carol: Guest;

beforeAll(async () => {
  ({ house, alice, bob } = await House.open('alice', 'bob'));
  await alice.call('channel.create', { name: '#ops', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#ops', member: 'bob' });
  await bob.call('channel.join', { channel: '#ops' });
  await bob.say('#ops', 'before the phone');
  await alice.reads('#ops', 'before the phone');
  await bob.say('alice@home', 'early');
  await alice.reads('bob@home', 'early');
  await alice.call('member.accept', { member: 'bob@home' });
  phone = await house.device(alice, 'phone');
  await phone.call('server.join', { link: await alice.invite(), label: 'home' });
  await alice.sees('the phone', async () => (await alice.call('server.devices', {})).length === 2);
});
afterAll(() => house[Symbol.asyncDispose]());

const idOf = async (name: string) => (await alice.call('member.show', { member: `${name}@home` })).id;
const state = async (guest: Guest, id: string) => (await guest.call('message.show', { id })).state;
const unread = async (guest: Guest, conversation: string) =>
  (await guest.call('conversation.show', { conversation })).unread;

test('a device that comes is the same member, is in the channels, and says what it cannot read', async () => {
  expect((await phone.call('server.list', {}))[0]?.memberName).toBe('alice');
  expect(await phone.call('channel.list', {})).toMatchObject([
    { name: '#ops', state: 'joined', encryption: 'members' },
  ]);
  expect(await phone.bodies('#ops')).toEqual([]);
  const { gaps } = await phone.call('channel.show', { channel: '#ops' });
  const before = '1 message is of before this device came: others of yours may show it';
  expect(gaps).toEqual([{ fromSeq: 0, toSeq: 0, reason: before }]);
  expect((await phone.call('message.list', { conversation: '#ops' })).missing).toEqual([before]);
  // It never comes: who searches everywhere waits for nothing.
  expect((await phone.call('message.search', { query: 'before' })).missing).toBeUndefined();
  const read = await phone.user.run('read', 'bob@home', { json: false });
  expect(read.out).not.toContain('early');
});

test('it sees what the other says to a member, in order, with its state and all that becomes of it', async () => {
  const long = 'x'.repeat(16_000);
  const one = await alice.say('bob@home', 'one');
  const two = await alice.say('bob@home', long);
  await alice.say('bob@home', 'three', { replyTo: one.id });
  for (const guest of [phone, bob]) await guest.reads(guest === bob ? 'alice@home' : 'bob@home', 'three');
  expect(await phone.bodies('bob@home')).toEqual(['one', long, 'three']);
  expect((await phone.messages('bob@home')).map(({ id, mine, from }) => [id, mine, from])).toEqual(
    (await alice.messages('bob@home')).slice(1).map(({ id, mine, from }) => [id, mine, from]),
  );
  for (const guest of [alice, phone])
    await guest.sees('a receipt', async () => (await state(guest, one.id)) === 'delivered');
  await phone.call('message.edit', { id: one.id, text: 'One' });
  await alice.call('message.react', { id: two.id, emoji: '👍' });
  await phone.call('message.delete', { id: two.id });
  for (const guest of [alice, bob, phone]) {
    await guest.sees('an edit', async () => (await guest.call('message.show', { id: one.id })).body === 'One');
    await guest.sees('a deletion', async () => (await guest.call('message.show', { id: two.id })).deletedAt);
  }
  await bob.say('alice@home', 'and back');
  for (const guest of [alice, phone]) {
    await guest.reads('bob@home', 'and back');
    expect((await guest.bodies('bob@home')).slice(-4)).toEqual(['One', '', 'three', 'and back']);
  }
  const { missing } = await phone.call('message.list', { conversation: 'bob@home' });
  expect(missing?.[0]).toMatch(/^What was said before .* may be on others of yours only$/);
  expect((await bob.call('message.list', { conversation: 'alice@home' })).missing).toBeUndefined();
});

test('a thread with a member is one on both sides and on every device', async () => {
  const root = await alice.say('bob@home', 'a root');
  await bob.reads('alice@home', 'a root');
  await bob.user.ok('send', 'alice@home', '--thread', root.id, 'an answer');
  await alice.reads('bob@home', 'an answer');
  await alice.user.ok('send', 'bob@home', '--thread', root.id, 'another');
  for (const [guest, conversation] of [
    [alice, 'bob@home'],
    [bob, 'alice@home'],
    [phone, 'bob@home'],
  ] as const) {
    await guest.reads(conversation, 'another');
    const seen = await guest.user.items<Message>('read', conversation, '--thread', root.id);
    expect(seen.map(({ body, answers, thread }) => [body, answers, thread])).toEqual([
      ['a root', 2, undefined],
      ['an answer', undefined, root.id],
      ['another', undefined, root.id],
    ]);
  }
});

test('what one has read the other has read; drafts stay where they are', async () => {
  await bob.say('alice@home', 'news');
  for (const guest of [alice, phone]) await guest.reads('bob@home', 'news');
  await phone.call('conversation.markRead', { conversation: 'bob@home' });
  await alice.sees('nothing unread', async () => (await unread(alice, 'bob@home')) === 0);
  await alice.call('conversation.draft', { conversation: 'bob@home', text: 'half a thought' });
  await bob.say('#ops', 'more news');
  for (const guest of [alice, phone]) await guest.reads('#ops', 'more news');
  // Away, it learns of it when it comes back.
  await phone.user.ok('daemon', 'stop');
  await alice.call('conversation.markRead', { conversation: '#ops' });
  await phone.back();
  await phone.sees('nothing unread', async () => (await unread(phone, '#ops')) === 0);
  expect((await phone.call('conversation.show', { conversation: 'bob@home' })).draft).toBeUndefined();
});

test('both write in channels, each sees the other, and a channel that one joins has the other', async () => {
  await alice.say('#ops', 'from the laptop');
  await phone.reads('#ops', 'from the laptop');
  await phone.say('#ops', '@here from the phone');
  for (const guest of [alice, bob]) await guest.reads('#ops', '@here from the phone');
  // What I say anywhere calls me nowhere.
  const called = async (guest: Guest) => (await guest.messages('#ops')).at(-1)?.mention;
  expect([await called(alice), await called(phone), await called(bob)]).toEqual([undefined, undefined, true]);
  expect((await alice.call('conversation.show', { conversation: '#ops' })).mentions).toBe(0);
  expect((await phone.messages('#ops')).map(({ body, mine }) => [body, mine])).toEqual([
    ['more news', false],
    ['from the laptop', true],
    ['@here from the phone', true],
  ]);
  await bob.call('channel.create', { name: '#open', encryption: 'open' });
  await bob.say('#open', 'come in');
  await phone.call('channel.join', { channel: '#open' });
  await alice.sees('the channel', async () =>
    (await alice.call('channel.list', {})).some((one) => one.name === '#open'),
  );
  await alice.reads('#open', 'come in');
});

test('a stranger whom one lets in is let in by both', async () => {
  carol = await house.guest('carol');
  await carol.call('server.join', { link: await alice.invite(), label: 'home' });
  const asked = await carol.say('alice@home', 'do you know me?');
  for (const guest of [alice, phone]) await guest.reads('carol@home', 'do you know me?');
  expect(await state(carol, asked.id)).toBe('sent');
  await phone.call('member.accept', { member: 'carol@home' });
  await alice.sees(
    'the decision',
    async () => (await alice.call('member.show', { member: 'carol@home' })).request === 'accepted',
  );
  await carol.sees('that it has come', async () => (await state(carol, asked.id)) === 'delivered');
});

test('MEMBER-7: nobody but my own devices speaks for me, or changes what I or others have said; what makes no sense does not stop me', async () => {
  const channel = (await alice.call('channel.show', { channel: '#ops' })).id;
  const { id: mine } = await alice.say('bob@home', 'mine');
  await bob.reads('alice@home', 'mine');
  const carols = (await alice.messages('carol@home'))[0]?.id ?? '';
  const forged: Direct[] = [
    ...[mine, carols].flatMap((target): Direct[] => [
      { kind: 'edit', target, number: 1, text: 'forged' },
      { kind: 'delete', target },
    ]),
    { kind: 'sender.key', channel, epoch: 2 ** 40, share: 'AAAA' },
    { kind: 'sent', to: await idOf('carol'), content: { kind: 'text', text: 'I never said it', sentAt: 1 } },
    { kind: 'decided', of: await idOf('carol'), accepted: false },
    { kind: 'marked', of: await idOf('bob'), epoch: 0, seq: 9_999 },
  ];
  // What bob sends is what stands in his outbox: he puts there what he likes.
  await bob.user.ok('daemon', 'stop');
  await bob.look((db) => {
    const alices = db.get<{ id: number; server: number }>(
      "SELECT id, server_id AS server FROM members WHERE name = 'alice'",
    );
    for (const own of forged)
      putRoomOutbox(db, {
        serverId: alices?.server ?? 0,
        channelRow: null,
        memberRow: alices?.id ?? 0,
        eventId: idBytes(timedId(Date.now(), systemRandom.bytes(10))),
        kind: EVENT.direct,
        content: jsonBytes(own),
        messageRow: null,
        ttl: 0,
        createdAt: Date.now(),
        expiresAt: Date.now() + 1e9,
      });
  });
  await bob.back();
  await bob.say('alice@home', 'after that');
  await alice.reads('bob@home', 'after that');
  expect(await alice.bodies('carol@home')).toEqual(['do you know me?']);
  expect((await alice.bodies('bob@home')).slice(-2)).toEqual(['mine', 'after that']);
  expect(await unread(alice, 'bob@home')).toBe(1);
  expect(await alice.call('member.show', { member: 'carol@home' })).toMatchObject({
    request: 'accepted',
    blocked: false,
  });
});

test('what a newer version says is shown as that, in a channel and by a member', async () => {
  await bob.user.ok('daemon', 'stop');
  const ids = [1, 2, 3].map(() => timedId<EventId>(Date.now(), systemRandom.bytes(10)));
  const [poll, change, direct] = ids;
  await bob.look((db) => {
    const at = db.get<{ channel: number; server: number; alice: number }>(
      "SELECT c.id AS channel, c.server_id AS server, m.id AS alice FROM channels c, members m WHERE c.name = 'ops' AND m.name = 'alice'",
    );
    const put = (kind: number, id: EventId | undefined, content: object): number =>
      putRoomOutbox(db, {
        serverId: at?.server ?? 0,
        channelRow: kind === EVENT.direct ? null : (at?.channel ?? 0),
        memberRow: kind === EVENT.direct ? (at?.alice ?? 0) : null,
        eventId: idBytes(id ?? ''),
        kind,
        content: new Uint8Array(Buffer.from(JSON.stringify(content))),
        messageRow: null,
        ttl: 0,
        createdAt: Date.now(),
        expiresAt: Date.now() + 1e9,
      });
    put(EVENT.content, poll, { kind: 'poll', question: '?' });
    put(EVENT.control, change, { op: 'merge', with: 'all' });
    put(EVENT.direct, direct, { kind: 'poll', question: '?' });
  });
  await bob.back();
  await bob.say('#ops', 'behind the poll');
  await bob.say('alice@home', 'behind that poll');
  for (const [conversation, behind, id] of [
    ['#ops', 'behind the poll', poll],
    ['bob@home', 'behind that poll', direct],
  ] as const) {
    await alice.reads(conversation, behind);
    expect((await alice.messages(conversation)).at(-2)).toMatchObject({ id, kind: 'unknown', body: '', from: 'bob' });
    expect((await alice.user.ok('read', conversation, { json: false })).out).toMatch(
      /bob.*: \(a message of a newer version of sotto\)\n.*behind/,
    );
  }
  expect((await alice.user.ok('read', '#ops', { json: false })).err).toContain('1 change of a newer version of sotto');
});

test('what I am called on a server, and may do there, is shown on every device while it is connected', async () => {
  const here = async (guest: Guest) => (await guest.call('server.list', {}))[0];
  const reserved = await phone.user.run('server', 'profile', '--name', 'here');
  expect(reserved.error).toMatchObject({
    code: 'name.invalid',
    message: expect.stringContaining('@here calls several'),
  });
  await phone.call('server.profile', { name: 'alicia' });
  await alice.sees('her other name', async () => (await here(alice))?.memberName === 'alicia');
  await alice.call('server.profile', { name: 'alice' });
  await phone.sees('her name again', async () => (await here(phone))?.memberName === 'alice');
  for (const role of ['admin', 'member']) {
    await house.server.admin('role', 'bob', role);
    await bob.sees(`that he is ${role}`, async () => (await here(bob))?.role === role);
  }
});

test('what both edit at once is the same everywhere, and a channel is shown as it was', async () => {
  const everywhere = async (conversation: string, text: string) => {
    for (const guest of [alice, phone]) await guest.reads(conversation, text);
    await bob.reads(conversation === '#ops' ? '#ops' : 'alice@home', text);
  };
  for (const conversation of ['#ops', 'bob@home']) {
    // Whichever of both is first, once with each of the texts.
    for (const [mine, phones] of [
      ['b by the laptop', 'a by the phone'],
      ['a by the laptop', 'b by the phone'],
    ]) {
      const { id } = await alice.say(conversation, 'to be edited');
      await everywhere(conversation, 'to be edited');
      await house.server.stop();
      const texts = [`${mine}, first`, `${phones}, first`, mine, phones] as const;
      for (const text of [texts[0], mine]) await alice.call('message.edit', { id, text: text ?? '' });
      for (const text of [texts[1], phones]) await phone.call('message.edit', { id, text: text ?? '' });
      await house.server.start();
      for (const guest of [alice, phone]) await guest.online();
      await alice.say(conversation, `after ${mine}`);
      await phone.say(conversation, `after ${phones}`);
      for (const text of [`after ${mine}`, `after ${phones}`]) await everywhere(conversation, text);
      const bodies = async () =>
        Promise.all([alice, phone, bob].map(async (guest) => (await guest.call('message.show', { id })).body));
      await bob.sees('one text', async () => new Set(await bodies()).size === 1);
      expect([mine, phones]).toContain((await bodies())[0]);
      if (conversation !== '#ops') continue;
      // In the log there is one order of all texts: none is lost.
      const versions = async (guest: Guest) => {
        const { versions: before = [], body } = await guest.call('message.show', { id });
        return [...before.map((one) => one.body), body];
      };
      const all = ['to be edited', ...texts].sort();
      for (const guest of [alice, phone, bob])
        await guest.sees('all texts', async () => (await versions(guest)).length === all.length);
      expect((await versions(bob)).toSorted()).toEqual(all);
      for (const guest of [alice, phone]) expect(await versions(guest)).toEqual(await versions(bob));
      const now = Date.now() + 60_000;
      for (const guest of [alice, phone, bob])
        expect(await guest.bodies('#ops', { at: now })).toEqual(await guest.bodies('#ops'));
    }
  }
});

test('what both edit in the same way is one version, also where a channel is shown as it was', async () => {
  const { id } = await alice.say('#ops', 'of one mind');
  await phone.reads('#ops', 'of one mind');
  await house.server.stop();
  for (const guest of [alice, phone]) await guest.call('message.edit', { id, text: 'both say this' });
  await house.server.start();
  for (const guest of [alice, phone])
    await guest.sees('that nothing waits', async () => {
      const [server] = await guest.call('server.list', {});
      return server?.state === 'online' && server.outboxDepth === 0;
    });
  for (const guest of [alice, phone]) await guest.say('#ops', `after it by ${guest.name}`);
  for (const guest of [alice, phone, bob])
    for (const name of ['alice', phone.name]) await guest.reads('#ops', `after it by ${name}`);
  const then = Date.now() + 50;
  await new Promise((done) => setTimeout(done, 100));
  await alice.call('message.edit', { id, text: 'at last' });
  for (const guest of [alice, phone, bob]) {
    await guest.reads('#ops', 'at last');
    expect(await guest.bodies('#ops', { at: then })).toContain('both say this');
    const { versions = [] } = await guest.call('message.show', { id });
    expect(versions.map(({ body }) => body)).toEqual(['of one mind', 'both say this']);
  }
});

test('a revoked device gets nothing more, from nobody', async () => {
  const id = (await phone.call('server.devices', {})).find((one) => one.this)?.id ?? '';
  await alice.user.ok('server', 'devices', 'home', '--revoke', id);
  for (const guest of [alice, bob])
    await guest.sees('that it is revoked', () =>
      guest.look((db) => db.get('SELECT 1 FROM devices WHERE device_id = ? AND revoked > 1', idBytes(id))),
    );
  await phone.sees('that it is out', async () => (await phone.call('server.list', {}))[0]?.state === 'revoked');
  await alice.say('bob@home', 'not for the phone');
  await bob.reads('alice@home', 'not for the phone');
  await bob.say('#ops', 'nor this');
  await alice.reads('#ops', 'nor this');
  await alice.say('#ops', 'nor that');
  await bob.reads('#ops', 'nor that');
  for (const guest of [alice, bob])
    expect(
      await guest.look((db) =>
        db.all('SELECT 1 FROM channel_devices WHERE device_id = ? AND has_ours = 1', idBytes(id)),
      ),
    ).toEqual([]);
  expect(await phone.bodies('bob@home')).not.toContain('not for the phone');
});

test('its user is told that it was removed, by whom and what can be done; it joins anew as another device, with all that it has', async () => {
  const { user } = phone;
  await user.ok('daemon', 'stop');
  await phone.back();
  const shown = { state: 'revoked', lastErrorCode: 'device.revoked' };
  const [server] = await phone.sees('its end', async () => {
    const servers = await phone.call('server.list', {});
    return servers[0]?.lastErrorCode === undefined ? undefined : servers;
  });
  expect(server).toMatchObject(shown);
  expect(server).not.toHaveProperty('nextRetryAt');
  for (const words of [['server', 'list'], ['status'], ['why', 'home']])
    expect((await user.ok(...words, { json: false })).out).toMatch(
      /removed from the server by a device of yours.*sotto --data-dir .*export.*sotto --data-dir .*server join LINK/,
    );
  expect((await user.ok('why', 'home', { json: false })).out).toContain(
    'another device of yours, or another admin, makes',
  );
  for (const to of ['#ops', 'bob@home']) {
    const { code, error } = await user.run('send', to, 'in vain');
    expect([code, error?.code]).toEqual([6, 'device.revoked']);
  }
  const kept = await phone.bodies('bob@home');
  const link = await alice.invite();
  await user.ok('server', 'join', link);
  const devices = await phone.call('server.devices', {});
  expect(devices.map(({ this: isThis, revoked }) => [isThis, revoked])).toContainEqual([true, false]);
  await phone.say('#ops', 'another phone');
  await phone.say('bob@home', 'it is me');
  for (const guest of [alice, bob]) await guest.reads('#ops', 'another phone');
  await bob.reads('alice@home', 'it is me');
  await bob.say('#ops', 'welcome');
  await bob.say('alice@home', 'it is you');
  await phone.reads('#ops', 'welcome');
  await phone.reads('bob@home', 'it is you');
  expect((await phone.bodies('bob@home')).slice(0, kept.length)).toEqual(kept);
  for (const guest of [alice, bob, phone])
    for (const { reason } of (await guest.call('channel.show', { channel: '#ops' })).gaps ?? [])
      expect(reason).toMatch(
        /wait.* for their key|waits for its key|no key that came here|newer version|of before this device came/,
      );
});

test('what a device says that came while I was away is read when I am back; who erased themself is read by all who come', async () => {
  await carol.call('channel.join', { channel: '#open' });
  await carol.say('#open', 'I was here');
  await alice.reads('#open', 'I was here');
  await carol.call('server.leave', { server: 'home', erase: true });
  // Who is forgotten is in no channel any more.
  await alice.sees('nobody called carol', async () =>
    (await alice.call('channel.show', { channel: '#open' })).members?.every(({ name }) => name !== 'carol'),
  );
  const link = await alice.invite();
  await bob.user.ok('daemon', 'stop');
  const tablet = await house.device(alice, 'tablet');
  await tablet.call('server.join', { link, label: 'home' });
  await tablet.reads('#open', 'I was here');
  await tablet.say('bob@home', 'from the tablet');
  await tablet.say('#ops', 'here too');
  await bob.back();
  await bob.reads('alice@home', 'from the tablet');
  await bob.reads('#ops', 'here too');
  // Whom one has met keeps the name.
  expect((await alice.messages('#open')).at(-1)).toMatchObject({ body: 'I was here', from: 'carol' });
});

test.each([
  ['left', '#come-and-go'],
  ['was removed from', '#out-and-in'],
])(
  'a device that was away while its member %s a channel and came back is in it again, and reads',
  async (how, name) => {
    const join = async (): Promise<void> => {
      await bob.call('channel.invite', { channel: name, member: 'alice' });
      await alice.call('channel.join', { channel: name });
    };
    await bob.call('channel.create', { name, encryption: 'members' });
    await join();
    const welcome = await bob.say(name, 'welcome');
    await phone.sees(name, async () => (await phone.call('channel.list', {})).some((channel) => channel.name === name));
    await phone.reads(name, 'welcome');
    await phone.user.ok('daemon', 'stop');
    await bob.say(name, 'while you are here');
    await alice.reads(name, 'while you are here');
    const at = Date.now();
    if (how === 'left') await alice.call('channel.leave', { channel: name });
    else await bob.call('channel.kick', { channel: name, member: 'alice' });
    await bob.sees(
      'that alice is out',
      async () => (await bob.call('channel.show', { channel: name })).memberCount === 1,
    );
    await bob.say(name, 'while you are out');
    await bob.call('message.delete', { id: welcome.id });
    await join();
    await bob.say(name, 'good to have you back');
    await phone.back();
    await phone.reads(name, 'good to have you back');
    await phone.say(name, 'from my phone');
    await bob.reads(name, 'from my phone');
    // What was deleted meanwhile is not kept.
    expect(await phone.bodies(name)).toEqual(['', 'good to have you back', 'from my phone']);
    const [then, hers] = await Promise.all([phone, bob].map((one) => one.call('channel.show', { channel: name, at })));
    expect(then).toMatchObject({ state: 'joined', memberCount: 2, members: hers?.members, keyEpoch: hers?.keyEpoch });
    const seen = await phone.call('channel.show', { channel: name });
    expect(seen).toMatchObject({ state: 'joined', memberCount: 2, keyEpoch: 2 });
    expect(seen.gaps?.map(({ reason }) => reason)).toEqual(['you were not in the channel']);
  },
);

test('a device that was away when its member left a channel is told so, and shows it as it was', async () => {
  await bob.call('channel.create', { name: '#passed', encryption: 'members' });
  await bob.call('channel.invite', { channel: '#passed', member: 'alice' });
  await alice.call('channel.join', { channel: '#passed' });
  const { id } = await bob.say('#passed', 'in passing');
  await phone.sees('#passed', async () =>
    (await phone.call('channel.list', {})).some(({ name }) => name === '#passed'),
  );
  await phone.reads('#passed', 'in passing');
  const at = Date.now();
  await phone.user.ok('daemon', 'stop');
  await alice.call('channel.leave', { channel: '#passed' });
  await bob.call('message.delete', { id });
  const placeOf = async (when = {}) => (await phone.call('channel.show', { channel: '#passed', ...when })).state;
  await phone.back();
  await phone.sees('that she has left', async () => (await placeOf()) !== 'joined');
  expect([await placeOf(), await placeOf({ at })]).toEqual(['left', 'joined']);
  expect(await phone.bodies('#passed')).toEqual(['']);
});

test('a device that comes later knows who was what in a channel before', async () => {
  const [early] = await alice.messages('#ops');
  const at = early?.sentAt ?? 0;
  await alice.call('channel.role', { channel: '#ops', member: 'bob', role: 'moderator' });
  const tablet = await house.device(bob, 'desk');
  await tablet.call('server.join', { link: await alice.invite(), label: 'home' });
  const rolesAt = async (guest: Guest) =>
    (await guest.call('channel.show', { channel: '#ops', at })).members?.map(({ name, role }) => `${name} ${role}`);
  await tablet.sees('the channel', async () => (await rolesAt(tablet))?.length === 2);
  expect(await rolesAt(tablet)).toEqual(await rolesAt(alice));
  expect(await rolesAt(tablet)).toContain('bob member');
});

test('what a device said before it was revoked is read by who was away, whether they knew it or not', async () => {
  // Of a member of their own: keys of others may be taken five times a day.
  const dave = await house.guest('dave');
  await dave.call('server.join', { link: await alice.invite(), name: 'dave', label: 'home' });
  await alice.call('channel.invite', { channel: '#ops', member: 'dave' });
  await dave.call('channel.join', { channel: '#ops' });
  for (const isKnown of [true, false]) {
    const slate = await house.device(dave, `slate-${isKnown}`);
    const link = await alice.invite();
    if (!isKnown) await bob.user.ok('daemon', 'stop');
    await slate.call('server.join', { link, label: 'home' });
    if (isKnown) {
      await slate.say('#ops', 'first words');
      await bob.reads('#ops', 'first words');
      await bob.user.ok('daemon', 'stop');
    }
    await slate.say('bob@home', `last words ${isKnown}`);
    await slate.say('#ops', `last words here ${isKnown}`);
    const id = (await slate.call('server.devices', {})).find((one) => one.this)?.id ?? '';
    await dave.user.ok('server', 'devices', 'home', '--revoke', id);
    await slate.sees('that it is out', async () => (await slate.call('server.list', {}))[0]?.state === 'revoked');
    await bob.back();
    await bob.reads('#ops', `last words here ${isKnown}`);
    await bob.reads('dave@home', `last words ${isKnown}`);
  }
});

test('MEMBER-9: a data folder that was put back to an earlier state goes on as another device, and all that is said is read', async () => {
  const erin = await house.guest('erin');
  await erin.call('server.join', { link: await alice.invite(), name: 'erin', label: 'home' });
  await alice.call('channel.invite', { channel: '#ops', member: 'erin' });
  await erin.call('channel.join', { channel: '#ops' });
  await erin.say('#ops', 'kept');
  await erin.say('bob@home', 'kept for bob');
  await erin.user.ok('daemon', 'stop');
  const { dir } = pathsOf(erin.user);
  cpSync(dir, `${dir}.copy`, { recursive: true });
  const told = erin.events.length;
  await erin.back();
  await erin.say('#ops', 'since then');
  await erin.say('bob@home', 'to bob since then');
  await bob.reads('erin@home', 'to bob since then');
  await bob.say('erin@home', 'an answer');
  await erin.reads('bob@home', 'an answer');
  await erin.user.ok('daemon', 'stop');
  rmSync(dir, { recursive: true });
  renameSync(`${dir}.copy`, dir);
  erin.disconnect();
  // Cursors go on from where they were in the copy.
  erin.events.length = told;
  await erin.back();
  await erin.sees('what was said since', async () => {
    const detail = erin.events.slice(told).findLast(({ kind }) => kind === 'member.device')?.detail;
    return detail?.includes('put back to an earlier state') === true;
  });
  await erin.reads('#ops', 'since then');
  await erin.reads('bob@home', 'an answer');
  await erin.say('#ops', 'from the other');
  await erin.say('bob@home', 'to bob from the other');
  for (const who of [alice, bob]) await who.reads('#ops', 'from the other');
  await bob.reads('erin@home', 'to bob from the other');
  await bob.say('erin@home', 'to both');
  await bob.say('#ops', 'to all');
  await erin.reads('bob@home', 'to both');
  await erin.reads('#ops', 'to all');
  expect(await erin.call('server.devices', {})).toHaveLength(2);
  for (const who of [alice, bob]) {
    const { gaps = [] } = await who.call('channel.show', { channel: '#ops' });
    expect(gaps.filter(({ reason }) => reason.includes('erin'))).toEqual([]);
  }
});

test('MEMBER-9: what was erased since a data folder was put back is not said again by it', async () => {
  const hugo = await house.guest('hugo');
  await hugo.call('server.join', { link: await alice.invite(), name: 'hugo', label: 'home' });
  await alice.call('channel.create', { name: '#town', encryption: 'open' });
  for (const guest of [hugo, bob]) await guest.call('channel.join', { channel: '#town' });
  await hugo.say('#town', 'kept');
  await house.server.stop();
  const { message: slip } = await hugo.call('message.send', { conversation: '#town', text: 'a slip' });
  await hugo.user.ok('daemon', 'stop');
  const { dir } = pathsOf(hugo.user);
  cpSync(dir, `${dir}.copy`, { recursive: true });
  await house.server.start();
  await hugo.back();
  for (const guest of [alice, bob]) await guest.reads('#town', 'a slip');
  await hugo.call('message.delete', { id: slip.id });
  await bob.sees('that it was deleted', async () => !(await bob.bodies('#town')).includes('a slip'));
  await hugo.user.ok('daemon', 'stop');
  rmSync(dir, { recursive: true });
  renameSync(`${dir}.copy`, dir);
  await hugo.back();
  const [shown] = await hugo.sees('that it is gone', async () => {
    const all = await hugo.messages('#town');
    return all.length === 2 && all[1]?.deletedAt !== undefined && [all[1]];
  });
  expect([shown?.id, shown?.state]).toEqual([slip.id, 'sent']);
  await hugo.say('#town', 'after it');
  for (const guest of [alice, bob]) {
    await guest.reads('#town', 'after it');
    expect(await guest.bodies('#town')).toEqual(['kept', '', 'after it']);
    expect((await guest.call('channel.show', { channel: '#town' })).gaps ?? []).toEqual([]);
  }
  expect((await hugo.call('server.list', {}))[0]?.outboxDepth).toBe(0);
});

test('a device that came while others were away is met where they need it: behind a passphrase, and in what is shared of before', async () => {
  const [frank, grace] = [await house.guest('frank'), await house.guest('grace')];
  const link = await alice.invite(2);
  for (const guest of [frank, grace]) await guest.call('server.join', { link, name: guest.name, label: 'home' });
  for (const guest of [frank, alice]) {
    await grace.say(`${guest.name}@home`, 'hello');
    await guest.reads('grace@home', 'hello');
  }
  const [first, second] = ['the passphrase of before', 'the passphrase of now'];
  await frank.call('channel.create', { name: '#safe', encryption: 'passphrase', passphrase: first });
  await alice.call('channel.create', { name: '#past', encryption: 'members' });
  await grace.call('channel.join', { channel: '#safe', passphrase: first });
  await frank.call('channel.rotate', { channel: '#safe', passphrase: second });
  await grace.user.ok('daemon', 'stop');
  const slate = await house.device(frank, 'slate');
  await slate.call('server.join', { link: await alice.invite(), label: 'home' });
  await slate.call('channel.join', { channel: '#safe', passphrase: second });
  await slate.say('#safe', 'behind another passphrase');
  const desk = await house.device(alice, 'reading-desk');
  await desk.call('server.join', { link: await alice.invite(), label: 'home' });
  await desk.say('#past', 'before grace came');
  await alice.reads('#past', 'before grace came');
  await grace.back();
  const gapsOf = async (channel: string) => (await grace.call('channel.show', { channel })).gaps ?? [];
  await grace.sees('what waits for a key', async () => (await gapsOf('#safe')).length > 0);
  await grace.call('channel.join', { channel: '#safe', passphrase: second });
  await grace.reads('#safe', 'behind another passphrase');
  expect(await gapsOf('#safe')).toEqual([]);
  await alice.call('channel.invite', { channel: '#past', member: 'grace' });
  await grace.call('channel.join', { channel: '#past' });
  await alice.sees('grace', async () =>
    (await alice.call('channel.show', { channel: '#past' })).members?.some(({ name }) => name === 'grace'),
  );
  await alice.call('channel.shareHistory', { channel: '#past', member: 'grace' });
  await grace.reads('#past', 'before grace came');
});

test('what was said before a device came is of before it came, also where it was given a later step of the key', async () => {
  await alice.call('channel.create', { name: '#steps', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#steps', member: 'bob' });
  await bob.call('channel.join', { channel: '#steps' });
  for (let i = 0; i < 4; i++) for (const guest of [alice, bob]) await guest.say('#steps', `${guest.name} ${i}`);
  const lectern = await house.device(alice, 'lectern');
  await lectern.call('server.join', { link: await alice.invite(), label: 'home' });
  for (const guest of [alice, bob]) await guest.say('#steps', `to the lectern of ${guest.name}`);
  for (const guest of [alice, bob]) await lectern.reads('#steps', `to the lectern of ${guest.name}`);
  const reasons = async () =>
    ((await lectern.call('channel.show', { channel: '#steps' })).gaps ?? []).map((gap) => gap.reason);
  await lectern.sees('all tried', async () => (await reasons()).some((reason) => reason.startsWith('8 messages')));
  expect(await reasons()).toEqual(['8 messages are of before this device came: others of yours may show them']);
});
