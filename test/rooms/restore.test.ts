// An account that comes back from a backup is another device of the same member: it reads on, and others write to it.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ServerTarget } from '../../src/ports.ts';
import { toBase64 } from '../../src/protocol/bytes.ts';
import { parseInviteLink } from '../../src/protocol/invite-link.ts';
import { totp } from '../../src/server/second.ts';
import { getSelf } from '../../src/store/self.ts';
import { Guest, House } from './house.ts';
import { sotto } from './program.ts';
import { Member } from './scene.ts';

/** Somebody again, from a backup, on another machine. */
const comeBack = async (
  house: House,
  guest: Guest,
  meanwhile: () => Promise<unknown> = async () => {},
  state = 'online',
) => {
  const [file, passphrase] = [join(house.stage.dir, '..', 'backup'), join(house.stage.dir, '..', 'passphrase')];
  await guest.call('backup.create', { file, passphrase: 'tulip mania' });
  writeFileSync(passphrase, 'tulip mania\n', { mode: 0o600 });
  await guest.user.ok('daemon', 'stop');
  await meanwhile();
  const user = house.stage.stranger('again');
  await user.ok('restore', file, '--no-passphrase', { env: { SOTTO_PASSPHRASE_FILE: passphrase } });
  const again = house.welcome(new Guest(user));
  await again.connect();
  await again.sees('the server', async () => (await again.call('server.list', {}))[0]?.state === state);
  return again;
};

test('a restored account has its rooms, is let in as another device, and talks on', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  for (const encryption of ['open', 'members'] as const) {
    const channel = `#${encryption}`;
    await alice.call('channel.create', { name: channel, encryption });
    if (encryption === 'members') await alice.call('channel.invite', { channel, member: 'bob' });
    await bob.call('channel.join', { channel });
    const said = await bob.say(channel, 'before, by bob');
    await alice.reads(channel, 'before, by bob');
    await alice.call('message.react', { id: said.id, emoji: '👍' });
    await alice.say(channel, 'before, by alice');
    await bob.reads(channel, 'before, by alice');
  }
  await alice.say('bob@home', 'a secret');
  await bob.reads('alice@home', 'a secret');
  await bob.say('alice@home', 'kept');
  await alice.reads('bob@home', 'kept');

  const again = await comeBack(house, alice, () => bob.say('#members', 'meanwhile'));

  for (const encryption of ['open', 'members'] as const) {
    const channel = `#${encryption}`;
    await bob.say(channel, 'after, by bob');
    await again.reads(channel, 'after, by bob');
    await again.say(channel, 'after, by alice');
    await bob.reads(channel, 'after, by alice');
    const held = ['before, by bob', 'before, by alice'];
    const since = ['after, by bob', 'after, by alice'];
    expect(await bob.bodies(channel)).toEqual(
      encryption === 'open' ? [...held, ...since] : [...held, 'meanwhile', ...since],
    );
    // What was sealed for the device of before is told as missing.
    expect(await again.bodies(channel)).toEqual([...held, ...since]);
    expect((await again.messages(channel))[0]).toMatchObject({ from: 'bob', reactions: [{ emoji: '👍', mine: true }] });
  }
  const { gaps = [] } = await again.call('channel.show', { channel: '#members' });
  expect(gaps.map(({ reason }) => reason)).toEqual([
    '2 messages are of before this device came: others of yours may show them',
  ]);
  expect(await again.bodies('bob@home')).toEqual(['a secret', 'kept']);
  await bob.say('alice@home', 'still you?');
  await again.reads('bob@home', 'still you?');
  await again.say('bob@home', 'it is me');
  await bob.reads('alice@home', 'it is me');
});

test('files of a channel are, after a restore, what they were', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  const channel = '#files';
  await alice.call('channel.create', { name: channel, encryption: 'open' });
  await bob.call('channel.join', { channel });
  const path = join(house.stage.dir, '..', 'notes.txt');
  writeFileSync(path, 'some notes');
  await bob.call('file.send', { conversation: channel, path });
  await alice.reads(channel, 'notes.txt');
  await bob.say(channel, 'behind it');
  await alice.reads(channel, 'behind it');
  const again = await comeBack(house, alice);
  await bob.say(channel, 'after');
  await again.reads(channel, 'after');
  expect((await again.messages(channel)).map(({ body, state }) => [body, state])).toEqual([
    ['notes.txt', 'received'],
    ['behind it', 'received'],
    ['after', 'received'],
  ]);
  expect((await again.call('file.list', { conversation: channel })).map(({ state }) => state)).toEqual(['offered']);
});

