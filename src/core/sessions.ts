// Begins, resets and compares the Signal session with a contact, inside the account's queue.
import { type Parties, SignalSession } from '../crypto/session.ts';
import { fromBase64, isEqual, toBase64 } from '../protocol/bytes.ts';
import { ID_BYTES, idBytes, idOf } from '../protocol/ids.ts';
import { RESET_INTERVAL_MS, RESETS_PER_DAY_MAX } from '../protocol/limits.ts';
import type { PlainFrame } from '../protocol/peer.ts';
import { type ContactRow, getContact, listContacts, listHistory, patchContact, putHistory } from '../store/contacts.ts';
import { forgetCiphertexts, hasOutboxOfKind, removeOutboxOfKind } from '../store/outbox.ts';
import { getSession, listResets, listResetsPending, putReset, putSession, type SessionRow } from '../store/sessions.ts';
import { type Changes, type Core, commit, refuse } from './core.ts';
import { enqueue } from './outbox.ts';
import { type Peer, sendFrame } from './peer.ts';
import { sayChangesAgain } from './put-on.ts';

type Frame<Kind extends PlainFrame['kind']> = Extract<PlainFrame, { kind: Kind }>;

/** Who is at both ends of a contact's session. */
export const partiesOf = (core: Core, contact: ContactRow): Parties => ({
  identity: core.signal,
  ours: core.address,
  theirs: contact.address,
  pinned: contact.signalKey ?? new Uint8Array(),
});

/** The session's state in memory; an empty one when there is none yet. */
export const loadSession = (
  core: Core,
  contact: ContactRow,
): { row: SessionRow | undefined; session: SignalSession } => {
  const row = getSession(core.db, contact.id);
  const parties = partiesOf(core, contact);
  return { row, session: takeHeld(core, contact.id, parties, row) ?? new SignalSession(parties, row?.state) };
};

/** The bytes to write back, last of all that is done with the session: the next step takes it as it is, if they were kept. */
export const sessionState = (core: Core, contactId: number, session: SignalSession): Uint8Array<ArrayBuffer> => {
  const state = session.serialize();
  const peer = core.peers.get(contactId);
  if (peer !== undefined) peer.held = { session, state };
  return state;
};

// It is held until one step takes it. What that changes and does not write back is gone with it.
const takeHeld = (core: Core, contactId: number, parties: Parties, row: SessionRow | undefined) => {
  const peer = core.peers.get(contactId);
  const held = peer?.held;
  if (peer === undefined || held === undefined) return undefined;
  peer.held = undefined;
  return row !== undefined && isEqual(held.state, row.state) && held.session.isBetween(parties)
    ? held.session
    : undefined;
};

/** The number of a bundle: the first 24 bits of the request or reset that carries it. */
export const bundleIdOf = (id: Uint8Array): number => Buffer.from(id).readUIntBE(0, 3);

/** A session row without any session. */
export const emptySession = (contactId: number, state: Uint8Array<ArrayBuffer>, at: number): SessionRow => ({
  contactId,
  sessionId: null,
  state,
  sent: 0,
  received: 0,
  acknowledged: 0,
  resetPending: 0,
  resetId: null,
  resetBundle: null,
  updatedAt: at,
});

/** Begins the session `sessionId` from a contact's bundle; what waits is encrypted anew. Throws ProtocolError `frame.invalid`. */
export const startSession = async (
  core: Core,
  contact: ContactRow,
  sessionId: Uint8Array<ArrayBuffer>,
  bundle: Uint8Array<ArrayBuffer>,
) => {
  const { session } = loadSession(core, contact);
  session.archive();
  session.dropBundles();
  await session.start(bundle, core.clock.now());
  return (changes: Changes): void => {
    putSession(core.db, { ...emptySession(contact.id, session.serialize(), changes.at), sessionId });
    sealAnew(core, changes, contact.id);
    changes.wake.add(contact.id);
  };
};

/**
 * What was sent in the session before, and not acknowledged, goes again in the new one, from the first, and what was put on it
 * since behind it: also on this link.
 */
