// What members of a simulated server do besides talking: files, threads, slow channels, a past that is shown, a server that is left.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../../src/ports.ts';
import { toBase64 } from '../../src/protocol/bytes.ts';
import { expectedError } from '../../src/protocol/errors.ts';
import type { Person, World } from '../../src/testing/people.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { type Deed, memberName } from './room-deeds.ts';
import { pick } from './talk.ts';

const BYTES = seededRandom(1).bytes(300_000);
const SLOW_MS_MAX = 30_000;
const BACK_MAX = 20;

/** A file that somebody was told is on its way. */
export type Sent = {
  readonly id: string;
  readonly from: Person;
  readonly to: string;
  readonly at: number;
  readonly size: number;
};

/** What one world's members are in the habit of. */
export class Habits {
  readonly files: Sent[] = [];
  /** Members who were shown the past of a channel, as `#channel member`. */
  readonly shown = new Set<string>();
  readonly #dice: Random;

  constructor(dice: Random) {
    this.#dice = dice;
  }

  /** Whether this step is one of them. */
  isTurn(): boolean {
    return this.#dice.fraction() < 0.15;
  }

  /** What somebody does; `to` is a channel or another member. */
  next(who: Person, to: string, said: readonly { readonly id: string }[]): Deed {
    const roll = this.#dice.fraction();
    if (roll < 0.3) return this.#sendFile(who, to);
    if (roll < 0.45) return this.#handleFile(who);
    if (roll < 0.55) return () => who.call('conversation.markRead', { conversation: to });
    if (roll < 0.75 && said.length > 0) return this.#answer(who, to, said);
    if (!to.startsWith('#')) return async () => {};
    if (roll < 0.9) return this.#show(who, to);
    const slowMs = this.#dice.fraction() < 0.5 ? 0 : Math.floor(this.#dice.fraction() * SLOW_MS_MAX);
    return () => who.call('channel.set', { channel: to, slowMs });
  }

  #sendFile(from: Person, to: string): Deed {
    const size = Math.floor(this.#dice.fraction() ** 3 * 200_000);
    const at = Math.floor(this.#dice.fraction() * 100_000);
    return async () => {
      const { id } = await from.call('file.open', { conversation: to, name: `file${this.files.length}` });
      await from.call('file.write', { id, data: toBase64(BYTES.subarray(at, at + size)) });
      const { file } = await from.call('file.offer', { id });
      this.files.push({ id: file.id, from, to, at, size });
    };
  }

  #handleFile(who: Person): Deed {
    if (this.files.length === 0) return async () => {};
    const { id, from } = this.#recent(this.files);
    const method = pick(
      this.#dice,
      from === who ? (['file.cancel'] as const) : (['file.fetch', 'file.pause'] as const),
    );
    return () => who.call(method, { id });
  }

  #answer(who: Person, to: string, said: readonly { readonly id: string }[]): Deed {
    const { id } = this.#recent(said);
    const more = this.#dice.fraction() < 0.5 ? { replyTo: id } : { thread: id };
    return () => who.send(to, `answer to ${id.slice(0, 6)}`, more);
  }

  #show(who: Person, channel: string): Deed {
    const member = pick(this.#dice, ['bob', 'carol']);
    this.shown.add(`${channel} ${member}@home`);
    return () => who.call('channel.shareHistory', { channel, member });
  }

  #recent<T>(all: readonly T[]): T {
    return pick(this.#dice, all.slice(-Math.ceil(this.#dice.fraction() * BACK_MAX)));
  }
}

/** Whether somebody is to have a file. */
export type MayHave = (reader: Person, file: Sent) => boolean;

/** Files that are not, for their sender or a reader, what they must be. */
export const wrongFiles = async (world: World, people: readonly Person[], files: readonly Sent[], mayHave: MayHave) => {
  const wrong: string[] = [];
  mkdirSync(join(world.dir, 'saved'), { recursive: true });
  for (const file of files) {
    const { from, id } = file;
    const mine = await from.call('file.show', { id }).catch(() => undefined);
    const what = `${from.name} to ${file.to}: ${mine?.name} ${id.slice(0, 12)}`;
    // What was taken back, and had been taken all the same, is deleted.
    const isDeleted = async () => (await from.call('message.show', { id })).deletedAt !== undefined;
    if (mine === undefined && !(await isDeleted().catch(() => false))) wrong.push(`${what} is gone`);
    if (mine?.state === 'active') wrong.push(`${what} still waits: ${mine.reason}`);
    if (mine?.state !== 'done') continue;
    for (const reader of people)
      if (reader !== from && mayHave(reader, file)) wrong.push(...(await unsaved(world, reader, file, what)));
  }
  return wrong;
};

const unsaved = async (world: World, reader: Person, { id, at, size, from, to }: Sent, what: string) => {
  const path = join(world.dir, 'saved', `${reader.name}-${id}`);
  try {
    const { deletedAt } = await reader.call('message.show', { id });
    if (deletedAt !== undefined) return [];
    if (!to.startsWith('#') && memberName(reader) === to)
      await world.during(reader.call('member.accept', { member: memberName(from) }).catch(() => {}));
    const { file } = await world.during(reader.call('file.save', { id, path, wait: 'done', overwrite: true }));
    if (file.state !== 'done') return [`${what} is ${file.state} for ${reader.name}: ${file.reason}`];
    const isWhole = readFileSync(path).equals(BYTES.subarray(at, at + size));
    return isWhole ? [] : [`${what} is another one for ${reader.name}`];
  } catch (error) {
    if (expectedError(error) === undefined) throw error;
    return [`${what} cannot be saved by ${reader.name}: ${error}`];
  }
};
