// How an HTTP connection becomes a WebSocket (RFC 6455 section 4), both ends: heads in and heads out, strict.
import { createHash } from 'node:crypto';
import { ProtocolError, SottoError } from './errors.ts';
import { UPGRADE_BYTES_MAX, UPGRADE_HEADERS_MAX } from './limits.ts';

/** What a server offers: path → subprotocol. */
const SUBPROTOCOLS = { '/v1': 'sotto.v1', '/v1/call': 'sotto.call.v1' } as const;
export type UpgradePath = keyof typeof SUBPROTOCOLS;

const KEY_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const STATUS_TEXTS: Readonly<Record<number, string>> = {
  101: 'Switching Protocols',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  426: 'Upgrade Required',
  431: 'Request Header Fields Too Large',
  503: 'Service Unavailable',
};

/** The head of an HTTP message without its last line end, and what came after it. */
export type Head = { readonly text: string; readonly rest: Buffer<ArrayBufferLike> };

/** Collects the head of an HTTP message from chunks. */
export class HeadReader {
  #held: Buffer<ArrayBufferLike> = Buffer.alloc(0);

  /** The head once it is whole. Throws ProtocolError `frame.tooLarge` when more than UPGRADE_BYTES_MAX come without an end. */
  take(chunk: Buffer): Head | undefined {
    const from = Math.max(0, this.#held.length - 3);
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const end = this.#held.indexOf('\r\n\r\n', from, 'latin1');
    if (end > UPGRADE_BYTES_MAX || (end < 0 && this.#held.length > UPGRADE_BYTES_MAX))
      throw new ProtocolError('frame.tooLarge', { details: { status: 431 } });
    return end < 0 ? undefined : { text: this.#held.toString('latin1', 0, end), rest: this.#held.subarray(end + 4) };
  }
}

export type UpgradeRequest = {
  readonly path: UpgradePath;
  readonly key: string;
  /** The addresses of X-Forwarded-For, as told: only what a proxy of ours added is true. */
  readonly forwarded: readonly string[];
};

const refuse = (status: number, why: string): never => {
  throw new ProtocolError('handshake.failed', { details: { status, why } });
};

/** A client's request for one of our paths. Throws ProtocolError `handshake.failed` with the HTTP status in its details. */
export const parseUpgradeRequest = (head: string): UpgradeRequest => {
  const { start, headers } = parseHead(head, () => refuse(400, 'head'));
  const [, method, path = ''] = /^([A-Z]+) ([!-~]+) HTTP\/1\.1$/.exec(start) ?? refuse(400, 'request line');
  if (method !== 'GET') refuse(405, 'method');
  if (!isUpgradePath(path)) return refuse(404, 'path');
  if (headers.get('host')?.length !== 1) refuse(400, 'host');
  if (headers.has('content-length') || headers.has('transfer-encoding')) refuse(400, 'body');
  if (!isUpgrade(headers) || headers.get('sec-websocket-version')?.join() !== '13') refuse(426, 'version');
  const key = headers.get('sec-websocket-key')?.join() ?? '';
  if (!/^[A-Za-z0-9+/]{21}[AQgw]==$/.test(key)) refuse(400, 'key');
  if (!listOf(headers, 'sec-websocket-protocol').includes(SUBPROTOCOLS[path])) refuse(400, 'subprotocol');
  return { path, key, forwarded: listOf(headers, 'x-forwarded-for') };
};

/** The answer that makes the connection a WebSocket, without any extension. */
export const buildUpgradeResponse = ({ path, key }: UpgradeRequest): string =>
  headOf(`HTTP/1.1 101 ${STATUS_TEXTS[101]}`, [
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${acceptOf(key)}`,
    `Sec-WebSocket-Protocol: ${SUBPROTOCOLS[path]}`,
  ]);

/** The answer that ends the connection. `status` is one of 400, 404, 405, 426, 431, 503. */
export const buildRefusal = (status: number): string =>
  headOf(`HTTP/1.1 ${status} ${STATUS_TEXTS[status]}`, [
    'Connection: close',
    'Content-Length: 0',
    ...(status === 426 ? ['Upgrade: websocket', 'Sec-WebSocket-Version: 13'] : []),
  ]);

export type UpgradeOffer = {
  /** `host` or `host:port`, as in a URL. */
  readonly host: string;
  readonly path: UpgradePath;
  /** Base64 of 16 random bytes. */
  readonly key: string;
};

/** A client's request. */
export const buildUpgradeRequest = ({ host, path, key }: UpgradeOffer): string =>
  headOf(`GET ${path} HTTP/1.1`, [
    `Host: ${host}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${key}`,
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Protocol: ${SUBPROTOCOLS[path]}`,
  ]);

/**
 * Checks the answer to an offer. Throws `server.refused` for one that may change by waiting (429 and 5xx), ProtocolError
 * `server.invalid` for any other that does not make the connection a WebSocket of our subprotocol.
 */
export const parseUpgradeResponse = (head: string, { path, key }: UpgradeOffer): void => {
  const wrong = (why: string): never => {
    throw new ProtocolError('server.invalid', { details: { why } });
  };
  const { start, headers } = parseHead(head, () => wrong('head'));
  const status = Number(/^HTTP\/1\.1 (\d{3})(?: [\t -~\x80-\xff]*)?$/.exec(start)?.[1] ?? wrong('status line'));
  if (status === 429 || (status >= 500 && status <= 599))
    throw new SottoError('server.refused', { details: { status } });
  if (status !== 101) wrong(`status ${status}`);
  if (!isUpgrade(headers)) wrong('upgrade');
  if (headers.get('sec-websocket-accept')?.join() !== acceptOf(key)) wrong('accept');
  if (headers.get('sec-websocket-protocol')?.join() !== SUBPROTOCOLS[path]) wrong('subprotocol');
  if (headers.has('sec-websocket-extensions')) wrong('extensions');
};

const isUpgradePath = (path: string): path is UpgradePath => Object.hasOwn(SUBPROTOCOLS, path);

type Headers = ReadonlyMap<string, readonly string[]>;

// RFC 9112, without what it calls obsolete: a line is `name: value`, never folded; names in lower case.
const parseHead = (head: string, wrong: () => never): { readonly start: string; readonly headers: Headers } => {
  const [start = '', ...lines] = head.split('\r\n');
  const headers = new Map<string, string[]>();
  if (lines.length > UPGRADE_HEADERS_MAX) wrong();
  for (const line of lines) {
    const [, name = '', value = ''] = /^([!#$%&'*+.^_`|~\w-]+):([\t -~\x80-\xff]*)$/.exec(line) ?? wrong();
    const values = headers.get(name.toLowerCase());
    if (values === undefined) headers.set(name.toLowerCase(), [value.trim()]);
    else values.push(value.trim());
  }
  return { start, headers };
};

const isUpgrade = (headers: Headers): boolean =>
  ['upgrade', 'connection'].every((name) =>
    listOf(headers, name).some((one) => one.toLowerCase() === (name === 'upgrade' ? 'websocket' : 'upgrade')),
  );

/** The items of a header that is a list, over all its lines. */
const listOf = (headers: Headers, name: string): string[] =>
  (headers.get(name) ?? [])
    .flatMap((value) => value.split(','))
    .flatMap((item) => (item.trim() === '' ? [] : [item.trim()]));

const acceptOf = (key: string): string =>
  createHash('sha1')
    .update(key + KEY_GUID)
    .digest('base64');

const headOf = (start: string, lines: readonly string[]): string => `${[start, ...lines].join('\r\n')}\r\n\r\n`;
