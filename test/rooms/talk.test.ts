// What people do with messages in channels of every kind, through daemons and a server.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Message } from '../../src/protocol/rpc-objects.ts';
import { type Guest, House } from './house.ts';

const SECRET = 'tulip mania in amsterdam';
const CHANNELS = ['open', 'passphrase', 'members'] as const;

let house: House;
let people: readonly [Guest, Guest, Guest];
let alice: Guest;
let bob: Guest;

// A server lets nobody say more than so much a minute: each channel has another owner, who says the most there.
const takeSides = (encryption: (typeof CHANNELS)[number]): void => {
  const first = CHANNELS.indexOf(encryption);
  const at = (place: number): Guest => people[place % people.length] ?? people[0];
  [alice, bob] = [at(first), at(first + 1)];
};

beforeAll(async () => {
  const opened = await House.open('alice', 'bob', 'carol');
  house = opened.house;
  people = [opened.alice, opened.bob, opened.carol];
  for (const encryption of CHANNELS) {
    takeSides(encryption);
    const name = `#${encryption}`;
    const secret = encryption === 'passphrase' ? { passphrase: SECRET } : {};
    await alice.call('channel.create', { name, encryption, ...secret });
    if (encryption === 'members') await alice.call('channel.invite', { channel: name, member: bob.name });
    await bob.call('channel.join', { channel: name, ...secret });
  }
});
afterAll(() => house[Symbol.asyncDispose]());

