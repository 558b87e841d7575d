// What is read in rooms: rows here, and receipts to members who write to me.
import { idOf } from '../protocol/ids.ts';
import { RECEIPT_TARGETS_MAX } from '../protocol/limits.ts';
import { addMentions, addUnread, type ConversationRow } from '../store/conversations.ts';
import { getMember } from '../store/members.ts';
import { listUnreadUpToSeq } from '../store/message-pages.ts';
import { patchMessage } from '../store/messages.ts';
import type { Changes, Core } from './core.ts';
import { enqueueReceipt } from './room-outbox.ts';
import { settingOf } from './settings.ts';

/** Marks the unread messages of a room up to a seq as read; with `receipts` a member hears of theirs, where that is set. */
export const markReadUpTo = (
  core: Core,
  changes: Changes,
  conversation: ConversationRow,
  seq: number,
  options: { readonly receipts: boolean },
): void => {
  const author = conversation.memberRow === null ? undefined : getMember(core.db, conversation.memberRow);
  const receipts =
    options.receipts &&
    author?.request === 'accepted' &&
    author.blocked === 0 &&
    settingOf(core.db, 'privacy.readReceipts', idOf(conversation.uid));
  for (;;) {
    const rows = listUnreadUpToSeq(core.db, conversation.id, seq, RECEIPT_TARGETS_MAX);
    for (const row of rows) patchMessage(core.db, row.id, { unread: 0, readAt: changes.at });
    addUnread(core.db, conversation.id, -rows.length);
    addMentions(core.db, conversation.id, -rows.filter(({ mention }) => mention === 1).length);
    if (receipts && rows.length > 0) {
      const targets = rows.map(({ messageId }) => idOf(messageId));
      enqueueReceipt(core, changes, { serverId: author.serverId, memberRow: author.id }, { targets, state: 'read' });
      core.rooms.get(author.serverId)?.receipts.forget(author.id, targets);
    }
    if (rows.length < RECEIPT_TARGETS_MAX) return;
  }
};
