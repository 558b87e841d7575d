// Servers and daemons that die, are away, or are two: nothing is lost or doubled, and people come back by themselves.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { idBytes, timedId } from '../../src/protocol/ids.ts';
import { DRAIN_RETRY_MS, SERVER_ASKED_AGAIN_MS } from '../../src/protocol/limits.ts';
import { serverPaths } from '../../src/server/server-dir.ts';
import { type Database, openDatabase } from '../../src/sqlite/open.ts';
import { type Guest, House } from './house.ts';

test('a server that is killed under load: what was answered is there once and in order', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  await alice.call('channel.create', { name: '#load', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#load', member: 'bob' });
  await bob.call('channel.join', { channel: '#load' });
  const answered: string[] = [];
  let isOver = false;
  const write = async () => {
    for (let n = 0; !isOver; n++) {
      const { reached } = await alice.call('message.send', {
        conversation: '#load',
        text: `load ${n}`,
        wait: 'sent',
        timeoutMs: 30_000,
      });
      if (reached) answered.push(`load ${n}`);
    }
  };
  const writing = write();
  for (let kills = 1; kills <= 3; kills++) {
    await alice.sees('more answers', async () => answered.length >= kills * 5);
    await house.server.stop('SIGKILL');
    await house.server.start();
  }
  isOver = true;
  await writing;
  const last = answered.at(-1) ?? '';
  await bob.reads('#load', last);
  const [mine, theirs] = [await alice.bodies('#load'), await bob.bodies('#load')];
  expect(theirs).toEqual(mine);
  expect(theirs.filter((body) => answered.includes(body))).toEqual(answered);
  expect(new Set(theirs).size).toBe(theirs.length);
  const { gaps } = await bob.call('channel.show', { channel: '#load' });
  expect(gaps).toEqual([]);
  expect(await house.server.admin('check')).toMatchObject([{ wrong: [] }]);
});

test('a daemon that is killed in the middle of sending sends the rest once', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  await alice.call('channel.create', { name: '#kill', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#kill', member: 'bob' });
  await bob.call('channel.join', { channel: '#kill' });
  const wanted: string[] = [];
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 8; n++) {
      const text = `round ${round}, ${n}`;
      await alice.call('message.send', { conversation: '#kill', text });
      if (n % 4 === 0) await alice.call('message.send', { conversation: 'bob@home', text });
      wanted.push(text);
    }
    process.kill(await alice.user.pid(), 'SIGKILL');
    await alice.back();
  }
  await bob.reads('#kill', wanted.at(-1) ?? '');
  expect(await bob.bodies('#kill')).toEqual(wanted);
  expect(await alice.bodies('#kill')).toEqual(wanted);
  const direct = wanted.filter((_, n) => n % 4 === 0);
  await bob.reads('alice@home', direct.at(-1) ?? '');
  expect(await bob.bodies('alice@home')).toEqual(direct);
  const ids = (await bob.messages('#kill')).map(({ id }) => id);
  expect(new Set(ids).size).toBe(wanted.length);
  expect((await bob.call('channel.show', { channel: '#kill' })).gaps).toEqual([]);
});

