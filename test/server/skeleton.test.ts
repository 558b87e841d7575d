import { expect, test } from 'vitest';
import { skeletonOf } from '../../src/server/skeleton.ts';

test.each([
  ['paypal', 'раураl'],
  ['paypal', '𝔭𝒶ỿ𝕡𝕒ℓ'],
  ['ops', 'орѕ'],
  ['ops', '0ps'],
  ['modern', 'rnodern'],
  ['al1ce', 'alice'.replace('i', 'l')],
  ['bob', 'b\u200bo\u2060b'],
  ['jalapeño', 'jalapen\u0303o'],
  ['scope', 'ѕсоре'],
])('%s looks like %s', (one, other) => {
  expect(skeletonOf(one)).toBe(skeletonOf(other));
});

test.each([
  ['alice', 'alicia'],
  ['ops', 'oops'],
  ['a-b', 'a_b'],
  ['bob', 'rob'],
  ['ä', 'a'],
])('%s does not look like %s', (one, other) => {
  expect(skeletonOf(one)).not.toBe(skeletonOf(other));
});
