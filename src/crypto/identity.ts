// Who someone is: the root secret and what is derived from it, and every textual form of an address.
import { entropyToMnemonic, mnemonicToEntropy } from '@scure/bip39';
import { wordlist } from '@scure/bip39/wordlists/english.js';
import type { LocalKeys } from '../ports.ts';
import { SottoError } from '../protocol/errors.ts';
import { NAME_CHARS_MAX } from '../protocol/limits.ts';
import { addressOf, keyOfAddress } from './address.ts';
import { type Bytes, ed25519Public, hkdf, x25519Public } from './primitives.ts';
import { signalIdentity } from './session.ts';
import { isPrimeOrderKey } from './subgroup.ts';

export const ROOT_BYTES = 16;
const PHRASE_WORDS = 12;
const ADDRESS_WORDS = 24;
const NEIGHBOURS_MAX = 3;

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
export const phraseOf = (root: Uint8Array): string => entropyToMnemonic(root, wordlist);

/** The root secret of 12 words, in any case and spacing. Throws `words.count`, `words.unknown`, `words.checksum`. */
export const rootOfPhrase = (phrase: string): Bytes => {
  const words = split(phrase);
  if (words.length !== PHRASE_WORDS)
    throw new SottoError('words.count', { message: `A recovery phrase has 12 words; these are ${words.length}` });
  return decodeWords(words);
};

/** The public key as 24 words. */
export const wordsOf = (identityKey: Uint8Array): string => entropyToMnemonic(identityKey, wordlist);

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
  const words = split(trimmed);
  const identityKey = words.length > 1 ? keyOfWords(words) : keyOfAddress(trimmed);
  return checked(identityKey);
};

const parseLink = (link: string): ParsedAddress => {
  const match = /^sotto:([a-z2-7]{56})\.onion(?:\?(.*))?$/i.exec(link);
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

const keyOfWords = (words: readonly string[]): Bytes => {
  if (words.length === PHRASE_WORDS) throw new SottoError('words.recovery');
  if (words.length !== ADDRESS_WORDS)
    throw new SottoError('words.count', { message: `An address has 24 words; these are ${words.length}` });
  return decodeWords(words);
};

const decodeWords = (words: readonly string[]): Bytes => {
  words.forEach((word, index) => {
    if (wordlist.includes(word)) return;
    const near = neighbours(word);
    throw new SottoError('words.unknown', {
      message: `Word ${index + 1}, ${JSON.stringify(word)}, is not in the list${near.length > 0 ? `: perhaps ${near.join(', ')}` : ''}`,
      details: { position: index + 1, word, near },
    });
  });
  try {
    return new Uint8Array(mnemonicToEntropy(words.join(' '), wordlist));
  } catch {
    throw new SottoError('words.checksum');
  }
};

const split = (text: string): string[] => text.trim().toLowerCase().split(/\s+/u);

const neighbours = (word: string): string[] =>
  wordlist
    .map((known) => ({ known, distance: editDistance(word.slice(0, 16), known) }))
    .filter(({ distance }) => distance <= 2)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, NEIGHBOURS_MAX)
    .map(({ known }) => known);

// Levenshtein's distance, row by row.
const editDistance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
};
