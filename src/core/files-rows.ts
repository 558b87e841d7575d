// What transactions do to transfers: how one is offered, ends, or is erased. What is kept of it goes after the commit.
import { fromBase64, toBase64 } from '../protocol/bytes.ts';
import { errorObject, expectedError } from '../protocol/errors.ts';
import { idOf } from '../protocol/ids.ts';
import type { SealedBody } from '../protocol/peer.ts';
import { type FileRow, getFile, listFilesByIdRange, patchFile, putFile, removeFile } from '../store/files.ts';
import { getMessageById, type MessageRow } from '../store/messages.ts';
import { type Changes, type Core, commit } from './core.ts';
import { conversationOf } from './names.ts';
import { dropFromRoom, takeBack } from './room-outbox.ts';
import { settingOf } from './settings.ts';
import { endUnsent } from './timers.ts';

type Shown = Pick<MessageRow, 'sentAt' | 'expiresMs' | 'expiresFrom'>;

/** The body that offers a file of ours to the other side, as the message shows it. */
export const offerBody = (file: FileRow, message: Shown): Extract<SealedBody, { kind: 'file.offer' }> => ({
  kind: 'file.offer',
  id: idOf(file.fileId),
  name: file.name,
  sizeBytes: file.size,
  key: toBase64(file.key),
  root: toBase64(file.root),
  sentAt: message.sentAt,
  ...(message.expiresMs === null ? {} : { expiresMs: message.expiresMs, expiresFrom: message.expiresFrom }),
});

/** The message of a file of ours that was spooled, as it waits to go. */
export const fileMessage = ({ db }: Core, file: FileRow, at: number) => {
  const scope = idOf(conversationOf(db, file.conversationId).uid);
  const expiresMs = settingOf(db, 'messages.expiresMs', scope);
  return {
    conversationId: file.conversationId,
    messageId: file.fileId,
    mine: 1,
    body: file.name,
    state: 'queued',
    sentAt: at,
    receivedAt: null,
    unread: 0,
    replyTo: null,
    expiresMs: expiresMs === 0 ? null : expiresMs,
    expiresFrom: settingOf(db, 'messages.expiresFrom', scope),
    expiresAt: null,
    fileId: file.id,
  } as const;
};

/** A transfer ended without success: it says why, and nothing of it is kept. */
export const endFile = (
  core: Core,
  changes: Changes,
  file: FileRow,
  end: { readonly state: 'failed' | 'cancelled'; readonly reason: string },
): void => {
  patchFile(core.db, file.id, { ...end, saveTo: '' });
  if (file.mine === 1 && file.blob !== null) {
    failMessage(core, changes, file, end.reason);
    takeBack(core, changes, file);
  }
  changes.endedFiles.set(file.id, idOf(file.fileId));
  changes.event({ kind: 'file.failed', fileRow: file.id });
};

/** A transfer as it is told: an offer of mine whose message has failed is as failed, and is kept for a resend. */
export const standingOf = ({ db }: Core, file: FileRow): Pick<FileRow, 'state' | 'reason'> => {
  if (file.mine === 0 || file.state !== 'offered') return file;
  const message = getMessageById(db, file.conversationId, file.fileId);
  return message?.state === 'failed' ? { state: 'failed', reason: message.reason } : file;
};

// In a room the message goes after the file: without the file it does not go.
const failMessage = (core: Core, changes: Changes, file: FileRow, reason: string): void => {
  const message = getMessageById(core.db, file.conversationId, file.fileId);
  if (message?.state !== 'queued') return;
  dropFromRoom(core, message.id);
  endUnsent(core, changes, message, reason);
  changes.event({ kind: 'message.failed', messageRow: message.id });
};

/** A file of mine is up, and so is the event that names it: nothing of it is kept here. */
export const fileSent = (core: Core, changes: Changes, rowId: number): void => {
  const file = getFile(core.db, rowId);
  if (file === undefined) return;
  patchFile(core.db, file.id, { state: 'done' });
  changes.endedFiles.set(file.id, idOf(file.fileId));
  changes.event({ kind: 'file.completed', fileRow: file.id });
};

/** Erases a transfer with the message that showed it: neither its name nor its key stays. */
export const eraseFile = (core: Core, changes: Changes, rowId: number | null): void => {
  const file = rowId === null ? undefined : getFile(core.db, rowId);
  if (file === undefined) return;
  removeFile(core.db, file.id);
  changes.endedFiles.set(file.id, idOf(file.fileId));
  changes.erased = true;
};

/** Notes how many chunks the other side was sent, or are here. On a full disk it is not noted: they go again if need be. */
export const noteProgress = (core: Core, rowId: number, chunks: number): void => {
  const row = getFile(core.db, rowId);
  if (row === undefined || !['offered', 'active', 'paused'].includes(row.state)) return;
  if (row.mine === 0 && chunks <= row.chunks) return;
  try {
    commit(core, () => patchFile(core.db, rowId, { chunks, ...(row.state === 'offered' ? { state: 'active' } : {}) }));
  } catch (error) {
    if (expectedError(error) === undefined) throw error;
    core.log.warn('file.notNoted', { code: errorObject(error).code });
  }
  core.volatile({ kind: 'file.progressed', fileRow: rowId });
};

/** A file that somebody offers; `blob` is what a server has it under. */
type Offered = {
  readonly fileId: Uint8Array<ArrayBuffer>;
  readonly conversationId: number;
  readonly content: Pick<Extract<SealedBody, { kind: 'file.offer' }>, 'name' | 'sizeBytes' | 'key' | 'root'>;
  readonly blob?: Uint8Array<ArrayBuffer>;
};

/** Keeps that somebody offers a file: it is fetched when the user says so. Gives its row; undefined for one that cannot be kept. */
export const putOffered = (
  { db }: Core,
  { at }: Changes,
  { fileId, conversationId, content, ...more }: Offered,
): number | undefined => {
  // What is kept lies under this id: it is nobody else's.
  if (listFilesByIdRange(db, fileId, fileId, 1).length > 0) return undefined;
  return putFile(db, {
    fileId,
    conversationId,
    mine: 0,
    name: content.name,
    size: content.sizeBytes,
    key: fromBase64(content.key),
    root: fromBase64(content.root),
    ...more,
    state: 'offered',
    createdAt: at,
  });
};
