// Moves a contact's outbox onto its link: encrypts what enters the window, commits, then sends; takes acknowledgements.

import type { SignalSession } from '../crypto/session.ts';
import { idOf, type MessageId } from '../protocol/ids.ts';
import { WINDOW_BYTES_MAX, WINDOW_FRAMES_MAX } from '../protocol/limits.ts';
import { encodeBody, type SealedFrame } from '../protocol/peer.ts';
import { type ContactRow, getContact } from '../store/contacts.ts';
import { getMessage, patchMessage } from '../store/messages.ts';
import { listOutbox, type OutboxRow, putCiphertext } from '../store/outbox.ts';
import { getOpenRequest, putSession, type SessionRow } from '../store/sessions.ts';
import { type Core, commit } from './core.ts';
import { acknowledge, bodyOf } from './outbox.ts';
import { type Peer, sendFrame } from './peer.ts';
import { beginReset, loadSession } from './sessions.ts';

type Ready = { readonly row: OutboxRow; readonly frame: SealedFrame };

/**
 * Sends what fits into the window, in outbox order. Ciphertext and ratchet step are committed before a byte leaves; the
 * same bytes are sent again on the next link. Does nothing without a ready link or a session.
 */
export const deliver = async (core: Core, contactId: number): Promise<void> => {
  const peer = core.peers.get(contactId);
  const contact = getContact(core.db, contactId);
  if (peer?.link === undefined || !peer.ready || contact?.state !== 'accepted' || contact.blocked === 1) return;
  if (contact.paused !== '' && contact.paused !== 'notContact') return;
  const { row, session } = loadSession(core, contact);
  if (row?.sessionId == null || row.resetPending === 1) return;
  const waiting = nextRows(core, peer);
  if (waiting.length === 0) return;
  if (waiting.some((one) => one.ciphertext === null) && !session.hasCurrent(core.clock.now())) {
    beginReset(core, contactId, 'the session was not answered for 30 days');
    return;
  }
  const ready = await encryptAll(core, contact, { row, session }, waiting);
  if (peer.link === undefined) return;
  for (const { row: sent, frame } of ready) send(core, peer, sent, frame);
};

/** The other side has committed these frames. */
export const onAck = (core: Core, peer: Peer, ids: readonly MessageId[]): void => {
  const request = getOpenRequest(core.db, peer.contactId, 'mine');
  commit(core, (changes) => {
    acknowledge(core, changes, peer.contactId, ids, request);
  });
  for (const id of ids) peer.inFlight.delete(id);
  peer.unansweredAt = peer.inFlight.size === 0 ? undefined : core.clock.monotonic();
};

const nextRows = (core: Core, peer: Peer): OutboxRow[] => {
  const room = WINDOW_FRAMES_MAX - peer.inFlight.size;
  if (room <= 0) return [];
  let bytes = [...peer.inFlight.values()].reduce((sum, size) => sum + size, 0);
  return listOutbox(core.db, peer.contactId, peer.sentRow, room).filter((row, index) => {
    bytes += row.body.length;
    return index === 0 || bytes <= WINDOW_BYTES_MAX;
  });
};

type Loaded = { readonly row: SessionRow; readonly session: SignalSession };

const encryptAll = async (
  core: Core,
  contact: ContactRow,
  { row, session }: Loaded,
  waiting: readonly OutboxRow[],
): Promise<Ready[]> => {
  const sessionId = row.sessionId;
  if (sessionId === null) throw new Error('delivery without a session');
  const sealed: { readonly row: OutboxRow; readonly type: number; readonly ciphertext: Uint8Array<ArrayBuffer> }[] = [];
  for (const one of waiting)
    if (one.ciphertext === null)
      sealed.push({ row: one, ...(await session.encrypt(encodeBody(bodyOf(one)), core.clock.now())) });
  if (sealed.length > 0)
    commit(core, (changes) => {
      putSession(core.db, {
        ...row,
        state: session.serialize(),
        sent: row.sent + sealed.length,
        updatedAt: changes.at,
      });
      for (const { row: one, type, ciphertext } of sealed) {
        putCiphertext(core.db, one.id, { sessionId, type, ciphertext });
        const message = one.messageRow === null ? undefined : getMessage(core.db, one.messageRow);
        if (message?.state !== 'queued' || (one.kind !== 'text' && one.kind !== 'file.offer')) continue;
        patchMessage(core.db, message.id, { state: 'sent' });
        changes.event({ kind: 'message.sent', messageRow: message.id, contactId: contact.id });
      }
    });
  const made = new Map(sealed.map((one) => [one.row.id, one]));
  return waiting.map((one) => {
    const { type, ciphertext } = made.get(one.id) ?? {
      type: one.type ?? 0,
      ciphertext: one.ciphertext ?? new Uint8Array(),
    };
    return { row: one, frame: { kind: 'sealed', id: idOf<MessageId>(one.frameId), type, ciphertext } };
  });
};

const send = (core: Core, peer: Peer, row: OutboxRow, frame: SealedFrame): void => {
  sendFrame(peer, frame);
  peer.sentRow = row.id;
  peer.inFlight.set(frame.id, frame.ciphertext.length);
  peer.unansweredAt ??= core.clock.monotonic();
  peer.busyAt = core.clock.monotonic();
};
