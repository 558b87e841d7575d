// The log of committed facts that front ends resume from, and settings.
import type { Database } from '../sqlite/open.ts';

export type EventRow = {
  readonly id: number;
  readonly at: number;
  readonly kind: string;
  readonly messageRow: number | null;
  readonly contactId: number | null;
  readonly fileRow: number | null;
  readonly channelRow: number | null;
  readonly memberRow: number | null;
  /** What the event names when its message or file is gone: its id. */
  readonly subject: string;
  readonly detail: string;
};

export type NewEvent = { readonly at: number; readonly kind: string } & Partial<Omit<EventRow, 'id' | 'at' | 'kind'>>;

/** Appends an event, with the id of its message or file for when that is gone; gives its cursor. */
export const putEvent = (db: Database, row: NewEvent): number =>
  db.run(
    `INSERT INTO events (at, kind, message_row, contact_id, file_row, channel_row, member_row, subject, detail)
       VALUES (?, ?, ?, ?, ?, ?, ?, coalesce(?, (SELECT lower(hex(message_id)) FROM messages WHERE id = ?),
         (SELECT lower(hex(file_id)) FROM files WHERE id = ?), ''), ?)`,
    row.at,
    row.kind,
    row.messageRow ?? null,
    row.contactId ?? null,
    row.fileRow ?? null,
    row.channelRow ?? null,
    row.memberRow ?? null,
    row.subject ?? null,
    row.messageRow ?? null,
    row.fileRow ?? null,
    row.detail ?? '',
  ).lastInsertRowid;

/** Events after a cursor, in commit order. */
export const listEvents = (db: Database, after: number, limit: number): EventRow[] =>
  db.all<EventRow>(
    `SELECT id, at, kind, message_row AS messageRow, contact_id AS contactId, file_row AS fileRow,
       channel_row AS channelRow, member_row AS memberRow, subject, detail
       FROM events WHERE id > ? ORDER BY id LIMIT ?`,
    after,
    limit,
  );

/** First and last cursor that are kept; both 0 when nothing is. */
export const eventRange = (db: Database): { readonly first: number; readonly last: number } => {
  // One subquery each: both together would read the whole table.
  const row = db.get<{ first: number | null; last: number | null }>(
    'SELECT (SELECT min(id) FROM events) AS first, (SELECT max(id) FROM events) AS last',
  );
  return { first: row?.first ?? 0, last: row?.last ?? 0 };
};

/** When the latest kept event was committed, by the clock of then; 0 when there is none. */
export const latestEventAt = (db: Database): number =>
  db.get<{ at: number }>('SELECT at FROM events ORDER BY id DESC LIMIT 1')?.at ?? 0;

/** Erases what the events of a contact say of it. */
export const clearDetails = (db: Database, contactId: number): void => {
  db.run("UPDATE events SET detail = '' WHERE contact_id = ?", contactId);
};

/** The latest kept event was committed at `at` at the latest. */
export const moveLastEvent = (db: Database, at: number): void => {
  db.run('UPDATE events SET at = min(at, ?) WHERE id = (SELECT max(id) FROM events)', at);
};

/** Drops events from before `before`, and the oldest beyond `keep`. */
export const pruneEvents = (db: Database, before: number, keep: number): void => {
  db.run('DELETE FROM events WHERE at < ? AND id < (SELECT max(id) FROM events)', before);
  db.run('DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?', keep);
};

/** The stored JSON of a setting in a scope, or else of the account. */
export const getNearestSetting = (db: Database, scope: string, key: string): string | undefined =>
  db.recall<{ value: string }>(
    'settings',
    "SELECT value FROM settings WHERE scope IN (?, '') AND key = ? ORDER BY scope DESC LIMIT 1",
    scope,
    key,
  )?.value;

/** The stored JSON of a setting in a scope ('' is the account). */
export const getSetting = (db: Database, scope: string, key: string): string | undefined =>
  db.get<{ value: string }>('SELECT value FROM settings WHERE scope = ? AND key = ?', scope, key)?.value;

export const putSetting = (db: Database, scope: string, key: string, value: string): void => {
  db.run(
    'INSERT INTO settings (scope, key, value) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
    scope,
    key,
    value,
  );
};

/** Erases every setting of a scope. */
export const removeSettings = (db: Database, scope: string): void => {
  db.run('DELETE FROM settings WHERE scope = ?', scope);
};

export const removeSetting = (db: Database, scope: string, key: string): void => {
  db.run('DELETE FROM settings WHERE scope = ? AND key = ?', scope, key);
};
