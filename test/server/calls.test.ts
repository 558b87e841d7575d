// What one listener of a call is sent, and who may be in how many calls for how long: under a clock that the test moves.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CALL_DEVICES_MAX,
  CALL_PEOPLE_MAX,
  CALL_REDIAL_MS,
  CALL_TICKET_MS,
  CALL_WAITING_BYTES_MAX,
  CALL_WINDOW_BYTES_MAX,
  CALL_WINDOW_MS,
  CALLS_MAX,
} from '../../src/protocol/limits.ts';
import { CallWindow } from '../../src/server/call-window.ts';
import { type Call, type CallPlace, Calls, type Joining } from '../../src/server/calls.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { outcome } from '../../src/testing/code.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { channelId, deviceId, memberId } from './server.ts';

const W = CALL_WINDOW_MS.clear;

describe('CALL-5: the window of a listener', () => {
  test('is never wider than what is reported in time; what is sent is in order, and the rest are the oldest', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('frame' as const), bytes: fc.integer({ min: 30, max: 420 }) }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 2 * W }) }),
      fc.record({ kind: fc.constant('report' as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        let [now, dropped, made] = [0, 0, 0];
        const window = new CallWindow(W, () => dropped++);
        const sent: { at: number; made: number; bytes: number; madeAt: number }[] = [];
        const times = new Map<Uint8Array, { made: number; at: number }>();
        let reported = 0;
        const take = (frame: Uint8Array): void => {
          const { made = -1, at = 0 } = times.get(frame) ?? {};
          const oldest = sent[reported];
          if (oldest !== undefined) expect(now - oldest.at).toBeLessThan(W);
          const open = sent.slice(reported).reduce((sum, one) => sum + one.bytes, 0);
          expect(open).toBeLessThan(CALL_WINDOW_BYTES_MAX);
          expect(made).toBeGreaterThan(sent.at(-1)?.made ?? -1);
          expect(now - at).toBeLessThan(W);
          sent.push({ at: now, made, bytes: frame.length, madeAt: at });
        };
        for (const one of steps) {
          if (one.kind === 'wait') now += one.ms;
          else if (one.kind === 'frame') {
            const frame = new Uint8Array(one.bytes);
            times.set(frame, { made: made++, at: now });
            if (window.offer(frame, now)) take(frame);
          } else {
            const received = Math.max(reported, Math.floor(sent.length * one.part));
            reported = received;
            const frames = window.report(received, now);
            for (const frame of frames === false ? [] : frames) take(frame);
          }
        }
        // With a listener who reports everything, what is fresh is sent, and nothing is lost but what was dropped.
        reported = sent.length;
        const rest = window.report(sent.length, now);
        for (const frame of rest === false ? [] : rest) take(frame);
        window.dropOld(now + W);
        expect(sent.length + dropped).toBe(made);
      }),
      { numRuns: 200 },
    );
  });

  test('goes on with what is fresh once a stall is over, and takes no report of more than was sent', () => {
    let dropped = 0;
    const window = new CallWindow(W, () => dropped++);
    const frames = Array.from({ length: 100 }, () => new Uint8Array(100));
    const sent = frames.filter((frame, i) => window.offer(frame, i * 20));
    expect(sent).toEqual(frames.slice(0, W / 20));
    expect(window.report(sent.length + 1, 2000)).toBe(false);
    expect(window.report(sent.length, 2000)).toEqual(frames.slice(76));
    expect(dropped).toBe(76 - W / 20);
    expect(window.report(1, 2000)).toEqual([]);
    expect(window.offer(new Uint8Array(100), 2001)).toBe(true);
  });

  test('keeps few bytes, sent or waiting, however fast they come', () => {
    let dropped = 0;
    const window = new CallWindow(CALL_WINDOW_MS.tor, () => dropped++);
    let [sent, offered] = [0, 0];
    for (; offered < 5000; offered++) if (window.offer(new Uint8Array(400), 0)) sent++;
    expect(sent * 400).toBeLessThan(CALL_WINDOW_BYTES_MAX + 400);
    expect((offered - sent - dropped) * 400).toBeLessThanOrEqual(CALL_WAITING_BYTES_MAX);
  });
});

describe('the calls of a server', () => {
  const begin = () => {
    const clock = new ManualClock();
    const changed: Call[] = [];
    const calls = new Calls({
      clock,
      random: seededRandom(1),
      changed: (call) => changed.push(call),
    });
    return { clock, calls, changed };
  };
  const inChannel = (n: number): CallPlace => ({ kind: 'channel', channel: channelId(n) });
  const who = (member: number, device = member): Joining => ({
    member: memberId(member),
    device: deviceId(device),
    muted: false,
    deafened: false,
    silencedUntil: 0,
    windowMs: W,
  });

  test('have room for so many devices, of a member for so many, and are so many', () => {
    const { calls } = begin();
    for (let i = 0; i < CALL_PEOPLE_MAX; i++) calls.join(inChannel(0), who(i));
    expect(outcome(() => calls.join(inChannel(0), who(99)))).toBe('call.full');
    expect(calls.join(inChannel(0), { ...who(0), muted: true }).muted).toBe(true);
    for (let i = 1; i < CALL_DEVICES_MAX; i++) calls.join(inChannel(i), who(0, 100 + i));
    expect(outcome(() => calls.join(inChannel(50), who(0, 104)))).toBe('call.tooMany');
    for (let i = CALL_DEVICES_MAX; i < CALLS_MAX; i++) calls.join(inChannel(i), who(1000 + i));
    expect(outcome(() => calls.join(inChannel(CALLS_MAX), who(5000)))).toBe('server.busy');
    expect(calls.size).toBe(CALLS_MAX);
    calls.end(channelId(0), 'channel.archived');
    expect(calls.size).toBe(CALLS_MAX - 1);
    expect(calls.join(inChannel(50), who(0, 104)).device).toBe(deviceId(104));
  });

  test('let a ticket in once, and not when it is too old or another was given since', () => {
    const { calls, clock } = begin();
    const person = calls.join(inChannel(1), who(1));
    const [first, second] = [calls.issue(person), calls.issue(person)];
    expect([calls.redeem(first), calls.redeem(second), calls.redeem(second)]).toEqual([undefined, person, undefined]);
    const late = calls.issue(person);
    clock.moveTo(CALL_TICKET_MS);
    expect(calls.redeem(late)).toBeUndefined();
    const gone = calls.issue(person);
    calls.leave(person, 'left');
    expect(calls.redeem(gone)).toBeUndefined();
  });

  test('are left by who opens no link, and end with the last', () => {
    const { calls, clock, changed } = begin();
    const [person] = [calls.join(inChannel(1), who(1)), calls.join(inChannel(1), who(2))];
    calls.sweep();
    expect(clock.step()).toBe(false);
    expect([person.call.people.size, changed.length]).toEqual([2, 0]);
    clock.moveTo(CALL_REDIAL_MS);
    calls.sweep();
    // Two have left, which is told once.
    expect([clock.step(), clock.step()]).toEqual([true, false]);
    expect([calls.size, person.call.people.size, changed]).toEqual([0, 0, [person.call]]);
    expect(outcome(() => calls.find(inChannel(1), deviceId(1)))).toBe('call.unknown');
    // What comes next is another call.
    expect(calls.join(inChannel(1), who(1)).call.id).not.toBe(person.call.id);
  });
});
