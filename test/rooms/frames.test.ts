// Whatever comes in a frame, before a log-in and after it: one typed error or the end of that connection, counted; nothing more.
import { expect, test, vi } from 'vitest';
import { toBase64 } from '../../src/protocol/bytes.ts';
import { isErrorCode, type SottoError } from '../../src/protocol/errors.ts';
import { type EventId, timedId } from '../../src/protocol/ids.ts';
import { CONTROL_BODY_BYTES_MAX } from '../../src/protocol/limits.ts';
import { type Control, decodeContent, decodeControl } from '../../src/protocol/room-content.ts';
import { decodeDirect } from '../../src/protocol/room-direct.ts';
import { REQUESTS } from '../../src/protocol/server.ts';
import { decodeAnswer, decodeNotice } from '../../src/protocol/server-answers.ts';
import { encodeEvent, encodePart, encodePublish } from '../../src/protocol/server-frames.ts';
import { Dice, mutateBytes, mutateJson } from '../fuzz/dice.ts';
import { turn } from '../server/server.ts';
import { Hosted, type Member, type Said, Speaker } from './scene.ts';

const often = { burst: 1e6, perSecond: 1e6 };
const CASES = 150;
const PHASES = ['greeting', 'log-in', 'member'] as const;

const valid = (dice: Dice, who: Member, channel: string): Record<string, unknown> => ({
  channel,
  channels: [channel],
  cursors: { [channel]: [1, dice.int(9), null] },
  member: who.id,
  members: [who.id],
  device: 'dd'.repeat(16),
  hash: 'ab'.repeat(32),
  sizeBytes: dice.int(9),
  upload: 'ab'.repeat(16),
  query: 'word',
  seq: dice.int(9),
  limit: dice.int(9),
  on: true,
  state: 'away',
  name: 'ops',
  nonce: Buffer.alloc(32).toString('base64'),
  versions: [1],
  origin: 'wss://nowhere:1',
  certificate: toBase64(who.keys().certificate),
  proof: Buffer.alloc(64).toString('base64'),
});

const binaryOf = (dice: Dice, who: Member, channel: string): Uint8Array => {
  const id = timedId<EventId>(Date.now(), dice.bytes(10));
  const body = new Uint8Array(dice.bytes(1 + dice.int(300)));
  const event = { request: 0, channel, epoch: 1, seq: 1, id, member: who.id, at: 1, kind: 1, erased: false, body };
  return dice.pick([
    () =>
      encodePublish({
        request: 0,
        channel,
        id,
        kind: dice.int(5),
        checkedAt: 9,
        ttlSeconds: dice.int(9),
        sealed: dice.int(9),
        body,
      }),
    () => encodePart({ request: 0, upload: 'ab'.repeat(16), offset: dice.int(9), body }),
    () => encodeEvent(event),
    () => dice.bytes(5 + dice.int(80)),
  ])();
};

/** One message that may be wrong anywhere; resolves with what the server says to it. */
const say = (dice: Dice, speaker: Speaker, who: Member, channel: string): Promise<Said> => {
  const isBinary = dice.int(3) === 0;
  if (isBinary) {
    const bytes = binaryOf(dice, who, channel);
    const spoilt = dice.chance(0.5) ? bytes : mutateBytes(dice, bytes);
    return speaker.say(spoilt.length < 5 ? bytes : spoilt);
  }
  const name = dice.pick(Object.keys(REQUESTS));
  const params = valid(dice, who, channel);
  const spoilt = mutateJson(dice, { ...params, id: 1, do: name });
  // Larger ones end with the frame already: test/server/listener.test.ts.
  return dice.chance(0.3) || spoilt.length > 60_000 ? speaker.ask(name, params) : speaker.text(spoilt);
};

