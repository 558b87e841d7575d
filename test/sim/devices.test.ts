// Devices of one member that come: each has a higher serial than those before, whatever their clocks say, and its keys, or none.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { dialServer } from '../../src/net/server-dial.ts';
import { jsonBytes } from '../../src/protocol/bytes.ts';
import { idBytes, timedId } from '../../src/protocol/ids.ts';
import { EVENT } from '../../src/protocol/server-frames.ts';
import { linkOf } from '../../src/server/admin.ts';
import { serverPaths } from '../../src/server/server-dir.ts';
import { openDatabase } from '../../src/sqlite/open.ts';
import { putRoomOutbox } from '../../src/store/room-outbox.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { MemorySockets } from '../../src/testing/sockets.ts';
import { Host } from './room-host.ts';
import { stretching } from './stretching.ts';

vi.mock('../../src/crypto/vault.ts', async (original) => {
  const { remembered } = await import('./stretching.ts');
  const real = await original<typeof import('../../src/crypto/vault.ts')>();
  return { ...real, stretch: remembered(real.stretch) };
});

const MINUTE = 60_000;

let world: World;
let host: Host;
let alice: Person;
let bob: Person;

beforeEach(async () => {
  world = new World(1);
  const sockets = new MemorySockets(world.clock, seededRandom(2));
  host = new Host(world, sockets, 3);
  world.others.push(stretching);
  world.wayFor = (name, clock) => {
    const owner = { name };
    const connect = ({ port }: { readonly port: number }) => sockets.connect(owner, port, '10.0.0.1');
    return {
      dialServer: (target, attach) =>
        dialServer({ target, path: '/v1', clock, random: seededRandom(4), attach, connect }),
      drop: () => sockets.drop(owner, false),
    };
  };
  await host.open();
  alice = await world.person('alice');
  bob = await world.person('bob');
  const link = linkOf(host.server, (await host.server.makeOwnerInvite())?.token ?? '');
  await world.during(bob.call('server.join', { link, name: 'bob', label: 'home' }));
});
afterEach(async () => {
  await host[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

const join = async (who: Person): Promise<void> => {
  const { link = '' } = await world.during(bob.call('server.invite', { uses: 1 }));
  await world.during(who.call('server.join', { link, name: 'alice', label: 'home' }));
};
const stateOf = async (who: Person) => (await who.call('server.list', {}))[0]?.state;
const says = async (who: Person, text: string): Promise<void> => {
  await world.during(who.call('message.send', { conversation: 'bob@home', text, wait: 'sent' }));
  await world.settle(MINUTE);
  expect((await bob.messages('alice@home')).at(-1)?.body).toBe(text);
};

test('of two joins at once one holds, and the other is told', async () => {
  const { link = '' } = await world.during(bob.call('server.invite', { uses: 1 }));
  const joins = [1, 2].map(() => alice.call('server.join', { link, name: 'alice', label: 'home' }));
  const ends = await world.during(Promise.allSettled(joins));
  expect(ends.map((end) => (end.status === 'rejected' ? end.reason.code : 'in')).sort()).toEqual([
    'in',
    'server.joined',
  ]);
  await says(alice, 'here');
});

test('what is said to a member who has no device now waits for the next one', async () => {
  await join(alice);
  await says(alice, 'from the only one');
  const [device] = await world.during(alice.call('server.devices', {}));
  await world.during(alice.call('server.revokeDevice', { id: device?.id ?? '' }));
  await world.settle(MINUTE);
  const { id } = await bob.send('alice@home', 'for the next one');
  await world.settle(MINUTE);
  expect(await bob.call('message.show', { id })).toMatchObject({ state: 'queued' });
  await join(alice);
  await world.settle(3 * MINUTE);
  expect((await alice.messages('bob@home')).at(-1)?.body).toBe('for the next one');
  expect(await bob.call('message.show', { id })).toMatchObject({ state: 'delivered' });
});

test('what was taken back while an empty word goes in its place is sent again under another id', async () => {
  await join(alice);
  await world.during(bob.call('channel.create', { name: '#ops', encryption: 'open' }));
  await world.during(alice.call('channel.join', { channel: '#ops' }));
  host.die();
  await world.settle(1_000);
  const { id } = await alice.send('#ops', 'taken back');
  // As after a control that came before its answer.
  alice.db.run('UPDATE room_outbox SET n = 1, sealed = NULL');
  await alice.call('message.cancel', { id });
  const again = await alice.call('message.resend', { id });
  expect(again.id).not.toBe(id);
  await host.open();
  await world.settle(3 * MINUTE);
  expect((await bob.messages('#ops')).map(({ body }) => body)).toEqual(['taken back']);
});

test('what is said in a members channel that another device joined meanwhile is read when this one is back', async () => {
  await join(alice);
  const laptop = await world.person('laptop', alice);
  await join(laptop);
  await world.settle(MINUTE);
  await laptop.close();
  await world.during(bob.call('channel.create', { name: '#ops', encryption: 'members' }));
  await world.during(bob.call('channel.invite', { channel: '#ops', member: 'alice' }));
  await world.during(alice.call('channel.join', { channel: '#ops' }));
  for (const [who, text] of [
    [bob, 'of bob'],
    [alice, 'of the other'],
  ] as const)
    await world.during(who.call('message.send', { conversation: '#ops', text, wait: 'sent' }));
  await laptop.open();
  await world.settle(MINUTE);
  expect((await laptop.messages('#ops')).map(({ body }) => body)).toEqual(['of bob', 'of the other']);
  expect((await laptop.call('channel.show', { channel: '#ops' })).gaps ?? []).toEqual([]);
});

test('what I said on another device behind a changed passphrase is mine here too', async () => {
  await join(alice);
  const laptop = await world.person('laptop', alice);
  await join(laptop);
  const locked = { channel: '#locked', passphrase: 'first of all' };
  await world.during(
    bob.call('channel.create', { name: '#locked', encryption: 'passphrase', passphrase: 'first of all' }),
  );
  for (const who of [alice, laptop]) await world.during(who.call('channel.join', locked));
  await world.during(bob.call('channel.rotate', { channel: '#locked', passphrase: 'second to none' }));
  await world.settle(MINUTE);
  await world.during(alice.call('channel.join', { channel: '#locked', passphrase: 'second to none' }));
  await world.during(alice.call('message.send', { conversation: '#locked', text: 'mine', wait: 'sent' }));
  await world.settle(MINUTE);
  await world.during(laptop.call('channel.join', { channel: '#locked', passphrase: 'second to none' }));
  await world.settle(MINUTE);
  expect((await laptop.messages('#locked')).at(-1)).toMatchObject({ body: 'mine', mine: true, state: 'sent' });
});

test('MEMBER-7: nobody else makes me ask the server for whom they name', async () => {
  await join(alice);
  await says(alice, 'hello');
  const to = bob.db.get<{ id: number; server: number }>(
    "SELECT id, server_id AS server FROM members WHERE name = 'alice'",
  );
  const { counts } = host.server.context;
  const before = counts.of('requests');
  for (let i = 1; i <= 9; i++)
    putRoomOutbox(bob.db, {
      serverId: to?.server ?? 0,
      channelRow: null,
      memberRow: to?.id ?? 0,
      eventId: idBytes(timedId(world.clock.now(), world.random.bytes(10))),
      kind: EVENT.direct,
      content: jsonBytes({ kind: 'decided', of: String(i).repeat(32), accepted: true }),
      messageRow: null,
      ttl: 0,
      createdAt: world.clock.now(),
      expiresAt: world.clock.now() + MINUTE,
    });
  await world.during(bob.call('message.send', { conversation: 'alice@home', text: 'after', wait: 'sent' }));
  await world.settle(MINUTE);
  expect((await alice.messages('bob@home')).at(-1)?.body).toBe('after');
  // Ten events, and what was answered to the last.
  expect(counts.of('requests') - before).toBeLessThan(9 + 9);
});

test('of two joins of one channel at once both find it joined', async () => {
  await join(alice);
  await world.during(bob.call('channel.create', { name: '#ops', encryption: 'open' }));
  const joins = [1, 2].map(() => alice.call('channel.join', { channel: '#ops' }));
  const shown = await world.during(Promise.all(joins));
  expect(shown.map(({ state }) => state)).toEqual(['joined', 'joined']);
});

test('a device joins though the clock of the one before was ahead of its own', async () => {
  alice.shift = 20 * MINUTE;
  await join(alice);
  alice.shift = 0;
  await says(alice, 'from the first');
  const laptop = await world.person('laptop', alice);
  await join(laptop);
  await world.during(bob.call('message.send', { conversation: 'alice@home', text: 'for both', wait: 'sent' }));
  await world.settle(1_000);
  for (const who of [alice, laptop]) expect((await who.messages('bob@home')).at(-1)?.body).toBe('for both');
  await says(laptop, 'from the second');
  await says(alice, 'and the first');
});

test('one that a server which was put back does not know is let in again, also after one that came later; revoked, it is out', async () => {
  await host.backup();
  await join(alice);
  await world.settle(MINUTE);
  const laptop = await world.person('laptop', alice);
  await join(laptop);
  await says(alice, 'before');
  await alice.close();
  host.die();
  await host.restore();
  await host.open();
  await world.settle(5 * MINUTE);
  // Whom it does not know is a new member to it, who needs an invite.
  if ((await stateOf(laptop)) !== 'online') await join(laptop);
  await says(laptop, 'from the second');
  await alice.open();
  await world.settle(5 * MINUTE);
  if ((await stateOf(alice)) !== 'online') await join(alice);
  await says(alice, 'from the first');
  const [first] = (await world.during(laptop.call('server.devices', {}))).filter((one) => !one.this && !one.revoked);
  await world.during(laptop.call('server.revokeDevice', { id: first?.id ?? '' }));
  await says(laptop, 'alone');
  const revoked = bob.db.all('SELECT revoked FROM devices WHERE revoked > 1');
  expect(revoked).toHaveLength(1);
});

test('one that has brought no keys keeps nobody from writing to the others, nor those from writing', async () => {
  await join(alice);
  await world.during(bob.call('message.send', { conversation: 'alice@home', text: 'early' }));
  await world.during(alice.call('channel.create', { name: '#sealed', encryption: 'members' }));
  await world.during(alice.call('channel.invite', { channel: '#sealed', member: 'bob' }));
  await world.settle(MINUTE);
  await world.during(bob.call('channel.join', { channel: '#sealed' }));
  // It has come, and is gone before it brings any.
  const laptop = await world.person('laptop', alice);
  await join(laptop);
  await laptop.close();
  {
    using db = openDatabase(serverPaths(`${world.dir}/server`).database);
    const { id } = db.get<{ id: Uint8Array }>('SELECT id FROM device ORDER BY added_at DESC LIMIT 1') ?? {};
    db.run('DELETE FROM prekey WHERE device = ?', id ?? new Uint8Array());
  }
  for (const [who, to] of [
    [bob, 'alice@home'],
    [bob, '#sealed'],
    [alice, 'bob@home'],
    [alice, '#sealed'],
  ] as const)
    await world.during(who.call('message.send', { conversation: to, text: `to ${to}` }));
  await world.settle(5 * MINUTE);
  const texts = (await alice.messages('bob@home')).map(({ body }) => body);
  expect(texts.sort()).toEqual(['early', 'to alice@home', 'to bob@home']);
  expect((await bob.messages('#sealed')).map(({ body }) => body).sort()).toEqual(['to #sealed', 'to #sealed']);
  expect((await alice.messages('#sealed')).length).toBe(2);
  for (const who of [alice, bob]) {
    expect(who.account.status().outboxDepth).toBe(0);
    expect((await who.call('channel.show', { channel: '#sealed' })).gaps ?? []).toEqual([]);
  }
});

test('one that came while somebody was away has put them out of a channel, and let them into another: they hear of both', async () => {
  await join(alice);
  await world.during(alice.call('channel.create', { name: '#one', encryption: 'members' }));
  await world.during(alice.call('channel.invite', { channel: '#one', member: 'bob' }));
  await world.settle(MINUTE);
  await world.during(bob.call('channel.join', { channel: '#one' }));
  const { link = '' } = await world.during(bob.call('server.invite', { uses: 1 }));
  await bob.close();
  const laptop = await world.person('laptop', alice);
  await world.during(laptop.call('server.join', { link, name: 'alice', label: 'home' }));
  await world.settle(MINUTE);
  await world.during(laptop.call('channel.kick', { channel: '#one', member: 'bob' }));
  await world.during(laptop.call('channel.create', { name: '#two', encryption: 'members' }));
  await world.during(laptop.call('channel.invite', { channel: '#two', member: 'bob' }));
  await bob.open();
  await world.settle(MINUTE);
  expect(await stateOf(bob)).toBe('online');
  const channels = await world.during(bob.call('channel.list', {}));
  expect(channels.map(({ name, state }) => [name, state])).toEqual([
    ['#one', 'removed'],
    ['#two', 'invited'],
  ]);
});

test('one whose store was put back goes on as another: what it says then can be read, and what it had said is here', async () => {
  await join(alice);
  await world.during(bob.call('channel.create', { name: '#sealed', encryption: 'members' }));
  await world.during(bob.call('channel.invite', { channel: '#sealed', member: 'alice' }));
  await world.settle(MINUTE);
  await world.during(alice.call('channel.join', { channel: '#sealed' }));
  const saysBoth = async (who: Person, text: string) => {
    const other = who === bob ? 'alice@home' : 'bob@home';
    for (const to of ['#sealed', other])
      await world.during(who.call('message.send', { conversation: to, text, wait: 'sent' }));
    await world.settle(1_000);
  };
  await saysBoth(alice, 'one');
  alice.copy();
  await saysBoth(alice, 'two');
  await saysBoth(bob, 'three');
  await saysBoth(alice, 'four');
  await alice.close();
  alice.putBack();
  await alice.open();
  await world.settle(MINUTE);
  expect(await stateOf(alice)).toBe('online');
  expect(await alice.read('#sealed')).toEqual(['one', 'two', 'three', 'four']);
  expect(await alice.read('bob@home')).toEqual(['one', 'three']);
  const told = alice.db.get("SELECT detail FROM events WHERE kind = 'member.device' ORDER BY id DESC LIMIT 1");
  expect(told).toMatchObject({ detail: expect.stringContaining('put back to an earlier state') });
  await saysBoth(alice, 'five');
  await saysBoth(bob, 'six');
  for (const who of [alice, bob]) {
    expect(await who.read('#sealed')).toEqual(['one', 'two', 'three', 'four', 'five', 'six']);
    expect((await who.call('channel.show', { channel: '#sealed' })).gaps ?? []).toEqual([]);
  }
  expect(await bob.read('alice@home')).toEqual(['one', 'two', 'three', 'four', 'five', 'six']);
  expect(await alice.read('bob@home')).toEqual(['one', 'three', 'five', 'six']);
  expect((await world.during(alice.call('server.devices', {}))).filter(({ revoked }) => !revoked)).toHaveLength(2);
  // It is not put back again.
  await alice.close();
  await alice.open();
  await world.settle(MINUTE);
  expect((await world.during(alice.call('server.devices', {}))).filter(({ revoked }) => !revoked)).toHaveLength(2);
});

test('a join that is cut off at any step of the server is one, or none: who was let in comes on line by themself', async () => {
  const found = new Set<string>();
  for (let steps = 1; steps <= 30; steps++) {
    const name = `guest${steps}`;
    const who = await world.person(name);
    const { link = '' } = await world.during(bob.call('server.invite', { uses: 1 }));
    host.crashAt(steps, 'after', false);
    const joining = who.call('server.join', { link, name, label: 'home', timeoutMs: 20_000 }).then(
      () => 'joined',
      ({ code }: { code: string }) => code,
    );
    await world.settle(2_000);
    host.spare();
    if (!host.isUp) await host.open();
    await world.settle(MINUTE);
    found.add(await joining);
    const [server] = await who.call('server.list', {});
    if (server === undefined) await world.during(who.call('server.join', { link, name, label: 'home' }));
    expect([steps, await stateOf(who)]).toEqual([steps, 'online']);
    await who.close();
  }
  expect([...found].sort()).toContain('joined');
  // Beside others, on a slow machine: thirty worlds.
});
