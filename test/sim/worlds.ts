// Random worlds: people who talk while everything breaks around them, and the invariants that must hold meanwhile and afterwards.

import { FAIR } from '../../src/net/memory-network.ts';
import type { Random } from '../../src/ports.ts';
import type { Message } from '../../src/protocol/rpc-objects.ts';
import { checkDatabase } from '../../src/store/check.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { compareMessages, compareRelation, stateOf, type Timelines } from './compare.ts';
import { type Claim, Follower } from './follower.ts';
import { attempt, contactsOf, fingerprints, framesOf, pick, Talk } from './talk.ts';

export type Outcome = {
  readonly trace: string;
  readonly messages: number;
  readonly crashes: number;
  readonly wrong: readonly string[];
};

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
    play.look();
  }
  await play.rest();
  return await play.outcome();
};

/** What somebody may do, and in how many of a thousand steps. */
type Deed = readonly [share: number, act: (who: Person) => unknown];

class Play {
  readonly #world: World;
  readonly #people: readonly Person[];
  readonly #dice: Random;
  readonly #talk: Talk;
  readonly #followers: readonly Follower[];
  readonly #deeds: readonly Deed[];
  readonly #trace: string[] = [];
  readonly #wrong: string[] = [];
  readonly #copies = new Map<Person, string>();
  readonly #putBacks = new Set<Person>();
  #crashes = 0;

