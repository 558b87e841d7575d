// What people of a simulated world do with messages, and what is remembered of it for the comparison at the end.

import type { Random } from '../../src/ports.ts';
import { idBytes } from '../../src/protocol/ids.ts';
import type { Person } from '../../src/testing/people.ts';
import { type Doubts, stateOf } from './compare.ts';

export type Sent = { readonly from: Person; readonly to: Person; readonly id: string };

const EMOJI = ['👍', '🎉', '🤔'] as const;
// Rather the latest messages than any.
const BACK_MAX = 30;
const BRIEF_MS_MAX = 300_000;

/** One of the items. */
export const pick = <T>(dice: Random, items: readonly T[]): T => {
  const item = items[Math.floor(dice.fraction() * items.length)];
  if (item === undefined) throw new Error('nothing to pick from');
  return item;
};

/** A call on a program that dies in the middle fails, whether its work is done or not; an expected error is an answer. */
export const attempt = async (who: Person, call: () => Promise<unknown>): Promise<void> => {
  try {
    await call();
  } catch (error) {
    if (who.isOpen && !(error instanceof Error && 'code' in error)) throw error;
  }
};

/** A text that ends by itself. */
type Brief = Sent & { readonly text: string };

/** What each can do with messages. */
export class Talk implements Doubts {
  readonly sent: Sent[] = [];
  readonly #people: readonly Person[];
  readonly #dice: Random;
  readonly #forgotten = new Set<string>();
  readonly #late = new Set<string>();
  /** Rows of what was sent again: who dies then has not told the id that it has now. */
  readonly #resent: { readonly who: Person; readonly row: number | undefined }[] = [];
  readonly #told = new Set<string>();
  readonly #brief = new Map<string, Brief>();

  constructor(people: readonly Person[], dice: Random) {
    this.#people = people;
    this.#dice = dice;
  }

  isForgotten(id: string): boolean {
    return this.#forgotten.has(id);
  }

  isBrief(id: string): boolean {
    return this.#brief.has(id);
  }

  isLate(id: string): boolean {
    return this.#late.has(id) || this.#resent.some(({ who, row }) => row !== undefined && rowOf(who, id) === row);
  }

  hasTold(reader: Person, id: string): boolean {
    return this.#told.has(`${reader.name} ${id}`);
  }

  /** Nothing is expected of these any more. */
  forget(ids: Iterable<string>): void {
    for (const id of ids) this.#forgotten.add(id);
  }

