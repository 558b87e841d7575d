import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ChannelId, EventId } from '../../src/protocol/ids.ts';
import { GAP_MS, HELD_BATCHES_MAX, RING_EVENTS_MAX, RINGS_BYTES_MAX } from '../../src/protocol/limits.ts';
import type { Head } from '../../src/server/event-log.ts';
import { type Batch, Follow, type Step } from '../../src/server/follow.ts';
import { channelId, eventId } from './server.ts';

const CHANNEL = channelId(1);
const FRAME_BYTES = 40;

/** A frame that says which event it is, in which epoch. */
const frameOf = (epoch: number, seq: number, size = FRAME_BYTES) => {
  const frame = Buffer.alloc(size);
  frame.writeUInt32BE(epoch);
  frame.writeUInt32BE(seq, 4);
  return new Uint8Array(frame);
};
const idAt = (epoch: number, seq: number) => eventId(1000 * epoch + seq);
const told = (frame: Uint8Array) => {
  const bytes = Buffer.from(frame);
  return { epoch: bytes.readUInt32BE(), seq: bytes.readUInt32BE(4) };
};
const idOf = (frame: Uint8Array): EventId => idAt(told(frame).epoch, told(frame).seq);

const batch = (
  first: number,
  last: number,
  more: { epoch?: number; channel?: ChannelId; size?: number } = {},
): Batch => {
  const { epoch = 1, channel = CHANNEL, size } = more;
  const frames = Array.from({ length: last - first + 1 }, (_, i) => frameOf(epoch, first + i, size));
  return { channel, epoch, first, lastId: idAt(epoch, last), frames };
};
const head = (seq: number, more: Partial<Head> = {}): Head => {
  const epoch = more.epoch ?? 1;
  const id = seq === 0 ? null : idAt(epoch, seq);
  return { channel: CHANNEL, epoch, seq, id, authoritySeq: 0, prunedTo: 0, ...more };
};
const asked = (seq: number, epoch = 1) => ({
  channel: CHANNEL,
  epoch,
  seq,
  id: seq === 0 ? null : idAt(epoch, seq),
});
/** Steps in few words. */
const words = (steps: readonly Step[]) =>
  steps.map((step) =>
    step.kind === 'deliver'
      ? `deliver ${step.first}-${step.first + step.frames.length - 1}`
      : step.kind === 'resume'
        ? `resume ${step.cursor.seq}`
        : step.kind,
  );

const following = (seq = 0): Follow => {
  const follow = new Follow(idOf);
  expect(words(follow.follow(CHANNEL))).toEqual(['check']);
  expect(follow.head(head(seq), 0)).toEqual([]);
  return follow;
};

