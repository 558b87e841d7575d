import { expect, test, vi } from 'vitest';
import { playRooms } from './rooms.ts';

vi.mock('../../src/crypto/vault.ts', async (original) => {
  const { remembered } = await import('./stretching.ts');
  const real = await original<typeof import('../../src/crypto/vault.ts')>();
  return { ...real, stretch: remembered(real.stretch) };
});

const STEPS = 150;
const WORLDS = Number(process.env.SOTTO_SIM_WORLDS ?? 6);
const FIRST_SEED = Number(process.env.SOTTO_SIM_SEED ?? 101);
/**
 * Worlds that had found something: a greeting that was cut off, a message that was sealed before somebody came or went and sent
 * after it, an epoch that came twice, a server that was put back and read on from its head, a join whose answer was lost.
 */
const FOUND = [1, 3, 23, 26, 36];

const play = async (seeds: readonly number[]) => {
  let [said, deaths, restores] = [0, 0, 0];
  for (const seed of seeds) {
    const outcome = await playRooms(seed, STEPS);
    expect(outcome.wrong, `npm run sim -- ${seed} rooms`).toEqual([]);
    said += outcome.said;
    deaths += outcome.deaths;
    restores += outcome.restores;
  }
  process.stderr.write(`rooms: ${seeds.length} worlds, ${said} messages, ${deaths} deaths, ${restores} restores\n`);
  expect(said).toBeGreaterThan(seeds.length * 20);
};

test(
  `${WORLDS} worlds of a server and three people keep every invariant`,
  () => play(Array.from({ length: WORLDS }, (_, i) => FIRST_SEED + i)),
  WORLDS * 30_000,
);

test('so do those that did not', () => play(FOUND), FOUND.length * 30_000);

test('two runs of one seed give the same trace', async () => {
  const [one, two] = [await playRooms(4711, 60), await playRooms(4711, 60)];
  expect(one.trace).toBe(two.trace);
});
