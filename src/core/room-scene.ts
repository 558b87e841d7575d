// Where something happens in a channel, and what of it is at hand there.
import type { ChannelState } from '../crypto/channel-state.ts';
import { idBytes } from '../protocol/ids.ts';
import type { Content, UnknownContent } from '../protocol/room-content.ts';
import type { LogEvent } from '../protocol/server-frames.ts';
import type { ChannelRow } from '../store/channels.ts';
import { type ConversationRow, getConversationOfChannel } from '../store/conversations.ts';
import type { MemberRow } from '../store/members.ts';
import { getMessageById, type MessageRow } from '../store/messages.ts';
import type { ServerRow } from '../store/servers.ts';
import type { Amending } from './amend.ts';
import type { Changes, Core } from './core.ts';

/** Where something happens in a room. */
export type RoomScene = {
  readonly core: Core;
  readonly server: ServerRow;
  readonly channel: ChannelRow;
  readonly state: ChannelState | undefined;
  readonly changes: Changes;
  /** Who shows what was said before I came: it is not news, and nobody is told of each piece. */
  readonly sharedBy?: number;
};

/** What is kept of an event for rewinding. */
export type Applied = { readonly kind: string; readonly value: string; readonly messageRow: number | null };

/** A verified content, and whose it is. */
export type Given = {
  readonly event: LogEvent;
  readonly member: MemberRow;
  readonly content: Content | UnknownContent;
  readonly isMine: boolean;
  /** It is what this device has sent just now. */
  readonly isAnswer: boolean;
};

/** The conversation of a channel: made when it is joined. */
export const conversationOfChannel = (core: Core, channel: ChannelRow): ConversationRow => {
  const conversation = getConversationOfChannel(core.db, channel.id);
  if (conversation === undefined) throw new Error('a channel that is held has a conversation');
  return conversation;
};

/** A message of this channel, by its id in hex. */
export const find = ({ core, channel }: RoomScene, id: string): MessageRow | undefined =>
  getMessageById(core.db, conversationOfChannel(core, channel).id, idBytes(id));

/** Tells front ends of something in it. */
export const tell = ({ changes, sharedBy }: RoomScene, event: Parameters<Changes['event']>[0]): void => {
  if (sharedBy === undefined) changes.event(event);
};

/** Something is said of a message in it. */
export const amending = (scene: RoomScene, { at }: Pick<LogEvent, 'at'>): Amending => ({
  core: scene.core,
  changes: scene.changes,
  at,
  tell: (event) => tell(scene, event),
});
