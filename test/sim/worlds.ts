// Random worlds: people who talk while everything breaks around them, and the invariants that must hold afterwards.

import type { Weather } from '../../src/net/memory-network.ts';
import { checkDatabase } from '../../src/store/check.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { seededRandom } from '../../src/testing/random.ts';

export type Outcome = {
  readonly trace: string;
  readonly messages: number;
  readonly crashes: number;
  readonly wrong: readonly string[];
};

type Sent = { readonly from: string; readonly to: string; readonly id: string };

const NAMES = ['alice', 'bob', 'carol'] as const;
const MINUTE = 60_000;

/** Plays one world of three people to its end; the same seed gives the same trace. */
export const playWorld = async (seed: number, steps: number): Promise<Outcome> => {
  await using world = new World(seed);
  const dice = seededRandom(seed ^ 0x5eed);
  const people = await Promise.all(NAMES.map((name) => world.person(name)));
  const [alice, bob, carol] = people;
  if (alice === undefined || bob === undefined || carol === undefined) throw new Error('three people');
  await world.befriend(alice, bob);
  await world.befriend(bob, carol);
  await world.befriend(carol, alice);
  const play = new Play(world, people, dice);
  for (let step = 0; step < steps; step++) await play.step();
  await play.rest();
  return await play.outcome();
};

class Play {
  readonly #world: World;
  readonly #people: readonly Person[];
  readonly #dice: ReturnType<typeof seededRandom>;
  readonly #sent: Sent[] = [];
  readonly #trace: string[] = [];
  #crashes = 0;

  constructor(world: World, people: readonly Person[], dice: ReturnType<typeof seededRandom>) {
    this.#world = world;
    this.#people = people;
    this.#dice = dice;
  }

  async step(): Promise<void> {
    const roll = this.#dice.fraction();
    const who = this.#pick(this.#people);
    if (!who.isOpen) {
      if (roll < 0.5) await this.#reopen(who);
      else await this.#pass(this.#dice.fraction() * 2_000);
      return;
    }
    if (roll < 0.72) await this.#send(who);
    else if (roll < 0.76) await this.#change(who);
    else if (roll < 0.86) await this.#pass(this.#dice.fraction() * 3_000);
    else if (roll < 0.9) this.#crashSoon(who);
    else if (roll < 0.92) await this.#restart(who);
    else if (roll < 0.94) this.#world.hub.partition(who.address, this.#pick(this.#people).address);
    else if (roll < 0.97) this.#world.hub.heal();
    else this.#world.hub.weather = this.#weather();
  }

  /** Fair weather, everybody up, and time for everything that waits. */
  async rest(): Promise<void> {
    this.#world.hub.weather = { delayMs: [1, 20], loss: 0, duplicate: 0, reorder: 0, breaks: 0 };
    this.#world.hub.heal();
    for (const person of this.#people) {
      person.crashAt(Number.POSITIVE_INFINITY, 'after');
      if (!person.isOpen) await this.#reopen(person);
    }
    for (let round = 0; round < 40; round++) {
      await this.#world.settle(10 * MINUTE);
      if (this.#people.every((person) => person.account.status().outboxDepth === 0)) return;
    }
  }

  async outcome(): Promise<Outcome> {
    const wrong: string[] = [];
    for (const person of this.#people) {
      wrong.push(...checkDatabase(person.db).map((line) => `${person.name}: ${line}`));
      const { outboxDepth } = person.account.status();
      if (outboxDepth > 0) wrong.push(`${person.name} still has ${outboxDepth} in the outbox`);
      for (const other of this.#people) if (other !== person) wrong.push(...(await this.#compare(person, other)));
    }
    for (const { from, to, id } of this.#sent) {
      const mine = await this.#person(from).messages(to);
      if (!mine.some((message) => message.id === id))
        wrong.push(`${from} lost ${id.slice(0, 8)}, which send had acknowledged`);
    }
    return { trace: this.#trace.join('\n'), messages: this.#sent.length, crashes: this.#crashes, wrong };
  }

  /** What one wrote and did not delete is with the other: each once, in order, with the same text, and shown as delivered. */
  async #compare(from: Person, to: Person): Promise<string[]> {
    const sent = (await from.messages(to)).filter((message) => message.mine && message.deletedAt === undefined);
    const got = (await to.messages(from)).filter((message) => !message.mine && message.deletedAt === undefined);
    this.#trace.push(
      `${from.name}>${to.name} ${got.map((message) => `${message.id.slice(0, 6)}:${message.body}`).join(' ')}`,
    );
    const wrong: string[] = [];
    const ids = (messages: typeof sent) => messages.map((message) => message.id).join(' ');
    if (ids(sent) !== ids(got))
      wrong.push(`${from.name}>${to.name}: sent ${sent.length}, got ${got.length}, or another order`);
    for (const message of sent) {
      const theirs = got.find((one) => one.id === message.id);
      if (theirs !== undefined && theirs.body !== message.body)
        wrong.push(`${message.id.slice(0, 8)}: "${message.body}" is "${theirs.body}" at the other side`);
      if (!['delivered', 'read'].includes(message.state)) wrong.push(`${message.id.slice(0, 8)} is ${message.state}`);
    }
    return wrong;
  }

  async #send(who: Person): Promise<void> {
    const to = this.#pick(this.#people.filter((person) => person !== who));
    const text = `${who.name[0]}${this.#sent.length}`;
    await this.#try(who, async () => {
      const { id } = await who.send(to, text);
      this.#sent.push({ from: who.name, to: to.name, id });
    });
  }

  async #change(who: Person): Promise<void> {
    const own = this.#sent.filter((sent) => sent.from === who.name);
    const one = own.length === 0 ? undefined : this.#pick(own);
    if (one === undefined) return;
    const edits = this.#dice.fraction() < 0.6;
    await this.#try(who, () =>
      edits
        ? who.call('message.edit', { id: one.id, text: `${one.id.slice(0, 4)} edited` })
        : who.call('message.delete', { id: one.id }),
    );
  }

  // A call on a program that dies in the middle fails; whether its message is there is then open.
  async #try(who: Person, call: () => Promise<unknown>): Promise<void> {
    try {
      await call();
    } catch (error) {
      if (who.isOpen && !(error instanceof Error && 'code' in error)) throw error;
    }
  }

  #crashSoon(who: Person): void {
    this.#crashes++;
    who.crashAt(1 + Math.floor(this.#dice.fraction() * 6), this.#dice.fraction() < 0.5 ? 'before' : 'after');
  }

  async #restart(who: Person): Promise<void> {
    who.crashAt(Number.POSITIVE_INFINITY, 'after');
    await who.close();
    await this.#reopen(who);
  }

  async #reopen(who: Person): Promise<void> {
    this.#trace.push(`${who.name} opens at ${this.#world.clock.monotonic().toFixed(0)}`);
    await who.open();
  }

  #pass(ms: number): Promise<void> {
    return this.#world.settle(ms);
  }

  #weather(): Weather {
    const most = this.#dice.fraction() < 0.5 ? 50 : 2_000;
    return {
      delayMs: [1, most],
      loss: 0,
      duplicate: this.#dice.fraction() * 0.2,
      reorder: 0,
      breaks: this.#dice.fraction() * 0.1,
    };
  }

  #person(name: string): Person {
    const person = this.#people.find((one) => one.name === name);
    if (person === undefined) throw new Error(name);
    return person;
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.#dice.fraction() * items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}
