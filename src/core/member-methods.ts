// The methods of an open account that are about members, and whom a reference to a member means.

import { isEqual } from '../protocol/bytes.ts';
import { expectedError, SottoError } from '../protocol/errors.ts';
import { ID_PATTERN, idBytes, idOf } from '../protocol/ids.ts';
import { channelNameOf } from '../protocol/room-content.ts';
import type { MemberObject } from '../protocol/rpc-rooms.ts';
import { getContactByName } from '../store/contacts.ts';
import { getConversationOfMember } from '../store/conversations.ts';
import { getMember, getMemberById, listMembers, type MemberRow, patchMember } from '../store/members.ts';
import { listServers, type ServerRow } from '../store/servers.ts';
import { type Changes, type Core, commit } from './core.ts';
import { linkMember, unlinkMember } from './member-links.ts';
import type { Context, HandlersOf } from './methods.ts';
import { conversationOfLeft, findContact, findConversation, serverOfRoom } from './names.ts';
import { quoted } from './references.ts';
import type { RoomConnection } from './room-connection.ts';
import { connectionOf, letInAgain } from './room-control.ts';
import { tellDecided } from './room-devices.ts';
import { decisionOf, ensureConversation } from './room-direct.ts';
import { memberAnywhere } from './room-find.ts';
import { findKnownMember, findMemberById, findServer, isMemberReference, splitMember } from './room-names.ts';
import { memberDetail, memberObject } from './room-objects.ts';
import { learnAll, learnByName, learnMembers } from './room-people.ts';
import { letIn } from './room-receipts.ts';
import { theServer } from './room-rows.ts';

type OfMember = { readonly member: string; readonly timeoutMs?: number | undefined };

/** Answers of `member.*`. */
export const MEMBER_HANDLERS: HandlersOf<'member'> = {
  'member.list': async ({ core }, { server }) => {
    const row = findServer(core.db, server);
    const connection = core.rooms.get(row.id);
    connection?.askAgain();
    const isOnline = connection?.state === 'online';
    const there = isOnline ? await learnAll(core, await connectionOf(core, row)) : undefined;
    return listMembers(core.db, row.id)
      .filter(({ memberId }) => there?.has(idOf(memberId)) ?? true)
      .map((member) => memberObject(core, member));
  },
  'member.show': async ({ core }, { member, timeoutMs }) => {
    const row = await theMember(core, member, { timeoutMs });
    await lookAgain(core, row);
    return memberDetail(core, getMember(core.db, row.id) ?? row);
  },
  'member.verify': (context, params) =>
    changeMember(context, params, ({ at }, row) =>
      patchMember(context.core.db, row.id, { verifiedAt: params.verified ? at : null }),
    ),
  'member.accept': (context, params) => decide(context, params, true),
  'member.reject': (context, params) => decide(context, params, false),
  'member.link': (context, params) =>
    changeMember(context, params, (changes, row) =>
      linkMember(context.core, changes, row, findContact(context.core.db, params.contact)),
    ),
  'member.unlink': (context, params) =>
    changeMember(context, params, (changes, row) => unlinkMember(context.core, changes, row)),
  'member.ban': (context, params) => setBanned(context, params, true),
  'member.unban': (context, params) => setBanned(context, params, false),
  'member.role': (context, params) =>
    administer(context, params, {
      ask: (connection, id) => connection.request('member.role', { member: id, role: params.role }),
      forbidden: (label) => `Only the owner of ${label} says who is an admin there, and the owner stays the owner`,
    }),
};

const setBanned = (context: Context, params: OfMember, banned: boolean): Promise<MemberObject> =>
  administer(context, params, {
    ask: (connection, id) => connection.request('member.ban', { member: id, banned }),
    forbidden: (label) =>
      `Only the owner and admins of ${label} ban from it: an admin is banned by the owner alone, the owner by nobody`,
  });

/** Asks a server for what its owner and admins may do to a member, who is then shown as it tells of them. Throws `request.notAllowed`, … */
const administer = async (
  { core }: Context,
  { member: reference, timeoutMs }: OfMember,
  deed: {
    readonly ask: (connection: RoomConnection, id: string) => Promise<unknown>;
    readonly forbidden: (label: string) => string;
  },
): Promise<MemberObject> => {
  const row = await theMember(core, reference, { timeoutMs });
  refuseMyself(core, row, reference);
  const server = theServer(core.db, row.serverId);
  const connection = await connectionOf(core, server, timeoutMs);
  const id = idOf(row.memberId);
  await deed.ask(connection, id).catch((error: unknown) => {
    if (expectedError(error)?.code !== 'request.notAllowed') throw error;
    throw new SottoError('request.notAllowed', { message: deed.forbidden(server.label) });
  });
  await learnMembers(core, connection, [id]);
  return memberObject(core, getMember(core.db, row.id) ?? row);
};

