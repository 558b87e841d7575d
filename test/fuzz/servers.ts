// Targets for what passes between servers and their clients before it means anything: upgrades, frames, origins, sources.
import { isIP } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { parseOrigin } from '../../src/net/server-dial.ts';
import { ProtocolError, type SottoError } from '../../src/protocol/errors.ts';
import { UPGRADE_BYTES_MAX } from '../../src/protocol/limits.ts';
import {
  binaryFrame,
  closeFrame,
  FrameParser,
  type Message,
  maskedFrame,
  pingFrame,
  pongFrame,
  textFrame,
} from '../../src/protocol/websocket.ts';
import {
  buildUpgradeRequest,
  buildUpgradeResponse,
  type Head,
  HeadReader,
  parseUpgradeRequest,
  parseUpgradeResponse,
} from '../../src/protocol/websocket-upgrade.ts';
import { Proxies, parseCircuitLine, sourceOf } from '../../src/server/sources.ts';
import { type Dice, mutateBytes, mutateText } from './dice.ts';
import { holds } from './peers.ts';
import type { Target } from './target.ts';

const MESSAGE_BYTES_MAX = 300;

const anyFrames = (dice: Dice): Buffer[] => {
  const text = dice.text(30).toWellFormed();
  return dice.pick<() => Buffer[]>([
    () => [textFrame(text)],
    () => [binaryFrame(dice.bytes(dice.int(200)), dice.bytes(dice.int(100)))],
    () => [dice.chance(0.5) ? pingFrame(dice.bytes(dice.int(126))) : pongFrame(dice.bytes(dice.int(126)))],
    () => [closeFrame(dice.pick([1000, 1001, 1011, 3000, 4000, 4999, 1005]), dice.chance(0.5) ? 'why' : '')],
    () => fragments(dice, Buffer.from(text)),
  ])();
};

/** A text in pieces, with a ping among them. */
const fragments = (dice: Dice, text: Buffer): Buffer[] => {
  const pieces = 1 + dice.int(4);
  const frames = Array.from({ length: pieces }, (_, n) => {
    const from = Math.floor((n * text.length) / pieces);
    const frame = binaryFrame(text.subarray(from, Math.floor(((n + 1) * text.length) / pieces)));
    frame[0] = (n === pieces - 1 ? 0x80 : 0) | (n === 0 ? 1 : 0);
    return frame;
  });
  if (dice.chance(0.5)) frames.splice(1, 0, pingFrame());
  return frames;
};

const pieces = function* (dice: Dice, bytes: Uint8Array): Generator<Buffer> {
  const most = dice.pick([1, 3, 20, 1000]);
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + dice.int(most);
    yield Buffer.from(bytes.subarray(at, at + size));
    at += size;
  }
};

/** What was taken, with bytes as hex, and the error that ended it. */
const taken = (from: 'client' | 'server', chunks: Iterable<Buffer>): { told: unknown[]; error?: SottoError } => {
  const parser = new FrameParser({ from, messageBytesMax: MESSAGE_BYTES_MAX });
  const told: unknown[] = [];
  try {
    for (const chunk of chunks)
      for (const message of parser.take(chunk)) {
        holds(sizeOf(message) <= MESSAGE_BYTES_MAX, 'no message is beyond the limit');
        told.push('bytes' in message ? { ...message, bytes: message.bytes.toString('hex') } : message);
      }
    return { told };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { told, error };
  }
};

const sizeOf = (message: Message): number =>
  'bytes' in message ? message.bytes.length : Buffer.byteLength('text' in message ? message.text : message.reason);

const frames: Target = {
  name: 'WebSocket frames',
  parsers: ['src/protocol/websocket.ts FrameParser'],
  codes: ['frame.invalid', 'frame.tooLarge'],
  play: (dice) => {
    const from = dice.pick(['client', 'server'] as const);
    const sent = Array.from({ length: 1 + dice.int(5) }, () => anyFrames(dice)).flat();
    const wire = Buffer.concat(from === 'client' ? sent.map((frame) => maskedFrame(frame, dice.bytes(4))) : sent);
    const bytes = dice.chance(0.7) ? mutateBytes(dice, wire) : wire;
    const atOnce = taken(from, [Buffer.from(bytes)]);
    const split = taken(from, pieces(dice, bytes));
    holds(isDeepStrictEqual(split.told, atOnce.told), 'where the chunks end changes nothing');
    holds(split.error?.code === atOnce.error?.code, 'nor whether it is taken');
    if (atOnce.error !== undefined) throw atOnce.error;
  },
};

const OFFER = { host: 'host:1', path: '/v1', key: 'dGhlIHNhbXBsZSBub25jZQ==' } as const;
const END = '\r\n\r\n';

const headIn = (chunks: Iterable<Buffer>): Head | undefined => {
  const reader = new HeadReader();
  for (const chunk of chunks) {
    const head = reader.take(chunk);
    if (head !== undefined) return head;
  }
  return undefined;
};

