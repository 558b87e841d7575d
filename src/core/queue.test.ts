import { expect, test } from 'vitest';
import { AccountQueue } from './queue.ts';

test('tasks run one at a time, in order, and give their own results and errors', async () => {
  const seen: string[] = [];
  const queue = new AccountQueue(() => seen.push('bug'));
  const slow = queue.call(async () => {
    seen.push('slow begins');
    await Promise.resolve();
    await Promise.resolve();
    seen.push('slow ends');
    return 1;
  });
  const fails = queue.call(() => Promise.reject(new Error('expected')));
  queue.post(() => {
    throw new Error('ours');
  });
  const last = queue.call(() => seen.push('last'));
  await expect(slow).resolves.toBe(1);
  await expect(fails).rejects.toThrow('expected');
  await last;
  expect(seen).toEqual(['slow begins', 'slow ends', 'bug', 'last']);
});

test('closing finishes what is queued and takes nothing new', async () => {
  const seen: number[] = [];
  const queue = new AccountQueue(() => seen.push(-1));
  queue.post(() => {
    seen.push(1);
  });
  await queue[Symbol.asyncDispose]();
  queue.post(() => {
    seen.push(2);
  });
  await expect(queue.call(() => 3)).rejects.toThrow();
  expect(seen).toEqual([1]);
});
