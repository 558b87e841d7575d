// Files in channels and with members: ciphertext goes up to the server under its hash, then the event that names it; readers fetch it there.
import { chunkCount, hashChunk, rootOf, SEALED_CHUNK_BYTES, sealedBytes } from '../crypto/file-chunks.ts';
import { fromBase64, isEqual, toBase64, toHex } from '../protocol/bytes.ts';
import { expectedError, SottoError } from '../protocol/errors.ts';
import { idBytes, idOf, type MessageId } from '../protocol/ids.ts';
import { BLOB_PARTS_AHEAD_BYTES } from '../protocol/limits.ts';
import type { Content } from '../protocol/room-content.ts';
import { Blob } from '../store/blobs.ts';
import { type ConversationRow, patchConversation } from '../store/conversations.ts';
import { type FileRow, getFile, patchFile } from '../store/files.ts';
import { getMemberById } from '../store/members.ts';
import { getMessage, getMessageById, type MessageRow, putMessage } from '../store/messages.ts';
import { listRoomOutboxOfMessage, type RoomOutboxRow } from '../store/room-outbox.ts';
import { getServer } from '../store/servers.ts';
import { type Changes, type Core, commit } from './core.ts';
import { fileMessage, noteProgress, putOffered } from './files-rows.ts';
import { conversationOf, serverOfRoom } from './names.ts';
import type { RoomConnection } from './room-connection.ts';
import { enqueueRoom, type RoomTo } from './room-outbox.ts';
import { letIn } from './room-receipts.ts';
import { roomOf } from './room-rows.ts';
import { startWaiting } from './timers.ts';

/** Puts a spooled file and its message into a room; the bytes go first, the event that names them after. */
export const offerRoomFile = (core: Core, changes: Changes, file: FileRow): void => {
  const { db } = core;
  const conversation = conversationOf(db, file.conversationId);
  const server = getServer(db, serverOfRoom(db, conversation) ?? 0);
  const me = server === undefined ? undefined : getMemberById(db, server.id, server.memberId);
  patchFile(db, file.id, { size: file.size, root: file.root, blob: file.blob, state: 'active' });
  const message = {
    ...fileMessage(core, file, changes.at),
    expiresFrom: 'delivery',
    memberRow: me?.id ?? null,
  } as const;
  const messageRow = putMessage(db, message);
  // To write to somebody is to let them write.
  if (conversation.memberRow !== null) letIn(core, conversation.memberRow);
  patchConversation(db, conversation.id, { lastAt: changes.at, archived: 0 });
  changes.event({ kind: 'message.queued', messageRow });
};

type Attempt = { readonly signal: AbortSignal; readonly progressed: () => void };

/** One attempt to bring the rest of a file of mine to the server, or to fetch the rest of another one. Throws what stands in the way. */
export const transferRoomFile = async (core: Core, row: FileRow, attempt: Attempt): Promise<void> => {
  const way = wayOf(core, row);
  try {
    if (row.mine === 1) await upload(core, row, way, attempt);
    else await fetchRest(core, row, way, attempt);
  } catch (error) {
    throw inWords(error, row, way);
  }
};

const inWords = (error: unknown, row: FileRow, { to }: Way): unknown => {
  const code = expectedError(error)?.code;
  // Who was banned, or has erased themself, has no inbox.
  if (code === 'channel.unknown' && 'memberRow' in to) return new SottoError('member.unknown', { cause: error });
  if (code !== 'quota.exceeded' || row.mine !== 1) return error;
  const message = 'The server has no room for more files of yours: a message with one that is deleted makes some';
  return new SottoError(code, { message, cause: error });
};

