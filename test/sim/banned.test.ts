// A day of somebody whom a server does not let in, under a clock that is moved on.
import { expect, test } from 'vitest';
import { dialServer } from '../../src/net/server-dial.ts';
import { linkOf } from '../../src/server/admin.ts';
import { banMember } from '../../src/server/rights.ts';
import { World } from '../../src/testing/people.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { MemorySockets } from '../../src/testing/sockets.ts';
import { Host } from './room-host.ts';

const MINUTE = 60_000;

test('who was banned asks again within five minutes, and when something is wanted there; says so, and is back once that was taken back', async () => {
  await using world = new World(1);
  const sockets = new MemorySockets(world.clock, seededRandom(2));
  await using host = new Host(world, sockets, 3);
  let dials = 0;
  world.wayFor = (_name, clock) => ({
    dialServer: (target, attach) => {
      dials++;
      const connect = ({ port }: { readonly port: number }) => sockets.connect({}, port, '10.0.0.1');
      return dialServer({ target, path: '/v1', clock, random: seededRandom(4), attach, connect });
    },
    drop: () => {},
  });
  await host.open();
  const alice = await world.person('alice');
  const link = linkOf(host.server, (await host.server.makeOwnerInvite())?.token ?? '');
  await world.during(alice.call('server.join', { link, name: 'alice', label: 'home' }));
  const shown = async () => (await alice.call('server.list', {}))[0];
  const ban = async (banned: boolean) => {
    const [target] = await host.store.state.listMembers(undefined, 1);
    if (target === undefined) throw new Error('alice is a member');
    await world.during(banMember(host.server.context, { by: null, target, banned }));
  };
  await ban(true);
  await world.settle(MINUTE);
  const { state, nextRetryAt = 0 } = (await shown()) ?? {};
  expect(state).toBe('banned');
  expect(nextRetryAt - world.clock.now()).toBeGreaterThan(2 * MINUTE);
  expect(nextRetryAt - world.clock.now()).toBeLessThanOrEqual(5 * MINUTE);
  dials = 0;
  for (let minutes = 0; minutes < 60; minutes++) await world.settle(MINUTE);
  expect((await shown())?.state).toBe('banned');
  expect(dials).toBeGreaterThanOrEqual(11);
  expect(dials).toBeLessThanOrEqual(16);
  await ban(false);
  for (let minutes = 0; minutes < 5; minutes++) await world.settle(MINUTE);
  expect((await shown())?.state).toBe('online');

  // Whoever writes there, or looks who is there, has it asked at once: what they write is taken.
  const wants = {
    send: () => alice.call('message.send', { conversation: '#here', text: 'let me in' }),
    list: () => alice.call('member.list', { server: 'home' }),
  };
  await world.during(alice.call('channel.create', { name: '#here', encryption: 'open' }));
  for (const want of [wants.send, wants.list]) {
    await ban(true);
    await world.settle(20_000);
    expect((await shown())?.state).toBe('banned');
    await ban(false);
    const answer = await world.during(Promise.resolve(want()).catch((error: Error) => error));
    if (want === wants.send) expect(answer).toMatchObject({ message: { body: 'let me in', state: 'queued' } });
    await world.settle(5_000);
    expect((await shown())?.state).toBe('online');
  }
});
