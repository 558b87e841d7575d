// What becomes of a row of a server's outbox: it was answered, it has come, it was lost, or nobody will take it.
import type { Placed } from '../protocol/server.ts';
import { type ChannelRow, patchChannel } from '../store/channels.ts';
import { getFile } from '../store/files.ts';
import { getMessage, patchMessage } from '../store/messages.ts';
import { getRoomOutbox, putPlace, type RoomOutboxRow, removeRoomOutbox } from '../store/room-outbox.ts';
import { type Changes, type Core, commit } from './core.ts';
import { endFile, fileSent } from './files-rows.ts';
import { mirror } from './room-devices.ts';
import { doubt } from './room-doubts.ts';
import { deletedIn } from './room-outbox.ts';
import { messageAbout, takeBackChange } from './room-refused.ts';
import { theChannel } from './room-rows.ts';
import type { RoomScene } from './room-scene.ts';
import { partFailed, partSent } from './room-share.ts';
import { endUnsent, startTimer } from './timers.ts';

/** The server has committed it. In a channel its row stays until the event itself comes; elsewhere it goes. */
export const answered = (core: Core, id: number, published: Placed): void =>
  commit(core, (changes) => {
    const row = getRoomOutbox(core.db, id);
    if (row === undefined) return;
    const message = row.messageRow === null ? undefined : getMessage(core.db, row.messageRow);
    if (message?.state === 'queued') {
      patchMessage(core.db, message.id, {
        state: 'sent',
        ...(row.channelRow === null ? {} : { seq: published.seq }),
      });
      startTimer(core, changes, message);
      changes.event({ kind: 'message.sent', messageRow: message.id });
    }
    if (row.channelRow === null) fileTaken(core, changes, message?.fileId ?? null);
    if (row.channelRow === null) {
      removeRoomOutbox(core.db, id);
      partSent(core, changes, row);
      return mirror(core, changes, row);
    }
    // Of a log that is no more its count is negative, and more may have been counted since.
    const { sent } = theChannel(core.db, row.channelRow);
    patchChannel(core.db, row.channelRow, { sent: Math.max(sent, Math.abs(row.n)) });
    putPlace(core.db, id, published.seq);
  });

// Its receipt may have come before the answer: the message waits no more then, and the file does.
const fileTaken = (core: Core, changes: Changes, fileRow: number | null): void => {
  if (fileRow !== null && getFile(core.db, fileRow)?.state === 'active') fileSent(core, changes, fileRow);
};

/** The event that an outbox row became has come: nothing waits any more. */
export const ownCommitted = ({ core, changes }: RoomScene, outbox: RoomOutboxRow): void => {
  removeRoomOutbox(core.db, outbox.id);
  const message = outbox.messageRow === null ? undefined : getMessage(core.db, outbox.messageRow);
  if (message?.state === 'failed') {
    patchMessage(core.db, message.id, { state: 'sent', reason: '' });
    changes.event({ kind: 'message.sent', messageRow: message.id });
  }
};

/** The server has said that it stored this, and keeps no more what has this place: the event does not come. */
export const ownForgotten = (core: Core, changes: Changes, outbox: RoomOutboxRow): void => {
  removeRoomOutbox(core.db, outbox.id);
  const message = outbox.messageRow === null ? undefined : getMessage(core.db, outbox.messageRow);
  fileTaken(core, changes, message?.fileId ?? null);
};

/** The server has said that it stored this, and shows something else in its place. */
export const ownLost = (core: Core, changes: Changes, channel: ChannelRow, outbox: RoomOutboxRow): void => {
  const seq = outbox.seq ?? 0;
  removeRoomOutbox(core.db, outbox.id);
  const message = outbox.messageRow === null ? undefined : getMessage(core.db, outbox.messageRow);
  if (message?.state === 'sent') {
    patchMessage(core.db, message.id, { seq: null });
    endUnsent(core, changes, message, 'lost');
    changes.event({ kind: 'message.failed', messageRow: message.id });
  } else if (message === undefined) takeBackChange(core, changes, outbox, 'lost');
  const reason = 'the server does not show what it said it had stored of yours';
  doubt(core, changes, channel.id, { fromSeq: seq, toSeq: seq, reason });
};

/** The same as `roomGiveUp`, in a transaction of its own. */
export const failed = (core: Core, id: number, code: string): void =>
  commit(core, (changes) => roomGiveUp(core, changes, id, code));

// It is deleted here and stays with the others: its author is told.
const notDeleted = (core: Core, changes: Changes, row: RoomOutboxRow): void => {
  const target = deletedIn(row);
  const message = target === undefined ? undefined : messageAbout(core, row, target);
  if (message === undefined) return;
  patchMessage(core.db, message.id, { reason: 'deletionFailed' });
  changes.event({ kind: 'message.failed', messageRow: message.id });
};

/** Takes a row out of the outbox that the server will never take: the message it carried has failed, a change is shown no more. */
export const roomGiveUp = (core: Core, changes: Changes, id: number, reason: string): void => {
  const row = getRoomOutbox(core.db, id);
  if (row === undefined) return;
  removeRoomOutbox(core.db, id);
  partFailed(core, changes, row, reason);
  notDeleted(core, changes, row);
  const message = row.messageRow === null ? undefined : getMessage(core.db, row.messageRow);
  if (message === undefined) return takeBackChange(core, changes, row, reason);
  if (message.state !== 'queued') return;
  endUnsent(core, changes, message, reason);
  changes.event({ kind: 'message.failed', messageRow: message.id });
  const file = message.fileId === null ? undefined : getFile(core.db, message.fileId);
  if (file !== undefined) endFile(core, changes, file, { state: 'failed', reason });
};
