// What is wrong with a parameter or a setting, and where, in words.
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
  if (issue.code === 'invalid_value') return `must be one of ${issue.values.map(String).join(', ')}`;
  if (issue.code === 'invalid_format') return 'is not of the form that is taken here';
  if (issue.code === 'too_big')
    return unit === '' ? `is more than ${issue.maximum}` : `is longer than ${issue.maximum}${unit}`;
  if (issue.code !== 'too_small') return undefined;
  if (unit === '') return `is less than ${issue.minimum}`;
  return Number(issue.minimum) === 1 ? 'is empty' : `is shorter than ${issue.minimum}${unit}`;
};

/** A mistake and where it is: the way to a parameter or a key of a file, `line 3, column 5`, or a flag. */
export type Problem = { readonly place: string; readonly problem: string };

/** Every mistake that a schema found. A key that it does not know is no `what`: a setting, or a parameter. */
export const problemsOf = (error: z.ZodError, what: 'setting' | 'parameter'): Problem[] =>
  error.issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ place: [...issue.path, key].join('.'), problem: `there is no such ${what}` }))
      : [{ place: issue.path.join('.'), problem: issue.message }],
  );

/** `limit must be a number`, `tor.ofline: there is no such setting`. */
export const problemText = ({ place, problem }: Problem): string =>
  /^(is|must) /.test(problem) ? `${place} ${problem}` : `${place}: ${problem}`;
