// What each verified content of a channel changes in the store. Runs inside the transaction of `receiveRoom`.
import { type ChannelState, mayErase } from '../crypto/channel-state.ts';
import { isEqual } from '../protocol/bytes.ts';
import { idBytes, idOf, type MemberId } from '../protocol/ids.ts';
import type { Content, UnknownContent } from '../protocol/room-content.ts';
import { patchChannel } from '../store/channels.ts';
import { addMentions, countArrival, patchConversation } from '../store/conversations.ts';
import { getFile } from '../store/files.ts';
import { getMember } from '../store/members.ts';
import { hasEarlierBehind } from '../store/message-pages.ts';
import {
  getMessageById,
  listMessagesByIdRange,
  type MessageRow,
  moveToEnd,
  patchMessage,
  putMessage,
  renameMessage,
  UNKNOWN_KIND,
} from '../store/messages.ts';
import { getPendingById, isSaidBehind, isTopicBehind, removePending } from '../store/room-events.ts';
import { eraseMessage, setPin, setReaction } from './amend.ts';
import type { Changes, Core } from './core.ts';
import { fileSent } from './files-rows.ts';
import { conversationOf } from './names.ts';
import { applyEdit } from './room-edits.ts';
import { putRoomFile } from './room-files.ts';
import { namesMe } from './room-mentions.ts';
import { newEventId, takeBack } from './room-outbox.ts';
import { type Applied, amending, conversationOfChannel, find, type Given, type RoomScene, tell } from './room-scene.ts';

/** Whether a content is gone some time after it was read: it is kept for nobody. */
export const endsByItself = (content: Content | UnknownContent): boolean =>
  'expiresMs' in content && content.expiresMs !== undefined;

const NOTHING = { value: '', messageRow: null } as const;

/** Applies one content that its author was allowed to write. What points at nothing, or at what is not its author's, changes nothing. */
export const applyContent = (scene: RoomScene, given: Given): Applied => {
  const { content } = given;
  if (isOfAnother(scene, given)) return { ...NOTHING, kind: 'refused', value: 'id' };
  switch (content.kind) {
    case 'text':
      return applyText(scene, given, content);
    case 'edit':
      return applyEdit(scene, given, content);
    case 'react':
      return applyReaction(scene, given, content);
    case 'pin':
      return applyPin(scene, given, content);
    case 'topic':
      return applyTopic(scene, given, content);
    case 'file':
      return applyFile(scene, given, content);
    case 'unknown':
      return applyUnknown(scene, given);
  }
};

// Whoever signs chooses the id: that of what somebody else has said is not theirs to say anything under.
const isOfAnother = ({ core, channel, server }: RoomScene, { event, member }: Given): boolean => {
  const conversation = conversationOfChannel(core, channel);
  const known = getMessageById(core.db, conversation.id, idBytes(event.id));
  if (known === undefined) return false;
  return known.mine === 1 ? !isEqual(member.memberId, server.memberId) : known.memberRow !== member.id;
};

const applyText = (scene: RoomScene, given: Given, content: Extract<Content, { kind: 'text' }>): Applied => {
  const known = applyKnown(scene, given, content);
  const messageRow =
    known?.id ??
    putNew(scene, given, { ...content, body: content.text, fileId: null, isForMe: namesMe(scene, content) });
  return { kind: 'text', value: '', messageRow };
};

// That it came is shown: what it is, this version cannot.
const applyUnknown = (scene: RoomScene, given: Given): Applied => {
  const said = { body: '', fileId: null, isForMe: false, reason: UNKNOWN_KIND };
  return { kind: 'unknown', value: '', messageRow: applyKnown(scene, given, {})?.id ?? putNew(scene, given, said) };
};