test('every frame gets one typed error, an answer or the end of its connection, and is counted', async () => {
  await using hosted = await Hosted.start({ rates: { publish: often, burst: often, request: often, direct: often } });
  const host = hosted.member('host');
  await host.join();
  const { channel } = await host.create('ops');
  const { counts } = hosted.server.context;
  const seen = new Map<string, number>();
  for (let seed = 1; seed <= CASES; seed++) {
    const dice = new Dice(seed);
    const speaker = await Speaker.to(hosted);
    const phase = PHASES[seed % 3] ?? 'member';
    const before = counts.of('requests') + counts.of('badMessages');
    let counted = 0;
    if (phase !== 'greeting') {
      const greeting = await speaker.greet(hosted);
      if (phase === 'member') await speaker.login(greeting, host.keys());
      counted += phase === 'member' ? 2 : 1;
    }
    let said: Said = {};
    for (let i = 0; i < 4 && !('closed' in said); i++) {
      said = await say(dice, speaker, host, channel);
      const code = 'closed' in said ? said.why : (said.error?.code ?? 'ok');
      expect(code === 'ok' || isErrorCode(code), `seed ${seed}: ${code}`).toBe(true);
      seen.set(code, (seen.get(code) ?? 0) + 1);
      counted++;
    }
    expect(counts.of('requests') + counts.of('badMessages') - before, `seed ${seed}`).toBe(counted);
    speaker.leave();
  }
  expect([...seen.keys()].sort()).toEqual(
    expect.arrayContaining(['frame.invalid', 'login.needed', 'ok', 'request.invalid', 'request.refused']),
  );
  // Nobody else noticed.
  expect(await host.say(channel, 'still here')).toMatchObject({ seq: expect.any(Number) });
});

test('fields that a newer version added pass, at both ends', async () => {
  await using hosted = await Hosted.start();
  const host = hosted.member('host');
  await host.join();
  await host.create('ops');
  const newer = { newer: { of: 1 } };
  const speaker = await Speaker.to(hosted);
  const greeting = { versions: [1, 9], nonce: Buffer.alloc(32).toString('base64'), origin: hosted.target.origin };
  expect(await speaker.ask('hello', { ...greeting, ...newer })).toMatchObject({ ok: { version: 1 } });
  speaker.leave();
  const other = await Speaker.to(hosted);
  await other.login(await other.greet(hosted), host.keys());
  expect(await other.ask('channel.list', { all: true, ...newer })).toMatchObject({
    ok: { channels: [{ name: 'ops' }] },
  });
  other.leave();

  const answer = await host.client.request('member.list', {});
  const members = answer.members.map((one) => ({ ...one, ...newer }));
  expect(decodeAnswer('member.list', { ...answer, ...newer, members })).toEqual(answer);
  const [member] = answer.members;
  expect(decodeNotice({ notice: 'member', member: { ...member, ...newer }, ...newer } as never)).toEqual({
    notice: 'member',
    member,
  });
  expect(decodeNotice({ notice: 'newer', ...newer } as never)).toBeUndefined();
  const json = (said: object) => new Uint8Array(Buffer.from(JSON.stringify({ ...said, ...newer })));
  const text = { kind: 'text', text: 'words' };
  expect(decodeContent(json(text))).toEqual(text);
  expect(decodeControl(json({ op: 'leave' }))).toEqual({ op: 'leave' });
  expect(decodeDirect(json({ ...text, sentAt: 1 }))).toEqual({ ...text, sentAt: 1 });
});

