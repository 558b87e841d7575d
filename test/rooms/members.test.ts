// Members: invites, devices and their second check, prekeys, what others are told, and the end of a membership.
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { systemClock, systemRandom } from '../../src/machine.ts';
import { toBase64 } from '../../src/protocol/bytes.ts';
import { SottoError } from '../../src/protocol/errors.ts';
import {
  type ChannelId,
  type DeviceId,
  idOf,
  type MemberId,
  type RowId,
  SERVER_CHANNEL,
} from '../../src/protocol/ids.ts';
import {
  ALERTS,
  DEVICES_MAX,
  INVITE_MS_MAX,
  PASSWORD_HASHES_MAX,
  PRESENCE_TELL_MS,
  ROOM_PAGE_MAX,
  SERVER_CONNECTIONS_PER_DEVICE_MAX,
} from '../../src/protocol/limits.ts';
import { PREKEY_ENTRY_BYTES } from '../../src/protocol/prekeys.ts';
import { EVENT } from '../../src/protocol/server-frames.ts';
import type { Asker } from '../../src/server/access.ts';
import { Admin } from '../../src/server/admin.ts';
import { administer } from '../../src/server/admin-command.ts';
import { Alerts } from '../../src/server/audit.ts';
import type { Change } from '../../src/server/changes.ts';
import type { Peer } from '../../src/server/context.ts';
import { LogError } from '../../src/server/event-log.ts';
import { HANDLERS } from '../../src/server/handlers.ts';
import { Presence } from '../../src/server/presence.ts';
import { totp } from '../../src/server/second.ts';
import type { Standings } from '../../src/server/standings.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { codeOf } from '../../src/testing/code.ts';
import { auditLine, turn } from '../server/server.ts';
import { Hosted, type Member } from './scene.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const STEP_MS = 30_000;
const often = { burst: 1e6, perSecond: 1e6 };

let hosted: Hosted;
let owner: Member;
let made = 0;
let printedBefore: string | undefined;

beforeAll(async () => {
  hosted = await Hosted.start({ registration: 'invite', rates: { register: often, request: often, account: often } });
  owner = hosted.member('owner');
  // As each start of a server without an owner prints one.
  printedBefore = (await hosted.server.makeOwnerInvite())?.token;
  await owner.join((await hosted.server.makeOwnerInvite())?.token);
});

afterAll(() => hosted[Symbol.asyncDispose]());

const SECRET = new Uint8Array(20).fill(7);
const SECOND = { password: 'correct', secret: toBase64(SECRET) };
const stepNow = () => Math.floor(hosted.server.context.clock.now() / STEP_MS);

const inviteToken = async (more: { uses?: number; expiresAt?: number } = {}) =>
  owner.client.request('invite.create', more);

const newcomer = async (): Promise<Member> => {
  const member = hosted.member(`member${++made}`);
  await member.join((await inviteToken()).token);
  return member;
};

/** What the server has put into a member’s inbox. */
const inbox = async (member: Member): Promise<string[]> => {
  const { events } = await member.client.events('log.page', { channel: member.id as string as ChannelId, after: 0 });
  return events
    .filter(({ kind }) => kind === EVENT.notice)
    .map(({ body }) => (JSON.parse(Buffer.from(body).toString()) as { what: string }).what);
};

/** What the administration is told. */
const administered = (...words: string[]) => administeredWith({}, ...words);

const administeredWith = async (
  flags: { readonly actor?: string; readonly kind?: string; readonly limit?: string },
  ...words: string[]
): Promise<Record<string, unknown>[]> => {
  const dir = dirname(hosted.paths.database);
  const path = join(dir, 'admin.sock');
  const { server, store } = hosted;
  const startedAt = server.context.clock.now();
  await using _admin = await Admin.open({ path, server, onion: undefined, store, startedAt, bug: server.context.bug });
  const ports = { clock: systemClock, random: systemRandom, turn };
  const lines = (await administer(words, { json: true, ...flags }, { dir, socket: path, ports })).trimEnd().split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line));
};

/** Writes changes as the server does. */
const put = (changes: readonly Change[]) => {
  const { context } = hosted.server;
  return context.append({
    channel: SERVER_CHANNEL,
    id: context.eventId(),
    member: owner.id,
    kind: EVENT.notice,
    body: new Uint8Array([1]),
    checkedAt: Number.MAX_SAFE_INTEGER,
    changes,
  });
};

/** What another device has of its own. What came in is not looked at again. */
const anotherOf = ({ certificate }: { readonly certificate: Uint8Array }) => ({
  id: idOf<DeviceId>(systemRandom.bytes(16)),
  signingKey: systemRandom.bytes(32),
  certificate: systemRandom.bytes(certificate.length),
});

