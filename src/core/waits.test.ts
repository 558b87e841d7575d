import { expect, test } from 'vitest';
import { ManualClock } from '../testing/clock.ts';
import { Waits } from './waits.ts';

test('what a look throws is told to who waits, and to nobody who wakes them', async () => {
  const clock = new ManualClock();
  using waits = new Waits(clock);
  let isBroken = false;
  const look = (): boolean => {
    if (isBroken) throw new Error('gone');
    return false;
  };
  const [woken, late] = [waits.until(look, 1_000), waits.until(look, 500)];
  const ends = Promise.allSettled([woken, late]);
  isBroken = true;
  clock.step(500);
  waits.wake();
  expect(await ends).toMatchObject([{ reason: { message: 'gone' } }, { reason: { message: 'gone' } }]);
  waits.wake();
});
