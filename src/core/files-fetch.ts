// Files on their way: which go on now and which wait; and those of contacts, a link of their own each, chunks checked one by one.
import { chunkCount, hashChunk, rootOf } from '../crypto/file-chunks.ts';
import type { Cancel, Link, LinkEvents } from '../ports.ts';
import { isEqual } from '../protocol/bytes.ts';
import { type ErrorCode, expectedError, ProtocolError, SottoError } from '../protocol/errors.ts';
import { idOf } from '../protocol/ids.ts';
import {
  DIAL_MS_MAX,
  DIAL_MS_MIN,
  FILE_STALL_MS,
  FILE_TRANSFERS_MAX,
  FILE_TRANSFERS_PER_PEER_MAX,
  FILE_UNKEPT_CHUNKS_MAX,
  FILE_UNKEPT_MS_MAX,
} from '../protocol/limits.ts';
import { decodeFrame, encodeFrame } from '../protocol/peer.ts';
import { HASH_BYTES } from '../protocol/sizes.ts';
import { Blob } from '../store/blobs.ts';
import { type FileRow, getFile } from '../store/files.ts';
import { type Core, refuseLink } from './core.ts';
import { noteProgress } from './files-rows.ts';
import { checkMaySend } from './messages.ts';
import { contactOf, conversationOf, serverOfRoom } from './names.ts';
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

// After these another try brings nothing else.
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'file.damaged',
  'file.unknown',
  'quota.exceeded',
  'channel.unknown',
  'channel.notMember',
  'channel.banned',
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
    if (!error.code.startsWith('disk.')) return;
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

type Attempt = {
  readonly attempt: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly progressed: () => void;
};

/** One attempt to fetch the rest of a file: all of it is here when this returns. Throws what stands in the way. */
const fetchRest = async (core: Core, row: FileRow, { progressed, ...how }: Attempt): Promise<void> => {
  const contact = contactOf(core.db, conversationOf(core.db, row.conversationId));
  checkMaySend(contact);
  await using receiver = new Receiver(core, row, progressed);
  if (receiver.isWhole) return;
  const attach = (made: Link): LinkEvents => {
    how.signal.addEventListener('abort', () => made.close('stopped'));
    return receiver.attach(made);
  };
  const link = await core.network.dial(contact.address, attach, how);
  link.send(encodeFrame({ kind: 'stream', transfer: idOf(row.fileId), from: receiver.from }));
  await receiver.finished;
};

// The receiving end of one stream: the list of hashes first, checked against the root, then chunks in order.
class Receiver implements AsyncDisposable {
  /** The first chunk that is not here. */
  readonly from: number;
  readonly finished: Promise<void>;
  readonly #core: Core;
  readonly #row: FileRow;
  readonly #count: number;
  readonly #blob: Blob;
  readonly #progressed: () => void;
  readonly #finish = Promise.withResolvers<void>();
  #hashes: Buffer;
  #hashed = 0;
  #next: number;
  #kept: { chunks: number; at: number };
  #keeping: Promise<void> | undefined;
  #lost = false;
  #cancelStall: Cancel = () => {};
  #over = false;

