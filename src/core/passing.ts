// What is told in passing, over links that are up, and kept nowhere: who is there, and who writes.
import { idOf } from '../protocol/ids.ts';
import { VOLATILE_PER_SECOND_MAX } from '../protocol/limits.ts';
import type { PlainFrame } from '../protocol/peer.ts';
import { type ContactRow, getContact } from '../store/contacts.ts';
import { getConversationOfContact } from '../store/conversations.ts';
import type { Core } from './core.ts';
import { type Peer, sendFrame } from './peer.ts';
import { isTold } from './pinned-keys.ts';
import { settingOf } from './settings.ts';

/** Tells a contact how I am there: what was set last, where the setting lets them know. Without a word of mine, or a link, nothing. */
export const tellPresence = (core: Core, peer: Peer): void => {
  const state = core.rooms.presence;
  const contact = getContact(core.db, peer.contactId);
  if (state === undefined || !peer.ready || contact === undefined || !isTold(contact)) return;
  const conversation = getConversationOfContact(core.db, contact.id);
  if (conversation !== undefined && settingOf(core.db, 'privacy.presence', idOf(conversation.uid)))
    sendFrame(peer, { kind: 'presence', state });
};

/** A contact writes, or is there: told to who listens, and no more often than somebody does so by hand. */
export const takePassing = (
  core: Core,
  peer: Peer,
  contact: ContactRow,
  frame: Extract<PlainFrame, { kind: 'typing' | 'presence' }>,
): void => {
  const second = Math.floor(core.clock.monotonic() / 1000);
  if (peer.volatile.second !== second) peer.volatile = { second, frames: 0 };
  peer.volatile.frames++;
  if (contact.state !== 'accepted' || peer.volatile.frames > VOLATILE_PER_SECOND_MAX) return;
  if (frame.kind === 'typing') tellTyping(core, peer, frame.on);
  else core.volatile({ kind: 'presence.changed', contactId: contact.id, state: frame.state });
};

/** Their link has ended: whoever wrote can tell no more that they stopped. */
export const endTyping = (core: Core, peer: Peer): void => {
  if (peer.typing) tellTyping(core, peer, false);
};

const tellTyping = (core: Core, peer: Peer, on: boolean): void => {
  peer.typing = on;
  core.volatile({ kind: 'typing.changed', contactId: peer.contactId, state: on ? 'on' : 'off' });
};
