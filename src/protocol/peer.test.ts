import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromHex } from './bytes.ts';
import { SottoError } from './errors.ts';
import type { MessageId } from './ids.ts';
import { decodeBody, decodeFrame, encodeBody, encodeFrame, type PeerFrame, type SealedBody } from './peer.ts';

const A = 'a'.repeat(32) as MessageId;
const B = 'b'.repeat(32) as MessageId;
const FRAMES: readonly PeerFrame[] = [
  { kind: 'resume', session: A, sent: 3, received: 4 },
  { kind: 'request', id: A, bundle: 'AAAA', nickname: 'bob', note: 'hi' },
  { kind: 'reset', session: A, bundle: 'AAAA' },
  { kind: 'ping', n: 1 },
  { kind: 'stream', transfer: A, from: 9 },
  { kind: 'sealed', id: A, type: 2, ciphertext: new Uint8Array([1, 2, 3]) },
  { kind: 'ack', ids: [A, B] },
  { kind: 'chunk', index: 7, bytes: new Uint8Array(40) },
];
const TEXT: SealedBody = { kind: 'text', id: A, text: 'hello', sentAt: 1 };

describe('link frames', () => {
  test('come back as they were sent', () => {
    for (const frame of FRAMES) expect(decodeFrame(encodeFrame(frame))).toEqual(frame);
  });

  test('may have fields that a newer version added', () => {
    const plain = FRAMES.filter((frame) => encodeFrame(frame)[0] === 0);
    expect(plain.length).toBeGreaterThan(4);
    for (const frame of plain)
      expect(decodeFrame(encodeFrame({ ...frame, newer: { of: 1 } } as unknown as PeerFrame))).toEqual(frame);
  });

  test('of unknown kind, cut, or with a field of the wrong shape are refused', () => {
    const bad = ['ff', '00', '01aabb', '02aabb', '0300', `00${Buffer.from('{"kind":"ping","n":-1}').toString('hex')}`];
    for (const hex of bad) expect(() => decodeFrame(fromHex(hex))).toThrow(SottoError);
  });

  test('a mutated frame gives a frame or a typed error, nothing else', () => {
    fc.assert(
      fc.property(fc.constantFrom(...FRAMES), fc.nat(), fc.nat(255), fc.nat(), (frame, at, byte, cut) => {
        const bytes = encodeFrame(frame);
        bytes[at % bytes.length] = byte;
        try {
          decodeFrame(bytes.slice(0, cut % (bytes.length + 1)));
        } catch (error) {
          expect(error).toBeInstanceOf(SottoError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('sealed bodies', () => {
  test('fill a bucket and come back', () => {
    expect(encodeBody(TEXT).length).toBe(320);
    expect(decodeBody(encodeBody(TEXT))).toEqual(TEXT);
  });

  test('may have fields that a newer version added', () => {
    expect(decodeBody(encodeBody({ ...TEXT, newer: { of: 1 } } as unknown as SealedBody))).toEqual(TEXT);
  });

  test('of a newer kind keep their id', () => {
    const bytes = encodeBody({ ...TEXT, kind: 'poll' } as unknown as SealedBody);
    expect(decodeBody(bytes)).toEqual({ kind: 'unknown', id: A });
  });

  test('with padding that is not zero, a wrong bucket or a text over 16 KiB are refused', () => {
    const bytes = encodeBody(TEXT);
    bytes[319] = 1;
    expect(() => decodeBody(bytes)).toThrow(SottoError);
    expect(() => decodeBody(new Uint8Array(321))).toThrow(SottoError);
    expect(() => decodeBody(encodeBody({ ...TEXT, text: 'x'.repeat(16 * 1024 + 1) }))).toThrow(SottoError);
  });
});