test('an invite lets in as many as it says, as long as it says, and nobody once it is revoked', async () => {
  const { token, invite } = await inviteToken({ uses: 2 });
  const codes = await Promise.all(['ann', 'ben', 'cat'].map((name) => codeOf(hosted.member(name).join(token))));
  expect(codes.sort()).toEqual(['done', 'done', 'invite.invalid']);
  expect((await owner.client.request('invite.list', {})).invites.map(({ id }) => id)).not.toContain(invite.id);
  const late = await inviteToken({ expiresAt: hosted.server.context.clock.now() + MINUTE });
  hosted.shift(2 * MINUTE);
  const revoked = await inviteToken();
  await owner.client.request('invite.revoke', { invite: revoked.invite.id });
  for (const wrong of [late.token, revoked.token, 'x'.repeat(22), printedBefore])
    expect(await codeOf(hosted.member('dan').join(wrong))).toBe('invite.invalid');
  expect(await codeOf(hosted.member('dan').join())).toBe('registration.closed');
  // Who has no good invite learns nothing of names.
  expect(await codeOf(hosted.member('owner').join('x'.repeat(22)))).toBe('invite.invalid');
  const good = await inviteToken({ uses: 9 });
  for (const [name, code] of [
    ['owner', 'name.taken'],
    ['0wner', 'name.taken'],
    ['Upper', 'name.invalid'],
    ['two words', 'name.invalid'],
    ['here', 'name.invalid'],
    ['moderators', 'name.invalid'],
  ] as const)
    expect(await codeOf(hosted.member(name).join(good.token)), name).toBe(code);
  const rest = (await owner.client.request('invite.list', {})).invites.find(({ id }) => id === good.invite.id);
  expect(rest?.usesLeft).toBe(9);
  // A server that is closed takes nobody, with the best of invites.
  const { store } = hosted.server.context;
  await store.putServer({ registration: 'closed' }, auditLine());
  expect(await codeOf(hosted.member('dan').join(good.token))).toBe('registration.closed');
  await store.putServer({ registration: 'invite' }, auditLine());
  expect(await codeOf(hosted.member('dan').join(good.token))).toBe('done');
});

test('an invite ends after now, and within ten years', async () => {
  const now = hosted.server.context.clock.now();
  const before = await kept(owner);
  for (const expiresAt of [0, now - 1, now + INVITE_MS_MAX + DAY, Number.MAX_SAFE_INTEGER])
    expect(await codeOf(inviteToken({ expiresAt })), String(expiresAt)).toBe('request.invalid');
  expect((await kept(owner)).invites).toEqual(before.invites);
  // By the clock of who asks, which may be a little ahead.
  expect(await codeOf(inviteToken({ expiresAt: now + INVITE_MS_MAX + MINUTE }))).toBe('done');
});

test('who may not invite any more lets nobody in by what they had made before', async () => {
  const { token } = await inviteToken();
  const maker = hosted.member('maker');
  await maker.join(token);
  await owner.client.request('member.role', { member: maker.id, role: 'admin' });
  const made = await maker.client.request('invite.create', { uses: 9 });
  expect(await codeOf(hosted.member('eve').join(made.token))).toBe('done');
  await owner.client.request('member.role', { member: maker.id, role: 'member' });
  expect(await codeOf(hosted.member('fay').join(made.token))).toBe('invite.invalid');
  await owner.client.request('member.role', { member: maker.id, role: 'admin' });
  expect(await codeOf(hosted.member('fay').join(made.token))).toBe('done');
  await owner.client.request('member.ban', { member: maker.id, banned: true });
  expect(await codeOf(hosted.member('gil').join(made.token))).toBe('invite.invalid');
});

type Kept = Record<string, Record<string, unknown>[]>;
const kept = async ({ client }: Member): Promise<Kept> =>
  JSON.parse((await client.request('member.export', {})).json) as Kept;

test('invites that work are told whole, however many others came before them', async () => {
  const { store, clock, rowId, random } = hosted.server.context;
  const now = clock.now();
  const put = async (usesLeft: number): Promise<RowId> => {
    const id = rowId();
    const row = { role: 'member', uses: 1, madeBy: owner.id, createdAt: now, expiresAt: now + DAY } as const;
    await store.putInvite({ ...row, id, tokenHash: random.bytes(32), usesLeft, revokedAt: null }, auditLine({ id }));
    return id;
  };
  for (let i = 0; i < ROOM_PAGE_MAX + 5; i++) await put(0);
  const usable: RowId[] = [];
  for (let i = 0; i < ROOM_PAGE_MAX + 5; i++) usable.push(await put(1));
  const told: string[] = [];
  for (let isMore = true; isMore; ) {
    const after = told.at(-1);
    const { invites, more } = await owner.client.request('invite.list', after === undefined ? {} : { after });
    told.push(...invites.map(({ id }) => id));
    isMore = more;
  }
  expect(new Set(told).size).toBe(told.length);
  expect(usable.filter((id) => !told.includes(id)).length).toBe(0);
  // What one is told of oneself fits into an answer, and names what does not.
  const { invites, cut } = await kept(owner);
  expect([invites?.length, cut]).toEqual([expect.any(Number), ['invites']]);
  expect(invites?.map(({ id }) => id)).toContain(usable.at(-1));
  // The administration is told the same.
  expect(new Set((await administered('invites')).map(({ id }) => id))).toEqual(new Set(told));
});

