// Random worlds of files: two people send, save, pause and cancel while everything breaks around them.
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FAIR } from '../../src/net/memory-network.ts';
import { toBase64 } from '../../src/protocol/bytes.ts';
import { checkDatabase } from '../../src/store/check.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { seededRandom } from '../../src/testing/random.ts';

const WORLDS = Math.ceil(Number(process.env.SOTTO_SIM_WORLDS ?? 75) / 5);
const FIRST_SEED = Number(process.env.SOTTO_SIM_SEED ?? 1);
const STEPS = 60;
const MINUTE = 60_000;
const BYTES = seededRandom(1).bytes(300_000);

type File = {
  readonly id: string;
  readonly from: Person;
  readonly to: Person;
  readonly at: number;
  readonly size: number;
};

class Play {
  readonly files: File[] = [];
  crashes = 0;
  readonly #world: World;
  readonly #dice: ReturnType<typeof seededRandom>;
  readonly #people: readonly [Person, Person];

  constructor(world: World, people: readonly [Person, Person], dice: ReturnType<typeof seededRandom>) {
    this.#world = world;
    this.#people = people;
    this.#dice = dice;
  }

  async step(): Promise<void> {
    const { hub } = this.#world;
    const roll = this.#dice.fraction();
    const who = this.#people[this.#dice.fraction() < 0.5 ? 0 : 1];
    if (!who.isOpen) return roll < 0.5 ? who.open() : this.#world.settle(roll * 4_000);
    const theirs = this.files.filter(({ to }) => to === who);
    const file = theirs[Math.floor(this.#dice.fraction() * theirs.length)];
    if (roll < 0.15) return this.#send(who);
    if (roll < 0.4 && file !== undefined) return this.#try(who, () => this.save(file));
    if (roll < 0.45 && file !== undefined) return this.#try(who, () => who.call('file.pause', { id: file.id }));
    if (roll < 0.48 && file !== undefined) return this.#cancel(file);
    if (roll < 0.8) return this.#world.settle(roll * 1_000);
    if (roll < 0.84) return who.close().then(() => who.open());
    if (roll < 0.92) return this.#crashSoon(who);
    if (roll < 0.95) return hub.partition(this.#people[0].address, this.#people[1].address);
    if (roll < 0.98) return hub.heal();
    const rate = (most: number) => this.#dice.fraction() * most;
    const [loss, replay, reorder] = [rate(0.02), rate(0.02), rate(0.05)];
    hub.weather = { delayMs: [1, 300], loss, duplicate: rate(0.05), replay, reorder, breaks: rate(0.1) };
  }

  save(file: File): Promise<unknown> {
    return file.to.call('file.save', { id: file.id, path: this.#pathOf(file), wait: 'active' });
  }

  /** Fair weather, both up, everything that was not cancelled is saved, and time. */
  async rest(): Promise<void> {
    this.#world.hub.weather = FAIR;
    this.#world.hub.heal();
    for (const person of this.#people) {
      person.crashAt(Number.POSITIVE_INFINITY, 'after');
      if (!person.isOpen) await person.open();
    }
    await this.#world.settle(30 * MINUTE);
    for (const file of this.files) if (!existsSync(this.#pathOf(file))) await this.#try(file.to, () => this.save(file));
    await this.#world.settle(30 * MINUTE);
  }

  /** Each file is whole where it was saved, or nowhere; what is kept is what must be. */
  async wrong(): Promise<string[]> {
    const wrong: string[] = [];
    for (const file of this.files) {
      const [sent, got] = await Promise.all(
        [file.from, file.to].map((person) => person.call('file.show', { id: file.id })),
      );
      const path = this.#pathOf(file);
      const states = `${file.id.slice(0, 6)} of ${file.size}: ${sent?.state}, ${got?.state} ${got?.reason ?? ''}`;
      if (got?.state === 'done') {
        const whole = existsSync(path) && readFileSync(path).equals(BYTES.subarray(file.at, file.at + file.size));
        if (!whole || got.savedTo !== path || !['done', 'cancelled'].includes(sent?.state ?? '')) wrong.push(states);
      } else if (got?.state !== 'cancelled' || existsSync(path)) wrong.push(states);
    }
    for (const person of this.#people) {
      wrong.push(...checkDatabase(person.db));
      const list = await person.call('file.list', { limit: 1000 });
      // An offer whose sender died before it was told of it may be there, and nobody saves it.
      const kept = list.filter(({ direction, state }) => state === (direction === 'in' ? 'done' : 'offered'));
      const dir = join(this.#world.dir, person.name, 'files');
      const there = existsSync(dir) ? readdirSync(dir).filter((name) => !name.endsWith('.hashes')) : [];
      if (
        there.sort().join() !==
        kept
          .map(({ id }) => id)
          .sort()
          .join()
      )
        wrong.push(`${person.name} keeps ${there}`);
    }
    const saved = readdirSync(join(this.#world.dir, 'saved'));
    if (saved.some((name) => name.startsWith('.'))) wrong.push(`left: ${saved}`);
    return wrong;
  }

  #pathOf({ id }: File): string {
    return join(this.#world.dir, 'saved', id);
  }

  async #send(from: Person): Promise<void> {
    const to = from === this.#people[0] ? this.#people[1] : this.#people[0];
    const size = Math.floor(this.#dice.fraction() ** 3 * 200_000);
    const at = Math.floor(this.#dice.fraction() * 100_000);
    await this.#try(from, async () => {
      const { id } = await from.call('file.open', { conversation: to.name, name: 'file' });
      await from.call('file.write', { id, data: toBase64(BYTES.subarray(at, at + size)) });
      await from.call('file.offer', { id });
      this.files.push({ id, from, to, at, size });
    });
  }

  async #cancel(file: File): Promise<void> {
    const who = this.#dice.fraction() < 0.5 && file.from.isOpen ? file.from : file.to;
    await this.#try(who, async () => {
      const { state } = await who.call('file.show', { id: file.id });
      if (state !== 'done') await who.call('file.cancel', { id: file.id });
    });
  }

  #crashSoon(who: Person): void {
    this.crashes++;
    who.crashAt(1 + Math.floor(this.#dice.fraction() * 6), this.#dice.fraction() < 0.5 ? 'before' : 'after');
  }

  // A call on a program that dies in the middle fails; an expected error is an answer.
  async #try(who: Person, call: () => Promise<unknown>): Promise<void> {
    try {
      await call();
    } catch (error) {
      if (who.isOpen && !(error instanceof Error && 'code' in error)) throw error;
    }
  }
}

test(
  `${WORLDS} worlds of two people lose no file, and keep nothing of one that is over`,
  async () => {
    let [files, crashes] = [0, 0];
    for (let seed = FIRST_SEED; seed < FIRST_SEED + WORLDS; seed++) {
      await using world = new World(seed);
      mkdirSync(join(world.dir, 'saved'));
      const { alice, bob } = await world.friends();
      const play = new Play(world, [alice, bob], seededRandom(seed ^ 0xf11e));
      for (let step = 0; step < STEPS; step++) await play.step();
      await play.rest();
      expect(await play.wrong(), `SOTTO_SIM_SEED=${seed} SOTTO_SIM_WORLDS=5`).toEqual([]);
      files += play.files.length;
      crashes += play.crashes;
    }
    process.stderr.write(`files: ${WORLDS} worlds, ${files} files, ${crashes} crashes\n`);
    expect(files).toBeGreaterThan(WORLDS);
  },
  WORLDS * 20_000,
);
