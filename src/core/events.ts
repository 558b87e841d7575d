// The stream of events for front ends: committed ones from the log with a cursor, passing ones as they happen.
import type { Cancel } from '../ports.ts';
import { EVENT_PAGE_MAX } from '../protocol/limits.ts';
import type { Event, GapEvent } from '../protocol/rpc-events.ts';
import { getChannel } from '../store/channels.ts';
import { getContact } from '../store/contacts.ts';
import { eventRange, listEvents } from '../store/events.ts';
import { getFile } from '../store/files.ts';
import { getMember } from '../store/members.ts';
import type { Core, VolatileEvent } from './core.ts';
import { contactObject, eventObject, fileObject } from './objects.ts';
import { channelObject, memberObject } from './room-objects.ts';

export type EventPage = { readonly events: readonly Event[]; readonly gap?: GapEvent };

type Subscriber = { readonly tell: (event: Event) => void; readonly kinds: readonly Event['kind'][] | undefined };

/** Reads the log and tells subscribers. */
export class Events {
  readonly #core: () => Core;
  readonly #subscribers = new Set<Subscriber>();
  #told: number;
  /** Set while there are events that nobody was told of. */
  #cancel: Cancel | undefined;

  constructor(core: () => Core, told: number) {
    this.#core = core;
    this.#told = told;
  }

  /** The newest cursor. */
  head(): string {
    return String(eventRange(this.#core().db).last);
  }

  /** Up to EVENT_PAGE_MAX committed events after `cursor`; a gap first when older ones are gone. */
  since(cursor: string, limit = EVENT_PAGE_MAX): EventPage {
    const core = this.#core();
    const after = Number(cursor);
    const { first, last } = eventRange(core.db);
    // A cursor from a store that was put back: what came in between is not known here.
    if (after > last) return { events: [], gap: { kind: 'gap', fromCursor: cursor, toCursor: String(last) } };
    const events = listEvents(core.db, after, Math.min(limit, EVENT_PAGE_MAX)).map((row) => eventObject(core, row));
    if (first <= after + 1 || first === 0) return { events };
    return { events, gap: { kind: 'gap', fromCursor: cursor, toCursor: String(first - 1) } };
  }

  /** Every event from now on, or those of some kinds, in commit order, after its commit and after what else its commit was for has left. */
  subscribe(tell: (event: Event) => void, kinds?: readonly Event['kind'][]): Cancel {
    this.flush();
    const subscriber = { tell, kinds };
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  /** Events were committed: they are told as soon as frames, acknowledgements and answers have left. */
  committed(): void {
    const { clock, queue } = this.#core();
    this.#cancel ??= clock.after(0, () => queue.post(() => this.flush()));
  }

  /** Tells what was committed since the last time. */
  flush(): void {
    if (this.#cancel === undefined) return;
    this.#cancel();
    this.#cancel = undefined;
    const core = this.#core();
    if (this.#subscribers.size === 0) {
      this.#told = eventRange(core.db).last;
      return;
    }
    for (
      let page = listEvents(core.db, this.#told, EVENT_PAGE_MAX);
      page.length > 0;
      page = listEvents(core.db, this.#told, EVENT_PAGE_MAX)
    )
      for (const row of page) {
        this.#told = row.id;
        const kind = row.kind as Event['kind'];
        if (this.#hears(kind)) this.#tell(eventObject(core, row));
      }
  }

  /** Tells something that is not kept. */
  volatile(event: VolatileEvent): void {
    this.flush();
    if (!this.#hears(event.kind)) return;
    const core = this.#core();
    const contact = event.contactId === undefined ? undefined : getContact(core.db, event.contactId);
    const channel = event.channelRow === undefined ? undefined : getChannel(core.db, event.channelRow);
    const member = event.memberRow === undefined ? undefined : getMember(core.db, event.memberRow);
    const file = event.fileRow === undefined ? undefined : getFile(core.db, event.fileRow);
    this.#tell({
      kind: event.kind,
      at: core.clock.now(),
      ...(contact === undefined ? {} : { contact: contactObject(core, contact) }),
      ...(channel === undefined ? {} : { channel: channelObject(core, channel) }),
      ...(member === undefined ? {} : { member: memberObject(core, member) }),
      ...(file === undefined ? {} : { file: fileObject(core, file) }),
      ...(event.call === undefined ? {} : { call: event.call }),
      ...(event.state === undefined ? {} : { state: event.state }),
      ...(event.detail === undefined ? {} : { detail: event.detail }),
    });
  }

  /** Tells an event of the network. */
  tell(event: Event): void {
    this.#tell(event);
  }

  /** Whether anybody wants events of this kind: what nobody hears is not looked up. */
  #hears(kind: Event['kind']): boolean {
    return [...this.#subscribers].some(({ kinds }) => hears(kinds, kind));
  }

  #tell(event: Event): void {
    for (const { tell, kinds } of this.#subscribers) if (hears(kinds, event.kind)) tell(event);
  }
}

const hears = (kinds: Subscriber['kinds'], kind: Event['kind']): boolean => kinds?.includes(kind) ?? true;
