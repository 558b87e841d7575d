// Read marks of channels: rows here, and the server's marker for my other devices.
import { addMentions, addUnread, type ConversationRow } from '../store/conversations.ts';
import { patchMessage } from '../store/messages.ts';
import type { Changes, Core } from './core.ts';

const PAGE = 500;

/** Marks the unread messages of a channel up to a seq as read; gives how many they were. */
export const markReadUpTo = (core: Core, changes: Changes, conversation: ConversationRow, seq: number): number => {
  let marked = 0;
  for (;;) {
    const rows = core.db.all<{ id: number; mention: number }>(
      'SELECT id, mention FROM messages WHERE conversation_id = ? AND unread = 1 AND seq <= ? ORDER BY id LIMIT ?',
      conversation.id,
      seq,
      PAGE,
    );
    for (const row of rows) patchMessage(core.db, row.id, { unread: 0, readAt: changes.at });
    addUnread(core.db, conversation.id, -rows.length);
    addMentions(core.db, conversation.id, -rows.filter(({ mention }) => mention === 1).length);
    marked += rows.length;
    if (rows.length < PAGE) return marked;
  }
};
