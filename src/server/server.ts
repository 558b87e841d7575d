// A running server: its data, its connections, and everything between them, from start to drain.
import { ed25519Key, ed25519Public } from '../crypto/primitives.ts';
import { serverCertificate } from '../crypto/server-certificate.ts';
import type { Clock, Log, Random } from '../ports.ts';
import { isErrorCode, ProtocolError } from '../protocol/errors.ts';
import { type EventId, idOf, rowIds, timedId } from '../protocol/ids.ts';
import { DRAIN_MS_MAX, DRAIN_RETRY_MS, SERVER_RATES, TOLD_IN_PASSING_MAX } from '../protocol/limits.ts';
import { Turns } from '../protocol/turns.ts';
import { Alerts } from './audit.ts';
import { CallLinks } from './call-links.ts';
import { tellBusy, tellCall } from './call-requests.ts';
import { type Call, Calls } from './calls.ts';
import { ChannelStates } from './channel-states.ts';
import type { Peer, RateName, ServerContext, Session } from './context.ts';
import { Counts } from './counts.ts';
import { endReading, endsReading } from './endings.ts';
import { finishErasures } from './erasure.ts';
import { Fanout } from './fanout.ts';
import { Hub } from './hub.ts';
import { Indexer } from './indexer.ts';
import { type MadeInvite, makeInvite } from './invites.ts';
import { collectLeftOver, type JobPorts, Jobs } from './jobs.ts';
import { type CreateServer, Listener, type Place, type TlsKeys, urlHost } from './listener.ts';
import { byId, pages } from './pages.ts';
import { tellMembers } from './passing.ts';
import { Presence } from './presence.ts';
import { type Rate, Rates } from './rates.ts';
import type { ServerStore } from './server-store.ts';
import { onBinary, onClosed, onText } from './session.ts';
import { Standings } from './standings.ts';
import type { Turn } from './turns.ts';

export type ServerOptions = {
  readonly store: ServerStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly turn: Turn;
  /** When what waits is committed; in the next turn without it. */
  readonly commitTurn?: Turn;
  readonly journal: Log;
  /** Where to listen; TLS keys of `pinned` are the server's own. */
  readonly listen: readonly (
    | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly tls: 'pinned' | 'none' | TlsKeys }
    | { readonly kind: 'unix'; readonly path: string; readonly circuits: boolean }
  )[];
  /** Origins that clients dial beside those it listens at: a name, a proxy's address, an onion service. */
  readonly origins: readonly string[];
  readonly proxies: readonly string[];
  /** See `ListenerOptions`. */
  readonly connectionsMax?: number;
  /** With more members there nobody is told who is; TOLD_IN_PASSING_MAX without it. */
  readonly presenceMax?: number;
  /** Those that are not as in SERVER_RATES. */
  readonly rates?: Partial<Record<RateName, Rate>>;
  /** See `ListenerOptions`. */
  readonly createServer?: CreateServer;
  /** Gets what must never happen: the owner ends the process. */
  readonly bug: (error: unknown) => void;
};

// All that requests are answered with, and the hub of live telling; `waiting` are those whom a full socket stopped.
const contextOf = (
  options: ServerOptions,
  serverSeed: Uint8Array<ArrayBuffer>,
  waiting: Map<Peer, (() => void)[]>,
): { readonly context: ServerContext; readonly hub: Hub<Peer> } => {
  const { store, clock, random, turn, journal, bug } = options;
  const states = new ChannelStates(store.state, turn);
  const standings = new Standings(store.log, store.state);
  const fanout = new Fanout<Peer>(queueMicrotask);
  const hub = new Hub<Peer>({
    log: store.log,
    states,
    standings,
    fanout,
    clock,
    turn: options.commitTurn ?? turn,
    journal,
    bug,
    ends: endsReading,
    ended: (draft) => endReading(context, draft),
  });
  const counts = new Counts();
  const online: ServerContext['online'] = new Map();
  const context: ServerContext = {
    clock,
    random,
    turn,
    journal,
    log: store.log,
    store: store.state,
    blobs: store.blobs,
    search: store.search,
    indexer: new Indexer({ search: store.search, clock, journal, bug }),
    sealer: store.sealer,
    states,
    standings,
    fanout,
    hub,
    ...callsOf(options, counts, () => context),
    serverSigner: ed25519Key(serverSeed),
    serverKey: ed25519Public(serverSeed),
    node: idOf(random.bytes(16)),
    origins: new Set(options.origins),
    asking: { count: 0 },
    publishing: new Turns(),
    sending: new Turns(),
    uploading: store.uploading,
    admitting: new Turns(),
    presence: new Presence({
      clock,
      standings,
      online,
      membersMax: options.presenceMax ?? TOLD_IN_PASSING_MAX,
      bug,
    }),
    online,
    counts,
    rates: bucketsOf({ ...SERVER_RATES, ...options.rates }),
    append: (draft) => hub.append(draft),
    submit: (draft, waiter) => hub.submit(draft, waiter),
    room: roomIn(waiting),
    rowId: rowIds(clock, random),
    eventId: () => timedId<EventId>(clock.now(), random.bytes(10)),
    bug,
  };
  return { context, hub };
};