const applyFile = (scene: RoomScene, given: Given, content: Extract<Content, { kind: 'file' }>): Applied => {
  const { core, channel, changes } = scene;
  const { id } = given.event;
  const known = applyKnown(scene, given, content);
  if (known !== undefined) {
    if (known.isPlaced && known.fileId !== null) fileSent(core, changes, known.fileId);
    return { kind: 'file', value: '', messageRow: known.id };
  }
  // Where somebody else has offered one under this id before, what is said is shown, without the file.
  const fileId = putRoomFile(core, changes, conversationOfChannel(core, channel), { id, content }) ?? null;
  const messageRow = putNew(scene, given, { ...content, body: content.name, fileId, isForMe: false });
  if (fileId !== null) tell(scene, { kind: 'file.offered', fileRow: fileId });
  return { kind: 'file', value: '', messageRow };
};

type Ending = { readonly expiresMs?: number | undefined };

const endOf = (changes: Changes, { expiresMs }: Ending): number | null => {
  if (expiresMs === undefined) return null;
  changes.expiry = true;
  return changes.at + expiresMs;
};

/**
 * A message that is here already: mine gets the place that the server gave it, also when no answer came and it was given up; one
 * from before a restore is where it was.
 */
const applyKnown = (
  { core, channel, changes }: RoomScene,
  { event, isAnswer }: Given,
  content: Ending,
): (Pick<MessageRow, 'id' | 'fileId'> & { readonly isPlaced: boolean }) | undefined => {
  const conversation = conversationOfChannel(core, channel);
  const known = getMessageById(core.db, conversation.id, idBytes(event.id));
  if (known === undefined) return undefined;
  const { fileId } = known;
  const isOut = known.state === 'queued' || known.state === 'failed';
  if (!isAnswer && !isOut) {
    patchMessage(core.db, known.id, { seq: event.seq });
    return { id: known.id, fileId, isPlaced: false };
  }
  // Behind all that came before it; what waits behind it gets a later place.
  const id = hasEarlierBehind(core.db, known, event.seq) ? moveToEnd(core.db, known) : known.id;
  const expiresAt = endOf(changes, content);
  patchMessage(core.db, id, {
    seq: event.seq,
    sentAt: event.at,
    state: 'sent',
    reason: '',
    ...(expiresAt === null ? {} : { expiresAt }),
  });
  patchConversation(core.db, conversation.id, { lastAt: event.at });
  if (isOut) changes.event({ kind: 'message.sent', messageRow: id });
  return { id, fileId, isPlaced: true };
};

type NewText = Ending & {
  readonly body: string;
  readonly fileId: number | null;
  readonly isForMe: boolean;
  readonly replyTo?: string | undefined;
  readonly thread?: string | undefined;
  readonly reason?: string;
};

// Who writes to somebody chooses the id, of an event that comes later too: what has it then is called otherwise here.
const freeId = (core: Core, messageId: Uint8Array): void => {
  for (const other of listMessagesByIdRange(core.db, messageId, messageId, IDS_TAKEN_MAX))
    if (other.mine === 0 && other.fileId === null && conversationOf(core.db, other.conversationId).channelRow === null)
      renameMessage(core.db, other, newEventId(core, undefined));
};
const IDS_TAKEN_MAX = 5;

/** Adds a message that is not here yet; gives its row. */
const putNew = (
  scene: RoomScene,
  { event, member, isMine }: Given,
  { body, fileId, isForMe, ...content }: NewText,
): number => {
  const { core, channel, changes, sharedBy } = scene;
  const conversation = conversationOfChannel(core, channel);
  const mention = isForMe && !isMine ? 1 : 0;
  const isRead = isMine || sharedBy !== undefined || event.seq <= channel.readSeq || isHistory(scene, event);
  const messageId = idBytes(event.id);
  freeId(core, messageId);
  const row = putMessage(core.db, {
    conversationId: conversation.id,
    messageId,
    mine: isMine ? 1 : 0,
    body,
    state: isMine ? 'sent' : 'received',
    sentAt: event.at,
    receivedAt: isMine ? null : changes.at,
    unread: isRead ? 0 : 1,
    replyTo: content.replyTo === undefined ? null : idBytes(content.replyTo),
    expiresMs: content.expiresMs ?? null,
    expiresFrom: 'delivery',
    expiresAt: endOf(changes, content),
    fileId,
    memberRow: member.id,
    seq: event.seq,
    thread: content.thread === undefined ? null : idBytes(content.thread),
    mention,
    sharedBy: sharedBy ?? null,
    reason: content.reason ?? '',
  });
  if (sharedBy !== undefined) return row;
  if (isRead) patchConversation(core.db, conversation.id, { lastAt: event.at });
  else countArrival(core.db, conversation.id, event.at);
  if (mention === 1 && !isRead) addMentions(core.db, conversation.id, 1);
  changes.event({ kind: isMine ? 'message.sent' : 'message.received', messageRow: row });
  return row;
};

