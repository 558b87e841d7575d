// Files of one account: what can be done with a transfer, and what a restart and the end of one mean for it.
import { chunkCount } from '../crypto/file-chunks.ts';
import type { Link, LinkEvents } from '../ports.ts';
import { errorObject, expectedError, SottoError } from '../protocol/errors.ts';
import { idOf } from '../protocol/ids.ts';
import { FILE_QUOTA_BYTES } from '../protocol/limits.ts';
import type { PlainFrame } from '../protocol/peer.ts';
import { listBlobs, removeBlob } from '../store/blobs.ts';
import { type ConversationRow, patchConversation } from '../store/conversations.ts';
import { type FileRow, getFile, keptBytes, listFilesInState, listKeptFiles, patchFile } from '../store/files.ts';
import { putMessage } from '../store/messages.ts';
import { type Changes, type Core, commit } from './core.ts';
import { Fetching } from './files-fetch.ts';
import { endFile, fileMessage, offerBody } from './files-rows.ts';
import { checkTarget, clearChunk, keptOf, Saving } from './files-save.ts';
import { Serving } from './files-serve.ts';
import { type SpoolOptions, Spools, takePieces } from './files-spool.ts';
import { checkMaySend } from './messages.ts';
import { contactOf, conversationOf } from './names.ts';
import { enqueue, hasRoom } from './outbox.ts';
import { offerRoomFile } from './room-files.ts';
import { checkRoomFetch, placeOf } from './room-places.ts';
import { startWaiting } from './timers.ts';

/** Transfers of one account that are under way. Methods that change the store run in the account's queue, unless they say otherwise. */
export class Files {
  readonly #core: Core;
  readonly #spools: Spools;
  readonly #fetching: Fetching;
  readonly #saving: Saving;
  readonly #serving: Serving;

