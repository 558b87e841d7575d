// The inboxes of members: what they take and from whom, how long they keep it, and the files in them.
import { expect, test } from 'vitest';
import type { SottoError } from '../../src/protocol/errors.ts';
import { type ChannelId, type EventId, idBytes, type MemberId } from '../../src/protocol/ids.ts';
import { INBOX_EVENTS_MAX, INBOX_KEPT_MS } from '../../src/protocol/limits.ts';
import { EVENT } from '../../src/protocol/server-frames.ts';
import { linkOf } from '../../src/server/admin.ts';
import { makeInvite } from '../../src/server/invites.ts';
import { openDatabase } from '../../src/sqlite/open.ts';
import { codeOf } from '../../src/testing/code.ts';
import { House } from './house.ts';
import { Hosted, type Member } from './scene.ts';
import { fetched, filesOf, upload } from './uploads.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const often = { burst: 1e6, perSecond: 1e6 };

/** Copies the first event of an inbox, as if `member` had written it, until the last one is that of `seq`. */
const fill = (path: string, inbox: ChannelId, seq: number, member: MemberId): void => {
  using db = openDatabase(path);
  const [key, by] = [idBytes(inbox), idBytes(member)];
  db.run(
    `WITH RECURSIVE n(seq) AS (SELECT seq + 1 FROM channel_head WHERE channel = ?
        UNION ALL SELECT seq + 1 FROM n WHERE seq < CAST(? AS INTEGER))
      INSERT INTO event (channel, seq, id, member, kind, at, hash, body)
      SELECT e.channel, n.seq, randomblob(16), ?, e.kind, h.at, e.hash, e.body FROM n, event e
        JOIN channel_head h ON h.channel = e.channel WHERE e.channel = ? AND e.seq = 1`,
    key,
    seq,
    by,
    key,
  );
  db.run(
    'UPDATE channel_head SET seq = ?, last_id = (SELECT id FROM event WHERE channel = ? AND seq = ?) WHERE channel = ?',
    seq,
    key,
    seq,
    key,
  );
  if ((inbox as string) !== member)
    db.run(
      `INSERT INTO inbox_share SELECT channel, member, count(*) FROM event WHERE channel = ? AND member = ? GROUP BY 1, 2
        ON CONFLICT (inbox, member) DO UPDATE SET events = excluded.events`,
      key,
      by,
    );
};

/** Writes into an inbox; gives the seq, or the code of what was refused. */
const direct = (who: Member, inbox: ChannelId, id: EventId): Promise<number | string> => {
  const body = new Uint8Array(Buffer.from('sealed'));
  const event = { channel: inbox, id, kind: EVENT.direct, checkedAt: 0, ttlSeconds: 0, sealed: 0, body };
  return who.client.publish(event).then(
    ({ seq }) => seq,
    (error: SottoError) => error.code,
  );
};

