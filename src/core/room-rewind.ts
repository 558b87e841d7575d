// A channel as it was at a time, from its verified events: bodies, edits, reactions, topic, members. What was erased since shows as erased.
import { idOf, type MemberId } from '../protocol/ids.ts';
import type { Role } from '../protocol/room-content.ts';
import type { Message } from '../protocol/rpc-objects.ts';
import type { ChannelObject } from '../protocol/rpc-rooms.ts';
import type { ChannelRow } from '../store/channels.ts';
import { getMemberById } from '../store/members.ts';
import { listMessagesBack, type Place, placeOf } from '../store/message-pages.ts';
import { listVersions, type MessageRow } from '../store/messages.ts';
import {
  countEpochsBehind,
  endAt,
  getHeld,
  isArchivedAt,
  listRolesAt,
  listRoomEventsOfMessage,
  roomSeqAt,
  topicAt,
} from '../store/room-events.ts';
import { stateOfJson } from './channel-json.ts';
import type { Core } from './core.ts';
import { fillPage } from './fill-page.ts';
import { authorOf, messageObject, nothingSeen, type Seen } from './objects.ts';
import { callsMe } from './room-mentions.ts';
import { channelDetail, memberList, wayInto } from './room-objects.ts';
import { theServer } from './room-rows.ts';
import { conversationOfChannel, type RoomScene } from './room-scene.ts';

/**
 * Up to `limit` messages of a channel as they were at `at`, or as many as fit an answer, in the order of its log: the last ones then, or those before row
 * `beforeRow`.
 */
export const rewind = (
  core: Core,
  channel: ChannelRow,
  options: {
    readonly at: number;
    readonly beforeRow: number | undefined;
    readonly limit: number;
    readonly thread: Uint8Array | null;
  },
): { readonly messages: Message[]; readonly more: boolean } => {
  const { at, beforeRow, limit, thread } = options;
  const seq = roomSeqAt(core.db, channel.id, at);
  const conversation = conversationOfChannel(core, channel);
  const end = { seq: seq + 1, id: 0 };
  const before = beforeRow === undefined ? end : placeOf(core.db, conversation.id, beforeRow);
  const server = theServer(core.db, channel.serverId);
  const me = getMemberById(core.db, server.id, server.memberId)?.id;
  const then = { seq, me, seen: { ...nothingSeen(), upTo: seq }, server, state: stateOfJson(channel.membership) };
  const first = before.seq > seq ? end : before;
  const { rows, more } = fillPage<SeenThen>(limit, (last, wanted) =>
    listMessagesBack(core.db, conversation.id, last?.place ?? first, wanted, thread).map((row) => {
      const message = asOf(core, row, then);
      return { message, body: message.body, place: { seq: row.seq ?? 0, id: row.id } };
    }),
  );
  return { messages: rows.map(({ message }) => message).reverse(), more };
};

/**
 * A channel as it was at a time: its topic, who was in it and what I was there, of what we could see; `notCreated`, before it was made.
 * What is known of now only is left out.
 */
export const channelAt = (core: Core, channel: ChannelRow, at: number): ChannelObject => {
  const seq = roomSeqAt(core.db, channel.id, at);
  const { id, name, server, encryption, history, keyEpoch, notify, gaps, ...now } = channelDetail(core, channel);
  const topic = topicAt(core.db, channel.id, seq);
  const isMade = seq > 0 || getHeld(core.db, channel.id, FIRST_SEQ) === undefined;
  const members = isMade ? membersAt(core, channel, seq) : new Map<MemberId, Role>();
  const role = members.get(ownId(core, channel));
  return {
    ...{ id, name, server, encryption, history, notify, gaps, private: now.private },
    keyEpoch: isMade ? keyEpoch - countEpochsBehind(core.db, channel, seq) : 0,
    state: !isMade ? 'notCreated' : role === undefined ? outsideAt(core, channel, seq) : 'joined',
    // The last one who goes archives it, too.
    archived: now.archived && isMade && (members.size === 0 || isArchivedAt(core.db, channel.id, seq)),
    ...(role === undefined ? {} : { role }),
    ...(topic === '' ? {} : { topic }),
    memberCount: members.size,
    members: memberList(core, channel, members),
  };
};

const ENDS = { remove: 'removed', ban: 'banned', leave: 'left' } as const;

const outsideAt = (core: Core, channel: ChannelRow, seq: number): ChannelObject['state'] => {
  const kind = endAt(core.db, channel.id, ownId(core, channel), seq);
  return kind === undefined ? wayInto(channel) : ENDS[kind];
};

const ownId = ({ db }: Core, { serverId }: ChannelRow): MemberId => idOf<MemberId>(theServer(db, serverId).memberId);

// The event that makes a channel.
const FIRST_SEQ = 1;

// Those of now, and of each whom a control has changed since, what they were before the first one.
const membersAt = (core: Core, channel: ChannelRow, seq: number): Map<MemberId, Role> => {
  const { members = new Map() } = stateOfJson(channel.membership) ?? {};
  const roles = new Map<MemberId, Role>([...members].map(([id, { role }]) => [id, role]));
  for (const { member, role } of listRolesAt(core.db, channel.id, seq))
    if (role === null) roles.delete(member);
    else roles.set(member, role);
  return roles;
};

type SeenThen = { readonly message: Message; readonly body: string; readonly place: Place };

type Then = Pick<RoomScene, 'server' | 'state'> & {
  readonly seq: number;
  readonly me: number | undefined;
  readonly seen: Seen;
};

const asOf = (core: Core, row: MessageRow, then: Then): Message => {
  const { seq, me, seen } = then;
  const now = messageObject(core, row, seen);
  // The bodies are gone from here as from everywhere: that something was there is all that can be told.
  if (row.deletedAt !== null) return now;
  const events = listRoomEventsOfMessage(core.db, row.id, seq);
  // By their numbers: two devices of one author may have said the same.
  const edits = new Set(events.flatMap(({ kind, value }) => (kind === 'edit' && value !== '' ? [value] : []))).size;
  const before = row.editNumber === 0 ? [] : listVersions(core.db, row.id);
  const versions = [...before, { body: row.body, at: row.editedAt ?? row.sentAt }];
  const version = versions[Math.min(edits, versions.length - 1)];
  const reactions = new Map<string, Message['reactions'][number]>();
  let pinnedAt: number | undefined;
  for (const { kind, value, memberRow, at } of events) {
    const from = authorOf(core, memberRow, seen);
    if (kind === 'react') reactions.set(`${memberRow} ${value}`, { emoji: value, from, mine: memberRow === me });
    if (kind === 'unreact') reactions.delete(`${memberRow} ${value}`);
    if (kind === 'pin') pinnedAt = at;
    if (kind === 'unpin') pinnedAt = undefined;
  }
  const { editedAt: _editedAt, pinnedAt: _pinnedAt, mention, ...rest } = now;
  const body = version?.body ?? row.body;
  const isForMe = body === row.body ? mention === true : row.mine === 0 && callsMe({ core, ...then }, body);
  return {
    ...rest,
    body,
    ...(isForMe ? { mention: true } : {}),
    reactions: [...reactions.values()],
    ...(edits > 0 && version !== undefined ? { editedAt: version.at } : {}),
    ...(pinnedAt === undefined ? {} : { pinnedAt }),
  };
};
