import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isEqual } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { addressOf, keyOfAddress } from './address.ts';

// A well-known service: its address is public and fixes the encoding.
const KNOWN = 'duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion';

test('a public address decodes to a key that encodes to it again', () => {
  expect(addressOf(keyOfAddress(KNOWN))).toBe(KNOWN);
  expect(addressOf(keyOfAddress(KNOWN.toUpperCase().replace('.ONION', '')))).toBe(KNOWN);
});

test('every key comes back from its address', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
      expect(isEqual(keyOfAddress(addressOf(key)), key)).toBe(true);
    }),
  );
});

test('a changed letter, a cut address and foreign text are refused', () => {
  const address = addressOf(randomBytes(32));
  const changed = (address[0] === 'a' ? 'b' : 'a') + address.slice(1);
  for (const bad of [changed, address.slice(1), 'hello', '', `${'1'.repeat(56)}.onion`])
    expect(() => keyOfAddress(bad)).toThrow(SottoError);
});

test('a letter outside the alphabet is named, with what it looks like', () => {
  const told = (text: string) => {
    try {
      return keyOfAddress(text);
    } catch (error) {
      return (error as Error).message;
    }
  };
  const address = addressOf(new Uint8Array(32).fill(7));
  expect(told(`${address.slice(0, 4)}0${address.slice(5)}`)).toBe('Letter 5, "0", is none of a–z and 2–7: perhaps o');
  expect(told(`é${address.slice(1)}`)).toBe('Letter 1, "é", is none of a–z and 2–7');
  expect(told(address.slice(1))).toContain('56 letters');
});
