// What is told in passing and kept nowhere: to one connection, and to all.
import type { MemberId } from '../protocol/ids.ts';
import type { Notice } from '../protocol/server.ts';
import { textFrame } from '../protocol/websocket.ts';
import type { Peer, ServerContext } from './context.ts';
import { memberObject } from './objects.ts';

/** A notice as its frame. */
export const noticeFrame = (notice: Notice): Uint8Array => textFrame(JSON.stringify(notice));

/** Tells one connection. */
export const tell = (peer: Peer, notice: Notice): void => {
  peer.send(noticeFrame(notice));
};

/** Tells everybody who is here what a member is now, unless they were erased meanwhile. */
export const tellOfMember = async (context: ServerContext, id: MemberId): Promise<void> => {
  const row = await context.standings.member(id);
  if (row !== undefined && row.erasedAt === null) tellMembers(context, { notice: 'member', member: memberObject(row) });
};

/** Tells every connection that is logged in. */
export const tellMembers = (context: Pick<ServerContext, 'online'>, notice: Notice): void => {
  const frame = noticeFrame(notice);
  for (const peers of context.online.values()) for (const peer of peers) peer.send(frame);
};
