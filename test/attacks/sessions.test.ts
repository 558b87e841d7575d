// Attacks on keys and sessions: another key under a known address, storms of resets, stores that were put back.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { deriveSecrets, localKeys } from '../../src/crypto/identity.ts';
import { RESET_INTERVAL_MS, RESETS_PER_DAY_MAX } from '../../src/protocol/limits.ts';
import { encodeBody } from '../../src/protocol/peer.ts';
import { checkDatabase } from '../../src/store/check.ts';
import { codeOf } from '../../src/testing/code.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { Hostile, rowsOf } from './hostile.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

let world: World;
let alice: Person;
let bob: Person;

beforeEach(async () => {
  world = new World();
  ({ alice, bob } = await world.friends());
});

afterEach(async () => {
  for (const person of [alice, bob]) if (person.isOpen) expect(checkDatabase(person.db)).toEqual([]);
  await world[Symbol.asyncDispose]();
});

const historyOf = async (person: Person, contact: string): Promise<string[]> =>
  ((await person.contact(contact)).history ?? []).map((one) => one.kind);

const resetsOf = (person: Person, mine: boolean): number =>
  person.db.get<{ n: number }>('SELECT count(*) AS n FROM resets WHERE mine = ?', mine ? 1 : 0)?.n ?? 0;

describe('keys are pinned', () => {
  test('another Signal key under the address of a contact is refused, said once, and ends sending', async () => {
    const { keys } = world.hub.find(alice.address) ?? {};
    if (keys === undefined) throw new Error('alice is not online');
    await alice.close();
    const other = localKeys(deriveSecrets(world.random.bytes(16)), world.random.bytes(16)).publicKeys.signalKey;
    const mallory = await Hostile.join(world, () => ({
      ...keys,
      publicKeys: { ...keys.publicKeys, signalKey: other },
    }));
    for (let i = 0; i < 3; i++) expect(await codeOf(mallory.dial(bob))).toBe('handshake.failed');
    await world.settle();
    expect((await historyOf(bob, 'alice')).filter((kind) => kind === 'key.refused')).toHaveLength(1);
    expect((await bob.contact('alice')).paused).toBe('keyChanged');
    expect(bob.account.events.since('0').events.filter((event) => event.kind === 'contact.keyChanged')).toHaveLength(1);
    expect((await bob.call('contact.why', { contact: 'alice' })).advice.join()).toContain('sotto contact remove alice');
    expect(await codeOf(bob.send(alice, 'hi'))).toBe('contact.keyRefused');
    expect(mallory.heard).toEqual([]);
    await mallory.leave();
    // The way on: remove and add.
    await bob.call('contact.remove', { contact: 'alice' });
    await alice.open();
    await bob.call('contact.add', { address: alice.address, name: 'alice' });
    await world.settle(60_000);
    await bob.send(alice, 'again');
    await world.settle();
    expect(await alice.read(bob)).toEqual(['again']);
  });

  test('sending stays ended, whatever comes from the pinned keys after that', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    mallory.hangUp();
    await world.settle();
    mallory.heard.length = 0;
    // It goes when they have spoken on the next link.
    for (const words of ['waits', 'waits too']) {
      await bob.send('mallory', words);
      await world.settle();
    }
    expect([mallory.linked, mallory.heardOf('sealed')]).toEqual([true, []]);
    const { signalKey } = localKeys(deriveSecrets(world.random.bytes(16)), world.random.bytes(16)).publicKeys;
    const { keys } = mallory;
    const forged = { ...keys, publicKeys: { ...keys.publicKeys, signalKey } };
    expect(await codeOf((await Hostile.join(world, () => forged)).dial(bob))).toBe('handshake.failed');
    const paused = async () => (await bob.contact('mallory')).paused;
    await mallory.say({ kind: 'not_contact' }, { kind: 'resume', sent: 0, received: 0 });
    expect(await paused()).toBe('keyChanged');
    expect(mallory.heardOf('sealed')).toEqual([]);
    await mallory.say(mallory.request(bob));
    expect(await paused()).toBe('keyChanged');
    const garbage = () =>
      ({ kind: 'sealed', id: mallory.newId(), type: 2, ciphertext: new Uint8Array(400).fill(9) }) as const;
    await mallory.say(garbage());
    await mallory.begin(bob, mallory.heardOf('reset').at(-1)?.bundle ?? '');
    await mallory.tell({ kind: 'hello' });
    await mallory.say(garbage());
    await world.settle(RESET_INTERVAL_MS + 60_000);
    expect([await paused(), resetsOf(bob, true)]).toEqual(['keyChanged', 1]);
    expect(mallory.heardOf('sealed')).toEqual([]);
    expect((await bob.messages('mallory')).map(({ state }) => state)).toEqual(['queued', 'queued']);
    bob.log.claim('frame.refused');
  });

  test('so is another link key, also when we dial', async () => {
    const { keys } = world.hub.find(alice.address) ?? {};
    if (keys === undefined) throw new Error('alice is not online');
    await alice.close();
    const linkKey = world.random.bytes(32);
    const mallory = await Hostile.join(world, () => ({ ...keys, publicKeys: { ...keys.publicKeys, linkKey } }));
    await bob.send(alice, 'for alice only');
    await world.settle(30_000);
    expect(mallory.heard).toEqual([]);
    expect(await historyOf(bob, 'alice')).toContain('key.refused');
    expect((await bob.messages(alice)).map((one) => one.state)).not.toContain('delivered');
  });

  test('a bundle that another key has signed begins no session', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    const stranger = await Hostile.join(world);
    const before = bob.db.get('SELECT * FROM sessions ORDER BY contact_id DESC LIMIT 1');
    await mallory.say({ ...mallory.reset(bob), bundle: stranger.reset(bob).bundle });
    expect(mallory.linked).toBe(false);
    expect(bob.db.get('SELECT * FROM sessions ORDER BY contact_id DESC LIMIT 1')).toEqual(before);
    expect(resetsOf(bob, false)).toBe(0);
  });
});

