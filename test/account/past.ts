// A long past for an account that nobody writes to.
import { systemClock, systemRandom } from '../../src/machine.ts';
import { ID_BYTES } from '../../src/protocol/ids.ts';
import type { Database } from '../../src/sqlite/open.ts';
import { putMessage } from '../../src/store/messages.ts';

/** Writes `count` delivered messages: a number each, and `text`. */
export const rememberMessages = (
  db: Database,
  conversationId: number,
  { count, text }: { readonly count: number; readonly text: string },
): void =>
  db.transaction(() => {
    for (let i = 0; i < count; i++)
      putMessage(db, {
        conversationId,
        messageId: new Uint8Array(systemRandom.bytes(ID_BYTES)),
        mine: 1,
        body: `${i} ${text}`,
        state: 'delivered',
        sentAt: systemClock.now(),
        receivedAt: null,
        unread: 0,
        replyTo: null,
        expiresMs: null,
        expiresFrom: 'delivery',
        expiresAt: null,
        fileId: null,
      });
  });
