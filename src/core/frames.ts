// What each frame of a link means, by who sent it: a stranger, someone who was asked, an accepted contact.
import { BATCH_FRAMES_MAX } from '../protocol/limits.ts';
import type { PeerFrame, PlainFrame, SealedFrame } from '../protocol/peer.ts';
import { type ContactRow, getContact, patchContact } from '../store/contacts.ts';
import { type Core, commit, refuse } from './core.ts';
import { deliver, onAck } from './deliver.ts';
import { DUPLICATE, onDuplicate } from './duplicate.ts';
import { takePassing, tellPresence } from './passing.ts';
import { type Peer, sendFrame } from './peer.ts';
import { receive } from './receive.ts';
import { isAsked, onNoRequest, onNotContact, onRequest, sendRequest } from './requests.ts';
import { beginReset, onReset, onResume, sendReset, sendResume } from './sessions.ts';

/**
 * Handles frames that wait on a peer's link, in order, at most one batch of sealed ones; true when some are left. Runs as
 * one task of the account's queue. Throws ProtocolError for what no honest program sends: the caller closes the link.
 */
export const handleFrames = async (core: Core, peer: Peer): Promise<boolean> => {
  const contact = getContact(core.db, peer.contactId);
  const first = peer.inbox[0];
  if (contact === undefined || first === undefined) return false;
  if (first.kind === 'sealed') await takeSealed(core, peer, contact);
  else {
    peer.inbox.shift();
    await takePlain(core, peer, contact, first);
  }
  return peer.inbox.length > 0;
};

const takeSealed = async (core: Core, peer: Peer, contact: ContactRow): Promise<void> => {
  const batch: SealedFrame[] = [];
  for (let next = peer.inbox[0]; next?.kind === 'sealed' && batch.length < BATCH_FRAMES_MAX; next = peer.inbox[0]) {
    batch.push(next);
    peer.inbox.shift();
  }
  const { acknowledge, unasked, undecryptable } = await receive(core, contact, batch);
  if (acknowledge.length > 0) {
    sendFrame(peer, { kind: 'ack', ids: acknowledge });
    if (!peer.ready) await ready(core, peer);
  }
  for (const id of unasked) sendFrame(peer, { kind: 'no_request', id });
  if (undecryptable) {
    beginReset(core, peer.contactId, 'a message could not be decrypted');
    sendReset(core, peer);
  }
};

const takePlain = async (
  core: Core,
  peer: Peer,
  contact: ContactRow,
  frame: Exclude<PeerFrame, SealedFrame>,
): Promise<void> => {
  switch (frame.kind) {
    case 'resume':
      return takeResume(core, peer, contact, frame);
    case 'request':
      await onRequest(core, peer, contact, frame);
      return ready(core, peer);
    case 'reset':
      if (contact.state === 'accepted') await onReset(core, contact, frame);
      // They have accepted us and lost that session before it began: our request begins another.
      else if (contact.state === 'outgoing') sendRequest(core, peer);
      else return;
      return ready(core, peer);
    case 'ack':
      onAck(core, peer, contact, frame.ids);
      return deliver(core, peer.contactId);
    case 'ping':
      sendFrame(peer, { kind: 'pong', n: frame.n });
      return;
    case 'pong':
      peer.pingsMissed = 0;
      if (peer.pingSentAt !== undefined) peer.rttMs = core.clock.monotonic() - peer.pingSentAt;
      peer.pingSentAt = undefined;
      for (const tell of peer.pongWaiters.splice(0)) tell();
      return;
    case 'no_request':
      return onNoRequest(core, contact);
    case 'not_contact':
      return onNotContact(core, contact);
    case 'typing':
    case 'presence':
      return takePassing(core, peer, contact, frame);
    case 'stream':
    case 'chunk':
    case 'hashes':
      return refuse(core, 'frame.unexpected');
    case 'error':
      if (contact.state === 'accepted' && frame.code === DUPLICATE) onDuplicate(core, contact.id);
      return;
  }
};

const takeResume = async (
  core: Core,
  peer: Peer,
  contact: ContactRow,
  frame: Extract<PlainFrame, { kind: 'resume' }>,
): Promise<void> => {
  const isAccepted = contact.state === 'accepted';
  if (!isAccepted && !isAsked(core, contact)) {
    sendFrame(peer, { kind: 'not_contact' });
    return;
  }
  // Before anything that may pause it for another reason.
  if (contact.paused === 'notContact') commit(core, () => patchContact(core.db, contact.id, { paused: '' }));
  if (isAccepted) onResume(core, peer, frame);
  // They have accepted us, and their accept waits until we have spoken too.
  else sendResume(core, peer);
  await ready(core, peer);
};

/** The other side has spoken: what waits for it may go. */
const ready = async (core: Core, peer: Peer): Promise<void> => {
  const isFirst = !peer.ready;
  peer.ready = true;
  if (isFirst) tellPresence(core, peer);
  await deliver(core, peer.contactId);
};
