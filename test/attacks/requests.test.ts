// Attacks with contact requests and accepts: who gets in, who gets heard, and what it costs.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { addressOf } from '../../src/crypto/address.ts';
import { deriveSecrets, localKeys, phraseOf } from '../../src/crypto/identity.ts';
import {
  CONTACTS_MAX,
  HANDSHAKE_MS_MAX,
  LINKS_MAX,
  REQUESTS_PENDING_MAX,
  UNPROVEN_STREAMS_MAX,
} from '../../src/protocol/limits.ts';
import { safeName } from '../../src/protocol/safe-text.ts';
import { checkDatabase } from '../../src/store/check.ts';
import { codeOf } from '../../src/testing/code.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { Hostile, rowsOf } from './hostile.ts';

const DAY_MS = 86_400_000;

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

/** The contact a person asks becomes a hostile one who has the request and its bundle. */
const asked = async (by: Person, mallory: Hostile) => {
  await by.call('contact.add', { address: mallory.address, name: 'mallory' });
  await world.settle();
  const [request] = mallory.heardOf('request');
  if (request === undefined) throw new Error('no request came');
  await mallory.begin(by, request.bundle);
  return request;
};

const names = async (person: Person) => (await person.call('contact.list', { all: true })).map((one) => one.name);

describe('SESSION-2: an accept counts only for a request we sent, once', () => {
  test('a stranger who sends an unsolicited accept is nobody afterwards', async () => {
    const mallory = await Hostile.join(world);
    await mallory.dial(bob);
    await mallory.begin(bob, mallory.request(bob).bundle).catch(() => {});
    const id = mallory.newId();
    await mallory.say(
      { kind: 'resume', sent: 0, received: 0 },
      { kind: 'sealed', id, type: 3, ciphertext: new Uint8Array(500).fill(7) },
    );
    expect(mallory.acknowledged(id)).toBe(false);
    expect(mallory.heardOf('not_contact')).toHaveLength(1);
    mallory.hangUp();
    await world.settle();
    expect(await names(bob)).toEqual(['alice']);
    expect(rowsOf(bob, 'contacts')).toBe(1);
  });

  test('an accept of another request, or a text before the accept, gets no_request and no way in', async () => {
    const mallory = await Hostile.join(world);
    await asked(bob, mallory);
    const [wrong] = await mallory.tell({ kind: 'accept', request: mallory.newId(), nickname: 'mallory' });
    expect(mallory.heardOf('no_request').map((frame) => frame.id)).toEqual([wrong]);
    const [early] = await mallory.tell({ kind: 'text', text: 'let me in', sentAt: 1 });
    expect(mallory.acknowledged(early as never)).toBe(false);
    expect((await bob.contact('mallory')).state).toBe('outgoing');
    expect(await codeOf(bob.read('mallory'))).toBe('contact.notAccepted');
    expect((await bob.call('message.search', { query: 'let' })).messages).toEqual([]);
  });

  test('an accept used twice, also under another id, changes nothing but the nickname', async () => {
    const mallory = await Hostile.join(world);
    const request = await asked(bob, mallory);
    const first = await mallory.seal({ kind: 'accept', request: request.id, nickname: 'm' });
    await mallory.say(first);
    expect((await bob.contact('mallory')).state).toBe('accepted');
    const [history, events] = [rowsOf(bob, 'contact_history'), rowsOf(bob, 'events')];
    await mallory.say(first);
    const [again] = await mallory.tell({ kind: 'accept', request: request.id, nickname: 'm' });
    expect([mallory.acknowledged(first.id), mallory.acknowledged(again as never)]).toEqual([true, true]);
    expect([rowsOf(bob, 'contact_history'), rowsOf(bob, 'events')]).toEqual([history, events]);
  });

  test('an accept that comes after the request was taken back is not taken', async () => {
    const mallory = await Hostile.join(world);
    const request = await asked(bob, mallory);
    await bob.call('contact.remove', { contact: 'mallory' });
    await world.settle();
    await mallory.dial(bob);
    const [id] = await mallory.tell({ kind: 'accept', request: request.id, nickname: 'm' });
    expect(mallory.acknowledged(id as never)).toBe(false);
    expect((await bob.call('contact.list', {})).map((one) => one.name)).toEqual(['alice']);
  });
});

