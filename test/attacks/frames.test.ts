// Attacks with frames on a proven link: forged, replayed, reordered, oversized, unknown, or simply too many.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { concat } from '../../src/protocol/bytes.ts';
import type { MessageId } from '../../src/protocol/ids.ts';
import {
  CONTACT_BYTES_PER_DAY_MAX,
  CONTACT_HISTORY_MAX,
  FRAME_BYTES_MAX,
  FRAMES_PER_SECOND_MAX,
  OUTBOX_FRAMES_MAX,
  PINS_PER_CONVERSATION_MAX,
  REACTIONS_PER_MESSAGE_MAX,
  WINDOW_BYTES_MAX,
  WINDOW_FRAMES_MAX,
} from '../../src/protocol/limits.ts';
import { encodeBody, encodeFrame, type PeerFrame, type SealedBody } from '../../src/protocol/peer.ts';
import { checkDatabase } from '../../src/store/check.ts';
import { codeOf } from '../../src/testing/code.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { Hostile, rowsOf } from './hostile.ts';

const DAY = 24 * 3_600_000;

let world: World;
let alice: Person;
let bob: Person;
let mallory: Hostile;

beforeEach(async () => {
  world = new World();
  ({ alice, bob } = await world.friends());
  mallory = await Hostile.join(world);
  await mallory.befriend(bob);
});

afterEach(async () => {
  // Whatever was done: the others talk on, and the store is whole.
  await alice.send(bob, 'still here');
  await world.settle();
  expect((await bob.read(alice)).at(-1)).toBe('still here');
  for (const person of [alice, bob]) expect(checkDatabase(person.db)).toEqual([]);
  bob.log.claim('frame.refused');
  await world[Symbol.asyncDispose]();
});

const text = (words: string) => ({ kind: 'text', text: words, sentAt: 1 }) as const;

describe('FRAME-4 and FRAME-5: repeats and order', () => {
  test('a frame that comes again is acknowledged again and changes nothing, over a restart and 100 days too', async () => {
    const frame = await mallory.seal(text('once'));
    await mallory.say(frame, frame, frame);
    await bob.close();
    world.clock.jump(99 * DAY);
    await bob.open();
    await world.settle(120_000);
    await mallory.dial(bob);
    mallory.heard.length = 0;
    await mallory.say(frame);
    expect(mallory.acknowledged(frame.id)).toBe(true);
    expect(await bob.read('mallory')).toEqual(['once']);
    expect(bob.log.unclaimed()).toEqual([]);
  });

  test('a ciphertext that comes again under another id is not acknowledged: it asks for a new session', async () => {
    const frame = await mallory.seal(text('once'));
    await mallory.say(frame);
    const again = { ...frame, id: mallory.newId() };
    await mallory.say(again);
    expect(mallory.acknowledged(again.id)).toBe(false);
    expect(new Set(mallory.heardOf('reset').map((reset) => reset.session)).size).toBe(1);
    expect(await bob.read('mallory')).toEqual(['once']);
    // What is said meanwhile waits, and it is told for what.
    const advice = async () => (await bob.call('contact.why', { contact: 'mallory' })).advice;
    expect(await advice()).toEqual([]);
    await bob.send('mallory', 'waits');
    expect(await advice()).toEqual([expect.stringContaining('they are asked for a new session')]);
  });

  test('frames in another order than they were made in are all taken, each once', async () => {
    const frames = [];
    for (let i = 0; i < 10; i++) frames.push(await mallory.seal(text(`t${i}`)));
    await mallory.say(...frames.toReversed());
    expect((await bob.read('mallory')).sort()).toEqual(Array.from({ length: 10 }, (_, i) => `t${i}`));
    for (const frame of frames) expect(mallory.acknowledged(frame.id)).toBe(true);
  });

  test('a frame that does not open is not acknowledged, and takes none of its neighbours with it', async () => {
    const good = [await mallory.seal(text('one')), await mallory.seal(text('two'))];
    const bad = { kind: 'sealed', id: mallory.newId(), type: 2, ciphertext: new Uint8Array(400).fill(9) } as const;
    await mallory.say(...good, bad, await mallory.seal(text('three')));
    expect(await bob.read('mallory')).toEqual(['one', 'two', 'three']);
    expect(mallory.acknowledged(bad.id)).toBe(false);
  });
});

