// Members and devices as the wire tells them.
import { toBase64 } from '../protocol/bytes.ts';
import type { DeviceRow, MemberRow } from './rows.ts';

/** A member as the wire tells it. */
export const memberObject = (row: MemberRow) => ({
  id: row.id,
  key: toBase64(row.memberKey),
  name: row.name,
  role: row.role,
  status: row.status,
  joinedAt: row.joinedAt,
  banned: row.banned,
});

/** A device as the wire tells it. */
export const deviceObject = (row: DeviceRow) => ({
  id: row.id,
  certificate: toBase64(row.certificate),
  addedAt: row.addedAt,
  revoked: row.revokedAt !== null,
  ...(row.revokedAt === null ? {} : { revokedAt: row.revokedAt }),
});
