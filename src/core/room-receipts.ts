// Receipts for what members have sent us: gathered a few seconds, so that they tell little about when we were there.
import type { Cancel } from '../ports.ts';
import { idOf } from '../protocol/ids.ts';
import { EARLY_RECEIPTS_MAX, RECEIPT_TARGETS_MAX } from '../protocol/limits.ts';
import { getConversationOfMember, listConversations } from '../store/conversations.ts';
import { latestEventAt } from '../store/events.ts';
import { getMember, patchMember } from '../store/members.ts';
import { listMessagesBack } from '../store/message-pages.ts';
import type { MessageRow } from '../store/messages.ts';
import { type Core, commit } from './core.ts';
import { enqueueReceipt, hasRoom } from './room-outbox.ts';

const WAIT_MS_MAX = 5_000;
// So much later than that they go where much is to be done.
const LATE_MS = 1_000;

/** Lets a member write to us, within a transaction. Who waited for that is told that the last of what they said is here. */
export const letIn = (core: Core, memberRow: number): void => {
  const member = getMember(core.db, memberRow);
  if (member === undefined || (member.request === 'accepted' && member.blocked === 0)) return;
  patchMember(core.db, memberRow, { request: 'accepted', blocked: 0 });
  const conversation = member.request === 'open' ? getConversationOfMember(core.db, memberRow) : undefined;
  if (conversation === undefined) return;
  const receipts = core.rooms.get(member.serverId)?.receipts;
  for (const { mine, deletedAt, messageId } of lastMessages(core, conversation.id))
    if (mine === 0 && deletedAt === null) receipts?.add(memberRow, idOf(messageId));
};

/**
 * Confirms anew what came in the last moments of before, when an account is opened: the receipts that had not gone when it was closed,
 * or died, are all of that.
 */
export const confirmLast = (core: Core): void => {
  const since = latestEventAt(core.db) - WAIT_MS_MAX - LATE_MS;
  for (const { id, memberRow, lastAt } of listConversations(core.db)) {
    if ((lastAt ?? 0) < since) return;
    const member = memberRow === null ? undefined : getMember(core.db, memberRow);
    if (member === undefined || member.request !== 'accepted' || member.blocked === 1) continue;
    const receipts = core.rooms.get(member.serverId)?.receipts;
    for (const { mine, deletedAt, receivedAt, messageId } of lastMessages(core, id))
      if (mine === 0 && deletedAt === null && (receivedAt ?? 0) >= since) receipts?.add(member.id, idOf(messageId));
  }
};

const lastMessages = ({ db }: Core, conversationId: number): MessageRow[] =>
  listMessagesBack(db, conversationId, { seq: Number.MAX_SAFE_INTEGER, id: 0 }, RECEIPT_TARGETS_MAX).reverse();

/** Receipts for messages that are not known here yet: as many as EARLY_RECEIPTS_MAX, the oldest go. */
export class EarlyReceipts {
  readonly #states = new Map<string, 'delivered' | 'read'>();

  add(memberRow: number, id: string, state: 'delivered' | 'read'): void {
    const key = `${memberRow} ${id}`;
    if (this.#states.get(key) !== 'read') this.#states.set(key, state);
    const [oldest] = this.#states.keys();
    if (this.#states.size > EARLY_RECEIPTS_MAX && oldest !== undefined) this.#states.delete(oldest);
  }

  /** What was confirmed of a message that is known now. */
  take(memberRow: number, id: string): 'delivered' | 'read' | undefined {
    const key = `${memberRow} ${id}`;
    const state = this.#states.get(key);
    this.#states.delete(key);
    return state;
  }
}

/** Delivery receipts of one server that are still to be sent. */
export class Receipts implements Disposable {
  readonly #core: Core;
  readonly #serverId: number;
  readonly #waiting = new Map<number, string[]>();
  #cancel: Cancel | undefined;
  #isOver = false;

  constructor(core: Core, serverId: number) {
    this.#core = core;
    this.#serverId = serverId;
  }

  /** A message of a member was committed here. */
  add(memberRow: number, id: string): void {
    if (this.#isOver) return;
    const waiting = this.#waiting.get(memberRow);
    if (waiting === undefined) this.#waiting.set(memberRow, [id]);
    else waiting.push(id);
    const { clock, random, queue } = this.#core;
    this.#cancel ??= clock.after(random.fraction() * WAIT_MS_MAX, () => {
      this.#cancel = undefined;
      queue.post(() => this.#send());
    });
  }

  /** What is told to be read need not be told to have come. */
  forget(memberRow: number, ids: readonly string[]): void {
    const left = this.#waiting.get(memberRow)?.filter((id) => !ids.includes(id)) ?? [];
    if (left.length > 0) this.#waiting.set(memberRow, left);
    else this.#waiting.delete(memberRow);
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#cancel?.();
  }

  #send(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [memberRow, targets] of waiting)
      for (let at = 0; at < targets.length; at += RECEIPT_TARGETS_MAX) {
        // What finds no room is told with the next read, too.
        if (!hasRoom(this.#core, this.#serverId)) return;
        const some = targets.slice(at, at + RECEIPT_TARGETS_MAX);
        const to = { serverId: this.#serverId, memberRow };
        commit(this.#core, (changes) => enqueueReceipt(this.#core, changes, to, { targets: some, state: 'delivered' }));
      }
  }
}
