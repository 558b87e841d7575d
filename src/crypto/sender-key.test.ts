import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import type { ChannelId, DeviceId } from '../protocol/ids.ts';
import { SENDER_KEY_MESSAGES_MAX, SENDER_KEY_MS_MAX, SENDER_KEY_STEPS_MAX } from '../protocol/limits.ts';
import { outcome } from '../testing/code.ts';
import {
  type ChainPlace,
  devicesWithoutKey,
  distributionIdOf,
  OwnChain,
  readDistributionId,
  rotationDue,
  TheirChain,
} from './sender-key.ts';

const NOW = 1_800_000_000_000;
const id = (n: number) => n.toString(16).padStart(2, '0').repeat(16);
const place: ChainPlace = { channel: id(1) as ChannelId, epoch: 1, device: id(2) as DeviceId };
const text = (words: string) => new Uint8Array(Buffer.from(words));
const words = (bytes: Uint8Array) => Buffer.from(bytes).toString();
/** A sender, and a reader who has the key from the start. */
const pair = async () => {
  const own = new OwnChain(place, { now: NOW });
  const theirs = new TheirChain(place);
  await theirs.take(await own.share());
  return { own, theirs };
};

describe('KEY-3: a sender key', () => {
  test('carries messages, both ends reloaded from their bytes at every step', async () => {
    let { own, theirs } = await pair();
    for (let i = 0; i < 50; i++) {
      const body = await own.seal(text(`message ${i}`));
      expect([body[0], words(await theirs.open(body))]).toEqual([2, `message ${i}`]);
      own = new OwnChain(place, { state: own.serialize() });
      theirs = new TheirChain(place, theirs.serialize());
    }
    expect([own.sent, own.madeAt]).toEqual([50, NOW]);
  });

  test('is known by an id of channel, epoch and device', async () => {
    const number = Buffer.from('00000001', 'hex');
    const hash = createHash('sha256')
      .update('sotto sender key 1')
      .update(Buffer.from(id(1), 'hex'))
      .update(number)
      .update(Buffer.from(id(2), 'hex'))
      .digest('hex');
    const found = distributionIdOf(place);
    expect(found.replaceAll('-', '').replace(/^(.{12})4(.{3})8/, '$1x$2x')).toBe(
      hash.slice(0, 32).replace(/^(.{12}).(.{3})./, '$1x$2x'),
    );
    expect(readDistributionId(await (await pair()).own.seal(text('x')))).toBe(found);
    const others = [
      { ...place, epoch: 2 },
      { ...place, channel: id(3) as ChannelId },
      { ...place, device: id(3) as DeviceId },
    ];
    expect(new Set([place, ...others].map(distributionIdOf)).size).toBe(4);
  });

  test('opens messages out of order, each once: a replay is undecryptable', async () => {
    const { own, theirs } = await pair();
    const bodies = [];
    for (let i = 0; i < 20; i++) bodies.push(await own.seal(text(String(i))));
    for (const [i, body] of [...bodies.entries()].reverse()) expect(words(await theirs.open(body))).toBe(String(i));
    for (const body of bodies)
      expect(await outcome(() => theirs.open(body))).toBe('frame.undecryptable DuplicatedMessage');
  });

  test('opens nothing for who never got it, or got it later, before that', async () => {
    const { own } = await pair();
    const early = await own.seal(text('early'));
    const newcomer = new TheirChain(place);
    expect(await outcome(() => newcomer.open(early))).toBe('frame.undecryptable Generic');
    await newcomer.take(await own.share());
    expect(await outcome(() => newcomer.open(early))).toBe('frame.undecryptable DuplicatedMessage');
    expect(words(await newcomer.open(await own.seal(text('late'))))).toBe('late');
  });

  test('fits no other channel, epoch or device, neither its key nor its messages', async () => {
    const { own } = await pair();
    const [share, body] = [await own.share(), await own.seal(text('x'))];
    for (const other of [
      { ...place, epoch: 2 },
      { ...place, channel: id(3) as ChannelId },
      { ...place, device: id(3) as DeviceId },
    ]) {
      const chain = new TheirChain(other);
      expect(await outcome(() => chain.take(share))).toBe('frame.undecryptable chain');
      expect(await outcome(() => chain.open(body))).toBe('frame.undecryptable chain');
      expect(chain.serialize().length).toBe(0);
    }
  });

  test('is its maker’s alone: a reader cannot seal in its name, and a changed message does not open', async () => {
    const { own, theirs } = await pair();
    const body = await own.seal(text('x'));
    const forger = new OwnChain(place, { now: NOW });
    expect(await outcome(async () => theirs.open(await forger.seal(text('forged'))))).toBe(
      'frame.undecryptable Generic',
    );
    for (let at = 0; at < body.length; at += 7) {
      const changed = body.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(await outcome(() => theirs.open(changed))).toMatch(/^frame.undecryptable/);
    }
    expect(words(await theirs.open(body))).toBe('x');
  });

  test('after a rotation is another one: who was left out opens nothing more', async () => {
    const { own, theirs } = await pair();
    const reader = new TheirChain(place, theirs.serialize());
    const late = await own.seal(text('late'));
    const next = new OwnChain(place, { now: NOW });
    await reader.take(await next.share());
    const body = await next.seal(text('after'));
    expect(words(await reader.open(body))).toBe('after');
    expect(words(await reader.open(late))).toBe('late');
    expect(await outcome(() => theirs.open(body))).toBe('frame.undecryptable Generic');
  });
});

