// What is wrong with a parameter or a setting, in words that stand behind its name.
import type { z } from 'zod';

const KINDS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
};

/** For `safeParse(value, { error: inWords })`: says what bounds and types ask for, and leaves the rest to zod. */
export const inWords = (issue: z.core.$ZodRawIssue): string | undefined => {
  const unit = issue.origin === 'string' ? ' characters' : issue.origin === 'array' ? ' entries' : '';
  if (issue.code === 'invalid_type') {
    const kind = KINDS[issue.expected];
    return issue.input === undefined ? 'is missing' : kind === undefined ? undefined : `must be ${kind}`;
  }
  if (issue.code === 'too_big')
    return unit === '' ? `is more than ${issue.maximum}` : `is longer than ${issue.maximum}${unit}`;
  if (issue.code !== 'too_small') return undefined;
  if (unit === '') return `is less than ${issue.minimum}`;
  return Number(issue.minimum) === 1 ? 'is empty' : `is shorter than ${issue.minimum}${unit}`;
};