describe('SESSION-4: a reset storm', () => {
  test('counts once in 10 minutes and 5 times a day; the conversation heals', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    // Hours and days of her pings take long.
    await alice.close();
    for (let i = 0; i < 50; i++) await mallory.say(mallory.reset(bob));
    expect(resetsOf(bob, false)).toBe(1);
    for (let i = 0; i < 20; i++) {
      await world.settle(RESET_INTERVAL_MS);
      await mallory.dial(bob);
      await mallory.say(mallory.reset(bob));
    }
    expect(resetsOf(bob, false)).toBe(RESETS_PER_DAY_MAX);
    expect(bob.account.status().refused['reset.tooMany']).toBeGreaterThan(50);
    await alice.open();
    await alice.send(bob, 'meanwhile');
    await world.settle();
    expect(await bob.read(alice)).toEqual(['meanwhile']);
    await alice.close();
    await world.settle(DAY);
    await mallory.dial(bob);
    const last = mallory.reset(bob);
    mallory.heard.length = 0;
    await mallory.say(last);
    expect((await mallory.open()).map((body) => body.kind)).toEqual(['hello']);
    const [id] = await mallory.tell({ kind: 'text', text: 'healed', sentAt: 1 });
    expect(mallory.acknowledged(id as never)).toBe(true);
  });

  test('what was noted while the clock was ahead does not count', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    for (const ms of [2 * DAY, -2 * DAY]) {
      world.clock.jump(ms);
      await mallory.say(mallory.reset(bob));
    }
    expect(resetsOf(bob, false)).toBe(2);
  });

  test('a session that nobody answered for 30 days is not used: a new one begins, and what waits goes in it', async () => {
    await bob.send(alice, 'early');
    await world.settle();
    world.clock.jump(31 * DAY);
    await world.settle(60_000);
    for (const words of ['late', 'later']) await bob.send(alice, words);
    await world.settle(60_000);
    expect(await alice.read(bob)).toEqual(['early', 'late', 'later']);
    expect([resetsOf(bob, true), await historyOf(bob, 'alice')]).toEqual([
      1,
      expect.arrayContaining(['session.reset', 'session.healed']),
    ]);
  });

  test('what was not acknowledged goes again at once, in order and under the same ids', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    const sent = [];
    for (const words of ['one', 'two', 'three']) sent.push((await bob.send('mallory', words)).id);
    await world.settle(100);
    mallory.heard.length = 0;
    await mallory.say(mallory.reset(bob));
    expect((await mallory.open()).map((body) => [body.kind, body.id])).toEqual([
      ...sent.map((id) => ['text', id]),
      ['hello', expect.any(String)],
    ]);
    // One that was sent before is no longer unsent: an edit goes as an edit, a deletion is told.
    await bob.call('message.edit', { id: sent[0] ?? '', text: 'changed' });
    await bob.call('message.delete', { id: sent[1] ?? '' });
    await world.settle(100);
    expect((await mallory.open()).map((body) => body.kind)).toEqual(['edit', 'delete']);
  });

  test('a text that may have arrived in the session before is edited and deleted by telling so', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    const [one, two] = [await bob.send('mallory', 'one'), await bob.send('mallory', 'two')];
    await world.settle(100);
    await mallory.say(await mallory.sealBytes(mallory.newId(), new Uint8Array(320)));
    await bob.call('message.edit', { id: one.id, text: 'changed' });
    await bob.call('message.delete', { id: two.id });
    mallory.heard.length = 0;
    await mallory.say(mallory.reset(bob));
    expect((await mallory.open()).map((body) => body.kind)).toEqual(['text', 'edit', 'delete', 'hello']);
    bob.log.claim('frame.refused');
  });

  test('SESSION-6: by requests from a contact: they count as resets, and the honest one comes again', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    await alice.close();
    const before = rowsOf(bob, 'contact_history');
    for (let i = 0; i < 50; i++) await mallory.say(mallory.request(bob));
    expect(resetsOf(bob, false)).toBe(RESETS_PER_DAY_MAX);
    expect(rowsOf(bob, 'contact_history')).toBe(before + RESETS_PER_DAY_MAX);
    expect(rowsOf(bob, 'requests')).toBeLessThan(10);
    await world.settle(DAY);
    await mallory.dial(bob);
    const request = mallory.request(bob);
    await mallory.say(request);
    expect(mallory.acknowledged(request.id)).toBe(true);
  });

  test('by frames that do not open: one question to them, then a pause that is told once and ends by itself', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    const garbage = () => mallory.sealBytes(mallory.newId(), new Uint8Array(320));
    const answer = async () => {
      const reset = mallory.heardOf('reset').at(-1);
      if (reset === undefined) throw new Error('no reset came');
      await mallory.begin(bob, reset.bundle);
      await mallory.tell({ kind: 'hello' });
    };
    for (let i = 0; i < 30; i++) await mallory.say(await garbage());
    expect(resetsOf(bob, true)).toBe(1);
    await answer();
    const before = rowsOf(bob, 'contact_history');
    for (let i = 0; i < 30; i++) await mallory.say(await garbage());
    expect(resetsOf(bob, true)).toBe(1);
    expect((await bob.contact('mallory')).paused).toBe('tooManyResets');
    expect(rowsOf(bob, 'contact_history')).toBe(before + 1);
    await bob.send('mallory', 'it waits');
    mallory.hangUp();
    mallory.heard.length = 0;
    await world.settle(RESET_INTERVAL_MS + 60_000);
    expect(resetsOf(bob, true)).toBe(2);
    expect((await bob.contact('mallory')).paused).toBeUndefined();
    await world.settle(60_000);
    if (!mallory.linked) await mallory.dial(bob);
    await answer();
    expect((await mallory.open()).map((body) => body.kind)).toContain('text');
    expect(bob.log.claim('frame.refused')).toBeGreaterThan(0);
  });

  test('who knows us again, and remembers another session, ends no pause that waits for another reset', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    await mallory.say(await mallory.sealBytes(mallory.newId(), new Uint8Array(320)));
    const [reset] = mallory.heardOf('reset');
    await mallory.begin(bob, reset?.bundle ?? '');
    await mallory.tell({ kind: 'hello' });
    await mallory.say({ kind: 'not_contact' });
    expect((await bob.contact('mallory')).paused).toBe('notContact');
    await mallory.say({ kind: 'resume', session: reset?.session ?? '', sent: 1_000, received: 0 });
    expect((await bob.contact('mallory')).paused).toBe('tooManyResets');
    await world.settle(RESET_INTERVAL_MS + 60_000);
    expect(resetsOf(bob, true)).toBe(2);
    expect(bob.log.claim('frame.refused')).toBe(1);
  });

  test('crossed resets: the lower address counts, and both go on', async () => {
    for (let round = 0; round < 3; round++) {
      // Both lose what the other remembers: each finds it out on the next link and asks.
      for (const person of [alice, bob]) person.db.run('UPDATE sessions SET sent = 0, session_id = NULL');
      await alice.close();
      await bob.close();
      await alice.open();
      await bob.open();
      const texts = [await alice.send(bob, `a${round}`), await bob.send(alice, `b${round}`)];
      await world.settle(RESET_INTERVAL_MS + 60_000);
      expect(texts).toHaveLength(2);
      expect((await alice.messages(bob)).map((one) => one.state)).not.toContain('sent');
      expect(await alice.read(bob)).toContain(`b${round}`);
      expect(await bob.read(alice)).toContain(`a${round}`);
    }
  });
});

