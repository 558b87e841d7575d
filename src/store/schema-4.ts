// The fourth published schema: what others have seen of a channel is compared by hashes of its events, and a name that was
// somebody's here is not taken for another's. Never edited.

/** Of the rows of before the hash is not known: nothing is compared with them. */
export const SCHEMA_4 = `
ALTER TABLE channels DROP COLUMN chain;
ALTER TABLE room_events DROP COLUMN chain;
-- SHA-256 of the stored body; null where another log may hold something else
ALTER TABLE room_events ADD COLUMN hash BLOB;
-- the first name that somebody had here, once they have another
ALTER TABLE members ADD COLUMN former TEXT NOT NULL DEFAULT '';
CREATE INDEX members_former ON members (server_id, former) WHERE former <> '';
`;
