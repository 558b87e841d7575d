
-- what contacts and I have said to each other about who we are on servers
CREATE TABLE member_links (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  contact_id INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
  server_key BLOB NOT NULL,
  -- whom I take them for there, once I have told them who I am
  member_row INTEGER REFERENCES members (id) ON DELETE SET NULL,
  -- the member key that they have shown to be theirs there
  member_key BLOB,
  UNIQUE (contact_id, server_key)
) STRICT;
CREATE INDEX member_links_member ON member_links (member_row) WHERE member_row IS NOT NULL;

ALTER TABLE channels DROP COLUMN chain;
ALTER TABLE room_events DROP COLUMN chain;
-- SHA-256 of the stored body; null where another log may hold something else
ALTER TABLE room_events ADD COLUMN hash BLOB;
-- the first name that somebody had here, once they have another
ALTER TABLE members ADD COLUMN former TEXT NOT NULL DEFAULT '';
CREATE INDEX members_former ON members (server_id, former) WHERE former <> '';

CREATE INDEX outbox_order ON outbox (contact_id, id);
CREATE INDEX room_outbox_order ON room_outbox (server_id, channel_row, member_row, id) WHERE seq IS NULL;

CREATE INDEX room_events_channel ON room_events (channel_row, seq, kind, value) WHERE message_row IS NULL;

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
