import { expect, test } from 'vitest';
import { embeddedBus } from '../../src/server/bus.ts';
import { MemoryBus, type MemoryNode } from '../../src/testing/memory-bus.ts';
import { busContract } from './bus-contract.ts';

busContract('The bus within a process', async () => {
  const bus = new MemoryBus();
  return {
    join: async () => bus.join(),
    setLink: async (node, link) => (node as MemoryNode).setLink(link),
    [Symbol.asyncDispose]: async () => {},
  };
});

test('the bus of a single node has a link, and nobody at its other end', async () => {
  await using bus = embeddedBus();
  const heard: unknown[] = [];
  bus.onLink((link) => heard.push(link));
  const { ready, stop } = bus.subscribe('s', () => heard.push('message'));
  await ready;
  bus.publish('s', new Uint8Array(1));
  await bus.flush();
  stop();
  expect(heard).toEqual(['up']);
});
