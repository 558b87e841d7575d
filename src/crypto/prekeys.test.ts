import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { toHex } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { LAST_RESORT_USES_MAX, PREKEY_LATE_MS, PREKEY_ROTATE_MS, PREKEYS_KEPT_MAX } from '../protocol/limits.ts';
import { joinBundle, PREKEY_ENTRY_BYTES, prekeyIdOf, splitBundle } from '../protocol/prekeys.ts';
import { outcome } from '../testing/code.ts';
import { testMember } from '../testing/rooms.ts';
import { PreKeySet, type PublishedState, type Upload } from './prekeys.ts';
import { sha256 } from './primitives.ts';
import { SignalSession } from './session.ts';

const NOW = 1_800_000_000_000;
const NOTHING: PublishedState = { ec: 0, kyber: 0 };
const text = (words: string) => new Uint8Array(Buffer.from(words));
const words = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const [alice, bob] = [testMember(1), testMember(2)];
const hashOf = (kept: { serialize(): Uint8Array }) => toHex(sha256(kept.serialize()));

/** What a server keeps of uploads, and hands out: one-time keys once, then the last-resort key. */
class Shelf {
  ec: Uint8Array[] = [];
  kyber: Uint8Array[] = [];
  signed: Uint8Array | undefined;
  lastResort: Uint8Array | undefined;

  get state(): PublishedState {
    const id = (entry: Uint8Array | undefined) => (entry === undefined ? undefined : prekeyIdOf(entry));
    return { ec: this.ec.length, kyber: this.kyber.length, signed: id(this.signed), lastResort: id(this.lastResort) };
  }
  put(upload: Upload | undefined): Upload | undefined {
    this.ec.push(...(upload?.ec ?? []));
    this.kyber.push(...(upload?.kyber ?? []));
    this.signed = upload?.signed ?? this.signed;
    this.lastResort = upload?.lastResort ?? this.lastResort;
    return upload;
  }
  hand(): Uint8Array {
    const [signed, kyber] = [this.signed, this.kyber.shift() ?? this.lastResort];
    if (signed === undefined || kyber === undefined) throw new Error('nothing was uploaded');
    return joinBundle({ signed, kyber, ec: this.ec.shift() });
  }
}

// Keys take a while to make: one full set is made once, and each test works on a copy.
let full: Uint8Array;
let first: Upload;
beforeAll(() => {
  const set = new PreKeySet();
  first = set.refill(bob.signal, NOTHING, NOW) as Upload;
  set.confirm(first);
  full = set.serialize();
});
const bobs = () => {
  const shelf = new Shelf();
  shelf.put(first);
  return { set: new PreKeySet(full), shelf };
};
const toBob = { identity: alice.signal, ours: alice.device, theirs: bob.device, pinned: bob.certified.signalKey };
const toAlice = { identity: bob.signal, ours: bob.device, theirs: alice.device, pinned: alice.certified.signalKey };
const begin = async (bundle: Uint8Array, said = 'hello') => {
  const session = new SignalSession(toBob);
  await session.startPublished(bundle, NOW);
  return { session, first: await session.encrypt(text(said), NOW) };
};

