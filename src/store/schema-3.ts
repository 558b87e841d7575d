// The third published schema: members that are contacts. Never edited: later changes are migrations of their own.

/** What contacts and I have said to each other about who we are on servers. */
export const SCHEMA_3 = `
CREATE TABLE member_links (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  contact_id INTEGER NOT NULL REFERENCES contacts (id) ON DELETE CASCADE,
  server_key BLOB NOT NULL,
  -- whom I take them for there, once I have told them who I am
  member_row INTEGER REFERENCES members (id) ON DELETE SET NULL,
  -- the member key that they have shown to be theirs there
  member_key BLOB,
  UNIQUE (contact_id, server_key)
) STRICT;
CREATE INDEX member_links_member ON member_links (member_row) WHERE member_row IS NOT NULL;
`;
