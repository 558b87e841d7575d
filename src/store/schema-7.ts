// The seventh published schema: history that members share. Never edited: later changes are migrations of their own.

/** What a member needs to show others what was said before they came, and what is kept of it by who is shown. */
export const SCHEMA_7 = `
-- of members channels: the signed event as its author made it, where others may be shown it
ALTER TABLE room_events ADD COLUMN signed BLOB;
ALTER TABLE room_outbox ADD COLUMN signed BLOB;

-- who has shown it to me, of what was said before I came
ALTER TABLE messages ADD COLUMN shared_by INTEGER REFERENCES members (id);

CREATE TABLE room_shares (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  channel_row INTEGER NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  -- with whom I share, or who shares with me
  member_row INTEGER NOT NULL REFERENCES members (id) ON DELETE CASCADE,
  mine INTEGER NOT NULL,
  share_id BLOB NOT NULL,
  -- a stretch of the log of this epoch
  epoch INTEGER NOT NULL,
  from_seq INTEGER NOT NULL,
  to_seq INTEGER NOT NULL,
  -- how far it has gone or come
  done_seq INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('going', 'whole', 'done', 'refused')),
  reason TEXT NOT NULL DEFAULT '',
  -- who else has seen how many of its places as they are, as JSON
  confirmed TEXT NOT NULL DEFAULT '{"by":[],"events":0}',
  created_at INTEGER NOT NULL,
  UNIQUE (member_row, mine, share_id)
) STRICT;
CREATE INDEX room_shares_channel ON room_shares (channel_row);

-- parts of one that has not come whole
CREATE TABLE room_share_parts (
  share_row INTEGER NOT NULL REFERENCES room_shares (id) ON DELETE CASCADE,
  from_seq INTEGER NOT NULL,
  entries BLOB NOT NULL,
  PRIMARY KEY (share_row, from_seq)
) STRICT, WITHOUT ROWID;
`;
