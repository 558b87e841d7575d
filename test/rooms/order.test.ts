// What stands in a channel and who hears of it, when publishes, removals and resumes happen at once.
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { SottoError } from '../../src/protocol/errors.ts';
import { type ChannelId, type EventId, timedId } from '../../src/protocol/ids.ts';
import { EVENT } from '../../src/protocol/server-frames.ts';
import { LogError } from '../../src/server/event-log.ts';
import { Rates } from '../../src/server/rates.ts';
import { codeOf } from '../../src/testing/code.ts';
import { Hosted, type Member, type Room } from './scene.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const often = { burst: 1e6, perSecond: 1e6 };

let hosted: Hosted;
let alice: Member;
let owner: Member;
let made = 0;

beforeAll(async () => {
  hosted = await Hosted.start({ rates: { publish: often, burst: often, request: often, register: often } });
  owner = hosted.member('owner');
  await owner.join((await hosted.server.makeOwnerInvite())?.token);
  alice = await newcomer();
});

afterAll(() => hosted[Symbol.asyncDispose]());

const newcomer = async (): Promise<Member> => {
  const member = hosted.member(`member${++made}`);
  await member.join();
  return member;
};

/** A channel of alice's with a new member who hears it. */
const withMember = async (more: Parameters<Member['create']>[1] = {}): Promise<{ room: Room; bob: Member }> => {
  const bob = await newcomer();
  const room = await alice.create(`room${++made}`, more);
  await alice.control(room, { op: 'add', member: bob.id });
  await bob.hear(room.channel);
  return { room, bob };
};

const textsIn = async (room: Room): Promise<string[]> => {
  const { events } = await alice.client.events('log.page', { channel: room.channel, after: 0 });
  return events.filter(({ kind }) => kind === EVENT.content).map(({ body }) => Buffer.from(body).toString());
};

const headOf = async ({ channel }: Room) => (await alice.client.events('log.page', { channel, limit: 1 })).answer.head;

/** Where a member was told last, and of what kind that was. */
const lastOf = (member: Member, channel: ChannelId) => member.events.filter((one) => one.channel === channel).at(-1);

test('who comes back to more than a socket takes gets it as they read it, and is told what follows', async () => {
  const bob = await newcomer();
  const cursors: Record<string, [number, number, string]> = {};
  const rooms: Room[] = [];
  for (let n = 0; n < 4; n++) {
    const room = await alice.create(`room${++made}`);
    await alice.control(room, { op: 'add', member: bob.id });
    // All of it is in memory from here on.
    await alice.hear(room.channel);
    const id = hosted.server.context.eventId();
    const { epoch, seq } = await alice.say(room.channel, 'first', id);
    for (let i = 0; i < 7; i++) await alice.say(room.channel, `${i}`.repeat(36 * 1024));
    cursors[room.channel] = [epoch, seq, id];
    rooms.push(room);
  }
  const { context } = hosted.server;
  const { room: roomFor } = context;
  const waits = vi.spyOn(context, 'room').mockImplementationOnce(async (peer) => {
    const hasRoom = roomFor(peer);
    await alice.say((rooms[0] as Room).channel, 'while it waits');
    await hasRoom;
  });
  const { channels } = await bob.client.request('resume', { cursors });
  waits.mockRestore();
  expect(Object.values(channels).map(({ recovered }) => recovered)).toEqual([true, true, true, true]);
  const heard = ({ channel }: Room) => bob.texts(channel).map((text) => text[0]);
  const seven = ['0', '1', '2', '3', '4', '5', '6'];
  expect(rooms.map(heard)).toEqual([[...seven, 'w'], seven, seven, seven]);
  for (const { channel } of rooms) await alice.say(channel, 'last');
  await expect.poll(() => rooms.map((room) => heard(room).at(-1))).toEqual(['l', 'l', 'l', 'l']);
});

test('what nobody hears any more is not kept in memory, whoever ended it', async () => {
  const { hub } = hosted.server.context;
  const before = hub.ringBytes;
  const { room, bob } = await withMember();
  await alice.say(room.channel, 'for a moment');
  expect(hub.ringBytes).toBeGreaterThan(before);
  await owner.client.request('member.ban', { member: bob.id, banned: true });
  expect((await bob.closed).code).toBe('server.banned');
  expect(hub.ringBytes).toBe(before);
});

test('a search tells nothing of what was said since somebody was put out while it ran', async () => {
  const { room, bob } = await withMember();
  await alice.say(room.channel, 'words before');
  const { search } = hosted.server.context;
  const fill = search.fill.bind(search);
  const filling = vi.spyOn(search, 'fill').mockImplementationOnce(async (channel) => {
    await alice.control(room, { op: 'remove', member: bob.id });
    await alice.say(room.channel, 'words behind');
    return fill(channel);
  });
  const found = bob.client.events('log.search', { channel: room.channel, query: 'words' });
  await expect(found).rejects.toMatchObject({ code: 'channel.notMember' });
  filling.mockRestore();
});