  /** What somebody had yet to tell is lost. */
  loseOutbox(who: Person): void {
    for (const to of this.#people) if (to !== who) this.forget(pointedAt(who, to));
  }

  async send(who: Person): Promise<void> {
    const to = this.#contact(who);
    if (to === undefined) return;
    const replyTo = this.#dice.fraction() < 0.15 ? this.#message(who, to) : undefined;
    await attempt(who, async () => {
      const text = `${who.name[0]}${this.sent.length}`;
      const { id } = await who.send(to, text, replyTo === undefined ? {} : { replyTo });
      this.sent.push({ from: who, to, id });
    });
  }

  async sendBrief(who: Person): Promise<void> {
    const to = this.#contact(who);
    if (to === undefined) return;
    const expiresMs = Math.floor(1_000 + this.#dice.fraction() ** 3 * BRIEF_MS_MAX);
    const expiresFrom = this.#dice.fraction() < 0.5 ? 'delivery' : 'read';
    await attempt(who, async () => {
      const text = `brief${this.#brief.size}${who.name}`;
      const { id } = await who.send(to, text, { expiresMs, expiresFrom });
      this.sent.push({ from: who, to, id });
      this.#brief.set(id, { from: who, to, id, text });
    });
  }

  edit(who: Person): Promise<void> {
    return this.#with(who, 'mine = 1', (id) =>
      who.call('message.edit', { id, text: `${id.slice(0, 4)} ${this.#dice.fraction().toFixed(3)}` }),
    );
  }

  delete(who: Person): Promise<void> {
    return this.#with(who, 'mine = 1', (id) => who.call('message.delete', { id }));
  }

  deleteHere(who: Person): Promise<void> {
    return this.#with(who, '1', (id) => {
      this.#forgotten.add(id);
      return who.call('message.delete', { id, local: true });
    });
  }

  react(who: Person): Promise<void> {
    const [emoji, on] = [pick(this.#dice, EMOJI), this.#dice.fraction() < 0.65];
    return this.#with(who, '1', (id) => who.call(on ? 'message.react' : 'message.unreact', { id, emoji }));
  }

  pin(who: Person): Promise<void> {
    const on = this.#dice.fraction() < 0.6;
    return this.#with(who, '1', (id) => who.call(on ? 'message.pin' : 'message.unpin', { id }));
  }

  cancel(who: Person): Promise<void> {
    return this.#with(who, `mine = 1 AND state IN ('queued', 'sent')`, (id) => who.call('message.cancel', { id }));
  }

  resend(who: Person): Promise<void> {
    return this.#with(who, `mine = 1 AND state = 'failed'`, async (id, to) => {
      this.#late.add(id);
      this.#resent.push({ who, row: rowOf(who, id) });
      const again = await who.call('message.resend', { id });
      this.#late.add(again.id);
      this.sent.push({ from: who, to, id: again.id });
      const brief = this.#brief.get(id);
      if (brief !== undefined) this.#brief.set(again.id, { ...brief, id: again.id });
    });
  }

  /** Texts whose time is over, and that are somewhere. Those that end when they were read, and were not, stay. */
  async lingering(who: Person): Promise<string[]> {
    const wrong: string[] = [];
    for (const { id, from, to, text } of this.#brief.values()) {
      if (from !== who && to !== who) continue;
      const unread = `SELECT 1 FROM messages WHERE lower(hex(message_id)) = ? AND mine = 0 AND unread = 1 AND expires_from = 'read'`;
      if (who.db.get(unread, id) !== undefined) continue;
      // One that was resent has the same text under another id.
      const there = (await who.call('message.search', { query: text })).messages.find((found) => found.id === id);
      const row = who.db.get<{ state: string }>(
        'SELECT state FROM messages WHERE lower(hex(message_id)) = ? AND deleted_at IS NULL',
        id,
      );
      if (there !== undefined || row !== undefined)
        wrong.push(`${who.name} still has ${id.slice(0, 8)} of ${from.name}, ${row?.state}, which has ended`);
    }
    return wrong;
  }

  /** Everything up to a message, or all. */
  async read(who: Person): Promise<void> {
    const to = this.#contact(who);
    if (to === undefined) return;
    const upTo = this.#dice.fraction() < 0.3 ? this.#message(who, to) : undefined;
    await attempt(who, async () => {
      const [conversation, key] = [to.name, 'privacy.readReceipts'];
      const { value } = await who.call('config.get', { key, conversation });
      if (value === true) for (const id of messagesOf(who, to, 'unread = 1')) this.#told.add(`${who.name} ${id}`);
      await who.call('conversation.markRead', { conversation, ...(upTo === undefined ? {} : { to: upTo }) });
    });
  }

  /** Receipts on or off, for all or for one. */
  async receipts(who: Person): Promise<void> {
    const [to, value] = [this.#contact(who), this.#dice.fraction() < 0.6];
    const scope = to === undefined || this.#dice.fraction() < 0.5 ? {} : { conversation: to.name };
    await attempt(who, () => who.call('config.set', { key: 'privacy.readReceipts', value, ...scope }));
  }

  async clear(who: Person): Promise<void> {
    const to = this.#contact(who);
    if (to === undefined) return;
    this.forget(messagesOf(who, to));
    await attempt(who, () => who.call('conversation.clear', { conversation: to.name }));
  }

  /** Ends a contact; what still waited for them never comes, and what is erased nobody has. */
  async part(who: Person): Promise<void> {
    const [to, erase] = [this.#contact(who), this.#dice.fraction() < 0.3];
    if (to === undefined) return;
    // What had ended there comes again, if they become contacts anew and it still waits with the other.
    const ended = [...this.#brief.values()].filter((one) => one.from === to && one.to === who).map(({ id }) => id);
    if (erase) this.forget([...messagesOf(who, to), ...ended]);
    this.forget(pointedAt(who, to));
    await attempt(who, () => who.call('contact.remove', { contact: to.name, erase }));
  }

  #contact(who: Person): Person | undefined {
    const contacts = this.#people.filter((person) => person !== who && stateOf(who, person) === 'accepted');
    return contacts.length === 0 ? undefined : pick(this.#dice, contacts);
  }

  #message(who: Person, to: Person, where = '1'): string | undefined {
    const back = Math.floor(this.#dice.fraction() ** 2 * BACK_MAX);
    const ids = messagesOf(who, to, where);
    return ids[Math.max(0, ids.length - 1 - back)];
  }

  async #with(who: Person, where: string, act: (id: string, to: Person) => Promise<unknown>): Promise<void> {
    const to = this.#contact(who);
    const id = to === undefined ? undefined : this.#message(who, to, where);
    if (to !== undefined && id !== undefined) await attempt(who, () => act(id, to));
  }
}

const rowOf = (who: Person, id: string): number | undefined =>
  who.db.get<{ id: number }>('SELECT id FROM messages WHERE message_id = ?', idBytes(id))?.id;

/** Ids of the messages of a conversation, oldest first. */
const messagesOf = (who: Person, to: Person, where = '1'): string[] =>
  who.db
    .all<{ id: string }>(
      `SELECT lower(hex(message_id)) AS id FROM messages WHERE (${where}) AND conversation_id =
         (SELECT v.id FROM conversations v JOIN contacts c ON c.id = v.contact_id WHERE c.address = ?) ORDER BY id`,
      to.address,
    )
    .map(({ id }) => id);

/** Which messages those frames are about that wait for somebody. */
const pointedAt = (who: Person, to: Person): string[] =>
  who.db
    .all<{ id: string | null }>(
      `SELECT o.body ->> 'target' AS id FROM outbox o JOIN contacts c ON c.id = o.contact_id WHERE c.address = ?`,
      to.address,
    )
    .flatMap(({ id }) => id ?? []);

/** All that can be seen of each message, and whether it has left. */
export const fingerprints = (who: Person): Map<string, string> =>
  new Map(
    who.db
      .all<{ id: string; seen: string }>(
        `SELECT lower(hex(message_id)) AS id, concat_ws(' ', body, edit_number, deleted_at, pinned_at, state IN ('queued', 'failed'), reason,
           (SELECT group_concat(mine || emoji) FROM (SELECT mine, emoji FROM reactions WHERE message_row = m.id ORDER BY mine, emoji)))
           AS seen FROM messages m`,
      )
      .map(({ id, seen }) => [id, seen]),
  );

/** Ids of all frames that somebody has taken. */
export const framesOf = (who: Person): Set<string> =>
  new Set(who.db.all<{ id: string }>('SELECT lower(hex(frame_id)) AS id FROM frame_ids').map(({ id }) => id));

/** What the contacts of somebody are to them. */
export const contactsOf = (who: Person): string =>
  JSON.stringify(who.db.all('SELECT address, state, blocked FROM contacts ORDER BY id'));
