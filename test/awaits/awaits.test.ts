// Every await of what receives, sends, delivers, accepts, resets, backs up and restores: a program is killed there, and nothing is lost.
// A migration waits for nothing: test/account kills it at its changes of the disk.
import { expect, test } from 'vitest';
import { keep } from './keep.ts';
import { type Moment, stopAt, stopNobody, takeSeen } from './stop.ts';
import { tell } from './talk.ts';

/** How many awaits there are at least: one that is gone is a reason to look, never to lower this. */
const AWAITS_MIN = 42;

const STORIES = [tell, keep];

test('each await is come to, killed before and after its step, and all is well in the end', async () => {
  const stories = new Map<string, () => Promise<string[]>>();
  for (const story of STORIES) {
    expect(await story()).toEqual([]);
    for (const name of takeSeen()) if (!stories.has(name)) stories.set(name, story);
  }
  expect([...stories.keys()].sort()).toEqual(globalThis.awaitNames.toSorted());

  // Where one story does not come by twice, another is told for the second moment.
  for (const [name, story] of stories)
    for (let left: readonly Moment[] = ['before', 'after']; left.length > 0; ) {
      stopAt(name, left);
      expect(await story(), `${name}, killed ${left[0]} its step`).toEqual([]);
      const after = stopNobody();
      expect(after.length, `${name} was not killed ${left[0]} its step`).toBeLessThan(left.length);
      left = after;
    }
  process.stderr.write(`${stories.size} awaits, each killed before and after its step\n`);
  expect(stories.size).toBeGreaterThanOrEqual(AWAITS_MIN);
});