describe('whose message it is, only the link says', () => {
  const targetsOf = async () => {
    const own = await bob.send(alice, 'from bob to alice');
    await world.settle();
    const theirs = await alice.send(bob, 'from alice to bob');
    await world.settle();
    return [own.id, theirs.id];
  };
  const about = (target: string): readonly Parameters<Hostile['seal']>[0][] => [
    { kind: 'edit', target, number: 1, text: 'forged' },
    { kind: 'react', target, emoji: '👎', on: true },
    { kind: 'pin', target, on: true },
    { kind: 'read', targets: [target] },
    { kind: 'unsupported', target },
    { kind: 'file.cancel', target },
    { kind: 'file.done', target },
    { kind: 'delete', target },
    { ...text('reply'), replyTo: target },
  ];

  test('bodies that name a message of another conversation change nothing there', async () => {
    const targets = await targetsOf();
    const before = await bob.messages(alice);
    for (const target of targets) {
      const ids = await mallory.tell(...about(target));
      for (const id of ids) expect(mallory.acknowledged(id)).toBe(true);
    }
    expect(await bob.messages(alice)).toEqual(before);
    expect(await alice.read(bob)).toEqual(['from bob to alice', 'from alice to bob']);
  });

  test('a sender that a body or a frame names is not heard', async () => {
    const told: unknown[] = [];
    bob.account.events.subscribe(
      ({ kind, contact }) => told.push([kind, contact?.name]),
      ['message.received', 'typing.changed', 'presence.changed'],
    );
    const claim = { from: alice.address, sender: alice.address, contact: 'alice', author: 'alice' };
    await mallory.tell({ ...text('as alice'), ...claim } as never);
    await mallory.say(
      { kind: 'typing', on: true, ...claim } as PeerFrame,
      { kind: 'presence', state: 'away', ...claim } as PeerFrame,
    );
    expect(told).toEqual(['message.received', 'typing.changed', 'presence.changed'].map((kind) => [kind, 'mallory']));
    expect((await bob.messages('mallory')).map(({ from, body }) => [from, body])).toEqual([['mallory', 'as alice']]);
    expect(await bob.read(alice)).toEqual([]);
  });

  test('MSG-1: bodies that name a message of the other author cannot edit or delete it', async () => {
    const { id } = await bob.send('mallory', 'mine');
    await world.settle(100);
    await mallory.acknowledge();
    await mallory.tell({ kind: 'edit', target: id, number: 9, text: 'forged' }, { kind: 'delete', target: id });
    const [message] = await bob.messages('mallory');
    expect(message).toMatchObject({ body: 'mine', state: 'delivered' });
    expect(message?.deletedAt).toBeUndefined();
  });

  test('so many reactions to one message, and so many pins, are all that there are', async () => {
    const [id] = await mallory.tell(text('of many'));
    const emoji = (n: number) => String.fromCodePoint(0x1f600 + n);
    for (let n = 0; n < REACTIONS_PER_MESSAGE_MAX + 5; n++)
      await mallory.tell({ kind: 'react', target: id as never, emoji: emoji(n), on: true });
    expect((await bob.messages('mallory'))[0]?.reactions).toHaveLength(REACTIONS_PER_MESSAGE_MAX);
    expect(await codeOf(bob.call('message.react', { id: id ?? '', emoji: '👍' }))).toBe('done');
    const targets = await mallory.tell(
      ...Array.from({ length: PINS_PER_CONVERSATION_MAX + 5 }, (_, n) => text(`${n}`)),
    );
    await world.settle(2_000);
    await mallory.tell(...targets.map((target) => ({ kind: 'pin', target, on: true }) as const));
    await world.settle(2_000);
    const pinned = (await bob.messages('mallory')).filter(({ pinnedAt }) => pinnedAt !== undefined);
    expect(pinned).toHaveLength(PINS_PER_CONVERSATION_MAX);
    expect(await codeOf(bob.call('message.pin', { id: targets.at(-1) ?? '' }))).toBe('pin.tooMany');
    for (let n = 1; n < REACTIONS_PER_MESSAGE_MAX; n++)
      await bob.call('message.react', { id: id ?? '', emoji: emoji(n) });
    expect(await codeOf(bob.call('message.react', { id: id ?? '', emoji: '🎉' }))).toBe('reaction.tooMany');
  });

  test('MSG-1: a deletion that comes before its text is remembered 100 days, over a restart too', async () => {
    const [early, late] = [mallory.newId(), mallory.newId()];
    await mallory.tell({ kind: 'delete', target: early }, { kind: 'delete', target: late });
    await bob.close();
    world.clock.jump(99 * DAY);
    await bob.open();
    await world.settle(120_000);
    await mallory.dial(bob);
    await mallory.tell({ ...text('deleted already'), id: early });
    expect(mallory.acknowledged(early)).toBe(true);
    expect(await bob.read('mallory')).toEqual([]);
    world.clock.jump(2 * DAY);
    await world.settle(120_000);
    if (!mallory.linked) await mallory.dial(bob);
    await mallory.tell({ ...text('nobody knows any more'), id: late });
    expect(await bob.read('mallory')).toEqual(['nobody knows any more']);
  });

  test('MSG-2: what expires runs from the commit here, whatever its author says of the time', async () => {
    const brief = { kind: 'text', text: 'brief', expiresMs: 60_000 } as const;
    for (const sentAt of [1, world.clock.now() + 3_600_000]) {
      await mallory.tell({ ...brief, sentAt });
      await world.settle(50_000);
      expect(await bob.read('mallory')).toEqual(['brief']);
      await world.settle(11_000);
      expect(await bob.read('mallory')).toEqual([]);
    }
  });

  test('a text under the id of a message of ours changes nothing', async () => {
    const { id } = await bob.send('mallory', 'mine');
    await world.settle(100);
    await mallory.tell({ ...text('theirs'), id: id as never });
    expect(await bob.read('mallory')).toEqual(['mine']);
  });

  test('a file under the id of a message of ours does no harm', async () => {
    const { id } = await bob.send('mallory', 'mine');
    await world.settle(100);
    const key = Buffer.alloc(32).toString('base64');
    await mallory.tell({
      kind: 'file.offer',
      id: `${id}` as never,
      name: 'x',
      sizeBytes: 1,
      key,
      root: key,
      sentAt: 1,
    });
    expect(await bob.read('mallory')).toEqual(['mine']);
    expect(await bob.call('file.list', {})).toEqual([]);
  });

  test('the edit with the highest number wins, in whatever order they come, and 100 are enough', async () => {
    const [id] = await mallory.tell(text('zero'));
    const target = id as never;
    await mallory.tell(
      { kind: 'edit', target, number: 5, text: 'five' },
      { kind: 'edit', target, number: 3, text: 'three' },
      { kind: 'edit', target, number: 1_000_000, text: 'too many' },
    );
    expect(await bob.read('mallory')).toEqual(['five']);
  });
});

