// One open account: puts the parts of the messenger together and lets everything happen in its queue.
import { addressOf } from '../crypto/address.ts';
import { deriveSecrets, localKeys, type Secrets } from '../crypto/identity.ts';
import { signalIdentity } from '../crypto/session.ts';
import type { Cancel, Clock, Log, Network, NetworkState, Random, ServerNetwork } from '../ports.ts';
import { expectedError } from '../protocol/errors.ts';
import { ID_BYTES, idBytes } from '../protocol/ids.ts';
import { DISK_RETRY_MS } from '../protocol/limits.ts';
import type { AccountMethod, Params, Result } from '../protocol/rpc.ts';
import type { Status } from '../protocol/rpc-objects.ts';
import type { SettingKey, SettingValue } from '../protocol/settings.ts';
import type { Database } from '../sqlite/open.ts';
import { getChannel } from '../store/channels.ts';
import { listContacts } from '../store/contacts.ts';
import { countUnread, getConversationByUid } from '../store/conversations.ts';
import { eventRange } from '../store/events.ts';
import { countMemberRequests } from '../store/members.ts';
import { depthOfAllOutboxes, listOutboxContacts } from '../store/outbox.ts';
import { getSelf, nicknameOf, putSelf } from '../store/self.ts';
import { listServers } from '../store/servers.ts';
import { countRequestsOfOthers, countUnsentRequests, listOpenRequests } from '../store/sessions.ts';
import { ClockWatch } from './clock-watch.ts';
import { type Changes, type Core, refuse, type VolatileEvent } from './core.ts';
import { Events } from './events.ts';
import { Expiry } from './expire.ts';
import { Files } from './files.ts';
import { admit, attachIncoming } from './link-admission.ts';
import { retryNow, unlink, wake } from './links.ts';
import { callMethod } from './methods.ts';
import { checkName } from './names.ts';
import { contactLinkOf } from './peer.ts';
import { AccountQueue } from './queue.ts';
import { notifyOf, serverObject } from './room-objects.ts';
import { Rooms } from './rooms.ts';
import { settingOf } from './settings.ts';
import { Waits } from './waits.ts';
import { WalKeeper } from './wal-keeper.ts';

export type AccountOptions = {
  /** What this machine calls the account. */
  readonly name: string;
  readonly db: Database;
  readonly network: Network;
  readonly servers: ServerNetwork;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly filesDir: string;
  /** Gets what must never happen: the owner ends the process with a report. */
  readonly bug: (error: unknown) => void;
};

/** Writes a new account into an empty, migrated database. `root`, the secret behind the phrase, is not kept. Throws `nickname.invalid`. */
export const createAccount = (
  db: Database,
  wanted: { readonly root: Uint8Array; readonly nickname: string; readonly random: Random; readonly clock: Clock },
): void => {
  checkName(wanted.nickname);
  const secrets = deriveSecrets(wanted.root);
  db.transaction(() =>
    putSelf(db, secrets, {
      nickname: wanted.nickname.trim(),
      installId: wanted.random.bytes(ID_BYTES),
      createdAt: wanted.clock.now(),
    }),
  );
};

/** An open account. */
export class Account implements AsyncDisposable {
  readonly events: Events;
  readonly #core: Core;
  readonly #name: string;
  readonly #expiry: Expiry;
  readonly #walKeeper: WalKeeper;
  readonly #waits: Waits;
  readonly #files: Files;
  readonly #rooms: Rooms;
  #cancelRetry: Cancel | undefined;
  /** The network's state when it last changed. */
  #network: NetworkState | undefined;