  constructor(core: Core) {
    this.#core = core;
    this.#spools = new Spools(core, (row) => this.#fail(row, 'it was not read to its end'));
    this.#fetching = new Fetching(core, {
      whole: (row) => this.#complete(row),
      damaged: (row, error) => this.#damaged(row, error),
    });
    this.#saving = new Saving(core);
    this.#serving = new Serving(core);
  }

  /** What was under way goes on; what a crash left that nothing needs is erased; spools that it cut have failed. */
  resume(): void {
    const { db, filesDir } = this.#core;
    for (const row of listFilesInState(db, 'active'))
      if (row.mine === 0 || row.blob !== null) this.#fetching.start(row);
    for (const row of listFilesInState(db, 'done')) if (row.saveTo !== '') this.#save(row);
    const [kept, there] = [new Set(listKeptFiles(db).map(idOf)), new Set(listBlobs(filesDir))];
    for (const id of there) if (!kept.has(id)) removeBlob(filesDir, id);
    for (const row of listFilesInState(db, 'spooling')) this.#fail(row.id, 'it was not read to its end');
    // A death may have come between the two halves of a cancellation.
    for (const row of [...listFilesInState(db, 'offered'), ...listFilesInState(db, 'active')])
      if (row.mine === 1 && !there.has(idOf(row.fileId))) this.cancel(row);
  }

  stop(): void {
    this.#fetching.stopAll();
    this.#saving.stopAll();
    this.#spools.stop();
  }

  /** A contact or server can be reached, or all can: what waits for them is tried at once. */
  retry(peer?: Parameters<Fetching['retry']>[0]): void {
    this.#fetching.retry(peer);
  }

  /** The links of a contact must end, those of files too. */
  unlink(contactId: number, reason: string): void {
    this.#fetching.unlink(contactId);
    this.#serving.unlink(contactId, reason);
  }

  /** The transfer of a file is over: nothing of it goes on, and nothing is kept. */
  ended(row: number, fileId: string): void {
    this.#spools.drop(row);
    this.#fetching.stop(row);
    this.#saving.stop(row);
    this.#serving.end(row, 'no such stream');
    removeBlob(this.#core.filesDir, fileId);
  }

  /** Begins a spooled file. Throws what `checkMaySend` and `Spools.begin` throw, and `outbox.full`. Gives its row id. */
  begin(conversation: ConversationRow, name: string, options: SpoolOptions): number {
    if (conversation.kind !== 'contact') placeOf(this.#core, conversation);
    else {
      const contact = contactOf(this.#core.db, conversation);
      checkMaySend(contact);
      if (!hasRoom(this.#core, contact.id)) throw new SottoError('outbox.full');
    }
    return this.#spools.begin(conversation, name, options);
  }

  /** Seals more bytes of a spooled file; gives its size so far. Throws `quota.exceeded`, `file.unknown`, `disk.*`: that ends it. */
  write(row: number, bytes: Uint8Array): number {
    return this.#orFail(row, () => this.#spools.write(row, bytes));
  }

  /** Outside the queue: ends a spooled file and offers it to the other side, once the disk has it. Throws like `begin` and `write`. */
  async offer(row: number): Promise<void> {
    this.#spools.keep(row);
    await this.#outside(row, () => this.#spools.sync(row));
    await this.#core.queue.call(() => this.#offered(row));
  }

  async #offered(row: number): Promise<void> {
    const { size, root, blob } = await this.#spools.end(row).catch((error: unknown) => this.#giveUp(row, error));
    this.#orFail(row, () => {
      const file = { ...fileOf(this.#core, row), size, root };
      const inRoom = conversationOf(this.#core.db, file.conversationId).kind !== 'contact';
      commit(this.#core, (changes) =>
        inRoom ? offerRoomFile(this.#core, changes, { ...file, blob }) : this.#offer(changes, file),
      );
      if (inRoom) this.#fetching.start(file);
    });
  }

  /** Outside the queue: spools the file at `path`, each piece in the queue. Throws `file.unknown` and like `write`. */
  sendPath(path: string, row: number): Promise<void> {
    const take = (bytes: Uint8Array) => this.#core.queue.call(() => this.write(row, bytes));
    return this.#outside(row, () => takePieces(path, take));
  }

  /**
   * Fetches an offered file, and saves it to `saveTo` once it is whole, if that is given; one of a room that has failed, or was
   * cancelled, from its beginning. Throws `message.notYours`, `contact.notAccepted`, `contact.blocked`, `file.stopped`, `file.unknown`,
   * `file.exists`, `quota.exceeded`; what comes later is told by the file.
   */
  fetch(row: FileRow, saveTo = '', options: { readonly overwrite: boolean } = { overwrite: false }): void {
    if (row.mine === 1) throw new SottoError('message.notYours', { message: 'This file is yours already' });
    // What a server has may be whole by now; of a contact's file nothing is kept there once it has failed here.
    const isOver = row.state === 'failed' || row.state === 'cancelled';
    const isAnew = isOver && row.blob !== null;
    if (isOver && !isAnew)
      throw new SottoError('file.stopped', {
        message: `The transfer ${row.state === 'failed' ? `failed: ${row.reason}` : `was ${row.reason || 'cancelled'}`}`,
      });
    checkRoomFetch(this.#core, conversationOf(this.#core.db, row.conversationId));
    if (saveTo !== '') checkTarget(saveTo, options);
    if (row.state === 'done') keptOf(this.#core, row)[Symbol.dispose]();
    const { db } = this.#core;
    const room = FILE_QUOTA_BYTES - keptBytes(db) - this.#spools.bytes;
    if ((row.state === 'offered' || isAnew) && row.size > room) throw new SottoError('quota.exceeded');
    const state = row.state === 'done' ? 'done' : 'active';
    const target = saveTo === '' ? {} : { saveTo, overwrite: options.overwrite ? 1 : 0 };
    const from = isAnew ? { chunks: 0 } : {};
    const asked = { ...row, ...target, ...from, state } as const;
    commit(this.#core, () => patchFile(db, row.id, { ...target, ...from, state, reason: '' }));
    this.#core.fileTroubles.delete(row.id);
    if (state === 'active') this.#fetching.start(asked);
    else if (saveTo !== '') this.#save(asked);
  }

  /** Pauses what is being fetched; `fetch` goes on with it. Again is harmless. Throws `file.stopped`. */
  pause(row: FileRow): void {
    if (row.state === 'paused') return;
    if (row.state !== 'active' || row.mine === 1)
      throw new SottoError('file.stopped', { message: 'Only a file that is being fetched can be paused' });
    commit(this.#core, () => patchFile(this.#core.db, row.id, { state: 'paused' }));
    this.#fetching.stop(row.id);
  }

  /** Ends a transfer on both sides and erases what is kept here; one that has ended stays what it is. */
  cancel(row: FileRow): void {
    if (row.state === 'cancelled' || row.state === 'failed' || (row.mine === 1 && row.state === 'done')) return;
    const isDone = row.state === 'done' && row.saveTo === '';
    // What is kept goes first: on a full disk that makes room for the rest.
    this.ended(row.id, idOf(row.fileId));
    if (isDone) return commit(this.#core, () => patchFile(this.#core.db, row.id, { chunks: 0 }));
    commit(this.#core, (changes) => {
      endFile(this.#core, changes, row, { state: 'cancelled', reason: 'cancelled' });
      if (row.state !== 'spooling' && row.state !== 'done') this.#tell(changes, row, 'file.cancel');
    });
  }

  /** Chunk `index` of a fetched file, in clear; empty behind the last. Throws `file.unknown`, `file.damaged`. */
  read(row: FileRow, index: number): { readonly data: Uint8Array; readonly last: boolean } {
    if (row.state !== 'done' || row.mine === 1)
      throw new SottoError('file.unknown', { message: 'Only a file that was fetched can be read' });
    const count = chunkCount(row.size);
    if (index >= count) return { data: new Uint8Array(), last: true };
    using blob = keptOf(this.#core, row);
    return { data: clearChunk(row, blob, index), last: index === count - 1 };
  }

  /** A link whose first frame asks for a file. */
  serve(link: Link, frame: Extract<PlainFrame, { kind: 'stream' }>): LinkEvents {
    return this.#serving.serve(link, frame);
  }

  #offer(changes: Changes, file: FileRow): void {
    const { db } = this.#core;
    const conversation = conversationOf(db, file.conversationId);
    checkMaySend(contactOf(db, conversation));
    patchFile(db, file.id, { size: file.size, root: file.root, state: 'offered' });
    const message = fileMessage(this.#core, file, changes.at);
    const messageRow = putMessage(db, message);
    startWaiting(this.#core, changes, { ...message, id: messageRow });
    const { id: contactId } = contactOf(db, conversation);
    enqueue(this.#core, changes, contactId, offerBody(file, message), messageRow);
    patchConversation(db, conversation.id, { lastAt: changes.at, archived: 0 });
    changes.event({ kind: 'message.queued', messageRow, contactId });
  }

  #complete(rowId: number): void {
    const row = getFile(this.#core.db, rowId);
    // What was brought to a server is done when its event has come back.
    if (row?.state !== 'active' || row.mine === 1) return;
    const { contactId } = conversationOf(this.#core.db, row.conversationId);
    commit(this.#core, (changes) => {
      patchFile(this.#core.db, rowId, { state: 'done', chunks: chunkCount(row.size) });
      this.#tell(changes, row, 'file.done');
      changes.event({ kind: 'file.completed', fileRow: rowId, ...(contactId === null ? {} : { contactId }) });
    });
    if (row.saveTo !== '') this.#save(row);
  }

  #save(row: FileRow): void {
    this.#saving.start(row, { overwrite: row.overwrite === 1 });
  }

  // No other try brings anything else: only its author can have changed it.
  #damaged(rowId: number, error: SottoError): void {
    const row = getFile(this.#core.db, rowId);
    if (row === undefined) return;
    // What others have is there still for who is let in again.
    if (row.mine === 0 && row.blob !== null && error.code !== 'file.damaged' && error.code !== 'file.unknown') {
      commit(this.#core, () => patchFile(this.#core.db, rowId, { state: 'paused', reason: error.message }));
      this.#core.fileTroubles.set(rowId, error);
      return this.#core.volatile({ kind: 'file.progressed', fileRow: rowId });
    }
    commit(this.#core, (changes) => {
      endFile(this.#core, changes, row, { state: 'failed', reason: error.message });
      this.#tell(changes, row, 'file.cancel');
    });
    this.#core.fileTroubles.set(rowId, error);
  }

  #tell(changes: Changes, row: FileRow, kind: 'file.done' | 'file.cancel'): void {
    if (row.blob !== null) return;
    const contact = contactOf(this.#core.db, conversationOf(this.#core.db, row.conversationId));
    if (contact.state !== 'accepted') return;
    enqueue(this.#core, changes, contact.id, { kind, target: idOf(row.fileId) });
  }

  async #outside(row: number, task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (error) {
      await this.#core.queue.call(() => this.#fail(row, errorObject(error).message));
      throw expectedError(error) ?? error;
    }
  }

  #orFail<T>(row: number, step: () => T): T {
    try {
      return step();
    } catch (error) {
      return this.#giveUp(row, error);
    }
  }

  #giveUp(row: number, error: unknown): never {
    if (expectedError(error) !== undefined) this.#fail(row, errorObject(error).message);
    throw error;
  }

  // A file that was never offered ends without a trace but its reason. Erasing it first makes room for that; if there is
  // none all the same, the next start notes it.
  #fail(rowId: number, reason: string): void {
    const row = getFile(this.#core.db, rowId);
    if (row?.state !== 'spooling') return;
    this.ended(rowId, idOf(row.fileId));
    try {
      commit(this.#core, (changes) => endFile(this.#core, changes, row, { state: 'failed', reason }));
    } catch (error) {
      if (expectedError(error) === undefined) throw error;
      this.#core.log.warn('file.notNoted', { code: errorObject(error).code });
    }
  }
}

/** The row of a transfer. Throws `file.unknown`. */
export const fileOf = (core: Core, id: number): FileRow => {
  const row = getFile(core.db, id);
  if (row === undefined) throw new SottoError('file.unknown');
  return row;
};
