// Files: spooled as sealed chunks and offered; fetched over a link of their own, checked chunk by chunk, resumed anywhere.
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { chunkCount, HASH_BYTES, hashChunk, openChunk, rootOf, sealChunk } from '../crypto/file-chunks.ts';
import type { Link, LinkEvents } from '../ports.ts';
import { errorObject, expectedError, ProtocolError, SottoError } from '../protocol/errors.ts';
import { ID_BYTES, idBytes, idOf } from '../protocol/ids.ts';
import {
  FILE_BYTES_MAX,
  FILE_CHUNK_BYTES,
  FILE_NAME_BYTES_MAX,
  FILE_QUOTA_BYTES,
  FILE_TRANSFERS_MAX,
} from '../protocol/limits.ts';
import { decodeFrame, encodeFrame, type PlainFrame } from '../protocol/peer.ts';
import { Blob, blobBytes, removeBlob } from '../store/blobs.ts';
import { getContactByAddress } from '../store/contacts.ts';
import {
  type ConversationRow,
  getConversation,
  getConversationOfContact,
  patchConversation,
} from '../store/conversations.ts';
import { type FileRow, getFile, getFileById, listFilesInState, patchFile, putFile } from '../store/files.ts';
import { putMessage } from '../store/messages.ts';
import { type Core, commit, refuse } from './core.ts';
import { checkMaySend } from './messages.ts';
import { contactOf, conversationOf } from './names.ts';
import { enqueue } from './outbox.ts';

const KEY_BYTES = 32;
const HASHES_A_FRAME = 1024;
const CHUNKS_A_COMMIT = 64;
const RETRY_MS = [1_000, 2_000, 4_000, 8_000, 15_000, 30_000, 60_000] as const;

type Spool = { readonly row: number; readonly blob: Blob; readonly hashes: Uint8Array[]; rest: Buffer; size: number };

/** Transfers of one account that are under way. Methods that change the store run in the account's queue. */
export class Files {
  readonly #core: Core;
  readonly #spools = new Map<number, Spool>();
  readonly #fetching = new Map<number, { failures: number; stop: () => void }>();
  #serving = 0;

  constructor(core: Core) {
    this.#core = core;
  }