/** Where the bytes of a file are: in its channel, or in the inbox of the member whom it is for. */
const wayOf = (core: Core, row: FileRow): Way => {
  const { db } = core;
  const conversation = conversationOf(db, row.conversationId);
  const { channel, member } = roomOf(db, conversation);
  const serverId = channel?.serverId ?? member?.serverId;
  if (serverId === undefined) throw new SottoError('channel.unknown');
  const connection = core.rooms.get(serverId);
  if (connection?.state !== 'online') throw new SottoError('server.unreachable');
  if (channel !== undefined)
    return { connection, channel: idOf(channel.channelId), to: { serverId, channelRow: channel.id } };
  if (member === undefined) throw new SottoError('member.unknown');
  const isMine = getMessageById(db, row.conversationId, row.fileId)?.mine === 1;
  const inbox = idOf(isMine ? member.memberId : connection.row.memberId);
  return { connection, channel: inbox, to: { serverId, memberRow: member.id } };
};

const upload = async (core: Core, row: FileRow, way: Way, { signal, progressed }: Attempt): Promise<void> => {
  const message = getMessageById(core.db, row.conversationId, row.fileId);
  // It is up, and its event waits or has gone.
  if (message === undefined || listRoomOutboxOfMessage(core.db, message.id).length > 0) return;
  const { to } = way;
  const { expiresMs } = message;
  const ttl = expiresMs === null ? {} : { ttl: Math.ceil(expiresMs / 1000) };
  await bring(core, row, way, { signal, progressed }, ttl.ttl ?? 0);
  await core.queue.call(() => {
    // It may have been taken back meanwhile.
    if (signal.aborted || getFile(core.db, row.id)?.state !== 'active') return;
    // What shows the past puts it behind that, in another row.
    const message = getMessageById(core.db, row.conversationId, row.fileId);
    if (message === undefined) return;
    commit(core, (changes) => {
      patchFile(core.db, row.id, { chunks: chunkCount(row.size) });
      const content = {
        ...fileContent(row, message),
        ...('memberRow' in to ? { id: idOf<MessageId>(row.fileId) } : {}),
        ...(expiresMs === null ? {} : { expiresMs }),
      };
      startWaiting(core, changes, message);
      enqueueRoom(core, changes, to, content, { eventId: row.fileId, messageRow: message.id, ...ttl });
    });
  });
};

/** A server that was put back may have the event of a file still to come, and its bytes no more: they go up again before it. */
export const bringAgain = async (
  core: Core,
  { messageRow, ttl }: Pick<RoomOutboxRow, 'messageRow' | 'ttl'>,
): Promise<void> => {
  const message = messageRow === null ? undefined : getMessage(core.db, messageRow);
  const file = message?.fileId == null ? undefined : getFile(core.db, message.fileId);
  if (file?.state !== 'active' || file.mine === 0 || file.blob === null || file.chunks === chunkCount(file.size))
    return;
  const { signal } = new AbortController();
  await bring(core, file, wayOf(core, file), { signal, progressed: () => {} }, ttl);
  await core.queue.call(() => commit(core, () => patchFile(core.db, file.id, { chunks: chunkCount(file.size) })));
};

const bring = async (
  core: Core,
  row: FileRow,
  { connection, channel }: Way,
  { signal, progressed }: Attempt,
  ttlSeconds: number,
): Promise<void> => {
  using blob = Blob.open(core.filesDir, idOf(row.fileId));
  if (blob === undefined) throw new SottoError('file.unknown');
  const begun = await connection.request('blob.begin', {
    channel,
    hash: hashOf(row),
    sizeBytes: sealedBytes(row.size),
  });
  for (let offset = begun.receivedBytes; offset < sealedBytes(row.size); ) {
    if (signal.aborted) return;
    const index = Math.floor(offset / SEALED_CHUNK_BYTES);
    const body = blob.chunk(index).subarray(offset - index * SEALED_CHUNK_BYTES);
    if (body.length === 0) throw new SottoError('file.unknown');
    await connection.client.upload({ upload: begun.upload, offset, body });
    offset += body.length;
    progressed();
    // With its last chunk a file counts as brought, which it is once that is answered.
    if (index % PROGRESS_CHUNKS === 0 && index + 1 < chunkCount(row.size))
      core.queue.post(() => noteProgress(core, row.id, index + 1));
  }
  if (!signal.aborted) await connection.request('blob.complete', { channel, upload: begun.upload, ttlSeconds });
};

