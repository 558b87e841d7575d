// What was put on a message whose text goes out again: said again behind it, as what came before it changed nothing there.
import { idOf } from '../protocol/ids.ts';
import { getMessage, type MessageRow } from '../store/messages.ts';
import { listOutboxOfMessage, listOutboxSealed } from '../store/outbox.ts';
import { listReactions } from '../store/reactions.ts';
import type { Changes, Core } from './core.ts';
import { bodyOf, enqueue, hasRoom } from './outbox.ts';

/** My reactions to a message and its pin. Where there is no room they are left out. */
export const putOnAgain = (core: Core, changes: Changes, contactId: number, row: MessageRow): void => {
  const target = idOf(row.messageId);
  for (const { mine, emoji } of listReactions(core.db, row.id))
    if (mine === 1 && hasRoom(core, contactId))
      enqueue(core, changes, contactId, { kind: 'react', target, emoji, on: true });
  if (row.pinnedAt !== null && hasRoom(core, contactId))
    enqueue(core, changes, contactId, { kind: 'pin', target, on: true }, row.id);
};

/** The same, and the last version, for every text that has left and was not acknowledged: it goes out in a new session. */
export const sayChangesAgain = (core: Core, changes: Changes, contactId: number): void => {
  for (const sealed of listOutboxSealed(core.db, contactId)) {
    const said = bodyOf(sealed);
    const row =
      said.kind === 'text' || said.kind === 'file.offer' ? getMessage(core.db, sealed.messageRow ?? 0) : undefined;
    if (row === undefined || row.deletedAt !== null) continue;
    const waiting = new Set(listOutboxOfMessage(core.db, row.id).map((one) => one.kind));
    const { editNumber: number, body: text, messageId } = row;
    if (said.kind === 'text' && said.text !== text && !waiting.has('edit') && hasRoom(core, contactId))
      enqueue(core, changes, contactId, { kind: 'edit', target: idOf(messageId), number, text }, row.id);
    putOnAgain(core, changes, contactId, waiting.has('pin') ? { ...row, pinnedAt: null } : row);
  }
};
