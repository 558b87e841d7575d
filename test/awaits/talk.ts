// A story that comes to every await of the messenger, told by people who try again when their program died.
import { checkDatabase } from '../../src/store/check.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { isOpenedBy } from './stop.ts';

const TRIES_MAX = 5;
const SETTLE_MS = 30_000;
const WAIT_MS = 1_000;
const RESET_PAUSE_MS = 10 * 60_000;

/** Tells the story in a world of its own; gives what is wrong at its end. */
export const tell = async (): Promise<string[]> => {
  await using world = new World(7);
  const talk = new Talk(world);
  const [alice, bob, carol] = [await talk.person('alice'), await talk.person('bob'), await talk.person('carol')];
  carol.copy();

  await talk.befriend(alice, bob);
  await talk.say(alice, bob, ['one']);
  await talk.say(bob, alice, ['two', 'three']);

  // One after the other waits for someone who is away.
  await bob.close();
  await talk.say(alice, bob, ['four', 'five']);
  await talk.rise();

  // One has lost the session, as after a restore.
  await talk.forget(bob);
  await talk.say(bob, alice, ['six']);

  // They ask each other at once.
  world.hub.partition(alice.address, carol.address);
  await talk.ask(alice, carol);
  await talk.ask(carol, alice);
  world.hub.heal();
  await talk.until(
    'crossed',
    () => areFriends(alice, carol),
    async () => {},
  );
  await talk.say(alice, carol, ['seven']);

  // One begins anew and asks again: the other still knows them.
  carol.die();
  carol.putBack();
  await talk.rise();
  await talk.until(
    'asked again',
    () => areFriends(alice, carol),
    () => talk.ask(carol, alice),
  );
  await talk.say(carol, alice, ['eight']);
  return await talk.wrong();
};

const stateOf = (of: Person, to: Person): string | undefined =>
  of.db.get<{ state: string }>('SELECT state FROM contacts WHERE address = ?', to.address)?.state;

const areFriends = (one: Person, two: Person): boolean =>
  stateOf(one, two) === 'accepted' && stateOf(two, one) === 'accepted';

class Talk {
  readonly #world: World;
  readonly #people: Person[] = [];
  readonly #said: { readonly from: Person; readonly to: Person; readonly text: string }[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  async person(name: string): Promise<Person> {
    const person = await this.#world.person(name);
    this.#people.push(person);
    isOpenedBy(person);
    return person;
  }

  /** Time passes; whose program is down starts it again. */
  async rise(): Promise<void> {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      await this.#world.settle(SETTLE_MS);
      const down = this.#people.filter((person) => !person.isOpen);
      if (down.length === 0) return;
      for (const person of down) {
        await person.open();
        isOpenedBy(person);
      }
    }
    throw new Error('they do not stay up');
  }

  /** Tries until it is done. */
  async until(what: string, done: () => boolean, attempt: () => Promise<unknown>): Promise<void> {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      if (done()) return;
      await attempt();
      await this.rise();
    }
    if (!done()) throw new Error(`${what} does not come`);
  }

  /** One who died in the middle looks what became of it; an answer that there is one already is good too. */
  async attempt(who: Person, act: () => Promise<unknown>): Promise<void> {
    await act().catch((error: unknown) => {
      if (who.isOpen && !(error instanceof Error && 'code' in error)) throw error;
    });
  }

  async ask(one: Person, two: Person): Promise<void> {
    const { address, name } = two;
    const waiting = { wait: 'accepted', timeoutMs: WAIT_MS } as const;
    await this.attempt(one, () => this.#meanwhile(one.call('contact.add', { address, name, ...waiting })));
    if (!one.isOpen) await this.rise();
  }

  async befriend(one: Person, two: Person): Promise<void> {
    await this.until(
      'the request',
      () => stateOf(two, one) === 'incoming',
      () => this.ask(one, two),
    );
    await this.until(
      'acceptance',
      () => areFriends(one, two),
      async () => {
        const [request] = await two.call('contact.requests', {});
        if (request === undefined) return;
        await this.attempt(two, () => two.call('contact.accept', { contact: request.id, name: one.name }));
      },
    );
  }

  async say(from: Person, to: Person, texts: readonly string[]): Promise<void> {
    const isAway = !to.isOpen;
    for (const text of texts) {
      this.#said.push({ from, to, text });
      const isThere = () => from.db.get('SELECT 1 FROM messages WHERE mine = 1 AND body = ?', text) !== undefined;
      for (let tries = 0; tries < TRIES_MAX && !isThere(); tries++) {
        const waiting = { wait: 'delivered', timeoutMs: WAIT_MS } as const;
        await this.attempt(from, () => this.#meanwhile(from.send(to, text, waiting)));
        if (!from.isOpen) {
          await from.open();
          isOpenedBy(from);
        }
      }
    }
    if (!isAway) await this.rise();
  }

  /** Time passes for a call that waits. */
  async #meanwhile(call: Promise<unknown>): Promise<unknown> {
    call.catch(() => {});
    await this.#world.settle(WAIT_MS);
    return call;
  }

  async forget(who: Person): Promise<void> {
    // A session that was just begun may not be reset yet.
    await this.#world.settle(RESET_PAUSE_MS);
    await this.rise();
    who.db.run('DELETE FROM sessions');
    who.db.run('UPDATE outbox SET session_id = NULL, type = NULL, ciphertext = NULL');
    who.die();
    await this.rise();
  }

  async wrong(): Promise<string[]> {
    await this.#world.settle(RESET_PAUSE_MS);
    await this.rise();
    const wrong: string[] = [];
    for (const person of this.#people) {
      wrong.push(...checkDatabase(person.db).map((line) => `${person.name}: ${line}`));
      const { outboxDepth } = person.account.status();
      if (outboxDepth > 0) wrong.push(`${person.name} still has ${outboxDepth} in the outbox`);
    }
    for (const from of this.#people)
      for (const to of this.#people) {
        const said = this.#said.filter((one) => one.from === from && one.to === to).map(({ text }) => text);
        if (said.length === 0) continue;
        const came = (await to.messages(from)).filter(({ mine }) => !mine).map(({ body }) => body);
        // What carol had before she began anew is gone with her store.
        const kept = to.name === 'carol' ? [] : said;
        if (came.join() !== kept.join()) wrong.push(`${from.name} said ${said.join()}; ${to.name} has ${came.join()}`);
      }
    return wrong;
  }
}
