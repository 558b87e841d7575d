-- The account database: its first schema, and what each later one changes. Generated from the code by `npm run docs`.
-- schema 1

-- the one account of this file: derived keys, never the root secret
CREATE TABLE account (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  nickname TEXT NOT NULL,
  identity_seed BLOB NOT NULL,
  link_secret BLOB NOT NULL,
  signal_secret BLOB NOT NULL,
  backup_key BLOB NOT NULL,
  servers_key BLOB NOT NULL,
  install_id BLOB NOT NULL,
  -- where this copy of the store ran last; another place is a copy until shown otherwise
  place BLOB,
  created_at INTEGER NOT NULL
) STRICT;

-- scope '' is the account, else a conversation's uid in hex
CREATE TABLE settings (
  scope TEXT NOT NULL DEFAULT '',
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE contacts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  uid BLOB NOT NULL UNIQUE,
  address TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  nickname TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL CHECK (state IN ('outgoing', 'incoming', 'accepted', 'removed')),
  blocked INTEGER NOT NULL DEFAULT 0,
  link_key BLOB,
  signal_key BLOB,
  verified_at INTEGER,
  note TEXT NOT NULL DEFAULT '',
  request_note TEXT NOT NULL DEFAULT '',
  paused TEXT NOT NULL DEFAULT '',
  install_id BLOB,
  previous_install_id BLOB,
  created_at INTEGER NOT NULL,
  last_seen_at INTEGER
) STRICT;
CREATE UNIQUE INDEX contacts_name ON contacts (name) WHERE state <> 'removed';

-- what happened to a contact's keys and sessions, shown in contact show
CREATE TABLE contact_history (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  contact_id INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  detail TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX contact_history_contact ON contact_history (contact_id, id);

-- open and closed contact requests; mine carry the bundle that was sent, theirs the bundle that was received
CREATE TABLE requests (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  contact_id INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
  request_id BLOB NOT NULL,
  mine INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'accepted', 'rejected', 'expired')),
  bundle BLOB NOT NULL,
  acknowledged INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  UNIQUE (contact_id, request_id)
) STRICT;
CREATE INDEX requests_open ON requests (state, mine);

-- Signal state of one contact: `state` is the whole serialised SessionState of crypto/session.ts
CREATE TABLE sessions (
  contact_id INTEGER PRIMARY KEY REFERENCES contacts (id) ON DELETE CASCADE,
  session_id BLOB,
  state BLOB NOT NULL,
  sent INTEGER NOT NULL DEFAULT 0,
  received INTEGER NOT NULL DEFAULT 0,
  reset_pending INTEGER NOT NULL DEFAULT 0,
  reset_id BLOB,
  reset_bundle BLOB,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE TABLE resets (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  contact_id INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
  at INTEGER NOT NULL,
  mine INTEGER NOT NULL
) STRICT;
CREATE INDEX resets_contact ON resets (contact_id, at);

CREATE TABLE conversations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  uid BLOB NOT NULL UNIQUE,
  kind TEXT NOT NULL CHECK (kind IN ('contact')),
  contact_id INTEGER UNIQUE REFERENCES contacts (id) ON DELETE CASCADE,
  draft TEXT NOT NULL DEFAULT '',
  archived INTEGER NOT NULL DEFAULT 0,
  unread INTEGER NOT NULL DEFAULT 0,
  last_at INTEGER,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
  message_id BLOB NOT NULL,
  mine INTEGER NOT NULL,
  body TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'delivered', 'read', 'failed', 'received')),
  reason TEXT NOT NULL DEFAULT '',
  sent_at INTEGER NOT NULL,
  received_at INTEGER,
  delivered_at INTEGER,
  read_at INTEGER,
  unread INTEGER NOT NULL DEFAULT 0,
  reply_to BLOB,
  edit_number INTEGER NOT NULL DEFAULT 0,
  edited_at INTEGER,
  deleted_at INTEGER,
  expires_ms INTEGER,
  expires_from TEXT NOT NULL DEFAULT 'delivery',
  expires_at INTEGER,
  pinned_at INTEGER,
  file_id INTEGER,
  UNIQUE (message_id, conversation_id)
) STRICT;
CREATE INDEX messages_unread ON messages (conversation_id, id) WHERE unread = 1;
CREATE INDEX messages_expiry ON messages (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX messages_conversation ON messages (conversation_id, id);
CREATE INDEX messages_pinned ON messages (conversation_id, pinned_at) WHERE pinned_at IS NOT NULL;

CREATE TABLE message_versions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  message_row INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  body TEXT NOT NULL,
  at INTEGER NOT NULL,
  UNIQUE (message_row, number)
) STRICT;