test('an inbox takes what it has room for, and forgets what came long ago; one member alone leaves room for others', async () => {
  await using own = await Hosted.start({ rates: { direct: often, request: often } });
  const [carol, dave, eve] = [own.member('carol'), own.member('dave'), own.member('eve')];
  const all = [carol, dave, eve];
  for (const member of all) await member.join();
  const inbox = dave.id as string as ChannelId;
  const write = (who: Member, id = own.server.context.eventId()) => direct(who, inbox, id);
  const filled = async (seq: number, by: Member) => {
    await own.close();
    fill(own.paths.database, inbox, seq, by.id);
    await own.open();
    for (const member of all) await member.join();
    await expect(own.store.check({ deep: false })).resolves.toMatchObject({ wrong: [] });
  };
  const first = own.server.context.eventId();
  expect(await write(carol, first)).toBe(1);
  const half = INBOX_EVENTS_MAX / 2;
  await filled(half - 1, carol);
  const bytes = new Uint8Array(10);
  expect([await write(carol), await write(carol)]).toEqual([half, 'inbox.full']);
  expect(await codeOf(upload(carol, { channel: inbox }, bytes))).toBe('inbox.full');
  expect([await write(eve), await write(dave), await write(carol)]).toEqual([half + 1, half + 2, 'inbox.full']);
  expect(await codeOf(upload(eve, { channel: inbox }, bytes))).toBe('done');
  // What is there is answered as it was.
  expect(await write(carol, first)).toBe(1);

  await filled(INBOX_EVENTS_MAX - 2, dave);
  expect([await write(eve), await write(carol)]).toEqual(['inbox.full', 'inbox.full']);
  expect([await write(dave), await write(dave)]).toEqual([INBOX_EVENTS_MAX - 1, INBOX_EVENTS_MAX]);
  expect([await write(dave), await codeOf(upload(eve, { channel: inbox }, new Uint8Array(9)))]).toEqual(
    Array(2).fill('inbox.full'),
  );
  await own.server.jobs.run('inboxes');
  expect(await write(eve)).toBe('inbox.full');
  own.shift(INBOX_KEPT_MS + HOUR);
  for (let again = 0; again < 2; again++) await own.server.jobs.run('inboxes');
  expect(await write(carol)).toBe(INBOX_EVENTS_MAX + 1);
  const { events, answer } = await dave.client.events('log.page', { channel: dave.id, after: 0 });
  expect([events.length, answer.head.prunedTo]).toEqual([1, INBOX_EVENTS_MAX]);
  await expect(own.store.check({ deep: false })).resolves.toMatchObject({ wrong: [] });
  await dave.client.request('member.erase', { confirm: dave.name });
  await expect(own.store.check({ deep: false })).resolves.toMatchObject({ wrong: [] });
  expect(await own.server.context.store.countInboxEvents(inbox, carol.id)).toBe(0);
});

test('MEMBER-8: a file in an inbox is for its owner and for who brought it; it goes with its time, the inbox and its owner', async () => {
  await using own = await Hosted.start();
  const [carol, dave, eve] = [own.member('carol'), own.member('dave'), own.member('eve')];
  for (const member of [carol, dave, eve]) await member.join();
  const { channel: room } = await eve.create('eves');
  const inbox = { channel: dave.id };
  const bytes = new Uint8Array(20_000).fill(3);
  const lasting = await upload(carol, inbox, bytes);
  const short = await upload(carol, inbox, bytes.subarray(1), 60);
  for (const who of [dave, carol]) expect(await fetched(who, dave.id, lasting)).toBe('done');
  for (const channel of [dave.id, eve.id, carol.id, room])
    expect(await fetched(eve, channel, lasting)).toBe('file.unknown');
  expect(await fetched(carol, carol.id, lasting)).toBe('file.unknown');
  expect(await fetched(dave, dave.id, short)).toBe('done');
  own.shift(2 * 60_000);
  await own.server.jobs.run('collect');
  expect([await fetched(dave, dave.id, short), await fetched(dave, dave.id, lasting)]).toEqual([
    'file.unknown',
    'done',
  ]);
  own.shift(INBOX_KEPT_MS);
  await own.server.jobs.run('inboxes');
  expect(await fetched(dave, dave.id, lasting)).toBe('file.unknown');
  const last = await upload(carol, inbox, bytes.subarray(2));
  const before = own.server.context.store.countFileBytes(carol.id);
  await dave.client.request('member.erase', { confirm: dave.name });
  expect([await before, await own.server.context.store.countFileBytes(carol.id)]).toEqual([19_998, 0]);
  expect(await fetched(carol, dave.id, last)).toBe('channel.unknown');
  expect(await codeOf(upload(carol, inbox, bytes.subarray(3)))).toBe('channel.unknown');
  own.shift(DAY + HOUR);
  await own.server.jobs.run('collect');
  expect(filesOf(own).filter((name) => [lasting, short, last].some((hash) => name.endsWith(hash)))).toEqual([]);
  await expect(own.store.check({ deep: false })).resolves.toMatchObject({ wrong: [] });
});