  constructor(world: World, people: readonly Person[], dice: Random) {
    this.#world = world;
    this.#people = people;
    this.#dice = dice;
    const talk = new Talk(people, dice);
    this.#talk = talk;
    this.#followers = people.map((person) => new Follower(person));
    for (const follower of this.#followers) follower.follow();
    const deeds: readonly Deed[] = [
      [25, (who) => talk.sendBrief(who)],
      [30, (who) => talk.edit(who)],
      [12, (who) => talk.delete(who)],
      [2, (who) => talk.deleteHere(who)],
      [45, (who) => talk.react(who)],
      [15, (who) => talk.pin(who)],
      [12, (who) => talk.cancel(who)],
      [8, (who) => talk.resend(who)],
      [40, (who) => talk.read(who)],
      [6, (who) => talk.receipts(who)],
      [1, (who) => talk.clear(who)],
      [2, (who) => this.#part(who)],
      [20, (who) => this.#meet(who)],
      [3, (who) => this.#block(who)],
      [33, (who) => this.#crashSoon(who)],
      [12, (who) => this.#restart(who)],
      [17, (who) => world.hub.partition(who.address, pick(dice, people).address)],
      [3, (who) => world.hub.loseHalf(who.address)],
      [24, () => world.hub.heal()],
      [18, () => this.#changeWeather()],
      [5, (who) => this.#copy(who)],
      [6, (who) => this.#putBack(who)],
      [2, (who) => this.#loseSessions(who)],
    ];
    // Each world has much of one thing and little of another.
    const some = ([share, act]: Deed): Deed => [share * 4 * dice.fraction() ** 3, act];
    this.#deeds = [
      [600, (who) => talk.send(who)],
      [90, () => world.settle(dice.fraction() * 3_000)],
      ...deeds.map(some),
    ];
  }

  async step(): Promise<void> {
    const who = pick(this.#dice, this.#people);
    const roll = this.#dice.fraction();
    if (who.isOpen) await this.#deed(roll)(who);
    else if (roll < 0.5) await this.#reopen(who);
    else await this.#world.settle(this.#dice.fraction() * 2_000);
  }

  /** What somebody was told of a message since the last look is true at the other side, where that can be looked at. */
  look(): void {
    for (const follower of this.#followers)
      for (const claim of follower.takeClaims((one) => this.#reader(one)?.isOpen === true)) {
        const fault = this.#talk.isForgotten(claim.id) ? undefined : this.#fault(follower.person, claim);
        if (fault !== undefined) this.#wrong.push(`${follower.person.name} ${claim.id.slice(0, 8)}: ${fault}`);
      }
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
      await this.#reunite();
      await this.#world.settle(10 * MINUTE);
      this.look();
      if (this.#people.every((person) => person.account.status().outboxDepth === 0 && !this.#isLeft(person))) break;
    }
    // What came last ends as well.
    await this.#world.settle(10 * MINUTE);
  }

  async outcome(): Promise<Outcome> {
    const wrong = this.#wrong;
    const timelines = await this.#timelines();
    for (const person of this.#people) {
      wrong.push(...checkDatabase(person.db).map((line) => `${person.name}: ${line}`));
      const { outboxDepth } = person.account.status();
      if (outboxDepth > 0) wrong.push(`${person.name} still has ${outboxDepth} in the outbox`);
      wrong.push(...(await this.#talk.lingering(person)));
      wrong.push(...this.#saidPutBack(person));
      for (const other of this.#people)
        if (other !== person) wrong.push(...(await this.#compare(person, other, timelines)));
    }
    for (const follower of this.#followers) {
      wrong.push(...follower.wrong(this.#dice.fraction()));
      const twice = follower.toldTwice().filter((id) => !this.#talk.isForgotten(id));
      if (twice.length > 0) wrong.push(`${follower.person.name} was told twice that ${twice} came`);
    }
    return { trace: this.#trace.join('\n'), messages: this.#talk.sent.length, crashes: this.#crashes, wrong };
  }

  // Nobody is said to have been put back who was not.
  #saidPutBack(person: Person): string[] {
    const said = person.db.all<{ kind: string; address: string }>(
      `SELECT kind, address FROM contact_history h JOIN contacts c ON c.id = h.contact_id
         WHERE kind IN ('account.restored', 'contact.restored')`,
    );
    return said.flatMap(({ kind, address }) => {
      const who = kind === 'account.restored' ? person : this.#people.find((one) => one.address === address);
      return who !== undefined && this.#putBacks.has(who) ? [] : [`${person.name} says that ${who?.name} was put back`];
    });
  }

  async #timelines(): Promise<Timelines> {
    const all = new Map<string, readonly Message[]>();
    const key = (of: Person, to: Person) => `${of.name}>${to.name}`;
    for (const of of this.#people)
      for (const to of this.#people) if (stateOf(of, to) === 'accepted') all.set(key(of, to), await of.messages(to));
    return (of, to) => all.get(key(of, to)) ?? [];
  }

  async #compare(from: Person, to: Person, timelines: Timelines): Promise<string[]> {
    const misfit = compareRelation(from, to);
    if (misfit.length > 0 || stateOf(from, to) !== 'accepted') return misfit;
    const got = timelines(to, from).filter(({ mine }) => !mine);
    this.#trace.push(`${from.name}>${to.name} ${got.map(({ id, body }) => `${id.slice(0, 6)}:${body}`).join(' ')}`);
    const kept = new Set(timelines(from, to).map(({ id }) => id));
    const lost = this.#talk.sent.filter((one) => one.from === from && one.to === to && !kept.has(one.id));
    return [
      ...(await compareMessages(from, to, timelines, this.#talk)),
      ...lost
        .filter(({ id }) => !this.#talk.isForgotten(id) && !this.#talk.isLate(id) && !this.#talk.isBrief(id))
        .map(({ id }) => `${from.name} lost ${id.slice(0, 8)}, which send had acknowledged`),
    ];
  }

  #deed(roll: number): Deed[1] {
    let rest = roll * this.#deeds.reduce((sum, [share]) => sum + share, 0);
    for (const [share, act] of this.#deeds) {
      rest -= share;
      if (rest < 0) return act;
    }
    return () => {};
  }

  #reader({ id }: Claim): Person | undefined {
    return this.#talk.sent.find((sent) => sent.id === id)?.to;
  }

  #fault(from: Person, { id, read }: Claim): string | undefined {
    const to = this.#reader({ id, read });
    if (to === undefined) return undefined;
    const has = to.db.get(
      'SELECT 1 FROM frame_ids f JOIN contacts c ON c.id = f.contact_id WHERE c.address = ? AND f.frame_id = ?',
      from.address,
      Buffer.from(id, 'hex'),
    );
    if (has === undefined) return `is shown as ${read ? 'read' : 'delivered'}, and is not there`;
    return read && !this.#talk.hasTold(to, id) ? 'is shown as read, which nobody told' : undefined;
  }

  /** Whether somebody for whom this person is a contact has ended that. */
  #isLeft(person: Person): boolean {
    return this.#people.some(
      (other) => stateOf(other, person) === 'accepted' && !['accepted', 'outgoing'].includes(stateOf(person, other)),
    );
  }

  // Who has ended a contact that the other side still has asks again.
  async #reunite(): Promise<void> {
    for (const person of this.#people)
      for (const other of this.#people) {
        if (other === person || stateOf(other, person) !== 'accepted') continue;
        const ours = stateOf(person, other);
        if (ours === 'incoming') {
          const asked = (await person.call('contact.requests', {})).find(({ address }) => address === other.address);
          if (asked !== undefined) await person.call('contact.accept', { contact: asked.id, name: other.name });
        } else if (ours === 'rejected' || ours === 'unknown')
          await person.call('contact.add', { address: other.address, name: other.name });
      }
  }

  // Somebody asks another one, or answers who has asked.
  async #meet(who: Person): Promise<void> {
    const roll = this.#dice.fraction();
    const strangers = this.#people.filter((one) => one !== who && stateOf(who, one) !== 'accepted');
    const other = strangers.length === 0 ? undefined : pick(this.#dice, strangers);
    await attempt(who, async () => {
      const [request] = await who.call('contact.requests', {});
      if (request !== undefined && roll < 0.75)
        await who.call('contact.accept', { contact: request.id, name: request.nickname });
      else if (request !== undefined) await who.call('contact.reject', { contact: request.id });
      else if (other !== undefined) await who.call('contact.add', { address: other.address, name: other.name });
    });
  }

  // Mostly for a while.
  async #block(who: Person): Promise<void> {
    const blocked = this.#people.filter(
      ({ address }) => who.db.get('SELECT 1 FROM contacts WHERE address = ? AND blocked = 1', address) !== undefined,
    );
    const other = pick(this.#dice, blocked.length > 0 ? blocked : this.#people);
    const way = blocked.length > 0 ? 'contact.unblock' : 'contact.block';
    await attempt(who, () => who.call(way, { contact: other.name }));
  }

  // A copy from before is from another life.
  async #part(who: Person): Promise<void> {
    this.#copies.clear();
    await this.#talk.part(who);
  }

  #copy(who: Person): void {
    who.copy();
    this.#copies.set(who, contactsOf(who));
  }

  // The machine is put back to its copy: what was written since is gone here. Not across a change of contacts: a person
  // who does not know any more whom they have accepted has to ask again, and the others have to be told by their users.
  async #putBack(who: Person): Promise<void> {
    if (this.#copies.get(who) !== contactsOf(who)) return;
    this.#putBacks.add(who);
    const before = fingerprints(who);
    const had = framesOf(who);
    this.#talk.loseOutbox(who);
    who.die();
    who.putBack();
    this.#followers.find(({ person }) => person === who)?.startAnew();
    await this.#reopen(who);
    const after = fingerprints(who);
    this.#talk.forget([...before.keys(), ...after.keys()].filter((id) => before.get(id) !== after.get(id)));
    // Also what had come since, and ended.
    const has = framesOf(who);
    this.#talk.forget([...had].filter((id) => !has.has(id)));
  }

  // Restored from a backup: everything but the sessions. Half of the time another one loses theirs as well, so that their
  // resets cross.
  async #loseSessions(who: Person): Promise<void> {
    const other = pick(this.#dice, this.#people);
    const losers = this.#dice.fraction() < 0.5 || !other.isOpen ? [who] : [...new Set([who, other])];
    for (const person of losers) {
      const accepted = `contact_id IN (SELECT id FROM contacts WHERE state = 'accepted')`;
      person.db.run(`DELETE FROM sessions WHERE ${accepted}`);
      person.db.run(`DELETE FROM requests WHERE ${accepted}`);
      person.db.run('UPDATE outbox SET session_id = NULL, type = NULL, ciphertext = NULL, is_older = 1');
      person.die();
    }
    for (const person of losers) await this.#reopen(person);
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
    this.#followers.find(({ person }) => person === who)?.follow();
  }

  #changeWeather(): void {
    const most = this.#dice.fraction() < 0.5 ? 50 : 2_000;
    const rate = (highest: number) => this.#dice.fraction() * highest;
    this.#world.hub.weather = {
      delayMs: [1, most],
      loss: rate(0.01),
      duplicate: rate(0.2),
      replay: rate(0.02),
      reorder: rate(0.02),
      breaks: rate(0.1),
    };
  }
}
