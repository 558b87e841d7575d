// Rows of what contacts and I have said to each other about who we are on servers.
import type { Database } from '../sqlite/open.ts';

export type MemberLinkRow = {
  readonly id: number;
  readonly contactId: number;
  readonly serverKey: Uint8Array<ArrayBuffer>;
  /** Whom I take them for there, once I have told them who I am. */
  readonly memberRow: number | null;
  /** The member key that they have shown to be theirs there. */
  readonly memberKey: Uint8Array<ArrayBuffer> | null;
};

const COLUMNS =
  'id, contact_id AS contactId, server_key AS serverKey, member_row AS memberRow, member_key AS memberKey';

/** Of a contact, the first said first. */
export const listMemberLinks = (db: Database, contactId: number): MemberLinkRow[] =>
  db.all<MemberLinkRow>(`SELECT ${COLUMNS} FROM member_links WHERE contact_id = ? ORDER BY id`, contactId);

export const getMemberLink = (db: Database, contactId: number, serverKey: Uint8Array): MemberLinkRow | undefined =>
  db.get<MemberLinkRow>(
    `SELECT ${COLUMNS} FROM member_links WHERE contact_id = ? AND server_key = ?`,
    contactId,
    serverKey,
  );

/** Those in which I have named a member. */
export const listMemberLinksOfMember = (db: Database, memberRow: number): MemberLinkRow[] =>
  db.all<MemberLinkRow>(`SELECT ${COLUMNS} FROM member_links WHERE member_row = ? ORDER BY id`, memberRow);

/** Changes what was said by one side; a first word adds the row. */
export const putMemberLink = (
  db: Database,
  { contactId, serverKey }: Pick<MemberLinkRow, 'contactId' | 'serverKey'>,
  said: Partial<Pick<MemberLinkRow, 'memberRow' | 'memberKey'>>,
): void => {
  db.run(
    'INSERT INTO member_links (contact_id, server_key) VALUES (?, ?) ON CONFLICT DO NOTHING',
    contactId,
    serverKey,
  );
  if (said.memberRow !== undefined)
    db.run(
      'UPDATE member_links SET member_row = ? WHERE contact_id = ? AND server_key = ?',
      said.memberRow,
      contactId,
      serverKey,
    );
  if (said.memberKey !== undefined)
    db.run(
      'UPDATE member_links SET member_key = ? WHERE contact_id = ? AND server_key = ?',
      said.memberKey,
      contactId,
      serverKey,
    );
  db.run('DELETE FROM member_links WHERE contact_id = ? AND member_row IS NULL AND member_key IS NULL', contactId);
};

/** Forgets all that a contact and I have said. */
export const removeMemberLinks = (db: Database, contactId: number): void => {
  db.run('DELETE FROM member_links WHERE contact_id = ?', contactId);
};