describe('what comes', () => {
  test('next is delivered; below is dropped; an overlap is cut', () => {
    const follow = following(10);
    expect(words(follow.take(batch(11, 13), 0))).toEqual(['deliver 11-13']);
    expect(words(follow.take(batch(9, 12), 0))).toEqual([]);
    expect(words(follow.take(batch(12, 15), 0))).toEqual(['deliver 14-15']);
    expect(follow.cursor(CHANNEL)).toEqual({ epoch: 1, seq: 15, id: idAt(1, 15) });
    expect(follow.nextDue()).toBeUndefined();
  });

  test('above is held until what is missing comes, or is asked of the log after a moment', () => {
    const follow = following();
    expect(words(follow.take(batch(4, 5), 100))).toEqual([]);
    expect(words(follow.take(batch(8, 8), 110))).toEqual([]);
    expect(follow.nextDue()).toBe(100 + GAP_MS);
    expect(words(follow.take(batch(1, 3), 110))).toEqual(['deliver 1-3', 'deliver 4-5']);
    expect(words(follow.due(100 + GAP_MS - 1))).toEqual([]);
    expect(words(follow.due(100 + GAP_MS))).toEqual(['resume 5']);
    expect([words(follow.due(900)), follow.nextDue()]).toEqual([[], undefined]);
    const answer = { cursor: asked(5), head: head(9), recovered: true, batch: batch(6, 7) };
    expect(words(follow.caught(answer, 130))).toEqual(['deliver 6-7', 'deliver 8-8', 'resume 8']);
    expect(words(follow.caught({ cursor: asked(8), head: head(9), recovered: true, batch: batch(9, 9) }, 131))).toEqual(
      ['deliver 9-9'],
    );
    expect(follow.nextDue()).toBeUndefined();
  });

  test('a log that has nothing yet, or does not answer, is asked again a moment later, one question at a time', () => {
    const follow = following();
    follow.take(batch(2, 2), 0);
    expect(words(follow.due(GAP_MS))).toEqual(['resume 0']);
    follow.take(batch(3, 3), 30);
    expect(follow.nextDue()).toBeUndefined();
    expect(words(follow.caught({ cursor: asked(0), head: head(0), recovered: true, batch: undefined }, 40))).toEqual(
      [],
    );
    expect(words(follow.due(40 + GAP_MS))).toEqual(['resume 0']);
    expect(words(follow.failed(asked(0), 80))).toEqual([]);
    expect(words(follow.due(80 + GAP_MS))).toEqual(['resume 0']);
    expect(words(follow.take(batch(1, 1), 110))).toEqual(['deliver 1-1', 'deliver 2-2', 'deliver 3-3']);
    expect(words(follow.caught({ cursor: asked(0), head: head(3), recovered: true, batch: batch(1, 3) }, 111))).toEqual(
      [],
    );
  });

  test('before the first head is held, and what the head has is not told again', () => {
    const follow = new Follow(idOf);
    follow.follow(CHANNEL);
    expect(follow.take(batch(3, 6), 0)).toEqual([]);
    follow.take(batch(5, 9, { epoch: 2 }), 0);
    expect(words(follow.head(head(4), 0))).toEqual(['deliver 5-6']);
    expect(follow.follow(CHANNEL)).toEqual([]);
    follow.unfollow(CHANNEL);
    expect([follow.take(batch(7, 7), 0), follow.head(head(9), 0), follow.ringBytes]).toEqual([[], [], 0]);
  });

  test('more than can be held is dropped, and read from the log', () => {
    const follow = following();
    const count = HELD_BATCHES_MAX + 10;
    for (let seq = 2; seq < count + 2; seq++) follow.take(batch(seq, seq), 0);
    const steps = words(follow.take(batch(1, 1), 1));
    expect([steps.length, steps.at(-1)]).toEqual([
      HELD_BATCHES_MAX + 1,
      `deliver ${HELD_BATCHES_MAX + 1}-${HELD_BATCHES_MAX + 1}`,
    ]);
    expect(words(follow.due(1 + GAP_MS))).toEqual([`resume ${HELD_BATCHES_MAX + 1}`]);
    const large = following();
    for (const first of [2, 3, 4]) large.take(batch(first, first, { size: 500_000 }), 0);
    expect(words(large.take(batch(1, 1), 0))).toEqual(['deliver 1-1', 'deliver 2-2', 'deliver 3-3']);
  });
});

describe('a head', () => {
  test('that is ahead is followed; one that is level says nothing', () => {
    const follow = following(5);
    expect(follow.head(head(5), 0)).toEqual([]);
    expect(words(follow.head(head(8), 0))).toEqual(['resume 5']);
    expect(follow.head(head(9), 0)).toEqual([]);
    expect(words(follow.caught({ cursor: asked(5), head: head(9), recovered: true, batch: batch(6, 9) }, 0))).toEqual([
      'deliver 6-9',
    ]);
  });

  test('that is behind, or names another event, tells that the log has lost some', () => {
    const follow = following(5);
    expect(words(follow.head(head(4), 0))).toEqual(['lost']);
    expect(words(follow.head(head(5, { id: idAt(7, 5) }), 0))).toEqual(['lost']);
    follow.head(head(6), 0);
    expect(words(follow.caught({ cursor: asked(5), head: head(6), recovered: false, batch: undefined }, 0))).toEqual([
      'lost',
    ]);
  });

  test('of another epoch, or beyond what is kept, begins anew with nothing in memory', () => {
    const follow = following(5);
    follow.take(batch(6, 7), 0);
    follow.take(batch(9, 9), 0);
    expect(words(follow.take(batch(3, 3, { epoch: 2 }), 0))).toEqual(['check']);
    expect(words(follow.head(head(3, { epoch: 2 }), 0))).toEqual(['begin']);
    expect([follow.ringBytes, follow.nextDue()]).toEqual([0, undefined]);
    expect(words(follow.take(batch(4, 5, { epoch: 2 }), 0))).toEqual(['deliver 4-5']);
    follow.head(head(90, { epoch: 2 }), 0);
    const answer = {
      cursor: asked(5, 2),
      head: head(90, { epoch: 2, prunedTo: 50 }),
      recovered: false,
      batch: undefined,
    };
    expect(words(follow.caught(answer, 0))).toEqual(['begin']);
    expect(follow.cursor(CHANNEL)?.seq).toBe(90);
    follow.head(head(91, { epoch: 2 }), 0);
    expect(
      words(
        follow.caught({ cursor: asked(90, 2), head: head(1, { epoch: 3 }), recovered: false, batch: undefined }, 0),
      ),
    ).toEqual(['begin']);
  });
});