test('where there is a second check, a restored account comes in with it', async () => {
  const { house, alice } = await House.open('alice');
  await using _house = house;
  const { origin, serverKey } = parseInviteLink(house.server.invite);
  const target: ServerTarget = { origin, serverKey, trust: 'pinned' };
  let recoveryCodes: string[] = [];
  const setSecond = async (): Promise<void> => {
    const secret = new Uint8Array(20).fill(7);
    const serversKey = await alice.look((db) => getSelf(db)?.serversKey);
    const other: Member = new Member({ target, member: () => other }, 'alice', serversKey);
    // The account's own device has the time it was made at.
    expect(await other.join().catch(({ code }) => code)).toBe('certificate.invalid');
    other.leave();
    other.serial = Date.now();
    await other.join();
    const code = totp(secret, Math.floor(Date.now() / 30_000));
    const set = { password: 'correct', secret: toBase64(secret), code };
    ({ recoveryCodes } = await other.client.request('second.set', set));
    other.leave();
  };
  const again = await comeBack(house, alice, setSecond, 'banned');
  expect((await again.call('server.list', {}))[0]?.lastError).toContain('--code');
  const [code = ''] = recoveryCodes;
  const join = ['server', 'join', house.server.invite, '--as', 'alice', '--label', 'home', '--password-fd', '0'];
  expect((await again.user.run(...join, { input: 'correct\n' })).code).toBe(2);
  expect((await again.user.run(...join, '--code', code, { input: 'wrong\n' })).code).toBe(6);
  const joined = await again.user.ok<{ state: string }>(...join, '--code', code, { input: 'correct\n' });
  expect(joined.items).toMatchObject([{ state: 'online', memberName: 'alice' }]);
});

test('a channel that a server has lost is told as that, and does not stand in the way of one that is made anew', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  const { server } = house;
  const copy = join(server.dir, 'copy');
  await server.admin('backup', copy);
  const { id } = await alice.call('channel.create', { name: '#lost', encryption: 'open' });
  await bob.call('channel.join', { channel: '#lost' });
  await bob.say('#lost', 'before');
  await alice.reads('#lost', 'before');
  await server.stop();
  rmSync(server.data, { recursive: true });
  expect((await sotto(['serve', 'admin', 'restore', copy, '--data-dir', server.data])).code).toBe(0);
  await server.start();

  await alice.call('server.retry', {});
  const lost = await alice.sees('the loss', async () => {
    const now = await alice.call('channel.show', { channel: '#lost' });
    return now.state !== 'joined' && now;
  });
  expect(lost).toMatchObject({ state: 'lost' });
  expect(lost).not.toHaveProperty('role');
  const told = alice.events.filter(({ channel }) => channel?.name === '#lost').at(-1);
  expect(told).toMatchObject({ kind: 'channel.changed', detail: 'the server shows it no more' });
  const { error } = await alice.user.run('send', '#lost', 'x');
  expect(error).toMatchObject({
    code: 'channel.notMember',
    exit: 6,
    message: expect.stringMatching(/^home shows #lost no more: it may have lost it/),
  });
  expect((await alice.user.ok('why', '#lost', { json: false })).err).toMatch(
    /home shows #lost no more: it may have lost it; sotto .*channel leave [0-9a-f]+ takes it off the list/,
  );

  // Where one of the same name is live, it is meant; what was said in the other is there by its id.
  const made = await alice.call('channel.create', { name: '#lost', encryption: 'open' });
  await alice.say('#lost', 'after');
  expect(await alice.bodies('#lost')).toEqual(['after']);
  expect(await alice.bodies('#lost@home')).toEqual(['after']);
  expect(await alice.bodies(id)).toEqual(['before']);
  expect(await alice.bodies(made.id.slice(0, 20))).toEqual(['after']);
  await alice.call('channel.create', { name: '#other', encryption: 'open' });
  await alice.say('#other', 'and on');
  await bob.call('channel.join', { channel: '#lost' });
  await bob.call('channel.leave', { channel: '#lost' });
  // It is ended here, by its id, and the two are told apart.
  expect((await alice.user.ok('channel', 'list', { json: false })).out).toMatch(
    /lost .*sotto .*channel leave [0-9a-f]+ takes it off the list/,
  );
  const ended = await alice.user.ok('channel', 'leave', id, { json: false });
  expect(ended.out).toMatch(/^You have left #lost\. What was said there stays here: sotto .*read [0-9a-f]+\n$/);
  const [reference = ''] = /[0-9a-f]+\n$/.exec(ended.out) ?? [];
  expect((await alice.user.ok('read', reference.trim(), { json: false })).out).toContain('before');
  const left = await alice.call('channel.show', { channel: id });
  expect(left).toMatchObject({ state: 'left' });
  expect(left).not.toHaveProperty('role');
  expect(alice.events.at(-1)).toMatchObject({ kind: 'channel.left', channel: { id } });
  expect((await alice.call('channel.list', {})).map((one) => one.id)).not.toContain(id);
  const both = (await alice.call('conversation.list', {})).filter(({ name }) => name === '#lost@home');
  expect(both.map(({ state }) => state ?? 'here').sort()).toEqual(['here', 'left']);
  expect((await alice.user.ok('conversations', { json: false })).out).toMatch(
    /#lost@home +NOT ENCRYPTED +left \([0-9a-f]{8}\)/,
  );
  expect(await alice.bodies('#lost')).toEqual(['after']);
  await alice.call('server.retry', {});
  expect(await alice.refused('channel.leave', { channel: id })).toBe('channel.notMember');
  const which = await bob.user.run('read', '#lost');
  expect(which.error).toMatchObject({
    code: 'name.ambiguous',
    message: expect.stringContaining(`#lost@home (${id})`),
    details: { candidates: [id, made.id].toSorted() },
  });
});
