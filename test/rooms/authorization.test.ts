// Who is refused what: every request and every binary message, by everybody who may not, in every place. What is refused has
// one answer, changes no byte of the database, and is told to nobody.
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signLogin } from '../../src/crypto/member.ts';
import { systemRandom } from '../../src/machine.ts';
import { toBase64 } from '../../src/protocol/bytes.ts';
import { SottoError } from '../../src/protocol/errors.ts';
import { type ChannelId, type EventId, idBytes, inboxOf, SERVER_CHANNEL, timedId } from '../../src/protocol/ids.ts';
import { type Needs, REQUESTS, type RequestName } from '../../src/protocol/server.ts';
import { EVENT, encodePart, encodePublish, type Publish } from '../../src/protocol/server-frames.ts';
import { type Database, openDatabase } from '../../src/sqlite/open.ts';
import { turn } from '../server/server.ts';
import { Hosted, type Member, type Room, type Said, Speaker } from './scene.ts';

type Answer = string;
const ROLES = ['member', 'admin', 'owner'] as const;
type Role = (typeof ROLES)[number];
const RANK: Record<Needs['role'], number> = { before: -1, member: 0, admin: 1, owner: 2 };

/** What each place answers to who may only `see`, who must `read`, who would fetch a `file`, `write`, and `call`. */
const PLACES = {
  'a public channel of others': {
    see: 'ok',
    read: 'channel.notMember',
    file: 'channel.notMember',
    write: 'channel.notMember',
    call: 'channel.notMember',
  },
  'a private channel of others': {
    see: 'channel.unknown',
    read: 'channel.unknown',
    file: 'channel.unknown',
    write: 'channel.unknown',
    call: 'channel.unknown',
  },
  'a private channel that invited': {
    see: 'ok',
    read: 'channel.notMember',
    file: 'channel.notMember',
    write: 'channel.notMember',
    call: 'channel.notMember',
  },
  'a public channel that banned': {
    see: 'channel.banned',
    read: 'channel.banned',
    file: 'channel.banned',
    write: 'channel.banned',
    call: 'channel.banned',
  },
  'a private channel that banned': {
    see: 'channel.banned',
    read: 'channel.banned',
    file: 'channel.banned',
    write: 'channel.banned',
    call: 'channel.banned',
  },
  'a private channel that removed': {
    see: 'channel.unknown',
    read: 'channel.unknown',
    file: 'channel.unknown',
    write: 'channel.unknown',
    call: 'channel.unknown',
  },
  'a channel that muted': { see: 'ok', read: 'ok', file: 'ok', write: 'channel.muted', call: 'ok' },
  'an archived channel': { see: 'ok', read: 'ok', file: 'ok', write: 'channel.archived', call: 'ok' },
  'a channel': { see: 'ok', read: 'ok', file: 'ok', write: 'ok', call: 'ok' },
  'one’s own inbox': { see: 'ok', read: 'ok', file: 'ok', write: 'ok', call: 'channel.unknown' },
  'another’s inbox': {
    see: 'channel.unknown',
    read: 'channel.unknown',
    file: 'ok',
    write: 'channel.unknown',
    call: 'ok',
  },
  'no channel': {
    see: 'channel.unknown',
    read: 'channel.unknown',
    file: 'channel.unknown',
    write: 'channel.unknown',
    call: 'channel.unknown',
  },
  'the channel of the server': {
    see: 'channel.unknown',
    read: 'channel.unknown',
    file: 'channel.unknown',
    write: 'channel.unknown',
    call: 'channel.unknown',
  },
} as const satisfies Record<string, Record<'see' | 'read' | 'file' | 'write' | 'call', Answer>>;
type Place = keyof typeof PLACES;
const PLACE_NAMES = Object.keys(PLACES) as Place[];

const NOBODY = 'ee'.repeat(16);
const HASH = 'ab'.repeat(32);

let hosted: Hosted;
let host: Member;
let stranger: Member;
/** Nobody’s host, and no more than a member. */
let plain: Member;
let spy: Database;
const people = {} as Record<Role, Member>;
const rooms = {} as Record<Place, Room>;

