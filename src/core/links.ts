// Which links there are: dials what is needed, gives a proven link to its contact in place of an old one, and lets go of the idle.
import type { Link, LinkEvents } from '../ports.ts';
import { errorObject } from '../protocol/errors.ts';
import {
  DIAL_MS_MAX,
  DIAL_MS_MIN,
  DIALS_MAX,
  LINK_CROSSED_MS,
  LINK_IDLE_MS,
  LINKS_MAX,
  RETRY_MS_MAX,
  RETRY_MS_MIN,
  WINDOW_FRAMES_MAX,
} from '../protocol/limits.ts';
import {
  type ContactRow,
  getContact,
  getContactByAddress,
  listContacts,
  patchContact,
  putContact,
  removeStranger,
} from '../store/contacts.ts';
import { depthOfOutbox } from '../store/outbox.ts';
import { getOpenRequest, getSession } from '../store/sessions.ts';
import { type Core, commit, refuseLink } from './core.ts';
import { deliver } from './deliver.ts';
import { DUPLICATE, noteInstall } from './duplicate.ts';
import { doubt, heartbeat } from './heartbeat.ts';
import { keepSeen } from './last-seen.ts';
import { takeFrame } from './link-frames.ts';
import { endTyping } from './passing.ts';
import { newPeer, type Peer, sendFrame } from './peer.ts';
import { refuseKey, showsOtherKeys } from './pinned-keys.ts';
import { newContact, sendRequest } from './requests.ts';
import { sendReset, sendResume } from './sessions.ts';

// After a link broke, a few quick tries: most breaks heal within seconds. Then the long back-off.
const QUICK_RETRIES_MS = [250, 1_000, 2_000, 4_000, 8_000] as const;
// A link that ends sooner was of no use: it is not dialled again without need, nor sooner than one that failed.
const USEFUL_MS_MIN = 2_000;

/** The live state of a contact, made when first asked for. */
export const peerOf = (core: Core, contactId: number): Peer | undefined => {
  const known = core.peers.get(contactId);
  if (known !== undefined) return known;
  const contact = getContact(core.db, contactId);
  if (contact === undefined) return undefined;
  const made = newPeer(contactId, contact.address);
  core.peers.set(contactId, made);
  return made;
};

/** A link for talk was proven. Gives where its frames go; everything else happens in the queue. */
export const attach = (core: Core, link: Link): LinkEvents => {
  const early: Uint8Array<ArrayBuffer>[] = [];
  let owner: Peer | undefined;
  let gone: string | undefined;
  core.queue.post(() => {
    if (gone !== undefined) return;
    try {
      owner = adopt(core, link);
    } catch (error) {
      link.close('not taken');
      throw error;
    }
    if (owner === undefined) return link.close('replaced');
    for (const frame of early.splice(0)) takeFrame(core, owner, link, frame);
  });
  return {
    frame: (frame) => {
      if (owner !== undefined) takeFrame(core, owner, link, frame);
      else if (early.length < WINDOW_FRAMES_MAX) early.push(frame);
      else link.close('frame.tooMany');
    },
    drained: () => core.queue.post(() => (owner === undefined ? undefined : deliver(core, owner.contactId))),
    closed: (reason) => {
      gone = reason;
      refuseLink(core, reason);
      core.queue.post(() => detached(core, owner, link, reason));
    },
  };
};

/** Looks whether a contact needs a link, and dials or delivers. */
export const wake = async (core: Core, contactId: number): Promise<void> => {
  const peer = peerOf(core, contactId);
  if (peer === undefined) return;
  if (peer.link !== undefined) {
    sendRequestOnce(core, peer);
    return deliver(core, contactId);
  }
  if (needsLink(core, contactId) && peer.dialling === undefined && peer.nextRetryAt === undefined) dial(core, peer);
};

/** Tries at once whoever waits for a retry: Tor came up, or the user asked. */
export const retryNow = (core: Core, contactId?: number): void => {
  const ids = contactId === undefined ? listContacts(core.db).map((contact) => contact.id) : [contactId];
  for (const id of ids) {
    const peer = peerOf(core, id);
    if (peer === undefined || peer.link !== undefined || peer.dialling !== undefined) continue;
    peer.cancelRetry();
    peer.nextRetryAt = undefined;
    if (contactId !== undefined || needsLink(core, id)) dial(core, peer);
  }
};

/** Ends a contact's link and its dials. */
export const unlink = (core: Core, contactId: number, reason: string): void => {
  const peer = core.peers.get(contactId);
  if (peer === undefined) return;
  peer.dialling?.abort();
  peer.cancelRetry();
  peer.nextRetryAt = undefined;
  peer.link?.close(reason);
};