describe('what is in memory', () => {
  const since = (follow: Follow, seq: number, id: EventId | null = seq === 0 ? null : idAt(1, seq), epoch = 1) =>
    follow.since(CHANNEL, { epoch, seq, id })?.map((frame) => told(frame).seq);

  test('serves who has an event of it, and nobody else', () => {
    const follow = following(10);
    follow.take(batch(11, 14), 0);
    expect([since(follow, 12), since(follow, 14), since(follow, 11)]).toEqual([[13, 14], [], [12, 13, 14]]);
    expect([since(follow, 10), since(follow, 12, idAt(2, 12)), since(follow, 14, idAt(2, 14))]).toEqual([
      ...[undefined, undefined, undefined],
    ]);
    expect([since(follow, 12, idAt(1, 12), 2), since(follow, 15), since(follow, 0)]).toEqual([
      ...[undefined, undefined, undefined],
    ]);
    const whole = following();
    whole.take(batch(1, 2), 0);
    expect([since(whole, 0), since(whole, 0, idAt(1, 1))]).toEqual([[1, 2], undefined]);
  });

  test('is at most so many events and bytes a channel, and so many bytes in all, the quiet ones first', () => {
    const follow = following();
    follow.take(batch(1, RING_EVENTS_MAX + 50), 0);
    expect([since(follow, 50), since(follow, 51)?.length]).toEqual([undefined, RING_EVENTS_MAX - 1]);
    expect(follow.ringBytes).toBe(RING_EVENTS_MAX * FRAME_BYTES);
    const channels = Array.from({ length: 300 }, (_, i) => channelId(i + 2));
    for (const channel of channels) {
      follow.follow(channel);
      follow.head(head(0, { channel }), 0);
      follow.take(batch(1, 20, { channel, size: 16_000 }), 0);
    }
    expect(follow.ringBytes).toBeLessThanOrEqual(RINGS_BYTES_MAX);
    expect(follow.ringBytes).toBeGreaterThan(RINGS_BYTES_MAX / 2);
    expect(since(follow, 248)).toBeUndefined();
    const of = (channel: ChannelId) => follow.since(channel, { epoch: 1, seq: 19, id: idAt(1, 19) })?.length;
    expect([of(channels[0] ?? CHANNEL), of(channels.at(-1) ?? CHANNEL)]).toEqual([undefined, 1]);
    follow.take(batch(251, 252), 0);
    expect(since(follow, 251)).toEqual([252]);
  });

  test('holds nothing of an erased event', () => {
    const follow = following();
    follow.take(batch(1, 6), 0);
    follow.forget(CHANNEL, 4);
    expect([since(follow, 3), since(follow, 4), since(follow, 5)]).toEqual([undefined, undefined, [6]]);
    expect(follow.ringBytes).toBe(2 * FRAME_BYTES);
    follow.forget(CHANNEL, 6);
    follow.take(batch(7, 7), 0);
    expect([since(follow, 6), since(follow, 7), follow.ringBytes]).toEqual([undefined, [], FRAME_BYTES]);
  });
});

// One channel's log, whose commits reach the follower late, twice, in any order, in pieces or not at all.
type Act =
  | { readonly kind: 'commit'; readonly count: number }
  | { readonly kind: 'tell'; readonly from: number; readonly count: number }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'answer'; readonly fails: boolean; readonly lag: number }
  | { readonly kind: 'check' }
  | { readonly kind: 'prune'; readonly by: number }
  | { readonly kind: 'restore'; readonly back: number };

