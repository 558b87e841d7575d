// The sixth published schema: what a channel was at a time is found without looking at its messages. Never edited.
export const SCHEMA_6 = `
CREATE INDEX room_events_channel ON room_events (channel_row, seq, kind, value) WHERE message_row IS NULL;
`;