describe('a second check', () => {
  const code = () => totp(SECRET, stepNow());
  const base64 = SECOND.secret;
  const joinWith = async (member: Member, second?: { password: string; code: string }) => {
    const client = await member.dial();
    return codeOf(client.login(member.keys(), second === undefined ? {} : { second }));
  };

  test('is asked of another device, each code once, and changed only with the present one', async () => {
    const bob = await newcomer();
    const set = (of: string, present?: { password: string; code: string }) =>
      bob.client.request('second.set', {
        password: 'correct',
        secret: base64,
        code: of,
        ...(present === undefined ? {} : { present }),
      });
    const one = code();
    const { recoveryCodes } = await set(one);
    expect(new Set(recoveryCodes).size).toBe(10);
    const tablet = bob.another();
    expect(await joinWith(tablet)).toBe('login.second');
    // The code that has set it is used up.
    expect(await joinWith(tablet, { password: 'correct', code: one })).toBe('login.second');
    hosted.shift(2 * STEP_MS);
    const two = code();
    expect(await joinWith(tablet, { password: 'wrong', code: two })).toBe('login.second');
    expect(await joinWith(tablet, { password: 'correct', code: two })).toBe('done');
    expect(await codeOf(set(two))).toBe('login.second');
    expect(await codeOf(set(two, { password: 'correct', code: two }))).toBe('login.second');
    for (const wrong of ['000000', 'éééééé'])
      expect(await codeOf(bob.client.request('second.remove', { password: 'correct', code: wrong }))).toBe(
        'login.second',
      );
    const [recovery = ''] = recoveryCodes;
    expect(
      await codeOf(bob.client.request('second.remove', { password: 'correct', code: recovery.toUpperCase() })),
    ).toBe('done');
    expect(await inbox(tablet)).toEqual(['second.set', 'device.added', 'second.removed']);
    // The known device never needed it.
    bob.leave();
    expect(await joinWith(bob)).toBe('done');
  });

  test('is not set where its devices do not hear of it', async () => {
    const eve = await newcomer();
    vi.spyOn(hosted.server.context, 'append').mockRejectedValueOnce(new LogError('unavailable'));
    expect(await codeOf(eve.client.request('second.set', { ...SECOND, code: code() }))).toBe('server.unavailable');
    expect((await eve.client.request('second.show', {})).on).toBe(false);
  });

  test('is hashed for two at a time: who comes meanwhile comes again', async () => {
    const four = [await newcomer(), await newcomer(), await newcomer(), await newcomer()];
    const set = ({ client }: Member) => codeOf(client.request('second.set', { ...SECOND, code: code() }));
    const codes = await Promise.all(four.map(set));
    expect(codes.filter((one) => one === 'server.busy')).toHaveLength(4 - PASSWORD_HASHES_MAX);
  });

  test('counts tries of one member, and locks nobody else, nor a known device', async () => {
    const carol = await newcomer();
    await carol.client.request('second.set', { password: 'p', secret: base64, code: code() });
    const wrong = { password: 'p', code: '000000' };
    const { store, clock } = hosted.server.context;
    for (let i = 0; i < 9; i++) await store.putAttempt('second', carol.id, { now: clock.now(), windowMs: 60 * MINUTE });
    expect(await codeOf(carol.client.request('second.remove', wrong))).toBe('login.second');
    expect(await codeOf(carol.client.request('second.remove', wrong))).toBe('rate.limited');
    carol.leave();
    expect(await joinWith(carol)).toBe('done');
    hosted.shift(61 * MINUTE);
    expect(await codeOf(carol.client.request('second.remove', { password: 'p', code: code() }))).toBe('done');
  });
});

test.each(['one connection', 'two'])('a device that ends itself twice, over %s, is out', async (how) => {
  const dora = await newcomer();
  const phone = dora.another();
  await phone.join();
  const clients = [phone.client, how === 'two' ? await phone.join().then(() => phone.client) : phone.client];
  const release = hosted.hold();
  const ends = clients.map((client) => codeOf(client.request('device.revoke', { device: phone.device })));
  await hosted.waiting(2);
  release();
  expect((await Promise.all(ends)).filter((end) => end === 'done')).toHaveLength(1);
  for (const client of clients) {
    await expect.poll(() => codeOf(client.request('member.list', {}))).toMatch(/^(server\.|device\.revoked$)/);
  }
  expect([...(hosted.server.context.online.get(dora.id) ?? [])]).toHaveLength(1);
  expect(await codeOf(dora.client.request('member.list', {}))).toBe('done');
});

