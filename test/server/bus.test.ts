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
