// Dials a server, in the clear or through Tor, and proves that it is the right one before a word is said to it.
import { connect, isIP, type Socket } from 'node:net';
import { TLSSocket, connect as tlsConnect } from 'node:tls';
import { keyOfAddress } from '../crypto/address.ts';
import { keyOfCertificate } from '../crypto/server-certificate.ts';
import type { Cancel, Clock, Random, ServerLink, ServerLinkEvents, ServerTarget } from '../ports.ts';
import { isEqual, toBase64 } from '../protocol/bytes.ts';
import { type ErrorCode, errorObject, ProtocolError, SottoError } from '../protocol/errors.ts';
import { isLoopback } from '../protocol/invite-link.ts';
import { SERVER_DIAL_MS_MAX } from '../protocol/limits.ts';
import { BINDING_BYTES, BINDING_LABEL } from '../protocol/websocket.ts';
import {
  buildUpgradeRequest,
  HeadReader,
  parseUpgradeResponse,
  type UpgradePath,
} from '../protocol/websocket-upgrade.ts';
import { SocketServerLink } from './server-link.ts';
import { socksConnect } from './socks.ts';

export type ServerDialOptions = {
  readonly target: ServerTarget;
  readonly path: UpgradePath;
  /** Through Tor when given, else straight; see `SocksTarget`. */
  readonly tor?: { readonly socksPath: string; readonly isolation: string };
  readonly clock: Clock;
  readonly random: Random;
  /** Who hears of messages; called once, when the server has taken the connection. */
  readonly attach: (link: ServerLink) => ServerLinkEvents;
  /** How long it may take at most; SERVER_DIAL_MS_MAX without it. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** How a socket is opened when there is no Tor: by the system without it. */
  readonly connect?: (to: { readonly host: string; readonly port: number; readonly noDelay: true }) => Socket;
};

/**
 * Opens a connection to a server. Nothing is said to a server that is not proven: rejects with `server.certificateChanged` or
 * `server.certificateRefused` then; else with `server.unreachable`, `server.timeout`, `server.refused`, `server.invalid`,
 * `link.invalid` for an origin that may not be dialled, `tor.offline` for an onion without Tor, and what `socksConnect` gives.
 */
export const dialServer = async (options: ServerDialOptions): Promise<ServerLink> => {
  const { target, tor, clock, random } = options;
  const place = parseOrigin(target.origin);
  if (place.isOnion) checkOnion(place, target, tor !== undefined);
  const abort = new AbortController();
  const late = (): void => abort.abort(new SottoError('server.timeout'));
  const cancel = clock.after(options.timeoutMs ?? SERVER_DIAL_MS_MAX, late);
  const stopped = (): void => abort.abort(unreachable('The dial was called off'));
  if (options.signal?.aborted === true) stopped();
  options.signal?.addEventListener('abort', stopped);
  const dial: Dial = { place, target, signal: abort.signal, connect: options.connect ?? connect };
  let socket: Socket | undefined;
  try {
    abort.signal.throwIfAborted();
    const { host, port } = place;
    socket =
      tor === undefined ? await straight(dial) : await socksConnect({ ...tor, host, port, signal: abort.signal });
    if (place.isTls) socket = await secure(dial, socket);
    const rest = await upgrade(dial, socket, options.path, random);
    const link = new SocketServerLink({ socket, binding: bindingOf(socket), clock, random });
    link.begin(options.attach(link), rest);
    return link;
  } catch (error) {
    socket?.destroy();
    throw error;
  } finally {
    cancel();
    options.signal?.removeEventListener('abort', stopped);
  }
};

type Place = {
  readonly isTls: boolean;
  /** Without the brackets of IPv6. */
  readonly host: string;
  readonly port: number;
  readonly isOnion: boolean;
  /** `host:port` as the origin has it. */
  readonly authority: string;
};

type Dial = {
  readonly place: Place;
  readonly target: ServerTarget;
  readonly signal: AbortSignal;
  readonly connect: NonNullable<ServerDialOptions['connect']>;
};

/**
 * What an origin names: `wss://host[:port]`, in lower case. Throws `link.invalid`, also for `ws://` to anything but an onion
 * service or this machine.
 */
export const parseOrigin = (origin: string): Place => {
  const [, scheme, authority = '', bracketed, name, portText] =
    /^(wss?):\/\/((?:\[([0-9a-f:.]+)\]|([a-z0-9.-]{1,253}))(?::([1-9]\d{0,4}))?)$/.exec(origin) ?? [];
  const isTls = scheme === 'wss';
  const host = bracketed ?? name ?? '';
  const port = Number(portText ?? (isTls ? 443 : 80));
  if (!(bracketed === undefined ? isHostName(host) : isIP(host) === 6) || port > 65_535)
    throw new SottoError('link.invalid', { message: 'A server is named like wss://host:7443' });
  const isOnion = host.endsWith('.onion');
  if (!isTls && !isOnion && !isLoopback(host))
    throw new SottoError('link.invalid', { message: 'ws:// is only for onion services and this machine: use wss://' });
  return { isTls, host, port, isOnion, authority };
};

