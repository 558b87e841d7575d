// What ends before it is done: by time, or by the user's word.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WINDOW_FRAMES_MAX } from '../protocol/limits.ts';
import { checkDatabase } from '../store/check.ts';
import { getSession } from '../store/sessions.ts';
import { type Person, World } from '../testing/people.ts';

const DAY = 24 * 3_600_000;

let world: World;
let alice: Person;
let bob: Person;

beforeEach(async () => {
  world = new World();
  ({ alice, bob } = await world.friends());
});
afterEach(async () => {
  expect(checkDatabase(alice.db)).toEqual([]);
  await world[Symbol.asyncDispose]();
});

const mine = async () => (await alice.messages(bob)).map(({ body, state, reason }) => [body, state, reason]);

test('what waits again after it failed has no reason to tell', async () => {
  await bob.close();
  await alice.call('config.set', { key: 'outbox.expiresMs', value: 60_000 });
  const { id } = await alice.send(bob, 'again');
  await world.settle(180_000);
  expect((await alice.call('message.show', { id })).reason).toBe('outboxExpired');
  const resent = await alice.call('message.resend', { id });
  expect([resent.state, resent.reason]).toEqual(['queued', undefined]);
});

test('what nobody fetched in its time has failed, and goes again on the user’s word, under the same id', async () => {
  await bob.close();
  const { id } = await alice.send(bob, 'old');
  world.clock.jump(31 * DAY);
  await world.settle(60_000);
  expect(await mine()).toEqual([['old', 'failed', 'outboxExpired']]);
  await bob.open();
  await alice.call('message.resend', { id });
  await world.settle(60_000);
  expect(await mine()).toEqual([['old', 'delivered', undefined]]);
  expect(await bob.messages(alice)).toMatchObject([{ id, body: 'old' }]);
  await expect(alice.call('message.resend', { id })).rejects.toMatchObject({ code: 'message.notEditable' });
});

test('what waits fails when its time is over and not at the next sweep; a shorter time holds for what comes', async () => {
  await bob.close();
  await world.settle(30_000);
  await alice.call('config.set', { key: 'outbox.expiresMs', value: 60_000 });
  await alice.send(bob, 'a minute');
  await world.settle(59_000);
  expect(await mine()).toEqual([['a minute', 'queued', undefined]]);
  await world.settle(1_100);
  expect(await mine()).toEqual([['a minute', 'failed', 'outboxExpired']]);
  await alice.call('config.unset', { key: 'outbox.expiresMs' });
  await alice.send(bob, 'a month');
  await world.settle(70_000);
  await alice.call('config.set', { key: 'outbox.expiresMs', value: 60_000 });
  await world.settle(130_000);
  expect((await mine()).at(-1)).toEqual(['a month', 'queued', undefined]);
});

test('what failed may have come all the same: sent again, it is edited and deleted there too', async () => {
  const sent = [];
  for (const text of ['for an edit', 'for an end', 'to be taken back', 'edited before'])
    sent.push(await alice.send(bob, text));
  await world.settle();
  // Bob has them; his acknowledgements were lost, and nobody was there for 30 days.
  alice.db.run(`UPDATE messages SET state = 'failed', reason = 'outboxExpired' WHERE mine = 1`);
  await bob.close();
  await world.settle();
  const [first = '', second = '', third = '', fourth = ''] = sent.map(({ id }) => id);
  await alice.call('message.edit', { id: fourth, text: 'edited while it had failed' });
  for (const id of [first, second, third, fourth]) await alice.call('message.resend', { id });
  await alice.call('message.edit', { id: first, text: 'edited' });
  await alice.call('message.delete', { id: second });
  await alice.call('message.cancel', { id: third });
  await bob.open();
  await world.settle(60_000);
  expect(await bob.read(alice)).toEqual(['edited', '', '', 'edited while it had failed']);
  const versionsOf = async (who: Person) => (await who.call('message.show', { id: fourth })).versions;
  expect(await versionsOf(bob)).toMatchObject([{ body: 'edited before' }]);
  expect(await mine()).toEqual([
    ['edited', 'delivered', undefined],
    ['', 'failed', 'recalled'],
    ['to be taken back', 'failed', 'recalled'],
    ['edited while it had failed', 'delivered', undefined],
  ]);
});