test('without the server everything said waits, and goes out by itself when it is back', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  await alice.call('channel.create', { name: '#away', encryption: 'open' });
  await bob.call('channel.join', { channel: '#away' });
  const red = await alice.say('#away', 'red');
  await bob.reads('#away', 'red');
  const gone = await alice.say('#away', 'gone');
  const kept = await bob.say('#away', 'kept');
  const reply = await bob.say('#away', 'this');
  await alice.reads('#away', 'this');
  const presenceOfBob = async () => (await alice.call('member.list', {})).find(({ name }) => name === 'bob')?.presence;
  await bob.call('presence.set', { state: 'away' });
  await alice.sees('that Bob is not at his terminal', async () => (await presenceOfBob()) === 'away');
  expect(await house.server.stop()).toBe(0);
  for (const guest of [alice, bob])
    await guest.sees('that it is away', async () => (await guest.call('server.list', {}))[0]?.state !== 'online');
  expect((await alice.call('member.list', {})).map(({ presence }) => presence)).toEqual([undefined, undefined]);
  // It has said when it may be back.
  const { nextRetryAt = 0, lastErrorAt = 0 } = await alice.sees('when it is tried again', async () => {
    const [server] = await alice.call('server.list', {});
    return server?.nextRetryAt !== undefined && server;
  });
  expect(nextRetryAt - lastErrorAt).toBeGreaterThanOrEqual(DRAIN_RETRY_MS);

  const { user } = alice;
  const queued = await user.one<{ id: string; state: string }>('send', '#away', 'while it is on the way');
  expect(queued.state).toBe('queued');
  // What nobody was told was never said.
  await alice.call('message.edit', { id: queued.id, text: 'while it is away' });
  const { message: slip } = await alice.call('message.send', { conversation: '#away', text: 'a slip' });
  expect(await alice.call('message.delete', { id: slip.id })).toMatchObject({ state: 'failed', reason: 'cancelled' });
  expect(await user.run('send', '#away', 'no time', '--wait', 'sent', '--timeout', '0s')).toMatchObject({
    code: 4,
    error: { code: 'server.unreachable' },
    items: [{ state: 'queued' }],
  });
  expect((await user.run('send', '#away', 'a moment', '--wait', 'sent', '--timeout', '200ms')).code).toBe(5);
  for (const words of [
    ['channel', 'create', '#more', '--encryption', 'open'],
    ['server', 'invite'],
    ['channel', 'list', 'home', '--all'],
    ['channel', 'rotate', '#away'],
    ['channel', 'share-history', '#away', 'nobody'],
    ['call', 'list', 'home'],
    ['server', 'second-check'],
    ['server', 'leave', 'home', '--erase', '--yes'],
    ['member', 'ban', 'bob@home'],
    ['member', 'show', 'nobody@home'],
    ['read', 'nobody@home'],
    ['search', 'green', '--in', 'nobody@home'],
    ['file', 'list', 'nobody@home'],
  ])
    expect(await user.run(...words, '--timeout', '0')).toMatchObject({
      code: 4,
      error: { code: 'server.unreachable' },
    });
  const state = expect.stringMatching(/^(waiting|dialling)$/);
  expect((await user.ok('why', 'home', '--retry', '--timeout', '0')).items).toMatchObject([{ state }]);
  for (const words of [['#away'], ['#away', '--at', '0s ago']])
    expect((await user.ok('read', ...words)).err).toBe(
      'Missing: Not connected to home: what was said there meanwhile is not here yet\n',
    );
  expect((await user.run('read', '#nothing')).code).toBe(3);
  expect((await user.run('send', '#nothing', 'x')).code).toBe(3);
  await alice.call('message.edit', { id: red.id, text: 'green' });
  await bob.call('message.react', { id: red.id, emoji: '👍' });
  expect(await user.one('delete', gone.id)).toMatchObject({ state: 'sent', body: '', deletedAt: expect.any(Number) });
  await user.ok('delete', gone.id);
  expect((await bob.user.run('delete', gone.id)).error?.code).toBe('event.refused');
  await user.ok('daemon', 'stop');
  await alice.back();
  expect(await user.one('status')).toMatchObject({ outboxDepth: 5, servers: [{ label: 'home', outboxDepth: 5 }] });

  for (const about of [['#away'], []])
    expect((await user.ok<{ state: string }>('why', ...about)).items).toMatchObject([{ state, outboxDepth: 5 }]);

  // Who asks for something waits for the server, also when it does not answer their first try, and not for its next one by itself.
  const tried = async (guest: Guest) => (await guest.call('server.list', {}))[0]?.lastErrorAt ?? 0;
  const before = await Promise.all([alice, bob].map(tried));
  const asked = Promise.all([
    bob.call('server.devices', { timeoutMs: 120_000 }),
    user.ok('channel', 'create', '#more', '--encryption', 'open', '--timeout', '2m'),
    user.ok('server', 'invite', '--timeout', '2m'),
    user.ok('channel', 'list', 'home', '--all', '--timeout', '2m'),
    user.ok('call', 'list', 'home', '--timeout', '2m'),
    user.ok('server', 'second-check', '--timeout', '2m'),
  ]);
  for (const [i, guest] of [alice, bob].entries())
    await guest.sees('that it was tried', async () => (await tried(guest)) > (before[i] ?? 0));
  const wrong = async () => (await user.run<{ ok: boolean }>('doctor')).items.filter(({ ok }) => !ok);
  expect(await wrong()).toMatchObject([
    {
      check: 'server',
      detail: expect.stringMatching(/^home: \w+, /),
      fix: expect.stringContaining('see that it runs'),
    },
  ]);
  await house.server.start();
  await asked;
  expect((await user.ok<{ state: string }>('why', '#away', '--retry')).items).toMatchObject([{ state: 'online' }]);
  await bob.reads('#away', 'green');
  await alice.sees('that he still is not', async () => (await presenceOfBob()) === 'away');
  await bob.call('presence.set', { state: 'online' });
  await alice.sees('that he is back', async () => (await presenceOfBob()) === 'online');
  await bob.sees('the deletion', async () => (await bob.call('message.show', { id: gone.id })).deletedAt !== undefined);
  expect(await bob.bodies('#away')).toEqual(['green', '', 'kept', 'this', 'while it is away', 'no time', 'a moment']);
  const erasures = (db: Database) => db.all("SELECT seq FROM room_events WHERE kind = 'erase'").length;
  expect([await bob.look(erasures), await alice.look(erasures)]).toEqual([1, 1]);
  await alice.sees('a reaction', async () => (await alice.call('message.show', { id: red.id })).reactions.length === 1);
  for (const guest of [alice, bob])
    expect(await guest.bodies('#away', { at: Date.now() })).toContain('while it is away');
  expect((await alice.call('message.show', { id: queued.id })).versions).toEqual([]);
  await alice.sees('an empty outbox', async () => (await alice.call('server.list', {}))[0]?.outboxDepth === 0);
  expect((await user.run('why', { json: false })).err).toBe('Nothing is stuck.\n');
  expect(await wrong()).toEqual([]);
  expect((await user.ok('read', '#away')).err).toBe('');

  // Who was removed meanwhile edits and deletes nothing there any more, and is told.
  await house.server.stop();
  await bob.sees('that it is away', async () => (await bob.call('server.list', {}))[0]?.state !== 'online');
  await bob.call('message.edit', { id: reply.id, text: 'not this' });
  await bob.call('message.delete', { id: kept.id });
  await bob.user.ok('daemon', 'stop');
  await house.server.start();
  await alice.call('channel.kick', { channel: '#away', member: 'bob' });
  await bob.back();
  await bob.sees('that it stays', async () => (await bob.call('server.list', {}))[0]?.outboxDepth === 0);
  expect(await bob.call('message.show', { id: kept.id })).toMatchObject({ state: 'sent', reason: 'deletionFailed' });
  expect(await bob.call('message.show', { id: reply.id })).toMatchObject({ state: 'sent', body: 'this' });
  expect(await alice.bodies('#away')).toEqual(expect.arrayContaining(['kept', 'this']));
});