describe('KEY-3: the length of a chain', () => {
  let own: OwnChain;
  let theirs: TheirChain;
  beforeAll(async () => {
    ({ own, theirs } = await pair());
    for (let i = 0; i < SENDER_KEY_STEPS_MAX; i++) await own.seal(text('x'));
  });

  test('has an end for who seals', async () => {
    await expect(own.seal(text('x'))).rejects.toThrow('rotate');
  });

  test('and for who reads: nothing winds it further', async () => {
    // A sender that keeps no rule, who counts as if he had.
    const state = own.serialize();
    state.fill(0, 6, 10);
    const wild = new OwnChain(place, { state });
    const before = theirs.serialize();
    for (let i = 0; i < 2; i++) {
      const body = await wild.seal(text('far'));
      const last = i === 0 ? 'far' : 'frame.undecryptable steps';
      const result = await outcome(() => new TheirChain(place, before).open(body));
      expect(result instanceof Uint8Array ? words(result) : result).toBe(last);
    }
    expect(await outcome(async () => new TheirChain(place).take(await wild.share()))).toBe('frame.undecryptable steps');
  });
});

describe('KEY-3: when a key is made anew', () => {
  const devices = [id(5), id(6)] as DeviceId[];
  const present = { epoch: 1, devices: new Set(devices), now: NOW + 1 };
  const own = { epoch: 1, chain: { madeAt: NOW, sent: 5 }, readers: devices.slice(0, 1) };

  test('before the first message, in another epoch, after the loss of a device, after 7 days or 1,000 messages', () => {
    expect(rotationDue(undefined, present)).toBe('none');
    expect(rotationDue(own, present)).toBeUndefined();
    expect(rotationDue(own, { ...present, epoch: 2 })).toBe('epoch');
    expect(rotationDue({ ...own, readers: [id(7) as DeviceId] }, present)).toBe('device');
    expect(rotationDue(own, { ...present, now: NOW + SENDER_KEY_MS_MAX - 1 })).toBeUndefined();
    expect(rotationDue(own, { ...present, now: NOW + SENDER_KEY_MS_MAX })).toBe('age');
    expect(rotationDue(own, { ...present, now: NOW - SENDER_KEY_MS_MAX })).toBe('age');
    const sent = (count: number) => rotationDue({ ...own, chain: { madeAt: NOW, sent: count } }, present);
    expect([sent(SENDER_KEY_MESSAGES_MAX - 1), sent(SENDER_KEY_MESSAGES_MAX)]).toEqual([undefined, 'messages']);
  });

  test('it goes to the devices that do not have it', () => {
    expect(devicesWithoutKey(own.readers, present.devices)).toEqual([devices[1]]);
    expect(devicesWithoutKey(devices, present.devices)).toEqual([]);
  });
});
