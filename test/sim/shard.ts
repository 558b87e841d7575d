// One share of the simulated worlds of a test run: seeds differ by share, a failing one is printed and replays.
import { expect, test } from 'vitest';
import { playWorld } from './worlds.ts';

const STEPS = 550;
const WORLDS = Number(process.env.SOTTO_SIM_WORLDS ?? 75);
const FIRST_SEED = Number(process.env.SOTTO_SIM_SEED ?? 1);

/** Plays this share's worlds, SOTTO_SIM_WORLDS of them; `npm run sim -- SEED` plays one again. */
export const simulate = (share: number): void => {
  test(
    `share ${share}: ${WORLDS} worlds of four people keep every invariant`,
    async () => {
      let messages = 0;
      let crashes = 0;
      for (let i = 0; i < WORLDS; i++) {
        const seed = FIRST_SEED + share * 1_000_000 + i;
        const outcome = await playWorld(seed, STEPS);
        expect(outcome.wrong, `npm run sim -- ${seed}`).toEqual([]);
        messages += outcome.messages;
        crashes += outcome.crashes;
      }
      process.stderr.write(`share ${share}: ${WORLDS} worlds, ${messages} messages, ${crashes} crashes\n`);
      expect(messages).toBeGreaterThan(WORLDS * 200);
    },
    WORLDS * 20_000,
  );
};