test('who says something, or waits for it to be there, does not wait for the time at which a server is tried again', async () => {
  const { house, alice } = await House.open('alice');
  await using _house = house;
  await alice.call('channel.create', { name: '#late', encryption: 'open' });
  // Tries that failed, until the next one is far away.
  const tooLate = (waitMs: number) =>
    alice.sees('a try that comes much later', async () => {
      const [server] = await alice.call('server.list', {});
      return (server?.nextRetryAt ?? 0) - Date.now() > waitMs;
    });
  await house.server.stop('SIGKILL');
  await tooLate(8_000);
  expect((await alice.user.ok('send', '#late', 'away', { json: false })).err).toMatch(
    /^Not connected to home: it waits, and goes by itself; sotto .*why home$/m,
  );
  const waiting = alice.call('message.send', { conversation: '#late', text: 'waited for', wait: 'sent' });
  await house.server.start();
  const startedAt = Date.now();
  expect(await waiting).toMatchObject({ reached: true });
  expect(Date.now() - startedAt).toBeLessThan(4_000);

  await house.server.stop('SIGKILL');
  await tooLate(8_000);
  await house.server.start();
  const { message } = await alice.call('message.send', { conversation: '#late', text: 'said' });
  await alice.sees(
    'that it is there',
    async () => (await alice.call('message.show', { id: message.id })).state === 'sent',
    4_000,
  );
});

