// Two people and a server on a clock and sockets that a test moves: what takes months, and what breaks off in the middle.
import { expect, test } from 'vitest';
import { dialServer } from '../../src/net/server-dial.ts';
import { ROOM_FIRST_PAGES } from '../../src/protocol/limits.ts';
import type { Event } from '../../src/protocol/rpc-events.ts';
import { linkOf } from '../../src/server/admin.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { MemorySockets } from '../../src/testing/sockets.ts';
import { Host } from '../sim/room-host.ts';

const MINUTE = 60_000;
const DAY = 86_400_000;
const NOBODY = { id: '' };

/** A server, and two people who are its members. */
class Two implements AsyncDisposable {
  readonly world = new World(7);
  readonly host: Host;

  constructor() {
    const { world } = this;
    const random = seededRandom(7);
    const sockets = new MemorySockets(world.clock, random);
    this.host = new Host(world, sockets, 7);
    world.wayFor = (name, clock) => {
      const owner = { name };
      return {
        dialServer: (target, attach, signal) =>
          dialServer({
            ...{ target, path: '/v1', clock, random, attach },
            connect: ({ port }) => sockets.connect(owner, port, `10.0.0.${name.length}`),
            ...(signal === undefined ? {} : { signal }),
          }),
        drop: () => sockets.drop(owner, false),
      };
    };
  }

  async open(): Promise<{ readonly alice: Person; readonly bob: Person }> {
    const { world, host } = this;
    await host.open();
    const [alice, bob] = [await world.person('alice'), await world.person('bob')];
    const join = (who: Person, link: string) =>
      world.during(who.call('server.join', { link, name: who.name, label: 'home' }));
    await join(alice, linkOf(host.server, (await host.server.makeOwnerInvite())?.token ?? ''));
    await join(bob, (await world.during(alice.call('server.invite', {}))).link ?? '');
    return { alice, bob };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world[Symbol.asyncDispose]();
    await this.host[Symbol.asyncDispose]();
  }
}

test('what waits for a member until its time is over has failed, and a change of what was said is taken back', async () => {
  await using two = new Two();
  const { world, host } = two;
  const { alice, bob } = await two.open();
  const does: Person['call'] = (method, params) => world.during(alice.call(method, params));
  const say = (said: string) => world.during(alice.send('bob@home', said));
  const red = await say('red');
  const other = await say('other');
  await does('message.react', { id: other.id, emoji: '👍' });
  await world.settle();
  await host.stop();
  await world.settle();

  const told: Event[] = [];
  alice.account.events.subscribe((event) => told.push(event));
  const text = await say('too late');
  await does('message.edit', { id: red.id, text: 'green' });
  await does('message.edit', { id: red.id, text: 'blue' });
  await does('message.pin', { id: red.id });
  await does('message.unreact', { id: other.id, emoji: '👍' });
  await does('message.react', { id: other.id, emoji: '👍' });
  await does('message.unreact', { id: other.id, emoji: '👍' });
  world.clock.jump(31 * DAY);
  await world.settle(2 * MINUTE);

  expect(await does('message.show', { id: text.id })).toMatchObject({
    state: 'failed',
    reason: 'outboxExpired',
  });
  const shown = await does('message.show', { id: red.id });
  expect([shown.body, shown.versions, shown.editedAt, shown.pinnedAt]).toEqual(['red', [], undefined, undefined]);
  expect((await does('message.show', { id: other.id })).reactions).toMatchObject([{ emoji: '👍', mine: true }]);
  const refused = told.filter(({ kind }) => kind === 'message.refused').map(({ detail }) => detail);
  expect(refused).toEqual(['edit', 'edit', 'pin', 'react'].map((what) => `${what}: outboxExpired`));
  expect((await does('server.list', {}))[0]?.outboxDepth).toBe(0);

  await host.open();
  await does('server.retry', { server: 'home' });
  await world.settle(2 * MINUTE);
  await say('back');
  await world.settle();
  expect(await world.during(bob.read('alice@home'))).toEqual(['red', 'other', 'back']);
});