const acts: fc.Arbitrary<Act> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('commit' as const), count: fc.integer({ min: 1, max: 6 }) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('tell' as const),
      from: fc.integer({ min: 0, max: 12 }),
      count: fc.integer({ min: 1, max: 6 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 40 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('answer' as const),
      fails: fc.boolean(),
      lag: fc.integer({ min: 0, max: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('check' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('prune' as const), by: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restore' as const), back: fc.integer({ min: 0, max: 5 }) }) },
);

/** A follower, the log it follows, and a reader who checks that every stream is the log or that he is told. */
class World {
  readonly follow = new Follow(idOf);
  #now = 0;
  #epoch = 1;
  #pruned = 0;
  /** The epoch of each event's id: a restored log has other ids after the place where it was cut. */
  #log: number[] = [];
  #asked: Extract<Step, { kind: 'resume' }>['cursor'][] = [];
  #checks = 0;
  // The reader: told up to here, in this epoch.
  #reader = { epoch: 1, seq: 0 };

  constructor() {
    this.#do(this.follow.follow(CHANNEL));
    this.check();
  }

  get seq(): number {
    return this.#log.length;
  }

  play(act: Act): void {
    if (act.kind === 'commit') for (let i = 0; i < act.count; i++) this.#log.push(this.#epoch);
    else if (act.kind === 'wait') this.#now += act.ms;
    else if (act.kind === 'answer') this.answer(act);
    else if (act.kind === 'check') this.check();
    else if (act.kind === 'prune') this.#pruned = Math.min(this.seq, this.#pruned + act.by);
    else if (act.kind === 'tell') this.#tell(Math.max(1, this.seq - act.from), act.count);
    else {
      this.#log.length = Math.max(this.#pruned, this.seq - act.back);
      this.#epoch++;
    }
    this.#do(this.follow.due(this.#now));
    this.#look();
  }

  answer({ fails, lag }: { readonly fails: boolean; readonly lag: number }): void {
    const cursor = this.#asked.shift();
    if (cursor === undefined) return;
    if (fails) return this.#do(this.follow.failed(cursor, this.#now));
    const recovered =
      cursor.epoch === this.#epoch &&
      cursor.seq >= this.#pruned &&
      cursor.seq <= this.seq &&
      (cursor.seq === 0 ? cursor.id === null : cursor.id === this.#id(cursor.seq));
    const last = Math.max(cursor.seq, this.seq - lag);
    const events = recovered && last > cursor.seq ? this.#batch(cursor.seq + 1, last) : undefined;
    this.#do(this.follow.caught({ cursor, head: this.#head(), recovered, batch: events }, this.#now));
  }

  check(): void {
    this.#do(this.follow.head(this.#head(), this.#now));
  }

  /** Everything heals: heads are looked at and the log answers. */
  settle(): void {
    this.check();
    for (let i = 0; i < 50 && (this.#asked.length > 0 || this.follow.nextDue() !== undefined); i++) {
      this.answer({ fails: false, lag: 0 });
      this.#now += GAP_MS;
      this.#do(this.follow.due(this.#now));
    }
    expect(this.#reader).toEqual({ epoch: this.#epoch, seq: this.seq });
    expect(this.#checks).toBe(0);
  }

  #tell(first: number, count: number): void {
    if (first <= this.seq)
      this.#do(this.follow.take(this.#batch(first, Math.min(this.seq, first + count - 1)), this.#now));
  }

  #do(steps: readonly Step[]): void {
    for (const step of steps) {
      if (step.kind === 'resume') this.#asked.push(step.cursor);
      else if (step.kind === 'check') this.#checks++;
      else if (step.kind === 'begin') this.#reader = { epoch: step.head.epoch, seq: step.head.seq };
      else if (step.kind === 'lost') throw new Error('a log that starts an epoch for each restore loses nothing');
      else
        for (const [i, frame] of step.frames.entries()) {
          expect(told(frame).seq).toBe(step.first + i);
          expect(step.first + i).toBe(this.#reader.seq + 1);
          this.#reader = { ...this.#reader, seq: this.#reader.seq + 1 };
        }
    }
    const epochs = this.#asked.map(({ epoch }) => epoch);
    if (new Set(epochs).size < epochs.length) throw new Error('more than one question at a time');
    if (this.#checks > 0) {
      this.#checks = 0;
      this.check();
    }
  }

  // Whatever the memory gives is what the log has.
  #look(): void {
    for (let seq = this.#pruned; seq <= this.seq; seq++) {
      const id = seq === 0 ? null : this.#id(seq);
      const frames = this.follow.since(CHANNEL, { epoch: this.#epoch, seq, id });
      for (const [i, frame] of (frames ?? []).entries())
        expect(told(frame)).toEqual({ epoch: this.#log[seq + i], seq: seq + i + 1 });
    }
  }

  #id(seq: number): EventId {
    return idAt(this.#log[seq - 1] ?? 0, seq);
  }

  #head(): Head {
    const id = this.seq === 0 ? null : this.#id(this.seq);
    return { channel: CHANNEL, epoch: this.#epoch, seq: this.seq, id, authoritySeq: 0, prunedTo: this.#pruned };
  }

  #batch(first: number, last: number): Batch {
    const frames = this.#log.slice(first - 1, last).map((epoch, i) => frameOf(epoch, first + i));
    return { channel: CHANNEL, epoch: this.#epoch, first, lastId: this.#id(last), frames };
  }
}

test('however the news comes, every reader has the whole log in order, or is told that it has not', () => {
  fc.assert(
    fc.property(fc.array(acts, { maxLength: 60 }), (plan) => {
      const world = new World();
      for (const act of plan) world.play(act);
      world.settle();
    }),
    { numRuns: 3000 },
  );
});