test('what is taken back before it left never arrives', async () => {
  await bob.close();
  await world.settle();
  const { id } = await alice.send(bob, 'not this');
  await alice.send(bob, 'but this');
  await alice.call('message.cancel', { id });
  await expect(alice.call('message.cancel', { id })).rejects.toMatchObject({
    code: 'message.failed',
    message: 'The message was taken back already',
  });
  const gone = await alice.send(bob, 'nor this');
  const deleted = { state: 'failed', reason: 'cancelled', deletedAt: expect.any(Number) };
  expect(await alice.call('message.delete', { id: gone.id })).toMatchObject(deleted);
  await expect(alice.call('message.resend', { id: gone.id })).rejects.toMatchObject({ code: 'message.notEditable' });
  // Nor does a word about it.
  expect(alice.account.status().outboxDepth).toBe(1);
  await bob.open();
  await world.settle(60_000);
  expect(await bob.read(alice)).toEqual(['but this']);
  expect(await mine()).toEqual([
    ['not this', 'failed', 'cancelled'],
    ['but this', 'delivered', undefined],
    ['', 'failed', 'cancelled'],
  ]);
});

test('what is cleared while it waits is counted, and told as what failed', async () => {
  await alice.send(bob, 'delivered');
  await world.settle();
  await bob.close();
  await world.settle(60_000);
  const waiting = [await alice.send(bob, 'one'), await alice.send(bob, 'two')];
  const cursor = alice.account.events.head();
  expect(await alice.call('conversation.clear', { conversation: 'bob' })).toMatchObject({ takenBack: 2 });
  const told = alice.account.events.since(cursor).events.map(({ kind, message }) => [kind, message?.id]);
  expect(told).toEqual(waiting.map(({ id }) => ['message.failed', id]));
  expect(await alice.call('conversation.clear', { conversation: 'bob' })).toMatchObject({ takenBack: 0 });
});

test('what waits for a contact who is removed has failed, and can go again once they are a contact anew', async () => {
  await bob.close();
  const { id } = await alice.send(bob, 'waits');
  await alice.call('contact.remove', { contact: 'bob' });
  expect(await alice.call('message.show', { id })).toMatchObject({ state: 'failed', reason: 'contactRemoved' });
  expect(alice.account.status().outboxDepth).toBe(0);
  expect(checkDatabase(alice.db)).toEqual([]);
  await expect(alice.call('message.cancel', { id })).rejects.toMatchObject({ code: 'message.failed' });
  await bob.open();
  await alice.call('contact.add', { address: bob.address, name: 'bob' });
  await world.settle(60_000);
  await alice.call('message.resend', { id });
  await world.settle(60_000);
  expect(await bob.read(alice)).toEqual(['waits']);
});

test('a request that nobody answers ends after 30 days with the keys that went with it, and can be made again', async () => {
  const carol = await world.person('carol');
  await carol.close();
  await alice.call('contact.add', { address: carol.address, name: 'carol' });
  const session = () => alice.db.all<{ id: number }>('SELECT contact_id AS id FROM sessions').at(-1)?.id ?? 0;
  const bytes = () => getSession(alice.db, session())?.state.length ?? 0;
  expect(bytes()).toBeGreaterThan(1_000);
  world.clock.jump(31 * DAY);
  await world.settle(60_000);
  expect(bytes()).toBeLessThan(100);
  const why = await alice.call('contact.why', { contact: 'carol' });
  expect(why).toMatchObject({ summary: expect.stringContaining('has ended') });
  expect(why.advice).toContain(`ask again: sotto contact add ${carol.address} --name carol`);
  await carol.open();
  await alice.call('contact.add', { address: carol.address, name: 'carol' });
  await world.settle(60_000);
  expect(await carol.call('contact.requests', {})).toMatchObject([{ nickname: 'alice' }]);
});

