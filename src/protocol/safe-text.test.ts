import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { safeLine, safeName, safeText } from './safe-text.ts';

const dangerous = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u200b\ufeff]/;

describe('text for a terminal', () => {
  test('escape sequences, in 7 and 8 bits, become pictures', () => {
    expect(safeText('\x1b[2Jhi\x07')).toBe('␛[2Jhi␇');
    expect(safeText('\x9b31m')).toBe('\ufffd31m');
    expect(safeText('\x1b]52;c;aGk=\x07')).not.toMatch(dangerous);
  });

  test('bidi controls, zero-width runs and tags are gone; joiners in emoji and scripts stay', () => {
    expect(safeText('a\u202egnp.exe')).toBe('agnp.exe');
    expect(safeText('a\u200b\u2060b\u{e0041}')).toBe('ab');
    expect(safeText('👩‍👩‍👧‍👦 ❤️ نمی‌خواهم')).toBe('👩‍👩‍👧‍👦 ❤️ نمی‌خواهم');
  });

  test('a line has no line breaks, a text keeps them and loses carriage returns', () => {
    expect(safeLine('a\nb\u2028c')).toBe('a␊b␤c');
    expect(safeText('a\r\nb\rc\td')).toBe('a\nb\nc    d');
  });

  test('a pile of marks is cut', () => {
    expect(safeText(`a${'\u0301'.repeat(50)}`)).toBe(`a${'\u0301'.repeat(4)}`);
  });

  test('a name is one short line and never empty', () => {
    expect(safeName(`  ${'x'.repeat(100)} `)).toHaveLength(64);
    expect(safeName('\u202e\u200b')).toBe('?');
    expect(safeName('bob\nadmin')).toBe('bob␊admin');
  });

  test('is idempotent and lets nothing dangerous through, whatever comes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        const once = safeText(text);
        expect(safeText(once)).toBe(once);
        expect(once).not.toMatch(dangerous);
        expect(safeName(safeName(text))).toBe(safeName(text));
      }),
      { numRuns: 2000 },
    );
  });

  test('is linear: a megabyte takes no noticeable time', () => {
    expect(safeText('\u200d'.repeat(1_000_000))).toBe('');
    expect(safeText('\u0301'.repeat(1_000_000)).length).toBeLessThanOrEqual(4);
  });
});
