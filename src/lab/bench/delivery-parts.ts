// What a delivery cannot do without, each part alone: the floor of `direct.delivered`.
import { join } from 'node:path';
import { setTimeout as rest } from 'node:timers/promises';
import { addressOf } from '../../crypto/address.ts';
import { deriveSecrets, localKeys } from '../../crypto/identity.ts';
import { SignalSession, signalIdentity } from '../../crypto/session.ts';
import { systemClock, systemRandom } from '../../machine.ts';
import { ID_BYTES } from '../../protocol/ids.ts';
import { encodeBody } from '../../protocol/peer.ts';
import { type Database, openDatabase } from '../../sqlite/open.ts';
import { putContact } from '../../store/contacts.ts';
import { countArrival, putConversation } from '../../store/conversations.ts';
import { putEvent } from '../../store/events.ts';
import { patchMessage, putMessage } from '../../store/messages.ts';
import { migrate } from '../../store/migrations.ts';
import { putOutbox, removeOutbox } from '../../store/outbox.ts';
import { putFrameId, putSession } from '../../store/sessions.ts';
import { type Bench, timed } from './figure.ts';
import { TEXT } from './scene.ts';

type Sealed = Awaited<ReturnType<SignalSession['encrypt']>>;
type Side = { readonly signal: ReturnType<typeof signalIdentity>; readonly address: string };

/**
 * One encryption and one decryption of a message, and the three transactions that a delivery needs: the sender's rows, the
 * receiver's rows, and the acknowledgement; the same tables, FULL sync, nothing else going on. Each alone, after a rest: in a
 * delivery a program that has slept does each of them.
 */
export const deliveryParts = (bench: Bench) => {
  const [one, two] = [0, 1].map(() => {
    const secrets = deriveSecrets(systemRandom.bytes(16));
    const { publicKeys } = localKeys(secrets, systemRandom.bytes(ID_BYTES));
    return { signal: signalIdentity(secrets.signalSecret), address: addressOf(publicKeys.identityKey) };
  }) as [Side, Side];
  const at = systemClock.now();
  const session = (mine: Side, theirs: Side) =>
    new SignalSession({
      identity: mine.signal,
      ours: mine.address,
      theirs: theirs.address,
      pinned: theirs.signal.publicKey,
    });
  const [sender, receiver] = [session(one, two), session(two, one)];
  const store = new Rows(join(bench.dir, 'parts.db'));
  const body = encodeBody({ kind: 'text', id: '0'.repeat(32), text: TEXT, sentAt: at });
  return {
    begin: async () => {
      await sender.start(receiver.makeBundle(1, at), at);
      await receiver.decrypt(await sender.encrypt(body, at));
      await sender.decrypt(await receiver.encrypt(body, at));
    },
    /** Milliseconds of all five, with a rest of `restMs` before each that does not count. */
    alone: async (restMs: number): Promise<number> => {
      let [ms, sealed] = [0, undefined as Sealed | undefined];
      const steps = [
        async () => {
          sealed = await sender.encrypt(body, at);
        },
        () => (sealed === undefined ? undefined : receiver.decrypt(sealed)),
        ...store.delivery(),
      ];
      for (const step of steps) {
        await rest(restMs);
        ms += await timed(step);
      }
      return ms;
    },
    end: () => store[Symbol.dispose](),
  };
};

// The rows of a delivery, written by the functions of the store and by nothing above them.
class Rows implements Disposable {
  readonly #db: Database;
  readonly #contactId: number;
  readonly #conversationId: number;

  constructor(path: string) {
    this.#db = openDatabase(path, systemRandom.bytes(32));
    migrate(this.#db);
    const uid = systemRandom.bytes(ID_BYTES);
    this.#contactId = putContact(this.#db, {
      uid,
      address: 'floor',
      name: 'floor',
      nickname: 'floor',
      state: 'accepted',
      requestNote: '',
      createdAt: 1,
    });
    this.#conversationId = putConversation(this.#db, { uid, contactId: this.#contactId, createdAt: 1 });
  }

  /** The transactions of one delivery, to be run in this order. */
  delivery(): (() => void)[] {
    const [contactId, at] = [this.#contactId, systemClock.now()];
    const [mineId, theirsId] = [systemRandom.bytes(ID_BYTES), systemRandom.bytes(ID_BYTES)];
    let [messageRow, outboxRow] = [0, 0];
    const sent = (): void => {
      messageRow = this.#message(mineId, 1, at);
      outboxRow = putOutbox(this.#db, {
        contactId,
        frameId: mineId,
        kind: 'text',
        body: systemRandom.bytes(200),
        messageRow,
        createdAt: at,
        expiresAt: at,
        sessionId: mineId,
        type: 2,
        ciphertext: systemRandom.bytes(430),
      });
      this.#session(mineId, at);
      putEvent(this.#db, { at, kind: 'message.sent', messageRow, contactId });
    };
    const received = (): void => {
      const row = this.#message(theirsId, 0, at);
      putFrameId(this.#db, contactId, theirsId, at);
      this.#session(theirsId, at);
      countArrival(this.#db, this.#conversationId, at);
      putEvent(this.#db, { at, kind: 'message.received', messageRow: row, contactId });
    };
    const acknowledged = (): void => {
      removeOutbox(this.#db, outboxRow);
      patchMessage(this.#db, messageRow, { state: 'delivered', deliveredAt: at });
      putEvent(this.#db, { at, kind: 'message.delivered', messageRow });
    };
    return [sent, received, acknowledged].map((body) => () => this.#db.transaction(body));
  }

  [Symbol.dispose](): void {
    this.#db[Symbol.dispose]();
  }

  #message(messageId: Uint8Array<ArrayBuffer>, mine: number, at: number): number {
    return putMessage(this.#db, {
      conversationId: this.#conversationId,
      messageId,
      mine,
      body: TEXT,
      state: mine === 1 ? 'sent' : 'received',
      sentAt: at,
      receivedAt: mine === 1 ? null : at,
      unread: 1 - mine,
      replyTo: null,
      expiresMs: null,
      expiresFrom: 'delivery',
      expiresAt: null,
      fileId: null,
    });
  }

  #session(sessionId: Uint8Array<ArrayBuffer>, updatedAt: number): void {
    const state = systemRandom.bytes(722);
    const none = { resetPending: 0, resetId: null, resetBundle: null };
    putSession(this.#db, {
      contactId: this.#contactId,
      sessionId,
      state,
      sent: 1,
      received: 1,
      acknowledged: 0,
      ...none,
      updatedAt,
    });
  }
}
