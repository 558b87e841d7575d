// A member and a contact as one person: only while both say so; who claims to be a member without its key is nobody.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { keyOfAddress } from '../../src/crypto/address.ts';
import { makeDevice, memberIdOf, memberSecrets, signMemberLink } from '../../src/crypto/member.ts';
import { ed25519Public } from '../../src/crypto/primitives.ts';
import { toBase64 } from '../../src/protocol/bytes.ts';
import { idBytes } from '../../src/protocol/ids.ts';
import { MEMBER_LINKS_PER_CONTACT_MAX } from '../../src/protocol/limits.ts';
import { checkDatabase } from '../../src/store/check.ts';
import { putMember } from '../../src/store/members.ts';
import { putServer } from '../../src/store/servers.ts';
import { codeOf } from '../../src/testing/code.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { Hostile, rowsOf } from './hostile.ts';

const SERVER = ed25519Public(new Uint8Array(32).fill(0x51));
let world: World;
let alice: Person;
let bob: Person;
let mallory: Hostile;

beforeEach(async () => {
  world = new World();
  ({ alice, bob } = await world.friends());
  mallory = await Hostile.join(world);
  await mallory.befriend(alice);
  const people = [alice, bob] as const;
  for (const one of people) {
    const device = makeDevice(serversKey(one), SERVER, { seed: world.random.bytes(32), serial: 1 });
    const serverId = putServer(one.db, {
      uid: world.random.bytes(16),
      label: 'home',
      serverKey: SERVER,
      origin: 'wss://127.0.0.1:1',
      trust: 'pinned',
      clearnet: 0,
      state: 'joined',
      invite: '',
      memberId: idBytes(device.member),
      memberName: one.name,
      deviceId: idBytes(device.device),
      deviceSeed: world.random.bytes(32),
      certificate: device.certificate,
      createdAt: 1,
    });
    for (const other of people) {
      const { memberKey } = secretsOf(other);
      const memberId = idBytes(memberIdOf(SERVER, memberKey));
      putMember(one.db, { serverId, memberId, memberKey, name: other.name, role: 'member', status: '', createdAt: 1 });
    }
  }
});

afterEach(async () => {
  for (const person of [alice, bob]) expect(checkDatabase(person.db)).toEqual([]);
  await world[Symbol.asyncDispose]();
});

const serversKey = (person: Person) =>
  person.db.get<{ key: Uint8Array<ArrayBuffer> }>('SELECT servers_key AS key FROM account')?.key ?? new Uint8Array(32);
const secretsOf = (person: Person) => memberSecrets(serversKey(person), SERVER);
const link = async (one: Person, other: Person) => {
  const shown = await one.call('member.link', { member: `${other.name}@home`, contact: other.name });
  await world.settle();
  return shown;
};
const membersOf = async (one: Person, contact: string) => (await one.call('contact.show', { contact })).members;
const kinds = (one: Person) =>
  one.db
    .all<{ kind: string }>("SELECT kind FROM events WHERE kind LIKE 'member.%' ORDER BY id")
    .map(({ kind }) => kind);

/** What mallory says of herself to alice. */
const claim = (seed: Uint8Array, key: Uint8Array, from: string, to: string) =>
  ({
    kind: 'member.link',
    server: toBase64(SERVER),
    member: toBase64(key),
    signature: toBase64(signMemberLink(seed, { serverId: SERVER, from: keyOfAddress(from), to: keyOfAddress(to) })),
  }) as const;

test('MEMBER-6: they are one person once both have said so, and two again once one takes it back', async () => {
  expect(await link(alice, bob)).toMatchObject({ name: 'bob', contactSaid: 'bob' });
  expect(await membersOf(alice, 'bob')).toEqual([{ name: 'bob', server: 'home', state: 'said' }]);
  expect(await membersOf(bob, 'alice')).toEqual([{ name: 'alice', server: 'home', state: 'asked' }]);
  expect((await bob.call('member.show', { member: 'alice@home' })).contact).toBeUndefined();
  expect(await link(bob, alice)).toMatchObject({ name: 'alice', contact: 'alice' });
  expect((await alice.call('member.show', { member: 'bob@home' })).contact).toBe('bob');
  expect(await membersOf(alice, 'bob')).toEqual([{ name: 'bob', server: 'home', state: 'linked' }]);
  await bob.call('member.unlink', { member: 'alice@home' });
  await world.settle();
  for (const [one, other] of [
    [alice, bob],
    [bob, alice],
  ] as const)
    expect((await one.call('member.show', { member: `${other.name}@home` })).contact).toBeUndefined();
  expect(kinds(alice)).toEqual(['member.linked', 'member.unlinked']);
  expect(kinds(bob)).toEqual(['member.linkAsked', 'member.linked', 'member.unlinked']);
  expect(await codeOf(bob.call('member.unlink', { member: 'alice@home' }))).toBe('member.notLinked');
});

