
-- the server itself; its key is sealed under the key file
CREATE TABLE server (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  epoch INTEGER NOT NULL,
  name TEXT NOT NULL,
  registration TEXT NOT NULL CHECK (registration IN ('open', 'invite', 'closed')),
  sealed_key BLOB NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

-- the end of each channel; a member's inbox is a channel, and so is the server (16 zero bytes)
CREATE TABLE channel_head (
  channel BLOB PRIMARY KEY CHECK (length(channel) = 16),
  epoch INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  last_id BLOB,
  at INTEGER NOT NULL,
  authority_seq INTEGER NOT NULL,
  pruned_to INTEGER NOT NULL,
  pruned_id BLOB,
  CHECK (pruned_to <= seq AND authority_seq <= seq)
) STRICT, WITHOUT ROWID;

-- hash is SHA-256 of the body and stays when the body goes
CREATE TABLE event (
  channel BLOB NOT NULL,
  seq INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  member BLOB NOT NULL CHECK (length(member) = 16),
  kind INTEGER NOT NULL,
  at INTEGER NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  body BLOB
) STRICT;
CREATE UNIQUE INDEX event_seq ON event (channel, seq);
CREATE UNIQUE INDEX event_id ON event (id, channel);

CREATE TRIGGER event_changed BEFORE UPDATE ON event
WHEN NEW.body IS NOT NULL OR NEW.channel <> OLD.channel OR NEW.seq <> OLD.seq OR NEW.id <> OLD.id
  OR NEW.member <> OLD.member OR NEW.kind <> OLD.kind OR NEW.at <> OLD.at OR NEW.hash <> OLD.hash
BEGIN SELECT RAISE(ABORT, 'an event is never changed'); END;
CREATE TRIGGER event_removed BEFORE DELETE ON event
WHEN OLD.seq > (SELECT pruned_to FROM channel_head WHERE channel = OLD.channel)
BEGIN SELECT RAISE(ABORT, 'an event is removed by retention only'); END;
CREATE TRIGGER head_changed BEFORE UPDATE ON channel_head
WHEN NEW.channel <> OLD.channel OR NEW.epoch < OLD.epoch OR NEW.seq < OLD.seq OR NEW.at < OLD.at
  OR NEW.authority_seq < OLD.authority_seq OR NEW.pruned_to < OLD.pruned_to
BEGIN SELECT RAISE(ABORT, 'a head never goes back'); END;
CREATE TRIGGER head_removed BEFORE DELETE ON channel_head
BEGIN SELECT RAISE(ABORT, 'a head is never removed'); END;

-- the events that say who may do what, which outlive retention and are never erased
CREATE TABLE authority (
  channel BLOB NOT NULL,
  seq INTEGER NOT NULL,
  id BLOB NOT NULL,
  member BLOB NOT NULL,
  kind INTEGER NOT NULL,
  at INTEGER NOT NULL,
  hash BLOB NOT NULL,
  body BLOB,
  PRIMARY KEY (channel, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER authority_changed BEFORE UPDATE ON authority
BEGIN SELECT RAISE(ABORT, 'an event is never changed'); END;
CREATE TRIGGER authority_removed BEFORE DELETE ON authority
BEGIN SELECT RAISE(ABORT, 'an event of authority is never removed'); END;

-- bodies that are due for erasure
CREATE TABLE expiry (
  channel BLOB NOT NULL,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (channel, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX expiry_at ON expiry (at);

CREATE TABLE member (
  id BLOB PRIMARY KEY,
  member_key BLOB NOT NULL,
  name TEXT NOT NULL,
  skeleton TEXT UNIQUE,
  role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  status TEXT NOT NULL,
  banned INTEGER NOT NULL,
  joined_at INTEGER NOT NULL,
  erased_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE device (
  id BLOB PRIMARY KEY,
  member BLOB NOT NULL REFERENCES member (id),
  signing_key BLOB NOT NULL,
  signal_key BLOB NOT NULL,
  certificate BLOB NOT NULL,
  serial INTEGER NOT NULL,
  added_at INTEGER NOT NULL,
  revoked_at INTEGER,
  UNIQUE (member, serial)
) STRICT, WITHOUT ROWID;

CREATE TABLE prekey (
  device BLOB NOT NULL REFERENCES device (id),
  kind TEXT NOT NULL CHECK (kind IN ('ec', 'kyber', 'signed', 'last')),
  key_id INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (device, kind, key_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE invite (
  id BLOB PRIMARY KEY,
  token_hash BLOB NOT NULL UNIQUE,
  role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  uses INTEGER NOT NULL,
  uses_left INTEGER NOT NULL CHECK (uses_left >= 0),
  made_by BLOB,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE channel (
  id BLOB PRIMARY KEY REFERENCES channel_head (channel),
  name TEXT NOT NULL,
  skeleton TEXT NOT NULL UNIQUE,
  encryption TEXT NOT NULL CHECK (encryption IN ('open', 'passphrase', 'members')),
  is_private INTEGER NOT NULL,
  history TEXT NOT NULL CHECK (history IN ('joined', 'all')),
  slow_ms INTEGER NOT NULL,
  retention_ms INTEGER NOT NULL,
  archived_at INTEGER,
  created_by BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  creation BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE membership (
  channel BLOB NOT NULL REFERENCES channel (id),
  member BLOB NOT NULL REFERENCES member (id),
  state TEXT NOT NULL CHECK (state IN ('invited', 'joined', 'left', 'banned')),
  role TEXT NOT NULL,
  muted_until INTEGER NOT NULL,
  joined_seq INTEGER NOT NULL,
  PRIMARY KEY (channel, member)
) STRICT, WITHOUT ROWID;
CREATE INDEX membership_member ON membership (member, channel);

-- when a member last sent to a channel in slow mode
CREATE TABLE slow (
  channel BLOB NOT NULL,
  member BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (channel, member)
) STRICT, WITHOUT ROWID;

CREATE TABLE second_factor (
  member BLOB PRIMARY KEY REFERENCES member (id),
  password_hash BLOB NOT NULL,
  sealed_totp BLOB NOT NULL,
  last_step INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE recovery_code (
  member BLOB NOT NULL REFERENCES second_factor (member) ON DELETE CASCADE,
  hash BLOB NOT NULL,
  PRIMARY KEY (member, hash)
) STRICT, WITHOUT ROWID;

-- tries of one kind by or against one subject since the beginning of their window
CREATE TABLE attempt (
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  since INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_since ON attempt (since);

CREATE TABLE read_marker (
  member BLOB NOT NULL REFERENCES member (id),
  channel BLOB NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (member, channel)
) STRICT, WITHOUT ROWID;

CREATE TABLE upload (
  id BLOB PRIMARY KEY,
  member BLOB NOT NULL,
  channel BLOB NOT NULL,
  hash BLOB NOT NULL,
  size INTEGER NOT NULL,
  received INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_expiry ON upload (expires_at);
CREATE INDEX upload_member ON upload (member);

-- touched_at: when somebody last began to put it there; collection leaves young ones alone
CREATE TABLE blob (
  hash BLOB PRIMARY KEY,
  size INTEGER NOT NULL,
  is_whole INTEGER NOT NULL,
  touched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_touched ON blob (touched_at);
CREATE TABLE blob_ref (
  channel BLOB NOT NULL,
  hash BLOB NOT NULL REFERENCES blob (hash),
  member BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (channel, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_ref_hash ON blob_ref (hash);
CREATE INDEX blob_ref_member ON blob_ref (member);
CREATE INDEX blob_ref_expiry ON blob_ref (expires_at) WHERE expires_at > 0;

CREATE TABLE audit (
  id BLOB PRIMARY KEY,
  at INTEGER NOT NULL,
  actor BLOB,
  kind TEXT NOT NULL,
  target TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_at ON audit (at);

CREATE TABLE job (
  name TEXT PRIMARY KEY,
  lease_until INTEGER NOT NULL,
  fencing INTEGER NOT NULL,
  done_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox_share (
  inbox BLOB NOT NULL REFERENCES member (id),
  member BLOB NOT NULL,
  events INTEGER NOT NULL,
  PRIMARY KEY (inbox, member)
) STRICT, WITHOUT ROWID;
INSERT INTO inbox_share SELECT m.id, e.member, count(*) FROM member m JOIN event e ON e.channel = m.id
  WHERE e.member <> m.id GROUP BY m.id, e.member;

-- how often a device had sealed something when it published last
CREATE TABLE sealed (
  device BLOB PRIMARY KEY REFERENCES device (id),
  times INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
