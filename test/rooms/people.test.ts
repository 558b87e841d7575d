// Who is in a channel and what they may do there, through daemons and a server.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Event } from '../../src/protocol/rpc-events.ts';
import type { RoomWhy } from '../../src/protocol/rpc-objects.ts';
import type { ChannelObject } from '../../src/protocol/rpc-rooms.ts';
import { onTerminal } from '../cli/terminal.ts';
import { type Guest, House } from './house.ts';

let house: House;
let alice: Guest;
let bob: Guest;
let carol: Guest;

beforeAll(async () => {
  ({ house, alice, bob, carol } = await House.open('alice', 'bob', 'carol'));
});
afterAll(() => house[Symbol.asyncDispose]());

const show = (guest: Guest, channel: string) => guest.call('channel.show', { channel });
const stateOf = async (guest: Guest, channel: string) => (await show(guest, channel)).state;

/** What `why` has to say besides where its server is. */
const whyOf = async (guest: Guest, about: string) => (await guest.user.ok('why', about, { json: false })).err;

/** The same as one object. */
const whyObject = (guest: Guest, about: string) => guest.user.one<RoomWhy>('why', about);

/** A channel with all three in it. */
const gather = async (
  channel: string,
  more: { readonly history?: 'joined' | 'all'; readonly encryption?: 'open' | 'members' },
) => {
  const { encryption = 'open' } = more;
  await alice.call('channel.create', { name: channel, encryption, ...more });
  for (const guest of [bob, carol]) {
    if (encryption === 'members') await alice.call('channel.invite', { channel, member: guest.name });
    await guest.call('channel.join', { channel });
  }
  await alice.sees('everybody', async () => (await show(alice, channel)).memberCount === 3);
};

test('who comes late reads everything where history is for all, and else from their own join on', async () => {
  for (const history of ['all', 'joined'] as const) {
    const channel = `#late-${history}`;
    await alice.call('channel.create', { name: channel, encryption: 'open', history });
    // Who wrote early and left is judged by what they were then.
    await carol.call('channel.join', { channel });
    for (let n = 0; n < 5; n++) await (n === 2 ? carol : alice).say(channel, `early ${n}`);
    await carol.call('channel.leave', { channel });
    await alice.call('channel.topic', { channel, topic: 'before' });
    const slip = await alice.say(channel, 'a slip');
    await alice.call('message.delete', { id: slip.id });
    await bob.call('channel.join', { channel });
    await alice.say(channel, 'late');
    await bob.reads(channel, 'late');
    expect((await show(bob, channel)).gaps).toEqual([]);
    const early = Array.from({ length: 5 }, (_, n) => `early ${n}`);
    expect(await bob.bodies(channel)).toEqual(history === 'all' ? [...early, 'late'] : ['late']);
    expect((await show(bob, channel)).topic).toBe(history === 'all' ? 'before' : undefined);
    expect((await bob.call('message.search', { query: 'early', conversation: channel })).messages).toHaveLength(
      history === 'all' ? 5 : 0,
    );
    expect((await bob.call('conversation.show', { conversation: channel })).unread).toBe(1);
    if (history !== 'all') continue;
    // Bob has all of it since a moment ago, and it was said before.
    const time = String((await bob.messages(channel))[3]?.sentAt);
    expect(await bob.bodies(channel, { before: time })).toEqual(early.slice(0, 3));
    expect(await bob.bodies(channel, { after: time })).toEqual([...early.slice(3), 'late']);
    for (const inside of [{}, { conversation: channel }]) {
      const find = async (bounds: { readonly before?: string; readonly after?: string }) =>
        (await bob.call('message.search', { query: 'early', ...inside, ...bounds })).messages.map(({ body }) => body);
      expect(await find({ before: time })).toEqual(early.slice(0, 3).reverse());
      expect(await find({ after: time })).toEqual(early.slice(3).reverse());
      const unread = async (bounds: { readonly before?: string; readonly after?: string }) =>
        (await bob.call('message.unread', { ...inside, ...bounds })).messages.map(({ body }) => body);
      expect([await unread({ before: time }), await unread({ after: time })]).toEqual([[], ['late']]);
    }
  }
});