export const sealAnew = (core: Core, changes: Changes, contactId: number): void => {
  sayChangesAgain(core, changes, contactId);
  forgetCiphertexts(core.db, contactId);
  const peer = core.peers.get(contactId);
  if (peer === undefined) return;
  peer.sentRow = 0;
  peer.inFlight.clear();
  peer.unansweredAt = undefined;
};

/** Erases the keys of the bundles that a contact has got and did not use. */
export const dropBundles = (core: Core, changes: Changes, contactId: number): void => {
  const contact = getContact(core.db, contactId);
  if (contact === undefined) return;
  const { row, session } = loadSession(core, contact);
  if (row === undefined) return;
  session.dropBundles();
  putSession(core.db, { ...row, state: session.serialize(), updatedAt: changes.at });
};

/** What both sides say first on a link: how far each remembers the session. */
export const sendResume = (core: Core, peer: Peer): void => {
  const row = getSession(core.db, peer.contactId);
  const session = row?.sessionId == null ? {} : { session: idOf(row.sessionId) };
  sendFrame(peer, { kind: 'resume', ...session, sent: row?.acknowledged ?? 0, received: row?.received ?? 0 });
};

/**
 * The other side's resume on a link of an accepted contact. It remembers more than we do: our store was put back, and the
 * session must not be used again before a reset. Without a session of our own we ask for one.
 */
export const onResume = (core: Core, peer: Peer, frame: Frame<'resume'>): void => {
  const row = getSession(core.db, peer.contactId);
  if (row?.resetPending === 1) return sendReset(core, peer);
  if (row?.sessionId == null) return beginReset(core, peer.contactId, 'no session');
  const other = frame.session !== undefined && frame.session !== idOf(row.sessionId);
  // Another session than ours, in which they have spoken already: one of the two stores was put back. In a session that
  // nobody has answered yet, they are the ones who will ask.
  if (other && row.received > 0) return beginReset(core, peer.contactId, 'a copy of the account was put back');
  if (other || frame.session === undefined) return;
  if (frame.received > row.sent || frame.sent > row.received) {
    notePutBack(core, row);
    beginReset(core, peer.contactId, 'this copy of the account was put back');
  } else if (frame.received < row.acknowledged) noteTheyArePutBack(core, row, row.acknowledged - frame.received);
};

// What came in between, and was acknowledged, comes no more.
const notePutBack = (core: Core, { contactId, updatedAt }: SessionRow): void => {
  if (listHistory(core.db, contactId).some(({ kind, at }) => kind === 'account.restored' && at >= updatedAt)) return;
  commit(core, (changes) => {
    const [from, to] = [updatedAt, changes.at].map((at) => new Date(at).toISOString());
    const detail = `messages between ${from} and ${to} may be missing`;
    putHistory(core.db, contactId, { at: changes.at, kind: 'account.restored', detail });
  });
};

// They hear of it by our own resume, and reset.
const noteTheyArePutBack = (core: Core, row: SessionRow, count: number): void =>
  commit(core, (changes) => {
    const what =
      count === 1
        ? 'one of your messages, or a change of one, that they'
        : `${count} of your messages and changes that they`;
    const detail = `put back to an earlier state: ${what} had is missing there`;
    putHistory(core.db, row.contactId, { at: changes.at, kind: 'contact.restored', detail });
    putSession(core.db, { ...row, acknowledged: row.acknowledged - count });
  });

/**
 * Asks again where the limits on resets stopped that: ours, once they allow it, and those of the other side, which may have
 * turned down a reset on a link that is still up.
 */
export const retryResets = (core: Core): void => {
  for (const contactId of listResetsPending(core.db)) {
    const peer = core.peers.get(contactId);
    if (peer !== undefined) sendReset(core, peer);
  }
  for (const contact of listContacts(core.db))
    if (contact.paused === 'tooManyResets' && mayReset(core, contact.id, core.clock.now(), true))
      beginReset(core, contact.id, 'the limit on resets is over');
};

/** How many sessions a contact may still begin today. */
export const resetsLeft = (core: Core, contactId: number): number =>
  Math.max(0, RESETS_PER_DAY_MAX - listResets(core.db, contactId, core.clock.now(), false).length);