describe('MEMBER-5: a session between devices of members', () => {
  test('begins with what the server hands out and goes on both ways, reloaded at every step', async () => {
    const { set, shelf } = bobs();
    const { session, first: hello } = await begin(shelf.hand());
    const answering = new SignalSession(toAlice, new Uint8Array(), set);
    expect(words(await answering.decrypt(hello))).toBe('hello');
    let [a, b] = [session.serialize(), answering.serialize()];
    for (let i = 0; i < 5; i++) {
      const [one, two] = [new SignalSession(toBob, a, set), new SignalSession(toAlice, b, set)];
      expect(words(await one.decrypt(await two.encrypt(text(`b${i}`), NOW)))).toBe(`b${i}`);
      expect(words(await two.decrypt(await one.encrypt(text(`a${i}`), NOW)))).toBe(`a${i}`);
      [a, b] = [one.serialize(), two.serialize()];
    }
  });

  test('works between two devices of one member, whose Signal key is the same', async () => {
    const { set, shelf } = bobs();
    const laptop = testMember(2, undefined, 1);
    const session = new SignalSession({ ...toBob, identity: bob.signal, ours: laptop.device });
    await session.startPublished(shelf.hand(), NOW);
    const theirs = new SignalSession(
      { ...toAlice, theirs: laptop.device, pinned: bob.certified.signalKey },
      undefined,
      set,
    );
    expect(words(await theirs.decrypt(await session.encrypt(text('own'), NOW)))).toBe('own');
  });

  test('uses one-time keys once: another first message with them does not open, nor does a replay', async () => {
    const { set, shelf } = bobs();
    const bundle = shelf.hand();
    const [one, two] = [await begin(bundle, 'one'), await begin(bundle, 'two')];
    const { ec, kyber } = splitBundle(bundle);
    set.recordOf(prekeyIdOf(ec as Uint8Array), 'ec');
    set.recordOf(prekeyIdOf(kyber), 'kyber');
    await new SignalSession(toAlice, undefined, set).decrypt(one.first);
    expect(() => set.recordOf(prekeyIdOf(ec as Uint8Array), 'ec')).toThrow(SottoError);
    expect(() => set.recordOf(prekeyIdOf(kyber), 'kyber')).toThrow(SottoError);
    for (const sealed of [one.first, two.first])
      expect(await outcome(() => new SignalSession(toAlice, undefined, set).decrypt(sealed))).toMatch(
        /^frame.undecryptable/,
      );
  });

  test('with a last-resort key begins as often as there are askers, but no first message opens twice', async () => {
    const { set, shelf } = bobs();
    shelf.ec = [];
    shelf.kyber = [];
    const [one, two] = [await begin(shelf.hand(), 'one'), await begin(shelf.hand(), 'two')];
    expect(words(await new SignalSession(toAlice, undefined, set).decrypt(one.first))).toBe('one');
    const reloaded = new PreKeySet(set.serialize());
    const again = new SignalSession(toAlice, undefined, reloaded);
    const before = [again, reloaded].map(hashOf);
    expect(await outcome(() => again.decrypt(one.first))).toMatch(/^frame.undecryptable/);
    expect([again, reloaded].map(hashOf)).toEqual(before);
    expect(again.hasCurrent(NOW)).toBe(false);
    expect(words(await again.decrypt(two.first))).toBe('two');
  });

  test('is not begun with keys of another member, or with changed ones', async () => {
    const { shelf } = bobs();
    const bundle = shelf.hand();
    const mallory = testMember(3);
    const session = new SignalSession({ ...toBob, pinned: mallory.certified.signalKey });
    expect(await outcome(() => session.startPublished(bundle, NOW))).toMatch(/^frame.undecryptable/);
    for (const at of [10, 60, 300]) {
      const changed = bundle.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(await outcome(() => new SignalSession(toBob).startPublished(changed, NOW))).toMatch(/^frame\./);
    }
    expect(await outcome(() => new SignalSession(toBob).startPublished(bundle.subarray(1), NOW))).toBe(
      'frame.invalid bundle',
    );
  });
});