describe('publishes', () => {
  test('of one connection never overtake each other, whatever their kind', async () => {
    const { room, bob } = await withMember();
    const wanted: string[] = [];
    const sent: Promise<unknown>[] = [];
    for (let i = 0; i < 30; i++) {
      if (i % 5 === 2) sent.push(alice.control(room, { op: 'mode', slowMs: 0 }));
      // The next control is signed on what this one has made.
      if (i % 5 === 2) await sent.at(-1);
      sent.push(alice.say(room.channel, `text ${i}`));
      wanted.push(`text ${i}`);
    }
    const control = alice.signed(room, { op: 'mode', slowMs: 0 });
    const behind = [alice.client.publish(control), alice.say(room.channel, 'behind a control')];
    const [first, second] = await Promise.all(behind);
    expect(first?.seq).toBeLessThan(second?.seq ?? 0);
    await Promise.all(sent);
    expect(await textsIn(room)).toEqual([...wanted, 'behind a control']);
    await bob.client.request('marks', {});
    expect(bob.texts(room.channel)).toEqual([...wanted, 'behind a control']);
  });

  test('of who is removed at the same time are before the removal, or nowhere', async () => {
    const { room, bob } = await withMember();
    // Both wait for the log: who publishes is still a member then.
    const go = hosted.hold();
    const early = codeOf(bob.say(room.channel, 'early'));
    await hosted.waiting(1);
    const removal = alice.control(room, { op: 'remove', member: bob.id });
    await hosted.waiting(2);
    const late = codeOf(bob.say(room.channel, 'late'));
    await hosted.waiting(3);
    go();
    await removal;
    expect([await early, await late]).toEqual(['done', 'event.stale']);
    expect(await textsIn(room)).toEqual(['early']);
    expect(await codeOf(bob.say(room.channel, 'later'))).toBe('channel.notMember');
  });

  test('are repeated with their place, also by who may not write any more', async () => {
    const { room, bob } = await withMember();
    const id = timedId<EventId>(Date.now(), new Uint8Array(10).fill(3));
    const first = await bob.say(room.channel, 'once', id);
    await alice.control(room, { op: 'mute', member: bob.id });
    expect(await bob.say(room.channel, 'once', id)).toEqual(first);
    await alice.control(room, { op: 'remove', member: bob.id });
    expect(await bob.say(room.channel, 'once', id)).toEqual(first);
    expect(await codeOf(owner.say(room.channel, 'once', id))).toBe('channel.notMember');
    expect(await textsIn(room)).toEqual(['once']);
  });

  test('have ids of their time', async () => {
    const { room } = await withMember();
    const at = (ms: number) => timedId<EventId>(Date.now() + ms, new Uint8Array(10).fill(5));
    const ids = {
      [at(-32 * DAY)]: 'request.invalid',
      [at(61 * MINUTE)]: 'request.invalid',
      ['00'.repeat(16)]: 'request.invalid',
      ['ff'.repeat(16)]: 'request.invalid',
      [at(-30 * DAY)]: 'done',
      [at(59 * MINUTE)]: 'done',
    };
    for (const [id, code] of Object.entries(ids))
      expect(await codeOf(alice.say(room.channel, 'x', id as EventId)), id).toBe(code);
  });

  test('wait in slow mode, except a moderator’s', async () => {
    const { room, bob } = await withMember();
    await alice.control(room, { op: 'mode', slowMs: MINUTE });
    expect(await codeOf(bob.say(room.channel, 'one'))).toBe('done');
    const late = await bob.say(room.channel, 'two').catch((error: SottoError) => error);
    expect(late).toMatchObject({ code: 'channel.slow', details: { retryAfterMs: expect.any(Number) } });
    for (const text of ['three', 'four']) expect(await codeOf(alice.say(room.channel, text))).toBe('done');
  });

  test('go on after a restart behind a control that erased', async () => {
    const { room } = await withMember();
    const id = timedId<EventId>(Date.now(), new Uint8Array(10).fill(6));
    await alice.say(room.channel, 'erased', id);
    await alice.control(room, { op: 'erase', target: id });
    hosted.server.context.states.forget(room.channel);
    await alice.control(room, { op: 'mode', retentionMs: DAY });
    const { events } = await alice.client.events('log.control', { channel: room.channel });
    expect(events).toHaveLength(4);
  });
});

