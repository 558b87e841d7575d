// Random worlds: people who talk while everything breaks around them, and the invariants that must hold afterwards.

import { FAIR, type Weather } from '../../src/net/memory-network.ts';
import type { Message } from '../../src/protocol/rpc-objects.ts';
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

// The first three are contacts from the beginning; Dave has to ask, or to be asked.
const NAMES = ['alice', 'bob', 'carol', 'dave'] as const;
const MINUTE = 60_000;
const REST_ROUNDS_MAX = 300;

/**
 * Plays one world of three friends and a fourth person to its end; the same seed gives the same trace. `restMs` is how long
 * nothing new happens after each step.
 */
export const playWorld = async (seed: number, steps: number, restMs = 0): Promise<Outcome> => {
  await using world = new World(seed);
  const dice = seededRandom(seed ^ 0x5eed);
  const people = await Promise.all(NAMES.map((name) => world.person(name)));
  const [alice, bob, carol] = people;
  if (alice === undefined || bob === undefined || carol === undefined) throw new Error('three people');
  await world.befriend(alice, bob);
  await world.befriend(bob, carol);
  await world.befriend(carol, alice);
  const play = new Play(world, people, dice);
  for (let step = 0; step < steps; step++) {
    await play.step();
    if (restMs > 0) await world.settle(restMs);
  }
  await play.rest();
  return await play.outcome();
};

type Relation = 'accepted' | 'outgoing' | 'incoming' | 'rejected' | 'unknown';

/** What `to` is for `of`. */
const stateOf = (of: Person, to: Person): Relation => {
  const { state } = of.db.get<{ state: string }>('SELECT state FROM contacts WHERE address = ?', to.address) ?? {};
  return state === 'removed' ? 'rejected' : ((state ?? 'unknown') as Relation);
};

const contactsOf = (who: Person): string =>
  JSON.stringify(who.db.all('SELECT address, state, blocked FROM contacts ORDER BY id'));

/** All that can be seen of each message, and whether it has left. */
const fingerprints = (who: Person): Map<string, string> =>
  new Map(
    who.db
      .all<{ id: string; seen: string }>(
        `SELECT lower(hex(message_id)) AS id, concat_ws(' ', body, edit_number, deleted_at, state = 'queued') AS seen FROM messages`,
      )
      .map(({ id, seen }) => [id, seen]),
  );

