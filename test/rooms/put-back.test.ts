// A server that is put back to an older backup: who was removed since is told, and let out again by who removed them.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Guest, House } from './house.ts';
import { sotto } from './program.ts';

let house: House;
let alice: Guest;
let bob: Guest;
let carol: Guest;
let dave: Guest;
let backups = 0;

beforeAll(async () => {
  ({ house, alice, bob, carol, dave } = await House.open('alice', 'bob', 'carol', 'dave'));
});
afterAll(() => house[Symbol.asyncDispose]());

/** Does something between a backup and the end of the server, which is then put back to it; `away` tells what is done while nobody is served. */
const putBack = async (meanwhile: () => Promise<unknown>, away: () => Promise<unknown> = async () => {}) => {
  const { server } = house;
  const folder = join(house.stage.dir, '..', `copy-${++backups}`);
  await server.admin('backup', folder);
  await meanwhile();
  await server.stop('SIGKILL');
  rmSync(server.data, { recursive: true });
  await away();
  expect((await sotto(['serve', 'admin', 'restore', folder, '--data-dir', server.data])).code).toBe(0);
  await server.start();
};

const gather = async (channel: string, ...guests: readonly Guest[]): Promise<void> => {
  await alice.call('channel.create', { name: channel, encryption: 'members' });
  for (const guest of guests) {
    await alice.call('channel.invite', { channel, member: guest.name });
    await guest.call('channel.join', { channel });
  }
  await alice.sees('all', async () => (await members(alice, channel)).length === guests.length + 1);
};

const members = async (guest: Guest, channel: string): Promise<string[]> =>
  ((await guest.call('channel.show', { channel })).members ?? []).map(({ name }) => name);

const gaps = async (guest: Guest, channel: string): Promise<string[]> =>
  ((await guest.call('channel.show', { channel })).gaps ?? []).flatMap(({ reason }) => reason.split('; '));

test('whom this account has removed is removed again before anything is said, and everybody is told', async () => {
  await gather('#back', bob, carol, dave);
  for (const guest of [bob, carol, dave])
    await guest.sees('all', async () => (await members(guest, '#back')).length === 4);
  await alice.say('#back', 'to all of us');
  await putBack(
    async () => {
      await alice.call('channel.ban', { channel: '#back', member: 'carol' });
      await alice.call('channel.kick', { channel: '#back', member: 'dave' });
      await bob.sees('both out', async () => (await members(bob, '#back')).length === 2);
    },
    () => alice.call('message.send', { conversation: '#back', text: 'not for carol and dave' }),
  );
  await bob.reads('#back', 'not for carol and dave');
  expect(await members(bob, '#back')).toEqual(['alice', 'bob']);
  expect(await gaps(alice, '#back')).toContain(
    'with the other history of the server those are back who were removed: carol, dave',
  );
  for (const guest of [carol, dave]) expect(await guest.bodies('#back')).not.toContain('not for carol and dave');
  expect((await alice.user.run('channel', 'invite', '#back', 'carol')).error?.message).toContain('banned');
});

test('who was let in again after a removal, and who removes nobody, are left alone', async () => {
  await gather('#again', bob, carol);
  await bob.sees('all', async () => (await members(bob, '#again')).length === 3);
  await putBack(async () => {
    await alice.call('channel.kick', { channel: '#again', member: 'bob' });
    await alice.call('channel.invite', { channel: '#again', member: 'bob' });
    await bob.call('channel.join', { channel: '#again' });
    await carol.call('channel.leave', { channel: '#again' });
    await alice.sees('two', async () => (await members(alice, '#again')).length === 2);
  });
  await alice.say('#again', 'still here');
  await bob.reads('#again', 'still here');
  expect(await gaps(alice, '#again')).toEqual(['the server has another history than before']);
});

test('one who may not be removed any more keeps nobody else in the channel', async () => {
  await gather('#owners', carol, dave);
  await alice.call('channel.role', { channel: '#owners', member: 'carol', role: 'owner' });
  await putBack(async () => {
    await carol.sees(
      'the role',
      async () => (await carol.call('channel.show', { channel: '#owners' })).role === 'owner',
    );
    await carol.call('channel.role', { channel: '#owners', member: 'carol', role: 'member' });
    for (const member of ['carol', 'dave'])
      await alice.sees('that it is taken', () =>
        alice.call('channel.kick', { channel: '#owners', member }).then(
          () => true,
          () => false,
        ),
      );
  });
  await alice.say('#owners', 'among owners');
  await carol.reads('#owners', 'among owners');
  expect(await members(alice, '#owners')).toEqual(['alice', 'carol']);
  expect(await dave.bodies('#owners')).not.toContain('among owners');
});