test('a device whose first log-in is still under way logs in a second time', async () => {
  const invite = await owner.client.request('invite.create', {});
  const bob = hosted.member('twin');
  const tablet = bob.another();
  for (const [one, token] of [[bob, invite.token], [tablet]] as const) {
    const clients = [await one.dial(), await one.dial()];
    const register = { name: one.name, ...(token === undefined ? {} : { invite: token }) };
    const logins = clients.map((client) => codeOf(client.login(one.keys(), { register })));
    expect(await Promise.all(logins)).toEqual(['done', 'done']);
  }
});

test('a device is certified by its member, with a serial above all before, and stays revoked', async () => {
  const bob = await newcomer();
  const tablet = bob.another();
  await tablet.join();
  expect(await inbox(bob)).toEqual(['device.added']);
  const { devices } = await owner.client.request('member.devices', { members: [bob.id] });
  expect(devices[bob.id]?.map(({ id, revoked }) => [id, revoked])).toEqual([
    [bob.device, false],
    [tablet.device, false],
  ]);
  // The same serial for another key.
  const third = bob.another();
  expect(await codeOf(third.join())).toBe('certificate.invalid');
  const revoke = () => codeOf(bob.client.request('device.revoke', { device: tablet.device }));
  expect((await Promise.all([revoke(), revoke()])).sort()).toEqual(['device.unknown', 'done']);
  expect(await revoke()).toBe('device.unknown');
  expect(await codeOf(tablet.join())).toBe('device.revoked');
  // One that was certified before the last that came.
  const numbered = (serial: number): Member => {
    const device = bob.another();
    device.serial = serial;
    return device;
  };
  await numbered(9).join();
  expect(await codeOf(numbered(8).join())).toBe('certificate.invalid');
  expect(await codeOf(numbered(10).join())).toBe('done');
});

test('a member has so many devices; one that is revoked makes room', async () => {
  const bob = await newcomer();
  const [own] = await hosted.server.context.store.listDevices(bob.id);
  if (own === undefined) throw new Error('it has logged in');
  await put(
    Array.from({ length: DEVICES_MAX - 2 }, (_, i) => ({
      kind: 'device',
      row: { ...own, ...anotherOf(own), serial: own.serial + 1 + i },
    })),
  );
  const numbered = (n: number): Member => {
    const device = bob.another();
    device.serial = own.serial + DEVICES_MAX + n;
    return device;
  };
  const last = numbered(1);
  await last.join();
  expect(await codeOf(numbered(2).join())).toBe('request.notAllowed');
  await bob.client.request('device.revoke', { device: last.device });
  expect(await codeOf(numbered(2).join())).toBe('done');
});

test('a device is revoked whatever else was changed, and guesses at a second check use up no change', async () => {
  await using strict = await Hosted.start({ rates: { account: { burst: 3, perSecond: 1e-6 } } });
  const bob = strict.member('bob');
  await bob.join();
  const [tablet, stranger] = [bob.another(), bob.another()];
  await tablet.join();
  const code = totp(SECRET, Math.floor(strict.server.context.clock.now() / STEP_MS));
  await bob.client.request('second.set', { ...SECOND, code });
  stranger.serial = 3;
  for (let i = 0; i < 3; i++) expect(await codeOf(stranger.join())).toBe('login.second');
  const change = () => codeOf(tablet.client.request('member.profile', { status: 'mine' }));
  expect([await change(), await change()]).toEqual(['done', 'rate.limited']);
  expect(await codeOf(bob.client.request('device.revoke', { device: tablet.device }))).toBe('done');
});

test('however many devices members have had, those of now are told, in an answer that clients take', async () => {
  const crowds = await Promise.all([newcomer(), newcomer(), newcomer(), newcomer()]);
  const { context } = hosted.server;
  for (const crowd of crowds) {
    const [own] = await context.store.listDevices(crowd.id);
    if (own === undefined) throw new Error('it has logged in');
    const rows = Array.from({ length: 200 }, (_, i) => ({
      ...own,
      ...anotherOf(own),
      serial: own.serial + 1 + i,
    }));
    await put(rows.map((row) => ({ kind: 'device', row })));
    await put(rows.slice(0, 190).map(({ id }) => ({ kind: 'deviceRevoked', device: id })));
  }
  const ids = crowds.map(({ id }) => id);
  const { devices } = await owner.client.request('member.devices', { members: ids });
  // Who is left out is asked for again.
  expect(Object.keys(devices)).toEqual(ids.slice(0, Object.keys(devices).length));
  expect([Object.keys(devices).length > 0, Object.keys(devices).length < 4]).toEqual([true, true]);
  for (const told of Object.values(devices))
    expect(told.map(({ revoked }) => revoked)).toEqual([...Array(11).fill(false), ...Array(117).fill(true)]);
  const [crowd] = crowds;
  const { json } = await crowd.client.request('member.export', {});
  expect(JSON.parse(json).devices[0]).toMatchObject({ id: crowd.device, serial: crowd.serial });
  const next = crowd.another();
  next.serial = 1_000;
  expect(await codeOf(next.join())).toBe('done');
});

