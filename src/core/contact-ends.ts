// What ends between a contact and me: blocking and removal.
import { idOf } from '../protocol/ids.ts';
import type { Contact } from '../protocol/rpc-objects.ts';
import { type ContactRow, getContact, patchContact, putHistory, removeContact } from '../store/contacts.ts';
import { getConversationOfContact } from '../store/conversations.ts';
import { clearDetails, removeSettings } from '../store/events.ts';
import { listOutbox } from '../store/outbox.ts';
import { removeSession } from '../store/sessions.ts';
import { type Core, commit } from './core.ts';
import { stopIgnoring } from './link-admission.ts';
import { breakMemberLinks } from './member-links.ts';
import { clear } from './messages.ts';
import { contactObject } from './objects.ts';
import { giveUp } from './outbox.ts';
import { closeOpen } from './requests.ts';

/**
 * Blocks a contact, or takes that back: a blocked one is heard no more, and told nothing; what they have asked is open still once
 * they are let in again. Twice is once.
 */
export const block = (core: Core, contact: ContactRow, on: boolean): void => {
  if (contact.blocked === (on ? 1 : 0)) return;
  commit(core, (changes) => {
    patchContact(core.db, contact.id, { blocked: on ? 1 : 0 });
    putHistory(core.db, contact.id, { at: changes.at, kind: on ? 'contact.blocked' : 'contact.unblocked', detail: '' });
    changes.event({ kind: 'contact.blocked', contactId: contact.id, detail: on ? 'on' : 'off' });
    if (on) changes.unlink.set(contact.id, 'blocked');
    else changes.wake.add(contact.id);
  });
  if (!on) stopIgnoring(core, contact.address);
};

/** Ends a contact; with `erase` nothing of it stays. Shows what it was. */
export const removeOne = (core: Core, contact: ContactRow, erase: boolean): Contact => {
  commit(core, (changes) => {
    changes.unlink.set(contact.id, 'removed');
    // The name of who is erased lives on in no event.
    changes.event({ kind: 'contact.removed', contactId: contact.id, detail: erase ? '' : contact.name });
    for (const row of listOutbox(core.db, contact.id, 0, Number.MAX_SAFE_INTEGER))
      giveUp(core, changes, row, 'contactRemoved');
    closeOpen(core, contact.id);
    breakMemberLinks(core, changes, contact.id, 'the contact was removed');
    removeSession(core.db, contact.id);
    patchContact(core.db, contact.id, {
      state: 'removed',
      linkKey: null,
      signalKey: null,
      verifiedAt: null,
      paused: '',
      requestNote: '',
      blocked: 0,
    });
    if (erase) changes.erased = true;
  });
  const conversation = getConversationOfContact(core.db, contact.id);
  if (erase && conversation !== undefined) clear(core, conversation);
  const shown = contactObject(core, getContact(core.db, contact.id) ?? contact);
  if (erase)
    commit(core, () => {
      if (conversation !== undefined) removeSettings(core.db, idOf(conversation.uid));
      clearDetails(core.db, contact.id);
      removeContact(core.db, contact.id);
    });
  return shown;
};
