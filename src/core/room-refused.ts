// Takes back what was shown of a change of mine that the server will not take: nothing is shown that the others do not have.
import { idBytes } from '../protocol/ids.ts';
import type { Content } from '../protocol/room-content.ts';
import type { Direct } from '../protocol/room-direct.ts';
import { patchChannel } from '../store/channels.ts';
import { getConversationOfChannel, getConversationOfMember } from '../store/conversations.ts';
import { getMemberById } from '../store/members.ts';
import { getMessageById, type MessageRow, patchMessage, takeBackEdit } from '../store/messages.ts';
import { putReaction, removeReaction } from '../store/reactions.ts';
import { listRoomEventsOfMessage, topicAt } from '../store/room-events.ts';
import { listRoomOutboxAbout, type RoomOutboxRow, removeRoomOutbox } from '../store/room-outbox.ts';
import { getServer } from '../store/servers.ts';
import type { Changes, Core } from './core.ts';
import { saidIn } from './room-outbox.ts';

type Said = Content | Direct;
type Switch = Extract<Said, { kind: 'react' | 'pin' }>;

const LAST = Number.MAX_SAFE_INTEGER;

/**
 * A row that was taken out of the outbox, never to be sent: an edit, a reaction, a pin or a topic is shown no more, and it is told
 * why. In a channel what is verified stands again; with a member, what was before.
 */
export const takeBackChange = (core: Core, changes: Changes, row: RoomOutboxRow, reason: string): void => {
  const said = saidIn(row) as Said;
  const detail = `${said.kind}: ${reason}`;
  if (said.kind === 'topic' && row.channelRow !== null) {
    if (laterOnes(core, row, said).length === 0)
      patchChannel(core.db, row.channelRow, { topic: topicAt(core.db, row.channelRow, LAST) });
    return changes.event({ kind: 'channel.refused', channelRow: row.channelRow, detail });
  }
  if (said.kind !== 'edit' && said.kind !== 'react' && said.kind !== 'pin') return;
  const message = messageAbout(core, row, said.target);
  if (message === undefined || message.deletedAt !== null) return;
  if (said.kind === 'edit') {
    takeBackEdit(core.db, message, said.number);
    changes.erased = true;
  } else takeBackSwitch(core, changes, row, { message, said });
  changes.event({ kind: 'message.refused', messageRow: message.id, detail });
};

/** The message that a row of the outbox is about, by its id in hex. */
export const messageAbout = (
  { db }: Core,
  { channelRow, memberRow }: RoomOutboxRow,
  target: string,
): MessageRow | undefined => {
  const conversation =
    channelRow === null ? getConversationOfMember(db, memberRow ?? 0) : getConversationOfChannel(db, channelRow);
  return conversation && getMessageById(db, conversation.id, idBytes(target));
};

const takeBackSwitch = (
  core: Core,
  changes: Changes,
  row: RoomOutboxRow,
  { message, said }: { readonly message: MessageRow; readonly said: Switch },
): void => {
  const later = laterOnes(core, row, said);
  const me = ownRow(core, row);
  if (row.channelRow === null) {
    // Each was said because the one before stood.
    for (const { id } of later) removeRoomOutbox(core.db, id);
    return show(core, { message, said, me }, said.on ? null : changes.at);
  }
  if (later.length > 0) return;
  const last = listRoomEventsOfMessage(core.db, message.id, LAST).findLast(({ kind, value, memberRow }) =>
    said.kind === 'pin'
      ? kind === 'pin' || kind === 'unpin'
      : memberRow === me && value === said.emoji && (kind === 'react' || kind === 'unreact'),
  );
  show(core, { message, said, me }, last?.kind === said.kind ? last.at : null);
};

type Shown = { readonly message: MessageRow; readonly said: Switch; readonly me: number };

const show = ({ db }: Core, { message, said, me }: Shown, since: number | null): void => {
  if (said.kind === 'pin') return patchMessage(db, message.id, { pinnedAt: since });
  const reaction = { mine: 1, memberRow: me, emoji: said.emoji };
  if (since === null) removeReaction(db, message.id, reaction);
  else putReaction(db, message.id, { ...reaction, at: since });
};

// What waits behind it and is about the same thing: the last one says what is shown.
const laterOnes = ({ db }: Core, row: RoomOutboxRow, said: Switch | Extract<Content, { kind: 'topic' }>) =>
  listRoomOutboxAbout(db, row, said.kind === 'topic' ? '"topic"' : said.target).filter((one) => {
    const other = saidIn(one) as Said;
    return other.kind === said.kind && !(other.kind === 'react' && said.kind === 'react' && other.emoji !== said.emoji);
  });

const ownRow = ({ db }: Core, { serverId }: RoomOutboxRow): number => {
  const server = getServer(db, serverId);
  return server === undefined ? 0 : (getMemberById(db, serverId, server.memberId)?.id ?? 0);
};
