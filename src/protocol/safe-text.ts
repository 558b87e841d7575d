// The only maker of text that may go to a terminal: what could move the cursor, hide, reorder or deceive is made visible.
import { FILE_NAME_BYTES_MAX, NAME_CHARS_MAX } from './limits.ts';

declare const safe: unique symbol;
/** Text without control characters, escape sequences, bidi controls or hidden runs. */
export type SafeText = string & { readonly [safe]: true };

const MARKS_MAX = 4;
const CONTROL_PICTURES = 0x2400;
const LINE_PICTURE = '\u2424';
const REPLACEMENT = '\ufffd';
// What Unicode draws a mark on that has nothing to stand on.
const BASE = '\u25cc';
// Stands at the end of a row from which something was removed that would have shown nothing, or a mark too many.
const REMOVED = '\u00ac';
const ZWNJ = '\u200c';
const ZWJ = '\u200d';

const PLAIN_TEXT = /^[\n\x20-\x7e]*$/;
const PLAIN_LINE = /^[\x20-\x7e]*$/;
// What shows nothing, or nothing of its own, at the end of a name.
const UNSEEN = /^[\s\u2800\ufffd]$/;

// Made when the first character needs them: plain text does not, and making them is a good part of a short command's start.
const makePatterns = () => ({
  // Everything a renderer may draw as nothing (UAX 44): zero-width, bidi controls, fillers, soft hyphen, selectors, tags.
  hidden: /^[\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]$/u,
  // U+10EEEE is the place where kitty draws an image.
  replaced: /^[\p{Noncharacter_Code_Point}\p{Surrogate}\u{10eeee}\u{e0000}-\u{e007f}]$/u,
  mark: /^\p{M}$/u,
  emoji: /^[\p{Extended_Pictographic}\p{Emoji_Modifier}]$/u,
  // Scripts whose letters change shape at a joiner (UTS 46, ContextJ).
  joining:
    /^[\p{scx=Arab}\p{scx=Syrc}\p{scx=Nkoo}\p{scx=Mand}\p{scx=Mong}\p{scx=Deva}\p{scx=Beng}\p{scx=Guru}\p{scx=Gujr}\p{scx=Orya}\p{scx=Taml}\p{scx=Telu}\p{scx=Knda}\p{scx=Mlym}\p{scx=Sinh}\p{scx=Khmr}\p{scx=Mymr}\p{scx=Tibt}]$/u,
  flag: /\u{1f3f4}[\u{e0030}-\u{e0039}\u{e0061}-\u{e007a}]{2,6}\u{e007f}/uy,
  // Which variation selectors stand behind which characters (emoji-variation-sequences, StandardizedVariants, IVD).
  selected: [
    [/^[\ufe0e\ufe0f]$/, /^\p{Emoji}$/u],
    [/^[\ufe00-\ufe0d]$/, /^[\p{Script=Han}\p{Sm}\p{Script=Myanmar}\p{Script=Phags_Pa}]$/u],
    [/^[\u180b-\u180d\u180f]$/, /^\p{Script=Mongolian}$/u],
    [/^[\u{e0100}-\u{e01ef}]$/u, /^\p{Script=Han}$/u],
  ] as readonly (readonly [selector: RegExp, base: RegExp])[],
});
let made: ReturnType<typeof makePatterns> | undefined;
const patterns = () => {
  made ??= makePatterns();
  return made;
};

/**
 * Text of several lines: line feeds stay (CR LF and CR become one), tabs become four spaces, every other control is drawn as
 * a picture, and a row from which something was removed ends in `¬`. Idempotent, linear, at most 4 times as long.
 */
export const safeText = (text: string): SafeText => {
  if (PLAIN_TEXT.test(text)) return text as SafeText;
  return marked(clean(text.replace(/\r\n?/g, '\n').replaceAll('\t', '    '), '\n'));
};

/** Whether a text shows nothing: white space, and what renderers draw as nothing. */
export const isBlank = (text: string): boolean =>
  /^[\s\u2800\ufff9-\ufffb\p{Default_Ignorable_Code_Point}]*$/u.test(text);

/** Text that must be one line: line breaks are drawn too, a tab is one space, `¬` at its end tells of what was removed. Idempotent, linear. */
export const safeLine = (text: string): SafeText =>
  PLAIN_LINE.test(text) ? (text as SafeText) : marked(cleanLine(text));

/**
 * A name: one line in NFC, at most 64 UTF-16 units, no space or mark at its ends, then `¬` if something was removed; `?` when
 * nothing is left. Idempotent.
 */
export const safeName = (name: string): SafeText => {
  const { text, removed } = normalLine(name);
  const line = text.replace(/^[\s\u2800\p{M}\u25cc]+/u, '').slice(0, NAME_CHARS_MAX - (removed ? 1 : 0));
  return marked({ text: ended(line) || '?', removed });
};

/**
 * A file name as it may be shown and made: no path separator, no leading dot or dash, at most 255 bytes with its extension
 * kept, `¬` before that if something was removed. Idempotent.
 */
export const safeFileName = (name: string): SafeText => {
  const { text, removed } = normalLine(name.replace(/[/\\:]/g, '_'));
  const line = ended(text.replace(/^[\s\u2800\p{M}\u25cc.-]+/u, '')) || 'file';
  if (!removed && bytesOf(line) <= FILE_NAME_BYTES_MAX) return line as SafeText;
  const extension = /\.[^.]{1,16}$/u.exec(line)?.[0] ?? '';
  const end = `${removed ? REMOVED : ''}${extension}`;
  let kept = line.slice(0, Math.min(line.length - extension.length, FILE_NAME_BYTES_MAX));
  while (bytesOf(kept) + bytesOf(end) > FILE_NAME_BYTES_MAX) kept = kept.slice(0, -1);
  return ended(kept.toWellFormed().replace(/\ufffd$/, '') + end) as SafeText;
};