test('new certificates are looked at as often as the source may show some; known devices log in', async () => {
  await using strict = await Hosted.start({ rates: { register: { burst: 2, perSecond: 1e-6 } } });
  const [alice, forged] = [strict.member('alice'), strict.member('forged')];
  await alice.join();
  const shown = async () => {
    const { seed, certificate } = forged.keys();
    certificate[certificate.length - 1] = (certificate.at(-1) ?? 0) ^ 1;
    return codeOf((await forged.dial()).login({ seed, certificate }));
  };
  expect([await shown(), await shown()]).toEqual(['certificate.invalid', 'rate.limited']);
  alice.leave();
  expect(await codeOf(alice.join())).toBe('done');
});

test('whatever somebody has left, they find where they are', async () => {
  const bob = await newcomer();
  const { channel } = await bob.create('found');
  const { store } = hosted.server.context;
  const [own] = await store.listMembershipsOf(bob.id, undefined, 1);
  if (own === undefined) throw new Error('it is in its channel');
  const left = { ...own, channel: '00'.repeat(16) as ChannelId, state: 'left' } as const;
  vi.spyOn(store, 'listMembershipsOf').mockResolvedValueOnce(Array(ROOM_PAGE_MAX).fill(left));
  const { channels, more } = await bob.client.request('channel.list', {});
  expect([channels.map(({ id }) => id), more]).toEqual([[channel], false]);
});

test('while many channels are listed others have their turn', async () => {
  const bob = await newcomer();
  const { channel } = await bob.create('many');
  const { context } = hosted.server;
  const [member, row] = [await context.store.getMember(bob.id), await context.store.getChannel(channel)];
  if (member === undefined || row === undefined) throw new Error('both were made');
  vi.spyOn(context.store, 'listChannels').mockResolvedValueOnce(Array(ROOM_PAGE_MAX - 1).fill(row));
  let [turns, isOver] = [0, false];
  const count = (): void => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const asker = { member } as Asker;
  const { channels } = await HANDLERS['channel.list'](context, asker, { all: true }, 1);
  isOver = true;
  expect(channels).toHaveLength(ROOM_PAGE_MAX - 1);
  expect(turns).toBeGreaterThan(10);
  // Also while the administration lists them.
  vi.spyOn(context.store, 'listChannels').mockResolvedValueOnce(Array(ROOM_PAGE_MAX - 1).fill(row));
  const given = vi.spyOn(context, 'turn');
  expect((await administered('channels')).length).toBe(ROOM_PAGE_MAX - 1);
  expect(given.mock.calls.length).toBeGreaterThan(10);
  given.mockRestore();
});

test('what nobody did is the server itself in the audit log, also for who is asked for', async () => {
  const { context } = hosted.server;
  using alerts = new Alerts({ ...context, clock: new ManualClock() });
  for (let n = 0; n <= ALERTS.joins; n++) context.counts.add('joins');
  await alerts.look();
  await administered('invite');
  const actors = async (flags: { readonly actor?: string; readonly kind?: string }) =>
    (await administeredWith({ limit: '10000', ...flags }, 'audit')).map(({ actor, kind }) => `${actor} ${kind}`);
  expect(new Set(await actors({ actor: 'server' }))).toEqual(new Set(['server server.alert']));
  expect(new Set(await actors({ kind: 'server.alert' }))).toEqual(new Set(['server server.alert']));
  const admins = await actors({ actor: 'admin' });
  expect(admins).toContain('admin invite.created');
  expect(admins.filter((one) => one.endsWith('alert') || !one.startsWith('admin '))).toEqual([]);
  expect(await actors({ actor: 'server', kind: 'invite.created' })).toEqual([]);
  await hosted.member('server').join((await inviteToken()).token);
  expect(new Set(await actors({ actor: '(server)' }))).toEqual(new Set(['(server) server.alert']));
  expect(await actors({ actor: 'server' })).toEqual(['server member.joined']);
});

test('where registration is closed nobody makes an invite but for the first owner', async () => {
  const { store } = hosted.server.context;
  await store.putServer({ registration: 'closed' }, auditLine());
  expect(await codeOf(inviteToken())).toBe('registration.closed');
  await expect(administered('invite')).rejects.toThrow('Nobody can join while registration is closed');
  await store.putServer({ registration: 'invite' }, auditLine());
  expect(await codeOf(inviteToken())).toBe('done');
});

test('a page of members has one at least', async () => {
  expect(await codeOf(owner.client.request('member.list', { limit: 0 }))).toBe('request.invalid');
  const { members, more } = await owner.client.request('member.list', { limit: 1 });
  expect([members.length, more]).toEqual([1, true]);
});

