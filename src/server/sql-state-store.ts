// The state of a server in its database: one statement per verb.
import { type BlobHash, type ChannelId, idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import { UPLOAD_MS } from '../protocol/limits.ts';
import {
  AUDIT,
  BLOB_REF,
  CHANNEL,
  DEVICE,
  INVITE,
  JOB,
  MEMBER,
  MEMBERSHIP,
  PREKEY,
  type PrekeyRow,
  READ_MARKER,
  SECOND_FACTOR,
  SERVER,
  type ServerRow,
  UPLOAD,
} from './rows.ts';
import type { Sql } from './sql.ts';
import type { AuditFilter, StateStore } from './state-store.ts';
import { EVENT } from './stored.ts';
import type { RawRow, SqlValue, Statement } from './table.ts';

/** The state store on a database. */
export const sqlStateStore = (sql: Sql): StateStore => ({
  ...serverVerbs(sql),
  ...memberVerbs(sql),
  ...prekeyVerbs(sql),
  ...inviteVerbs(sql),
  ...channelVerbs(sql),
  ...secondFactorVerbs(sql),
  ...attemptVerbs(sql),
  ...markerVerbs(sql),
  ...uploadVerbs(sql),
  ...blobVerbs(sql),
  ...auditVerbs(sql),
  ...jobVerbs(sql),
});

type Verbs<Names extends keyof StateStore> = Pick<StateStore, Names>;
type Reader<T> = { read(raw: RawRow): T };

const one = async <T>(sql: Sql, table: Reader<T>, statement: Statement): Promise<T | undefined> => {
  const [raw] = await sql.all(statement);
  return raw === undefined ? undefined : table.read(raw);
};

const many = async <T>(sql: Sql, table: Reader<T>, statement: Statement): Promise<T[]> =>
  (await sql.all(statement)).map((raw) => table.read(raw));

const count = async (sql: Sql, text: string, ...values: readonly SqlValue[]): Promise<number> => {
  const [raw] = await sql.all({ sql: text, values });
  return Number(raw?.n ?? 0);
};

const changed = async (sql: Sql, text: string, ...values: readonly SqlValue[]): Promise<boolean> =>
  (await sql.run({ sql: text, values })) > 0;

// Smaller than every id: the empty string of bytes would be NULL to the driver.
const FIRST = '00';
const after = (key: string | undefined): SqlValue => idBytes(key ?? FIRST);

// Every greeting tells of it, and nobody changes it but through here.
const serverVerbs = (sql: Sql): Verbs<'getServer' | 'putServer'> => {
  let known: ServerRow | undefined;
  return {
    getServer: async () => {
      known ??= await one(sql, SERVER, SERVER.select('WHERE id = 1'));
      if (known === undefined) throw new Error('a server has its row from the beginning');
      return known;
    },
    putServer: async (set) => {
      await sql.run(SERVER.update(set, 'id = 1'));
      known = undefined;
    },
  };
};

const memberVerbs = (
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
});

