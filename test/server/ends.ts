// Both ends of a connection to a server, for tests: a listener whose clock stands still, clients, and what they were told.
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { ed25519Public } from '../../src/crypto/primitives.ts';
import { serverCertificate } from '../../src/crypto/server-certificate.ts';
import { dialServer, type ServerDialOptions } from '../../src/net/server-dial.ts';
import type { ServerLink } from '../../src/ports.ts';
import { toHex } from '../../src/protocol/bytes.ts';
import { FrameParser, maskedFrame, textFrame } from '../../src/protocol/websocket.ts';
import { buildUpgradeRequest } from '../../src/protocol/websocket-upgrade.ts';
import type { Connection } from '../../src/server/connection.ts';
import { Listener, type ListenerOptions, type Place } from '../../src/server/listener.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { seededRandom } from '../../src/testing/random.ts';

export const SEED = Buffer.alloc(32, 7);
export const SERVER_KEY = ed25519Public(SEED);
const OFFER = { host: 'localhost', path: '/v1', key: 'dGhlIHNhbXBsZSBub25jZQ==' } as const;
export const REQUEST = buildUpgradeRequest(OFFER);
export const CALL_REQUEST = buildUpgradeRequest({ ...OFFER, path: '/v1/call' });

/** Lines in order, and a way to wait for one. */
export class Heard {
  readonly lines: string[] = [];
  #wake: (() => void)[] = [];

  add(line: string): void {
    this.lines.push(line);
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  }

