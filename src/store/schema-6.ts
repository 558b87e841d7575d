// The sixth published schema: what is told of a message is found by it. Never edited: later changes are migrations of their own.

/** The full-text index is made anew with it, where it is given texts otherwise now: see `indexApart`. */
export const SCHEMA_6 = `
CREATE INDEX events_message ON events (message_row) WHERE message_row IS NOT NULL;
`;
