
CREATE INDEX room_events_channel ON room_events (channel_row, seq, kind, value) WHERE message_row IS NULL;
