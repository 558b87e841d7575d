// What of a conversation is not here, in words: what may still come, and what this device can never have.
import { DAY_MS } from '../protocol/limits.ts';
import { type ChannelRow, countGaps, listGaps, listUnfinishedChannels } from '../store/channels.ts';
import { listHistory } from '../store/contacts.ts';
import type { ConversationRow } from '../store/conversations.ts';
import { getMemberById, type MemberRow } from '../store/members.ts';
import { countPending, countPendingBefore } from '../store/room-events.ts';
import { listServers } from '../store/servers.ts';
import { stateOfJson } from './channel-json.ts';
import type { Core } from './core.ts';
import { needsPassphrase, passphraseText } from './room-places.ts';
import { cameLater, keysSince, missedOn, roomOf, theChannel, theServer } from './room-rows.ts';

/** What of a conversation is known to be missing here, in words; nothing where all is here that was to be seen. */
export const missingIn = (core: Core, conversation: ConversationRow): { readonly missing?: string[] } => {
  const { channel, member } = roomOf(core.db, conversation);
  const missing =
    channel !== undefined
      ? missingInChannel(core, channel)
      : member !== undefined
        ? missingWith(core, member)
        : restoredIn(core, conversation);
  return missing.length === 0 ? {} : { missing };
};

// Between a backup and its restore others may have said something to the account that was.
const restoredIn = (core: Core, { contactId }: ConversationRow): string[] =>
  listHistory(core.db, contactId ?? 0)
    .filter(({ kind }) => kind === 'account.restored')
    .map(({ detail }) => `This account was restored: ${detail}`);

const earlierText = (core: Core, { firstSeq, history, encryption, name, serverId }: ChannelRow): string => {
  if (history === 'all') return `What was said before place ${firstSeq} is not here`;
  const text = `What was said before you joined, at place ${firstSeq}, is not here`;
  if (encryption !== 'members') return text;
  const me = getMemberById(core.db, serverId, theServer(core.db, serverId).memberId)?.name ?? 'you';
  return `${text}: a member may show it (channel share-history '#${name}' ${me})`;
};

// Before the first event that is held nothing was said where all of it made the channel and let people in.
const isEarlier = ({ firstSeq, membership }: ChannelRow): boolean =>
  firstSeq > 1 + (stateOfJson(membership)?.opening ?? 0);

const placesText = (fromSeq: number, toSeq: number): string =>
  fromSeq === toSeq ? `Place ${fromSeq}` : `Places ${fromSeq} to ${toSeq}`;

const missingInChannel = (core: Core, row: ChannelRow): string[] => [
  ...(isEarlier(row) ? [earlierText(core, row)] : []),
  ...listGaps(core.db, row.id).map(({ fromSeq, toSeq, reason }) => `${placesText(fromSeq, toSeq)}: ${reason}`),
  ...beforeIn(core, row),
  ...notYetIn(core, row),
  ...(isEntered(row) ? missingSince(core, row.serverId) : []),
];

const isEntered = ({ state }: ChannelRow): boolean => state === 'joined' || state === 'joining';

// What may still come.
const notYetIn = (core: Core, row: ChannelRow): string[] => {
  const connection = core.rooms.get(row.serverId);
  const fault = connection?.visit.faults.get(row.id);
  const head = connection?.background.headOf(row.id);
  const coming = `What was said after place ${row.lastSeq} is not here yet: it is being fetched`;
  return [
    ...(needsPassphrase(core, row) ? [passphraseText(core, theServer(core.db, row.serverId), row)] : []),
    ...closedIn(core, row),
    ...(fault === undefined ? [] : [`What was said after place ${row.lastSeq} is not read: ${fault.message}`]),
    ...(row.state !== 'joining' || fault !== undefined
      ? []
      : [head === undefined ? coming : `${coming} (${row.lastSeq} of ${head})`]),
  ];
};

/**
 * What of all conversations in rooms may still come, and in which of them something is lost, in words, so many at most; of what is
 * unread what was lost lately. Nothing where all is here.
 */
