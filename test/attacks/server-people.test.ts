// A server that lies about people, and about itself, to daemons: keys, names, devices, log-ins, files, answers without sense or end.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ServerClient } from '../../src/core/server-client.ts';
import { memberIdOf, memberSecrets, signHello } from '../../src/crypto/member.ts';
import { PreKeySet } from '../../src/crypto/prekeys.ts';
import { ed25519Public } from '../../src/crypto/primitives.ts';
import { signalIdentity } from '../../src/crypto/session.ts';
import { systemRandom } from '../../src/machine.ts';
import { dialServer } from '../../src/net/server-dial.ts';
import { fromBase64, toBase64 } from '../../src/protocol/bytes.ts';
import { idBytes } from '../../src/protocol/ids.ts';
import { makeInviteLink } from '../../src/protocol/invite-link.ts';
import { REVOKED_GRACE_MS } from '../../src/protocol/limits.ts';
import { joinBundle } from '../../src/protocol/prekeys.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { type Guest, House } from '../rooms/house.ts';
import { type Member, Speaker } from '../rooms/scene.ts';
import { aboutAnswers, aboutEvents, Double, either, type Saying } from './double.ts';

const SECRETS = systemRandom.bytes(32);
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/;
const ESCAPES = '\u001b[2J\u001b]0;owned\u0007\u202e\u009b31mred';

let server: Double;
let house: House<Double>;
let alice: Guest;
let bob: Guest;
let carol: Guest;
/** Whom the server has registered for itself. */
let mallory: Member;

beforeAll(async () => {
  server = await Double.start();
  ({ house, alice, bob, carol } = await House.around(server, 'alice', 'bob', 'carol'));
  const { link = '' } = await alice.call('server.invite', { uses: 1 });
  mallory = server.hosted.member('mallory', SECRETS);
  await mallory.join(new URL(link).searchParams.get('token') ?? '');
});

afterEach(() => server.honest());
afterAll(() => house[Symbol.asyncDispose]());

const idOf = async (guest: Guest): Promise<string> => (await guest.call('server.list', {}))[0]?.memberId ?? '';
const told = (guest: Guest, kind: string, detail: string) =>
  guest.sees(`${kind} ${detail}`, async () =>
    guest.events.find((event) => event.kind === kind && event.detail?.includes(detail)),
  );
const refusals = async (guest: Guest): Promise<Record<string, number>> => (await guest.call('status.show', {})).refused;
const inboxOf = async (member: string) => (await server.context.log.heads([member as never]))[0]?.seq ?? 0;
/** Ends the connections of somebody, who comes back. */
const cut = async (guest: Guest) => {
  for (const peer of server.context.online.get((await idOf(guest)) as never) ?? []) peer.close(1012, 'restart');
};
type Devices = Record<string, { id: string; certificate: string; addedAt: number; revoked: boolean }[]>;
type Members = { id: string; key: string; name: string }[];