describe('contacts are named by ids, never by place or look', () => {
  test('a stranger whose nickname is the address of another contact does not get what is sent to that address', async () => {
    const mallory = await Hostile.join(world);
    await mallory.dial(bob);
    await mallory.say(mallory.request(bob, { nickname: alice.address.replace('.onion', '') }));
    expect((await bob.call('contact.requests', {})).map(({ name }) => name)).toEqual(['contact']);
    await bob.call('contact.accept', { contact: 'contact' });
    await bob.send(alice.address.replace('.onion', ''), 'for alice');
    await world.settle();
    expect(await alice.read(bob)).toEqual(['for alice']);
    expect((await mallory.open()).map(({ kind }) => kind)).toEqual(['accept']);
  });

  test('a stranger with the name of a contact gets another name', async () => {
    const mallory = await Hostile.join(world);
    await mallory.dial(bob);
    await mallory.say(mallory.request(bob, { nickname: 'alice' }));
    expect((await bob.call('contact.requests', {})).map((one) => one.name)).toEqual(['alice-2']);
    expect((await bob.contact('alice')).address).toBe(alice.address);
  });

  test('a stranger whose name looks like that of a contact gets one that looks otherwise, and can be typed', async () => {
    for (const nickname of [
      'al\u200bice',
      ' alice\u202e',
      'alice\n',
      '\u200b##ops',
      '\u{1f600}'.repeat(32),
      '\u{1f600}'.repeat(32),
    ]) {
      const mallory = await Hostile.join(world);
      await mallory.dial(bob);
      await mallory.say(mallory.request(bob, { nickname }));
    }
    const names = (await bob.call('contact.requests', {})).map((one) => one.name).sort();
    expect(names).toEqual(
      ['alice-2', 'alice-3', 'alice␊', 'ops', '\u{1f600}'.repeat(32), `${'\u{1f600}'.repeat(29)}-2`].sort(),
    );
    for (const name of names) expect(safeName(name)).toBe(name);
  });
});

