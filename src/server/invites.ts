// Invites to the server: a token that people register with, of which the server keeps the hash.
import { sha256 } from '../crypto/primitives.ts';
import { SottoError } from '../protocol/errors.ts';
import type { MemberId, RowId } from '../protocol/ids.ts';
import { EVENT_ID_AHEAD_MS_MAX, INVITE_MS, INVITE_MS_MAX, ROOM_PAGE_MAX } from '../protocol/limits.ts';
import type { Answer, RequestParams, ServerInvite } from '../protocol/server.ts';
import type { Asker } from './access.ts';
import { auditRow } from './audit.ts';
import type { ServerContext } from './context.ts';
import type { InviteRow, ServerRole } from './rows.ts';

const TOKEN_BYTES = 16;

export type MadeInvite = { readonly row: InviteRow; readonly token: string };

/** Makes an invite; `madeBy` null is the administration. The token is told once. Throws `registration.closed` where it would let nobody in. */
export const makeInvite = async (
  context: ServerContext,
  wanted: {
    readonly madeBy: MemberId | null;
    readonly role: ServerRole;
    readonly uses: number;
    readonly expiresAt: number | undefined;
  },
): Promise<MadeInvite> => {
  const { store, clock, random, rowId } = context;
  const { registration } = await store.getServer();
  if (registration === 'closed' && wanted.role !== 'owner')
    throw new SottoError('registration.closed', {
      message: 'Nobody can join while registration is closed: sotto serve --registration invite opens it',
      details: { why: registration },
    });
  const token = Buffer.from(random.bytes(TOKEN_BYTES)).toString('base64url');
  const now = clock.now();
  const row: InviteRow = {
    id: rowId(),
    tokenHash: sha256(Buffer.from(token)),
    role: wanted.role,
    uses: wanted.uses,
    usesLeft: wanted.uses,
    madeBy: wanted.madeBy,
    createdAt: now,
    expiresAt: wanted.expiresAt ?? now + INVITE_MS,
    revokedAt: null,
  };
  const detail = { role: row.role, uses: row.uses };
  await store.putInvite(row, auditRow(context, { actor: row.madeBy, kind: 'invite.created', target: row.id, detail }));
  return { row, token };
};

/**
 * An invite by a member who may make it, which ends after now and within INVITE_MS_MAX by the clock of who asks. Throws
 * `request.notAllowed`, `request.invalid`, `registration.closed`.
 */
export const createInvite = async (
  context: ServerContext,
  { member }: Asker,
  params: RequestParams<'invite.create'>,
): Promise<Answer<'invite.create'>> => {
  if (params.role === 'admin' && member.role !== 'owner') throw new SottoError('request.notAllowed');
  const [now, { expiresAt }] = [context.clock.now(), params];
  if (expiresAt !== undefined && (expiresAt <= now || expiresAt > now + INVITE_MS_MAX + EVENT_ID_AHEAD_MS_MAX))
    throw new SottoError('request.invalid', { details: { why: 'expiresAt' } });
  const { row, token } = await makeInvite(context, {
    madeBy: member.id,
    role: params.role,
    uses: params.uses,
    expiresAt,
  });
  return { invite: inviteObject(row), token };
};

/** Invites that still work, a page of them. */
export const listInvites = async (
  { store, clock }: ServerContext,
  _asker: Asker,
  { after }: RequestParams<'invite.list'>,
): Promise<Answer<'invite.list'>> => {
  const rows = await store.listInvitesUsable(clock.now(), after as RowId | undefined, ROOM_PAGE_MAX);
  return { invites: rows.map(inviteObject), more: rows.length === ROOM_PAGE_MAX };
};

/** Throws `invite.unknown`. */
export const revokeInvite = async (context: ServerContext, by: MemberId | null, id: RowId): Promise<void> => {
  const line = auditRow(context, { actor: by, kind: 'invite.revoked', target: id });
  if (!(await context.store.removeInvite(id, context.clock.now(), line))) throw new SottoError('invite.unknown');
};

/** An invite as the wire tells it, without its token. */
export const inviteObject = (row: InviteRow): ServerInvite => ({
  id: row.id,
  role: row.role,
  usesLeft: row.usesLeft,
  expiresAt: row.expiresAt,
  createdAt: row.createdAt,
  ...(row.madeBy === null ? {} : { createdBy: row.madeBy }),
});
