// The vault file: the random database key, wrapped under a passphrase, or bare when there is none. Bytes in, bytes out.
import { argon2, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { concat, isEqual } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import {
  ARGON2_LANES,
  ARGON2_LANES_MAX,
  ARGON2_MEMORY_KIB,
  ARGON2_MEMORY_KIB_MAX,
  ARGON2_MEMORY_KIB_MIN,
  ARGON2_PASSES,
  ARGON2_PASSES_MAX,
} from '../protocol/limits.ts';
import { KEY_BYTES, NONCE_BYTES, SALT_BYTES, TAG_BYTES } from '../protocol/sizes.ts';
import { type Bytes, seal, unseal } from './primitives.ts';

const MAGIC = Buffer.from('sotto vault');
const VERSION = 1;
const KIND = { keyFile: 0, passphrase: 1 } as const;
const HEADER_BYTES = MAGIC.length + 2;
const COST_BYTES = 6;

const argon2id = promisify(argon2);

export type Argon2Cost = { readonly memoryKib: number; readonly passes: number; readonly lanes: number };
const COST: Argon2Cost = { memoryKib: ARGON2_MEMORY_KIB, passes: ARGON2_PASSES, lanes: ARGON2_LANES };

/** 32 bytes from a passphrase (NFKC, UTF-8). Argon2id, RFC 9106; off the main thread. */
export const stretch = async (passphrase: string, salt: Uint8Array, cost: Argon2Cost): Promise<Bytes> =>
  new Uint8Array(
    await argon2id('argon2id', {
      message: Buffer.from(passphrase.normalize('NFKC')),
      nonce: Buffer.from(salt),
      parallelism: cost.lanes,
      tagLength: KEY_BYTES,
      memory: cost.memoryKib,
      passes: cost.passes,
    }),
  );

/** Whether a vault opens without a passphrase. Throws `vault.damaged`. */
export const isKeyFile = (vault: Uint8Array): boolean => kindOf(vault) === KIND.keyFile;

/**
 * The vault of a database key. With a passphrase: magic ‖ version ‖ kind ‖ cost ‖ salt ‖ nonce ‖ sealed key, everything
 * before the sealed key authenticated with it. Without: magic ‖ version ‖ kind ‖ key, in clear, for a file only its owner reads.
 */
export const makeVault = async (databaseKey: Uint8Array, passphrase?: string): Promise<Bytes> => {
  if (passphrase === undefined) return concat([MAGIC, Uint8Array.of(VERSION, KIND.keyFile), databaseKey]);
  if (passphrase === '') throw new SottoError('passphrase.empty');
  const salt = randomBytes(SALT_BYTES);
  const nonce = randomBytes(NONCE_BYTES);
  const header = concat([MAGIC, Uint8Array.of(VERSION, KIND.passphrase), encodeCost(COST), salt, nonce]);
  return concat([header, seal(await stretch(passphrase, salt, COST), nonce, databaseKey, header)]);
};

/** The database key. Throws `vault.damaged`, `passphrase.needed`, or `passphrase.wrong`. */
export const openVault = async (vault: Uint8Array, passphrase?: string): Promise<Bytes> => {
  if (kindOf(vault) === KIND.keyFile) return keyFileOf(vault);
  const headerEnd = HEADER_BYTES + COST_BYTES + SALT_BYTES + NONCE_BYTES;
  if (vault.length !== headerEnd + KEY_BYTES + TAG_BYTES) throw new SottoError('vault.damaged');
  const cost = decodeCost(vault.subarray(HEADER_BYTES));
  if (passphrase === undefined) throw new SottoError('passphrase.needed');
  const salt = vault.subarray(HEADER_BYTES + COST_BYTES, headerEnd - NONCE_BYTES);
  const nonce = vault.subarray(headerEnd - NONCE_BYTES, headerEnd);
  const key = unseal(
    await stretch(passphrase, salt, cost),
    nonce,
    vault.subarray(headerEnd),
    vault.subarray(0, headerEnd),
  );
  if (key === undefined) throw new SottoError('passphrase.wrong');
  return key;
};

const keyFileOf = (vault: Uint8Array): Bytes => {
  if (vault.length !== HEADER_BYTES + KEY_BYTES) throw new SottoError('vault.damaged');
  return new Uint8Array(vault.subarray(HEADER_BYTES));
};

const kindOf = (vault: Uint8Array): number => {
  if (vault.length < HEADER_BYTES || !isEqual(vault.subarray(0, MAGIC.length), MAGIC))
    throw new SottoError('vault.damaged');
  const [version, kind] = [vault[MAGIC.length], vault[MAGIC.length + 1] ?? -1];
  if (version !== VERSION || (kind !== KIND.keyFile && kind !== KIND.passphrase)) throw new SottoError('vault.damaged');
  return kind;
};

const encodeCost = ({ memoryKib, passes, lanes }: Argon2Cost): Uint8Array => {
  const out = Buffer.alloc(COST_BYTES);
  out.writeUInt32BE(memoryKib);
  out.writeUInt8(passes, 4);
  out.writeUInt8(lanes, 5);
  return out;
};

// A file that asks for less would be weak, one that asks for more would be an attack on this machine's memory.
const decodeCost = (bytes: Uint8Array): Argon2Cost => {
  const view = Buffer.from(bytes);
  const cost = { memoryKib: view.readUInt32BE(0), passes: view.readUInt8(4), lanes: view.readUInt8(5) };
  const fits =
    cost.memoryKib >= ARGON2_MEMORY_KIB_MIN &&
    cost.memoryKib <= ARGON2_MEMORY_KIB_MAX &&
    cost.passes >= 1 &&
    cost.passes <= ARGON2_PASSES_MAX &&
    cost.lanes >= 1 &&
    cost.lanes <= ARGON2_LANES_MAX;
  if (!fits) throw new SottoError('vault.damaged');
  return cost;
};