describe('SESSION-2: a request is acknowledged alike whatever becomes of it, and grows nothing', () => {
  test('from a pending contact: the newest counts, one row stays, one event is told', async () => {
    const mallory = await Hostile.join(world);
    await mallory.dial(bob);
    const before = rowsOf(bob, 'events');
    for (let i = 0; i < 20; i++) {
      const request = mallory.request(bob, { nickname: `m${i}` });
      await mallory.say(request);
      expect(mallory.acknowledged(request.id)).toBe(true);
    }
    expect((await bob.call('contact.requests', {})).map((one) => one.nickname)).toEqual(['m19']);
    expect(rowsOf(bob, 'events')).toBe(before + 1);
    expect(rowsOf(bob, 'requests')).toBeLessThanOrEqual(3);
  });

  test('from a rejected contact: the same request stays rejected; new ones do not pile up', async () => {
    const mallory = await Hostile.join(world);
    await mallory.dial(bob);
    const request = mallory.request(bob);
    await mallory.say(request);
    for (let i = 0; i < 10; i++) {
      const [pending] = await bob.call('contact.requests', {});
      await bob.call('contact.reject', { contact: pending?.id ?? '' });
      await world.settle();
      await mallory.dial(bob);
      if (i === 0) {
        await mallory.say(request);
        expect(await bob.call('contact.requests', {})).toEqual([]);
      }
      await mallory.say(mallory.request(bob));
    }
    expect(await bob.call('contact.requests', {})).toHaveLength(1);
    expect(rowsOf(bob, 'requests')).toBeLessThanOrEqual(3);
  });

  test('from rejected contacts: a request stays rejected for 100 days, then nothing is left of who asked', async () => {
    const [mallory, linked] = [await Hostile.join(world), await Hostile.join(world)];
    const request = mallory.request(bob);
    await mallory.dial(bob);
    await mallory.say(request);
    await linked.dial(bob);
    await linked.say(linked.request(bob));
    for (const { id } of await bob.call('contact.requests', {})) await bob.call('contact.reject', { contact: id });
    await world.settle();

    world.clock.jump(100 * DAY_MS - 3_600_000);
    await world.settle(60_000);
    mallory.heard.length = 0;
    await mallory.dial(bob);
    await mallory.say(request);
    expect([mallory.acknowledged(request.id), await bob.call('contact.requests', {})]).toEqual([true, []]);
    mallory.hangUp();

    world.clock.jump(3_600_000);
    await world.settle(50_000);
    await linked.dial(bob);
    await linked.say({ kind: 'ping', n: 1 });
    await world.settle(10_000);
    expect([rowsOf(bob, 'contacts'), rowsOf(bob, 'requests')]).toEqual([2, 1]);
    linked.hangUp();
    await world.settle();
    expect(bob.db.all('SELECT name FROM contacts')).toEqual([{ name: 'alice' }]);
  });

  test('from a blocked contact: no record comes back, nothing is written', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    await bob.call('contact.block', { contact: 'mallory' });
    await world.settle();
    mallory.heard.length = 0;
    const before = rowsOf(bob, 'requests');
    await mallory.dial(bob);
    await mallory.say(mallory.request(bob), mallory.reset(bob), { kind: 'ping', n: 1 });
    expect(mallory.heard).toEqual([]);
    expect(rowsOf(bob, 'requests')).toBe(before);
    expect((await bob.contact('mallory')).state).toBe('blocked');
  });

  test('from a contact that is blocked between its link and its first frame: no record comes back', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    mallory.hangUp();
    await world.settle();
    mallory.heard.length = 0;
    await mallory.dial(bob);
    await bob.call('contact.block', { contact: 'mallory' });
    await mallory.say({ kind: 'resume', sent: 0, received: 0 }, mallory.request(bob));
    expect(mallory.heard).toEqual([]);
    expect(bob.account.status().links.map((link) => link.contact)).not.toContain('mallory');
  });

  test('from a blocked contact: however often it dials, it holds one link', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    await bob.call('contact.block', { contact: 'mallory' });
    await world.settle();
    mallory.ended.length = 0;
    for (let i = 0; i < 20; i++) await mallory.dial(bob);
    await world.settle();
    expect(mallory.ended).toHaveLength(19);
  });

  test('from a removed contact: it waits like that of any stranger', async () => {
    const mallory = await Hostile.join(world);
    await mallory.befriend(bob);
    await bob.call('contact.remove', { contact: 'mallory' });
    await world.settle();
    await mallory.dial(bob);
    await mallory.say(mallory.request(bob));
    expect((await bob.call('contact.requests', {})).map((one) => one.state)).toEqual(['incoming']);
    expect(await codeOf(bob.send('mallory', 'hi'))).toBe('contact.notAccepted');
  });

  test('from a stranger with a bundle that is none: the request can be refused, not accepted', async () => {
    const mallory = await Hostile.join(world);
    await mallory.dial(bob);
    await mallory.say({ ...mallory.request(bob), bundle: Buffer.alloc(1768, 1).toString('base64') });
    expect(await codeOf(bob.call('contact.accept', { contact: 'mallory', name: 'mallory' }))).toBe('frame.invalid');
    expect((await bob.call('contact.reject', { contact: 'mallory' })).state).toBe('removed');
  });
});

