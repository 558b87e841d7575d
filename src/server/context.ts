// What every part of the server works with: log, tables, files, keys, who is connected, and how often somebody may do what.
import type { KeyObject } from 'node:crypto';
import type { Clock, Log, Random } from '../ports.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type { BlobHash, DeviceId, EventId, MemberId, RowId } from '../protocol/ids.ts';
import type { SERVER_RATES } from '../protocol/limits.ts';
import type { Turns } from '../protocol/turns.ts';
import type { BlobStore } from './blob-store.ts';
import type { CallLinks } from './call-links.ts';
import type { Calls } from './calls.ts';
import type { ChannelStates } from './channel-states.ts';
import type { Connection } from './connection.ts';
import type { Counts } from './counts.ts';
import type { Draft, EventLog, Outcome } from './event-log.ts';
import type { Fanout } from './fanout.ts';
import type { Hub } from './hub.ts';
import type { Indexer } from './indexer.ts';
import type { Sealer } from './key-file.ts';
import type { Waiter } from './lane.ts';
import type { Presence } from './presence.ts';
import type { Rates } from './rates.ts';
import type { SearchIndex } from './search-index.ts';
import type { Standings } from './standings.ts';
import type { StateStore } from './state-store.ts';
import type { Turn } from './turns.ts';

/** Who is at the other end of a connection. */
export type Session =
  | { readonly phase: 'new' }
  /** Greeted: the nonces of both and the origin it dialled. */
  | {
      readonly phase: 'greeted';
      readonly clientNonce: Uint8Array<ArrayBuffer>;
      readonly serverNonce: Uint8Array<ArrayBuffer>;
      readonly origin: string;
    }
  /** A greeting serves one try. */
  | { readonly phase: 'spent'; readonly isCounted?: true }
  /**
   * `ending`: how many of its own requests may end it, and are to be answered first; `endedBy`: its device or member is no more,
   * and why.
   */
  | {
      readonly phase: 'in';
      readonly member: MemberId;
      readonly device: DeviceId;
      ending: number;
      endedBy: ErrorCode | undefined;
    };

export type Peer = Connection<Session>;

/** What is done with the uploads of one member, with one upload, or with the file of one blob. */
export type Uploading = Turns<MemberId | RowId | BlobHash>;

export type ServerContext = {
  readonly clock: Clock;
  readonly random: Random;
  /** The rest of the process has its turn. */
  readonly turn: Turn;
  readonly journal: Log;
  readonly log: EventLog;
  readonly store: StateStore;
  readonly blobs: BlobStore;
  readonly search: SearchIndex;
  readonly indexer: Indexer;
  readonly sealer: Sealer;
  readonly states: ChannelStates;
  readonly standings: Standings;
  readonly fanout: Fanout<Peer>;
  readonly hub: Hub<Peer>;
  readonly calls: Calls;
  readonly callLinks: CallLinks;
  /** The server's own key, by which it signs. */
  readonly serverSigner: KeyObject;
  readonly serverKey: Uint8Array<ArrayBuffer>;
  /** Names this process. */
  readonly node: string;
  /** Origins that clients may dial; a log-in for another one was meant for somebody else. */
  readonly origins: Set<string>;
  /** How many requests wait for their answers. */
  readonly asking: { count: number };
  /** Publishes of one connection, in the order in which they came. */
  readonly publishing: Turns<Peer>;
  /** What each connection is sent at length, one after another. */
  readonly sending: Turns<Peer>;
  readonly uploading: Uploading;
  /** What a member changes of how they are let in: their first device, others, the second check. */
  readonly admitting: Turns<MemberId>;
  readonly presence: Presence;
  /** Connections of members that are logged in. */
  readonly online: Map<MemberId, Set<Peer>>;
  readonly counts: Counts;
  readonly rates: { readonly [Name in RateName]: Rates };
  /** Appends one event with the batch of this tick; resolves after its commit, and after it was told. */
  readonly append: (draft: Draft) => Promise<Outcome>;
  /** The same for a waiter, who is told in the turn of the commit. */
  readonly submit: (draft: Draft, waiter: Waiter) => void;
  /** Resolves when a connection takes more, or is gone. */
  readonly room: (peer: Peer) => Promise<void>;
  readonly rowId: () => RowId;
  readonly eventId: () => EventId;
  /** What must never happen. */
  readonly bug: (error: unknown) => void;
};

/** `account`: what a member changes of themself, each of which stays in the log for good. */
export type RateName = keyof typeof SERVER_RATES;
