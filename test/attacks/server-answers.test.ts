// A server whose answers are lost, late or out of all measure: what a device then knows, signs and waits for.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { EVENT } from '../../src/protocol/server-frames.ts';
import { type Guest, House } from '../rooms/house.ts';
import { Double, type Saying } from './double.ts';

let server: Double;
let house: House<Double>;
let alice: Guest;
let bob: Guest;
const ids = new Map<Guest, string>();

beforeAll(async () => {
  server = await Double.start();
  const { house: made, ...guests } = await House.around(server, 'alice', 'bob');
  house = made;
  ({ alice, bob } = guests);
  for (const guest of [alice, bob]) ids.set(guest, (await guest.call('server.list', {}))[0]?.memberId ?? '');
});

afterEach(() => server.honest());
afterAll(() => house[Symbol.asyncDispose]());

const cut = (guest: Guest): void => {
  for (const peer of server.context.online.get(ids.get(guest) as never) ?? []) peer.destroy();
};

const stateOf = async (guest: Guest, channel: string): Promise<string | undefined> =>
  (await guest.call('channel.list', {})).find(({ name }) => name === channel)?.state;

const isOnline = (guest: Guest): Promise<unknown> => guest.online();

const codeOf = (step: Promise<unknown>): Promise<string | undefined> =>
  step.then(
    () => undefined,
    (error: { code?: string }) => error.code,
  );

test('an answer that comes once the server has told of another log takes no count back', async () => {
  await alice.call('channel.create', { name: '#counts', encryption: 'open' });
  await bob.call('channel.join', { channel: '#counts' });
  const channel = (await alice.call('channel.show', { channel: '#counts' })).id;
  for (const text of ['one', 'two']) await alice.say('#counts', text);
  const me = ids.get(alice);
  let answer: ((value: Record<string, unknown>) => void) | undefined;
  server.deaf = (asked, member, say) => {
    if (asked.name !== 'publish' || member !== me || answer !== undefined) return false;
    answer = say;
    return true;
  };
  await alice.call('message.send', { conversation: '#counts', text: 'held' });
  await alice.sees('it is held', async () => answer !== undefined);
  type Head = { readonly epoch: number; readonly seq: number };
  const other = <T extends Head>(head: T): T => ({ ...head, epoch: head.epoch + 1 });
  let resumes = 0;
  server.lie = (saying, member): Saying[] | undefined => {
    if (member !== me) return undefined;
    if (saying.kind === 'event' && saying.event.channel === channel)
      return [{ ...saying, event: { ...saying.event, epoch: saying.event.epoch + 1 } }];
    if (saying.kind !== 'answer' || saying.value.ok === undefined) return undefined;
    const { ok, id } = saying.value as { id: number; ok: { channels?: Record<string, { head: Head }>; head?: Head } };
    const name = saying.asked?.name;
    const known = ok.channels?.[channel];
    if (name === 'resume' && known !== undefined) {
      const resumed = { recovered: ++resumes > 1, head: other(known.head) };
      return [{ ...saying, value: { id, ok: { channels: { ...ok.channels, [channel]: resumed } } } }];
    }
    const isPage = name === 'log.page' || name === 'log.control';
    if (!isPage || ok.head === undefined || saying.asked?.params.channel !== channel) return undefined;
    return [{ ...saying, value: { id, ok: { ...ok, head: other(ok.head) } } }];
  };
  const sent = (): Promise<number> =>
    alice.look((db) => db.get<{ sent: number }>('SELECT max(sent) AS sent FROM channels')?.sent ?? 0);
  const before = await sent();
  await bob.call('message.send', { conversation: '#counts', text: 'of another log' });
  await alice.sees('the other log', async () => (await sent()) > before);
  const counted = await sent();
  const [head] = await server.context.log.heads([channel as never]);
  answer?.({ ok: { seq: (head?.seq ?? 0) + 1, epoch: (head?.epoch ?? 0) + 1, at: Date.now() } });
  await alice.sees(
    'an answer',
    async () => (await alice.look((db) => db.get('SELECT 1 FROM room_outbox WHERE seq IS NOT NULL'))) !== undefined,
  );
  expect(await sent()).toBeGreaterThanOrEqual(counted);
  server.honest();
  await alice.call('message.send', { conversation: '#counts', text: 'the next' });
  await alice.call('status.show', {});
  expect(alice.bugs()).toEqual([]);
});

