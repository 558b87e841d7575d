// Whether a database is whole: SQLite's own check, and the invariants of our tables.

import { integrity } from '../sqlite/integrity.ts';
import type { Database } from '../sqlite/open.ts';

type Rule = { readonly name: string; readonly broken: string };

const RULES: readonly Rule[] = [
  {
    name: 'an outbox row belongs to an accepted contact, or to one who is asked again',
    broken: `SELECT o.id FROM outbox o JOIN contacts c ON c.id = o.contact_id WHERE c.state NOT IN ('accepted', 'outgoing')`,
  },
  {
    name: 'an accepted contact has its keys',
    broken: `SELECT id FROM contacts WHERE state = 'accepted' AND (link_key IS NULL OR signal_key IS NULL)`,
  },
  {
    name: 'a queued message is in the outbox, or its file goes first',
    broken: `SELECT m.id FROM messages m WHERE m.state = 'queued' AND m.mine = 1 AND m.deleted_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.message_row = m.id)
      AND NOT EXISTS (SELECT 1 FROM room_outbox o WHERE o.message_row = m.id)
      AND NOT EXISTS (SELECT 1 FROM files f WHERE f.id = m.file_id AND f.blob IS NOT NULL AND f.state = 'active')`,
  },
  {
    name: 'a delivered message is in no outbox',
    broken: `SELECT m.id FROM messages m JOIN outbox o ON o.message_row = m.id AND o.kind = 'text' WHERE m.state IN ('delivered', 'read')`,
  },
  {
    name: 'ciphertext and session go together',
    broken: 'SELECT id FROM outbox WHERE (ciphertext IS NULL) <> (session_id IS NULL)',
  },
  {
    name: 'unread counts are right',
    broken:
      'SELECT c.id FROM conversations c WHERE c.unread <> (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id AND m.unread = 1)',
  },
  {
    name: 'counts of mentions are right',
    broken:
      'SELECT c.id FROM conversations c WHERE c.mentions <> (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id AND m.unread = 1 AND m.mention = 1)',
  },
  {
    name: 'a conversation is with one',
    broken: `SELECT id FROM conversations WHERE (kind = 'contact') <> (contact_id IS NOT NULL)
      OR (kind = 'channel') <> (channel_row IS NOT NULL) OR (kind = 'member') <> (member_row IS NOT NULL)`,
  },
  {
    name: 'a member is a contact when both have said so',
    broken: `SELECT m.id FROM members m JOIN servers s ON s.id = m.server_id WHERE m.contact_id IS NOT NULL AND NOT EXISTS (
      SELECT 1 FROM member_links l WHERE l.contact_id = m.contact_id AND l.server_key = s.server_key
        AND l.member_row = m.id AND l.member_key = m.member_key)`,
  },
  {
    name: 'nothing is said in a channel behind the last place that is held',
    broken: `SELECT e.id FROM room_events e JOIN channels c ON c.id = e.channel_row WHERE e.seq > c.last_seq AND c.last_seq > 0
      AND e.kind IN ('text', 'file', 'edit', 'react', 'unreact', 'pin', 'unpin', 'topic', 'closed', 'held')`,
  },
  {
    name: 'a message is in the full-text index, and nothing else is',
    broken: `SELECT m.id FROM messages m WHERE (m.deleted_at IS NULL) <> EXISTS (SELECT 1 FROM messages_fts_docsize d WHERE d.id = m.id)
      UNION ALL SELECT d.id FROM messages_fts_docsize d WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = d.id)`,
  },
  {
    name: 'a deleted message has no text',
    broken: `SELECT id FROM messages WHERE deleted_at IS NOT NULL AND body <> ''`,
  },
];

/** What is wrong, in words; empty when nothing is. `deep` reads every page of the file. */
export const checkDatabase = (db: Database, options: { readonly deep: boolean } = { deep: true }): string[] => {
  const wrong = options.deep ? integrity(db) : [];
  for (const { name, broken } of RULES) {
    const rows = db.all<{ id: number }>(`${broken} LIMIT 3`);
    if (rows.length > 0) wrong.push(`not so: ${name} (row ${rows.map((row) => row.id).join(', ')})`);
  }
  return wrong;
};