test('who dies while a long channel is fetched goes on where they were, and is told what is not here yet', async () => {
  await using two = new Two();
  const { world, host } = two;
  const { alice, bob } = await two.open();
  const channel = '#long';
  await world.during(alice.call('channel.create', { name: channel, encryption: 'open' }));
  const texts = Array.from({ length: 60 }, (_, n) => `walrus ${n} ${'x'.repeat(16_000)}`);
  for (const text of texts) await alice.send(channel, text);
  await world.during(alice.call('channel.topic', { channel, topic: 'walruses' }));
  await world.settle(5 * MINUTE);

  const does: Person['call'] = (method, params) => world.during(bob.call(method, params));
  // After the first pages, in the middle of the rest.
  let pages = 0;
  const death = new Promise<void>((resolve) => {
    bob.account.events.subscribe(() => {
      if (++pages !== ROOM_FIRST_PAGES + 2) return;
      bob.die();
      resolve();
    }, ['channel.progressed']);
  });
  bob.call('channel.join', { channel }).catch(() => {});
  await world.during(death);
  await host.stop();
  await bob.open();
  const { heldTo = 0, state } = await does('channel.show', { channel });
  expect([state, heldTo > 0, heldTo < texts.length]).toEqual(['joining', true, true]);
  const away = 'Not connected to home: what was said there meanwhile is not here yet';
  const coming = `What was said after place ${heldTo} is not here yet: it is being fetched`;
  const missing = async () => [
    (await does('message.list', { conversation: channel })).missing ?? [],
    (await does('message.search', { query: 'walrus', conversation: channel })).missing ?? [],
    (await does('message.search', { query: 'walrus' })).missing ?? [],
  ];
  expect(await missing()).toEqual([
    [coming, away],
    [coming, away],
    [away, `${channel}@home: ${coming}`],
  ]);
  const early = await bob.send(channel, 'I am here');
  expect(early.state).toBe('queued');

  await host.open();
  await world.settle(5 * MINUTE);
  expect(await does('channel.show', { channel })).toMatchObject({
    ...{ state: 'joined', topic: 'walruses', memberCount: 2, role: 'member', gaps: [] },
  });
  expect(await world.during(bob.read(channel))).toEqual([...texts, 'I am here']);
  expect(await missing()).toEqual([[], [], []]);
  expect((await world.during(alice.read(channel))).at(-1)).toBe('I am here');
});

test('who leaves a server that another command dials just then has left it', async () => {
  await using two = new Two();
  const { world } = two;
  const { bob } = await two.open();
  const left = bob.call('server.leave', { server: 'home' });
  const tried = bob.call('server.retry', { server: 'home' });
  await world.during(Promise.allSettled([left, tried]));
  await world.settle(MINUTE);
  expect(await bob.call('server.list', {})).toEqual([]);
});

test('ids of servers, channels, members, invites and devices are taken in capitals too', async () => {
  await using two = new Two();
  const { world } = two;
  const { alice } = await two.open();
  const does: Person['call'] = (method, params) => world.during(alice.call(method, params));
  const capitals = ({ id }: { readonly id: string }, length = 32) => id.slice(0, length).toUpperCase();
  const [server] = await does('server.list', {});
  expect((await does('server.retry', { server: capitals(server ?? NOBODY) })).id).toBe(server?.id);
  const channel = await does('channel.create', { name: '#red', encryption: 'open' });
  expect((await does('channel.show', { channel: capitals(channel, 12) })).id).toBe(channel.id);
  expect((await does('channel.join', { channel: capitals(channel) })).id).toBe(channel.id);
  const bob = (await does('member.list', {})).find(({ name }) => name === 'bob');
  for (const length of [12, 32])
    expect((await does('member.show', { member: capitals(bob ?? NOBODY, length) })).id).toBe(bob?.id);
  const invite = await does('server.invite', {});
  expect((await does('server.revoke', { id: capitals(invite) })).id).toBe(invite.id);
  const [device] = await does('server.devices', {});
  expect((await does('server.revokeDevice', { id: capitals(device ?? NOBODY) })).id).toBe(device?.id);
});

test('a channel whose name looks like the beginning of an id is found by it, also without its #', async () => {
  await using two = new Two();
  const { world } = two;
  const { alice } = await two.open();
  const does: Person['call'] = (method, params) => world.during(alice.call(method, params));
  const made = await does('channel.create', { name: '#facade', encryption: 'open' });
  for (const channel of ['#facade', 'facade', made.id.slice(0, 8)])
    expect((await does('channel.show', { channel })).id).toBe(made.id);
  await does('channel.create', { name: `#${made.id}`, encryption: 'open' });
  expect((await does('channel.show', { channel: made.id })).id).toBe(made.id);
  const other = await does('channel.create', { name: `#${made.id.slice(0, 8)}`, encryption: 'open' });
  await expect(does('channel.show', { channel: made.id.slice(0, 8) })).rejects.toMatchObject({
    code: 'name.ambiguous',
    details: { candidates: expect.arrayContaining([made.id, other.id]) },
  });
});
