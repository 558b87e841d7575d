// Direct messages between members: requests of strangers, receipts, and the verbs of every conversation.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { MemberId } from '../../src/protocol/ids.ts';
import type { ServerObject } from '../../src/protocol/rpc-rooms.ts';
import { type Guest, House } from './house.ts';

let house: House;
let alice: Guest;
let bob: Guest;
let carol: Guest;

beforeAll(async () => {
  ({ house, alice, bob, carol } = await House.open('alice', 'bob', 'carol'));
});
afterAll(() => house[Symbol.asyncDispose]());

const member = (guest: Guest, name: string) => guest.call('member.show', { member: `${name}@home` });
const stateOf = async (guest: Guest, id: string) => (await guest.call('message.show', { id })).state;

test('the first message of a stranger is a request, and who accepts it gives receipts', async () => {
  const { id } = await alice.say('bob@home', 'do you know me?');
  await bob.reads('alice@home', 'do you know me?');
  const request = await bob.sees('a request', async () => bob.events.find(({ kind }) => kind === 'request.received'));
  expect(request).toMatchObject({ member: { name: 'alice', request: 'open' } });
  const second = await alice.say('bob@home', 'well?');
  await bob.reads('alice@home', 'well?');
  // Nothing was told of either: who asks learns nothing of who is there.
  await bob.call('conversation.markRead', { conversation: 'alice@home' });
  expect([await stateOf(alice, id), await stateOf(alice, second.id)]).toEqual(['sent', 'sent']);
  expect(await bob.call('member.accept', { member: 'alice@home' })).toMatchObject({ request: 'accepted' });
  for (const one of [id, second.id])
    await alice.sees('a receipt', async () => (await stateOf(alice, one)) === 'delivered');
  const third = await alice.say('bob@home', 'hello');
  await alice.sees('a receipt', async () => (await stateOf(alice, third.id)) === 'delivered');
  await bob.call('config.set', { key: 'privacy.readReceipts', value: true, conversation: 'alice@home' });
  await bob.call('conversation.markRead', { conversation: 'alice@home' });
  await alice.sees('that it was read', async () => (await stateOf(alice, third.id)) === 'read');
  const kinds = () => alice.events.filter(({ message }) => message?.id === third.id).map(({ kind }) => kind);
  await alice.sees('the last event', async () => kinds().length === 4);
  expect(kinds()).toEqual(['message.queued', 'message.sent', 'message.delivered', 'message.read']);
});

test('what had come when its reader was closed, or died, is confirmed when they are back', async () => {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const { id } = await alice.say('bob@home', `${signal} comes`);
    await bob.reads('alice@home', `${signal} comes`);
    process.kill(await bob.user.pid(), signal);
    await bob.back();
    await alice.sees('a receipt', async () => (await stateOf(alice, id)) === 'delivered');
  }
});