describe('reading ends with the event that ends it', () => {
  const ENDS = {
    'a removal': (room: Room, bob: Member) => alice.control(room, { op: 'remove', member: bob.id }),
    'a ban of the channel': (room: Room, bob: Member) => alice.control(room, { op: 'ban', member: bob.id }),
    'a leave': (room: Room, bob: Member) => bob.control(room, { op: 'leave' }),
  };

  test.each(Object.entries(ENDS))('%s', async (_, end) => {
    const { room, bob } = await withMember();
    const before = alice.say(room.channel, 'before');
    const ended = end(room, bob);
    const after = Array.from({ length: 5 }, (__, i) => alice.say(room.channel, `after ${i}`));
    const { seq } = await ended;
    await Promise.all([before, ...after]);
    await bob.client.request('marks', {});
    expect(lastOf(bob, room.channel)).toMatchObject({ seq, kind: EVENT.control });
  });

  test('a removal while a resume is under way', async () => {
    const { room, bob } = await withMember();
    await bob.client.request('leave', { channels: [room.channel] });
    // More than a socket takes at once: the removal comes while it is sent.
    for (let i = 0; i < 40; i++) await alice.say(room.channel, 'long '.repeat(6000));
    const cursor: [number, number, null] = [(await headOf(room)).epoch, 0, null];
    const resumed = codeOf(bob.client.request('resume', { cursors: { [room.channel]: cursor } }));
    const { seq } = await alice.control(room, { op: 'remove', member: bob.id });
    await alice.say(room.channel, 'after');
    expect(await resumed).toBe('channel.notMember');
    await alice.say(room.channel, 'after that');
    await bob.client.request('marks', {});
    expect(lastOf(bob, room.channel)?.seq ?? 0).toBeLessThanOrEqual(seq);
  });

  test('a ban of the server, and an erasure of oneself', async () => {
    for (const end of ['ban', 'erase'] as const) {
      const { room, bob } = await withMember();
      const gone = bob.closed;
      const ended =
        end === 'ban'
          ? owner.client.request('member.ban', { member: bob.id, banned: true })
          : bob.client.request('member.erase', { confirm: bob.name });
      await ended;
      await alice.say(room.channel, 'after');
      expect((await gone).code).toBe('server.banned');
      expect(bob.texts(room.channel)).toEqual([]);
      expect(await codeOf(bob.join())).toBe(end === 'ban' ? 'server.banned' : 'login.refused');
    }
  });

  test('a revoked device, while the others go on', async () => {
    const { room, bob } = await withMember();
    const tablet = bob.another();
    await tablet.join();
    await tablet.hear(room.channel);
    const gone = tablet.closed;
    await bob.client.request('device.revoke', { device: tablet.device });
    await alice.say(room.channel, 'after');
    expect((await gone).code).toBe('device.revoked');
    expect(tablet.texts(room.channel)).toEqual([]);
    expect(await codeOf(tablet.join())).toBe('device.revoked');
    await bob.client.request('marks', {});
    expect(bob.texts(room.channel)).toEqual(['after']);
  });
});

test('who has written before is judged by what holds now', async () => {
  const { room, bob } = await withMember();
  const { channel } = room;
  const write = (text: string) => codeOf(bob.say(channel, text));
  // What a first message was judged by stays in memory.
  for (const text of ['first', 'second']) expect(await write(text)).toBe('done');
  const judged = async (control: Parameters<Member['control']>[1], ...codes: string[]) => {
    await alice.control(room, control);
    for (const code of codes) expect(await write(`after ${control.op}`), control.op).toBe(code);
  };
  await judged({ op: 'mute', member: bob.id }, 'channel.muted', 'channel.muted');
  await judged({ op: 'unmute', member: bob.id }, 'done', 'done');
  await judged({ op: 'mode', slowMs: MINUTE }, 'done', 'channel.slow');
  await judged({ op: 'mode', slowMs: 0 }, 'done');
  await judged({ op: 'remove', member: bob.id }, 'channel.notMember', 'channel.notMember');
  await judged({ op: 'add', member: bob.id }, 'done', 'done');
  await judged({ op: 'archive' }, 'channel.archived');
  expect(await textsIn(room)).toHaveLength(8);
});

test('an id that somebody known sends again at once has one place', async () => {
  const { room, bob } = await withMember();
  await bob.say(room.channel, 'before');
  const id = hosted.server.context.eventId();
  const places = await Promise.all(Array.from({ length: 3 }, () => bob.say(room.channel, 'again', id)));
  expect(new Set(places.map(({ seq }) => seq)).size).toBe(1);
  expect(await codeOf(alice.say(room.channel, 'taken', id))).toBe('request.invalid');
  expect(await textsIn(room)).toEqual(['before', 'again']);
});