const NOWHERE: Room = { channel: NOBODY as ChannelId, hash: new Uint8Array(32), chain: new Uint8Array(32) };
const roomAt = (channel: string): Room => ({ ...NOWHERE, channel: channel as ChannelId });
const placeOf = (place: Place, who: Member): Room =>
  place === 'one’s own inbox' ? roomAt(who.id) : place === 'another’s inbox' ? roomAt(host.id) : rooms[place];

const answerOf = async (step: () => Promise<unknown>): Promise<Answer> => {
  try {
    await step();
    return 'ok';
  } catch (error) {
    if (error instanceof SottoError) return error.code;
    throw error;
  }
};

/** Counts what others commit, as SQLite tells a connection of its own. */
const version = (): number => spy.get<{ data_version: number }>('PRAGMA data_version')?.data_version ?? 0;
// Who came, went or is away is told a moment later, whatever is asked meanwhile.
const heard = (): number =>
  [host, stranger]
    .map(({ events, notices }) => events.length + notices.filter(({ notice }) => notice !== 'presence').length)
    .reduce((sum, one) => sum + one, 0);

beforeAll(async () => {
  const often = { burst: 1000, perSecond: 1000 };
  hosted = await Hosted.start({ rates: { publish: often, burst: often, request: often, signal: often, call: often } });
  const make = async (name: string, invite?: string): Promise<Member> => {
    const member = hosted.member(name);
    await member.join(invite);
    return member;
  };
  people.owner = await make('owner', (await hosted.server.makeOwnerInvite())?.token);
  [people.member, people.admin, plain, host, stranger] = [
    await make('member'),
    await make('admin'),
    await make('plain'),
    await make('host'),
    await make('stranger'),
  ];
  await people.owner.client.request('member.role', { member: people.admin.id, role: 'admin' });
  const all = ROLES.map((role) => people[role]);
  let made = 0;
  // Each place has a host of its own: nobody comes near the rates.
  const room = async (
    isPrivate: boolean,
    ...ops: ('invite' | 'add' | 'ban' | 'mute' | 'remove')[]
  ): Promise<[Member, Room]> => {
    const its = await make(`host${++made}`);
    const place = await its.create(`place${made}`, { private: isPrivate });
    for (const op of ops) for (const { id } of all) await its.control(place, { op, member: id });
    return [its, place];
  };
  [host, rooms['a channel']] = await room(false, 'add');
  [, rooms['a public channel of others']] = await room(false);
  [, rooms['a private channel of others']] = await room(true);
  [, rooms['a private channel that invited']] = await room(true, 'invite');
  [, rooms['a public channel that banned']] = await room(false, 'ban');
  [, rooms['a private channel that banned']] = await room(true, 'ban');
  [, rooms['a private channel that removed']] = await room(true, 'add', 'remove');
  [, rooms['a channel that muted']] = await room(false, 'add', 'mute');
  const [keeper, archived] = await room(false, 'add');
  await keeper.control(archived, { op: 'archive' });
  rooms['an archived channel'] = archived;
  rooms['no channel'] = NOWHERE;
  rooms['the channel of the server'] = roomAt(SERVER_CHANNEL);
  await host.hear(rooms['a channel'].channel);
  await host.hear(inboxOf(host.id));
  spy = openDatabase(hosted.paths.database);
});

afterAll(async () => {
  spy[Symbol.dispose]();
  await hosted[Symbol.asyncDispose]();
});

