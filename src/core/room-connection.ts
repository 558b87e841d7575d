// The connection to one server: dialled and kept, logged in, resumed from what is held; events go to the queue in order.
import { isPrimeOrderKey } from '../crypto/subgroup.ts';
import type { Cancel, Random } from '../ports.ts';
import { type ErrorCode, expectedError, SottoError } from '../protocol/errors.ts';
import { idOf } from '../protocol/ids.ts';
import {
  DEVICES_MAX,
  ROOM_BATCH_EVENTS_MAX,
  ROOM_INCOMING_BYTES_MAX,
  ROOM_INCOMING_MAX,
  ROOM_NOTICES_MAX,
  SERVER_RETRY_MS_MAX,
  SERVER_RETRY_MS_MIN,
} from '../protocol/limits.ts';
import type { Answer, Notice, RequestName, RequestParamsIn, ServerCall } from '../protocol/server.ts';
import type { LogEvent } from '../protocol/server-frames.ts';
import { listChannels } from '../store/channels.ts';
import { countPending } from '../store/room-events.ts';
import { getServer, patchServer, type ServerRow } from '../store/servers.ts';
import { type Core, commit } from './core.ts';
import { followCalls } from './room-calls.ts';
import { meetOwnChannels } from './room-channels.ts';
import { openChannel, resumeChannels, shutOut } from './room-history.ts';
import { mayMiss, receiveInbox } from './room-inbox.ts';
import { loggedIn, prepareKeys } from './room-login.ts';
import { levelMarks, onNotice } from './room-notices.ts';
import { retryPending } from './room-pending.ts';
import { knowSenders, learnMembers } from './room-people.ts';
import { EarlyReceipts, Receipts } from './room-receipts.ts';
import { receiveRoom } from './room-receive.ts';
import { RoomSender } from './room-send.ts';
import { applyShares } from './room-shared.ts';
import { ServerClient } from './server-client.ts';

export type ConnectionState = 'off' | 'dialling' | 'online' | 'waiting' | 'banned';

// After these a server that has proven its key will say the same again: only the user can change something.
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'server.banned',
  'login.refused',
  'certificate.invalid',
  'login.second',
  'registration.closed',
  'invite.invalid',
  'name.taken',
  'name.invalid',
]);

// After these it is the server that cannot now, whatever the channel.
const LATER: ReadonlySet<ErrorCode> = new Set([
  'server.unavailable',
  'server.unreachable',
  'server.timeout',
  'server.moved',
  'rate.limited',
]);
// So many cursors fit into a message.
const CHANNELS_AT_ONCE = 500;

/**
 * How long to wait for the next try after so many that failed: anything up to a bound that doubles, so that those whom a server
 * lost at one time do not come back at one time.
 */
export const retryMs = (random: Random, attempts: number): number => {
  const [least, most] = [SERVER_RETRY_MS_MIN / 4, Math.min(SERVER_RETRY_MS_MAX, SERVER_RETRY_MS_MIN * 2 ** attempts)];
  return least + random.fraction() * (most - least);
};

/** One server's connection. Made for a server row; ends with `stop`. */
export class RoomConnection {
  readonly serverId: number;
  readonly sender: RoomSender;
  readonly receipts: Receipts;
  readonly early = new EarlyReceipts();
  /** What members are, as the server tells while we are connected. */
  readonly presence = new Map<string, 'online' | 'away' | 'offline'>();
  /** Calls that front ends were told of, by id. */
  readonly calls = new Map<string, ServerCall>();
  /** Channels and members whose devices were asked for on this connection: one that was added before is known since. */
  readonly met = new Set<string>();
  /** Channels that could not be brought level, and why: the others go on. */
  readonly faults = new Map<number, SottoError>();
  /** Members without keys, and since when, by the monotonic clock. */
  readonly keyless = new Map<number, number>();
  /** Members for whom the server takes nothing, why, and until when it is not asked again, by the monotonic clock. */
  readonly shut = new Map<number, { readonly why: string; readonly until: number }>();
  /** What was told of members on this connection. */
  readonly told = new Set<string>();
  /** The inbox is read from its beginning: what comes live meanwhile has its turn behind that. */
  isReadingInbox = false;
  state: ConnectionState = 'off';
  nextRetryAt: number | undefined;
  lastError: SottoError | undefined;
  /** How often members were asked for on this connection because of a device that was not known. */
  readonly #asked = new Map<string, number>();
  readonly #core: Core;
  #client: ServerClient | undefined;
  #abort: AbortController | undefined;
  /** The server of the present try has proven its key: what another one said in its place is not for long. */
  #isProven = false;
  /** From the log-in on; `online` once all that was missed has come. */
  #loggedIn = false;
  #attempts = 0;
  #cancelRetry: Cancel = () => {};
  #incoming: LogEvent[] = [];
  #incomingBytes = 0;
  /** Notices that came and were not acted on yet. */
  #notices = 0;
  #taking: Promise<void> | undefined;
  #meeting: Promise<void> = Promise.resolve();
  #looking: Promise<void> = Promise.resolve();
  /** Channels whose history is being fetched: live events of them wait for it. */
  readonly #opening = new Map<string, Promise<void>>();

