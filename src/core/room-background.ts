// Fetches the rest of long channels in the background, one channel after the other, and tells how far it is.
import { Turns } from '../protocol/turns.ts';
import { getChannel } from '../store/channels.ts';
import { type Core, detach } from './core.ts';
import { entered } from './room-channels.ts';
import type { RoomConnection } from './room-connection.ts';
import { levelChannel } from './room-level.ts';
import { levelMarks } from './room-notices.ts';

/** What one connection fetches while other things go on. What breaks off goes on after the next log-in. */
export class Background {
  readonly #core: Core;
  readonly #connection: RoomConnection;
  readonly #fetching = new Set<number>();
  readonly #heads = new Map<number, number>();
  readonly #turns = new Turns<string>();

  constructor(core: Core, connection: RoomConnection) {
    this.#core = core;
    this.#connection = connection;
  }

  /** Whether more of a channel is being fetched, or waits for that. */
  has(channelRow: number): boolean {
    return this.#fetching.has(channelRow);
  }

  /** The last place of the log of a channel that is being entered, as far as it is known. */
  headOf(channelRow: number): number | undefined {
    return this.#heads.get(channelRow);
  }

  /** Fetches the rest of a channel that was begun to be entered. */
  fetch(channelRow: number): void {
    if (this.#fetching.has(channelRow)) return;
    this.#fetching.add(channelRow);
    detach(
      this.#core,
      this.#turns.run('fetch', () => this.#fetchRest(channelRow)),
    );
  }

  /** A page of a channel has come, of a log that ends at `head`. */
  came(channelRow: number, head: number): void {
    if (getChannel(this.#core.db, channelRow)?.state !== 'joining') return;
    this.#heads.set(channelRow, head);
    this.#core.volatile({ kind: 'channel.progressed', channelRow });
  }

  async #fetchRest(channelRow: number): Promise<void> {
    const [core, connection] = [this.#core, this.#connection];
    try {
      await levelChannel(core, connection, channelRow);
      if (!connection.visit.faults.has(channelRow)) await entered(core, connection, channelRow);
      await levelMarks(core, connection);
      await connection.look();
    } finally {
      this.#fetching.delete(channelRow);
      this.#heads.delete(channelRow);
    }
  }
}
