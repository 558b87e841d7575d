// What goes on by itself: bodies end, channels forget, files go, and open channels can be searched. Each may run again.
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { systemRandom } from '../../src/machine.ts';
import { SottoError } from '../../src/protocol/errors.ts';
import { type BlobHash, type RowId, rowIds, timeOfId } from '../../src/protocol/ids.ts';
import {
  ALERT_WINDOW_MS,
  ALERTS,
  CHANNELS_MADE_MAX,
  MEMBER_FILES_BYTES_MAX,
  UPLOADS_MAX,
} from '../../src/protocol/limits.ts';
import { termsOf } from '../../src/protocol/search-words.ts';
import { EVENT } from '../../src/protocol/server-frames.ts';
import { Alerts } from '../../src/server/audit.ts';
import { banMember } from '../../src/server/rights.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { codeOf } from '../../src/testing/code.ts';
import { TestLog } from '../../src/testing/log.ts';
import { draft, newChannel, turn } from '../server/server.ts';
import { Hosted, type Member, type Room, Speaker } from './scene.ts';
import { fetched, filesOf, upload } from './uploads.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const often = { burst: 1e6, perSecond: 1e6 };

let hosted: Hosted;
let alice: Member;
let bob: Member;
let made = 0;

beforeAll(async () => {
  hosted = await Hosted.start({ rates: { publish: often, burst: often, request: often, search: often } });
  [alice, bob] = [hosted.member('alice'), hosted.member('bob')];
  await alice.join();
  await bob.join();
});

afterAll(() => hosted[Symbol.asyncDispose]());

const withBob = async (more: Parameters<Member['create']>[1] = {}): Promise<Room> => {
  const room = await alice.create(`room${++made}`, more);
  await alice.control(room, { op: 'add', member: bob.id });
  return room;
};

const text = (words: string) => ({ kind: 'text', text: words }) as const;
const run = (name: string) => hosted.server.jobs.run(name);
const wordsOf = (events: readonly { readonly body: Uint8Array }[]) =>
  events.map(({ body }) => /"text":"([^"]*)"/.exec(Buffer.from(body).toString())?.[1]);

const find = async (who: Member, room: Room, query: string, more: { before?: number; limit?: number } = {}) => {
  const { events, answer } = await who.client.events('log.search', { channel: room.channel, query, ...more });
  return { words: wordsOf(events), seqs: events.map(({ seq }) => seq), more: answer.more };
};

const files = (): string[] => filesOf(hosted);

test('a body with a time of its own is gone after it: from the log, from memory and from the search', async () => {
  const room = await withBob();
  await bob.hear(room.channel);
  const before = hosted.server.context.eventId();
  const first = await alice.write(room, text('first'), { id: before });
  const { seq, epoch } = await alice.write(room, text('ephemeral words'), { ttlSeconds: 60 });
  await alice.write(room, text('lasting words'));
  expect((await find(bob, room, 'words')).words).toEqual(['lasting words', 'ephemeral words']);
  await run('erase');
  expect((await find(bob, room, 'ephemeral')).seqs).toEqual([seq]);
  hosted.shift(2 * 60_000);
  for (let again = 0; again < 2; again++) await run('erase');
  const { events } = await bob.client.events('log.page', { channel: room.channel, after: seq - 1 });
  expect(events.map(({ erased, body }) => [erased, body.length === 32])).toEqual([
    [true, true],
    [false, false],
  ]);
  bob.events.length = 0;
  // From here on the frames were in memory.
  await bob.client.request('resume', { cursors: { [room.channel]: [epoch, first.seq, before] } });
  expect(bob.events.find((event) => event.seq === seq)).toMatchObject({ erased: true });
  expect((await find(bob, room, 'words')).words).toEqual(['lasting words']);
  // Not a word of it is in the index.
  const all = { from: 0, before: 1e6, limit: 9 };
  expect(hosted.store.search.find(room.channel, termsOf('ephemeral'), all).seqs).toEqual([]);
});

