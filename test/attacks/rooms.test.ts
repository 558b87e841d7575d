// What a server that keeps no rule can make of a channel: everything it shows is built with real keys, opened as members do.
import { beforeEach, describe, expect, test } from 'vitest';
import { makeKeyWrap, openBody, openKeyWrap, readBodyHead, sealBody } from '../../src/crypto/channel-key.ts';
import { type ChannelState, judgeContent } from '../../src/crypto/channel-state.ts';
import { compareCertificate, readDeviceCertificate } from '../../src/crypto/member.ts';
import { replay } from '../../src/crypto/membership.ts';
import { PreKeySet } from '../../src/crypto/prekeys.ts';
import { ed25519Public, sha256 } from '../../src/crypto/primitives.ts';
import { followsN, historyHash, openEvent, signEvent } from '../../src/crypto/room-event.ts';
import {
  devicesWithoutKey,
  distributionIdOf,
  OwnChain,
  readDistributionId,
  rotationDue,
  TheirChain,
} from '../../src/crypto/sender-key.ts';
import { SignalSession } from '../../src/crypto/session.ts';
import type { DeviceId, EventId, MemberId } from '../../src/protocol/ids.ts';
import { joinBundle } from '../../src/protocol/prekeys.ts';
import { decodeContent, EVENT_KIND } from '../../src/protocol/room-content.ts';
import { outcome } from '../../src/testing/code.ts';
import { keysOf, SERVER_ID, TestChannel, type TestMember, testEventId, testMember } from '../../src/testing/rooms.ts';

const NOW = 1_800_000_000_000;
const [alice, bob, carol, mallory] = [1, 2, 3, 9].map((n) => testMember(n)) as [
  TestMember,
  TestMember,
  TestMember,
  TestMember,
];
const all = [alice, bob, carol, mallory];

/** What a server shows of a content: its header, and the body it says belongs there. */
type Shown = { readonly id: EventId; readonly sender: MemberId; readonly seq: number; readonly body: Uint8Array };

/** One device's end of a members channel: the chains it has been given, and its own. */
class Reader {
  readonly me: TestMember;
  readonly #channel: TestChannel;
  readonly #chains = new Map<string, TheirChain>();
  readonly #last = new Map<DeviceId, number>();
  own: OwnChain | undefined;
  epoch = 0;
  readers: DeviceId[] = [];

  constructor(me: TestMember, channel: TestChannel) {
    this.me = me;
    this.#channel = channel;
  }