const roomIn =
  (waiting: Map<Peer, (() => void)[]>): ServerContext['room'] =>
  (peer) =>
    new Promise((resolve) => {
      if (!peer.isOpen) return resolve();
      waiting.set(peer, [...(waiting.get(peer) ?? []), resolve]);
    });

// They tell through the context that is made with them.
const callsOf = (
  { clock, random }: ServerOptions,
  counts: Counts,
  context: () => ServerContext,
): Pick<ServerContext, 'calls' | 'callLinks'> => {
  const changed = (call: Call) => tellCall(context(), call);
  const calls = new Calls({ clock, random, changed });
  return { calls, callLinks: new CallLinks({ calls, clock, counts, busy: (person) => tellBusy(context(), person) }) };
};

/** Connections are accepted once this resolves. */
export class RoomServer implements AsyncDisposable {
  readonly context: ServerContext;
  /** Whether its certificate carries the server key, so that invites pin it. */
  readonly isPinned: boolean;
  /** What clients dial, the first place first. */
  readonly urls: readonly string[];
  readonly #listener: Listener<Session>;
  readonly #hub: Hub<Peer>;
  readonly jobs: Jobs;
  readonly alerts: Alerts;
  readonly #waiting: Map<Peer, (() => void)[]>;

  private constructor(
    context: ServerContext,
    listener: Listener<Session>,
    hub: Hub<Peer>,
    waiting: Map<Peer, (() => void)[]>,
    urls: readonly string[],
    isPinned: boolean,
  ) {
    this.context = context;
    this.#listener = listener;
    this.#hub = hub;
    this.jobs = new Jobs(jobPortsOf(context));
    this.alerts = new Alerts(context);
    this.#waiting = waiting;
    this.urls = urls;
    this.isPinned = isPinned;
  }

  static async start(options: ServerOptions): Promise<RoomServer> {
    const { store, clock, random } = options;
    const serverSeed = new Uint8Array(await store.serverKey());
    const waiting = new Map<Peer, (() => void)[]>();
    const { context, hub } = contextOf(options, serverSeed, waiting);
    const { counts, origins } = context;
    const wake = (peer: Peer): void => {
      const resolves = waiting.get(peer) ?? [];
      waiting.delete(peer);
      for (const resolve of resolves) resolve();
    };
    await collectLeftOver({ state: store.state, blobs: store.blobs });
    await context.indexer.dueAll(store.state);
    const listener = await Listener.open<Session>({
      places: options.listen.map((place) => placeOf(place, serverSeed)),
      proxies: options.proxies,
      ...(options.createServer === undefined ? {} : { createServer: options.createServer }),
      ...(options.connectionsMax === undefined ? {} : { connectionsMax: options.connectionsMax }),
      clock,
      random,
      events: {
        opened: (peer) => {
          peer.state = { phase: 'new' };
        },
        text: (peer, text) => {
          if (isCallLink(peer)) throw new ProtocolError('frame.invalid', { details: { why: 'text' } });
          onText(context, peer, text);
        },
        binary: (peer, bytes) => {
          if (isCallLink(peer)) context.callLinks.message(peer, bytes);
          else onBinary(context, peer, bytes);
        },
        drained: wake,
        closed: (peer) => {
          wake(peer);
          if (isCallLink(peer)) context.callLinks.closed(peer);
          else onClosed(context, peer);
        },
        // A message that is no message comes from somebody who was let in; the rest was not.
        refused: (why) => counts.add(isErrorCode(why) ? 'badMessages' : 'refusedConnections'),
      },
    });
    const urls = options.listen.flatMap((place, i) => urlOf(place, listener.addresses[i]));
    for (const url of urls) origins.add(url);
    return new RoomServer(
      context,
      listener,
      hub,
      waiting,
      [...options.origins, ...urls],
      options.listen.every((place) => place.kind === 'unix' || place.tls === 'pinned'),
    );
  }

