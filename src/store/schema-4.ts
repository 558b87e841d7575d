// The fourth published schema: where a device was last counted in a channel. Never edited: later changes are migrations of their own.

/** Of the rows of before the place is not known: 0. */
export const SCHEMA_4 = `
-- the place of the last event of it that was read
ALTER TABLE channel_devices ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
`;
