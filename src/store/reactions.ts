// Reactions to messages.
import type { Database } from '../sqlite/open.ts';

export type ReactionRow = {
  readonly mine: number;
  /** Whose it is in a room; 0 in a conversation with a contact. */
  readonly memberRow?: number;
  readonly emoji: string;
};

/** Oldest first. */
export const listReactions = (db: Database, messageRow: number): ReactionRow[] =>
  db.all<ReactionRow>(
    'SELECT mine, member_row AS memberRow, emoji FROM reactions WHERE message_row = ? ORDER BY at, emoji',
    messageRow,
  );

/** Adds a reaction; the same one twice changes nothing. */
export const putReaction = (db: Database, messageRow: number, row: ReactionRow & { readonly at: number }): void => {
  db.run(
    'INSERT OR IGNORE INTO reactions (message_row, mine, member_row, emoji, at) VALUES (?, ?, ?, ?, ?)',
    messageRow,
    row.mine,
    row.memberRow ?? 0,
    row.emoji,
    row.at,
  );
};

export const removeReaction = (db: Database, messageRow: number, row: ReactionRow): void => {
  db.run(
    'DELETE FROM reactions WHERE message_row = ? AND mine = ? AND member_row = ? AND emoji = ?',
    messageRow,
    row.mine,
    row.memberRow ?? 0,
    row.emoji,
  );
};
