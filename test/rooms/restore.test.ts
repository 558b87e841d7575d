// An account that comes back from a backup is another device of the same member: it reads on, and others write to it.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Guest, House } from './house.ts';

test('a restored account has its rooms, is let in as another device, and talks on', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  for (const encryption of ['open', 'members'] as const) {
    const channel = `#${encryption}`;
    await alice.call('channel.create', { name: channel, encryption });
    if (encryption === 'members') await alice.call('channel.invite', { channel, member: 'bob' });
    await bob.call('channel.join', { channel });
    const said = await bob.say(channel, 'before, by bob');
    await alice.reads(channel, 'before, by bob');
    await alice.call('message.react', { id: said.id, emoji: '👍' });
    await alice.say(channel, 'before, by alice');
    await bob.reads(channel, 'before, by alice');
  }
  await alice.say('bob@home', 'a secret');
  await bob.reads('alice@home', 'a secret');
  await bob.say('alice@home', 'kept');
  await alice.reads('bob@home', 'kept');

  const [file, passphrase] = [join(house.stage.dir, '..', 'backup'), join(house.stage.dir, '..', 'passphrase')];
  await alice.call('backup.create', { file, passphrase: 'tulip mania' });
  writeFileSync(passphrase, 'tulip mania\n', { mode: 0o600 });
  await alice.user.ok('daemon', 'stop');
  await bob.say('#members', 'meanwhile');
  const user = house.stage.stranger('again');
  await user.ok('restore', file, '--no-passphrase', { env: { SOTTO_PASSPHRASE_FILE: passphrase } });
  const again = house.welcome(new Guest(user));
  await again.connect();
  await again.sees('the server', async () => (await again.call('server.list', {}))[0]?.state === 'online');

  for (const encryption of ['open', 'members'] as const) {
    const channel = `#${encryption}`;
    await bob.say(channel, 'after, by bob');
    await again.reads(channel, 'after, by bob');
    await again.say(channel, 'after, by alice');
    await bob.reads(channel, 'after, by alice');
    const held = ['before, by bob', 'before, by alice'];
    const since = ['after, by bob', 'after, by alice'];
    expect(await bob.bodies(channel)).toEqual(
      encryption === 'open' ? [...held, ...since] : [...held, 'meanwhile', ...since],
    );
    // What was sealed for the device of before is told as missing.
    expect(await again.bodies(channel)).toEqual([...held, ...since]);
    expect((await again.messages(channel))[0]).toMatchObject({ from: 'bob', reactions: [{ emoji: '👍', mine: true }] });
  }
  expect((await again.call('channel.show', { channel: '#members' })).gaps).toEqual([
    { fromSeq: 0, toSeq: 0, reason: '2 messages wait for their key' },
  ]);
  expect(await again.bodies('bob@home')).toEqual(['a secret', 'kept']);
  await bob.say('alice@home', 'still you?');
  await again.reads('bob@home', 'still you?');
  await again.say('bob@home', 'it is me');
  await bob.reads('alice@home', 'it is me');
});
