// What goes to a server: each conversation's outbox in its order, one at a time, sealed when its turn comes and resent as it was.

import type { Cancel } from '../ports.ts';
import { type ErrorCode, expectedError, SottoError } from '../protocol/errors.ts';
import { idOf } from '../protocol/ids.ts';
import { INBOX_RETRY_MS, RESEAL_TRIES_MAX, SERVER_RETRY_MS_MAX, SERVER_RETRY_MS_MIN } from '../protocol/limits.ts';
import type { Control } from '../protocol/room-content.ts';
import { EVENT } from '../protocol/server-frames.ts';
import { Turns } from '../protocol/turns.ts';
import { getChannel } from '../store/channels.ts';
import { getMember } from '../store/members.ts';
import {
  forgetSealed,
  listRoomOutboxHeads,
  nextRoomOutbox,
  type RoomOutboxRow,
  removeRoomOutbox,
} from '../store/room-outbox.ts';
import { stateOfJson } from './channel-json.ts';
import { type Core, commit } from './core.ts';
import { bannedText } from './held.ts';
import type { RoomConnection } from './room-connection.ts';
import { bringAgain } from './room-files.ts';
import { blobIn, TAKE_BACK } from './room-outbox.ts';
import { learnMembers } from './room-people.ts';
import { sealRow } from './room-seal.ts';
import { beginSessions, publishDirect } from './room-sessions.ts';
import { answered, failed } from './room-settled.ts';
import { timeToldBy } from './server-client.ts';

// After these the same bytes may be tried again; after others the message has failed.
const RETRIED: ReadonlySet<ErrorCode> = new Set([
  'server.unavailable',
  'server.unreachable',
  'server.timeout',
  'server.busy',
  'server.moved',
  'rate.limited',
  'channel.slow',
  'account.locked',
  'member.unreachable',
  'login.needed',
  'inbox.full',
  // It goes once that is taken back, or when they have joined anew, as another device.
  'server.banned',
  'device.revoked',
]);
// After these nobody knows whether the server has taken what was sent.
const UNANSWERED: ReadonlySet<ErrorCode> = new Set([
  'server.unavailable',
  'server.unreachable',
  'server.timeout',
  'server.moved',
]);
const RETRY_MS_MIN = 100;
const STUCK_TOLD_MAX = 20;

/** Sends the outbox of one server: in each channel, and to each member, one event at a time. */
export class RoomSender {
  readonly #core: Core;
  readonly #connection: RoomConnection;
  /** What goes on in each conversation: whatever this device signs there counts by one. */
  readonly #lanes = new Turns<string>();
  /** Conversations whose outbox is being worked on. */
  readonly #working = new Set<string>();
  /** Conversations that wait for their time, and how often each has failed in a row. */
  readonly #waiting = new Map<string, Stuck & { readonly cancel: Cancel; readonly rulesAt: number | undefined }>();
  readonly #failures = new Map<string, number>();
  /** Channels where something that only `between` knew got no answer, and what: what is there is looked at before more is signed. */
  readonly #unsure = new Map<number, Control['op'] | undefined>();

  constructor(core: Core, connection: RoomConnection) {
    this.#core = core;
    this.#connection = connection;
  }

