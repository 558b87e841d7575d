import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { safeFileName, safeLine, safeName, safeText } from './safe-text.ts';

// Written apart from the implementation: what must never come out.
const dangerous =
  /[\0-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff]/;

/** Strings that mix attacks, marks, joiners, emoji and letters more densely than random text does. */
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        ...[
          '\x1b',
          '\x9b',
          '\n',
          '\r',
          '\t',
          ' ',
          'a',
          '.',
          '-',
          '/',
          '\u0301',
          '\u0e49',
          '\u200b',
          '\u200c',
          '\u200d',
        ],
        ...[
          '\ufe0f',
          '\ufe0e',
          '\u202e',
          '\u2066',
          '\u2028',
          '👩',
          '🏽',
          '❤',
          '🏴',
          '\u{e0067}',
          '\u{e0062}',
          '\u{e007f}',
        ],
        ...[
          '\u06a9',
          '\u0915',
          '\u094d',
          '\u0958',
          '\u1100',
          '\u{1fffe}',
          '\u{10eeee}',
          '\ud800',
          '\udc00',
          '\u25cc',
          '葛',
        ],
        ...['\u{e0100}', '\u2800', '\u3164', '\u1820', '\u180b', '\u0344', '\u212b', '\u{1d15e}'],
      ),
      fc.string({ unit: 'binary', maxLength: 2 }),
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join(''));

