import { createHash, createPublicKey, verify } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { toHex } from '../protocol/bytes.ts';
import type { EventId } from '../protocol/ids.ts';
import { EVENT_CONTENT_BYTES_MAX } from '../protocol/limits.ts';
import { decodeContent, EVENT_KIND } from '../protocol/room-content.ts';
import { outcome } from '../testing/code.ts';
import { keysOf, SERVER_ID, testMember } from '../testing/rooms.ts';
import {
  channelOf,
  creationScope,
  EVENT_HEADER_BYTES,
  type EventHeader,
  followsN,
  headOf,
  historyHash,
  membersHash,
  type Outer,
  openEvent,
  readEventHeader,
  type Scope,
  signEvent,
  ZERO_HASH,
} from './room-event.ts';

const fill = (n: number, size = 32) => new Uint8Array(size).fill(n);
const [alice, bob] = [testMember(1), testMember(2)];
const scope: Scope = { serverId: SERVER_ID, channelHash: fill(0xcc) };
const header: EventHeader = {
  epoch: 3,
  id: '0190a0a0a0a07000800000000000000f' as EventId,
  sender: alice.id,
  device: alice.device,
  n: 258,
  seenSeq: 2 ** 33,
  seenHash: fill(0x5e, 16),
  membersHead: fill(0x3e, 16),
  kind: EVENT_KIND.content,
};
const content = { kind: 'text', text: 'hé' };
const outer: Outer = { id: header.id, sender: alice.id, kind: 1, epoch: 3 };
const signed = signEvent(scope, header, content, alice.deviceSeed);
const open = (bytes = signed, given: Partial<Parameters<typeof openEvent>[0]> = {}) =>
  outcome(() => openEvent({ scope, outer, keyOf: keysOf(alice, bob), ...given }, bytes, decodeContent));

describe('EVENT-1 and EVENT-3: a signed event', () => {
  test('has the layout that is written down, and a signature over label, server, channel and bytes', () => {
    const expected = [
      '01',
      '00000003',
      header.id,
      alice.id,
      alice.device,
      '000000000102',
      '000200000000',
      '5e'.repeat(16),
      '3e'.repeat(16),
      '01',
      toHex(Buffer.from('{"kind":"text","text":"hé"}')),
    ].join('');
    expect(toHex(signed.subarray(0, -64))).toBe(expected);
    expect(EVENT_HEADER_BYTES).toBe(98);
    const key = createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(alice.certified.signingKey).toString('base64url') },
      format: 'jwk',
    });
    const message = Buffer.concat([Buffer.from('sotto event 1'), SERVER_ID, fill(0xcc), signed.subarray(0, -64)]);
    expect(verify(null, message, key, signed.subarray(-64))).toBe(true);
    // Everything it is made of is fixed, so its bytes are too.
    expect(createHash('sha256').update(signed).digest('hex')).toBe(
      'f4ff00d213bf93b536c9a3a079916d0e343ad0c43a02ad7b3830a8083bc9267c',
    );
  });

  test('comes back as it was', () => {
    expect(open()).toEqual({ header, content });
    expect(readEventHeader(signed)).toEqual(header);
  });

  test('fits no other server, channel or creation', () => {
    for (const other of [{ ...scope, serverId: fill(1) }, { ...scope, channelHash: fill(2) }, creationScope(SERVER_ID)])
      expect(open(signed, { scope: other })).toBe('event.forged signature');
  });

  test('stands only under the header it was signed with', () => {
    const others: Outer[] = [
      { ...outer, id: '0190a0a0a0a070008000000000000010' as EventId },
      { ...outer, sender: bob.id },
      { ...outer, kind: 2 },
      { ...outer, epoch: 4 },
    ];
    for (const other of others) expect(open(signed, { outer: other })).toBe('event.invalid outer');
  });

  test('is its device’s alone: a sender or device that was put in its place, or has no certificate, is refused', () => {
    const as = (given: Partial<EventHeader>, seed = alice.deviceSeed) =>
      signEvent(scope, { ...header, ...given }, content, seed);
    expect(open(as({}, bob.deviceSeed))).toBe('event.forged signature');
    expect(open(as({ sender: bob.id }), { outer: { ...outer, sender: bob.id } })).toBe('event.forged device');
    expect(open(as({ device: bob.device }))).toBe('event.forged device');
    expect(open(signed, { keyOf: () => undefined })).toBe('event.forged device');
  });

  test('is not parsed before its signature is verified', () => {
    let parsed = 0;
    const decode = () => parsed++;
    for (let at = 0; at < signed.length; at++) {
      const changed = signed.slice();
      changed[at] = (changed[at] ?? 0) ^ 0x40;
      const result = outcome(() => openEvent({ scope, outer, keyOf: keysOf(alice) }, changed, decode));
      expect([
        'event.invalid layout',
        'event.invalid outer',
        'event.invalid kind',
        'event.forged device',
        'event.forged signature',
      ]).toContain(result);
    }
    expect(parsed).toBe(0);
  });

  test('is refused cut, empty and too large', () => {
    for (const size of [0, 1, EVENT_HEADER_BYTES, EVENT_HEADER_BYTES + 65])
      expect(open(signed.slice(0, size))).toBe('event.invalid layout');
    expect(open(new Uint8Array(EVENT_HEADER_BYTES + EVENT_CONTENT_BYTES_MAX + 65).fill(1))).toBe(
      'event.invalid layout',
    );
    const large = { kind: 'text', text: 'x'.repeat(EVENT_CONTENT_BYTES_MAX) };
    expect(outcome(() => signEvent(scope, header, large, alice.deviceSeed))).toBe('frame.tooLarge');
  });

  test('of a kind that is unknown inside is a value; one that breaks a limit is not', () => {
    const say = (value: object) => open(signEvent(scope, header, value, alice.deviceSeed));
    expect(say({ kind: 'poll', question: '?' })).toMatchObject({ content: { kind: 'unknown' } });
    expect(say({ kind: 'text', text: '' })).toBe('event.invalid content');
    expect(say([])).toBe('event.invalid content');
  });
});

