// Where something may be said and fetched in rooms now, and why not elsewhere.
import { SottoError } from '../protocol/errors.ts';
import { idOf, type MemberId } from '../protocol/ids.ts';
import { FOREVER } from '../protocol/limits.ts';
import { asWord } from '../protocol/safe-text.ts';
import { type ChannelRow, getChannelKey, hasChannelKey } from '../store/channels.ts';
import type { ConversationRow } from '../store/conversations.ts';
import type { MemberRow } from '../store/members.ts';
import { getServer, labelOf, type ServerRow } from '../store/servers.ts';
import { stateOfJson } from './channel-json.ts';
import type { Core } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { serverLeft } from './room-control.ts';
import type { RoomTo } from './room-outbox.ts';
import { isLost, roomOf } from './room-rows.ts';

/** A room of which something may be said, and its server. */
export type Place = { readonly to: RoomTo; readonly server: ServerRow };

/** Where I may write now. Throws when I may not, with the reason; what `erases` may also where nothing is written. */
export const placeOf = (core: Core, conversation: ConversationRow, does: 'writes' | 'erases' = 'writes'): Place => {
  const { channel, member } = roomOf(core.db, conversation);
  const server = getServer(core.db, channel?.serverId ?? member?.serverId ?? 0);
  if (server === undefined) throw new SottoError('server.unknown');
  if (server.state === 'left') throw serverLeft(server);
  const connection = core.rooms.get(server.id);
  if (server.state === 'banned' || connection?.state === 'banned') throw notLetIn(server, connection);
  if (channel !== undefined) {
    if (channel.state === 'banned') throw new SottoError('channel.banned');
    if (channel.state !== 'joined' && channel.state !== 'joining') throw notIn(server, channel);
    if (does === 'writes' && channel.state === 'joined') checkWriting(core, server, channel);
    return { to: { serverId: server.id, channelRow: channel.id }, server };
  }
  if (member === undefined) throw new SottoError('member.unknown');
  if (does === 'writes' && connection?.visit.erased.has(idOf(member.memberId)) === true)
    throw new SottoError('member.unknown', { message: `${member.name} is no member of ${server.label} any more` });
  if (member.blocked === 1) throw rejected(core, member);
  return { to: { serverId: server.id, memberRow: member.id }, server };
};

// A ban may have been taken back.
const notLetIn = ({ label }: ServerRow, connection: RoomConnection | undefined): SottoError => {
  const error = connection?.lastError ?? new SottoError('server.banned');
  connection?.askAgain();
  if (error.code !== 'server.banned') return error;
  return new SottoError('server.banned', {
    message: `You are banned from ${label}, or were removed; it is asked again now and every few minutes: sotto why ${asWord(label)}`,
  });
};

const checkWriting = (core: Core, server: ServerRow, channel: ChannelRow): void => {
  const state = stateOfJson(channel.membership);
  if (state?.archived === true) throw new SottoError('channel.archived');
  const mutedUntil = state?.members.get(idOf<MemberId>(server.memberId))?.mutedUntil ?? 0;
  if (mutedUntil > core.clock.now()) throw muted(channel, mutedUntil);
  if (needsPassphrase(core, channel))
    throw new SottoError('passphrase.needed', { message: passphraseText(core, server, channel) });
};

/** Whether a channel that I am in has another passphrase than the one that this device has taken. */
export const needsPassphrase = ({ db }: Core, { id, encryption, state, membership }: ChannelRow): boolean =>
  encryption === 'passphrase' &&
  state === 'joined' &&
  getChannelKey(db, id, stateOfJson(membership)?.epoch ?? 0) === undefined;

/** For a channel whose passphrase this device needs: that, and the command that takes it. */
export const passphraseText = (core: Core, server: ServerRow, channel: ChannelRow): string =>
  hasChannelKey(core.db, channel.id)
    ? `The passphrase has changed: ${joining(server, channel)} takes the new one`
    : `This device needs the passphrase: ${joining(server, channel)} takes it`;

const notIn = (server: ServerRow, channel: ChannelRow): SottoError => {
  const what = isLost(channel, server)
    ? lostText(server, channel)
    : `You ${channel.state === 'removed' ? 'were removed from' : 'are not in'} #${channel.name}: ${wayIn(server, channel)}`;
  return new SottoError('channel.notMember', { message: what });
};

// A public channel shows who was removed: of a private one nobody knows which it is.
const lostText = (server: ServerRow, channel: ChannelRow): string => {
  const why = channel.private === 0 ? 'it may have lost it' : 'you were removed, or it has lost it';
  return `${server.label} shows #${channel.name} no more: ${why}. What was said stays here; if it is there still, ${wayIn(server, channel)}`;
};

// Where one joins by invitation only, nobody comes back without one.
const wayIn = (server: ServerRow, channel: ChannelRow): string => {
  const isInvited = stateOfJson(channel.membership)?.invited.has(idOf<MemberId>(server.memberId)) === true;
  const isFree = channel.encryption !== 'members' && channel.private === 0;
  if (isFree || isInvited) return joining(server, channel);
  return `ask a moderator for an invitation, then ${joining(server, channel)}`;
};

// With its server: there may be another of that name.
const joining = ({ label }: ServerRow, { name }: ChannelRow): string =>
  `sotto channel join ${asWord(`#${name}@${label}`)}`;

const muted = ({ name }: ChannelRow, untilAt: number): SottoError => {
  const end = untilAt > DATE_MS_MAX ? 'until a moderator lets you' : `until ${new Date(untilAt).toISOString()}`;
  return new SottoError('channel.muted', {
    message: `You may not write in #${name} ${end}`,
    details: untilAt === FOREVER ? {} : { untilAt },
  });
};

// The last time that a Date can be: ECMAScript, time values. A moderator may write a later one, and mean for ever.
const DATE_MS_MAX = 8.64e15;

/** Throws when a file of a room is not to be fetched: one of a member whom I have not let in. */
export const checkRoomFetch = (core: Core, conversation: ConversationRow): void => {
  const { member } = roomOf(core.db, conversation);
  if (member === undefined || member.request === 'accepted') return;
  if (member.blocked === 1) throw rejected(core, member);
  throw new SottoError('contact.notAccepted', {
    message: `${member.name} waits for your answer: ${acceptance(core, member)}`,
  });
};

const rejected = (core: Core, member: MemberRow): SottoError =>
  new SottoError('contact.blocked', {
    message: `You have rejected ${member.name}: ${acceptance(core, member)} lets them in again`,
  });

const acceptance = (core: Core, { name, serverId }: MemberRow): string =>
  `sotto member accept ${asWord(name)}@${asWord(labelOf(core.db, serverId) ?? '')}`;
