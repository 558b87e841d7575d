// Targets for what Tor answers and what it is told: control replies, SOCKS replies, versions, bridge lines, network files.
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { readConfig } from '../../src/daemon/config.ts';
import { systemClock } from '../../src/machine.ts';
import { socksConnect } from '../../src/net/socks.ts';
import { checkVersion, compareVersions, readNetworkFile, torrcOf } from '../../src/net/tor-config.ts';
import { type ControlLine, ReplyParser, TorControl } from '../../src/net/tor-control.ts';
import { SottoError } from '../../src/protocol/errors.ts';
import { TOR_CONTROL_LINE_BYTES_MAX, TOR_VERSION_MIN } from '../../src/protocol/limits.ts';
import { mutateBytes, mutateText } from './dice.ts';
import { holds } from './peers.ts';
import type { Target } from './target.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'sotto-fuzz-'));
process.on('exit', () => rmSync(FOLDER, { recursive: true, force: true }));

/** A path in a folder that is gone when the run ends. */
export const scratch = (name: string): string => join(FOLDER, name);

const REPLIES = [
  '250 OK\r\n',
  '250-version=0.4.9.11 (git-1)\r\n250 OK\r\n',
  '250+circuit-status=\r\n1 BUILT a\r\n..dots\r\n\r\n.\r\n250 OK\r\n',
  '650 STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=45 TAG=x SUMMARY="y"\r\n',
  '650 HS_DESC UPLOADED abc UNKNOWN $x\r\n',
  '552 Unrecognized key "x"\r\n',
  '250-PROTOCOLINFO 1\r\n250-AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE="/x"\r\n250 OK\r\n',
];

const takeAll = (parser: ReplyParser, pieces: readonly string[]): ControlLine[][] =>
  pieces.flatMap((piece) => [...parser.take(piece)]);

const controlReplies: Target = {
  name: 'replies of the control port',
  parsers: ['src/net/tor-control.ts ReplyParser'],
  codes: ['tor.failed'],
  play: (dice) => {
    const replies = Array.from({ length: 1 + dice.int(4) }, () => dice.pick(REPLIES)).join('');
    const text = dice.chance(0.8) ? mutateText(dice, replies) : replies;
    const flood = dice.chance(0.01) ? dice.pick(['x', '250-x\r\n', '250+x\r\nx\r\n']) : '';
    const whole = text + flood.repeat(2 * TOR_CONTROL_LINE_BYTES_MAX);
    const pieces: string[] = [];
    const size = flood === '' ? 1 + dice.int(40) : 65_536;
    const parser = new ReplyParser();
    for (let at = 0; at < whole.length; at += size) {
      pieces.push(whole.slice(at, at + size));
      parser.take(pieces.at(-1) ?? '');
      if (parser.overflowed) throw new SottoError('tor.failed');
    }
    holds(flood === '', 'a flood without an end is noticed');
    const [split, atOnce] = [takeAll(new ReplyParser(), pieces), takeAll(new ReplyParser(), [whole])];
    holds(isDeepStrictEqual(split, atOnce), 'where the pieces end changes nothing');
  },
};

/** One server that every case gives its own manners. */
const serverAt = (path: string): { readonly ready: Promise<Server>; answer: (socket: Socket) => void } => {
  const manners = { answer: (_socket: Socket): void => {} };
  const server = createServer((socket) => {
    socket.on('error', () => {});
    manners.answer(socket);
  });
  server.unref();
  const ready = new Promise<Server>((resolve) => {
    server.listen(path, () => resolve(server));
  });
  return Object.assign(manners, { ready });
};

const controlPath = scratch('control');
const control = serverAt(controlPath);
const COOKIE = Buffer.alloc(32, 7);
const COOKIE_FILE = scratch('cookie');
writeFileSync(COOKIE_FILE, COOKIE);

const answerOf = (command: string): string => {
  if (command.startsWith('PROTOCOLINFO'))
    return `250-PROTOCOLINFO 1\r\n250-AUTH METHODS=SAFECOOKIE COOKIEFILE="${COOKIE_FILE}"\r\n250 OK\r\n`;
  if (command.startsWith('AUTHCHALLENGE')) {
    const seed = Buffer.concat([COOKIE, Buffer.from(command.split(' ')[2] ?? '', 'hex'), Buffer.alloc(32, 9)]);
    const hash = createHmac('sha256', 'Tor safe cookie authentication server-to-controller hash').update(seed);
    return `250 AUTHCHALLENGE SERVERHASH=${hash.digest('hex')} SERVERNONCE=${Buffer.alloc(32, 9).toString('hex')}\r\n`;
  }
  return command.startsWith('GETINFO') ? '250-version=0.4.9.11\r\n250 OK\r\n' : '250 OK\r\n';
};

