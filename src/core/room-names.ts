// What the user's words mean in rooms: servers by label, channels as `#name` or `#name@server`, members as `name@server`.
import { SottoError } from '../protocol/errors.ts';
import { ID_BYTES, idOf } from '../protocol/ids.ts';
import { channelNameOf } from '../protocol/room-content.ts';
import type { Database } from '../sqlite/open.ts';
import { type ChannelRow, listChannels, listChannelsByName } from '../store/channels.ts';
import { getMember, listMembers, listMembersByName, type MemberRow } from '../store/members.ts';
import { getServerByLabel, labelOf, listServers, type ServerRow } from '../store/servers.ts';
import { ambiguous, begins, fitCalled, isPrefix, only, quoted } from './references.ts';
import { wasNeverIn } from './room-rows.ts';

/** Whether a reference can only mean a channel. */
export const isChannelReference = (reference: string): boolean => reference.startsWith('#');
/** Whether a reference can only mean a member. */
export const isMemberReference = (reference: string): boolean => /^[^#@]+@[^@]+$/.test(reference);

/** The server of this label or id; the only one when there is none given. Throws `server.unknown`, `name.ambiguous`. */
export const findServer = (db: Database, reference: string | undefined): ServerRow => {
  const servers = listServers(db);
  if (reference === undefined) {
    const [only, other] = servers;
    if (only === undefined)
      throw new SottoError('server.unknown', { message: 'You are in no server yet: sotto server join LINK' });
    if (other !== undefined) throw ambiguous(servers.map(serverFit));
    return only;
  }
  const byLabel = getServerByLabel(db, reference);
  if (byLabel !== undefined) return byLabel;
  const byId = isPrefix(reference) ? servers.filter((one) => begins(idOf(one.uid), reference)) : [];
  const labels = servers.map(({ label }) => label).join(', ');
  const others = labels === '' ? 'you are in none yet: sotto server join LINK' : `you are in ${labels}`;
  return only(
    byId,
    { code: 'server.unknown', message: `There is no server ${quoted(reference)}: ${others}` },
    serverFit,
  );
};

const serverFit = ({ uid, label }: ServerRow) => fitCalled(label, idOf(uid));

/** The channel that `#name`, `#name@server` or an id means. Throws `channel.unknown`, `name.ambiguous`, `server.unknown`. */
export const findChannel = (db: Database, reference: string): ChannelRow => {
  const { name, server } = splitChannel(db, reference);
  const isMeant = (one: ChannelRow): boolean =>
    (server === undefined || one.serverId === server.id) && isKnown(db, one);
  const byId = isPrefix(reference)
    ? listChannels(db).filter((one) => begins(idOf(one.channelId), reference) && isMeant(one))
    : [];
  // A whole id is nobody's name: whoever makes a channel may call it so.
  const isWhole = byId.length > 0 && reference.length === 2 * ID_BYTES;
  const byName = isWhole
    ? []
    : listChannelsByName(db, name).filter((one) => isMeant(one) && !byId.some(({ id }) => id === one.id));
  const isGone = (one: ChannelRow): boolean =>
    !isHere(one) && byName.some((other) => isHere(other) && isCalledAs(other, one));
  const meantOnes = [...byId, ...byName.filter((one) => !isGone(one))];
  const next =
    listServers(db).length === 0 ? 'sotto server join LINK' : 'sotto channel list --all shows which may be joined';
  const message = `You are in no channel ${quoted(reference)}: ${next}`;
  return only(meantOnes, { code: 'channel.unknown', message }, (one) => {
    const isOnlyOne = meantOnes.filter((other) => isCalledAs(other, one)).length === 1;
    const id = idOf(one.channelId);
    return { id, says: `#${one.name}@${labelOf(db, one.serverId)}${isOnlyOne ? '' : ` (${id})`}` };
  });
};

// Its name may have become that of another one since.
const isHere = ({ state }: ChannelRow): boolean => state === 'joined' || state === 'joining' || state === 'invited';

const isCalledAs = (one: ChannelRow, other: ChannelRow): boolean =>
  one.name === other.name && one.serverId === other.serverId;

/** Whether a channel of this name, with its `#`, is known on a server that was not left. */
export const hasChannel = (db: Database, name: string): boolean =>
  knownChannels(db, channelNameOf(name.slice(1))).length > 0;

/** The name and server that a channel's reference holds, whether or not the channel is known. Throws `server.unknown`. */
export const splitChannel = (
  db: Database,
  reference: string,
): { readonly name: string; readonly server: ServerRow | undefined } => {
  const at = reference.lastIndexOf('@');
  const bare = (at < 0 ? reference : reference.slice(0, at)).replace(/^#/, '');
  return {
    name: channelNameOf(bare),
    server: at < 0 ? undefined : findServer(db, reference.slice(at + 1)),
  };
};

/** The member's name and server. Throws `server.unknown`, or `member.unknown` for what is no `name@server`. */
export const splitMember = (db: Database, reference: string, inside?: ServerRow) => {
  const at = reference.lastIndexOf('@');
  const name = channelNameOf(at < 0 ? reference : reference.slice(0, at));
  return { name, server: at < 0 ? (inside ?? findServer(db, undefined)) : findServer(db, reference.slice(at + 1)) };
};

/** Members of this name that are known here, on servers that were not left. */
export const knownMembers = (db: Database, name: string): MemberRow[] =>
  listMembersByName(db, name).filter(({ serverId }) => labelOf(db, serverId) !== undefined);

/** The one of members on several servers. Throws `name.ambiguous` with `name@server` of each. */
export const onlyMember = (db: Database, fit: readonly MemberRow[]): MemberRow =>
  only(fit, { code: 'member.unknown' }, (one) => ({ id: `${one.name}@${labelOf(db, one.serverId)}` }));

/** Channels of this name that are known here, on servers that were not left. */
export const knownChannels = (db: Database, name: string): ChannelRow[] =>
  listChannelsByName(db, name).filter((one) => isKnown(db, one));

const isKnown = (db: Database, channel: ChannelRow): boolean =>
  labelOf(db, channel.serverId) !== undefined && !wasNeverIn(channel);

/** The one of several servers that have something of this name. Throws `name.ambiguous` with `name@server` of each. */
export const onlyServer = (fit: readonly ServerRow[], name: string): ServerRow =>
  only(fit, { code: 'server.unknown' }, ({ label }) => ({ id: `${name}@${label}` }));

/** A member that is known here. */
export const findKnownMember = (db: Database, server: ServerRow, name: string): MemberRow | undefined =>
  listMembersByName(db, name).find((one) => one.serverId === server.id);

/** The member whose id begins so; undefined for what is no id of somebody who is known here. Throws `name.ambiguous`. */
export const findMemberById = (db: Database, server: ServerRow, reference: string): MemberRow | undefined => {
  const fit = isPrefix(reference)
    ? listMembers(db, server.id).filter((one) => begins(idOf(one.memberId), reference))
    : [];
  if (fit.length === 0) return undefined;
  return only(fit, { code: 'member.unknown' }, ({ memberId, name }) => fitCalled(name, idOf(memberId)));
};

/** Who wrote a message in a room, as front ends name them. */
export const memberName = (db: Database, memberRow: number | null): string => {
  const row = memberRow === null ? undefined : getMember(db, memberRow);
  return row === undefined ? 'unknown' : row.name === '' ? idOf(row.memberId).slice(0, 8) : row.name;
};
