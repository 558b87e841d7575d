// What members of a simulated channel do with what is said there, beside saying it, and that all of them see the same of it.
import type { Clock, Random } from '../../src/ports.ts';
import type { Message } from '../../src/protocol/rpc-objects.ts';
import type { Stored } from '../../src/server/event-log.ts';
import type { Person } from '../../src/testing/people.ts';
import { pick } from './talk.ts';

const EMOJI = ['👍', '🎉', '🤔'] as const;
const BRIEF_MS_MAX = 120_000;
const MUTED_MS_MAX = 300_000;
// Rather the latest messages than any.
const BACK_MAX = 20;

/** What a member is called by others. A second device has a digit behind its owner's name. */
export const memberName = ({ name }: Pick<Person, 'name'>): string => `${name.replace(/\d/, '')}@home`;

/** Whether two are devices of one member. */
export const isSame = (one: Person, other: Person): boolean => memberName(one) === memberName(other);

/** A thing that somebody calls for; it may be refused. */
export type Deed = () => Promise<unknown>;

/** The deeds of one world. */
export class Deeds {
  readonly #clock: Clock;
  readonly #dice: Random;
  readonly #brief: string[] = [];

  constructor(clock: Clock, dice: Random) {
    this.#clock = clock;
    this.#dice = dice;
  }

  /** Whether this step is one of them. */
  isTurn(): boolean {
    return this.#dice.fraction() < 0.25;
  }

  /** What somebody does in a channel, or with a message that was said in it. */
  next(who: Person, channel: string, said: readonly { readonly id: string }[]): Deed {
    const roll = this.#dice.fraction();
    if (roll < 0.15) return this.#sayBriefly(who, channel);
    if (roll < 0.2) return this.#mute(who, channel);
    if (said.length === 0) return async () => {};
    const { id } = this.#recent(said);
    const on = this.#dice.fraction() < 0.65;
    if (roll < 0.7) {
      const emoji = pick(this.#dice, EMOJI);
      return () => who.call(on ? 'message.react' : 'message.unreact', { id, emoji });
    }
    if (roll < 0.9) return () => who.call(on ? 'message.pin' : 'message.unpin', { id });
    return () => who.call('message.delete', { id });
  }

  /** Texts that have ended and are somewhere. */
  async lingering(people: readonly Person[], log: readonly Stored[]): Promise<string[]> {
    const wrong: string[] = [];
    for (const text of this.#brief) {
      for (const who of people) {
        const { messages } = await who.call('message.search', { query: text });
        if (messages.length > 0) wrong.push(`${who.name} still has ${text}, which has ended`);
      }
      const there = log.find(({ body }) => body !== null && Buffer.from(body).includes(text));
      if (there !== undefined) wrong.push(`the server still has ${text} at ${there.seq}, which has ended`);
    }
    return wrong;
  }

  #recent<T>(said: readonly T[]): T {
    return pick(this.#dice, said.slice(-Math.ceil(this.#dice.fraction() * BACK_MAX)));
  }

  #sayBriefly(who: Person, channel: string): Deed {
    const text = `brief${this.#brief.length}${who.name}`;
    const expiresMs = Math.floor(1_000 + this.#dice.fraction() ** 3 * BRIEF_MS_MAX);
    this.#brief.push(text);
    return () => who.send(channel, text, { expiresMs });
  }

  #mute(who: Person, channel: string): Deed {
    const [member, muted] = [pick(this.#dice, ['bob', 'carol']), this.#dice.fraction() < 0.5];
    const forMs = Math.floor(this.#dice.fraction() * MUTED_MS_MAX);
    return () =>
      who.call('channel.mute', { channel, member, muted, ...(muted ? { until: this.#clock.now() + forMs } : {}) });
  }
}

/** Somebody who is in a channel, and from which event on. */
export type Reader = { readonly person: Person; readonly from: number };

/** What two members show differently of a message that was said after both had come. */
export const compareSights = async (
  channel: string,
  log: readonly Stored[],
  readers: readonly Reader[],
): Promise<string[]> => {
  const seqs = new Map(log.map(({ id, seq }) => [id as string, seq]));
  const [first, ...others] = await Promise.all(
    readers.map(async (reader) => ({
      ...reader,
      sights: new Map((await reader.person.messages(channel)).map((one) => [one.id, sightOf(reader.person, one)])),
    })),
  );
  if (first === undefined) return [];
  return others.flatMap((other) =>
    [...new Set([...first.sights.keys(), ...other.sights.keys()])].flatMap((id) => {
      const [seq, ours, theirs] = [seqs.get(id) ?? 0, first.sights.get(id), other.sights.get(id)];
      if (seq < Math.max(first.from, other.from) || theirs === ours) return [];
      return [`${channel} ${seq}: ${ours} for ${first.person.name}, ${theirs} for ${other.person.name}`];
    }),
  );
};

// Who fetched it after it was deleted shows nothing of it; what has failed is with its author only.
const sightOf = (
  who: Person,
  { body, state, deletedAt, editedAt, pinnedAt, reactions }: Message,
): string | undefined => {
  if (deletedAt !== undefined || state === 'failed') return undefined;
  const faces = reactions.map(({ emoji, from, mine }) => `${emoji}${mine ? memberName(who) : `${from}@home`}`).sort();
  return [`"${body}"`, editedAt && 'edited', pinnedAt && 'pinned', ...faces].filter(Boolean).join(' ');
};