const needsLink = (core: Core, contactId: number): boolean => {
  const contact = getContact(core.db, contactId);
  if (contact === undefined || contact.blocked === 1) return false;
  if (contact.state === 'outgoing') return getOpenRequest(core.db, contactId, 'mine')?.acknowledged === 0;
  if (contact.state !== 'accepted' || contact.paused !== '') return false;
  if (core.peers.get(contactId)?.relink === true) return true;
  return depthOfOutbox(core.db, contactId).depth > 0 || getSession(core.db, contactId)?.resetPending === 1;
};

const dial = (core: Core, peer: Peer): void => {
  if (core.network.state.state !== 'online') return;
  if ([...core.peers.values()].filter((one) => one.dialling !== undefined).length >= DIALS_MAX)
    return retryLater(core, peer, 1_000);
  const abort = new AbortController();
  peer.dialling = abort;
  peer.attempts++;
  const contact = getContact(core.db, peer.contactId);
  const timeoutMs = Math.min(DIAL_MS_MAX, DIAL_MS_MIN * 2 ** peer.failures);
  const over = (step: () => void): void =>
    core.queue.post(() => {
      // One that was called off may end while the next one goes on.
      if (peer.dialling !== abort) return;
      peer.dialling = undefined;
      step();
    });
  core.network
    .dial(peer.address, (link) => attach(core, link), { attempt: peer.attempts, timeoutMs, signal: abort.signal })
    .then(
      () => over(() => {}),
      (error: unknown) => over(() => dialFailed(core, peer, error, contact)),
    );
};

const dialFailed = (core: Core, peer: Peer, error: unknown, contact: ContactRow | undefined): void => {
  const { code, message } = errorObject(error);
  peer.lastError = message;
  peer.lastErrorAt = core.clock.now();
  if (code === 'dial.noDescriptor') peer.descriptor = { found: false, checkedAt: peer.lastErrorAt };
  // Whatever stood in the way of this dial, it was not that: they may be there again.
  else if (peer.descriptor?.found === false) peer.descriptor = undefined;
  core.log.info('dial.failed', { code, message, contact: contact?.id });
  if (peer.link === undefined) failed(core, peer);
};

const failed = (core: Core, peer: Peer): void => {
  const quick = QUICK_RETRIES_MS[peer.failures];
  const slow = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.max(0, peer.failures - QUICK_RETRIES_MS.length));
  peer.failures++;
  if (quick === undefined) peer.relink = false;
  if (needsLink(core, peer.contactId)) retryLater(core, peer, (quick ?? slow) * (0.75 + core.random.fraction() / 2));
};

const retryLater = (core: Core, peer: Peer, ms: number): void => {
  peer.cancelRetry();
  peer.nextRetryAt = core.clock.now() + Math.round(ms);
  peer.cancelRetry = core.clock.after(ms, () =>
    core.queue.post(() => {
      peer.nextRetryAt = undefined;
      return wake(core, peer.contactId);
    }),
  );
};

/** Gives a proven link to its contact; undefined when the link it has stays. Strangers get a row without a name. */
const adopt = (core: Core, link: Link): Peer | undefined => {
  const known = getContactByAddress(core.db, link.peer.address);
  // Two that were admitted before any key was pinned: the first one's are.
  if (known !== undefined && known.blocked === 0 && showsOtherKeys(known, link.peer)) {
    refuseKey(core, known.id);
    return undefined;
  }
  const { contactId, isTwice } = contactOf(core, link);
  const peer = peerOf(core, contactId);
  // Blocked since the link was admitted: it ends, and the next one is ignored.
  if (peer === undefined || getContact(core.db, contactId)?.blocked === 1) return undefined;
  if (peer.link !== undefined && staysWith(core, peer.link, link)) {
    doubt(core, peer);
    return undefined;
  }
  const old = peer.link;
  reset(core, peer);
  peer.link = link;
  old?.close('replaced');
  peer.dialling?.abort();
  peer.dialling = undefined;
  peer.cancelRetry();
  peer.nextRetryAt = undefined;
  // They are there: whatever failed before, they are tried again within half a minute.
  peer.failures = Math.min(peer.failures, QUICK_RETRIES_MS.length);
  peer.relink = false;
  peer.sinceAt = core.clock.now();
  peer.heardAt = peer.sinceAt;
  if (link.dialled) peer.descriptor = { found: true, checkedAt: peer.sinceAt };
  peer.busyAt = core.clock.monotonic();
  heartbeat(core, peer);
  greet(core, peer);
  if (isTwice) sendFrame(peer, { kind: 'error', code: DUPLICATE });
  closeIdlest(core, peer);
  core.volatile({ kind: 'link.up', contactId });
  return peer;
};

