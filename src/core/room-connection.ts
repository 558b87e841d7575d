// The connection to one server: dialled and kept, logged in, brought level; lost, it is dialled again.
import { isPrimeOrderKey } from '../crypto/subgroup.ts';
import type { Cancel, Random } from '../ports.ts';
import { type ErrorCode, expectedError, SottoError } from '../protocol/errors.ts';
import {
  SERVER_ASKED_AGAIN_MS,
  SERVER_DIALS_A_TRY_MAX,
  SERVER_REDIAL_MS,
  SERVER_REFUSED_RETRY_MS,
  SERVER_RETRY_MS_MAX,
  SERVER_RETRY_MS_MIN,
} from '../protocol/limits.ts';
import type { Answer, Notice, Placed, RequestName, RequestParamsIn, ServerCall } from '../protocol/server.ts';
import type { LogEvent, Publish } from '../protocol/server-frames.ts';
import { Turns } from '../protocol/turns.ts';
import { getServer, patchServer, type ServerRow } from '../store/servers.ts';
import { type Core, commit, detach } from './core.ts';
import { Background } from './room-background.ts';
import { followCalls } from './room-calls.ts';
import { meetOwnChannels } from './room-channels.ts';
import { goOnAsAnother, renewCertificate, revokeOwn } from './room-device.ts';
import { openChannel } from './room-history.ts';
import { RoomIntake } from './room-intake.ts';
import { levelChannels, levelInbox } from './room-level.ts';
import { forgetKeys, loggedIn, prepareKeys } from './room-login.ts';
import { EarlyReceipts, Receipts } from './room-receipts.ts';
import { removeReturned } from './room-returned.ts';
import { theServer } from './room-rows.ts';
import { RoomSender } from './room-send.ts';
import { applyShares } from './room-shared.ts';
import { newVisit, type Visit } from './room-visit.ts';
import { ServerClient } from './server-client.ts';

export type ConnectionState = 'off' | 'dialling' | 'online' | 'waiting' | 'banned';

/**
 * off → dialling → proven → levelling → online, and from anywhere there to waiting or banned, where it is dialled again: after a
 * while, or when the user says so.
 */
type Phase =
  /** Banned for good: this device was removed, and only to join again makes another one. */
  | { readonly kind: 'off' | 'banned' }
  | { readonly kind: 'dialling'; readonly abort: AbortController }
  /** It has proven its key, and lets us in or not. */
  | { readonly kind: 'proven'; readonly client: ServerClient }
  /** We are logged in, and what was missed comes. */
  | { readonly kind: 'levelling' | 'online'; readonly client: ServerClient }
  /** It has proven its key and was lost before all had come: what waits there fails of it, and with that the try. */
  | { readonly kind: 'lost' }
  | {
      readonly kind: 'waiting' | 'banned';
      readonly nextRetryAt: number;
      readonly cancel: Cancel;
      readonly since: number;
    };

/** What a server’s second check is answered with. */
export type Second = { readonly password: string; readonly code: string };

// After these a server that has proven its key will say the same again: until somebody changes something.
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'server.banned',
  'device.revoked',
  'login.refused',
  'certificate.invalid',
  'login.second',
  'registration.closed',
  'invite.invalid',
  'name.taken',
  'name.invalid',
]);

/**
 * How long to wait for the next try after so many that failed: anything up to a bound that doubles, so that those whom a server
 * lost at one time do not come back at one time; and as much later as a server that goes has asked for, in ms.
 */
export const retryMs = (random: Random, attempts: number, askedMs = 0): number => {
  const [least, most] = [SERVER_RETRY_MS_MIN / 4, Math.min(SERVER_RETRY_MS_MAX, SERVER_RETRY_MS_MIN * 2 ** attempts)];
  return Math.max(least, Math.min(askedMs, SERVER_RETRY_MS_MAX)) + random.fraction() * (most - least);
};