test('a contact that is removed takes its link with it', async () => {
  await link(alice, bob);
  await link(bob, alice);
  await alice.call('contact.remove', { contact: 'bob' });
  expect((await alice.call('member.show', { member: 'bob@home' })).contact).toBeUndefined();
  expect(rowsOf(alice, 'member_links')).toBe(0);
  expect(kinds(alice).at(-1)).toBe('member.unlinked');
});

test('who does not hold the key of a member is not that member, whatever was signed for others', async () => {
  const [own, stolen] = [world.random.bytes(32), secretsOf(bob)];
  await alice.call('member.link', { member: 'bob@home', contact: 'mallory' });
  for (const forged of [
    // Her own signature under his key, his own word for alice, and for somebody else.
    claim(own, stolen.memberKey, mallory.address, alice.address),
    claim(stolen.memberSeed, stolen.memberKey, bob.address, alice.address),
    claim(stolen.memberSeed, stolen.memberKey, mallory.address, bob.address),
    {
      ...claim(stolen.memberSeed, stolen.memberKey, mallory.address, alice.address),
      server: toBase64(ed25519Public(own)),
    },
    { ...claim(own, ed25519Public(own), mallory.address, alice.address), member: toBase64(new Uint8Array(32)) },
  ])
    await mallory.tell(forged);
  expect((await alice.call('member.show', { member: 'bob@home' })).contact).toBeUndefined();
  expect(rowsOf(alice, 'member_links')).toBe(1);
  // A member that she is: another one than alice has named.
  await mallory.tell(claim(own, ed25519Public(own), mallory.address, alice.address));
  expect((await alice.call('member.show', { member: 'bob@home' })).contact).toBeUndefined();
  expect(kinds(alice)).toEqual([]);
  // And bob, who is, is told apart from her.
  expect(await codeOf(alice.call('member.link', { member: 'bob@home', contact: 'bob' }))).toBe('member.other');
  await alice.call('member.unlink', { member: 'bob@home' });
  await link(alice, bob);
  await link(bob, alice);
  expect((await alice.call('member.show', { member: 'bob@home' })).contact).toBe('bob');
  expect(await codeOf(alice.call('member.link', { member: 'bob@home', contact: 'mallory' }))).toBe('member.other');
});

test('one who says to be another member than before is nobody until alice says so, too', async () => {
  const [first, second] = [world.random.bytes(32), world.random.bytes(32)];
  const serverId = alice.db.get<{ id: number }>('SELECT id FROM servers')?.id ?? 0;
  const memberKey = ed25519Public(first);
  const memberId = idBytes(memberIdOf(SERVER, memberKey));
  putMember(alice.db, { serverId, memberId, memberKey, name: 'mal', role: 'member', status: '', createdAt: 1 });
  await mallory.tell(claim(first, memberKey, mallory.address, alice.address));
  await alice.call('member.link', { member: 'mal@home', contact: 'mallory' });
  expect((await alice.call('member.show', { member: 'mal@home' })).contact).toBe('mallory');
  await mallory.tell(claim(second, ed25519Public(second), mallory.address, alice.address));
  expect((await alice.call('member.show', { member: 'mal@home' })).contact).toBeUndefined();
  expect(kinds(alice)).toEqual(['member.linkAsked', 'member.linked', 'member.unlinked']);
});

test('one contact claims a few servers, not a store full of them', async () => {
  const seed = world.random.bytes(32);
  for (let i = 0; i < MEMBER_LINKS_PER_CONTACT_MAX + 8; i++) {
    const server = ed25519Public(world.random.bytes(32));
    const keys = { serverId: server, from: keyOfAddress(mallory.address), to: keyOfAddress(alice.address) };
    const [member, signature] = [toBase64(ed25519Public(seed)), toBase64(signMemberLink(seed, keys))];
    await mallory.tell({ kind: 'member.link', server: toBase64(server), member, signature });
  }
  expect(rowsOf(alice, 'member_links')).toBe(MEMBER_LINKS_PER_CONTACT_MAX);
});