describe('text for a terminal', () => {
  test('escape sequences, in 7 and 8 bits, become pictures', () => {
    expect(safeText('\x1b[2Jhi\x07')).toBe('␛[2Jhi␇');
    expect(safeText('\x9b31m')).toBe('\ufffd31m');
    expect(safeText('\x1b]52;c;aGk=\x07')).toBe('␛]52;c;aGk=␇');
    expect(safeText('\x1bPq#0\x1b\\\x7f\0')).toBe('␛Pq#0␛\\␡␀');
    expect(safeText('\x90q\x9c \x9d0;t\x07')).toBe('\ufffdq\ufffd \ufffd0;t␇');
  });

  test('lone surrogates, noncharacters, image placeholders and loose tags are replaced', () => {
    expect(safeText('\ud800a\udfff\ufdd0\uffff\u{1fffe}\u{10ffff}')).toBe('\ufffda\ufffd\ufffd\ufffd\ufffd\ufffd');
    expect(safeText('\u{10eeee}\u0305\u0305')).toBe('\ufffd\u0305\u0305');
    expect(safeText('a\u{e0069}\u{e0067}')).toBe('a\ufffd\ufffd');
  });

  test('bidi controls and zero-width runs are gone, and each row from which they are says so', () => {
    expect(safeText('a\u202egnp.exe')).toBe('agnp.exe¬');
    expect(safeText('\u2066x\u2069\u200e\u200f\u061cy')).toBe('xy¬');
    expect(safeText('a\u200b\u2060\ufeff\u00ad\u034f\u180e\u3164b')).toBe('ab¬');
    expect(safeText(`x${'\u200d\u200c'.repeat(100)}y`)).toBe('xy¬');
    expect(safeText('one\u200d\ntwo\n\u202ethree\nfour¬')).toBe('one¬\ntwo\nthree¬\nfour¬');
    expect(safeLine('a\u200bb')).toBe('ab¬');
  });

  test('joiners and selectors stay where a script or an emoji needs them, one at a time', () => {
    const needed = '👩‍👩‍👧‍👦 👩🏽‍💻 ❤️ ❤️‍🔥 1️⃣ 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🏳️‍🌈 نمی‌خواهم क्‍ष 葛󠄀';
    expect(safeText(needed)).toBe(needed);
    expect(safeText('bo\u200cb a\ufe0f 👩\u200da')).toBe('bob a 👩a¬');
    expect(safeText('❤\ufe0f\ufe0f\ufe0e')).toBe('❤\ufe0f¬');
    expect(safeText('\u06a9\u200c\u200c\u06a9')).toBe('\u06a9\u200c\u06a9¬');
  });

  test('a line has no line breaks, a text keeps line feeds only', () => {
    expect(safeLine('a\nb\u2028c\r\td')).toBe('a␊b␤c␍ d');
    expect(safeText('a\r\nb\rc\td\u2029e\u0085')).toBe('a\nb\nc    d␤e\ufffd');
  });

  test('a pile of marks is cut, also when joiners or selectors stand between, and never falls on what came before', () => {
    expect(safeText(`a${'\u0301'.repeat(50)}b`)).toBe(`a${'\u0301'.repeat(4)}b¬`);
    expect(safeText(`\u0915${'\u0301\u0301\u200d'.repeat(20)}`)).toBe(`\u0915${'\u0301'.repeat(4)}¬`);
    expect(safeText('\u0301a\n\u0301')).toBe('◌\u0301a\n◌\u0301');
  });

  test('a name is one short line and never empty', () => {
    expect(safeName(`  ${'x'.repeat(100)} `)).toHaveLength(64);
    expect([safeName('\u2800'), safeName('\u202e\u200b\u3164\u2800')]).toEqual(['?', '?¬']);
    expect(safeName(`${'x'.repeat(100)}\u200b`)).toBe(`${'x'.repeat(63)}¬`);
    expect(safeName('bob\nadmin')).toBe('bob␊admin');
    expect(safeName('\u0301 e\u0301\u200b')).toBe('é¬');
    expect(safeName('e\u200b\u0301')).toBe('é¬');
    expect(safeName('you\x1b]0;root\x07')).toBe('you␛]0;root␇');
    expect(safeName(`${'a'.repeat(63)}👩`)).toBe('a'.repeat(63));
  });

  test('a file name is one part of a path, hides nothing and keeps its extension', () => {
    expect(safeFileName('../../.ssh/authorized_keys')).toBe('_.._.ssh_authorized_keys');
    expect(safeFileName('-rf')).toBe('rf');
    expect(safeFileName('.bashrc')).toBe('bashrc');
    expect(safeFileName('..')).toBe('file');
    expect(safeFileName('photo\u202egnp.exe')).toBe('photognp¬.exe');
    expect(safeFileName('c:\\x')).toBe('c__x');
    const long = safeFileName(`${'ж'.repeat(300)}.pdf`);
    expect(new TextEncoder().encode(long).length).toBeLessThanOrEqual(255);
    expect(long.endsWith('.pdf')).toBe(true);
  });

  test('is idempotent and lets nothing dangerous through, whatever comes', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        for (const make of [safeText, safeLine, safeName, safeFileName]) {
          const once = make(text);
          expect(make(once)).toBe(once);
          expect(once).not.toMatch(dangerous);
          expect(once.isWellFormed()).toBe(true);
          expect(once).not.toMatch(/\p{M}{5}/u);
        }
        expect(safeText(text).length).toBeLessThanOrEqual(4 * text.length);
        for (const line of [safeLine(text), safeName(text), safeFileName(text)]) expect(line).not.toContain('\n');
        expect(safeFileName(text)).not.toMatch(/[/\\]|^[.-]/);
        expect(safeName(text).length).toBeLessThanOrEqual(64);
      }),
      { numRuns: 3000, examples: [['🏽\ufe0f\u0344\u0344']] },
    );
  });

  test('is linear: with a million characters it ends in the time of a test, which a square of them does not', () => {
    const part = '\u06a9\u200d\u0301 \x1b\u{e0067}';
    expect(safeText(part.repeat(150_000))).toBe(`${safeText(part).slice(0, -1).repeat(150_000)}¬`);
    expect(safeText('\u200d'.repeat(1_000_000))).toBe('¬');
    expect(safeText('\u0301'.repeat(1_000_000))).toBe(`◌${'\u0301'.repeat(4)}¬`);
  });
});