test('a device that never hangs up has a few connections, the last ones', async () => {
  const bob = await newcomer();
  const first = bob.closed;
  for (let i = 1; i < SERVER_CONNECTIONS_PER_DEVICE_MAX; i++) await (await bob.dial()).login(bob.keys());
  const last = await bob.dial();
  await last.login(bob.keys());
  expect((await first).code).toBe('server.unreachable');
  expect(hosted.server.context.online.get(bob.id)?.size).toBe(SERVER_CONNECTIONS_PER_DEVICE_MAX);
  expect(await codeOf(last.request('marks', {}))).toBe('done');
});

test('one-time keys are handed out once, five a day to each asker, and never of a device that is gone', async () => {
  const [bob, eve] = [await newcomer(), await newcomer()];
  const entry = (kind: keyof typeof PREKEY_ENTRY_BYTES, id: number) => {
    const bytes = Buffer.alloc(PREKEY_ENTRY_BYTES[kind], id);
    bytes.writeUInt32BE(id);
    return bytes.toString('base64');
  };
  expect(await owner.client.request('prekeys.take', { member: bob.id })).toEqual({ bundles: [] });
  const left = await bob.client.request('prekeys.put', {
    signed: entry('signed', 1),
    lastResort: entry('kyber', 9),
    ec: [1, 2, 3].map((id) => entry('ec', id)),
    kyber: [1, 2, 3].map((id) => entry('kyber', id)),
  });
  expect(left).toEqual({ ec: 3, kyber: 3 });
  // What brought nothing used up nothing.
  const takes = await Promise.all([1, 2, 3, 4, 5].map(() => owner.client.request('prekeys.take', { member: bob.id })));
  const bundles = takes.map(({ bundles: [one] }) => one?.bundle ?? '');
  expect(new Set(bundles.slice(0, 2)).size).toBe(2);
  // Then the one of last resort, and no EC key: the newest tells which have come.
  expect(bundles[2]).toBe(bundles[3]);
  expect(bundles[2]?.length).toBeLessThan(bundles[0]?.length ?? 0);
  expect(await codeOf(owner.client.request('prekeys.take', { member: bob.id }))).toBe('rate.limited');
  expect(await codeOf(eve.client.request('prekeys.take', { member: bob.id }))).toBe('done');
  const many = (from: number) => Array.from({ length: 100 }, (_, i) => entry('ec', from + i));
  for (const from of [100, 200]) await bob.client.request('prekeys.put', { ec: many(from), kyber: [] });
  expect(await codeOf(bob.client.request('prekeys.put', { ec: many(300), kyber: [] }))).toBe('request.invalid');
  await owner.client.request('member.ban', { member: bob.id, banned: true });
  expect(await codeOf(eve.client.request('prekeys.take', { member: bob.id }))).toBe('member.unknown');
});

test('who changes nothing of themself is told who they are', async () => {
  const someone = await newcomer();
  for (let i = 0; i < 2; i++)
    expect((await someone.client.request('member.profile', {})).member.name).toBe(someone.name);
});

test('however many change something at once, all of it is changed', async () => {
  const bob = await newcomer();
  const changes = Array.from({ length: 20 }, (_, i) =>
    codeOf(bob.client.request('member.profile', { status: `status ${i}` })),
  );
  expect(await Promise.all(changes)).toEqual(Array(20).fill('done'));
});

test('what is told in passing reaches those it is for, and nobody else', async () => {
  const [bob, eve] = [await newcomer(), await newcomer()];
  const room = await owner.create('passing');
  await owner.control(room, { op: 'add', member: bob.id });
  const tablet = bob.another();
  await tablet.join();
  for (const one of [bob, tablet]) await one.hear(room.channel);
  for (const one of [bob, tablet, eve]) one.notices.length = 0;
  await owner.client.request('typing', { channel: room.channel, on: true });
  // To a member only their devices are told, and in nobody else’s name.
  await owner.client.request('typing', { channel: eve.id, on: true });
  expect(await codeOf(owner.client.request('typing', { channel: owner.id, on: true }))).toBe('channel.unknown');
  // Said again it is told again: the tablet may have missed it.
  for (const _twice of [1, 2]) await bob.client.request('mark', { channel: room.channel, seq: 2 });
  await bob.client.request('mark', { channel: room.channel, seq: 1 });
  expect(await codeOf(bob.client.request('mark', { channel: room.channel, seq: 99 }))).toBe('request.invalid');
  await eve.client.request('member.profile', { status: 'away for lunch' });
  await Promise.all([bob, tablet, eve].map(({ client }) => client.request('marks', {})));
  const kinds = (member: Member) =>
    member.notices
      .map(({ notice }) => notice)
      .filter((notice) => notice !== 'presence')
      .sort();
  expect(kinds(bob)).toEqual(['member', 'typing']);
  expect(kinds(tablet)).toEqual(['marked', 'marked', 'member', 'typing']);
  expect(kinds(eve)).toEqual(['member', 'typing']);
  const typing = { notice: 'typing', member: owner.id, on: true };
  expect(eve.notices).toContainEqual({ ...typing, channel: owner.id });
  expect(bob.notices).toContainEqual({ ...typing, channel: room.channel });
  expect((await tablet.client.request('marks', {})).marks).toEqual({ [room.channel]: 2 });
});

