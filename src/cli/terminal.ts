// Asking on the terminal, and reading secrets and texts from descriptors, files and stdin.
import { closeSync, openSync, readSync } from 'node:fs';
import { SottoError } from '../protocol/errors.ts';
import { TEXT_BYTES_MAX } from '../protocol/limits.ts';

const SECRET_BYTES_MAX = 4096;

let heard: NodeJS.WriteStream | undefined;

/** Standard error; who hears it may go. Node makes it when it is first asked for, which most commands never do. */
export const stderr = (): NodeJS.WriteStream => {
  heard ??= process.stderr.on('error', () => {});
  return heard;
};

/** Resolves once stdout and stderr have taken, or refused, what was written. */
export const flushed = async (): Promise<void> => {
  const streams = [process.stdout, ...(heard === undefined ? [] : [heard])];
  await Promise.all(streams.map((stream) => new Promise<void>((done) => stream.write('', () => done()))));
};

/**
 * The first line of a file descriptor or file. Throws `file.unknown` when there is none, `path.notAllowed` when it cannot be
 * read, and `text.notUtf8`.
 */
export const readSecret = (from: number | string): string => {
  const fd = typeof from === 'number' ? from : open(from);
  const buffer = Buffer.alloc(SECRET_BYTES_MAX);
  let size = 0;
  try {
    for (;;) {
      const got = readSync(fd, buffer, size, buffer.length - size, null);
      size += got;
      if (got === 0 || size === buffer.length || buffer.subarray(0, size).includes(10)) break;
    }
  } catch (error) {
    throw unread(`The passphrase cannot be read from ${from}`, error);
  } finally {
    if (typeof from === 'string') closeSync(fd);
  }
  // Two secrets would be one where what is no UTF-8 were replaced.
  const [line = ''] = decoded(buffer.subarray(0, size), 'The passphrase is not valid UTF-8').split('\n');
  return line.replace(/\r$/, '');
};

const open = (path: string): number => {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw unread(`The passphrase file cannot be read: ${path}`, error);
  }
};

const unread = (message: string, cause: unknown): SottoError => {
  const isThere = !['ENOENT', 'ENOTDIR', 'EBADF'].includes((cause as NodeJS.ErrnoException).code ?? '');
  return new SottoError(isThere ? 'path.notAllowed' : 'file.unknown', { message, cause });
};

/** Thrown when the user interrupts a command. */
export const INTERRUPTED = Symbol('interrupted');

/**
 * Asks on the controlling terminal; undefined when there is none, and at Ctrl-D; when stdin is something else, only with
 * `piped`: a text may come through it beside. A secret is not echoed. Throws INTERRUPTED at Ctrl-C, which is a key like any
 * other here.
 */
export const askTerminal = async (
  prompt: string,
  options: { readonly secret: boolean; readonly piped?: boolean | undefined },
): Promise<string | undefined> => {
  const fd = stderr().isTTY && (options.piped === true || process.stdin.isTTY) ? controllingTerminal() : undefined;
  if (fd === undefined) return undefined;
  const [{ createInterface }, { Writable }, { ReadStream }] = await Promise.all([
    import('node:readline/promises'),
    import('node:stream'),
    import('node:tty'),
  ]);
  const input = new ReadStream(fd);
  const quiet = new Writable({ write: (_chunk, _encoding, done) => done() });
  const interrupt = new AbortController();
  const lines = createInterface({ input, output: options.secret ? quiet : stderr(), terminal: true });
  try {
    // The terminal echoes no more by now.
    if (options.secret) stderr().write(prompt);
    lines.once('SIGINT', () => interrupt.abort());
    return await lines.question(options.secret ? '' : prompt, { signal: interrupt.signal });
  } catch (error) {
    if (interrupt.signal.aborted) throw INTERRUPTED;
    if (error instanceof Error && error.name === 'AbortError') return undefined;
    throw error;
  } finally {
    lines.close();
    input.destroy();
    if (options.secret) stderr().write('\n');
  }
};

const controllingTerminal = (): number | undefined => {
  try {
    return openSync('/dev/tty', 'r');
  } catch {
    return undefined;
  }
};

// More than any text that may be given, and little enough for a request, however it is written in JSON.
const STDIN_BYTES_MAX = 4 * TEXT_BYTES_MAX;

/** Everything on stdin, as UTF-8. Throws `text.notUtf8` and `text.tooLarge`. */
export const readStdin = async (): Promise<string> => {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    size += (chunk as Buffer).length;
    if (size > STDIN_BYTES_MAX) throw new SottoError('text.tooLarge');
    chunks.push(chunk as Buffer);
  }
  return decoded(Buffer.concat(chunks));
};

const decoded = (bytes: Uint8Array, message?: string): string => {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SottoError('text.notUtf8', message === undefined ? {} : { message });
  }
};