/** The rest of what is asked, in a form that would be taken: nothing but the asker decides. */
const PARAMS: { readonly [Name in RequestName]: (who: Member, channel: string) => object } = {
  hello: () => ({ versions: [1], nonce: Buffer.alloc(32).toString('base64'), origin: hosted.target.origin }),
  login: (who) => ({
    certificate: toBase64(who.keys().certificate),
    proof: Buffer.alloc(64).toString('base64'),
  }),
  'member.list': () => ({}),
  'member.devices': () => ({ members: [host.id] }),
  'member.profile': () => ({ name: 'No Name' }),
  'member.export': () => ({}),
  'member.erase': () => ({ confirm: 'somebody else' }),
  'member.ban': () => ({ member: plain.id, banned: false }),
  'member.role': () => ({ member: plain.id, role: 'member' }),
  'device.revoke': () => ({ device: host.device }),
  'second.show': () => ({}),
  'second.set': () => ({ password: 'p', secret: Buffer.alloc(20).toString('base64'), code: '000000' }),
  'second.remove': () => ({ password: 'p', code: '000000' }),
  'prekeys.put': () => ({ ec: ['AAAA'], kyber: [] }),
  'prekeys.take': () => ({ member: NOBODY }),
  'invite.create': () => ({ role: 'admin' }),
  'invite.list': () => ({}),
  'invite.revoke': () => ({ invite: NOBODY }),
  'channel.list': () => ({ all: true }),
  'channel.find': () => ({ name: 'place3' }),
  'log.page': (_, channel) => ({ channel }),
  'log.control': (_, channel) => ({ channel }),
  'log.search': (_, channel) => ({ channel, query: 'word' }),
  resume: (_, channel) => ({ cursors: { [channel]: [1, 0, null] } }),
  leave: (_, channel) => ({ channels: [channel] }),
  mark: (_, channel) => ({ channel, seq: 0 }),
  marks: () => ({}),
  typing: (_, channel) => ({ channel, on: true }),
  presence: () => ({ state: 'online' }),
  'blob.begin': (_, channel) => ({ channel, hash: HASH, sizeBytes: 8 }),
  'blob.complete': (_, channel) => ({ channel, upload: NOBODY }),
  'blob.get': (_, channel) => ({ channel, hash: HASH, limit: 8 }),
  'blob.remove': (_, channel) => ({ channel, hash: HASH }),
  'call.list': () => ({}),
  'call.join': (_, channel) => ({ channel }),
  'call.set': (_, channel) => ({ channel, muted: true, deafened: true }),
  'call.leave': (_, channel) => ({ channel }),
  'call.stream': (_, channel) => ({ channel, stream: 'ab'.repeat(8), to: [{ sealed: 'AAAA' }] }),
};

/** What somebody gets who may ask, where it is not `ok`: others’ things, and what is not there. */
const ANSWERS: { readonly [Name in RequestName]?: (role: Role, place: Place | undefined) => Answer } = {
  hello: () => 'request.refused',
  login: () => 'request.refused',
  'member.profile': () => 'name.invalid',
  'member.erase': () => 'request.invalid',
  'device.revoke': () => 'device.unknown',
  'second.set': () => 'login.second',
  'prekeys.put': () => 'request.invalid',
  'prekeys.take': () => 'member.unknown',
  'invite.create': (role) => (role === 'owner' ? 'ok' : 'request.notAllowed'),
  'invite.revoke': () => 'invite.unknown',
  'channel.find': () => 'channel.unknown',
  'blob.begin': (_, place) => (place === undefined || place.includes('inbox') ? 'ok' : PLACES[place].write),
  'blob.complete': () => 'file.unknown',
  'blob.get': () => 'file.unknown',
  'blob.remove': () => 'file.unknown',
  'log.search': (_, place) => (place === 'one’s own inbox' ? 'request.refused' : 'ok'),
  'call.join': (_, place) => (place === 'an archived channel' ? 'channel.archived' : 'ok'),
  'call.set': () => 'call.unknown',
  'call.leave': () => 'call.unknown',
  'call.stream': () => 'call.unknown',
};
/** Requests that change something, or tell somebody, when they are answered `ok`. */
const EFFECTS: ReadonlySet<RequestName> = new Set([
  'typing',
  'presence',
  'mark',
  'blob.begin',
  'member.ban',
  'member.role',
  'invite.create',
  'call.join',
]);
const NAMES = Object.keys(REQUESTS) as RequestName[];

