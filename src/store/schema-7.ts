// The seventh published schema: that direct messages may be missing is known for good, and a contact who was put back is noticed. Never edited: later changes are migrations of their own.

/** What was missed before was told once, and is not known any more. */
export const SCHEMA_7 = `
-- some of what was said to me there before this time, by this machine's clock, may be missing; 0 where nothing may
ALTER TABLE servers ADD COLUMN missed_until INTEGER NOT NULL DEFAULT 0;
-- frames of mine that were first sealed in this session, and that the contact has acknowledged
ALTER TABLE sessions ADD COLUMN acknowledged INTEGER NOT NULL DEFAULT 0;
-- whether it waited before this session began: the contact may have it from one before
ALTER TABLE outbox ADD COLUMN is_older INTEGER NOT NULL DEFAULT 0;
`;