describe('a log that does not answer', () => {
  afterEach(() => vi.restoreAllMocks());

  test('is told to whoever asks, and answers again later', async () => {
    const { room, bob } = await withMember();
    const { channel } = room;
    await bob.client.request('leave', { channels: [channel] });
    const { epoch } = await headOf(room);
    // What is in memory of the channel is forgotten.
    await alice.control(room, { op: 'mode', slowMs: 0 });
    const ASKS: Record<string, () => Promise<unknown>> = {
      'a publish': () => bob.say(channel, 'text'),
      'a page': () => bob.client.events('log.page', { channel }),
      'a resume': () => bob.client.request('resume', { cursors: { [channel]: [epoch, 0, null] } }),
      'a mark': () => bob.client.request('mark', { channel, seq: 1 }),
      'a search': () => bob.client.events('log.search', { channel, query: 'text' }),
    };
    const { log } = hosted.store;
    const unavailable = () => Promise.reject(new LogError('unavailable'));
    for (const method of ['heads', 'read', 'readBack', 'resume', 'seqOf'] as const)
      vi.spyOn(log, method).mockImplementation(unavailable);
    for (const [what, ask] of Object.entries(ASKS)) expect(await codeOf(ask()), what).toBe('server.unavailable');
    vi.restoreAllMocks();
    for (const [what, ask] of Object.entries(ASKS)) expect(await codeOf(ask()), what).toBe('done');
  });

  test('is asked again for what readers miss', async () => {
    const { room, bob } = await withMember();
    const { channel } = room;
    const { log } = hosted.store;
    const resume = vi.spyOn(log, 'resume').mockRejectedValueOnce(new LogError('unavailable'));
    const [id, body] = [hosted.server.context.eventId(), new Uint8Array(Buffer.from('one'))];
    // Past the hub: it notices the gap with the next one.
    await log.append([{ channel, id, member: alice.id, kind: EVENT.content, body, checkedAt: 2 ** 40, changes: [] }]);
    await alice.say(channel, 'two');
    await expect.poll(() => bob.texts(channel)).toEqual(['one', 'two']);
    expect(resume.mock.calls.length).toBeGreaterThan(1);
  });
});

test('who joined again sees nothing of the time between, by whatever cursor', async () => {
  const { room, bob } = await withMember({ history: 'joined' });
  await alice.hear(room.channel);
  const first = await alice.say(room.channel, 'while in');
  await bob.client.request('marks', {});
  const seen = lastOf(bob, room.channel);
  await alice.control(room, { op: 'remove', member: bob.id });
  for (let n = 0; n < 1_000; n += 100)
    await Promise.all(Array.from({ length: 100 }, () => alice.say(room.channel, 'without bob')));
  await alice.control(room, { op: 'add', member: bob.id });
  await alice.say(room.channel, 'with bob');
  bob.events.length = 0;
  const resume = vi.spyOn(hosted.store.log, 'resume');
  const cursor: [number, number, string | null] = [first.epoch, first.seq, seen?.id ?? null];
  await bob.client.request('resume', { cursors: { [room.channel]: cursor } });
  expect(bob.texts(room.channel)).toEqual(['with bob']);
  // However much lies between, it is not read.
  expect(resume.mock.calls.length).toBeLessThan(4);
  for (const query of [{ after: 0 }, { before: 100_000 }, { at: Date.now() + MINUTE }]) {
    const { events } = await bob.client.events('log.page', { channel: room.channel, ...query });
    expect(events.filter(({ kind }) => kind === EVENT.content)).toHaveLength(1);
  }
});

test('a member publishes ten at once and sixty a minute; what is full again is forgotten', async () => {
  await using strict = await Hosted.start();
  const carol = strict.member('carol');
  await carol.join();
  const { channel } = await carol.create('ops');
  const codes = await Promise.all(Array.from({ length: 12 }, (_, i) => codeOf(carol.say(channel, `${i}`))));
  expect(codes.slice(0, 9)).toEqual(Array(9).fill('done'));
  expect(codes.filter((code) => code === 'rate.limited').length).toBeGreaterThan(0);
  await using patient = await Hosted.start({ rates: { burst: often } });
  const dave = patient.member('dave');
  await dave.join();
  const room = await dave.create('ops');
  const minute = await Promise.all(Array.from({ length: 70 }, (_, i) => codeOf(dave.say(room.channel, `${i}`))));
  expect(minute.slice(0, 59)).toEqual(Array(59).fill('done'));
  expect(minute.at(-1)).toBe('rate.limited');
  const rates = new Rates({ burst: 2, perSecond: 1 });
  for (let i = 0; i < 100; i++) expect(rates.take(`member ${i}`, 0)).toBe(0);
  expect([rates.take('member 0', 0), rates.take('member 0', 0)]).toEqual([0, 1000]);
  rates.sweep(1500);
  expect(rates.size).toBe(1);
  rates.sweep(5000);
  expect(rates.size).toBe(0);
  // Nobody has to ask for that.
  for (let i = 0; i < 10_000; i++) rates.take(`one of many ${i}`, 10_000 + i * 1_000);
  expect(rates.size).toBeLessThan(1_100);
});
