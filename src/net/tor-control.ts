// A client of Tor's control port: SAFECOOKIE login, one reply per command in order, and events.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import type { Clock, Random } from '../ports.ts';
import { SottoError } from '../protocol/errors.ts';
import { TOR_COMMAND_MS_MAX, TOR_CONTROL_LINE_BYTES_MAX } from '../protocol/limits.ts';

/** One line of a reply: status code and text; `data` holds what followed a `+` line. */
export type ControlLine = { readonly code: number; readonly text: string; readonly data?: string };

type Waiting = {
  readonly resolve: (lines: readonly ControlLine[]) => void;
  readonly reject: (error: Error) => void;
};

/** What a connection is made with; `signal` ends it, whatever it waits for. */
export type ControlPorts = { readonly clock: Clock; readonly random: Random; readonly signal?: AbortSignal };

/** A logged-in control connection. Source: Tor's control-spec. */
export class TorControl {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #waiting: Waiting[] = [];
  readonly #parser = new ReplyParser();
  /** Gets every asynchronous event: its type and the whole first line. */
  onEvent: (type: string, text: string) => void = () => {};
  /** Called once, when the connection ends in any way. */
  onClose: () => void = () => {};

  private constructor(socket: Socket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => this.#data(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#end('Tor closed its control connection');
      this.onClose();
    });
  }

  /** Connects to the Unix socket at `path` and proves knowledge of Tor's cookie, and Tor's of it to us. Throws `tor.failed`. */
  static async open(path: string, { clock, random, signal }: ControlPorts): Promise<TorControl> {
    const socket = await new Promise<Socket>((resolve, reject) => {
      const opening = connect({ path, ...(signal === undefined ? {} : { signal }) });
      opening.once('connect', () => {
        opening.removeAllListeners('error');
        resolve(opening);
      });
      opening.once('error', (error) => reject(new SottoError('tor.failed', { cause: error })));
    });
    const control = new TorControl(socket, clock);
    try {
      await control.#authenticate(random);
    } catch (error) {
      control.close();
      throw error;
    }
    return control;
  }

  /**
   * Sends one command; gives the lines of its reply. A reply of 300 or more throws `tor.failed` with `details.code`. A Tor that
   * does not answer in TOR_COMMAND_MS_MAX is asked no more: the connection ends.
   */
  command(line: string): Promise<readonly ControlLine[]> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new SottoError('tor.failed', { message: 'Tor is gone' }));
        return;
      }
      const verb = line.split(' ', 1)[0];
      const cancel = this.#clock.after(TOR_COMMAND_MS_MAX, () => {
        this.#end('Tor does not answer on its control socket');
        this.close();
      });
      this.#waiting.push({
        reject: (error) => {
          cancel();
          reject(error);
        },
        resolve: (lines) => {
          cancel();
          const last = lines.at(-1);
          if (last !== undefined && last.code < 300) resolve(lines);
          else
            reject(
              new SottoError('tor.failed', {
                message: `Tor refused ${verb}: ${last?.text ?? ''}`,
                details: { code: last?.code ?? 0 },
              }),
            );
        },
      });
      this.#socket.write(`${line}\r\n`);
    });
  }

  /** The value of one GETINFO key. */
  async info(key: string): Promise<string> {
    const [first] = await this.command(`GETINFO ${key}`);
    return first?.data ?? first?.text.slice(key.length + 1) ?? '';
  }

  close(): void {
    this.#socket.destroy();
  }

  #end(message: string): void {
    for (const { reject } of this.#waiting.splice(0)) reject(new SottoError('tor.failed', { message }));
  }

  async #authenticate(random: Random): Promise<void> {
    const protocol = await this.command('PROTOCOLINFO 1');
    const cookieFile = /COOKIEFILE="((?:[^"\\]|\\.)*)"/.exec(protocol.map((line) => line.text).join('\n'))?.[1];
    if (cookieFile === undefined) throw new SottoError('tor.failed', { message: 'Tor offers no cookie login' });
    const cookie = readCookie(unescaped(cookieFile));
    const nonce = Buffer.from(random.bytes(32));
    const challenge = (await this.command(`AUTHCHALLENGE SAFECOOKIE ${nonce.toString('hex')}`))[0]?.text ?? '';
    const theirs = Buffer.from(/SERVERHASH=(\w+)/.exec(challenge)?.[1] ?? '', 'hex');
    const seed = Buffer.concat([cookie, nonce, Buffer.from(/SERVERNONCE=(\w+)/.exec(challenge)?.[1] ?? '', 'hex')]);
    const hash = (label: string) =>
      createHmac('sha256', `Tor safe cookie authentication ${label}`).update(seed).digest();
    const expected = hash('server-to-controller hash');
    if (theirs.length !== expected.length || !timingSafeEqual(theirs, expected))
      throw new SottoError('tor.failed', { message: 'The control socket does not belong to our Tor' });
    await this.command(`AUTHENTICATE ${hash('controller-to-server hash').toString('hex')}`);
  }

  #data(chunk: string): void {
    for (const lines of this.#parser.take(chunk)) {
      const first = lines[0];
      if (first?.code === 650) this.onEvent(first.text.split(' ', 1)[0] ?? '', first.text);
      else this.#waiting.shift()?.resolve(lines);
    }
    if (this.#parser.overflowed) this.close();
  }
}

// Source: control-spec, "QuotedString": what is not printable ASCII comes byte by byte, in octal digits.
const unescaped = (quoted: string): string => {
  const plain = quoted.replace(/\\([0-7]{3}|.)/g, (_all, is: string) =>
    is.length === 3 ? String.fromCharCode(Number.parseInt(is, 8)) : is,
  );
  return Buffer.from(plain, 'latin1').toString();
};

const readCookie = (path: string): Buffer => {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new SottoError('tor.failed', { message: `Tor's cookie cannot be read: ${path}`, cause: error });
  }
};

/** Splits the control port's bytes into whole replies; knows nothing of sockets. */
export class ReplyParser {
  #buffer = '';
  #lines: { code: number; text: string; data?: string }[] = [];
  #data: string[] | undefined;
  /** True once more than TOR_CONTROL_LINE_BYTES_MAX came without a line's or a reply's end. */
  overflowed = false;

  /** The replies that `chunk` completes, in order. */
  take(chunk: string): readonly ControlLine[][] {
    const replies: ControlLine[][] = [];
    this.#buffer += chunk;
    for (let end = this.#buffer.indexOf('\r\n'); end >= 0; end = this.#buffer.indexOf('\r\n')) {
      const line = this.#buffer.slice(0, end);
      this.#buffer = this.#buffer.slice(end + 2);
      const reply = this.#line(line);
      if (reply !== undefined) replies.push(reply);
    }
    this.overflowed =
      this.#buffer.length > TOR_CONTROL_LINE_BYTES_MAX ||
      this.#lines.length > 10_000 ||
      (this.#data?.length ?? 0) > 100_000;
    return replies;
  }

  #line(line: string): ControlLine[] | undefined {
    if (this.#data !== undefined) {
      const last = this.#lines.at(-1);
      if (line === '.' && last !== undefined) {
        last.data = this.#data.join('\n');
        this.#data = undefined;
      } else this.#data.push(line.startsWith('..') ? line.slice(1) : line);
      return undefined;
    }
    this.#lines.push({ code: Number.parseInt(line.slice(0, 3), 10) || 0, text: line.slice(4) });
    if (line[3] === '+') this.#data = [];
    if (line[3] !== ' ') return undefined;
    const reply = this.#lines;
    this.#lines = [];
    return reply;
  }
}
