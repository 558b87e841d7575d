// What every event log promises.
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type EventId, SERVER_CHANNEL } from '../../src/protocol/ids.ts';
import type { Draft, EventLog, Head, Outcome } from '../../src/server/event-log.ts';
import type { StateStore } from '../../src/server/state-store.ts';
import type { ManualClock } from '../../src/testing/clock.ts';
import {
  ALL,
  auditLine,
  bytesOf,
  change,
  channelId,
  channelRow,
  draft,
  eventId,
  furnish,
  inviteRow,
  memberId,
  memberRow,
  newChannel,
  put,
  textOf,
  textsIn,
} from './server.ts';

export type LogUnderTest = AsyncDisposable & {
  readonly log: EventLog;
  readonly state: StateStore;
  readonly clock: ManualClock;
};

const CHANNEL = channelId(1);

/** Runs the promises of EventLog on what `make` gives: a server without members or channels. */
export const eventLogContract = (name: string, make: () => Promise<LogUnderTest>): void => {
  describe(`${name} keeps the promises of an event log`, () => {
    let made: LogUnderTest;
    let log: EventLog;
    beforeEach(async () => {
      made = await make();
      log = made.log;
      await furnish(log, 2);
    });
    afterEach(() => made[Symbol.asyncDispose]());

    const say = (count: number, more: Partial<Draft> = {}) =>
      log.append(Array.from({ length: count }, () => draft(more)));
    const headOf = async (channel = CHANNEL): Promise<Head> => {
      const [head] = await log.heads([channel]);
      if (head === undefined) throw new Error('no head');
      return head;
    };
    const seqs = (outcomes: readonly Outcome[]) => outcomes.map((one) => ('seq' in one ? one.seq : one));

    test('each channel counts for itself, without holes, in the order of the calls', async () => {
      const drafts = [1, 2, 1, 1, 2].map((n, i) => draft({ channel: channelId(n), text: `${n} ${i}` }));
      expect(seqs(await log.append(drafts))).toEqual([2, 2, 3, 4, 3]);
      expect(seqs(await log.append([draft({ text: 'last' })]))).toEqual([5]);
      expect(await textsIn(log)).toEqual(['made 1', '1 0', '1 2', '1 3', 'last']);
      const [first] = await log.read(CHANNEL, 1, ALL);
      const { id, member, kind } = drafts[0] ?? draft();
      expect(first).toEqual({
        ...{ id, member, kind, seq: 2, at: made.clock.now() },
        body: bytesOf('1 0'),
        hash: null,
      });
      expect(await headOf()).toMatchObject({ seq: 5, authoritySeq: 1, prunedTo: 0 });
    });

    test('a channel begins with the event that makes it; another one is not there', async () => {
      expect(await put(log, draft({ channel: channelId(9) }))).toEqual({ kind: 'refused', code: 'no_such_channel' });
      const [one, two] = await log.append([
        change([{ kind: 'channel', row: newChannel(9) }], { channel: channelId(9) }),
        draft({ channel: channelId(9) }),
      ]);
      expect([one, two]).toMatchObject([{ seq: 1 }, { seq: 2 }]);
      expect(await made.state.getChannel(channelId(9))).toEqual(channelRow(9));
      expect(await put(log, draft({ channel: memberId(1) as string as typeof CHANNEL }))).toMatchObject({ seq: 1 });
      expect(await log.heads([channelId(8), CHANNEL])).toHaveLength(1);
      expect(await log.read(channelId(8), 0, ALL)).toEqual([]);
      expect(await log.seqAt(channelId(8), 1e15)).toBe(0);
      await log.prune(channelId(8), 5);
    });

    test('time never goes back within a channel', async () => {
      const at = (outcome: Outcome) => ('at' in outcome ? outcome.at : undefined);
      const now = made.clock.now();
      const first = at(await put(log, draft()));
      made.clock.jump(-50_000);
      const [second, other] = await log.append([draft(), draft({ channel: channelId(2) })]);
      made.clock.jump(60_000);
      expect([first, second && at(second), at(await put(log, draft()))]).toEqual([now, now, now + 10_000]);
      expect(other && at(other)).toBe(now);
    });

    describe('the same id', () => {
      const id = eventId(1);

      test('in one batch, again, and when it would be barred by now, is the event that is there', async () => {
        const first = await log.append([draft({ id, text: 'first' }), draft({ id, text: 'again' })]);
        expect(first).toMatchObject([
          { kind: 'committed', seq: 2 },
          { kind: 'duplicate', seq: 2 },
        ]);
        await put(log, change([{ kind: 'channelSet', set: { archivedAt: 5, slowMs: 1 } }], { channel: CHANNEL }));
        const old = { id, checkedAt: 0 };
        for (const repeat of [old, { ...old, changes: [{ kind: 'slow', intervalMs: 1e9 }] } as const, { id }])
          expect(await put(log, draft(repeat))).toEqual({ ...first[0], kind: 'duplicate' });
        expect(await textsIn(log)).toEqual(['made 1', 'first', expect.any(String)]);
      });

      test('of another member is taken; in another channel it is another event', async () => {
        await put(log, draft({ id }));
        expect(await put(log, draft({ id, member: memberId(2) }))).toEqual({ kind: 'refused', code: 'id_taken' });
        expect(await put(log, draft({ id, channel: channelId(2) }))).toMatchObject({ kind: 'committed', seq: 2 });
        expect((await headOf()).seq).toBe(2);
      });

      test('changes nothing a second time', async () => {
        await made.state.putInvite(inviteRow(1), auditLine());
        const use = change([{ kind: 'inviteUsed', invite: inviteRow(1).id }], { id });
        await log.append([use, use]);
        await log.append([use]);
        expect((await made.state.getInvite(inviteRow(1).tokenHash))?.usesLeft).toBe(1);
      });
    });

    test('a permission that was checked before the last event of authority is stale, in the same batch too', async () => {
      const ban = change(
        [{ kind: 'membership', row: { member: memberId(2), state: 'banned', role: 'member', mutedUntil: 0 } }],
        {
          channel: CHANNEL,
        },
      );
      const outcomes = await log.append([
        draft({ checkedAt: 1 }),
        ban,
        draft({ checkedAt: 2 }),
        draft({ checkedAt: 3 }),
      ]);
      expect(outcomes).toMatchObject([{ seq: 2 }, { seq: 3 }, { kind: 'stale', authoritySeq: 3 }, { seq: 4 }]);
      expect(await put(log, draft({ checkedAt: 0 }))).toEqual({ kind: 'stale', authoritySeq: 3 });
      expect(await put(log, draft({ checkedAt: 2, channel: channelId(2) }))).toMatchObject({ seq: 2 });
      expect((await headOf()).authoritySeq).toBe(3);
      const kept = await made.state.listAuthority(CHANNEL, 0, 10);
      expect(kept.map(({ seq }) => seq)).toEqual([1, 3]);
      expect(kept[0]).toEqual((await log.read(CHANNEL, 0, ALL))[0]);
    });

    test('changes commit with their event, or neither does and the batch goes on', async () => {
      const twice = memberRow(3, { skeleton: memberRow(1).skeleton });
      const outcomes = await log.append([
        change([
          { kind: 'member', row: memberRow(4) },
          { kind: 'member', row: twice },
        ]),
        change([{ kind: 'member', row: memberRow(5) }]),
        change([{ kind: 'channel', row: newChannel(6, { skeleton: 'channel-1' }) }], { channel: channelId(6) }),
        change([{ kind: 'inviteUsed', invite: inviteRow(7).id }]),
        draft(),
      ]);
      expect(outcomes).toMatchObject([
        { kind: 'refused', code: 'taken' },
        { kind: 'committed', seq: 3 },
        { kind: 'refused', code: 'taken' },
        { kind: 'refused', code: 'spent' },
        { kind: 'committed', seq: 2 },
      ]);
      expect(await made.state.getMember(memberId(4))).toBeUndefined();
      expect(await made.state.getMember(memberId(5))).toEqual(memberRow(5));
      expect((await headOf(SERVER_CHANNEL)).seq).toBe(3);
      expect(await log.heads([channelId(6), memberId(4) as string as typeof CHANNEL])).toEqual([]);
    });

    test('slow mode says when the next one may come, and counts from the last that came', async () => {
      const slow = () => draft({ changes: [{ kind: 'slow', intervalMs: 10_000 }] });
      const [first, second] = await log.append([slow(), slow()]);
      expect(first).toMatchObject({ kind: 'committed' });
      expect(second).toEqual({ kind: 'refused', code: 'slow_mode', retryAfterMs: 10_000 });
      made.clock.jump(4_000);
      expect(await put(log, slow())).toEqual({ kind: 'refused', code: 'slow_mode', retryAfterMs: 6_000 });
      expect(await put(log, { ...slow(), member: memberId(2) })).toMatchObject({ kind: 'committed' });
      made.clock.jump(6_000);
      expect(await put(log, slow())).toMatchObject({ kind: 'committed', seq: 4 });
      // A clock that is put back makes nobody wait until it has come so far again.
      made.clock.jump(-5_000_000);
      expect([await put(log, slow()), await put(log, slow())]).toMatchObject([
        { kind: 'committed', seq: 5 },
        { code: 'slow_mode', retryAfterMs: 10_000 },
      ]);
    });

    test('an archived channel takes what administers it, and erasure', async () => {
      await put(log, draft({ text: 'words' }));
      const set = (archivedAt: number | null) =>
        change([{ kind: 'channelSet', set: { archivedAt } }], { channel: CHANNEL });
      const outcomes = await log.append([
        set(5),
        draft(),
        draft({ changes: [{ kind: 'erase', seq: 2 }] }),
        set(null),
        draft(),
      ]);
      expect(outcomes).toMatchObject([{ seq: 3 }, { code: 'archived' }, { seq: 4 }, { seq: 5 }, { seq: 6 }]);
      expect((await log.read(CHANNEL, 1, ALL))[0]?.body).toBeNull();
    });

    test('an erased event keeps its place and its hash; what says who may do what is not erased', async () => {
      await log.append([draft({ text: 'one' }), draft({ text: 'two', changes: [{ kind: 'expire', at: 7 }] })]);
      expect(await made.state.listExpired(6, 10)).toEqual([]);
      expect(await made.state.listExpired(7, 10)).toEqual([{ channel: CHANNEL, seq: 3 }]);
      await log.erase(CHANNEL, [1, 3, 99]);
      await put(log, draft({ text: 'gone', changes: [{ kind: 'erase', seq: 2 }] }));
      const after = await log.read(CHANNEL, 0, ALL);
      expect(after.map(textOf)).toEqual(['made 1', null, null, 'gone']);
      const sha256 = (text: string) => new Uint8Array(createHash('sha256').update(text).digest());
      expect(after.map(({ hash }) => hash)).toEqual([null, sha256('one'), sha256('two'), null]);
      expect(await made.state.listExpired(7, 10)).toEqual([]);
    });

    test('retention takes the oldest away, never the head; authority stays to be listed', async () => {
      await say(2500);
      const { id } = (await log.read(CHANNEL, 2400, { ...ALL, events: 1 }))[0] ?? { id: null };
      await log.prune(CHANNEL, 2401);
      await log.prune(CHANNEL, 5);
      expect(await headOf()).toMatchObject({ seq: 2501, prunedTo: 2401, authoritySeq: 1 });
      expect((await log.read(CHANNEL, 0, ALL)).map(({ seq }) => seq)[0]).toBe(2402);
      expect(await made.state.listAuthority(CHANNEL, 0, 10)).toHaveLength(1);
      const { epoch } = await headOf();
      const cursors = [
        { channel: CHANNEL, epoch, seq: 2401, id },
        { channel: CHANNEL, epoch, seq: 2400, id },
        { channel: CHANNEL, epoch, seq: 0, id: null },
      ];
      const resumed = await log.resume(cursors, ALL);
      expect(resumed.map(({ recovered, events }) => [recovered, events.length])).toEqual([
        [true, 100],
        [false, 0],
        [false, 0],
      ]);
      await log.prune(CHANNEL, 1e9);
      expect(await headOf()).toMatchObject({ seq: 2501, prunedTo: 2501 });
      expect(await put(log, draft())).toMatchObject({ seq: 2502 });
    });

    test('a reader resumes from where it is, or is told that it cannot', async () => {
      await say(5);
      const head = await headOf();
      const third = (await log.read(CHANNEL, 2, ALL))[0]?.id ?? null;
      const resume = async (more: { epoch?: number; seq: number; id: EventId | null }) => {
        const cursor = { channel: CHANNEL, epoch: head.epoch, ...more };
        const [one] = await log.resume([cursor], ALL);
        return one?.recovered === true ? one.events.map(({ seq }) => seq) : one?.events.length === 0 && one.head;
      };
      expect(await resume({ seq: 0, id: null })).toEqual([1, 2, 3, 4, 5, 6]);
      expect(await resume({ seq: 3, id: third })).toEqual([4, 5, 6]);
      expect(await resume({ seq: 6, id: head.id })).toEqual([]);
      for (const wrong of [
        { seq: 3, id: eventId(3) },
        { seq: 3, id: null },
        { seq: 6, id: third },
        { seq: 7, id: head.id },
        { seq: 0, id: third },
        { seq: 3, id: third, epoch: head.epoch + 1 },
      ])
        expect(await resume(wrong)).toEqual(head);
      const none = { channel: channelId(8), epoch: head.epoch, seq: 0, id: null };
      expect(await log.resume([none], ALL)).toEqual([]);
    });

    test('pages have as many events and bytes as asked, both ways; one that is too large is given alone', async () => {
      await log.append([10, 10, 5000, 10, 10].map((size) => draft({ body: new Uint8Array(size).fill(7) })));
      const page = async (from: number, events: number, bytes: number) =>
        (await log.read(CHANNEL, from, { events, bytes })).map(({ seq }) => seq);
      expect(await page(1, 2, 1e6)).toEqual([2, 3]);
      expect(await page(1, 9, 30)).toEqual([2, 3]);
      expect(await page(3, 9, 30)).toEqual([4]);
      const back = async (before: number, events: number, bytes: number) =>
        (await log.readBack(CHANNEL, before, { events, bytes })).map(({ seq }) => seq);
      expect(await back(7, 3, 1e6)).toEqual([6, 5, 4]);
      expect(await back(6, 9, 30)).toEqual([5]);
      expect(await back(1, 9, 30)).toEqual([]);
      const { epoch } = await headOf();
      const from = [1, 2, 2].map((n) => ({ channel: channelId(n), epoch, seq: 0, id: null }));
      const resumed = await log.resume(from, { events: 9, bytes: 40 });
      expect(resumed.map(({ recovered, events }) => [recovered, events.length])).toEqual([
        [true, 3],
        [true, 1],
        [true, 1],
      ]);
      const small = await log.resume(from, { events: 9, bytes: 6 });
      expect(small.map(({ events }) => events.length)).toEqual([1, 0, 0]);
    });

    test('a time is the last event not later than it', async () => {
      const at: number[] = [made.clock.now()];
      for (let i = 0; i < 60; i++) {
        made.clock.jump((i * 7) % 3);
        await put(log, draft());
        at.push(made.clock.now());
      }
      const last = (time: number, pruned = 0) => {
        const found = at.findLastIndex((one) => one <= time) + 1;
        return found > pruned ? found : 0;
      };
      for (let time = made.clock.now() + 1; time >= (at[0] ?? 0) - 1; time--)
        expect(await log.seqAt(CHANNEL, time)).toBe(last(time));
      await log.prune(CHANNEL, 30);
      for (let time = made.clock.now() + 1; time >= (at[0] ?? 0) - 1; time--)
        expect(await log.seqAt(CHANNEL, time)).toBe(last(time, 30));
    });

    test('an event is found by its id, in its channel', async () => {
      const [one, two] = [draft(), draft()];
      await log.append([one, two]);
      const found = [one, two, draft()].map(({ id }) => log.seqOf(CHANNEL, id));
      expect(await Promise.all(found)).toEqual([2, 3, 0]);
      expect(await log.seqOf(channelId(2), two.id)).toBe(0);
    });

    test('a body may be empty, or large', async () => {
      await log.append([draft({ text: '' }), draft({ body: new Uint8Array(16 * 1024).fill(3) })]);
      expect((await log.read(CHANNEL, 1, ALL)).map(({ body }) => body?.length)).toEqual([0, 16 * 1024]);
    });
  });
};
