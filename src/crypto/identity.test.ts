import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { addressOf } from './address.ts';
import { makeCertificate, readCertificate } from './certificate.ts';
import { deriveSecrets, linkOf, localKeys, parseAddress, phraseOf, rootOfPhrase, wordsOf } from './identity.ts';
import { ed25519Public } from './primitives.ts';
import { isPrimeOrderKey } from './subgroup.ts';

const code = (text: string): unknown => {
  try {
    parseAddress(text);
    return 'accepted';
  } catch (error) {
    return error instanceof SottoError ? error.code : error;
  }
};

const secrets = deriveSecrets(new Uint8Array(16).fill(5));
const keys = localKeys(secrets, new Uint8Array(16));
const key = keys.publicKeys.identityKey;
const address = addressOf(key);

describe('identity', () => {
  test('ID-1: the same phrase gives the same keys, no two of them alike', () => {
    const root = new Uint8Array(randomBytes(16));
    expect(rootOfPhrase(` ${phraseOf(root).toUpperCase()} `)).toEqual(root);
    const all = Object.values(deriveSecrets(root)).map((bytes) => toHex(bytes));
    expect(new Set(all).size).toBe(5);
  });

  test('ID-2: every form of an address gives the same address', () => {
    expect(parseAddress(address).address).toBe(address);
    expect(parseAddress(wordsOf(key)).address).toBe(address);
    expect(parseAddress(linkOf(address, 'Bob & Co'))).toMatchObject({ address, nickname: 'Bob & Co' });
    expect(wordsOf(key).split(' ')).toHaveLength(24);
  });

  test('what is mistyped is named, and a recovery phrase is refused as one', () => {
    const words = wordsOf(key).split(' ');
    expect(code([...words.slice(0, 23), 'abandom'].join(' '))).toBe('words.unknown');
    expect(code(words.slice(0, 23).join(' '))).toBe('words.count');
    expect(code(words.slice(0, 12).join(' '))).toBe('words.recovery');
    expect(code(`sotto:${address.slice(1)}`)).toBe('link.invalid');
    for (const cut of ['sotto:', `sotto:${address.slice(0, 20)}`, `sotto:${address.slice(0, -2)}`])
      expect(() => parseAddress(cut)).toThrow('This link ends early: put it in quotes');
    expect(code('hello')).toBe('address.invalid');
    const swapped = [words[1], words[0], ...words.slice(2)].join(' ');
    if (words[0] !== words[1]) expect(['words.checksum', 'key.invalid', 'accepted']).toContain(code(swapped));
    try {
      parseAddress([...words.slice(0, 23), 'abandom'].join(' '));
    } catch (error) {
      expect((error as SottoError).message).toContain('abandon');
    }
  });

  // A phrase has four bits of checksum and an address in words eight: what fits by chance is another one.
  test('a wrong word or letter is told', () => {
    const others = (words: readonly string[], read: (text: string) => unknown) =>
      words.flatMap((word, at) => {
        const other = words.find((one) => one !== word) ?? '';
        return [read([...words.slice(0, at), other, ...words.slice(at + 1)].join(' '))];
      });
    expect(new Set(others(wordsOf(key).split(' '), code))).toEqual(new Set(['words.checksum']));
    const phrase = phraseOf(fromHex('000102030405060708090a0b0c0d0e0f')).split(' ');
    const told = others(phrase, (text) => {
      try {
        return rootOfPhrase(text);
      } catch (error) {
        return (error as SottoError).code;
      }
    });
    expect(told.filter((one) => one === 'words.checksum').length).toBeGreaterThan(9);
    for (let at = 0; at < 56; at++) {
      const other = address[at] === 'b' ? 'c' : 'b';
      expect(code(`${address.slice(0, at)}${other}${address.slice(at + 1)}`), `letter ${at + 1}`).toBe(
        'address.invalid',
      );
    }
  });

  test('any text gives an address or a typed error', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(typeof code(text)).toBe('string');
      }),
    );
  });
});

// The eight points of small order, in their canonical encodings.
const SMALL = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '0000000000000000000000000000000000000000000000000000000000000000',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
];

describe('public keys', () => {
  test('of small order are refused as keys and as addresses', () => {
    for (const hex of SMALL) {
      const small = fromHex(hex);
      expect(isPrimeOrderKey(small)).toBe(false);
      expect(code(addressOf(small))).toBe('key.invalid');
    }
  });

  test('that are not canonical or no point are refused, real ones accepted', () => {
    const notCanonical = new Uint8Array(32).fill(0xff);
    notCanonical[31] = 0x7f;
    notCanonical[0] = 0xee;
    expect(isPrimeOrderKey(notCanonical)).toBe(false);
    expect(isPrimeOrderKey(new Uint8Array(31))).toBe(false);
    for (let i = 0; i < 5; i++) expect(isPrimeOrderKey(ed25519Public(randomBytes(32)))).toBe(true);
  });
});

describe('ID-4: the certificate', () => {
  const certificate = makeCertificate(keys.publicKeys, keys.identitySeed);

  test('of a key that signs for everybody is refused for its key', () => {
    for (const hex of SMALL) {
      const identityKey = fromHex(hex);
      const forged = makeCertificate({ ...keys.publicKeys, identityKey }, keys.identitySeed);
      expect(() => readCertificate(forged)).toThrow(expect.objectContaining({ code: 'key.invalid' }));
    }
  });

  test('gives back the three keys', () => {
    expect(readCertificate(certificate)).toEqual(keys.publicKeys);
  });

  test('with any byte changed, or cut, is refused', () => {
    fc.assert(
      fc.property(fc.nat(certificate.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = certificate.slice();
        changed[at] = (changed[at] ?? 0) ^ flip;
        expect(() => readCertificate(changed)).toThrow(SottoError);
      }),
      { numRuns: 60 },
    );
    expect(() => readCertificate(certificate.slice(1))).toThrow(SottoError);
  });
});
