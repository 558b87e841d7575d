import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { REQUEST_EXPIRY_MS, WAL_COMMITS_MIN, WAL_QUIET_MS } from '../protocol/limits.ts';
import { openDatabase } from '../sqlite/open.ts';
import { codeOf } from '../testing/code.ts';
import { KEY, type Person, World } from '../testing/people.ts';

let world: World;
let alice: Person;
let bob: Person;

beforeEach(async () => {
  world = new World();
  ({ alice, bob } = await world.friends());
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

describe('two people', () => {
  test('become contacts and exchange texts that arrive once, in order, and are delivered', async () => {
    expect((await alice.contact('bob')).state).toBe('accepted');
    for (let i = 0; i < 5; i++) expect((await alice.send(bob, `a${i}`)).state).toBe('queued');
    await bob.send(alice, 'b0');
    await world.settle();
    expect(await bob.read(alice)).toEqual(expect.arrayContaining(['a0', 'a1', 'a2', 'a3', 'a4', 'b0']));
    expect((await bob.read(alice)).filter((body) => body.startsWith('a'))).toEqual(['a0', 'a1', 'a2', 'a3', 'a4']);
    expect((await alice.messages(bob)).filter((one) => one.mine).map((one) => one.state)).toEqual(
      Array(5).fill('delivered'),
    );
  });

  test('one is offline: what was written waits, arrives once and in order, over a restart', async () => {
    await bob.close();
    await world.settle();
    for (let i = 0; i < 20; i++) expect((await alice.send(bob, `wait ${i}`)).state).toBe('queued');
    await world.settle(120_000);
    await alice.close();
    await alice.open();
    await bob.open();
    await world.settle(120_000);
    expect(await bob.read(alice)).toEqual(Array.from({ length: 20 }, (_, i) => `wait ${i}`));
    expect(new Set((await alice.messages(bob)).map((one) => one.state))).toEqual(new Set(['delivered']));
  });

  test('PRODUCT 1: who dies at any commit of a talk goes on in the session that there was, and each text opens once', async () => {
    const pairs = [
      [alice, bob],
      [bob, alice],
    ] as const;
    const sessions = () => pairs.map(([one]) => one.db.all('SELECT hex(session_id) FROM sessions'));
    const before = sessions();
    for (const [who] of pairs)
      for (let commits = 1; commits <= 5; commits++)
        for (const [when, waits] of [
          ['before', false],
          ['after', false],
          ['before', true],
          ['after', true],
        ] as const) {
          // What waits is sealed by another function than what goes at once.
          if (waits) world.hub.partition(alice.address, bob.address);
          await world.settle();
          if (!waits) who.crashAt(commits, when);
          for (const [one, other] of pairs)
            if (one.isOpen) await codeOf(one.send(other, `${who.name} ${commits} ${when} ${waits}`));
          if (waits) who.crashAt(commits, when);
          world.hub.heal();
          await world.settle(30_000);
          who.crashAt(Number.POSITIVE_INFINITY, 'after');
          if (!who.isOpen) await who.open();
          await world.settle(60_000);
        }
    const bodies = async (at: Person, other: Person, ours: boolean) =>
      (await at.messages(other)).filter(({ mine }) => mine === ours).map(({ body }) => body);
    for (const [one, other] of pairs) {
      const said = await bodies(one, other, true);
      expect(said.length).toBeGreaterThan(30);
      expect(await bodies(other, one, false)).toEqual(said);
      expect([one.log.unclaimed(), one.account.status().outboxDepth]).toEqual([[], 0]);
    }
    expect(sessions()).toEqual(before);
  });

  test('what is erased leaves the write-ahead log in a minute, or when nobody reads it any more', async () => {
    const sizeOfLog = () => statSync(join(world.dir, 'alice', 'db-wal')).size;
    const erase = async () => alice.call('message.delete', { id: (await alice.send(bob, 'gone soon')).id });
    await erase();
    await world.settle(60_000);
    expect(sizeOfLog()).toBe(0);
    {
      using reader = openDatabase(join(world.dir, 'alice', 'db'), KEY);
      reader.exec('BEGIN');
      reader.get('SELECT id FROM messages');
      await erase();
      await world.settle(60_000);
      expect(sizeOfLog()).toBeGreaterThan(0);
    }
    await world.settle(60_000);
    expect(sizeOfLog()).toBe(0);
  });

  test('what was committed is moved out of the write-ahead log in a quiet moment, once it is much', async () => {
    const moved = () => statSync(join(world.dir, 'alice', 'db'), { bigint: true }).mtimeNs;
    alice.db.truncateWal();
    const before = moved();
    for (let i = 0; i < WAL_COMMITS_MIN / 4; i++)
      await alice.call('conversation.draft', { conversation: 'bob', text: `${i}` });
    await world.settle(10 * WAL_QUIET_MS);
    expect(moved()).toBe(before);
    for (let i = 0; i < WAL_COMMITS_MIN; i++)
      await alice.call('conversation.draft', { conversation: 'bob', text: `${i}` });
    expect(moved()).toBe(before);
    await world.settle(10 * WAL_QUIET_MS);
    expect(moved()).toBeGreaterThan(before);
  });

  test('reply, edit, react, pin and delete reach the other side', async () => {
    const sent = await alice.send(bob, 'frist');
    await world.settle();
    await alice.call('message.edit', { id: sent.id, text: 'first' });
    await bob.call('message.react', { id: sent.id, emoji: '👍' });
    await bob.call('message.pin', { id: sent.id });
    const reply = await bob.send(alice, 'yes', { replyTo: sent.id });
    await world.settle();
    const [theirs] = await bob.messages(alice);
    expect(theirs).toMatchObject({ body: 'first', id: sent.id });
    expect(theirs?.editedAt).toBeGreaterThan(0);
    const mine = await alice.messages(bob);
    expect(mine[0]?.reactions).toEqual([{ emoji: '👍', from: 'bob', mine: false }]);
    expect(mine[0]?.pinnedAt).toBeGreaterThan(0);
    expect(mine[1]).toMatchObject({ id: reply.id, replyTo: sent.id });
    await alice.call('message.delete', { id: sent.id });
    await world.settle();
    expect((await bob.messages(alice))[0]).toMatchObject({ body: '' });
    expect((await bob.call('message.search', { query: 'first' })).messages).toEqual([]);
    expect(await codeOf(bob.call('message.delete', { id: sent.id }))).toBe('message.notYours');
  });

  test('an edit with the text that a message has already changes nothing', async () => {
    const { id } = await alice.send(bob, 'first');
    const waiting = await alice.call('message.edit', { id, text: 'first' });
    await world.settle();
    const { cursor } = { cursor: alice.account.events.head() };
    const sent = await alice.call('message.edit', { id, text: 'first' });
    await world.settle();
    expect([waiting.editedAt, sent.editedAt, alice.account.events.head()]).toEqual([undefined, undefined, cursor]);
    expect((await alice.call('message.show', { id })).versions ?? []).toEqual([]);
    expect((await bob.messages(alice))[0]?.editedAt).toBeUndefined();
    expect(await codeOf(bob.call('message.edit', { id, text: 'first' }))).toBe('message.notYours');
    await alice.call('message.edit', { id, text: 'second' });
    const back = await alice.call('message.edit', { id, text: 'first' });
    expect(back.editedAt).toBeGreaterThan(0);
  });

  test('what was deleted here only can be deleted for both after that', async () => {
    const { id } = await alice.send(bob, 'first here');
    await world.settle();
    const here = await alice.call('message.delete', { id, local: true });
    expect([here.deletedAt !== undefined, here.reason]).toEqual([true, 'local']);
    await world.settle();
    expect(await bob.read(alice)).toEqual(['first here']);
    expect((await alice.call('message.delete', { id })).reason).toBeUndefined();
    expect(alice.account.status().outboxDepth).toBe(1);
    await world.settle();
    expect([await bob.read(alice), await alice.read(bob)]).toEqual([[''], ['']]);
    // Again is harmless, and told to nobody.
    await alice.call('message.delete', { id });
    expect(alice.account.status().outboxDepth).toBe(0);
  });

  test('what is written without spaces is found in a long history', async () => {
    const first = await alice.send(bob, '今朝の潮は高い');
    await alice.send(bob, 'nothing of it');
    alice.db.run(`UPDATE sqlite_sequence SET seq = 40000 WHERE name = 'messages'`);
    const last = await alice.send(bob, '夜の潮は低い');
    const find = (limit: number) => world.during(alice.call('message.search', { query: '潮は', limit }));
    const all = await find(10);
    expect(all).toMatchObject({ messages: [{ id: last.id }, { id: first.id }], more: false });
    expect(await find(1)).toMatchObject({ messages: [{ id: last.id }], more: true });
    const before = await world.during(alice.call('message.search', { query: '潮は', before: last.id }));
    expect(before.messages.map(({ id }) => id)).toEqual([first.id]);
  });

  test('a message that expires ends on both sides without anybody looking', async () => {
    await alice.send(bob, 'brief', { expiresMs: 5_000 });
    await world.settle();
    expect((await bob.call('message.search', { query: 'brief' })).messages).toHaveLength(1);
    await world.settle(10_000);
    expect([await bob.read(alice), await alice.read(bob)]).toEqual([[], []]);
    expect((await bob.call('message.search', { query: 'brief' })).messages).toEqual([]);
  });

  test('read receipts are sent only when the setting says so', async () => {
    await alice.send(bob, 'one');
    await world.settle();
    await bob.call('conversation.markRead', { conversation: 'alice' });
    await world.settle();
    expect((await alice.messages(bob))[0]?.state).toBe('delivered');
    await bob.call('config.set', { key: 'privacy.readReceipts', value: true });
    await alice.send(bob, 'two');
    await world.settle();
    await bob.call('conversation.markRead', { conversation: 'alice' });
    await world.settle();
    expect((await alice.messages(bob)).map((one) => one.state)).toEqual(['delivered', 'read']);
  });

  test('a rejected person sees the request pending, cannot speak, and is nowhere', async () => {
    const carol = await world.person('carol');
    await carol.call('contact.add', { address: bob.address, name: 'bob' });
    await world.settle();
    const [request] = await bob.call('contact.requests', {});
    await bob.call('contact.reject', { contact: request?.id ?? '' });
    await world.settle();
    expect((await carol.contact('bob')).state).toBe('outgoing');
    expect(await codeOf(carol.send('bob', 'hello'))).toBe('contact.notAccepted');
    expect((await bob.call('conversation.list', {})).map((one) => one.name)).toEqual(['alice']);
  });

  test('who is blocked when they ask is found by the name that is shown', async () => {
    const eve = await world.person('eve');
    await eve.call('contact.add', { address: bob.address });
    await world.settle();
    const [{ id, name } = { id: '', name: '' }] = await bob.call('contact.requests', {});
    expect((await bob.call('contact.block', { contact: id })).name).toBe(name);
    expect(await bob.call('contact.show', { contact: name })).toMatchObject({ id, state: 'blocked' });
    expect(await bob.call('contact.requests', {})).toEqual([]);
    const message = `${name} is blocked: sotto contact unblock ${name} lets them in again`;
    await expect(bob.call('contact.accept', { contact: id })).rejects.toMatchObject({
      code: 'contact.blocked',
      message,
    });
    await expect(bob.send(name, 'no')).rejects.toMatchObject({ code: 'contact.blocked', message });
    expect(await bob.call('contact.unblock', { contact: name })).toMatchObject({ id, state: 'incoming' });
    expect((await bob.call('contact.requests', {})).map((one) => one.id)).toEqual([id]);
    await bob.call('contact.accept', { contact: name });
    await world.settle();
    expect((await eve.call('contact.list', {})).map(({ state }) => state)).toEqual(['accepted']);
  });

  test('a request that ends while its author is blocked is gone when they are not any more', async () => {
    const eve = await world.person('eve');
    await eve.call('contact.add', { address: bob.address });
    await world.settle();
    const [{ id, name } = { id: '', name: '' }] = await bob.call('contact.requests', {});
    await bob.call('contact.block', { contact: id });
    world.clock.jump(REQUEST_EXPIRY_MS);
    await world.settle(60_000);
    expect(await bob.call('contact.show', { contact: name })).toMatchObject({ id, state: 'blocked' });
    expect(await bob.call('contact.unblock', { contact: name })).toMatchObject({ id, state: 'removed' });
    await expect(bob.call('contact.show', { contact: name })).rejects.toMatchObject({ code: 'contact.unknown' });
  });

  test('block stops a contact and says nothing; unblock lets them in again', async () => {
    await bob.call('contact.block', { contact: 'alice' });
    await world.settle();
    await alice.send(bob, 'blocked');
    await world.settle(60_000);
    expect(await bob.read(alice)).toEqual([]);
    await bob.call('contact.unblock', { contact: 'alice' });
    await world.settle(600_000);
    expect(await bob.read(alice)).toEqual(['blocked']);
  });

  test('a text that is taken back never left, or is deleted there; sent again it arrives once', async () => {
    const { id } = await alice.send(bob, 'too soon');
    expect(await alice.call('message.cancel', { id })).toMatchObject({ state: 'failed', reason: 'recalled' });
    await world.settle();
    expect(await bob.read(alice)).toEqual(['']);
    const again = await alice.call('message.resend', { id });
    expect([again.id === id, again.state, again.reason]).toEqual([false, 'queued', undefined]);
    await world.settle();
    expect(await bob.read(alice)).toEqual(['', 'too soon']);
    expect((await alice.messages(bob)).map((one) => [one.id, one.state])).toEqual([[again.id, 'delivered']]);

    world.hub.partition(alice.address, bob.address);
    await world.settle();
    const kept = await alice.send(bob, 'later');
    expect(await alice.call('message.cancel', { id: kept.id })).toMatchObject({ state: 'failed', reason: 'cancelled' });
    expect((await alice.call('message.resend', { id: kept.id })).id).toBe(kept.id);
    world.hub.heal();
    await world.settle(3_600_000);
    expect(await bob.read(alice)).toEqual(['', 'too soon', 'later']);
  });

  test('an emoji with its selector and without is one reaction, and goes by either', async () => {
    const { id } = await alice.send(bob, 'well done');
    await alice.call('message.react', { id, emoji: '\u2764' });
    await alice.call('message.react', { id, emoji: '\u2764\ufe0f' });
    await world.settle();
    const shown = async () => (await bob.messages(alice)).at(-1)?.reactions.map(({ emoji }) => emoji);
    expect(await shown()).toEqual(['\u2764']);
    await alice.call('message.unreact', { id, emoji: '\u2764\ufe0f' });
    await world.settle();
    expect(await shown()).toEqual([]);
  });

  test('what was put on a text goes with it when it is sent again, and what others put on one that was taken back is gone', async () => {
    const { id } = await alice.send(bob, 'too soon');
    await alice.call('message.react', { id, emoji: '🎉' });
    await alice.call('message.pin', { id });
    // Bob has it and is heard to say so, but his acknowledgement was lost.
    await world.settle();
    await bob.call('message.react', { id, emoji: '👍' });
    await world.settle();
    alice.db.run(`UPDATE messages SET state = 'sent' WHERE mine = 1`);
    await alice.call('message.cancel', { id });
    const again = await alice.call('message.resend', { id });
    await world.settle();
    const shown = async (who: Person, from: Person) =>
      (await who.messages(from))
        .filter((one) => one.id === again.id)
        .map(({ reactions, pinnedAt }) => [reactions.map(({ emoji, mine }) => [emoji, mine]), pinnedAt !== undefined]);
    expect(await shown(alice, bob)).toEqual([[[['🎉', true]], true]]);
    expect(await shown(bob, alice)).toEqual([[[['🎉', false]], true]]);
  });

  test('MSG-1: of pins that cross, the lower address’s counts with both', async () => {
    const [lower, higher] = alice.address < bob.address ? [alice, bob] : [bob, alice];
    const pinned = async (who: Person, from: Person) =>
      (await who.messages(from)).map(({ body, pinnedAt }) => `${body} ${pinnedAt !== undefined}`);
    const one = (await alice.send(bob, 'one')).id;
    const two = (await alice.send(bob, 'two')).id;
    await lower.call('message.pin', { id: two });
    await world.settle();
    world.hub.partition(alice.address, bob.address);
    await world.settle();
    await lower.call('message.pin', { id: one });
    await higher.call('message.pin', { id: one });
    await higher.call('message.unpin', { id: one });
    await lower.call('message.unpin', { id: two });
    await higher.call('message.pin', { id: two });
    world.hub.heal();
    await world.settle(3_600_000);
    expect(await pinned(lower, higher)).toEqual(['one true', 'two false']);
    expect(await pinned(higher, lower)).toEqual(['one true', 'two false']);
    await higher.call('message.unpin', { id: one });
    await world.settle();
    expect(await pinned(lower, higher)).toEqual(['one false', 'two false']);
  });

  test('crossed requests accept each other', async () => {
    const [carol, dave] = [await world.person('carol'), await world.person('dave')];
    await Promise.all([
      carol.call('contact.add', { address: dave.address, name: 'dave' }),
      dave.call('contact.add', { address: carol.address, name: 'carol' }),
    ]);
    await world.settle(120_000);
    expect([(await carol.contact('dave')).state, (await dave.contact('carol')).state]).toEqual([
      'accepted',
      'accepted',
    ]);
    await carol.send('dave', 'hi');
    await dave.send('carol', 'ho');
    await world.settle(60_000);
    expect([await carol.read('dave'), await dave.read('carol')].map((bodies) => bodies.sort())).toEqual([
      ['hi', 'ho'],
      ['hi', 'ho'],
    ]);
  });

  test('events come in commit order with growing cursors, and resume', async () => {
    const seen: string[] = [];
    bob.account.events.subscribe((event) => event.cursor !== undefined && seen.push(event.cursor));
    const from = bob.account.events.head();
    for (let i = 0; i < 3; i++) await alice.send(bob, `e${i}`);
    await world.settle();
    const { events } = bob.account.events.since(from);
    expect(events.map((event) => event.kind)).toEqual(Array(3).fill('message.received'));
    expect(events.map((event) => event.cursor)).toEqual(seen);
  });

  test('who begins to listen is told of what comes, and not of what was committed before', async () => {
    await alice.send(bob, 'before');
    const seen: string[] = [];
    alice.account.events.subscribe((event) => seen.push(event.kind));
    await world.settle();
    expect(seen).toEqual(['message.delivered']);
  });

  test('who wants events of some kinds hears those, and no others', async () => {
    const heard: string[] = [];
    const stop = bob.account.events.subscribe(
      ({ kind }) => void heard.push(kind),
      ['message.edited', 'typing.changed'],
    );
    const { id } = await alice.send(bob, 'frist');
    await alice.call('message.edit', { id, text: 'first' });
    await alice.call('config.set', { key: 'privacy.typing', value: true });
    await alice.call('conversation.typing', { conversation: 'bob', on: true });
    await world.settle();
    stop();
    await alice.call('message.edit', { id, text: 'First' });
    await world.settle();
    expect(heard).toEqual(['message.edited', 'typing.changed']);
  });

  test('a contact who was removed and is added again is verified anew', async () => {
    const verified = async () => (await alice.contact('bob')).verified;
    await alice.call('contact.verify', { contact: 'bob', verified: true });
    expect(await verified()).toBe(true);
    await alice.call('contact.remove', { contact: 'bob' });
    await bob.call('contact.remove', { contact: 'alice' });
    await world.settle(5_000);
    await world.befriend(alice, bob);
    expect(await verified()).toBe(false);
  });

  test('the safety number is the same on both sides', async () => {
    const [a, b] = [await alice.contact('bob'), await bob.contact('alice')];
    expect(a.safetyNumber).toMatch(/^(\d{5} ){11}\d{5}$/);
    expect(a.safetyNumber).toBe(b.safetyNumber);
  });
});