const expected = (name: RequestName, role: Role, place: Place | undefined): Answer => {
  const { needs }: { needs: Needs } = REQUESTS[name];
  if (RANK[role] < RANK[needs.role]) return 'request.notAllowed';
  // `resume` names its channels otherwise.
  const right = name === 'resume' ? 'read' : needs.channel;
  const there = right === undefined || place === undefined ? 'ok' : PLACES[place][right];
  return there === 'ok' ? (ANSWERS[name]?.(role, place) ?? 'ok') : there;
};

const takesChannel = (name: RequestName): boolean => {
  const { needs }: { needs: Needs } = REQUESTS[name];
  return needs.channel !== undefined || name === 'resume';
};

const ask = async (client: Member['client'], name: RequestName, params: object): Promise<Answer> => {
  const answer = await answerOf(() => client.request(name, params as never));
  if (name === 'call.join' && answer === 'ok') await leaveCall(client, params as { channel: string });
  return answer;
};

// Who came into a call leaves again, and the host has heard it: nobody is told of it later.
const leaveCall = async (client: Member['client'], { channel }: { readonly channel: string }): Promise<void> => {
  const before = host.notices.length;
  await client.request('call.leave', { channel });
  if (channel !== host.id && channel !== rooms['a channel'].channel) return;
  const isOver = () => host.notices.slice(before).some((one) => one.notice === 'call' && one.people.length === 0);
  while (!isOver()) await turn();
};

const codeOf = (said: Said): Answer => ('closed' in said ? said.why : (said.error?.code ?? 'ok'));
/** One word of a new connection that is not logged in. */
const spoken = async (phase: 'greeting' | 'log-in', say: (speaker: Speaker) => Promise<Said>): Promise<Answer> => {
  const speaker = await Speaker.to(hosted);
  if (phase === 'log-in') await speaker.greet(hosted);
  const answer = codeOf(await say(speaker));
  speaker.leave();
  return answer;
};

const publishOf = (channel: string, kind: number, more: Partial<Publish> = {}): Publish => ({
  request: 0,
  channel,
  id: timedId<EventId>(Date.now(), systemRandom.bytes(10)),
  kind,
  checkedAt: 2 ** 40,
  ttlSeconds: 0,
  sealed: 0,
  body: new Uint8Array(Buffer.from('words')),
  ...more,
});

/** Every binary message that a client may send, about a room. */
const binaries = (who: Member, room: Room): [string, Uint8Array][] => [
  ['a content', encodePublish(publishOf(room.channel, EVENT.content))],
  ['a control', encodePublish({ request: 0, ...who.signed(room, { op: 'mode', slowMs: 1000 }) })],
  ['a direct', encodePublish(publishOf(host.id, EVENT.direct))],
  ['a part', encodePart({ request: 0, upload: NOBODY, offset: 0, body: new Uint8Array(8) })],
];

/** Runs all steps; gives those that were answered otherwise, or changed what they must not. */
type Step = { readonly what: string; readonly want: Answer; readonly free?: boolean; run(): Promise<Answer> };
const wrong = async (steps: readonly Step[]): Promise<string[]> => {
  const found: string[] = [];
  const take = async ({ what, want, run }: Step): Promise<void> => {
    const got = await run();
    if (got !== want) found.push(`${what}: ${got}, not ${want}`);
  };
  const mayChange = ({ want, free }: Step): boolean => want === 'ok' && free === true;
  const told = heard();
  for (const step of steps.filter((one) => !mayChange(one))) {
    const before = version();
    await take(step);
    if (version() !== before) found.push(`${step.what}: changed the database`);
  }
  await settled();
  if (heard() !== told) found.push('others were told');
  for (const step of steps.filter(mayChange)) await take(step);
  await settled();
  return found;
};

// What was sent to them before has come.
const settled = () => Promise.all([host, stranger].map(({ client }) => client.request('marks', {})));

