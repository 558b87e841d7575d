// Argon2 of a simulated world: the real one, waited for before time moves on, and computed once for each passphrase and salt.
import type { Argon2Cost } from '../../src/crypto/vault.ts';
import { toHex } from '../../src/protocol/bytes.ts';

type Stretch = (passphrase: string, salt: Uint8Array, cost: Argon2Cost) => Promise<Uint8Array<ArrayBuffer>>;

const known = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();

/** Comes to rest with the last computation. */
export const stretching = {
  settled: async (): Promise<void> => {
    await Promise.all(known.values());
  },
};

/** `stretch` of crypto/vault.ts, remembered. */
export const remembered =
  (stretch: Stretch): Stretch =>
  (passphrase, salt, cost) => {
    const key = `${passphrase} ${toHex(salt)} ${JSON.stringify(cost)}`;
    const made = known.get(key) ?? stretch(passphrase, salt, cost);
    known.set(key, made);
    return made.then((bytes) => bytes.slice());
  };
