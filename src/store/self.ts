// The account's own row: nickname, derived keys, and where this copy of the store ran last.
import type { Secrets } from '../crypto/identity.ts';
import type { Database } from '../sqlite/open.ts';

export type SelfRow = {
  readonly nickname: string;
  readonly identitySeed: Uint8Array<ArrayBuffer>;
  readonly linkSecret: Uint8Array<ArrayBuffer>;
  readonly signalSecret: Uint8Array<ArrayBuffer>;
  readonly backupKey: Uint8Array<ArrayBuffer>;
  readonly serversKey: Uint8Array<ArrayBuffer>;
  readonly installId: Uint8Array<ArrayBuffer>;
  readonly createdAt: number;
};

/** The account of a database; undefined in one that was just made. */
export const getSelf = (db: Database): SelfRow | undefined =>
  db.get<SelfRow>(
    `SELECT nickname, identity_seed AS identitySeed, link_secret AS linkSecret, signal_secret AS signalSecret,
       backup_key AS backupKey, servers_key AS serversKey, install_id AS installId, created_at AS createdAt FROM account`,
  );

/** Writes the account's row, once. */
export const putSelf = (
  db: Database,
  secrets: Secrets,
  rest: Pick<SelfRow, 'nickname' | 'installId' | 'createdAt'>,
): void => {
  db.run(
    `INSERT INTO account (id, nickname, identity_seed, link_secret, signal_secret, backup_key, servers_key, install_id, created_at)
       VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)`,
    rest.nickname,
    secrets.identitySeed,
    secrets.linkSecret,
    secrets.signalSecret,
    secrets.backupKey,
    secrets.serversKey,
    rest.installId,
    rest.createdAt,
  );
};

/** Whether the store ran last at `place`, a fingerprint of a machine and a folder. */
export const isAtPlace = (db: Database, place: Uint8Array): boolean =>
  db.get('SELECT 1 AS here FROM account WHERE place = ?', place) !== undefined;

/** The store is at home at `place` from now on. */
export const putPlace = (db: Database, place: Uint8Array): void => {
  db.run('UPDATE account SET place = ?', place);
};

/** Until when the account was open, as far as that is kept; 0 when it is not. */
export const lastOpenAt = (db: Database): number =>
  db.get<{ at: number }>('SELECT open_until AS at FROM account')?.at ?? 0;

export const putLastOpenAt = (db: Database, at: number): void => {
  db.run('UPDATE account SET open_until = ?', at);
};

/** Makes this run of the store one that contacts can tell from others. */
export const putInstallId = (db: Database, installId: Uint8Array): void => {
  db.run('UPDATE account SET install_id = ?', installId);
};

/** The name that goes with our requests. */
export const nicknameOf = (db: Database): string =>
  db.recall<{ nickname: string }>('account', 'SELECT nickname FROM account')?.nickname ?? '';

/** Changes the name that goes with our requests. */
export const putNickname = (db: Database, nickname: string): void => {
  db.run('UPDATE account SET nickname = ?', nickname);
};