test('a channel forgets what is older than it keeps, but not who may do what', async () => {
  const room = await withBob();
  await alice.control(room, { op: 'mode', retentionMs: HOUR });
  const old = await alice.write(room, text('old words'));
  const hash = await upload(alice, room, new Uint8Array(100).fill(made));
  const kept = await withBob();
  await alice.write(kept, text('kept words'));
  hosted.shift(2 * HOUR);
  await alice.write(room, text('new words'));
  for (let again = 0; again < 2; again++) await run('retain');
  const { events, answer } = await bob.client.events('log.page', { channel: room.channel, after: 0 });
  expect(wordsOf(events)).toEqual(['new words']);
  expect(answer.head.prunedTo).toBe(events[0] === undefined ? 0 : events[0].seq - 1);
  const controls = await bob.client.events('log.control', { channel: room.channel });
  expect(controls.events).toHaveLength(3);
  const resumed = await bob.client.request('resume', { cursors: { [room.channel]: [old.epoch, 1, null] } });
  expect(resumed.channels[room.channel]).toMatchObject({ recovered: false });
  expect((await find(bob, room, 'words')).words).toEqual(['new words']);
  expect((await find(bob, kept, 'words')).words).toEqual(['kept words']);
  const fetched = bob.client.fetch({ channel: room.channel, hash, limit: 100 }, () => {});
  await expect(fetched).rejects.toMatchObject({ code: 'file.unknown' });
  // A rule that was made before still holds.
  await alice.control(room, { op: 'remove', member: bob.id });
  await expect(bob.say(room.channel, 'no more')).rejects.toMatchObject({ code: 'channel.notMember' });
});

test('what nobody refers to or goes on with is collected', async () => {
  const room = await withBob();
  const bytes = new Uint8Array(1000).fill(77);
  const hash = await upload(alice, room, bytes);
  const half = await alice.client.request('blob.begin', {
    channel: room.channel,
    hash: 'ef'.repeat(32),
    sizeBytes: 10,
  });
  await alice.client.upload({ upload: half.upload, offset: 0, body: new Uint8Array(5) });
  expect(files().filter((name) => name.endsWith(hash) || name.endsWith(half.upload))).toHaveLength(2);
  hosted.shift(DAY + HOUR);
  for (let again = 0; again < 2; again++) await run('collect');
  expect(files().filter((name) => name.endsWith(half.upload))).toEqual([]);
  const got: number[] = [];
  await bob.client.fetch({ channel: room.channel, hash, limit: 2000 }, ({ body }) => got.push(body.length));
  expect(got).toEqual([1000]);
  const begun = await alice.client.request('blob.begin', {
    channel: room.channel,
    hash: 'ef'.repeat(32),
    sizeBytes: 10,
  });
  expect(begun.receivedBytes).toBe(0);
  await expect(hosted.store.check({ deep: true })).resolves.toMatchObject({ wrong: [] });
});

test('what is taken back is gone at once, but not where somebody else may fetch it, nor by who did not bring it', async () => {
  const [room, other] = [await withBob(), await withBob()];
  const bytes = new Uint8Array(500).fill(79);
  const hash = await upload(alice, room, bytes);
  await upload(alice, other, bytes);
  const remove = (who: Member, channel: string) => codeOf(who.client.request('blob.remove', { channel, hash }));
  expect(await remove(bob, room.channel)).toBe('file.unknown');
  expect([await remove(alice, room.channel), await remove(alice, room.channel)]).toEqual(['done', 'file.unknown']);
  expect([await fetched(bob, room.channel, hash), await fetched(bob, other.channel, hash)]).toEqual([
    'file.unknown',
    'done',
  ]);
  await upload(bob, room, bytes);
  const { upload: half } = await alice.client.request('blob.begin', { channel: room.channel, hash, sizeBytes: 500 });
  await alice.client.upload({ upload: half, offset: 0, body: bytes.subarray(0, 9) });
  // The moderator takes back what bob brought, and what is on its way; the author what is elsewhere.
  expect([await remove(alice, room.channel), await fetched(bob, room.channel, hash)]).toEqual(['done', 'file.unknown']);
  expect(files().filter((name) => name.endsWith(hash) || name.endsWith(half))).toHaveLength(1);
  expect([await remove(alice, other.channel), await fetched(alice, other.channel, hash)]).toEqual([
    'done',
    'file.unknown',
  ]);
  expect(files().filter((name) => name.endsWith(hash))).toEqual([]);
  await expect(hosted.store.check({ deep: true })).resolves.toMatchObject({ wrong: [] });
});

