// What my devices on a server tell each other: what I said, how far I have read, whom I let write to me, which channels I am in.
import { idOf } from '../protocol/ids.ts';
import type { Direct, Own, Said } from '../protocol/room-direct.ts';
import { getMember, getMemberById, type MemberRow } from '../store/members.ts';
import type { RoomOutboxRow } from '../store/room-outbox.ts';
import { getServer, type ServerRow } from '../store/servers.ts';
import type { Changes, Core } from './core.ts';
import { directIn, enqueueRoom, hasRoom } from './room-outbox.ts';
import { otherDevices } from './room-sessions.ts';

const SAID: ReadonlySet<string> = new Set<Said['kind']>(['text', 'file', 'edit', 'delete', 'react', 'pin']);
const isSaid = (direct: Direct): direct is Said => SAID.has(direct.kind);

/** Tells my other devices something; nothing happens where this is the only one, or the outbox is full. */
export const tellOwnDevices = (
  core: Core,
  changes: Changes,
  server: ServerRow,
  own: Own,
  more: { readonly messageRow?: number; readonly ttl?: number } = {},
): void => {
  const me = getMemberById(core.db, server.id, server.memberId);
  if (me === undefined || !hasRoom(core, server.id) || otherDevices(core, server, me).length === 0) return;
  enqueueRoom(core, changes, { serverId: server.id, memberRow: me.id }, own, more);
};

/**
 * What the server has taken for another member goes to my other devices, in the transaction that takes it out of the outbox:
 * they show nothing as sent that was not.
 */
export const mirror = (core: Core, changes: Changes, row: RoomOutboxRow): void => {
  const direct = directIn(row);
  const member = getMember(core.db, row.memberRow ?? 0);
  const server = getServer(core.db, row.serverId);
  if (!isSaid(direct) || member === undefined || server === undefined) return;
  const content = 'sentAt' in direct ? { ...direct, id: direct.id ?? idOf(row.eventId) } : direct;
  tellOwnDevices(
    core,
    changes,
    server,
    { kind: 'sent', to: idOf(member.memberId), content },
    { ttl: row.ttl, ...(row.messageRow === null ? {} : { messageRow: row.messageRow }) },
  );
};

/** Tells my other devices whether a member may write to me. */
export const tellDecided = (core: Core, changes: Changes, member: MemberRow, accepted: boolean): void => {
  const server = getServer(core.db, member.serverId);
  if (server !== undefined)
    tellOwnDevices(core, changes, server, { kind: 'decided', of: idOf(member.memberId), accepted });
};
