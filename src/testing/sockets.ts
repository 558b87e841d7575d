// Sockets inside one process: streams of bytes under a manual clock, with delays, breaks and silence, under a seed.
import { EventEmitter } from 'node:events';
import type { Server, Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { Clock, Random } from '../ports.ts';
import type { CreateServer } from '../server/listener.ts';

/** How bad the way is: delays in milliseconds, chances in [0, 1]. */
export type SocketWeather = {
  readonly delayMs: readonly [number, number];
  /** A write breaks the connection: some of its bytes come, and no more. */
  readonly breaks: number;
  /** A write silences it: nothing passes any more, either way, and neither end is told. */
  readonly silences: number;
  /** What is written comes in two parts. */
  readonly splits: number;
};

export const FAIR_SOCKETS: SocketWeather = { delayMs: [1, 5], breaks: 0, silences: 0, splits: 0 };

/** What a system takes off a program before the other side has it. */
const BUFFER_BYTES = 256 * 1024;

type Owner = object;
type Accept = (socket: Socket) => void;

/** Where sockets of one simulation meet. */
export class MemorySockets {
  readonly clock: Clock;
  readonly random: Random;
  weather = FAIR_SOCKETS;
  readonly #listening = new Map<number, { readonly owner: Owner; readonly accept: Accept }>();
  readonly #sockets = new Set<MemorySocket>();
  readonly #cut = new Set<Owner>();
  #lastPort = 7000;

  constructor(clock: Clock, random: Random) {
    this.clock = clock;
    this.random = random;
  }

  /** How many are held by programs that live. */
  get count(): number {
    return this.#sockets.size;
  }

  /** `createServer` of a program. */
  serverOf(owner: Owner): CreateServer {
    return (_options, accept) => new MemoryServer(this, owner, accept) as unknown as Server;
  }

  /** Opens a socket to a port, of a program at an address. */
  connect(owner: Owner, port: number, address: string): Socket {
    const socket = new MemorySocket(this, owner, address);
    const open = (): void => {
      const server = this.#listening.get(port);
      // Who is cut off hears nothing, not even a refusal.
      if (this.#cut.has(owner) || socket.destroyed) return;
      if (server === undefined) return void socket.destroy(failure('ECONNREFUSED'));
      const far = new MemorySocket(this, server.owner, address);
      socket.meet(far);
      far.meet(socket);
      server.accept(far as unknown as Socket);
      socket.emit('connect');
    };
    this.clock.after(this.delay(), open);
    return socket as unknown as Socket;
  }

  /** Port 0 takes a free one; gives which. */
  listen(wanted: number, owner: Owner, accept: Accept): number {
    const port = wanted === 0 ? ++this.#lastPort : wanted;
    this.#listening.set(port, { owner, accept });
    return port;
  }

  close(port: number, owner: Owner): void {
    if (this.#listening.get(port)?.owner === owner) this.#listening.delete(port);
  }

  /** A program died: it hears of nothing any more; those at the other ends do, unless the machine went with it. */
  drop(owner: Owner, isMachine = false): void {
    for (const [port, one] of this.#listening) if (one.owner === owner) this.#listening.delete(port);
    for (const socket of [...this.#sockets]) if (socket.owner === owner) socket.die(isMachine);
  }

  /** Nothing passes on the connections that a program has now, and nobody is told. */
  silence(owner: Owner): void {
    for (const socket of this.#sockets) if (socket.owner === owner) socket.silence();
  }

  /** From now on a program reaches nobody, until `heal`; what it has falls silent. */
  cut(owner: Owner): void {
    this.#cut.add(owner);
    this.silence(owner);
  }

  heal(): void {
    this.#cut.clear();
  }

  hold(socket: MemorySocket): void {
    this.#sockets.add(socket);
  }

  release(socket: MemorySocket): void {
    this.#sockets.delete(socket);
  }

  delay(): number {
    const [least, most] = this.weather.delayMs;
    return least + (most - least) * this.random.fraction();
  }
}

const failure = (code: string): Error => Object.assign(new Error(code), { code });

/** As much of `net.Server` as a listener uses. */
class MemoryServer extends EventEmitter {
  readonly #net: MemorySockets;
  readonly #owner: Owner;
  readonly #accept: Accept;
  #port = 0;
  #open = 0;
  #isClosed = false;

  constructor(net: MemorySockets, owner: Owner, accept: Accept) {
    super();
    this.#net = net;
    this.#owner = owner;
    this.#accept = accept;
  }

  listen({ port }: { readonly port: number }, done: () => void): void {
    this.#port = this.#net.listen(port, this.#owner, (socket) => {
      this.#open++;
      socket.once('close', () => {
        this.#open--;
        this.#over();
      });
      this.#accept(socket);
    });
    done();
  }

  address() {
    return { address: '127.0.0.1', family: 'IPv4', port: this.#port };
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#net.close(this.#port, this.#owner);
    this.#over();
  }

  #over(): void {
    if (this.#isClosed && this.#open === 0) process.nextTick(() => this.emit('close'));
  }
}

/** As much of `net.Socket` as both ends use. */
class MemorySocket extends Duplex {
  readonly owner: Owner;
  readonly remoteAddress: string;
  readonly #net: MemorySockets;
  #other: MemorySocket | undefined;
  #isSilent = false;
  #isDead = false;
  #arrivesAt = 0;
  /** Bytes on their way, and those that came and were not read. */
  #inFlight = 0;
  #unread = 0;
  #written: (() => void) | undefined;

  constructor(net: MemorySockets, owner: Owner, remoteAddress: string) {
    super({ allowHalfOpen: false });
    this.#net = net;
    this.owner = owner;
    this.remoteAddress = remoteAddress;
    net.hold(this);
  }

  meet(other: MemorySocket): void {
    this.#other = other;
  }

  silence(): void {
    this.#isSilent = true;
    if (this.#other !== undefined) this.#other.#isSilent = true;
  }

  /** Its program is gone: what it has sent still comes, then a reset, unless nothing comes at all. */
  die(isMachine: boolean): void {
    this.#isDead = true;
    this.removeAllListeners();
    this.on('error', () => {});
    if (isMachine) this.silence();
    this.destroy();
  }

  override _read(): void {
    const unread = this.#unread;
    this.#unread = 0;
    if (unread > 0) this.#other?.taken(unread);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const { weather, random } = this.#net;
    const roll = random.fraction();
    if (roll < weather.breaks) {
      this.#send(chunk.subarray(0, Math.floor(chunk.length * random.fraction())));
      done(failure('ECONNRESET'));
      return;
    }
    if (roll < weather.breaks + weather.silences) this.silence();
    const at = random.fraction() < weather.splits ? Math.floor(chunk.length * random.fraction()) : 0;
    this.#send(chunk.subarray(0, at));
    this.#send(chunk.subarray(at));
    if (this.#inFlight <= BUFFER_BYTES) done();
    else this.#written = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#later((other) => other.push(null));
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#net.release(this);
    const isOver = this.writableFinished && this.readableEnded;
    if (!isOver) this.#later((other) => other.destroy(failure('ECONNRESET')));
    done(this.#isDead ? null : error);
  }

  /** The other side took so many bytes. */
  taken(bytes: number): void {
    this.#inFlight -= bytes;
    if (this.#written === undefined || this.#inFlight > BUFFER_BYTES) return;
    const done = this.#written;
    this.#written = undefined;
    done();
  }

  #send(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#inFlight += bytes.length;
    this.#later((other) => other.#arrive(bytes));
  }

  #arrive(bytes: Buffer): void {
    if (this.readableEnded) return;
    if (this.push(bytes)) this.#other?.taken(bytes.length);
    else this.#unread += bytes.length;
  }

  // In order, and nothing of it once the way is silent or the other end is gone.
  #later(act: (other: MemorySocket) => void): void {
    const { clock } = this.#net;
    const at = Math.max(clock.monotonic() + this.#net.delay(), this.#arrivesAt);
    this.#arrivesAt = at;
    clock.after(at - clock.monotonic(), () => {
      const other = this.#other;
      if (other !== undefined && !this.#isSilent && !other.destroyed) act(other);
    });
  }
}
