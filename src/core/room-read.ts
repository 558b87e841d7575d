// What is read in rooms: rows here, and receipts to members who write to me.
import { idOf } from '../protocol/ids.ts';
import { RECEIPT_TARGETS_MAX } from '../protocol/limits.ts';
import { patchChannel } from '../store/channels.ts';
import { addMentions, addUnread, type ConversationRow } from '../store/conversations.ts';
import type { MemberRow } from '../store/members.ts';
import { lastSeqUpTo, listUnreadUpToSeq } from '../store/message-pages.ts';
import { type MessageRow, patchMessage } from '../store/messages.ts';
import { getServer } from '../store/servers.ts';
import { type Changes, type Core, commit, detach } from './core.ts';
import { tellOwnDevices } from './room-devices.ts';
import { enqueueReceipt, hasRoom } from './room-outbox.ts';
import { roomOf } from './room-rows.ts';
import { settingOf } from './settings.ts';

/** Marks the unread messages of a room up to a seq as read; with `receipts` a member hears of theirs, where that is set. */
export const markReadUpTo = (
  core: Core,
  changes: Changes,
  conversation: ConversationRow,
  seq: number,
  options: { readonly receipts: boolean },
): void => {
  const { member: author } = roomOf(core.db, conversation);
  const receipts = options.receipts && author !== undefined && tellsRead(core, conversation, author);
  for (;;) {
    const rows = listUnreadUpToSeq(core.db, conversation.id, seq, RECEIPT_TARGETS_MAX);
    for (const row of rows) patchMessage(core.db, row.id, { unread: 0, readAt: changes.at });
    addUnread(core.db, conversation.id, -rows.length);
    addMentions(core.db, conversation.id, -rows.filter(({ mention }) => mention === 1).length);
    if (receipts && rows.length > 0) tellRead(core, changes, author, rows);
    if (rows.length < RECEIPT_TARGETS_MAX) return;
  }
};

/** Whether a member hears what of theirs was read. */
export const tellsRead = (core: Core, { uid }: ConversationRow, member: MemberRow): boolean =>
  isLetIn(member) && settingOf(core.db, 'privacy.readReceipts', idOf(uid));

/** Whether I have let a member write to me. */
export const isLetIn = ({ request, blocked }: MemberRow): boolean => request === 'accepted' && blocked === 0;

/** Tells a member that messages of theirs were read. Where there is no room for that they are not told: what is read here is read. */
export const tellRead = (
  core: Core,
  changes: Changes,
  { id, serverId }: MemberRow,
  rows: readonly Pick<MessageRow, 'messageId'>[],
): void => {
  if (!hasRoom(core, serverId)) return;
  const targets = rows.map(({ messageId }) => idOf(messageId));
  enqueueReceipt(core, changes, { serverId, memberRow: id }, { targets, state: 'read' });
  core.rooms.get(serverId)?.receipts.forget(id, targets);
};

/** Marks a room's messages up to a row as read, here and for my other devices. */
export const markRoomRead = (core: Core, conversation: ConversationRow, upToRow: number): void => {
  const { channel, member } = roomOf(core.db, conversation);
  const server = member === undefined ? undefined : getServer(core.db, member.serverId);
  // A place that a server has only told of is none yet.
  const seq = Math.min(lastSeqUpTo(core.db, conversation.id, upToRow), channel?.lastSeq ?? Number.MAX_SAFE_INTEGER);
  if (seq === 0) return;
  commit(core, (changes) => {
    const isNews = conversation.unread > 0;
    markReadUpTo(core, changes, conversation, seq, { receipts: true });
    if (isNews && member !== undefined && server !== undefined)
      tellOwnDevices(core, changes, server, { kind: 'marked', of: idOf(member.memberId), epoch: server.epoch, seq });
    if (channel !== undefined && seq > channel.readSeq) patchChannel(core.db, channel.id, { readSeq: seq });
  });
  const connection = channel === undefined ? undefined : core.rooms.get(channel.serverId);
  if (channel === undefined || connection === undefined || connection.state !== 'online' || seq < channel.readSeq)
    return;
  // Another device learns it from the server, one that is away in its own time; one that has missed it, when it is said again.
  detach(core, connection.request('mark', { channel: idOf(channel.channelId), seq }));
};
