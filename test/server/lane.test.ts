import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LOG_BATCH_EVENTS_MAX, LOG_WAIT_MS_MAX, LOG_WAITING_EVENTS_MAX } from '../../src/protocol/limits.ts';
import { type Draft, type EventLog, LogError, type Outcome } from '../../src/server/event-log.ts';
import { Lane } from '../../src/server/lane.ts';
import {
  change,
  channelId,
  draft,
  eventId,
  freshServer,
  furnish,
  memberId,
  newChannel,
  put,
  textsIn,
  turn,
} from './server.ts';

const CHANNEL = channelId(1);

/** What happens to one append: it is answered, nothing happens, it commits and does not say so, or neither is said. */
type Fault = 'none' | 'unavailable' | 'lost answer' | 'unknown';

/** A log whose appends go wrong as told, one after the other; then well. */
class Faulty implements Pick<EventLog, 'append'> {
  readonly #log: EventLog;
  readonly faults: Fault[] = [];
  readonly batches: number[] = [];
  constructor(log: EventLog) {
    this.#log = log;
  }

  async append(batch: readonly Draft[]): Promise<readonly Outcome[]> {
    this.batches.push(batch.length);
    const fault = this.faults.shift() ?? 'none';
    if (fault === 'unavailable' || fault === 'unknown') throw new LogError(fault);
    const outcomes = await this.#log.append(batch);
    if (fault === 'lost answer') throw new LogError('unknown');
    return outcomes;
  }
}

type Server = Awaited<ReturnType<typeof freshServer>>;
let server: Server;
let log: Faulty;
let lane: Lane;
let told: string[];

