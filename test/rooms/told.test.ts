// What members are told of each other, of requests, and of channels that end, through daemons and a server.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { FileObject } from '../../src/protocol/rpc-objects.ts';
import { type Guest, House } from './house.ts';

let house: House;
let alice: Guest;
let bob: Guest;
let carol: Guest;

beforeAll(async () => {
  ({ house, alice, bob, carol } = await House.open('alice', 'bob', 'carol'));
});
afterAll(() => house[Symbol.asyncDispose]());

/** What a command says for people, on stdout and stderr; `…` stands for the flags that chose the account. */
const said = async (guest: Guest, ...args: string[]): Promise<string> => {
  const { out, err } = await guest.user.run(...args, { json: false });
  return `${out}${err}`.replaceAll(/sotto --data-dir \S+ --account \S+/g, 'sotto …');
};

test('a status text that changes is told once, and no other', async () => {
  await bob.call('member.show', { member: 'carol' });
  const told = () =>
    bob.events
      .filter(({ kind, member }) => kind === 'presence.changed' && member?.name === 'carol')
      .map(({ state, member }) => [state, member?.status]);
  await carol.call('presence.set', { state: 'away' });
  await bob.sees('that Carol is away', async () => told().at(-1)?.[0] === 'away');
  const before = told().length;
  for (const status of ['at lunch', 'at lunch', '']) {
    await carol.user.ok('server', 'profile', 'home', '--status', status);
    await carol.user.ok('server', 'profile', 'home', '--name', 'carol');
  }
  await bob.sees('that there is none', async () => told().length > before && told().at(-1)?.[1] === undefined);
  await carol.call('presence.set', { state: 'online' });
  await bob.sees('that Carol is back', async () => told().at(-1)?.[0] === 'online');
  expect(told().slice(before)).toEqual([
    ['away', 'at lunch'],
    ['away', undefined],
    ['online', undefined],
  ]);
});

test('a request of a member is counted and told wherever it is seen, with the command that accepts it', async () => {
  await alice.say('bob@home', 'hello Bob');
  await bob.reads('alice@home', 'hello Bob');
  const accept = 'alice@home wants to write to you: sotto … member accept alice@home';
  expect((await bob.call('status.show', {})).requests).toBe(1);
  expect(await said(bob, 'status')).toMatch(/unread {3}\d+, 1 request\n/);
  expect(await said(bob, 'conversations')).toContain('wants to write to you: sotto … member accept alice@home');
  for (const words of [['read', 'alice@home'], ['unread'], ['search', 'hello'], ['contact', 'requests']]) {
    expect(await said(bob, ...words)).toContain(accept);
  }
  expect((await bob.call('conversation.list', {})).map(({ request }) => request)).toEqual([true]);
  expect((await bob.messages('alice@home')).map(({ request }) => request)).toEqual([true]);
  await bob.call('member.accept', { member: 'alice@home' });
  expect((await bob.call('status.show', {})).requests).toBe(0);
  for (const words of [['conversations'], ['read', 'alice@home'], ['unread'], ['contact', 'requests']])
    expect(await said(bob, ...words)).not.toContain('wants to write');
  expect((await bob.messages('alice@home'))[0]).not.toHaveProperty('request');
});

test('who may still read a passphrase channel is told on every screen, and how to end it to who may', async () => {
  const channel = '#words';
  const [{ passphrase = '' } = {}] = (
    await alice.user.ok<{ passphrase: string }>('channel', 'create', channel, '--encryption', 'passphrase')
  ).items;
  for (const guest of [bob, carol]) await guest.call('channel.join', { channel, passphrase });
  await alice.call('channel.kick', { channel, member: 'carol' });
  await carol.sees('her removal', async () => (await carol.call('channel.show', { channel })).state === 'removed');
  await bob.say(channel, 'may somebody read this');
  await alice.reads(channel, 'may somebody read this');
  const screens = [
    ['conversations'],
    ['conversation', 'show', channel],
    ['unread'],
    ['search', 'somebody'],
    ['search', 'somebody', '--in', channel],
    ['why', channel],
    ['channel', 'list'],
    ['channel', 'show', channel],
    ['read', channel],
  ];
  for (const screen of screens)
    expect([screen, await said(alice, ...screen)]).toEqual([
      screen,
      expect.stringContaining(`carol may still read: change the passphrase (sotto … channel rotate '#words@home')`),
    ]);
  for (const screen of screens.filter(([first]) => first !== 'unread')) {
    const text = await said(bob, ...screen);
    expect([screen, text]).toEqual([screen, expect.stringContaining('carol may still read until the passphrase')]);
    expect(text).not.toContain('channel rotate');
    expect(await said(carol, ...screen)).not.toContain('may still read');
  }
  expect((await carol.call('channel.show', { channel })).mayStillRead).toBeUndefined();
  expect(await said(bob, 'channel', 'leave', channel)).toContain("sotto … read '#words@home'");
});

