// The keys under a contact's address: pinned with the first link, and never replaced by what another one shows.
import type { LinkPeer } from '../ports.ts';
import { isEqual } from '../protocol/bytes.ts';
import { type ContactRow, getContact, patchContact, putHistory } from '../store/contacts.ts';
import { type Core, commit } from './core.ts';
import { breakMemberLinks } from './member-links.ts';

/** Whether a proven peer shows other keys than those that are pinned; not while there are none. */
export const showsOtherKeys = ({ linkKey, signalKey }: ContactRow, peer: LinkPeer): boolean =>
  linkKey !== null && signalKey !== null && !(isEqual(linkKey, peer.linkKey) && isEqual(signalKey, peer.signalKey));

/** Whether a contact is told anything of what I do: not who was removed, blocked, or shows another key. */
export const isTold = ({ state, blocked, paused }: ContactRow): boolean =>
  state === 'accepted' && blocked === 0 && paused !== 'keyChanged';

/** Keeps that a contact showed other keys: nothing is sent to it until its user has looked. In the queue. */
export const refuseKey = (core: Core, contactId: number): void => {
  const contact = getContact(core.db, contactId);
  // Removed since, or somebody whom nobody here knows, or refused already.
  if (contact === undefined || contact.state === 'removed' || contact.paused === 'keyChanged') return;
  commit(core, (changes) => {
    patchContact(core.db, contact.id, { paused: 'keyChanged' });
    putHistory(core.db, contact.id, {
      at: changes.at,
      kind: 'key.refused',
      detail: 'another key was shown under this address',
    });
    changes.event({ kind: 'contact.keyChanged', contactId: contact.id });
    breakMemberLinks(core, changes, contact.id, 'the contact shows another key');
  });
};