const begin = async () => {
  server = await freshServer();
  await furnish(server.log);
  takeLane();
};
const takeLane = () => {
  log = new Faulty(server.log);
  told = [];
  lane = new Lane({
    log,
    clock: server.clock,
    turn,
    committed: (published) => told.push(...published.map(({ draft }) => Buffer.from(draft.body).toString())),
  });
};
const end = async () => {
  await lane[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
};
const say = (text: string, more: Partial<Draft> = {}) => lane.publish(draft({ text, ...more }));
const turns = async (count = 4) => {
  for (let i = 0; i < count; i++) await turn();
};
/** Time goes on until there is nothing to do. */
const pass = async (ms: number) => {
  const until = server.clock.monotonic() + ms;
  for (await turns(); server.clock.step(until); await turns());
  server.clock.moveTo(until);
  await turns();
};
const code = (answer: Promise<Outcome>) =>
  answer.then(
    (outcome) => ('code' in outcome ? outcome.code : outcome.kind),
    (error) => (error as LogError).certainty,
  );

describe('a lane', () => {
  beforeEach(begin);
  afterEach(end);

  test('makes one batch of a turn, the next of what comes meanwhile, and answers after it has told of the commit', async () => {
    const order: string[] = [];
    const answered = ['a', 'b', 'c'].map((text) => say(text).then(() => order.push(`${text} after ${told.join()}`)));
    await turns();
    answered.push(say('d').then(() => order.push(`d after ${told.join()}`)));
    await Promise.all(answered);
    expect(order).toEqual(['a after a,b,c', 'b after a,b,c', 'c after a,b,c', 'd after a,b,c,d']);
    expect(log.batches).toEqual([3, 1]);
  });

  test('makes batches of limited size, in order', async () => {
    const count = 2 * LOG_BATCH_EVENTS_MAX + 5;
    const small = Array.from({ length: count }, (_, i) => say(`${i}`));
    const large = [1, 2, 3].map((n) => say('', { body: new Uint8Array(600_000).fill(n) }));
    expect(lane.depth).toBe(count + 3);
    const seqs = (await Promise.all([...small, ...large])).map((one) => ('seq' in one ? one.seq : one));
    expect(seqs).toEqual(Array.from({ length: count + 3 }, (_, i) => i + 2));
    expect(log.batches).toEqual([LOG_BATCH_EVENTS_MAX, LOG_BATCH_EVENTS_MAX, 6, 1, 1]);
  });

  test('waits for a log that is away, keeps the order, and says so after a while', async () => {
    log.faults.push('unavailable', 'unavailable');
    const first = say('first');
    await turns();
    const second = say('second');
    await pass(1000);
    expect([await code(first), await code(second), told]).toEqual(['committed', 'committed', ['first', 'second']]);
    log.faults.push(...Array<Fault>(40).fill('unavailable'));
    const third = code(say('third'));
    await pass(LOG_WAIT_MS_MAX - 1000);
    const fourth = code(say('fourth'));
    await pass(1000);
    expect(await third).toBe('unavailable');
    log.faults.length = 0;
    await pass(2000);
    expect([await fourth, await textsIn(server.log)]).toEqual(['committed', ['made 1', 'first', 'second', 'fourth']]);
  });

  test('an append that may have happened is asked for again: told once, in its place', async () => {
    log.faults.push('lost answer', 'unknown', 'none', 'unknown', 'unavailable');
    const one = say('one');
    await turns();
    const two = say('two');
    await pass(1000);
    expect([await code(one), await code(two), told]).toEqual(['duplicate', 'committed', ['one', 'two']]);
    expect(await textsIn(server.log)).toEqual(['made 1', 'one', 'two']);
  });

  test('an append that may have happened, with an id in it twice: told once', async () => {
    log.faults.push('lost answer');
    const twice = [say('one', { id: eventId(1) }), say('one', { id: eventId(1) }), say('two')];
    await pass(1000);
    expect(await Promise.all(twice.map(code))).toEqual(['duplicate', 'duplicate', 'duplicate']);
    expect([told, await textsIn(server.log)]).toEqual([
      ['one', 'two'],
      ['made 1', 'one', 'two'],
    ]);
  });

  test('who waited too long is told that it may have happened; that it did is told to the readers all the same', async () => {
    log.faults.push('lost answer', ...Array<Fault>(40).fill('unavailable'));
    const one = draft({ text: 'one' });
    const waiting = code(lane.publish(one));
    await pass(LOG_WAIT_MS_MAX);
    expect([await waiting, told]).toEqual(['unknown', []]);
    log.faults.length = 0;
    const again = code(lane.publish(one));
    await pass(3000);
    expect([told, await again, await textsIn(server.log)]).toEqual([['one'], 'duplicate', ['made 1', 'one']]);
  });

  test('an id that comes twice at once is one event; of another member it is taken; a stale one does not speak for the next', async () => {
    const id = eventId(1);
    const answers = [
      say('a', { id }),
      say('b', { id }),
      say('c', { id, member: memberId(2) }),
      say('d', { id, channel: channelId(2) }),
    ];
    expect(await Promise.all(answers.map(code))).toEqual(['committed', 'duplicate', 'id_taken', 'no_such_channel']);
    expect(log.batches).toEqual([4]);
    const ban = {
      kind: 'membership',
      row: { member: memberId(1), state: 'left', role: 'member', mutedUntil: 0 },
    } as const;
    await lane.publish(change([ban], { channel: CHANNEL }));
    const late = { id: eventId(2) };
    expect(await Promise.all([say('x', { ...late, checkedAt: 0 }), say('y', late)].map(code))).toEqual([
      'stale',
      'committed',
    ]);
  });

  test('takes no more than it can hold, and nothing once it is closed', async () => {
    log.faults.push('unavailable');
    const many = Array.from({ length: LOG_WAITING_EVENTS_MAX }, () => code(say('x')));
    expect(await code(say('too many'))).toBe('unavailable');
    const closing = lane[Symbol.asyncDispose]();
    expect(await code(say('too late'))).toBe('unavailable');
    for (let answered = false; !answered; ) {
      const all = Promise.all(many).then((codes) => {
        expect(new Set(codes)).toEqual(new Set(['committed']));
        answered = true;
      });
      await Promise.race([all, pass(100)]);
    }
    await closing;
    expect(lane.depth).toBe(0);
  });
});

const faults = fc.constantFrom<Fault>('none', 'none', 'none', 'unavailable', 'lost answer', 'unknown');

test('whatever the log does, what was answered is there once, in order, and readers are told all of it in order', async () => {
  await begin();
  let run = 1;
  await fc.assert(
    fc.asyncProperty(
      fc.array(faults, { maxLength: 30 }),
      fc.array(fc.record({ count: fc.integer({ min: 0, max: 5 }), ms: fc.integer({ min: 0, max: 2500 }) }), {
        maxLength: 8,
      }),
      async (plan, steps) => {
        const channel = channelId(++run);
        await put(server.log, change([{ kind: 'channel', row: newChannel(run) }], { channel }));
        takeLane();
        log.faults.push(...plan);
        const answers: { readonly text: string; readonly answer: Promise<string> }[] = [];
        for (const { count, ms } of steps) {
          for (let i = 0; i < count; i++) {
            const text = String(answers.length);
            answers.push({ text, answer: code(say(text, { channel })) });
          }
          await pass(ms);
        }
        await pass(60_000);
        const there = (await textsIn(server.log, channel)).slice(1);
        expect(there).toEqual([...there].sort((a, b) => Number(a) - Number(b)));
        expect(new Set(there).size).toBe(there.length);
        expect(told).toEqual(there);
        for (const { text, answer } of answers) {
          const got = await answer;
          if (got === 'committed' || got === 'duplicate') expect(there).toContain(text);
          if (got === 'unavailable') expect(there).not.toContain(text);
        }
        await lane[Symbol.asyncDispose]();
      },
    ),
    { numRuns: 40 },
  );
  await end();
});