describe('MEMBER-5: what is uploaded', () => {
  test('at first is 100 one-time keys of each kind, a signed one and one of last resort, in fixed sizes', () => {
    expect([first.ec.length, first.kyber.length]).toEqual([100, 100]);
    for (const entry of first.ec) expect(entry.length).toBe(PREKEY_ENTRY_BYTES.ec);
    for (const entry of [...first.kyber, first.lastResort]) expect(entry?.length).toBe(PREKEY_ENTRY_BYTES.kyber);
    expect(first.signed?.length).toBe(PREKEY_ENTRY_BYTES.signed);
    const ids = [...first.ec, ...first.kyber, first.signed, first.lastResort].map((entry) =>
      prekeyIdOf(entry as Uint8Array),
    );
    expect(new Set(ids).size).toBe(202);
  });

  test('later is what the server lacks, and nothing as long as it has enough', () => {
    const { set, shelf } = bobs();
    expect(set.refill(bob.signal, shelf.state, NOW + 1)).toBeUndefined();
    expect(hashOf(set)).toBe(hashOf(new PreKeySet(full)));
    shelf.ec.splice(0, 51);
    const more = shelf.put(set.refill(bob.signal, shelf.state, NOW + 1));
    expect([more?.ec.length, more?.kyber.length, more?.signed, more?.lastResort]).toEqual([
      51,
      0,
      undefined,
      undefined,
    ]);
    // An upload that never arrived.
    const again = set.refill(bob.signal, { ...shelf.state, signed: undefined }, NOW + 1);
    expect(again).toMatchObject({ ec: [], kyber: [], signed: first.signed });
  });

  test('is the same again and again until it is answered, whatever broke meanwhile', () => {
    let set = new PreKeySet(full);
    const known = { ...bobs().shelf.state, ec: 19, kyber: 100 };
    const made = set.refill(bob.signal, known, NOW)?.ec ?? [];
    expect(made.length).toBe(81);
    for (const ec of [19, 39, 0]) {
      set = new PreKeySet(set.serialize());
      expect(set.refill(bob.signal, { ...known, ec }, NOW)?.ec.slice(0, 81)).toEqual(made);
    }
    const last = set.refill(bob.signal, { ...known, ec: 0 }, NOW) as Upload;
    expect(last.ec.length).toBe(100);
    expect([set.confirm(last), set.confirm(last)]).toEqual([true, false]);
    set = new PreKeySet(set.serialize());
    const next = set.refill(bob.signal, { ...known, ec: 0 }, NOW)?.ec ?? [];
    expect(next.map(prekeyIdOf).filter((id) => last.ec.map(prekeyIdOf).includes(id))).toEqual([]);
  });

  test('a set that was kept before uploads were confirmed is read as one that was', () => {
    const state = Buffer.from(full);
    const before = new Uint8Array(Buffer.concat([Buffer.of(1), state.subarray(1, 5), state.subarray(9)]));
    expect(hashOf(new PreKeySet(before))).toBe(hashOf(new PreKeySet(full)));
    expect(() => new PreKeySet(Uint8Array.of(3))).toThrow('another version');
  });

  test('every week is a new signed and last-resort key; the ones before open late messages, and go after a month', async () => {
    const { set, shelf } = bobs();
    shelf.ec = [];
    shelf.kyber = [];
    const late = await begin(shelf.hand(), 'late');
    const enough = { ...shelf.state, ec: 100, kyber: 100 };
    expect(set.refill(bob.signal, enough, NOW + PREKEY_ROTATE_MS - 1)).toBeUndefined();
    const next = set.refill(bob.signal, enough, NOW + PREKEY_ROTATE_MS);
    expect([next?.ec.length, next?.signed?.length, next?.lastResort?.length]).toEqual([0, 101, 1637]);
    expect(words(await new SignalSession(toAlice, undefined, new PreKeySet(set.serialize())).decrypt(late.first))).toBe(
      'late',
    );
    const size = set.serialize().length;
    set.refill(bob.signal, enough, NOW + PREKEY_ROTATE_MS + PREKEY_LATE_MS);
    expect(set.forget(NOW + PREKEY_ROTATE_MS + PREKEY_LATE_MS)).toBe(true);
    expect(set.serialize().length).toBeLessThan(size + 10_000);
    expect(await outcome(() => new SignalSession(toAlice, undefined, set).decrypt(late.first))).toMatch(
      /^frame.undecryptable/,
    );
  });

  test('a clock that jumped back renews too', () => {
    expect(bobs().set.refill(bob.signal, bobs().shelf.state, NOW - PREKEY_ROTATE_MS)?.signed?.length).toBe(101);
  });

  test('a server that says it has none makes us make more, and keep no more than the newest', () => {
    const { set, shelf } = bobs();
    const known = shelf.state;
    const make = () => {
      const upload = set.refill(bob.signal, { ...known, ec: 0, kyber: 100 }, NOW);
      if (upload !== undefined) set.confirm(upload);
      return upload?.ec.length ?? 0;
    };
    expect([1, 2, 3, 4, 5, 6].map(make)).toEqual([100, 100, 100, 100, 100, 0]);
    // What came may need the oldest; once it was read, the 300 newest are kept.
    const ids = first.ec.map(prekeyIdOf);
    expect(set.recordOf(ids.at(-1) ?? 0, 'ec').length).toBeGreaterThan(0);
    expect([set.forget(NOW), set.forget(NOW)]).toEqual([true, false]);
    expect(() => set.recordOf(ids.at(-1) ?? 0, 'ec')).toThrow(SottoError);
    expect(new PreKeySet(full).recordOf(ids.at(-1) ?? 0, 'ec').length).toBeGreaterThan(0);
    const lastId = Buffer.from(set.serialize()).readUInt32BE(1);
    expect(() => set.recordOf(lastId - PREKEYS_KEPT_MAX, 'ec')).toThrow(SottoError);
    expect(set.recordOf(lastId - PREKEYS_KEPT_MAX + 1, 'ec').length).toBeGreaterThan(0);
  });

  test('a last-resort key that was used half as often as can be remembered is replaced, and full it opens nothing', async () => {
    const { set, shelf } = bobs();
    const id = shelf.state.lastResort ?? 0;
    const use = () => set.use(id, shelf.state.signed ?? 0, new Uint8Array(randomBytes(33)));
    for (let i = 0; i < LAST_RESORT_USES_MAX / 2; i++) use();
    expect(set.refill(bob.signal, shelf.state, NOW)).toMatchObject({ ec: [], kyber: [] });
    for (let i = 0; i < LAST_RESORT_USES_MAX / 2; i++) use();
    expect(use).toThrow(SottoError);
    expect(hashOf(new PreKeySet(set.serialize()))).toBe(hashOf(set));
  });
});

test('a bundle has one form only', () => {
  const entries = {
    signed: new Uint8Array(101).fill(1),
    kyber: new Uint8Array(1637).fill(2),
    ec: new Uint8Array(37).fill(3),
  };
  expect(splitBundle(joinBundle(entries))).toEqual(entries);
  const { ec: _, ...without } = entries;
  expect(splitBundle(joinBundle(without))).toEqual({ ...without, ec: undefined });
  const odd = joinBundle(without);
  odd[1] = 2;
  expect(() => splitBundle(odd)).toThrow('not valid');
  for (const [at, byte] of [
    [0, 2],
    [1, 2],
    [1, 0],
  ] as const) {
    const bad = joinBundle(entries);
    bad[at] = byte;
    expect(() => splitBundle(bad)).toThrow('not valid');
  }
});
