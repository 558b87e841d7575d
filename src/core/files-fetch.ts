// Files on their way: which go on now, which wait for a place or their time, and what becomes of one that has come or cannot.
import type { Cancel } from '../ports.ts';
import { type ErrorCode, expectedError, type SottoError } from '../protocol/errors.ts';
import { DIAL_MS_MAX, DIAL_MS_MIN, FILE_TRANSFERS_MAX, FILE_TRANSFERS_PER_PEER_MAX } from '../protocol/limits.ts';
import { type FileRow, getFile } from '../store/files.ts';
import type { Core } from './core.ts';
import { fetchRest } from './files-receive.ts';
import { conversationOf, serverOfRoom } from './names.ts';
import { transferRoomFile } from './room-files.ts';

const RETRY_MS = [1_000, 2_000, 4_000, 8_000, 15_000, 30_000, 60_000] as const;
// Dials of files have circuits of their own, beside those of talk.
const ATTEMPTS_FROM = 1_000_000;

/** Whom a file comes from or goes to. */
type Peer = { readonly contactId?: number | undefined; readonly serverId?: number | undefined };

type Fetch = {
  readonly peer: Peer;
  failures: number;
  /** The attempt that goes on; undefined while it waits for a place or its time. */
  run: AbortController | undefined;
  cancelRetry: Cancel | undefined;
};

/** After these another try brings nothing else: a transfer does not go on by itself. */
export const FINAL: ReadonlySet<ErrorCode> = new Set([
  'file.damaged',
  'file.unknown',
  'quota.exceeded',
  'channel.unknown',
  'channel.notMember',
  'channel.banned',
  'channel.archived',
  'member.unknown',
]);

/** What becomes of a transfer; both run in the account's queue. */
export type FetchEnds = {
  readonly whole: (row: number) => void;
  readonly damaged: (row: number, error: SottoError) => void;
};

/**
 * The files that are being fetched, or brought to a server, in the order in which that was asked for. All of it runs in the
 * account's queue.
 */
export class Fetching {
  readonly #core: Core;
  readonly #ends: FetchEnds;
  readonly #fetches = new Map<number, Fetch>();
  #attempts = ATTEMPTS_FROM;

  constructor(core: Core, ends: FetchEnds) {
    this.#core = core;
    this.#ends = ends;
  }

  /** Goes on with an active file, at once when there is a place; one that waits for its next try is tried at once. */
  start(row: FileRow): void {
    const peer = peerOf(this.#core, row);
    const fetch = this.#fetches.get(row.id) ?? { peer, failures: 0, run: undefined, cancelRetry: undefined };
    this.#fetches.set(row.id, fetch);
    this.#atOnce(fetch);
    this.#next();
  }

  /** Ends the fetch of a file; what is here stays. */
  stop(row: number): void {
    this.#core.fileTroubles.delete(row);
    const fetch = this.#fetches.get(row);
    if (fetch === undefined) return;
    this.#fetches.delete(row);
    fetch.cancelRetry?.();
    fetch.run?.abort();
    this.#next();
  }

  /** Tries at once what waits for its next try: a peer can be reached, or all (without one). */
  retry(peer?: Peer): void {
    for (const fetch of this.#fetches.values()) if (peer === undefined || isSame(fetch.peer, peer)) this.#atOnce(fetch);
    this.#next();
  }

  /** Ends the links of a contact. */
  unlink(contactId: number): void {
    for (const fetch of this.#fetches.values()) if (fetch.peer.contactId === contactId) fetch.run?.abort();
  }

  stopAll(): void {
    const fetches = [...this.#fetches.values()];
    this.#fetches.clear();
    for (const fetch of fetches) {
      fetch.cancelRetry?.();
      fetch.run?.abort();
    }
  }

  #atOnce(fetch: Fetch): void {
    fetch.cancelRetry?.();
    fetch.cancelRetry = undefined;
    fetch.failures = 0;
  }

  #next(): void {
    for (const [row, fetch] of this.#fetches) {
      if (fetch.run !== undefined || fetch.cancelRetry !== undefined) continue;
      const running = [...this.#fetches.values()].filter(({ run }) => run !== undefined);
      if (running.length >= FILE_TRANSFERS_MAX) return;
      const ofPeer = running.filter(({ peer }) => isSame(peer, fetch.peer)).length;
      if (ofPeer < FILE_TRANSFERS_PER_PEER_MAX) this.#run(row, fetch);
    }
  }

  #run(rowId: number, fetch: Fetch): void {
    const row = getFile(this.#core.db, rowId);
    if (row?.state !== 'active') return void this.#fetches.delete(rowId);
    const run = new AbortController();
    fetch.run = run;
    const progressed = (): void => {
      fetch.failures = 0;
      this.#core.fileTroubles.delete(rowId);
    };
    const timeoutMs = Math.min(DIAL_MS_MAX, DIAL_MS_MIN * 2 ** fetch.failures);
    const over = (error?: unknown): void =>
      this.#core.queue.post(() => {
        if (fetch.run === run && this.#fetches.get(rowId) === fetch) this.#over(rowId, fetch, error);
      });
    const attempt = { attempt: ++this.#attempts, timeoutMs, signal: run.signal, progressed };
    const going = row.blob === null ? fetchRest(this.#core, row, attempt) : transferRoomFile(this.#core, row, attempt);
    going.then(() => over(), over);
  }

  #over(row: number, fetch: Fetch, error: unknown): void {
    fetch.run = undefined;
    try {
      if (error !== undefined) throw error;
      this.#core.fileTroubles.delete(row);
      this.#ends.whole(row);
      this.#fetches.delete(row);
    } catch (caught) {
      const known = expectedError(caught);
      if (known === undefined) throw caught;
      this.#core.log.info('file.failed', { code: known.code });
      if (FINAL.has(known.code)) {
        this.#fetches.delete(row);
        this.#ends.damaged(row, known);
      } else this.#later(row, fetch, known);
    }
    this.#next();
  }

  #later(row: number, fetch: Fetch, error: SottoError): void {
    const wait = RETRY_MS[Math.min(fetch.failures++, RETRY_MS.length - 1)] ?? 0;
    fetch.cancelRetry = this.#core.clock.after(wait, () =>
      this.#core.queue.post(() => {
        fetch.cancelRetry = undefined;
        this.#next();
      }),
    );
    this.#core.fileTroubles.set(row, error);
    this.#core.volatile({ kind: 'file.progressed', fileRow: row });
  }
}

const peerOf = (core: Core, { conversationId }: FileRow): Peer => {
  const conversation = conversationOf(core.db, conversationId);
  const { contactId } = conversation;
  return contactId === null ? { serverId: serverOfRoom(core.db, conversation) } : { contactId };
};

const isSame = (one: Peer, other: Peer): boolean =>
  one.contactId === other.contactId && one.serverId === other.serverId;