test('where the clock was ahead for a while invites work, and what is new ends in its time', async () => {
  await using own = await Hosted.start({ rates: { direct: often, request: often } });
  const [early, carol, dave] = [own.member('early'), own.member('carol'), own.member('dave')];
  await carol.join();
  const { context, jobs } = own.server;
  own.shift(300 * DAY);
  await early.join();
  await early.client.request('blob.begin', { channel: early.id, hash: 'ab'.repeat(32), sizeBytes: 10 });
  own.shift(-300 * DAY);
  const { token } = await makeInvite(context, { madeBy: null, role: 'member', uses: 1, expiresAt: undefined });
  await dave.join(token);
  expect(await direct(carol, dave.id as string as ChannelId, context.eventId())).toBe(1);
  const hash = await upload(carol, { channel: dave.id }, new Uint8Array(10));
  own.shift(INBOX_KEPT_MS + HOUR);
  for (const job of ['inboxes', 'collect']) await jobs.run(job);
  expect((await dave.client.events('log.page', { channel: dave.id, after: 0 })).events).toEqual([]);
  expect([await fetched(dave, dave.id, hash), await context.store.countUploads(early.id)]).toEqual(['file.unknown', 0]);
});

test('a file counts as a direct message in an inbox, and as a publish in a channel', async () => {
  const once = { burst: 2, perSecond: 1e-6 };
  await using own = await Hosted.start({ rates: { direct: once, publish: once } });
  const [carol, dave] = [own.member('carol'), own.member('dave')];
  await carol.join();
  await dave.join();
  const put = (channel: string, n: number) => codeOf(upload(carol, { channel }, new Uint8Array(10).fill(n)));
  const all = async (...channels: string[]) => {
    const codes: unknown[] = [];
    for (const channel of channels) codes.push(await put(channel, codes.length));
    return codes;
  };
  expect(await all(dave.id, carol.id, dave.id, carol.id)).toEqual(['done', 'done', 'rate.limited', 'rate.limited']);
  // What makes the channel has counted.
  const { channel } = await carol.create('carols');
  expect(await all(channel, channel)).toEqual(['done', 'rate.limited']);
});

test('what a server kept no longer for who was away is missing in words, for as long as they are there', async () => {
  await using own = await Hosted.start({ registration: 'invite' });
  const invite = linkOf(own.server, (await own.server.makeOwnerInvite())?.token ?? '');
  const { house, alice, bob } = await House.around({ invite, stop: () => own.close() }, 'alice', 'bob');
  await using _ = house;
  await alice.say('bob@home', 'before');
  await bob.reads('alice@home', 'before');
  expect(await bob.call('message.list', { conversation: 'alice@home' })).not.toHaveProperty('missing');
  bob.disconnect();
  await bob.user.ok('daemon', 'stop');
  for (const text of ['one', 'two']) await alice.say('bob@home', text);
  own.shift(INBOX_KEPT_MS + DAY);
  await own.server.jobs.run('inboxes');
  own.shift(-INBOX_KEPT_MS - DAY);
  const missing = expect.stringMatching(/^Some of what was said to you on home before 20.*Z may be missing: home /);
  for (let again = 0; again < 2; again++) {
    await bob.back();
    await bob.online();
    await alice.say('bob@home', `after ${again}`);
    await bob.reads('alice@home', `after ${again}`);
    const conversation = 'alice@home';
    expect((await bob.call('message.list', { conversation })).missing).toEqual([missing]);
    expect((await bob.call('message.search', { query: 'one', conversation })).missing).toEqual([missing]);
    expect((await bob.call('message.search', { query: 'one' })).missing).toEqual([missing]);
    expect((await bob.call('message.unread', { conversation })).missing).toEqual([missing]);
    expect((await bob.call('message.unread', {})).missing).toEqual([missing]);
    for (const about of ['home', 'alice@home'])
      expect(await bob.user.one('why', about)).toMatchObject({ reasons: [missing] });
    const { out, err } = await bob.user.run('why', 'home', { json: false });
    expect(`${out}${err}`).toContain('\nSome of what was said to you on home before');
    expect((await bob.user.run('unread')).err).toMatch(/^Missing: Some of what was said/);
  }
  expect(await alice.call('message.unread', {})).not.toHaveProperty('missing');
});
