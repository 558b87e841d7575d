// The fifth published schema: how often this device has sealed something. Never edited: later changes are migrations of their own.

/** What was sealed before is not counted: no server was told of it. */
export const SCHEMA_5 = `
-- how often this device has sealed something that goes there: a server knows of no more, unless the store was put back
ALTER TABLE servers ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
`;