describe('PRODUCT 3: nothing is shown as delivered that was not acknowledged', () => {
  test('acknowledgements of frames that were never sent, or to somebody else, change nothing', async () => {
    const { id } = await bob.send(alice, 'for alice');
    await alice.close();
    const waiting = await bob.send(alice, 'waits');
    await mallory.say({ kind: 'ack', ids: [id as never, waiting.id as never, mallory.newId()] });
    expect((await bob.messages(alice)).at(-1)?.state).not.toBe('delivered');
    await alice.open();
    await world.settle(600_000);
    expect(await alice.read(bob)).toContain('waits');
  });

  test('nor do those of what waits behind the window', async () => {
    for (let i = 0; i < WINDOW_FRAMES_MAX; i++) await bob.send('mallory', `m${i}`);
    const { id } = await bob.send('mallory', 'behind it');
    await world.settle(100);
    mallory.heard.length = 0;
    await mallory.say({ kind: 'ack', ids: [id as never] });
    expect((await bob.messages('mallory')).at(-1)?.state).toBe('queued');
    expect(bob.account.status().outboxDepth).toBe(WINDOW_FRAMES_MAX + 1);
  });

  test('a read receipt for a text that is still in flight counts as its acknowledgement; for a failed one it does not', async () => {
    const { id } = await bob.send('mallory', 'unacknowledged');
    await world.settle(100);
    await mallory.tell({ kind: 'read', targets: [id] });
    expect((await bob.messages('mallory'))[0]?.state).toBe('read');
    expect(bob.account.status().outboxDepth).toBe(0);
    const taken = await bob.send('mallory', 'taken back');
    await bob.call('message.cancel', { id: taken.id });
    await mallory.tell({ kind: 'read', targets: [taken.id] });
    expect((await bob.messages('mallory'))[1]).toMatchObject({ state: 'failed', reason: 'recalled' });
    await world.settle(100);
    await mallory.acknowledge();
  });

  test('so does one for a text that a new session is about to send again', async () => {
    const { id } = await bob.send('mallory', 'unacknowledged', { expiresMs: 60_000 });
    await world.settle(100);
    await mallory.say({ kind: 'sealed', id: mallory.newId(), type: 2, ciphertext: new Uint8Array(400).fill(9) });
    expect(mallory.heardOf('reset')).not.toEqual([]);
    await world.settle(40_000);
    await mallory.tell({ kind: 'read', targets: [id] });
    expect((await bob.messages('mallory'))[0]?.state).toBe('read');
    expect(bob.account.status().outboxDepth).toBe(0);
    await world.settle(40_000);
    expect(await bob.read('mallory')).toEqual(['unacknowledged']);
  });

  test('a peer that acknowledges nothing gets its window and no more, and loses the link', async () => {
    mallory.heard.length = 0;
    for (let i = 0; i < 100; i++) await bob.send('mallory', `m${i}`);
    await world.settle(1_000);
    expect(mallory.heardOf('sealed')).toHaveLength(64);
    await world.settle(60_000);
    expect(mallory.ended).toContain('peer closed');
    expect(bob.account.status().outboxDepth).toBe(100);
  });

  test('FRAME-6: of large texts that waited it gets no more than 1 MiB', async () => {
    mallory.hangUp();
    await world.settle(100);
    for (let i = 0; i < WINDOW_FRAMES_MAX; i++) await bob.send('mallory', `${i} ${'x'.repeat(16_300)}`);
    mallory.heard.length = 0;
    await mallory.dial(bob);
    await mallory.say({ kind: 'resume', sent: 0, received: 0 });
    // Each is a little above 16 KiB, and so padded to twice that.
    expect(mallory.heardOf('sealed')).toHaveLength(WINDOW_BYTES_MAX / (32 * 1024));
  });
});