test('MSG-2: a clock that is set back lengthens no message’s life, over a restart too, and shortens none', async () => {
  const MINUTE = 60_000;
  const lives = (text: string) => alice.send(bob, text, { expiresMs: 10 * MINUTE });
  await lives('first');
  await world.settle(4 * MINUTE);
  world.clock.jump(-DAY);
  await lives('second');
  await world.settle(4 * MINUTE);
  expect(await bob.read(alice)).toEqual(['first', 'second']);
  await world.settle(3 * MINUTE);
  for (const one of [alice.read(bob), bob.read(alice)]) expect(await one).toEqual(['second']);
  await bob.close();
  world.clock.jump(-DAY);
  await bob.open();
  await world.settle(4 * MINUTE);
  for (const one of [alice.read(bob), bob.read(alice)]) expect(await one).toEqual([]);
});

const SECOND = 1_000;

test('MSG-2: a clock that is set back is counted once, however often the account is opened after that', async () => {
  await alice.send(bob, 'once', { expiresMs: 60 * SECOND });
  await world.settle();
  await bob.close();
  world.clock.jump(-40 * SECOND);
  for (let i = 0; i < 3; i++) {
    await bob.open();
    await bob.close();
  }
  await bob.open();
  await world.settle();
  expect(await bob.read(alice)).toEqual(['once']);
  await world.settle(60 * SECOND);
  expect(await bob.read(alice)).toEqual([]);
});

test('MSG-2: a clock that is set back while the account is closed lengthens no life, however quiet it was before', async () => {
  const MINUTE = 60_000;
  await bob.close();
  for (const { minutes, left } of [
    { minutes: 25, left: [] },
    { minutes: 15, left: ['an hour'] },
  ]) {
    await alice.send(bob, 'an hour', { expiresMs: 60 * MINUTE });
    for (let n = 0; n < 3; n++) {
      await world.settle(minutes * MINUTE);
      await alice.close();
      world.clock.jump(-25 * MINUTE);
      await alice.open();
    }
    expect(await alice.read(bob)).toEqual(left);
  }
});

test('MSG-2: what ends so long after it is read ends where it is read, and with its author from the ack or the receipt on', async () => {
  const brief = { expiresMs: 30 * SECOND, expiresFrom: 'read' } as const;
  await alice.send(bob, 'unread', brief);
  await world.settle(40 * SECOND);
  for (const [one, other] of [
    [alice, bob],
    [bob, alice],
  ] as const)
    expect(await one.read(other)).toEqual(one === alice ? [] : ['unread']);
  await bob.call('config.set', { key: 'privacy.readReceipts', value: true });
  await alice.send(bob, 'read', brief);
  await world.settle(20 * SECOND);
  await bob.call('conversation.markRead', { conversation: 'alice' });
  await world.settle(20 * SECOND);
  expect([await alice.read(bob), await bob.read(alice)]).toEqual([['read'], ['unread', 'read']]);
  await world.settle(20 * SECOND);
  expect([await alice.read(bob), await bob.read(alice)]).toEqual([[], []]);
});

test('MSG-2: what ends while it waits is never sent; of what is acknowledged before, the time begins anew', async () => {
  await world.settle(2 * SECOND);
  await bob.close();
  const { id } = await alice.send(bob, 'too late', { expiresMs: 30 * SECOND });
  await alice.send(bob, 'in time', { expiresMs: 300 * SECOND });
  await alice.send(bob, 'when read', { expiresMs: 30 * SECOND, expiresFrom: 'read' });
  const taken = await alice.send(bob, 'taken back', { expiresMs: 30 * SECOND });
  await alice.call('message.cancel', { id: taken.id });
  const cursor = alice.account.events.head();
  await alice.close();
  await alice.open();
  await world.settle(40 * SECOND);
  expect(await alice.read(bob)).toEqual(['in time', 'when read']);
  const ended = alice.account.events.since(cursor).events.filter((event) => event.kind === 'message.expired');
  expect(ended.map((event) => event.message?.id)).toEqual([id, taken.id]);
  await world.settle(160 * SECOND);
  await bob.open();
  await world.settle(60 * SECOND);
  expect(await bob.read(alice)).toEqual(['in time', 'when read']);
  await world.settle(120 * SECOND);
  expect(await alice.read(bob)).toEqual(['in time']);
  await world.settle(300 * SECOND);
  expect([await alice.read(bob), await bob.read(alice)]).toEqual([[], ['when read']]);
});