const prekeyVerbs = (sql: Sql): Verbs<'putPrekeys' | 'takePrekeys' | 'countPrekeys'> => {
  const kept = (device: Uint8Array<ArrayBuffer>, kind: PrekeyRow['kind']) =>
    one(sql, PREKEY, PREKEY.select('WHERE device = ? AND kind = ? ORDER BY key_id DESC LIMIT 1', device, kind));
  const taken = (device: Uint8Array<ArrayBuffer>, kind: PrekeyRow['kind']) =>
    one(sql, PREKEY, {
      sql: `DELETE FROM prekey WHERE device = ? AND kind = ?
        AND key_id = (SELECT min(key_id) FROM prekey p WHERE p.device = ? AND p.kind = ?) RETURNING ${PREKEY.columns}`,
      values: [device, kind, device, kind],
    });
  return {
    putPrekeys: (device, keys) => {
      const replaced = new Set(keys.map(({ kind }) => kind).filter((kind) => kind === 'signed' || kind === 'last'));
      return sql.batch([
        ...[...replaced].map((kind) => ({
          sql: 'DELETE FROM prekey WHERE device = ? AND kind = ?',
          values: [idBytes(device), kind],
        })),
        ...keys.map((key) => PREKEY.insert({ ...key, device }, 'ON CONFLICT DO NOTHING')),
      ]);
    },
    takePrekeys: async (device) => {
      const key = idBytes(device);
      const signed = await kept(key, 'signed');
      if (signed === undefined) return undefined;
      const kyber = (await taken(key, 'kyber')) ?? (await kept(key, 'last'));
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

const inviteVerbs = (
  sql: Sql,
): Verbs<'putInvite' | 'getInvite' | 'listInvites' | 'listInvitesUsable' | 'listInvitesOf' | 'removeInvite'> => ({
  putInvite: async (row) => void (await sql.run(INVITE.insert(row))),
  getInvite: (tokenHash) => one(sql, INVITE, INVITE.select('WHERE token_hash = ?', tokenHash)),
  listInvites: (last, limit) =>
    many(sql, INVITE, INVITE.select('WHERE id > ? ORDER BY id LIMIT ?', after(last), limit)),
  listInvitesUsable: (now, last, limit) => {
    const rest = 'WHERE id > ? AND uses_left > 0 AND revoked_at IS NULL AND expires_at > ? ORDER BY id LIMIT ?';
    return many(sql, INVITE, INVITE.select(rest, after(last), now, limit));
  },
  listInvitesOf: (madeBy, limit) =>
    many(sql, INVITE, INVITE.select('WHERE made_by = ? ORDER BY id DESC LIMIT ?', idBytes(madeBy), limit)),
  removeInvite: async (id, now) =>
    (await sql.run(INVITE.update({ revokedAt: now }, 'id = ? AND revoked_at IS NULL', idBytes(id)))) > 0,
});

const channelVerbs = (
  sql: Sql,
): Verbs<
  | 'getChannel'
  | 'getChannelByName'
  | 'listChannels'
  | 'listAuthority'
  | 'getMembership'
  | 'countJoined'
  | 'listMembershipsOf'
  | 'listExpired'
> => ({
  getChannel: (id) => one(sql, CHANNEL, CHANNEL.select('WHERE id = ?', idBytes(id))),
  getChannelByName: (skeleton) => one(sql, CHANNEL, CHANNEL.select('WHERE skeleton = ?', skeleton)),
  listChannels: (last, limit) =>
    many(sql, CHANNEL, CHANNEL.select('WHERE id > ? ORDER BY id LIMIT ?', after(last), limit)),
  listAuthority: (channel, seq, limit) =>
    many(sql, EVENT, {
      sql: `SELECT ${EVENT.columns} FROM authority WHERE channel = ? AND seq > ? ORDER BY seq LIMIT ?`,
      values: [idBytes(channel), seq, limit],
    }),
  getMembership: (channel, member) =>
    one(sql, MEMBERSHIP, MEMBERSHIP.select('WHERE channel = ? AND member = ?', idBytes(channel), idBytes(member))),
  countJoined: (channel) =>
    count(sql, "SELECT count(*) AS n FROM membership WHERE channel = ? AND state = 'joined'", idBytes(channel)),
  listMembershipsOf: (member, last, limit) => {
    const rest = 'WHERE member = ? AND channel > ? ORDER BY channel LIMIT ?';
    return many(sql, MEMBERSHIP, MEMBERSHIP.select(rest, idBytes(member), after(last), limit));
  },
  listExpired: async (now, limit) => {
    const statement = {
      sql: 'SELECT channel, seq FROM expiry WHERE at <= ? ORDER BY at LIMIT ?',
      values: [now, limit],
    };
    const rows = await sql.all(statement);
    return rows.map((row) => ({ channel: idOf<ChannelId>(row.channel as Uint8Array), seq: Number(row.seq) }));
  },
});

const secondFactorVerbs = (
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
  putSecondFactor: (row, codes) => {
    const member = idBytes(row.member);
    return sql.batch([
      { sql: 'DELETE FROM second_factor WHERE member = ?', values: [member] },
      SECOND_FACTOR.insert(row),
      ...codes.map((hash) => ({
        sql: 'INSERT INTO recovery_code (member, hash) VALUES (?, ?) ON CONFLICT DO NOTHING',
        values: [member, hash],
      })),
    ]);
  },
  removeSecondFactor: (member) => changed(sql, 'DELETE FROM second_factor WHERE member = ?', idBytes(member)),
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

const attemptVerbs = (sql: Sql): Verbs<'putAttempt' | 'getAttempt' | 'takeBackAttempt' | 'removeAttempts'> => ({
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

const markerVerbs = (sql: Sql): Verbs<'listReadMarkers' | 'putReadMarker'> => ({
  listReadMarkers: (member) =>
    many(sql, READ_MARKER, READ_MARKER.select('WHERE member = ? ORDER BY channel', idBytes(member))),
  putReadMarker: async (row) => {
    const further =
      'ON CONFLICT (member, channel) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > read_marker.seq';
    return (await sql.run(READ_MARKER.insert(row, further))) > 0;
  },
});

const uploadVerbs = (
  sql: Sql,
): Verbs<'getUpload' | 'getUploadOf' | 'putUpload' | 'putUploadExpiry' | 'removeUpload' | 'listUploadsExpired'> => ({
  getUpload: (id) => one(sql, UPLOAD, UPLOAD.select('WHERE id = ?', idBytes(id))),
  getUploadOf: (member, channel, hash) => {
    const rest = 'WHERE member = ? AND channel = ? AND hash = ?';
    return one(sql, UPLOAD, UPLOAD.select(rest, idBytes(member), idBytes(channel), idBytes(hash)));
  },
  putUpload: async (row) => void (await sql.run(UPLOAD.insert(row))),
  putUploadExpiry: async (id, expiresAt) => void (await sql.run(UPLOAD.update({ expiresAt }, 'id = ?', idBytes(id)))),
  removeUpload: async (id) => void (await changed(sql, 'DELETE FROM upload WHERE id = ?', idBytes(id))),
  listUploadsExpired: (now, limit) =>
    // One that seems to have longer than any was begun by a clock that has been put back since.
    many(sql, UPLOAD, UPLOAD.select('WHERE expires_at <= ? OR expires_at > ? LIMIT ?', now, now + UPLOAD_MS, limit)),
});

const UNUSED = 'NOT EXISTS (SELECT 1 FROM blob_ref r WHERE r.hash = blob.hash)';

const blobVerbs = (
  sql: Sql,
): Verbs<
  | 'putBlob'
  | 'getBlob'
  | 'getBlobRef'
  | 'removeBlobRef'
  | 'removeBlobRefsExpired'
  | 'removeBlobRefsBefore'
  | 'listBlobsUnused'
  | 'removeBlob'
  | 'countUploads'
  | 'listUploadsOf'
  | 'listBlobRefsOf'
  | 'countFileBytes'
> => ({
  putBlob: async (hash, { size, isWhole, now }) => {
    await changed(
      sql,
      `INSERT INTO blob (hash, size, is_whole, touched_at) VALUES (?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET
        touched_at = excluded.touched_at,
        is_whole = CASE WHEN excluded.is_whole = 1 THEN 1 ELSE blob.is_whole END`,
      idBytes(hash),
      size,
      isWhole ? 1 : 0,
      now,
    );
  },
  getBlob: async (hash) => {
    const [row] = await sql.all({ sql: 'SELECT size, is_whole FROM blob WHERE hash = ?', values: [idBytes(hash)] });
    return row && { size: Number(row.size), isWhole: Number(row.is_whole) === 1 };
  },
  getBlobRef: (channel, hash) =>
    one(sql, BLOB_REF, BLOB_REF.select('WHERE channel = ? AND hash = ?', idBytes(channel), idBytes(hash))),
  removeBlobRef: async (channel, hash) =>
    void (await changed(sql, 'DELETE FROM blob_ref WHERE channel = ? AND hash = ?', idBytes(channel), idBytes(hash))),
  removeBlobRefsExpired: async (now) =>
    void (await changed(sql, 'DELETE FROM blob_ref WHERE expires_at > 0 AND expires_at <= ?', now)),
  removeBlobRefsBefore: async (channel, before) =>
    void (await changed(sql, 'DELETE FROM blob_ref WHERE channel = ? AND created_at < ?', idBytes(channel), before)),
  listBlobsUnused: async (before, limit) => {
    const text = `SELECT hash FROM blob WHERE touched_at < ? AND ${UNUSED} ORDER BY touched_at LIMIT ?`;
    const rows = await sql.all({ sql: text, values: [before, limit] });
    return rows.map((row) => idOf<BlobHash>(row.hash as Uint8Array));
  },
  removeBlob: (hash, before) =>
    changed(sql, `DELETE FROM blob WHERE hash = ? AND touched_at < ? AND ${UNUSED}`, idBytes(hash), before),
  countUploads: (member) => count(sql, 'SELECT count(*) AS n FROM upload WHERE member = ?', idBytes(member)),
  listUploadsOf: (member) => many(sql, UPLOAD, UPLOAD.select('WHERE member = ? ORDER BY id', idBytes(member))),
  listBlobRefsOf: (member, limit) =>
    many(sql, BLOB_REF, BLOB_REF.select('WHERE member = ? ORDER BY created_at DESC LIMIT ?', idBytes(member), limit)),
  countFileBytes: (member) =>
    count(
      sql,
      `SELECT coalesce((SELECT sum(b.size) FROM blob_ref r JOIN blob b ON b.hash = r.hash WHERE r.member = ?), 0)
        + coalesce((SELECT sum(u.size) FROM upload u WHERE u.member = ?), 0) AS n`,
      idBytes(member),
      idBytes(member),
    ),
});

const auditVerbs = (sql: Sql): Verbs<'putAudit' | 'listAudit' | 'removeAudit'> => ({
  putAudit: async (row) => void (await sql.run(AUDIT.insert(row))),
  listAudit: (filter) => {
    const { wheres, values } = auditWhere(filter);
    const where = wheres.length === 0 ? '' : `WHERE ${wheres.join(' AND ')}`;
    return many(sql, AUDIT, AUDIT.select(`${where} ORDER BY id DESC LIMIT ?`, ...values, filter.limit));
  },
  removeAudit: async (before) => void (await changed(sql, 'DELETE FROM audit WHERE at < ?', before)),
});

const auditWhere = ({ actor, target, kind, since, before }: AuditFilter) => {
  const wheres: string[] = [];
  const values: SqlValue[] = [];
  const add = (where: string, value: SqlValue | undefined) => {
    if (value === undefined) return;
    wheres.push(where);
    values.push(value);
  };
  if (actor === null) wheres.push('actor IS NULL');
  else add('actor = ?', actor === undefined ? undefined : idBytes(actor));
  add('target = ?', target);
  add('kind = ?', kind);
  add('at >= ?', since);
  add('id < ?', before === undefined ? undefined : idBytes(before));
  return { wheres, values };
};

const jobVerbs = (sql: Sql): Verbs<'takeJob' | 'putJobDone' | 'putJobFailed' | 'listJobs'> => ({
  takeJob: (name, { now, leaseMs }) =>
    one(sql, JOB, {
      sql: `INSERT INTO job (name, lease_until, fencing, done_at) VALUES (?, ?, 1, 0)
        ON CONFLICT (name) DO UPDATE SET lease_until = excluded.lease_until, fencing = job.fencing + 1
          WHERE job.lease_until <= ?
        RETURNING ${JOB.columns}`,
      values: [name, now + leaseMs, now],
    }),
  putJobDone: (name, fencing, now) =>
    changed(sql, 'UPDATE job SET done_at = ?, lease_until = 0 WHERE name = ? AND fencing = ?', now, name, fencing),
  putJobFailed: (name, fencing) =>
    changed(sql, 'UPDATE job SET lease_until = 0 WHERE name = ? AND fencing = ?', name, fencing),
  listJobs: () => many(sql, JOB, JOB.select('ORDER BY name')),
});
