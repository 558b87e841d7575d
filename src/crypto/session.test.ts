import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { ProtocolError } from '../protocol/errors.ts';
import { SignalSession, safetyNumber, signalIdentity } from './session.ts';

const NOW = 1_800_000_000_000;
const DAY = 24 * 3600 * 1000;
const text = (words: string) => new Uint8Array(Buffer.from(words));
const words = (bytes: Uint8Array) => Buffer.from(bytes).toString();

const people = () => {
  const [alice, bob] = [signalIdentity(randomBytes(32)), signalIdentity(randomBytes(32))];
  return {
    alice: { identity: alice, ours: 'alice.onion', theirs: 'bob.onion', pinned: bob.publicKey },
    bob: { identity: bob, ours: 'bob.onion', theirs: 'alice.onion', pinned: alice.publicKey },
  };
};

/** Alice asked with a bundle, Bob began the session. */
const connected = async () => {
  const { alice, bob } = people();
  const a = new SignalSession(alice);
  const b = new SignalSession(bob);
  await b.start(a.makeBundle(7, NOW), NOW);
  const first = await b.encrypt(text('accept'), NOW);
  return { alice, bob, a, b, first };
};

const why = async (step: Promise<unknown>): Promise<unknown> => {
  try {
    await step;
    return 'nothing was thrown';
  } catch (error) {
    return (error as ProtocolError).details.why;
  }
};

describe('a Signal session', () => {
  test('carries 200 messages both ways, reloaded from its bytes at every step', async () => {
    const { alice, bob, a, b, first } = await connected();
    expect(words(await a.decrypt(first))).toBe('accept');
    let [stateA, stateB] = [a.serialize(), b.serialize()];
    for (let i = 0; i < 100; i++) {
      const [sender, receiver] = [new SignalSession(alice, stateA), new SignalSession(bob, stateB)];
      expect(words(await receiver.decrypt(await sender.encrypt(text(`a${i}`), NOW)))).toBe(`a${i}`);
      expect(words(await sender.decrypt(await receiver.encrypt(text(`b${i}`), NOW)))).toBe(`b${i}`);
      [stateA, stateB] = [sender.serialize(), receiver.serialize()];
    }
  });

  test('opens frames out of order, and refuses a replay', async () => {
    const { a, b, first } = await connected();
    await a.decrypt(first);
    const sealed = [];
    for (let i = 0; i < 20; i++) sealed.push(await a.encrypt(text(String(i)), NOW));
    for (const [i, frame] of [...sealed.entries()].reverse()) expect(words(await b.decrypt(frame))).toBe(String(i));
    const [one] = sealed;
    if (one === undefined) throw new Error('no frame');
    expect(await why(b.decrypt(one))).toBe('DuplicatedMessage');
  });

  test('a state that was put back opens the same frame again: only the table of frame ids tells a repeat', async () => {
    const { alice, bob, a, b, first } = await connected();
    await a.decrypt(first);
    const old = b.serialize();
    const seen = await a.encrypt(text('seen'), NOW);
    await b.decrypt(seen);
    const restored = new SignalSession(bob, old);
    expect(words(await restored.decrypt(seen))).toBe('seen');
    expect(new SignalSession(alice, a.serialize()).hasCurrent(NOW)).toBe(true);
  });

  test('a changed frame is refused and the good one still opens', async () => {
    const { a, b, first } = await connected();
    await a.decrypt(first);
    const frame = await a.encrypt(text('x'), NOW);
    const changed = frame.ciphertext.slice();
    changed[20] = (changed[20] ?? 0) ^ 1;
    expect(await why(b.decrypt({ ...frame, ciphertext: changed }))).not.toBe('nothing was thrown');
    expect(words(await b.decrypt(frame))).toBe('x');
  });

  test('only the pinned key is trusted, in both directions', async () => {
    const { alice, bob } = people();
    const mallory = signalIdentity(randomBytes(32));
    const bundle = new SignalSession(alice).makeBundle(1, NOW);
    expect(await why(new SignalSession({ ...bob, pinned: mallory.publicKey }).start(bundle, NOW))).not.toBe(
      'nothing was thrown',
    );
    const honest = new SignalSession(alice);
    const forger = new SignalSession({ ...bob, identity: mallory });
    await forger.start(honest.makeBundle(2, NOW), NOW);
    expect(await why(honest.decrypt(await forger.encrypt(text('hi'), NOW)))).toBe('UntrustedIdentity');
  });

  test('SESSION-1: a bundle that was changed, cut or used once begins no session', async () => {
    const { alice, bob } = people();
    const a = new SignalSession(alice);
    const bundle = a.makeBundle(1, NOW);
    const changed = bundle.slice();
    changed[100] = (changed[100] ?? 0) ^ 1;
    for (const bad of [changed, bundle.slice(1), new Uint8Array()])
      expect(await why(new SignalSession(bob).start(bad, NOW))).not.toBe('nothing was thrown');
    const [one, two] = [new SignalSession(bob), new SignalSession(bob)];
    await one.start(bundle, NOW);
    await two.start(bundle, NOW);
    await a.decrypt(await one.encrypt(text('first'), NOW));
    expect(await why(a.decrypt(await two.encrypt(text('second'), NOW)))).not.toBe('nothing was thrown');
  });

  test('a session that nobody answered ends after 30 days', async () => {
    const { b } = await connected();
    expect([b.hasCurrent(NOW), b.hasCurrent(NOW + 31 * DAY)]).toEqual([true, false]);
  });

  test('an archived session opens late frames and encrypts nothing', async () => {
    const { a, b, first } = await connected();
    await a.decrypt(first);
    const late = await a.encrypt(text('late'), NOW);
    b.archive();
    expect(b.hasCurrent(NOW)).toBe(false);
    expect(words(await b.decrypt(late))).toBe('late');
  });
});

test('ID-5: the safety number is the same on both sides and changes with either key', () => {
  const [mine, theirs, other] = [1, 2, 3].map((n) => ({
    identityKey: new Uint8Array(32).fill(n),
    signalKey: signalIdentity(new Uint8Array(32).fill(n)).publicKey,
  }));
  if (mine === undefined || theirs === undefined || other === undefined) throw new Error('three people');
  const number = safetyNumber(mine, theirs).digits;
  expect(number).toMatch(/^\d{60}$/);
  expect(safetyNumber(theirs, mine).digits).toBe(number);
  expect(safetyNumber(mine, { ...theirs, identityKey: other.identityKey }).digits).not.toBe(number);
  expect(safetyNumber(mine, { ...theirs, signalKey: other.signalKey }).digits).not.toBe(number);
});
