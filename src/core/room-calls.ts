// Calls of servers as this account sees them: who is in which one now. It is asked and told; nothing of it is stored.
import { idBytes, idOf } from '../protocol/ids.ts';
import { CALLS_MAX } from '../protocol/limits.ts';
import type { CallObject } from '../protocol/rpc-rooms.ts';
import type { Answer, ServerCall } from '../protocol/server.ts';
import { getChannelById } from '../store/channels.ts';
import { type ConversationRow, getConversationOfChannel, getConversationOfMember } from '../store/conversations.ts';
import { getMemberById } from '../store/members.ts';
import { getServer } from '../store/servers.ts';
import type { Core } from './core.ts';
import { conversationName } from './names.ts';
import type { RoomConnection } from './room-connection.ts';
import { memberName } from './room-names.ts';

// Undefined for one in a channel that is not held, or by a member who may not write to me.
const callObject = (core: Core, serverId: number, said: ServerCall): CallObject | undefined => {
  const server = getServer(core.db, serverId);
  const conversation = conversationOfCall(core, serverId, said.channel);
  if (server === undefined || conversation === undefined) return undefined;
  const me = idOf(server.memberId);
  const people = said.people.map(({ member, muted, deafened, linked }) => {
    const row = getMemberById(core.db, serverId, idBytes(member));
    const name = row === undefined ? member.slice(0, 8) : memberName(core.db, row.id);
    return { id: member, name, mine: member === me, muted, deafened, linked };
  });
  return {
    id: said.call,
    conversation: conversationName(core.db, conversation),
    conversationId: idOf(conversation.uid),
    server: server.label,
    startedAt: said.startedAt,
    people,
  };
};

/** Asks a server for its calls that concern me, those that began first first. Throws `server.*`. */
export const callsOn = async (core: Core, connection: RoomConnection): Promise<CallObject[]> =>
  (await callsOf(connection)).flatMap((call) => callObject(core, connection.serverId, call) ?? []);

/** The server tells what a call is now. Runs in the queue. */
export const heardOfCall = (core: Core, connection: RoomConnection, said: ServerCall): void => {
  const { calls } = connection.visit;
  if (calls !== undefined && calls.size < CALLS_MAX) calls.add(said.call);
  tellCall(core, connection, said);
};

const tellCall = (core: Core, connection: RoomConnection, said: ServerCall): void => {
  const { calls, serverId } = connection;
  calls.delete(said.call);
  if (said.people.length > 0) calls.set(said.call, said);
  for (const oldest of calls.keys()) {
    if (calls.size <= CALLS_MAX) break;
    calls.delete(oldest);
  }
  const call = callObject(core, serverId, said);
  if (call !== undefined) core.volatile({ kind: 'voice.changed', call });
};

/** After a log-in: what calls there are now, and which of those that were told before are over. Throws `server.*`. */
export const followCalls = async (core: Core, connection: RoomConnection): Promise<void> => {
  const { visit } = connection;
  const now = await callsOf(connection);
  await core.queue.call(() => {
    const ids = new Set(now.map(({ call }) => call));
    const over = [...connection.calls.values()].filter(({ call }) => !ids.has(call));
    // What a notice says of a call is newer than the list, or the same.
    const heard = visit.calls;
    visit.calls = undefined;
    if (connection.visit !== visit) return;
    for (const call of [...over.map((one) => ({ ...one, people: [] })), ...now])
      if (heard?.has(call.call) !== true) tellCall(core, connection, call);
  });
};

const callsOf = async (connection: RoomConnection): Promise<ServerCall[]> => {
  const found: ServerCall[] = [];
  for (let more = connection.client.hello.features.includes('calls'); more; ) {
    const after = found.at(-1)?.call;
    const answer: Answer<'call.list'> = await connection.request('call.list', after === undefined ? {} : { after });
    found.push(...answer.calls);
    more = answer.more && answer.calls.length > 0 && found.length < CALLS_MAX;
  }
  return found;
};

const conversationOfCall = (core: Core, serverId: number, place: string): ConversationRow | undefined => {
  const channel = getChannelById(core.db, serverId, idBytes(place));
  if (channel !== undefined) return getConversationOfChannel(core.db, channel.id);
  const member = getMemberById(core.db, serverId, idBytes(place));
  if (member === undefined || member.request !== 'accepted' || member.blocked === 1) return undefined;
  return getConversationOfMember(core.db, member.id);
};
