// What the weather of the network inside one process does to people who talk over it.
import { describe, expect, test } from 'vitest';
import { World } from '../testing/people.ts';
import { FAIR, type Weather } from './memory-network.ts';

/** One writes to the other in such weather, and then in fair weather; gives why links ended, and what arrived. */
const talkIn = async (weather: Partial<Weather>) => {
  await using world = new World();
  const { alice, bob } = await world.friends();
  const ended: string[] = [];
  for (const { account } of [alice, bob])
    account.events.subscribe(({ kind, detail }) => (kind === 'link.down' ? ended.push(detail ?? '') : undefined));
  world.hub.weather = { ...FAIR, ...weather };
  for (const text of ['one', 'two', 'three', 'four']) await alice.send(bob, text);
  await world.settle(2_000);
  world.hub.weather = FAIR;
  await world.settle(60_000);
  return { ended: [...ended], read: await bob.read(alice) };
};

const ALL = ['one', 'two', 'three', 'four'];

describe('a link of the network inside one process', () => {
  test('refuses a record that comes twice, and what it kept out comes over the next link', async () => {
    const { ended, read } = await talkIn({ replay: 1 });
    expect(ended).toContain('frame.invalid');
    expect(read).toEqual(ALL);
  });

  test('refuses a record that overtakes another', async () => {
    const { ended, read } = await talkIn({ reorder: 1, delayMs: [1, 500] });
    expect(ended).toContain('frame.invalid');
    expect(read).toEqual(ALL);
  });

  test('brings nothing behind a record that is lost, and ends when nobody answers', async () => {
    const { ended, read } = await talkIn({ loss: 1 });
    expect(ended).toEqual(['no acknowledgement']);
    expect(read).toEqual(ALL);
  });

  test('brings a frame that is sent twice twice, which is taken once', async () => {
    const { ended, read } = await talkIn({ duplicate: 1 });
    expect(ended).toEqual([]);
    expect(read).toEqual(ALL);
  });
});