class Play {
  readonly #world: World;
  readonly #people: readonly Person[];
  readonly #dice: ReturnType<typeof seededRandom>;
  readonly #sent: Sent[] = [];
  readonly #trace: string[] = [];
  /** Messages that differ between a store and the copy that was put in its place: nobody can have kept these. */
  readonly #forgotten = new Set<string>();
  readonly #copies = new Map<Person, string>();
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
    else if (roll < 0.85) await this.#pass(this.#dice.fraction() * 3_000);
    else if (roll < 0.885) this.#crashSoon(who);
    else if (roll < 0.9) await this.#restart(who);
    else if (roll < 0.92) this.#world.hub.partition(who.address, this.#pick(this.#people).address);
    else if (roll < 0.945) this.#world.hub.heal();
    else if (roll < 0.965) this.#world.hub.weather = this.#weather();
    else if (roll < 0.985) await this.#meet(who);
    else if (roll < 0.99) this.#copy(who);
    else if (roll < 0.997) await this.#putBack(who);
    else await this.#loseSessions(who);
  }

  /** Fair weather, everybody up, and time for everything that waits. */
  async rest(): Promise<void> {
    this.#world.hub.weather = { ...FAIR, delayMs: [1, 20] };
    this.#world.hub.heal();
    for (const person of this.#people) {
      person.crashAt(Number.POSITIVE_INFINITY, 'after');
      if (!person.isOpen) await this.#reopen(person);
      for (const { name, state } of await person.call('contact.list', {}))
        if (state === 'blocked') await person.call('contact.unblock', { contact: name });
    }
    // Too many resets in a day stop sending until the next one.
    for (let round = 0; round < REST_ROUNDS_MAX; round++) {
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
      if (this.#forgotten.has(id)) continue;
      const mine = await this.#person(from).messages(to);
      if (!mine.some((message) => message.id === id))
        wrong.push(`${from} lost ${id.slice(0, 8)}, which send had acknowledged`);
    }
    return { trace: this.#trace.join('\n'), messages: this.#sent.length, crashes: this.#crashes, wrong };
  }

  /** What one wrote and did not delete is with the other: each once, in order, with the same text, and shown as delivered. */
  async #compare(from: Person, to: Person): Promise<string[]> {
    const [ours, theirs] = [stateOf(from, to), stateOf(to, from)];
    const fits = {
      accepted: ['accepted'],
      outgoing: ['incoming', 'rejected'],
      incoming: ['outgoing'],
      rejected: ['outgoing'],
      unknown: ['unknown'],
    }[ours];
    if (fits?.includes(theirs) !== true) return [`${from.name} is ${theirs} for ${to.name}, who is ${ours} for them`];
    if (ours !== 'accepted') return [];
    const counts = ({ id, deletedAt }: Message) => deletedAt === undefined && !this.#forgotten.has(id);
    const sent = (await from.messages(to)).filter((message) => message.mine && counts(message));
    const got = (await to.messages(from)).filter((message) => !message.mine && counts(message));
    this.#trace.push(
      `${from.name}>${to.name} ${got.map((message) => `${message.id.slice(0, 6)}:${message.body}`).join(' ')}`,
    );
    const wrong: string[] = [];
    // A frame that did not open, after a store was put back, comes again behind its neighbours.
    const disordered = to.log.unclaimed().some((line) => line.event === 'frame.refused');
    const ids = (messages: typeof sent) => {
      const all = messages.map((message) => message.id);
      return (disordered ? all.sort() : all).join(' ');
    };
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
    const contacts = this.#people.filter((person) => person !== who && stateOf(who, person) === 'accepted');
    if (contacts.length === 0) return;
    const to = this.#pick(contacts);
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

  // Dave asks one of the others or is asked; requests are accepted or rejected; contacts are blocked for a while.
  async #meet(who: Person): Promise<void> {
    const other = who.name === 'dave' ? this.#pick(this.#people.slice(0, 3)) : this.#person('dave');
    const roll = this.#dice.fraction();
    await this.#try(who, async () => {
      const [request] = await who.call('contact.requests', {});
      if (request !== undefined && roll < 0.75)
        await who.call('contact.accept', { contact: request.id, name: request.nickname });
      else if (request !== undefined) await who.call('contact.reject', { contact: request.id });
      else if (roll < 0.7) await who.call('contact.add', { address: other.address, name: other.name });
      else if (roll < 0.85) await who.call('contact.block', { contact: other.name });
      else await who.call('contact.unblock', { contact: other.name });
    });
  }

  #copy(who: Person): void {
    who.copy();
    this.#copies.set(who, contactsOf(who));
  }

  // The machine is put back to its copy: what was written since is gone here. Not across a change of contacts: a person
  // who does not know any more whom they have accepted has to ask again, and the others have to be told by their users.
  async #putBack(who: Person): Promise<void> {
    if (this.#copies.get(who) !== contactsOf(who)) return;
    const before = fingerprints(who);
    who.die();
    who.putBack();
    await this.#reopen(who);
    const after = fingerprints(who);
    for (const id of new Set([...before.keys(), ...after.keys()]))
      if (before.get(id) !== after.get(id)) this.#forgotten.add(id);
  }

  // Restored from a backup: everything but the sessions. Half of the time another one loses theirs as well, so that their
  // resets cross.
  async #loseSessions(who: Person): Promise<void> {
    const other = this.#pick(this.#people);
    const losers = this.#dice.fraction() < 0.5 || !other.isOpen ? [who] : [...new Set([who, other])];
    for (const person of losers) {
      const accepted = `contact_id IN (SELECT id FROM contacts WHERE state = 'accepted')`;
      person.db.run(`DELETE FROM sessions WHERE ${accepted}`);
      person.db.run(`DELETE FROM requests WHERE ${accepted}`);
      person.db.run('UPDATE outbox SET session_id = NULL, type = NULL, ciphertext = NULL');
      person.die();
    }
    for (const person of losers) await this.#reopen(person);
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
      loss: this.#dice.fraction() * 0.01,
      duplicate: this.#dice.fraction() * 0.2,
      replay: this.#dice.fraction() * 0.02,
      reorder: this.#dice.fraction() * 0.02,
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
