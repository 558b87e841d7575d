// What the user's words mean in rooms: servers by label, channels as `#name` or `#name@server`, members as `name@server`.
import { SottoError } from '../protocol/errors.ts';
import { ID_PREFIX_MIN, idOf } from '../protocol/ids.ts';
import { channelNameOf } from '../protocol/room-content.ts';
import type { Database } from '../sqlite/open.ts';
import { type ChannelRow, listChannels, listChannelsByName } from '../store/channels.ts';
import { getMember, listMembersByName, type MemberRow } from '../store/members.ts';
import { getServerByLabel, listServers, type ServerRow } from '../store/servers.ts';

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
    if (other !== undefined) throw ambiguous(servers.map(({ label }) => label));
    return only;
  }
  const byLabel = getServerByLabel(db, reference);
  if (byLabel !== undefined) return byLabel;
  const byId = isPrefix(reference) ? servers.filter((one) => idOf(one.uid).startsWith(reference)) : [];
  const [found] = byId;
  if (found === undefined || byId.length > 1)
    throw new SottoError('server.unknown', { message: `There is no server ${JSON.stringify(reference.slice(0, 80))}` });
  return found;
};

/** The channel that `#name`, `#name@server` or an id means. Throws `channel.unknown`, `name.ambiguous`, `server.unknown`. */
export const findChannel = (db: Database, reference: string): ChannelRow => {
  const { name, server } = splitChannel(db, reference);
  const fit = (
    isPrefix(reference)
      ? listChannels(db).filter((one) => idOf(one.channelId).startsWith(reference))
      : listChannelsByName(db, name)
  ).filter((one) => (server === undefined || one.serverId === server.id) && labelOf(db, one.serverId) !== undefined);
  const [found] = fit;
  if (found === undefined)
    throw new SottoError('channel.unknown', {
      message: `There is no channel ${JSON.stringify(reference.slice(0, 80))}`,
    });
  if (fit.length > 1) throw ambiguous(fit.map((one) => `#${one.name}@${labelOf(db, one.serverId)}`));
  return found;
};

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

/** A member that is known here. */
export const findKnownMember = (db: Database, server: ServerRow, name: string): MemberRow | undefined =>
  listMembersByName(db, name).find((one) => one.serverId === server.id);

/** What this account calls the server of a row; undefined for one that was left. */
export const labelOf = (db: Database, serverId: number): string | undefined =>
  listServers(db).find((one) => one.id === serverId)?.label;

/** Who wrote a message in a room, as front ends name them. */
export const memberName = (db: Database, memberRow: number | null): string => {
  const row = memberRow === null ? undefined : getMember(db, memberRow);
  return row === undefined ? 'unknown' : row.name === '' ? idOf(row.memberId).slice(0, 8) : row.name;
};

const isPrefix = (text: string): boolean =>
  text.length >= ID_PREFIX_MIN && text.length <= 32 && /^[0-9a-f]+$/.test(text);

const ambiguous = (candidates: readonly string[]): SottoError =>
  new SottoError('name.ambiguous', {
    message: `More than one fits: ${candidates.join(', ')}`,
    details: { candidates },
  });
