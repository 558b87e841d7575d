// What a reference by id may be, and what is said of one that fits nothing or too much.
import { type ErrorCode, SottoError } from '../protocol/errors.ts';
import { ID_PREFIX_MIN } from '../protocol/ids.ts';

/** Whether a text can be an id or the beginning of one. */
export const isPrefix = (text: string): boolean =>
  text.length >= ID_PREFIX_MIN && text.length <= 32 && /^[0-9a-f]+$/i.test(text);

/** What the user has written, as a message repeats it. */
export const quoted = (text: string): string => JSON.stringify(text.slice(0, 80));

/** What is said where no `what` has this id or this beginning of one. */
export const noneWithId = (what: string, reference: string): string =>
  reference.length < ID_PREFIX_MIN && /^(?=.*\d)[0-9a-f]+$/i.test(reference)
    ? `An id has at least ${ID_PREFIX_MIN} digits: ${quoted(reference)} has ${reference.length}`
    : `There is no ${what} ${quoted(reference)}`;

/** The one that fits. Throws `code` with `message` when there is none, and `name.ambiguous` with the names of several. */
export const only = <T>(fit: readonly T[], code: ErrorCode, message: string, name: (one: T) => string): T => {
  const [first] = fit;
  if (first === undefined) throw new SottoError(code, { message });
  if (fit.length === 1) return first;
  throw ambiguous(fit.map(name));
};

/** `name.ambiguous` with what fits, in the order of the alphabet: whoever told of it first. */
export const ambiguous = (fit: readonly string[]): SottoError => {
  const candidates = fit.toSorted();
  return new SottoError('name.ambiguous', {
    message: `More than one fits: ${candidates.join(', ')}`,
    details: { candidates },
  });
};
