// What each sealed body from a contact changes in the store. Runs inside the transaction of `receive`.
import { chunkCount } from '../crypto/file-chunks.ts';
import { idBytes, idOf, type MessageId } from '../protocol/ids.ts';
import { EXPIRY_MS_MAX } from '../protocol/limits.ts';
import type { SealedBody, UnknownBody } from '../protocol/peer.ts';
import type { ContactRow } from '../store/contacts.ts';
import { type ConversationRow, countArrival } from '../store/conversations.ts';
import { getFileById, patchFile } from '../store/files.ts';
import {
  getMessageById,
  hasMessage,
  type MessageRow,
  patchMessage,
  putMessage,
  UNKNOWN_KIND,
} from '../store/messages.ts';
import { listOutboxOfMessage, removeOutbox } from '../store/outbox.ts';
import { hasTombstone, putTombstone } from '../store/sessions.ts';
import { type Amending, amendingNow, eraseMessage, isEditable, setPin, setReaction, setText } from './amend.ts';
import type { Changes, Core } from './core.ts';
import { endFile, putOffered } from './files-rows.ts';
import { applyMemberLink, applyMemberUnlink } from './member-links.ts';
import { dropOutbox } from './messages.ts';
import { enqueue, hasArrived, hasRoom } from './outbox.ts';
import { endUnsent, startTimer } from './timers.ts';

type Scene = {
  readonly core: Core;
  readonly contact: ContactRow;
  readonly conversation: ConversationRow;
  readonly changes: Changes;
};

/**
 * Applies one body that `scene.contact` wrote. It is new (its frame id was not seen before). A body that points at a
 * message which does not exist, or which its writer may not change, changes nothing: it is acknowledged all the same.
 */
export const applyBody = (scene: Scene, body: SealedBody | UnknownBody): void => {
  switch (body.kind) {
    case 'text':
      return applyText(scene, body);
    case 'edit':
      return applyEdit(scene, body);
    case 'delete':
      return applyDelete(scene, body.target);
    case 'react':
      return applyReaction(scene, body);
    case 'pin':
      return applyPin(scene, body);
    case 'read':
      for (const target of body.targets) applyRead(scene, target);
      return;
    case 'file.offer':
      return applyOffer(scene, body);
    case 'file.cancel':
      return applyCancel(scene, body.target);
    case 'file.done':
      return applyDone(scene, body.target);
    case 'member.link':
      return applyMemberLink(scene.core, scene.changes, scene.contact, body);
    case 'member.unlink':
      return applyMemberUnlink(scene.core, scene.changes, scene.contact, body);
    case 'unsupported':
      return applyUnsupported(scene, body.target);
    case 'unknown':
      applyText(scene, { kind: 'text', id: body.id, text: '', sentAt: scene.changes.at }, UNKNOWN_KIND);
      if (hasRoom(scene.core, scene.contact.id))
        enqueue(scene.core, scene.changes, scene.contact.id, { kind: 'unsupported', target: body.id });
      return;
    case 'accept':
    case 'hello':
      return;
  }
};

const amending = ({ core, changes, contact }: Scene): Amending => amendingNow(core, changes, { contactId: contact.id });

type TextBody = Extract<SealedBody, { kind: 'text' }>;

const applyText = (scene: Scene, body: TextBody, reason = ''): void => {
  const { core, conversation, changes, contact } = scene;
  const messageId = idBytes(body.id);
  if (hasTombstone(core.db, contact.id, messageId) || hasMessage(core.db, messageId)) return;
  const row = putMessage(core.db, {
    conversationId: conversation.id,
    messageId,
    mine: 0,
    body: body.text,
    state: 'received',
    sentAt: body.sentAt,
    receivedAt: changes.at,
    unread: 1,
    replyTo: body.replyTo === undefined ? null : idBytes(body.replyTo),
    ...expiryOf(scene, body),
    fileId: null,
    reason,
  });
  arrived(scene, row);
};

/** When a message ends that came just now. */
const expiryOf = ({ changes }: Scene, body: Pick<TextBody, 'expiresMs' | 'expiresFrom'>) => {
  const expiresMs = body.expiresMs === undefined ? null : Math.min(body.expiresMs, EXPIRY_MS_MAX);
  const expiresFrom = body.expiresFrom ?? 'delivery';
  if (expiresMs !== null) changes.expiry = true;
  return {
    expiresMs,
    expiresFrom,
    expiresAt: expiresMs !== null && expiresFrom === 'delivery' ? changes.at + expiresMs : null,
  };
};

/** A new row that a person should see. */
const arrived = ({ core, conversation, contact, changes }: Scene, messageRow: number): void => {
  countArrival(core.db, conversation.id, changes.at);
  changes.event({ kind: 'message.received', messageRow, contactId: contact.id });
};

/** The message `target` that the contact itself wrote, while its text lives. */
const ofContact = ({ core, conversation }: Scene, target: string): MessageRow | undefined => {
  const row = getMessageById(core.db, conversation.id, idBytes(target));
  return row === undefined || row.mine === 1 || row.deletedAt !== null ? undefined : row;
};

