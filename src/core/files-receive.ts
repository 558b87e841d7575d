// One file from a contact: a link of its own, the list of hashes first, then chunks that are checked one by one.
import { chunkCount, hashChunk, rootOf } from '../crypto/file-chunks.ts';
import type { Cancel, Link, LinkEvents } from '../ports.ts';
import { isEqual } from '../protocol/bytes.ts';
import { expectedError, ProtocolError, SottoError } from '../protocol/errors.ts';
import { idOf } from '../protocol/ids.ts';
import { FILE_STALL_MS, FILE_UNKEPT_CHUNKS_MAX, FILE_UNKEPT_MS_MAX } from '../protocol/limits.ts';
import { decodeFrame, encodeFrame } from '../protocol/peer.ts';
import { HASH_BYTES } from '../protocol/sizes.ts';
import { Blob } from '../store/blobs.ts';
import type { FileRow } from '../store/files.ts';
import { type Core, refuseLink } from './core.ts';
import { noteProgress } from './files-rows.ts';
import { checkMaySend } from './messages.ts';
import { contactOf, conversationOf } from './names.ts';

/** One try: `attempt` and `timeoutMs` are those of its dial. */
export type Attempt = {
  readonly attempt: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly progressed: () => void;
};

/** One attempt to fetch the rest of a file: all of it is here when this returns. Throws what stands in the way. */
export const fetchRest = async (core: Core, row: FileRow, { progressed, ...how }: Attempt): Promise<void> => {
  const contact = contactOf(core.db, conversationOf(core.db, row.conversationId));
  checkMaySend(contact);
  await using receiver = new Receiver(core, row, progressed);
  if (receiver.isWhole) return;
  const attach = (made: Link): LinkEvents => {
    how.signal.addEventListener('abort', () => made.close('stopped'));
    return receiver.attach(made);
  };
  const link = await core.network.dial(contact.address, attach, how);
  // It may have been stopped while the handshake went on, which nobody calls off.
  if (how.signal.aborted) link.close('stopped');
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
