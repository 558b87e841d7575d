// Who someone is: the root secret and what is derived from it, and every textual form of an address.
import type { LocalKeys } from '../ports.ts';
import { SottoError } from '../protocol/errors.ts';
import { ENDS_EARLY } from '../protocol/invite-link.ts';
import { NAME_CHARS_MAX } from '../protocol/limits.ts';
import { bytesOfAddressWords, bytesOfPhrase, splitWords, wordsOfBytes } from '../protocol/word-list.ts';
import { addressOf, keyOfAddress } from './address.ts';
import { type Bytes, ed25519Public, hkdf, x25519Public } from './primitives.ts';
import { signalIdentity } from './session.ts';
import { isPrimeOrderKey } from './subgroup.ts';

export const ROOT_BYTES = 16;
const ADDRESS_CHARS_MIN = 28;

/** The secrets of an account, 32 bytes each, derived from the root and kept instead of it. */
export type Secrets = {
  readonly identitySeed: Bytes;
  readonly linkSecret: Bytes;
  readonly signalSecret: Bytes;
  readonly backupKey: Bytes;
  readonly serversKey: Bytes;
};

/** What the root secret of 16 bytes gives: HKDF-SHA-256 with info `sotto 1` ‖ label, one label per use. */
export const deriveSecrets = (root: Uint8Array): Secrets => {
  const derive = (label: string) => hkdf(root, `sotto 1 ${label}`);
  return {
    identitySeed: derive('identity'),
    linkSecret: derive('link'),
    signalSecret: derive('signal'),
    backupKey: derive('backup'),
    serversKey: derive('servers'),
  };
};

/** The keys that prove the account to others. `installId` is 16 random bytes of this copy of the store. */
export const localKeys = (secrets: Secrets, installId: Bytes): LocalKeys => ({
  identitySeed: secrets.identitySeed,
  linkSecret: secrets.linkSecret,
  installId,
  publicKeys: {
    identityKey: ed25519Public(secrets.identitySeed),
    linkKey: x25519Public(secrets.linkSecret),
    signalKey: signalIdentity(secrets.signalSecret).publicKey,
  },
});

/** The root secret as 12 words. BIP-39, English list. */
export const phraseOf = (root: Uint8Array): string => wordsOfBytes(root);

/** The root secret of 12 words, in any case and spacing. Throws `words.count`, `words.unknown`, `words.checksum`. */
export const rootOfPhrase = (phrase: string): Bytes => bytesOfPhrase(phrase);

/** The public key as 24 words. */
export const wordsOf = (identityKey: Uint8Array): string => wordsOfBytes(identityKey);

/** A link that holds the address and the nickname. */
export const linkOf = (address: string, nickname: string): string =>
  `sotto:${address}?name=${encodeURIComponent(nickname)}`;

export type ParsedAddress = { readonly address: string; readonly identityKey: Bytes; readonly nickname?: string };

/**
 * The address in `text`: an onion address, 24 words, or a `sotto:` link. Throws `address.invalid`, `link.invalid`,
 * `words.*` (12 words are a recovery phrase: `words.recovery`), or `key.invalid` for a key nobody should use.
 */
export const parseAddress = (text: string): ParsedAddress => {
  const trimmed = text.trim();
  if (/^sotto:/i.test(trimmed)) return parseLink(trimmed);
  const words = splitWords(trimmed);
  // Nobody leaves out half an address: it is a name.
  if (words.length === 1 && trimmed.length < ADDRESS_CHARS_MIN)
    throw new SottoError('address.invalid', {
      message: `${JSON.stringify(trimmed)} is no address or link: ask them for what \`sotto id\` shows`,
    });
  const identityKey = words.length > 1 ? bytesOfAddressWords(words) : keyOfAddress(trimmed);
  return checked(identityKey);
};

const parseLink = (link: string): ParsedAddress => {
  const match = /^sotto:([a-z2-7]{56})\.onion(?:\?(.*))?$/i.exec(link);
  if (/^sotto:[a-z2-7]{0,56}(\.(o|on|oni|onio)?)?$/i.test(link))
    throw new SottoError('link.invalid', { message: ENDS_EARLY });
  if (match === null)
    throw new SottoError('link.invalid', { message: 'A link is `sotto:`, an address, and perhaps `?name=…`' });
  const parsed = checked(keyOfAddress(match[1] ?? ''));
  const nickname = new URLSearchParams(match[2] ?? '').get('name')?.trim();
  if (nickname === undefined || nickname === '' || nickname.length > NAME_CHARS_MAX || !nickname.isWellFormed())
    return parsed;
  return { ...parsed, nickname };
};

const checked = (identityKey: Bytes): ParsedAddress => {
  if (!isPrimeOrderKey(identityKey)) throw new SottoError('key.invalid');
  return { address: addressOf(identityKey), identityKey };
};