test('who comes hears who is there, and the others hear of coming, being away and going', async () => {
  const bob = await newcomer();
  const eve = await newcomer();
  const presence = (member: Member, of: Member) =>
    member.notices.flatMap((one) => (one.notice === 'presence' && one.member === of.id ? [one.state] : []));
  const sees = (what: () => unknown) => expect.poll(what, { timeout: 10_000 });
  await sees(() => [presence(bob, eve), presence(eve, bob)]).toEqual([['online'], ['online']]);
  // Of many changes the last is told.
  const states = ['away', 'online', 'away'] as const;
  await Promise.all(states.map((state) => eve.client.request('presence', { state })));
  await sees(() => presence(bob, eve)).toEqual(['online', 'away']);
  const tablet = bob.another();
  await tablet.join();
  await sees(() => presence(tablet, eve)).toEqual(['away']);
  eve.leave();
  tablet.leave();
  await sees(() => presence(bob, eve)).toEqual(['online', 'away', 'offline']);
  // With one of two devices nobody goes, and who is at one of them is there.
  expect(presence(owner, bob).at(-1)).toBe('online');
  const phone = bob.another();
  phone.serial = 3;
  await phone.join();
  await bob.client.request('presence', { state: 'away' });
  const cay = await newcomer();
  await sees(() => presence(cay, bob)).toEqual(['online']);
  phone.leave();
  await sees(() => presence(owner, bob).at(-1)).toBe('away');
});

test('who erases themself is told to be there no more, and to newcomers not at all', async () => {
  const [bob, eve] = [await newcomer(), await newcomer()];
  const told = (member: Member, of: Member) =>
    member.notices.flatMap((one) => (one.notice === 'presence' && one.member === of.id ? [one] : []));
  await expect.poll(() => told(bob, eve).at(-1)?.state).toBe('online');
  await eve.client.request('member.profile', { status: 'here' });
  await eve.client.request('member.erase', { confirm: eve.name });
  await expect.poll(() => told(bob, eve).at(-1)).toMatchObject({ state: 'offline', status: '' });
  const fay = await newcomer();
  await expect.poll(() => told(fay, bob).length).toBe(1);
  expect(told(fay, eve)).toEqual([]);
});

test('what the disk does not let tell of who is there is told the next time', async () => {
  const [clock, bug] = [new ManualClock(), vi.fn()];
  const found = await hosted.server.context.store.getMember(owner.id);
  if (found === undefined) throw new Error('the owner is a member');
  const member = vi.fn<Standings['member']>().mockResolvedValue(found);
  const sent = vi.fn<Peer['send']>().mockReturnValue(true);
  const [first, second] = [{ send: sent } as Partial<Peer> as Peer, { send: () => true } as Partial<Peer> as Peer];
  const online = new Map([[owner.id, new Set([first])]]);
  using presence = new Presence({ clock, standings: { member }, online, membersMax: 1, bug });
  const tell = async () => {
    clock.step(clock.monotonic() + PRESENCE_TELL_MS);
    for (let i = 0; i < 10; i++) await turn();
  };
  const disk = new SottoError('disk.failed');
  // First who has come, then that nobody is crowded out any more, of which all hear all.
  presence.came(first, owner.id);
  member.mockRejectedValueOnce(disk);
  await tell();
  expect(sent).toHaveBeenCalledTimes(0);
  await tell();
  expect(sent).toHaveBeenCalledTimes(1);
  const other = '11'.repeat(16) as MemberId;
  online.set(other, new Set([second]));
  presence.gone(other);
  await tell();
  expect(sent).toHaveBeenCalledTimes(2);
  online.delete(other);
  presence.gone(other);
  member.mockRejectedValueOnce(disk);
  await tell();
  expect(sent).toHaveBeenCalledTimes(2);
  await tell();
  expect(sent).toHaveBeenCalledTimes(3);
  expect(String(sent.mock.calls.at(-1)?.[0])).toContain('"online"');
  const fault = new TypeError('ours');
  presence.gone(owner.id);
  member.mockRejectedValueOnce(fault);
  await tell();
  expect(bug.mock.calls).toEqual([[fault]]);
});

