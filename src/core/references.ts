// What a reference by id may be, and what is said of one that fits nothing or too much.
import { type ErrorCode, SottoError } from '../protocol/errors.ts';
import { ID_PREFIX_MIN } from '../protocol/ids.ts';

/** Whether a text can be an id or the beginning of one. */
export const isPrefix = (text: string): boolean =>
  text.length >= ID_PREFIX_MIN && text.length <= 32 && /^[0-9a-f]+$/i.test(text);

/** Whether an id, in hex, begins so, in whichever letters that is written. */
export const begins = (id: string, prefix: string): boolean => id.startsWith(prefix.toLowerCase());

/** What the user has written, as a message repeats it. */
export const quoted = (text: string): string => JSON.stringify(text.slice(0, 80));

/** What is said where no `what` has this id or this beginning of one. */
export const noneWithId = (what: string, reference: string): string =>
  reference.length < ID_PREFIX_MIN && /^(?=.*\d)[0-9a-f]+$/i.test(reference)
    ? `An id has at least ${ID_PREFIX_MIN} digits: ${quoted(reference)} has ${reference.length}`
    : `There is no ${what} ${quoted(reference)}`;

/** One of several that fit: what can be given in place of the words that were, and how a person is told of it. */
export type Fit = { readonly id: string; readonly says?: string };

/** One that is given by its id, and told with what it is called. */
export const fitCalled = (name: string, id: string): Fit => ({ id, says: `${name} (${id})` });

/** So many of those that fit are listed; of more, how many there are. */
export const CANDIDATES_MAX = 20;
const SAID_MAX = 5;

/**
 * The one that fits. Throws `code` with `message` when there is none, and `name.ambiguous` with several; `count` tells how many
 * there are, where `fit` has no more than CANDIDATES_MAX of them.
 */
export const only = <T>(
  fit: readonly T[],
  { code, message = '' }: { readonly code: ErrorCode; readonly message?: string },
  fitOf: (one: T) => Fit,
  count = () => fit.length,
): T => {
  const [first] = fit;
  if (first === undefined) throw new SottoError(code, { message });
  if (fit.length === 1) return first;
  throw ambiguous(fit.map(fitOf), count());
};

/** `name.ambiguous` with what fits, in the order of the alphabet: whoever told of it first. */
export const ambiguous = (fit: readonly Fit[], count = fit.length): SottoError => {
  const all = fit.map(({ id, says = id }) => ({ id, says })).toSorted((a, b) => (a.says < b.says ? -1 : 1));
  const candidates = all.slice(0, CANDIDATES_MAX).map(({ id }) => id);
  const said = all.slice(0, SAID_MAX).map(({ says }) => says);
  const [unsaid, more] = [count - said.length, count - candidates.length];
  return new SottoError('name.ambiguous', {
    message: `More than one fits: ${said.join(', ')}${unsaid > 0 ? ` and ${unsaid} more` : ''}`,
    details: { candidates, ...(more > 0 ? { more } : {}) },
  });
};
