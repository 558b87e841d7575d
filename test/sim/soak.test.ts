import { expect, test } from 'vitest';
import { playWorld } from './worlds.ts';

const HOURS = Number(process.env.SOTTO_SOAK_HOURS ?? 1);
const SEED = Number(process.env.SOTTO_SIM_SEED ?? 1);
const MINUTE = 60_000;
const GROWTH_BYTES_MAX = 200 * 1024 * 1024;

// Long enough for pings, idle links, retries, expiries of requests and resets to come round many times.
test(
  `${HOURS} hours of people who do something once a minute while things break keep every invariant, and take no more memory`,
  async () => {
    const before = process.memoryUsage().heapUsed;
    const { wrong, messages, crashes } = await playWorld(SEED, HOURS * 60, MINUTE);
    const grown = process.memoryUsage().heapUsed - before;
    process.stderr.write(
      `soak: ${HOURS} h of simulated time, ${messages} messages, ${crashes} crashes, heap ${Math.round(grown / 2 ** 20)} MiB\n`,
    );
    expect(wrong, `seed ${SEED}`).toEqual([]);
    expect(messages).toBeGreaterThan(HOURS * 15);
    expect(grown).toBeLessThan(GROWTH_BYTES_MAX);
  },
  60_000 + HOURS * 120_000,
);
