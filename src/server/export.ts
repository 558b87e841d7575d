// What the server keeps about a member, for them: of each list as much as fits beside the others into one answer.
import { inboxOf } from '../protocol/ids.ts';
import { EXPORT_LIST_BYTES_MAX, ROOM_PAGE_MAX } from '../protocol/limits.ts';
import type { ServerContext } from './context.ts';
import { deviceObject, memberObject } from './objects.ts';
import { fitting } from './pages.ts';
import type { MemberRow } from './rows.ts';
import type { StateStore } from './state-store.ts';

type List = readonly object[];

/** All of it, as JSON has it; `cut` names the lists of which there is more. */
export const exportOf = async (context: ServerContext, member: MemberRow): Promise<object> => {
  const { store, log } = context;
  const inbox = inboxOf(member.id);
  const [head] = await log.heads([inbox]);
  const lists = await listsOf(context, member);
  const told = Object.entries(lists).map(
    ([name, rows]) => [name, fitting(rows.map(withoutNothing), EXPORT_LIST_BYTES_MAX)] as const,
  );
  const isCut = ([name, rows]: (typeof told)[number]): boolean =>
    rows.length < (lists[name]?.length ?? 0) || rows.length >= ROOM_PAGE_MAX;
  return {
    member: memberObject(member),
    secondCheck: await secondOf(store, member),
    inboxEvents: head === undefined ? 0 : head.seq - head.prunedTo,
    fileBytes: await store.countFileBytes(member.id),
    ...Object.fromEntries(told),
    cut: told.filter(isCut).map(([name]) => name),
  };
};

// What a row says of nothing: null, and 0 for a time that never comes.
const NEVER_AT_0: ReadonlySet<string> = new Set(['expiresAt', 'mutedUntil']);
const withoutNothing = (row: object): object =>
  Object.fromEntries(
    Object.entries(row).filter(([name, value]) => value !== null && !(value === 0 && NEVER_AT_0.has(name))),
  );

const listsOf = async ({ store }: ServerContext, { id }: MemberRow): Promise<Record<string, List>> => {
  const devices = await store.listDevices(id);
  return {
    devices: await Promise.all(
      devices.map(async (row) => ({
        ...deviceObject(row),
        serial: row.serial,
        oneTimeKeys: await store.countPrekeys(row.id),
        sealed: await store.getSealed(row.id),
      })),
    ),
    memberships: (await store.listMembershipsOf(id, undefined, ROOM_PAGE_MAX)).map(({ member: _, ...row }) => row),
    readMarkers: (await store.listReadMarkers(id)).map(({ channel, seq }) => ({ channel, seq })),
    invites: (await store.listInvitesOf(id, ROOM_PAGE_MAX)).map(({ tokenHash: _, madeBy: __, ...row }) => row),
    uploads: (await store.listUploadsOf(id)).map(({ member: _, ...row }) => row),
    files: (await store.listBlobRefsOf(id, ROOM_PAGE_MAX)).map(({ member: _, ...row }) => row),
    audit: await auditOf(store, id),
  };
};

// What they did, and what was done to them.
const auditOf = async (store: StateStore, member: MemberRow['id']): Promise<List> => {
  const limit = ROOM_PAGE_MAX;
  const lines = [
    ...(await store.listAudit({ actor: member, limit })),
    ...(await store.listAudit({ target: member, limit })),
  ];
  const once = new Map(lines.map((line) => [line.id, line]));
  return [...once.values()].sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, limit);
};

const secondOf = async (store: StateStore, { id }: MemberRow): Promise<object | undefined> => {
  const row = await store.getSecondFactor(id);
  if (row === undefined) return undefined;
  return {
    updatedAt: row.updatedAt,
    recoveryCodesLeft: await store.countRecoveryCodes(id),
    tries: await store.getAttempt('second', id),
  };
};
