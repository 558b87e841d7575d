// Contact requests, both ways: asking, being asked, accepting, rejecting, crossing.
import { SignalSession } from '../crypto/session.ts';
import { fromBase64, toBase64 } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import { ID_BYTES, idBytes, idOf, type MessageId } from '../protocol/ids.ts';
import { CONTACTS_MAX, REQUESTS_PENDING_MAX } from '../protocol/limits.ts';
import type { PlainFrame } from '../protocol/peer.ts';
import {
  type ContactRow,
  getContact,
  getContactByAddress,
  listContacts,
  patchContact,
  putContact,
  putHistory,
} from '../store/contacts.ts';
import { listOutbox, markOlder, putOutbox, removeOutbox, removeOutboxOfKind } from '../store/outbox.ts';
import { nicknameOf } from '../store/self.ts';
import {
  closeRequest,
  countRequestsOfOthers,
  getOpenRequest,
  getRequest,
  listOpenRequests,
  putRequest,
  putReset,
  putSession,
  removeClosedRequests,
} from '../store/sessions.ts';
import { ensureConversation } from './accepting.ts';
import { type Changes, type Core, commit, refuse } from './core.ts';
import { freeName, refuseTaken } from './labels.ts';
import { blockedError, checkName } from './names.ts';
import { enqueue } from './outbox.ts';
import { type Peer, sendFrame } from './peer.ts';
import { bundleIdOf, emptySession, loadSession, resetsLeft, sealAnew, startSession } from './sessions.ts';

type RequestFrame = Extract<PlainFrame, { kind: 'request' }>;

/** Asks the person at `address`. Throws `nickname.invalid`, `contact.self`, `contact.exists`, `name.taken`, `request.tooMany`. Gives the contact's row id. */
export const ask = async (
  core: Core,
  wanted: { readonly address: string; readonly name: string; readonly note?: string },
): Promise<number> => {
  checkName(wanted.name);
  if (wanted.address === core.address) throw new SottoError('contact.self');
  const known = getContactByAddress(core.db, wanted.address);
  if (known !== undefined && isAskedOrAccepted(core, known))
    throw new SottoError('contact.exists', { message: `You have this contact already: ${known.name}` });
  if (known?.state === 'incoming' && known.blocked === 0) return accept(core, known, wanted.name);
  const others = listContacts(core.db).filter(({ id, state }) => state !== 'removed' && id !== known?.id);
  if (listOpenRequests(core.db, 'mine').length >= REQUESTS_PENDING_MAX || others.length >= CONTACTS_MAX)
    throw new SottoError('request.tooMany');
  refuseTaken(core, wanted.name, known?.id);
  const requestId = core.random.bytes(ID_BYTES);
  const session = sessionToAsk(core, wanted.address, known);
  session.archive();
  session.dropBundles();
  const bundle = session.makeBundle(bundleIdOf(requestId), core.clock.now());
  return commit(core, (changes) => {
    const contactId = known?.id ?? putContact(core.db, newContact(core, changes, { ...wanted, state: 'outgoing' }));
    patchContact(core.db, contactId, {
      name: wanted.name,
      state: 'outgoing',
      blocked: 0,
      paused: '',
      verifiedAt: null,
      requestNote: wanted.note ?? '',
    });
    closeOpen(core, contactId);
    removeClosedRequests(core.db, contactId);
    putRequest(core.db, { contactId, requestId, mine: 1, bundle, createdAt: changes.at });
    putSession(core.db, emptySession(contactId, session.serialize(), changes.at));
    sealAnew(core, changes, contactId);
    putHistory(core.db, contactId, { at: changes.at, kind: 'contact.asked', detail: '' });
    changes.wake.add(contactId);
    return contactId;
  });
};

/** Whether asking again would change nothing: they are a contact, or our request to them is open. */
const isAskedOrAccepted = (core: Core, contact: ContactRow): boolean =>
  contact.paused !== 'notContact' && (contact.state === 'accepted' || isAsked(core, contact));

// Before the first link no key is pinned; a bundle needs none.
const sessionToAsk = (core: Core, address: string, known: ContactRow | undefined): SignalSession =>
  known === undefined
    ? new SignalSession({ identity: core.signal, ours: core.address, theirs: address, pinned: new Uint8Array() })
    : loadSession(core, known).session;