describe('nobody is answered more than the table says', () => {
  test('before the greeting and before the log-in', async () => {
    const steps: Step[] = [];
    for (const phase of ['greeting', 'log-in'] as const)
      for (const name of NAMES) {
        const taken = (phase === 'greeting' && name === 'hello') || (phase === 'log-in' && name === 'login');
        if (taken) continue;
        const want = name === 'hello' || name === 'login' ? 'request.refused' : 'login.needed';
        steps.push({
          what: `${name} before the ${phase}`,
          want,
          run: () =>
            spoken(phase, (speaker) => speaker.ask(name, PARAMS[name](people.owner, rooms['a channel'].channel))),
        });
      }
    for (const phase of ['greeting', 'log-in'] as const)
      for (const [what, bytes] of binaries(people.owner, rooms['a channel']))
        steps.push({
          what: `${what} before the ${phase}`,
          want: 'login.needed',
          run: () => spoken(phase, (speaker) => speaker.say(bytes)),
        });
    expect(await wrong(steps)).toEqual([]);
  });

  test('at a connection for calls', async () => {
    for (const say of [
      (speaker: Speaker) => speaker.link.text('{"id":1,"do":"hello"}'),
      ...binaries(people.owner, rooms['a channel']).map(
        ([, bytes]) =>
          (speaker: Speaker) =>
            speaker.link.binary(bytes),
      ),
    ]) {
      const speaker = await Speaker.to(hosted, '/v1/call');
      say(speaker);
      expect((await speaker.over).why).toMatch(/^frame\.(invalid|tooLarge)$/);
    }
  });

  test('at a log-in that proves nothing, or something else', async () => {
    const [owner, other] = [people.owner, await Speaker.to(hosted)];
    const elsewhere = await other.greet(hosted);
    const own = owner.keys();
    type Greeting = Awaited<ReturnType<Speaker['greet']>>;
    const CASES: Record<string, [Answer, (greeting: Greeting) => { certificate: Uint8Array; proof: Uint8Array }]> = {
      'no signature': ['login.refused', () => ({ ...own, proof: new Uint8Array(64) })],
      'another device’s signature': [
        'login.refused',
        (greeting) => ({ ...own, proof: signLogin(people.member.keys().seed, greeting) }),
      ],
      'a proof of another connection': ['login.refused', () => ({ ...own, proof: signLogin(own.seed, elsewhere) })],
      'a proof for another server': [
        'login.refused',
        (greeting) => ({ ...own, proof: signLogin(own.seed, { ...greeting, serverId: new Uint8Array(32).fill(7) }) }),
      ],
      'a proof for another origin': [
        'login.refused',
        (greeting) => ({ ...own, proof: signLogin(own.seed, { ...greeting, origin: 'wss://elsewhere:1' }) }),
      ],
      'a certificate of another server': [
        'certificate.invalid',
        (greeting) => ({
          certificate: owner.keys(new Uint8Array(32).fill(7)).certificate,
          proof: signLogin(own.seed, greeting),
        }),
      ],
      'nobody’s certificate without a wish to register': [
        'login.refused',
        (greeting) => {
          const keys = hosted.member('nobody').keys();
          return { certificate: keys.certificate, proof: signLogin(keys.seed, greeting) };
        },
      ],
    };
    const steps = Object.entries(CASES).map(([what, [want, make]]) => ({
      what,
      want,
      run: async () => {
        const speaker = await Speaker.to(hosted);
        const { certificate, proof } = make(await speaker.greet(hosted));
        const params = { certificate: toBase64(certificate), proof: toBase64(proof) };
        const said = codeOf(await speaker.ask('login', params));
        // A greeting serves one try, also for the right proof.
        expect(codeOf(await speaker.ask('login', params)), what).toBe('request.refused');
        speaker.leave();
        return said;
      },
    }));
    expect(await wrong(steps)).toEqual([]);
    other.leave();
  });

  test.each(ROLES)('as %s of the server, of what is not about a channel', async (role) => {
    const who = people[role];
    const steps = NAMES.filter((name) => !takesChannel(name)).map((name) => ({
      what: name,
      want: expected(name, role, undefined),
      free: EFFECTS.has(name),
      run: () => ask(who.client, name, PARAMS[name](who, rooms['a private channel of others'].channel)),
    }));
    expect(await wrong(steps)).toEqual([]);
  });

  test.each(ROLES)('as %s of the server, of which channels there are', async (role) => {
    const { client } = people[role];
    const listed = async (all: boolean): Promise<ReadonlySet<string>> => {
      const ids = new Set<string>();
      for (let more = true; more; ) {
        const after = [...ids].at(-1);
        const page = await client.request('channel.list', { all, ...(after === undefined ? {} : { after }) });
        for (const { id } of page.channels) ids.add(id);
        more = page.more;
      }
      return ids;
    };
    const [all, own] = [await listed(true), await listed(false)];
    let checked = 0;
    for (const place of PLACE_NAMES) {
      const channel = rooms[place]?.channel ?? SERVER_CHANNEL;
      const name = spy.get<{ name: string }>('SELECT name FROM channel WHERE id = ?', idBytes(channel))?.name;
      if (name === undefined) continue;
      checked++;
      const found = await answerOf(async () =>
        expect((await client.request('channel.find', { name })).channel.id).toBe(channel),
      );
      const { see, read } = PLACES[place];
      const isIn = read === 'ok' || place === 'a private channel that invited';
      const isSeen = see === 'ok';
      expect([place, found, all.has(channel), own.has(channel)]).toEqual([
        ...[place, isSeen ? 'ok' : 'channel.unknown'],
        ...[isSeen, isIn],
      ]);
    }
    // All but inboxes, and what is none.
    expect(checked).toBe(PLACE_NAMES.length - 4);
  });

  test('as an admin of the server, about an owner or another admin', async () => {
    const other = hosted.member('another');
    await other.join();
    await people.owner.client.request('member.role', { member: other.id, role: 'admin' });
    const steps = [people.owner, other].flatMap(({ id: member }) => [
      {
        what: 'member.ban',
        want: 'request.notAllowed',
        run: () => ask(people.admin.client, 'member.ban', { member, banned: true }),
      },
      {
        what: 'member.role',
        want: 'request.notAllowed',
        run: () => ask(people.admin.client, 'member.role', { member, role: 'member' }),
      },
    ]);
    const { id: member } = people.owner;
    for (const [name, params] of [
      ['member.ban', { member, banned: true }],
      ['member.role', { member, role: 'member' }],
    ] as const)
      steps.push({
        what: `${name} of themself`,
        want: 'request.notAllowed',
        run: () => ask(people.owner.client, name, params),
      });
    expect(await wrong(steps)).toEqual([]);
  });

  test.each(PLACE_NAMES)('of %s', async (place) => {
    const steps = ROLES.flatMap((role) => {
      const who = people[role];
      const { channel } = placeOf(place, who);
      return NAMES.filter(takesChannel).map((name) => ({
        what: `${name} as ${role}`,
        want: expected(name, role, place),
        free: EFFECTS.has(name),
        run: () => ask(who.client, name, PARAMS[name](who, channel)),
      }));
    });
    expect(await wrong(steps)).toEqual([]);
  });

  test.each(PLACE_NAMES)('to publish in %s', async (place) => {
    const steps = ROLES.flatMap((role): Step[] => {
      const who = people[role];
      const room = placeOf(place, who);
      const { see, write } = PLACES[place];
      const isInbox = place === 'one’s own inbox';
      const publish = (wanted: Omit<Publish, 'request'>) => answerOf(() => who.client.publish(wanted));
      const control = see === 'ok' && !isInbox ? 'event.refused' : place.includes('inbox') ? 'channel.unknown' : see;
      return [
        {
          what: `a content as ${role}`,
          want: isInbox ? 'channel.unknown' : write,
          free: true,
          run: () => publish(publishOf(room.channel, EVENT.content)),
        },
        {
          what: `a control as ${role}`,
          want: control,
          run: () => publish(who.signed(room, { op: 'mode', slowMs: 1000 })),
        },
        {
          what: `a control with another’s signature as ${role}`,
          want: see === 'ok' && !isInbox ? 'event.invalid' : control,
          run: () => publish(stranger.signed(room, { op: 'leave' })),
        },
        {
          what: `a control with a changed signature as ${role}`,
          want: see === 'ok' && !isInbox ? 'event.forged' : control,
          run: () => {
            const signed = who.signed(room, { op: 'leave' });
            return publish({
              ...signed,
              body: signed.body.map((byte, i, { length }) => (i < length - 1 ? byte : byte ^ 1)),
            });
          },
        },
        {
          what: `a direct as ${role}`,
          want: place.includes('inbox') ? 'ok' : 'member.unknown',
          free: true,
          run: () => publish(publishOf(room.channel, EVENT.direct)),
        },
        ...[EVENT.notice, 0, 9].map((kind) => ({
          what: `kind ${kind} as ${role}`,
          want: 'request.invalid',
          run: () => publish(publishOf(room.channel, kind)),
        })),
      ];
    });
    expect(await wrong(steps)).toEqual([]);
  });

  test('to erase what somebody else has said, or an operation', async () => {
    const room = rooms['a channel'];
    const [target, own] = [hosted.server.context.eventId(), hosted.server.context.eventId()];
    await host.say(room.channel, 'mine', target);
    const said = async (): Promise<string[]> => {
      const { events } = await host.client.events('log.page', { channel: room.channel, after: 0 });
      return events.filter(({ erased }) => !erased).map(({ id }) => id);
    };
    const creation = (await said())[0] as EventId;
    const steps = ROLES.flatMap((role): Step[] =>
      [target, creation].map((id) => ({
        what: `${id} as ${role}`,
        want: 'event.refused',
        run: () => answerOf(() => people[role].client.publish(people[role].signed(room, { op: 'erase', target: id }))),
      })),
    );
    // Nobody erases what says who may do what.
    steps.push({
      what: 'a creation, as its author',
      want: 'event.refused',
      run: () => answerOf(() => host.client.publish(host.signed(room, { op: 'erase', target: creation }))),
    });
    expect(await wrong(steps)).toEqual([]);
    expect(await said()).toContain(target);
    // Who has said it may, and a moderator of the channel.
    await people.member.say(room.channel, 'theirs', own);
    for (const id of [target, own]) await host.control(room, { op: 'erase', target: id });
    expect((await said()).filter((id) => id === target || id === own)).toEqual([]);
  });

  test('to fetch what one member has brought into the inbox of another', async () => {
    const channel = stranger.id;
    const body = new Uint8Array(8).fill(5);
    const hash = createHash('sha256').update(body).digest('hex');
    const { upload } = await host.client.request('blob.begin', { channel, hash, sizeBytes: 8 });
    await host.client.upload({ upload, offset: 0, body });
    await host.client.request('blob.complete', { channel, upload });
    const get = (who: Member, inbox: string) =>
      answerOf(() => who.client.request('blob.get', { channel: inbox, hash, limit: 8 }));
    expect([await get(stranger, channel), await get(host, channel)]).toEqual(['ok', 'ok']);
    const steps = ROLES.flatMap((role): Step[] =>
      [channel, people[role].id, host.id, rooms['a channel'].channel].map((inbox) => ({
        what: `from ${inbox} as ${role}`,
        want: 'file.unknown',
        run: () => get(people[role], inbox),
      })),
    );
    expect(await wrong(steps)).toEqual([]);
  });

  test('to write into what somebody else uploads', async () => {
    const { channel } = rooms['a channel'];
    const { upload } = await host.client.request('blob.begin', { channel, hash: 'cd'.repeat(32), sizeBytes: 8 });
    const steps = ROLES.flatMap((role): Step[] => {
      const { client } = people[role];
      const part = { upload, offset: 0, body: new Uint8Array(8) };
      return [
        { what: `a part as ${role}`, want: 'file.unknown', run: () => answerOf(() => client.upload(part)) },
        {
          what: `its end as ${role}`,
          want: 'file.unknown',
          run: () => ask(client, 'blob.complete', { channel, upload }),
        },
      ];
    });
    expect(await wrong(steps)).toEqual([]);
    expect(await host.client.request('blob.begin', { channel, hash: 'cd'.repeat(32), sizeBytes: 8 })).toMatchObject({
      upload,
      receivedBytes: 0,
    });
  });
});
