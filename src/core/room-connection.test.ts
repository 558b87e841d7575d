// How long an account waits before it dials a server again.
import { expect, test } from 'vitest';
import { SERVER_RETRY_MS_MAX, SERVER_RETRY_MS_MIN } from '../protocol/limits.ts';
import { seededRandom } from '../testing/random.ts';
import { retryMs } from './room-connection.ts';

const tries = (attempts: number, askedMs?: number): number[] => {
  const random = seededRandom(attempts + 1);
  return Array.from({ length: 200 }, () => retryMs(random, attempts, askedMs));
};

test('it is anything up to a bound that doubles, and never more than a minute', () => {
  for (let attempts = 0; attempts < 12; attempts++) {
    const bound = Math.min(SERVER_RETRY_MS_MAX, SERVER_RETRY_MS_MIN * 2 ** attempts);
    const waits = tries(attempts);
    expect(Math.min(...waits)).toBeGreaterThan(0);
    expect(Math.max(...waits)).toBeLessThanOrEqual(bound);
    // All of it is used: they do not come back at one time.
    expect(Math.min(...waits)).toBeLessThan(bound / 2);
    expect(Math.max(...waits)).toBeGreaterThan(bound * 0.9);
  }
});

test('it is as much later as a server that goes has asked for, and a minute at most', () => {
  const waits = tries(0, 5_000);
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(5_000);
  expect(Math.max(...waits)).toBeLessThanOrEqual(5_000 + SERVER_RETRY_MS_MIN);
  expect(Math.max(...tries(0, 10 ** 12))).toBeLessThanOrEqual(SERVER_RETRY_MS_MAX + SERVER_RETRY_MS_MIN);
});