  /** Resolves once `count` lines have come that begin with `start`; gives the last of them. */
  async line(start: string, count = 1): Promise<string> {
    for (;;) {
      const found = this.lines.filter((line) => line.startsWith(start));
      if (found.length >= count) return found[count - 1] as string;
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }
}

/** A folder that is gone after the test. */
export const folder = (): string => {
  const path = mkdtempSync(join(tmpdir(), 'sotto-server-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
};

type State = { readonly name: string };

/** A listener, and what its connections do; `c1` is the first that was opened. It echoes texts that begin with `echo `. */
export class Serving {
  readonly clock = new ManualClock();
  readonly heard = new Heard();
  readonly opened: Connection<State>[] = [];
  listener!: Listener<State>;
  /** Done with each text before it is told. */
  onText: (connection: Connection<State>, text: string) => void = (connection, text) => {
    if (text.startsWith('echo ')) connection.send(textFrame(text.slice(5)));
  };

  static async at(
    places: readonly Place[],
    options: Partial<Pick<ListenerOptions<State>, 'proxies' | 'connectionsMax'>> = {},
  ): Promise<Serving> {
    const serving = new Serving();
    const { heard, opened, clock } = serving;
    const nameOf = (connection: Connection<State>) => connection.state?.name ?? '?';
    serving.listener = await Listener.open<State>({
      places,
      proxies: [],
      ...options,
      clock,
      random: seededRandom(1),
      events: {
        opened: (connection) => {
          connection.state = { name: `c${opened.push(connection)}` };
          heard.add(`${nameOf(connection)} opened ${connection.path}`);
        },
        text: (connection, text) => {
          serving.onText(connection, text);
          heard.add(`${nameOf(connection)} text ${text}`);
        },
        binary: (connection, bytes) => heard.add(`${nameOf(connection)} binary ${bytes.toString('hex')}`),
        drained: (connection) => heard.add(`${nameOf(connection)} drained`),
        closed: (connection, code, reason) => heard.add(`${nameOf(connection)} closed ${code} ${reason}`.trim()),
        refused: (why) => heard.add(`refused ${why}`),
      },
    });
    onTestFinished(async () => {
      for (const connection of serving.listener.connections) connection.destroy();
      await serving.listener[Symbol.asyncDispose]();
    });
    return serving;
  }

  static plain(options: Partial<Pick<ListenerOptions<State>, 'proxies' | 'connectionsMax'>> = {}): Promise<Serving> {
    return Serving.at([{ kind: 'tcp', host: '127.0.0.1', port: 0 }], options);
  }

  /** With the certificate of SERVER_KEY. */
  static tls(): Promise<Serving> {
    return Serving.at([{ kind: 'tcp', host: '127.0.0.1', port: 0, tls: serverCertificate(SEED) }]);
  }

  get port(): number {
    return (this.listener.addresses[0] as AddressInfo).port;
  }

  /** Time passes; its timers fire in order. */
  pass(ms: number): void {
    const until = this.clock.monotonic() + ms;
    while (this.clock.step(until));
    this.clock.moveTo(until);
  }

  /** Resolves once no connection holds a socket. */
  async empty(): Promise<void> {
    while (this.listener.connections.size > 0) await new Promise(setImmediate);
  }

  /** What a client says that knows nothing of ours: bytes as they are. */
  raw(): Promise<Raw> {
    return Raw.to(connect({ port: this.port, host: '127.0.0.1' }));
  }

  /** The same after the upgrade and a first message. */
  async rawOpen(): Promise<Raw> {
    const raw = await this.raw();
    raw.write(REQUEST, maskedFrame(textFrame('echo up'), Buffer.alloc(4)));
    await raw.heard.line('text up');
    return raw;
  }
}

/** A socket with nothing of ours around it: what it gets is told as the head of an answer, then as messages. */
export class Raw {
  readonly socket: Socket;
  readonly heard = new Heard();
  readonly #parser = new FrameParser({ from: 'server', messageBytesMax: 1024 * 1024 });
  #head = '';

  private constructor(socket: Socket) {
    this.socket = socket;
  }

  static async to(socket: Socket): Promise<Raw> {
    const raw = new Raw(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => raw.#take(chunk));
    socket.on('end', () => raw.heard.add('end'));
    socket.on('close', () => raw.heard.add('gone'));
    onTestFinished(() => void socket.destroy());
    await new Promise<void>((resolve) => socket.once('connect', resolve));
    return raw;
  }

  write(...parts: (string | Uint8Array)[]): void {
    this.socket.write(Buffer.concat(parts.map((part) => Buffer.from(part as string))));
  }

  #take(chunk: Buffer): void {
    let rest = chunk;
    if (!this.#head.includes('\r\n\r\n')) {
      const before = this.#head.length;
      this.#head += chunk.toString('latin1');
      const end = this.#head.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.heard.add(`head ${this.#head.slice(9, 12)}`);
      rest = chunk.subarray(end + 4 - before);
    }
    for (const message of this.#parser.take(rest))
      if (message.kind === 'text') this.heard.add(`text ${message.text}`);
      else if (message.kind === 'close') this.heard.add(`close ${message.code} ${message.reason}`.trim());
      else this.heard.add(`${message.kind} ${message.bytes.length}`);
  }
}

export type Client = { readonly link: ServerLink; readonly heard: Heard; readonly clock: ManualClock };

/** Our own client. Its clock stands still. */
export const dial = async (
  target: Partial<ServerDialOptions['target']> & { readonly origin: string },
  options: Partial<ServerDialOptions> = {},
): Promise<Client> => {
  const heard = new Heard();
  const clock = new ManualClock();
  const link = await dialServer({
    target: { serverKey: SERVER_KEY, trust: 'pinned', ...target },
    path: '/v1',
    clock,
    random: seededRandom(2),
    attach: () => ({
      text: (text) => heard.add(`text ${text}`),
      binary: (bytes) => heard.add(`binary ${toHex(bytes)}`),
      drained: () => heard.add('drained'),
      closed: (code, reason) => heard.add(`closed ${code} ${reason}`.trim()),
    }),
    ...options,
  });
  onTestFinished(() => link.close(1000, ''));
  return { link, heard, clock };
};

/** A server of the test's own making; gives its port. */
export const listenWith = async (server: Server, host = '127.0.0.1'): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
};

/** What Tor is to a client: a SOCKS 5 server at a Unix socket, whose every stream leads to `path`; names what was asked for. */
export const socksTo = async (path: string): Promise<{ readonly socksPath: string; readonly asked: Heard }> => {
  const socksPath = join(folder(), 'socks');
  const asked = new Heard();
  const server = createServer((socket) => {
    socket.on('error', () => {});
    const steps: ((bytes: Buffer) => void)[] = [
      () => socket.write(Uint8Array.of(5, 2)),
      (bytes) => {
        asked.add(`login ${bytes.toString('latin1', 2, 2 + (bytes[1] as number))}`);
        socket.write(Uint8Array.of(1, 0));
      },
      (bytes) => {
        asked.add(`to ${bytes.toString('latin1', 5, bytes.length - 2)}:${bytes.readUInt16BE(bytes.length - 2)}`);
        const inner = connect({ path });
        inner.on('error', () => socket.destroy());
        socket.write(Uint8Array.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
        socket.pipe(inner).pipe(socket);
      },
    ];
    const take = (bytes: Buffer): void => {
      const step = steps.shift();
      if (steps.length === 0) socket.off('data', take);
      step?.(bytes);
    };
    socket.on('data', take);
  });
  await new Promise<void>((resolve) => server.listen(socksPath, resolve));
  onTestFinished(() => void server.close());
  return { socksPath, asked };
};
