// What a member of the server may: bans and roles, by another member or by the administration.
import type { MemberId } from '../protocol/ids.ts';
import { audited } from './audit.ts';
import type { ServerContext } from './context.ts';
import { appendAuthority } from './notices.ts';
import { tellOfMember } from './passing.ts';
import type { MemberRow } from './rows.ts';

/**
 * Bans a member, or takes that back: their connections end with the commit, and every node hears it. Where it is so already,
 * nothing is written.
 */
export const banMember = async (
  context: ServerContext,
  { by, target, banned }: { readonly by: MemberId | null; readonly target: MemberRow; readonly banned: boolean },
): Promise<void> => {
  if (target.banned === banned) return;
  const kind = banned ? 'member.banned' : 'member.unbanned';
  await appendAuthority(context, by ?? target.id, { what: kind, member: target.id }, [
    { kind: 'memberSet', member: target.id, set: { banned } },
    audited(context, { actor: by, kind, target: target.id }),
  ]);
};

/** Gives a member another role, and tells whoever is there; one that they have is no deed. */
export const setRole = async (
  context: ServerContext,
  { by, target, role }: { readonly by: MemberId | null; readonly target: MemberRow; readonly role: MemberRow['role'] },
): Promise<void> => {
  if (target.role === role) return;
  await appendAuthority(context, by ?? target.id, { what: 'member.role', member: target.id, role }, [
    { kind: 'memberSet', member: target.id, set: { role } },
    audited(context, { actor: by, kind: 'member.role', target: target.id, detail: { role } }),
  ]);
  await tellOfMember(context, target.id);
};
