import { expect, test } from 'vitest';
import { aligned, wrap } from './wrap.ts';

test('a long line is broken at its spaces, by the cells that a terminal draws; what fits and long words stay', () => {
  expect(wrap('one two three', 13, '  ')).toBe('one two three');
  expect(wrap('one two three', 12, '  ')).toBe('one two\n  three');
  expect(wrap('a\n  keeps its spaces\nand lines', 20, '    ')).toBe('a\n  keeps its spaces\nand lines');
  expect(wrap('see https://example.org/a/long/way now', 10, '  ')).toBe('see\n  https://example.org/a/long/way\n  now');
  expect(wrap('漢字 漢字 漢字', 10)).toBe('漢字 漢字\n漢字');
  expect(wrap('e\u0301e\u0301 e\u0301e\u0301', 5)).toBe('e\u0301e\u0301 e\u0301e\u0301');
});

test('what follows the first part of each line of a list begins in one column', () => {
  expect(aligned(['! #lobby  open', '  #a  members', '◇ 漢字  x', 'alone'])).toEqual([
    '! #lobby  open',
    '  #a      members',
    '◇ 漢字    x',
    'alone',
  ]);
});
