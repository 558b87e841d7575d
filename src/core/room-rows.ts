// Rows of rooms: those that must be there, and those of a conversation.
import { isEqual } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { idOf, type MemberId } from '../protocol/ids.ts';
import type { Role } from '../protocol/room-content.ts';
import type { Database } from '../sqlite/open.ts';
import { type ChannelRow, getChannel } from '../store/channels.ts';
import type { ConversationRow } from '../store/conversations.ts';
import { getMember, getMemberById, listDevices, type MemberRow } from '../store/members.ts';
import { getServer, type ServerRow } from '../store/servers.ts';
import { stateOfJson } from './channel-json.ts';

/** When this device came, in ms by its clock, if others of mine were on the server before. */
export const cameLater = (db: Database, serverId: number): number | undefined => {
  const server = theServer(db, serverId);
  const me = getMemberById(db, server.id, server.memberId);
  const devices = me === undefined ? [] : listDevices(db, me.id);
  const serial = devices.find(({ deviceId }) => isEqual(deviceId, server.deviceId))?.serial ?? 0;
  return devices.some((one) => one.serial < serial) ? serial : undefined;
};

/** From when on this device is given the keys of a channel, if others of mine had those of before: for what was said then none comes. */
export const keysSince = (db: Database, { encryption, serverId }: ChannelRow): number | undefined =>
  encryption === 'members' ? cameLater(db, serverId) : undefined;

/** That direct messages of a server may be missing, in words: it was put back, had kept them no longer, or left them out. */
export const missedOn = ({ label, missedUntil }: ServerRow): string[] => {
  const until = new Date(missedUntil).toISOString();
  return missedUntil === 0
    ? []
    : [
        `Some of what was said to you on ${label} before ${until} may be missing: ${label} has it no more, or left it out`,
      ];
};

/** Throws `channel.unknown`. */
export const theChannel = (db: Database, id: number): ChannelRow => {
  const row = getChannel(db, id);
  if (row === undefined) throw new SottoError('channel.unknown');
  return row;
};

/** Throws `server.unknown`. */
export const theServer = (db: Database, id: number): ServerRow => {
  const row = getServer(db, id);
  if (row === undefined) throw new SottoError('server.unknown');
  return row;
};

/** My role in a channel, by its signed events; undefined when I am not in it. */
export const ownRole = ({ membership }: ChannelRow, { memberId }: ServerRow): Role | undefined =>
  stateOfJson(membership)?.members.get(idOf<MemberId>(memberId))?.role;

/** Whether the server shows a channel no more in which I am by its signed events: nobody has said that I am not. */
export const isLost = (channel: ChannelRow, server: ServerRow): boolean =>
  channel.state === 'removed' && ownRole(channel, server) !== undefined;

/** Whether nothing is held of a channel but what it is: I was invited once, or tried to join. */
export const wasNeverIn = ({ state, firstSeq }: Pick<ChannelRow, 'state' | 'firstSeq'>): boolean =>
  state === 'left' && firstSeq === 0;

/** The channel that a conversation is in, or the member whom it is with; neither where it is with a contact. */
export const roomOf = (
  db: Database,
  { channelRow, memberRow }: Pick<ConversationRow, 'channelRow' | 'memberRow'>,
): { readonly channel: ChannelRow | undefined; readonly member: MemberRow | undefined } => ({
  channel: channelRow === null ? undefined : getChannel(db, channelRow),
  member: memberRow === null ? undefined : getMember(db, memberRow),
});
