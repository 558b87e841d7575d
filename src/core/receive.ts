// Takes sealed frames of one contact: admit → deduplicate → decrypt → rows and ratchet in one transaction → acknowledge → tell.
import type { SignalSession } from '../crypto/session.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { idBytes, idOf, type MessageId } from '../protocol/ids.ts';
import {
  CONTACT_BYTES_PER_DAY_MAX,
  CONTACT_MESSAGES_PER_DAY_MAX,
  DAY_MS,
  SKIPPED_FRAMES_MAX,
} from '../protocol/limits.ts';
import { decodeBody, type SealedBody, type SealedFrame, type UnknownBody } from '../protocol/peer.ts';
import { type ContactRow, putHistory } from '../store/contacts.ts';
import { getConversationOfContact } from '../store/conversations.ts';
import { getOpenRequest, hasFrameId, putFrameId, putSession, type SessionRow } from '../store/sessions.ts';
import { becomeAccepted } from './accepting.ts';
import { applyBody } from './apply.ts';
import { type Changes, type Core, commit, refuse } from './core.ts';
import { bundleIdOf, healed, loadSession, sessionState } from './sessions.ts';

/** What became of a batch: ids to acknowledge now, ids of accepts nobody asked for, and whether a frame did not open. */
export type Received = {
  readonly acknowledge: readonly MessageId[];
  readonly unasked: readonly MessageId[];
  readonly undecryptable: boolean;
};

type Opened = { readonly frame: SealedFrame; readonly body: SealedBody | UnknownBody };

const NOTHING: Received = { acknowledge: [], unasked: [], undecryptable: false };

/**
 * Handles frames of a contact in the order in which they came. All of them share one transaction; every acknowledged id
 * is committed when this returns. A repeat is acknowledged again and changes nothing. A frame that does not open is not
 * acknowledged, changes nothing and ends the batch; the frames before it are kept.
 */
export const receive = async (core: Core, contact: ContactRow, frames: readonly SealedFrame[]): Promise<Received> => {
  // 1. admit: an accepted contact, or one whose answer to our request this may be
  if (contact.blocked === 1 || !['accepted', 'outgoing'].includes(contact.state)) return NOTHING;
  // Our request has ended, and with it the keys that their answer needs: they are told so.
  if (contact.state === 'outgoing' && getOpenRequest(core.db, contact.id, 'mine') === undefined)
    return { ...NOTHING, unasked: frames.map(({ id }) => id) };
  const { row, session } = loadSession(core, contact);
  if (row === undefined) return { ...NOTHING, undecryptable: contact.state === 'accepted' };

  // and within what one contact may send in a day; beyond that nothing is acknowledged, and the user is told
  if (overQuota(core, contact, frames)) return NOTHING;

  // 2. deduplicate: the table of frame ids is the only judge
  const repeats: MessageId[] = [];
  const fresh = new Map<MessageId, SealedFrame>();
  for (const frame of frames)
    if (hasFrameId(core.db, contact.id, idBytes(frame.id))) repeats.push(frame.id);
    else fresh.set(frame.id, frame);

  // 3. decrypt: on the state in memory; nothing is written yet
  const { opened, undecryptable } = await open(core, session, [...fresh.values()], row.received);

  // 4. an accept must answer a request of ours that is open, and everything else must come after one
  const { taken, unasked } = admit(core, contact, opened);

  // 5. rows, frame ids and ratchet in one transaction
  if (taken.length > 0)
    commit(core, (changes) => {
      keepSession(core, changes, contact, { row, session, count: taken.length });
      store(core, changes, contact, taken);
    });

  // 6. the caller acknowledges; 7. subscribers are told when that has left
  return { acknowledge: [...repeats, ...taken.map(({ frame }) => frame.id)], unasked, undecryptable };
};

/** The number of the day, in UTC. */
export const dayOf = (core: Core): number => Math.floor(core.clock.now() / DAY_MS);

// Counted in memory, by day: what a restart forgives is one day's worth.
const overQuota = (core: Core, contact: ContactRow, frames: readonly SealedFrame[]): boolean => {
  const peer = core.peers.get(contact.id);
  if (peer === undefined) return false;
  const day = dayOf(core);
  if (peer.quota.day !== day) peer.quota = { day, frames: 0, bytes: 0, told: false };
  peer.quota.frames += frames.length;
  peer.quota.bytes += frames.reduce((sum, frame) => sum + frame.ciphertext.length, 0);
  if (peer.quota.frames <= CONTACT_MESSAGES_PER_DAY_MAX && peer.quota.bytes <= CONTACT_BYTES_PER_DAY_MAX) return false;
  refuse(core, 'quota.exceeded');
  if (!peer.quota.told)
    commit(core, (changes) =>
      putHistory(core.db, contact.id, {
        at: changes.at,
        kind: 'quota.exceeded',
        detail: 'they sent more than a day allows; the rest waits until tomorrow',
      }),
    );
  peer.quota.told = true;
  return true;
};

const open = async (core: Core, session: SignalSession, frames: readonly SealedFrame[], received: number) => {
  const opened: Opened[] = [];
  for (const frame of frames) {
    try {
      const body = decodeBody(await session.decrypt(frame, received + SKIPPED_FRAMES_MAX));
      if (body.id !== frame.id) throw new ProtocolError('frame.undecryptable', { details: { why: 'id' } });
      opened.push({ frame, body });
    } catch (error) {
      if (!(error instanceof SottoError)) throw error;
      refuse(core, error.code);
      core.log.warn('frame.refused', { code: error.code, why: String(error.details.why ?? '') });
      return { opened, undecryptable: true };
    }
  }
  return { opened, undecryptable: false };
};

const admit = (core: Core, contact: ContactRow, opened: readonly Opened[]) => {
  if (contact.state === 'accepted') return { taken: opened, unasked: [] as MessageId[] };
  const request = getOpenRequest(core.db, contact.id, 'mine');
  const [first] = opened;
  const answers =
    first?.body.kind === 'accept' && request !== undefined && first.body.request === idOf(request.requestId);
  return answers ? { taken: opened, unasked: [] } : { taken: [], unasked: opened.map(({ frame }) => frame.id) };
};

type Kept = { readonly row: SessionRow; readonly session: SignalSession; readonly count: number };

const keepSession = (core: Core, changes: Changes, contact: ContactRow, { row, session, count }: Kept): void => {
  const state = sessionState(core, contact.id, session);
  const began = row.resetPending === 1 && row.resetId !== null && !session.hasBundle(bundleIdOf(row.resetId));
  if (began) {
    putSession(core.db, {
      ...row,
      state,
      sessionId: row.resetId,
      sent: 0,
      received: count,
      acknowledged: 0,
      resetPending: 0,
      resetId: null,
      resetBundle: null,
      updatedAt: changes.at,
    });
    healed(core, changes, contact, 'we asked for a new session');
    changes.wake.add(contact.id);
  } else putSession(core.db, { ...row, state, received: row.received + count, updatedAt: changes.at });
};

const store = (core: Core, changes: Changes, contact: ContactRow, taken: readonly Opened[]): void => {
  let conversation = getConversationOfContact(core.db, contact.id);
  for (const { frame, body } of taken) {
    putFrameId(core.db, contact.id, idBytes(frame.id), changes.at);
    if (body.kind === 'accept') becomeAccepted(core, changes, contact.id, body);
    conversation ??= getConversationOfContact(core.db, contact.id);
    if (conversation === undefined) throw new Error('an accepted contact has a conversation');
    applyBody({ core, contact, conversation, changes }, body);
  }
};
