// How a step that may fail ended, for tests.
import { SottoError } from '../protocol/errors.ts';

/** The code it fails with, or `done`; an error that is none of ours is given as it is. */
export const codeOf = async (step: Promise<unknown>): Promise<unknown> => {
  try {
    await step;
    return 'done';
  } catch (error) {
    return error instanceof SottoError ? error.code : error;
  }
};

/** What a step gives, at once or later; if it fails with an error of ours, the code and the `why` of its details. */
export const outcome = (step: () => unknown): unknown => {
  try {
    const result = step();
    return result instanceof Promise ? result.catch(named) : result;
  } catch (error) {
    return named(error);
  }
};

const named = (error: unknown): unknown =>
  error instanceof SottoError ? `${error.code} ${error.details.why ?? ''}`.trim() : error;
