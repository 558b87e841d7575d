// What waits in the outbox of a room until its time is over, on a clock that is moved: it has failed, or is shown no more.
import { expect, test } from 'vitest';
import { dialServer } from '../../src/net/server-dial.ts';
import type { Event } from '../../src/protocol/rpc-events.ts';
import { linkOf } from '../../src/server/admin.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { MemorySockets } from '../../src/testing/sockets.ts';
import { Host } from '../sim/room-host.ts';

const DAY = 86_400_000;

test('with a member too: a text has failed, and a change of what was said is taken back', async () => {
  await using world = new World(7);
  const random = seededRandom(7);
  const sockets = new MemorySockets(world.clock, random);
  await using host = new Host(world, sockets, 7);
  world.wayFor = (name, clock) => ({
    dialServer: (target, attach, signal) =>
      dialServer({
        ...{ target, path: '/v1', clock, random, attach },
        connect: ({ port }) => sockets.connect({ name }, port, `10.0.0.${name.length}`),
        ...(signal === undefined ? {} : { signal }),
      }),
    drop: () => {},
  });
  await host.open();
  const [alice, bob] = [await world.person('alice'), await world.person('bob')];
  const join = (who: Person, link: string) =>
    world.during(who.call('server.join', { link, name: who.name, label: 'home' }));
  await join(alice, linkOf(host.server, (await host.server.ownerInvite()) ?? ''));
  await join(bob, (await world.during(alice.call('server.invite', {}))).link ?? '');
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
  await world.settle(2 * 60_000);

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
  await world.settle(2 * 60_000);
  await say('back');
  await world.settle();
  expect(await world.during(bob.read('alice@home'))).toEqual(['red', 'other', 'back']);
});
