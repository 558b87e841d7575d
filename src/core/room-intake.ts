// Events and notices of one server on their way into the queue: events in their order and in batches, who is unknown asked for before.
import { expectedError } from '../protocol/errors.ts';
import { idBytes, idOf } from '../protocol/ids.ts';
import {
  DEVICES_MAX,
  ROOM_BATCH_EVENTS_MAX,
  ROOM_INCOMING_BYTES_MAX,
  ROOM_INCOMING_MAX,
  ROOM_NOTICES_MAX,
  UNMET_ASKED_MAX,
} from '../protocol/limits.ts';
import type { Notice } from '../protocol/server.ts';
import type { LogEvent } from '../protocol/server-frames.ts';
import { getChannelById } from '../store/channels.ts';
import { type Core, detach } from './core.ts';
import { learnChannel } from './room-channels.ts';
import type { RoomConnection } from './room-connection.ts';
import { receiveInbox } from './room-inbox.ts';
import { levelChannel } from './room-level.ts';
import { onNotice } from './room-notices.ts';
import { knowSenders, learnMembers } from './room-people.ts';
import { receiveRoom, type Took, type Unmet } from './room-receive.ts';

/** What one server tells, across its connections: a batch that is being taken goes on where the connection breaks. */
export class RoomIntake {
  readonly #core: Core;
  readonly #connection: RoomConnection;
  #events: LogEvent[] = [];
  #eventBytes = 0;
  /** Notices that came and were not acted on yet. */
  #notices = 0;
  #taking: Promise<void> | undefined;

  constructor(core: Core, connection: RoomConnection) {
    this.#core = core;
    this.#connection = connection;
  }

  /** An event that the server told. When more waits than may, or what waits cannot be taken, the connection is ended: it comes again. */
  event(event: LogEvent): void {
    this.#events.push(event);
    this.#eventBytes += event.body.length;
    if (this.#events.length > ROOM_INCOMING_MAX || this.#eventBytes > ROOM_INCOMING_BYTES_MAX)
      return this.#connection.hangUp('behind');
    if (this.#taking !== undefined) return;
    this.#taking = this.#takeAll().then(
      () => {
        this.#taking = undefined;
      },
      (error: unknown) => {
        this.#taking = undefined;
        this.forget();
        if (expectedError(error) === undefined) this.#core.queue.post(() => Promise.reject(error));
        else this.#connection.hangUp('intake');
      },
    );
  }

  notice(notice: Notice): void {
    // What is told in passing may be lost in passing.
    if (this.#notices >= ROOM_NOTICES_MAX) return;
    this.#notices++;
    this.#core.queue.post(() => {
      this.#notices--;
      return onNotice(this.#core, this.#connection, notice);
    });
  }

  /** Takes events as if the server had told them: those of a page. Resolves when they are committed. */
  async take(events: readonly LogEvent[]): Promise<void> {
    for (let at = 0; at < events.length; at += ROOM_BATCH_EVENTS_MAX)
      await this.#takeBatch(events.slice(at, at + ROOM_BATCH_EVENTS_MAX));
  }

  /** Resolves when all that came so far is committed. */
  async taken(): Promise<void> {
    await this.#taking;
  }

  /** Drops what waits: the connection it came on is over. */
  forget(): void {
    this.#events = [];
    this.#eventBytes = 0;
  }

  async #takeAll(): Promise<void> {
    while (this.#events.length > 0) {
      const channel = this.#events[0]?.channel;
      let length = 0;
      while (length < ROOM_BATCH_EVENTS_MAX && this.#events[length]?.channel === channel) length++;
      const batch = this.#events.splice(0, length);
      for (const { body } of batch) this.#eventBytes -= body.length;
      await this.#takeBatch(batch);
    }
  }

  async #takeBatch(events: readonly LogEvent[]): Promise<void> {
    const core = this.#core;
    const connection = this.#connection;
    await knowSenders(core, connection, events);
    const isInbox = events[0]?.channel === idOf(connection.row.memberId);
    for (const learned = new Set<string>(); ; ) {
      const { missing, stranger, unmet }: Took = await core.queue.call(() =>
        isInbox ? receiveInbox(core, connection, events, learned) : receiveRoom(core, connection, events, learned),
      );
      // An event further on came: what lies between is fetched, unless it is being fetched already.
      if (missing !== undefined && !connection.isOpening(missing))
        detach(core, levelChannel(core, connection, missing));
      if (unmet !== undefined) {
        learned.add(unmet.channel);
        await this.#meet(unmet);
      } else if (stranger !== undefined) {
        learned.add(stranger);
        await this.#learn(stranger);
      } else return;
    }
  }

  // Nor by giving keys for channels that there are not.
  async #meet({ channel, by }: Unmet): Promise<void> {
    const { unmet } = this.#connection.visit;
    const times = unmet.get(by) ?? 0;
    if (times === UNMET_ASKED_MAX) return;
    await learnChannel(this.#core, this.#connection, channel);
    const isThere = getChannelById(this.#core.db, this.#connection.serverId, idBytes(channel)) !== undefined;
    if (!isThere) unmet.set(by, times + 1);
  }

  // Nobody makes us ask for ever by naming devices that there are not.
  async #learn(stranger: string): Promise<void> {
    const { asked } = this.#connection.visit;
    const times = asked.get(stranger) ?? 0;
    if (times === DEVICES_MAX) return;
    asked.set(stranger, times + 1);
    await learnMembers(this.#core, this.#connection, [stranger]);
  }
}