test('MSG-2: what failed before its time began ends too', async () => {
  await bob.close();
  await alice.send(bob, 'when read', { expiresMs: 600 * SECOND, expiresFrom: 'read' });
  world.clock.jump(31 * DAY);
  await world.settle(60 * SECOND);
  expect(await mine()).toEqual([['when read', 'failed', 'outboxExpired']]);
  await world.settle(600 * SECOND);
  expect(await mine()).toEqual([]);
});

test.each([
  ['a contact', false],
  ['a contact who was removed', true],
])('of %s nothing stays in any table once it is erased', async (_, isRemoved) => {
  await alice.call('contact.rename', { contact: 'bob', name: 'Bartholomew' });
  await alice.call('contact.note', { contact: 'Bartholomew', note: 'a note of him' });
  await alice.call('config.set', { key: 'notify.level', value: 'name', conversation: 'Bartholomew' });
  await alice.send('Bartholomew', 'a word to him');
  await world.settle();
  const { id } = await alice.call('conversation.show', { conversation: 'Bartholomew' });
  await bob.close();
  const traces = ['Bartholomew', 'of him', 'to him', bob.address];
  const kept = (): string[] => {
    const tables = alice.db.all<{ name: string }>(`SELECT name FROM sqlite_schema WHERE type = 'table'`);
    const rows = tables.flatMap(({ name }) => alice.db.all<Record<string, unknown>>(`SELECT * FROM ${name}`));
    const text = rows
      .flatMap((row) => Object.values(row))
      .map((cell) => (cell instanceof Uint8Array ? Buffer.from(cell).toString('latin1') : String(cell)))
      .join('\n');
    return traces.filter((trace) => text.includes(trace));
  };
  expect(kept()).toEqual(traces);
  if (isRemoved) await alice.call('contact.remove', { contact: 'Bartholomew' });
  await alice.call('contact.remove', { contact: bob.address, erase: true });
  await world.settle();
  expect(kept()).toEqual([]);
  expect(alice.db.get('SELECT 1 AS one FROM settings WHERE scope = ?', id)).toBeUndefined();
});

test('SESSION-7: what waits for somebody who does not know us any more pauses, says why, and goes after a new request', async () => {
  await bob.call('contact.remove', { contact: 'alice', erase: true });
  await alice.send(bob, 'still here?');
  await world.settle(60_000);
  expect(await bob.call('contact.list', {})).toEqual([]);
  expect(await mine()).toEqual([['still here?', 'sent', undefined]]);
  const why = await alice.call('contact.why', { contact: 'bob' });
  const next = `ask them again: sotto contact add ${bob.address} --name bob`;
  expect(why).toMatchObject({ link: { state: 'paused' }, outbox: { depth: 1 }, advice: [next] });
  await alice.call('contact.add', { address: bob.address, name: 'bob' });
  await world.settle(60_000);
  expect(checkDatabase(alice.db)).toEqual([]);
  const [request] = await bob.call('contact.requests', {});
  await bob.call('contact.accept', { contact: request?.id ?? '', name: 'alice' });
  await world.settle(60_000);
  expect(await bob.read(alice)).toEqual(['still here?']);
  expect(await mine()).toEqual([['still here?', 'delivered', undefined]]);
  const { history } = await bob.call('contact.show', { contact: 'alice' });
  expect(history?.map(({ kind }) => kind)).not.toContain('session.reset');
});

test('SESSION-6: what waits for somebody who asks us anew goes behind our accept, also more than one window takes', async () => {
  const texts = Array.from({ length: WINDOW_FRAMES_MAX + 6 }, (_, n) => `still here? ${n}`);
  await bob.call('contact.remove', { contact: 'alice' });
  for (const text of texts) await alice.send(bob, text);
  await world.settle(60_000);
  await bob.call('contact.add', { address: alice.address, name: 'alice' });
  await world.settle(60_000);
  const { history } = await alice.call('contact.show', { contact: 'bob' });
  expect(history?.map(({ kind }) => kind).slice(-2)).toEqual(['contact.unknown', 'session.healed']);
  expect(await bob.read(alice)).toEqual(texts);
  expect(new Set((await mine()).map(([, state]) => state))).toEqual(new Set(['delivered']));
  await bob.send(alice, 'back');
  await world.settle();
  expect(await alice.read(bob)).toEqual([...texts, 'back']);
});
