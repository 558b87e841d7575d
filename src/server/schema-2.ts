// The second published schema of a server's database: what it adds to the first. Never edited.

/** How many events of each other member are in an inbox. A program that does not count them would leave the counts wrong. */
export const SCHEMA_2 = `
CREATE TABLE inbox_share (
  inbox BLOB NOT NULL REFERENCES member (id),
  member BLOB NOT NULL,
  events INTEGER NOT NULL,
  PRIMARY KEY (inbox, member)
) STRICT, WITHOUT ROWID;
INSERT INTO inbox_share SELECT m.id, e.member, count(*) FROM member m JOIN event e ON e.channel = m.id
  WHERE e.member <> m.id GROUP BY m.id, e.member;
`;
