// What ends by the clock: messages, outbox rows, open requests, old events and frame ids.
import type { Cancel } from '../ports.ts';
import { idOf } from '../protocol/ids.ts';
import {
  EVENTS_KEPT_MAX,
  EVENTS_KEPT_MS,
  FRAME_IDS_KEPT_MS,
  HISTORY_COMING_MS_MAX,
  REQUEST_EXPIRY_MS,
} from '../protocol/limits.ts';
import { listStrangers, patchContact, removeStranger } from '../store/contacts.ts';
import { pruneEvents } from '../store/events.ts';
import { listFilesInState } from '../store/files.ts';
import { getMessageById, listExpired, nextExpiry, removeMessage } from '../store/messages.ts';
import { listOutboxExpired, nextOutboxExpiry } from '../store/outbox.ts';
import { listRoomOutboxExpired, listRoomOutboxOfMessage, nextRoomOutboxExpiry } from '../store/room-outbox.ts';
import { closeRequest, listOpenRequests, pruneFrameIds, pruneRequests, pruneResets } from '../store/sessions.ts';
import { removeOldShares } from '../store/shares.ts';
import { uncount } from './amend.ts';
import { type Core, commit } from './core.ts';
import { endFile, eraseFile } from './files-rows.ts';
import { keepSeenRarely } from './last-seen.ts';
import { dropOutbox } from './messages.ts';
import { giveUp } from './outbox.ts';
import { roomGiveUp } from './room-settled.ts';
import { dropBundles, retryResets } from './sessions.ts';
import { settingOf } from './settings.ts';

const PAGE = 500;
const SWEEP_MS = 60_000;
const EARLY_MS = 50;

/** Keeps the timers of one account. Everything it does runs in the account's queue. */
export class Expiry implements Disposable {
  readonly #core: Core;
  #cancelNext: Cancel = () => {};
  #cancelSweep: Cancel = () => {};

  constructor(core: Core) {
    this.#core = core;
    this.schedule();
    this.#sweepLater();
  }

  /**
   * Something may end earlier than any known before. What is put into an outbox needs no call: it waits for longer than a
   * sweep, and the sweep looks again.
   */
  schedule(): void {
    const { db, clock, clockWatch, queue } = this.#core;
    this.#cancelNext();
    clockWatch.look();
    const ends = [nextExpiry(db), nextOutboxExpiry(db), nextRoomOutboxExpiry(db)].filter((one) => one !== undefined);
    if (ends.length === 0) return;
    const wait = Math.min(SWEEP_MS, Math.max(EARLY_MS, Math.min(...ends) - clock.now()));
    this.#cancelNext = clock.after(wait, () =>
      queue.post(() => {
        this.#endMessages();
        this.#endOutbox();
        this.schedule();
      }),
    );
  }

  [Symbol.dispose](): void {
    this.#cancelNext();
    this.#cancelSweep();
  }

  #sweepLater(): void {
    this.#cancelSweep = this.#core.clock.after(SWEEP_MS, () => {
      this.#core.queue.post(() => this.#sweep());
      this.#sweepLater();
    });
  }

  #sweep(): void {
    const { db, clock } = this.#core;
    const now = clock.now();
    this.#endMessages();
    this.#core.clockWatch.keep();
    this.#endOutbox();
    for (const side of ['mine', 'theirs'] as const)
      for (const request of listOpenRequests(db, side))
        if (request.createdAt <= now - REQUEST_EXPIRY_MS)
          commit(this.#core, (changes) => {
            closeRequest(db, request.id, 'expired');
            if (side === 'theirs') patchContact(db, request.contactId, { state: 'removed', requestNote: '' });
            else dropBundles(this.#core, changes, request.contactId);
          });
    this.schedule();
    retryResets(this.#core);
    commit(this.#core, (changes) => {
      keepSeenRarely(this.#core);
      pruneFrameIds(db, now - FRAME_IDS_KEPT_MS);
      pruneRequests(db, now - FRAME_IDS_KEPT_MS);
      // Who is linked still goes when the link ends.
      for (const id of listStrangers(db)) if (!this.#core.peers.has(id)) removeStranger(db, id);
      if (removeOldShares(db, now - HISTORY_COMING_MS_MAX)) changes.erased = true;
      pruneResets(db, now - EVENTS_KEPT_MS);
      pruneEvents(db, now - EVENTS_KEPT_MS, EVENTS_KEPT_MAX);
    });
  }

  #endMessages(): void {
    const { db, clock, clockWatch } = this.#core;
    clockWatch.look();
    for (let rows = listExpired(db, clock.now(), PAGE); rows.length > 0; rows = listExpired(db, clock.now(), PAGE))
      commit(this.#core, (changes) => {
        for (const row of rows) {
          dropOutbox(this.#core, row.id);
          uncount(this.#core, row);
          removeMessage(db, row.id);
          eraseFile(this.#core, changes, row.fileId);
          changes.event({ kind: 'message.expired', subject: idOf(row.messageId) });
        }
        changes.erased = true;
      });
  }

  // What nobody fetched in its time has failed, and says so.
  #endOutbox(): void {
    const { db, clock } = this.#core;
    for (
      let rows = listOutboxExpired(db, clock.now(), PAGE);
      rows.length > 0;
      rows = listOutboxExpired(db, clock.now(), PAGE)
    )
      commit(this.#core, (changes) => {
        for (const row of rows) giveUp(this.#core, changes, row, 'outboxExpired');
      });
    for (
      let rows = listRoomOutboxExpired(db, clock.now(), PAGE);
      rows.length > 0;
      rows = listRoomOutboxExpired(db, clock.now(), PAGE)
    )
      commit(this.#core, (changes) => {
        for (const row of rows) roomGiveUp(this.#core, changes, row.id, 'outboxExpired');
      });
    this.#endUploads();
  }

  // The event of a file takes its place in the outbox once its bytes are there.
  #endUploads(): void {
    const { db, clock } = this.#core;
    const before = clock.now() - Number(settingOf(db, 'outbox.expiresMs'));
    for (const file of listFilesInState(db, 'active')) {
      if (file.mine === 0 || file.blob === null || file.createdAt > before) continue;
      const message = getMessageById(db, file.conversationId, file.fileId);
      if (message?.state !== 'queued' || listRoomOutboxOfMessage(db, message.id).length > 0) continue;
      commit(this.#core, (changes) => endFile(this.#core, changes, file, { state: 'failed', reason: 'outboxExpired' }));
    }
  }
}