CREATE TABLE reactions (
  message_row INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
  mine INTEGER NOT NULL,
  emoji TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (message_row, mine, emoji)
) STRICT, WITHOUT ROWID;

-- deletions and edits that came before, or outlive, the message they are about
CREATE TABLE tombstones (
  contact_id INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
  message_id BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (contact_id, message_id)
) STRICT, WITHOUT ROWID;

-- `who` holds a token of the conversation, of the side that wrote, and of both, so that a filter is part of the full-text query
CREATE VIRTUAL TABLE messages_fts USING fts5 (body, who, content = '', tokenize = 'unicode61 remove_diacritics 2');
INSERT INTO messages_fts (messages_fts, rank) VALUES ('secure-delete', 1);

-- what is still to be delivered: the body, and its ciphertext once it entered the window of a session
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  contact_id INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
  frame_id BLOB NOT NULL,
  kind TEXT NOT NULL,
  body BLOB NOT NULL,
  message_row INTEGER,
  session_id BLOB,
  type INTEGER,
  ciphertext BLOB,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  UNIQUE (contact_id, frame_id)
) STRICT;
CREATE INDEX outbox_message ON outbox (message_row) WHERE message_row IS NOT NULL;
CREATE INDEX outbox_expiry ON outbox (expires_at);

-- the only judge of whether a frame is a repeat
CREATE TABLE frame_ids (
  contact_id INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
  frame_id BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (contact_id, frame_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX frame_ids_at ON frame_ids (at);

-- committed facts for front ends; an object is looked up when the event is told, so nothing erased lives on here
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  message_row INTEGER,
  contact_id INTEGER,
  file_row INTEGER,
  subject TEXT NOT NULL DEFAULT '',
  detail TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX events_at ON events (at);

CREATE TABLE hook_cursors (
  hook TEXT PRIMARY KEY,
  cursor INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0,
  last_run_at INTEGER,
  failure TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE files (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  file_id BLOB NOT NULL,
  conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
  mine INTEGER NOT NULL,
  name TEXT NOT NULL,
  size INTEGER NOT NULL,
  key BLOB NOT NULL,
  root BLOB NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('spooling', 'offered', 'active', 'paused', 'done', 'cancelled', 'failed')),
  reason TEXT NOT NULL DEFAULT '',
  chunks INTEGER NOT NULL DEFAULT 0,
  save_to TEXT NOT NULL DEFAULT '',
  saved_to TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  UNIQUE (conversation_id, file_id)
) STRICT;

-- schema 2

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

-- schema 3

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

-- schema 4

-- the place of the last event of it that was read
ALTER TABLE channel_devices ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;

-- schema 5

-- how often this device has sealed something that goes there: a server knows of no more, unless the store was put back
ALTER TABLE servers ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;

-- the device that this account was before its store was put back: what was sealed for it is still read
CREATE TABLE former_devices (
  server_id INTEGER PRIMARY KEY REFERENCES servers (id) ON DELETE CASCADE,
  device_id BLOB NOT NULL,
  prekeys BLOB NOT NULL
) STRICT;
CREATE TABLE former_sessions (
  device_row INTEGER PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
  session BLOB NOT NULL
) STRICT;

-- schema 6

-- until when the account was open, by this machine's clock: kept while there are messages that end by it
ALTER TABLE account ADD COLUMN open_until INTEGER NOT NULL DEFAULT 0;
-- whether what is at its path may be replaced
ALTER TABLE files ADD COLUMN overwrite INTEGER NOT NULL DEFAULT 0;
CREATE INDEX events_message ON events (message_row) WHERE message_row IS NOT NULL;

-- schema 7

-- some of what was said to me there before this time, by this machine's clock, may be missing; 0 where nothing may
ALTER TABLE servers ADD COLUMN missed_until INTEGER NOT NULL DEFAULT 0;
-- frames of mine that were first sealed in this session, and that the contact has acknowledged
ALTER TABLE sessions ADD COLUMN acknowledged INTEGER NOT NULL DEFAULT 0;
-- whether it waited before this session began: the contact may have it from one before
ALTER TABLE outbox ADD COLUMN is_older INTEGER NOT NULL DEFAULT 0;
