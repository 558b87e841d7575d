import { expect, test } from 'vitest';
import type { FileObject } from '../protocol/rpc-objects.ts';
import { barText } from './bar.ts';

const half = (name: string) => ({ name, sizeBytes: 2_048, transferredBytes: 1_024 }) as FileObject;
const bar = `${'█'.repeat(15)}${'░'.repeat(15)}`;

test('a bar tells name and counts; of a name that is too long, the beginning and the ending', () => {
  expect(barText(half('photo.jpeg'), undefined)).toBe(`photo.jpeg ${bar} 50 %  1.0 KiB`);
  const long = barText(half(`a${'b'.repeat(200)}.jpeg`), 70);
  expect(long).toMatch(/^ab+…b+\.jpeg █+░+ 50 % {2}1\.0 KiB$/);
  expect([...long]).toHaveLength(70);
  expect(barText(half('photographs-of-the-sea.jpeg'), 30)).toMatch(/^phot…peg █+░+ 50 % {2}1\.0 KiB$/);
  expect(barText(half('photo.jpeg'), 0)).toBe(barText(half('photo.jpeg'), 80));
});
