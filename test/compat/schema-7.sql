
-- some of what was said to me there before this time, by this machine's clock, may be missing; 0 where nothing may
ALTER TABLE servers ADD COLUMN missed_until INTEGER NOT NULL DEFAULT 0;
