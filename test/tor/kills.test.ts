// kill -9 of either daemon or either Tor at random moments, while both people write: SOTTO_KILLS of them (20),
// from the seed SOTTO_SEED, which is printed.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seededRandom } from '../../src/testing/random.ts';
import { Stage, type User } from '../e2e/stage.ts';
import { torPid } from './control.ts';

const KILLS = Number(process.env.SOTTO_KILLS ?? 20);
const SEED = Number(process.env.SOTTO_SEED ?? Date.now() % 1_000_000);
const PAUSE_MS_MAX = 1_000;
const TIMEOUT_MS = 120_000 + KILLS * 5_000;

let stage: Stage;
let alice: User;
let bob: User;

beforeAll(async () => {
  stage = new Stage();
  ({ alice, bob } = await stage.friends());
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
});

/** What one side tried to say: each text, and whether the daemon has said that it is kept. */
type Said = { readonly text: string; readonly kept: boolean };

test(`${KILLS} kills of seed ${SEED} lose nothing, double nothing, and keep the order`, {
  timeout: TIMEOUT_MS,
}, async () => {
  const { fraction } = seededRandom(SEED);
  let over = false;
  const talks = [alice, bob].map((user) => talk(user, other(user), () => over));
  for (let kill = 0; kill < KILLS; kill++) {
    await pause(fraction() * PAUSE_MS_MAX);
    const victim = fraction() < 0.5 ? alice : bob;
    const pid = await (fraction() < 0.5 ? victim.pid() : torPid(victim)).catch(() => undefined);
    // The one before may not be up again: then its daemon is the victim of the next.
    if (pid === undefined) kill--;
    else process.kill(pid, 'SIGKILL');
  }
  over = true;
  const [fromAlice = [], fromBob = []] = await Promise.all(talks);
  for (const user of [alice, bob]) await drained(user);
  await arrived(fromAlice, bob);
  await arrived(fromBob, alice);
  for (const user of [alice, bob])
    expect((await user.run('doctor')).items.filter((check) => check.ok !== true)).toEqual([]);
  console.info(`${KILLS} kills, ${fromAlice.length + fromBob.length} messages`);
});

const other = (user: User): User => (user === alice ? bob : alice);

// A command that fails because its daemon was killed may have been in time or not; one that succeeds was.
const talk = async (from: User, to: User, over: () => boolean): Promise<Said[]> => {
  const said: Said[] = [];
  while (!over()) {
    const text = `${from.name} ${said.length}`;
    said.push({ text, kept: (await from.run('send', to.name, text)).code === 0 });
  }
  return said;
};

/** Every text of a conversation, the oldest first. */
const allOf = async (user: User, conversation: string): Promise<string[]> => {
  const bodies: string[] = [];
  for (let before: string[] = []; ; ) {
    const page = await user.items<{ id: string; body: string }>('read', conversation, '--limit', '2000', ...before);
    const [first] = page;
    if (first === undefined) return bodies;
    bodies.unshift(...page.map(({ body }) => body));
    before = ['--before', first.id];
  }
};

const arrived = async (said: readonly Said[], at: User): Promise<void> => {
  const from = other(at).name;
  const got = (await allOf(at, from)).filter((body) => body.startsWith(from));
  const gotSet = new Set(got);
  expect(got).toEqual(said.filter(({ text }) => gotSet.has(text)).map(({ text }) => text));
  expect(said.filter(({ text, kept }) => kept && !gotSet.has(text))).toEqual([]);
};

// After so many deaths in so short a time Tor may hold the other side to be out of reach, and the next dial be minutes off:
// then the person does what `why` says.
const drained = async (user: User): Promise<void> => {
  const isEmpty = async () => (await user.one<Outbox>('status')).outboxDepth === 0;
  await user.until('an empty outbox', isEmpty, 45_000).catch(async () => {
    for (const one of [alice, bob]) {
      console.info(`${one.name} is told to dial now`);
      await one.run('why', other(one).name, '--retry');
    }
    await user.until('an empty outbox after a retry', isEmpty);
  });
};

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

type Outbox = { outboxDepth: number };
