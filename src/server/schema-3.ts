// The third published schema of a server's database: what it adds to the second. Never edited.

/** Of events that a program of before takes meanwhile, less is told. */
export const SCHEMA_3 = `
-- how often a device had sealed something when it published last
CREATE TABLE sealed (
  device BLOB PRIMARY KEY REFERENCES device (id),
  times INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;
