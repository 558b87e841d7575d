// Moves a contact's outbox onto its link: encrypts what enters the window, commits, then sends; takes acknowledgements.

import type { SignalSession } from '../crypto/session.ts';
import { idOf, type MessageId } from '../protocol/ids.ts';
import { WINDOW_BYTES_MAX, WINDOW_FRAMES_MAX } from '../protocol/limits.ts';
import { paddedSize } from '../protocol/padding.ts';
import { encodeBody, type SealedBody, type SealedFrame } from '../protocol/peer.ts';
import { type ContactRow, getContact } from '../store/contacts.ts';
import { getMessage, patchMessage } from '../store/messages.ts';
import { listOutbox, type OutboxRow, putCiphertext, type SealedRow } from '../store/outbox.ts';
import { getOpenRequest, putSession, type SessionRow } from '../store/sessions.ts';
import { type Changes, type Core, commit } from './core.ts';
import { acknowledge, giveUp, plaintextOf } from './outbox.ts';
import { type Peer, sendFrame } from './peer.ts';
import { beginReset, loadSession, sessionState } from './sessions.ts';

type Ready = { readonly row: OutboxRow; readonly frame: SealedFrame };

/**
 * Sends what fits into the window, in outbox order. Ciphertext and ratchet step are committed before a byte leaves; the
 * same bytes are sent again on the next link. Does nothing without a ready link or a session.
 */
export const deliver = async (core: Core, contactId: number): Promise<void> => {
  const peer = core.peers.get(contactId);
  const waiting = peer?.link === undefined || !peer.ready ? [] : nextRows(core, peer);
  const contact = waiting.length === 0 ? undefined : getContact(core.db, contactId);
  const open = contact === undefined || !maySeal(contact) ? undefined : openSession(core, contact);
  if (peer === undefined || contact === undefined || open === undefined) return;
  const { row, session } = open;
  if (waiting.some((one) => one.ciphertext === null) && !session.hasCurrent(core.clock.now())) {
    beginReset(core, contactId, 'the session was not answered for 30 days');
    return;
  }
  const ready = await encryptAll(core, contact, { row, session }, waiting);
  if (peer.link === undefined) return;
  for (const { row: sent, frame } of ready) send(core, peer, sent, frame);
};

/** A body that was encrypted before its outbox row was written, so that both are one commit. */
export type SealedAhead = {
  readonly sealed: SealedRow;
  /** Writes the ratchet step, inside the transaction that wrote the row. */
  readonly keep: (changes: Changes) => void;
  /** Sends it, after the commit. */
  readonly send: (outboxRow: number) => void;
};

/** Encrypts a body for a contact who is ready and for whom nothing else waits; undefined otherwise: `deliver` does it then. */
export const sealAhead = async (
  core: Core,
  contact: ContactRow,
  body: SealedBody,
): Promise<SealedAhead | undefined> => {
  const peer = core.peers.get(contact.id);
  if (peer?.link === undefined || !peer.ready || !maySeal(contact)) return undefined;
  if (room(peer) === 0 || behindSent(core, peer, 1).length > 0) return undefined;
  const open = openSession(core, contact);
  const now = core.clock.now();
  if (open?.session.hasCurrent(now) !== true) return undefined;
  const { row, session } = open;
  const { sessionId } = row;
  const { type, ciphertext } = await session.encrypt(encodeBody(body), now);
  return {
    sealed: { sessionId, type, ciphertext },
    keep: (changes) => {
      const state = sessionState(core, contact.id, session);
      putSession(core.db, { ...row, state, sent: row.sent + 1, updatedAt: changes.at });
      // It is sent by hand right after the commit: nothing is left to wake for.
      changes.wake.delete(contact.id);
    },
    send: (outboxRow) =>
      send(core, peer, { id: outboxRow }, { kind: 'sealed', id: body.id as MessageId, type, ciphertext }),
  };
};

/** The other side has committed these frames. */
export const onAck = (core: Core, peer: Peer, contact: ContactRow, ids: readonly MessageId[]): void => {
  const request = contact.state === 'outgoing' ? getOpenRequest(core.db, peer.contactId, 'mine') : undefined;
  commit(core, (changes) => {
    acknowledge(core, changes, peer.contactId, ids, request);
  });
  for (const id of ids) peer.inFlight.delete(id);
  peer.ackedAt = core.clock.monotonic();
  peer.unansweredAt = peer.inFlight.size === 0 ? undefined : peer.ackedAt;
};