// What was said before I came, or while I was away, is history and no news. No mark says so: it would read what I have not read of an
// earlier stay, too.
const isHistory = ({ server, state }: RoomScene, { seq }: Given['event']): boolean =>
  seq < (state?.members.get(idOf<MemberId>(server.memberId))?.joinedSeq ?? Number.MAX_SAFE_INTEGER);

// Here and below: what opens late, or is shown later, does not undo what was said of the same behind it.
const applyTopic = (
  scene: RoomScene,
  { event, member }: Given,
  { text }: Extract<Content, { kind: 'topic' }>,
): Applied => {
  const { core, channel } = scene;
  if (!isTopicBehind(core.db, channel.id, event.seq)) {
    patchChannel(core.db, channel.id, { topic: text });
    tell(scene, { kind: 'channel.topic', channelRow: channel.id, memberRow: member.id });
  }
  return { kind: 'topic', value: text, messageRow: null };
};

const applyReaction = (
  scene: RoomScene,
  { event, member, isMine }: Given,
  { target, emoji, on }: Extract<Content, { kind: 'react' }>,
): Applied => {
  const row = find(scene, target);
  const kind = on ? 'react' : 'unreact';
  if (row === undefined || row.deletedAt !== null) return { kind, ...NOTHING };
  const author = { mine: isMine ? 1 : 0, memberRow: member.id };
  const isOver = isSaidBehind(scene.core.db, scene.channel.id, event.seq, {
    kinds: ['react', 'unreact'],
    messageRow: row.id,
    memberRow: member.id,
    value: emoji,
  });
  if (!isOver && !setReaction(amending(scene, event), row, author, { emoji, on })) return { kind, ...NOTHING };
  return { kind, value: emoji, messageRow: row.id };
};

const applyPin = (scene: RoomScene, { event }: Given, { target, on }: Extract<Content, { kind: 'pin' }>): Applied => {
  const row = find(scene, target);
  const kind = on ? 'pin' : 'unpin';
  if (row === undefined || row.deletedAt !== null) return { kind, ...NOTHING };
  const said = { kinds: ['pin', 'unpin'], messageRow: row.id } as const;
  const isOver = isSaidBehind(scene.core.db, scene.channel.id, event.seq, said);
  if (!isOver && !setPin(amending(scene, event), row, on)) return { kind, ...NOTHING };
  return { kind, value: '', messageRow: row.id };
};

/**
 * Empties a message on the word of its author, or of a moderator in `state`; gives its row. Who has said that it goes takes its
 * file from the server too.
 */
export const applyErasure = (
  scene: RoomScene,
  target: string,
  { by, state }: { readonly by: MemberId; readonly state: ChannelState | undefined },
): number | undefined => {
  const { core, channel, changes } = scene;
  const row = find(scene, target);
  const waiting = row === undefined ? getPendingById(core.db, channel.id, idBytes(target)) : undefined;
  const author = getMember(core.db, row?.memberRow ?? waiting?.memberRow ?? 0);
  if (author === undefined || state === undefined || !mayErase(state, by, idOf(author.memberId))) return undefined;
  if (waiting !== undefined) removePending(core.db, channel.id, waiting.seq);
  if (row === undefined || row.deletedAt !== null) return row?.id;
  const file = row.fileId === null ? undefined : getFile(core.db, row.fileId);
  if (file !== undefined && by === idOf(scene.server.memberId)) takeBack(core, changes, file);
  eraseMessage({ core, changes, tell: (event) => tell(scene, event) }, row);
  return row.id;
};
