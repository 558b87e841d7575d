import { expect, test } from 'vitest';
import { Sealer } from '../../src/server/key-file.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { bytesOf, freshServer } from './server.ts';
import { stateStoreContract } from './state-store-contract.ts';

stateStoreContract('SQLite', freshServer);

test('a sealed secret opens under its key and its label only, whole', () => {
  const random = seededRandom(3);
  const sealer = new Sealer(random.bytes(32), random);
  const sealed = sealer.seal('totp of alice', bytesOf('secret'));
  expect(sealer.open('totp of alice', sealed)).toEqual(bytesOf('secret'));
  expect(Buffer.from(sealed).includes('secret')).toBe(false);
  expect(sealer.seal('totp of alice', bytesOf('secret'))).not.toEqual(sealed);
  const wrong = expect.objectContaining({ code: 'keyFile.wrong' });
  expect(() => sealer.open('totp of bob', sealed)).toThrow(wrong);
  expect(() => new Sealer(random.bytes(32), random).open('totp of alice', sealed)).toThrow(wrong);
  for (const size of [0, 5, 12, sealed.length - 1])
    expect(() => sealer.open('totp of alice', sealed.subarray(0, size))).toThrow(wrong);
});
