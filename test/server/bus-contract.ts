// What every bus between nodes promises: little.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Bus, BusLink } from '../../src/server/bus.ts';

export type BusUnderTest = AsyncDisposable & {
  /** Another node's end of the same bus. */
  readonly join: () => Promise<Bus>;
  /** Cuts a node off, or brings it back. */
  readonly setLink: (bus: Bus, link: BusLink) => Promise<void>;
};

/** Runs the promises of Bus on what `make` gives. */
export const busContract = (name: string, make: () => Promise<BusUnderTest>): void => {
  describe(`${name} keeps the promises of a bus`, () => {
    let made: BusUnderTest;
    beforeEach(async () => {
      made = await make();
    });
    afterEach(() => made[Symbol.asyncDispose]());

    const listen = async (bus: Bus, subject: string): Promise<string[]> => {
      const heard: string[] = [];
      await bus.subscribe(subject, (message) => heard.push(Buffer.from(message).toString())).ready;
      return heard;
    };
    const say = (bus: Bus, subject: string, text: string) => bus.publish(subject, Buffer.from(text));

    test('the others hear what is published on their subjects, in order, and never themselves', async () => {
      const [a, b, c] = [await made.join(), await made.join(), await made.join()];
      const [own, one, two, other] = [
        await listen(a, 's.1'),
        await listen(b, 's.1'),
        await listen(c, 's.1'),
        await listen(c, 's.2'),
      ];
      for (let i = 0; i < 100; i++) say(a, i % 2 === 0 ? 's.1' : 's.2', String(i));
      await a.flush();
      const [even, odd] = [0, 1].map((from) => Array.from({ length: 50 }, (_, i) => String(2 * i + from)));
      expect([one, two, other, own]).toEqual([even, even, odd, []]);
    });

    test('a message is what it was when it was published', async () => {
      const [a, b] = [await made.join(), await made.join()];
      const heard = await listen(b, 's');
      const bytes = Buffer.from('before');
      a.publish('s', bytes);
      bytes.write('after!');
      await a.flush();
      expect(heard).toEqual(['before']);
    });

    test('two subscriptions of a node both hear; a stopped one hears nothing more', async () => {
      const [a, b] = [await made.join(), await made.join()];
      const first: string[] = [];
      const subscription = b.subscribe('s', (message) => first.push(Buffer.from(message).toString()));
      await subscription.ready;
      const second = await listen(b, 's');
      say(a, 's', '1');
      await a.flush();
      subscription.stop();
      subscription.stop();
      say(a, 's', '2');
      await a.flush();
      expect([first, second]).toEqual([['1'], ['1', '2']]);
    });

    test('without a link everything is dropped, nothing throws; after it subscriptions stand again', async () => {
      const [a, b] = [await made.join(), await made.join()];
      const heard = await listen(b, 's');
      const links: BusLink[] = [];
      b.onLink((link) => links.push(link));
      await made.setLink(b, 'down');
      say(a, 's', 'lost');
      say(b, 's', 'lost too');
      await a.flush();
      await made.setLink(b, 'up');
      say(a, 's', 'heard');
      await a.flush();
      expect([heard, links]).toEqual([['heard'], ['up', 'down', 'up']]);
    });
  });
};