test('PRODUCT 5: neither acknowledgements in another order nor the time that an author tells move a message', async () => {
  const ids: MessageId[] = [];
  for (const words of ['one', 'two', 'three']) ids.push((await bob.send('mallory', words)).id as MessageId);
  await mallory.tell({ kind: 'text', text: 'of tomorrow', sentAt: world.clock.now() + DAY }, text('of long ago'));
  await bob.send('mallory', 'last');
  const [first, second, third] = ids;
  for (const id of [third, first]) {
    await mallory.say({ kind: 'ack', ids: [id as MessageId] });
    await world.settle(1_000);
  }
  await mallory.tell({ kind: 'read', targets: [second as MessageId] });
  await mallory.acknowledge();
  expect(await bob.read('mallory')).toEqual(['one', 'two', 'three', 'of tomorrow', 'of long ago', 'last']);
});

describe('FRAME-1 to FRAME-3: what is no frame, or none that we know', () => {
  const refused = (code: string) => bob.account.status().refused[code] ?? 0;
  const raw = (first: number, body: string | Uint8Array) => concat([Uint8Array.of(first), Buffer.from(body)]);

  test.each<[string, string, Uint8Array]>([
    ['a frame above 48 KiB', 'frame.tooLarge', new Uint8Array(FRAME_BYTES_MAX + 1)],
    ['an unknown first byte', 'frame.invalid', raw(9, 'x')],
    ['an unknown JSON kind', 'frame.invalid', raw(0, '{"kind":"friend"}')],
    ['JSON that is none', 'frame.invalid', raw(0, '{')],
    ['JSON with a key given twice', 'frame.invalid', raw(0, '{"kind":"ping","n":1,"n":2}')],
    ['JSON with __proto__', 'frame.invalid', raw(0, '{"kind":"ping","n":1,"__proto__":{}}')],
    ['JSON that is too deep', 'frame.invalid', raw(0, `{"kind":"ping","n":1,"x":${'['.repeat(20)}${']'.repeat(20)}}`)],
    ['bytes that are no UTF-8', 'frame.invalid', raw(0, Uint8Array.of(0xc3, 0x28))],
    ['an acknowledgement of 65 ids', 'frame.invalid', raw(2, new Uint8Array(65 * 16))],
  ])('%s closes the link and is counted', async (_name, code, bytes) => {
    const before = refused(code);
    await mallory.say(bytes);
    expect(mallory.linked).toBe(false);
    expect(refused(code)).toBe(before + 1);
  });

  test('frames of file streams where none was asked for are counted and change nothing', async () => {
    const before = rowsOf(bob, 'files');
    await mallory.say(
      { kind: 'stream', transfer: mallory.newId(), from: 0 },
      { kind: 'chunk', index: 0, bytes: new Uint8Array(100) },
      { kind: 'hashes', index: 0, bytes: new Uint8Array(32) },
    );
    expect(refused('frame.unexpected')).toBe(3);
    expect(rowsOf(bob, 'files')).toBe(before);
  });

  test('an unknown sealed kind is acknowledged and answered', async () => {
    const id = mallory.newId();
    await mallory.say(await mallory.sealBytes(id, encodeBody({ kind: 'poll', id } as unknown as SealedBody)));
    expect(mallory.acknowledged(id)).toBe(true);
    expect(await mallory.open()).toMatchObject([{ kind: 'unsupported', target: id }]);
    // Its reader sees that something came.
    expect((await bob.messages('mallory')).at(-1)).toMatchObject({ id, kind: 'unknown', body: '', unread: true });
  });

  test('what they have said they cannot show stays failed when its acknowledgement comes late', async () => {
    const { message } = await bob.call('message.send', { conversation: 'mallory', text: 'new' });
    await world.settle();
    const target = message.id as MessageId;
    await mallory.say(await mallory.seal({ kind: 'unsupported', target }));
    const state = async () => (await bob.messages('mallory')).find(({ id }) => id === message.id);
    expect(await state()).toMatchObject({ state: 'failed', reason: 'unsupported' });
    await mallory.say({ kind: 'ack', ids: [target] });
    expect(await state()).toMatchObject({ state: 'failed', reason: 'unsupported' });
  });

  test('what they cannot show, and never acknowledged, goes again on the user’s word', async () => {
    const { message } = await bob.call('message.send', { conversation: 'mallory', text: 'new' });
    await world.settle();
    await mallory.say(await mallory.seal({ kind: 'unsupported', target: message.id as MessageId }));
    expect(await bob.call('message.resend', { id: message.id })).toMatchObject({ state: 'queued' });
    await world.settle();
    expect(await bob.call('message.show', { id: message.id })).toMatchObject({ state: 'sent' });
  });

  const fillOutbox = (name: string): void => {
    const row = bob.db.get<{ id: number }>('SELECT id FROM contacts WHERE name = ?', name)?.id ?? 0;
    bob.db.run(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
       INSERT INTO outbox (contact_id, frame_id, kind, body, created_at, expires_at)
       SELECT ?, randomblob(16), 'hello', CAST('{"kind":"hello","id":"00000000000000000000000000000000"}' AS BLOB), 0, 9e15 FROM n`,
      OUTBOX_FRAMES_MAX,
      row,
    );
  };

  test('unknown kinds without end, to a peer that acknowledges nothing, stop at the outbox', async () => {
    fillOutbox('mallory');
    const id = mallory.newId();
    await mallory.say(await mallory.sealBytes(id, encodeBody({ kind: 'poll', id } as unknown as SealedBody)));
    expect(mallory.acknowledged(id)).toBe(true);
    expect(rowsOf(bob, 'outbox')).toBe(OUTBOX_FRAMES_MAX);
    expect(await codeOf(bob.send('mallory', 'x'))).toBe('outbox.full');
    // What came is read without a receipt.
    await bob.call('config.set', { key: 'privacy.readReceipts', value: true });
    await bob.call('conversation.markRead', { conversation: 'mallory' });
    expect(bob.account.status().unread).toBe(0);
    // And one who asks again, having lost its store, is answered all the same.
    const request = mallory.request(bob);
    await mallory.say(request);
    expect(mallory.acknowledged(request.id)).toBe(true);
  });

  test('a pin across one of ours that waits in a full outbox is acknowledged, and ours stays', async () => {
    let eve = await Hostile.join(world);
    while (eve.address < bob.address) eve = await Hostile.join(world);
    await eve.befriend(bob, 'eve');
    const { id } = await bob.send('eve', 'pinned');
    await bob.call('message.pin', { id });
    await world.settle(100);
    fillOutbox('eve');
    const [pin] = await eve.tell({ kind: 'pin', target: id, on: false });
    expect(pin !== undefined && eve.acknowledged(pin)).toBe(true);
    expect((await bob.messages('eve'))[0]?.pinnedAt).toBeGreaterThan(0);
  });

  test('ciphertexts of any type and shape are refused one by one', async () => {
    const good = await mallory.seal(text('good'));
    for (let i = 0; i < 60; i++) {
      const ciphertext = good.ciphertext.slice(0, 1 + Math.floor(world.random.fraction() * good.ciphertext.length));
      const at = Math.floor(world.random.fraction() * ciphertext.length);
      ciphertext[at] = (ciphertext[at] ?? 0) ^ 0x41;
      await mallory.say({ kind: 'sealed', id: mallory.newId(), type: i % 9, ciphertext });
    }
    expect(await bob.read('mallory')).toEqual([]);
    await mallory.say(good);
    expect(await bob.read('mallory')).toEqual(['good']);
  });
});

describe('one row of the outbox that cannot be sent does not stop the others', () => {
  test('a row that is damaged fails, and what stands behind it arrives', async () => {
    await alice.close();
    await world.settle();
    const bad = await bob.send(alice, 'damaged');
    await bob.send(alice, 'behind it');
    bob.db.run(`UPDATE outbox SET body = x'7bff' WHERE message_row = (SELECT max(id) - 1 FROM messages)`);
    await alice.open();
    await world.settle(600_000);
    expect(await alice.read(bob)).toEqual(['behind it']);
    const failed = (await bob.messages(alice)).find((message) => message.id === bad.id);
    expect(failed).toMatchObject({ state: 'failed', reason: 'notSendable' });
  });

  test.each([
    ['line feeds', '\n'],
    ['control characters', '\u0001'],
    ['quotes', '"'],
  ])('16 KiB of %s are sent, or refused before they are kept', async (_name, char) => {
    await alice.close();
    await world.settle();
    const sent = await codeOf(bob.send(alice, `${char.repeat(16 * 1024 - 1)}.`));
    await bob.send(alice, 'behind it');
    await alice.open();
    await world.settle(600_000);
    expect(sent).toBe('text.tooLarge');
    expect(await alice.read(bob)).toEqual(['behind it']);
  });

  test('a contact that cannot be reached does not slow down another', async () => {
    await mallory.leave();
    await bob.send('mallory', 'nobody there');
    await world.settle(60_000);
    await bob.send(alice, 'quick');
    await world.settle(1_000);
    expect(await alice.read(bob)).toEqual(['quick']);
  });
});

describe('FRAME-6: floods', () => {
  test('above 200 frames a second the reader stops; others are served, and nothing is lost', async () => {
    const pings: PeerFrame[] = Array.from({ length: 1_500 }, (_, n) => ({ kind: 'ping', n }));
    await mallory.say(...pings);
    await alice.send(bob, 'between');
    await world.settle(500);
    expect(await bob.read(alice)).toEqual(['between']);
    expect(mallory.heardOf('pong').length).toBeLessThanOrEqual(2 * FRAMES_PER_SECOND_MAX);
    await world.settle(30_000);
    expect(mallory.heardOf('pong').length).toBeGreaterThanOrEqual(1_500);
  });

  test('more than a day allows is not acknowledged and told once; the next day takes it', async () => {
    // The largest frames there are, under an id that was taken already: only their number and size count.
    const taken = await mallory.seal(text('taken'));
    await mallory.say(taken);
    const large = { ...taken, ciphertext: world.random.bytes(FRAME_BYTES_MAX - 18) };
    const times = Math.ceil(CONTACT_BYTES_PER_DAY_MAX / large.ciphertext.length / 200);
    for (let second = 0; second < times; second++) {
      await mallory.say(...Array.from({ length: 200 }, () => large));
      await world.settle(1_000);
    }
    const late = await mallory.seal(text('too much'));
    await mallory.say(late, late);
    expect([mallory.acknowledged(taken.id), mallory.acknowledged(late.id)]).toEqual([true, false]);
    const told = async () =>
      (await bob.contact('mallory')).history?.filter(({ kind }) => kind === 'quota.exceeded') ?? [];
    expect(await told()).toHaveLength(1);
    const advice = async () => (await bob.call('contact.why', { contact: 'mallory' })).advice;
    expect(await advice()).toEqual(['they sent more than a day allows: the rest waits until tomorrow']);
    world.clock.jump(DAY);
    await mallory.say(late);
    expect(mallory.acknowledged(late.id)).toBe(true);
    expect((await bob.read('mallory')).at(-1)).toBe('too much');
    expect(await advice()).toEqual([]);
    expect(await told()).toHaveLength(1);
  });

  test('one that forgets and remembers us in turns writes no history without end', async () => {
    const resume = { kind: 'resume', sent: 0, received: 0 } as const;
    for (let second = 0; second < 7; second++)
      await mallory.say(
        ...Array.from({ length: 180 }, (_, n) => (n % 2 === 0 ? ({ kind: 'not_contact' } as const) : resume)),
      );
    await world.settle(10_000);
    expect(bob.account.status().refused).toEqual({});
    const { history = [] } = await bob.contact('mallory');
    expect(history).toHaveLength(CONTACT_HISTORY_MAX);
    expect(history.at(-1)?.kind).toBe('contact.unknown');
  });

  test('the reader goes on although its timer is early, as timers of a machine are by up to a millisecond', async () => {
    const { clock } = world;
    const after = clock.after.bind(clock);
    clock.after = (ms, fire) => after(ms > 1 ? ms - 0.9 : ms, fire);
    const pings: PeerFrame[] = Array.from({ length: 1_500 }, (_, n) => ({ kind: 'ping', n }));
    await mallory.say(...pings);
    await world.settle(30_000);
    expect(mallory.heardOf('pong').length).toBeGreaterThanOrEqual(1_500);
  });

  test('typing and presence are told twice a second at most', async () => {
    const told: string[] = [];
    bob.account.events.subscribe((event) => told.push(event.kind));
    await mallory.say(...Array.from({ length: 100 }, (_, i) => ({ kind: 'typing', on: i % 2 === 0 }) as const));
    expect(told.filter((kind) => kind === 'typing.changed').length).toBeLessThanOrEqual(4);
    const eve = await Hostile.join(world);
    await eve.dial(bob);
    told.length = 0;
    await eve.say({ kind: 'typing', on: true }, { kind: 'presence', state: 'online' });
    expect(told).not.toContain('typing.changed');
  });
});

describe('reflection', () => {
  test('everything that is said comes back: nothing is taken for the other side’s', async () => {
    await bob.send('mallory', 'my own words');
    await world.settle(100);
    const before = await bob.messages('mallory');
    for (let round = 0; round < 5; round++) {
      const said = mallory.heard.splice(0);
      await mallory.say(...said.map(encodeFrame));
      if (!mallory.linked) await mallory.dial(bob);
    }
    const mine = (await bob.messages('mallory')).filter((message) => !message.mine);
    expect(mine).toEqual([]);
    expect((await bob.messages('mallory')).map((message) => message.id)).toEqual(before.map((message) => message.id));
    expect((await bob.contact('mallory')).state).toBe('accepted');
  });
});