/** Sends our open request, on every new link until it was acknowledged. */
export const sendRequest = (core: Core, peer: Peer): void => {
  const request = getOpenRequest(core.db, peer.contactId, 'mine');
  const contact = getContact(core.db, peer.contactId);
  if (request === undefined || contact?.state !== 'outgoing') return;
  sendFrame(peer, {
    kind: 'request',
    id: idOf(request.requestId),
    bundle: toBase64(request.bundle),
    nickname: nicknameOf(core.db),
    ...(contact.requestNote === '' ? {} : { note: contact.requestNote }),
  });
};

/**
 * Someone asks. It is acknowledged alike whatever becomes of it, once it is committed; what is not kept is not, so that it
 * comes again: that of a contact who began too many sessions today, and that of a stranger while too many wait.
 */
export const onRequest = async (core: Core, peer: Peer, contact: ContactRow, frame: RequestFrame): Promise<void> => {
  const requestId = idBytes(frame.id);
  const bundle = fromBase64(frame.bundle);
  if (getRequest(core.db, contact.id, requestId) === undefined) {
    if (contact.state === 'accepted') {
      if (resetsLeft(core, contact.id) === 0) return refuse(core, 'reset.tooMany');
      await renew(core, contact, requestId, bundle);
    } else if (isAsked(core, contact)) await cross(core, peer, contact, requestId, bundle);
    else if (!hear(core, contact, frame, bundle)) return refuse(core, 'request.tooMany');
  }
  sendFrame(peer, { kind: 'ack', ids: [frame.id as MessageId] });
};

/** Whether a request of mine to them is open: one that has ended waits for nobody. */
export const isAsked = (core: Core, { id, state }: ContactRow): boolean =>
  state === 'outgoing' && getOpenRequest(core.db, id, 'mine') !== undefined;

/** Accepts an open request: the session begins from its bundle, and the first sealed frame says so. */
export const accept = async (core: Core, contact: ContactRow, name: string): Promise<number> => {
  const request = getOpenRequest(core.db, contact.id, 'theirs');
  if (request === undefined && contact.state === 'accepted')
    throw new SottoError('request.unknown', { message: `${contact.name} is your contact already` });
  if (request === undefined) throw new SottoError('request.unknown');
  if (contact.blocked === 1) throw blockedError(contact);
  checkName(name);
  refuseTaken(core, name, contact.id);
  const started = await startSession(core, contact, request.requestId, request.bundle);
  commit(core, (changes) => {
    patchContact(core.db, contact.id, { name, state: 'accepted', paused: '' });
    closeRequest(core.db, request.id, 'accepted');
    begin(core, changes, contact.id, started, request.requestId);
    putHistory(core.db, contact.id, { at: changes.at, kind: 'contact.accepted', detail: 'you accepted their request' });
    changes.event({ kind: 'request.accepted', contactId: contact.id });
  });
  return contact.id;
};

/** Closes a request. The other side hears nothing. */
export const reject = (core: Core, contact: ContactRow): void => {
  const request = getOpenRequest(core.db, contact.id, 'theirs');
  if (request === undefined) throw new SottoError('request.unknown');
  commit(core, (changes) => {
    closeRequest(core.db, request.id, 'rejected');
    patchContact(core.db, contact.id, { state: 'removed', requestNote: '' });
    changes.event({ kind: 'request.rejected', contactId: contact.id });
    changes.unlink.set(contact.id, 'done');
  });
};

/** Our accept came to someone who has no open request: they do not know us. */
export const onNoRequest = (core: Core, contact: ContactRow): void =>
  pauseUnknown(core, contact, 'they have no open request to you');

/** The other side does not know us any more: it was made anew from its phrase, or has removed us. Nothing is lost here. */
export const onNotContact = (core: Core, contact: ContactRow): void =>
  pauseUnknown(core, contact, 'they do not know you as a contact');

const pauseUnknown = (core: Core, contact: ContactRow, detail: string): void => {
  if (contact.state !== 'accepted' || contact.paused === 'notContact' || contact.paused === 'keyChanged') return;
  commit(core, (changes) => {
    patchContact(core.db, contact.id, { paused: 'notContact' });
    putHistory(core.db, contact.id, {
      at: changes.at,
      kind: 'contact.unknown',
      detail,
    });
  });
};

type Wanted = { readonly address: string; readonly name: string; readonly state: 'outgoing' | 'removed' };

/** The row of a contact that did not exist. */
export const newContact = (core: Core, changes: Changes, wanted: Wanted) => ({
  uid: core.random.bytes(ID_BYTES),
  address: wanted.address,
  name: wanted.name,
  nickname: '',
  state: wanted.state,
  requestNote: '',
  createdAt: changes.at,
});

