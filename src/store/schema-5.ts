// The fifth published schema: how often this device has sealed something, and which it was before. Never edited: later changes are
// migrations of their own.

/** What was sealed before is not counted: no server was told of it. */
export const SCHEMA_5 = `
-- how often this device has sealed something that goes there: a server knows of no more, unless the store was put back
ALTER TABLE servers ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;

-- the device that this account was before its store was put back: what was sealed for it is still read
CREATE TABLE former_devices (
  server_id INTEGER PRIMARY KEY REFERENCES servers (id) ON DELETE CASCADE,
  device_id BLOB NOT NULL,
  prekeys BLOB NOT NULL
) STRICT;
CREATE TABLE former_sessions (
  device_row INTEGER PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
  session BLOB NOT NULL
) STRICT;
`;
