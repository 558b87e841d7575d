// A member of a server and a contact as one person, through Tor between the two and a real server beside.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Program } from '../rooms/program.ts';
import { Stage, type User } from './stage.ts';

type Member = { name: string; contact?: string; contactSaid?: string };
type Contact = { members?: { name: string; server: string; state: string }[] };

test('a contact and a member are shown as one once both say so, and not when only one does', async () => {
  await using stage = new Stage();
  const { alice, bob } = await stage.friends();
  const server = new Program(join(stage.dir, '..', 'server'));
  await server.start();
  try {
    await alice.ok('server', 'join', server.invite, '--as', 'alice', '--label', 'home');
    const { link } = await alice.one<{ link: string }>('server', 'invite');
    await bob.ok('server', 'join', link, '--as', 'robert', '--label', 'home');
    const membersOf = async (user: User, contact: string) =>
      (await user.one<Contact>('contact', 'show', contact)).members ?? [];
    const said = await alice.one<Member>('member', 'link', 'robert@home', 'bob');
    expect(said).toMatchObject({ name: 'robert', contactSaid: 'bob' });
    await bob.until('what alice says', async () => (await membersOf(bob, 'alice'))[0]?.state === 'asked');
    await bob.ok('member', 'link', 'alice@home', 'alice');
    await alice.until('that bob says so too', async () => (await membersOf(alice, 'bob'))[0]?.state === 'linked');
    expect(await alice.items<Member>('member', 'list')).toMatchObject([
      { name: 'alice' },
      { name: 'robert', contact: 'bob' },
    ]);
    await alice.ok('member', 'unlink', 'robert@home');
    await bob.until('that it is over', async () => (await membersOf(bob, 'alice'))[0]?.state === 'said');
    expect((await bob.one<Member>('member', 'show', 'alice@home')).contact).toBeUndefined();
  } finally {
    await server.stop();
  }
});
