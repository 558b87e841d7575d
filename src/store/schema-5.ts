// The fifth published schema: what waits is found in its order, however much does. Never edited.

export const SCHEMA_5 = `
CREATE INDEX outbox_order ON outbox (contact_id, id);
CREATE INDEX room_outbox_order ON room_outbox (server_id, channel_row, member_row, id) WHERE seq IS NULL;
`;
