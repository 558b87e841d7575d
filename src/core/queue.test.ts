import { expect, test } from 'vitest';
import { SottoError } from '../protocol/errors.ts';
import { type Core, detach } from './core.ts';
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

test('what nobody waits for may fail as is expected, and a fault of ours is told', async () => {
  const told: unknown[] = [];
  await using queue = new AccountQueue((error) => told.push(error));
  const core = { queue } as Core;
  const fault = new TypeError('ours');
  detach(core, Promise.reject(new SottoError('server.unreachable')));
  detach(core, Promise.reject(fault));
  await Promise.resolve();
  await queue.settled();
  expect(told).toEqual([fault]);
});
