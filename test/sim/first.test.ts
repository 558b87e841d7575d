import { expect, test } from 'vitest';
import { simulate } from './shard.ts';
import { playWorld } from './worlds.ts';

simulate(0);

test('two runs of one seed give the same trace', async () => {
  const [one, two] = [await playWorld(4711, 200), await playWorld(4711, 200)];
  expect(one.trace).toBe(two.trace);
});
