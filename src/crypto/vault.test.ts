import { describe, expect, test } from 'vitest';
import { codeOf } from '../testing/code.ts';
import { isKeyFile, makeVault, openVault } from './vault.ts';

const KEY = new Uint8Array(32).fill(9);

describe('the vault', () => {
  test('opens with its passphrase, in any normal form of it, and with no other', async () => {
    const vault = await makeVault(KEY, 'caf\u00e9 au lait');
    expect(await openVault(vault, 'cafe\u0301 au lait')).toEqual(KEY);
    expect(await codeOf(openVault(vault, 'cafe au lait'))).toBe('passphrase.wrong');
    expect(await codeOf(openVault(vault))).toBe('passphrase.needed');
    expect(isKeyFile(vault)).toBe(false);
  });

  test('without a passphrase is a key file', async () => {
    const vault = await makeVault(KEY);
    expect(isKeyFile(vault)).toBe(true);
    expect(await openVault(vault)).toEqual(KEY);
    expect(await codeOf(makeVault(KEY, ''))).toBe('passphrase.empty');
  });

  test('that was cut, changed, or asks for too little or too much work is damaged or does not open', async () => {
    const vault = await makeVault(KEY, 'p');
    const cost = (memory: number, passes: number) => {
      const changed = Buffer.from(vault);
      changed.writeUInt32BE(memory, 13);
      changed.writeUInt8(passes, 17);
      return new Uint8Array(changed);
    };
    for (const bad of [
      vault.slice(1),
      vault.slice(0, 40),
      new Uint8Array(),
      cost(8, 3),
      cost(2 ** 31, 3),
      cost(65536, 0),
      cost(65536, 200),
    ])
      expect(await codeOf(openVault(bad, 'p'))).toBe('vault.damaged');
    const flipped = vault.slice();
    flipped[vault.length - 1] = (flipped[vault.length - 1] ?? 0) ^ 1;
    expect(await codeOf(openVault(flipped, 'p'))).toBe('passphrase.wrong');
  });
});