test('a server that is called by more than a line is kept as one that shows what it is', async () => {
  const { house, alice } = await House.open('alice');
  await using _house = house;
  await house.server.stop();
  {
    using db = openDatabase(serverPaths(house.server.data).database);
    db.run('UPDATE server SET name = ?', `evil\nname \x1b[31m${'x'.repeat(64)}`);
  }
  await house.server.start();
  await alice.sees('its name', async () => (await alice.call('server.list', {}))[0]?.name !== 'sotto');
  expect((await alice.call('server.list', {}))[0]?.name).toBe(`evil␊name ␛[31m${'x'.repeat(49)}`);
});

test('a channel that does not fit its creation keeps none of the others away', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  const names = ['#bad', '#good', '#fine'];
  for (const channel of names) {
    await alice.call('channel.create', { name: channel, encryption: 'open', history: 'joined' });
    await bob.call('channel.join', { channel });
  }
  await bob.user.ok('daemon', 'stop');
  await bob.look((db) =>
    db.run("UPDATE channels SET hash = zeroblob(32), last_seq = 0, membership = '' WHERE name = 'bad'"),
  );
  for (const channel of names) await alice.say(channel, `in ${channel}`);
  await bob.back();
  await bob.reads('#good', 'in #good');
  await bob.reads('#fine', 'in #fine');
  await bob.online();
  const { gaps = [] } = await bob.call('channel.show', { channel: '#bad' });
  expect(gaps.map(({ reason }) => reason)).toEqual([expect.stringContaining('not read further')]);
  const { missing } = await bob.call('message.unread', {});
  expect(missing).toEqual([expect.stringMatching(/^#bad@home: What was said after place 0 is not read/)]);
});

test('two servers: a name that both have is asked about; invites end, and a ban ends everything', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  const second = await house.another();
  const work = { link: second.invite, name: 'ally' };
  expect(await alice.refused('server.join', { ...work, label: 'my@work' })).toBe('params.invalid');
  await alice.call('server.join', { ...work, label: 'work' });
  for (const name of ['#both@home', '#both@work']) await alice.call('channel.create', { name, encryption: 'open' });
  const { user } = alice;
  const { id } = await alice.call('member.show', { member: 'bob@home' });
  expect(await alice.call('member.show', { member: id })).toMatchObject({ name: 'bob', server: 'home' });
  expect(await user.run('send', '#both', 'which?')).toMatchObject({ code: 3, error: { code: 'name.ambiguous' } });
  await user.ok('send', '#both@work', 'for work', '--wait', 'sent');
  await user.ok('send', '#both@home', 'for home', '--wait', 'sent');
  expect(await alice.bodies('#both@work')).toEqual(['for work']);
  expect(await alice.bodies('#both@home')).toEqual(['for home']);
  expect((await alice.messages('#both@work'))[0]).toMatchObject({ from: 'ally', conversation: '#both@work' });
  await findsByBareName(house, alice);

  const { link } = await alice.call('server.invite', { server: 'home', uses: 1 });
  const [carol, dave] = [await house.guest('carol'), await house.guest('dave')];
  await carol.user.ok('server', 'join', link ?? '', '--as', 'carol', '--label', 'home');
  expect(await dave.user.run('server', 'join', link ?? '', '--as', 'dave')).toMatchObject({
    code: 6,
    error: { code: 'invite.invalid' },
  });
  expect((await dave.call('server.list', {})).length).toBe(0);
  const other = await alice.call('server.invite', { server: 'home', uses: 5 });
  await alice.call('server.revoke', { server: 'home', id: other.id });
  expect((await dave.user.run('server', 'join', other.link ?? '', '--as', 'dave')).code).toBe(6);
  const third = await alice.call('server.invite', { server: 'home', uses: 1 });
  expect(await dave.refused('server.join', { link: third.link ?? '', name: 'bob' })).toBe('name.taken');

  const twice = await Promise.all(
    [1, 2].map(() => dave.user.run('server', 'join', third.link ?? '', '--as', 'dave', '--label', 'home')),
  );
  expect(twice.map(({ code }) => code).sort()).toEqual([0, 7]);
  expect(await carol.call('server.leave', { server: 'home', erase: true })).not.toHaveProperty('lastError');
  expect((await carol.user.run('server', 'join', link ?? '')).error?.message).toContain('another account');
  expect((await alice.call('member.list', { server: 'home' })).map(({ name }) => name)).toEqual([
    'alice',
    'berta',
    'bob',
    'dave',
  ]);

  const { link: inVain = '' } = await alice.call('server.invite', { server: 'work', uses: 1 });
  writeFileSync(join(second.data, 'server.toml'), 'registration = "closed"');
  second.signal('SIGHUP');
  await expect.poll(async () => (await second.admin('status'))[0]).toMatchObject({ registration: 'closed' });
  expect((await dave.user.run('server', 'join', inVain)).error).toMatchObject({
    code: 'registration.closed',
    message: expect.stringContaining('with an invite or without'),
  });
  for (const link of [inVain, inVain.replace(/&token=[^&]*/, '')])
    expect((await dave.user.run('server', 'join', link)).error?.message).toContain('takes no new members now');
  expect((await alice.user.run('server', 'invite', 'work')).error).toMatchObject({
    code: 'registration.closed',
    message: expect.stringContaining('Nobody can join while registration is closed'),
  });

  const both = (await bob.call('channel.list', { all: true })).find(({ name }) => name === '#both');
  expect(await bob.call('channel.join', { channel: both?.id ?? '' })).toMatchObject({ name: '#both', state: 'joined' });
  await house.server.admin('ban', 'bob');
  await bob.sees('the ban', async () => (await bob.call('server.list', {}))[0]?.state === 'banned');
  // He is asked for again every few minutes: the same may be taken then.
  const banned = await bob.user.run('send', '#both', 'x', '--wait', 'sent', '--timeout', '5s');
  expect(banned).toMatchObject({ code: 6, error: { code: 'server.banned', retry: 'later' } });
  expect(await bob.bodies('#both')).toBeInstanceOf(Array);
  const { out: channels, err: unasked } = await bob.user.ok('channel', 'list', '--all', { json: false });
  expect([channels, unasked]).toEqual([
    expect.stringContaining('#both@'),
    expect.stringContaining('Not connected: home.'),
  ]);
  expect(await bob.refused('channel.list', { server: 'home', all: true })).toBe('server.banned');
  expect(await house.server.admin('audit', '--kind', 'member.banned')).toMatchObject([{ target: 'bob' }]);
  const again = await bob.user.run('server', 'join', other.link ?? '', '--as', 'robert', '--label', 'elsewhere');
  expect(again).toMatchObject({ code: 6, error: { code: 'server.banned' } });
  expect(await bob.call('server.list', {})).toMatchObject([{ label: 'home', memberName: 'bob', state: 'banned' }]);
  await bob.sees('when', async () => (await bob.call('server.list', {}))[0]?.nextRetryAt !== undefined);
  expect((await bob.user.ok('why', 'home', { json: false })).out).toMatch(/^retry {4}\d/m);
  expect((await bob.user.one<{ nextRetryAt: number }>('why', 'home')).nextRetryAt).toBeGreaterThan(Date.now());
  const unbanned = async () => {
    await house.server.admin('unban', 'bob');
    // Until it may be asked again.
    await new Promise((done) => setTimeout(done, SERVER_ASKED_AGAIN_MS + 100));
  };
  await unbanned();
  // Who writes there then hears its answer of now, not the one of before.
  const [back] = (await bob.user.ok<{ id: string }>('send', '#both', 'back')).items;
  expect(back).toMatchObject({ state: 'queued' });
  await alice.reads('#both@home', 'back');
  await house.server.admin('ban', 'bob');
  await bob.sees('the ban', async () => (await bob.call('server.list', {}))[0]?.state === 'banned');
  await unbanned();
  await bob.user.ok('edit', back?.id ?? '', 'back for good');
  await alice.reads('#both@home', 'back for good');
});

test('a server that was left keeps its history, also when it does not answer who comes again', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  await alice.call('channel.create', { name: '#kept', encryption: 'open' });
  await bob.call('channel.join', { channel: '#kept' });
  for (const name of ['#kept', 'alice@home']) await bob.say(name, 'before');
  await bob.call('server.leave', { server: 'home' });
  for (const name of ['#kept', '#kept@left', 'alice@left']) expect(await bob.bodies(name)).toEqual(['before']);
  expect((await bob.user.run('read', '#kept@left', '--at', 'now', { json: false })).out).toContain('before');
  expect(await bob.refused('message.send', { conversation: '#kept', text: 'x' })).toBe('server.unknown');
  expect(await bob.refused('channel.kick', { channel: '#kept', member: 'alice' })).toBe('channel.unknown');
  const link = await alice.invite();
  await house.server.stop();
  expect(await bob.refused('server.join', { link, name: 'bob', label: 'home' })).not.toBe('nothing was refused');
  expect(await bob.call('server.list', {})).toEqual([]);
  await house.server.start();
  await bob.call('server.join', { link, name: 'bob', label: 'home' });
  expect(await bob.bodies('#kept')).toEqual(['before']);
});

