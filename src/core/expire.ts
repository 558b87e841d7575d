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
import { listOutboxExpired } from '../store/outbox.ts';
import { listRoomOutboxExpired, listRoomOutboxOfMessage } from '../store/room-outbox.ts';
import { closeRequest, listOpenRequests, pruneFrameIds, pruneRequests, pruneResets } from '../store/sessions.ts';
import { removeOldShares } from '../store/shares.ts';
import { uncount } from './amend.ts';
import { type Core, commit } from './core.ts';
import { endFile, eraseFile } from './files-rows.ts';
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
    this.#sweepLater();
    this.schedule();
  }

  /** A message may end earlier than any known before. */
  schedule(): void {
    this.#cancelNext();
    this.#core.clockWatch.look();
    const at = nextExpiry(this.#core.db);
    if (at === undefined) return;
    const wait = Math.min(SWEEP_MS, Math.max(EARLY_MS, at - this.#core.clock.now()));
    this.#cancelNext = this.#core.clock.after(wait, () =>
      this.#core.queue.post(() => {
        this.#endMessages();
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