/** A head, made wrong and too long now and then, read in pieces. */
const headOf = (dice: Dice, text: string): string => {
  const head = dice.chance(0.7) ? mutateText(dice, text) : text;
  const long = dice.chance(0.02) ? `\r\nX: ${'x'.repeat(UPGRADE_BYTES_MAX)}` : '';
  const bytes = Buffer.from(`${head}${long}${END}rest`, 'latin1');
  const found = headIn(pieces(dice, bytes));
  holds(found !== undefined && found.text.length <= UPGRADE_BYTES_MAX, 'a head that ends is found');
  holds(bytes.toString('latin1').startsWith(found?.text + END), 'it is the first one');
  return found?.text ?? '';
};

const CIRCUIT = 'PROXY TCP6 fc00:dead:beef:4dad::0:29 ::1 666 80\r\n';

const requests: Target = {
  name: 'WebSocket requests',
  parsers: [
    'src/protocol/websocket-upgrade.ts parseUpgradeRequest',
    'src/protocol/websocket-upgrade.ts HeadReader',
    'src/server/sources.ts parseCircuitLine',
  ],
  codes: ['handshake.failed', 'frame.tooLarge'],
  play: (dice) => {
    const path = dice.pick(['/v1', '/v1/call'] as const);
    const forwarded = dice.chance(0.3) ? '\r\nX-Forwarded-For: 192.0.2.1, ::1' : '';
    const request = buildUpgradeRequest({ ...OFFER, path }).slice(0, -END.length) + forwarded;
    const isTor = dice.chance(0.3);
    const head = headOf(dice, isTor ? CIRCUIT + request : request);
    const line = isTor ? parseCircuitLine(head) : { circuit: '', head };
    holds(/^[0-9a-f:]*$/i.test(line.circuit), 'a circuit is an address');
    const parsed = parseUpgradeRequest(line.head);
    holds(Buffer.from(parsed.key, 'base64').length === 16, 'a key has 16 bytes');
    const response = buildUpgradeResponse(parsed).slice(0, -END.length);
    parseUpgradeResponse(response, { ...OFFER, path: parsed.path, key: parsed.key });
  },
};

const answers: Target = {
  name: 'answers to WebSocket requests',
  parsers: ['src/protocol/websocket-upgrade.ts parseUpgradeResponse'],
  codes: ['server.invalid', 'server.refused', 'frame.tooLarge'],
  play: (dice) => {
    const response = buildUpgradeResponse({ ...OFFER, forwarded: [] }).slice(0, -END.length);
    const given = dice.chance(0.2) ? response.replace('101', dice.pick(['503', '429', '200', '600', '10'])) : response;
    const head = headOf(dice, given);
    parseUpgradeResponse(head, OFFER);
    holds(head.includes('s3pPLMBiTxaQ9kYGzzhZRbK+xOo='), 'the answer is to this request');
  },
};

const origins: Target = {
  name: 'origins of servers',
  parsers: ['src/net/server-dial.ts parseOrigin'],
  codes: ['link.invalid'],
  play: (dice) => {
    const text = dice.pick(['wss://chat.example.net:7443', 'ws://127.0.0.1', 'wss://[2001:db8::1]:1', 'ws://a.onion']);
    const origin = dice.chance(0.7) ? mutateText(dice, text) : text;
    const { host, port, isTls, isOnion } = parseOrigin(origin);
    const url = new URL(origin);
    holds(url.hostname.replace(/^\[|\]$/g, '') === host || isIP(host) === 6, 'others read the same host');
    holds(url.port === '' || Number(url.port) === port, 'and the same port');
    holds(
      isTls || isOnion || /^(localhost|::1|127\.)/.test(host),
      'only this machine and onions are dialled in the clear',
    );
  },
};

const sources: Target = {
  name: 'addresses of clients and proxies',
  parsers: ['src/server/sources.ts sourceOf', 'src/server/sources.ts Proxies'],
  codes: ['config.invalid'],
  // From `requests`, which plays the circuits of the same file.
  others: ['handshake.failed'],
  play: (dice) => {
    const groups = Array.from({ length: 8 }, () => dice.int(0x10000).toString(16));
    const address = dice.pick([
      groups.join(':'),
      `${groups.slice(0, 4).join(':')}::1`,
      '192.0.2.9',
      '::ffff:192.0.2.9',
    ]);
    const given = (dice.chance(0.5) ? mutateText(dice, address) : address).replaceAll('/', '');
    const proxies = new Proxies([dice.chance(0.5) ? given : `${given}/${dice.int(140)}`]);
    holds(isIP(given) !== 0, 'only addresses are taken');
    holds(proxies.has(given), 'an address is in its own network');
    holds(
      proxies.clientOf(['192.0.2.77', 'x', given]) === undefined,
      'what is told before something else is not believed',
    );
    const source = sourceOf(given);
    holds(
      source.endsWith('::/64') === (isIP(given) === 6 && isIP(source) !== 4),
      'a source is an address or a network',
    );
    if (given === groups.join(':'))
      holds(source === sourceOf(`${groups.slice(0, 4).join(':')}::1`), 'one network, one source');
  },
};

/** What comes over connections to servers. */
export const SERVER_TARGETS: readonly Target[] = [frames, requests, answers, origins, sources];
