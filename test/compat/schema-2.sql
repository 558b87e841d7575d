
CREATE TABLE servers (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  uid BLOB NOT NULL UNIQUE,
  label TEXT NOT NULL,
  server_key BLOB NOT NULL UNIQUE,
  name TEXT NOT NULL DEFAULT '',
  origin TEXT NOT NULL,
  -- 'pinned': the certificate carries the server key; 'authority': a public one vouches for it; 'none': an onion service
  trust TEXT NOT NULL CHECK (trust IN ('pinned', 'authority', 'none')),
  clearnet INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL CHECK (state IN ('joining', 'joined', 'left', 'banned')),
  invite TEXT NOT NULL DEFAULT '',
  member_id BLOB NOT NULL,
  member_name TEXT NOT NULL,
  role TEXT NOT NULL DEFAULT 'member',
  device_id BLOB NOT NULL,
  device_seed BLOB NOT NULL,
  certificate BLOB NOT NULL,
  epoch INTEGER NOT NULL DEFAULT 0,
  -- how far the inbox is read: seq, and id of the event there
  inbox_seq INTEGER NOT NULL DEFAULT 0,
  inbox_id BLOB,
  last_error TEXT NOT NULL DEFAULT '',
  last_error_at INTEGER,
  created_at INTEGER NOT NULL
) STRICT;

-- the whole serialised set of prekeys that others may take: half a megabyte, read and written only when one is used
CREATE TABLE server_prekeys (
  server_id INTEGER PRIMARY KEY REFERENCES servers (id) ON DELETE CASCADE,
  prekeys BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX servers_label ON servers (label) WHERE state <> 'left';

CREATE TABLE members (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  server_id INTEGER NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
  member_id BLOB NOT NULL,
  member_key BLOB NOT NULL,
  name TEXT NOT NULL,
  role TEXT NOT NULL DEFAULT 'member',
  status TEXT NOT NULL DEFAULT '',
  -- of a first message from them: 'open' until it is answered
  request TEXT NOT NULL DEFAULT '' CHECK (request IN ('', 'open', 'accepted', 'rejected')),
  blocked INTEGER NOT NULL DEFAULT 0,
  verified_at INTEGER,
  -- the contact this is, once both have said so
  contact_id INTEGER REFERENCES contacts (id) ON DELETE SET NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (server_id, member_id)
) STRICT;
CREATE INDEX members_name ON members (server_id, name);
CREATE INDEX members_contact ON members (contact_id) WHERE contact_id IS NOT NULL;

-- devices that a certificate by their member's key proves; serials only grow
CREATE TABLE devices (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  member_row INTEGER NOT NULL REFERENCES members (id) ON DELETE CASCADE,
  device_id BLOB NOT NULL,
  certificate BLOB NOT NULL,
  signing_key BLOB NOT NULL,
  signal_key BLOB NOT NULL,
  serial INTEGER NOT NULL,
  revoked INTEGER NOT NULL DEFAULT 0,
  -- Signal state of the session with it
  session BLOB,
  created_at INTEGER NOT NULL,
  UNIQUE (member_row, device_id)
) STRICT;
CREATE INDEX devices_id ON devices (device_id);

CREATE TABLE channels (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  server_id INTEGER NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
  channel_id BLOB NOT NULL,
  hash BLOB NOT NULL,
  name TEXT NOT NULL,
  encryption TEXT NOT NULL CHECK (encryption IN ('open', 'passphrase', 'members')),
  private INTEGER NOT NULL DEFAULT 0,
  history TEXT NOT NULL CHECK (history IN ('joined', 'all')),
  state TEXT NOT NULL CHECK (state IN ('invited', 'joining', 'joined', 'left', 'removed', 'banned')),
  topic TEXT NOT NULL DEFAULT '',
  -- the replayed list of members, as JSON, its chain, and the last control event in it
  membership TEXT NOT NULL DEFAULT '',
  members_head BLOB NOT NULL DEFAULT (zeroblob(16)),
  control_seq INTEGER NOT NULL DEFAULT 0,
  key_epoch INTEGER NOT NULL DEFAULT 0,
  -- what we hold: from the first seq to the last, its id and the hash chain there
  epoch INTEGER NOT NULL DEFAULT 0,
  first_seq INTEGER NOT NULL DEFAULT 0,
  last_seq INTEGER NOT NULL DEFAULT 0,
  last_id BLOB,
  chain BLOB,
  read_seq INTEGER NOT NULL DEFAULT 0,
  -- my own count of events, and my sender key
  sent INTEGER NOT NULL DEFAULT 0,
  sender_key BLOB,
  sender_key_at INTEGER,
  sender_key_epoch INTEGER NOT NULL DEFAULT 0,
  notify TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  UNIQUE (server_id, channel_id)
) STRICT;
CREATE INDEX channels_name ON channels (name);

-- keys of passphrase channels by epoch
CREATE TABLE channel_keys (
  channel_row INTEGER NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  key_epoch INTEGER NOT NULL,
  key BLOB NOT NULL,
  PRIMARY KEY (channel_row, key_epoch)
) STRICT, WITHOUT ROWID;

-- of each device that writes in a channel: its last n, and whether it has our sender key
CREATE TABLE channel_devices (
  channel_row INTEGER NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  device_id BLOB NOT NULL,
  n INTEGER NOT NULL DEFAULT 0,
  has_ours INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (channel_row, device_id)
) STRICT, WITHOUT ROWID;

-- their sender keys: one of an epoch may come before the last message of the epoch before
CREATE TABLE sender_keys (
  channel_row INTEGER NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  device_id BLOB NOT NULL,
  key_epoch INTEGER NOT NULL,
  key BLOB NOT NULL,
  PRIMARY KEY (channel_row, device_id, key_epoch)
) STRICT, WITHOUT ROWID;

-- verified events of channels: what a channel was at a time is computed from them; texts are in messages and versions
CREATE TABLE room_events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  channel_row INTEGER NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  seq INTEGER NOT NULL,
  event_id BLOB NOT NULL,
  member_row INTEGER REFERENCES members (id),
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  message_row INTEGER,
  value TEXT NOT NULL DEFAULT '',
  -- the first 16 bytes of the hash chain here, with which what others have seen is compared
  chain BLOB NOT NULL,
  UNIQUE (channel_row, seq)
) STRICT;
CREATE INDEX room_events_message ON room_events (message_row, seq) WHERE message_row IS NOT NULL;
CREATE INDEX room_events_at ON room_events (channel_row, at);