test('who ends the wait for a receipt is told how to delete what the server has', async () => {
  await bob.user.ok('daemon', 'stop');
  const command = alice.user.words('send bob@home "are you there?" --wait delivered');
  const child = spawn('sh', ['-c', `exec ${command}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  const [said, ended] = [text(child.stderr), once(child, 'exit')];
  const { id } = await alice.sees('that it is sent', async () =>
    (await alice.messages('bob@home')).find(({ body, state }) => body === 'are you there?' && state === 'sent'),
  );
  child.kill('SIGINT');
  expect((await ended)[0]).toBe(130);
  const [, told = ''] = /^It is sent; sotto .*delete (\w+) deletes it for everybody\.\n$/.exec(await said) ?? [];
  expect(told !== '' && id.startsWith(told)).toBe(true);
  await alice.user.ok('delete', told);
  await bob.back();
});

test('an answer is acceptance; replies, edits, reactions, pins and deletions reach the other side', async () => {
  await bob.say('alice@home', 'an answer');
  const answered = await alice.reads('bob@home', 'an answer');
  const red = await alice.say('bob@home', 'red', { replyTo: answered.id });
  expect((await bob.reads('alice@home', 'red')).replyTo).toBe(answered.id);
  await bob.call('message.react', { id: red.id, emoji: '👍' });
  await alice.call('message.pin', { id: red.id });
  await alice.call('message.edit', { id: red.id, text: 'green' });
  const seen = await bob.sees('an edit', async () => {
    const now = await bob.call('message.show', { id: red.id });
    return now.body === 'green' && now.pinnedAt !== undefined && now;
  });
  expect(seen.versions?.map(({ body }) => body)).toEqual(['red']);
  await alice.sees(
    'a reaction',
    async () => (await alice.call('message.show', { id: red.id })).reactions[0]?.from === 'bob',
  );
  await bob.call('message.unreact', { id: red.id, emoji: '👍' });
  await alice.sees('none', async () => (await alice.call('message.show', { id: red.id })).reactions.length === 0);
  expect(await bob.refused('message.edit', { id: red.id, text: 'mine' })).toBe('message.notYours');
  expect(await bob.refused('message.delete', { id: red.id })).toBe('message.notYours');
  await alice.call('message.delete', { id: red.id });
  await bob.sees('a deletion', async () => (await bob.call('message.show', { id: red.id })).deletedAt);
  expect((await bob.call('message.search', { query: 'green' })).messages).toEqual([]);
});

test('that somebody writes is told to the member they write to, once that one has let them in', async () => {
  const typed = (guest: Guest) =>
    guest.events.flatMap(({ kind, member, channel, state }) =>
      kind === 'typing.changed' ? [[member?.name, channel?.name, state]] : [],
    );
  const typing = (who: Guest, on: boolean) => who.call('conversation.typing', { conversation: 'bob@home', on });
  await typing(alice, true);
  for (const guest of [alice, carol]) await guest.call('config.set', { key: 'privacy.typing', value: true });
  await carol.say('bob@home', 'buy this');
  await typing(carol, true);
  await carol.say('bob@home', 'buy that');
  await bob.reads('carol@home', 'buy that');
  expect(typed(bob)).toEqual([]);
  for (const on of [true, false]) await typing(alice, on);
  await bob.sees('that Alice has stopped', async () => typed(bob).length >= 2);
  expect(typed(bob)).toEqual([
    ['alice', undefined, 'on'],
    ['alice', undefined, 'off'],
  ]);
  expect([...typed(alice), ...typed(carol)]).toEqual([]);
});

test('who is rejected is heard no more, and is told nothing', async () => {
  await bob.reads('carol@home', 'buy this');
  await bob.call('member.reject', { member: 'carol@home' });
  const listed = await bob.call('conversation.list', {});
  expect(listed.find(({ name }) => name === 'carol@home')?.state).toBe('blocked');
  const { id } = await carol.say('bob@home', 'buy more');
  await alice.say('bob@home', 'after carol');
  await bob.reads('alice@home', 'after carol');
  expect(await bob.bodies('carol@home')).toEqual(['buy this', 'buy that']);
  expect(await stateOf(carol, id)).toBe('sent');
  expect(await bob.refused('message.send', { conversation: 'carol@home', text: 'no' })).toBe('contact.blocked');
  // What she says to all is not said to him.
  await carol.call('channel.create', { name: '#carols', encryption: 'members' });
  await carol.call('channel.invite', { channel: '#carols', member: 'bob' });
  await bob.call('channel.join', { channel: '#carols' });
  await carol.say('#carols', 'to all');
  await bob.reads('#carols', 'to all');
  await bob.call('member.accept', { member: 'carol@home' });
  await carol.say('bob@home', 'sorry');
  await bob.reads('carol@home', 'sorry');
});

test('who is rejected puts nobody into a channel', async () => {
  const token = new URL(await alice.invite(2)).searchParams.get('token') ?? '';
  const [mallory, erin] = [house.server.member('mallory'), house.server.member('erin')];
  for (const one of [mallory, erin]) await one.join(token);
  await bob.call('member.reject', { member: 'mallory@home' });
  const me = (await member(alice, 'bob')).id as MemberId;
  const members = [{ member: me, role: 'member' as const }];
  await mallory.create('trap', { members });
  await mallory.control(await mallory.create('later'), { op: 'add', member: me });
  await erin.create('fine', { members });
  await bob.user.ok('daemon', 'stop');
  await bob.back();
  await bob.online();
  const names = (await bob.call('channel.list', {})).map(({ name }) => name);
  expect(names.filter((name) => ['#trap', '#later', '#fine'].includes(name))).toEqual(['#fine']);
  // On one's own word all the same.
  await bob.call('channel.join', { channel: '#trap' });
  for (const one of [mallory, erin]) one.leave();
});

test('what ends, ends on both sides; when it is read does not count in rooms', async () => {
  await alice.say('bob@home', 'soon gone', { expiresMs: 1_500 });
  await bob.reads('alice@home', 'soon gone');
  for (const [guest, with_] of [
    [alice, 'bob@home'],
    [bob, 'alice@home'],
  ] as const)
    await guest.sees('its end', async () => !(await guest.bodies(with_)).includes('soon gone'));
  const setting = { conversation: 'bob@home', key: 'messages.expiresFrom' };
  expect(await alice.refused('config.set', { ...setting, value: 'read' })).toBe('params.invalid');
  expect((await alice.user.run('expire', 'bob@home', 'read+30s')).code).not.toBe(0);
  const kept = await alice.call('config.get', { conversation: 'bob@home', key: 'messages.expiresMs' });
  expect(kept.source).toBe('default');
  await alice.call('config.set', { ...setting, value: 'delivery' });
});

test('both see the same safety number', async () => {
  const [one, two] = [await member(alice, 'bob'), await member(bob, 'alice')];
  expect(one.safetyNumber).toMatch(/^(\d{5} ){11}\d{5}$/);
  expect(two.safetyNumber).toBe(one.safetyNumber);
  await alice.call('member.verify', { member: 'bob@home', verified: true });
  expect((await alice.call('conversation.show', { conversation: 'bob@home' })).verified).toBe(true);
  expect(await member(alice, 'alice')).not.toHaveProperty('safetyNumber');
});

test('no contact is called as a server or one of its members is, and no server as a contact', async () => {
  const addressOf = async (guest: Guest) => (await guest.user.one<{ address: string }>('id')).address;
  const bobs = await addressOf(bob);
  for (const [name, refusal] of [
    ['home', { code: 'name.taken', exit: 7 }],
    ['bob@home', { code: 'nickname.invalid', exit: 2 }],
  ] as const)
    expect((await alice.user.run('contact', 'add', bobs, '--name', name)).error).toMatchObject(refusal);
  await alice.user.ok('contact', 'add', bobs, '--name', 'den');
  expect((await alice.user.run('contact', 'rename', 'den', 'home')).code).toBe(7);
  const dave = await house.guest('dave');
  const link = await alice.invite();
  await dave.user.ok('contact', 'add', bobs, '--name', 'den');
  expect((await dave.user.run('server', 'join', link, '--label', 'den')).error).toMatchObject({
    code: 'name.taken',
    exit: 7,
  });
  // What is of servers that were left is called so.
  expect((await dave.user.run('server', 'join', link, '--label', 'left')).error).toMatchObject({
    code: 'name.taken',
    exit: 7,
  });
  // As typed by hand, and as a nickname gives it.
  const joined = await dave.user.one<ServerObject>('server', 'join', link, '--label', 'home', '--as', 'Dave');
  expect(joined.memberName).toBe('dave');
  const erin = await house.guest('erin');
  await erin.call('account.nickname', { nickname: 'Erin Ünicode ☃' });
  expect((await erin.call('server.join', { link: await alice.invite() })).memberName).toBe('erin-ünicode');
});

test('a member with whom nothing was said is a conversation without messages', async () => {
  expect((await carol.user.ok('read', 'alice@home')).items).toEqual([]);
  for (const words of [
    ['unread', 'alice@home'],
    ['search', 'x', '--in', 'alice@home'],
  ])
    expect((await carol.user.ok(...words)).items).toEqual([]);
  for (const about of ['--thread', '--around'])
    expect((await carol.user.run('read', 'alice@home', about, 'f'.repeat(32))).error?.code).toBe('message.unknown');
  expect((await carol.user.run('read', 'nobody@home')).code).toBe(3);
  expect((await carol.user.run('why', 'nobody@home')).error).toMatchObject({ code: 'member.unknown', exit: 3 });
  expect((await carol.user.ok('why', 'alice@home')).items).toMatchObject([{ label: 'home' }]);
});

test('nobody writes to themselves, or to who is not there', async () => {
  expect(await alice.refused('message.send', { conversation: 'alice@home', text: 'x' })).toBe('contact.self');
  expect(await alice.refused('member.reject', { member: 'alice@home' })).toBe('contact.self');
  expect(await alice.refused('message.send', { conversation: 'nobody@home', text: 'x' })).toBe('member.unknown');
  expect(await alice.refused('message.send', { conversation: 'bob@elsewhere', text: 'x' })).toBe('server.unknown');
});

test('a channel tells outside what its members want told', async () => {
  const shown = join(house.stage.dir, '..', 'shown');
  for (const channel of ['#loud', '#quiet']) {
    await alice.call('channel.create', { name: channel, encryption: 'open' });
    await carol.call('channel.join', { channel });
    await carol.call('channel.set', { channel, notify: 'mentions' });
  }
  await carol.call('config.set', { key: 'notify.level', value: 'name' });
  await carol.call('config.set', { key: 'notify.command', value: `cat >> ${shown}` });
  await alice.call('channel.create', { name: '#old', encryption: 'open' });
  await alice.say('#old', 'before she comes');
  await carol.call('channel.join', { channel: '#old' });
  await alice.say('#quiet', 'to nobody');
  await carol.reads('#quiet', 'to nobody');
  await alice.say('#loud', 'to @carol');
  await carol.sees('a notification', async () => existsSync(shown) && readFileSync(shown, 'utf8').includes('\n'));
  expect(readFileSync(shown, 'utf8')).toContain('1 new message from #loud@home');
});

test('what is for a member who has erased themself is refused at once, each time, and so is an invitation of theirs', async () => {
  const gina = await house.guest('gina');
  await gina.call('server.join', { link: await alice.invite(), name: 'gina', label: 'home' });
  await alice.call('channel.create', { name: '#hers', encryption: 'members' });
  await alice.say('gina@home', 'before');
  await gina.reads('alice@home', 'before');
  await gina.user.ok('server', 'leave', 'home', '--erase', '--yes');
  for (const text of ['one', 'two', 'three']) {
    const sent = await alice.user.run('send', 'gina@home', text, '--wait', 'sent', '--timeout', '5s');
    expect(sent).toMatchObject({ code: 3, error: { code: 'member.unknown' } });
  }
  expect(await alice.user.run('send', 'gina@home', 'four')).toMatchObject({ code: 3 });
  // A receipt for somebody else may take its time.
  await alice.sees('that nothing waits', async () => (await alice.call('server.list', {}))[0]?.outboxDepth === 0);
  expect(await alice.user.run('channel', 'invite', '#hers', 'gina')).toMatchObject({
    code: 3,
    error: { code: 'member.unknown' },
  });
  expect(alice.events.filter(({ kind }) => kind === 'channel.invited')).toEqual([]);
});

test('what is for a member whom the server has banned waits until that is taken back', async () => {
  await alice.say('carol@home', 'before');
  await carol.user.ok('daemon', 'stop');
  await house.server.admin('ban', 'carol');
  await alice.sees('the ban', async () => (await member(alice, 'carol')).banned);
  expect((await alice.user.ok('member', 'show', 'carol@home', { json: false })).out).toContain(
    'banned from the server',
  );
  const { err } = await alice.user.ok('send', 'carol@home', 'meanwhile', { json: false });
  expect(err).toContain('carol is banned from home: what is for them waits until that is taken back');
  const [waiting] = (await alice.messages('carol@home')).filter(({ body }) => body === 'meanwhile');
  const stuck = await alice.sees('why', async () => (await alice.call('server.list', {}))[0]?.stuck);
  expect(stuck).toMatchObject([{ conversation: 'carol@home', reason: expect.stringContaining('banned from home') }]);
  expect((await alice.user.ok('why', 'carol@home', { json: false })).err).toContain('carol@home is banned');
  expect(await alice.user.one('why', 'carol@home')).toMatchObject({
    conversation: 'carol@home',
    summary: 'carol@home is banned from the server',
    reasons: ['carol@home is banned from the server', expect.stringContaining('banned from home')],
  });
  await house.server.admin('unban', 'carol');
  await alice.call('server.retry', {});
  await alice.sees('that it has gone', async () => (await stateOf(alice, waiting?.id ?? '')) === 'sent');
  expect((await member(alice, 'carol')).banned).toBe(undefined);
  const late = await alice.user.run('send', 'carol@home', 'and now', '--wait', 'delivered', '--timeout', '300ms');
  expect(late.code).toBe(5);
  expect(late.error?.message).toMatch(
    /^It is sent, not delivered yet: the server has it, and carol@home has not taken it/,
  );
});