  private constructor(options: AccountOptions) {
    const self = getSelf(options.db);
    if (self === undefined) throw new Error('the database holds no account');
    const secrets: Secrets = self;
    const keys = localKeys(secrets, self.installId);
    this.#name = options.name;
    this.#waits = new Waits(options.clock);
    this.#rooms = new Rooms(() => this.#core);
    this.#core = {
      ...options,
      rooms: this.#rooms,
      waits: this.#waits,
      serversKey: self.serversKey,
      changed: (online) => {
        this.#waits.wake();
        if (online !== undefined) this.#core.queue.post(() => this.#files.retry({ serverId: online }));
      },
      keys,
      queue: new AccountQueue((error) => this.#failed(error, options.bug)),
      signal: signalIdentity(self.signalSecret),
      address: addressOf(keys.publicKeys.identityKey),
      peers: new Map(),
      clockWatch: new ClockWatch(options.db, options.clock),
      ignored: new Set(),
      silent: new Set(),
      fileTroubles: new Map(),
      refused: new Map(),
      committed: (changes) => this.#committed(changes),
      volatile: (event) => this.#volatile(event),
    };
    this.events = new Events(() => this.#core, eventRange(options.db).last);
    this.#expiry = new Expiry(this.#core);
    this.#walKeeper = new WalKeeper(this.#core);
    this.#files = new Files(this.#core);
  }

  /** Opens the account of a migrated database and starts its network. Throws what that throws, and leaves nothing running then. */
  static async open(options: AccountOptions): Promise<Account> {
    const account = new Account(options);
    const core = account.#core;
    try {
      await core.network.start(core.keys, {
        admit: (peer) => admit(core, peer),
        incoming: (link) => attachIncoming(core, link, (stream, frame) => account.#files.serve(stream, frame)),
        state: (state) => account.#networkChanged(state),
        refused: (code) => refuse(core, code),
      });
    } catch (error) {
      await account[Symbol.asyncDispose]();
      throw error;
    }
    core.queue.post(() => account.#files.resume());
    account.#rooms.start();
    return account;
  }

  /** Runs one method in the queue; waits of a method happen outside it. Throws SottoError. */
  call<M extends AccountMethod>(method: M, params: Params<M>, gone?: AbortSignal): Promise<Result<M>> {
    const context = { core: this.#core, name: this.#name, waits: this.#waits, files: this.#files };
    return callMethod(context, method, params, gone);
  }

  /** What `status` tells of the account. */
  status(): Omit<Status, 'daemon' | 'tor' | 'account'> {
    const { db, peers, refused, address } = this.#core;
    const servers = listServers(db).map((row) => serverObject(this.#core, row));
    return {
      nickname: nicknameOf(db),
      address,
      outboxDepth: servers.reduce(
        (sum, one) => sum + one.outboxDepth,
        depthOfAllOutboxes(db) + countUnsentRequests(db),
      ),
      unread: countUnread(db),
      requests: countRequestsOfOthers(db) + countMemberRequests(db),
      servers,
      refused: Object.fromEntries(refused),
      links: listContacts(db).flatMap((contact) => {
        const peer = peers.get(contact.id);
        const state = contactLinkOf(contact, peer);
        if (contact.state === 'removed' || state === 'none') return [];
        return [
          {
            contact: contact.name,
            state,
            ...(peer === undefined || state !== 'up' ? {} : { sinceAt: peer.sinceAt }),
            ...(peer?.rttMs === undefined || state !== 'up' ? {} : { rttMs: Math.round(peer.rttMs * 10) / 10 }),
          },
        ];
      }),
    };
  }

  /** Which messages of a conversation are told outside the program: a channel may say fewer than all. */
  notifies(conversationId: string): 'all' | 'mentions' | 'none' {
    const { db } = this.#core;
    const { channelRow = null } = getConversationByUid(db, idBytes(conversationId)) ?? {};
    const channel = channelRow === null ? undefined : getChannel(db, channelRow);
    return channel === undefined ? 'all' : notifyOf(channel);
  }

  /** How many messages of a conversation are unread. */
  unreadIn(conversationId: string): number {
    return getConversationByUid(this.#core.db, idBytes(conversationId))?.unread ?? 0;
  }

  /** The value of a setting, for the account or one conversation. */
  setting<Key extends SettingKey>(key: Key, conversationId = ''): SettingValue<Key> {
    return settingOf(this.#core.db, key, conversationId);
  }

  /** State of the network as front ends see it. */
  get network(): NetworkState {
    return this.#core.network.state;
  }

  /** Resolves when nothing waits or runs in the queue. */
  settled(): Promise<void> {
    return this.#core.queue.settled();
  }

  /** Ends links, the network and the timers, and finishes what is queued. The database stays open: its owner closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    // First, or who waits would be told that the network is off by choice.
    this.#waits[Symbol.dispose]();
    this.#expiry[Symbol.dispose]();
    this.#walKeeper[Symbol.dispose]();
    this.#cancelRetry?.();
    // Before the network, which carries the word of it: else the others hold a link that nobody is at.
    this.#unlinkAll();
    await this.#core.network[Symbol.asyncDispose]();
    this.#unlinkAll();
    await this.#core.queue[Symbol.asyncDispose]();
    this.#keepTime();
    this.#files.stop();
    this.events.flush();
    this.#rooms.stop();
    // And those that began meanwhile.
    this.#waits[Symbol.dispose]();
  }

  #unlinkAll(): void {
    for (const contactId of this.#core.peers.keys()) unlink(this.#core, contactId, 'closing');
  }

  // Where the disk takes nothing more, what was kept last counts.
  #keepTime(): void {
    try {
      this.#core.clockWatch.keep();
    } catch (error) {
      if (expectedError(error) === undefined) throw error;
    }
  }

  // A full disk is no bug. Every link ends, so that nothing stays half done in memory: what was not committed comes again.
  #failed(error: unknown, bug: AccountOptions['bug']): void {
    if (expectedError(error)?.code !== 'disk.full') return bug(error);
    const core = this.#core;
    core.log.error('disk.full');
    for (const contactId of core.peers.keys()) unlink(core, contactId, 'disk.full');
    this.#cancelRetry ??= core.clock.after(DISK_RETRY_MS, () => {
      this.#cancelRetry = undefined;
      core.queue.post(() => retryNow(core));
    });
  }

  #committed(changes: Changes): void {
    if (changes.events > 0) this.events.committed();
    if (changes.expiry) this.#expiry.schedule();
    this.#walKeeper.committed();
    if (changes.erased) this.#walKeeper.erased();
    for (const [row, fileId] of changes.endedFiles) this.#files.ended(row, fileId);
    for (const [contactId, reason] of changes.unlink) {
      unlink(this.#core, contactId, reason);
      this.#files.unlink(contactId, reason);
    }
    this.#rooms.flush(changes.flush);
    for (const contactId of changes.wake) this.#core.queue.post(() => wake(this.#core, contactId));
    this.#waits.wake();
  }

  #volatile(event: VolatileEvent): void {
    this.events.volatile(event);
    this.#waits.wake();
    // Who is there can be asked for their files.
    const { kind, contactId } = event;
    if (kind === 'link.up') this.#core.queue.post(() => this.#files.retry({ contactId }));
  }

  #networkChanged(state: NetworkState): void {
    this.events.tell({ kind: 'tor.changed', at: this.#core.clock.now(), tor: torObject(state) });
    this.#waits.wake();
    const before = this.#network;
    this.#network = state;
    // Tor came up, or it has found relays again.
    const isBack = before?.state !== 'online' || (state.reachable && !before.reachable);
    if (state.state !== 'online' || !isBack) return;
    this.#core.queue.post(() => {
      this.#rooms.redial();
      this.#files.retry();
      const waiting = new Set([
        ...listOutboxContacts(this.#core.db),
        ...listOpenRequests(this.#core.db, 'mine').map((one) => one.contactId),
      ]);
      for (const contact of listContacts(this.#core.db))
        if (waiting.has(contact.id) || contact.state === 'accepted') retryOnce(this.#core, contact.id);
    });
  }
}

/** The network's state as `status` tells it. */
export const torObject = (state: NetworkState): Status['tor'] => {
  const { lastError, hiddenSince, timeOfOthers, ...rest } = state;
  return lastError === undefined
    ? rest
    : { ...rest, lastError: { code: lastError.code, message: lastError.message, at: lastError.at } };
};

// Whoever waits for a retry is tried at once, by the same rule as any other time.
const retryOnce = (core: Core, contactId: number): void => {
  const peer = core.peers.get(contactId);
  if (peer !== undefined) {
    peer.cancelRetry();
    peer.nextRetryAt = undefined;
  }
  core.queue.post(() => wake(core, contactId));
};
