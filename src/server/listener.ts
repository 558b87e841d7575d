// Accepts connections to the server on TCP, TLS and Unix sockets, keeps their limits and deadlines, and batches their writes.
import { chmodSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import type { Cancel, Clock, Random } from '../ports.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { SERVER_CONNECTIONS_MAX } from '../protocol/limits.ts';
import { CLOSE } from '../protocol/websocket.ts';
import { type Head, parseUpgradeRequest } from '../protocol/websocket-upgrade.ts';
import { Connection, type ConnectionEvents, type ConnectionHost } from './connection.ts';
import { Proxies, parseCircuitLine, sourceOf, Unproven } from './sources.ts';

const BACKLOG = 4096;
const SWEEP_MS = 1000;

/** Certificate chain and private key, both PEM. */
export type TlsKeys = { readonly cert: string | Buffer; readonly key: string | Buffer };

/** Where to listen: port 0 takes a free one. */
export type Place =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly tls?: TlsKeys }
  /** For Tor: `circuits` when its onion service has `HiddenServiceExportCircuitID haproxy`. Mode 0600. */
  | { readonly kind: 'unix'; readonly path: string; readonly circuits: boolean };

/** A host as it stands in a URL. */
export const urlHost = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** `createServer` of node:net, or sockets of a simulation. */
export type CreateServer = (options: { readonly noDelay: true }, accept: (socket: Socket) => void) => Server;

export type ListenerOptions<State> = {
  readonly places: readonly Place[];
  /** Addresses and networks of proxies whose X-Forwarded-For is believed. */
  readonly proxies: readonly string[];
  /** SERVER_CONNECTIONS_MAX without it. */
  readonly connectionsMax?: number;
  /** How sockets come: from the system without it. */
  readonly createServer?: CreateServer;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: ConnectionEvents<State>;
};

/** Every connection to the server. */
export class Listener<State> implements AsyncDisposable {
  readonly #options: ListenerOptions<State>;
  readonly #proxies: Proxies;
  readonly #unproven: Unproven<Connection<State>>;
  readonly #connections = new Set<Connection<State>>();
  readonly #servers: Server[] = [];
  /** Each resolves once its server is closed and its connections are gone. */
  readonly #closed: Promise<void>[] = [];
  /** Those that take their source from their request: true when it is a circuit, else the address of the proxy. */
  readonly #told = new WeakMap<Connection<State>, true | string>();
  readonly #host: ConnectionHost<State> & { now: number };
  #context: SecureContext | undefined;
  #awake: Connection<State>[] = [];
  #cancelSweep: Cancel = () => {};

