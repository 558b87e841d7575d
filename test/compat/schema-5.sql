
-- how often this device has sealed something that goes there: a server knows of no more, unless the store was put back
ALTER TABLE servers ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