/** One server's connection. Made for a server row; ends with `stop`, for good. */
export class RoomConnection {
  readonly serverId: number;
  readonly sender: RoomSender;
  readonly receipts: Receipts;
  readonly background: Background;
  readonly early = new EarlyReceipts();
  /** Calls that front ends were told of, by id. */
  readonly calls = new Map<string, ServerCall>();
  /** What was learned since the server proved its key last. */
  visit: Visit = newVisit();
  lastError: SottoError | undefined;
  readonly #core: Core;
  readonly #intake: RoomIntake;
  #phase: Phase = { kind: 'off' };
  /** Tries in a row that failed. */
  #attempts = 0;
  /** How long a server that goes wants to be left alone. */
  #askedMs = 0;
  /** Channels whose history is being fetched: live events of them wait for it. */
  readonly #opening = new Map<number, Promise<void>>();
  readonly #turns = new Turns<string>();
  /** A look for channels that has not begun. */
  #meeting: Promise<void> | undefined;

  constructor(core: Core, serverId: number) {
    this.#core = core;
    this.serverId = serverId;
    this.sender = new RoomSender(core, this);
    this.receipts = new Receipts(core, serverId);
    this.background = new Background(core, this);
    this.#intake = new RoomIntake(core, this);
  }

  get state(): ConnectionState {
    const { kind } = this.#phase;
    return kind === 'proven' || kind === 'levelling' || kind === 'lost' ? 'dialling' : kind;
  }

  get nextRetryAt(): number | undefined {
    return 'nextRetryAt' in this.#phase ? this.#phase.nextRetryAt : undefined;
  }

  /** The spoken connection. Throws `server.unreachable`, or what stands in the way. */
  get client(): ServerClient {
    const phase = this.#phase;
    if (phase.kind === 'levelling' || phase.kind === 'online') return phase.client;
    throw (
      this.lastError ?? new SottoError('server.unreachable', { message: 'The server is not connected: try again soon' })
    );
  }

  get rttMs(): number | undefined {
    return this.#clientNow?.rttMs;
  }

  /** The time by the server's clock, by ours while it is not connected, in ms. */
  get now(): number {
    return this.#clientNow?.now ?? this.#core.clock.now();
  }