test('a file counts as many bytes as it has, whatever was said of it before', async () => {
  const gina = hosted.member('gina');
  await gina.join();
  const channel = gina.id as string;
  const { client } = gina;
  const bytes = systemRandom.bytes(5000);
  const hash = createHash('sha256').update(bytes).digest('hex');
  const begun = await client.request('blob.begin', { channel, hash, sizeBytes: 1 });
  await client.upload({ upload: begun.upload, offset: 0, body: bytes.slice(0, 1) });
  const wrong = client.request('blob.complete', { channel, upload: begun.upload, ttlSeconds: 0 });
  expect(await codeOf(wrong)).toBe('file.damaged');
  await client.request('blob.remove', { channel, hash });
  await upload(gina, { channel }, bytes);
  expect(await hosted.store.state.countFileBytes(gina.id)).toBe(bytes.length);
  expect((await hosted.store.check({ deep: false })).wrong).toEqual([]);
});

test('a file of who was banned while it was completed is in no channel', async () => {
  const room = await withBob();
  const bytes = new Uint8Array(700).fill(81);
  const hash = createHash('sha256').update(bytes).digest('hex');
  const begun = await bob.client.request('blob.begin', { channel: room.channel, hash, sizeBytes: bytes.length });
  await bob.client.upload({ upload: begun.upload, offset: 0, body: bytes });
  const { context } = hosted.server;
  const { promise, resolve } = Promise.withResolvers<void>();
  const held = context.uploading.run(hash as BlobHash, () => promise);
  const completing = codeOf(
    bob.client.request('blob.complete', { channel: room.channel, upload: begun.upload, ttlSeconds: 0 }),
  );
  await codeOf(bob.client.request('member.list', {}));
  const target = await context.store.getMember(bob.id);
  if (target === undefined) throw new Error('bob is there');
  await banMember(context, { by: null, target, banned: true });
  resolve();
  await Promise.all([held, completing]);
  await expect.poll(() => context.uploading.has(begun.upload as RowId)).toBe(false);
  expect(await fetched(alice, room.channel, hash)).toBe('file.unknown');
  await banMember(context, { by: null, target: { ...target, banned: true }, banned: false });
  await bob.join();
});

test('who has brought a file, and did not hear so, need not bring it again', async () => {
  const { channel } = await withBob();
  const bytes = new Uint8Array(700).fill(80);
  const hash = await upload(alice, { channel }, bytes);
  const begin = (who: Member) => who.client.request('blob.begin', { channel, hash, sizeBytes: bytes.length });
  const begun = await begin(alice);
  expect(begun.receivedBytes).toBe(700);
  for (const ends of ['done', 'file.unknown'])
    expect(await codeOf(alice.client.request('blob.complete', { channel, upload: begun.upload }))).toBe(ends);
  expect(await fetched(bob, channel, hash)).toBe('done');
  // Who knows the name of it only has brought nothing, there or elsewhere.
  for (const place of [channel, bob.id]) {
    const { upload: named, receivedBytes } = await bob.client.request('blob.begin', {
      channel: place,
      hash,
      sizeBytes: bytes.length,
    });
    expect(receivedBytes).toBe(0);
    expect(await codeOf(bob.client.request('blob.complete', { channel: place, upload: named }))).toBe('file.unknown');
  }
  expect(await fetched(bob, bob.id, hash)).toBe('file.unknown');
  // Who brings the same bytes does not say how long they stay for others.
  await upload(bob, { channel }, bytes, 1);
  hosted.shift(5_000);
  await run('collect');
  expect(await fetched(alice, channel, hash)).toBe('done');
});

test('an upload is kept as long as somebody goes on with it', async () => {
  const { channel } = await withBob();
  const bytes = new Uint8Array(6).fill(78);
  const hash = createHash('sha256').update(bytes).digest('hex');
  const { upload } = await alice.client.request('blob.begin', { channel, hash, sizeBytes: bytes.length });
  for (let offset = 0; offset < 4; offset += 2) {
    await alice.client.upload({ upload, offset, body: bytes.subarray(0, 2) });
    hosted.shift(0.9 * DAY);
    await run('collect');
  }
  await alice.client.upload({ upload, offset: 4, body: bytes.subarray(0, 2) });
  await alice.client.request('blob.complete', { channel, upload });
  await bob.client.fetch({ channel, hash, limit: 10 }, ({ body }) => expect(body).toHaveLength(6));
});

