// A channel as it was at a time, from its verified events: bodies, edits, reactions, topic, members. What was erased since shows as erased.
import { idOf } from '../protocol/ids.ts';
import type { Message } from '../protocol/rpc.ts';
import type { ChannelRow } from '../store/channels.ts';
import { listMessagesBefore, listVersions, type MessageRow } from '../store/messages.ts';
import { lastRoomEventOf, listRoomEventsOfMessage, roomSeqAt } from '../store/room-events.ts';
import type { Core } from './core.ts';
import { messageObject } from './objects.ts';
import { conversationOfChannel } from './room-apply.ts';
import { memberName } from './room-names.ts';

/** Up to `limit` messages of a channel as they were at `at`, oldest first, the page that ends there (or before a row). */
export const rewind = (
  core: Core,
  channel: ChannelRow,
  options: { readonly at: number; readonly beforeRow: number; readonly limit: number },
): Message[] => {
  const seq = roomSeqAt(core.db, channel.id, options.at);
  const conversation = conversationOfChannel(core, channel);
  const found: Message[] = [];
  let before = options.beforeRow;
  while (found.length < options.limit) {
    const rows = listMessagesBefore(core.db, conversation.id, before, options.limit).reverse();
    if (rows.length === 0) break;
    for (const row of rows) {
      before = row.id;
      if (row.seq !== null && row.seq <= seq && found.length < options.limit) found.push(asOf(core, row, seq));
    }
  }
  return found.reverse();
};

/** The topic of a channel at a time. */
export const topicAt = (core: Core, channel: ChannelRow, at: number): string =>
  lastRoomEventOf(core.db, channel.id, 'topic', roomSeqAt(core.db, channel.id, at))?.value ?? '';

const asOf = (core: Core, row: MessageRow, seq: number): Message => {
  const now = messageObject(core, row);
  const events = listRoomEventsOfMessage(core.db, row.id, seq);
  // The bodies are gone from here as from everywhere: that something was there is all that can be told.
  if (row.deletedAt !== null) return now;
  const edits = events.filter(({ kind, value }) => kind === 'edit' && value !== '').length;
  const versions = [...listVersions(core.db, row.id), { body: row.body, at: row.editedAt ?? row.sentAt }];
  const version = versions[Math.min(edits, versions.length - 1)];
  const reactions = new Map<string, Message['reactions'][number]>();
  let pinnedAt: number | undefined;
  for (const { kind, value, memberRow, at } of events) {
    const from = memberName(core.db, memberRow);
    if (kind === 'react')
      reactions.set(`${memberRow} ${value}`, { emoji: value, from, mine: from === now.from && now.mine });
    if (kind === 'unreact') reactions.delete(`${memberRow} ${value}`);
    if (kind === 'pin') pinnedAt = at;
    if (kind === 'unpin') pinnedAt = undefined;
  }
  const { editedAt: _editedAt, pinnedAt: _pinnedAt, ...rest } = now;
  return {
    ...rest,
    id: idOf(row.messageId),
    body: version?.body ?? row.body,
    reactions: [...reactions.values()],
    ...(edits > 0 && version !== undefined ? { editedAt: version.at } : {}),
    ...(pinnedAt === undefined ? {} : { pinnedAt }),
  };
};
