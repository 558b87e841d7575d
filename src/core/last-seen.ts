// When a contact was last there: their link knows while it is up, and the store keeps it when that ends.
import { errorObject, expectedError } from '../protocol/errors.ts';
import { LAST_SEEN_KEPT_MS } from '../protocol/limits.ts';
import { type ContactRow, getContact, patchContact } from '../store/contacts.ts';
import { type Core, commit } from './core.ts';
import type { Peer } from './peer.ts';

/** When something of a contact last came over a proven link, by this machine's clock; null for who was never there. */
export const lastSeenAt = (core: Core, { id, state, lastSeenAt }: ContactRow): number | null =>
  state === 'removed' ? lastSeenAt : (core.peers.get(id)?.heardAt ?? lastSeenAt);

/** Keeps when a contact was last there, unless that was kept `sinceMs` before or later. Call it inside a transaction. */
const keep = (core: Core, { contactId, heardAt }: Peer, sinceMs: number): void => {
  const contact = heardAt === undefined ? undefined : getContact(core.db, contactId);
  if (heardAt === undefined || contact === undefined || contact.state === 'removed') return;
  if (Math.abs(heardAt - (contact.lastSeenAt ?? 0)) > sinceMs)
    patchContact(core.db, contactId, { lastSeenAt: heardAt });
};

/** For the sweep, inside its transaction: a link that stays up is kept rarely. */
export const keepSeenRarely = (core: Core): void => {
  for (const peer of core.peers.values()) keep(core, peer, LAST_SEEN_KEPT_MS);
};

/** A link has ended. Where the disk takes nothing, this program knows it still. */
export const keepSeen = (core: Core, peer: Peer): void => {
  try {
    commit(core, () => keep(core, peer, 0));
  } catch (error) {
    if (expectedError(error) === undefined) throw error;
    core.log.warn('lastSeen.notKept', { code: errorObject(error).code });
  }
};