test('with too many there nobody is told who is, and knows nothing; with fewer everybody hears all again', async () => {
  await using small = await Hosted.start({ presenceMax: 2 });
  const [ann, bea, cid] = ['ann', 'bea', 'cid'].map((name) => small.member(name)) as [Member, Member, Member];
  // What a client knows by what it was told.
  const known = ({ notices }: Member): Record<string, string> => {
    const after = notices.findLastIndex(({ notice }) => notice === 'presence.unknown') + 1;
    const told = notices.slice(after).flatMap((one) => (one.notice === 'presence' ? [[one.member, one.state]] : []));
    return Object.fromEntries(told);
  };
  const sees = (member: Member) => expect.poll(() => known(member), { timeout: 10_000 });
  await ann.join();
  await bea.join();
  await sees(ann).toEqual({ [ann.id]: 'online', [bea.id]: 'online' });
  await cid.join();
  await sees(ann).toEqual({});
  await sees(bea).toEqual({});
  await bea.client.request('presence', { state: 'away' });
  ann.leave();
  const all = { [bea.id]: 'away', [cid.id]: 'online' };
  await sees(cid).toEqual(all);
  await sees(bea).toEqual(all);
  await ann.join();
  await sees(cid).toEqual({});
  bea.leave();
  await sees(ann).toEqual({ [ann.id]: 'online', [cid.id]: 'online' });
});

test('who erases themself leaves no name, key, inbox or mark, and may not come back', async () => {
  const bob = await newcomer();
  const room = await owner.create('erasing');
  await owner.control(room, { op: 'add', member: bob.id });
  await bob.client.request('mark', { channel: room.channel, seq: 1 });
  await bob.client.request('second.set', { ...SECOND, code: totp(SECRET, stepNow()) });
  const hash = 'ab'.repeat(32);
  await bob.client.request('blob.begin', { channel: room.channel, hash, sizeBytes: 7 });
  const told = await kept(bob);
  expect(told).toMatchObject({
    devices: [{ serial: 1, revoked: false, oneTimeKeys: { ec: 0, kyber: 0 } }],
    uploads: [{ channel: room.channel, hash, size: 7, received: 0 }],
    inboxEvents: 1,
    fileBytes: 7,
    cut: [],
    member: { name: bob.name },
    readMarkers: [{ seq: 1 }],
    secondCheck: { updatedAt: expect.any(Number), recoveryCodesLeft: 10 },
    audit: [{ kind: 'second.set' }, { kind: 'member.joined' }],
    memberships: [{ state: 'joined' }],
  });
  expect(await codeOf(bob.client.request('member.erase', { confirm: 'no' }))).toBe('request.invalid');
  expect(await codeOf(bob.client.request('member.erase', { confirm: bob.name }))).toBe('done');
  const { store, log } = hosted.server.context;
  expect(await store.getMember(bob.id)).toMatchObject({ name: '', skeleton: null, status: '' });
  expect(await store.listReadMarkers(bob.id)).toEqual([]);
  expect(await log.read(bob.id as string as ChannelId, 0, { events: 10, bytes: 1e6 })).toEqual([]);
  expect((await owner.client.request('member.list', {})).members.map(({ id }) => id)).not.toContain(bob.id);
  expect(await codeOf(bob.join((await inviteToken()).token))).not.toBe('done');
  // The name is free again.
  expect(
    await codeOf(hosted.member(bob.name).join((await inviteToken({ expiresAt: Date.now() + 9 * DAY })).token)),
  ).toBe('done');
  expect(await hosted.store.check({ deep: false })).toMatchObject({ wrong: [] });
});

test('an erasure that is not committed ends nothing; one that a full disk stops goes on later', async () => {
  const bob = await newcomer();
  const room = await owner.create('halves');
  await owner.control(room, { op: 'add', member: bob.id });
  await bob.client.request('mark', { channel: room.channel, seq: 1 });
  await bob.client.request('second.set', { ...SECOND, code: totp(SECRET, stepNow()) });
  const { context, jobs } = hosted.server;
  const { store, log } = context;
  const inboxOf = () => log.read(bob.id as string as ChannelId, 0, { events: 10, bytes: 1e6 });
  const erase = () => codeOf(bob.client.request('member.erase', { confirm: bob.name }));
  vi.spyOn(context, 'append').mockRejectedValueOnce(new LogError('unavailable'));
  expect(await erase()).toBe('server.unavailable');
  for (let again = 0; again < 2; again++) expect(await codeOf(bob.client.request('marks', {}))).toBe('done');
  vi.spyOn(store, 'removeBelongings').mockRejectedValueOnce(new SottoError('disk.full'));
  const gone = bob.closed;
  // A full disk there is none here.
  expect(await erase()).toBe('server.unavailable');
  expect((await gone).code).toBe('server.banned');
  expect([(await store.listReadMarkers(bob.id)).length, (await inboxOf()).length]).toEqual([1, 1]);
  await jobs.run('tidy');
  expect([await store.listReadMarkers(bob.id), await store.getSecondFactor(bob.id), await inboxOf()]).toEqual([
    [],
    undefined,
    [],
  ]);
  expect(await store.listErasedWithBelongings(undefined, 10)).toEqual([]);
});
