
ALTER TABLE channels DROP COLUMN chain;
ALTER TABLE room_events DROP COLUMN chain;
-- SHA-256 of the stored body; null where another log may hold something else
ALTER TABLE room_events ADD COLUMN hash BLOB;
-- the first name that somebody had here, once they have another
ALTER TABLE members ADD COLUMN former TEXT NOT NULL DEFAULT '';
CREATE INDEX members_former ON members (server_id, former) WHERE former <> '';