test('a member makes so many channels; what is archived counts no more', async () => {
  const carol = hosted.member('carola');
  await carol.join();
  const rows = Array.from({ length: CHANNELS_MADE_MAX - 1 }, (_, n) => newChannel(n, { createdBy: carol.id }));
  const makes = rows.map((row) =>
    draft({
      channel: row.id,
      member: carol.id,
      id: hosted.server.context.eventId(),
      changes: [{ kind: 'channel', row }],
    }),
  );
  await hosted.server.context.log.append(makes);
  const last = await carol.create('carola-last');
  await expect(carol.create('carola-more')).rejects.toMatchObject({ code: 'channel.tooMany' });
  await expect(alice.create(`room${++made}`)).resolves.toBeDefined();
  await carol.control(last, { op: 'archive' });
  await expect(carol.create('carola-more')).resolves.toBeDefined();
});

test('uploads that are begun at once are as many as those one after another, and one for the same bytes', async () => {
  const carol = hosted.member('carol');
  await carol.join();
  const { channel } = await carol.create(`room${++made}`);
  const begin = (n: number) =>
    carol.client.request('blob.begin', { channel, hash: n.toString(16).padStart(64, 'c'), sizeBytes: 10 }).then(
      ({ upload }) => upload,
      (error: SottoError) => error.code,
    );
  const [first, same] = await Promise.all([begin(0), begin(0)]);
  expect(same).toBe(first);
  const answers = await Promise.all(Array.from({ length: UPLOADS_MAX + 5 }, (_, n) => begin(n)));
  expect(answers.filter((answer) => answer === 'quota.exceeded')).toHaveLength(5);
  // Nor may anybody bring more bytes in all, from the moment at which they say how many.
  const dora = hosted.member('dora');
  await dora.join();
  const room = await dora.create(`room${++made}`);
  const of = (hash: string, sizeBytes: number) =>
    dora.client.request('blob.begin', { channel: room.channel, hash, sizeBytes });
  const [rest, most] = ['d'.repeat(64), MEMBER_FILES_BYTES_MAX - 10];
  await of('e'.repeat(64), most);
  await expect(of(rest, 11)).rejects.toMatchObject({ code: 'quota.exceeded' });
  await of(rest, 10);
});

test('rows made in one millisecond stand as they were made', () => {
  const next = rowIds({ now: () => 1_800_000_000_000 }, systemRandom);
  const ids = Array.from({ length: 300 }, next);
  expect(ids).toEqual([...ids].sort());
  expect(ids.map(timeOfId)).toEqual(ids.map(() => 1_800_000_000_000));
});

test('what comes too often is a line for each window, with a number', async () => {
  await using strict = await Hosted.start();
  const carol = strict.member('carol');
  await carol.join();
  const { channel } = await carol.create('ops');
  const said = Array.from({ length: 240 }, (_, i) => carol.say(channel, `${i}`).catch(() => {}));
  await Promise.all(said);
  const { context } = strict.server;
  const { store, counts } = context;
  // One less than too often has happened of each; the rest comes as it does.
  const clock = new ManualClock();
  using _alerts = new Alerts({ ...context, clock });
  for (let n = counts.of('joins'); n < ALERTS.joins; n++) counts.add('joins');
  for (let n = 0; n < ALERTS.loginFailures; n++) counts.add('loginFailures');
  const details = async () =>
    (await store.listAudit({ kind: 'server.alert', limit: 10 })).map(({ detail }) => JSON.parse(detail)).reverse();
  await strict.member('dora').join();
  const stranger = await Speaker.to(strict);
  const greeting = await stranger.greet(strict);
  const { seed } = carol.keys();
  await stranger.login(greeting, { seed, certificate: strict.member('eve').keys().certificate });
  for (let window = 0; window < 2; window++) {
    clock.step(clock.monotonic() + ALERT_WINDOW_MS);
    await expect.poll(async () => (await details()).length).toBe(3);
  }
  expect(await details()).toMatchObject([
    { what: 'joins', count: ALERTS.joins + 1 },
    { what: 'loginFailures', count: ALERTS.loginFailures + 1 },
    { what: 'rateLimited', count: expect.any(Number) },
  ]);
});