  constructor(core: Core, serverId: number) {
    this.#core = core;
    this.serverId = serverId;
    this.sender = new RoomSender(core, this);
    this.receipts = new Receipts(core, serverId);
  }

  /** The spoken connection. Throws `server.unreachable`, or what stands in the way. */
  get client(): ServerClient {
    if (this.#loggedIn && this.#client !== undefined) return this.#client;
    throw (
      this.lastError ?? new SottoError('server.unreachable', { message: 'The server is not connected: try again soon' })
    );
  }

  get rttMs(): number | undefined {
    return this.#client?.rttMs;
  }

  get row(): ServerRow {
    const row = getServer(this.#core.db, this.serverId);
    if (row === undefined) throw new Error('a connection has a server');
    return row;
  }

  request<Name extends RequestName>(name: Name, params: RequestParamsIn<Name>): Promise<Answer<Name>> {
    return this.client.request(name, params);
  }

  /** Dials unless it is connected or being dialled. */
  start(second?: { readonly password: string; readonly code: string }): void {
    if (this.state === 'online' || this.state === 'dialling') return;
    this.#cancelRetry();
    this.state = 'dialling';
    this.#isProven = false;
    this.nextRetryAt = undefined;
    const abort = new AbortController();
    this.#abort = abort;
    this.#open(abort.signal, second).then(
      () => undefined,
      (error: unknown) => this.#failed(error),
    );
  }

  stop(): void {
    this.state = 'off';
    this.#cancelRetry();
    this.receipts[Symbol.dispose]();
    this.sender.stop();
    this.#abort?.abort();
    this.#client?.close('closing');
    this.#client = undefined;
    this.#loggedIn = false;
    this.presence.clear();
  }

  /** Fetches what is not held of a channel, takes it, and is told live of it; again while it goes on is the same. */
  open(channelRow: number): Promise<void> {
    const key = String(channelRow);
    const going = this.#opening.get(key);
    if (going !== undefined) return going;
    const opening = openChannel(this.#core, this, channelRow)
      .then(() => this.taken())
      .finally(() => this.#opening.delete(key));
    this.#opening.set(key, opening);
    opening.then(() => this.faults.delete(channelRow)).catch(() => {});
    return opening;
  }

  /** Looks for channels that I am in and this device is not, one look after the other. */
  meet(): Promise<void> {
    const look = (): Promise<void> => meetOwnChannels(this.#core, this);
    this.#meeting = this.#meeting.then(look, look);
    return this.#meeting;
  }

  /** Looks at what others have shown of the past and that has come whole, one look after the other. */
  look(): Promise<void> {
    const apply = (): Promise<void> => applyShares(this.#core, this);
    this.#looking = this.#looking.then(apply, apply);
    return this.#looking;
  }

  /** Resolves when all that came so far is committed. */
  async taken(): Promise<void> {
    await this.#taking;
  }

  /** Takes events as if the server had told them: those of a page. Resolves when they are committed. */
  async take(events: readonly LogEvent[]): Promise<void> {
    for (let at = 0; at < events.length; at += ROOM_BATCH_EVENTS_MAX)
      await this.#takeBatch(events.slice(at, at + ROOM_BATCH_EVENTS_MAX));
  }

  async #open(
    signal: AbortSignal,
    second: { readonly password: string; readonly code: string } | undefined,
  ): Promise<void> {
    const core = this.#core;
    const row = this.row;
    if (!isPrimeOrderKey(row.serverKey)) throw new SottoError('key.invalid');
    // Until the server has proven its key nothing that it tells is heard, and its end is that of `open`.
    let proven: ServerClient | undefined;
    const client = await ServerClient.open({
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
        event: (event) => proven && this.#event(event),
        notice: (notice) => proven && this.#notice(notice),
        closed: (error) => proven && this.#closed(proven, error),
      },
    });
    proven = client;
    this.#isProven = true;
    if (signal.aborted) return client.close('closing');
    this.#client = client;
    this.met.clear();
    this.faults.clear();
    this.told.clear();
    this.keyless.clear();
    this.shut.clear();
    this.#asked.clear();
    this.isReadingInbox = false;
    const answer = await client.login(
      { seed: row.deviceSeed, certificate: row.certificate },
      {
        register: { name: row.memberName, ...(row.invite === '' ? {} : { invite: row.invite }) },
        ...(second === undefined ? {} : { second }),
      },
    );
    await core.queue.call(() => loggedIn(core, this.serverId, client.hello, answer));
    this.#loggedIn = true;
    await prepareKeys(core, this, answer.oneTimeKeys);
    await this.#resume(answer);
    if (this.#client !== client) throw new SottoError('server.unreachable');
    this.state = 'online';
    this.lastError = undefined;
    this.#attempts = 0;
    core.changed(this.serverId);
    core.rooms.arrived(this);
    this.sender.flush();
    followCalls(core, this).catch((error: unknown) => {
      // Lost again: the next log-in asks again.
      if (expectedError(error) === undefined) core.queue.post(() => Promise.reject(error));
    });
  }

  async #resume(answer: Answer<'login'>): Promise<void> {
    const { memberId, epoch, inboxSeq, inboxId } = this.row;
    const inbox = idOf(memberId);
    // Which devices I have besides this one: what I do is told to them, too.
    await learnMembers(this.#core, this, [inbox]);
    const cursor: [number, number, string | null] =
      inboxSeq === 0 ? [answer.inbox.epoch, 0, null] : [epoch, inboxSeq, inboxId === null ? null : idOf(inboxId)];
    const { channels } = await this.request('resume', { cursors: { [inbox]: cursor } });
    const resumed = channels[inbox];
    if (resumed !== undefined && !resumed.recovered) await this.#readInboxAgain(inbox, resumed.head);
    // Keys for channels come before what they open.
    await this.taken();
    const ours = listChannels(this.#core.db, this.serverId).filter(
      ({ state }) => state === 'joined' || state === 'joining',
    );
    for (let at = 0; at < ours.length; at += CHANNELS_AT_ONCE) {
      const some = ours.slice(at, at + CHANNELS_AT_ONCE);
      const level = await resumeChannels(this.#core, this, some);
      await this.taken();
      for (const channel of some) if (!level.has(channel.id)) await this.#resumeChannel(channel.id);
    }
    // Keys that came just before the program died have opened nothing yet.
    for (const { id } of ours)
      if (countPending(this.#core.db, id) > 0) await this.#core.queue.call(() => retryPending(this.#core, this, id));
    await this.meet();
    await levelMarks(this.#core, this);
    await this.look();
  }

  // The inbox is another one, or has lost what came since: what it has is read, and what we have had does not count again.
  async #readInboxAgain(inbox: string, head: Answer<'login'>['inbox']): Promise<void> {
    const core = this.#core;
    const from = head.prunedTo;
    this.isReadingInbox = true;
    await core.queue.call(() =>
      commit(core, (changes) => {
        patchServer(core.db, this.serverId, { epoch: head.epoch, inboxSeq: from, inboxId: null });
        mayMiss(changes, this.row);
      }),
    );
    for (let after = from; after < head.seq; ) {
      const { events } = await this.client.events('log.page', { channel: inbox, after });
      await this.take(events);
      after = events.at(-1)?.seq ?? head.seq;
    }
    const { epoch, inboxSeq, inboxId } = this.row;
    await this.request('resume', {
      cursors: { [inbox]: [epoch, inboxSeq, inboxId === null ? null : idOf(inboxId)] },
    });
    await this.taken();
    this.isReadingInbox = false;
  }

  async #resumeChannel(channelRow: number): Promise<void> {
    const client = this.#client;
    try {
      await this.open(channelRow);
    } catch (error) {
      const known = expectedError(error);
      if (known === undefined || this.#client !== client || LATER.has(known.code)) throw error;
      // It ended while we were away.
      if (known.code === 'channel.banned') return shutOut(this.#core, this, channelRow, 'banned');
      if (known.code === 'channel.notMember' || known.code === 'channel.unknown')
        return shutOut(this.#core, this, channelRow, 'removed');
      this.faults.set(channelRow, known);
      this.#core.log.warn('channel.fault', { code: known.code });
    }
  }

  #event(event: LogEvent): void {
    this.#incoming.push(event);
    this.#incomingBytes += event.body.length;
    if (this.#incoming.length > ROOM_INCOMING_MAX || this.#incomingBytes > ROOM_INCOMING_BYTES_MAX)
      return this.#client?.close('behind');
    if (this.#taking !== undefined) return;
    this.#taking = this.#takeAll().then(
      () => {
        this.#taking = undefined;
      },
      (error: unknown) => {
        this.#taking = undefined;
        this.#forgetIncoming();
        if (expectedError(error) === undefined) this.#core.queue.post(() => Promise.reject(error));
        else this.#client?.close('intake');
      },
    );
  }

  async #takeAll(): Promise<void> {
    while (this.#incoming.length > 0) {
      const channel = this.#incoming[0]?.channel;
      let length = 0;
      while (length < ROOM_BATCH_EVENTS_MAX && this.#incoming[length]?.channel === channel) length++;
      const batch = this.#incoming.splice(0, length);
      for (const { body } of batch) this.#incomingBytes -= body.length;
      await this.#takeBatch(batch);
    }
  }

  #forgetIncoming(): void {
    this.#incoming = [];
    this.#incomingBytes = 0;
  }

  async #takeBatch(events: readonly LogEvent[]): Promise<void> {
    const core = this.#core;
    await knowSenders(core, this, events);
    const isInbox = events[0]?.channel === idOf(this.row.memberId);
    if (isInbox) await this.#takeInbox(events);
    else await this.#takeRoom(events);
  }

  async #takeInbox(events: readonly LogEvent[]): Promise<void> {
    const core = this.#core;
    for (const learned = new Set<string>(); ; ) {
      const stranger = await core.queue.call(() => receiveInbox(core, this, events, learned));
      if (stranger === undefined) return;
      await this.#learn(stranger, learned);
    }
  }

  async #takeRoom(events: readonly LogEvent[]): Promise<void> {
    const core = this.#core;
    for (const learned = new Set<string>(); ; ) {
      const { missing, stranger } = await core.queue.call(() => receiveRoom(core, this, events, learned));
      // An event further on came: what lies between is fetched, unless it is being fetched already.
      if (missing !== undefined && !this.#opening.has(String(missing)))
        void this.#resumeChannel(missing).catch(() => {});
      if (stranger === undefined) return;
      await this.#learn(stranger, learned);
    }
  }

  // Nobody makes us ask for ever by naming devices that there are not.
  async #learn(stranger: string, learned: Set<string>): Promise<void> {
    learned.add(stranger);
    const times = this.#asked.get(stranger) ?? 0;
    if (times === DEVICES_MAX) return;
    this.#asked.set(stranger, times + 1);
    await learnMembers(this.#core, this, [stranger]);
  }

  #notice(notice: Notice): void {
    // What is told in passing may be lost in passing.
    if (this.#notices >= ROOM_NOTICES_MAX) return;
    this.#notices++;
    this.#core.queue.post(() => {
      this.#notices--;
      return onNotice(this.#core, this, notice);
    });
  }

  #closed(client: ServerClient, error: SottoError): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#loggedIn = false;
    this.#forgetIncoming();
    this.presence.clear();
    // While it is being opened, what waits there fails of it.
    if (this.state === 'online') this.#failed(error);
  }

  #failed(error: unknown): void {
    const known = expectedError(error);
    if (known === undefined) return this.#core.queue.post(() => Promise.reject(error));
    if (this.state === 'off') return;
    const client = this.#client;
    this.#client = undefined;
    this.#loggedIn = false;
    this.presence.clear();
    client?.close('failed');
    const core = this.#core;
    this.lastError = known;
    const isFinal = this.#isProven && FINAL.has(known.code);
    const at = core.clock.now();
    core.queue.post(() =>
      commit(core, () =>
        patchServer(core.db, this.serverId, {
          lastError: known.message,
          lastErrorAt: at,
          ...(isFinal && known.code === 'server.banned' ? { state: 'banned' } : {}),
        }),
      ),
    );
    this.state = isFinal ? 'banned' : 'waiting';
    core.changed();
    if (this.state === 'banned') return;
    const wait = retryMs(core.random, this.#attempts++);
    this.nextRetryAt = Math.ceil(at + wait);
    this.#cancelRetry = core.clock.after(wait, () => {
      if (this.state === 'waiting') this.start();
    });
  }
}
