// Links whose other end is gone without a word: who notices, how soon, and that nothing is lost by it.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FAIR } from '../net/memory-network.ts';
import {
  ACK_MS_MAX,
  ACK_TALKING_MS_MAX,
  LINK_DOUBT_MS,
  LINK_IDLE_MS,
  LINK_PING_MISSED_MAX,
  LINK_PING_MS,
} from '../protocol/limits.ts';
import { type Person, World } from '../testing/people.ts';

const DEAF = { ...FAIR, loss: 1 };
// The heartbeat looks every 5 s.
const BEAT_MS = 5_000;

let world: World;
/** By address: the dial of the first one stays when two cross. */
let lower: Person;
let higher: Person;

beforeEach(async () => {
  world = new World();
  const { alice, bob } = await world.friends();
  [lower, higher] = alice.address < bob.address ? [alice, bob] : [bob, alice];
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

/** Why links of a person ended from now on. */
const endings = (person: Person): string[] => {
  const reasons: string[] = [];
  person.account.events.subscribe((event) => {
    if (event.kind === 'link.down') reasons.push(event.detail ?? '');
  });
  return reasons;
};

describe('a link over which nothing comes any more', () => {
  test('ends when two pings were not answered, and not before', async () => {
    const ended = endings(lower);
    await world.settle(10 * LINK_PING_MS);
    expect(ended).toEqual([]);
    world.hub.weather = DEAF;
    await world.settle(LINK_PING_MISSED_MAX * 0.75 * LINK_PING_MS - BEAT_MS);
    expect(ended).toEqual([]);
    await world.settle(LINK_PING_MISSED_MAX * LINK_PING_MS + 2 * BEAT_MS);
    expect(ended).toEqual(['no answer']);
  });

  test('ends when what was sent is not acknowledged in 30 s; it goes again over the next one, and is there once', async () => {
    const ended = endings(lower);
    world.hub.weather = DEAF;
    await lower.send(higher, 'into the void');
    await world.settle(ACK_MS_MAX - 1);
    expect(ended).toEqual([]);
    world.hub.weather = FAIR;
    await world.settle(2 * BEAT_MS);
    expect(ended).toEqual(['no acknowledgement']);
    expect(await higher.read(lower)).toEqual(['into the void']);
  });
});

test('a slow link over which both say much at once stays, and all of it comes', async () => {
  const ended = endings(lower);
  world.hub.weather = { ...FAIR, delayMs: [300, 300], bytesPerSecond: 15_000 };
  const texts = Array.from({ length: 60 }, (_, n) => `${n} ${'x'.repeat(16_000)}`);
  for (const text of texts)
    for (const [one, other] of [[lower, higher] as const, [higher, lower] as const]) await one.send(other, text);
  await world.settle(120_000);
  for (const [one, other] of [[lower, higher] as const, [higher, lower] as const])
    expect((await one.messages(other)).filter(({ mine, state }) => mine && state === 'delivered')).toHaveLength(60);
  expect(ended).toEqual([]);
});

test('a link whose other end talks and acknowledges nothing ends all the same', async () => {
  const ended = endings(lower);
  const { weather } = world.hub;
  await lower.send(higher, 'first');
  await world.settle();
  // What lower says is lost; what higher says comes.
  for (let at = 0; at < 2 * ACK_TALKING_MS_MAX && ended.length === 0; at += 10_000) {
    world.hub.weather = DEAF;
    if (at === 0) await lower.send(higher, 'into the void');
    world.hub.weather = weather;
    await higher.send(lower, `still here ${at}`);
    await world.settle(10_000);
  }
  expect(ended).not.toEqual([]);
  await world.settle(60_000);
  expect(await higher.read(lower)).toContain('into the void');
});

test('a link that nobody uses ends after 10 minutes, and not before; the next text brings another', async () => {
  await lower.send(higher, 'early');
  await world.settle();
  const ended = endings(lower);
  await world.settle(LINK_IDLE_MS / 2);
  await lower.send(higher, 'late');
  await world.settle(LINK_IDLE_MS - 2 * BEAT_MS);
  expect(ended).toEqual([]);
  await world.settle(5 * BEAT_MS);
  expect(ended).toHaveLength(1);
  expect(lower.account.status().links).toEqual([]);
  await lower.send(higher, 'again');
  await world.settle();
  expect(await higher.read(lower)).toEqual(['early', 'late', 'again']);
});

describe('LINK-9: the other side dials although we think that we are linked', () => {
  test('the link that stays is dropped when no pong comes in 4 s, and the next dial is taken', async () => {
    await higher.close();
    await world.settle();
    await higher.open();
    await lower.send(higher, 'by my dial');
    await world.settle(10_000);
    expect(await higher.read(lower)).toEqual(['by my dial']);
    const ended = endings(lower);
    world.hub.loseHalf(higher.address);
    await higher.send(lower, 'by yours');
    await world.settle(LINK_DOUBT_MS - 1);
    expect([ended, await lower.read(higher)]).toEqual([[], ['by my dial']]);
    await world.settle(LINK_DOUBT_MS);
    expect([ended, await lower.read(higher)]).toEqual([['no answer'], ['by my dial', 'by yours']]);
  });
});