  get row(): ServerRow {
    return theServer(this.#core.db, this.serverId);
  }

  request<Name extends RequestName>(name: Name, params: RequestParamsIn<Name>): Promise<Answer<Name>> {
    return this.client.request(name, params);
  }

  /** Appends an event; the server is told how often this device has sealed something. */
  publish(event: Omit<Publish, 'request' | 'sealed'>): Promise<Placed> {
    return this.client.publish({ ...event, sealed: this.row.sealed });
  }

  /** Dials unless it is connected or being dialled. */
  start(second?: Second): void {
    if (this.state === 'online' || this.state === 'dialling') return;
    if ('cancel' in this.#phase) this.#phase.cancel();
    const abort = new AbortController();
    this.#phase = { kind: 'dialling', abort };
    this.#open(abort.signal, second).catch((error: unknown) => this.#failed(error));
  }

  /** Dials now where the next try waits for its time: somebody waits for it. That such tries fail puts off no later one. */
  redial(): void {
    if (this.#phase.kind !== 'waiting') return;
    this.#attempts--;
    this.start();
  }

  /**
   * Whoever wants something of a server that is not reached, or did not let us in, asks again: it may be back, or have thought
   * better of it. Right after a try in vain it is dialled a moment later.
   */
  askAgain(): void {
    const phase = this.#phase;
    if (!('since' in phase)) return;
    const { clock } = this.#core;
    const restedMs = clock.monotonic() - phase.since;
    if (phase.kind === 'banned') {
      if (restedMs >= SERVER_ASKED_AGAIN_MS) this.start();
      return;
    }
    const leftMs = SERVER_REDIAL_MS - restedMs;
    if (leftMs <= 0) return this.redial();
    const nextRetryAt = Math.ceil(clock.now() + leftMs);
    if (nextRetryAt >= phase.nextRetryAt) return;
    phase.cancel();
    this.#phase = { ...phase, nextRetryAt, cancel: clock.after(leftMs, () => this.redial()) };
  }

  stop(): void {
    const phase = this.#phase;
    this.#phase = { kind: 'off' };
    if ('cancel' in phase) phase.cancel();
    if (phase.kind === 'dialling') phase.abort.abort();
    this.#intake.forget();
    this.receipts[Symbol.dispose]();
    this.sender.stop();
    if ('client' in phase) phase.client.close('closing');
    this.visit.presence.clear();
  }

  /** Ends what is connected now; it is dialled again. */
  hangUp(reason: string): void {
    this.#clientNow?.close(reason);
  }

  /** Whether this visit goes on. */
  isOn(visit: Visit): boolean {
    return this.visit === visit && this.#clientNow !== undefined;
  }

  /** Fetches what is not held of a channel, takes it, and is told live of it; again while it goes on is the same. */
  open(channelRow: number): Promise<void> {
    const going = this.#opening.get(channelRow);
    if (going !== undefined) return going;
    const opening = openChannel(this.#core, this, channelRow)
      .then(() => this.taken())
      .finally(() => this.#opening.delete(channelRow));
    this.#opening.set(channelRow, opening);
    opening.then(() => this.visit.faults.delete(channelRow)).catch(() => {});
    return opening;
  }

  isOpening(channelRow: number): boolean {
    return this.#opening.has(channelRow);
  }

  /** Looks for channels that I am in and this device is not, and for those I am invited to; all who ask before a look begins have that. */
  meet(): Promise<void> {
    this.#meeting ??= this.inTurn(() => {
      this.#meeting = undefined;
      return meetOwnChannels(this.#core, this);
    });
    return this.#meeting;
  }

  /** Channels are met and entered one after the other: of one that is entered nothing is replayed beside its events. */
  inTurn<T>(task: () => Promise<T>): Promise<T> {
    return this.#turns.run('meet', task);
  }

  /** Looks at what others have shown of the past and that has come whole, one look after the other. */
  look(): Promise<void> {
    return this.#turns.run('look', () => applyShares(this.#core, this));
  }

  /** Resolves when all that came so far is committed. */
  taken(): Promise<void> {
    return this.#intake.taken();
  }

  /** Takes events as if the server had told them: those of a page. Resolves when they are committed. */
  take(events: readonly LogEvent[]): Promise<void> {
    return this.#intake.take(events);
  }

  get #clientNow(): ServerClient | undefined {
    return 'client' in this.#phase ? this.#phase.client : undefined;
  }

  async #open(signal: AbortSignal, second: Second | undefined, tries = 1): Promise<void> {
    const core = this.#core;
    const { row } = this;
    const client = await this.#dial(row, signal);
    if (signal.aborted) return client.close('closing');
    this.#phase = { kind: 'proven', client };
    this.visit = newVisit(this.visit);
    const register = { name: row.memberName, ...(row.invite === '' ? {} : { invite: row.invite }) };
    const device = { seed: row.deviceSeed, certificate: row.certificate };
    let answer: Answer<'login'>;
    try {
      answer = await client.login(device, { register, ...(second === undefined ? {} : { second }) });
    } catch (error) {
      if (tries === SERVER_DIALS_A_TRY_MAX || !(await renewCertificate(core, row, error)) || this.#clientNow !== client)
        throw error;
      return this.#openAgain(client, second, tries);
    }
    const isPutBack = await core.queue.call(() => loggedIn(core, this.serverId, client.hello, answer));
    this.#phase = this.#goneOn(client, 'levelling');
    this.visit.isPutBack = isPutBack && tries < SERVER_DIALS_A_TRY_MAX;
    // Whoever joins a channel meanwhile comes behind that: what opens its events is in the inbox.
    await this.inTurn(async () => {
      await prepareKeys(core, this, answer.oneTimeKeys);
      await levelInbox(core, this, answer.inbox);
    });
    await levelChannels(core, this);
    await forgetKeys(core, this);
    // All that came for the device of before is read.
    if (this.visit.isPutBack) {
      await goOnAsAnother(core, this.serverId);
      this.#phase = this.#goneOn(client, 'levelling');
      return this.#openAgain(client, second, tries);
    }
    this.#phase = this.#goneOn(client, 'online');
    this.lastError = undefined;
    this.#attempts = 0;
    this.#askedMs = 0;
    core.changed(this.serverId);
    core.rooms.arrived(this);
    this.sender.flush();
    // Lost again: the next log-in asks again.
    detach(core, followCalls(core, this));
    detach(core, removeReturned(core, this));
  }

  #openAgain(client: ServerClient, second: Second | undefined, tries: number): Promise<void> {
    const abort = new AbortController();
    this.#phase = { kind: 'dialling', abort };
    client.close('renewed');
    return this.#open(abort.signal, second, tries + 1);
  }

  async #dial(row: ServerRow, signal: AbortSignal): Promise<ServerClient> {
    if (!isPrimeOrderKey(row.serverKey)) throw new SottoError('key.invalid');
    const core = this.#core;
    // Until the server has proven its key nothing that it tells is heard, and its end is that of `open`.
    let proven: ServerClient | undefined;
    proven = await ServerClient.open({
      network: core.servers,
      target: {
        origin: row.origin,
        serverKey: row.serverKey,
        trust: row.trust === 'authority' ? 'authorities' : 'pinned',
        clearnet: row.clearnet === 1,
      },
      clock: core.clock,
      random: core.random,
      signal,
      events: {
        event: (event) => proven && this.#intake.event(event),
        notice: (notice) => proven && this.#notice(notice),
        closed: (error) => proven && this.#closed(proven, error),
      },
    });
    return proven;
  }

  #notice(notice: Notice): void {
    // It ends in a moment.
    if (notice.notice === 'moved') this.#askedMs = notice.retryAfterMs;
    this.#intake.notice(notice);
  }