  /** Devices of the members in the replayed list, but our own: nobody else is ever given a key. */
  get #devices(): Set<DeviceId> {
    const { members } = this.#channel.now;
    return new Set(all.filter(({ id }) => id !== this.me.id && members.has(id)).map(({ device }) => device));
  }

  /** Seals a text, giving the key before to whoever should have it. `given` changes what is signed. */
  async say(words: string, others: readonly Reader[], given: object = {}): Promise<Shown> {
    const { now } = this.#channel;
    const own = this.own === undefined ? undefined : { epoch: this.epoch, chain: this.own, readers: this.readers };
    if (rotationDue(own, { epoch: now.epoch, devices: this.#devices, now: NOW }) !== undefined) {
      this.epoch = now.epoch;
      this.readers = [];
      this.own = new OwnChain({ channel: now.channel, epoch: now.epoch, device: this.me.device }, { now: NOW });
    }
    const chain = this.own as OwnChain;
    for (const device of devicesWithoutKey(this.readers, this.#devices)) {
      this.readers.push(device);
      await others.find((other) => other.me.device === device)?.take(this.me, now.epoch, await chain.share());
    }
    const header = this.#channel.header(this.me, { kind: EVENT_KIND.content, ...given });
    const signed = signEvent(this.#channel.scope, header, { kind: 'text', text: words }, this.me.deviceSeed);
    return { id: header.id, sender: header.sender, seq: now.seq + 1, body: await chain.seal(signed) };
  }

  async take(from: TestMember, epoch: number, share: Uint8Array): Promise<void> {
    const place = { channel: this.#channel.now.channel, epoch, device: from.device };
    const chain = this.#chains.get(distributionIdOf(place)) ?? new TheirChain(place);
    await chain.take(share);
    this.#chains.set(distributionIdOf(place), chain);
  }

  /** What a member sees: the text, or why there is none. */
  async see({ id, sender, body }: Shown, state: ChannelState = this.#channel.now): Promise<unknown> {
    return outcome(async () => {
      const chain = this.#chains.get(readDistributionId(body));
      if (chain === undefined) return 'no key';
      const outer = { id, sender, kind: EVENT_KIND.content, epoch: state.epoch };
      const given = { scope: this.#channel.scope, outer, keyOf: keysOf(...all) };
      const { header, content } = openEvent(given, await chain.open(body), decodeContent);
      followsN(this.#last.get(header.device) ?? 0, header.n);
      const why = judgeContent(state, { header, kind: content.kind, at: NOW });
      if (why !== undefined) return why;
      this.#last.set(header.device, header.n);
      return content.kind === 'text' ? content.text : content.kind;
    });
  }
}

describe('a members channel on a server that keeps no rule', () => {
  let channel: TestChannel;
  let [a, b, c]: [Reader, Reader, Reader] = [] as never;

  beforeEach(() => {
    channel = new TestChannel();
    const members = [bob, carol].map(({ id }) => ({ member: id, role: 'member' as const }));
    channel.do(alice, { op: 'create', name: 'ops', encryption: 'members', private: true, history: 'joined', members });
    [a, b, c] = [new Reader(alice, channel), new Reader(bob, channel), new Reader(carol, channel)];
  });

  test('its members read each other', async () => {
    const shown = await a.say('hello', [b, c]);
    expect([await b.see(shown), await c.see(shown)]).toEqual(['hello', 'hello']);
    expect(await b.see(await c.say('hi', [a, b]))).toBe('hi');
  });

  test('it relabels a sender, a place or a channel: nothing of it is read', async () => {
    const shown = await a.say('hello', [b, c]);
    expect(await b.see({ ...shown, sender: carol.id })).toBe('event.invalid outer');
    expect(await c.see({ ...shown, id: testEventId(77) })).toBe('event.invalid outer');
    const other = new TestChannel();
    other.do(alice, {
      op: 'create',
      name: 'other',
      encryption: 'members',
      private: true,
      history: 'joined',
      members: [{ member: bob.id, role: 'member' }],
    });
    expect(await new Reader(bob, other).see(shown)).toBe('no key');
  });

  test('it repeats an event, also under another id: once is all', async () => {
    const shown = await a.say('hello', [b, c]);
    expect(await b.see(shown)).toBe('hello');
    for (const again of [shown, { ...shown, id: testEventId(88) }])
      expect(await b.see(again)).toBe('frame.undecryptable DuplicatedMessage');
    // An old event sealed anew by its author’s device, as after a copied folder, does not count again either.
    expect(await b.see(await a.say('old', [b, c], { n: 2 }))).toBe('event.invalid n');
  });

  test('it reports a join, or makes a member: who is not in the replayed list is given no key', async () => {
    expect(channel.do(mallory, { op: 'join' })).toBe('notInvited');
    expect(channel.do(mallory, { op: 'add', member: mallory.id })).toBe('notMember');
    expect(channel.do(mallory, { op: 'invite', member: mallory.id })).toBe('notMember');
    const m = new Reader(mallory, channel);
    const shown = await a.say('hello', [b, c, m]);
    expect([await m.see(shown), await b.see(shown)]).toEqual(['no key', 'hello']);
    expect(a.readers.sort()).toEqual([bob.device, carol.device].sort());
  });

  test('it goes on serving one who was removed: he reads nothing new, and nobody reads him', async () => {
    await b.see(await a.say('before', [b, c]));
    await a.see(await b.say('before', [a, c]));
    const [held, later] = [await b.say('held back', [a, c]), await b.say('held back', [a, c])];
    const before = channel.now;
    channel.do(alice, { op: 'remove', member: bob.id });
    const shown = await a.say('after', [b, c]);
    expect([await b.see(shown, before), await c.see(shown)]).toEqual(['no key', 'after']);
    expect(await a.see(held)).toBe('event.invalid outer');
    expect(await a.see(later, { ...channel.now, epoch: 1 })).toBe('notMember');
    expect(await a.see(await b.say('still here', [a, c]))).toBe('notMember');
  });

  test('a newcomer reads from there on', async () => {
    const early = await a.say('early', [b, c]);
    channel.do(alice, { op: 'add', member: mallory.id });
    const m = new Reader(mallory, channel);
    expect([await m.see(early), await m.see(await a.say('late', [b, c, m]))]).toEqual(['no key', 'late']);
    expect(await m.see(early)).toBe('frame.undecryptable DuplicatedMessage');
  });

  test('it invents a device, or swaps the keys of one', () => {
    const rogue = testMember(1, SERVER_ID, 5);
    const forged = rogue.certificate.slice();
    forged.set(mallory.certified.signingKey, 26 + 64);
    expect(outcome(() => readDeviceCertificate(forged, SERVER_ID))).toBe('certificate.invalid signature');
    const elsewhere = ed25519Public(new Uint8Array(32).fill(3));
    expect(outcome(() => readDeviceCertificate(testMember(1, elsewhere).certificate, SERVER_ID))).toBe(
      'certificate.invalid server',
    );
    const old = { ...alice.certified, serial: 0 };
    expect(outcome(() => compareCertificate([alice.certified], old))).toBe('certificate.invalid older');
  });

  test('it hands out a bundle of another: no session begins', async () => {
    const upload = new PreKeySet().refill(mallory.signal, { ec: 99, kyber: 99 }, NOW);
    const bundle = joinBundle({ signed: upload?.signed as Uint8Array, kyber: upload?.lastResort as Uint8Array });
    const parties = { identity: alice.signal, ours: alice.device, theirs: bob.device, pinned: bob.certified.signalKey };
    expect(await outcome(() => new SignalSession(parties).startPublished(bundle, NOW))).toMatch(/^frame.undecryptable/);
  });

  test('it shows each reader another order: the next event of either says so', async () => {
    const [x, y] = [testEventId(1), testEventId(2)];
    const seen = (...ids: EventId[]) =>
      historyHash(
        ids.map((id, at) => ({ seq: at + 1, eventId: Buffer.from(id, 'hex'), hash: sha256(Buffer.from(id)) })),
        { from: 1, to: ids.length },
      );
    expect(seen(x, y)).toEqual(seen(x, y));
    expect(seen(x, y)).not.toEqual(seen(y, x));
    expect([followsN(1, 2), followsN(1, 3)]).toEqual(['next', 'gap']);
  });

  test('it holds back a control, or shows it in another order: the chain of the next one does not fit', () => {
    const events = [...channel.log];
    channel.do(alice, { op: 'role', member: bob.id, role: 'admin' });
    channel.do(alice, { op: 'role', member: bob.id, role: 'member' });
    channel.do(alice, { op: 'role', member: carol.id, role: 'admin' });
    const [up, down, other] = channel.log.slice(1) as [Log, Log, Log];
    const shown = (...order: Log[]) =>
      replay(undefined, [...events, ...order.map((event, at) => ({ ...event, seq: at + 2 }))])
        .outcomes.slice(1)
        .map((one) => (one.kind === 'refused' ? one.why : one.kind));
    expect(shown(up, down, other)).toEqual(['applied', 'applied', 'applied']);
    expect(shown(up, other)).toEqual(['applied', 'stale']);
    expect(shown(down, up)).toEqual(['stale', 'applied']);
    expect(shown(other)).toEqual(['stale']);
  });
});

type Log = TestChannel['log'][number];

test('a passphrase channel: an old salt, a cheap cost and the body of another place open nothing', async () => {
  const cost = { memoryKib: 64 * 1024, passes: 3, lanes: 4 };
  const [old, key] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  const place = { serverId: SERVER_ID, event: testEventId(1), epoch: 1 };
  const wrap = await makeKeyWrap(place, 'old words', { key: old, salt: new Uint8Array(16), cost });
  const channel = new TestChannel();
  channel.do(
    alice,
    { op: 'create', name: 'ops', encryption: 'passphrase', private: false, history: 'joined', key: wrap },
    { id: place.event },
  );
  channel.do(bob, { op: 'join' });
  channel.do(alice, { op: 'remove', member: bob.id });
  const rotation = { ...place, event: testEventId(9), epoch: 2 };
  const next = await makeKeyWrap(rotation, 'new words', { key, salt: new Uint8Array(16).fill(1), cost });
  channel.do(alice, { op: 'rotate', key: next }, { id: rotation.event });
  // What counts is in the signed events: the old wrap belongs to the epoch before, and its key opens nothing of this one.
  const { keys, epoch, exposed } = channel.now;
  expect([epoch, keys.length, exposed.size]).toEqual([2, 2, 0]);
  expect(await outcome(() => openKeyWrap(rotation, wrap, 'old words'))).toBe('event.invalid wrap');
  expect(await outcome(() => openKeyWrap(rotation, next, 'old words'))).toBe('passphrase.wrong');
  expect(await outcome(() => openKeyWrap(rotation, { ...next, memoryKib: 1024 }, 'new words'))).toBe(
    'event.invalid cost',
  );

  const header = channel.header(alice, { kind: EVENT_KIND.content });
  const signed = signEvent(channel.scope, header, { kind: 'text', text: 'hello' }, alice.deviceSeed);
  const body = sealBody(key, header, signed);
  const see = (secret: Uint8Array, said: { readonly id: EventId; readonly sender: MemberId }) =>
    outcome(() => {
      const outer = { ...said, kind: EVENT_KIND.content, epoch: readBodyHead(body).epoch };
      const given = { scope: channel.scope, outer, keyOf: keysOf(...all) };
      return openEvent(given, openBody(secret, said, body), decodeContent).content;
    });
  expect(see(key, header)).toEqual({ kind: 'text', text: 'hello' });
  expect(see(old, header)).toBe('frame.undecryptable seal');
  expect(see(key, { id: header.id, sender: bob.id })).toBe('frame.undecryptable seal');
  expect(see(key, { id: testEventId(50), sender: alice.id })).toBe('frame.undecryptable seal');
});
