// Every server of an account: its connections, from opening the account to closing it.
import { listServers } from '../store/servers.ts';
import { forgetStates } from './channel-json.ts';
import { type Core, detach } from './core.ts';
import { RoomConnection } from './room-connection.ts';
import { confirmLast } from './room-receipts.ts';

type Presence = 'online' | 'away';

/** Connections by server row. */
export class Rooms {
  readonly #core: () => Core;
  readonly #connections = new Map<number, RoomConnection>();
  #presence: Presence | undefined;

  constructor(core: () => Core) {
    this.#core = core;
  }

  /** How I am there, as it was set last; undefined before anybody has said. */
  get presence(): Presence | undefined {
    return this.#presence;
  }

  get(serverId: number): RoomConnection | undefined {
    return this.#connections.get(serverId);
  }

  /** The connection of a server, made when there is none. */
  connect(serverId: number): RoomConnection {
    const known = this.#connections.get(serverId);
    if (known !== undefined) return known;
    const connection = new RoomConnection(this.#core(), serverId);
    this.#connections.set(serverId, connection);
    return connection;
  }

  /** Dials every server that we did not leave: one that has banned us may let us in again. */
  start(): void {
    const core = this.#core();
    for (const { id } of listServers(core.db)) this.connect(id).start();
    confirmLast(core);
  }

  /** Whatever kept servers from being reached may be over: each that waits for its next try is dialled now. */
  redial(): void {
    for (const connection of this.#connections.values()) connection.redial();
  }

  /** How I am there is told to every server: now, and to those that are reached later. */
  present(presence: Presence): void {
    this.#presence = presence;
    for (const connection of this.#connections.values())
      if (connection.state === 'online') this.#tell(connection, presence);
  }

  /** A server was reached, which takes everybody who comes for online. */
  arrived(connection: RoomConnection): void {
    if (this.#presence === 'away') this.#tell(connection, this.#presence);
  }

  /** Something waits for these servers. */
  flush(serverIds: Iterable<number>): void {
    for (const id of serverIds) this.#connections.get(id)?.sender.flush();
  }

  /** Ends one connection for good. */
  drop(serverId: number): void {
    this.#connections.get(serverId)?.stop();
    this.#connections.delete(serverId);
  }

  stop(): void {
    for (const connection of this.#connections.values()) connection.stop();
    this.#connections.clear();
    forgetStates();
  }

  // Nobody waits for it, and what is lost is told when the server is reached again.
  #tell(connection: RoomConnection, state: Presence): void {
    detach(this.#core(), connection.request('presence', { state }));
  }
}
