// How far each hook has come in the log of events.
import type { Database } from '../sqlite/open.ts';

export type HookRow = {
  readonly hook: string;
  readonly cursor: number;
  readonly tries: number;
  readonly lastRunAt: number | null;
  readonly failure: string;
};

const COLUMNS = 'hook, cursor, tries, last_run_at AS lastRunAt, failure';

export const getHook = (db: Database, hook: string): HookRow | undefined =>
  db.get<HookRow>(`SELECT ${COLUMNS} FROM hook_cursors WHERE hook = ?`, hook);

export const putHook = (db: Database, row: HookRow): void => {
  db.run(
    `INSERT INTO hook_cursors (hook, cursor, tries, last_run_at, failure) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET cursor = excluded.cursor, tries = excluded.tries, last_run_at = excluded.last_run_at, failure = excluded.failure`,
    row.hook,
    row.cursor,
    row.tries,
    row.lastRunAt,
    row.failure,
  );
};