test('what somebody has deleted since is deleted again, with its edits, by their account', async () => {
  await alice.call('channel.create', { name: '#town', encryption: 'open' });
  for (const guest of [bob, carol]) await guest.call('channel.join', { channel: '#town' });
  const [slip, other] = [await bob.say('#town', 'a slip'), await bob.say('#town', 'a rude word')];
  await bob.call('message.edit', { id: slip.id, text: 'a slip, mended' });
  for (const guest of [alice, carol]) await guest.reads('#town', 'a slip, mended');
  await putBack(async () => {
    await bob.call('message.delete', { id: slip.id });
    await alice.call('message.delete', { id: other.id });
    await carol.sees('both gone', async () => (await carol.messages('#town')).every(({ deletedAt }) => deletedAt));
  });
  await bob.say('#town', 'after it');
  const erin = await house.guest('erin');
  await erin.call('server.join', { link: await alice.invite(), name: 'erin', label: 'home' });
  await alice.sees('nothing waits', async () => (await alice.call('server.list', {}))[0]?.outboxDepth === 0);
  await erin.call('channel.join', { channel: '#town' });
  await erin.reads('#town', 'after it');
  expect((await erin.bodies('#town')).filter((body) => body !== '')).toEqual(['after it']);
  for (const guest of [alice, bob, carol]) {
    await guest.reads('#town', 'after it');
    expect((await guest.bodies('#town')).filter((body) => body !== '')).toEqual(['after it']);
  }
});

test('a device that comes after a restore is told of that, and not that the server leaves something out', async () => {
  await gather('#later', bob);
  for (const text of ['one', 'two']) await alice.say('#later', text);
  await putBack(async () => {});
  const phone = await house.device(alice, 'phone');
  await phone.call('server.join', { link: await alice.invite(), label: 'home' });
  for (const guest of [alice, bob]) {
    await guest.say('#later', `${guest.name} again`);
    await phone.reads('#later', `${guest.name} again`);
  }
  const told = (name: string) =>
    `the server says that it was put back to an earlier state: something of ${name}’s may be missing`;
  const named = (await gaps(phone, '#later')).filter((reason) => reason.startsWith('the server'));
  expect(named).toEqual([told('alice'), told('bob')]);
  // It would confirm for alice what comes while her other device is away.
  await phone.user.ok('daemon', 'stop');
});

const show = (guest: Guest, id: string) => guest.call('message.show', { id });

/** Ends the program of somebody while something is done. */
const without = async (guest: Guest, step: () => Promise<unknown>): Promise<void> => {
  guest.disconnect();
  await guest.user.ok('daemon', 'stop');
  await step();
};