describe('EVENT-2, EVENT-4 and ROOM-2: the chains', () => {
  test('are the hashes that are written down', () => {
    const body = createHash('sha256').update('body').digest();
    const place = (seq: number) => Buffer.from(seq.toString(16).padStart(16, '0'), 'hex');
    const event = (seq: number) => ({ seq, eventId: Buffer.from(header.id, 'hex'), hash: body });
    const written = (...seqs: number[]) =>
      createHash('sha256')
        .update(Buffer.concat(seqs.flatMap((seq) => [place(seq), Buffer.from(header.id, 'hex'), body])))
        .digest('hex')
        .slice(0, 32);
    const held = Array.from({ length: 100 }, (_, i) => event(i + 1));
    expect(toHex(historyHash(held, { from: 1, to: 2 }) ?? new Uint8Array())).toBe(written(1, 2));
    expect(toHex(historyHash(held, { from: 2, to: 2 }) ?? new Uint8Array())).toBe(written(2));
    const last = Array.from({ length: 64 }, (_, i) => i + 37);
    expect(toHex(historyHash(held, { from: 1, to: 100 }) ?? new Uint8Array())).toBe(written(...last));
    expect(historyHash(held.slice(40), { from: 1, to: 100 })).toBeUndefined();
    expect(historyHash(held, { from: 101, to: 100 })).toBeUndefined();
    const m1 = createHash('sha256').update(Buffer.alloc(32)).update(body).digest('hex');
    expect(toHex(membersHash(ZERO_HASH, body))).toBe(m1);
    expect(toHex(headOf(body))).toBe(toHex(body).slice(0, 32));
    const { channel, hash } = channelOf(signed);
    expect([channel, toHex(hash)]).toEqual([
      toHex(hash).slice(0, 32),
      createHash('sha256').update(signed).digest('hex'),
    ]);
  });

  test('show an event that is repeated, and one that is missing', () => {
    expect([followsN(0, 1), followsN(4, 5), followsN(4, 7)]).toEqual(['next', 'next', 'gap']);
    for (const n of [4, 3, 0]) expect(outcome(() => followsN(4, n))).toBe('event.invalid n');
  });
});
