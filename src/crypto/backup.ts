// The backup container: sealed chunks with a counter and a marked end, under a key of the account or of a passphrase.
import { randomBytes } from 'node:crypto';
import { concat, isEqual } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES, BACKUP_CHUNK_BYTES } from '../protocol/limits.ts';
import { KEY_BYTES, SALT_BYTES, TAG_BYTES } from '../protocol/sizes.ts';
import { BACKUP_MAGIC } from '../protocol/version.ts';
import { type Bytes, chunkNonce, hkdf, seal, unseal } from './primitives.ts';
import { stretch } from './vault.ts';

const MAGIC = Buffer.from(BACKUP_MAGIC);
const VERSION = 2;
// Without a check of the key.
const VERSION_UNCHECKED = 1;
const KIND = { account: 0, passphrase: 1 } as const;

const HEAD_BYTES = MAGIC.length + 2 + SALT_BYTES;
export const BACKUP_HEADER_BYTES = HEAD_BYTES + TAG_BYTES;
// No chunk has it: the last byte of theirs is 0 or 1.
const CHECK_NONCE = Buffer.concat([chunkNonce(0, false).subarray(0, -1), Uint8Array.of(2)]);
export const SEALED_BACKUP_CHUNK_BYTES = BACKUP_CHUNK_BYTES + TAG_BYTES;

/** What opens a backup: the account's backup key, or a passphrase. */
export type BackupSecret =
  | { readonly kind: 'account'; readonly key: Uint8Array }
  | { readonly kind: 'passphrase'; readonly passphrase: string };

/**
 * Seals a stream of bytes into chunks. Header: magic ‖ version ‖ kind ‖ salt ‖ check, part of what every chunk authenticates; the
 * check is the tag of nothing with the rest of the header, by which a wrong passphrase is told from a damaged chunk.
 */
export class BackupSealer {
  readonly header: Bytes;
  readonly #key: Uint8Array;
  #rest: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  #counter = 0;

  private constructor(header: Bytes, key: Uint8Array) {
    this.header = header;
    this.#key = key;
  }

  static async create(secret: BackupSecret): Promise<BackupSealer> {
    const salt = randomBytes(SALT_BYTES);
    const head = concat([MAGIC, Uint8Array.of(VERSION, KIND[secret.kind]), salt]);
    const key = await keyOf(secret, salt);
    return new BackupSealer(concat([head, seal(key, CHECK_NONCE, new Uint8Array(), head)]), key);
  }

  /** The chunks that `bytes` complete. */
  write(bytes: Uint8Array): Bytes[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const chunks: Bytes[] = [];
    while (this.#rest.length > BACKUP_CHUNK_BYTES) {
      chunks.push(this.#seal(this.#rest.subarray(0, BACKUP_CHUNK_BYTES), false));
      this.#rest = this.#rest.subarray(BACKUP_CHUNK_BYTES);
    }
    return chunks;
  }

  /** The last chunk. */
  end(): Bytes {
    return this.#seal(this.#rest, true);
  }

  #seal(plaintext: Uint8Array, last: boolean): Bytes {
    return seal(this.#key, chunkNonce(this.#counter++, last), plaintext, this.header);
  }
}

/** Opens the chunks of a backup in order. */
export class BackupOpener {
  /** Where the first chunk begins. */
  readonly headerBytes: number;
  readonly #header: Uint8Array;
  readonly #key: Uint8Array;
  #counter = 0;

  private constructor(header: Uint8Array, key: Uint8Array) {
    this.headerBytes = header.length;
    this.#header = header;
    this.#key = key;
  }

  /**
   * Takes the first BACKUP_HEADER_BYTES of a file. Throws `backup.damaged` for what is no backup, `backup.version` for a newer one,
   * `passphrase.needed` for the wrong kind of secret, `passphrase.wrong` for the wrong one.
   */
  static async create(header: Uint8Array, secret: BackupSecret): Promise<BackupOpener> {
    if (header.length !== BACKUP_HEADER_BYTES || !isEqual(header.subarray(0, MAGIC.length), MAGIC))
      throw new SottoError('backup.damaged', { message: 'This is no sotto backup' });
    const [version, kind] = [header[MAGIC.length] ?? 0, header[MAGIC.length + 1]];
    if (version > VERSION) throw new SottoError('backup.version');
    if ((version !== VERSION && version !== VERSION_UNCHECKED) || (kind !== KIND.account && kind !== KIND.passphrase))
      throw new SottoError('backup.damaged');
    if (kind !== KIND[secret.kind])
      throw new SottoError('passphrase.needed', {
        message:
          kind === KIND.passphrase
            ? 'This backup was made with a passphrase: give it'
            : 'This backup opens with the recovery phrase: give it',
      });
    const head = header.subarray(0, HEAD_BYTES);
    const key = await keyOf(secret, head.subarray(MAGIC.length + 2));
    if (version === VERSION_UNCHECKED) return new BackupOpener(head, key);
    if (unseal(key, CHECK_NONCE, header.subarray(HEAD_BYTES), head) === undefined)
      throw wrong('The passphrase or phrase is not right, or the head of the backup is damaged');
    return new BackupOpener(header, key);
  }

  /** The plaintext of the next chunk; `last` says whether the file ends with it. Throws `backup.damaged`; `passphrase.wrong` where nothing tells the two apart. */
  read(sealed: Uint8Array, last: boolean): Bytes {
    const plaintext = unseal(this.#key, chunkNonce(this.#counter, last), sealed, this.#header);
    if (plaintext !== undefined) {
      this.#counter++;
      return plaintext;
    }
    if (this.#counter > 0 || this.headerBytes === BACKUP_HEADER_BYTES) throw new SottoError('backup.damaged');
    throw wrong('The passphrase or phrase is not right, or the backup is damaged');
  }
}

const wrong = (message: string): SottoError => new SottoError('passphrase.wrong', { message });

const keyOf = (secret: BackupSecret, salt: Uint8Array): Promise<Bytes> | Bytes =>
  secret.kind === 'account'
    ? hkdf(secret.key, 'sotto backup 1', KEY_BYTES, salt)
    : stretch(secret.passphrase, salt, { memoryKib: ARGON2_MEMORY_KIB, passes: ARGON2_PASSES, lanes: ARGON2_LANES });
