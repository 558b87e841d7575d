// The live side of one contact: its link, what is in flight on it, and how dialling goes. Nothing here is kept.
import type { SignalSession } from '../crypto/session.ts';
import type { Cancel, Link } from '../ports.ts';
import { encodeFrame, type PeerFrame } from '../protocol/peer.ts';
import type { ContactRow } from '../store/contacts.ts';

type LinkState = 'none' | 'dialling' | 'up' | 'waiting';

export type Peer = {
  readonly contactId: number;
  readonly address: string;
  link: Link | undefined;
  /** Clock time at which something last came on a link; undefined before the first. */
  heardAt: number | undefined;
  /** True once the other side's first frame on this link was handled: sealed frames may flow. */
  ready: boolean;
  /** True when the link's owner is someone the user has asked or accepted. */
  known: boolean;
  sinceAt: number;
  /** Frames that came and wait for the queue. */
  inbox: PeerFrame[];
  /** A task of the queue will look at `inbox`. */
  scheduled: boolean;
  /** Sent and not acknowledged on this link: frame id in hex → bytes. */
  inFlight: Map<string, number>;
  /** Outbox row up to which everything was sent on this link. */
  sentRow: number;
  /** Outbox row behind which nothing waits; the largest number while that is not known. */
  queuedRow: number;
  /** Monotonic time of the last frame in either direction that was not a ping or pong. */
  busyAt: number;
  /** Monotonic time at which something came last, or the oldest unanswered frame was sent, if that is later. */
  unansweredAt: number | undefined;
  /** Monotonic time of the last acknowledgement; at first, of the oldest frame that has none. */
  ackedAt: number;
  pingsMissed: number;
  pingSentAt: number | undefined;
  rttMs: number | undefined;
  /** Told at the next pong. */
  pongWaiters: (() => void)[];
  /** The session as it was last written back, and the bytes: of use while the store has the same. */
  held: { readonly session: SignalSession; readonly state: Uint8Array } | undefined;
  cancelHeartbeat: Cancel;
  /** Ends the wait for the next second, in which a peer that was too fast is read again. */
  cancelHold: Cancel;
  dialling: AbortController | undefined;
  /** True when a link in use broke, until there is another or the quick tries have failed. */
  relink: boolean;
  attempts: number;
  /** Failed dials since the last link. */
  failures: number;
  nextRetryAt: number | undefined;
  cancelRetry: Cancel;
  lastError: string | undefined;
  lastErrorAt: number | undefined;
  /** What the last dial that asked for their descriptor found, and when; undefined while that is not known. */
  descriptor: { readonly found: boolean; readonly checkedAt: number } | undefined;
  /** Start of the current second and frames taken in it. */
  rate: { second: number; frames: number };
  /** Sealed frames taken today. */
  quota: { day: number; frames: number; bytes: number; told: boolean };
  /** True once they have told that they write, until they stop. */
  typing: boolean;
  /** Second of the last passing frame, and how many it had. */
  volatile: { second: number; frames: number };
};

/** A peer that was never linked. */
export const newPeer = (contactId: number, address: string): Peer => ({
  contactId,
  address,
  link: undefined,
  heardAt: undefined,
  ready: false,
  known: false,
  sinceAt: 0,
  inbox: [],
  scheduled: false,
  inFlight: new Map(),
  sentRow: 0,
  queuedRow: Number.MAX_SAFE_INTEGER,
  busyAt: 0,
  unansweredAt: undefined,
  ackedAt: 0,
  pingsMissed: 0,
  pingSentAt: undefined,
  rttMs: undefined,
  pongWaiters: [],
  held: undefined,
  cancelHeartbeat: () => {},
  cancelHold: () => {},
  dialling: undefined,
  relink: false,
  attempts: 0,
  failures: 0,
  nextRetryAt: undefined,
  cancelRetry: () => {},
  lastError: undefined,
  lastErrorAt: undefined,
  descriptor: undefined,
  rate: { second: 0, frames: 0 },
  quota: { day: 0, frames: 0, bytes: 0, told: false },
  typing: false,
  volatile: { second: 0, frames: 0 },
});

/** Sends a frame on the peer's link; false when there is none, or it is full. */
export const sendFrame = (peer: Peer, frame: PeerFrame): boolean => peer.link?.send(encodeFrame(frame)) ?? false;

/** How the link of a contact is, in one word: `paused` while nothing may go over one. */
export const contactLinkOf = ({ paused }: Pick<ContactRow, 'paused'>, peer: Peer | undefined): LinkState | 'paused' =>
  paused === '' ? linkStateOf(peer) : 'paused';

const linkStateOf = (peer: Peer | undefined): LinkState => {
  if (peer?.link !== undefined) return 'up';
  if (peer?.dialling !== undefined) return 'dialling';
  return peer?.nextRetryAt === undefined ? 'none' : 'waiting';
};
