// The state of a server in its database: one statement per verb.
import { type ChannelId, idBytes, idOf } from '../protocol/ids.ts';
import { AUDIT, CHANNEL, INVITE, INVITE_USABLE, JOB, MEMBERSHIP, SERVER, type ServerRow } from './rows.ts';
import type { Sql } from './sql.ts';
import { blobVerbs, uploadVerbs } from './sql-files.ts';
import { attemptVerbs, markerVerbs, memberVerbs, prekeyVerbs, secondFactorVerbs } from './sql-members.ts';
import { after, changed, count, many, one, type Verbs } from './sql-verbs.ts';
import type { AuditFilter, StateStore } from './state-store.ts';
import { EVENT } from './stored.ts';
import type { SqlValue } from './table.ts';

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

// Every greeting tells of it, and nobody changes it but through here.
const serverVerbs = (sql: Sql): Verbs<'getServer' | 'putServer'> => {
  let known: ServerRow | undefined;
  return {
    getServer: async () => {
      known ??= await one(sql, SERVER, SERVER.select('WHERE id = 1'));
      if (known === undefined) throw new Error('a server has its row from the beginning');
      return known;
    },
    putServer: async (set, line) => {
      await sql.batch([SERVER.update(set, 'id = 1'), AUDIT.insert(line)]);
      known = undefined;
    },
  };
};

const inviteVerbs = (
  sql: Sql,
): Verbs<'putInvite' | 'getInvite' | 'listInvitesUsable' | 'listInvitesOf' | 'removeInvite'> => ({
  putInvite: (row, line) => sql.batch([INVITE.insert(row), AUDIT.insert(line)]),
  getInvite: (tokenHash) => one(sql, INVITE, INVITE.select('WHERE token_hash = ?', tokenHash)),
  listInvitesUsable: (now, last, limit) => {
    const rest = `WHERE id > ? AND ${INVITE_USABLE} ORDER BY id LIMIT ?`;
    return many(sql, INVITE, INVITE.select(rest, after(last), now, limit));
  },
  listInvitesOf: (madeBy, limit) =>
    many(sql, INVITE, INVITE.select('WHERE made_by = ? ORDER BY id DESC LIMIT ?', idBytes(madeBy), limit)),
  removeInvite: (id, now, line) =>
    sql.runWith(INVITE.update({ revokedAt: now }, 'id = ? AND revoked_at IS NULL', idBytes(id)), AUDIT.insert(line)),
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

const auditVerbs = (sql: Sql): Verbs<'putAudit' | 'listAudit' | 'removeAudit'> => ({
  putAudit: async (row) => void (await sql.run(AUDIT.insert(row))),
  listAudit: (filter) => {
    const { wheres, values } = auditWhere(filter);
    const where = wheres.length === 0 ? '' : `WHERE ${wheres.join(' AND ')}`;
    return many(sql, AUDIT, AUDIT.select(`${where} ORDER BY id DESC LIMIT ?`, ...values, filter.limit));
  },
  removeAudit: async (before) => void (await changed(sql, 'DELETE FROM audit WHERE at < ?', before)),
});

const auditWhere = ({ actor, target, kind, exceptKind, since, before }: AuditFilter) => {
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
  add('kind <> ?', exceptKind);
  add('at >= ?', since);
  add('id < ?', before === undefined ? undefined : idBytes(before));
  return { wheres, values };
};

const jobVerbs = (sql: Sql): Verbs<'takeJob' | 'putJobDone' | 'putJobFailed' | 'listJobs'> => ({
  takeJob: (name, { now, leaseMs }) =>
    one(sql, JOB, {
      sql: `INSERT INTO job (name, lease_until, fencing, done_at) VALUES (?, ?, 1, 0)
        ON CONFLICT (name) DO UPDATE SET lease_until = excluded.lease_until, fencing = job.fencing + 1
          WHERE job.lease_until <= ? OR job.lease_until > ?
        RETURNING ${JOB.columns}`,
      values: [name, now + leaseMs, now, now + 2 * leaseMs],
    }),
  putJobDone: (name, fencing, now) =>
    changed(sql, 'UPDATE job SET done_at = ?, lease_until = 0 WHERE name = ? AND fencing = ?', now, name, fencing),
  putJobFailed: (name, fencing) =>
    changed(sql, 'UPDATE job SET lease_until = 0 WHERE name = ? AND fencing = ?', name, fencing),
  listJobs: () => many(sql, JOB, JOB.select('ORDER BY name')),
});