  private constructor(options: ListenerOptions<State>) {
    this.#options = options;
    this.#proxies = new Proxies(options.proxies);
    this.#unproven = new Unproven(options.random);
    this.#host = {
      events: options.events,
      now: 0,
      request: (connection, head) => this.#request(connection, head),
      wake: (connection) => this.#wake(connection),
      proven: (connection) => this.#unproven.remove(connection, connection.source),
      gone: (connection) => {
        this.#unproven.remove(connection, connection.source);
        this.#connections.delete(connection);
      },
    };
  }

  /** Begins to accept at every place. Throws `config.invalid` for proxies and certificates, and what the system says of a place (EADDRINUSE…). */
  static async open<State>(options: ListenerOptions<State>): Promise<Listener<State>> {
    const listener = new Listener(options);
    try {
      for (const place of options.places) await listener.#listen(place);
    } catch (error) {
      await listener[Symbol.asyncDispose]();
      throw error;
    }
    listener.#sweep();
    return listener;
  }

  /** Where it listens, in the order of the places. */
  get addresses(): (AddressInfo | string | null)[] {
    return this.#servers.map((server) => server.address());
  }

  /** Those that hold a socket: also while they are being opened or closed. */
  get connections(): ReadonlySet<Connection<State>> {
    return this.#connections;
  }

  get unprovenCount(): number {
    return this.#unproven.size;
  }

  /** Takes another certificate for the connections to come. Throws `config.invalid`, and keeps the one before. */
  setTls(keys: TlsKeys): void {
    try {
      this.#context = createSecureContext({ ...keys, minVersion: 'TLSv1.3' });
    } catch (cause) {
      throw new SottoError('config.invalid', {
        message: `Certificate and key cannot be used: ${cause instanceof Error ? cause.message : ''}`,
        cause,
      });
    }
  }

  /** Accepts nobody any more; who is there stays. */
  stopAccepting(): void {
    for (const server of this.#servers) server.close();
  }

  /** Ends every connection with CLOSE.restart; resolves once all are gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stopAccepting();
    for (const connection of this.#connections) {
      if (connection.isOpen) connection.close(CLOSE.restart, 'restart');
      else connection.destroy();
    }
    await Promise.all(this.#closed);
    this.#cancelSweep();
  }

  async #listen(place: Place): Promise<void> {
    const tls = place.kind === 'tcp' ? place.tls : undefined;
    if (tls !== undefined) this.setTls(tls);
    const listen: CreateServer = this.#options.createServer ?? createServer;
    const server = listen({ noDelay: true }, (socket) => this.#accept(socket, place));
    if (place.kind === 'unix') rmSync(place.path, { force: true });
    const where: ListenOptions = place.kind === 'unix' ? { path: place.path } : { host: place.host, port: place.port };
    await new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ ...where, backlog: BACKLOG }, () => resolve(server.off('error', reject)));
    });
    // Somebody could not be accepted: the others stay.
    server.on('error', () => this.#options.events.refused('not accepted'));
    if (place.kind === 'unix') chmodSync(place.path, 0o600);
    this.#servers.push(server);
    this.#closed.push(new Promise((resolve) => server.once('close', resolve)));
  }

  #accept(raw: Socket, place: Place): void {
    const { remoteAddress: address = '' } = raw;
    const isDirect = place.kind === 'tcp' && !this.#proxies.has(address);
    const source = isDirect ? sourceOf(address) : undefined;
    if (!this.#hasRoom() || (source !== undefined && !this.#unproven.claim(source))) {
      raw.destroy();
      return this.#options.events.refused('too many');
    }
    const isTls = place.kind === 'tcp' && place.tls !== undefined;
    const socket = isTls ? new TLSSocket(raw, { isServer: true, secureContext: this.#context }) : raw;
    const connection = new Connection(socket, this.#host, source);
    this.#connections.add(connection);
    this.#unproven.add(connection);
    if (place.kind === 'unix' ? place.circuits : !isDirect)
      this.#told.set(connection, place.kind === 'unix' ? true : address);
  }

  /** Room for one more, if need be that of somebody who has not logged in. */
  #hasRoom(): boolean {
    if (this.#connections.size < (this.#options.connectionsMax ?? SERVER_CONNECTIONS_MAX)) return true;
    const victim = this.#unproven.victim();
    if (victim === undefined) return false;
    this.#unproven.remove(victim, victim.source);
    victim.destroy();
    return true;
  }

  #request(connection: Connection<State>, head: Head): ReturnType<ConnectionHost<State>['request']> {
    const told = this.#told.get(connection);
    if (told === undefined) return { request: parseUpgradeRequest(head.text), source: connection.source };
    this.#told.delete(connection);
    const line = told === true ? parseCircuitLine(head.text) : undefined;
    const request = parseUpgradeRequest(line?.head ?? head.text);
    const source = line?.circuit ?? sourceOf(this.#proxies.clientOf(request.forwarded) ?? String(told));
    if (!this.#unproven.claim(source))
      throw new ProtocolError('handshake.failed', { details: { status: 503, why: 'too many' } });
    return { request, source };
  }

  #wake(connection: Connection<State>): void {
    if (this.#awake.length === 0) queueMicrotask(() => this.#flush());
    this.#awake.push(connection);
  }

  #flush(): void {
    const awake = this.#awake;
    this.#awake = [];
    for (const connection of awake) connection.flush();
  }

  #sweep(): void {
    const { clock } = this.#options;
    // A second is over once what had come by its end could be read: a stall, however long, is one second.
    this.#host.now++;
    for (const connection of this.#connections) connection.tick();
    this.#cancelSweep = clock.after(SWEEP_MS, () => this.#sweep());
  }
}
