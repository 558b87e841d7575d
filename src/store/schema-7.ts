// The seventh published schema: that direct messages may be missing is known for good. Never edited: later changes are migrations of their own.

/** What was missed before was told once, and is not known any more. */
export const SCHEMA_7 = `
-- some of what was said to me there before this time, by this machine's clock, may be missing; 0 where nothing may
ALTER TABLE servers ADD COLUMN missed_until INTEGER NOT NULL DEFAULT 0;
`;
