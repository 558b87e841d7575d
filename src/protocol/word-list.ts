// Bytes as words that people write down: BIP-39, English list, with its checksum.
import { entropyToMnemonic, mnemonicToEntropy } from '@scure/bip39';
import { wordlist } from '@scure/bip39/wordlists/english.js';
import { SottoError } from './errors.ts';
import { editDistance } from './near.ts';

const PHRASE_WORDS = 12;
const ADDRESS_WORDS = 24;
const NEIGHBOURS_MAX = 3;

/** The words of 16 or 32 bytes. */
export const wordsOfBytes = (bytes: Uint8Array): string => entropyToMnemonic(bytes, wordlist);

/** A text as words, in any case and spacing. */
export const splitWords = (text: string): string[] =>
  text
    .toLowerCase()
    .split(/\s+/u)
    .filter((word) => word !== '');

const countText = (count: number): string =>
  count === 0 ? 'there is none' : count === 1 ? 'this is 1' : `these are ${count}`;

/** The 16 bytes of a recovery phrase. Throws `words.count`, `words.unknown`, `words.checksum`. */
export const bytesOfPhrase = (phrase: string): Uint8Array<ArrayBuffer> => {
  const words = splitWords(phrase);
  if (words.length !== PHRASE_WORDS)
    throw new SottoError('words.count', { message: `A recovery phrase has 12 words; ${countText(words.length)}` });
  return bytesOfWords(words);
};

/** The 32 bytes of an address in words. Throws the same, and `words.recovery` for a recovery phrase. */
export const bytesOfAddressWords = (words: readonly string[]): Uint8Array<ArrayBuffer> => {
  if (words.length === PHRASE_WORDS) throw new SottoError('words.recovery');
  if (words.length !== ADDRESS_WORDS)
    throw new SottoError('words.count', { message: `An address has 24 words; ${countText(words.length)}` });
  return bytesOfWords(words);
};

const bytesOfWords = (words: readonly string[]): Uint8Array<ArrayBuffer> => {
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

const neighbours = (word: string): string[] =>
  wordlist
    .map((known) => ({ known, distance: editDistance(word.slice(0, 16), known) }))
    .filter(({ distance }) => distance <= 2)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, NEIGHBOURS_MAX)
    .map(({ known }) => known);
