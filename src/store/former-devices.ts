// Rows of the device that this account was on a server before its store was put back, with its prekeys and sessions.
import type { Database } from '../sqlite/open.ts';

/** Keeps the device that the account still is on a server, in place of one kept before. */
export const keepFormerDevice = (db: Database, serverId: number): void => {
  const ofServer = 'member_row IN (SELECT id FROM members WHERE server_id = ?)';
  db.run(
    `INSERT OR REPLACE INTO former_devices (server_id, device_id, prekeys)
      SELECT s.id, s.device_id, coalesce(p.prekeys, x'') FROM servers s LEFT JOIN server_prekeys p ON p.server_id = s.id
        WHERE s.id = ?`,
    serverId,
  );
  db.run(`DELETE FROM former_sessions WHERE device_row IN (SELECT id FROM devices WHERE ${ofServer})`, serverId);
  db.run(
    `INSERT INTO former_sessions (device_row, session)
      SELECT id, session FROM devices WHERE session IS NOT NULL AND ${ofServer}`,
    serverId,
  );
};

/** Its id, where there is one. */
export const getFormerDevice = (db: Database, serverId: number): Uint8Array<ArrayBuffer> | undefined =>
  db.get<{ id: Uint8Array<ArrayBuffer> }>('SELECT device_id AS id FROM former_devices WHERE server_id = ?', serverId)
    ?.id;

/** Its set of prekeys, half a megabyte. */
export const getFormerPreKeys = (db: Database, serverId: number): Uint8Array<ArrayBuffer> | undefined =>
  db.get<{ prekeys: Uint8Array<ArrayBuffer> }>('SELECT prekeys FROM former_devices WHERE server_id = ?', serverId)
    ?.prekeys;

export const putFormerPreKeys = (db: Database, serverId: number, prekeys: Uint8Array): void => {
  db.run('UPDATE former_devices SET prekeys = ? WHERE server_id = ?', prekeys, serverId);
};

/** The state of its session with a device of somebody. */
export const getFormerSession = (db: Database, deviceRow: number): Uint8Array<ArrayBuffer> | undefined =>
  db.get<{ session: Uint8Array<ArrayBuffer> }>('SELECT session FROM former_sessions WHERE device_row = ?', deviceRow)
    ?.session;

export const putFormerSession = (db: Database, deviceRow: number, session: Uint8Array): void => {
  db.run(
    'INSERT INTO former_sessions (device_row, session) VALUES (?, ?) ON CONFLICT DO UPDATE SET session = excluded.session',
    deviceRow,
    session,
  );
};
