// The state of members in the database: who they are, their devices with prekeys, second factors, and what they have read.
import { idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import { AUDIT, DEVICE, MEMBER, PREKEY, type PrekeyRow, READ_MARKER, SECOND_FACTOR } from './rows.ts';
import type { Sql } from './sql.ts';
import { after, changed, count, many, one, type Verbs } from './sql-verbs.ts';

/** Members, what is theirs alone, and their devices. */
export const memberVerbs = (
  sql: Sql,
): Verbs<
  | 'getMember'
  | 'getMemberByName'
  | 'listMembers'
  | 'countMembers'
  | 'removeBelongings'
  | 'countInboxEvents'
  | 'listErasedWithBelongings'
  | 'listInboxesOfBefore'
  | 'getDevice'
  | 'getCertified'
  | 'listDevices'
  | 'getSealed'
> => ({
  getMember: (id) => one(sql, MEMBER, MEMBER.select('WHERE id = ?', idBytes(id))),
  getMemberByName: (skeleton) => one(sql, MEMBER, MEMBER.select('WHERE skeleton = ?', skeleton)),
  listMembers: (last, limit) =>
    many(sql, MEMBER, MEMBER.select('WHERE id > ? AND erased_at IS NULL ORDER BY id LIMIT ?', after(last), limit)),
  countMembers: () => count(sql, 'SELECT count(*) AS n FROM member WHERE erased_at IS NULL'),
  removeBelongings: (member) => {
    const values = [idBytes(member)];
    return sql.batch([
      { sql: 'DELETE FROM prekey WHERE device IN (SELECT id FROM device WHERE member = ?)', values },
      { sql: 'DELETE FROM second_factor WHERE member = ?', values },
      { sql: 'DELETE FROM read_marker WHERE member = ?', values },
      { sql: 'UPDATE upload SET expires_at = 0 WHERE member = ?', values },
      { sql: 'DELETE FROM blob_ref WHERE channel = ?', values },
    ]);
  },
  countInboxEvents: (inbox, member) =>
    count(sql, 'SELECT events AS n FROM inbox_share WHERE inbox = ? AND member = ?', idBytes(inbox), idBytes(member)),
  listErasedWithBelongings: async (last, limit) => {
    const rows = await sql.all({
      sql: `SELECT id FROM member m WHERE id > ? AND erased_at IS NOT NULL AND (
          EXISTS (SELECT 1 FROM device d JOIN prekey p ON p.device = d.id WHERE d.member = m.id)
          OR EXISTS (SELECT 1 FROM second_factor f WHERE f.member = m.id)
          OR EXISTS (SELECT 1 FROM read_marker r WHERE r.member = m.id)
          OR EXISTS (SELECT 1 FROM upload u WHERE u.member = m.id AND u.expires_at > 0)
          OR EXISTS (SELECT 1 FROM blob_ref b WHERE b.channel = m.id)
          OR EXISTS (SELECT 1 FROM channel_head h WHERE h.channel = m.id AND h.pruned_to < h.seq))
        ORDER BY id LIMIT ?`,
      values: [after(last), limit],
    });
    return rows.map(({ id }) => idOf<MemberId>(id as Uint8Array));
  },
  listInboxesOfBefore: async (at, limit) => {
    const rows = await sql.all({
      sql: `SELECT m.id FROM member m JOIN channel_head h ON h.channel = m.id
        JOIN event e ON e.channel = h.channel AND e.seq = h.pruned_to + 1 WHERE e.at <= ? LIMIT ?`,
      values: [at, limit],
    });
    return rows.map(({ id }) => idOf<MemberId>(id as Uint8Array));
  },
  getDevice: (id) => one(sql, DEVICE, DEVICE.select('WHERE id = ?', idBytes(id))),
  getCertified: async (id, certificate) => {
    const [raw] = await sql.all({
      sql: 'SELECT member, revoked_at, CASE WHEN certificate = ? THEN 1 ELSE 0 END AS is_same FROM device WHERE id = ?',
      values: [certificate, idBytes(id)],
    });
    if (raw === undefined) return undefined;
    const revokedAt = raw.revoked_at === null ? null : Number(raw.revoked_at);
    return { member: idOf(raw.member as Uint8Array), revokedAt, isSame: Number(raw.is_same) === 1 };
  },
  listDevices: (member) => many(sql, DEVICE, DEVICE.select('WHERE member = ? ORDER BY serial', idBytes(member))),
  getSealed: (device) => count(sql, 'SELECT times AS n FROM sealed WHERE device = ?', idBytes(device)),
});

/**
 * Prekeys of devices: a one-time key is given once. The newest of each kind is never given: it tells which keys have come, so
 * that an upload whose answer was lost may be repeated.
 */
export const prekeyVerbs = (sql: Sql): Verbs<'putPrekeys' | 'takePrekeys' | 'countPrekeys'> => {
  const newest = (device: Uint8Array<ArrayBuffer>, kind: PrekeyRow['kind']) =>
    one(sql, PREKEY, PREKEY.select('WHERE device = ? AND kind = ? ORDER BY key_id DESC LIMIT 1', device, kind));
  const taken = (device: Uint8Array<ArrayBuffer>, kind: PrekeyRow['kind']) =>
    one(sql, PREKEY, {
      sql: `DELETE FROM prekey WHERE device = ? AND kind = ?
        AND key_id = (SELECT min(key_id) FROM prekey p WHERE p.device = ? AND p.kind = ? HAVING count(*) > 1)
        RETURNING ${PREKEY.columns}`,
      values: [device, kind, device, kind],
    });
  return {
    putPrekeys: async (device, keys) => {
      const id = idBytes(device);
      const [ec, kyber] = [await newest(id, 'ec'), await newest(id, 'kyber')];
      const last = { ec: ec?.keyId ?? -1, kyber: kyber?.keyId ?? -1, signed: -1, last: -1 };
      const replaced = new Set(keys.map(({ kind }) => kind).filter((kind) => kind === 'signed' || kind === 'last'));
      await sql.batch([
        ...[...replaced].map((kind) => ({
          sql: 'DELETE FROM prekey WHERE device = ? AND kind = ?',
          values: [id, kind],
        })),
        ...keys
          .filter(({ kind, keyId }) => keyId > last[kind])
          .map((key) => PREKEY.insert({ ...key, device }, 'ON CONFLICT DO NOTHING')),
      ]);
    },
    takePrekeys: async (device) => {
      const key = idBytes(device);
      const signed = await newest(key, 'signed');
      if (signed === undefined) return undefined;
      const kyber = (await taken(key, 'kyber')) ?? (await newest(key, 'last'));
      return kyber === undefined ? undefined : { signed, kyber, ec: await taken(key, 'ec') };
    },
    countPrekeys: async (device) => {
      const rows = await sql.all({
        sql: `SELECT kind, count(*) AS n FROM prekey WHERE device = ? AND kind IN ('ec', 'kyber') GROUP BY kind`,
        values: [idBytes(device)],
      });
      const left = (kind: string) => Number(rows.find((row) => row.kind === kind)?.n ?? 0);
      return { ec: left('ec'), kyber: left('kyber') };
    },
  };
};

/** Second factors: a step and a recovery code count once. */
export const secondFactorVerbs = (
  sql: Sql,
): Verbs<
  | 'getSecondFactor'
  | 'putSecondFactor'
  | 'removeSecondFactor'
  | 'takeTotpStep'
  | 'takeRecoveryCode'
  | 'countRecoveryCodes'
> => ({
  getSecondFactor: (member) => one(sql, SECOND_FACTOR, SECOND_FACTOR.select('WHERE member = ?', idBytes(member))),
  putSecondFactor: (row, codes, line) => {
    const member = idBytes(row.member);
    return sql.batch([
      { sql: 'DELETE FROM second_factor WHERE member = ?', values: [member] },
      SECOND_FACTOR.insert(row),
      ...codes.map((hash) => ({
        sql: 'INSERT INTO recovery_code (member, hash) VALUES (?, ?) ON CONFLICT DO NOTHING',
        values: [member, hash],
      })),
      AUDIT.insert(line),
    ]);
  },
  removeSecondFactor: (member, line) =>
    sql.runWith({ sql: 'DELETE FROM second_factor WHERE member = ?', values: [idBytes(member)] }, AUDIT.insert(line)),
  takeTotpStep: (member, step) =>
    changed(
      sql,
      'UPDATE second_factor SET last_step = ? WHERE member = ? AND last_step < ?',
      step,
      idBytes(member),
      step,
    ),
  countRecoveryCodes: (member) =>
    count(sql, 'SELECT count(*) AS n FROM recovery_code WHERE member = ?', idBytes(member)),
  takeRecoveryCode: (member, hash) =>
    changed(sql, 'DELETE FROM recovery_code WHERE member = ? AND hash = ?', idBytes(member), hash),
});

// A window that seems to lie ahead was begun by a clock that has been put back since.
const IS_OVER = '(attempt.since <= excluded.since - ? OR attempt.since > excluded.since)';

/** Attempts at a password in a window of time. */
export const attemptVerbs = (sql: Sql): Verbs<'putAttempt' | 'getAttempt' | 'takeBackAttempt' | 'removeAttempts'> => ({
  putAttempt: async (kind, subject, { now, windowMs }) => {
    const [row] = await sql.all({
      sql: `INSERT INTO attempt (kind, subject, since, tries) VALUES (?, ?, ?, 1)
        ON CONFLICT (kind, subject) DO UPDATE SET
          tries = CASE WHEN ${IS_OVER} THEN 1 ELSE attempt.tries + 1 END,
          since = CASE WHEN ${IS_OVER} THEN excluded.since ELSE attempt.since END
        RETURNING tries, since`,
      values: [kind, subject, now, windowMs, windowMs],
    });
    return { tries: Number(row?.tries), since: Number(row?.since) };
  },
  getAttempt: async (kind, subject) => {
    const text = 'SELECT tries, since FROM attempt WHERE kind = ? AND subject = ?';
    const [row] = await sql.all({ sql: text, values: [kind, subject] });
    return row && { tries: Number(row.tries), since: Number(row.since) };
  },
  takeBackAttempt: async (kind, subject, since) => {
    const text = 'UPDATE attempt SET tries = tries - 1 WHERE kind = ? AND subject = ? AND since = ? AND tries > 0';
    await changed(sql, text, kind, subject, since);
  },
  removeAttempts: async (before) => void (await changed(sql, 'DELETE FROM attempt WHERE since < ?', before)),
});

/** Up to where members have read. */
export const markerVerbs = (sql: Sql): Verbs<'listReadMarkers' | 'putReadMarker'> => ({
  listReadMarkers: (member) =>
    many(sql, READ_MARKER, READ_MARKER.select('WHERE member = ? ORDER BY channel', idBytes(member))),
  putReadMarker: async (row) => {
    const further =
      'ON CONFLICT (member, channel) DO UPDATE SET seq = excluded.seq WHERE excluded.seq >= read_marker.seq';
    return (await sql.run(READ_MARKER.insert(row, further))) > 0;
  },
});
