// The only maker of text that may go to a terminal: what could move the cursor, hide, reorder or deceive is made visible.

declare const safe: unique symbol;
/** Text without control characters, escape sequences, bidi controls or hidden runs. */
export type SafeText = string & { readonly [safe]: true };

const MARKS_MAX = 4;
const CONTROL_PICTURES = 0x2400;

// Bidi embeddings, overrides, isolates and marks; zero-width and other characters that draw nothing.
const HIDDEN =
  /[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\u{1d173}-\u{1d17a}\u{e0000}-\u{e007f}]/gu;
// Joiners are kept between letters that need them, variation selectors behind a character.
const LOOSE_JOINER =
  /(?<![\p{L}\p{M}\p{Extended_Pictographic}\p{Emoji_Modifier}])[\u200c\u200d]|[\u200c\u200d](?![\p{L}\p{M}\p{Extended_Pictographic}])/gu;
const NOT_CHARACTERS = /[\ufdd0-\ufdef\u{fffe}\u{ffff}\u{10eeee}]|[\ud800-\udfff]/gu;
const MANY_MARKS = new RegExp(`(\\p{M}{${MARKS_MAX}})\\p{M}+`, 'gu');

/** Text of several lines: line feeds stay, tabs become spaces, every other control is drawn as a picture. Idempotent. */
export const safeText = (text: string): SafeText =>
  clean(text.replace(/\r\n?|[\u2028\u2029\u0085]/g, '\n').replaceAll('\t', '    '), (code) => code === 10) as SafeText;

/** Text that must be one line: line breaks are drawn too. Idempotent. */
export const safeLine = (text: string): SafeText => clean(text.replaceAll('\t', ' '), () => false) as SafeText;

/** A name: one line in NFC, at most 64 characters, without spaces around it; `?` when nothing is left. */
export const safeName = (name: string): SafeText => {
  const line = safeLine(name.normalize('NFC'))
    .trim()
    .slice(0, 64)
    .toWellFormed()
    .replace(/^\p{M}+/u, '');
  return (line === '' ? '?' : line) as SafeText;
};

const clean = (text: string, keeps: (code: number) => boolean): string => {
  const visible = [...text.toWellFormed()].map((char) => drawn(char, keeps)).join('');
  const shown = visible.replace(NOT_CHARACTERS, '\ufffd').replace(HIDDEN, '').replace(LOOSE_JOINER, '');
  return shown.replace(MANY_MARKS, '$1');
};

const drawn = (char: string, keeps: (code: number) => boolean): string => {
  const code = char.codePointAt(0) ?? 0;
  if (keeps(code)) return char;
  if (code < 0x20) return String.fromCodePoint(CONTROL_PICTURES + code);
  if (code === 0x7f) return '\u2421';
  if (code >= 0x80 && code < 0xa0) return '\ufffd';
  if (code === 0x2028 || code === 0x2029) return '\u2424';
  return char;
};
