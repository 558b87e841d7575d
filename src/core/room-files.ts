// Files in channels: ciphertext goes up to the server under its hash, then the signed event that names it; readers fetch it there.
import { chunkCount, hashChunk, rootOf, SEALED_CHUNK_BYTES } from '../crypto/file-chunks.ts';
import type { Cancel } from '../ports.ts';
import { type ErrorCode, expectedError, SottoError } from '../protocol/errors.ts';
import { idBytes, idOf } from '../protocol/ids.ts';
import { BLOB_PARTS_AHEAD_BYTES } from '../protocol/limits.ts';
import type { Content } from '../protocol/room-content.ts';
import { Blob } from '../store/blobs.ts';
import { getChannel } from '../store/channels.ts';
import { type ConversationRow, patchConversation } from '../store/conversations.ts';
import { type FileRow, getFile, listFilesInState, patchFile, putFile } from '../store/files.ts';
import { getMemberById } from '../store/members.ts';
import { putMessage } from '../store/messages.ts';
import { listRoomOutboxOfMessage } from '../store/room-outbox.ts';
import { getServer } from '../store/servers.ts';
import { type Changes, type Core, commit } from './core.ts';
import { noteProgress } from './files-rows.ts';
import { conversationOf } from './names.ts';
import type { RoomConnection } from './room-connection.ts';
import { enqueueRoom } from './room-outbox.ts';

const RETRY_MS = 5_000;
// After these another try brings nothing else.
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'file.unknown',
  'quota.exceeded',
  'channel.notMember',
  'channel.banned',
]);

type Ends = {
  /** Everything of a fetched file is here. */
  readonly whole: (row: number) => void;
  /** It will not come: nothing more is tried. */
  readonly damaged: (row: number, error: SottoError) => void;
};

/** Transfers of channels that are under way, by file row. */
export class RoomFiles {
  readonly #core: Core;
  readonly #ends: Ends;
  readonly #running = new Map<number, AbortController>();
  readonly #retries = new Map<number, Cancel>();

  constructor(core: Core, ends: Ends) {
    this.#core = core;
    this.#ends = ends;
  }