// Where the server answers, they are shown as it tells of them now.
const lookAgain = async (core: Core, { serverId, memberId }: MemberRow): Promise<void> => {
  const connection = core.rooms.get(serverId);
  if (connection?.state !== 'online') return;
  await learnMembers(core, connection, [idOf(memberId)]).catch((error: unknown) => {
    if (expectedError(error) === undefined) throw error;
  });
};

const changeMember = async (
  { core }: Context,
  { member: reference, timeoutMs }: OfMember,
  step: (changes: Changes, row: MemberRow) => void,
): Promise<ReturnType<typeof memberObject>> => {
  const row = await theMember(core, reference, { timeoutMs });
  refuseMyself(core, row, reference);
  await core.queue.call(() => commit(core, (changes) => step(changes, row)));
  const now = getMember(core.db, row.id);
  if (now === undefined) throw new SottoError('member.unknown');
  return memberObject(core, now);
};

const refuseMyself = ({ db }: Core, { serverId, memberId }: MemberRow, reference: string): void => {
  if (isEqual(theServer(db, serverId).memberId, memberId))
    throw new SottoError('contact.self', { message: `${reference} is you` });
};

const decide = (context: Context, params: OfMember, accepted: boolean) =>
  changeMember(context, params, (changes, row) => {
    if (accepted) letIn(context.core, row.id);
    else patchMember(context.core.db, row.id, decisionOf(false));
    tellDecided(context.core, changes, row, accepted);
  });

/**
 * A member by `name@server`, by a name on the channel's server, or by id; the server is asked when nobody here is called so, and
 * waited for at most `timeoutMs`. Throws `member.unknown`, `server.*`.
 */
export const theMember = async (
  core: Core,
  reference: string,
  { inside, timeoutMs }: { readonly inside?: ServerRow; readonly timeoutMs?: number | undefined } = {},
): Promise<MemberRow> => {
  // Ids are one server's alone, and nobody may be called like another's.
  const servers = ID_PATTERN.test(reference) ? (inside === undefined ? listServers(core.db) : [inside]) : [];
  for (const { id } of servers) {
    const row = getMemberById(core.db, id, idBytes(reference));
    if (row !== undefined) return row;
  }
  if (inside === undefined && !isMemberReference(reference) && listServers(core.db).length > 1)
    return memberAnywhere(core, reference, channelNameOf(reference));
  const { name, server } = splitMember(core.db, reference, inside);
  if (inside !== undefined && server.id !== inside.id)
    throw new SottoError('member.unknown', { message: `${quoted(reference)} is no member of ${inside.label}` });
  const known = findKnownMember(core.db, server, name);
  if (known !== undefined) return known;
  return (
    findMemberById(core.db, server, reference) ?? learnByName(core, await connectionOf(core, server, timeoutMs), name)
  );
};

/**
 * For what is to be written there: makes the conversation with a member that a reference names, when there is none yet, and asks
 * a server that did not let us in again, at most `timeoutMs`.
 */
export const openConversation = async (context: Context, reference: string, timeoutMs?: number): Promise<void> => {
  const { core } = context;
  if (isOfMember(context, reference)) await openWithMember(context, reference, timeoutMs);
  await letInAgain(core, serverOfRoom(core.db, findConversation(core.db, reference)), timeoutMs);
};

// Not a contact of that name, nor what was said on a server that was left.
const isOfMember = ({ core: { db } }: Context, reference: string): boolean =>
  isMemberReference(reference) &&
  getContactByName(db, reference) === undefined &&
  conversationOfLeft(db, reference) === undefined;

const openWithMember = async ({ core }: Context, reference: string, timeoutMs?: number): Promise<void> => {
  const member = await theMember(core, reference, { timeoutMs });
  refuseMyself(core, member, reference);
  await core.queue.call(() => commit(core, (changes) => void ensureConversation(core, changes, member)));
};

/** Whether a reference is a member with whom nothing was said yet; the server is asked who they are. Throws `member.unknown`, … */
export const isSilentMember = async (context: Context, reference: string, timeoutMs?: number): Promise<boolean> => {
  if (!isOfMember(context, reference)) return false;
  const { core } = context;
  const member = await theMember(core, reference, { timeoutMs });
  return getConversationOfMember(core.db, member.id) === undefined;
};
