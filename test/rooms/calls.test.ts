// Calls: who is in them, links with tickets, frames that reach the others and nobody else, and all that must not get through.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { announceStream, openAnnouncement, openFrame, sealFrame, streamOf } from '../../src/crypto/call-keys.ts';
import { ed25519Public } from '../../src/crypto/primitives.ts';
import { systemClock, systemRandom } from '../../src/machine.ts';
import { fromBase64, toBase64, toHex } from '../../src/protocol/bytes.ts';
import { encodeReport, FRAME_TYPE } from '../../src/protocol/call-frame.ts';
import type { ChannelId } from '../../src/protocol/ids.ts';
import {
  CALL_FRAME_BYTES_MAX,
  CALL_FRAME_RATE,
  CALL_OVER_RATE_MAX,
  CALL_TALKERS_MAX,
} from '../../src/protocol/limits.ts';
import type { Notice } from '../../src/protocol/server.ts';
import { CLOSE } from '../../src/protocol/websocket.ts';
import { Caller } from '../../src/testing/caller.ts';
import { codeOf } from '../../src/testing/code.ts';
import { turn } from '../server/server.ts';
import { opusPackets } from './opus.ts';
import { Hosted, type Member, type Room, Speaker } from './scene.ts';

const often = { burst: 1e6, perSecond: 1e6 };
const PACKETS = opusPackets();

let hosted: Hosted;
let owner: Member;
let alice: Member;
let bob: Member;
let carol: Member;
let made = 0;

const newcomer = async (name: string): Promise<Member> => {
  const member = hosted.member(name);
  await member.join();
  return member;
};

beforeAll(async () => {
  hosted = await Hosted.start({
    rates: { call: often, register: often, request: often, publish: often, burst: often },
  });
  owner = hosted.member('owner');
  await owner.join((await hosted.server.makeOwnerInvite())?.token);
  [alice, bob, carol] = [await newcomer('alice'), await newcomer('bob'), await newcomer('carol')];
});

afterAll(() => hosted[Symbol.asyncDispose]());

const until = async (look: () => boolean): Promise<void> => {
  while (!look()) await turn();
};
const counted = (what: Parameters<typeof hosted.server.context.counts.of>[0]) => hosted.server.context.counts.of(what);

/** A new channel of Alice's with these people in it, who are told of it. */
const roomOf = async (...others: Member[]): Promise<Room> => {
  const room = await alice.create(`ops${++made}`);
  for (const { id } of others) await alice.control(room, { op: 'add', member: id });
  for (const member of [alice, ...others]) await member.hear(room.channel);
  return room;
};

type Switches = { muted?: boolean; deafened?: boolean; through?: 'clear' | 'tor' };

/** A device in a call: what it says is sealed with a stream of its own. */
class Voice {
  readonly member: Member;
  /** What this device calls the place: the channel, or the other member. */
  readonly place: string;
  readonly call: string;
  readonly ticket: Uint8Array;
  readonly stream = streamOf(systemRandom.bytes(40));
  readonly heard: Buffer[] = [];
  #caller: Caller | undefined;
  #counter = 0;

  private constructor(member: Member, place: string, joined: { call: string; ticket: Uint8Array }) {
    this.member = member;
    this.place = place;
    this.call = joined.call;
    this.ticket = joined.ticket;
  }

  static async join(member: Member, place: string, more: Switches = {}): Promise<Voice> {
    // As over Tor: a busy machine is no slow listener.
    const params = { channel: place, through: 'tor', ...more } as const;
    const { call, ticket } = await member.client.request('call.join', params);
    return new Voice(member, place, { call: call.call, ticket: fromBase64(ticket) });
  }

  /** Joins, opens the link and registers the stream. */
  static async in(member: Member, place: string, more: Switches & { reports?: boolean } = {}): Promise<Voice> {
    const { reports, ...switches } = more;
    const voice = await Voice.join(member, place, switches);
    await voice.open(voice.ticket, reports);
    await until(() => personOf(voice)?.link !== undefined);
    await voice.register();
    return voice;
  }