// What ends in a number is an address or nothing, as in URLs: the resolver would take `127.1` for this machine.
const isHostName = (host: string): boolean =>
  isIP(host) === 4 ||
  (host.split('.').every((label) => /^(?!-)[a-z0-9-]{1,63}(?<!-)$/.test(label)) &&
    !/(^|\.)(\d+|0x[0-9a-f]*)$/.test(host));

/** An onion service proves its own address; it is the server when that is the server's key. */
const checkOnion = (place: Place, target: ServerTarget, hasTor: boolean): void => {
  const key = keyOfAddress(place.host);
  if (target.trust === 'pinned' && !place.isTls && !isEqual(key, target.serverKey))
    throw new SottoError('server.certificateChanged', { message: 'The onion address is not that of the server key' });
  if (!hasTor) throw new SottoError('tor.offline');
};

const unreachable = (message: string, cause?: unknown): SottoError =>
  new SottoError('server.unreachable', { message, cause });

/** What the socket's error is for who dialled. */
const lost = (cause: Error | undefined): SottoError => {
  const why = cause !== undefined && 'code' in cause ? String(cause.code) : 'closed';
  // What speaks no TLS, or not the version that is wanted.
  const code: ErrorCode = /^(ERR_SSL|EPROTO)/.test(why) ? 'server.invalid' : 'server.unreachable';
  return new SottoError(code, { cause, details: { why } });
};

/** Waits for `done` or `fail`; the end of the socket or the dial's signal end the wait before. Leaves no listener behind. */
const until = <T>(
  socket: Socket,
  signal: AbortSignal,
  begin: (done: (value: T) => void, fail: (error: unknown) => void) => Cancel,
): Promise<T> =>
  new Promise<T>((resolve, reject) => {
    let cause: Error | undefined;
    const settle = (act: () => void): void => {
      signal.removeEventListener('abort', aborted);
      socket.off('close', closed);
      cancel();
      act();
    };
    const aborted = (): void => settle(() => reject(signal.reason));
    const closed = (): void => settle(() => reject(lost(cause)));
    // Stays: an error that comes later is told by 'close'.
    socket.on('error', (error) => {
      cause = error;
    });
    socket.on('close', closed);
    signal.addEventListener('abort', aborted);
    const cancel = begin(
      (value) => settle(() => resolve(value)),
      (error) => settle(() => reject(error)),
    );
  });

const straight = async ({ place: { host, port }, signal, connect }: Dial): Promise<Socket> => {
  const socket = connect({ host, port, noDelay: true });
  await happened(socket, signal, 'connect');
  return socket;
};

/** Waits for an event of a socket that is not open yet; destroys it when that does not come. */
const happened = async (socket: Socket, signal: AbortSignal, event: 'connect' | 'secureConnect'): Promise<void> => {
  try {
    await until<void>(socket, signal, (done) => {
      socket.once(event, done);
      return () => socket.off(event, done);
    });
  } catch (error) {
    socket.destroy();
    throw error;
  }
};

/** TLS 1.3 over a connected socket, to the server and nobody else. */
const secure = async ({ place, target, signal }: Dial, plain: Socket): Promise<TLSSocket> => {
  const isPinned = target.trust === 'pinned';
  const socket = tlsConnect({
    socket: plain,
    host: place.host,
    // The name of a pinned server is nobody's business.
    servername: isPinned || isIP(place.host) !== 0 ? '' : place.host,
    minVersion: 'TLSv1.3',
    // Looked at below, before anything is sent: with a key that was pinned there is nothing to ask authorities.
    rejectUnauthorized: false,
  });
  await happened(socket, signal, 'secureConnect');
  try {
    checkCertificate(socket, target);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
};

const checkCertificate = (socket: TLSSocket, { trust, serverKey }: ServerTarget): void => {
  if (trust === 'authorities') {
    if (socket.authorized) return;
    throw new SottoError('server.certificateRefused', { details: { why: String(socket.authorizationError) } });
  }
  const certificate = socket.getPeerX509Certificate();
  const key = certificate === undefined ? undefined : keyOfCertificate(certificate);
  if (key === undefined || !isEqual(key, serverKey)) throw new SottoError('server.certificateChanged');
};

/** Makes the connection a WebSocket; gives what the server has sent beyond that. */
const upgrade = (dial: Dial, socket: Socket, path: UpgradePath, random: Random): Promise<Buffer<ArrayBufferLike>> => {
  const offer = { host: dial.place.authority, path, key: toBase64(random.bytes(16)) };
  const reader = new HeadReader();
  return until<Buffer<ArrayBufferLike>>(socket, dial.signal, (done, fail) => {
    const take = (chunk: Buffer): void => {
      try {
        const head = reader.take(chunk);
        if (head === undefined) return;
        parseUpgradeResponse(head.text, offer);
        socket.pause();
        done(head.rest);
      } catch (error) {
        fail(errorObject(error).code === 'frame.tooLarge' ? new ProtocolError('server.invalid') : error);
      }
    };
    socket.on('data', take);
    // A stream through Tor comes paused.
    socket.resume();
    socket.write(buildUpgradeRequest(offer));
    return () => socket.off('data', take);
  });
};

const bindingOf = (socket: Socket): Uint8Array | undefined =>
  socket instanceof TLSSocket ? socket.exportKeyingMaterial(BINDING_BYTES, BINDING_LABEL, Buffer.alloc(0)) : undefined;
