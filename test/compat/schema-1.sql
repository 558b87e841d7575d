
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