test('invents a device: what the member’s key has not certified gets no key, and is told', async () => {
  const theirs = await idOf(bob);
  const forged = (certificate: string): string => {
    const bytes = Buffer.from(certificate, 'base64');
    mallory
      .keys()
      .certificate.subarray(90, 122)
      .forEach((byte, at) => {
        bytes[90 + at] = byte;
      });
    return toBase64(bytes);
  };
  server.lie = aboutAnswers('member.devices', (ok) => {
    const devices = ok.devices as Devices;
    const [real] = devices[theirs] ?? [];
    if (real === undefined) return undefined;
    const more = [forged(real.certificate), toBase64(mallory.keys().certificate)].map((certificate) => ({
      ...real,
      id: mallory.device,
      certificate,
    }));
    return { devices: { ...devices, [theirs]: [real, ...more] } };
  });
  const before = await inboxOf(mallory.id);
  await alice.call('channel.create', { name: '#device', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#device', member: 'bob' });
  await bob.call('channel.join', { channel: '#device' });
  await alice.sees('bob', async () => (await alice.call('channel.show', { channel: '#device' })).memberCount === 2);
  await alice.say('#device', 'for bob');
  await bob.reads('#device', 'for bob');
  const event = await told(alice, 'member.device', 'the server shows a device that is not theirs');
  expect(event.member?.name).toBe('bob');
  expect(await inboxOf(mallory.id)).toBe(before);
});

test('lets a revoked device speak on: what it says then is not shown, what it said before is', async () => {
  const tablet = await house.device(bob, 'tablet');
  await tablet.call('server.join', { link: await alice.invite(), label: 'home' });
  await tablet.say('alice@home', 'before');
  await alice.reads('bob@home', 'before');
  const theirs = await idOf(bob);
  const device = (await tablet.call('server.devices', {})).find((one) => one.this)?.id ?? '';
  server.lie = aboutAnswers('member.devices', (ok) => {
    const devices = ok.devices as Devices;
    const all = devices[theirs]?.map((one) =>
      one.id === device ? { ...one, revoked: true, revokedAt: Date.now() - 2 * REVOKED_GRACE_MS } : one,
    );
    return all === undefined ? undefined : { devices: { ...devices, [theirs]: all } };
  });
  await cut(alice);
  // Whoever sends asks who is there.
  await alice.say('bob@home', 'who are you?');
  const isRevoked = 'SELECT 1 FROM devices WHERE device_id = ? AND revoked > 1';
  await alice.sees('that it is revoked', () => alice.look((db) => db.get(isRevoked, idBytes(device))));
  const before = (await refusals(alice))['event.forged'] ?? 0;
  await tablet.say('alice@home', 'after that');
  await bob.say('alice@home', 'from the other one');
  await alice.reads('bob@home', 'from the other one');
  // Its receipts are refused too.
  expect((await refusals(alice))['event.forged']).toBeGreaterThan(before);
  expect(await alice.bodies('bob@home')).toEqual(['before', 'who are you?', 'from the other one']);
});

test('swaps a bundle: nothing is sealed for it, the others read on, and it is told who cannot', async () => {
  const identity = signalIdentity(memberSecrets(SECRETS, server.hosted.target.serverKey).signalSecret);
  const upload = new PreKeySet().refill(identity, { ec: 99, kyber: 99 }, Date.now());
  const bundle = toBase64(
    joinBundle({ signed: upload?.signed as Uint8Array, kyber: upload?.lastResort as Uint8Array, ec: undefined }),
  );
  const theirs = await idOf(carol);
  server.lie = aboutAnswers('prekeys.take', (ok, { params }) =>
    params.member === theirs ? { bundles: (ok.bundles as object[]).map((one) => ({ ...one, bundle })) } : undefined,
  );
  const sent = await bob.call('message.send', { conversation: 'carol@home', text: 'for carol alone', wait: 'sent' });
  expect(sent.message).toMatchObject({ state: 'failed', reason: 'member.keyRefused' });

  await bob.call('channel.create', { name: '#bundle', encryption: 'members' });
  for (const guest of [alice, carol]) {
    await bob.call('channel.invite', { channel: '#bundle', member: guest.name });
    await guest.call('channel.join', { channel: '#bundle' });
  }
  await bob.sees('all', async () => (await bob.call('channel.show', { channel: '#bundle' })).memberCount === 3);
  await bob.say('#bundle', 'for both');
  await alice.reads('#bundle', 'for both');
  expect((await bob.call('channel.show', { channel: '#bundle' })).gaps?.map(({ reason }) => reason)).toEqual([
    'carol cannot read what you write: the server shows no keys of theirs',
  ]);
  server.honest();
  await bob.say('#bundle', 'with the right keys');
  await carol.reads('#bundle', 'with the right keys');
  expect(await carol.bodies('#bundle')).toEqual(['with the right keys']);
});

test('takes nothing for one member: all others read on, and it is told who cannot', async () => {
  await bob.call('channel.create', { name: '#shut', encryption: 'members' });
  for (const guest of [alice, carol]) {
    await bob.call('channel.invite', { channel: '#shut', member: guest.name });
    await guest.call('channel.join', { channel: '#shut' });
  }
  for (const guest of [alice, bob])
    await guest.sees('all', async () => (await guest.call('channel.show', { channel: '#shut' })).memberCount === 3);
  const refuses = (inbox: string, code: string): void => {
    server.deaf = (asked, _member, say) => {
      if (asked.name !== 'publish' || asked.params.channel !== inbox) return false;
      say({ error: { code } });
      return true;
    };
  };
  const gaps = async (guest: Guest) =>
    (await guest.call('channel.show', { channel: '#shut' })).gaps?.map(({ reason }) => reason);
  refuses(await idOf(carol), 'inbox.full');
  await bob.say('#shut', 'for alice');
  await alice.reads('#shut', 'for alice');
  expect(await gaps(bob)).toEqual(['carol cannot read what you write: their inbox on the server is full']);
  const { message } = await bob.call('message.send', { conversation: 'carol@home', text: 'when there is room' });
  const reason = 'The inbox of this member on the server has no room for more of yours now';
  await bob.sees('why', async () => (await bob.call('server.list', {}))[0]?.stuck?.length === 1);
  expect((await bob.call('server.list', {}))[0]?.stuck).toEqual([{ conversation: 'carol@home', reason }]);
  server.deaf = () => false;
  expect((await bob.call('server.retry', { server: 'home' })).stuck).toBeUndefined();
  await carol.reads('bob@home', 'when there is room');
  await bob.sees('sent', async () => (await bob.call('message.show', { id: message.id })).state !== 'queued');
  refuses(await idOf(bob), 'member.unknown');
  await alice.say('#shut', 'for carol');
  await carol.reads('#shut', 'for carol');
  expect(await gaps(alice)).toEqual(['bob cannot read what you write: the server takes nothing for them']);
});

test('tells of the devices of some only: it is asked for the others', async () => {
  const asked: number[] = [];
  server.lie = aboutAnswers('member.devices', ({ devices }, { params }) => {
    asked.push((params.members as string[]).length);
    return { devices: Object.fromEntries(Object.entries(devices as Devices).slice(0, 1)) };
  });
  await alice.call('channel.create', { name: '#some', encryption: 'members' });
  for (const guest of [bob, carol]) {
    await alice.call('channel.invite', { channel: '#some', member: guest.name });
    await guest.call('channel.join', { channel: '#some' });
  }
  await carol.sees('all', async () => (await carol.call('channel.show', { channel: '#some' })).memberCount === 3);
  asked.length = 0;
  await carol.say('#some', 'for both');
  for (const guest of [alice, bob]) await guest.reads('#some', 'for both');
  expect(asked.slice(0, 3)).toEqual([3, 2, 1]);
});

test('moves a name to another key: it stays whose it was, and the newcomer is somebody else', async () => {
  await alice.say('bob@home', 'before');
  await bob.reads('alice@home', 'before');
  const theirs = await idOf(bob);
  const moved = (members: Members) =>
    members.map((one) =>
      one.id === theirs ? { ...one, name: 'robert' } : one.id === mallory.id ? { ...one, name: 'bob' } : one,
    );
  // First only the name of mallory, then bob is said to have another.
  server.lie = aboutAnswers('member.list', (ok) => ({
    ...ok,
    members: (ok.members as Members).map((one) => (one.id === mallory.id ? { ...one, name: 'bob' } : one)),
  }));
  const shown = `bob-${mallory.id.slice(0, 8)}`;
  expect((await alice.call('member.list', {})).map(({ name }) => name).sort()).toEqual(
    ['alice', 'bob', shown, 'carol'].sort(),
  );
  await told(alice, 'member.renamed', 'bob is another person than before');
  await alice.say('bob@home', 'still to bob');
  await bob.reads('alice@home', 'still to bob');

  server.lie = aboutAnswers('member.list', (ok, { params }) => {
    const isNamed = (params.names as string[] | undefined)?.includes('bob') === true;
    const all = [...(ok.members as Members)];
    return { ...ok, members: moved(isNamed ? all.map((one) => ({ ...one, id: mallory.id, key: keyOf() })) : all) };
  });
  await alice.call('member.list', {});
  await told(alice, 'member.renamed', 'was bob');
  const lost = await alice.user.run('send', 'bob@home', 'to whom?');
  expect(lost).toMatchObject({ code: 3, error: { code: 'name.ambiguous' } });
  expect(lost.error?.message).toContain(`bob is another person than before, who is called ${shown} here`);
  await alice.say('robert@home', 'to him who was bob');
  await bob.reads('alice@home', 'to him who was bob');
});

const keyOf = (): string => toBase64(memberSecrets(SECRETS, server.hosted.target.serverKey).memberKey);

test('relabels or repeats a message to one member: it is nobody else’s, and there once', async () => {
  const [ours, theirs] = [await idOf(alice), await idOf(carol)];
  await bob.say('alice@home', 'first');
  await alice.reads('robert@home', 'first');
  const before = (await refusals(alice))['event.forged'] ?? 0;
  server.lie = aboutEvents((event, member) =>
    event.channel === ours && member === ours ? [{ ...event, member: theirs }] : undefined,
  );
  await bob.say('alice@home', 'as if by carol');
  await alice.sees('a refusal', async () => ((await refusals(alice))['event.forged'] ?? 0) > before);
  expect(await alice.refused('message.list', { conversation: 'carol@home' })).toBe('nothing was refused');
  expect(await alice.bodies('carol@home')).not.toContain('as if by carol');
  // The same again under the next place, and under another id.
  server.lie = aboutEvents((event, member) =>
    event.channel === ours && member === ours
      ? [event, { ...event, seq: event.seq + 1 }, { ...event, seq: event.seq + 2, id: 'ab'.repeat(16) }]
      : undefined,
  );
  await bob.say('alice@home', 'once');
  await alice.reads('robert@home', 'once');
  await alice.sees('refusals', async () => ((await refusals(alice))['frame.undecryptable'] ?? 0) >= 2);
  expect((await alice.bodies('robert@home')).filter((body) => body === 'once')).toEqual(['once']);
});

test('gives other bytes than a file’s: it is not saved, and called damaged', async () => {
  await alice.call('channel.create', { name: '#files', encryption: 'open' });
  await bob.call('channel.join', { channel: '#files' });
  const path = join(house.stage.dir, '..', 'file');
  writeFileSync(path, Buffer.alloc(100_000, 7));
  await alice.call('file.send', { conversation: '#files', path });
  const { id } = await bob.sees('the offer', async () => (await bob.call('file.list', { conversation: '#files' }))[0]);
  server.lie = (saying) =>
    saying.kind === 'part'
      ? [{ ...saying, part: { ...saying.part, body: saying.part.body.map((byte) => byte ^ 1) } }]
      : undefined;
  const saved = await bob.user.run('file', 'save', id, join(house.stage.dir, '..', 'saved'), '--timeout', '20s');
  expect(saved).toMatchObject({ code: 8, error: { code: 'file.damaged' } });
});

test('loses its answer to a file that has come whole: it is not brought again', async () => {
  const lost: Promise<void>[] = [];
  let parts = 0;
  const path = join(house.stage.dir, '..', 'lost');
  writeFileSync(path, Buffer.alloc(100_000, 8));
  server.deaf = ({ name }) => {
    if (name === 'part') parts++;
    return false;
  };
  server.lie = (saying) => {
    if (saying.kind !== 'answer' || saying.asked?.name !== 'blob.complete' || lost.length > 0) return undefined;
    lost.push(cut(alice));
    return [];
  };
  await alice.user.ok('file', 'send', 'bob@home', path, '--wait', 'done');
  await bob.sees('the offer', async () => (await bob.call('file.list', { conversation: 'alice@home' }))[0]);
  expect([lost.length, parts]).toEqual([1, 4]);
});

test('answers without sense: a code says so, and the daemon goes on', async () => {
  await alice.call('channel.create', { name: '#sense', encryption: 'open' });
  for (const ok of [null, 'yes', {}, { seq: -1, epoch: 1, at: 1 }, { seq: 'x', epoch: 1, at: 1 }]) {
    server.lie = (saying) =>
      saying.kind === 'answer' && saying.asked?.name === 'publish'
        ? [{ ...saying, value: { id: saying.value.id, ok: ok as never } }]
        : undefined;
    const { message } = await alice.call('message.send', { conversation: '#sense', text: 'x', wait: 'sent' });
    expect(['failed', 'sent']).toContain(message.state);
  }
  // Codes that are not a server's to give, and words that are none.
  for (const [code, seen] of Object.entries({
    'account.locked': 'server.refused',
    'disk.full': 'server.unavailable',
    [ESCAPES]: 'server.refused',
  })) {
    server.lie = (saying) =>
      saying.kind === 'answer' && saying.asked?.name === 'channel.find'
        ? [{ ...saying, value: { id: saying.value.id, error: { code, details: { why: ESCAPES, message: ESCAPES } } } }]
        : undefined;
    expect(await bob.refused('channel.join', { channel: '#sense' })).toBe(seen);
    const ran = await bob.user.run('channel', 'join', '#sense', { json: false });
    expect(ran.err).not.toMatch(CONTROL);
  }
  // A greeting whose numbers have another size, and one that proves another key.
  for (const [name, change] of Object.entries({
    'frame from the other side was not valid': { nonce: 'A'.repeat(44) },
    'No common version': { version: 99 },
  })) {
    server.lie = aboutAnswers('hello', (ok) => ({ ...ok, ...change }));
    await cut(carol);
    await carol.sees(name, async () => (await carol.call('server.list', {}))[0]?.lastError?.includes(name));
    server.honest();
    await carol.call('server.retry', {});
    await carol.online();
  }
  expect(house.bugs()).toEqual([]);
});

test('proves another key than that of the invite: nothing is said to it', async () => {
  const { origin } = server.hosted.target;
  const other = await Double.start();
  await using _other = other;
  const serverKey = new Uint8Array(other.hosted.target.serverKey);
  const link = makeInviteLink({ origin, serverKey, trust: 'pinned', token: 'x'.repeat(24) });
  const joined = await carol.user.run('server', 'join', link, '--label', 'work');
  expect(joined).toMatchObject({ code: 6, error: { code: 'server.certificateChanged' } });
  // What it says before it has proven anything is not heard.
  const member = { id: mallory.id, key: keyOf(), name: 'early', role: 'owner', status: '', joinedAt: 1, banned: false };
  server.lie = (saying) =>
    saying.kind === 'answer' && saying.asked?.name === 'hello'
      ? [
          { kind: 'notice', value: { notice: 'member', member } },
          { ...saying, value: { id: saying.value.id, ok: { ...saying.value.ok, server: toBase64(serverKey) } } },
        ]
      : undefined;
  await cut(carol);
  const shown = await carol.sees('another key', async () => {
    const [one] = await carol.call('server.list', {});
    return one?.lastError?.includes('proved another key') === true ? one : undefined;
  });
  expect(shown.lastError).toContain('proved another key than the one of your invite');
  expect((await carol.call('member.list', {})).map(({ name }) => name)).not.toContain('early');
  server.honest();
  await carol.call('server.retry', {});
});

test('relays a log-in: it fits no other server, no other connection, and no other address', async () => {
  const other = await Double.start();
  await using _other = other;
  const { origin } = server.hosted.target;
  // To another server: the certificate is for this one. On a connection of its own to the same: the proof is of that of carol.
  for (const [to, refusal] of [
    [other, 'The certificate is not valid'],
    [server, 'The server refused the log-in'],
  ] as const) {
    const relayed = new Set<unknown>();
    let speaker: Speaker | undefined;
    const greet = async (nonce: string): Promise<Record<string, unknown>> => {
      speaker = await Speaker.to(to.hosted);
      const said = await speaker.ask('hello', { versions: [1], nonce, origin: to.hosted.target.origin });
      const { ok } = said as unknown as { ok: Record<string, unknown> };
      const clientNonce = fromBase64(nonce);
      const serverNonce = fromBase64(ok.nonce as string);
      const proof = toBase64(
        signHello(server.context.serverSigner, { origin, clientNonce, serverNonce, isBound: ok.bound === true }),
      );
      return { ok: { ...ok, server: toBase64(server.context.serverKey), proof } };
    };
    server.deaf = ({ name, params }, _member, say) => {
      const what = name === 'hello' ? params.nonce : name === 'login' ? params.proof : undefined;
      if (what === undefined || relayed.has(what)) return false;
      relayed.add(what);
      if (name === 'hello') void greet(params.nonce as string).then(say);
      else void speaker?.ask('login', params).then((said) => say(said as never));
      return true;
    };
    await cut(carol);
    await carol.sees(refusal, async () => (await carol.call('server.list', {}))[0]?.lastError?.includes(refusal));
    server.honest();
    await carol.call('server.retry', {});
    await carol.online();
  }
  expect(await other.context.store.listMembers(undefined, 10)).toEqual([]);
  // Whoever stands between answers under an address that is not the server's.
  const between = await Speaker.to(other.hosted);
  const said = await between.ask('hello', { versions: [1], nonce: toBase64(new Uint8Array(32)), origin });
  expect(said).toMatchObject({ error: { code: 'server.originRefused' } });
});

test('floods: pages without end, events that nobody asked for, a channel that is never level', async () => {
  server.lie = aboutAnswers('member.list', (ok, { params }) =>
    params.ids === undefined && params.names === undefined ? { members: ok.members, more: true } : undefined,
  );
  expect((await alice.call('member.list', {})).length).toBe(4);
  await alice.call('channel.create', { name: '#flood', encryption: 'open' });
  const { id } = await alice.call('channel.show', { channel: '#flood' });
  // Each page of controls again and again, and a thousand events for one.
  server.lie = aboutAnswers('log.control', (ok) => ({ ...ok, more: true }));
  await bob.call('channel.join', { channel: '#flood' });
  server.lie = aboutEvents((event) =>
    event.request === 0 || event.channel !== id
      ? undefined
      : Array.from({ length: 1_000 }, (_, i) => ({ ...event, seq: event.seq + i })),
  );
  expect(await carol.refused('channel.join', { channel: '#flood' })).not.toBe('nothing was refused');
  server.honest();
  // A server that has never recovered anything, and never has anything to show.
  server.lie = either(
    aboutAnswers('resume', (ok, { params }) => {
      if (!(id in (params.cursors as object))) return undefined;
      const one = (ok.channels as Record<string, { head: { seq: number; prunedTo: number } }>)[id];
      const head = { ...one?.head, epoch: Math.floor(Math.random() * 1e6) };
      return { channels: { ...(ok.channels as object), [id]: { recovered: false, head } } };
    }),
    aboutEvents((event) => (event.channel === id ? [] : undefined)),
  );
  await cut(bob);
  await bob.sees('that it goes round in a circle', async () =>
    (await bob.call('channel.show', { channel: '#flood' })).gaps?.some(({ reason }) =>
      reason.includes('The server never tells the whole of a channel'),
    ),
  );
  // The others of its channels have come all the same.
  await bob.online();
});

test('tells of members whom nobody has met, and of invitations, without end: none is kept, and it is asked once', async () => {
  const { serverKey } = server.hosted.target;
  const [ours, theirs] = [await idOf(bob), await idOf(carol)];
  const count = () => carol.look((db) => db.get<{ n: number }>('SELECT count(*) AS n FROM members')?.n);
  const before = await count();
  const notices = Array.from({ length: 200 }, (): Saying[] => {
    const key = ed25519Public(systemRandom.bytes(32));
    const id = memberIdOf(serverKey, key);
    const member = { id, key: toBase64(key), name: 'x', role: 'member', status: '', joinedAt: 1, banned: false };
    return [
      { kind: 'notice', value: { notice: 'member', member } },
      { kind: 'notice', value: { notice: 'invited', channel: id } },
    ];
  }).flat();
  let asked = 0;
  server.deaf = ({ name }, member) => {
    if (name === 'channel.list' && member === theirs) asked++;
    return false;
  };
  server.lie = (saying, member) =>
    saying.kind === 'event' && saying.event.member === ours && member === theirs ? [...notices, saying] : undefined;
  await bob.say('carol@home', 'behind them');
  await carol.reads('bob@home', 'behind them');
  // That has its turn behind all looks that were begun.
  await carol.call('channel.join', { channel: '#flood' });
  expect(asked).toBeLessThan(5);
  expect(await count()).toBe(before);
  // Nor anybody who was not asked for.
  const [first] = notices as Extract<Saying, { kind: 'notice' }>[];
  server.lie = aboutAnswers('member.list', (ok) => ({
    ...ok,
    members: [...(ok.members as object[]), first?.value.member],
  }));
  await cut(carol);
  await carol.online();
  expect(await count()).toBe(before);
});

test('names, topics and errors with escape sequences: a terminal gets none of it', async () => {
  const names = async () => (await carol.call('member.list', {})).map(({ name }) => name);
  const before = await names();
  const changed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(changed);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, one]) => [
        name,
        (name === 'name' && typeof one === 'string') || name === 'status' ? `${ESCAPES}${one}` : changed(one),
      ]),
    );
  };
  server.lie = (saying) => {
    if (saying.kind === 'notice') return [{ ...saying, value: changed(saying.value) as never }];
    if (saying.kind !== 'answer' || saying.asked?.name === 'channel.find' || saying.value.ok === undefined)
      return undefined;
    return [{ ...saying, value: { id: saying.value.id, ok: changed(saying.value.ok) as never } }];
  };
  await cut(carol);
  await carol.online();
  for (const words of ['status', 'member list', 'channel list --all', 'channel show #bundle']) {
    const ran = await carol.user.run(...words.split(' '), { json: false });
    expect([words, ran.code]).toEqual([words, 0]);
    expect(ran.out).not.toMatch(CONTROL);
  }
  // Nor is anybody called what is no name; who is met only now goes by the id.
  expect((await names()).filter((name) => !/^[0-9a-f]{8}$/.test(name))).toEqual(before);
  server.honest();
  server.lie = (saying) =>
    saying.kind === 'answer' && saying.asked?.name === 'hello'
      ? [{ kind: 'frame', frame: closing(ESCAPES) }]
      : undefined;
  await cut(carol);
  await carol.sees('the end', async () =>
    (await carol.call('server.list', {}))[0]?.lastError?.startsWith('The server is gone'),
  );
  expect((await carol.user.run('server', 'list', { json: false })).out).not.toMatch(CONTROL);
});