// Above LINKS_MAX the link that was idle for longest closes, those of strangers first.
const closeIdlest = (core: Core, fresh: Peer): void => {
  const linked = [...core.peers.values()].filter((peer) => peer.link !== undefined && peer !== fresh);
  if (linked.length < LINKS_MAX) return;
  const strangers = linked.filter((peer) => !peer.known);
  const idlest = (strangers.length > 0 ? strangers : linked).reduce((a, b) => (b.busyAt < a.busyAt ? b : a));
  idlest.link?.close('too many links');
};

const greet = (core: Core, peer: Peer): void => {
  const contact = getContact(core.db, peer.contactId);
  peer.known = contact?.state === 'outgoing' || contact?.state === 'accepted';
  if (contact?.state === 'outgoing') sendRequestOnce(core, peer);
  else if (contact?.state === 'accepted') {
    sendResume(core, peer);
    sendReset(core, peer);
  }
};

const sendRequestOnce = (core: Core, peer: Peer): void => {
  if (getOpenRequest(core.db, peer.contactId, 'mine')?.acknowledged === 0) sendRequest(core, peer);
};

// Pins the keys of a contact that had none, and notes which copy of the account speaks.
const contactOf = (core: Core, link: Link): { readonly contactId: number; readonly isTwice: boolean } => {
  const { address, linkKey, signalKey, installId } = link.peer;
  return commit(core, (changes) => {
    const known = getContactByAddress(core.db, address);
    const id =
      known?.id ??
      putContact(core.db, newContact(core, changes, { address, name: address.slice(0, 8), state: 'removed' }));
    if (known?.linkKey == null || known.signalKey == null) patchContact(core.db, id, { linkKey, signalKey });
    if (known !== undefined && known.state !== 'removed') patchContact(core.db, id, { lastSeenAt: changes.at });
    const isTwice =
      known?.state === 'accepted' && installId !== undefined && noteInstall(core, changes, known, installId);
    return { contactId: id, isTwice };
  });
};

// Two links dialled across each other: the lower address's dial stays. Otherwise the newer one is the living one.
const staysWith = (core: Core, old: Link, fresh: Link): boolean => {
  if (old.dialled === fresh.dialled || Math.abs(fresh.openedAt - old.openedAt) > LINK_CROSSED_MS) return false;
  const oldIsLower = old.dialled ? core.address < old.peer.address : old.peer.address < core.address;
  return oldIsLower;
};

const detached = (core: Core, peer: Peer | undefined, link: Link, reason: string): void => {
  if (peer?.link !== link) return;
  const wasUseful = core.clock.now() - peer.sinceAt >= USEFUL_MS_MIN;
  peer.relink = reason === 'peer closed' && wasUseful && inUse(core, peer);
  reset(core, peer);
  peer.lastError = `the link ended: ${reason}`;
  peer.lastErrorAt = core.clock.now();
  core.volatile({ kind: 'link.down', contactId: peer.contactId, detail: reason });
  core.log.info('link.closed', { contact: peer.contactId, reason });
  forgetStranger(core, peer);
  keepSeen(core, peer);
  if (!wasUseful) return failed(core, peer);
  peer.failures = 0;
  if (needsLink(core, peer.contactId)) retryLater(core, peer, QUICK_RETRIES_MS[0]);
};

// A link in use that breaks is dialled by both sides: one of them may not notice, or its address may be out of reach with it.
const inUse = (core: Core, peer: Peer): boolean => core.clock.monotonic() - peer.busyAt < LINK_IDLE_MS / 2;

// A stranger who linked and did not ask leaves no row behind.
const forgetStranger = (core: Core, peer: Peer): void => {
  if (getContact(core.db, peer.contactId)?.state !== 'removed') return;
  core.peers.delete(peer.contactId);
  removeStranger(core.db, peer.contactId);
};

const reset = (core: Core, peer: Peer): void => {
  endTyping(core, peer);
  peer.cancelHeartbeat();
  peer.cancelHold();
  peer.link = undefined;
  peer.ready = false;
  peer.inbox = [];
  peer.inFlight = new Map();
  peer.sentRow = 0;
  peer.unansweredAt = undefined;
  peer.pingsMissed = 0;
  peer.pingSentAt = undefined;
  peer.rttMs = undefined;
  for (const tell of peer.pongWaiters.splice(0)) tell();
  peer.sinceAt = core.clock.now();
};
