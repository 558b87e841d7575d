import { createDecipheriv, createPublicKey, hkdfSync, verify } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { toHex } from '../protocol/bytes.ts';
import { FRAME_TYPE, readFrameHead } from '../protocol/call-frame.ts';
import type { ChannelId, MemberId } from '../protocol/ids.ts';
import { STREAM_FRAMES_MAX } from '../protocol/limits.ts';
import { outcome } from '../testing/code.ts';
import { SERVER_ID, testMember } from '../testing/rooms.ts';
import { announceStream, openAnnouncement, openFrame, sealFrame, stepStream, stepTo, streamOf } from './call-keys.ts';

const alice = testMember(1);
const place = {
  channel: 'cc'.repeat(16) as ChannelId,
  call: 'ca'.repeat(16),
  sender: alice.id,
  device: alice.device,
};
const stream = streamOf(Uint8Array.from({ length: 40 }, (_, i) => i));
const opus = new Uint8Array(65).fill(7);
const voice = (counter: number) => sealFrame(place, stream, { type: FRAME_TYPE.voice, counter }, opus);

describe('CALL-2: a frame of a call', () => {
  test('is sealed as it is written down, opened without us: 94 bytes for 20 ms', () => {
    const frame = voice(258);
    expect(toHex(frame.subarray(0, 13))).toBe('01000102030405060700000102');
    expect(frame.length).toBe(94);
    const cipher = createDecipheriv('chacha20-poly1305', stream.key, Buffer.from('000000000000000000000102', 'hex'), {
      authTagLength: 16,
    });
    const aad = Buffer.concat([
      frame.subarray(0, 13),
      Buffer.from(place.channel + place.call + place.sender + place.device, 'hex'),
    ]);
    cipher.setAAD(aad, { plaintextLength: 65 });
    cipher.setAuthTag(frame.subarray(-16));
    expect(toHex(Buffer.concat([cipher.update(frame.subarray(13, -16)), cipher.final()]))).toBe(toHex(opus));
    expect(openFrame(place, stream, 257, frame)).toEqual(opus);
    expect(readFrameHead(frame)).toEqual({ type: 1, stream: stream.id, counter: 258 });
  });

  test('opens once, in order, for its speaker, call and channel, under no other type', () => {
    const frame = voice(5);
    const open = (given: Partial<typeof place>, last = 4, bytes = frame, of = stream) =>
      outcome(() => openFrame({ ...place, ...given }, of, last, bytes));
    expect(open({}, 5)).toBe('frame.undecryptable counter');
    expect(open({ sender: 'ab'.repeat(16) as MemberId })).toBe('frame.undecryptable seal');
    expect(open({ call: 'cb'.repeat(16) })).toBe('frame.undecryptable seal');
    expect(open({ channel: 'cb'.repeat(16) as ChannelId })).toBe('frame.undecryptable seal');
    expect(open({}, 4, frame, stepStream(stream, place.call))).toBe('frame.undecryptable stream');
    const changed = frame.slice();
    changed[0] = FRAME_TYPE.screen;
    expect(open({}, 4, changed)).toBe('frame.undecryptable seal');
    changed[0] = 3;
    expect([open({}, 4, changed), open({}, 4, frame.subarray(0, 28))]).toEqual([
      'frame.invalid type',
      'frame.invalid short',
    ]);
    expect(() => voice(STREAM_FRAMES_MAX)).toThrow('draw another');
    expect(outcome(() => openFrame(place, stream, -1, voice(STREAM_FRAMES_MAX - 1)))).toEqual(opus);
  });
});

describe('CALL-1: a stream', () => {
  test('steps forward when somebody joins, and never back', () => {
    const next = stepStream(stream, place.call);
    const info = Buffer.concat([Buffer.from('sotto voice step 1'), Buffer.from(place.call, 'hex')]);
    expect(toHex(next.id) + toHex(next.key)).toBe(
      Buffer.from(hkdfSync('sha256', stream.key, Buffer.alloc(0), info, 40)).toString('hex'),
    );
    let far = stream;
    for (let i = 0; i < 8; i++) far = stepStream(far, place.call);
    expect(stepTo(stream, place.call, far.id)).toEqual(far);
    expect(stepTo(stream, place.call, stepStream(far, place.call).id)).toBeUndefined();
    expect(stepTo(next, place.call, stream.id)).toBeUndefined();
    expect(stepTo(stream, 'cb'.repeat(16), next.id)).toBeUndefined();
  });

  test('is announced by its device, for one call of one channel of one server', () => {
    const here = { ...place, serverId: SERVER_ID };
    const said = announceStream(here, stream, 2, alice.deviceSeed);
    const signed = Buffer.concat([
      Buffer.from('sotto call 1'),
      SERVER_ID,
      Buffer.from(place.channel + place.call + place.sender + place.device, 'hex'),
      stream.id,
      stream.key,
      Buffer.from([2]),
    ]);
    const key = createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(alice.certified.signingKey).toString('base64url') },
      format: 'jwk',
    });
    expect(verify(null, signed, key, said.subarray(-64))).toBe(true);
    const open = (given: object, bytes = said) =>
      outcome(() => openAnnouncement({ ...here, ...given }, bytes, alice.certified.signingKey));
    expect(open({})).toEqual({ stream, profile: 2 });
    for (const other of [
      { serverId: new Uint8Array(32) },
      { call: 'cb'.repeat(16) },
      { channel: 'cb'.repeat(16) },
      { sender: 'cb'.repeat(16) },
      { device: 'cb'.repeat(16) },
    ])
      expect(open(other)).toBe('event.forged signature');
    for (let at = 0; at < said.length; at += 9) {
      const changed = said.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(open({}, changed)).toBe('event.forged signature');
    }
    expect(open({}, said.subarray(1))).toBe('event.invalid size');
  });
});