test('who is kicked reads and writes nothing more, keeps what was, and may come back', async () => {
  for (const encryption of ['open', 'members'] as const) {
    const channel = `#kick-${encryption}`;
    await gather(channel, { encryption });
    await alice.say(channel, 'all together');
    await bob.reads(channel, 'all together');
    const before = (await show(alice, channel)).keyEpoch;
    const at = Date.now();
    await alice.sees('the next millisecond', async () => Date.now() > at);
    await alice.call('channel.kick', { channel, member: 'bob' });
    await bob.sees('the removal', async () => (await stateOf(bob, channel)) === 'removed');
    expect(await whyOf(bob, channel)).toContain(`you were removed from ${channel}`);
    expect(await whyObject(bob, channel)).toMatchObject({
      label: 'home',
      state: 'online',
      conversation: `${channel}@home`,
      summary: `you were removed from ${channel}`,
    });
    expect((await show(alice, channel)).keyEpoch).toBe(encryption === 'members' ? before + 1 : before);
    await alice.say(channel, 'without bob');
    await carol.reads(channel, 'without bob');
    await carol.say(channel, 'nor carol');
    await carol.call('channel.leave', { channel });
    expect(await bob.refused('message.send', { conversation: channel, text: 'still here?' })).toBe('channel.notMember');
    const { error } = await bob.user.run('send', channel, 'still here?');
    expect(error?.message.includes('ask a moderator for an invitation')).toBe(encryption === 'members');
    expect(await bob.bodies(channel)).toEqual(['all together']);
    const then = await alice.call('channel.show', { channel, at });
    expect(then.members?.map(({ name }) => name)).toEqual(['alice', 'bob', 'carol']);
    if (encryption === 'members') {
      expect(await bob.refused('channel.join', { channel })).toBe('event.refused');
      await alice.call('channel.invite', { channel, member: 'bob' });
      await alice.say(channel, 'not yet for bob');
    }
    const [out, shown] = [Date.now(), await show(alice, channel)];
    await bob.call('channel.join', { channel });
    await alice.say(channel, 'bob again');
    await bob.reads(channel, 'bob again');
    expect(shown.memberCount).toBe(1);
    const without = await bob.call('channel.show', { channel, at: out });
    expect(without).toMatchObject({ state: 'removed', memberCount: 1, members: [{ name: 'alice' }] });
    expect(without).not.toHaveProperty('role');
    await alice.call('channel.role', { channel, member: 'bob', role: 'moderator' });
    await bob.sees('his role', async () => (await show(bob, channel)).role === 'moderator');
    const { keyEpoch, members, memberCount } = then;
    const here = { state: 'joined', role: 'member' };
    expect(await bob.call('channel.show', { channel, at })).toMatchObject({ ...here, keyEpoch, members, memberCount });
    const long = await bob.user.ok('channel', 'show', channel, '--at', '1999-01-01', { json: false });
    if (encryption === 'open') expect(long.out).toBe(`Then: ${channel} did not exist yet\n`);
    // What he was not to see is no fault of the server's.
    const reasons = (await show(bob, channel)).gaps?.map(({ reason }) => reason);
    expect(reasons).toEqual(encryption === 'open' ? [] : ['you were not in the channel']);
    // Where history is for all, what was said meanwhile comes with the return.
    expect(await bob.bodies(channel)).toEqual(
      encryption === 'open' ? ['all together', 'without bob', 'nor carol', 'bob again'] : ['all together', 'bob again'],
    );
  }
});

test('who is not let in holds nothing of the channel', async () => {
  const channel = '#closed';
  await alice.call('channel.create', { name: channel, encryption: 'members' });
  expect(await bob.refused('channel.join', { channel })).toBe('event.refused');
  expect(await bob.refused('channel.show', { channel })).toBe('channel.unknown');
  expect(await bob.refused('message.list', { conversation: channel })).toBe('channel.unknown');
  expect((await bob.call('channel.list', { all: true })).find(({ name }) => name === channel)?.state).toBe(
    'byInvitation',
  );
  await alice.call('channel.invite', { channel, member: 'bob' });
  expect((await alice.user.run('channel', 'invite', channel, 'bob')).error).toMatchObject({
    code: 'channel.unchanged',
    message: 'They are invited already',
    exit: 7,
  });
  await alice.call('channel.create', { name: '#keyless', encryption: 'open' });
  await expect(alice.call('channel.rotate', { channel: '#keyless' })).rejects.toThrow('An open channel has no key');
  await bob.call('channel.join', { channel });
  await bob.say(channel, 'here');
  await alice.reads(channel, 'here');
});

