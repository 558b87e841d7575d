// How a fuzz target is played: cases by seed until its time is over; a failing seed is printed and can be played alone.
import { expect, test } from 'vitest';
import { type ErrorCode, SottoError } from '../../src/protocol/errors.ts';
import { Dice } from './dice.ts';

export type Target = {
  readonly name: string;
  /** The parsers it drives, as `file function`. */
  readonly parsers: readonly string[];
  /** Every code they can give: each must be seen, and no other. */
  readonly codes: readonly ErrorCode[];
  /** Codes that may come as well, from what stands behind the parser. */
  readonly others?: readonly ErrorCode[];
  /**
   * One case: makes an input, gives it to the parser, and checks what it took. Throws what the parser throws; what is no
   * SottoError is a fault.
   */
  readonly play: (dice: Dice) => unknown;
};

const SECONDS = Number(process.env.SOTTO_FUZZ_SECONDS ?? 20);
const SEED = process.env.SOTTO_FUZZ_SEED;
const CASES_MIN = 20;
// Far above what any case takes of the processor, whatever else runs: it finds costs that grow with the square.
const CASE_MS_MAX = 5_000;
// For loops without end.
const TARGET_MS_MAX = 300_000;
const GROWTH_BYTES_MAX = 400 * 1024 * 1024;

/** Plays `targets`, each for its share of the time of `all`. SOTTO_FUZZ_SECONDS is the time of all; SOTTO_FUZZ_SEED plays one case. */
export const fuzz = (targets: readonly Target[], all: number): void => {
  const ms = (SECONDS * 1000) / all;
  for (const target of targets)
    test(
      target.name,
      () => (SEED === undefined ? playFor(target, ms) : playCase(target, Number(SEED))),
      TARGET_MS_MAX + 3 * ms,
    );
};

const playFor = async (target: Target, ms: number): Promise<void> => {
  const seen = new Map<ErrorCode | 'taken', number>();
  const before = process.memoryUsage().rss;
  const endAt = performance.now() + ms;
  let cases = 0;
  // A target that has yet to see a code goes on for a while: on a busy machine its share of time is small.
  const missing = () => [...target.codes, 'taken' as const].some((code) => !seen.has(code));
  let slowest = { ms: 0, seed: 0 };
  while (cases < CASES_MIN || performance.now() < endAt || (missing() && performance.now() < endAt + 30_000)) {
    const startedAt = performance.now();
    const result = await playCase(target, ++cases);
    const took = performance.now() - startedAt;
    if (took > slowest.ms) slowest = { ms: took, seed: cases };
    seen.set(result, (seen.get(result) ?? 0) + 1);
  }
  const found = [...seen].map(([code, count]) => `${code} ${count}`).join(', ');
  process.stderr.write(
    `fuzz ${target.name}: ${cases} cases, the slowest ${slowest.ms.toFixed(0)} ms (${slowest.seed}): ${found}\n`,
  );
  const codes = [...seen.keys()].filter((code) => !target.others?.includes(code as ErrorCode));
  expect(codes.sort()).toEqual([...target.codes, 'taken'].sort());
  expect(process.memoryUsage().rss - before).toBeLessThan(GROWTH_BYTES_MAX);
};

const playCase = async (target: Target, seed: number): Promise<ErrorCode | 'taken'> => {
  const before = process.cpuUsage();
  const result = await outcomeOf(target, seed);
  const { user, system } = process.cpuUsage(before);
  const took = (user + system) / 1000;
  if (took > CASE_MS_MAX) throw failure(target, seed, new Error(`it took ${took.toFixed(0)} ms`));
  return result;
};

const outcomeOf = async (target: Target, seed: number): Promise<ErrorCode | 'taken'> => {
  try {
    await target.play(new Dice(seed));
    return 'taken';
  } catch (error) {
    const isExpected = error instanceof SottoError && [...target.codes, ...(target.others ?? [])].includes(error.code);
    if (!isExpected) throw failure(target, seed, error);
    return error.code;
  }
};

const failure = ({ name }: Target, seed: number, cause: unknown): Error =>
  new Error(
    `seed ${seed} fails: SOTTO_FUZZ_SEED=${seed} npx vitest run --project unit test/fuzz -t "${name}": ${cause}`,
    {
      cause,
    },
  );