describe('a lost step of the handshake is made up for', () => {
  test('a request that is accepted long after its link ended', async () => {
    const carol = await world.person('carol');
    await carol.call('contact.add', { address: bob.address, name: 'bob' });
    await world.settle(30 * 60_000);
    expect(bob.account.status().links.map((link) => link.contact)).not.toContain('carol');
    await bob.call('contact.accept', { contact: 'carol', name: 'carol' });
    await world.settle(60_000);
    expect((await carol.contact('bob')).state).toBe('accepted');
  });

  test('a request to somebody who is away for a day, between clocks that are hours apart', async () => {
    const [carol, dave] = [await world.person('carol'), await world.person('dave')];
    await dave.close();
    carol.shift = 3 * 3_600_000;
    dave.shift = -5 * 3_600_000;
    await carol.call('contact.add', { address: dave.address, name: 'dave' });
    await world.settle(DAY_MS);
    await dave.open();
    await world.settle(20 * 60_000);
    await dave.call('contact.accept', { contact: 'carol', name: 'carol' });
    await world.settle(20 * 60_000);
    await carol.send('dave', 'late');
    await world.settle(60_000);
    expect(await dave.read('carol')).toEqual(['late']);
  });

  test('a program that dies between any two commits of a request and its accept', async () => {
    for (const who of [0, 1] as const)
      for (let commits = 1; commits <= 8; commits++) {
        await using one = new World(commits);
        const people = [await one.person('carol'), await one.person('dave')] as const;
        const [carol, dave] = people;
        people[who].crashAt(commits, commits % 2 === 0 ? 'before' : 'after');
        const revive = async () => {
          for (const person of people) if (!person.isOpen) await person.open();
        };
        await codeOf(carol.call('contact.add', { address: dave.address, name: 'dave' }));
        await one.settle(30_000);
        await revive();
        await codeOf(carol.call('contact.add', { address: dave.address, name: 'dave' }));
        await one.settle(30_000);
        await revive();
        await codeOf(dave.call('contact.accept', { contact: 'carol', name: 'carol' }));
        await one.settle(20 * 60_000);
        await revive();
        await codeOf(dave.call('contact.accept', { contact: 'carol', name: 'carol' }));
        await one.settle(20 * 60_000);
        await revive();
        await carol.send('dave', 'hi');
        await one.settle(60_000);
        expect([who, commits, await dave.read('carol')]).toEqual([who, commits, ['hi']]);
      }
  });
});

describe('SESSION-5: crossed requests', () => {
  const crossed = async (crash?: {
    readonly who: 0 | 1;
    readonly commits: number;
    readonly when: 'before' | 'after';
  }) => {
    const people = [await world.person('carol'), await world.person('dave')] as const;
    const [carol, dave] = people;
    if (crash !== undefined) people[crash.who].crashAt(crash.commits, crash.when);
    await Promise.allSettled([
      carol.call('contact.add', { address: dave.address, name: 'dave' }),
      dave.call('contact.add', { address: carol.address, name: 'carol' }),
    ]);
    await world.settle(30_000);
    for (const person of people) {
      person.crashAt(Number.POSITIVE_INFINITY, 'after');
      if (!person.isOpen) await person.open();
    }
    // A call that died with its program is made again by its user.
    await codeOf(carol.call('contact.add', { address: dave.address, name: 'dave' }));
    await codeOf(dave.call('contact.add', { address: carol.address, name: 'carol' }));
    await world.settle(20 * 60_000);
    await carol.send('dave', 'hi');
    await dave.send('carol', 'ho');
    await world.settle(60_000);
    expect((await carol.read('dave')).sort()).toEqual(['hi', 'ho']);
    expect((await dave.read('carol')).sort()).toEqual(['hi', 'ho']);
    for (const person of people) expect(checkDatabase(person.db)).toEqual([]);
  };

  for (const who of [0, 1] as const)
    for (const when of ['before', 'after'] as const)
      test(`end as contacts though the ${who === 0 ? 'first' : 'second'} one dies ${when} any of its commits`, async () => {
        for (let commits = 1; commits <= 8; commits++) {
          await using one = new World(commits);
          const outer = world;
          world = one;
          await crossed({ who, commits, when });
          world = outer;
        }
      });

  for (const lower of [true, false])
    test(`a request that was rejected, then crossed by the ${lower ? 'higher' : 'lower'} address, still ends in contact`, async () => {
      const people = [await world.person('carol'), await world.person('dave')] as const;
      const [low, high] = people[0].address < people[1].address ? people : [people[1], people[0]];
      const [first, second] = lower ? [low, high] : [high, low];
      await first.call('contact.add', { address: second.address, name: second.name });
      await world.settle();
      const [request] = await second.call('contact.requests', {});
      await second.call('contact.reject', { contact: request?.id ?? '' });
      await world.settle();
      await second.call('contact.add', { address: first.address, name: first.name });
      await world.settle(60_000);
      expect([(await first.contact(second.name)).state, (await second.contact(first.name)).state]).toEqual([
        'accepted',
        'accepted',
      ]);
      await first.send(second, 'hi');
      await world.settle();
      expect(await second.read(first)).toEqual(['hi']);
    });
});

