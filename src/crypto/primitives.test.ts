import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../protocol/bytes.ts';
import { ed25519Public, ed25519Sign, ed25519Verify, hkdf, seal, unseal, x25519, x25519Public } from './primitives.ts';

const text = (bytes: Uint8Array | undefined) => toHex(bytes ?? new Uint8Array());

describe('primitives', () => {
  test('Ed25519 gives key and signature of RFC 8032 test 1', () => {
    const seed = fromHex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60');
    expect(text(ed25519Public(seed))).toBe('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a');
    const signature = ed25519Sign(seed, new Uint8Array());
    expect(text(signature).slice(0, 32)).toBe('e5564300c360ac729086e2cc806e828a');
    expect(ed25519Verify(ed25519Public(seed), new Uint8Array(), signature)).toBe(true);
    expect(ed25519Verify(ed25519Public(seed), Uint8Array.of(1), signature)).toBe(false);
  });

  test('X25519 gives the public key of RFC 7748 section 6.1, one secret on both sides, and refuses a key of small order', () => {
    const alice = new Uint8Array(32).fill(7);
    const bob = fromHex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb');
    expect(text(x25519Public(bob))).toBe('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f');
    expect(text(x25519(alice, x25519Public(bob)))).toBe(text(x25519(bob, x25519Public(alice))));
    expect(x25519(bob, new Uint8Array(32))).toBeUndefined();
  });

  test('HKDF gives RFC 5869 test 3', () => {
    const okm = hkdf(new Uint8Array(22).fill(0x0b), '', 42);
    expect(text(okm).slice(0, 32)).toBe('8da4e775a563c18f715f802a063c5a31');
  });

  test('sealed data opens with the same key, nonce and AAD only', () => {
    const [key, nonce] = [new Uint8Array(32).fill(1), new Uint8Array(12)];
    const sealed = seal(key, nonce, fromHex('aabb'), fromHex('01'));
    expect(text(unseal(key, nonce, sealed, fromHex('01')))).toBe('aabb');
    expect(unseal(key, nonce, sealed, fromHex('02'))).toBeUndefined();
    expect(unseal(new Uint8Array(32), nonce, sealed, fromHex('01'))).toBeUndefined();
    expect(unseal(key, nonce, sealed.slice(0, 15), fromHex('01'))).toBeUndefined();
  });
});