test('a channel whose join was lost on its way is joined by the next one', async () => {
  await alice.call('channel.create', { name: '#lost', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#lost', member: 'bob' });
  await bob.sees('the invitation', async () => (await stateOf(bob, '#lost')) === 'invited');
  let isLost = false;
  server.deaf = (asked, member) => {
    if (asked.name !== 'publish' || member !== ids.get(bob) || asked.params.kind !== EVENT.control || isLost)
      return false;
    isLost = true;
    setTimeout(() => cut(bob), 20);
    return true;
  };
  expect(await codeOf(bob.call('channel.join', { channel: '#lost' }))).toBe('server.unreachable');
  expect(isLost).toBe(true);
  server.honest();
  await isOnline(bob);
  expect((await bob.call('channel.join', { channel: '#lost' })).state).toBe('joined');
});

test('who leaves and hears no answer has left by themself, and may come back', async () => {
  await alice.call('channel.create', { name: '#left', encryption: 'open' });
  await bob.call('channel.join', { channel: '#left' });
  let isLost = false;
  server.lie = (saying, member) => {
    if (member !== ids.get(bob)) return undefined;
    if (saying.kind === 'event' && saying.event.kind === EVENT.control) return [];
    if (saying.kind !== 'answer' || saying.asked?.name !== 'publish' || isLost) return undefined;
    isLost = true;
    setTimeout(() => cut(bob), 5);
    return [];
  };
  expect(await codeOf(bob.call('channel.leave', { channel: '#left' }))).toBe('server.unreachable');
  expect(isLost).toBe(true);
  server.honest();
  await isOnline(bob);
  expect(await stateOf(bob, '#left')).toBeUndefined();
  const told = bob.events.filter(({ kind, channel }) => /removed|left/.test(kind) && channel?.name === '#left');
  expect(told.map(({ kind }) => kind)).toEqual(['channel.left']);
  expect((await bob.call('channel.join', { channel: '#left' })).state).toBe('joined');
});

test('a join whose server is lost while the passphrase is tried says so at once, and keeps nobody waiting', async () => {
  const passphrase = 'correct horse battery';
  await alice.call('channel.create', { name: '#slow', encryption: 'passphrase', passphrase });
  let controls = 0;
  server.lie = (saying, member) => {
    if (member === ids.get(bob) && saying.kind === 'answer' && saying.asked?.name === 'log.control' && ++controls === 2)
      setTimeout(() => cut(bob), 60);
    return undefined;
  };
  const from = performance.now();
  expect(await codeOf(bob.call('channel.join', { channel: '#slow', passphrase }))).toBe('server.unreachable');
  expect(controls).toBe(2);
  await isOnline(bob);
  // Two that waited for each other did so for 15 s.
  expect(performance.now() - from).toBeLessThan(14_000);
  server.honest();
  expect((await bob.call('channel.join', { channel: '#slow', passphrase })).state).toBe('joined');
});

test('a server that wants to be left alone for ever is asked again within a month, and the time is a time', async () => {
  await alice.call('channel.create', { name: '#ever', encryption: 'open' });
  server.deaf = (asked, member, say) => {
    if (asked.name !== 'publish' || member !== ids.get(alice)) return false;
    say({ error: { code: 'channel.slow', retryAfterMs: Number.MAX_SAFE_INTEGER } });
    return true;
  };
  await alice.call('message.send', { conversation: '#ever', text: 'later' });
  const why = () => alice.user.ok('why', '#ever', { json: false });
  await alice.sees('that it waits', async () => (await why()).out.includes('it goes on at'));
  expect((await why()).out).toMatch(/it goes on at \d{4}-\d\d-\d\d /);
});

test('what a server takes under no id that is made by its own time fails, and is not tried for ever', async () => {
  await alice.call('channel.create', { name: '#never', encryption: 'open' });
  let tries = 0;
  // Each time it tells is far from the one before.
  server.deaf = (asked, member, say) => {
    if (asked.name !== 'publish' || member !== ids.get(alice)) return false;
    const at = ++tries * 40 * 86_400_000;
    say({ error: { code: 'request.invalid', details: { why: 'id', at } } });
    return true;
  };
  for (const to of ['#never', 'bob@home']) {
    const { message } = await alice.call('message.send', { conversation: to, text: 'never', wait: 'sent' });
    expect([message.state, message.reason]).toEqual(['failed', 'request.invalid']);
  }
  expect(await codeOf(alice.call('channel.create', { name: '#neither', encryption: 'open' }))).toBe('request.invalid');
  expect(await codeOf(alice.call('channel.archive', { channel: '#never' }))).toBe('request.invalid');
  expect(tries).toBeLessThan(50);
});

test('what is told of calls behind the list of those that there are is newer than the list', async () => {
  await alice.call('channel.create', { name: '#calls', encryption: 'open' });
  const channel = (await alice.call('channel.show', { channel: '#calls' })).id;
  const me = ids.get(alice);
  const person = { member: me, device: '1'.repeat(32), muted: false, deafened: false, linked: true };
  const [ended, begun] = ['e'.repeat(32), 'b'.repeat(32)];
  const call = (id: string, people: readonly object[]) => ({ call: id, channel, startedAt: 1, people });
  server.lie = (saying, member): Saying[] | undefined => {
    if (saying.kind !== 'answer' || saying.asked?.name !== 'call.list' || member !== me) return undefined;
    return [
      { ...saying, value: { id: saying.value.id, ok: { calls: [call(ended, [person])], more: false } } },
      { kind: 'notice', value: { notice: 'call', ...call(ended, []) } },
      { kind: 'notice', value: { notice: 'call', ...call(begun, [person]) } },
    ];
  };
  const told = (id: string): number | undefined =>
    alice.events.findLast((event) => 'call' in event && event.call?.id === id)?.call?.people.length;
  cut(alice);
  await alice.sees('both', async () => told(ended) !== undefined && told(begun) !== undefined);
  await alice.call('server.devices', {});
  expect([told(ended), told(begun)]).toEqual([0, 1]);
});
