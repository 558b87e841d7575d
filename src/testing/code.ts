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
