
-- the place of the last event of it that was read
ALTER TABLE channel_devices ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
