// Puts sealed bodies into a contact's outbox, and takes them out again on an acknowledgement, an expiry or the user's word.

import { jsonBytes } from '../protocol/bytes.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { ID_BYTES, idBytes, idOf } from '../protocol/ids.ts';
import { OUTBOX_FRAMES_MAX } from '../protocol/limits.ts';
import { encodeBody, type SealedBody } from '../protocol/peer.ts';
import { getFile } from '../store/files.ts';
import { getMessage, patchMessage } from '../store/messages.ts';
import {
  countOutbox,
  getOutbox,
  listOutboxOfMessage,
  type OutboxRow,
  putOutbox,
  removeOutbox,
  type SealedRow,
} from '../store/outbox.ts';
import { acknowledgeRequest, countAcknowledged, type RequestRow } from '../store/sessions.ts';
import type { Changes, Core } from './core.ts';
import { settingOf } from './settings.ts';
import { endUnsent, startTimer } from './timers.ts';

type WithoutId<Body> = Body extends SealedBody ? Omit<Body, 'id'> & { readonly id?: string } : never;

// What answers the other side: there are few of them, and a full outbox must not stop a handshake or a file.
const ANSWERS: ReadonlySet<SealedBody['kind']> = new Set(['accept', 'hello', 'file.done', 'file.cancel']);

/** Whether a contact's outbox takes another frame. */
export const hasRoom = (core: Core, contactId: number): boolean => countOutbox(core.db, contactId) < OUTBOX_FRAMES_MAX;

/**
 * Appends a body to the outbox of a contact and wakes its delivery after the commit. Without an id it gets a random one.
 * `sealed` is its ciphertext, if it has one already. Gives the outbox row. Throws `outbox.full` at OUTBOX_FRAMES_MAX, except for answers.
 */
export const enqueue = (
  core: Core,
  changes: Changes,
  contactId: number,
  body: WithoutId<SealedBody>,
  messageRow?: number,
  sealed?: SealedRow,
): number => {
  if (!ANSWERS.has(body.kind) && !hasRoom(core, contactId)) throw new SottoError('outbox.full');
  const id = body.id ?? idOf(core.random.bytes(ID_BYTES));
  changes.wake.add(contactId);
  const row = putOutbox(core.db, {
    contactId,
    frameId: idBytes(id),
    kind: body.kind,
    body: jsonBytes({ ...body, id }),
    messageRow: messageRow ?? null,
    createdAt: changes.at,
    expiresAt: changes.at + Number(settingOf(core.db, 'outbox.expiresMs')),
    ...sealed,
  });
  const peer = core.peers.get(contactId);
  if (peer !== undefined) peer.queuedRow = row;
  return row;
};

/** The body of an outbox row, as it was put. */
export const bodyOf = (row: OutboxRow): SealedBody => JSON.parse(Buffer.from(row.body).toString()) as SealedBody;

/** The padded body of an outbox row; undefined for one that cannot be sent: damaged, or too large for any frame. */
export const plaintextOf = (row: OutboxRow): Uint8Array<ArrayBuffer> | undefined => {
  try {
    return encodeBody(bodyOf(row));
  } catch (error) {
    if (error instanceof ProtocolError || error instanceof SyntaxError) return undefined;
    throw error;
  }
};

/** Takes a row out of the outbox that will never be delivered; the message it carried has failed, and no other. */
export const giveUp = (core: Core, changes: Changes, row: OutboxRow, reason: string): void => {
  removeOutbox(core.db, row.id);
  const message = row.messageRow === null || !carriesMessage(row) ? undefined : getMessage(core.db, row.messageRow);
  if (message === undefined || (message.state !== 'queued' && message.state !== 'sent')) return;
  endUnsent(core, changes, message, reason);
  const { contactId } = row;
  changes.event({ kind: 'message.failed', messageRow: message.id, contactId });
  const file = message.fileId === null ? undefined : getFile(core.db, message.fileId);
  if (file?.state === 'offered') changes.event({ kind: 'file.failed', fileRow: file.id, contactId });
};

/**
 * The other side has committed these frames: they leave the outbox, and a message that one of them carried is delivered.
 * The id of our open `request` says that it arrived. Other ids change nothing.
 */
export const acknowledge = (
  core: Core,
  changes: Changes,
  contactId: number,
  ids: readonly string[],
  request: RequestRow | undefined,
): void => {
  const counted = new Map<string, number>();
  for (const id of ids) {
    if (request !== undefined && id === idOf(request.requestId)) acknowledgeRequest(core.db, request.id);
    const row = getOutbox(core.db, contactId, idBytes(id));
    if (row === undefined || row.ciphertext === null) continue;
    removeOutbox(core.db, row.id);
    const session = row.sessionId === null || row.isOlder === 1 ? undefined : idOf(row.sessionId);
    if (session !== undefined) counted.set(session, (counted.get(session) ?? 0) + 1);
    if (row.messageRow !== null && carriesMessage(row)) delivered(core, changes, row.messageRow);
  }
  for (const [session, count] of counted) countAcknowledged(core.db, contactId, idBytes(session), count);
};

/** The other side has a message, whether it was acknowledged or waits for a new session to go again: it goes no more. */
export const hasArrived = (core: Core, changes: Changes, messageRow: number): void => {
  for (const row of listOutboxOfMessage(core.db, messageRow)) if (carriesMessage(row)) removeOutbox(core.db, row.id);
  delivered(core, changes, messageRow);
};

const carriesMessage = ({ kind }: OutboxRow): boolean => kind === 'text' || kind === 'file.offer';

const delivered = (core: Core, changes: Changes, messageRow: number): void => {
  const message = getMessage(core.db, messageRow);
  if (message === undefined || message.state === 'read' || message.state === 'delivered') return;
  // They have it, and have said that they cannot show it.
  if (message.state === 'failed' && message.reason === 'unsupported') return;
  patchMessage(core.db, messageRow, { state: 'delivered', reason: '', deliveredAt: changes.at });
  // They may never tell that they have read it: what ends after that ends here from now on, until they do.
  startTimer(core, changes, message);
  changes.event({ kind: 'message.delivered', messageRow });
};