/** Asks the contact for a new session; within the limits, and once at a time. */
export const beginReset = (core: Core, contactId: number, why: string): void => {
  const contact = getContact(core.db, contactId);
  if (contact === undefined || contact.state !== 'accepted') return;
  const { row, session } = loadSession(core, contact);
  if (row?.resetPending === 1) return;
  const now = core.clock.now();
  if (!mayReset(core, contactId, now, true)) {
    // A key that was refused is more: only the user's word ends that pause.
    if (contact.paused === 'tooManyResets' || contact.paused === 'keyChanged') return;
    commit(core, (changes) => {
      patchContact(core.db, contactId, { paused: 'tooManyResets' });
      putHistory(core.db, contactId, { at: changes.at, kind: 'session.paused', detail: why });
    });
    return;
  }
  const resetId = core.random.bytes(ID_BYTES);
  session.archive();
  session.dropBundles();
  const resetBundle = session.makeBundle(bundleIdOf(resetId), now);
  commit(core, (changes) => {
    const base = row ?? emptySession(contactId, session.serialize(), changes.at);
    putSession(core.db, {
      ...base,
      state: session.serialize(),
      resetPending: 1,
      resetId,
      resetBundle,
      updatedAt: changes.at,
    });
    sealAnew(core, changes, contactId);
    if (contact.paused === 'tooManyResets') patchContact(core.db, contactId, { paused: '' });
    putReset(core.db, contactId, changes.at, true);
    putHistory(core.db, contactId, { at: changes.at, kind: 'session.reset', detail: why });
    changes.wake.add(contactId);
  });
  const peer = core.peers.get(contactId);
  if (peer !== undefined) sendReset(core, peer);
};

/** Sends the reset that waits for an answer, again on every link. */
export const sendReset = (core: Core, peer: Peer): void => {
  const row = getSession(core.db, peer.contactId);
  if (row === undefined || row.resetPending === 0 || row.resetId === null || row.resetBundle === null) return;
  sendFrame(peer, {
    kind: 'reset',
    session: idOf(row.resetId),
    bundle: toBase64(row.resetBundle),
  });
};

/**
 * The contact asks for a new session. Crossed with ours, the lower address's counts. While the hello that answers it waits,
 * the same question is a repeat; after that their store was put back to before the answer, and the session begins again.
 */
export const onReset = async (core: Core, contact: ContactRow, frame: Frame<'reset'>): Promise<void> => {
  const row = getSession(core.db, contact.id);
  const sessionId = idBytes(frame.session);
  const isBegun = row?.sessionId != null && idOf(row.sessionId) === frame.session;
  if (row?.resetPending === 1) {
    if (core.address < contact.address) return;
  } else if (isBegun && hasOutboxOfKind(core.db, contact.id, 'hello')) return;
  if (!mayReset(core, contact.id, core.clock.now(), false)) return refuse(core, 'reset.tooMany');
  const bundle = fromBase64(frame.bundle);
  const started = await startSession(core, contact, sessionId, bundle);
  commit(core, (changes) => {
    started(changes);
    putReset(core.db, contact.id, changes.at, false);
    healed(core, changes, contact, 'they asked for a new session');
    // All that waits may be repeats for them, which are not opened: the hello is new and begins the session at their side.
    removeOutboxOfKind(core.db, contact.id, 'hello');
    enqueue(core, changes, contact.id, { kind: 'hello' });
  });
};

/** A session began anew: shown in the timeline, and sending goes on. */
export const healed = (core: Core, changes: Changes, contact: ContactRow, detail: string): void => {
  putHistory(core.db, contact.id, { at: changes.at, kind: 'session.healed', detail });
  if (contact.paused === 'tooManyResets') patchContact(core.db, contact.id, { paused: '' });
  changes.event({ kind: 'session.healed', contactId: contact.id, detail });
};

const mayReset = (core: Core, contactId: number, now: number, mine: boolean): boolean => {
  const today = listResets(core.db, contactId, now, mine);
  return today.length < RESETS_PER_DAY_MAX && (today.at(-1) ?? 0) <= now - RESET_INTERVAL_MS;
};