-- stretches of a channel that are missing here
CREATE TABLE room_gaps (
  channel_row INTEGER NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  from_seq INTEGER NOT NULL,
  to_seq INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (channel_row, from_seq)
) STRICT, WITHOUT ROWID;

-- events that did not open when they came: a key may still come
CREATE TABLE room_pending (
  channel_row INTEGER NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  seq INTEGER NOT NULL,
  event_id BLOB NOT NULL,
  member_row INTEGER NOT NULL REFERENCES members (id),
  at INTEGER NOT NULL,
  -- what it is judged by: the key epoch and its author's role at its place
  key_epoch INTEGER NOT NULL,
  role TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (channel_row, seq)
) STRICT, WITHOUT ROWID;

-- what waits for a server's answer
CREATE TABLE room_outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  server_id INTEGER NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
  channel_row INTEGER REFERENCES channels (id) ON DELETE CASCADE,
  member_row INTEGER REFERENCES members (id) ON DELETE CASCADE,
  event_id BLOB NOT NULL,
  kind INTEGER NOT NULL,
  content BLOB NOT NULL,
  message_row INTEGER,
  -- the bytes that go out, so that a repeat is the same, and this device's count in them
  sealed BLOB,
  n INTEGER NOT NULL DEFAULT 0,
  -- its place, once the server has answered: in a channel it waits on for the event itself
  seq INTEGER,
  ttl INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  UNIQUE (server_id, event_id)
) STRICT;
CREATE INDEX room_outbox_message ON room_outbox (message_row) WHERE message_row IS NOT NULL;
CREATE INDEX room_outbox_expiry ON room_outbox (expires_at);

CREATE TABLE new_conversations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  uid BLOB NOT NULL UNIQUE,
  kind TEXT NOT NULL CHECK (kind IN ('contact', 'channel', 'member')),
  contact_id INTEGER UNIQUE REFERENCES contacts (id) ON DELETE CASCADE,
  channel_row INTEGER UNIQUE REFERENCES channels (id) ON DELETE CASCADE,
  member_row INTEGER UNIQUE REFERENCES members (id) ON DELETE CASCADE,
  draft TEXT NOT NULL DEFAULT '',
  archived INTEGER NOT NULL DEFAULT 0,
  unread INTEGER NOT NULL DEFAULT 0,
  mentions INTEGER NOT NULL DEFAULT 0,
  last_at INTEGER,
  created_at INTEGER NOT NULL
) STRICT;
INSERT INTO new_conversations (id, uid, kind, contact_id, draft, archived, unread, last_at, created_at)
  SELECT id, uid, kind, contact_id, draft, archived, unread, last_at, created_at FROM conversations;
DROP TABLE conversations;
ALTER TABLE new_conversations RENAME TO conversations;

-- who wrote it in a room, its place in the log, the root of its thread, and whether it names me
ALTER TABLE messages ADD COLUMN member_row INTEGER REFERENCES members (id);
ALTER TABLE messages ADD COLUMN seq INTEGER;
ALTER TABLE messages ADD COLUMN thread BLOB;
ALTER TABLE messages ADD COLUMN mention INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_seq ON messages (conversation_id, seq) WHERE seq IS NOT NULL;
CREATE INDEX messages_thread ON messages (conversation_id, thread, id) WHERE thread IS NOT NULL;

CREATE TABLE new_reactions (
  message_row INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
  mine INTEGER NOT NULL,
  -- 0 in a conversation with a contact
  member_row INTEGER NOT NULL DEFAULT 0,
  emoji TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (message_row, mine, member_row, emoji)
) STRICT, WITHOUT ROWID;
INSERT INTO new_reactions (message_row, mine, emoji, at) SELECT message_row, mine, emoji, at FROM reactions;
DROP TABLE reactions;
ALTER TABLE new_reactions RENAME TO reactions;

-- of a file in a channel: SHA-256 of its ciphertext, by which the server has it
ALTER TABLE files ADD COLUMN blob BLOB;

ALTER TABLE events ADD COLUMN channel_row INTEGER;
ALTER TABLE events ADD COLUMN member_row INTEGER;
ALTER TABLE events ADD COLUMN server_id INTEGER;