export const missingAnywhere = (
  core: Core,
  { of }: { readonly of: 'all' | 'unread' },
): { readonly missing?: string[] } => {
  const missing: string[] = [];
  const newSince = core.clock.now() - MISSED_NEW_MS;
  for (const server of listServers(core.db)) {
    missing.push(...missingSince(core, server.id));
    if (of === 'all' || server.missedUntil > newSince) missing.push(...missedOn(server));
    const faulty = core.rooms.get(server.id)?.visit.faults.keys() ?? [];
    const gaps = countGaps(core.db, server.id, of);
    for (const id of new Set([...gaps.keys(), ...listUnfinishedChannels(core.db, server.id), ...faulty])) {
      const row = theChannel(core.db, id);
      const name = `#${row.name}@${server.label}`;
      missing.push(...[...gapsText(name, gaps.get(id)), ...notYetIn(core, row)].map((text) => `${name}: ${text}`));
    }
  }
  const rest = missing.length - MISSING_MAX;
  const told = rest > 0 ? [...missing.slice(0, MISSING_MAX), `… and ${rest} more`] : missing;
  return told.length === 0 ? {} : { missing: told };
};
const MISSING_MAX = 20;
// Who looks for what is new is not told for ever of what was lost once.
const MISSED_NEW_MS = 7 * DAY_MS;

const gapsText = (name: string, count = 0): string[] =>
  count === 0
    ? []
    : [`something is missing at ${count === 1 ? '1 place' : `${count} places`}: sotto read '${name}' tells what`];

// While there is no connection to a server, what is said there goes by.
const missingSince = (core: Core, serverId: number): string[] => {
  const server = theServer(core.db, serverId);
  if (server.state !== 'joined' || core.rooms.get(serverId)?.state === 'online') return [];
  return [`Not connected to ${server.label}: what was said there meanwhile is not here yet`];
};

// What was sealed before this device was there was sealed for others of mine.
const missingWith = (core: Core, { serverId }: MemberRow): string[] => {
  const cameAt = cameLater(core.db, serverId);
  const came = `What was said before ${new Date(cameAt ?? 0).toISOString()}, when this device came, may be on others of yours only`;
  return [
    ...(cameAt === undefined ? [] : [came]),
    ...missedOn(theServer(core.db, serverId)),
    ...missingSince(core, serverId),
  ];
};

const newerText = (count: number): string =>
  `${count === 1 ? '1 change' : `${count} changes`} of a newer version of sotto: who is in the channel, and how, may be otherwise`;

const waitingText = (count: number): string =>
  count === 1 ? '1 message waits for its key' : `${count} messages wait for their key`;

const beforeText = (count: number): string =>
  `${count === 1 ? '1 message is' : `${count} messages are`} of before this device came: others of yours may show ${count === 1 ? 'it' : 'them'}`;

/** What of the events that are held did not open, or is not understood, in words. */
export const unopenedIn = (core: Core, row: ChannelRow): string[] => [...beforeIn(core, row), ...closedIn(core, row)];

// What may open yet, and what a newer version may tell.
const closedIn = (core: Core, row: ChannelRow): string[] => {
  const waiting = countPending(core.db, row.id) - pendingBefore(core, row);
  const changed = stateOfJson(row.membership)?.unknown ?? 0;
  return [...(waiting === 0 ? [] : [waitingText(waiting)]), ...(changed === 0 ? [] : [newerText(changed)])];
};

const beforeIn = (core: Core, row: ChannelRow): string[] => {
  const before = pendingBefore(core, row);
  return before === 0 ? [] : [beforeText(before)];
};

// Keys of members are given to the devices that there are: none comes for what was said before.
const pendingBefore = (core: Core, row: ChannelRow): number => {
  const cameAt = keysSince(core.db, row);
  return cameAt === undefined ? 0 : countPendingBefore(core.db, row.id, cameAt);
};