test('what a member had not taken yet is said to them again, as it was changed, and to other devices once', async () => {
  const bob2 = await house.device(bob, 'bob2');
  await bob2.call('server.join', { link: house.server.invite, label: 'home' });
  await alice.say('bob@home', 'come in');
  for (const guest of [bob, bob2]) await guest.reads('alice@home', 'come in');
  const ids: string[] = [];
  let kept = '';
  await without(alice, async () => {
    kept = (await bob.say('alice@home', 'in the copy')).id;
    await putBack(
      async () => {
        for (const text of ['lost', 'changed', 'gone', 'brief'])
          ids.push((await bob.say('alice@home', text, text === 'brief' ? { expiresMs: 3_600_000 } : {})).id);
        const [lost = '', changed = '', gone = ''] = ids;
        await bob.call('message.edit', { id: changed, text: 'changed twice' });
        await bob.call('message.react', { id: lost, emoji: '👍' });
        await bob.call('message.delete', { id: gone });
        await bob.sees('that nothing waits', async () => (await bob.call('server.list', {}))[0]?.outboxDepth === 0);
      },
      async () => {
        await bob.call('message.edit', { id: ids[1] ?? '', text: 'changed thrice' });
        await bob.call('message.unreact', { id: ids[0] ?? '', emoji: '👍' });
        await bob.call('message.react', { id: ids[0] ?? '', emoji: '🎉' });
        await bob.call('message.send', { conversation: 'alice@home', text: 'after it' });
      },
    );
  });
  await alice.back();
  await alice.online();
  await alice.reads('bob@home', 'after it');
  const { missing } = await alice.call('message.list', { conversation: 'bob@home', limit: 1 });
  expect(missing).toEqual([expect.stringMatching(/^Some of what was said to you on home before .* may be missing/)]);
  const said = ['in the copy', 'lost', 'changed thrice', 'brief', 'after it'];
  expect((await alice.bodies('bob@home')).slice(-said.length)).toEqual(said);
  expect((await show(alice, ids[1] ?? '')).versions?.map(({ body }) => body)).toEqual(['changed', 'changed twice']);
  expect((await show(alice, ids[0] ?? '')).reactions).toMatchObject([{ emoji: '🎉', from: 'bob' }]);
  expect((await show(alice, ids[3] ?? '')).expiresAt).toBeGreaterThan(Date.now());
  for (const guest of [bob, bob2])
    for (const id of [kept, ...ids.filter((_, i) => i !== 2)])
      await guest.sees('that it came', async () => (await show(guest, id)).state === 'delivered');
  await bob2.reads('alice@home', 'after it');
  expect((await bob2.bodies('alice@home')).filter((body) => body !== '').slice(-said.length)).toEqual(said);
  for (const id of ids)
    expect(bob2.events.filter(({ kind, message }) => kind === 'message.sent' && message?.id === id).length).toBe(1);
});

test('what one device had confirmed when a server lost it comes to the other', async () => {
  const carol2 = await house.device(carol, 'carol2');
  await carol2.call('server.join', { link: house.server.invite, label: 'home' });
  await carol.say('bob@home', 'come in');
  await bob.reads('carol@home', 'come in');
  await bob.say('carol@home', 'to both');
  for (const guest of [carol, carol2]) await guest.reads('bob@home', 'to both');
  let id = '';
  await without(carol2, () =>
    putBack(async () => {
      ({ id } = await bob.say('carol@home', 'confirmed by one'));
      await bob.sees('that it came', async () => (await show(bob, id)).state === 'delivered');
    }),
  );
  await bob.say('carol@home', 'after it');
  await carol2.back();
  for (const guest of [carol, carol2]) {
    await guest.reads('bob@home', 'after it');
    expect((await guest.bodies('bob@home')).slice(-3)).toEqual(['to both', 'confirmed by one', 'after it']);
  }
  expect((await show(bob, id)).state).toBe('delivered');
  expect(bob.events.filter(({ kind, message }) => kind === 'message.delivered' && message?.id === id).length).toBe(1);
});

test('a receipt that a server has lost comes again', async () => {
  await alice.say('bob@home', 'write to me');
  await alice.call('config.set', { key: 'privacy.readReceipts', value: true, conversation: 'bob@home' });
  const ids: string[] = [];
  await without(alice, async () => {
    for (const text of ['to be read', 'and this?']) ids.push((await bob.say('alice@home', text)).id);
  });
  const [first = '', second = ''] = ids;
  await without(bob, () =>
    putBack(async () => {
      await alice.back();
      await alice.reads('bob@home', 'and this?');
      await alice.call('conversation.markRead', { conversation: 'bob@home', to: first });
      await alice.sees('that nothing waits', async () => (await alice.call('server.list', {}))[0]?.outboxDepth === 0);
    }),
  );
  await bob.back();
  await bob.sees('that it was read', async () => (await show(bob, first)).state === 'read');
  await bob.sees('that it came', async () => (await show(bob, second)).state === 'delivered');
  expect((await alice.bodies('bob@home')).slice(-2)).toEqual(['to be read', 'and this?']);
});

test('what was read before is not told as refused when its inbox is read anew', async () => {
  await alice.say('bob@home', 'read once');
  await bob.reads('alice@home', 'read once');
  await bob.say('alice@home', 'and this');
  await alice.reads('bob@home', 'and this');
  const refused = async (guest: Guest) => (await guest.call('status.show', {})).refused;
  const before = [await refused(alice), await refused(bob)];
  await putBack(async () => {});
  await bob.say('alice@home', 'on we go');
  await alice.reads('bob@home', 'on we go');
  expect([await refused(alice), await refused(bob)]).toEqual(before);
});