  /** What was under way goes on; spools that a crash cut are gone. */
  resume(): void {
    for (const row of listFilesInState(this.#core.db, 'spooling'))
      this.#forget(row, 'failed', 'it was not read to its end');
    for (const row of listFilesInState(this.#core.db, 'active')) if (row.mine === 0) this.#fetch(row.id);
  }

  stop(): void {
    for (const { stop } of this.#fetching.values()) stop();
    for (const { blob } of this.#spools.values()) blob[Symbol.dispose]();
  }

  /** Begins a spooled file. Throws what `checkMaySend` throws. Gives its row id. */
  begin(conversation: ConversationRow, name: string): number {
    checkMaySend(contactOf(this.#core.db, conversation));
    const { random, db, filesDir } = this.#core;
    const fileId = random.bytes(ID_BYTES);
    const row = commit(this.#core, (changes) =>
      putFile(db, {
        fileId,
        conversationId: conversation.id,
        mine: 1,
        name: checkFileName(name),
        size: 0,
        key: random.bytes(KEY_BYTES),
        root: new Uint8Array(HASH_BYTES),
        state: 'spooling',
        createdAt: changes.at,
      }),
    );
    this.#spools.set(row, { row, blob: Blob.open(filesDir, idOf(fileId)), hashes: [], rest: Buffer.alloc(0), size: 0 });
    return row;
  }

  /** Seals more bytes of a spooled file; gives its size so far. Throws `quota.exceeded`, `file.unknown`. */
  write(row: number, bytes: Uint8Array): number {
    const spool = this.#spools.get(row);
    const file = getFile(this.#core.db, row);
    if (spool === undefined || file === undefined)
      throw new SottoError('file.unknown', { message: 'This file is not being spooled' });
    if (spool.size + bytes.length > Math.min(FILE_BYTES_MAX, FILE_QUOTA_BYTES - this.#kept()))
      throw new SottoError('quota.exceeded');
    spool.size += bytes.length;
    spool.rest = Buffer.concat([spool.rest, bytes]);
    // The last chunk is sealed as the last: one whole chunk stays back until it is known that more follows.
    while (spool.rest.length > FILE_CHUNK_BYTES) {
      this.#seal(spool, file.key, spool.rest.subarray(0, FILE_CHUNK_BYTES), false);
      spool.rest = spool.rest.subarray(FILE_CHUNK_BYTES);
    }
    return spool.size;
  }

  /** Ends a spooled file and offers it to the other side; gives its row id. */
  offer(row: number): number {
    const spool = this.#spools.get(row);
    const file = getFile(this.#core.db, row);
    if (spool === undefined || file === undefined)
      throw new SottoError('file.unknown', { message: 'This file is not being spooled' });
    this.#seal(spool, file.key, spool.rest, true);
    const hashes = Buffer.concat(spool.hashes);
    spool.blob.putHashes(0, hashes);
    spool.blob.sync();
    spool.blob[Symbol.dispose]();
    this.#spools.delete(row);
    this.#offer({ ...file, size: spool.size, root: rootOf(hashes) });
    return row;
  }

  /** Spools the file at `path` outside the queue, in steps; `step` runs each one in the queue. */
  async sendPath(path: string, row: number, step: <T>(task: () => T) => Promise<T>): Promise<void> {
    const source = await openSource(path);
    try {
      const buffer = Buffer.alloc(FILE_CHUNK_BYTES * 16);
      for (;;) {
        const { bytesRead } = await source.read(buffer, 0, buffer.length, null);
        if (bytesRead === 0) break;
        await step(() => this.write(row, buffer.subarray(0, bytesRead)));
      }
    } catch (error) {
      await step(() => this.cancel(row, 'it could not be read'));
      throw error;
    } finally {
      await source.close();
    }
  }

  /** Fetches an offered file, and saves it when it is whole if `saveTo` is given. */
  fetch(row: FileRow, saveTo: string): void {
    if (row.mine === 1) throw new SottoError('message.notYours', { message: 'This file is yours already' });
    if (row.state === 'cancelled' || row.state === 'failed')
      throw new SottoError('file.unknown', { message: `The file was ${row.state}: ${row.reason}` });
    if (row.state === 'done') {
      if (saveTo !== '') this.#save(row, saveTo);
      return;
    }
    if (row.size > FILE_QUOTA_BYTES - this.#kept()) throw new SottoError('quota.exceeded');
    commit(this.#core, () => patchFile(this.#core.db, row.id, { state: 'active', saveTo }));
    this.#fetch(row.id);
  }

  pause(row: FileRow): void {
    if (row.state !== 'active' || row.mine === 1)
      throw new SottoError('file.unknown', { message: 'Only a file that is being fetched can be paused' });
    commit(this.#core, () => patchFile(this.#core.db, row.id, { state: 'paused' }));
    this.#fetching.get(row.id)?.stop();
  }

  /** Ends a transfer on both sides and erases what is kept here. */
  cancel(rowId: number, reason = 'cancelled'): void {
    const row = getFile(this.#core.db, rowId);
    if (row === undefined) throw new SottoError('file.unknown');
    const told = row.state !== 'spooling';
    this.#spools.get(rowId)?.blob[Symbol.dispose]();
    this.#spools.delete(rowId);
    this.#fetching.get(rowId)?.stop();
    this.#forget(row, 'cancelled', reason);
    const conversation = getConversation(this.#core.db, row.conversationId);
    if (told && conversation !== undefined)
      commit(this.#core, (changes) =>
        enqueue(this.#core, changes, conversation.contactId, { kind: 'file.cancel', target: idOf(row.fileId) }),
      );
  }

  /** Chunk `index` of a whole file, in clear. */
  read(row: FileRow, index: number): { readonly data: Uint8Array; readonly last: boolean } {
    if (row.state !== 'done' && row.mine === 0)
      throw new SottoError('file.unknown', { message: 'The file is not fetched yet' });
    const count = chunkCount(row.size);
    if (index >= count) return { data: new Uint8Array(), last: true };
    using blob = Blob.open(this.#core.filesDir, idOf(row.fileId));
    const data = openChunk(row.key, index, index === count - 1, blob.chunk(index));
    if (data === undefined) throw new SottoError('file.damaged');
    return { data, last: index === count - 1 };
  }

  /** A link whose first frame asks for a file: it is served to the contact who owns it, and nobody else. */
  serve(link: Link, frame: Extract<PlainFrame, { kind: 'stream' }>): LinkEvents {
    const { db } = this.#core;
    const contact = getContactByAddress(db, link.peer.address);
    const conversation =
      contact === undefined || contact.state !== 'accepted' ? undefined : getConversationOfContact(db, contact.id);
    const file = conversation === undefined ? undefined : getFileById(db, conversation.id, idBytes(frame.transfer));
    const open = file !== undefined && file.mine === 1 && ['offered', 'active', 'done'].includes(file.state);
    if (!open || this.#serving >= FILE_TRANSFERS_MAX || frame.from > chunkCount(file.size)) {
      queueMicrotask(() => link.close('no such stream'));
      return { frame: () => {}, drained: () => {}, closed: () => {} };
    }
    return this.#stream(link, file, frame.from);
  }

  #seal(spool: Spool, key: Uint8Array, plaintext: Uint8Array, last: boolean): void {
    const index = spool.hashes.length;
    const sealed = sealChunk(key, index, last, plaintext);
    spool.blob.putChunk(index, sealed);
    spool.hashes.push(hashChunk(sealed));
  }

  #offer(file: FileRow): void {
    const { db } = this.#core;
    const conversation = conversationOf(db, file.conversationId);
    commit(this.#core, (changes) => {
      patchFile(db, file.id, { size: file.size, root: file.root, state: 'offered' });
      const messageRow = putMessage(db, {
        conversationId: conversation.id,
        messageId: file.fileId,
        mine: 1,
        body: file.name,
        state: 'queued',
        sentAt: changes.at,
        receivedAt: null,
        unread: 0,
        replyTo: null,
        expiresMs: null,
        expiresFrom: 'delivery',
        expiresAt: null,
        fileId: file.id,
      });
      const body = {
        kind: 'file.offer',
        id: idOf(file.fileId),
        name: file.name,
        sizeBytes: file.size,
        key: Buffer.from(file.key).toString('base64'),
        root: Buffer.from(file.root).toString('base64'),
        sentAt: changes.at,
      } as const;
      enqueue(this.#core, changes, conversation.contactId, body, messageRow);
      patchConversation(db, conversation.id, { lastAt: changes.at, archived: 0 });
      changes.event({ kind: 'message.queued', messageRow, contactId: conversation.contactId });
    });
  }

  #stream(link: Link, file: FileRow, from: number): LinkEvents {
    const count = chunkCount(file.size);
    const blob = Blob.open(this.#core.filesDir, idOf(file.fileId));
    let hashes = from === 0 ? 0 : count;
    let next = from;
    let over = false;
    this.#serving++;
    const pump = (): void => {
      while (!over && hashes < count) {
        const bytes = blob.hashes(hashes, Math.min(HASHES_A_FRAME, count - hashes));
        const room = link.send(encodeFrame({ kind: 'hashes', index: hashes, bytes }));
        hashes += bytes.length / HASH_BYTES;
        if (!room) return;
      }
      while (!over && next < count) {
        const room = link.send(encodeFrame({ kind: 'chunk', index: next, bytes: blob.chunk(next) }));
        next++;
        if (next % CHUNKS_A_COMMIT === 0 || next === count) this.#served(file.id, next);
        if (!room) return;
      }
    };
    queueMicrotask(pump);
    return {
      frame: () => link.close('frame.unexpected'),
      drained: pump,
      closed: () => {
        if (over) return;
        over = true;
        this.#serving--;
        blob[Symbol.dispose]();
      },
    };
  }

  #served(rowId: number, chunks: number): void {
    this.#core.queue.post(() => {
      const row = getFile(this.#core.db, rowId);
      if (row === undefined || row.state === 'done' || row.state === 'cancelled') return;
      commit(this.#core, () => patchFile(this.#core.db, rowId, { state: 'active', chunks }));
      this.#core.volatile({ kind: 'file.progressed', fileRow: rowId });
    });
  }

  #fetch(rowId: number): void {
    if (this.#fetching.has(rowId)) return;
    let stopped = false;
    let current: Link | undefined;
    const state = { failures: 0, stop: () => {} };
    state.stop = () => {
      stopped = true;
      this.#fetching.delete(rowId);
      current?.close('stopped');
    };
    this.#fetching.set(rowId, state);
    const attempt = (): void => {
      const row = getFile(this.#core.db, rowId);
      if (stopped || row === undefined || row.state !== 'active') return state.stop();
      const again = (): void => {
        if (stopped) return;
        const wait = RETRY_MS[Math.min(state.failures++, RETRY_MS.length - 1)] ?? 60_000;
        this.#core.clock.after(wait, () => this.#core.queue.post(attempt));
      };
      this.#dial(
        row,
        (link) => {
          current = link;
        },
        () => {
          state.failures = 0;
        },
      ).then(
        (done) => (done ? state.stop() : again()),
        (error: unknown) => {
          this.#core.log.info('file.failed', { code: errorObject(error).code });
          again();
        },
      );
    };
    attempt();
  }

  /** One attempt to fetch the rest of a file; true when it is whole. */
  async #dial(row: FileRow, linked: (link: Link) => void, progressed: () => void): Promise<boolean> {
    const contact = contactOf(this.#core.db, conversationOf(this.#core.db, row.conversationId));
    const receiver = new Receiver(this.#core, row, progressed);
    const link = await this.#core.network.dial(contact.address, (made) => receiver.attach(made), {
      attempt: 1_000_000 + row.id,
    });
    linked(link);
    link.send(encodeFrame({ kind: 'stream', transfer: idOf(row.fileId), from: receiver.from }));
    if (!(await receiver.finished)) return false;
    await this.#core.queue.call(() => this.#complete(row.id));
    return true;
  }

  #complete(rowId: number): void {
    const { db } = this.#core;
    const row = getFile(db, rowId);
    if (row === undefined || row.state !== 'active') return;
    const conversation = conversationOf(db, row.conversationId);
    commit(this.#core, (changes) => {
      patchFile(db, rowId, { state: 'done', chunks: chunkCount(row.size) });
      enqueue(this.#core, changes, conversation.contactId, { kind: 'file.done', target: idOf(row.fileId) });
      changes.event({ kind: 'file.completed', fileRow: rowId, contactId: conversation.contactId });
    });
    if (row.saveTo === '') return;
    try {
      this.#save({ ...row, state: 'done' }, row.saveTo);
    } catch (error) {
      this.#core.log.warn('file.notSaved', { code: errorObject(error).code });
      commit(this.#core, () => patchFile(db, rowId, { reason: errorObject(error).message }));
    }
  }

  /** Decrypts a whole file to `path`, by way of a temporary name, so that there is never half of it. */
  #save(row: FileRow, path: string): void {
    const temporary = `${path}.sotto-${idOf(row.fileId).slice(0, 8)}`;
    const target = openTarget(temporary);
    try {
      for (let index = 0; index < chunkCount(row.size); index++) writeSync(target, this.read(row, index).data);
      fsyncSync(target);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    } finally {
      closeSync(target);
    }
    renameSync(temporary, path);
    commit(this.#core, () => patchFile(this.#core.db, row.id, { savedTo: path, saveTo: '' }));
  }

  #forget(row: FileRow, state: 'failed' | 'cancelled', reason: string): void {
    removeBlob(this.#core.filesDir, idOf(row.fileId));
    commit(this.#core, (changes) => {
      patchFile(this.#core.db, row.id, { state, reason });
      changes.event({ kind: 'file.failed', fileRow: row.id });
    });
  }

  #kept(): number {
    return this.#core.db
      .all<{ id: Uint8Array }>(`SELECT file_id AS id FROM files WHERE state NOT IN ('cancelled', 'failed')`)
      .reduce((sum, { id }) => sum + blobBytes(this.#core.filesDir, idOf(id)), 0);
  }
}

// The receiving end of one stream: the list of hashes first, checked against the root, then chunks in order.
class Receiver {
  readonly from: number;
  readonly finished: Promise<boolean>;
  readonly #core: Core;
  readonly #row: FileRow;
  readonly #count: number;
  readonly #blob: Blob;
  readonly #progressed: () => void;
  readonly #finish = Promise.withResolvers<boolean>();
  #hashes: Buffer;
  #hashed = 0;
  #next: number;
  #over = false;

  constructor(core: Core, row: FileRow, progressed: () => void) {
    this.#core = core;
    this.#row = row;
    this.#progressed = progressed;
    this.#count = chunkCount(row.size);
    this.#blob = Blob.open(core.filesDir, idOf(row.fileId));
    this.finished = this.#finish.promise;
    const known = Buffer.from(this.#blob.hashes(0, this.#count));
    const whole = known.length === this.#count * HASH_BYTES && Buffer.from(rootOf(known)).equals(row.root);
    this.#hashes = whole ? known : Buffer.alloc(this.#count * HASH_BYTES);
    this.#hashed = whole ? this.#count : 0;
    this.#next = whole ? Math.min(row.chunks, this.#count) : 0;
    this.from = this.#next;
  }

  attach(link: Link): LinkEvents {
    return {
      frame: (bytes) => {
        try {
          this.#take(bytes);
          if (this.#next === this.#count) {
            this.#end(true);
            link.close('done');
          }
        } catch (error) {
          const known = expectedError(error);
          if (known === undefined) throw error;
          if (known instanceof ProtocolError) refuse(this.#core, known.code);
          link.close(known.code);
        }
      },
      drained: () => {},
      closed: () => this.#end(false),
    };
  }

  #take(bytes: Uint8Array<ArrayBuffer>): void {
    const frame = decodeFrame(bytes);
    if (frame.kind === 'hashes') return this.#takeHashes(frame.index, frame.bytes);
    if (frame.kind !== 'chunk') throw new ProtocolError('frame.invalid', { details: { why: 'stream' } });
    const wanted = this.#hashes.subarray(frame.index * HASH_BYTES, (frame.index + 1) * HASH_BYTES);
    if (this.#hashed < this.#count || frame.index !== this.#next || !Buffer.from(hashChunk(frame.bytes)).equals(wanted))
      throw new ProtocolError('file.damaged');
    this.#blob.putChunk(frame.index, frame.bytes);
    this.#next++;
    if (this.#next % CHUNKS_A_COMMIT === 0 || this.#next === this.#count) this.#keep(this.#next);
  }

  #takeHashes(index: number, bytes: Uint8Array): void {
    const count = bytes.length / HASH_BYTES;
    if (index !== this.#hashed || !Number.isInteger(count) || index + count > this.#count)
      throw new ProtocolError('frame.invalid', { details: { why: 'hashes' } });
    this.#hashes.set(bytes, index * HASH_BYTES);
    this.#hashed += count;
    if (this.#hashed < this.#count) return;
    if (!Buffer.from(rootOf(this.#hashes)).equals(this.#row.root)) throw new ProtocolError('file.damaged');
    this.#blob.putHashes(0, this.#hashes);
  }

  #keep(chunks: number): void {
    this.#blob.sync();
    this.#progressed();
    this.#core.queue.post(() => {
      const row = getFile(this.#core.db, this.#row.id);
      if (row === undefined || row.state !== 'active' || row.chunks >= chunks) return;
      commit(this.#core, () => patchFile(this.#core.db, row.id, { chunks }));
      this.#core.volatile({ kind: 'file.progressed', fileRow: row.id });
    });
  }

  #end(whole: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#blob[Symbol.dispose]();
    this.#finish.resolve(whole);
  }
}

const checkFileName = (name: string): string => {
  const base = name.split(/[/\\]/).at(-1) ?? '';
  if (
    base === '' ||
    base === '.' ||
    base === '..' ||
    Buffer.byteLength(base) > FILE_NAME_BYTES_MAX ||
    !base.isWellFormed()
  )
    throw new SottoError('params.invalid', { message: 'The file has no usable name: give one' });
  return base;
};

const openSource = async (path: string) => {
  try {
    const source = await open(path, 'r');
    if ((await source.stat()).isFile()) return source;
    await source.close();
  } catch (error) {
    throw new SottoError('file.unknown', { message: `The file cannot be read: ${path}`, cause: error });
  }
  throw new SottoError('file.unknown', { message: `This is no regular file: ${path}` });
};

const openTarget = (path: string): number => {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (error) {
    throw new SottoError('disk.failed', { message: `The file cannot be written: ${path}`, cause: error });
  }
};

/** Throws `file.exists` when something is at `path` already and may not be replaced. */
export const checkTarget = (path: string, overwrite: boolean): void => {
  if (!path.startsWith('/')) throw new SottoError('params.invalid', { message: 'The path must be absolute' });
  if (!overwrite && existsSync(path))
    throw new SottoError('file.exists', { message: `There is something at ${path} already: --overwrite replaces it` });
};
