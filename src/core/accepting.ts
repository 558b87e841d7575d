// The step in which an outgoing or incoming contact becomes an accepted one.
import { ID_BYTES, idBytes } from '../protocol/ids.ts';
import type { SealedBody } from '../protocol/peer.ts';
import { getContact, patchContact, putHistory } from '../store/contacts.ts';
import { getConversationOfContact, putConversation } from '../store/conversations.ts';
import { closeRequest, getOpenRequest, getSession, putSession } from '../store/sessions.ts';
import type { Changes, Core } from './core.ts';

/** Gives a contact its conversation, once. */
export const ensureConversation = (core: Core, changes: Changes, contactId: number): void => {
  if (getConversationOfContact(core.db, contactId) !== undefined) return;
  putConversation(core.db, { uid: core.random.bytes(ID_BYTES), contactId, createdAt: changes.at });
};

/**
 * The contact accepted our request: it is closed, the session has the request's id, and both can speak. An accept on a
 * contact that is accepted already (it asked us again) changes nothing but the nickname.
 */
export const becomeAccepted = (
  core: Core,
  changes: Changes,
  contactId: number,
  body: Extract<SealedBody, { kind: 'accept' }>,
): void => {
  const contact = getContact(core.db, contactId);
  const session = getSession(core.db, contactId);
  if (contact === undefined || session === undefined) return;
  patchContact(core.db, contactId, { nickname: body.nickname });
  if (contact.state !== 'outgoing') return;
  const request = getOpenRequest(core.db, contactId, 'mine');
  if (request !== undefined) closeRequest(core.db, request.id, 'accepted');
  patchContact(core.db, contactId, { state: 'accepted', paused: '' });
  putSession(core.db, { ...session, sessionId: idBytes(body.request) });
  putHistory(core.db, contactId, { at: changes.at, kind: 'contact.accepted', detail: 'they accepted your request' });
  ensureConversation(core, changes, contactId);
  changes.event({ kind: 'request.accepted', contactId });
  changes.wake.add(contactId);
};