const login: Target = {
  name: 'login at the control port',
  parsers: ['src/net/tor-control.ts TorControl'],
  codes: ['tor.failed'],
  play: async (dice) => {
    await control.ready;
    const wrong = dice.int(6);
    let nth = 0;
    control.answer = (socket) =>
      socket.on('data', (line) => {
        const answer = answerOf(line.toString().trim());
        if (nth++ !== wrong) return void socket.write(answer);
        // A reply that never ends is Tor's own; here every one ends, by a line or by the connection.
        socket.end(dice.chance(0.9) ? mutateText(dice, answer) : '');
      });
    const tor = await TorControl.open(controlPath, {
      clock: systemClock,
      random: { bytes: (size) => dice.bytes(size), fraction: () => 0.5 },
    });
    try {
      holds(typeof (await tor.info('version')) === 'string', 'a value is text');
    } finally {
      tor.close();
    }
  },
};

const socksPath = scratch('socks');
const socks = serverAt(socksPath);

const socksReplies: Target = {
  name: 'SOCKS replies',
  parsers: ['src/net/socks.ts socksConnect'],
  codes: ['dial.noDescriptor', 'dial.unreachable', 'dial.timeout', 'address.invalid', 'tor.failed'],
  play: async (dice) => {
    await socks.ready;
    const rest = dice.bytes(dice.int(20));
    const code = dice.chance(0.3)
      ? 0
      : dice.pick([1, 2, 4, 5, 6, 240, 241, 242, 243, 244, 245, 246, 247, dice.int(256)]);
    const steps = [
      [5, 2],
      [1, 0],
      [5, code, 0, 1, 0, 0, 0, 0, 0, 0, ...rest],
    ].map((bytes) => Uint8Array.from(bytes));
    const wrong = dice.int(6);
    let nth = 0;
    socks.answer = (socket) =>
      socket.on('data', () => {
        const step = steps[nth] ?? new Uint8Array();
        const given = nth++ === wrong ? mutateBytes(dice, step) : step;
        if (nth > 2 || given.length !== step.length) socket.end(given);
        else socket.write(given);
      });
    const target = { socksPath, host: 'x.onion', port: 1, isolation: 'x', signal: AbortSignal.timeout(3000) };
    const stream = await socksConnect(target);
    const got: Buffer[] = [];
    for await (const chunk of stream) got.push(chunk as Buffer);
    if (wrong > 2) holds(Buffer.concat(got).equals(rest), 'what follows the reply belongs to the stream');
  },
};

const versions: Target = {
  name: 'versions of Tor',
  parsers: ['src/net/tor-config.ts checkVersion', 'src/net/tor-config.ts compareVersions'],
  codes: ['tor.tooOld'],
  play: (dice) => {
    const version = dice.pick(['0.4.8.12', '0.4.9.11', '0.4.7.16', '0.4.9.2-alpha-dev', '1.0']);
    const given = dice.chance(0.7) ? mutateText(dice, version) : version;
    checkVersion(given);
    holds(compareVersions(given, TOR_VERSION_MIN) >= 0, 'what is taken is no older than the oldest that works');
  },
};

const PATHS = { dataDir: '/d/"q\\', socketDir: '/s' };

const linesFile = scratch('lines.toml');

const bridges: Target = {
  name: 'bridge and transport lines',
  parsers: ['src/net/tor-config.ts torrcOf', 'src/daemon/config.ts readConfig'],
  codes: ['config.invalid'],
  play: (dice) => {
    const line = (text: string) => {
      const end = dice.chance(0.2) ? dice.pick(['\n', '\\', '\nLog debug file /tmp/x', '\r', '\u2028']) : '';
      return JSON.stringify((dice.chance(0.4) ? mutateText(dice, text) : text) + end);
    };
    const bridge = line('obfs4 192.0.2.1:443 0123456789ABCDEF0123456789ABCDEF01234567 cert=abc iat-mode=0');
    writeFileSync(linesFile, `tor.bridges = [${bridge}]\ntor.transports = [${line('obfs4 exec /usr/bin/lyrebird')}]\n`);
    const { tor } = readConfig(linesFile);
    const torrc = torrcOf(tor, PATHS, 1);
    const plain = torrcOf({ ...tor, bridges: ['x'], transports: ['y'] }, PATHS, 1);
    holds(torrc.split('\n').length === plain.split('\n').length, 'a line stays one line');
    holds(/^[\n\x20-\x7e]*$/.test(torrc) && !/\\\n/.test(torrc), 'only what Tor reads is written, line by line');
  },
};

const networkFile = scratch('network');

const networks: Target = {
  name: 'files of a private network',
  parsers: ['src/net/tor-config.ts readNetworkFile'],
  codes: ['config.invalid'],
  play: (dice) => {
    const text = '# private\nTestingTorNetwork 1\nDirAuthority a orport=1 no-v2 127.0.0.1:2 0123\n\nClientUseIPv6 0\n';
    writeFileSync(networkFile, dice.chance(0.7) ? mutateText(dice, text) : text);
    const lines = readNetworkFile(dice.chance(0.02) ? FOLDER : networkFile);
    holds(
      lines.every((line) => /^[A-Z]\w+( [\x20-\x7e]*)?$/.test(line)),
      'every line is one option',
    );
  },
};

/** Everything that Tor says, and that it is told from files. */
export const TOR_TARGETS: readonly Target[] = [controlReplies, login, socksReplies, versions, bridges, networks];