  get link(): Caller {
    if (this.#caller === undefined) throw new Error('there is no link');
    return this.#caller;
  }

  async open(ticket: Uint8Array, reports = true): Promise<Caller> {
    const ports = { clock: systemClock, random: systemRandom };
    const frame = (bytes: Uint8Array) => void this.heard.push(Buffer.from(bytes));
    this.#caller = await Caller.open({ target: hosted.target, ticket, ...ports, frame, reports });
    return this.#caller;
  }

  async register(stream = this.stream.id): Promise<void> {
    await this.member.client.request('call.stream', { channel: this.place, stream: toHex(stream), to: [] });
  }

  /** Where its frames belong, as everybody who opens them knows it. */
  get home() {
    const { id: sender, device } = this.member;
    return { channel: this.place as ChannelId, call: this.call, sender, device };
  }

  sealed(packet: Uint8Array): Uint8Array<ArrayBuffer> {
    const plaintext = Buffer.concat([Buffer.of(0, 0, 0, 0, 0), packet]);
    return sealFrame(this.home, this.stream, { type: FRAME_TYPE.voice, counter: this.#counter++ }, plaintext);
  }

  /** Says a word, and gives its frame. */
  say(packet = PACKETS[0] ?? new Uint8Array()): Buffer {
    const frame = this.sealed(packet);
    this.link.send(frame);
    return Buffer.from(frame);
  }

  /** What somebody has said, as it is opened here. */
  words(of: Voice): Buffer[] {
    return this.heard.map((frame) => Buffer.from(openFrame(of.home, of.stream, -1, frame)).subarray(5));
  }

  hears(frame: Buffer): Promise<void> {
    return until(() => this.heard.some((one) => one.equals(frame)));
  }

  async leave(): Promise<void> {
    await this.member.client.request('call.leave', { channel: this.place });
  }
}

const personOf = ({ call, member }: Voice) =>
  [...hosted.server.context.calls.all()].find(({ id }) => id === call)?.people.get(member.device);

type CallNotice = Extract<Notice, { notice: 'call' }>;
/** The last that somebody was told of a call. */
const rosterOf = (member: Member, call: string) =>
  member.notices.filter((one): one is CallNotice => one.notice === 'call' && one.call === call).at(-1)?.people;
const switchesOf = (member: Member, { call, member: { id } }: Voice) => {
  const found = rosterOf(member, call)?.find((one) => one.member === id);
  return found === undefined ? undefined : { muted: found.muted, deafened: found.deafened, linked: found.linked };
};

/** The texts and bytes of every file below a folder. */
const filesOf = (dir: string): Buffer =>
  Buffer.concat(
    (readdirSync(dir, { recursive: true }) as string[])
      .map((name) => join(dir, name))
      .filter((path) => statSync(path).isFile())
      .map((path) => readFileSync(path)),
  );

describe('CALL-4: a call of a channel', () => {
  test('carries what each says to all others, byte by byte, to himself nothing, and nothing of it stays', async () => {
    const { channel } = await roomOf(bob, carol);
    const voices = [await Voice.in(alice, channel), await Voice.in(bob, channel), await Voice.in(carol, channel)];
    const [a, b, c] = voices as [Voice, Voice, Voice];
    for (const packet of PACKETS) a.say(packet);
    const last = b.say(PACKETS[1]);
    await Promise.all([a.hears(last), until(() => b.heard.length === PACKETS.length)]);
    await until(() => c.heard.length === PACKETS.length + 1);
    expect(b.words(a)).toEqual(PACKETS.map((packet) => Buffer.from(packet)));
    expect(a.words(b)).toEqual([Buffer.from(PACKETS[1] ?? [])]);
    expect(b.heard).not.toContainEqual(last);
    // Both ends say what has come.
    await until(() => a.link.reported.received === PACKETS.length);
    const stored = filesOf(join(hosted.paths.database, '..'));
    for (const secret of [a.ticket, a.stream.id, Buffer.from(a.call, 'hex'), last.subarray(13), PACKETS[0] ?? []])
      expect(stored.includes(Buffer.from(secret))).toBe(false);
    for (const voice of voices) await voice.leave();
    expect(await a.link.ended).toEqual({ code: CLOSE.normal, reason: 'left' });
    expect((await bob.client.request('call.list', {})).calls).toEqual([]);
  });

  test('is told to those who read the channel, with what each has switched; who is muted or deafened is so at once', async () => {
    const { channel } = await roomOf(bob, carol);
    const [a, b] = [await Voice.in(alice, channel), await Voice.in(bob, channel, { muted: true })];
    await until(() => switchesOf(carol, b)?.linked === true);
    expect(switchesOf(carol, a)).toEqual({ muted: false, deafened: false, linked: true });
    expect(switchesOf(carol, b)).toEqual({ muted: true, deafened: false, linked: true });
    b.say();
    await until(() => b.link.reported.received === 1);
    const set = (voice: Voice, muted: boolean, deafened: boolean) =>
      voice.member.client.request('call.set', { channel, muted, deafened });
    await set(b, false, true);
    await until(() => switchesOf(carol, b)?.deafened === true);
    a.say();
    b.say();
    await until(() => a.link.reported.received === 1 && b.link.reported.received === 2);
    await set(b, false, false);
    await a.hears(b.say());
    await b.hears(a.say());
    expect([a.heard.length, b.heard.length]).toEqual([1, 1]);
    await until(() => switchesOf(carol, b)?.deafened === false);
    const listed = (await carol.client.request('call.list', {})).calls;
    expect(listed).toEqual([expect.objectContaining({ call: a.call, channel, people: rosterOf(carol, a.call) })]);
    expect((await owner.client.request('call.list', {})).calls).toEqual([]);
    expect(rosterOf(owner, a.call)).toBeUndefined();
    await a.leave();
    await b.leave();
    await until(() => rosterOf(carol, a.call)?.length === 0);
  });

  test('passes announcements of streams on to those in it, to one or to all, and to nobody else', async () => {
    const { channel } = await roomOf(bob, carol, owner);
    const voices = [await Voice.in(alice, channel), await Voice.in(bob, channel), await Voice.in(carol, channel)];
    const [a] = voices as [Voice];
    const place = { ...a.home, serverId: hosted.target.serverKey };
    const said = toBase64(announceStream(place, a.stream, 1, alice.keys().seed));
    const ask = { channel, stream: toHex(a.stream.id) };
    await alice.client.request('call.stream', {
      ...ask,
      to: [{ sealed: said }, { device: bob.device, sealed: 'AAAA' }],
    });
    const told = (member: Member) =>
      member.notices.filter((one) => one.notice === 'call.stream').map((one) => one.sealed);
    await until(() => told(bob).length === 2 && told(carol).length === 1);
    await owner.client.request('marks', {});
    expect([told(alice), told(bob), told(carol), told(owner)]).toEqual([[], [said, 'AAAA'], [said], []]);
    const twice = { ...ask, to: [{ sealed: said }, { sealed: said }] };
    expect(await codeOf(alice.client.request('call.stream', twice))).toBe('request.invalid');
    const signingKey = ed25519Public(alice.keys().seed);
    expect(openAnnouncement(place, Buffer.from(said, 'base64'), signingKey).stream).toEqual(a.stream);
    for (const voice of voices) await voice.leave();
  });

  test('lets a device come back with another ticket, and keeps its place and streams meanwhile', async () => {
    const { channel } = await roomOf(bob);
    const [a, b] = [await Voice.in(alice, channel), await Voice.in(bob, channel)];
    a.link.close();
    await until(() => switchesOf(bob, a)?.linked === false);
    const again = await Voice.join(alice, channel);
    expect(again.call).toBe(a.call);
    const [first, second] = [await a.open(again.ticket), await Voice.join(alice, channel)];
    await until(() => switchesOf(bob, a)?.linked === true);
    await b.hears(a.say());
    // A second link of one device takes the place of the first.
    await a.open(second.ticket);
    expect(await first.ended).toEqual({ code: CLOSE.normal, reason: 'replaced' });
    await b.hears(a.say());
    expect(personOf(a)?.link).toBeDefined();
    await a.leave();
    await b.leave();
  });

  test('never plays somebody his own voice on another device of his', async () => {
    const { channel } = await roomOf(bob);
    const other = alice.another();
    await other.join();
    const [a, b, c] = [await Voice.in(alice, channel), await Voice.in(bob, channel), await Voice.in(other, channel)];
    await b.hears(a.say());
    await c.hears(b.say());
    expect(c.heard.length).toBe(1);
    for (const voice of [a, b, c]) await voice.leave();
  });

  test('forwards eight voices; the ninth is told', async () => {
    const many = await Promise.all(Array.from({ length: CALL_TALKERS_MAX - 1 }, (_, i) => newcomer(`talker${i}`)));
    const { channel } = await roomOf(bob, carol, ...many);
    const voices: Voice[] = [];
    for (const member of [alice, bob, ...many]) voices.push(await Voice.in(member, channel));
    const c = await Voice.in(carol, channel);
    const refused = counted('callFramesRefused');
    const isTold = ({ member, call }: Voice) =>
      member.notices.some((one) => one.notice === 'call.busy' && one.call === call);
    // All of it within the time that a place is kept, however slow this machine is.
    let said = 0;
    while (!voices.some(isTold)) {
      said++;
      for (const voice of voices) voice.say();
      await until(() => voices.every(({ link }) => link.reported.received === said));
      for (const { member } of voices) await member.client.request('marks', {});
    }
    await until(() => c.heard.length === said * voices.length - (counted('callFramesRefused') - refused));
    expect(voices.filter(isTold).length).toBe(1);
    for (const voice of [...voices, c]) await voice.leave();
  });
});

describe('a call between two members', () => {
  test('is seen and heard by the two, each of whom names the other', async () => {
    const [a, b] = [await Voice.in(alice, bob.id), await Voice.in(bob, alice.id)];
    expect(b.call).toBe(a.call);
    await until(() => rosterOf(alice, a.call)?.length === 2 && rosterOf(bob, a.call)?.length === 2);
    const nameFor = (member: Member) =>
      member.notices.filter((one): one is CallNotice => one.notice === 'call' && one.call === a.call).at(-1)?.channel;
    expect([nameFor(alice), nameFor(bob)]).toEqual([bob.id, alice.id]);
    await b.hears(a.say());
    const c = await Voice.in(carol, bob.id);
    expect(c.call).not.toBe(a.call);
    c.say();
    await until(() => c.link.reported.received === 1);
    await b.hears(a.say());
    expect(b.heard.length).toBe(2);
    expect(rosterOf(carol, a.call)).toBeUndefined();
    expect((await carol.client.request('call.list', {})).calls.map(({ call }) => call)).toEqual([c.call]);
    const nobody = 'ee'.repeat(16);
    for (const place of [alice.id, nobody]) expect(await refusal(alice, place)).toBe('channel.unknown');
    for (const voice of [a, b, c]) await voice.leave();
  });
});

const refusal = (member: Member, channel: string) => codeOf(member.client.request('call.join', { channel }));

describe('a call is over at once for', () => {
  type Ends = (room: Room) => Promise<unknown>;
  const cases: readonly [string, string, Ends][] = [
    ['who is removed', 'channel.notMember', (room) => alice.control(room, { op: 'remove', member: bob.id })],
    [
      'who is banned from the channel',
      'channel.notMember',
      (room) => alice.control(room, { op: 'ban', member: bob.id }),
    ],
    ['who leaves the channel', 'channel.notMember', (room) => bob.control(room, { op: 'leave' })],
    ['all in a channel that is archived', 'channel.archived', (room) => alice.control(room, { op: 'archive' })],
  ];
  test.each(cases)('%s', async (_, why, end) => {
    const room = await roomOf(bob);
    const { channel } = room;
    const [a, b] = [await Voice.in(alice, channel), await Voice.in(bob, channel)];
    const unused = await Voice.join(bob, channel);
    const elsewhere = await Voice.in(bob, (await roomOf(bob)).channel);
    await end(room);
    expect(await b.link.ended).toEqual({ code: CLOSE.policy, reason: why });
    expect(personOf(b)).toBeUndefined();
    // Nor with the ticket that was given before.
    expect(await (await b.open(unused.ticket)).ended).toEqual({ code: CLOSE.policy, reason: 'call.refused' });
    expect(await refusal(bob, channel)).toMatch(/^channel\./);
    expect(personOf(elsewhere)?.link).toBeDefined();
    await elsewhere.leave();
    if (why !== 'channel.archived') await a.leave();
  });

  test('who is banned from the server, was erased, or has lost the device', async () => {
    const ends = [
      ['server.banned', (one: Member) => owner.client.request('member.ban', { member: one.id, banned: true })],
      ['server.banned', (one: Member) => one.client.request('member.erase', { confirm: one.name })],
      ['device.revoked', (one: Member) => one.client.request('device.revoke', { device: one.device })],
    ] as const;
    for (const [i, [reason, end]] of ends.entries()) {
      const guest = await newcomer(`guest${i}`);
      const { channel } = await roomOf(guest);
      const g = await Voice.in(guest, channel);
      const { closed } = guest;
      await end(guest);
      expect(await g.link.ended).toEqual({ code: CLOSE.policy, reason });
      expect((await closed).code).toBe(reason);
      expect(personOf(g)).toBeUndefined();
    }
  });

  test('the other of two when one of them is banned from the server or erased', async () => {
    const ends = [
      (one: Member) => owner.client.request('member.ban', { member: one.id, banned: true }),
      (one: Member) => one.client.request('member.erase', { confirm: one.name }),
    ];
    for (const [i, end] of ends.entries()) {
      const [guest, other] = [await newcomer(`partner${i}`), await newcomer(`third${i}`)];
      const [a, g] = [await Voice.in(alice, guest.id), await Voice.in(guest, alice.id)];
      const elsewhere = await Voice.in(alice, other.id);
      await end(guest);
      expect(await g.link.ended).toEqual({ code: CLOSE.policy, reason: 'server.banned' });
      expect([...hosted.server.context.calls.all()].map(({ id }) => id)).toEqual([elsewhere.call]);
      expect(await a.link.ended).toEqual({ code: CLOSE.policy, reason: 'channel.unknown' });
      await until(() => rosterOf(alice, a.call)?.length === 0);
      await elsewhere.leave();
    }
  });

  test('nobody who is muted by the channel, but they are not heard until they may speak again', async () => {
    const room = await roomOf(bob);
    const { channel } = room;
    const [a, b] = [await Voice.in(alice, channel), await Voice.in(bob, channel)];
    await a.hears(b.say());
    await alice.control(room, { op: 'mute', member: bob.id });
    b.say();
    await until(() => b.link.reported.received === 2);
    // Nor does coming again help.
    await b.open((await Voice.join(bob, channel)).ticket);
    b.say();
    await until(() => b.link.reported.received === 1);
    await b.hears(a.say());
    await alice.control(room, { op: 'unmute', member: bob.id });
    await a.hears(b.say());
    expect(a.heard.length).toBe(2);
    await a.leave();
    await b.leave();
  });

  test('nobody who has lost the chat connection', async () => {
    const { channel } = await roomOf(bob);
    const [a, b] = [await Voice.in(alice, channel), await Voice.in(bob, channel)];
    bob.leave();
    await bob.closed;
    await a.hears(b.say());
    await bob.join();
    await a.leave();
    await b.leave();
  });
});

describe('CALL-3: nothing gets through', () => {
  let room: Room;
  let a: Voice;
  let b: Voice;
  beforeAll(async () => {
    room = await roomOf(bob, carol);
    [a, b] = [await Voice.in(alice, room.channel), await Voice.in(bob, room.channel)];
  });

  const refusedLink = async (ticket: Uint8Array): Promise<string> => {
    const ports = { clock: systemClock, random: systemRandom, frame: () => {} };
    const caller = await Caller.open({ target: hosted.target, ticket, ...ports });
    caller.send(b.sealed(PACKETS[0] ?? new Uint8Array()));
    return (await caller.ended).reason;
  };

  test('with a ticket that was used, another server’s, an older one of the same device, or none', async () => {
    expect(await refusedLink(a.ticket)).toBe('call.refused');
    const elsewhere = await Hosted.start();
    const theirs = elsewhere.member('bob');
    await theirs.join();
    const place = await theirs.create('ops');
    const { ticket } = await theirs.client.request('call.join', { channel: place.channel });
    expect(await refusedLink(fromBase64(ticket))).toBe('call.refused');
    await elsewhere[Symbol.asyncDispose]();
    const older = await Voice.join(carol, room.channel);
    await Voice.join(carol, room.channel);
    expect(await refusedLink(older.ticket)).toBe('call.refused');
    expect(await refusedLink(systemRandom.bytes(32))).toBe('call.refused');
    expect(await refusedLink(b.sealed(PACKETS[0] ?? new Uint8Array()))).toBe('frame.invalid');
    expect(await refusedLink(new Uint8Array(31))).toBe('frame.invalid');
    const speaker = await Speaker.to(hosted, '/v1/call');
    speaker.link.text('{"id":1,"do":"marks"}');
    expect(await speaker.over).toMatchObject({ why: 'frame.invalid' });
    await carol.client.request('call.leave', { channel: room.channel });
    expect([a.heard, b.heard]).toEqual([[], []]);
  });

  test('of a stream that is another’s or nobody’s, nor may one be taken that is another’s', async () => {
    const c = await Voice.in(carol, room.channel);
    const register = (stream: Uint8Array) => codeOf(c.register(new Uint8Array(stream)));
    expect(await register(a.stream.id)).toBe('request.invalid');
    const before = counted('callFramesRefused');
    for (const { stream } of [a, { stream: streamOf(systemRandom.bytes(40)) }])
      c.link.send(sealFrame(c.home, stream, { type: FRAME_TYPE.voice, counter: 0 }, new Uint8Array(65)));
    const heard = c.say();
    await Promise.all([a.hears(heard), b.hears(heard)]);
    expect(counted('callFramesRefused') - before).toBe(2);
    expect(a.heard).toEqual([heard]);
    // The stream of now and the one before, no other.
    const [second, third] = [streamOf(systemRandom.bytes(40)), streamOf(systemRandom.bytes(40))];
    expect([await register(second.id), await register(third.id)]).toEqual(['done', 'done']);
    c.say();
    for (const stream of [second, third])
      c.link.send(sealFrame(c.home, stream, { type: FRAME_TYPE.voice, counter: 0 }, new Uint8Array(65)));
    await until(() => a.heard.length === 3);
    expect(counted('callFramesRefused') - before).toBe(3);
    expect(a.heard.slice(1).map((frame) => toHex(frame.subarray(1, 9)))).toEqual([toHex(second.id), toHex(third.id)]);
    await c.leave();
  });

  test('that is no frame: such a link ends', async () => {
    const bad: readonly [string, Uint8Array][] = [
      ['frame.invalid', new Uint8Array(0)],
      ['frame.invalid', a.sealed(new Uint8Array()).subarray(0, 28)],
      ['frame.invalid', Buffer.concat([Buffer.of(FRAME_TYPE.screen), a.sealed(new Uint8Array(9)).subarray(1)])],
      ['frame.invalid', Buffer.concat([Buffer.of(9), a.sealed(new Uint8Array(9)).subarray(1)])],
      ['frame.invalid', encodeReport({ received: 1, quietMs: 0 })],
      ['frame.tooLarge', new Uint8Array(CALL_FRAME_BYTES_MAX + 1).fill(1)],
    ];
    for (const [why, message] of bad) {
      const c = await Voice.in(carol, room.channel);
      c.link.send(message);
      expect((await c.link.ended).reason).toBe(why);
    }
    const c = await Voice.in(carol, room.channel);
    c.link.sendText('hello');
    expect((await c.link.ended).reason).toBe('frame.invalid');
    await c.leave();
  });

  test('faster than a voice is: a burst and its rate, and a flood ends the link', async () => {
    const c = await Voice.in(carol, room.channel);
    const { burst, perSecond } = CALL_FRAME_RATE;
    const startedAt = systemClock.monotonic();
    const before = counted('callFramesRefused');
    for (let i = 0; i < 2 * burst; i++) c.say();
    await until(() => c.link.reported.received === 2 * burst);
    const passed = 2 * burst - (counted('callFramesRefused') - before);
    expect(passed).toBeGreaterThanOrEqual(burst);
    expect(passed).toBeLessThanOrEqual(Math.ceil(burst + ((systemClock.monotonic() - startedAt) / 1000) * perSecond));
    let ended = '';
    void c.link.ended.then(({ reason }) => (ended = reason));
    for (const frame = c.sealed(new Uint8Array(60)); ended === ''; await turn())
      for (let i = 0; i < CALL_OVER_RATE_MAX / 10; i++) c.link.send(frame);
    expect(ended).toBe('rate.limited');
    await c.leave();
  });

  test('to a listener who does not say what has come: frames are dropped, the oldest first, and nobody else waits', async () => {
    const c = await Voice.in(carol, room.channel, { reports: false, through: 'clear' });
    const [before, late, forwarded] = [b.heard.length, counted('callFramesLate'), counted('callFramesForwarded')];
    let said = 0;
    // As fast as one speaks.
    for (; counted('callFramesLate') < late + 3; said++) {
      a.say();
      await new Promise<void>((done) => systemClock.after(20, done));
    }
    await until(() => b.heard.length === before + said);
    const sent = counted('callFramesForwarded') - forwarded - said;
    expect(sent).toBeLessThanOrEqual(said - 3);
    await until(() => c.heard.length === sent);
    // Once it says what it has, it goes on with what is fresh.
    c.link.report();
    await c.hears(a.say());
    const counters = c.heard.map((frame) => frame.readUInt32BE(9));
    const gaps = counters.slice(1).map((counter, i) => counter - (counters[i] ?? 0));
    expect(Math.min(...gaps)).toBe(1);
    expect(gaps.filter((gap) => gap > 1)).toEqual([expect.any(Number)]);
    await c.leave();
  });
});
