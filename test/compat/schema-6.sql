
CREATE INDEX events_message ON events (message_row) WHERE message_row IS NOT NULL;