  /** What waits for its time, and why; at most STUCK_TOLD_MAX conversations. */
  get stuck(): Stuck[] {
    return [...this.#waiting.values()].filter((one) => this.#first(one) !== undefined).slice(0, STUCK_TOLD_MAX);
  }

  /** When what a channel makes wait goes on, as the server has said; undefined while nothing waits for that. */
  goesAt(channelRow: number): number | undefined {
    return this.#waiting.get(laneOf({ channelRow, memberRow: null }))?.goesAt;
  }

  /** Something waits, or the connection is up: each conversation goes on, but those that wait for their time as before. */
  flush(): void {
    if (this.#connection.state !== 'online') return;
    for (const row of listRoomOutboxHeads(this.#core.db, this.#connection.serverId)) {
      const waiting = this.#waiting.get(laneOf(row));
      if (waiting !== undefined && this.#rulesAt(waiting) === waiting.rulesAt) {
        if (this.#isSlow(row)) this.#start(row);
        continue;
      }
      waiting?.cancel();
      this.#waiting.delete(laneOf(row));
      this.#start(row);
    }
  }

  // Up to which event the rules of a channel are known, where it is they that one waits for; undefined for other waits.
  #rulesAt({ channelRow, error }: Stuck): number | undefined {
    if (channelRow === null || error.code !== 'channel.slow') return undefined;
    return stateOfJson(getChannel(this.#core.db, channelRow)?.membership ?? '')?.seq;
  }

  #isSlow(to: To): boolean {
    return this.#waiting.get(laneOf(to))?.error.code === 'channel.slow';
  }

  /** What waits for its time goes on now. */
  retry(): void {
    for (const { cancel } of this.#waiting.values()) cancel();
    this.#waiting.clear();
    this.flush();
  }

  /** Nothing is tried again by itself. */
  stop(): void {
    for (const { cancel } of this.#waiting.values()) cancel();
    this.#waiting.clear();
    this.#failures.clear();
  }

  #start(to: To): void {
    const key = laneOf(to);
    if (this.#working.has(key)) return;
    this.#working.add(key);
    this.#lanes
      .run(key, () => this.#work(to))
      .finally(() => this.#working.delete(key))
      .then((isDone) => {
        // What was written after the last look and before this one is nobody else's.
        if (isDone && this.#connection.state === 'online' && this.#next(to) !== undefined) this.#start(to);
      })
      .catch((error: unknown) => this.#core.queue.post(() => Promise.reject(error)));
  }

  /**
   * Runs `publish`, which signs and sends one event in a channel, between the events of the outbox there. What was sealed
   * before has its count and goes first. `op` is what it does to the channel. Throws what `publish` throws, and what keeps the
   * outbox from going.
   */
  between<T>(channelRow: number, op: Control['op'] | undefined, publish: () => Promise<T>): Promise<T> {
    const to = { channelRow, memberRow: null };
    return this.#lanes.run(laneOf(to), async () => {
      for (;;) {
        const row = this.#next(to);
        if (row !== undefined && row.sealed !== null) await this.#step(row);
        else break;
      }
      await this.#makeSure(channelRow);
      try {
        return await publish();
      } catch (error) {
        if (UNANSWERED.has(expectedError(error)?.code as ErrorCode)) this.#unsure.set(channelRow, op);
        throw error;
      }
    });
  }

  /** Whether the server may have taken it that this device leaves a channel. */
  mayHaveLeft(channelRow: number): boolean {
    return this.#unsure.get(channelRow) === 'leave';
  }

  // Its count is used if the server has taken it, and free if not. Who is not in the channel learns that by joining it.
  async #makeSure(channelRow: number): Promise<void> {
    if (!this.#unsure.has(channelRow)) return;
    if (getChannel(this.#core.db, channelRow)?.state === 'joined') await this.#connection.open(channelRow);
    this.#unsure.delete(channelRow);
  }

  // What a channel is, is not known before all of it is here: what is written there waits for that.
  #next(to: To): RoomOutboxRow | undefined {
    if (to.channelRow !== null && getChannel(this.#core.db, to.channelRow)?.state === 'joining') return undefined;
    // Nor is anything said to who was removed and is back with another log.
    if (this.#connection.visit.returned.has(to.channelRow ?? 0)) return undefined;
    // Slow mode is for what is said: what is erased need not wait behind it.
    return this.#first(to, this.#isSlow(to) ? EVENT.control : undefined);
  }

  #first(to: To, kind?: number): RoomOutboxRow | undefined {
    return nextRoomOutbox(this.#core.db, this.#connection.serverId, to, kind);
  }

  /** True when nothing waits any more that may go now. */
  async #work(to: To): Promise<boolean> {
    while (this.#connection.state === 'online') {
      const row = this.#next(to);
      if (row === undefined) return true;
      try {
        await this.#step(row);
        this.#failures.delete(laneOf(to));
      } catch (error) {
        const known = expectedError(error);
        if (known === undefined) throw error;
        // A closed account loses nothing: it waits until the next opening.
        if (known.code !== 'account.locked') this.#later(to, known);
        return this.#isSlow(to);
      }
    }
    return false;
  }

  /** Sends one, or takes it out of the outbox as failed. Throws what may end by itself. */
  async #step(row: RoomOutboxRow): Promise<void> {
    for (let tries = 0; ; tries++)
      try {
        return await this.#send(row);
      } catch (error) {
        const known = expectedError(error);
        // The server has looked whether it has it: what must wait has not left, and can be taken back.
        if (known?.code === 'channel.slow') await this.#unseal(row);
        if (known?.code === 'member.unknown') await this.#refuseBanned(row);
        if (known === undefined || RETRIED.has(known.code)) throw error;
        // It has told the time there: by that it is given another id.
        if (timeToldBy(known) !== undefined && tries < RESEAL_TRIES_MAX) continue;
        if (known.code !== 'event.stale') return this.#core.queue.call(() => failed(this.#core, row.id, known.code));
        if (tries >= RESEAL_TRIES_MAX) throw error;
        await this.#again(row);
      }
  }

  // Of who is banned the server says that there is no such member, and that may be taken back. Throws `member.unreachable` then.
  async #refuseBanned({ memberRow }: RoomOutboxRow): Promise<void> {
    const member = memberRow === null ? undefined : getMember(this.#core.db, memberRow);
    if (member === undefined) return;
    await learnMembers(this.#core, this.#connection, [idOf(member.memberId)]);
    if (this.#connection.visit.banned.has(idOf(member.memberId)))
      throw new SottoError('member.unreachable', { message: bannedText(member, this.#connection.row) });
  }

  async #send(row: RoomOutboxRow): Promise<void> {
    const core = this.#core;
    const connection = this.#connection;
    if (row.kind === TAKE_BACK) return this.#takeBack(row);
    if (row.channelRow === null) await beginSessions(core, connection, row.memberRow ?? 0);
    else await this.#makeSure(row.channelRow);
    await bringAgain(core, row);
    const sealed = await sealRow(core, connection, row);
    if (sealed === undefined) return;
    const { to, id, checkedAt, body } = sealed;
    const ttlSeconds = row.ttl;
    const published =
      row.channelRow === null
        ? await publishDirect(core, connection, { to, id, ttlSeconds, body })
        : await connection.publish({ channel: to, id, kind: row.kind, checkedAt, ttlSeconds, body });
    await core.queue.call(() => answered(core, row.id, published));
  }

  async #takeBack(row: RoomOutboxRow): Promise<void> {
    const core = this.#core;
    const at = row.channelRow === null ? getMember(core.db, row.memberRow ?? 0) : getChannel(core.db, row.channelRow);
    if (at === undefined) throw new SottoError('channel.unknown');
    const channel = idOf('channelId' in at ? at.channelId : at.memberId);
    await this.#connection.request('blob.remove', { channel, hash: blobIn(row) });
    await core.queue.call(() => commit(core, () => removeRoomOutbox(core.db, row.id)));
  }

  // The channel changed under it: what is new is taken first, then it is sealed anew.
  async #again(row: RoomOutboxRow): Promise<void> {
    if (row.channelRow !== null) await this.#connection.open(row.channelRow);
    await this.#unseal(row);
  }

  #unseal({ id }: RoomOutboxRow): Promise<void> {
    return this.#core.queue.call(() => commit(this.#core, () => forgetSealed(this.#core.db, id)));
  }

  // What the server says of the time counts, else each failure doubles it. Who is not connected goes on when that is over.
  #later(to: To, error: SottoError): void {
    if (this.#connection.state !== 'online') return;
    const key = laneOf(to);
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const { retryAfterMs } = error.details;
    const wait =
      typeof retryAfterMs === 'number' ? Math.max(RETRY_MS_MIN, retryAfterMs) : SERVER_RETRY_MS_MIN * 2 ** failures;
    const isFull = error.code === 'inbox.full';
    this.#waiting.get(key)?.cancel();
    const cancel = this.#core.clock.after(isFull ? INBOX_RETRY_MS : Math.min(SERVER_RETRY_MS_MAX, wait), () => {
      this.#waiting.delete(key);
      this.#start(to);
    });
    const { channelRow, memberRow } = to;
    const goesAt = typeof retryAfterMs === 'number' ? this.#core.clock.now() + retryAfterMs : undefined;
    const stuck = { channelRow, memberRow, error, goesAt };
    this.#waiting.set(key, { ...stuck, cancel, rulesAt: this.#rulesAt(stuck) });
  }
}

type To = Pick<RoomOutboxRow, 'channelRow' | 'memberRow'>;
/** `goesAt` is when the server takes it, where it has said so. */
type Stuck = To & { readonly error: SottoError; readonly goesAt: number | undefined };

const laneOf = ({ channelRow, memberRow }: To): string => (channelRow === null ? `m${memberRow}` : `c${channelRow}`);