test('the largest numbers and the strangest letters that a request may have get an answer', async () => {
  await using hosted = await Hosted.start();
  const host = hosted.member('host');
  await host.join();
  const { channel } = await host.create('ops');
  const most = Number.MAX_SAFE_INTEGER;
  const odd = '\u{1f469}\u200d\u{1f4bb}\0é"*';
  const params = {
    ...valid(new Dice(1), host, channel),
    cursors: { [channel]: [most, most, 'ab'.repeat(16)] },
    ...{ after: most, before: most, from: most, seq: most, at: 8.64e15, expiresAt: 8.64e15, ttlSeconds: 0xffff_ffff },
    ...{
      name: odd,
      names: [odd],
      query: `word ${odd}`,
      status: odd,
      confirm: odd,
      code: odd,
      password: odd,
      role: 'admin',
    },
    ...{ secret: Buffer.alloc(20).toString('base64'), ec: [], kyber: [], muted: true, deafened: false, through: 'tor' },
    ...{ banned: true, stream: 'ff'.repeat(8), to: [], invite: 'ab'.repeat(16), sizeBytes: 2 ** 36, uses: 10_000 },
  };
  const speaker = await Speaker.to(hosted);
  await speaker.login(await speaker.greet(hosted), host.keys());
  for (const name of Object.keys(REQUESTS))
    expect(await speaker.ask(name, params), name).toEqual(expect.not.objectContaining({ closed: expect.anything() }));
  expect(await speaker.ask('member.clone', {})).toMatchObject({ error: { code: 'request.unknownKind' } });
  // An id stands in the heads of events, too, and has 32 bits there.
  for (const id of [2 ** 32 - 1, 2 ** 32]) {
    const said = await speaker.text(JSON.stringify({ id, do: 'log.page', channel }));
    expect('closed' in said, String(id)).toBe(id === 2 ** 32);
  }
  expect(await host.say(channel, 'still here')).toMatchObject({ seq: expect.any(Number) });
});

test('for who does not read one page waits, whatever was asked, and one of controls is no larger', async () => {
  await using hosted = await Hosted.start({ rates: { publish: often, burst: often, request: often } });
  const host = hosted.member('host');
  await host.join();
  const room = await host.create('ops');
  const { channel } = room;
  const large = { op: 'later', words: 'x'.repeat(7_900) } as unknown as Control;
  for (let i = 0; i < 24; i++) await host.control(room, large);
  const page = await host.client.events('log.control', { channel });
  const rest = await host.client.events('log.control', { channel, after: page.events.at(-1)?.seq ?? 0 });
  expect([page.events.length, page.answer.more, rest.events.length, rest.answer.more]).toEqual([20, true, 5, false]);
  const { context } = hosted.server;
  const read = vi.spyOn(context.log, 'read');
  const { promise: taken, resolve } = Promise.withResolvers<void>();
  vi.spyOn(context, 'room').mockImplementationOnce(() => taken);
  const asked = Array.from({ length: 9 }, () => host.client.events('log.page', { channel, after: 0 }));
  await vi.waitUntil(() => context.asking.count === 9);
  await turn();
  expect(read).toHaveBeenCalledTimes(1);
  resolve();
  expect((await Promise.all(asked)).map(({ events }) => events.length)).toEqual(Array(9).fill(17));
});

test('a control is small, also of a kind that nobody knows; who is no moderator has few of them, and the others go on', async () => {
  const control = { burst: 3, perSecond: 1 / 1000 };
  await using hosted = await Hosted.start({ rates: { publish: often, burst: often, control } });
  const [host, guest] = [hosted.member('host'), hosted.member('guest')];
  await host.join();
  await guest.join();
  const room = await host.create('ops');
  const codeOf = (who: Member, op: Record<string, unknown>) =>
    who.control(room, op as unknown as Control).then(
      () => 'ok',
      ({ code, details }: SottoError) => `${code} ${details.retryAfterMs === undefined ? '' : 'later'}`.trim(),
    );
  expect(await codeOf(guest, { op: 'join' })).toBe('ok');
  expect(await codeOf(guest, { op: 'later', words: 'x'.repeat(CONTROL_BODY_BYTES_MAX) })).toBe('frame.tooLarge');
  expect(await codeOf(guest, { op: 'leave', words: 'x'.repeat(CONTROL_BODY_BYTES_MAX) })).toBe('frame.tooLarge');
  expect(await codeOf(guest, { op: 'later', words: 'x'.repeat(CONTROL_BODY_BYTES_MAX / 2) })).toBe('ok');
  expect(await codeOf(guest, { op: 'later' })).toBe('ok');
  expect(await codeOf(guest, { op: 'later' })).toBe('rate.limited later');
  for (let i = 0; i < 5; i++) expect(await codeOf(host, { op: 'later' })).toBe('ok');
  await host.create('two');
  await host.create('three');
  await expect(host.create('four')).rejects.toMatchObject({ code: 'rate.limited' });
});
