
-- until when the account was open, by this machine's clock: kept while there are messages that end by it
ALTER TABLE account ADD COLUMN open_until INTEGER NOT NULL DEFAULT 0;
-- whether what is at its path may be replaced
ALTER TABLE files ADD COLUMN overwrite INTEGER NOT NULL DEFAULT 0;
CREATE INDEX events_message ON events (message_row) WHERE message_row IS NOT NULL;
