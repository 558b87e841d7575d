// Twenty-one conversations at once: seven people who all know each other, on one private network.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { accountPaths, placesOf } from '../../src/client/paths.ts';
import { Actor, stopDaemons } from '../../src/lab/actor.ts';
import { befriend } from '../../src/lab/bench/scene.ts';
import { Stage } from '../e2e/stage.ts';

const NAMES = ['ada', 'ben', 'cleo', 'dan', 'eve', 'fay', 'gus'] as const;
const TEXTS = 10;

let stage: Stage;
let people: { readonly name: string; readonly actor: Actor }[];

beforeAll(async () => {
  stage = new Stage();
  const places = placesOf(stage.dir, process.env);
  people = NAMES.map((name) => ({ name, actor: new Actor(accountPaths(places, name, process.env), stage.dir) }));
  for (const { name, actor } of people) {
    await actor.start();
    await actor.call('account.init', { nickname: name, noPassphrase: true });
  }
  for (const { actor } of people) await actor.call('status.wait', { until: 'reachable', timeoutMs: 60_000 });
});
afterAll(async () => {
  for (const { actor } of people) actor.close();
  await stopDaemons(placesOf(stage.dir, process.env));
  await stage[Symbol.asyncDispose]();
});

const pairs = () => people.flatMap((one, i) => people.slice(i + 1).map((two) => ({ one, two })));

test('everybody befriends everybody, and all say ten things to each at once: each comes once and in order', async () => {
  for (const { one, two } of pairs()) await befriend(one.actor, two.actor, { one: one.name, two: two.name });
  const directions = pairs().flatMap(({ one, two }) => [
    { from: one, to: two },
    { from: two, to: one },
  ]);
  const texts = (from: string) => Array.from({ length: TEXTS }, (_, i) => `${from} ${i}`);
  const startedAt = performance.now();
  await Promise.all(
    directions.map(async ({ from, to }) => {
      for (const text of texts(from.name)) await from.actor.call('message.send', { conversation: to.name, text });
    }),
  );
  for (const { actor } of people)
    await actor.until('delivery', async () => (await actor.call('status.show', {})).outboxDepth === 0);
  const ms = performance.now() - startedAt;
  console.info(`${directions.length * TEXTS} messages in ${pairs().length} conversations: ${Math.round(ms)} ms`);
  for (const { from, to } of directions) {
    const { messages } = await to.actor.call('message.list', { conversation: from.name, limit: 1000 });
    const got = messages.filter((message) => !message.mine).map((message) => message.body);
    expect(got).toEqual(['hello', ...texts(from.name)]);
  }
});
