// Files on their way out: a link whose first frame asks for one is served to the contact who owns it, and nobody else.
import { chunkCount } from '../crypto/file-chunks.ts';
import type { Cancel, Link, LinkEvents } from '../ports.ts';
import { expectedError } from '../protocol/errors.ts';
import { idBytes } from '../protocol/ids.ts';
import {
  FILE_STALL_MS,
  FILE_TRANSFERS_MAX,
  FILE_TRANSFERS_PER_PEER_MAX,
  FILE_UNKEPT_CHUNKS_MAX,
  FILE_UNKEPT_MS_MAX,
} from '../protocol/limits.ts';
import { encodeFrame, type PlainFrame } from '../protocol/peer.ts';
import { Blob } from '../store/blobs.ts';
import { getContactByAddress } from '../store/contacts.ts';
import { getConversationOfContact } from '../store/conversations.ts';
import { type FileRow, getFileById } from '../store/files.ts';
import type { Core } from './core.ts';
import { noteProgress } from './files-rows.ts';

const HASHES_A_FRAME = 1024;

type Wanted = { readonly file: FileRow; readonly contactId: number; readonly blob: Blob; readonly from: number };

/** The streams that are served now. */
export class Serving {
  readonly #core: Core;
  readonly #streams = new Set<Stream>();

  constructor(core: Core) {
    this.#core = core;
  }

  /**
   * Takes a link that asks for a file, or closes it. A stream for the same file gives way to it: who dials again has lost
   * the one before.
   */
  serve(link: Link, frame: Extract<PlainFrame, { kind: 'stream' }>): LinkEvents {
    const wanted = this.#find(link.peer.address, frame);
    if (wanted !== undefined) this.end(wanted.file.id, 'replaced');
    if (wanted === undefined || this.#isFull(wanted.contactId)) {
      wanted?.blob[Symbol.dispose]();
      queueMicrotask(() => link.close('no such stream'));
      return { frame: () => {}, drained: () => {}, closed: () => {} };
    }
    const stream = new Stream(this.#core, link, wanted, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream.events;
  }

  /** Ends the streams of a file. */
  end(row: number, reason: string): void {
    for (const stream of [...this.#streams]) if (stream.row === row) stream.close(reason);
  }

  /** Ends the streams of a contact. */
  unlink(contactId: number, reason: string): void {
    for (const stream of [...this.#streams]) if (stream.contactId === contactId) stream.close(reason);
  }

  #isFull(contactId: number): boolean {
    const theirs = [...this.#streams].filter((stream) => stream.contactId === contactId).length;
    return theirs >= FILE_TRANSFERS_PER_PEER_MAX || this.#streams.size >= FILE_TRANSFERS_MAX;
  }

  #find(address: string, { transfer, from }: Extract<PlainFrame, { kind: 'stream' }>): Wanted | undefined {
    const { db, filesDir } = this.#core;
    const contact = getContactByAddress(db, address);
    if (contact === undefined || contact.state !== 'accepted' || contact.blocked === 1) return undefined;
    const conversation = getConversationOfContact(db, contact.id);
    const file = conversation === undefined ? undefined : getFileById(db, conversation.id, idBytes(transfer));
    if (file === undefined || file.mine === 0 || (file.state !== 'offered' && file.state !== 'active'))
      return undefined;
    const blob = from > chunkCount(file.size) ? undefined : Blob.open(filesDir, transfer);
    return blob === undefined ? undefined : { file, contactId: contact.id, blob, from };
  }
}

// One stream: as much as the link takes; closed when the other side has it all, breaks a rule, or takes nothing for too long.
class Stream {
  readonly row: number;
  readonly contactId: number;
  readonly events: LinkEvents;
  readonly #core: Core;
  readonly #link: Link;
  readonly #blob: Blob;
  readonly #count: number;
  readonly #left: () => void;
  #hashes: number;
  #next: number;
  #told: { chunks: number; at: number };
  #cancelStall: Cancel = () => {};
  #over = false;

  constructor(core: Core, link: Link, { file, contactId, blob, from }: Wanted, left: () => void) {
    this.#core = core;
    this.#link = link;
    this.#blob = blob;
    this.#left = left;
    this.row = file.id;
    this.contactId = contactId;
    this.#count = chunkCount(file.size);
    this.#hashes = from === 0 ? 0 : this.#count;
    this.#next = from;
    this.#told = { chunks: from, at: core.clock.monotonic() };
    this.events = {
      frame: () => link.close('frame.unexpected'),
      drained: () => this.#pump(),
      closed: () => this.#closed(),
    };
    queueMicrotask(() => this.#pump());
  }

  close(reason: string): void {
    this.#link.close(reason);
  }

  #pump(): void {
    if (this.#over) return;
    this.#cancelStall();
    this.#cancelStall = this.#core.clock.after(FILE_STALL_MS, () => this.close('stalled'));
    try {
      for (let room = true; room && !this.#over && this.#next < this.#count; )
        room = this.#hashes < this.#count ? this.#sendHashes() : this.#sendChunk();
    } catch (error) {
      const known = expectedError(error);
      if (known === undefined) throw error;
      this.close(known.code);
    }
  }

  #sendHashes(): boolean {
    const bytes = this.#blob.hashes(this.#hashes, Math.min(HASHES_A_FRAME, this.#count - this.#hashes));
    const room = this.#link.send(encodeFrame({ kind: 'hashes', index: this.#hashes, bytes }));
    this.#hashes = Math.min(this.#hashes + HASHES_A_FRAME, this.#count);
    return room;
  }

  #sendChunk(): boolean {
    const room = this.#link.send(
      encodeFrame({ kind: 'chunk', index: this.#next, bytes: this.#blob.chunk(this.#next) }),
    );
    this.#next++;
    const { chunks, at } = this.#told;
    const late = this.#core.clock.monotonic() - at >= FILE_UNKEPT_MS_MAX;
    if (late || this.#next - chunks >= FILE_UNKEPT_CHUNKS_MAX || this.#next === this.#count) this.#tell();
    return room;
  }

  #tell(): void {
    const chunks = this.#next;
    this.#told = { chunks, at: this.#core.clock.monotonic() };
    this.#core.queue.post(() => noteProgress(this.#core, this.row, chunks));
  }

  #closed(): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelStall();
    this.#blob[Symbol.dispose]();
    this.#left();
  }
}