test('what was put on a message that was taken back is said again with it', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  await alice.call('channel.create', { name: '#put', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#put', member: 'bob' });
  await bob.call('channel.join', { channel: '#put' });
  await bob.say('alice@home', 'hello');
  await alice.reads('bob@home', 'hello');
  await house.server.stop();
  await alice.sees('that it is away', async () => (await alice.call('server.list', {}))[0]?.state !== 'online');
  const ids: string[] = [];
  for (const conversation of ['#put', 'bob@home']) {
    const { id } = (await alice.call('message.send', { conversation, text: 'taken back' })).message;
    ids.push(id);
    for (const emoji of ['👍', '🎉']) await alice.call('message.react', { id, emoji });
    await alice.call('message.unreact', { id, emoji: '🎉' });
    await alice.call('message.pin', { id });
    await alice.call('message.cancel', { id });
    await alice.call('message.resend', { id });
  }
  await house.server.start();
  for (const id of ids)
    await bob.sees('what was put on it', async () => {
      const seen = await bob.call('message.show', { id }).catch(() => undefined);
      return seen?.reactions.length === 1 && seen.reactions[0]?.emoji === '👍' && seen.pinnedAt !== undefined;
    });
});

test('what was taken back and is sent again is what it was, under an id that the server takes', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  await alice.call('channel.create', { name: '#again', encryption: 'open' });
  await bob.call('channel.join', { channel: '#again' });
  const root = await bob.say('#again', 'root');
  await alice.reads('#again', 'root');
  await house.server.stop();
  await alice.sees('that it is away', async () => (await alice.call('server.list', {}))[0]?.state !== 'online');
  const send = async (text: string, more = {}) =>
    (await alice.call('message.send', { conversation: '#again', text, ...more })).message.id;
  const whole = { replyTo: root.id, thread: root.id, expiresMs: 3_600_000 };
  const [id, old] = [await send('look @bob', whole), await send('an old one')];
  const ended = await alice.user.run('send', '#again', 'ended by then', '--expires', '1s', '--wait', 'sent');
  expect([ended.code, ended.error?.code]).toEqual([7, 'message.failed']);
  for (const one of [id, old]) await alice.call('message.cancel', { id: one });
  const waits = alice.user.run('send', '#again', 'never sent', '--wait', 'sent');
  await alice.call('message.delete', { id: (await alice.reads('#again', 'never sent')).id });
  expect(await waits).toMatchObject({ code: 7, error: { code: 'message.failed', retry: 'after-change' } });

  const path = join(house.stage.dir, '..', 'notes.txt');
  writeFileSync(path, 'some notes');
  const sends = alice.user.run('file', 'send', '#again', path, '--wait', 'done');
  const file = await alice.reads('#again', 'notes.txt');
  await alice.call('message.cancel', { id: file.id });
  expect(await sends).toMatchObject({ code: 7, error: { code: 'file.stopped' }, items: [{ state: 'cancelled' }] });
  expect(await alice.refused('message.resend', { id: file.id })).toBe('message.notEditable');

  expect(await alice.bodies('#again')).not.toContain('ended by then');
  await alice.user.ok('daemon', 'stop');
  const aged = idBytes(timedId(Date.now() - 40 * 86_400_000, new Uint8Array(10)));
  await alice.look((db) => db.run('UPDATE messages SET message_id = ? WHERE message_id = ?', aged, idBytes(old)));
  await alice.back();
  for (const one of await alice.messages('#again'))
    if (one.state === 'failed' && one.file === undefined && one.deletedAt === undefined)
      await alice.call('message.resend', { id: one.id });
  await house.server.start();
  await alice.call('server.devices', {});
  expect(await bob.reads('#again', 'look @bob')).toMatchObject({
    id,
    replyTo: root.id,
    thread: root.id,
    mention: true,
    expiresMs: 3_600_000,
  });
  await bob.reads('#again', 'an old one');
  expect(await bob.bodies('#again')).not.toContain('ended by then');
});