test('what file send waits for with done is the server in rooms, and its help says so', async () => {
  await alice.call('channel.create', { name: '#papers', encryption: 'open' });
  const path = join(house.stage.dir, 'paper.txt');
  writeFileSync(path, 'all of it');
  for (const to of ['#papers', 'bob@home']) {
    const [file] = (await alice.user.ok<FileObject>('file', 'send', to, path, '--wait', 'done')).items;
    expect(file?.state).toBe('done');
  }
  expect(await said(alice, 'file', 'send', '--help')).toMatch(
    /done: until the other side has it all; in a channel and/,
  );
});

test('a channel that its last member has left is told as archived, wherever it is', async () => {
  await carol.call('channel.create', { name: '#alone', encryption: 'open' });
  await carol.say('#alone', 'nobody hears me');
  const text = await said(carol, 'channel', 'leave', '#alone');
  expect(text).toContain(
    'it is archived for good, and its name stays taken. What was said there stays here: sotto … read',
  );
  expect(await carol.call('channel.show', { channel: '#alone' })).toMatchObject({ archived: true, state: 'left' });
  expect(await said(carol, 'conversations')).toMatch(/#alone@home .*left \([0-9a-f]{8}\)/);
  expect(await said(carol, 'read', '#alone', '--at', new Date().toISOString())).toContain(
    'nobody was in #alone any more',
  );
  expect((await bob.call('channel.list', { all: true })).map(({ name }) => name)).not.toContain('#alone');
  expect(await said(carol, 'channel', 'leave', '--help')).toContain('With its last member it is archived');
});

test('an invitation to a channel that is archived is over', async () => {
  for (const end of ['archive', 'leave'] as const) {
    const channel = `#${end}`;
    await carol.call('channel.create', { name: channel, encryption: 'members' });
    await carol.call('channel.invite', { channel, member: 'bob' });
    const seen = async () => (await bob.call('channel.list', { all: true })).find(({ name }) => name === channel);
    await bob.sees('the invitation', async () => (await seen())?.state === 'invited');
    await carol.call(`channel.${end}`, { channel });
    await bob.sees('that it is over', async () => (await seen()) === undefined);
    await bob.sees('that it is told', async () => bob.events.at(-1)?.kind === 'channel.removed');
    expect(bob.events.at(-1)).toMatchObject({ detail: 'the invitation is over' });
  }
});

test('who has lost a device of a member is told who makes the link', async () => {
  const tablet = await house.device(carol, 'tablet');
  await tablet.call('server.join', { link: await alice.invite(), label: 'home' });
  const id = (await tablet.call('server.devices', {})).find((one) => one.this)?.id ?? '';
  await carol.call('server.revokeDevice', { id });
  await tablet.sees('that it is out', async () => (await tablet.call('server.list', {}))[0]?.state === 'revoked');
  const text = await said(tablet, 'why', 'home');
  expect(text).toContain('an admin or the owner of the server makes a link (sotto … server invite)');
  expect(text).not.toContain('another device of yours makes');
});

test('what is found or new in an open channel is told as not encrypted, with the name of the channel', async () => {
  const channel = '#street';
  await alice.call('channel.create', { name: channel, encryption: 'open' });
  await bob.call('channel.join', { channel });
  await alice.say(channel, 'heard by anybody');
  await bob.reads(channel, 'heard by anybody');
  for (const words of [['unread'], ['unread', channel], ['search', 'anybody'], ['search', 'anybody', '--in', channel]])
    expect(await said(bob, ...words)).toContain('! NOT ENCRYPTED: the server reads #street@home\n');
  expect(await said(bob, 'search', 'nobody')).not.toContain('NOT ENCRYPTED');
});

test('a channel is named by its id wherever a conversation is', async () => {
  const channel = '#byid';
  await alice.call('channel.create', { name: channel, encryption: 'open' });
  const { id, name } = await alice.user.one<{ id: string; name: string }>('channel', 'show', channel);
  await alice.user.ok('send', id, 'by its id', '--wait', 'sent');
  for (const reference of [id, id.slice(0, 8), `${channel}@home`, channel]) {
    const why = await alice.user.one<{ conversation: string }>('why', reference);
    expect([reference, why.conversation]).toEqual([reference, `${name}@home`]);
    expect(await alice.user.bodies(reference)).toEqual(['by its id']);
  }
  expect(await said(alice, 'read', id, '--at', '1s ago')).toContain('Then: ');
  for (const words of [
    ['unread', id],
    ['search', 'its', '--in', id],
    ['export', id],
    ['file', 'list', id],
    ['draft', id],
    ['mark-read', id],
    ['config', 'list', '--in', id],
    ['conversation', 'show', id],
  ])
    expect([words[0], (await alice.user.run(...words)).code]).toEqual([words[0], 0]);
  expect((await alice.user.run('why', 'abcdef0123')).error).toMatchObject({ code: 'contact.unknown', exit: 3 });
});

test('a device that never had the passphrase of a channel is told that it needs it, and how to give it', async () => {
  const channel = '#secret';
  const passphrase = 'the north sea bubble';
  await alice.call('channel.create', { name: channel, encryption: 'passphrase', passphrase, history: 'all' });
  await alice.say(channel, 'for who knows it');
  const phone = await house.device(alice, 'phone');
  await phone.call('server.join', { link: await alice.invite(), name: 'alice', label: 'home' });
  const shown = () => phone.call('channel.show', { channel }).catch(() => undefined);
  await phone.sees('the channel', async () => (await shown())?.state === 'joined');
  expect(await shown()).toMatchObject({ passphraseNeeded: true });
  expect(await shown()).not.toHaveProperty('passphraseChanged');
  const way = "This device needs the passphrase: sotto … channel join '#secret@home' takes it";
  for (const words of [
    ['why', channel],
    ['channel', 'show', channel],
    ['read', channel],
    ['send', channel, 'x'],
  ])
    expect(await said(phone, ...words)).toContain(way);
  const list = await said(phone, 'channel', 'list');
  expect(list).toMatch(/#secret@home {2}passphrase.*needs the passphrase/);
  expect(list).not.toContain('has changed');
  await phone.user.ok('channel', 'join', channel, '--passphrase-fd', '0', { input: `${passphrase}\n` });
  await phone.reads(channel, 'for who knows it');
});

test('a topic that waits for the server is told as queued, until the server has it', async () => {
  const channel = '#plans';
  await alice.call('channel.create', { name: channel, encryption: 'open' });
  const topicOf = async () => {
    const { topic, topicState } = await alice.call('channel.show', { channel });
    return [topic, topicState];
  };
  await house.server.stop();
  await alice.sees('that the server is gone', async () => (await alice.call('server.list', {}))[0]?.state !== 'online');
  expect(await alice.user.one('channel', 'topic', channel, 'later')).toMatchObject({ topicState: 'queued' });
  expect(await said(alice, 'channel', 'topic', channel, 'much later')).toContain('“much later” [queued]');
  expect(await said(alice, 'channel', 'show', channel)).toContain('“much later” [queued]');
  expect(await said(alice, 'channel', 'topic', channel)).toContain('no topic [queued]');
  expect(await topicOf()).toEqual([undefined, 'queued']);
  await alice.call('channel.topic', { channel, topic: 'at last' });
  await house.server.start();
  await alice.call('server.retry', { server: 'home' });
  await alice.sees('that it is there', async () => (await topicOf())[1] === undefined);
  expect(await topicOf()).toEqual(['at last', undefined]);
  expect(await said(alice, 'channel', 'show', channel)).not.toContain('queued');
});

test('commands that the state of a server and its second check name are those of the account', async () => {
  expect(await said(alice, 'server', 'second-check')).toContain('no second check: sotto … server second-check set');
  const [{ id = '' } = {}] = await carol.call('server.devices', {});
  await carol.call('server.revokeDevice', { id });
  await carol.sees('her end', async () => (await carol.call('server.list', {}))[0]?.state === 'revoked');
  for (const words of [['server', 'list'], ['status']]) {
    const text = await said(carol, ...words);
    expect(text).toContain('removed from the server by a device of yours');
    expect(text).toMatch(/sotto … export.*sotto … server join LINK/);
  }
});

test('a duration beyond what there can be is told by its flag, and the last owner by what was wanted', async () => {
  await alice.call('channel.create', { name: '#bounds', encryption: 'open' });
  for (const [words, told] of [
    [['server', 'invite', '--expires', '0s'], '--expires is more than 0'],
    [['server', 'invite', '--expires', '5000d'], '--expires is at most ten years'],
    [['channel', 'set', '#bounds', '--retention', '1s'], '--retention is 0, or from 1 hour to 10 years'],
    [['channel', 'set', '#bounds', '--slow', '1d'], '--slow is at most 6 hours'],
    [['channel', 'mute', '#bounds', 'bob', '--for', '0s'], '--for is more than 0'],
  ] as const) {
    const { code, error } = await alice.user.run(...words);
    expect([code, error?.message]).toEqual([2, told]);
  }
  const { code, error } = await alice.user.run('channel', 'role', '#bounds', 'alice', 'member');
  expect([code, error?.message]).toEqual([6, 'The last owner stays one: make somebody else one first']);
});

test('who reads a channel as it was before they came is told that they were not in it', async () => {
  const channel = '#later';
  await alice.call('channel.create', { name: channel, encryption: 'members' });
  await alice.call('channel.invite', { channel, member: 'bob' });
  await bob.call('channel.join', { channel });
  expect(await said(bob, 'read', channel, '--at', '1h ago')).toContain(
    'Then: no topic, 1 member, as far as is known here: you were not in it (sotto … channel show',
  );
  expect(await said(alice, 'read', channel, '--at', '1h ago')).toContain(`Then: ${channel} did not exist yet`);
  expect(await said(bob, 'read', channel, '--at', new Date().toISOString())).toContain('Then: no topic, 2 members (');
});