  /** Connections that hold a socket. */
  get connections(): number {
    return this.#listener.connections.size;
  }

  /** An invite for the first owner; undefined when there is an owner already. */
  async makeOwnerInvite(): Promise<MadeInvite | undefined> {
    for await (const page of pages(this.context.store.listMembers, byId))
      if (page.some(({ role }) => role === 'owner')) return undefined;
    return makeInvite(this.context, { madeBy: null, role: 'owner', uses: 1, expiresAt: undefined });
  }

  /** Another certificate for the connections to come. Throws `config.invalid`, and keeps the one before. */
  setTls(keys: TlsKeys): void {
    this.#listener.setTls(keys);
  }

  /** Takes nobody new, tells those who are there to come back later, answers what was asked, commits what waits, and ends. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { context } = this;
    this.#listener.stopAccepting();
    this.alerts[Symbol.dispose]();
    context.indexer[Symbol.dispose]();
    context.callLinks[Symbol.dispose]();
    context.presence[Symbol.dispose]();
    tellMembers(context, { notice: 'moved', retryAfterMs: DRAIN_RETRY_MS });
    try {
      await this.jobs[Symbol.asyncDispose]();
      await this.#hub[Symbol.asyncDispose]();
      await this.#answered();
    } finally {
      // Also after a fault of ours: a process with open sockets would never end.
      await this.#listener[Symbol.asyncDispose]();
      this.#waiting.clear();
    }
  }

  // Who does not read the answers that they asked for is waited for so long.
  async #answered(): Promise<void> {
    const { asking, clock } = this.context;
    const until = clock.monotonic() + DRAIN_MS_MAX;
    while (asking.count > 0 && clock.monotonic() < until)
      await new Promise<void>((done) => clock.after(DRAIN_LOOK_MS, done));
  }
}

const DRAIN_LOOK_MS = 10;
// Calls have connections of their own, so that voice never waits behind messages.
const isCallLink = ({ path }: Peer): boolean => path === '/v1/call';
const jobPortsOf = (context: ServerContext): JobPorts => {
  const { log, store: state, blobs, uploading, clock, journal, hub, search, turn, bug } = context;
  return {
    log,
    state,
    blobs,
    uploading,
    clock,
    journal,
    turn,
    bug,
    erased: (channel, seqs) => {
      hub.forget(channel, Math.max(...seqs));
      search.forget(channel, seqs);
    },
    pruned: (channel, upTo) => {
      hub.forget(channel, upTo);
      return search.prune(channel, upTo);
    },
    tidy: async () => {
      for (const rate of Object.values(context.rates)) rate.sweep(clock.monotonic());
      await finishErasures(context);
      context.indexer.reconcile();
    },
  };
};

const bucketsOf = (rates: Readonly<Record<RateName, Rate>>): ServerContext['rates'] =>
  Object.fromEntries(Object.entries(rates).map(([name, rate]) => [name, new Rates(rate)])) as Record<RateName, Rates>;

const placeOf = (place: ServerOptions['listen'][number], seed: Uint8Array): Place => {
  if (place.kind === 'unix') return place;
  const { kind, host, port, tls } = place;
  if (tls === 'none') return { kind, host, port };
  return { kind, host, port, tls: tls === 'pinned' ? serverCertificate(seed) : tls };
};

const urlOf = (
  place: ServerOptions['listen'][number],
  address: ReturnType<Listener<Session>['addresses']['at']>,
): string[] => {
  if (place.kind === 'unix' || address === null || address === undefined || typeof address === 'string') return [];
  return [`${place.tls === 'none' ? 'ws' : 'wss'}://${urlHost(place.host)}:${address.port}`];
};
