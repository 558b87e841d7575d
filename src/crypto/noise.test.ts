import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { Handshake } from './noise.ts';

// The vector of this name in the public cacophony collection of Noise test vectors.
const VECTOR = {
  prologue: '4a6f686e2047616c74',
  initStatic: 'e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1',
  initEphemeral: '893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a',
  respStatic: '4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893',
  respEphemeral: 'bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b',
  messages: [
    [
      '4c756477696720766f6e204d69736573',
      'ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d69736573',
    ],
    [
      '4d757272617920526f746862617264',
      '95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f14480884381cbad1f276e038c48378ffce2b65285e08d6b68aaa3629a5a8639392490e5b9bd5269c2f1e4f488ed8831161f19b7815528f8982ffe09be9b5c412f8a0db50f8814c7194e83f23dbd8d162c9326ad',
    ],
    [
      '462e20412e20486179656b',
      'c7195ffacac1307ff99046f219750fc47693e23c3cb08b89c2af808b444850a80ae475b9df0f169ae80a89be0865b57f58c9fea0d4ec82a286427402f113e4b6ae769a1d95941d49b25030',
    ],
    ['4361726c204d656e676572', '96763ed773f8e47bb3712f0e29b3060ffc956ffc146cee53d5e1df'],
    ['4a65616e2d426170746973746520536179', '3e40f15f6f3a46ae446b253bf8b1d9ffb6ed9b174d272328ff91a7e2e5c79c07f5'],
    [
      '457567656e2042f6686d20766f6e2042617765726b',
      'eb3f3515110702e047a6c9da4478b6ead94873c11c0f2d710ddb3f09fce024b3a58502ae3f',
    ],
  ],
} as const;

const pair = (prologues: readonly [string, string] = [VECTOR.prologue, VECTOR.prologue]) => ({
  initiator: new Handshake({
    role: 'initiator',
    prologue: fromHex(prologues[0]),
    staticSecret: fromHex(VECTOR.initStatic),
    ephemeralSecret: fromHex(VECTOR.initEphemeral),
  }),
  responder: new Handshake({
    role: 'responder',
    prologue: fromHex(prologues[1]),
    staticSecret: fromHex(VECTOR.respStatic),
    ephemeralSecret: fromHex(VECTOR.respEphemeral),
  }),
});

describe('Noise XX', () => {
  test('LINK-2: writes and reads the public test vector byte for byte', () => {
    const { initiator, responder } = pair();
    VECTOR.messages.slice(0, 3).forEach(([payload, ciphertext], index) => {
      const [from, to] = index % 2 === 0 ? [initiator, responder] : [responder, initiator];
      expect(toHex(from.write(fromHex(payload)))).toBe(ciphertext);
      expect(toHex(to.read(fromHex(ciphertext)))).toBe(payload);
    });
    const [mine, theirs] = [initiator.finish(), responder.finish()];
    VECTOR.messages.slice(3).forEach(([payload, ciphertext], index) => {
      const [from, to] = index % 2 === 0 ? [theirs, mine] : [mine, theirs];
      expect(toHex(from.send.encrypt(fromHex(payload)))).toBe(ciphertext);
      expect(toHex(to.receive.decrypt(fromHex(ciphertext)) ?? new Uint8Array())).toBe(payload);
    });
  });

  test('LINK-3: another prologue, that is another dialled address, ends the handshake', () => {
    const { initiator, responder } = pair(['aa', 'bb']);
    responder.read(initiator.write(new Uint8Array()));
    expect(() => initiator.read(responder.write(new Uint8Array()))).toThrow(SottoError);
  });

  test('a flipped or cut message is refused with a typed error', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean(), (at, flip, cut) => {
        const { initiator, responder } = pair();
        responder.read(initiator.write(fromHex('01')));
        const second = responder.write(fromHex('02'));
        const where = at % second.length;
        if (!cut) second[where] = (second[where] ?? 0) ^ flip;
        try {
          initiator.read(cut ? second.slice(0, where) : second);
          expect.unreachable();
        } catch (error) {
          expect(error).toBeInstanceOf(SottoError);
        }
      }),
    );
  });

  test('a low-order ephemeral key is refused', () => {
    const { responder } = pair();
    responder.read(new Uint8Array(32));
    expect(() => responder.write(new Uint8Array())).toThrow(SottoError);
  });
});