/** A close frame with a reason. */
const closing = (reason: string): Uint8Array => {
  const text = Buffer.from(reason);
  return Buffer.concat([Uint8Array.of(0x88, 2 + text.length, 0x0f, 0xa0), text]);
};

test('says that an account was put back: it goes on as another device, and not again and again', async () => {
  const dave = await house.guest('dave');
  const { link = '' } = await alice.call('server.invite', { uses: 1 });
  await dave.call('server.join', { link, name: 'dave', label: 'home' });
  const logins: string[] = [];
  server.lie = (saying, member) => {
    const isTheirs = saying.kind === 'answer' && saying.asked?.name === 'login' && saying.value.ok !== undefined;
    if (isTheirs) logins.push(String(member));
    return undefined;
  };
  const again = async (times: number) => {
    logins.length = 0;
    await cut(dave);
    await dave.sees('the server again', async () => {
      const [one] = await dave.call('server.list', {});
      return logins.length >= times && one?.state === 'online';
    });
    return (await dave.call('server.devices', {})).length;
  };
  expect(await again(1)).toBe(1);
  const count = server.lie;
  const backwards = aboutAnswers('login', (ok) => ({ ...ok, sealed: 2 ** 48 }));
  server.lie = (saying, member) => {
    count?.(saying, member);
    return backwards(saying, member);
  };
  expect(await again(3)).toBe(3);
  server.lie = count;
  await dave.say('carol@home', 'from the third');
  await carol.reads('dave@home', 'from the third');
  expect(await again(1)).toBe(3);
});

test('speaks another version: who asks is told which work', async () => {
  const speaker = await Speaker.to(server.hosted);
  const said = await speaker.ask('hello', { versions: [99], nonce: toBase64(new Uint8Array(32)), origin: 'wss://x' });
  expect(said).toMatchObject({ error: { code: 'version.unsupported', details: { versions: [1] } } });
});

test('never answers: who waits is told, by the command and by the clock', async () => {
  server.deaf = ({ name }) => name === 'channel.find';
  const ran = await alice.user.run('channel', 'join', '#never', '--timeout', '500ms');
  expect(ran.code).toBe(5);
  const clock = new ManualClock();
  const random = systemRandom;
  const client = await ServerClient.open({
    network: {
      dialServer: (target, attach) => dialServer({ target, path: '/v1', clock, random, attach }),
    },
    target: server.hosted.target,
    clock,
    random,
    events: { event: () => {}, notice: () => {}, closed: () => {} },
  });
  server.deaf = ({ name }) => name === 'login';
  const answer = client.login(mallory.keys()).catch((error: { message: string }) => error.message);
  const until = clock.monotonic() + 30_000;
  while (clock.step(until));
  expect(await answer).toBe('The server did not answer in time');
  client.close('bye');
});