/** Whether sealed frames may go to a contact. */
const maySeal = ({ state, blocked, paused }: ContactRow): boolean =>
  state === 'accepted' && blocked === 0 && (paused === '' || paused === 'notContact');

type Open = { readonly row: OpenSession; readonly session: SignalSession };
type OpenSession = SessionRow & { readonly sessionId: Uint8Array<ArrayBuffer> };

/** The session with a contact, unless there is none or a reset waits for it. */
const openSession = (core: Core, contact: ContactRow): Open | undefined => {
  const { row, session } = loadSession(core, contact);
  if (row === undefined || row.sessionId === null || row.resetPending === 1) return undefined;
  return { row: { ...row, sessionId: row.sessionId }, session };
};

/** How many frames the window still takes. */
const room = (peer: Peer): number =>
  bytesInFlight(peer) >= WINDOW_BYTES_MAX ? 0 : Math.max(0, WINDOW_FRAMES_MAX - peer.inFlight.size);

const bytesInFlight = (peer: Peer): number => [...peer.inFlight.values()].reduce((sum, size) => sum + size, 0);

/** The first rows that were not sent on this link yet: the store is asked only where there may be one. */
const behindSent = (core: Core, peer: Peer, limit: number): OutboxRow[] => {
  if (peer.queuedRow <= peer.sentRow) return [];
  const rows = listOutbox(core.db, peer.contactId, peer.sentRow, limit);
  if (rows.length === 0) peer.queuedRow = peer.sentRow;
  return rows;
};

const nextRows = (core: Core, peer: Peer): OutboxRow[] => {
  const frames = room(peer);
  if (frames === 0) return [];
  let bytes = bytesInFlight(peer);
  return behindSent(core, peer, frames).filter((row, index) => {
    bytes += row.ciphertext?.length ?? paddedSize(row.body.length) ?? 0;
    return index === 0 || bytes <= WINDOW_BYTES_MAX;
  });
};

const encryptAll = async (
  core: Core,
  contact: ContactRow,
  { row, session }: Open,
  waiting: readonly OutboxRow[],
): Promise<Ready[]> => {
  const sealed: { readonly row: OutboxRow; readonly type: number; readonly ciphertext: Uint8Array<ArrayBuffer> }[] = [];
  const hopeless: OutboxRow[] = [];
  for (const one of waiting.filter((each) => each.ciphertext === null)) {
    const plaintext = plaintextOf(one);
    if (plaintext === undefined) hopeless.push(one);
    else sealed.push({ row: one, ...(await session.encrypt(plaintext, core.clock.now())) });
  }
  if (sealed.length + hopeless.length > 0)
    commit(core, (changes) => {
      for (const one of hopeless) giveUp(core, changes, one, 'notSendable');
      putSession(core.db, {
        ...row,
        state: sessionState(core, contact.id, session),
        sent: row.sent + sealed.length,
        updatedAt: changes.at,
      });
      for (const { row: one, type, ciphertext } of sealed) {
        putCiphertext(core.db, one.id, { sessionId: row.sessionId, type, ciphertext });
        const message = one.messageRow === null ? undefined : getMessage(core.db, one.messageRow);
        if (message?.state !== 'queued' || (one.kind !== 'text' && one.kind !== 'file.offer')) continue;
        patchMessage(core.db, message.id, { state: 'sent' });
        changes.event({ kind: 'message.sent', messageRow: message.id, contactId: contact.id });
      }
    });
  const made = new Map(sealed.map((one) => [one.row.id, one]));
  return waiting
    .filter((one) => !hopeless.includes(one))
    .map((one) => {
      const { type, ciphertext } = made.get(one.id) ?? {
        type: one.type ?? 0,
        ciphertext: one.ciphertext ?? new Uint8Array(),
      };
      return { row: one, frame: { kind: 'sealed', id: idOf<MessageId>(one.frameId), type, ciphertext } };
    });
};

const send = (core: Core, peer: Peer, row: Pick<OutboxRow, 'id'>, frame: SealedFrame): void => {
  sendFrame(peer, frame);
  peer.sentRow = row.id;
  if (peer.inFlight.size === 0) peer.ackedAt = core.clock.monotonic();
  peer.inFlight.set(frame.id, frame.ciphertext.length);
  peer.unansweredAt ??= core.clock.monotonic();
  peer.busyAt = core.clock.monotonic();
};