const begin = (
  core: Core,
  changes: Changes,
  contactId: number,
  started: (changes: Changes) => void,
  requestId: Uint8Array,
): void => {
  started(changes);
  ensureConversation(core, changes, contactId);
  removeOutboxOfKind(core.db, contactId, 'accept');
  const waiting = listOutbox(core.db, contactId, 0, Number.MAX_SAFE_INTEGER);
  enqueue(core, changes, contactId, { kind: 'accept', request: idOf(requestId), nickname: nicknameOf(core.db) });
  // Who asked takes nothing before the accept: what waits already goes behind it.
  const peer = core.peers.get(contactId);
  for (const { sessionId, type, ciphertext, ...row } of waiting) {
    removeOutbox(core.db, row.id);
    const last = putOutbox(core.db, row);
    if (peer !== undefined) peer.queuedRow = last;
  }
  markOlder(core.db, contactId);
};

// A stranger, or someone we removed: the request waits for the user. False when too many wait already: it is not kept.
const hear = (core: Core, contact: ContactRow, frame: RequestFrame, bundle: Uint8Array<ArrayBuffer>): boolean => {
  const isNew = getOpenRequest(core.db, contact.id, 'theirs') === undefined;
  if (isNew && countRequestsOfOthers(core.db) >= REQUESTS_PENDING_MAX) return false;
  commit(core, (changes) => {
    closeOpen(core, contact.id);
    removeClosedRequests(core.db, contact.id);
    const name = contact.state === 'removed' ? freeName(core, frame.nickname, contact.id) : contact.name;
    patchContact(core.db, contact.id, {
      name,
      state: 'incoming',
      nickname: frame.nickname,
      requestNote: frame.note ?? '',
    });
    putRequest(core.db, {
      contactId: contact.id,
      requestId: idBytes(frame.id),
      mine: 0,
      bundle,
      createdAt: changes.at,
    });
    if (isNew) changes.event({ kind: 'request.received', contactId: contact.id });
  });
  return true;
};

// Both asked: the one with the higher address uses the other's bundle, and its accept answers the other's request. The
// lower one asks again: its request may have been turned down before the other side changed its mind.
const cross = async (
  core: Core,
  peer: Peer,
  contact: ContactRow,
  requestId: Uint8Array<ArrayBuffer>,
  bundle: Uint8Array<ArrayBuffer>,
): Promise<void> => {
  if (core.address < contact.address) return sendRequest(core, peer);
  const started = await startSession(core, contact, requestId, bundle);
  commit(core, (changes) => {
    closeOpen(core, contact.id);
    putRequest(core.db, { contactId: contact.id, requestId, mine: 0, bundle, createdAt: changes.at });
    closeOpen(core, contact.id, 'accepted');
    patchContact(core.db, contact.id, { state: 'accepted', paused: '' });
    begin(core, changes, contact.id, started, requestId);
    changes.event({ kind: 'request.accepted', contactId: contact.id });
  });
};

// A contact with the pinned keys asks again: it has lost its store. The request is a reset.
const renew = async (
  core: Core,
  contact: ContactRow,
  requestId: Uint8Array<ArrayBuffer>,
  bundle: Uint8Array<ArrayBuffer>,
): Promise<void> => {
  const started = await startSession(core, contact, requestId, bundle);
  commit(core, (changes) => {
    removeClosedRequests(core.db, contact.id);
    putRequest(core.db, { contactId: contact.id, requestId, mine: 0, bundle, createdAt: changes.at });
    closeOpen(core, contact.id, 'accepted');
    putReset(core.db, contact.id, changes.at, false);
    if (contact.paused !== 'keyChanged') patchContact(core.db, contact.id, { paused: '' });
    begin(core, changes, contact.id, started, requestId);
    putHistory(core.db, contact.id, { at: changes.at, kind: 'session.healed', detail: 'they asked again' });
    changes.event({ kind: 'session.healed', contactId: contact.id, detail: 'they asked again' });
  });
};

/** Closes what is open between us and a contact, asked by either side. */
export const closeOpen = (core: Core, contactId: number, state: 'expired' | 'accepted' = 'expired'): void => {
  for (const side of ['mine', 'theirs'] as const) {
    const open = getOpenRequest(core.db, contactId, side);
    if (open !== undefined) closeRequest(core.db, open.id, state);
  }
};
