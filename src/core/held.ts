// Why what is written now waits, where that is known as it is written: a sentence for whoever wrote it.
import { rankOf } from '../crypto/channel-state.ts';
import { idOf } from '../protocol/ids.ts';
import { pausedText } from '../protocol/paused.ts';
import { asWord } from '../protocol/safe-text.ts';
import { durationText } from '../protocol/time-words.ts';
import type { ChannelRow } from '../store/channels.ts';
import { type ContactRow, getContact } from '../store/contacts.ts';
import type { ConversationRow } from '../store/conversations.ts';
import type { MemberRow } from '../store/members.ts';
import type { ServerRow } from '../store/servers.ts';
import { stateOfJson } from './channel-json.ts';
import type { Core } from './core.ts';
import { otherKeyOf } from './room-faults.ts';
import { ownRole, roomOf, theServer } from './room-rows.ts';
import { torOffText } from './why.ts';

/** Why a text in a conversation waits; undefined where nothing is known to be in its way. */
export const heldBack = (core: Core, conversation: ConversationRow): string | undefined => {
  const contact = conversation.contactId === null ? undefined : getContact(core.db, conversation.contactId);
  if (contact !== undefined) return heldFrom(core, contact);
  const { channel, member } = roomOf(core.db, conversation);
  const serverId = (channel ?? member)?.serverId;
  if (otherKeyOf(core, serverId) !== undefined) return heldByOther(theServer(core.db, serverId ?? 0));
  const away = serverId === undefined ? undefined : heldByAbsent(core, serverId);
  if (away !== undefined) return away;
  if (channel !== undefined) return heldIn(core, channel);
  const isBanned = member !== undefined && core.rooms.get(member.serverId)?.visit.banned.has(idOf(member.memberId));
  return isBanned === true ? bannedText(member, theServer(core.db, member.serverId)) : undefined;
};

/** Why what is said to a member waits whom the server has banned. */
export const bannedText = ({ name }: MemberRow, { label }: ServerRow): string =>
  `${name} is banned from ${label}: what is for them waits until that is taken back`;

const heldFrom = (core: Core, { name, paused }: ContactRow): string | undefined => {
  if (core.network.state.state === 'off') return torOffText(core);
  if (paused === '') return undefined;
  const why = `sotto why ${asWord(name)}`;
  if (paused === 'notContact') return `${name} does not have you as a contact: it waits; ${why}`;
  return `It waits for ${name}: ${pausedText(paused)}; ${why}`;
};

const heldByOther = ({ label }: ServerRow): string =>
  `Somebody else answers at the address of ${label}, with another key: it waits, and nothing was sent there; sotto why ${asWord(label)}`;

// Until a try has failed nothing is known to be wrong.
const heldByAbsent = (core: Core, serverId: number): string | undefined => {
  const connection = core.rooms.get(serverId);
  if (connection === undefined || connection.state === 'online' || connection.lastError === undefined) return undefined;
  const { label } = theServer(core.db, serverId);
  return `Not connected to ${label}: it waits, and goes by itself; sotto why ${asWord(label)}`;
};

// Whom a channel makes wait is told so before the server's answer: when it goes, only the server knows.
const heldIn = (core: Core, channel: ChannelRow): string | undefined => {
  const server = theServer(core.db, channel.serverId);
  const slowMs = stateOfJson(channel.membership)?.mode.slowMs ?? 0;
  const role = ownRole(channel, server);
  if (slowMs === 0 || role === undefined || rankOf(role) >= rankOf('moderator')) return undefined;
  const name = `#${channel.name}`;
  const goesAt = core.rooms.get(server.id)?.sender.goesAt(channel.id);
  if (goesAt === undefined)
    return `${name} takes one text of yours every ${durationText(slowMs)}: sotto why ${asWord(`${name}@${server.label}`)} tells when one that waits goes`;
  return `${name} is in slow mode: what waits there goes on in ${roundText(goesAt - core.clock.now())}`;
};

const MINUTE_MS = 60_000;

// Up to two minutes in seconds, then in minutes.
const roundText = (ms: number): string => {
  const step = ms > 2 * MINUTE_MS ? MINUTE_MS : 1_000;
  return durationText(Math.max(1, Math.ceil(ms / step)) * step);
};
