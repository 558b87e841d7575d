import { expect, test } from 'vitest';
import { replay, simulate } from './shard.ts';
import { playWorld } from './worlds.ts';

simulate(0);

replay();

test('two runs of one seed give the same trace', async () => {
  const [one, two] = [await playWorld(4711, 200), await playWorld(4711, 200)];
  expect(one.trace).toBe(two.trace);
});
