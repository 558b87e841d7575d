// What is told in passing and kept nowhere: to one connection, to all, and who is there.
import type { MemberId } from '../protocol/ids.ts';
import { TOLD_IN_PASSING_MAX } from '../protocol/limits.ts';
import type { Notice } from '../protocol/server.ts';
import { textFrame } from '../protocol/websocket.ts';
import type { Peer, ServerContext } from './context.ts';
import type { MemberRow } from './rows.ts';

type Who = Pick<MemberRow, 'id' | 'status'>;

/** Tells one connection. */
export const tell = (peer: Peer, notice: Notice): void => {
  peer.send(textFrame(JSON.stringify(notice)));
};

/** Tells every connection that is logged in. */
export const tellMembers = (context: Pick<ServerContext, 'online'>, notice: Notice): void => {
  const frame = textFrame(JSON.stringify(notice));
  for (const peers of context.online.values()) for (const peer of peers) peer.send(frame);
};

/** Tells who is there or goes, while not more than TOLD_IN_PASSING_MAX are: all telling all would be their square. */
export const tellPresence = (
  context: Pick<ServerContext, 'online'>,
  { id, status }: Who,
  state: 'online' | 'away' | 'offline',
): void => {
  if (context.online.size <= TOLD_IN_PASSING_MAX)
    tellMembers(context, { notice: 'presence', member: id, state, status });
};

/** Somebody has come: they hear who is there, and, with their first connection, the others hear of them. */
export const arrived = async (context: ServerContext, peer: Peer, who: Who): Promise<void> => {
  if (context.online.size > TOLD_IN_PASSING_MAX) return;
  if (context.online.get(who.id)?.size === 1) tellPresence(context, who, 'online');
  for (const id of [...context.online.keys()]) {
    const member = id === who.id ? undefined : await context.standings.member(id);
    if (member === undefined) continue;
    const state = context.away.has(id) ? 'away' : 'online';
    tell(peer, { notice: 'presence', member: id, state, status: member.status });
  }
};

/** The last connection of a member is gone. */
export const departed = (context: ServerContext, member: MemberId): void => {
  context.away.delete(member);
  context.store.getMember(member).then(
    (row) => {
      // Who was erased is no more, and who has come back meanwhile is there.
      if (row !== undefined && row.erasedAt === null && !context.online.has(member))
        tellPresence(context, row, 'offline');
    },
    // A server that ends has closed its store.
    () => {},
  );
};
