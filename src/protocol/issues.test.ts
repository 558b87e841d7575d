// What a schema found wrong, as a person reads it.
import { expect, test } from 'vitest';
import * as z from 'zod';
import { inWords, problemsOf, problemText } from './issues.ts';

const Schema = z.strictObject({
  size: z.number().max(5),
  level: z.enum(['low', 'high']).optional(),
  code: z.string().regex(/^x$/).optional(),
  place: z.string().regex(/:/, 'empty, or as HOST:PORT').optional(),
  tor: z.strictObject({ offline: z.boolean() }).optional(),
});

const told = (value: unknown): string[] => {
  const parsed = Schema.safeParse(value, { error: inWords });
  return parsed.success ? [] : problemsOf(parsed.error, 'setting').map(problemText);
};

test('a mistake is a sentence with the name of its place', () => {
  expect(told({})).toEqual(['size is missing']);
  expect(told({ size: '1' })).toEqual(['size must be a number']);
  expect(told({ size: 6, level: 'x' })).toEqual(['size is more than 5', 'level must be one of low, high']);
  expect(told({ size: 1, code: 'y' })).toEqual(['code is not of the form that is taken here']);
  expect(told({ size: 1, place: 'here' })).toEqual(['place: empty, or as HOST:PORT']);
  expect(told({ size: 1, sise: 1, tor: { offline: true, ofline: true } })).toEqual([
    'tor.ofline: there is no such setting',
    'sise: there is no such setting',
  ]);
});