test('who is invited is told by whom, also where they come later, until they join or it is taken back; nobody else is', async () => {
  const channel = '#invited';
  const listed = async (guest: Guest, ...more: string[]) =>
    (await guest.user.items<ChannelObject>('channel', 'list', ...more)).find(({ name }) => name === channel);
  const shown = join(house.stage.dir, 'shown');
  await bob.call('config.set', { key: 'notify.command', value: `cat >> ${shown}` });
  await bob.call('config.set', { key: 'notify.level', value: 'name' });
  await alice.call('channel.create', { name: channel, encryption: 'members', private: true });
  await alice.call('channel.invite', { channel, member: 'bob' });
  const invitation = { name: channel, server: 'home', state: 'invited', invitedBy: 'alice', memberCount: 1 };
  const isIt = ({ kind, channel: about }: Event) => kind === 'channel.invited' && about?.name === channel;
  const told = await bob.sees('the invitation', async () => bob.events.find(isIt));
  expect(told).toMatchObject({ detail: 'by alice', channel: invitation, member: { name: 'bob' } });
  expect(await listed(bob)).toMatchObject(invitation);
  const notification = () => Promise.resolve(existsSync(shown) && readFileSync(shown, 'utf8').trim());
  expect(JSON.parse(await bob.sees('a notification', notification))).toMatchObject({
    body: '1 invitation to #invited@home',
  });
  expect((await bob.call('conversation.list', {})).some(({ name }) => name.startsWith(channel))).toBe(false);
  const ends = () =>
    bob.events.filter(({ kind, channel: about }) => kind === 'channel.removed' && about?.name === channel);
  for (const [place, way] of (['channel.ban', 'channel.kick'] as const).entries()) {
    await alice.call(way, { channel, member: 'bob' });
    const over = await bob.sees('its end', async () => ends()[place]);
    expect(over).toMatchObject({ detail: 'the invitation is over', channel: { state: 'byInvitation' } });
    expect(over.member?.name).toBe('bob');
    expect(await listed(bob)).toBe(undefined);
    expect(await bob.refused('channel.show', { channel })).toBe('channel.unknown');
    if (way === 'channel.kick') break;
    await alice.call('channel.unban', { channel, member: 'bob' });
    await alice.call('channel.invite', { channel, member: 'bob' });
    await bob.sees('another invitation', () => listed(bob));
  }
  await bob.user.ok('daemon', 'stop');
  await alice.call('channel.invite', { channel, member: 'bob' });
  await bob.back();
  expect(await bob.sees('the second invitation', () => listed(bob))).toMatchObject(invitation);
  await bob.call('channel.join', { channel });
  expect(await listed(bob)).toMatchObject({ state: 'joined', memberCount: 2 });
  expect(await listed(bob)).not.toHaveProperty('invitedBy');
  expect(await listed(carol, '--all')).toBe(undefined);
  expect(carol.events.some(isIt)).toBe(false);
});