  /** What was under way goes on, up and down. */
  resume(): void {
    for (const row of listFilesInState(this.#core.db, 'active'))
      if (conversationOf(this.#core.db, row.conversationId).kind !== 'contact') this.start(row.id);
  }

  /** Goes on with an active file: mine up, others' down. */
  start(rowId: number): void {
    if (this.#running.has(rowId)) return;
    this.#retries.get(rowId)?.();
    this.#retries.delete(rowId);
    const abort = new AbortController();
    this.#running.set(rowId, abort);
    this.#run(rowId, abort.signal).then(
      () => this.#running.delete(rowId),
      (error: unknown) => this.#failed(rowId, abort, error),
    );
  }

  stop(rowId: number): void {
    this.#running.get(rowId)?.abort();
    this.#running.delete(rowId);
    this.#retries.get(rowId)?.();
    this.#retries.delete(rowId);
  }

  stopAll(): void {
    for (const rowId of [...this.#running.keys(), ...this.#retries.keys()]) this.stop(rowId);
  }

  /** Puts a spooled file and its message into a channel; the bytes go first, the event that names them after. */
  offer(changes: Changes, file: FileRow, blob: Uint8Array<ArrayBuffer>): void {
    const { db } = this.#core;
    const conversation = conversationOf(db, file.conversationId);
    const channel = getChannel(db, conversation.channelRow ?? 0);
    const server = getServer(db, channel?.serverId ?? 0);
    const me = server === undefined ? undefined : getMemberById(db, server.id, server.memberId);
    patchFile(db, file.id, { size: file.size, root: file.root, blob, state: 'active' });
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
      memberRow: me?.id ?? null,
    });
    patchConversation(db, conversation.id, { lastAt: changes.at, archived: 0 });
    changes.event({ kind: 'message.queued', messageRow });
  }

  async #run(rowId: number, signal: AbortSignal): Promise<void> {
    const row = getFile(this.#core.db, rowId);
    if (row?.state !== 'active' || row.blob === null) return;
    const conversation = conversationOf(this.#core.db, row.conversationId);
    const channel = getChannel(this.#core.db, conversation.channelRow ?? 0);
    const connection = channel === undefined ? undefined : this.#core.rooms.get(channel.serverId);
    if (channel === undefined) throw new SottoError('channel.unknown');
    if (connection?.state !== 'online') throw new SottoError('server.unreachable');
    const to = { connection, channel: idOf(channel.channelId), channelRow: channel.id, serverId: channel.serverId };
    if (row.mine === 1) await this.#upload(row, to, signal);
    else await this.#fetch(row, to, signal);
  }

  async #upload(row: FileRow, to: Way, signal: AbortSignal): Promise<void> {
    const core = this.#core;
    const message = core.db.get<{ id: number }>('SELECT id FROM messages WHERE file_id = ?', row.id);
    // It is up, and its event waits or has gone.
    if (message === undefined || listRoomOutboxOfMessage(core.db, message.id).length > 0) return;
    const { connection, channel } = to;
    const count = chunkCount(row.size);
    const hash = Buffer.from(row.blob ?? []).toString('hex');
    using blob = Blob.open(core.filesDir, idOf(row.fileId));
    if (blob === undefined) throw new SottoError('file.unknown');
    const sizeBytes = row.size + 16 * count;
    const begun = await connection.request('blob.begin', { channel, hash, sizeBytes });
    for (let index = Math.floor(begun.receivedBytes / SEALED_CHUNK_BYTES); index < count; index++) {
      if (signal.aborted) return;
      const body = blob.chunk(index);
      const skip = Math.max(0, begun.receivedBytes - index * SEALED_CHUNK_BYTES);
      const offset = index * SEALED_CHUNK_BYTES + skip;
      await connection.client.upload({ upload: begun.upload, offset, body: body.subarray(skip) });
      if (index % PROGRESS_CHUNKS === 0) core.queue.post(() => noteProgress(core, row.id, index + 1));
    }
    await connection.request('blob.complete', { channel, upload: begun.upload });
    await core.queue.call(() =>
      commit(core, (changes) => {
        patchFile(core.db, row.id, { chunks: count });
        enqueueRoom(core, changes, { serverId: to.serverId, channelRow: to.channelRow }, contentOf(row), {
          eventId: row.fileId,
          messageRow: message.id,
        });
      }),
    );
  }

  async #fetch(row: FileRow, { connection, channel }: Way, signal: AbortSignal): Promise<void> {
    const core = this.#core;
    const count = chunkCount(row.size);
    const hash = Buffer.from(row.blob ?? []).toString('hex');
    using blob = Blob.make(core.filesDir, idOf(row.fileId));
    let done = row.chunks;
    let rest = Buffer.alloc(0);
    while (done < count && !signal.aborted) {
      const from = done * SEALED_CHUNK_BYTES;
      const last = row.size + 16 * count;
      const before = done;
      await connection.client.fetch(
        { channel, hash, from, limit: Math.min(BLOB_PARTS_AHEAD_BYTES, last - from) },
        ({ body }) => {
          rest = Buffer.concat([rest, body]);
          while (
            rest.length >= SEALED_CHUNK_BYTES ||
            (done === count - 1 && rest.length >= last - done * SEALED_CHUNK_BYTES)
          ) {
            const size = Math.min(SEALED_CHUNK_BYTES, last - done * SEALED_CHUNK_BYTES);
            if (size <= 0) break;
            const sealed = rest.subarray(0, size);
            blob.putChunk(done, sealed);
            blob.putHashes(done, hashChunk(sealed));
            rest = rest.subarray(size);
            done++;
          }
        },
      );
      // Half a chunk is fetched again: what is noted is whole.
      rest = Buffer.alloc(0);
      if (done === before)
        throw new SottoError('file.unknown', { message: 'The server has less of the file than it says' });
      const now = done;
      await core.queue.call(() => noteProgress(core, row.id, now));
    }
    if (signal.aborted) return;
    blob.sync();
    if (!Buffer.from(rootOf(blob.hashes(0, count))).equals(row.root)) throw new SottoError('file.damaged');
    await core.queue.call(() => this.#ends.whole(row.id));
  }

  #failed(rowId: number, abort: AbortController, error: unknown): void {
    if (this.#running.get(rowId) === abort) this.#running.delete(rowId);
    if (abort.signal.aborted) return;
    const known = expectedError(error);
    const core = this.#core;
    if (known === undefined) return core.queue.post(() => Promise.reject(error));
    if (FINAL.has(known.code) || known.code === 'file.damaged')
      return core.queue.post(() => this.#ends.damaged(rowId, known));
    this.#retries.set(
      rowId,
      core.clock.after(RETRY_MS, () => this.start(rowId)),
    );
  }
}

const PROGRESS_CHUNKS = 32;

type Way = {
  readonly connection: RoomConnection;
  readonly channel: string;
  readonly channelRow: number;
  readonly serverId: number;
};

const contentOf = (row: FileRow): Content => ({
  kind: 'file',
  name: row.name,
  sizeBytes: row.size,
  key: base64(row.key),
  root: base64(row.root),
  blobs: [base64(row.blob ?? new Uint8Array())],
  sentAt: row.createdAt,
});

/** Keeps a file that a channel's event names: it is fetched when the user says so. Gives its row. */
export const putRoomFile = (
  core: Core,
  changes: Changes,
  conversation: ConversationRow,
  given: { readonly id: string; readonly content: Extract<Content, { kind: 'file' }> },
): number | undefined => {
  const { id, content } = given;
  const [blob, other] = content.blobs.map((text) => new Uint8Array(Buffer.from(text, 'base64')));
  if (blob === undefined || other !== undefined) return undefined;
  return putFile(core.db, {
    fileId: idBytes(id),
    conversationId: conversation.id,
    mine: 0,
    name: content.name,
    size: content.sizeBytes,
    key: new Uint8Array(Buffer.from(content.key, 'base64')),
    root: new Uint8Array(Buffer.from(content.root, 'base64')),
    blob,
    state: 'offered',
    createdAt: changes.at,
  });
};

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