describe('requests from fresh keys', () => {
  test('10,000 of them: bounded rows and links, contacts go on, calls are answered', async () => {
    const { bundle } = (await Hostile.join(world)).request(bob);
    const linked = new Set<Hostile>();
    for (let round = 0; round < 100; round++) {
      const strangers = await Promise.all(Array.from({ length: 100 }, () => Hostile.join(world)));
      const rings = strangers.map((one) =>
        one.ring(bob, { kind: 'request', id: one.newId(), bundle, nickname: `n${round}`, note: 'x'.repeat(500) }),
      );
      await world.settle(100);
      await Promise.allSettled(rings);
      // Half of them hang up; the others hold on to what they got.
      for (const one of strangers) {
        if (round % 2 === 0) one.hangUp();
        if (one.linked) linked.add(one);
      }
      if (round % 20 !== 0) continue;
      await alice.send(bob, `in round ${round}`);
      expect((await bob.call('account.show', {})).nickname).toBe('bob');
    }
    await world.settle(1_000);
    expect([...linked].filter((one) => one.linked).length).toBeLessThanOrEqual(LINKS_MAX);
    expect((await bob.call('contact.requests', {})).length).toBe(REQUESTS_PENDING_MAX);
    expect(rowsOf(bob, 'contacts')).toBeLessThanOrEqual(1 + REQUESTS_PENDING_MAX + LINKS_MAX);
    expect(rowsOf(bob, 'events')).toBeLessThan(REQUESTS_PENDING_MAX + 20);
    expect(bob.account.status().refused['request.tooMany']).toBeGreaterThan(6_000);
    expect(await bob.read(alice)).toEqual([0, 20, 40, 60, 80].map((round) => `in round ${round}`));
    await bob.send(alice, 'still here');
    await world.settle();
    expect(await alice.read(bob)).toContain('still here');
    for (const one of linked) one.hangUp();
    await world.settle(1_000);
    expect(rowsOf(bob, 'contacts')).toBe(1 + REQUESTS_PENDING_MAX);
  });

  test('while 100 of them wait, who means it is not told that theirs came, and it comes again until there is room', async () => {
    const { bundle } = (await Hostile.join(world)).request(bob);
    const waiting = () => bob.call('contact.requests', {});
    while ((await waiting()).length < REQUESTS_PENDING_MAX) {
      const strangers = await Promise.all(Array.from({ length: 20 }, () => Hostile.join(world)));
      const rings = strangers.map((one) => one.ring(bob, { kind: 'request', id: one.newId(), bundle, nickname: 'n' }));
      await world.settle(100);
      await Promise.allSettled(rings);
      for (const one of strangers) one.hangUp();
    }
    const carol = await world.person('carol');
    await carol.call('contact.add', { address: bob.address, name: 'bob' });
    await world.settle(15 * 60_000);
    const { summary } = await carol.call('contact.why', { contact: 'bob' });
    expect(summary).toBe('your request to bob is not delivered yet');
    const [first] = await waiting();
    await bob.call('contact.reject', { contact: first?.id ?? '' });
    await world.settle(15 * 60_000);
    expect((await waiting()).filter(({ nickname }) => nickname === 'carol')).toHaveLength(1);
    expect((await carol.call('contact.why', { contact: 'bob' })).summary).toBe(
      'bob has your request and has not answered',
    );
  });

  test('of mine that nobody has answered there are 100; one that is taken back makes room', async () => {
    const ask = (n: number) => {
      const { identityKey } = localKeys(deriveSecrets(world.random.bytes(16)), world.random.bytes(16)).publicKeys;
      return alice.call('contact.add', { address: addressOf(identityKey), name: `n${n}` });
    };
    for (let n = 0; n < REQUESTS_PENDING_MAX; n++) await ask(n);
    expect(await codeOf(ask(REQUESTS_PENDING_MAX))).toBe('request.tooMany');
    await alice.call('contact.remove', { contact: 'n0' });
    expect(await ask(REQUESTS_PENDING_MAX)).toMatchObject({ state: 'outgoing' });
  });

  test('5,000 contacts are the most there can be; who was rejected is none of them', async () => {
    const { address } = await world.person('carol');
    const add = () => codeOf(bob.call('contact.add', { address, name: 'carol' }));
    bob.db.run(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
         INSERT INTO contacts (uid, address, name, state, created_at) SELECT randomblob(16), i, i, 'outgoing', 1 FROM n`,
      CONTACTS_MAX - 1,
    );
    expect(await add()).toBe('request.tooMany');
    // Who is one of them already is asked again all the same.
    bob.db.run(`UPDATE contacts SET paused = 'notContact' WHERE name = 'alice'`);
    expect(await codeOf(bob.call('contact.add', { address: alice.address, name: 'alice' }))).toBe('done');
    bob.db.run(`UPDATE contacts SET state = 'removed' WHERE state = 'outgoing'`);
    expect(await add()).toBe('done');
  });

  test('links on which nobody speaks end, the oldest first, and do not keep others out', async () => {
    const silent = await Promise.all(Array.from({ length: 200 }, () => Hostile.join(world)));
    const rings = silent.map((one) => one.ring(bob));
    await world.settle(100);
    await Promise.allSettled(rings);
    expect(silent.filter((one) => one.linked)).toEqual(silent.slice(-UNPROVEN_STREAMS_MAX));
    const carol = await world.person('carol');
    await world.befriend(carol, bob);
    expect((await bob.contact('carol')).state).toBe('accepted');
    await world.settle(HANDSHAKE_MS_MAX);
    expect(silent.filter((one) => one.linked)).toEqual([]);
    expect(bob.account.status().refused).toEqual({ 'handshake.timeout': UNPROVEN_STREAMS_MAX - 1 });
    expect(rowsOf(bob, 'contacts')).toBe(2);
  });
});

describe('ID-3: what is given as an address', () => {
  test('recovery words are refused by their number, and are nowhere in the store', async () => {
    const phrase = phraseOf(world.random.bytes(16));
    expect(await codeOf(bob.call('contact.add', { address: phrase, name: 'x' }))).toBe('words.recovery');
    expect(await codeOf(bob.call('contact.add', { address: ` ${phrase.toUpperCase()}\n`, name: 'x' }))).toBe(
      'words.recovery',
    );
    for (const { name } of bob.db.all<{ name: string }>(
      `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'messages_fts%'`,
    ))
      expect(JSON.stringify(bob.db.all(`SELECT * FROM ${name}`))).not.toContain(
        phrase.split(' ').slice(0, 3).join(' '),
      );
  });

  test('addresses of small order, of no point and outside the subgroup are refused before a dial', async () => {
    const identity = Buffer.alloc(32);
    identity[0] = 1;
    const outside = Buffer.from(alice.address);
    for (const address of [addressOf(identity), addressOf(Buffer.alloc(32)), addressOf(Buffer.alloc(32, 0xff))])
      expect(await codeOf(bob.call('contact.add', { address, name: 'x' }))).toBe('key.invalid');
    outside[3] = outside[3] === 0x61 ? 0x62 : 0x61;
    expect(await codeOf(bob.call('contact.add', { address: outside.toString(), name: 'x' }))).toBe('address.invalid');
    expect(await codeOf(bob.call('contact.add', { address: bob.address, name: 'me' }))).toBe('contact.self');
    expect(rowsOf(bob, 'contacts')).toBe(1);
  });
});