  #goneOn(client: ServerClient, kind: 'levelling' | 'online'): Phase {
    if (this.#clientNow !== client) throw new SottoError('server.unreachable');
    return { kind, client };
  }

  #closed(client: ServerClient, error: SottoError): void {
    if (this.#clientNow !== client) return;
    const { state } = this;
    this.#phase = { kind: 'lost' };
    this.#intake.forget();
    this.visit.presence.clear();
    if (state === 'online') this.#failed(error);
  }

  #failed(error: unknown): void {
    const core = this.#core;
    const known = expectedError(error);
    if (known === undefined) return core.queue.post(() => Promise.reject(error));
    if (this.#phase.kind === 'off') return;
    const isFinal = this.#phase.kind !== 'dialling' && FINAL.has(known.code);
    const client = this.#clientNow;
    const at = core.clock.now();
    const isRevoked = isFinal && known.code === 'device.revoked';
    this.#phase = isRevoked ? { kind: 'banned' } : this.#retryLater(isFinal ? 'banned' : 'waiting', at);
    client?.close('failed');
    this.visit.presence.clear();
    this.lastError = known;
    core.queue.post(() =>
      commit(core, () => {
        patchServer(core.db, this.serverId, {
          lastError: known.message,
          lastErrorAt: at,
          ...(isFinal && known.code === 'server.banned' ? { state: 'banned' } : {}),
        });
        const row = getServer(core.db, this.serverId);
        if (isRevoked && row !== undefined) revokeOwn(core, row);
      }),
    );
    core.changed();
  }

  #retryLater(kind: 'waiting' | 'banned', now: number): Phase {
    const { clock, random } = this.#core;
    const wait =
      kind === 'banned'
        ? SERVER_REFUSED_RETRY_MS * (1 - random.fraction() / 4)
        : retryMs(random, this.#attempts++, this.#askedMs);
    const cancel = clock.after(wait, () => this.start());
    return { kind, nextRetryAt: Math.ceil(now + wait), cancel, since: clock.monotonic() };
  }
}
