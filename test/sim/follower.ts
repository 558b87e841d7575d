// A front end that hears every event of one person, whatever becomes of the program in between, and remembers what it was told.
import type { Event } from '../../src/protocol/rpc-events.ts';
import type { Person } from '../../src/testing/people.ts';

/** What a front end was told of a message of mine. */
export type Claim = { readonly id: string; readonly read: boolean };

// So many of the last events are asked for once more.
const AGAIN_MAX = 60;

type Heard = { readonly cursor: number; readonly kind: string; readonly message: string | undefined };

/** Follows one person: `follow` after each start of the program. */
export class Follower {
  readonly person: Person;
  #heard: Heard[] = [];
  #claims: Claim[] = [];

  constructor(person: Person) {
    this.person = person;
  }

  /** Resumes from the last event it heard, and goes on with what comes. */
  follow(): void {
    const { account } = this.person;
    const { events } = account;
    for (let page = events.since(this.#cursor); page.events.length > 0; page = events.since(this.#cursor))
      for (const event of page.events) this.#hear(event);
    // Who is dead tells nothing.
    events.subscribe((event) => {
      if (this.person.isOpen && this.person.account === account) this.#hear(event);
    });
  }

  /** Forgets everything: the store is another one. */
  startAnew(): void {
    this.#heard = [];
    this.#claims = [];
  }

  /** Claims that nobody has taken yet, and that `isDue` for now. */
  takeClaims(isDue: (claim: Claim) => boolean): Claim[] {
    const due = this.#claims.filter(isDue);
    this.#claims = this.#claims.filter((claim) => !due.includes(claim));
    return due;
  }

  /** What is wrong with what was heard: each committed event once, in order; and so from a cursor on that is not too old. */
  wrong(fraction: number): string[] {
    const { name, account, db } = this.person;
    const committed = db.all<{ id: number }>('SELECT id FROM events ORDER BY id').map(({ id }) => id);
    const heard = this.#heard.map(({ cursor }) => cursor);
    const wrong: string[] = [];
    if (heard.join() !== committed.join()) wrong.push(`${name} heard ${heard.length} events of ${committed.length}`);
    const from = Math.max(0, heard.length - 1 - Math.floor(fraction * AGAIN_MAX));
    const again: number[] = [];
    for (let at = heard[from] ?? 0; ; at = again.at(-1) ?? at) {
      const { events } = account.events.since(String(at), 7);
      if (events.length === 0) break;
      again.push(...events.map(({ cursor }) => Number(cursor)));
    }
    if (again.join() !== committed.slice(from + 1).join()) wrong.push(`${name} hears another end from place ${from}`);
    return wrong;
  }

  /** Messages whose arrival was told more than once. */
  toldTwice(): string[] {
    const ids = this.#heard.flatMap(({ kind, message }) => (kind === 'message.received' ? [message] : []));
    return ids.filter((id, at): id is string => id !== undefined && ids.indexOf(id) !== at);
  }

  get #cursor(): string {
    return String(this.#heard.at(-1)?.cursor ?? 0);
  }

  #hear({ kind, cursor, message }: Event): void {
    if (cursor === undefined) return;
    this.#heard.push({ cursor: Number(cursor), kind, message: message?.id });
    if (message !== undefined && (kind === 'message.delivered' || kind === 'message.read'))
      this.#claims.push({ id: message.id, read: kind === 'message.read' });
  }
}
