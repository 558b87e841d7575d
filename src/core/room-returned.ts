// What comes back with a server that was put back: who was removed from a channel is told by name, and removed again by who did it;
// what was deleted is deleted again by who did that.
import { expectedError } from '../protocol/errors.ts';
import { idBytes, type MemberId } from '../protocol/ids.ts';
import type { Control } from '../protocol/room-content.ts';
import { getMemberById } from '../store/members.ts';
import { getMessage } from '../store/messages.ts';
import { listErasedSince, listRemovals } from '../store/room-events.ts';
import { stateOfJson } from './channel-json.ts';
import { type Changes, type Core, commit } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { publishControl } from './room-control.ts';
import { doubt } from './room-doubts.ts';
import { isOfServer } from './room-faults.ts';
import { erasureOf } from './room-messages.ts';
import { memberName } from './room-names.ts';
import { enqueueRoom, hasRoom } from './room-outbox.ts';
import { theChannel } from './room-rows.ts';

/** How somebody was removed in a log that is no more; `isMine` when this account has done it. */
export type Removal = { readonly op: 'remove' | 'ban'; readonly isMine: boolean };

/** Who was removed behind a place and did not come back; before that part of the log is forgotten. */
export const removedSince = (core: Core, connection: RoomConnection, channelRow: number, seq: number) => {
  const me = getMemberById(core.db, connection.serverId, connection.row.memberId);
  const removed = new Map<MemberId, Removal>();
  for (const { op, member, memberRow } of listRemovals(core.db, channelRow, seq))
    if (op === 'remove' || op === 'ban') removed.set(member, { op, isMine: memberRow === me?.id });
    else removed.delete(member);
  return removed;
};

/** Deletes again what this account has deleted behind a place up to which the other log has it. Inside a transaction. */
export const eraseAgain = (
  core: Core,
  changes: Changes,
  { serverId, row }: RoomConnection,
  channelRow: number,
  seq: number,
): void => {
  const me = getMemberById(core.db, serverId, row.memberId);
  for (const id of listErasedSince(core.db, channelRow, me?.id ?? 0, seq)) {
    const message = getMessage(core.db, id);
    if (message === undefined || !hasRoom(core, serverId)) continue;
    enqueueRoom(core, changes, { serverId, channelRow }, erasureOf(core, message, channelRow));
  }
};

/** Tells who of those is in the channel. What waits there waits on until `removeReturned` has been. */
export const tellReturned = (core: Core, connection: RoomConnection, channelRow: number): void => {
  const { removed, returned } = connection.visit;
  const before = removed.get(channelRow);
  removed.delete(channelRow);
  const { membership, lastSeq } = theChannel(core.db, channelRow);
  const members = stateOfJson(membership)?.members;
  const back = [...(before ?? [])].filter(([id]) => members?.has(id) === true);
  if (back.length === 0) return;
  commit(core, (changes) => {
    const nameOf = (id: MemberId) =>
      memberName(core.db, getMemberById(core.db, connection.serverId, idBytes(id))?.id ?? null);
    const reason = `with the other history of the server those are back who were removed: ${back.map(([id]) => nameOf(id)).join(', ')}`;
    doubt(core, changes, channelRow, { fromSeq: lastSeq, toSeq: lastSeq, reason });
  });
  const mine = back.filter(([, { isMine }]) => isMine);
  if (mine.length > 0) returned.set(channelRow, new Map(mine));
};

/**
 * Removes again whom this account has removed. Where it may not any more, what waits goes on. Throws `server.*`: it is tried again
 * once the server is back.
 */
export const removeReturned = async (core: Core, connection: RoomConnection): Promise<void> => {
  const { returned } = connection.visit;
  for (const [channelRow, removed] of returned) {
    for (const [member, { op }] of removed) await removeAgain(core, channelRow, { op, member });
    returned.delete(channelRow);
    connection.sender.flush();
  }
};

// One whom somebody else has removed meanwhile keeps the others nowhere.
const removeAgain = async (core: Core, channelRow: number, control: Control): Promise<void> => {
  try {
    await publishControl(core, channelRow, control);
  } catch (error) {
    const known = expectedError(error);
    if (known === undefined || (isOfServer(known) && known.code !== 'rate.limited')) throw error;
    core.log.warn('channel.returned', { code: known.code });
  }
};
