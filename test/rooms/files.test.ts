// Files in channels and with members: many at once, a server that is away, a disk that is full, one that is taken back, one of a
// stranger, for other devices, and after a restore.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemRandom } from '../../src/machine.ts';
import { jsonBytes } from '../../src/protocol/bytes.ts';
import { idBytes, timedId } from '../../src/protocol/ids.ts';
import { MEMBER_FILES_BYTES_MAX } from '../../src/protocol/limits.ts';
import type { Said } from '../../src/protocol/room-direct.ts';
import { EVENT } from '../../src/protocol/server-frames.ts';
import { serverPaths } from '../../src/server/server-dir.ts';
import { openDatabase } from '../../src/sqlite/open.ts';
import { putRoomOutbox } from '../../src/store/room-outbox.ts';
import { pathsOf } from '../daemon/furnished.ts';
import { Guest, House } from './house.ts';

let house: House;
let alice: Guest;
let bob: Guest;
let dir: string;

beforeAll(async () => {
  ({ house, alice, bob } = await House.open('alice', 'bob'));
  dir = join(house.stage.dir, '..');
  await alice.call('channel.create', { name: '#files', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#files', member: 'bob' });
  await bob.call('channel.join', { channel: '#files' });
  await bob.say('alice@home', 'come in');
});
afterAll(() => house[Symbol.asyncDispose]());

const bytesOf = (size: number, seed: number) => Buffer.alloc(size).map((_, i) => (i * 31 + seed) % 251);

/** Writes a file of this size and sends it. */
const send = async (guest: Guest, conversation: string, name: string, size: number) => {
  const path = join(dir, name);
  writeFileSync(path, bytesOf(size, name.length));
  return (await guest.call('file.send', { conversation, path })).file;
};

const listed = (guest: Guest, conversation: string) => guest.call('file.list', { conversation });

const offered = (guest: Guest, conversation: string, name: string) =>
  guest.sees(`the offer of ${name}`, async () =>
    (await listed(guest, conversation)).find((file) => file.name === name),
  );

const saved = async (guest: Guest, conversation: string, name: string, size: number) => {
  const path = join(dir, `${guest.name}-${name}`);
  const { id } = await offered(guest, conversation, name);
  const { reached } = await guest.call('file.save', { id, path, wait: 'done' });
  expect([reached, readFileSync(path).equals(bytesOf(size, name.length))]).toEqual([true, true]);
};

/** The file of the server that came last. */
const newestBlob = (): string => {
  const { blobs } = serverPaths(house.server.data);
  const files = readdirSync(blobs, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile() && one.name.length === 64)
    .map((one) => join(one.parentPath, one.name));
  const newest = files.sort((one, other) => statSync(other).mtimeMs - statSync(one).mtimeMs)[0];
  if (newest === undefined) throw new Error('the server has a file');
  return newest;
};

describe.each([
  ['channel', '#files', '#files'],
  ['member', 'bob@home', 'alice@home'],
])('with a %s', (kind, ours, theirs) => {
  const named = (name: string) => `${kind}-${name}`;

  test('a file was sent at one time, for who sends it and for who gets it, however long it took to read', async () => {
    const { id } = await send(alice, ours, `timed-${kind}`, 6_000_000);
    await offered(bob, theirs, `timed-${kind}`);
    const { sentAt } = await bob.call('message.show', { id });
    await alice.sees('that time', async () => (await alice.call('message.show', { id })).sentAt === sentAt);
  });

  test('many at once, sent while the server is away, go up when it is back, and come down whole', async () => {
    await house.server.stop();
    const names = Array.from({ length: 6 }, (_, i) => named(`away-${'x'.repeat(i)}`));
    const sent = [];
    for (const [i, name] of names.entries()) sent.push(await send(alice, ours, name, 100_000 * i));
    const path = join(dir, names[0] ?? '');
    const now = ['--wait', 'done', '--timeout', '0'];
    expect((await alice.user.run('file', 'send', ours, path, '--name', named('now'), ...now)).code).toBe(4);
    const stuck = { name: names[0], state: 'active', reason: 'The server cannot be reached' };
    expect((await alice.user.ok('why')).items).toContainEqual(expect.objectContaining(stuck));
    await house.server.start();
    for (const [i, name] of names.entries()) await saved(bob, theirs, name, 100_000 * i);
    for (const { id } of sent) {
      await alice.sees('that it is up', async () => (await alice.call('file.show', { id })).state === 'done');
      expect((await alice.call('file.show', { id })).reason).toBeUndefined();
    }
    expect((await bob.call('message.search', { query: named('away') })).messages).not.toEqual([]);
  });

  test('a disk that is full while a file is fetched is told, ends nothing, and the file comes once there is room', async () => {
    await send(alice, ours, named('full'), 3_000_000);
    const { id } = await offered(bob, theirs, named('full'));
    const kept = join(pathsOf(bob.user).filesDir, id);
    mkdirSync(join(kept, '..'), { recursive: true });
    symlinkSync('/dev/full', kept);
    const path = join(dir, `bob-${named('full')}`);
    await expect(bob.call('file.save', { id, path, wait: 'done' })).rejects.toMatchObject({ code: 'disk.full' });
    rmSync(kept);
    await saved(bob, theirs, named('full'), 3_000_000);
  });

  test('a file that the server had damaged, or not at all, for a while is fetched anew once it is whole there', async () => {
    const [name, size] = [named('mended'), 300_000];
    const { id } = await send(alice, ours, name, size);
    await alice.sees('that it is up', async () => (await alice.call('file.show', { id })).state === 'done');
    const { id: theirId } = await offered(bob, theirs, name);
    const blob = newestBlob();
    const whole = readFileSync(blob);
    const path = join(dir, `bob-${name}`);
    const save = async () => (await bob.user.run('file', 'save', theirId, path, '--wait', 'done')).error?.code;

    const damaged = Buffer.from(whole);
    damaged.fill(0, 150_000, 150_004);
    writeFileSync(blob, damaged);
    for (let again = 0; again < 2; again++) expect(await save()).toBe('file.damaged');
    expect((await house.server.admin('check'))[0]).toMatchObject({ wrong: [] });
    await expect(house.server.admin('check', '--deep')).rejects.toMatchObject({
      code: 'check.failed',
      message: `blob ${basename(blob)} is damaged`,
    });
    rmSync(blob);
    expect(await save()).toBe('file.unknown');
    expect((await bob.call('file.show', { id: theirId })).state).toBe('failed');
    writeFileSync(blob, whole);
    await saved(bob, theirs, name, size);
    expect(await bob.call('file.show', { id: theirId })).toMatchObject({ state: 'done', transferredBytes: size });
  });

  test('a file that is taken back before it is up never comes, and its message has failed', async () => {
    await house.server.stop();
    const { id } = await send(alice, ours, named('regretted'), 50_000);
    await alice.call('file.cancel', { id });
    expect(await alice.call('message.show', { id })).toMatchObject({ state: 'failed', reason: 'cancelled' });
    using kept = openDatabase(serverPaths(house.server.data).database);
    kept.run('UPDATE blob SET size = size + ?', MEMBER_FILES_BYTES_MAX);
    await house.server.start();
    const more = await send(alice, ours, named('too-much'), 10);
    await alice.sees('whose room is full', async () =>
      (await alice.call('file.show', { id: more.id })).reason?.startsWith('The server has no room'),
    );
    kept.run('UPDATE blob SET size = size - ?', MEMBER_FILES_BYTES_MAX);
    await send(alice, ours, named('after'), 10);
    await saved(bob, theirs, named('after'), 10);
    expect((await bob.messages(theirs)).some(({ body }) => body === named('regretted'))).toBe(false);
  });
});

test('a file that no server takes is refused at once, and nothing of it is read', async () => {
  const path = join(dir, 'huge');
  writeFileSync(path, '');
  truncateSync(path, MEMBER_FILES_BYTES_MAX + 1);
  const before = await listed(alice, '#files');
  for (const conversation of ['#files', 'bob@home'])
    expect(await alice.refused('file.send', { conversation, path })).toBe('quota.exceeded');
  rmSync(path);
  expect(await listed(alice, '#files')).toEqual(before);
});

test('MEMBER-8: a file of a stranger is part of the request, and is fetched once they are let in; who is rejected offers nothing', async () => {
  const carol = await house.guest('carol');
  await carol.call('server.join', { link: await alice.invite(), name: 'carol', label: 'home' });
  expect(await listed(carol, 'alice@home')).toEqual([]);
  await carol.user.ok('file', 'send', 'alice@home', '-', '--name', 'strange', { input: 'from a pipe' });
  const { id } = await offered(alice, 'carol@home', 'strange');
  expect(await alice.call('conversation.show', { conversation: 'carol@home' })).toMatchObject({ unread: 1 });
  expect(await alice.call('member.show', { member: 'carol@home' })).toMatchObject({ request: 'open' });
  const path = join(dir, 'strange');
  expect(await alice.refused('file.save', { id, path })).toBe('contact.notAccepted');
  expect(await alice.refused('file.fetch', { id })).toBe('contact.notAccepted');
  expect((await alice.call('file.show', { id })).state).toBe('offered');
  await alice.call('member.accept', { member: 'carol@home' });
  expect((await alice.user.run('file', 'save', id, '-', { json: false })).out).toBe('from a pipe');
  await alice.call('member.reject', { member: 'carol@home' });
  expect(await alice.refused('file.fetch', { id })).toBe('contact.blocked');
  await carol.user.ok('file', 'send', 'alice@home', '-', '--name', 'again', '--wait', 'done', { input: 'once more' });
  await bob.say('alice@home', 'after carol');
  await alice.reads('bob@home', 'after carol');
  expect((await listed(alice, 'carol@home')).map(({ name }) => name)).toEqual(['strange']);
  await house.server.admin('ban', 'carol');
  const { id: late } = await send(bob, 'carol@home', 'too late', 10);
  const ended = await bob.sees('its end', async () => {
    const file = await bob.call('file.show', { id: late });
    return file.state === 'failed' && file;
  });
  expect(ended.reason).toBe('There is no such member');
  expect((await bob.call('message.show', { id: late })).state).toBe('failed');
});

test('MEMBER-8: a file under the id of somebody else’s is not taken: what is kept of that stays theirs', async () => {
  const { id } = await send(alice, '#files', 'kept', 60_000);
  await saved(bob, '#files', 'kept', 60_000);
  const key = Buffer.alloc(32).toString('base64');
  const offer: Said = { kind: 'file', id, name: 'forged', sizeBytes: 1, key, root: key, blobs: [key], sentAt: 1 };
  // What alice sends is what stands in her outbox: she puts there what she likes.
  await alice.user.ok('daemon', 'stop');
  await alice.look((db) => {
    const bobs = db.get<{ id: number; server: number }>(
      "SELECT id, server_id AS server FROM members WHERE name = 'bob'",
    );
    const to = { serverId: bobs?.server ?? 0, channelRow: null, memberRow: bobs?.id ?? 0, kind: EVENT.direct };
    const content = jsonBytes(offer);
    const eventId = idBytes(timedId(Date.now(), systemRandom.bytes(10)));
    const row = { ...to, createdAt: Date.now(), expiresAt: Date.now() + 1e9, messageRow: null, ttl: 0 };
    putRoomOutbox(db, { ...row, eventId, content });
    const text: Said = { kind: 'text', id, text: 'forged', sentAt: 1 };
    const another = idBytes(timedId(Date.now(), systemRandom.bytes(10)));
    putRoomOutbox(db, { ...row, eventId: another, content: jsonBytes(text) });
  });
  await alice.back();
  await alice.say('bob@home', 'after that');
  await bob.reads('alice@home', 'after that');
  expect((await bob.messages('alice@home')).some(({ body }) => body === 'forged')).toBe(false);
  expect((await bob.call('file.show', { id })).name).toBe('kept');
  expect((await bob.call('message.show', { id })).body).toBe('kept');
  // Who chooses an id before it is an event's has not got it for ever.
  const early = timedId(Date.now(), systemRandom.bytes(10));
  await alice.user.ok('daemon', 'stop');
  await alice.look((db) => {
    const [server, channel] = [
      db.get<{ id: number }>('SELECT id FROM servers')?.id ?? 0,
      db.get<{ id: number }>("SELECT id FROM channels WHERE name = 'files'")?.id ?? 0,
    ];
    const member = db.get<{ id: number }>("SELECT id FROM members WHERE name = 'bob'")?.id ?? 0;
    const times = { createdAt: Date.now(), expiresAt: Date.now() + 1e9, messageRow: null, ttl: 0 };
    const direct: Said = { kind: 'text', id: early, text: 'first with it', sentAt: 1 };
    const eventId = idBytes(timedId(Date.now(), systemRandom.bytes(10)));
    const to = { serverId: server, channelRow: null, memberRow: member, kind: EVENT.direct };
    putRoomOutbox(db, { ...to, ...times, eventId, content: jsonBytes(direct) });
    const there = { serverId: server, channelRow: channel, memberRow: null, kind: EVENT.content };
    const content = jsonBytes({ kind: 'text', text: 'said in the channel' });
    putRoomOutbox(db, { ...there, ...times, eventId: idBytes(early), content });
  });
  await alice.back();
  await bob.reads('#files', 'said in the channel');
  await bob.reads('alice@home', 'first with it');
  expect((await bob.call('message.show', { id: early })).body).toBe('said in the channel');
});

test('a file for a member is on the other devices of both; deleted, it is nowhere, and it ends with its message', async () => {
  const phone = await house.device(alice, 'phone');
  await phone.call('server.join', { link: await alice.invite(), label: 'home' });
  await alice.sees('the phone', async () => (await alice.call('server.devices', {})).length === 2);
  await send(alice, 'bob@home', 'shared', 70_000);
  await saved(bob, 'alice@home', 'shared', 70_000);
  await saved(phone, 'bob@home', 'shared', 70_000);
  const { id } = await offered(phone, 'bob@home', 'shared');
  const { mine, unread } = await phone.call('message.show', { id });
  expect([mine, unread]).toEqual([true, undefined]);
  await send(bob, 'alice@home', 'back', 40_000);
  for (const guest of [alice, phone]) await saved(guest, 'bob@home', 'back', 40_000);
  await alice.call('message.delete', { id });
  const lacks = (guest: Guest, conversation: string, name: string) =>
    guest.sees(`the end of ${name}`, async () =>
      (await listed(guest, conversation)).every((file) => file.name !== name),
    );
  for (const guest of [alice, phone]) await lacks(guest, 'bob@home', 'shared');
  await lacks(bob, 'alice@home', 'shared');
  await alice.call('config.set', { key: 'messages.expiresMs', value: 2_000, conversation: 'bob@home' });
  await send(alice, 'bob@home', 'short', 10);
  await offered(bob, 'alice@home', 'short');
  for (const guest of [alice, phone]) await lacks(guest, 'bob@home', 'short');
  await lacks(bob, 'alice@home', 'short');
  await alice.call('config.unset', { key: 'messages.expiresMs', conversation: 'bob@home' });
});

test('MEMBER-8: who deletes a message takes its file from the server, also later; what is deleted here only stays there', async () => {
  const hashes = (guest: Guest, id: string) =>
    guest.look((db) =>
      db.all<{ hash: string }>('SELECT lower(hex(blob)) AS hash FROM files WHERE file_id = ?', idBytes(id)),
    );
  const brought = async (guest: Guest, conversation: string, name: string) => {
    const { id } = await send(guest, conversation, name, 9_000);
    const [file] = await hashes(guest, id);
    return { id, path: join(house.server.data, 'blobs', file?.hash.slice(0, 2) ?? '', file?.hash ?? '') };
  };
  const isGone = ({ path }: { readonly path: string }) => alice.sees('its end', async () => !existsSync(path));
  const [own, moderated] = [await brought(bob, '#files', 'own'), await brought(bob, '#files', 'moderated')];
  const [kept, late] = [await brought(bob, '#files', 'kept there'), await brought(alice, 'bob@home', 'late')];
  for (const [guest, conversation, name] of [
    [alice, '#files', 'own'],
    [alice, '#files', 'moderated'],
    [alice, '#files', 'kept there'],
    [bob, 'alice@home', 'late'],
  ] as const)
    await saved(guest, conversation, name, 9_000);
  expect([own, moderated, kept, late].map(({ path }) => existsSync(path))).toEqual([true, true, true, true]);
  await bob.call('message.delete', { id: kept.id, local: true });
  await bob.call('message.delete', { id: own.id });
  await alice.call('message.delete', { id: moderated.id });
  for (const file of [own, moderated]) await isGone(file);
  await house.server.stop();
  await alice.call('message.delete', { id: late.id });
  await alice.user.ok('daemon', 'stop');
  await alice.back();
  await house.server.start();
  await isGone(late);
  expect(existsSync(kept.path)).toBe(true);
});

test('what was asked for goes on after a restart, and after one was out of the channel for a while; what an archived one does not take has failed', async () => {
  const channel = '#comes-and-goes';
  await alice.call('channel.create', { name: channel, encryption: 'open' });
  await bob.call('channel.join', { channel });
  await send(alice, channel, 'over another', 9_000);
  await send(alice, channel, 'while out', 9_000);
  const idOf = async (name: string) =>
    (await bob.call('file.list', { conversation: channel })).find((one) => one.name === name)?.id ?? '';
  const shown = async (name: string) => bob.call('file.show', { id: await idOf(name) });
  await bob.sees('both', async () => (await idOf('over another')) !== '' && (await idOf('while out')) !== '');
  const path = join(dir, 'what was there');
  writeFileSync(path, 'something else');
  await house.server.stop();
  await bob.call('file.save', { id: await idOf('over another'), path, overwrite: true });
  // Bob is away while the server comes back and something is done to the channel.
  const meanwhile = async (step: () => Promise<unknown>) => {
    await bob.user.ok('daemon', 'stop');
    await house.server.start();
    await alice.online();
    await step();
    await bob.back();
  };
  await meanwhile(async () => {});
  await bob.sees('the file', async () => (await shown('over another')).savedTo === path);
  expect(readFileSync(path)).toHaveLength(9_000);

  await house.server.stop();
  await bob.call('file.fetch', { id: await idOf('while out') });
  await meanwhile(() => alice.call('channel.kick', { channel, member: 'bob' }));
  const paused = await bob.sees('a pause', async () => {
    const file = await shown('while out');
    return file.state === 'paused' && file;
  });
  expect(paused.reason).toContain('not in this channel');
  await bob.call('channel.join', { channel });
  expect((await bob.call('file.fetch', { id: await idOf('while out'), wait: 'done' })).reached).toBe(true);

  await house.server.stop();
  const { id } = await send(bob, channel, 'too late', 9_000);
  await meanwhile(() => alice.call('channel.archive', { channel }));
  await bob.sees('an end', async () => (await bob.call('message.show', { id })).state === 'failed');
});

test('who was removed from a channel is told so when they fetch a file of it, and fetches it once they are back', async () => {
  const channel = '#out';
  await alice.call('channel.create', { name: channel, encryption: 'open' });
  await bob.call('channel.join', { channel });
  await send(alice, channel, 'not for him', 9_000);
  const { id } = await offered(bob, channel, 'not for him');
  await alice.call('channel.kick', { channel, member: 'bob' });
  await bob.sees('that he is out', async () => (await bob.call('channel.show', { channel })).state === 'removed');
  const path = join(dir, 'of the channel');
  for (let again = 0; again < 2; again++)
    expect(await bob.user.run('file', 'save', id, path)).toMatchObject({
      code: 6,
      error: { code: 'channel.notMember', message: expect.stringContaining('You are not in this channel') },
    });
  expect((await bob.call('file.show', { id })).reason).toContain('not in this channel');
  await bob.call('channel.join', { channel });
  await saved(bob, channel, 'not for him', 9_000);
});

test('who has cancelled a file of a channel fetches it all the same, once they want it', async () => {
  await send(alice, '#files', 'second-thoughts', 50_000);
  const { id } = await offered(bob, '#files', 'second-thoughts');
  expect(await bob.call('file.cancel', { id })).toMatchObject({ state: 'cancelled' });
  await saved(bob, '#files', 'second-thoughts', 50_000);
});

test('a file for a channel where its author was muted meanwhile waits, and why tells of it', async () => {
  const channel = '#quiet';
  await alice.call('channel.create', { name: channel, encryption: 'open' });
  await bob.call('channel.join', { channel });
  await house.server.stop();
  const { id } = await send(bob, channel, 'kept back', 9_000);
  await bob.user.ok('daemon', 'stop');
  await house.server.start();
  await alice.online();
  await alice.call('channel.mute', { channel, member: 'bob', muted: true });
  await bob.back();
  const reason = 'You may read here, but not write';
  await bob.sees('what is in its way', async () => (await bob.call('file.show', { id })).reason === reason);
  for (const about of ['#quiet', '#quiet@home', 'home'])
    expect(await bob.user.one('why', about)).toMatchObject({
      outboxDepth: 0,
      files: [{ id, name: 'kept back', state: 'active', reason }],
      reasons: expect.arrayContaining([`the file kept back waits: ${reason}`]),
    });
  const { out } = await bob.user.ok('why', '#quiet', { json: false });
  expect(out).toContain('connected with home, 1 file waits');
  expect(out).toContain(`waiting  #quiet@home: kept back: ${reason}`);
  expect(await bob.user.one('why', '#files')).not.toHaveProperty('files');
  await alice.call('channel.mute', { channel, member: 'bob', muted: false });
  await bob.user.ok('why', 'home', '--retry');
  await bob.sees('that it is up', async () => (await bob.call('file.show', { id })).state === 'done');
});

test('after a restore what was fetched can be fetched again, and what was not up has failed', async () => {
  await house.server.stop();
  const waiting = [await send(bob, '#files', 'not up', 20_000), await send(bob, 'alice@home', 'nor this', 20_000)];
  const [file, passphrase] = [join(dir, 'backup'), join(dir, 'passphrase')];
  await bob.call('backup.create', { file, passphrase: 'tulip mania' });
  writeFileSync(passphrase, 'tulip mania\n', { mode: 0o600 });
  await bob.user.ok('daemon', 'stop');
  await house.server.start();
  const user = house.stage.stranger('again');
  await user.ok('restore', file, '--no-passphrase', { env: { SOTTO_PASSPHRASE_FILE: passphrase } });
  const again = house.welcome(new Guest(user));
  await again.connect();
  await again.online();
  await saved(again, '#files', 'channel-full', 3_000_000);
  await saved(again, 'alice@home', 'member-full', 3_000_000);
  for (const { id } of waiting)
    expect(await again.call('message.show', { id })).toMatchObject({ state: 'failed', reason: 'not in the backup' });
  await user.ok('daemon', 'stop');
  await again.back();
  expect((await again.call('server.list', {})).map(({ label }) => label)).toEqual(['home']);
});
