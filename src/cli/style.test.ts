// Marks become colours on a terminal and nothing elsewhere; what others write brings none of its own.
import { expect, test } from 'vitest';
import { safeLine, safeText } from '../protocol/safe-text.ts';
import { bad, bold, dim, painted, unmarked } from './style.ts';
import { aligned, wrap } from './wrap.ts';

const MARKS = Array.from({ length: 32 }, (_, i) => String.fromCharCode(0xfdd0 + i)).join('');

test('a marked part is coloured and ends with its colour; without colours nothing of the marks is left', () => {
  const line = `${dim('10:00')}  ${bold('bob')}: hi ${bad('[failed]')}`;
  expect(painted(line, true, safeText)).toBe(
    '\u001b[2m10:00\u001b[0m  \u001b[1mbob\u001b[0m: hi \u001b[31m[failed]\u001b[0m',
  );
  expect(painted(line, false, safeText)).toBe('10:00  bob: hi [failed]');
});

test('what others write holds no marks once it is safe, and its escapes stay pictures between marks', () => {
  expect(unmarked(safeLine(MARKS))).toBe(safeLine(MARKS));
  expect(unmarked(safeText(MARKS))).toBe(safeText(MARKS));
  expect(painted(bold('\u001b[2J'), true, safeText)).toBe('\u001b[1m\u241b[2J\u001b[0m');
});

test('marks take no room in columns and lines', () => {
  expect(aligned([`◆ ${bold('bob')}  a`, '◇ caroline  b']).map(unmarked)).toEqual(['◆ bob       a', '◇ caroline  b']);
  expect(unmarked(wrap(`${bold('four')} four four`, 9))).toBe('four four\nfour');
});