test('a ban keeps somebody out until it is taken back', async () => {
  const channel = '#ban';
  await gather(channel, {});
  await alice.user.ok('file', 'send', channel, '-', '--name', 'plans', '--wait', 'done', { input: 'of the house' });
  const { file = '' } = await bob.reads(channel, 'plans');
  await alice.call('channel.ban', { channel, member: 'bob' });
  await bob.sees('the ban', async () => (await stateOf(bob, channel)) === 'banned');
  expect(await whyOf(bob, channel)).toMatch(/^you are banned from #ban$/m);
  expect((await whyObject(bob, channel)).summary).toBe('you are banned from #ban');
  for (const words of [
    ['send', channel, 'x'],
    ['channel', 'join', channel],
    ['file', 'save', file, join(house.stage.dir, 'plans')],
  ])
    expect((await bob.user.run(...words)).error).toMatchObject({ code: 'channel.banned', exit: 6, retry: 'later' });
  expect((await show(alice, channel)).banned).toMatchObject([{ name: 'bob' }]);
  expect((await alice.user.ok('channel', 'show', channel, { json: false })).out).toMatch(/^banned +bob$/m);
  const refused = async (...words: string[]) => {
    const { code, error } = await alice.user.run('channel', ...words);
    return [code, error?.code, error?.message];
  };
  const unchanged = 'channel.unchanged';
  expect(await refused('ban', channel, 'bob')).toEqual([7, unchanged, 'They are banned from the channel already']);
  await alice.call('channel.unban', { channel, member: 'bob' });
  expect(await refused('unban', channel, 'bob')).toEqual([7, unchanged, 'They are not banned from the channel']);
  expect(await refused('invite', channel, 'carol')).toEqual([7, unchanged, 'They are in the channel already']);
  expect(await show(alice, channel)).not.toHaveProperty('banned');
  for (const op of ['ban', 'kick', 'mute'])
    expect(await refused(op, channel, 'alice')).toEqual([
      6,
      'event.refused',
      expect.stringMatching(/^That is you, .*channel leave$/),
    ]);
  await bob.call('channel.join', { channel });
  await bob.say(channel, 'back');
  await alice.reads(channel, 'back');
});

test('who is muted reads and does not write, for a time or until it is taken back', async () => {
  const channel = '#mute';
  await gather(channel, {});
  const slip = await bob.say(channel, 'a slip');
  await alice.call('channel.mute', { channel, member: 'bob', muted: true, until: Date.now() + 3_600_000 });
  await carol.sees('a muted bob', async () =>
    (await show(carol, channel)).members?.some(
      ({ name, mutedUntilAt }) => name === 'bob' && mutedUntilAt !== undefined,
    ),
  );
  await bob.sees('that', async () => (await show(bob, channel)).members?.some(({ muted }) => muted === true));
  expect(await bob.refused('message.send', { conversation: channel, text: 'x' })).toBe('channel.muted');
  expect(await whyOf(bob, channel)).toMatch(/^you may not write in #mute until 2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d$/m);
  expect(await whyObject(bob, channel)).toMatchObject({
    summary: expect.stringMatching(/^you may not write in #mute until 2/),
    reasons: [expect.stringMatching(/^you may not write in #mute until 2/)],
    gaps: [],
  });
  expect(await whyObject(carol, channel)).toMatchObject({
    summary: expect.stringMatching(/^connected with home/),
    reasons: [],
  });
  expect((await carol.user.ok('channel', 'show', channel, { json: false })).out).toMatch(
    /bob {2}member {2}muted until \d{4}-/,
  );
  // Later than any date.
  await alice.call('channel.mute', { channel, member: 'bob', muted: true, until: 9e15 });
  await bob.sees('that', async () =>
    (await show(bob, channel)).members?.some(({ mutedUntilAt }) => mutedUntilAt === 9e15),
  );
  const refusal = async () => (await bob.user.run('send', channel, 'x')).error;
  expect(await refusal()).toMatchObject({ code: 'channel.muted', details: { untilAt: 9e15 } });
  await alice.call('channel.mute', { channel, member: 'bob', muted: true });
  await bob.sees('that', async () =>
    (await show(bob, channel)).members?.some(({ muted, mutedUntilAt }) => muted === true && mutedUntilAt === undefined),
  );
  expect(await whyOf(bob, channel)).toContain('you may not write in #mute until a moderator lets you');
  const { code, details } = (await refusal()) ?? {};
  expect([code, details]).toEqual(['channel.muted', {}]);
  await bob.call('channel.leave', { channel });
  await bob.call('channel.join', { channel });
  await bob.sees('that he is muted still', async () =>
    (await show(bob, channel)).members?.some(({ muted }) => muted === true),
  );
  expect(await bob.refused('message.send', { conversation: channel, text: 'x' })).toBe('channel.muted');
  await bob.call('message.delete', { id: slip.id });
  await alice.sees('no slip', async () => !(await alice.bodies(channel)).includes('a slip'));
  await alice.call('channel.mute', { channel, member: 'bob', muted: false });
  await bob.sees('the end of it', async () =>
    (await show(bob, channel)).members?.every(({ muted }) => muted === undefined),
  );
  await bob.say(channel, 'I may again');
  await alice.call('channel.mute', { channel, member: 'bob', muted: true, until: Date.now() + 300 });
  await bob.sees('its own end', async () =>
    (await show(bob, channel)).members?.every(({ muted }) => muted === undefined),
  );
  await bob.say(channel, 'and again');
  await alice.reads(channel, 'and again');
});

test('what the server does not take of me is shown no more, and told', async () => {
  const channel = '#refused';
  await gather(channel, {});
  await alice.call('channel.topic', { channel, topic: 'before' });
  await alice.call('channel.role', { channel, member: 'bob', role: 'moderator' });
  const said = await bob.say(channel, 'red');
  const other = await alice.say(channel, 'other');
  await alice.call('message.pin', { id: other.id });
  await bob.call('message.react', { id: other.id, emoji: '👍' });
  await bob.sees('his role, and a pin', async () => {
    const { pinnedAt } = await bob.call('message.show', { id: other.id });
    return pinnedAt !== undefined && (await show(bob, channel)).role === 'moderator';
  });
  await alice.sees(
    'a reaction',
    async () => (await alice.call('message.show', { id: other.id })).reactions.length === 1,
  );
  await house.server.stop();
  await bob.sees('that it is away', async () => (await bob.call('server.list', {}))[0]?.state !== 'online');
  await bob.call('message.edit', { id: said.id, text: 'green' });
  await bob.call('message.edit', { id: said.id, text: 'blue' });
  await bob.call('message.unreact', { id: other.id, emoji: '👍' });
  await bob.call('message.react', { id: said.id, emoji: '🎉' });
  await bob.call('message.unpin', { id: other.id });
  await bob.call('message.pin', { id: said.id });
  await bob.call('channel.topic', { channel, topic: 'after' });
  expect(await bob.bodies(channel)).toEqual(['blue', 'other']);
  await bob.user.ok('daemon', 'stop');
  await house.server.start();
  await alice.call('channel.role', { channel, member: 'bob', role: 'member' });
  await alice.call('channel.mute', { channel, member: 'bob', muted: true });
  await bob.back();
  await bob.sees('that nothing waits', async () => (await bob.call('server.list', {}))[0]?.outboxDepth === 0);
  for (const guest of [alice, bob]) {
    expect(await guest.bodies(channel)).toEqual(['red', 'other']);
    const mine = await guest.call('message.show', { id: said.id });
    expect([mine.versions, mine.reactions, mine.pinnedAt, mine.editedAt]).toEqual([[], [], undefined, undefined]);
    const theirs = await guest.call('message.show', { id: other.id });
    expect([theirs.reactions.length, theirs.pinnedAt !== undefined]).toEqual([1, true]);
    expect((await show(guest, channel)).topic).toBe('before');
  }
  expect((await bob.call('message.search', { query: 'blue', conversation: channel })).messages).toEqual([]);
  const told = bob.events.filter(({ kind }) => kind === 'message.refused' || kind === 'channel.refused');
  expect(told.map(({ detail }) => detail?.replace(/: .*/, ''))).toEqual([
    ...['edit', 'edit', 'react', 'react', 'pin', 'pin', 'topic'],
  ]);
  expect(told.at(-1)).toMatchObject({ channel: { name: channel }, detail: expect.stringMatching(/^topic: [a-z.]+$/i) });
});

test('roles: who may raise whom, and what a moderator may do', async () => {
  const channel = '#roles';
  await gather(channel, {});
  expect(await bob.refused('channel.kick', { channel, member: 'carol' })).toBe('event.refused');
  expect(await bob.refused('channel.role', { channel, member: 'bob', role: 'owner' })).toBe('event.refused');
  await alice.call('channel.role', { channel, member: 'bob', role: 'moderator' });
  await bob.sees('his role', async () => (await show(bob, channel)).role === 'moderator');
  await carol.say(channel, 'any @moderators here? or @owners');
  await carol.say(channel, 'nobody of the @moderator');
  const said = await carol.say(channel, 'a slip');
  const named = async (guest: Guest) => (await guest.messages(channel)).map(({ mention }) => mention === true);
  for (const guest of [alice, bob]) {
    await guest.reads(channel, 'a slip');
    expect(await named(guest)).toEqual([true, false, false]);
  }
  await bob.call('message.pin', { id: said.id });
  await carol.sees('a pin', async () => (await carol.call('message.show', { id: said.id })).pinnedAt);
  await bob.call('message.delete', { id: said.id });
  await carol.sees('a deletion', async () => (await carol.call('message.show', { id: said.id })).deletedAt);
  expect(await bob.refused('channel.kick', { channel, member: 'alice' })).toBe('event.refused');
  await bob.call('channel.kick', { channel, member: 'carol' });
  await carol.sees('the removal', async () => (await stateOf(carol, channel)) === 'removed');
  expect(await alice.refused('channel.leave', { channel })).toBe('event.refused');
});

const waiting = async (guest: Guest) => (await guest.call('server.list', {}))[0]?.stuck?.[0]?.reason;

test('slow mode makes members wait, and moderators not', async () => {
  const channel = '#slow';
  await gather(channel, {});
  await alice.call('channel.set', { channel, slowMs: 1_500 });
  await bob.sees('slow mode', async () => (await show(bob, channel)).slowMs === 1_500);
  await alice.say(channel, 'one');
  await alice.say(channel, 'two');
  const first = await bob.say(channel, 'three');
  const second = await bob.say(channel, 'four');
  const [one, two] = (await bob.messages(channel)).filter(({ id }) => id === first.id || id === second.id);
  expect((two?.sentAt ?? 0) - (one?.sentAt ?? 0)).toBeGreaterThanOrEqual(1_500);
  await alice.call('channel.set', { channel, slowMs: 3_600_000 });
  await bob.sees('slower mode', async () => (await show(bob, channel)).slowMs === 3_600_000);
  // What waits for its time has not left: it can be taken back, and then nobody ever reads it.
  for (const take of ['message.delete', 'message.cancel'] as const) {
    const { message } = await bob.call('message.send', { conversation: channel, text: 'regretted' });
    await bob.sees('that it waits', async () => (await waiting(bob)) !== undefined);
    await bob.call(take, { id: message.id });
    await bob.sees('that nothing waits', async () => (await bob.call('status.show', {})).outboxDepth === 0);
  }
  await bob.call('message.send', { conversation: channel, text: 'five' });
  await bob.sees('that it waits', async () => (await waiting(bob)) !== undefined);
  const waits = await bob.sees('when it goes', async () => (await bob.call('server.list', {}))[0]?.stuck?.[0]);
  expect(waits).toMatchObject({ conversation: channel, reason: 'The channel is in slow mode' });
  expect((waits.goesAt ?? 0) - Date.now()).toBeGreaterThan(3_000_000);
  expect((await bob.user.ok('why', channel, { json: false })).out).toMatch(/in slow mode, it goes on at \d{4}-/);
  const said = await bob.user.ok('send', channel, 'six', { json: false });
  expect(said.err).toMatch(
    /^! NOT ENCRYPTED: the server reads this\n#slow is in slow mode: what waits there goes on in \d\d?[mh]/,
  );
  // What he takes back of what he has said waits for nothing.
  await bob.call('message.delete', { id: second.id });
  await alice.sees('no four', async () => !(await alice.bodies(channel)).includes('four'));
  // What bob may never do is told so, not that something of his waits.
  expect(await bob.refused('channel.kick', { channel, member: 'carol' })).toBe('event.refused');
  await alice.call('channel.set', { channel, slowMs: 0 });
  await alice.reads(channel, 'six');
  const hers = (await alice.messages(channel)).map(({ body, deletedAt }) =>
    deletedAt === undefined ? body : 'deleted',
  );
  expect(hers).toEqual(['one', 'two', 'three', 'deleted', 'five', 'six']);
});

test('by the command line: a private channel, roles, muting, retention, search, listening, and who is out', async () => {
  const channel = '#porch';
  const by = (guest: Guest, ...words: string[]) => guest.user.ok<Record<string, unknown>>('channel', ...words);
  await by(alice, 'create', channel, '--private', '--encryption', 'open');
  // Nobody has a name that looks like it.
  const twin = await bob.user.run('channel', 'create', '#p0rch', '--encryption', 'open');
  expect([twin.code, twin.error?.code]).toEqual([7, 'name.taken']);
  expect(await bob.refused('channel.join', { channel })).toBe('channel.unknown');
  for (const guest of [bob, carol]) {
    await by(alice, 'invite', channel, guest.name);
    await guest.sees(
      'the way in',
      async () => (await guest.refused('channel.join', { channel })) === 'nothing was refused',
    );
  }
  const members = async (guest: Guest) => (await show(guest, channel)).members ?? [];
  const of = async (guest: Guest, name: string) => (await members(guest)).find((one) => one.name === name);

  await by(alice, 'role', channel, 'bob', 'moderator');
  await bob.sees('his role', async () => (await show(bob, channel)).role === 'moderator');
  await by(bob, 'mute', channel, 'carol', '--for', '1h');
  await carol.sees('that she is muted', async () => (await of(carol, 'carol'))?.muted);
  expect(await carol.refused('message.send', { conversation: channel, text: 'x' })).toBe('channel.muted');
  const both = await bob.user.run('channel', 'mute', channel, 'carol', '--for', '1h', '--undo');
  expect([both.code, both.error?.code]).toEqual([2, 'usage.invalid']);
  await by(bob, 'mute', channel, 'carol', '--undo');
  await carol.sees('that she is not', async () => (await of(carol, 'carol'))?.muted === undefined);
  await by(alice, 'set', channel, '--retention', '36h');
  await carol.sees('the retention', async () => (await show(carol, channel)).retentionMs === 36 * 3_600_000);
  expect((await carol.user.ok('channel', 'show', channel, { json: false })).out).toMatch(/^kept +36h on/m);

  for (const guest of [carol, bob]) await guest.say(channel, `herons by ${guest.name}`);
  await alice.reads(channel, 'herons by bob');
  const found = await alice.user.items<{ body: string }>('search', 'herons', '--in', channel, '--from', 'carol@home');
  expect(found.map(({ body }) => body)).toEqual(['herons by carol']);
  type Heard = { readonly kind: string; readonly message?: { readonly body: string; readonly conversation: string } };
  const heard = await alice.user.hears<Heard>(['--since', '0', '--kinds', 'message.received'], (events) =>
    events.some(({ message }) => message?.body === 'herons by bob'),
  );
  expect(heard.at(-1)?.message).toMatchObject({ body: 'herons by bob' });

  await by(bob, 'kick', channel, 'carol');
  await carol.sees('the removal', async () => (await stateOf(carol, channel)) === 'removed');
  await by(alice, 'ban', channel, 'carol');
  expect(await alice.refused('channel.invite', { channel, member: 'carol' })).toBe('event.refused');
  await by(alice, 'unban', channel, 'carol');
  await by(alice, 'invite', channel, 'carol');
  await carol.sees(
    'the way back',
    async () => (await carol.refused('channel.join', { channel })) === 'nothing was refused',
  );

  const { id, link } = await alice.user.one<{ id: string; link: string }>('server', 'invite');
  await alice.user.ok('server', 'revoke', id);
  const dave = await house.guest('dave');
  expect(await dave.refused('server.join', { link, name: 'dave' })).toBe('invite.invalid');
});

test('a server says what it keeps of somebody', async () => {
  await gather('#kept', {});
  const [{ kept = {} } = {}] = (await bob.user.ok<{ kept: Record<string, unknown[]> }>('server', 'export', 'home'))
    .items;
  expect(kept).toMatchObject({ member: { name: 'bob' }, devices: [{ revoked: false }] });
  expect(kept.memberships?.length).toBeGreaterThan(0);
  const shown = await bob.user.run('server', 'export');
  expect(shown.code).toBe(0);
  // What there is nothing to say of is left out.
  await alice.user.ok('server', 'invite');
  await alice.user.ok('file', 'send', '#kept', '-', '--wait', 'done', { input: 'bytes' });
  const { out } = await alice.user.ok('server', 'export', 'home');
  for (const list of ['invites', 'files', 'memberships', 'audit']) expect(out).not.toContain(`"${list}":[]`);
  expect(out).not.toMatch(/null|"(expiresAt|mutedUntil)":0/);
});

test('who leaves is out; an archived channel is read only', async () => {
  const channel = '#end';
  await gather(channel, {});
  await bob.call('channel.leave', { channel });
  expect(await stateOf(bob, channel)).toBe('left');
  expect(await bob.refused('message.send', { conversation: channel, text: 'x' })).toBe('channel.notMember');
  const slip = await carol.say(channel, 'a slip');
  await alice.call('channel.topic', { channel, topic: 'before' });
  await alice.say(channel, 'the last word');
  await alice.call('channel.archive', { channel });
  await carol.sees('the end', async () => (await show(carol, channel)).archived);
  expect(await carol.refused('message.send', { conversation: channel, text: 'x' })).toBe('channel.archived');
  expect(await alice.refused('channel.topic', { channel, topic: 'after' })).toBe('channel.archived');
  expect((await show(alice, channel)).topic).toBe('before');
  for (const refused of [
    alice.refused('channel.invite', { channel, member: 'bob' }),
    alice.refused('channel.role', { channel, member: 'carol', role: 'admin' }),
    alice.refused('channel.set', { channel, slowMs: 1000 }),
    alice.refused('channel.archive', { channel }),
    bob.refused('channel.join', { channel }),
  ])
    expect(await refused).toBe('channel.archived');
  await carol.call('message.delete', { id: slip.id });
  for (const guest of [alice, carol])
    await guest.sees(
      'it read only',
      async () => (await guest.bodies(channel)).filter(Boolean).join() === 'the last word',
    );
  expect((await bob.call('channel.list', { all: true })).map(({ name }) => name)).not.toContain(channel);
});

test('a server that lets nobody back in is called what it was, unless something else is called so by now', async () => {
  const frank = await house.guest('frank');
  const joins = async (link: string, label: string) => frank.call('server.join', { link, name: 'frank', label });
  await joins(await alice.invite(), 'club');
  await frank.call('server.leave', { server: 'club' });
  await joins((await house.another()).invite, 'club');
  await house.server.admin('ban', 'frank');
  const again = { link: await alice.invite(), name: 'frank', label: 'again' };
  expect(await frank.refused('server.join', again)).toBe('server.banned');
  expect((await frank.call('server.list', {})).map(({ label, state }) => `${label} ${state}`).sort()).toEqual([
    'again banned',
    'club online',
  ]);
});

test('a changed passphrase is asked of everybody, and who was kicked may read until then', async () => {
  const channel = '#pass';
  const fresh = 'the south sea bubble';
  const made = ['channel', 'create', channel, '--encryption', 'passphrase', '--history', 'all'];
  const { passphrase: old = '' } = await alice.user.one<ChannelObject>(...made);
  expect(old).toMatch(/^([a-z]+ ){5}[a-z]+$/);
  expect(await show(alice, channel)).not.toHaveProperty('passphrase');
  expect(await bob.refused('channel.join', { channel })).toBe('passphrase.needed');
  expect(await bob.refused('channel.join', { channel, passphrase: fresh })).toBe('passphrase.wrong');
  expect(await bob.refused('channel.show', { channel })).toBe('channel.unknown');
  await bob.call('channel.join', { channel, passphrase: old });
  await alice.say(channel, 'under the old one');
  await alice.call('channel.kick', { channel, member: 'bob' });
  expect((await show(alice, channel)).mayStillRead).toEqual(['bob']);
  for (const words of [
    ['send', channel, 'who reads this?'],
    ['read', channel],
  ])
    expect((await alice.user.ok(...words, { json: false })).err).toContain('bob may still read: change the passphrase');
  await bob.sees('the removal', async () => (await stateOf(bob, channel)) === 'removed');
  await bob.call('channel.join', { channel, passphrase: old });
  await alice.sees('bob again', async () => (await show(alice, channel)).mayStillRead === undefined);

  const rotation = ['channel', 'rotate', channel, '--passphrase-fd', '0'];
  expect((await alice.user.run(...rotation, { input: '\n' })).error).toMatchObject({
    code: 'passphrase.empty',
    exit: 2,
  });
  await alice.user.ok(...rotation, { input: `${fresh}\n` });
  await bob.sees('the new epoch', async () => (await show(bob, channel)).keyEpoch === 2);
  await alice.say(channel, 'under the new one');
  expect(await bob.refused('message.send', { conversation: channel, text: 'x' })).toBe('passphrase.needed');
  expect((await show(bob, channel)).passphraseNeeded).toBe(true);
  const shownWay = /The passphrase has changed: sotto .*channel join '#pass@home' takes the new one/;
  expect(await whyOf(bob, channel)).toMatch(shownWay);
  expect(
    await bob.sees('what waits', async () => {
      const why = await whyObject(bob, channel);
      return (why.gaps?.length ?? 0) > 0 && why;
    }),
  ).toMatchObject({
    summary: expect.stringMatching(shownWay),
    advice: [expect.stringMatching(/^sotto .*--account bob channel join '#pass@home'$/)],
    gaps: [{ reason: '1 message waits for its key' }],
  });
  const told = async (...about: string[]) => {
    const { out, err } = await bob.user.ok(...about, { json: false });
    return out + err;
  };
  for (const about of [
    ['channel', 'show', channel],
    ['read', channel],
  ])
    expect(await told(...about)).toMatch(shownWay);
  expect(await told('channel', 'list')).toContain('the passphrase has changed');
  expect(await show(alice, channel)).not.toHaveProperty('passphraseNeeded');
  expect(await bob.bodies(channel)).toEqual(['under the old one', 'who reads this?']);
  for (const guest of [bob, carol]) {
    await guest.call('channel.join', { channel, passphrase: fresh });
    await guest.reads(channel, 'under the new one');
    expect(await guest.bodies(channel)).toEqual(['under the old one', 'who reads this?', 'under the new one']);
  }
  expect(await show(bob, channel)).not.toHaveProperty('passphraseNeeded');
  await bob.say(channel, 'I have it');
  await alice.reads(channel, 'I have it');

  // Who removes somebody gives another one with the same command, or is asked for it on a terminal.
  const words = ['channel', 'ban', channel, 'carol', '--passphrase-fd', '0'];
  const banned = await alice.user.ok<ChannelObject>(...words, { input: 'a third one\n' });
  expect([banned.items[0]?.keyEpoch, banned.items[0]?.mayStillRead]).toEqual([3, undefined]);
  const { code, shown } = await onTerminal(alice.user.words(`channel kick '${channel}' bob`), [
    { on: /Another passphrase for #pass[^:]*: six[^:]*: /, type: '\r' },
  ]);
  expect([code, shown]).toEqual([0, expect.stringMatching(/bob is removed[\s\S]*\n {2}([a-z]+ ){5}[a-z]+/)]);
  const now = await show(alice, channel);
  expect([now.keyEpoch, now.mayStillRead]).toEqual([4, undefined]);
});

test('an owner and admins ban from the server and let back in, and the owner says who is an admin', async () => {
  const channel = '#plaza';
  await gather(channel, {});
  const by = (guest: Guest, ...words: string[]) => guest.user.run('member', ...words);
  const notAllowed = (message: string) => ({
    code: 6,
    error: { code: 'request.notAllowed', message: expect.stringContaining(message) },
  });
  expect(await by(bob, 'ban', 'carol')).toMatchObject(notAllowed('Only the owner and admins of home ban'));
  expect(await by(bob, 'role', 'carol', 'admin')).toMatchObject(notAllowed('Only the owner of home'));
  expect(await by(alice, 'role', 'bob', 'owner')).toMatchObject({ code: 2, error: { code: 'usage.invalid' } });
  expect(await by(alice, 'role', 'bob', 'admin')).toMatchObject({ code: 0, items: [{ name: 'bob', role: 'admin' }] });
  expect((await bob.user.ok('member', 'list', { json: false })).out).toMatch(/ bob@home {2}admin/);
  expect(await bob.call('server.list', {})).toMatchObject([{ role: 'admin' }]);
  expect(await by(bob, 'ban', 'alice')).toMatchObject(notAllowed('the owner by nobody'));
  expect(await bob.refused('member.ban', { member: 'bob' })).toBe('contact.self');

  expect(await by(bob, 'ban', 'carol@home')).toMatchObject({ code: 0, items: [{ name: 'carol', banned: true }] });
  await carol.sees('the ban', async () => (await carol.call('server.list', {}))[0]?.state === 'banned');
  expect(await carol.user.run('send', channel, 'x', '--wait', 'sent', '--timeout', '5s')).toMatchObject({
    code: 6,
    error: { code: 'server.banned', message: expect.stringContaining('You are banned from home') },
  });
  expect((await alice.user.ok('member', 'list', { json: false })).out).toMatch(/carol@home .*banned from the server/);
  const unbanned = await bob.user.ok('member', 'unban', 'carol', { json: false });
  expect(unbanned.out).toMatch(/^carol is banned from the server no more\n. carol@home/);
  expect((await carol.user.ok<{ state: string }>('why', 'home', '--retry')).items).toMatchObject([{ state: 'online' }]);
  await carol.say(channel, 'back');
  await alice.reads(channel, 'back');
  expect(await alice.bodies(channel)).toEqual(['back']);
  expect(await by(alice, 'role', 'bob', 'member')).toMatchObject({ code: 0, items: [{ role: 'member' }] });
  expect(await bob.refused('member.unban', { member: 'carol' })).toBe('request.notAllowed');
});

test('events tell what happens', async () => {
  const kinds = alice.events.map(({ kind }) => kind);
  for (const kind of [
    'channel.invited',
    'channel.joined',
    'channel.left',
    'channel.removed',
    'channel.unbanned',
    'channel.muted',
    'channel.unmuted',
    'channel.banned',
    'channel.role',
    'channel.rotated',
    'channel.archived',
    'message.received',
    'message.sent',
    'message.deleted',
  ] as const)
    expect(kinds).toContain(kind);
  const joined = alice.events.find(({ kind }) => kind === 'channel.removed');
  expect(joined).toMatchObject({
    channel: { name: '#kick-open' },
    member: { name: 'bob' },
    cursor: expect.any(String),
  });
  const about = (kind: string) => alice.events.filter((event) => event.kind === kind).map(({ member }) => member?.name);
  for (const kind of ['channel.unbanned', 'channel.unmuted', 'channel.muted']) expect(about(kind)).toContain('bob');
  expect(new Set(about('channel.left'))).toEqual(new Set(['bob', 'carol']));
  const gap = bob.events.find(({ kind, detail }) => kind === 'channel.gap' && detail === 'you were not in the channel');
  expect(gap).toMatchObject({ channel: { name: '#kick-members' } });
});