const fetchRest = async (core: Core, row: FileRow, way: Way, { signal, progressed }: Attempt): Promise<void> => {
  const count = chunkCount(row.size);
  using blob = Blob.make(core.filesDir, idOf(row.fileId));
  for (let done = row.chunks; done < count && !signal.aborted; ) {
    const taken = await fetchSome(row, way, { blob, from: done });
    if (taken.chunks > 0) {
      // Half a chunk is fetched again: what is noted is whole, and on disk.
      await core.queue.beside(blob.sync());
      done += taken.chunks;
      progressed();
      const now = done;
      await core.queue.call(() => noteProgress(core, row.id, now));
    }
    if (taken.error !== undefined) throw taken.error;
    if (taken.chunks === 0)
      throw new SottoError('file.unknown', { message: 'The server has less of the file than it says' });
  }
  if (signal.aborted) throw new SottoError('server.unreachable', { message: 'The transfer was stopped' });
  if (!isEqual(rootOf(blob.hashes(0, count)), row.root)) throw new SottoError('file.damaged');
};

type Taken = { readonly chunks: number; readonly error: SottoError | undefined };

/** Chunks from `from` on, as many as one request gives: what has come is kept, also when it ends with an error. */
const fetchSome = async (
  row: FileRow,
  { connection, channel }: Way,
  { blob, from }: { readonly blob: Blob; readonly from: number },
): Promise<Taken> => {
  const whole = sealedBytes(row.size);
  const at = from * SEALED_CHUNK_BYTES;
  let [rest, next, error]: [Buffer, number, SottoError | undefined] = [Buffer.alloc(0), from, undefined];
  const take = (part: Uint8Array): void => {
    rest = Buffer.concat([rest, part]);
    for (;;) {
      const size = Math.min(SEALED_CHUNK_BYTES, whole - next * SEALED_CHUNK_BYTES);
      if (size <= 0 || rest.length < size) return;
      const sealed = rest.subarray(0, size);
      blob.putChunk(next, sealed);
      blob.putHashes(next, hashChunk(sealed));
      rest = rest.subarray(size);
      next++;
    }
  };
  // What a full disk throws must not end in the socket that brought the part.
  const guarded = (step: () => void): void => {
    try {
      step();
    } catch (caught) {
      error ??= expectedError(caught);
      if (error === undefined) throw caught;
    }
  };
  const limit = Math.min(BLOB_PARTS_AHEAD_BYTES, whole - at);
  await connection.client
    .fetch({ channel, hash: hashOf(row), from: at, limit }, ({ body }) => {
      if (error === undefined) guarded(() => take(body));
    })
    .catch((caught: unknown) =>
      guarded(() => {
        throw caught;
      }),
    );
  return { chunks: next - from, error };
};

const hashOf = (row: FileRow): string => toHex(row.blob ?? new Uint8Array());

const PROGRESS_CHUNKS = 32;

type Offer = Extract<Content, { kind: 'file' }>;

type Way = {
  readonly connection: RoomConnection;
  /** The id of the channel or inbox. */
  readonly channel: string;
  readonly to: RoomTo;
};

/** What offers a file in a room, as its message shows it. */
export const fileContent = (row: FileRow, { sentAt }: Pick<MessageRow, 'sentAt'>): Offer => ({
  kind: 'file',
  name: row.name,
  sizeBytes: row.size,
  key: toBase64(row.key),
  root: toBase64(row.root),
  blobs: [toBase64(row.blob ?? new Uint8Array())],
  sentAt,
});

/** Keeps a file that somebody offers in a room: it is fetched when the user says so. Gives its row; undefined for one that cannot be kept. */
export const putRoomFile = (
  core: Core,
  changes: Changes,
  conversation: ConversationRow,
  given: { readonly id: string; readonly content: Omit<Offer, 'replyTo' | 'thread'> },
): number | undefined => {
  const { id, content } = given;
  const [blob, other] = content.blobs.map((text) => fromBase64(text));
  if (blob === undefined || other !== undefined) return undefined;
  return putOffered(core, changes, { fileId: idBytes(id), conversationId: conversation.id, content, blob });
};
