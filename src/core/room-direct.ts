// What is said with a member: by them, or by me on another device; and what else my other devices tell this one.
import { idBytes, idOf } from '../protocol/ids.ts';
import type { Direct, Own } from '../protocol/room-direct.ts';
import type { LogEvent } from '../protocol/server-frames.ts';
import {
  type ConversationRow,
  countArrival,
  getConversationOfMember,
  patchConversation,
  putConversation,
} from '../store/conversations.ts';
import { getMemberById, type MemberRow, patchMember } from '../store/members.ts';
import {
  getMessage,
  getMessageById,
  hasMessage,
  type MessageRow,
  patchMessage,
  putMessage,
  takeBackEdit,
  UNKNOWN_KIND,
} from '../store/messages.ts';
import { type Amending, eraseMessage, isEditable, setPin, setReaction, setText } from './amend.ts';
import type { Changes, Core } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { putRoomFile } from './room-files.ts';
import { markReadUpTo, tellRead, tellsRead } from './room-read.ts';

/** Where something is said with a member: inside the transaction that passes over its event. */
export type DirectScene = {
  readonly core: Core;
  readonly changes: Changes;
  readonly connection: RoomConnection;
  /** With whom the conversation is. */
  readonly member: MemberRow;
  /** Who says it: they, or I on another device. */
  readonly author: MemberRow;
  readonly isMine: boolean;
  readonly event: LogEvent;
};

/** The member, by id, whom another device of mine tells of. */
export const aboutWhom = (own: Own): string | undefined =>
  own.kind === 'sent' ? own.to : own.kind === 'joined' ? undefined : own.of;

/** What another device of mine tells. */
export const applyOwn = (scene: DirectScene, own: Own): void => {
  const { core, changes, connection } = scene;
  const about = aboutWhom(own);
  const member = about === undefined ? undefined : getMemberById(core.db, connection.serverId, idBytes(about));
  if (member === undefined) return;
  switch (own.kind) {
    case 'sent':
      return applyDirect({ ...scene, member, isMine: true }, own.content);
    case 'marked': {
      const conversation = getConversationOfMember(core.db, member.id);
      if (conversation === undefined || own.epoch !== scene.event.epoch) return;
      return markReadUpTo(core, changes, conversation, own.seq, { receipts: false });
    }
    case 'decided':
      return patchMember(core.db, member.id, decisionOf(own.accepted));
    case 'joined':
      return;
  }
};

/** What a member is once I have said whether they may write to me. */
export const decisionOf = (accepted: boolean): Pick<MemberRow, 'request' | 'blocked'> =>
  accepted ? { request: 'accepted', blocked: 0 } : { request: 'rejected', blocked: 1 };

// Two devices may have edited it at once, and nobody is told in which order: the text that sorts later is everybody's.
const settled = (
  { core }: DirectScene,
  row: MessageRow,
  { number, text }: Extract<Direct, { kind: 'edit' }>,
): MessageRow => {
  if (number !== row.editNumber || text <= row.body) return row;
  takeBackEdit(core.db, row, number);
  return getMessage(core.db, row.id) ?? row;
};

/** What a member says to me, or I to them on another device. What points at nothing, or at what is not its author's, changes nothing. */
export const applyDirect = (scene: DirectScene, direct: Exclude<Direct, Own> | { readonly kind: 'unknown' }): void => {
  const mine = scene.isMine ? 1 : 0;
  switch (direct.kind) {
    case 'text':
      return applyNew(scene, direct, direct.text);
    case 'file':
      return applyNew(scene, direct, direct.name);
    case 'edit':
      return amend(scene, direct.target, (row, amending) => {
        if (row.mine === mine && isEditable(row, direct.number)) setText(amending, settled(scene, row, direct), direct);
      });
    case 'delete':
      return amend(scene, direct.target, (row, amending) => {
        if (row.mine === mine) eraseMessage(amending, row);
      });
    case 'react':
      return amend(scene, direct.target, (row, amending) => {
        setReaction(amending, row, { mine, memberRow: scene.author.id }, direct);
      });
    case 'pin':
      return amend(scene, direct.target, (row, amending) => {
        setPin(amending, row, direct.on);
      });
    case 'receipt':
      for (const target of direct.targets) {
        const row = find(scene, target);
        // What another device of mine has sent may be known here a moment later.
        if (row === undefined) scene.connection.early.add(scene.member.id, target, direct.state);
        else if (row.deletedAt === null) received(scene, row, direct.state);
      }
      return;
    case 'unknown':
      return applyNew(scene, { kind: 'text', text: '', sentAt: scene.event.at }, '', UNKNOWN_KIND);
    case 'sender.key':
    case 'history':
      return;
  }
};