// With several servers a bare name is looked for on all of them, and asked about with its servers where more than one has it.
const findsByBareName = async (house: House, alice: Guest): Promise<void> => {
  const { user } = alice;
  const [bert, berta] = [await house.guest('bert'), await house.guest('berta')];
  const { link: forBert = '' } = await alice.call('server.invite', { server: 'work', uses: 1 });
  await bert.call('server.join', { link: forBert, name: 'bert', label: 'work' });
  expect(await user.one('member', 'show', 'bert')).toMatchObject({ name: 'bert', server: 'work' });
  expect(await user.one('member', 'show', 'bob')).toMatchObject({ name: 'bob', server: 'home' });
  for (const label of ['home', 'work']) {
    const { link = '' } = await alice.call('server.invite', { server: label, uses: 1 });
    await berta.call('server.join', { link, name: 'berta', label });
  }
  for (const [words, candidates] of [
    [
      ['member', 'show', 'berta'],
      ['berta@home', 'berta@work'],
    ],
    [
      ['search', 'x', '--from', 'berta'],
      ['berta@home', 'berta@work'],
    ],
    [
      ['channel', 'join', '#both'],
      ['#both@home', '#both@work'],
    ],
  ] as const) {
    const { code, error } = await user.run(...words);
    expect([code, error?.code, error?.details?.candidates]).toEqual([3, 'name.ambiguous', candidates]);
  }
  await alice.call('channel.create', { name: '#alone@work', encryption: 'open' });
  await berta.user.ok('channel', 'join', '#alone');
  await bert.call('channel.join', { channel: '#alone' });
  await bert.say('#alone', 'found me');
  await alice.reads('#alone', 'found me');
  expect(await user.items('search', 'found', '--from', 'bert')).toHaveLength(1);
  // What only looks like it is another name, on one server and on several.
  for (const guest of [bert, berta])
    expect(await guest.refused('channel.join', { channel: '#al0ne' })).toBe('channel.unknown');
  await alice.call('channel.create', { name: '#al0ne@home', encryption: 'open' });
  expect(await berta.call('channel.join', { channel: '#AL0NE' })).toMatchObject({ name: '#al0ne', server: 'home' });
  for (const words of [
    ['member', 'show', 'nobody'],
    ['channel', 'join', '#nothing'],
    ['search', 'x', '--in', 'nobody@home'],
    ['search', 'x', '--from', 'nobody@home'],
    ['search', 'x', '--from', 'nobody'],
  ])
    expect((await user.run(...words)).code, words.join(' ')).toBe(3);
};