test('an alert that the disk does not take is told in the log, and a fault of ours as one', async () => {
  const { context } = hosted.server;
  const [clock, journal, bug] = [new ManualClock(), new TestLog(), vi.fn()];
  const putAudit = vi.fn<typeof context.store.putAudit>();
  using _alerts = new Alerts({ ...context, clock, journal, bug, store: { ...context.store, putAudit } });
  const fault = new TypeError('ours');
  for (const error of [new SottoError('disk.full'), fault]) {
    putAudit.mockRejectedValueOnce(error);
    for (let n = 0; n <= ALERTS.joins; n++) context.counts.add('joins');
    clock.step(clock.monotonic() + ALERT_WINDOW_MS);
    for (let i = 0; i < 10; i++) await turn();
  }
  expect([journal.claim('server.alert'), journal.claim('alerts.notKept'), bug.mock.calls]).toEqual([2, 1, [[fault]]]);
});

describe('the search of an open channel', () => {
  test('is filled batch by batch, and others have their turn between', async () => {
    const { channel } = await alice.create(`room${++made}`);
    const { eventId, log } = hosted.server.context;
    await log.append(Array.from({ length: 1000 }, () => draft({ channel, member: alice.id, id: eventId() })));
    let [turns, batches, isOver] = [0, 0, false];
    const count = (): void => {
      turns++;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    while (await hosted.store.search.fill(channel)) batches++;
    isOver = true;
    expect(batches).toBeGreaterThan(3);
    expect(turns).toBeGreaterThanOrEqual(batches);
  });

  test('gives the newest first, page by page, of what its reader may see', async () => {
    const room = await alice.create(`room${++made}`, { history: 'joined' });
    for (let i = 0; i < 25; i++) await alice.write(room, text(`needle ${i} Grün`));
    await alice.control(room, { op: 'add', member: bob.id });
    for (let i = 25; i < 30; i++) await alice.write(room, text(`needle ${i} hay`));
    const pages: number[] = [];
    let before: number | undefined;
    for (let more = true; more; ) {
      const page = await find(alice, room, 'needle', { limit: 12, ...(before === undefined ? {} : { before }) });
      pages.push(...page.seqs);
      before = page.seqs.at(-1);
      more = page.more;
    }
    expect(pages).toEqual([...new Set(pages)].sort((a, b) => b - a));
    expect(pages).toHaveLength(30);
    expect((await find(bob, room, 'needle')).seqs).toHaveLength(5);
    expect((await find(alice, room, '"needle 7"')).words).toEqual(['needle 7 Grün']);
    expect((await find(alice, room, 'GRUN 7')).words).toEqual(['needle 7 Grün']);
    expect((await find(alice, room, 'need*', { limit: 500 })).seqs).toHaveLength(30);
    for (const query of ['nowhere', 'channel : c', 'needle NOT hay', `c${room.channel}`])
      expect((await find(alice, room, query)).seqs, query).toEqual([]);
    await expect(find(alice, room, '--')).rejects.toMatchObject({ code: 'request.invalid' });
  });

  test('is for so many words of a member, and for no beginning of one letter', async () => {
    await using strict = await Hosted.start({ rates: { search: { burst: 3, perSecond: 1e-6 } } });
    const carol = strict.member('carol');
    await carol.join();
    const room = await carol.create('room');
    await carol.write(room, text('needle hay'));
    const searched = (query: string) => codeOf(find(carol, room, query));
    for (const wide of ['n*', '"needle" n*', 'nee-n.*']) expect(await searched(wide), wide).toBe('request.invalid');
    expect([await searched('ne*'), await searched('needle hay'), await searched('needle')]).toEqual([
      'done',
      'done',
      'rate.limited',
    ]);
  });

  test('finds no word of another channel, of an erased message, nor anything in a channel it cannot read', async () => {
    const [room, other] = [await withBob(), await withBob()];
    const id = hosted.server.context.eventId();
    await alice.write(room, text('mine alone'));
    expect((await find(alice, room, 'alone')).seqs).toHaveLength(1);
    await alice.write(other, text('theirs alone'));
    expect((await find(alice, other, 'alone')).seqs).toHaveLength(1);
    const { seq } = await alice.write(room, text('mine to erase'), { id });
    expect((await find(bob, room, 'alone')).words).toEqual(['mine alone']);
    expect((await find(bob, room, 'erase')).seqs).toEqual([seq]);
    await expect(bob.control(room, { op: 'erase', target: id })).rejects.toMatchObject({ code: 'event.refused' });
    expect((await find(bob, room, 'erase')).words).toEqual(['mine to erase']);
    await alice.control(room, { op: 'erase', target: id });
    expect((await find(bob, room, 'erase')).seqs).toEqual([]);
    const sealed = await alice.create(`room${++made}`, { encryption: 'members', history: 'joined' });
    await expect(find(alice, sealed, 'word')).rejects.toMatchObject({ code: 'request.refused' });
  });

  test('takes an event once, however many ask at the same time', async () => {
    const room = await withBob();
    for (let i = 0; i < 3; i++) await alice.write(room, text(`parallel ${i}`));
    const { search } = hosted.store;
    expect(await Promise.all([1, 2, 3].map(() => search.fill(room.channel)))).toEqual([true, false, false]);
    expect((await find(bob, room, 'parallel')).seqs).toHaveLength(3);
  });

  test('keeps nothing of an erased message for long, although the disk was full then', async () => {
    const room = await withBob();
    const id = hosted.server.context.eventId();
    const { seq } = await alice.write(room, text('mine to erase'), { id });
    expect((await find(bob, room, 'erase')).seqs).toEqual([seq]);
    const { search } = hosted.store;
    const forget = vi.spyOn(search, 'forget').mockImplementationOnce(() => {
      throw new SottoError('disk.full');
    });
    await alice.control(room, { op: 'erase', target: id });
    expect(forget).toHaveBeenCalledOnce();
    forget.mockRestore();
    expect((await find(bob, room, 'erase')).seqs).toEqual([]);
    const left = () => search.find(room.channel, termsOf('erase'), { from: 0, before: 1e6, limit: 9 }).seqs;
    expect(left()).toEqual([seq]);
    await run('tidy');
    await vi.waitFor(() => expect(left()).toEqual([]), 60_000);
  });

  test('holds no word for long of a body whose erasure a death has cut short', async () => {
    const room = await withBob();
    for (let i = 0; i < 60; i++) await alice.write(room, text(`severed ${i}`));
    const { seq } = await alice.write(room, text('severed last'));
    expect((await find(bob, room, 'severed')).seqs).toHaveLength(61);
    const held = () =>
      hosted.store.search.find(room.channel, termsOf('severed'), { from: 0, before: seq + 1, limit: 100 }).seqs;
    await hosted.store.log.erase(room.channel, [seq]);
    expect(held()).toHaveLength(61);
    await run('tidy');
    await vi.waitFor(() => expect(held()).toHaveLength(60), 60_000);
    expect(held()).not.toContain(seq);
  });

  test('has nothing of what was erased, has ended or is kept no more in its file, nor in the log of that', async () => {
    const room = await withBob();
    const id = hosted.server.context.eventId();
    await alice.write(room, text('xylograph erased'), { id });
    await alice.write(room, text('quagmire ended'), { ttlSeconds: 60 });
    await alice.write(room, text('zeppelin old'));
    expect((await find(bob, room, 'zeppelin')).words).toEqual(['zeppelin old']);
    const held = () =>
      ['xylograph', 'quagmire', 'zeppelin', 'basalt'].filter((word) =>
        ['', '-wal'].some((suffix) => readFileSync(hosted.paths.search + suffix).includes(word)),
      );
    expect(held()).toEqual(['xylograph', 'quagmire', 'zeppelin']);
    await alice.control(room, { op: 'erase', target: id });
    await alice.control(room, { op: 'mode', retentionMs: HOUR });
    hosted.shift(2 * HOUR);
    await run('erase');
    await alice.write(room, text('basalt new'));
    expect((await find(bob, room, 'basalt')).words).toEqual(['basalt new']);
    await run('retain');
    await vi.waitFor(() => expect(held()).toEqual(['basalt']), 60_000);
  });

  test('is made anew from the log when its file is lost', async () => {
    const room = await withBob();
    await alice.write(room, text('durable words'));
    await hosted.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(hosted.paths.search + suffix, { force: true });
    writeFileSync(hosted.paths.search, 'no database');
    await hosted.open();
    await alice.join();
    await bob.join();
    expect((await find(bob, room, 'durable')).words).toEqual(['durable words']);
    const { events } = await bob.client.events('log.page', { channel: room.channel });
    expect(events.filter(({ kind }) => kind === EVENT.content)).toHaveLength(1);
  });
});