/** Any message of the conversation while its text lives. */
const ofConversation = ({ core, conversation }: Scene, target: string): MessageRow | undefined => {
  const row = getMessageById(core.db, conversation.id, idBytes(target));
  return row === undefined || row.deletedAt !== null ? undefined : row;
};

const applyEdit = (scene: Scene, body: Extract<SealedBody, { kind: 'edit' }>): void => {
  const row = ofContact(scene, body.target);
  if (row !== undefined && isEditable(row, body.number)) setText(amending(scene), row, body);
};

const applyDelete = (scene: Scene, target: string): void => {
  const { core, contact, conversation, changes } = scene;
  const known = getMessageById(core.db, conversation.id, idBytes(target));
  if (known === undefined) return putTombstone(core.db, contact.id, idBytes(target), changes.at);
  if (known.mine === 1 || known.deletedAt !== null) return;
  eraseMessage(amending(scene), known);
};

const applyReaction = (scene: Scene, body: Extract<SealedBody, { kind: 'react' }>): void => {
  const row = ofConversation(scene, body.target);
  if (row !== undefined) setReaction(amending(scene), row, { mine: 0 }, body);
};

// While a pin of mine waits, theirs may have been made before that came: the lower address's counts, and is said again behind
// theirs.
const applyPin = (scene: Scene, body: Extract<SealedBody, { kind: 'pin' }>): void => {
  const { core, contact, changes } = scene;
  const row = ofConversation(scene, body.target);
  if (row === undefined) return;
  const mine = listOutboxOfMessage(core.db, row.id).filter(({ kind }) => kind === 'pin');
  for (const { id } of mine) removeOutbox(core.db, id);
  if (mine.length === 0 || core.address > contact.address) setPin(amending(scene), row, body.on);
  else if (hasRoom(core, contact.id))
    enqueue(core, changes, contact.id, { kind: 'pin', target: body.target, on: row.pinnedAt !== null }, row.id);
};

const applyRead = (scene: Scene, target: string): void => {
  const row = ofConversation(scene, target);
  if (row === undefined || row.mine === 0 || (row.state !== 'sent' && row.state !== 'delivered')) return;
  const { at } = scene.changes;
  // Who has read it has it: the acknowledgement was lost.
  hasArrived(scene.core, scene.changes, row.id);
  patchMessage(scene.core.db, row.id, { state: 'read', readAt: at, deliveredAt: row.deliveredAt ?? at });
  if (row.expiresFrom === 'read') startTimer(scene.core, scene.changes, row);
  scene.changes.event({ kind: 'message.read', messageRow: row.id, contactId: scene.contact.id });
};

const applyOffer = (scene: Scene, body: Extract<SealedBody, { kind: 'file.offer' }>): void => {
  const { core, conversation, changes, contact } = scene;
  const fileId = idBytes(body.id);
  if (hasTombstone(core.db, contact.id, fileId) || hasMessage(core.db, fileId)) return;
  const fileRow = putOffered(core, changes, { fileId, conversationId: conversation.id, content: body });
  if (fileRow === undefined) return;
  const row = putMessage(core.db, {
    conversationId: conversation.id,
    messageId: fileId,
    mine: 0,
    body: body.name,
    state: 'received',
    sentAt: body.sentAt,
    receivedAt: changes.at,
    unread: 1,
    replyTo: null,
    ...expiryOf(scene, body),
    fileId: fileRow,
  });
  arrived(scene, row);
  changes.event({ kind: 'file.offered', fileRow, contactId: contact.id });
};

const applyCancel = (scene: Scene, target: string): void => {
  const file = getFileById(scene.core.db, scene.conversation.id, idBytes(target));
  if (file === undefined || ['spooling', 'done', 'cancelled', 'failed'].includes(file.state)) return;
  endFile(scene.core, scene.changes, file, { state: 'cancelled', reason: 'cancelled by the other side' });
};

const applyDone = (scene: Scene, target: string): void => {
  const file = getFileById(scene.core.db, scene.conversation.id, idBytes(target));
  if (file === undefined || file.mine === 0 || (file.state !== 'offered' && file.state !== 'active')) return;
  patchFile(scene.core.db, file.id, { state: 'done', chunks: chunkCount(file.size) });
  scene.changes.endedFiles.set(file.id, idOf(file.fileId));
  scene.changes.event({ kind: 'file.completed', fileRow: file.id, contactId: scene.contact.id });
};

const applyUnsupported = (scene: Scene, target: MessageId | string): void => {
  const row = getMessageById(scene.core.db, scene.conversation.id, idBytes(target));
  if (row === undefined || row.mine === 0) return;
  dropOutbox(scene.core, row.id);
  endUnsent(scene.core, scene.changes, row, 'unsupported');
  scene.changes.event({ kind: 'message.failed', messageRow: row.id, contactId: scene.contact.id });
};
