// What every part of the messenger works with: store, ports, keys, live peers, and the facts a transaction leaves behind.
import type { SignalIdentity } from '../crypto/signal-stores.ts';
import type { Clock, Link, LocalKeys, Log, Network, Random, ServerNetwork } from '../ports.ts';
import { expectedError, type SottoError } from '../protocol/errors.ts';
import type { VolatileKind } from '../protocol/rpc-events.ts';
import type { CallObject } from '../protocol/rpc-rooms.ts';
import type { Database } from '../sqlite/open.ts';
import { type NewEvent, putEvent } from '../store/events.ts';
import type { ClockWatch } from './clock-watch.ts';
import type { Peer } from './peer.ts';
import type { AccountQueue } from './queue.ts';
import type { Rooms } from './rooms.ts';
import type { Waits } from './waits.ts';

export type Core = {
  readonly db: Database;
  readonly clock: Clock;
  readonly clockWatch: ClockWatch;
  readonly random: Random;
  readonly log: Log;
  readonly network: Network;
  /** The way to servers of rooms. */
  readonly servers: ServerNetwork;
  readonly rooms: Rooms;
  readonly waits: Waits;
  /** What the keys of this account on servers are derived from. */
  readonly serversKey: Uint8Array<ArrayBuffer>;
  readonly queue: AccountQueue;
  readonly keys: LocalKeys;
  readonly signal: SignalIdentity;
  /** My address, `….onion`. */
  readonly address: string;
  /** Folder for the ciphertext of files, absolute. */
  readonly filesDir: string;
  /** Live state of contacts, by contact row id. */
  readonly peers: Map<number, Peer>;
  /** Links of blocked contacts: open, and deaf. */
  readonly ignored: Set<Link>;
  /** Links that strangers opened and have said nothing on, oldest first. */
  readonly silent: Set<Link>;
  /** What keeps a file from being fetched or saved now, by file row id. */
  readonly fileTroubles: Map<number, SottoError>;
  /** Counts what was refused from outside, by error code. */
  readonly refused: Map<string, number>;
  /** Acts on what a committed transaction left behind. */
  readonly committed: (changes: Changes) => void;
  /** Something that is not kept has changed: who waits looks again. With `online`, that server can be reached now. */
  readonly changed: (online?: number) => void;
  /** Tells front ends something that is not kept. */
  readonly volatile: (event: VolatileEvent) => void;
};

export type VolatileEvent = {
  readonly kind: VolatileKind;
} & {
  readonly contactId?: number;
  readonly channelRow?: number;
  readonly memberRow?: number;
  readonly fileRow?: number;
  readonly call?: CallObject;
  readonly state?: string;
  readonly detail?: string;
};

/** Facts of one transaction that matter after its commit, and only then. */
export class Changes {
  readonly #db: Database;
  /** Clock time of the transaction. */
  readonly at: number;
  /** Contacts whose outbox, request or reset needs a look. */
  readonly wake = new Set<number>();
  /** Contacts whose link must end, with the reason. */
  readonly unlink = new Map<number, string>();
  /** Files whose transfer is over, row id → file id in hex: nothing of it goes on or is kept. */
  readonly endedFiles = new Map<number, string>();
  /** Servers whose outbox needs a look. */
  readonly flush = new Set<number>();
  /** True when something was erased: the WAL must not keep it. */
  erased = false;
  /** True when an expiry was set that may be the next one. */
  expiry = false;
  /** Events appended to the log. */
  events = 0;

  constructor(db: Database, at: number) {
    this.#db = db;
    this.at = at;
  }

  /** Appends an event to the log; front ends hear of it after the commit. */
  event(event: Omit<NewEvent, 'at'>): void {
    putEvent(this.#db, { at: this.at, ...event });
    this.events++;
  }
}

/** Runs `body` in one transaction; what it told `changes` happens after the commit, and not at all when it throws. */
export const commit = <T>(core: Core, body: (changes: Changes) => T): T => {
  const isMoved = core.clockWatch.look();
  const changes = new Changes(core.db, core.clock.now());
  changes.expiry = isMoved;
  const result = core.db.transaction(() => body(changes));
  core.committed(changes);
  return result;
};

/** Lets work go on that nobody waits for. It may fail as is expected; a fault of ours is told like one of the queue. */
export const detach = (core: Core, work: Promise<unknown>): void => {
  work.catch((error: unknown) => {
    if (expectedError(error) === undefined) core.queue.post(() => Promise.reject(error));
  });
};

/** Counts input from outside that was refused. */
export const refuse = (core: Core, code: string): void => {
  core.refused.set(code, (core.refused.get(code) ?? 0) + 1);
};

/** Counts a link that ended by a code: by what came on it, and was not valid. Other reasons are no codes. */
export const refuseLink = (core: Core, reason: string): void => {
  if (/^(frame|handshake|file)\./.test(reason)) refuse(core, reason);
};