describe('SESSION-3: a data directory that was copied, run, and put back', () => {
  const talk = async (round: string) => {
    for (let i = 0; i < 3; i++) {
      await alice.send(bob, `a ${round} ${i}`);
      await bob.send(alice, `b ${round} ${i}`);
      await world.settle();
    }
  };

  const putBack = async (person: Person) => {
    await person.close();
    person.putBack();
    await person.open();
  };

  test('loses nothing that is acknowledged afterwards, uses no ratchet step twice, and heals by a reset', async () => {
    await talk('before');
    alice.copy();
    await talk('lost');
    const undecryptable = bob.log.claim('frame.refused');
    await putBack(alice);
    await alice.send(bob, 'after 1');
    await bob.send(alice, 'after 2');
    await world.settle(60_000);
    await talk('later');
    expect(await historyOf(alice, 'bob')).toEqual(expect.arrayContaining(['session.reset', 'session.healed']));
    expect(await bob.read(alice)).toEqual(expect.arrayContaining(['a lost 0', 'a lost 2', 'after 1', 'a later 2']));
    expect(await alice.read(bob)).toEqual(expect.arrayContaining(['b before 2', 'after 2', 'b later 2']));
    for (const person of [alice, bob])
      expect(
        (await person.messages(person === alice ? bob : alice)).filter((one) => one.mine && one.state !== 'delivered'),
      ).toEqual([]);
    // Had she encrypted with the old ratchet, Bob would have met a step that he had seen.
    expect([undecryptable, bob.log.claim('frame.refused')]).toEqual([0, 0]);
  });

  test('to before it only received: both are told what may be missing, once', async () => {
    await talk('before');
    bob.copy();
    for (let i = 0; i < 3; i++) await alice.send(bob, `a lost ${i}`);
    await world.settle();
    await putBack(bob);
    await world.settle(60_000);
    await talk('after');
    const told = async (one: Person, other: string, kind: string) =>
      (await historyOf(one, other)).filter((each) => each === kind).length;
    expect([await told(bob, 'alice', 'account.restored'), await told(bob, 'alice', 'session.healed')]).toEqual([1, 1]);
    expect([await told(alice, 'bob', 'contact.restored'), await told(alice, 'bob', 'account.restored')]).toEqual([
      1, 0,
    ]);
    const { missing } = await bob.call('message.list', { conversation: 'alice', limit: 1 });
    expect(missing?.join()).toMatch(/messages between .* and .* may be missing/);
    expect(await bob.read(alice)).not.toContain('a lost 0');
    expect(await bob.read(alice)).toEqual(expect.arrayContaining(['a before 2', 'a after 0', 'a after 2']));
  });

  test('across a reset: who is told of another session asks, before a word', async () => {
    await talk('before');
    alice.copy();
    // Bob is put back to a time before, so that the session that Alice's copy holds is replaced.
    bob.copy();
    await talk('lost');
    await putBack(bob);
    await world.settle(RESET_INTERVAL_MS + 60_000);
    await talk('replaced');
    bob.log.claim('frame.refused');
    await putBack(alice);
    await alice.send(bob, 'after 1');
    await bob.send(alice, 'after 2');
    await world.settle(60_000);
    expect(bob.log.claim('frame.refused')).toBe(0);
    expect(alice.log.claim('frame.refused')).toBe(0);
    expect(await bob.read(alice)).toContain('after 1');
    expect(await alice.read(bob)).toContain('after 2');
  });

  // Both ways, as the lower address counts when resets cross.
  test.each([
    ['alice', 'and spoken in', true],
    ['bob', 'and spoken in', true],
    ['alice', 'and silent', false],
    ['bob', 'and silent', false],
  ])('to a moment when %s had asked for a session that is begun by now, %s', async (name, _, speaks) => {
    const [one, two] = name === 'alice' ? [alice, bob] : [bob, alice];
    one.db.run('UPDATE sessions SET session_id = NULL');
    await one.close();
    await one.open();
    await two.send(one, 'anybody there?');
    while (resetsOf(one, true) === 0) await world.settle(1);
    one.copy();
    await world.settle();
    if (speaks) await talk('lost');
    await putBack(one);
    await one.send(two, 'after 1');
    await world.settle(RESET_INTERVAL_MS + 120_000);
    expect(await two.read(one)).toContain('after 1');
    await two.send(one, 'after 2');
    await world.settle();
    expect(await one.read(two)).toContain('after 2');
    one.log.claim('frame.refused');
  });

  test('of both sides at once', async () => {
    await talk('before');
    alice.copy();
    bob.copy();
    await talk('lost');
    await alice.close();
    await bob.close();
    alice.putBack();
    bob.putBack();
    await alice.open();
    await bob.open();
    await talk('after');
    await world.settle(RESET_INTERVAL_MS + 60_000);
    expect(await bob.read(alice)).toEqual(expect.arrayContaining(['a after 0', 'a after 2']));
    expect(await alice.read(bob)).toEqual(expect.arrayContaining(['b after 0', 'b after 2']));
  });
});

describe('FRAME-2: an id inside that is not the id outside', () => {
  test('is undecryptable, whatever it says', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    const [inside, outside] = [mallory.newId(), mallory.newId()];
    await mallory.say(
      await mallory.sealBytes(outside, encodeBody({ kind: 'text', id: inside, text: 'hi', sentAt: 1 })),
    );
    expect([mallory.acknowledged(inside), mallory.acknowledged(outside)]).toEqual([false, false]);
    expect(await bob.read('mallory')).toEqual([]);
    expect(bob.log.claim('frame.refused')).toBe(1);
  });
});