  constructor(core: Core, row: FileRow, progressed: () => void) {
    this.#core = core;
    this.#row = row;
    this.#progressed = progressed;
    this.#count = chunkCount(row.size);
    this.#blob = Blob.make(core.filesDir, idOf(row.fileId));
    this.finished = this.#finish.promise;
    // It may fail before anybody waits for it.
    this.finished.catch(() => {});
    const known = Buffer.from(this.#blob.hashes(0, this.#count));
    const whole = known.length === this.#count * HASH_BYTES && isEqual(rootOf(known), row.root);
    this.#next = whole ? Math.min(row.chunks, this.#count) : 0;
    // Who asks from the first chunk on is sent the list first, known or not.
    this.#hashes = this.#next > 0 ? known : Buffer.alloc(this.#count * HASH_BYTES);
    this.#hashed = this.#next > 0 ? this.#count : 0;
    this.#kept = { chunks: this.#next, at: core.clock.monotonic() };
    this.from = this.#next;
  }

  get isWhole(): boolean {
    return this.#next === this.#count;
  }

  attach(link: Link): LinkEvents {
    this.#watch(link);
    const fail = (error: unknown): void => {
      const known = expectedError(error);
      if (known === undefined) throw error;
      void this.#end(known);
      link.close(known.code);
    };
    return {
      frame: (bytes) => {
        try {
          this.#take(bytes);
          if (this.isWhole) {
            void this.#end();
            link.close('done');
          } else {
            if (this.#isDue()) this.#keep().catch(fail);
            this.#watch(link);
          }
        } catch (error) {
          fail(error);
        }
      },
      drained: () => {},
      closed: (reason) => {
        refuseLink(this.#core, reason);
        void this.#end(new SottoError('dial.unreachable', { message: `the link ended: ${reason}` }));
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    void this.#end(new SottoError('dial.unreachable'));
    await this.finished.catch(() => {});
    this.#blob[Symbol.dispose]();
  }

  #watch(link: Link): void {
    this.#cancelStall();
    this.#cancelStall = this.#core.clock.after(FILE_STALL_MS, () => link.close('stalled'));
  }

  #take(bytes: Uint8Array<ArrayBuffer>): void {
    const frame = decodeFrame(bytes);
    if (frame.kind === 'hashes') return this.#takeHashes(frame.index, frame.bytes);
    if (frame.kind !== 'chunk' || this.#hashed < this.#count || frame.index !== this.#next)
      throw new ProtocolError('frame.invalid', { details: { why: 'stream' } });
    const wanted = this.#hashes.subarray(frame.index * HASH_BYTES, (frame.index + 1) * HASH_BYTES);
    if (!isEqual(hashChunk(frame.bytes), wanted)) throw new ProtocolError('file.damaged');
    this.#blob.putChunk(frame.index, frame.bytes);
    this.#next++;
  }

  #isDue(): boolean {
    const { chunks, at } = this.#kept;
    const late = this.#next > chunks && this.#core.clock.monotonic() - at >= FILE_UNKEPT_MS_MAX;
    return late || this.#next - chunks >= FILE_UNKEPT_CHUNKS_MAX;
  }

  #takeHashes(index: number, bytes: Uint8Array): void {
    const count = bytes.length / HASH_BYTES;
    if (index !== this.#hashed || !Number.isInteger(count) || index + count > this.#count)
      throw new ProtocolError('frame.invalid', { details: { why: 'hashes' } });
    this.#hashes.set(bytes, index * HASH_BYTES);
    this.#hashed += count;
    if (this.#hashed < this.#count) return;
    if (!isEqual(rootOf(this.#hashes), this.#row.root)) throw new ProtocolError('file.damaged');
    this.#blob.putHashes(0, this.#hashes);
  }

  // More comes in while the disk writes: one sync at a time.
  #keep(): Promise<void> {
    this.#keeping ??= this.#sync().finally(() => {
      this.#keeping = undefined;
    });
    return this.#keeping;
  }

  async #sync(): Promise<void> {
    const chunks = this.#next;
    this.#kept = { chunks, at: this.#core.clock.monotonic() };
    await this.#core.queue.beside(this.#blob.sync()).catch((error: unknown) => {
      // What the disk has not taken now it will not say of later.
      this.#lost = true;
      throw error;
    });
    this.#progressed();
    this.#core.queue.post(() => noteProgress(this.#core, this.#row.id, chunks));
  }

  // What came since it was last kept is kept too, unless that is what failed: a link that often breaks gets on all the same.
  async #end(error?: SottoError): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    this.#cancelStall();
    try {
      await this.#keeping;
      if (!this.#lost && this.#next > this.#kept.chunks) await this.#sync();
      if (error === undefined) this.#finish.resolve();
      else this.#finish.reject(error);
    } catch (caught) {
      this.#finish.reject(caught);
    }
  }
}
