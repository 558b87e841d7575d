// What the core needs from outside: time, randomness, the network and a log. Everything else is data or SQLite.
import type { ErrorObject } from './protocol/errors.ts';

/** Cancels what a call set up; calling it again does nothing. */
export type Cancel = () => void;

export interface Clock {
  /** Milliseconds since the epoch, an integer; may jump in both directions. */
  now(): number;
  /** Milliseconds from an arbitrary start; never jumps and never goes back. */
  monotonic(): number;
  /** Runs `fire` once after at least `ms` of monotonic time; does not keep the process alive. */
  after(ms: number, fire: () => void): Cancel;
}

export interface Random {
  /** `size` bytes from a cryptographic source (a seeded one in simulations). */
  bytes(size: number): Uint8Array<ArrayBuffer>;
  /** A number in [0, 1), for jitter. */
  fraction(): number;
}

/** Event name + fields; no plaintext, no key, no other person's address above debug. */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** The three public keys of a person, 32 bytes each except `signalKey` (33 bytes, libsignal's serialised form). */
export type PublicKeys = {
  readonly identityKey: Uint8Array<ArrayBuffer>;
  readonly linkKey: Uint8Array<ArrayBuffer>;
  readonly signalKey: Uint8Array<ArrayBuffer>;
};

/** Who is at the other end of a link, as its handshake proved. */
export type LinkPeer = PublicKeys & {
  /** `….onion`, of `identityKey`. */
  readonly address: string;
  /** 16 bytes, random per copy of an account's store; only who dials tells it. */
  readonly installId?: Uint8Array<ArrayBuffer>;
};

/** An authenticated duplex stream of frames between two peers, in order and without loss while it lives. */
export interface Link {
  readonly peer: LinkPeer;
  /** True when we opened it. */
  readonly dialled: boolean;
  /** Clock.now() when the handshake ended. */
  readonly openedAt: number;
  /** Queues one frame (≤ FRAME_BYTES_MAX). False once more than LINK_BUFFER_BYTES_MAX wait: stop until `drained`. */
  send(frame: Uint8Array): boolean;
  /** Stops reading from the other side until `resume`. */
  pause(): void;
  resume(): void;
  /** Ends both directions; `closed` follows once. Safe to call again. */
  close(reason: string): void;
}

/** What a link tells its owner. Called in order, never after `closed`. */
export interface LinkEvents {
  frame(frame: Uint8Array<ArrayBuffer>): void;
  drained(): void;
  /** `reason` is a short code such as `peer closed`, `frame.invalid`, `idle`. */
  closed(reason: string): void;
}

/** The verdict on a peer whose handshake has just proven its keys. */
export type Admission = 'accept' | 'close';

/** The account's side of the network. */
export interface NetworkEvents {
  /** Decides on a proven peer, synchronously; compares with the pinned keys. */
  admit(peer: LinkPeer, dialled: boolean): Admission;
  /** A link that the other side opened, admitted. Gives where its frames go. */
  incoming(link: Link): LinkEvents;
  /** The network's state changed. */
  state(state: NetworkState): void;
  /** Bytes from outside were refused before there was a link. `code` is an ErrorCode. */
  refused(code: string): void;
}

/** The keys an account proves itself with. */
export type LocalKeys = {
  /** Ed25519 seed (RFC 8032), 32 bytes; the onion service's key. */
  readonly identitySeed: Uint8Array<ArrayBuffer>;
  /** X25519 private key, 32 bytes. */
  readonly linkSecret: Uint8Array<ArrayBuffer>;
  readonly publicKeys: PublicKeys;
  readonly installId: Uint8Array<ArrayBuffer>;
};

export type DialOptions = {
  /** Rises with every redial of this peer, for a fresh Tor circuit. */
  readonly attempt: number;
  /** How long it may take at most; DIAL_MS_MAX without it. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
};

export type NetworkState = {
  readonly state: 'off' | 'starting' | 'bootstrapping' | 'online' | 'failed';
  readonly bootstrapPercent: number;
  /** A dial from outside would succeed. */
  readonly reachable: boolean;
  readonly descriptorUploads: number;
  /** True on a private network. */
  readonly private: boolean;
  readonly version?: string;
  readonly warning?: string;
  /** Since when we are on the network and a dial from outside would fail, by the clock. */
  readonly hiddenSince?: number;
  /** The time of others, where Tor said that ours is another: milliseconds since 1970 at the clock's monotonic 0. */
  readonly timeOfOthers?: number;
  readonly lastError?: ErrorObject & { readonly at: number };
};

export interface Network extends AsyncDisposable {
  readonly state: NetworkState;
  /** Publishes the address and begins to take links; returns once started, long before `reachable`. */
  start(keys: LocalKeys, events: NetworkEvents): Promise<void>;
  /** Opens a link and proves the other side to be `address`. Throws SottoError `dial.*`, `tor.*`, `handshake.*`, `contact.keyRefused`. */
  dial(address: string, events: (link: Link) => LinkEvents, options: DialOptions): Promise<Link>;
}

/** How a server is reached, and how it is known to be itself. */
export type ServerTarget = {
  /** `wss://host:port`; `ws://host:port` only for an onion service and for this machine. */
  readonly origin: string;
  /** The server's id: an Ed25519 public key, 32 bytes. */
  readonly serverKey: Uint8Array;
  /** `pinned`: its certificate carries the server key, or its onion address is it. `authorities`: the usual ones vouch for its name. */
  readonly trust: 'pinned' | 'authorities';
  /** True when the user allows a way beside Tor. */
  readonly clearnet?: boolean;
};

/** A connection to a server: whole messages both ways, in order and without loss while it lives. */
export interface ServerLink {
  /** 32 bytes that only the two ends of the TLS connection know; undefined without TLS. */
  readonly binding: Uint8Array | undefined;
  /** How long the last ping took, in milliseconds; undefined before its answer. */
  readonly rttMs: number | undefined;
  /** Queues one message, at most SERVER_MESSAGE_BYTES_MAX. False once more than LINK_BUFFER_BYTES_MAX wait: stop until `drained`. */
  text(text: string): boolean;
  binary(bytes: Uint8Array): boolean;
  /** Stops reading from the server until `resume`; what was read already still comes. */
  pause(): void;
  resume(): void;
  /** Says why (RFC 6455 section 7.4, reason ≤ 123 bytes) and ends; `closed` follows once. Safe to call again. */
  close(code: number, reason: string): void;
}

/** What a connection to a server tells its owner. Called in order, never after `closed`. */
export interface ServerLinkEvents {
  text(text: string): void;
  binary(bytes: Uint8Array): void;
  drained(): void;
  /** `code` is CLOSE.broken when the connection was lost without a word, CLOSE.dead when the server fell silent. */
  closed(code: number, reason: string): void;
}

export interface ServerNetwork {
  /** Opens a connection; `attach` is called once, when the server has taken it. Throws SottoError `server.*`, `tor.*`, `dial.*`. */
  dialServer(
    target: ServerTarget,
    attach: (link: ServerLink) => ServerLinkEvents,
    signal?: AbortSignal,
  ): Promise<ServerLink>;
}