describe.each(CHANNELS)('in an encrypted or open channel: %s', (encryption) => {
  const channel = `#${encryption}`;
  beforeAll(() => takeSides(encryption));

  test('texts go both ways', async () => {
    await alice.say(channel, 'hello');
    await bob.reads(channel, 'hello');
    await bob.say(channel, 'hello yourself');
    await alice.reads(channel, 'hello yourself');
    expect(await alice.bodies(channel)).toEqual(await bob.bodies(channel));
  });

  test('a reply, a thread and its count', async () => {
    const root = await alice.say(channel, 'root');
    await bob.reads(channel, 'root');
    const answer = await bob.say(channel, 'an answer', { thread: root.id });
    await bob.say(channel, 'a reply', { replyTo: root.id });
    await alice.reads(channel, 'a reply');
    const seen = await alice.messages(channel);
    expect(seen.find(({ id }) => id === root.id)?.answers).toBe(1);
    expect(seen.find(({ id }) => id === answer.id)?.thread).toBe(root.id);
    expect(seen.find(({ body }) => body === 'a reply')?.replyTo).toBe(root.id);
    expect(await alice.bodies(channel, { thread: root.id })).toEqual(['root', 'an answer']);
    const around = await alice.call('message.list', { conversation: channel, around: answer.id, limit: 2 });
    expect(around.messages.map(({ body }) => body)).toEqual(['root', 'an answer']);
    expect(around).toMatchObject({ before: root.id, after: answer.id });
    const slip = await bob.say(channel, 'a slip', { thread: root.id });
    await alice.reads(channel, 'a slip');
    const answers = async () => (await alice.call('message.show', { id: root.id })).answers;
    expect(await answers()).toBe(2);
    await bob.call('message.delete', { id: slip.id });
    await alice.sees('that it is deleted', async () => (await answers()) === 1);
    expect((await bob.call('message.show', { id: root.id })).answers).toBe(1);
  });

  test('a thread of another conversation, or of none, is no thread of this one', async () => {
    const elsewhere = await alice.say(`${bob.name}@home`, `beside ${channel}`);
    for (const id of [elsewhere.id, elsewhere.id.slice(0, 30), 'f'.repeat(32)])
      for (const about of ['--thread', '--around'])
        for (const more of about === '--thread' ? [[], ['--at', 'now']] : [[]])
          expect(await alice.user.run('read', channel, about, id, ...more)).toMatchObject({
            code: 3,
            error: { code: 'message.unknown' },
          });
    expect((await alice.user.run('read', `${bob.name}@home`, '--thread', elsewhere.id)).code).toBe(0);
  });

  test('a thread is read when its root has ended', async () => {
    const root = await alice.say(channel, 'a short root', { expiresMs: 1_500 });
    await bob.reads(channel, 'a short root');
    await bob.say(channel, 'a long answer', { thread: root.id });
    await alice.reads(channel, 'a long answer');
    await alice.sees('its end', async () => !(await alice.bodies(channel)).includes('a short root'));
    for (const thread of [root.id, root.id.slice(0, 30)])
      expect(await alice.bodies(channel, { thread })).toEqual(['a long answer']);
    expect(await alice.refused('message.list', { conversation: channel, thread: 'f'.repeat(32) })).toBe(
      'message.unknown',
    );
  });

  test('edits with versions, reactions, pins, topic and deletions; and all of it as it was', async () => {
    const red = await alice.say(channel, 'red');
    await bob.reads(channel, 'red');
    await bob.call('account.nickname', { nickname: 'robert' });
    await bob.call('message.react', { id: red.id, emoji: '👍' });
    await bob.call('message.react', { id: red.id, emoji: '👍' });
    await alice.sees(
      'a reaction',
      async () => (await alice.call('message.show', { id: red.id })).reactions.length === 1,
    );
    for (const topic of ['x'.repeat(501), 'two\nlines'])
      expect(await alice.refused('channel.topic', { channel, topic })).toBe('params.invalid');
    await alice.call('channel.topic', { channel, topic: 'colours' });
    await alice.call('message.pin', { id: red.id });
    await bob.sees('a pin', async () => (await bob.call('message.show', { id: red.id })).pinnedAt);
    await bob.sees('a topic', async () => (await bob.call('channel.show', { channel })).topic === 'colours');
    expect((await bob.call('message.show', { id: red.id })).reactions).toEqual([
      { emoji: '👍', from: bob.name, mine: true },
    ]);
    const at = Date.now();
    await alice.sees('the next millisecond', async () => Date.now() > at);

    const same = await alice.call('message.edit', { id: red.id, text: 'red' });
    expect(same.editedAt).toBeUndefined();
    for (const text of ['green', 'green', 'blue']) await alice.call('message.edit', { id: red.id, text });
    await bob.call('message.unreact', { id: red.id, emoji: '👍' });
    await alice.call('message.unpin', { id: red.id });
    await alice.call('channel.topic', { channel, topic: 'shapes' });
    for (const guest of [alice, bob]) {
      await guest.sees('all that', async () => {
        const now = await guest.call('message.show', { id: red.id });
        const { topic } = await guest.call('channel.show', { channel });
        return now.body === 'blue' && now.reactions.length === 0 && now.pinnedAt === undefined && topic === 'shapes';
      });
      const { versions } = await guest.call('message.show', { id: red.id });
      expect(versions?.map(({ body }) => body)).toEqual(['red', 'green']);
      const then = (await guest.messages(channel, { at })).at(-1);
      expect(then).toMatchObject({
        body: 'red',
        reactions: [{ emoji: '👍', from: bob.name, mine: guest === bob }],
        pinnedAt: expect.any(Number),
      });
      expect(then?.editedAt).toBeUndefined();
      expect((await guest.call('channel.show', { channel, at })).topic).toBe('colours');
    }
    const read = await bob.user.ok('read', channel, '--at', new Date(at).toISOString(), { json: false });
    const before = await alice.user.ok('read', channel, '--at', '2020-01-01', { json: false });
    expect(before.err).toContain(`Then: ${channel} did not exist yet\n`);
    expect(await alice.call('channel.show', { channel, at: 0 })).toMatchObject({ memberCount: 0, members: [] });
    expect(read.err).toMatch(/^Then: “colours”, 2 members \(sotto --data-dir \S+ --account \S+ channel show '#/m);
    expect(read.err).toContain(` channel show '${channel}' --at TIME tells who)\n`);
    expect((await bob.user.ok('read', channel, '--at', new Date(at).toISOString())).err).not.toContain('Then:');
    for (const guest of [alice, bob])
      expect((await guest.messages(channel, { at: Date.now() })).at(-1)).toMatchObject({ body: 'blue', reactions: [] });
    expect(await bob.refused('message.edit', { id: red.id, text: 'mine' })).toBe('message.notYours');
    expect(await alice.refused('message.edit', { id: red.id, text: ' \u200b' })).toBe('text.empty');
    expect(await alice.refused('message.send', { conversation: channel, text: '\ufeff\n' })).toBe('text.empty');
    expect(await bob.refused('message.pin', { id: red.id })).toBe('event.refused');
    expect(await bob.refused('channel.topic', { channel, topic: 'mine' })).toBe('event.refused');
    expect(await bob.refused('message.delete', { id: red.id })).toBe('event.refused');
    await alice.call('message.delete', { id: red.id });
    const own = await bob.say(channel, 'a slip');
    await alice.reads(channel, 'a slip');
    await alice.call('message.delete', { id: own.id });
    for (const guest of [alice, bob])
      await guest.sees('two deletions', async () => {
        const gone = (await guest.messages(channel)).filter(({ id }) => id === red.id || id === own.id);
        return gone.length === 2 && gone.every((one) => one.deletedAt !== undefined && one.body === '');
      });
    const then = (await bob.messages(channel, { at })).at(-1);
    expect(then).toMatchObject({ id: red.id, body: '', deletedAt: expect.any(Number) });
    expect(await bob.refused('message.list', { conversation: channel, at, after: red.id })).toBe('params.invalid');
    // Page by page it is the same.
    const whole = await bob.messages(channel, { at });
    const pages: Message[] = [];
    for (let more = true; more; ) {
      const before = pages[0]?.id;
      const page = await bob.call('message.list', {
        ...{ conversation: channel, at, limit: 2 },
        ...(before === undefined ? {} : { before }),
      });
      pages.unshift(...page.messages);
      more = page.more;
    }
    expect(pages).toEqual(whole);
  });

  test('mentions count apart, until they are read', async () => {
    const unread = () => bob.call('conversation.show', { conversation: channel });
    await bob.call('conversation.markRead', { conversation: channel });
    await alice.say(channel, 'nobody in particular');
    await alice.say(channel, `look @${bob.name}`);
    const last = await alice.say(channel, 'look @here');
    await bob.reads(channel, 'look @here');
    expect(await unread()).toMatchObject({ unread: 3, mentions: 2 });
    expect((await bob.messages(channel)).slice(-3).map(({ mention }) => mention)).toEqual([undefined, true, true]);
    const second = (await bob.messages(channel)).at(-2);
    await bob.call('conversation.markRead', { conversation: channel, to: second?.id });
    expect(await unread()).toMatchObject({ unread: 1, mentions: 1 });
    await bob.call('message.unread', { conversation: channel, markRead: true });
    expect(await unread()).toMatchObject({ unread: 0, mentions: 0 });
    expect(last.mention).toBeUndefined();
  });

  test('in a channel nobody tells that they have read: who waits for it is told so, and nothing is sent', async () => {
    const text = `who reads this ${encryption}`;
    expect(await alice.user.run('send', channel, text, '--wait', 'read')).toMatchObject({ code: 2 });
    expect(await alice.user.run('send', channel, text, '--wait', 'delivered')).toMatchObject({ code: 0 });
    const found = await alice.call('message.search', { query: text });
    expect(found.messages).toHaveLength(1);
  });

  test('who writes is told where they write', async () => {
    await bob.call('config.set', { key: 'privacy.typing', value: true });
    await bob.call('conversation.typing', { conversation: channel, on: true });
    const typing = () =>
      alice.events.filter(({ kind, channel: one }) => kind === 'typing.changed' && one?.name === channel);
    await alice.sees('that Bob writes', async () => typing().at(-1)?.member?.name === bob.name);
    expect(typing().at(-1)?.state).toBe('on');
  });

  test('search finds what is there, and not what was deleted', async () => {
    const gone = await alice.say(channel, `walrus ${encryption} one`);
    await alice.say(channel, `walrus ${encryption} two`);
    await bob.reads(channel, `walrus ${encryption} two`);
    const find = async (guest: Guest) =>
      (await guest.call('message.search', { query: 'walrus', conversation: channel })).messages.map(({ body }) => body);
    expect(await find(bob)).toEqual([`walrus ${encryption} two`, `walrus ${encryption} one`]);
    await alice.call('message.delete', { id: gone.id });
    await bob.sees('a deletion', async () => (await find(bob)).length === 1);
    await bob.say(channel, `walrus ${encryption} by bob`);
    const by = async (from: string) =>
      (await bob.call('message.search', { query: `walrus ${encryption}`, from })).messages.map(({ body }) => body);
    expect(await by(`${alice.name}@home`)).toEqual([`walrus ${encryption} two`]);
    expect([await by(`${bob.name}@home`), await by('me')]).toEqual(Array(2).fill([`walrus ${encryption} by bob`]));
    expect(await bob.refused('message.search', { query: 'walrus', from: 'nobody@home' })).toBe('member.unknown');
  });

  test('what one does at once keeps its count: nobody misses anything', async () => {
    const gone = [await alice.say(channel, 'one to go'), await alice.say(channel, 'another')];
    await Promise.all([
      ...['a', 'b', 'c'].map((text) => alice.say(channel, `at once ${text}`)),
      ...gone.map(({ id }) => alice.call('message.delete', { id })),
    ]);
    await bob.sees('all that', async () => {
      const now = (await bob.messages(channel)).slice(-5);
      return (
        now.length === 5 && now.filter(({ body }) => body.startsWith('at once')).length === 3 && now[0]?.body === ''
      );
    });
    for (const guest of [alice, bob]) expect((await guest.call('channel.show', { channel })).gaps).toEqual([]);
  });

  test('what was deleted here only can be deleted for everybody after that', async () => {
    const { id } = await alice.say(channel, 'first here');
    await bob.reads(channel, 'first here');
    expect((await alice.call('message.delete', { id, local: true })).reason).toBe('local');
    await alice.say(channel, 'then everywhere');
    await bob.reads(channel, 'then everywhere');
    expect(await bob.bodies(channel)).toContain('first here');
    expect((await alice.call('message.delete', { id })).reason).toBeUndefined();
    await bob.sees('the deletion', async () => !(await bob.bodies(channel)).includes('first here'));
    await alice.call('message.delete', { id });
  });

  test('of a file that was deleted nothing stays', async () => {
    const path = join(house.stage.dir, '..', `${encryption}.txt`);
    writeFileSync(path, 'some notes');
    const send = async (name: string) => {
      const { file } = await alice.call('file.send', { conversation: channel, path, name, wait: 'done' });
      return (await bob.reads(channel, name)).id === file.id ? file.id : '';
    };
    const [one, other] = [await send('one.txt'), await send('other.txt')];
    await bob.call('message.delete', { id: one, local: true });
    await alice.call('message.delete', { id: other });
    const left = async (guest: Guest) => (await guest.call('file.list', { conversation: channel })).map(({ id }) => id);
    await bob.sees('a deletion', async () => (await left(bob)).length === 0);
    expect(await left(alice)).toEqual([one]);
    if (encryption !== 'members') return;
    await alice.call('config.set', { key: 'messages.expiresMs', value: 2_000, conversation: channel });
    const soon = await alice.say(channel, 'soon gone');
    await bob.sees('that it came', async () =>
      bob.events.some(({ kind, message }) => kind === 'message.received' && message?.id === soon.id),
    );
    await send('short.txt');
    for (const guest of [alice, bob]) {
      await guest.sees('the end of a text', async () =>
        guest.events.some(({ kind, message }) => kind === 'message.expired' && message?.id === soon.id),
      );
      expect(await guest.bodies(channel)).not.toContain('soon gone');
      expect((await guest.call('message.search', { query: 'soon gone' })).messages).toEqual([]);
    }
    await bob.sees('its end', async () => (await left(bob)).length === 0);
    await alice.sees('its end', async () => (await left(alice)).length === 1);
    await alice.call('config.set', { key: 'messages.expiresMs', value: 0, conversation: channel });
  });

  test('ids that are begun are found', async () => {
    const { id } = await alice.say(channel, 'an id');
    expect((await alice.call('message.show', { id: id.slice(0, 16) })).id).toBe(id);
    const [{ id: member = '' } = {}] = (await alice.call('member.list', {})).filter(({ name }) => name === 'bob');
    expect(await alice.call('member.show', { member: member.slice(0, 8) })).toMatchObject({ id: member, name: 'bob' });
    expect(await alice.refused('member.show', { member: 'abcdef12' })).toBe('member.unknown');
    const [{ id: device = '' } = {}] = await alice.call('server.devices', {});
    expect(await alice.refused('server.revokeDevice', { id: device.slice(0, 3) })).toBe('device.unknown');
  });
});