/** A name as one word of a command line that a person may paste into a shell. */
export const asWord = (name: string): string =>
  /^[\p{L}\p{N}._/]+[\p{L}\p{N}._/-]*$/u.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`;

const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

const cleanLine = (text: string): Cleaned => clean(text.replaceAll('\t', ' '), '');

// NFC before cleaning takes apart what may not stay composed; after it, it composes over what was removed between.
const normalLine = (text: string): Cleaned => {
  if (PLAIN_LINE.test(text)) return { text, removed: false };
  const first = cleanLine(text.normalize('NFC'));
  const again = cleanLine(first.text.normalize('NFC'));
  return { text: again.text, removed: first.removed || again.removed };
};

// A cut may have left half a pair or a joiner without its other side; that it was cut is seen.
const ended = (line: string): string => {
  const { text } = clean(line.toWellFormed(), '');
  // A pattern with `+$` would try again from every character of a run that something follows.
  let size = text.length;
  while (size > 0 && UNSEEN.test(text[size - 1] ?? '')) size--;
  return text.slice(0, size);
};

/** A text, and whether something was removed from its last row that would have shown nothing. */
type Cleaned = { readonly text: string; readonly removed: boolean };

const marked = ({ text, removed }: Cleaned): SafeText => `${text}${removed ? REMOVED : ''}` as SafeText;

type Cluster = { base: string; last: string; marks: number; joiner: string; removed: boolean };

// One pass over the code points; a joiner waits for what follows it.
const clean = (text: string, kept: '\n' | ''): Cleaned => {
  const cluster: Cluster = { base: '', last: '', marks: 0, joiner: '', removed: false };
  let out = '';
  for (let at = 0; at < text.length; ) {
    const char = String.fromCodePoint(text.codePointAt(at) ?? 0);
    const flag = char === '\u{1f3f4}' ? flagAt(text, at) : '';
    at += flag === '' ? char.length : flag.length;
    if (char === kept && endsCut(cluster)) out += REMOVED;
    out += flag === '' ? next(char, kept, cluster) : begin(flag, cluster);
  }
  return { text: out, removed: endsCut(cluster) };
};

/** Whether something was removed from the row that ends here; the next one begins anew. */
const endsCut = (cluster: Cluster): boolean => {
  const isCut = cluster.removed || cluster.joiner !== '';
  cluster.removed = false;
  cluster.joiner = '';
  return isCut;
};

const flagAt = (text: string, at: number): string => {
  const { flag } = patterns();
  flag.lastIndex = at;
  return flag.exec(text)?.[0] ?? '';
};

/** What becomes of one code point. */
const next = (char: string, kept: string, cluster: Cluster): string => {
  if (char === kept) return begin(char, cluster);
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x20) return begin(String.fromCodePoint(CONTROL_PICTURES + code), cluster);
  if (code < 0x7f) return begin(char, cluster);
  if (code === 0x7f) return begin('\u2421', cluster);
  if (code < 0xa0 || patterns().replaced.test(char)) return begin(REPLACEMENT, cluster);
  if (code === 0x2028 || code === 0x2029) return begin(LINE_PICTURE, cluster);
  if (char === ZWJ || char === ZWNJ) {
    cluster.removed ||= cluster.joiner !== '';
    cluster.joiner = char;
    return '';
  }
  if (patterns().hidden.test(char)) return selector(char, cluster);
  if (patterns().mark.test(char)) return mark(char, cluster);
  if (!joins(char, cluster)) return begin(char, cluster);
  const { joiner } = cluster;
  cluster.joiner = '';
  return joiner + begin(char, cluster);
};

const begin = (char: string, cluster: Cluster): string => {
  cluster.removed ||= cluster.joiner !== '';
  cluster.base = [...char][0] ?? '';
  cluster.last = cluster.base;
  cluster.marks = 0;
  cluster.joiner = '';
  return char;
};

const joins = (char: string, { base, joiner }: Cluster): boolean =>
  joiner === ZWJ && patterns().emoji.test(base)
    ? patterns().emoji.test(char)
    : joiner !== '' && patterns().joining.test(base) && patterns().joining.test(char);

// One selector directly behind a character that has variants, which counts as a mark; every other hidden character is dropped.
const selector = (char: string, cluster: Cluster): string => {
  const isOne = patterns().selected.some(([selectors, bases]) => selectors.test(char) && bases.test(cluster.last));
  if (cluster.marks === MARKS_MAX || !isOne) return drop(cluster);
  cluster.marks++;
  cluster.last = char;
  return char;
};

const drop = (cluster: Cluster): string => {
  cluster.removed = true;
  return '';
};

const mark = (char: string, cluster: Cluster): string => {
  cluster.removed ||= cluster.joiner !== '';
  cluster.joiner = '';
  if (cluster.marks === MARKS_MAX) return drop(cluster);
  const base = cluster.base === '' || cluster.base === '\n' ? begin(BASE, cluster) : '';
  cluster.marks++;
  cluster.last = char;
  return base + char;
};

/** A word of a command line in a systemd unit, which splits at spaces and expands % and $. */
export const asUnitWord = (word: string): string =>
  `"${word.replace(/[\\"]/g, '\\$&').replaceAll('%', '%%').replaceAll('$', '$$$$')}"`;