/** A message with its body: a text, or a file with its name. */
const applyNew = (
  scene: DirectScene,
  direct: Extract<Direct, { kind: 'text' | 'file' }>,
  body: string,
  reason = '',
): void => {
  const { core, changes, member, author, isMine, event } = scene;
  const conversation = ensureConversation(core, changes, member);
  const messageId = idBytes(direct.id ?? event.id);
  if (hasMessage(core.db, messageId)) return isMine ? undefined : confirmAgain(scene, conversation, messageId);
  const fileId =
    direct.kind === 'file'
      ? putRoomFile(core, changes, conversation, { id: idOf(messageId), content: direct })
      : undefined;
  if (direct.kind === 'file' && fileId === undefined) return;
  // To write to somebody is to let them write.
  if (isMine) patchMember(core.db, member.id, { request: 'accepted' });
  // Somebody we have never written to: what they say is here, and they hear nothing of us before we have answered.
  else if (member.request === '') {
    patchMember(core.db, member.id, { request: 'open' });
    changes.event({ kind: 'request.received', memberRow: member.id });
  }
  const expiresAt = direct.expiresMs === undefined ? null : changes.at + direct.expiresMs;
  if (expiresAt !== null) changes.expiry = true;
  const row = putMessage(core.db, {
    conversationId: conversation.id,
    messageId,
    mine: isMine ? 1 : 0,
    body,
    state: isMine ? 'sent' : 'received',
    sentAt: direct.sentAt,
    receivedAt: isMine ? null : changes.at,
    unread: isMine ? 0 : 1,
    replyTo: direct.kind === 'file' || direct.replyTo === undefined ? null : idBytes(direct.replyTo),
    thread: direct.kind === 'file' || direct.thread === undefined ? null : idBytes(direct.thread),
    expiresMs: direct.expiresMs ?? null,
    expiresFrom: 'delivery',
    expiresAt,
    fileId: fileId ?? null,
    memberRow: author.id,
    // What this device has said has no place in our inbox.
    seq: event.seq,
    reason,
  });
  if (fileId !== undefined) changes.event({ kind: 'file.offered', fileRow: fileId });
  if (isMine) {
    patchConversation(core.db, conversation.id, { lastAt: changes.at, archived: 0 });
    changes.event({ kind: 'message.sent', messageRow: row });
    const early = scene.connection.early.take(member.id, idOf(messageId));
    const sent = early === undefined ? undefined : getMessage(core.db, row);
    if (early !== undefined && sent !== undefined) received(scene, sent, early);
    return;
  }
  countArrival(core.db, conversation.id, changes.at);
  changes.event({ kind: 'message.received', messageRow: row, memberRow: member.id });
  if (member.request === 'accepted') scene.connection.receipts.add(member.id, idOf(messageId));
};

// Who says it again has not heard that it is here.
const confirmAgain = (
  { core, changes, connection, member }: DirectScene,
  conversation: ConversationRow,
  messageId: Uint8Array,
): void => {
  const row = getMessageById(core.db, conversation.id, messageId);
  if (row === undefined || row.mine === 1 || row.deletedAt !== null || member.request !== 'accepted') return;
  if (row.readAt !== null && tellsRead(core, conversation, member)) tellRead(core, changes, member, [row]);
  else connection.receipts.add(member.id, idOf(messageId));
};

/** The conversation with a member, made when it is first needed. */
export const ensureConversation = (core: Core, changes: Changes, member: MemberRow) => {
  const known = getConversationOfMember(core.db, member.id);
  if (known !== undefined) return known;
  putConversation(core.db, { uid: core.random.bytes(16), memberRow: member.id, createdAt: changes.at });
  const made = getConversationOfMember(core.db, member.id);
  if (made === undefined) throw new Error('a conversation that was put is there');
  return made;
};

const received = ({ core, changes, member }: DirectScene, row: MessageRow, state: 'delivered' | 'read'): void => {
  const rank = { queued: 0, failed: 0, sent: 1, delivered: 2, read: 3, received: 4 };
  if (row.mine === 0 || rank[row.state] >= rank[state]) return;
  patchMessage(core.db, row.id, {
    state,
    ...(row.deliveredAt === null ? { deliveredAt: changes.at } : {}),
    ...(state === 'read' ? { readAt: changes.at } : {}),
  });
  changes.event({ kind: state === 'read' ? 'message.read' : 'message.delivered', messageRow: row.id });
  // Who confirms has taken us as somebody to talk with.
  if (member.request !== 'accepted') patchMember(core.db, member.id, { request: 'accepted' });
};

const find = ({ core, member }: DirectScene, target: string): MessageRow | undefined => {
  const conversation = getConversationOfMember(core.db, member.id);
  return conversation === undefined ? undefined : getMessageById(core.db, conversation.id, idBytes(target));
};

// What points at nothing, or at what was deleted, changes nothing.
const amend = (scene: DirectScene, target: string, step: (row: MessageRow, amending: Amending) => void): void => {
  const { core, changes, member, event } = scene;
  const row = find(scene, target);
  if (row === undefined || row.deletedAt !== null) return;
  step(row, { core, changes, at: event.at, tell: (said) => changes.event({ ...said, memberRow: member.id }) });
};
